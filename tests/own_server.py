"""A server of a test's own, on loopback TCP: one that may be killed and started again."""

from __future__ import annotations

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
    """A Valkey server that keeps its data in a folder, each command before it is answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": self.folder, "save": "", "appendonly": "yes"}
        settings |= {"appendfsync": "always"}
        options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen([server_program(), *options], stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Delete its data, while it is not running."""
        for file in self.folder.rglob("*"):
            if file.is_file():
                file.unlink()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def own_server(folder: Path) -> Iterator[OwnServer]:
    """Start a server, and end it with the block."""
    server = OwnServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
