"""Bulk load: a table to a stream, chunk by chunk, so that what is stored is always a prefix of it.

A chunk is one transaction. The stream, its schema record and the load's progress are watched, so a chunk is stored only
if all three are as they were when its ids were made; otherwise nothing of it is, and it is planned again. Behind a
chunk's EXEC goes the next one at once, up to but not including its own EXEC: the server never waits for the client.

Nothing is lost and nothing stored twice when a connection breaks: the progress is written in the same transaction as
the rows, so it says whether an EXEC whose answer was lost has happened. Ids follow from the times and the id that the
stream ends with alone; a repeated chunk gets the same ones unless somebody else has written in between, and then the
watch has kept the first try out.
"""

from __future__ import annotations

import json
import random
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
from redis.exceptions import BusyLoadingError

from walrus_ts.columnar import commands, resp, text
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.fitting import Fitted
from walrus_ts.columnar.replies import SLACK
from walrus_ts.columnar.schema import Origin, Records, Schema
from walrus_ts.errors import AppendError, DataError, LateRowsError, UsageError
from walrus_ts.ids import Ids, StreamId, count_late, split_times, to_ids
from walrus_ts.transfer.scan import StreamState, current_schema
from walrus_ts.transfer.wire import LOST, PATIENCE_SECONDS, REFUSED_LOGIN, DemotedError, Wire, check

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool

CHUNK_ROWS = 5_000  # some 10 ms of the server's time
_PIECE_BYTES = 32 << 20  # of a chunk that is encoded in one piece
_TOKEN_SECONDS = 86_400  # how long the progress of an unnamed load is kept

_TOKEN = re.compile(r"unnamed:(\d+:[0-9a-f]{32})")  # the first number: when it was made
_MULTI, _EXEC = command(b"MULTI"), command(b"EXEC")
_DISCARD, _UNWATCH = command(b"DISCARD"), command(b"UNWATCH")
_OK, _QUEUED = b"+OK\r\n", b"+QUEUED\r\n"


