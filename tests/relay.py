"""A relay between a client and the server, that loses answers: what a network does at its worst, at a known moment."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from walrus_ts import Database


class Relay:
    """A unix socket behind which the server is.

    Attributes
    ----------
    state : {"open", "mute", "shut"}
        Mute, a connection passes on what the client says, and ends when the server answers. Shut, there is none.
    """

    def __init__(self, db: Database, folder: Path) -> None:
        connection = db.connection_pool.get_connection()
        self._family, self._server = connection._sock.family, connection._sock.getpeername()
        db.connection_pool.release(connection)
        self.state: Literal["open", "mute", "shut"] = "open"
        self._path = folder / "relay"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"unix://{self._path}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def shut(self) -> None:
        """End all connections, and take no new ones."""
        self.state = "shut"
        for pair in self._pairs:
            _end(pair)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.state == "shut":
                    client.close()
                    continue
                server = socket.socket(self._family)
                server.connect(self._server)
                self._pairs.append((client, server))
                for ends in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._pass, args=ends)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        is_answer = (target, source) in self._pairs
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_answer and self.state != "open":
                    break
                target.sendall(data)
        _end((source, target))


def _end(pair: tuple[Any, Any]) -> None:
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
