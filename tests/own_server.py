"""A server of a test's own, on loopback TCP: one that may be killed and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.helpers import server_program, wait_until


class OwnServer:
    """A server that keeps its data in a folder, each command before it is answered, unless its settings say otherwise.

    Its program is `server_program`.

    Parameters
    ----------
    folder : Path
    **settings
        The server's own; they may be changed between two starts. An underscore stands for a hyphen.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.settings: dict[str, object] = {"save": "", "appendonly": "yes", "appendfsync": "always"} | settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it answers, its data being loaded."""
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": self.folder, **self.settings}
        options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        # Python ignores SIGXFSZ, and so does its server: a file that may not grow is an error then, and not the end.
        self._process = subprocess.Popen([server_program(), *options], stdout=subprocess.DEVNULL, restore_signals=False)
        if wait:
            wait_until(self.answers, timeout=60)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Let it end as it does when it is told to (SIGTERM)."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def forget(self) -> None:
        """Delete its data, while it is not running."""
        for file in self.folder.rglob("*"):
            if file.is_file():
                file.unlink()

    def answers(self) -> bool:
        """Tell whether it answers, its data being loaded."""
        try:
            with redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def own_server(folder: Path, **settings: object) -> Iterator[OwnServer]:
    """Start a server, and end it with the block."""
    server = OwnServer(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()