class Appended(NamedTuple):
    """What an append has done.

    Attributes
    ----------
    rows : int
        Rows that this call has stored.
    skipped : int
        Late rows that were left out (``late="skip"``).
    first_id, last_id : str or None
        Ids of the first and the last row that this call has stored.
    """

    rows: int
    skipped: int = 0
    first_id: str | None = None
    last_id: str | None = None

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import appended_html

        return appended_html(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is; its JSON is the record.

    The first four say which frame it is: another one under the same name is an error. `added` (entries that had ever
    been added before the load) and `origin` (the schema record's) say which stream it is.
    """

    rows: int
    first: str | None
    last: str | None
    fields: tuple[str, ...]
    begun: str
    stored: int = 0
    late: int = 0
    first_id: str | None = None
    finished: str | None = None
    added: int = 0
    origin: Origin | None = None

    def to_json(self) -> bytes:
        """Write the record."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["origin"] = self.origin and self.origin.to_json()
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, record: bytes, key: bytes) -> Progress:
        """Read the record.

        Raises
        ------
        DataError
            It is broken; the message names the key that it lies under, or within.
        """
        try:
            read = json.loads(record)
            origin = read.get("origin") and Origin.from_json(read["origin"])
            if not isinstance(read["fields"], list):
                raise ValueError("the fields are no list")
            progress = cls(**{**read, "fields": tuple(read["fields"]), "origin": origin})
            progress._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            where = key.decode(errors="backslashreplace")
            raise DataError(
                f"{where} has no record of a load of walrus_ts: {record[:80]!r}. Delete what is there.", key=key
            ) from error
        return progress

    def _check(self) -> None:
        for count in (self.rows, self.stored, self.late, self.added):
            if type(count) is not int or not 0 <= count < 2**63:
                raise ValueError(f"a number of rows that is none: {count!r}")
        for time_ in (self.first, self.last, self.begun, self.finished):
            if time_ is not None:
                datetime.fromisoformat(time_)
        for text_ in (*self.fields, *([] if self.first_id is None else [self.first_id])):
            text_.encode()  # an AttributeError where it is no text; JSON has what is no Unicode, too

    @property
    def position(self) -> int:
        """Rows of the frame that are dealt with."""
        return self.late + self.stored

    def holds(self, state: StreamState | None, schema: Schema | None) -> bool:
        """Tell whether this is of the stream that is there now, and not of one deleted since."""
        if state is None or state.added < self.added + self.stored:
            return False
        return self.origin is None or (schema is not None and schema.origin == self.origin)

    def differences(self, other: Progress) -> list[str]:
        """Name what tells that the two are not of one frame; times are the same in any unit."""
        mine, others = ((p.rows, _trimmed(p.first), _trimmed(p.last), p.fields) for p in (self, other))
        pairs = zip(("rows", "first", "last", "fields"), mine, others, strict=True)
        return [name for name, one, two in pairs if one != two]


@dataclass(frozen=True, slots=True)
class Job:
    """A table, and how it is to be stored.

    Parameters
    ----------
    records : Records
        Of the stream.
    times : TimestampArray, shape (n,)
        UTC or naive, non-decreasing, no nulls, from 1970 to 9999.
    fit : callable
        Takes the stream's Schema, or None, and returns the table's columns as it wants them (`schema.fit`).
    late : {"raise", "skip"}
    load : str, optional
        The load's name.
    maxlen : int, optional
        Rows that the stream keeps at most.
    minid : callable, optional
        Takes the schema that the stream is left with, and returns the id below which entries are removed.
    progress : callable, optional
        Is told of rows as they are stored.
    """

    records: Records
    times: pa.TimestampArray
    fit: Callable[[Schema | None], Fitted]
    late: Literal["raise", "skip"] = "raise"
    load: str | None = None
    maxlen: int | None = None
    minid: Callable[[Schema], bytes] | None = None
    progress: Callable[[int], object] | None = None

    @property
    def where(self) -> str:
        """The stream, in an error."""
        return f"stream {self.records.key.decode(errors='backslashreplace')!r}"


class _View(NamedTuple):
    """What is watched."""

    state: StreamState | None
    record: bytes | None
    progress: bytes | None

    def matches(self, other: _View) -> bool:
        mine, others = (view.state and view.state.last_id for view in (self, other))
        return (mine, self.record, self.progress) == (others, other.record, other.progress)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A transaction: its commands, the replies they must get, and what is watched before and behind it."""

    buffers: list[bytes | memoryview]
    replies: bytes  # the head of EXEC's: the ids
    count: int
    extras: int  # replies behind the ids
    rows: int
    late: int
    first_id: str
    last_id: str
    before: _View
    behind: _View


class _ConflictError(Exception):
    """What is watched has changed: nothing of the chunk is stored."""


def append(pool: Pool, job: Job) -> Appended:
    """Store a table.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    job : Job

    Returns
    -------
    Appended

    Raises
    ------
    LateRowsError, SchemaError, UsageError
        Before anything is stored.
    AppendError
        Something that cannot be mended came in between; says what is stored and how to go on.
    redis.exceptions.RedisError
        The server was not to be had, or refused, before anything was sent.
    """
    return _Load(pool, job).run()


def unfinished(wire: Wire, records: Records) -> list[bytes]:
    """Return the names of the records of a stream's loads without a name, which are there until these are complete."""
    prefix, cursor, found = records.load(b""), b"0", set()
    pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", prefix) + b"*"
    while True:
        cursor, names = check(wire.ask(command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"1000"))[0])
        # `{t}a:b` begins as `{t}a` does.
        found |= {name for name in names if _TOKEN.fullmatch(f"unnamed:{name[len(prefix) :].decode(errors='replace')}")}
        if cursor == b"0":
            return sorted(found)


