"""A consumer group, batch by batch: own backlog, rows of the dead, new ones; acknowledging and dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from redis.exceptions import BusyLoadingError, ResponseError

from walrus_ts.columnar import resp
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.replies import SLACK, EntriesReply, parse_streams
from walrus_ts.columnar.schema import Records
from walrus_ts.errors import GroupMissingError
from walrus_ts.transfer.wire import LOST, REFUSED_LOGIN, Wire, check, refuse_error

if TYPE_CHECKING:
    import numpy.typing as npt
    from redis import ConnectionPool

_PATIENCE_SECONDS = 60.0  # without a connection, before reading gives up
_LONGEST_LOOK = 5.0  # seconds between two looks for rows of the dead
_LONGEST_BLOCK = 600.0  # seconds for which one XREADGROUP waits
_IDS_A_COMMAND = 1_000

# Moves rows to the dead letters, each in one step with its acknowledgement; a row that another consumer has finished
# meanwhile stays finished. Returns how many were moved, and how many the stream no longer holds.
# KEYS: stream, dead letters. ARGV: group, consumer, reason, then id and deliveries of each row.
_BURY = b"""
local moved, lost = 0, 0
for i = 4, #ARGV, 2 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
    if entry then
      local letter = {'id', ARGV[i], 'deliveries', ARGV[i + 1], 'group', ARGV[1], 'consumer', ARGV[2],
        'reason', ARGV[3]}
      for at = 1, #entry[2], 2 do
        table.insert(letter, '.' .. entry[2][at])
        table.insert(letter, entry[2][at + 1])
      end
      redis.call('XADD', KEYS[2], '*', unpack(letter))
      moved = moved + 1
    else
      lost = lost + 1
    end
  end
end
return {moved, lost}
"""

# Hands rows back as if they had not been delivered, those that are still the consumer's.
# KEYS: stream. ARGV: group, consumer, idle milliseconds, then ids.
_HAND_BACK = b"""
local handed = 0
for i = 4, #ARGV do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  if row then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3],
      'RETRYCOUNT', math.max(row[4] - 1, 0), 'JUSTID')
    handed = handed + 1
  end
