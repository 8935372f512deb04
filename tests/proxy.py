"""A TCP proxy that does harm at a given byte: it cuts the connection there, or has something done before it goes on."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self

Way = Literal["requests", "replies"]


class Proxy:
    """Stands between clients and a server, on loopback TCP, and passes bytes on until it is told to do otherwise.

    Parameters
    ----------
    upstream : int or str
        The server's port on loopback, or the path of its unix socket.

    Attributes
    ----------
    url : str
        What clients connect to.
    passed : dict of {"requests", "replies"} -> int
        Bytes that were passed on since the last `act_after`, over all connections.
    cuts : int
        Connections that were cut at a byte.
    acts : int
        Cuts, and whatever else was done at a byte.
    failure : Exception or None
        What an action has raised.
    piece : callable, optional
        Gives the number of bytes that are passed on at a time; all that there are without it.
    pause : callable, optional
        Gives the seconds for which each of these pieces is kept back.
    """

    def __init__(self, upstream: int | str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.passed: dict[Way, int] = {"requests": 0, "replies": 0}
        self.cuts = self.acts = 0
        self.failure: Exception | None = None
        self.piece: Callable[[], int] | None = None
        self.pause: Callable[[], float] | None = None
        self._mark: tuple[Way, int, Callable[[], object] | None] | None = None
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
        self.act_after(nbytes, way, None)

    def act_after(self, nbytes: int, way: Way, action: Callable[[], object] | None) -> None:
        """Do something before one byte more than these is passed on, while its connection waits; once.

        Parameters
        ----------
        nbytes : int
            Counted from now on, over all connections.
        way : {"requests", "replies"}
        action : callable or None
            None cuts the connection, and one that returns False does so when it is done.
        """
        with self._lock:
            self.passed = {"requests": 0, "replies": 0}
            self._mark = way, nbytes, action

    def act_no_more(self) -> None:
        """Forget what was to be done, where the byte has not come."""
        with self._lock:
            self._mark = None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:  # the server is away
                client.close()
                continue
            for end in (client, server):
                if end.family != socket.AF_UNIX:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # so that pieces stay apart
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._upstream, int):
            return socket.create_connection(("127.0.0.1", self._upstream))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream)
        except OSError:
            server.close()
            raise
        return server

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
            selector.register(client, selectors.EVENT_READ, (server, "requests"))
            selector.register(server, selectors.EVENT_READ, (client, "replies"))
            while True:
                for found, _ in selector.select():
                    target, way = found.data
                    data = found.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # they are sockets
                    if not data or not self._pass_on(data, target, way):
                        return

    def _pass_on(self, data: bytes, target: socket.socket, way: Way) -> bool:
        """Pass bytes on; False where their connection is to be cut."""
        while data:
            allowed, reached, action = self._allowed(len(data), way)
            self._send(data[:allowed], target)
            data = data[allowed:]
            if reached and (action is None or self._act(action) is False):
                return False
        return True

    def _send(self, data: bytes, target: socket.socket) -> None:
        while data:
            size = self.piece() if self.piece else len(data)
            if self.pause:
                time.sleep(self.pause())
            target.sendall(data[:size])
            data = data[size:]

    def _act(self, action: Callable[[], object]) -> object:
        try:
            return action()
        except Exception as error:  # it is no matter of the connection's; who told it to act will look
            self.failure = error
            return False

    def _allowed(self, nbytes: int, way: Way) -> tuple[int, bool, Callable[[], object] | None]:
        """Return how many bytes may pass, whether the mark is reached behind them, and what is to be done there."""
        with self._lock:
            left = self._mark[1] - self.passed[way] if self._mark and self._mark[0] == way else nbytes
            reached, action = left < nbytes, None
            if reached and self._mark:
                action, self._mark = self._mark[2], None
                self.acts += 1
                self.cuts += action is None
            allowed = min(left, nbytes)
            self.passed[way] += allowed
            return allowed, reached, action