class _Load:
    def __init__(self, pool: Pool, job: Job) -> None:
        self._pool = pool
        self._job = job
        self.name = job.load or f"unnamed:{time.time():.0f}:{secrets.token_hex(16)}"
        token = _TOKEN.fullmatch(self.name)
        self._token = job.records.load(token[1].encode()) if token else None
        self._resumed = token is not None and job.load is not None
        self._fitted: tuple[tuple[bytes | None, bool], Fitted] | None = None
        self._stored = self._late = self._chunks = 0
        self._first_id: str | None = None
        self._last_id: str | None = None
        self._earlier: int | None = None  # rows that earlier calls of this load have stored
        self._sent = False  # a transaction, so that some of the load may be stored
        self._doubtful: _Chunk | None = None  # one whose EXEC is sent and not answered

    def run(self) -> Appended:
        patience, pause, known = time.monotonic() + PATIENCE_SECONDS, 0.02, 0
        while True:
            try:
                with Wire(self._pool) as wire:
                    while not self._run_on(wire):
                        time.sleep(random.uniform(0, 0.005))  # two writers step out of each other's way
                if self._token and not self._resumed and self._stored + self._late < len(self._job.times):
                    raise self._deleted()  # with its progress, which else goes when all is stored
                return Appended(self._stored, self._late, self._first_id, self._last_id)
            except (*LOST, BusyLoadingError) as error:
                if not self._sent and not isinstance(error, DemotedError):
                    raise
                if self._chunks > known:
                    patience, pause, known = time.monotonic() + PATIENCE_SECONDS, 0.02, self._chunks
                if time.monotonic() > patience or isinstance(error, REFUSED_LOGIN):
                    raise self._stopped(error) from error
                time.sleep(pause)
                pause = min(1.0, 2 * pause)

    def _run_on(self, wire: Wire) -> bool:
        """Store what is left, on one connection; False where another writer came in between."""
        try:
            view = self._look(wire)
            self._resolve_doubt(view)
            chunk = self._plan(view)
            following = chunk and self._plan(chunk.behind)
            queued = False
            while chunk is not None:
                self._sent, self._doubtful = True, chunk
                commit = [*([] if queued else chunk.buffers), _EXEC]
                if following is None:
                    wire.send(commit)
                else:
                    wire.send([*commit, *self._looking()], following.buffers, 1 + following.count)
                # While the server works: the chunk behind the one that waits for its EXEC.
                behind = following and self._plan(following.behind)
                self._settle(wire, chunk, following, queued=queued)
                chunk, following, queued = following, behind, True
        except _ConflictError:
            self._doubtful = None
            wire.exchange(_DISCARD, _UNWATCH)
            return False
        except (*LOST, BusyLoadingError):
            raise
        except Exception as error:  # whatever it is, nothing of a load that never began is left behind
            self._give_up(wire)
            if not self._sent or isinstance(error, AppendError):
                raise
            raise self._stopped(error) from error
        else:
            return True

    # What is watched -------------------------------------------------------------------------------------------------

    def _looking(self) -> list[bytes]:
        records = self._job.records
        where = self._token or records.loads
        progress = [b"GET", self._token] if self._token else [b"HGET", records.loads, self.name.encode()]
        return [
            command(b"WATCH", records.key, records.schema, where),
            command(b"XINFO", b"STREAM", records.key),
            command(b"GET", records.schema),
            command(*progress),
        ]

    def _look(self, wire: Wire) -> _View:
        """Ask how things stand; the progress of an unnamed load begins here, so that its end can be told from it."""
        begin = []
        if self._token and not self._sent and not self._resumed:
            begin = [command(b"SET", self._token, self._blank.to_json(), b"EX", b"%d" % _TOKEN_SECONDS)]
        replies = wire.ask(*begin, *self._looking())
        for reply in replies[: len(begin)]:
            check(reply)
        return self._view(replies[len(begin) :])

    def _view(self, replies: list[Any]) -> _View:
        check(replies[0])
        records = self._job.records
        record, progress = check(replies[2], records.schema), check(replies[3], self._token or records.loads)
        return _View(StreamState.of(replies[1], records.key), record, progress)

    # Planning --------------------------------------------------------------------------------------------------------

    def _plan(self, view: _View) -> _Chunk | None:
        """Make the next transaction; None when all is stored."""
        job = self._job
        schema = current_schema(view.state, view.record, job.records)
        fitted = self._fit(view.record, schema)
        progress = self._progress(view, schema, fitted)
        if progress is None or progress.finished:
            return None
        if self._earlier is None:
            self._earlier = progress.stored
        late = self._count_late(view, progress, fitted)
        start = progress.position + late
        times = fitted.times.slice(start, CHUNK_ROWS)
        stop = start + len(times)
        last = view.state.last_id if view.state else None
        milliseconds, sequence = to_ids(times, last)
        origin = first_write(view.state, schema, milliseconds, sequence)
        progress = replace(progress, stored=progress.stored + len(times), late=progress.late + late, origin=origin)
        texts = commands.id_texts(milliseconds, sequence)
        if len(times) and progress.first_id is None:
            progress = replace(progress, first_id=texts[0].as_py().decode())
        if stop == len(job.times):
            progress = replace(progress, finished=_now())
        written = record_to_write(schema, fitted.schema, origin)
        return self._chunk(view, fitted, progress, written, texts, start, late)

    def _fit(self, record: bytes | None, schema: Schema | None) -> Fitted:
        key = (record, schema is None)
        if self._fitted is None or self._fitted[0] != key:
            self._fitted = (key, self._job.fit(schema))
        return self._fitted[1]

    @cached_property
    def _blank(self) -> Progress:
        """The progress of a load that has not begun."""
        times = self._job.times
        first, last = (_iso(times[0]), _iso(times[-1])) if len(times) else (None, None)
        return Progress(len(times), first, last, (), _now())

    def _begun(self, fitted: Fitted) -> Progress:
        present = (column.field.decode() for column, array in fitted.columns if array is not None)
        return replace(self._blank, fields=tuple(present))

    def _progress(self, view: _View, schema: Schema | None, fitted: Fitted) -> Progress | None:
        """Return how far the load is; None where an unnamed one is complete."""
        begun = self._begun(fitted)
        begun = replace(begun, added=view.state.added if view.state else 0)
        if view.progress is None:
            self._check_age()
            if self._token and _reaches(view.state, fitted.times):
                return None  # the last transaction of an unnamed load removes its progress
            if self._chunks:
                raise self._deleted()
            return begun
        progress = Progress.from_json(view.progress, self._token or self._job.records.loads)
        if not progress.stored and not progress.finished:
            return replace(begun, late=progress.late)
        if not progress.holds(view.state, schema):
            if self._stored:
                raise self._deleted()
            return begun
        differ = progress.differences(begun)
        if differ:
            raise self._other_frame(progress, begun, differ)
        return progress

    def _deleted(self) -> AppendError:
        return AppendError(
            f"{self._where} was deleted while it was appended to, or its server has come back without its newest data; "
            "the rows are gone. Append the frame again.",
            appended=0,
            load=self.name,
        )

    def _check_age(self) -> None:
        """Refuse to go on with a load whose progress may have expired, and not have been removed at its end."""
        if self._resumed and time.time() - int(self.name.split(":")[1]) > _TOKEN_SECONDS:
            raise UsageError(
                f"the progress of the load {self.name!r} of {self._where} has expired: it cannot be told how much of "
                "it is stored. Compare the stream's last rows (`tail`) with the frame, and append what is missing.",
                load=self.name,
            )

    def _other_frame(self, progress: Progress, begun: Progress, differ: list[str]) -> UsageError:
        found = "; ".join(f"{n} was {getattr(progress, n)!r} and is {getattr(begun, n)!r}" for n in differ)
        return UsageError(
            f"the load {self.name!r} of {self._where} was begun with another frame: {found}. Give the same frame, or "
            "another name.",
            load=self.name,
        )

    def _count_late(self, view: _View, progress: Progress, fitted: Fitted) -> int:
        if self._job.late == "raise":
            check_late(self._job, fitted.times, view.state, progress.position)
            return 0
        return count_late(fitted.times.slice(progress.position), view.state.last_id if view.state else None)

    def _chunk(
        self,
        view: _View,
        fitted: Fitted,
        progress: Progress,
        record: bytes | None,
        ids: pa.Array,
        start: int,
        late: int,
    ) -> _Chunk:
        rows = len(ids)
        extras = self._extras(view, fitted.schema, progress, record)
        buffers: list[bytes | memoryview] = [_MULTI, *self._xadds(fitted, ids, start), *extras]
        last = StreamId.parse(ids[-1].as_py()) if rows else (view.state.last_id if view.state else StreamId(0, 0))
        added = (view.state.added if view.state else 0) + rows
        behind = _View(
            StreamState(last, added) if rows or view.state else None,
            view.record if record is None else record,
            None if progress.finished and self._token else progress.to_json(),
        )
        return _Chunk(
            buffers,
            b"*%d\r\n" % (rows + len(extras)) + commands.values_of(commands.bulks(ids)).tobytes(),
            rows + len(extras),
            len(extras),
            rows,
            late,
            str(StreamId.parse(ids[0].as_py())) if rows else "",
            str(last),
            view,
            behind,
        )

    def _extras(self, view: _View, schema: Schema, progress: Progress, record: bytes | None) -> list[bytes]:
        """Return what a transaction holds besides its rows."""
        job = self._job
        extras = []
        if record is not None:
            extras.append(command(b"SET", job.records.schema, record))
            if view.record is not None and current_schema(view.state, view.record, job.records) is None:
                extras.append(command(b"DEL", job.records.loads))  # of the stream that the old record was of
        if not self._token:
            extras.append(command(b"HSET", job.records.loads, self.name.encode(), progress.to_json()))
        elif progress.finished:
            extras.append(command(b"DEL", self._token))
        else:
            extras.append(command(b"SET", self._token, progress.to_json(), b"EX", b"%d" % _TOKEN_SECONDS))
        if job.maxlen is not None:
            extras.append(command(b"XTRIM", job.records.key, b"MAXLEN", b"=", b"%d" % job.maxlen))
        if job.minid is not None:
            extras.append(command(b"XTRIM", job.records.key, b"MINID", b"=", job.minid(schema)))
        return extras

    def _xadds(self, fitted: Fitted, ids: pa.Array, start: int) -> list[memoryview]:
        """Encode a chunk's rows, in pieces where they are wide: Arrow's binary columns end at 2 GiB."""
        present = [
            (column.field, array.slice(start, len(ids))) for column, array in fitted.columns if array is not None
        ]
        size = sum(array.nbytes for _, array in present)
        step = max(1, len(ids) if size <= _PIECE_BYTES else len(ids) * _PIECE_BYTES // size)
        key = self._job.records.key
        fields = [field for field, _ in present]
        return [
            commands.xadds(
                key, ids.slice(at, step), fields, [text.encode(array.slice(at, step)) for _, array in present]
            )
            for at in range(0, len(ids), step)
        ]

    # Checking --------------------------------------------------------------------------------------------------------

    def _settle(self, wire: Wire, chunk: _Chunk, following: _Chunk | None, *, queued: bool) -> None:
        """Read what EXEC and the commands behind it are answered with."""
        reply, waiting = wire.receive_opened()
        reply = reply[:-SLACK]
        expected = (b"" if queued else _OK + _QUEUED * chunk.count) + chunk.replies
        if bytes(reply[: len(expected)]) == expected:
            rest = resp.parse(reply[len(expected) :])
            done, looked = rest[: chunk.extras], rest[chunk.extras :]
        else:
            replies = resp.parse(reply)
            commit = 0 if queued else chunk.count + 1
            _check_all(replies[:commit])
            done, looked = self._committed(replies[commit], chunk), replies[commit + 1 :]
        for extra in done:
            check(extra)
        self._count(chunk)
        if following is None:
            return
        if waiting != _OK + _QUEUED * following.count:
            _check_all(resp.parse(waiting))
        if not self._view(looked).matches(following.before):
            raise _ConflictError

    def _committed(self, reply: Any, chunk: _Chunk) -> list[Any]:
        """Return EXEC's replies behind the rows'."""
        if reply is None:
            raise _ConflictError
        for item in check(reply):
            check(item)
        extras: list[Any] = reply[chunk.rows :]
        return extras

    def _resolve_doubt(self, view: _View) -> None:
        """Count the chunk whose answer was lost with a connection, if it is stored: the progress says so.

        And do not count what the server has lost: a replica that is the master now may not have had all.
        """
        chunk, self._doubtful = self._doubtful, None
        if chunk is not None and view.progress == chunk.behind.progress:
            self._count(chunk)
        if self._stored and view.progress is not None:
            progress = Progress.from_json(view.progress, self._token or self._job.records.loads)
            self._stored = min(self._stored, max(0, progress.stored - (self._earlier or 0)))

    def _count(self, chunk: _Chunk) -> None:
        self._doubtful = None
        self._stored += chunk.rows
        self._late += chunk.late
        self._chunks += 1
        self._first_id = self._first_id or chunk.first_id or None
        self._last_id = chunk.last_id if chunk.rows else self._last_id
        if self._job.progress is not None:
            self._job.progress(chunk.rows)

    # Giving up -------------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return self._job.where

    def _give_up(self, wire: Wire) -> None:
        """Leave the connection as it was, and nothing of a load that never began."""
        if not wire.busy:
            drop = [command(b"DEL", self._token)] if self._token and not self._sent and not self._resumed else []
            wire.exchange(_DISCARD, _UNWATCH, *drop)

    def _stopped(self, error: Exception) -> AppendError:
        appended, reason = (self._earlier or 0) + self._stored, str(error).rstrip(".")
        return AppendError(
            f"appending to {self._where} stopped after {appended} of {len(self._job.times)} rows: {reason}. "
            f"`append(frame, load={self.name!r})` stores the rest.",
            appended=appended,
            load=self.name,
            key=self._job.records.key,
            skipped=self._late,
            unanswered=self._doubtful.rows if self._doubtful else 0,
        )


def check_late(job: Job, times: pa.TimestampArray, state: StreamState | None, position: int = 0) -> None:
    """Refuse rows that are older than the end of their stream.

    Parameters
    ----------
    job : Job
    times : TimestampArray, shape (n,)
        Of the record's unit.
    state : StreamState, optional
        The stream's; None where there is none.
    position : int
        The first row that is still to be stored.

    Raises
    ------
    LateRowsError
    """
    late = count_late(times.slice(position), state.last_id if state else None)
    if state is not None and late:
        raise LateRowsError(
            f"{late} rows are older than the end of {job.where}, which has generated the id {state.last_id}; the first "
            f"of them is row {position}, {_iso(job.times[position])}. `late='skip'` leaves them out.",
            key=job.records.key,
            rows=late,
            row=position,
            last_id=str(state.last_id),
        )


def first_write(state: StreamState | None, schema: Schema | None, milliseconds: Ids, sequence: Ids) -> Origin | None:
    """Return a stream's first write under its record, which may be the one of the rows that are planned.

    Parameters
    ----------
    state : StreamState, optional
        The stream's; None where there is none.
    schema : Schema, optional
        The one on record.
    milliseconds, sequence : uint64 arrays, shape (n,)
        The rows' ids.
    """
    if (schema is not None and schema.origin is not None) or not len(milliseconds):
        return schema.origin if schema else None
    return Origin(StreamId(int(milliseconds[0]), int(sequence[0])), state.added if state else 0)


def record_to_write(schema: Schema | None, new: Schema, origin: Origin | None) -> bytes | None:
    """Return the schema record to write with rows; None where the one that is there says the same."""
    new = replace(new, origin=origin)
    return None if schema is not None and (schema, schema.origin) == (new, origin) else new.to_json()


def _check_all(replies: list[Any]) -> None:
    for reply in replies:
        check(reply)


def _reaches(state: StreamState | None, times: pa.TimestampArray) -> bool:
    """Tell whether a stream ends at or behind the last of these times, as it does once they are stored."""
    if state is None or not len(times):
        return not len(times)
    (milliseconds,), (sequence,) = split_times(times.slice(len(times) - 1))
    return state.last_id >= (int(milliseconds), int(sequence))


def _trimmed(time: str | None) -> str | None:
    """Write a time without the zeros that its unit puts at its end."""
    return time.rstrip("0").rstrip(".") if time is not None and "." in time else time


def _iso(scalar: Any) -> str:
    return str(text.encode(pa.array([scalar]))[0].as_py().decode())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