end
return handed
"""


@dataclass(slots=True)
class Delivery:
    """Rows of one stream that were delivered together.

    Attributes
    ----------
    key : bytes
    reply : EntriesReply
    deliveries : int64 array, shape (n,)
        How often each row has been delivered, this time included.
    lost : int
        Rows that were pending and are no longer in the stream.
    """

    key: bytes
    reply: EntriesReply
    deliveries: npt.NDArray[np.int64]
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A consumer of a group, on the connections that it speaks over.

    Parameters
    ----------
    pool : redis.ConnectionPool
        Its connections speak RESP2 and do not decode.
    group, consumer : bytes
    keys : sequence of bytes
        The streams.
    """

    pool: ConnectionPool
    group: bytes
    consumer: bytes
    keys: Sequence[bytes]

    def read_new(self, wire: Wire, count: int | None, block_ms: int | None) -> dict[bytes, EntriesReply]:
        """Read rows that the group has not read yet (XREADGROUP); it is sent once, never again.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams.
        """
        limit = [] if count is None else [b"COUNT", b"%d" % count]
        block = [] if block_ms is None else [b"BLOCK", b"%d" % block_ms]
        where = [b"STREAMS", *self.keys, *[b">"] * len(self.keys)]
        request = command(b"XREADGROUP", b"GROUP", self.group, self.consumer, *limit, *block, *where)
        reply = wire.exchange(request) if block_ms is None else wire.wait(request, block_ms)
        self._refused(reply)
        return parse_streams(reply, self.keys)

    def pending(
        self, wire: Wire, key: bytes, count: int, *, after: bytes = b"-", idle_ms: int = 0, own: bool = False
    ) -> list[tuple[bytes, int]]:
        """List pending rows and how often they were delivered (XPENDING)."""
        consumer = [self.consumer] if own else []
        idle = [b"IDLE", b"%d" % idle_ms] if idle_ms else []
        reply = wire.exchange(command(b"XPENDING", key, self.group, *idle, after, b"+", b"%d" % count, *consumer))
        self._refused(reply)
        return [(row[0], row[3]) for row in resp.parse(reply[:-SLACK])[0]]

    def claim(self, wire: Wire, key: bytes, ids: Sequence[bytes], idle_ms: int) -> EntriesReply:
        """Take pending rows over (XCLAIM), those that nobody has had for less than `idle_ms`."""
        request = command(b"XCLAIM", key, self.group, self.consumer, b"%d" % idle_ms, *ids)
        reply = wire.exchange(request)
        self._refused(reply)
        return EntriesReply(reply)

    def ack(self, key: bytes, ids: Sequence[bytes]) -> int:
        """Acknowledge rows (XACK); return how many were pending."""
        if not ids:
            return 0
        parts = [ids[at : at + _IDS_A_COMMAND] for at in range(0, len(ids), _IDS_A_COMMAND)]
        with Wire(self.pool) as wire:
            replies = wire.ask(*(command(b"XACK", key, self.group, *part) for part in parts))
        return sum(check(reply) for reply in replies)

    def bury(self, key: bytes, rows: Sequence[tuple[bytes, int]], reason: str) -> tuple[int, int]:
        """Move rows, given as id and deliveries, to the dead letters; return how many, and how many were lost."""
        moved = lost = 0
        for at in range(0, len(rows), _IDS_A_COMMAND):
            flat = [part for id_, count in rows[at : at + _IDS_A_COMMAND] for part in (id_, b"%d" % count)]
            arguments = [self.group, self.consumer, reason.encode(errors="replace"), *flat]
            counts = self._eval(_BURY, [key, Records(key).dead], arguments)
            moved, lost = moved + counts[0], lost + counts[1]
        return moved, lost

    def hand_back(self, key: bytes, ids: Sequence[bytes], idle_ms: int) -> int:
        """Undo the delivery of rows; return how many were still this consumer's."""
        handed = 0
        for at in range(0, len(ids), _IDS_A_COMMAND):
            part = ids[at : at + _IDS_A_COMMAND]
            handed += self._eval(_HAND_BACK, [key], [self.group, self.consumer, b"%d" % idle_ms, *part])
        return handed

    def leave(self) -> None:
        """Remove the consumer from the streams where it has nothing pending (XGROUP DELCONSUMER)."""
        with Wire(self.pool) as wire:
            for key in self.keys:
                (rows,) = wire.ask(command(b"XPENDING", key, self.group, b"-", b"+", b"1", self.consumer))
                if rows == []:
                    wire.ask(command(b"XGROUP", b"DELCONSUMER", key, self.group, self.consumer))

    def _eval(self, script: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        with Wire(self.pool) as wire:
            (reply,) = wire.ask(command(b"EVAL", script, b"%d" % len(keys), *keys, *arguments))
        return check(reply)

    def _refused(self, reply: memoryview) -> None:
        """Raise what the server has answered, where it is an error."""
        try:
            refuse_error(reply)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            raise GroupMissingError(
                f"the consumer group {self.group.decode(errors='backslashreplace')!r} does not exist on all of its "
                f"streams: {error}. `create()` makes it.",
                group=self.group,
                keys=list(self.keys),
            ) from error


@dataclass(slots=True)
class Feed:
    """What a consumer is to work on, delivery by delivery.

    First this consumer's own backlog, then rows that another has left pending, then new ones; each in its turn, so none
    starves the others. Rows that were delivered before come in smaller and smaller deliveries, at last one by one, so
    that only a row that fails alone is given up.

    Parameters
    ----------
    member : Member
    count : int
        Rows of a stream at most.
    claim_ms : int
        How long a row has to be pending before it is taken over.
    max_deliveries : int
        How often a row is delivered before it goes to the dead letters.
    """

    member: Member
    count: int
    claim_ms: int
    max_deliveries: int
    _backlog: dict[bytes, bytes] = field(init=False)
    _newest: dict[bytes, bytes] = field(init=False, default_factory=dict)
    _turn: int = field(init=False, default=0)
    _next_look: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._backlog = dict.fromkeys(self.member.keys, b"-")

    def take(self, wait: float | None) -> list[Delivery]:
        """Return the next deliveries, at most one a stream; none where nothing new has come for `wait` seconds.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams.
        redis.exceptions.RedisError
            The server could not be reached for a minute, or refuses.
        """
        end = None if wait is None else time.monotonic() + wait
        patience, pause = time.monotonic() + _PATIENCE_SECONDS, 0.05
        while True:
            try:
                with Wire(self.member.pool) as wire:
                    found = self._round(wire)
                    while not found:
                        patience, pause = time.monotonic() + _PATIENCE_SECONDS, 0.05
                        left = None if end is None else end - time.monotonic()
                        if left is not None and left <= 0:
                            return []
                        found = self._new(wire, self._block_ms(left)) or self._round(wire)
                    return found
            except (*LOST, BusyLoadingError) as error:
                if time.monotonic() > patience or isinstance(error, REFUSED_LOGIN):
                    raise
                # A reply may be lost whose rows the server has given to this consumer: they are its backlog now.
                self._backlog = {key: self._newest.get(key, b"-") for key in self.member.keys}
                time.sleep(pause)
                pause = min(1.0, 2 * pause)

    def _block_ms(self, left: float | None) -> int:
        until_look = self._next_look - time.monotonic()
        seconds = min(_LONGEST_BLOCK, *(s for s in (left, until_look) if s is not None))
        return max(1, int(seconds * 1_000))

    def _round(self, wire: Wire) -> list[Delivery]:
        """Ask the sources in turn, beginning behind the one that was found to have rows last."""
        sources: list[Callable[[Wire], list[Delivery]]] = [self._own, self._left, self._new]
        for step in range(len(sources)):
            found = sources[(self._turn + step) % len(sources)](wire)
            if found:
                self._turn = (self._turn + step + 1) % len(sources)
                return found
        return []

    def _own(self, wire: Wire) -> list[Delivery]:
        """Read this consumer's own backlog: what it had pending when it began, or when a connection was lost."""
        for key in list(self._backlog):
            while key in self._backlog:
                listed = self.member.pending(wire, key, self.count, after=self._backlog[key], own=True)
                if not listed:
                    del self._backlog[key]
                    break
                chosen = self._choose(listed)
                self._backlog[key] = b"(" + chosen[-1][0]
                found = self._deliver(wire, key, chosen, 0)
                if found:
                    return found
        return []

    def _left(self, wire: Wire) -> list[Delivery]:
        """Take over what nobody has touched for `claim_ms`."""
        if time.monotonic() < self._next_look:
            return []
        for key in self.member.keys:
            while listed := self.member.pending(wire, key, self.count, idle_ms=self.claim_ms):
                found = self._deliver(wire, key, self._choose(listed), self.claim_ms)
                if found:
                    return found
        self._next_look = time.monotonic() + min(_LONGEST_LOOK, max(0.01, self.claim_ms / 4_000))
        return []

    def _new(self, wire: Wire, block_ms: int | None = None) -> list[Delivery]:
        replies = self.member.read_new(wire, self.count, block_ms)
        for key, reply in replies.items():
            self._newest[key] = b"(" + reply.last_id.encode()
        return [Delivery(key, reply, np.ones(len(reply), np.int64)) for key, reply in replies.items()]

    def _choose(self, listed: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Take as many rows off the front as may be delivered together, by how often they were delivered."""
        size = self.count
        for position, (_, deliveries) in enumerate(listed):
            size = min(size, self._size(deliveries + 1))
            if position >= size:
                return listed[:position]
        return listed

    def _size(self, delivery: int) -> int:
        """Return how many rows are delivered together the n-th time: all of `count` first, one at last."""
        if delivery <= 1:
            return self.count
        if delivery >= self.max_deliveries:
            return 1
        exponent = (self.max_deliveries - delivery) / (self.max_deliveries - 1)
        size: float = self.count**exponent
        return max(1, round(size))

    def _deliver(self, wire: Wire, key: bytes, rows: list[tuple[bytes, int]], idle_ms: int) -> list[Delivery]:
        """Claim rows; those that were delivered often enough go to the dead letters instead."""
        spent = [row for row in rows if row[1] >= self.max_deliveries]
        rows = [row for row in rows if row[1] < self.max_deliveries]
        lost = 0
        if spent:
            lost = self.member.bury(key, spent, f"delivered {self.max_deliveries} times")[1]
        reply = self.member.claim(wire, key, [id_ for id_, _ in rows], idle_ms) if rows else EntriesReply.of([])
        lost += self._count_lost(wire, key, rows, reply)
        if not len(reply) and not lost:
            return []
        before = dict(rows)
        ids = reply.ids()
        return [Delivery(key, reply, np.array([before[id_] + 1 for id_ in ids], np.int64), lost)]

    def _count_lost(self, wire: Wire, key: bytes, rows: list[tuple[bytes, int]], reply: EntriesReply) -> int:
        """Count rows that a claim took off the pending list, for the stream no longer holds them."""
        missing = {id_ for id_, _ in rows}.difference(reply.ids())
        if not missing:
            return 0
        checks = [command(b"XPENDING", key, self.member.group, id_, id_, b"1") for id_ in missing]
        return [bool(check(reply)) for reply in wire.ask(*checks)].count(False)
