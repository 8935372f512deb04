"""A program in a terminal, as a person sees it."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[1]


def in_terminal(code: str) -> str:
    """Run a program in a terminal, and return what it writes there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, cwd=ROOT) as process:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 1 << 16):
                written += piece
        except OSError:  # Linux says so that the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()
