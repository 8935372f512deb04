"""A consumer group, batch by batch: own backlog, rows of the dead, new ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from redis.exceptions import RedisError

from walrus_ts.columnar.commands import command
from walrus_ts.columnar.replies import EntriesReply
from walrus_ts.connection import LONGEST_PAUSE
from walrus_ts.errors import GroupMissingError
from walrus_ts.transfer.ahead import Ahead
from walrus_ts.transfer.member import PIECE, Member
from walrus_ts.transfer.patience import PASSING, Patience
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    import numpy.typing as npt

_LONGEST_LOOK = 5.0  # seconds between two looks for rows of the dead
_LONGEST_BLOCK = 600.0  # seconds for which one XREADGROUP waits
_LONGEST_AHEAD = 1.0  # seconds for which rows wait that were asked for ahead


@dataclass(slots=True)
class Delivery:
    """Rows of one stream that were delivered together.

    Attributes
    ----------
    key : bytes
    replies : list of EntriesReply
    deliveries : int64 array, shape (n,)
        How often each row has been delivered, this time included.
    lost : int
        Rows that were pending and are no longer in the stream.
    """

    key: bytes
    replies: list[EntriesReply]
    deliveries: npt.NDArray[np.int64]
    lost: int = 0

    def rows(self) -> list[tuple[bytes, int]]:
        """Return each row's id, and how often it has been delivered."""
        ids = [id_ for reply in self.replies for id_ in reply.ids()]
        return list(zip(ids, self.deliveries.tolist(), strict=True))


