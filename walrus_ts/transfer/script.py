"""Lua scripts, which the server runs in one step: sent whole once, and named by their hash from then on."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from walrus_ts.columnar import resp
from walrus_ts.columnar.commands import command
from walrus_ts.transfer.wire import Wire, check

MOST_UNPACKED = 7_000  # values that Lua's `unpack` takes at once: its stack has 8,000 places (luaconf.h)


class Script:
    """A script.

    Parameters
    ----------
    source : bytes
        Lua.
    """

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._hash = sha1(source, usedforsecurity=False).hexdigest().encode()

    def run(self, wire: Wire, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        """Run it, and return what it returns.

        Raises
        ------
        redis.exceptions.RedisError
            It failed; what it did before stays done.
        """
        rest = [b"%d" % len(keys), *keys, *arguments]
        (reply,) = wire.ask(command(b"EVALSHA", self._hash, *rest))
        if isinstance(reply, resp.ErrorReply) and reply.message.startswith("NOSCRIPT"):
            (reply,) = wire.ask(command(b"EVAL", self._source, *rest))
        return check(reply, *keys)
