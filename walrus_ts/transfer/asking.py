"""ASKING, which a server of a cluster wants before a command for a slot that is still on its way to it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence

from redis.exceptions import NoPermissionError

from walrus_ts.columnar.commands import bulk, command
from walrus_ts.columnar.lines import SLACK

_ASKING, _MULTI = command(b"ASKING"), command(b"MULTI")
_ENDS = (command(b"EXEC"), command(b"DISCARD"))
_OK = b"+OK\r\n"


class Asking:
    """Puts ASKING before commands, and takes out of the replies what that is answered with.

    It holds for one command, and before MULTI for the transaction ("Redis cluster specification" on redis.io;
    `resetClient` in networking.c). Before it goes an ECHO of random bytes: so its answer is told from a value that
    reads like it.
    """

    def __init__(self) -> None:
        token = secrets.token_hex(16).encode()
        self._prefix = command(b"ECHO", token) + _ASKING
        self._echo = bulk(token)
        self._open = False  # a transaction

    @property
    def answer(self) -> bytes:
        """What stands before each reply."""
        return self._echo + _OK

    def before(self, buffers: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """Put it before commands, each a buffer of its own but for those of a transaction."""
        pieces: list[bytes | memoryview] = []
        for buffer in buffers:
            if buffer in _ENDS:
                self._open = False
            elif not self._open:
                pieces.append(self._prefix)
                self._open = buffer == _MULTI
            pieces.append(buffer)
        return pieces

    def before_opened(self, buffers: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
        """Put it before a transaction that is left open."""
        if not buffers:
            return []
        self._open = True
        return [_ASKING, *buffers]

    def remove(self, reply: memoryview) -> memoryview:
        """Take its answers out of replies, with the slack behind them.

        Raises
        ------
        NoPermissionError
            The user has not the right to it.
        """
        left = bytes(reply[:-SLACK]).replace(self.answer, b"")
        refused = re.search(re.escape(self._echo) + rb"-(?:NOPERM )?([^\r\n]*)", left)
        if refused is not None:
            raise NoPermissionError(refused[1].decode(errors="replace"))
        return memoryview(left + bytes(SLACK))

    def remove_opened(self, lines: bytes) -> bytes:
        """Take its answer out of those to a transaction that is left open."""
        return lines.partition(b"\r\n")[2]