@dataclass(slots=True)
class Feed:
    """What a consumer is to work on, delivery by delivery.

    Rows that were delivered before and new ones take turns, so that neither starves the other. Of the former, this
    consumer's own backlog comes first, which has an end, and then what others have left pending. Rows that were
    delivered before come in smaller and smaller deliveries, at last one by one, so that only a row that fails alone is
    given up. A reply that is lost with its connection counts as no delivery.

    Parameters
    ----------
    member : Member
    count : int
        Rows of a stream at most.
    claim_ms : int
        How long a row has to be pending before it is taken over.
    max_deliveries : int
        How often a row is delivered, the last time alone, before it goes to the dead letters.
    remake : callable
        Makes the group anew where it has gone, with its server's data or with its stream; returns the streams' keys.
    prepare : callable
        Is called with a stream's key and a reply, while the server works on the next one.
    prefetch : bool, optional
        When a delivery of new rows is full, have the server read the first ones of the next, which are the next to be
        taken, or handed back at the end. None: where deliveries have several pieces, and the work on one was quick.
    """

    member: Member
    count: int
    claim_ms: int
    max_deliveries: int
    remake: Callable[[], set[bytes]]
    prepare: Callable[[bytes, EntriesReply], None]
    prefetch: bool | None
    _known: bool = field(init=False, default=False)  # the group has been there
    _settled: bool = field(init=False, default=False)  # no reply was lost that has not been seen to
    _backlog: dict[bytes, tuple[bytes, bytes]] = field(init=False, default_factory=dict)  # what is left: after, until
    _newest: dict[bytes, bytes] = field(init=False, default_factory=dict)  # up to here, new rows were seen to
    _claiming: tuple[bytes, list[tuple[bytes, int]]] | None = field(init=False, default=None)
    _new_first: bool = field(init=False, default=False)
    _order: list[bytes] = field(init=False)  # in which streams are looked through for rows of the dead
    _next_look: float = field(init=False, default=0.0)
    _ahead: Ahead = field(init=False)
    _given: float = field(init=False)  # when the last delivery was
    _quick: bool = field(init=False)  # the work on that took no longer than rows may wait

    def __post_init__(self) -> None:
        self._order = list(self.member.keys)
        self._ahead = Ahead(self.member, self.count)
        self._given = -math.inf if self.prefetch is None else math.inf  # of the first work, nobody knows

    def take(self, wait: float | None) -> list[Delivery]:
        """Return the next deliveries, at most one a stream; none where nothing new has come for `wait` seconds.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams, and has not before.
        redis.exceptions.RedisError
            The server could not be reached for a minute, or refuses.
        """
        now = time.monotonic()
        end = None if wait is None else now + wait
        self._quick = now - self._given <= self._longest_ahead
        patience, missing = Patience(), False
        while True:
            try:
                if missing:
                    for key in self.remake():
                        self._newest.pop(key, None)
                    missing = False
                with Wire(self.member.pool) as wire:
                    self._settle(wire)
                    while True:
                        left = None if end is None else end - time.monotonic()
                        block_ms = None if left is not None and left <= 0 else self._block_ms(left)
                        found = self._round(wire, block_ms)
                        self._known = True
                        if found:
                            self._given = time.monotonic()
                        if found or block_ms is None:
                            return found
                        patience.renew()
            except PASSING as error:
                self._unsettle()
                patience.wait(error)
            except GroupMissingError:
                self._unsettle()
                if not self._known:
                    raise
                missing = True
            except BaseException:  # Ctrl-C, say
                self._unsettle()
                raise

    def settle(self) -> None:
        """Hand back the rows of a reply that was lost, and those that were asked for ahead, at the end of all.

        Raises
        ------
        GroupMissingError
        redis.exceptions.RedisError
            The server is away, or refuses.
        """
        try:
            self.hand_back_ahead()
        finally:
            self._ahead.leave()
        if self._newest and not self._settled:
            with Wire(self.member.pool) as wire:
                self._settle(wire)

    def hand_back_ahead(self) -> None:
        """Hand back what was asked for ahead; where that cannot be done, it is a reply that was lost."""
        self._next_look = 0.0  # by which it comes again, unless others are sooner
        try:
            self._ahead.hand_back(self.claim_ms)
        except (RedisError, GroupMissingError):
            self._unsettle()

    def _unsettle(self) -> None:
        """Remember that a reply was lost, and with it what was asked for ahead."""
        self._ahead.leave()
        self._settled = False

    @property
    def _longest_ahead(self) -> float:
        """How many seconds rows may wait that were asked for ahead, before they have to be extended."""
        return min(_LONGEST_AHEAD, self.claim_ms / 20_000)

    def _block_ms(self, left: float | None) -> int:
        until_look = self._next_look - time.monotonic()
        seconds = min(_LONGEST_BLOCK, *(s for s in (left, until_look) if s is not None))
        return max(1, int(seconds * 1_000))

    def _settle(self, wire: Wire) -> None:
        """Learn what this consumer has pending when it begins; later, hand back the rows of replies that were lost."""
        if self._settled:
            return
        for key, last in self.member.positions(wire).items():
            if key in self._newest:
                self._hand_back_new(wire, key, b"(" + self._newest[key], last)
            else:
                self._backlog[key] = b"-", last
            self._newest[key] = last
        if self._claiming is not None:
            key, rows = self._claiming
            self.member.hand_back(key, [(id_, deliveries + 1) for id_, deliveries in rows], self.claim_ms, wire)
            self._claiming = None
        self._next_look = 0.0
        self._settled = True

    def _hand_back_new(self, wire: Wire, key: bytes, after: bytes, until: bytes) -> None:
        while listed := self.member.pending(wire, key, self.count, after=after, until=until, own=True):
            self.member.hand_back(key, [row for row in listed if row[1] == 1], self.claim_ms, wire)
            after = b"(" + listed[-1][0]

    def _round(self, wire: Wire, block_ms: int | None) -> list[Delivery]:
        """Ask the sources in turn; where there is nothing, wait for new rows. What was asked for ahead comes first."""
        if self._new_first or self._ahead.under_way:
            self._new_first = False
            if found := self._new(wire, None):
                return found
        if found := self._old(wire):
            self._new_first = True
            return found
        return self._new(wire, block_ms)

    def _old(self, wire: Wire) -> list[Delivery]:
        return self._own(wire) or self._left(wire)

    def _own(self, wire: Wire) -> list[Delivery]:
        """Read this consumer's own backlog: what it had pending when it began."""
        for key in list(self._backlog):
            while key in self._backlog:
                after, until = self._backlog[key]
                listed = self.member.pending(wire, key, self.count, after=after, until=until, own=True)
                chosen = self._choose(listed)
                found = self._deliver(wire, key, chosen, 0) if chosen else []
                del self._backlog[key]
                if chosen:  # and behind the others with it: streams take turns, too
                    self._backlog[key] = b"(" + chosen[-1][0], until
                if found:
                    return found
        return []

    def _left(self, wire: Wire) -> list[Delivery]:
        """Take over what nobody has touched for `claim_ms`."""
        if time.monotonic() < self._next_look:
            return []
        for key in list(self._order):
            while listed := self.member.pending(wire, key, self.count, idle_ms=self.claim_ms):
                found = self._deliver(wire, key, self._choose(listed), self.claim_ms)
                if found:
                    self._order.remove(key)
                    self._order.append(key)  # streams take turns, too
                    return found
        self._next_look = time.monotonic() + min(_LONGEST_LOOK, max(0.01, self.claim_ms / 4_000))
        return []

    def _new(self, wire: Wire, block_ms: int | None) -> list[Delivery]:
        """Read new rows: first those that were asked for ahead."""
        ahead = self._ahead.ask if self._may_look_ahead() else None
        late = self._ahead.seconds > self._longest_ahead
        found = self._read(self._ahead.read(ahead))
        extended = self._extend(wire, found) if late else True
        self._see(found)
        if not extended:
            self._next_look = 0.0
            return self._old(wire)
        if not found:
            found = self._read(self.member.read_new(wire, self.count, block_ms, ahead))
            self._see(found)
        return found

    def _see(self, found: list[Delivery]) -> None:
        """Remember up to where new rows were seen to: what lies behind, and is lost with a reply, is handed back."""
        self._newest.update({delivery.key: delivery.replies[-1].last_id_text for delivery in found})

    def _may_look_ahead(self) -> bool:
        """Tell whether to have the server read on.

        Not for work that is slow, nor where it is the turn of what was delivered before, nor where a row is given up
        when it has been delivered once: nobody may have seen it.
        """
        others = self._backlog or time.monotonic() >= self._next_look
        prefetch = self.count > PIECE if self.prefetch is None else self.prefetch
        return prefetch and self._quick and not others and self.most > 1

    def _extend(self, wire: Wire, found: list[Delivery]) -> bool:
        """Extend rows that have waited; where others have claimed some of them, hand back those that are left."""
        rows = {delivery.key: [id_ for id_, _ in delivery.rows()] for delivery in found}
        gone = {key: set(self.member.extend(key, ids, wire)) for key, ids in rows.items()}
        if not any(gone.values()):
            return True
        for key, ids in rows.items():
            self.member.hand_back(key, [(id_, 1) for id_ in ids if id_ not in gone[key]], self.claim_ms, wire)
        return False

    def _read(self, found: Iterator[dict[bytes, EntriesReply]]) -> list[Delivery]:
        """Read pieces; where the connection is lost behind one, those that have come are what there is."""
        pieces: dict[bytes, list[EntriesReply]] = {}
        try:
            for replies in found:
                for key, reply in replies.items():
                    self.prepare(key, reply)
                    pieces.setdefault(key, []).append(reply)
        except (RedisError, GroupMissingError):
            if not pieces:
                raise
            self._unsettle()
        return [Delivery(key, replies, np.ones(sum(map(len, replies)), np.int64)) for key, replies in pieces.items()]

    def _choose(self, listed: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Take as many rows off the front as may be delivered together, by how often they were delivered."""
        size = self.count
        for position, (_, deliveries) in enumerate(listed):
            size = min(size, self._size(deliveries + 1))
            if position >= size:
                return listed[:position]
        return listed

    @property
    def most(self) -> int:
        """How often a row is delivered: not only once, unless it is alone even then."""
        return self.max_deliveries if self.count == 1 else max(2, self.max_deliveries)

    def _size(self, delivery: int) -> int:
        """Return how many rows are delivered together the n-th time: all of `count` first, one at last."""
        if delivery <= 1:
            return self.count
        if delivery >= self.most:
            return 1
        exponent = (self.most - delivery) / (self.most - 1)
        size: float = self.count**exponent
        return max(1, round(size))

    def _deliver(self, wire: Wire, key: bytes, rows: list[tuple[bytes, int]], idle_ms: int) -> list[Delivery]:
        """Claim rows; those that were delivered often enough go to the dead letters instead."""
        spent = [row for row in rows if row[1] >= self.most]
        rows = [row for row in rows if row[1] < self.most]
        lost = 0
        if spent:
            lost = self.member.bury(key, spent, f"delivered {self.most} times", own=False, wire=wire)[1]
        self._claiming = key, rows
        reply = self.member.claim(wire, key, [id_ for id_, _ in rows], idle_ms) if rows else EntriesReply.of([])
        self._claiming = None
        lost += self._count_lost(wire, key, rows, reply)
        if not len(reply) and not lost:
            return []
        before = dict(rows)
        ids = reply.ids()
        return [Delivery(key, [reply], np.array([before[id_] + 1 for id_ in ids], np.int64), lost)]

    def _count_lost(self, wire: Wire, key: bytes, rows: list[tuple[bytes, int]], reply: EntriesReply) -> int:
        """Count rows that a claim took off the pending list, for the stream no longer holds them."""
        missing = {id_ for id_, _ in rows}.difference(reply.ids())
        if not missing:
            return 0
        checks = [command(b"XPENDING", key, self.member.group, id_, id_, b"1") for id_ in missing]
        return [bool(check(reply)) for reply in wire.ask(*checks)].count(False)


def take_in_turn(feeds: list[Feed], wait: float | None) -> tuple[Feed, list[Delivery]]:
    """Take the next deliveries of one of several feeds, one for each slot of a cluster (`Feed.take`).

    Parameters
    ----------
    feeds : list of Feed
        The one that has given something becomes the last.
    wait : float, optional
        Seconds.
    """
    if len(feeds) == 1:
        return feeds[0], feeds[0].take(wait)
    end = None if wait is None else time.monotonic() + wait
    pause = 0.001
    while True:
        for feed in feeds:
            found = feed.take(0)
            if found:
                feeds.remove(feed)
                feeds.append(feed)
                return feed, found
        left = LONGEST_PAUSE if end is None else end - time.monotonic()
        if left <= 0:
            return feeds[0], []
        time.sleep(min(pause, left))
        pause = min(LONGEST_PAUSE, 2 * pause)
