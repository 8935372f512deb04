"""A range of a stream, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from walrus_ts.columnar import lines, resp
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.replies import EntriesReply, glance
from walrus_ts.columnar.schema import Origin, Records, Schema, shown
from walrus_ts.errors import ServerError, UsageError
from walrus_ts.ids import MAX_SEQUENCE, StreamId
from walrus_ts.transfer.patience import GRACE_SECONDS, LOST, PASSING, Patience, persist
from walrus_ts.transfer.wire import Wire, check, refuse_error

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool

_FIRST_PAGE = 250  # rows: how wide they are is not known yet
_LONGEST_PAGE = 25_000
_PAGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class StreamState:
    """What XINFO STREAM tells of a stream.

    Attributes
    ----------
    last_id : StreamId
        The last id that was generated; deleting entries does not take it back.
    added : int
        Entries that were ever added.
    first_id : StreamId, optional
        The first id that was ever added; None where an entry has been removed, so that it is not known.
    length : int, optional
        Entries that there are, where the server was asked.
    deleted_id : StreamId, optional
        The greatest id of an entry that was deleted (XDEL), where the server was asked; trimming does not count.
    """

    last_id: StreamId
    added: int
    first_id: StreamId | None = None
    length: int | None = None
    deleted_id: StreamId | None = None

    @classmethod
    def of(cls, reply: Any, key: bytes) -> StreamState | None:
        """Read the reply to XINFO STREAM; None for a key that is not there."""
        if getattr(reply, "message", "") == "ERR no such key":
            return None
        info = resp.pairs(check(reply, key))
        if b"entries-added" not in info:
            raise UsageError("DataFrames need Redis 7.0 or newer, or Valkey: the server does not tell `entries-added`")
        added, first, length = info[b"entries-added"], info[b"first-entry"], info[b"length"]
        whole = first and length == added
        first_id = StreamId.parse(first[0]) if whole else None
        deleted_id = StreamId.parse(info.get(b"max-deleted-entry-id", b"0-0"))
        return cls(StreamId.parse(info[b"last-generated-id"]), added, first_id, length, deleted_id)

    def began(self, origin: Origin) -> bool:
        """Tell whether this may be the stream that had this first write, and not one made since under its key."""
        if self.first_id is not None and origin.added == 0:
            return self.first_id == origin.id
        return self.added > origin.added and self.last_id >= origin.id


def look(wire: Wire, records: Records) -> tuple[StreamState | None, Schema | None]:
    """Ask for a stream's state and its schema record; a record of a stream that was deleted since is None."""
    info, record = wire.ask(command(b"XINFO", b"STREAM", records.key), command(b"GET", records.schema))
    state = StreamState.of(info, records.key)
    return state, current_schema(state, check(record, records.schema), records)


def read_end(pool: Pool, records: Records, count: int, *, reverse: bool) -> tuple[list[Any], Schema | None]:
    """Read the first entries of a stream, or the last, and its schema, in one round trip.

    Returns
    -------
    entries : list of (id, [field, value, ...])
        In the order of time.
    schema : Schema or None
    """
    verb, low, high = (b"XREVRANGE", b"+", b"-") if reverse else (b"XRANGE", b"-", b"+")
    page = command(verb, records.key, low, high, b"COUNT", b"%d" % count)

    def read(wire: Wire) -> tuple[list[Any], Schema | None]:
        entries, info, record = wire.ask(
            page, command(b"XINFO", b"STREAM", records.key), command(b"GET", records.schema)
        )
        schema = current_schema(StreamState.of(info, records.key), check(record, records.schema), records)
        return check(entries)[:: -1 if reverse else 1], schema

    return persist(pool, read, Patience(GRACE_SECONDS))


def current_schema(state: StreamState | None, record: bytes | None, records: Records) -> Schema | None:
    """Read a schema record, unless it belongs to a stream that is no more."""
    if record is None:
        return None
    schema = _read_record(record, records.schema)
    if schema.origin is None or (state is not None and state.began(schema.origin)):
        return schema
    return None


@lru_cache(maxsize=256)
def _read_record(record: bytes, name: bytes) -> Schema:
    """Read a record, which is mostly the one that was read before."""
    return Schema.from_json(record, name)


@dataclass(frozen=True, slots=True)
class Range:
    """What to read of a stream.

    Parameters
    ----------
    key : bytes
    start, stop : bytes
        Inclusive ids; ``-`` and ``+`` for the ends.
    fields : sequence of bytes
        The fields that entries are known to have, in their usual order.
    wanted : callable
        Tells of a field whether its column is made.
    limit : int, optional
        Rows at most.
    expected : int, optional
        How many rows there are, where that is known.
    """

    key: bytes
    start: bytes
    stop: bytes
    fields: Sequence[bytes]
    wanted: Callable[[bytes], bool]
    limit: int | None = None
    expected: int | None = None


