"""A TCP proxy that cuts connections at a given byte."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from typing import Literal, Self

Way = Literal["requests", "replies"]


class Proxy:
    """Stands between clients and a server on loopback TCP, and passes bytes on until it is told to cut.

    Attributes
    ----------
    url : str
        What clients connect to.
    passed : dict of {"requests", "replies"} -> int
        Bytes that were passed on since the last `cut_after`, over all connections.
    cuts : int
        Connections that were cut at a byte.
    """

    def __init__(self, port: int) -> None:
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed: dict[Way, int] = {"requests": 0, "replies": 0}
        self.cuts = 0
        self._cut: tuple[Way, int] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up `accept`
        self._listener.close()

    def cut_after(self, nbytes: int, way: Way) -> None:
        """Cut the connection that carries one byte more than these, from now on; once."""
        with self._lock:
            self.passed = {"requests": 0, "replies": 0}
            self._cut = way, nbytes

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._upstream)
            except OSError:  # the server is away
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
            selector.register(client, selectors.EVENT_READ, (server, "requests"))
            selector.register(server, selectors.EVENT_READ, (client, "replies"))
            while True:
                for found, _ in selector.select():
                    target, way = found.data
                    data = found.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # they are sockets
                    allowed = self._allowed(len(data), way)
                    target.sendall(data[:allowed])
                    if not data or allowed < len(data):
                        return

    def _allowed(self, nbytes: int, way: Way) -> int:
        """Return how many bytes may pass."""
        with self._lock:
            left = self._cut[1] - self.passed[way] if self._cut and self._cut[0] == way else nbytes
            if left < nbytes:
                self._cut = None
                self.cuts += 1
            allowed = min(left, nbytes)
            self.passed[way] += allowed
            return allowed
