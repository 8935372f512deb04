"""New rows of a group that are asked for before they are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from redis.connection import BlockingConnectionPool
from redis.exceptions import RedisError

from walrus_ts.columnar.replies import EntriesReply
from walrus_ts.transfer.member import Member
from walrus_ts.transfer.wire import Wire


@dataclass(slots=True)
class Ahead:
    """The first piece of the next delivery of new rows, under way on a connection of its own.

    The server delivers its rows when it makes them. So they are to be read, or handed back; where the piece is given up
    otherwise, it is a reply that was lost.

    Parameters
    ----------
    member : Member
    count : int
        Rows of a stream in a delivery at most.
    """

    member: Member
    count: int
    _wire: Wire | None = field(init=False, default=None)
    _since: float = field(init=False, default=0.0)

    @property
    def under_way(self) -> bool:
        """Tell whether a piece has been asked for."""
        return self._wire is not None and self._wire.busy

    @property
    def seconds(self) -> float:
        """For how long the piece has been under way; 0 where none is."""
        return time.monotonic() - self._since if self.under_way else 0.0

    def ask(self) -> None:
        """Ask for the piece; where no connection is to be had at once, for none."""
        if isinstance(self.member.pool, BlockingConnectionPool):  # it may wait for the one that the caller holds
            return
        with suppress(RedisError):
            if self._wire is None:
                self._wire = Wire(self.member.pool).__enter__()
            self._since = time.monotonic()
            self.member.ask_new(self._wire, self.count)

    def read(self, when_full: Callable[[], None] | None) -> Iterator[dict[bytes, EntriesReply]]:
        """Read a delivery that begins with the piece (`Member.read_new`); none where none is under way."""
        if self._wire is not None and self._wire.busy:
            yield from self.member.read_new(self._wire, self.count, None, when_full)

    def hand_back(self, claim_ms: int) -> None:
        """Hand the piece's rows back as if they had not been delivered.

        Raises
        ------
        GroupMissingError
        redis.exceptions.RedisError
            The connection is lost, or the server refuses.
        """
        if self._wire is not None and self._wire.busy:
            for key, reply in self.member.receive_new(self._wire).items():
                self.member.hand_back(key, [(id_, 1) for id_ in reply.ids()], claim_ms, self._wire)

    def leave(self) -> None:
        """Give the connection back, and the piece up, where one is under way."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.__exit__(None, None, None)
