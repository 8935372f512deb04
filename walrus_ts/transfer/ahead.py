"""New rows of a group that are asked for before they are wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from walrus_ts.columnar.replies import EntriesReply, parse_streams
from walrus_ts.transfer.member import PIECE, Member
from walrus_ts.transfer.wire import Wire


@dataclass(slots=True)
class Ahead:
    """The next piece of new rows, under way on a connection of its own.

    The server delivers its rows when it makes them: to give the piece up is to lose a reply.

    Parameters
    ----------
    member : Member
    count : int
        Rows of a stream in a delivery at most.
    """

    member: Member
    count: int
    _wire: Wire | None = field(init=False, default=None)
    _holding: ExitStack = field(init=False, default_factory=ExitStack)  # gives it back
    _asked: int = field(init=False, default=0)  # how many rows
    _since: float = field(init=False, default=0.0)

    @property
    def seconds(self) -> float:
        """For how long a piece has been under way; 0 where none is."""
        return time.monotonic() - self._since if self._asked else 0.0

    def begin(self) -> None:
        """Ask for the first piece of the next delivery; where no connection is to be had, for none."""
        with suppress(RedisError):
            self._wire = self._holding.enter_context(Wire(self.member.pool))
            self._ask(self._wire, self.count)

    def take(self, *, more: bool) -> Iterator[dict[bytes, EntriesReply]]:
        """Take the pieces of one delivery, as `Member.read_new` yields them; none where none was asked for.

        Parameters
        ----------
        more : bool
            Go on to the next delivery when the last piece of this one has come full.
        """
        left = self.count
        while self._wire is not None and self._asked:
            reply, asked, self._asked = self._wire.receive(), self._asked, 0
            full = self.member.is_full(reply, asked)
            left -= asked
            if full and (left > 0 or more):
                self._ask(self._wire, left or self.count)
            yield parse_streams(reply, self.member.keys)
            if left == 0:
                break
        if not self._asked:
            self.leave()

    def leave(self) -> bool:
        """Give up what is under way; return whether there was something."""
        found = bool(self._asked)
        self._asked, self._wire = 0, None
        self._holding.close()
        return found

    def _ask(self, wire: Wire, left: int) -> None:
        self.member.ask_new(wire, min(left, PIECE))
        if wire.busy:
            self._asked, self._since = min(left, PIECE), time.monotonic()
