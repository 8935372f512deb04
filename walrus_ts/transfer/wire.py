"""Bytes out, bytes in, on a connection of redis-py's.

redis-py opens, secures and authenticates the connection; what goes over it here is written and read as it is.
"""

from __future__ import annotations

import builtins
import re
import secrets
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # redis-py's own, which its users catch
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # likewise
)

from walrus_ts.cluster import ElsewhereError, SlotPool
from walrus_ts.columnar import resp
from walrus_ts.columnar.commands import bulk, command
from walrus_ts.columnar.lines import SLACK
from walrus_ts.columnar.schema import shown
from walrus_ts.connection import wait_readable
from walrus_ts.sentinel import MasterPool
from walrus_ts.transfer.asking import Asking

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool

_FIRST_BUFFER = 1 << 16

_ERRORS: dict[str, type[Exception]] = {
    "BUSY": BusyLoadingError,  # with a script
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
}
# What a server says that is no master any more, or that has no replica left because one of them is the master now.
_DEMOTED = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED force")
# What a server of a cluster says that has not the key's slot, or not all of it.
_MOVED = ("MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN ", "UNBLOCKED force")


# What ECHO may be answered with, where the user has no right to it, or a script keeps the server busy: there is no end.
_NO_ECHO = re.compile(rb"(?:^|\n)-(?:NOAUTH|BUSY|NOPERM [^\r\n]*\becho\b)[^\r\n]*\r\n$")
_LONGEST_ERROR = 512
# Redis 7.0; later ones, and Valkey.
_SCRIPT_REFUSED = re.compile(r"The user executing the script can't|ACL failure in script")


class Wire:
    """A connection borrowed from a pool; a context manager that gives it back.

    Each request ends with an ECHO of random bytes, and its reply is whole when it ends in them: nothing has to be
    parsed to know that. One request is under way at a time.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._by_sentinel = pool if isinstance(pool, MasterPool) else None
        self._connection: Any = None
        self._asking: Asking | None = None
        self._end, self._lines = b"", 0
        self._expected = _FIRST_BUFFER

    def __enter__(self) -> Self:
        try:
            self._connection = self._pool.get_connection()
        except ConnectionError as error:
            if _is_refusal(error.__context__):  # to try again would not help
                raise AuthenticationError(str(error)) from error
            raise
        if isinstance(self._pool, SlotPool) and self._pool.asks(self._connection):
            self._asking = Asking()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        connection, self._connection, self._asking = self._connection, None, None
        if kind is not None or self.busy:  # a reply may still be on its way
            connection.disconnect()
        self._end = b""
        self._pool.release(connection)

    @property
    def asking(self) -> bool:
        """Tell whether the server is one of a cluster that the slot is still on its way to."""
        return self._asking is not None

    @property
    def busy(self) -> bool:
        """Tell whether a reply is on its way."""
        return bool(self._end)

    def exchange(self, *buffers: bytes | memoryview) -> memoryview:
        """Send commands, and wait for all that they are answered with (`receive`)."""
        self.send(buffers)
        return self.receive()

    def ask(self, *commands: bytes) -> list[Any]:
        """Send commands, and read their replies as objects; an error reply is an `ErrorReply`."""
        return resp.parse(self.exchange(*commands)[:-SLACK])

    def wait(self, blocking: bytes, block_ms: int) -> memoryview:
        """Send a command that the server may keep waiting for `block_ms`, 0 for ever, and `receive` its reply."""
        connection = self._connection
        timeout = connection.socket_timeout
        if timeout is not None:
            connection._sock.settimeout(timeout + block_ms / 1_000)
        self.send([blocking])
        if self._asking is not None:
            self._receive_exactly(len(self._asking.answer))
        if timeout is None or block_ms == 0:
            wait_readable(connection)
        reply = self.receive()
        connection._sock.settimeout(timeout)
        return reply

    def send(
        self, buffers: Sequence[bytes | memoryview], opened: Sequence[bytes | memoryview] = (), lines: int = 0
    ) -> None:
        """Send commands.

        Parameters
        ----------
        buffers : sequence of bytes-like
        opened : sequence of bytes-like
            A transaction that they leave open: its commands are answered by a line each.
        lines : int
            How many commands `opened` has.
        """
        if self._by_sentinel is not None:
            self._by_sentinel.check(self._connection)
        if self._asking is not None:
            buffers, opened = self._asking.before(buffers), self._asking.before_opened(opened)
            lines += bool(lines)
        token = secrets.token_hex(16).encode()
        self._end, self._lines = bulk(token), lines
        pieces = [*buffers, command(b"ECHO", token), *opened]
        if sum(map(len, pieces)) <= _FIRST_BUFFER:  # one system call
            pieces = [b"".join(pieces)]
        self._connection.send_packed_command(pieces, check_health=False)

    def ask_each(self, commands: Iterable[bytes]) -> list[Any]:
        """Send commands as they are made, while the server works on those before; read their replies as `ask` does."""
        waiting = iter(commands)
        first = next(waiting)
        for following in waiting:
            pieces = [first] if self._asking is None else self._asking.before([first])
            self._connection.send_packed_command(pieces, check_health=False)
            first = following
        return self.ask(first)

    def confirm(self) -> None:
        """See to it that what was done is with the master still, and not with a former one that goes on taking rows.

        Raises
        ------
        redis.exceptions.ConnectionError
            Sentinel names another one, which may not have it.
        """
        if self._by_sentinel is not None:
            self._by_sentinel.check(self._connection, now=True)

    def receive(self) -> memoryview:
        """Wait for all that the commands sent are answered with.

        Returns
        -------
        reply : memoryview
            The replies, and `SLACK` bytes that are none of them.

        Raises
        ------
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError
            The connection is lost; the reply with it. Or Sentinel found the server, and it is no master any more.
        """
        return self.receive_opened()[0]

    def receive_opened(self) -> tuple[memoryview, bytes]:
        """Wait as `receive` does; return the lines that an open transaction is answered with, too."""
        end = self._end
        buffer = np.empty(self._expected, np.uint8)
        filled, stop = 0, -1
        while stop < 0 or (self._lines and bytes(buffer[stop:filled]).count(b"\n") < self._lines):
            if filled == len(buffer):
                buffer = np.concatenate((buffer, np.empty(len(buffer), np.uint8)))
            filled += self._receive_into(memoryview(buffer.data)[filled:])
            if stop < 0:
                stop = self._find_end(buffer, filled)
                if stop < 0 and _NO_ECHO.search(buffer.data[max(0, filled - _LONGEST_ERROR) : filled]):
                    _refuse_without_end(bytes(buffer[:filled]))
        self._end = b""
        self._expected = max(_FIRST_BUFFER, filled + filled // 8)
        reply, lines = memoryview(buffer.data)[: stop - len(end) + SLACK], bytes(buffer[stop:filled])
        if self._by_sentinel is not None:
            _refuse_demoted(reply[:-SLACK])
            _refuse_demoted(lines)
        if self._asking is not None:
            return self._asking.remove(reply), self._asking.remove_opened(lines)
        return reply, lines

    def _receive_exactly(self, count: int) -> None:
        """Receive what ASKING is answered with before a reply that is waited for."""
        view = memoryview(bytearray(count))
        while view:
            view = view[self._receive_into(view) :]

    def _find_end(self, buffer: np.ndarray[Any, Any], filled: int) -> int:
        """Return the position behind the end mark, -1 where it has not come."""
        end = self._end
        if not self._lines:  # nothing comes behind it
            return filled if bytes(buffer[max(0, filled - len(end)) : filled]) == end else -1
        at = bytes(buffer[:filled]).rfind(end)
        return at if at < 0 else at + len(end)

    def _receive_into(self, view: memoryview) -> int:
        try:
            received: int = self._connection._sock.recv_into(view)
        except builtins.TimeoutError as error:
            raise TimeoutError("timed out while a reply was on its way") from error
        except (OSError, AttributeError) as error:  # no socket: it was closed under us
            raise ConnectionError(f"the connection was lost while a reply was on its way: {error}") from error
        if received == 0:
            raise ConnectionError("the server closed the connection while a reply was on its way")
        return received


def _is_refusal(error: BaseException | None) -> bool:
    """Tell whether a certificate or a key was at fault, and not that a handshake was cut off."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))


