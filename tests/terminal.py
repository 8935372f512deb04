"""A terminal: a program that runs in it, what it writes there, and keys that are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CTRL_C = b"\x03"
ROOT = Path(__file__).parents[1]


class Terminal:
    """A terminal of 24 lines of 120 characters, the controlling one of a program.

    Attributes
    ----------
    written : str
        What the program has written so far, as it came.
    """

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.written = ""
        self._end = end

    def wait_for(self, pattern: str, timeout: float = 60) -> re.Match[str]:
        """Read until what is written has the pattern.

        Raises
        ------
        AssertionError
            It has not, in time or at the program's end.
        """
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.written, re.DOTALL)):
            assert self._read(deadline - time.monotonic()), f"no {pattern!r} in {self.written!r}"
        return found

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._end, key)

    def exit_code(self, timeout: float = 60) -> int:
        """Read to the program's end, and return its exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, timeout: float) -> bool:
        if not select.select([self._end], [], [], max(0, timeout))[0]:
            return False
        try:
            piece = os.read(self._end, 1 << 16)
        except OSError:  # Linux says so that the other end is closed
            return False
        self.written += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def in_terminal(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a program in a terminal; it is ended with the block."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**environment, "TERM": "xterm"},
        start_new_session=True,
        # So that its Ctrl-C is a signal. One system call takes no lock that another thread might hold.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


def run_in_terminal(code: str, timeout: float = 300) -> str:
    """Run Python code in a terminal to its end, and return what it has written there."""
    with in_terminal([sys.executable, "-c", code], ROOT, os.environ) as terminal:
        assert terminal.exit_code(timeout) == 0, terminal.written
        return terminal.written.replace("\r\n", "\n")
