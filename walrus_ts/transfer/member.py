"""A consumer of a group: what it asks of the server, and what has to happen there in one step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from walrus_ts.cluster import ElsewhereError, SlotPool
from walrus_ts.columnar import resp
from walrus_ts.columnar.commands import bulk, command, command_of_ids
from walrus_ts.columnar.lines import SLACK
from walrus_ts.columnar.replies import EntriesReply, parse_streams
from walrus_ts.columnar.schema import Records, shown
from walrus_ts.errors import GroupMissingError
from walrus_ts.transfer.lua import BURY, COMMIT, EXTEND, HAND_BACK, LEAVE
from walrus_ts.transfer.patience import GRACE_SECONDS, LOST, Patience, persist
from walrus_ts.transfer.script import Script
from walrus_ts.transfer.wire import Wire, check, refuse_error

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool
    from walrus_ts.ids import Ids

_IDS_A_COMMAND = 1_000  # of a script
_FIRST_IDS, _MOST_IDS = 250, 4_000  # of an XACK; the most take the server some two milliseconds
_SHORTEST_ENTRY = len(b"*2\r\n$3\r\n0-1\r\n*2\r\n$0\r\n\r\n$0\r\n\r\n")  # bytes of a reply
LONG_IDLE_MS = 86_400_000  # of a row that any consumer may claim, whatever its `claim_after`
PIECE = 2_500  # rows of an XREADGROUP: some three milliseconds of the server's time


class Guard(NamedTuple):
    """How a stream has to be for commands to be run.

    Attributes
    ----------
    key, schema : bytes
        The stream, and its schema record.
    last_id, record : bytes
        Their contents; empty where there is none.
    """

    key: bytes
    schema: bytes
    last_id: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Member:
    """A consumer of a group, on the connections that it speaks over.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    group, consumer : bytes
    keys : sequence of bytes
        The streams.
    """

    pool: Pool
    group: bytes
    consumer: bytes
    keys: Sequence[bytes]

    def read_new(
        self,
        wire: Wire,
        count: int | None,
        block_ms: int | None,
        when_full: Callable[[], None] | None = None,
    ) -> Iterator[dict[bytes, EntriesReply]]:
        """Read rows that the group has not read yet (XREADGROUP); no request is ever sent again.

        Many rows come in pieces. The next one is asked for as soon as one has come, so the server works on it while the
        caller works on this one; they end with the first that is not full.

        Parameters
        ----------
        wire : Wire
            Where it is busy, the first piece has been asked for (`ask_new`).
        count : int, optional
            Rows of a stream at most.
        block_ms : int, optional
            How long to wait for the first piece.
        when_full : callable, optional
            Is called when the last piece has come full, before it is yielded.

        Yields
        ------
        replies : dict of key -> EntriesReply
            Of the streams that have new rows.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams.
        """
        left = count or 0
        if wire.busy:
            reply = wire.receive()
        elif block_ms is None:
            reply = wire.exchange(self._read_new(left, None))
        else:
            reply = wire.wait(self._read_new(left, block_ms), block_ms)
        while True:
            self._refused(reply)
            full = left > 0 and self._is_full(reply, min(left, PIECE))
            left = max(0, left - PIECE)
            if full and left:
                self.ask_new(wire, left)
            elif full and when_full is not None:
                when_full()
            yield parse_streams(reply, self.keys)
            if not (full and left and wire.busy):
                return
            reply = wire.receive()

    def ask_new(self, wire: Wire, left: int) -> None:
        """Ask for the next piece of new rows, of which so many are wanted.

        Where the connection is lost, `receive` will notice: what has come before is not lost with it.
        """
        with suppress(*LOST):
            wire.send([self._read_new(left, None)])

    def receive_new(self, wire: Wire) -> dict[bytes, EntriesReply]:
        """Take the piece that has been asked for, and ask for no more."""
        reply = wire.receive()
        self._refused(reply)
        return parse_streams(reply, self.keys)

    def _read_new(self, left: int, block_ms: int | None) -> bytes:
        limit = [b"COUNT", b"%d" % min(left, PIECE)] if left else []
        block = [] if block_ms is None else [b"BLOCK", b"%d" % block_ms]
        where = [b"STREAMS", *self.keys, *[b">"] * len(self.keys)]
        return command(b"XREADGROUP", b"GROUP", self.group, self.consumer, *limit, *block, *where)

    def _is_full(self, reply: memoryview, count: int) -> bool:
        """Tell whether some stream has all rows that were asked for; a value that reads so costs a request more."""
        if len(reply) < count * _SHORTEST_ENTRY:
            return False
        heads = (re.escape(b"%b*%d\r\n" % (bulk(key), count)) for key in self.keys)
        return re.search(b"|".join(heads), reply) is not None

    def positions(self, wire: Wire) -> dict[bytes, bytes]:
        """Return up to which id the group has read its streams, of those where it is (XINFO GROUPS)."""
        replies = wire.ask(*(command(b"XINFO", b"GROUPS", key) for key in self.keys))
        found = {}
        for key, reply in zip(self.keys, replies, strict=True):
            if isinstance(reply, resp.ErrorReply) and "no such key" in reply.message:
                continue
            for group in check(reply, key):
                facts = resp.pairs(group)
                if facts[b"name"] == self.group:
                    found[key] = facts[b"last-delivered-id"]
        return found

    def pending(
        self,
        wire: Wire,
        key: bytes,
        count: int,
        *,
        after: bytes = b"-",
        until: bytes = b"+",
        idle_ms: int = 0,
        own: bool = False,
    ) -> list[tuple[bytes, int]]:
        """List pending rows and how often they were delivered (XPENDING)."""
        consumer = [self.consumer] if own else []
        idle = [b"IDLE", b"%d" % idle_ms] if idle_ms else []
        reply = wire.exchange(command(b"XPENDING", key, self.group, *idle, after, until, b"%d" % count, *consumer))
        self._refused(reply)
        return [(row[0], row[3]) for row in resp.parse(reply[:-SLACK])[0]]

    def claim(self, wire: Wire, key: bytes, ids: Sequence[bytes], idle_ms: int) -> EntriesReply:
        """Take pending rows over (XCLAIM), those that nobody has had for less than `idle_ms`."""
        request = command(b"XCLAIM", key, self.group, self.consumer, b"%d" % idle_ms, *ids)
        reply = wire.exchange(request)
        self._refused(reply)
        return EntriesReply(reply)

    def ack(self, key: bytes, ids: Ids) -> int:
        """Acknowledge rows (XACK), also over lost connections; return how many were pending.

        Ids are uint64 of shape (n, 2).
        """
        parts = [b"XACK", key, self.group]

        def work(wire: Wire) -> int:
            replies = wire.ask_each(command_of_ids(parts, some) for some in _slices(ids))
            return sum(check(reply, key) for reply in replies)

        return persist(self.pool, work) if len(ids) else 0

    def bury(
        self, key: bytes, rows: Sequence[tuple[bytes, int]], reason: str, *, own: bool = True, wire: Wire | None = None
    ) -> tuple[int, int]:
        """Move rows, given as id and deliveries, to the dead letters; return how many, and how many were lost."""
        moved = lost = 0
        owner = self.consumer if own else b""
        head = [self.group, self.consumer, owner, reason.encode(errors="replace")]
        for at in range(0, len(rows), _IDS_A_COMMAND):
            flat = [part for id_, count in rows[at : at + _IDS_A_COMMAND] for part in (id_, b"%d" % count)]
            counts = self._run(BURY, [key, Records(key).dead], [*head, *flat], wire=wire)
            moved, lost = moved + counts[0], lost + counts[1]
        return moved, lost

    def extend(self, key: bytes, ids: Sequence[bytes], wire: Wire | None = None) -> list[bytes]:
        """Begin the time anew after which rows may be claimed; return those that are no longer this consumer's."""
        gone: list[bytes] = []
        for at in range(0, len(ids), _IDS_A_COMMAND):
            gone += self._run(EXTEND, [key], [self.group, self.consumer, *ids[at : at + _IDS_A_COMMAND]], wire=wire)
        return gone

    def hand_back(self, key: bytes, rows: Sequence[tuple[bytes, int]], idle_ms: int, wire: Wire | None = None) -> None:
        """Undo the delivery of rows, given as id and deliveries, that are still this consumer's.

        Raises
        ------
        GroupMissingError
        redis.exceptions.RedisError
            The server has been away for a second, or refuses.
        """
        for at in range(0, len(rows), _IDS_A_COMMAND):
            flat = [part for id_, count in rows[at : at + _IDS_A_COMMAND] for part in (id_, b"%d" % count)]
            self._run(HAND_BACK, [key], [self.group, self.consumer, b"%d" % idle_ms, *flat], _at_an_end(), wire)

    def commit(
        self,
        wire: Wire,
        rows: Sequence[tuple[bytes, list[bytes]]],
        guards: Sequence[Guard],
        commands: Sequence[Sequence[bytes]],
        others: Sequence[bytes] = (),
    ) -> list[Any]:
        """Run commands and acknowledge rows, in one step.

        Parameters
        ----------
        wire : Wire
        rows : sequence of (key, ids)
        guards : sequence of Guard
        commands : sequence of arguments
        others : sequence of keys
            More that the commands have, where a script has to declare them.

        Returns
        -------
        list
            ``[b"lost", gone, taken]``, ``[b"changed"]``, ``[b"failed", number, error]`` or ``[b"done", replies]``.

        Raises
        ------
        GroupMissingError
        """
        keys = [key for key, _ in rows]
        arguments = [self.group, self.consumer, b"%d" % len(rows)]
        for _, ids in rows:
            arguments += [b"%d" % len(ids), *ids]
        arguments.append(b"%d" % len(guards))
        for guard in guards:
            keys += [guard.key, guard.schema]
            arguments += [guard.last_id, guard.record]
        arguments.append(b"%d" % len(commands))
        for parts in commands:
            arguments += [b"%d" % len(parts), *parts]
        try:
            found: list[Any] = COMMIT.run(wire, [*keys, *others], arguments)
        except ResponseError as error:
            refuse_missing_group(error, self.group, self.keys)
            raise
        return found

    def leave(self) -> None:
        """Remove the consumer from the streams where it has nothing pending (XGROUP DELCONSUMER).

        Raises
        ------
        redis.exceptions.RedisError
            The server has been away for a second, or refuses.
        """
        for key in self.keys:
            self._run(LEAVE, [key], [self.group, self.consumer], _at_an_end())

    def _run(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        patience: Patience | None = None,
        wire: Wire | None = None,
    ) -> Any:
        """Run a script: once on the connection that the caller has, for there may be no other; else until it is run."""
        try:
            if wire is not None:
                return script.run(wire, keys, arguments)
            return persist(self.pool, lambda wire: script.run(wire, keys, arguments), patience)
        except ResponseError as error:
            refuse_missing_group(error, self.group, self.keys)
            raise

    def _refused(self, reply: memoryview) -> None:
        """Raise what the server has answered, where it is an error."""
        try:
            refuse_error(reply, *self.keys)
        except ResponseError as error:
            if isinstance(self.pool, SlotPool) and str(error).startswith("UNBLOCKED"):
                # Redis 7 says so also where the stream moves with its slot; where it was deleted, the next try tells.
                raise ElsewhereError(str(error)) from error
            refuse_missing_group(error, self.group, self.keys)
            raise


def _at_an_end() -> Patience:
    return Patience(GRACE_SECONDS, GRACE_SECONDS)


def refuse_missing_group(error: Exception, group: bytes, keys: Sequence[bytes]) -> None:
    """Raise a `GroupMissingError` in place of a server's error that says so; do nothing where it says otherwise."""
    # XINFO knows no such key, and Redis 6 unblocks who waits for rows of a stream that is deleted.
    if any(words in str(error) for words in ("NOGROUP", "no such key", "UNBLOCKED")):
        raise GroupMissingError(
            f"the consumer group {shown(group)!r} does not exist on all of its streams: {error}. `create()` makes it.",
            group=group,
            keys=list(keys),
        ) from error


def _slices(ids: Ids) -> Iterator[Ids]:
    """Cut ids into longer and longer pieces: the server begins soon, and has less to do where many come together."""
    at, count = 0, _FIRST_IDS
    while at < len(ids):
        yield ids[at : at + count]
        at, count = at + count, min(2 * count, _MOST_IDS)