def _refuse_without_end(replies: bytes) -> None:
    """Raise the last of replies, behind which no end mark will come; unless they are not whole: a value may read so.

    Where those before it are no errors, the error's `unheard` is true: the commands have been carried out.
    """
    with suppress(ValueError):
        *answers, last = resp.parse(replies)
        if isinstance(last, resp.ErrorReply):
            error = to_exception(last)
            error.__dict__["unheard"] = not all(isinstance(answer, resp.ErrorReply) for answer in answers)
            raise error


def _refuse_demoted(replies: bytes | memoryview) -> None:
    """Raise what a server says that is no master any more: Sentinel names another one, at once or soon.

    Raises
    ------
    ElsewhereError
        Work goes on with another connection.
    """
    raw = bytes(replies)
    if not any(word.encode() in raw for word in _DEMOTED):
        return
    for reply in resp.parse(raw):  # it may be a value that reads so
        if isinstance(reply, resp.ErrorReply) and any(word in reply.message for word in _DEMOTED):
            raise ElsewhereError(f"the server is not the master, or not for long: {reply.message}")


def is_open(pool: Pool) -> bool:
    """Tell whether a pool has an open connection to lend: it has none once its database is closed."""
    pool = pool.master if isinstance(pool, SlotPool) else pool
    connections = getattr(pool, "_connections", None) or pool._available_connections  # a blocking pool's; any other's
    return any(connection._sock is not None for connection in connections)


def to_exception(reply: resp.ErrorReply) -> Exception:
    """Turn an error reply into redis-py's exception for it."""
    code, _, rest = reply.message.partition(" ")
    if reply.message.startswith(_MOVED):
        return ElsewhereError(
            f"the server has not the key's slot, or not all of it, or not for long: {reply.message}. `CLUSTER NODES` "
            "tells whether the slot is on its way to another server."
        )
    if code == "NOPERM" or _SCRIPT_REFUSED.search(reply.message):
        return NoPermissionError(
            f'{rest} ("Security" in walrus_ts\'s documentation lists what each kind of work needs; `ACL LOG`, on the '
            "server, which command or key was refused)"
        )
    return _ERRORS[code](rest) if code in _ERRORS else ResponseError(reply.message.removeprefix("ERR "))


def refuse_error(reply: memoryview, *keys: bytes) -> None:
    """Raise a reply, with the slack behind it, where it is an error (`check`)."""
    if reply[:1].tobytes() == b"-":
        check(resp.parse(reply[:-SLACK])[0], *keys)


def check(reply: Any, *keys: bytes) -> Any:
    """Return a reply, or raise it where it is an error; of a key that is of another type, it names `keys`."""
    if isinstance(reply, resp.ErrorReply):
        if keys and reply.message.startswith("WRONGTYPE"):
            named = ", ".join(repr(shown(key)) for key in keys)
            reply = resp.ErrorReply(f"{reply.message}: {named}")
        raise to_exception(reply)
    return reply