def pages(pool: Pool, range_: Range, *, reverse: bool = False, patience: Patience | None = None) -> Iterator[Entries]:
    """Read a range page by page; a page's size follows from how wide its rows are.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    range_ : Range
        Its end is to be fixed beforehand (`fix_end`): else a scan of a growing stream has no end.
    reverse : bool
        Begin at the end.
    patience : Patience, optional
        The usual one without it.

    Yields
    ------
    entries : Entries
        Not empty; in the order of reading.

    Raises
    ------
    redis.exceptions.RedisError
        The server was away for too long, or refuses. What was yielded until then is whole.
    ServerError
        The connection was lost, and behind it there is not what was read before: the server has lost data, say.
    """
    cursor = _Cursor(range_, reverse)
    patience, lost = patience or Patience(), False
    while not cursor.done:
        try:
            with Wire(pool) as wire:
                if lost:
                    _check_end(wire, range_)
                wire.send([cursor.request()])
                while not cursor.done:
                    page = _next_page(wire, cursor, range_)
                    if len(page):
                        yield page
                    patience.renew()
        except PASSING as error:
            patience.wait(error)
            lost = True


def _check_end(wire: Wire, range_: Range) -> None:
    """Refuse to go on where the stream does not reach to the range's end any more, which it did at its beginning."""
    state = StreamState.of(wire.ask(command(b"XINFO", b"STREAM", range_.key))[0], range_.key)
    end = range_.stop.lstrip(b"(")
    if state is None or (end != b"-" and state.last_id < StreamId.parse(end)):
        found = "is gone" if state is None else f"ends with the id {state.last_id}"
        raise ServerError(
            f"stream {shown(range_.key)!r} {found}, and reached {end.decode()} before the "
            "connection was lost: it was deleted, or the server has come back without its newest data. Read the range "
            "again for what there is now.",
            key=range_.key,
        )


def _next_page(wire: Wire, cursor: _Cursor, range_: Range) -> Entries:
    """Receive a page, and ask for the one behind it at once: the server works on it while this one is read.

    Where the next page begins, a glance at this one tells; what was asked for on a false guess (a value that looks like
    entries) is thrown away.
    """
    data = wire.receive()
    while len(data) > lines.LONGEST and cursor.narrow(len(data)):
        _ask_next(wire, cursor)
        data = wire.receive()
    refuse_error(data)
    guess = glance(data)
    if guess is not None:
        cursor.advance(*guess, len(data))
        _ask_next(wire, cursor)
    reply = EntriesReply(data)
    page = reply.entries(range_.fields, range_.wanted)
    last_id = reply.last_id if len(page) else None
    if guess is None:
        cursor.advance(len(page), last_id, len(data))
        _ask_next(wire, cursor)
    elif last_id is not None and last_id != guess[1]:
        if wire.busy:
            wire.receive()
        cursor.go_behind(last_id)
        _ask_next(wire, cursor)
    return page


def _ask_next(wire: Wire, cursor: _Cursor) -> None:
    if not cursor.done:
        with suppress(*LOST):  # the next `receive` will notice
            wire.send([cursor.request()])


class _Cursor:
    """Where a scan stands: moved on only when a page has come."""

    def __init__(self, range_: Range, reverse: bool) -> None:
        self._key, self._reverse = range_.key, reverse
        self._from: bytes | None = range_.stop if reverse else range_.start
        self._to = range_.start if reverse else range_.stop
        self._left = range_.limit
        self._count = _FIRST_PAGE
        self._ended = range_.limit is not None and range_.limit <= 0

    @property
    def done(self) -> bool:
        """Tell whether there is no further page. A false guess of where it begins does not make it so for good."""
        return self._ended or self._from is None

    def request(self) -> bytes:
        assert self._from is not None  # while it is not done
        verb = b"XREVRANGE" if self._reverse else b"XRANGE"
        return command(verb, self._key, self._from, self._to, b"COUNT", b"%d" % self._asked)

    def narrow(self, nbytes: int) -> bool:
        """Ask for fewer rows than those that had so many bytes; tell whether that is possible."""
        asked, self._count = self._asked, max(1, _PAGE_BYTES * self._asked // nbytes)
        return self._count < asked

    def advance(self, rows: int, last_id: StreamId | None, nbytes: int) -> None:
        """Move behind a page."""
        full = rows >= self._asked
        if self._left is not None:
            self._left -= rows
        self._ended = not full or self._left == 0
        if last_id is not None:
            self._count = max(1, min(_LONGEST_PAGE, 10 * self._count, _PAGE_BYTES * rows // nbytes))
            self.go_behind(last_id)

    def go_behind(self, id_: StreamId) -> None:
        following = _neighbour(id_, forward=not self._reverse)
        self._from = None if following is None else following.encode()

    @property
    def _asked(self) -> int:
        return self._count if self._left is None else min(self._count, self._left)


def fix_end(state: StreamState, stop: bytes) -> bytes:
    """Return the end of a scan that begins now: what is appended behind it later does not belong to it."""
    if stop in (b"+", b"-"):
        return state.last_id.encode() if stop == b"+" else stop
    if stop[:1] == b"(":
        return stop if StreamId.parse(stop[1:]) <= state.last_id else state.last_id.encode()
    end = StreamId.parse(stop) if b"-" in stop else StreamId(StreamId.parse(stop).milliseconds, MAX_SEQUENCE)
    return min(end, state.last_id).encode()


def _neighbour(id_: StreamId, *, forward: bool) -> StreamId | None:
    """Return the id next to another; None behind the last and before the first."""
    milliseconds, sequence = id_
    if forward:
        if sequence < MAX_SEQUENCE:
            return StreamId(milliseconds, sequence + 1)
        return StreamId(milliseconds + 1, 0) if milliseconds < MAX_SEQUENCE else None
    if sequence:
        return StreamId(milliseconds, sequence - 1)
    return StreamId(milliseconds - 1, MAX_SEQUENCE) if milliseconds else None
