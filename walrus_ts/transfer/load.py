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

import random
import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from walrus_ts.cluster import ElsewhereError
from walrus_ts.columnar import commands
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.fitting import Fitted
from walrus_ts.columnar.lines import SLACK
from walrus_ts.columnar.schema import Schema
from walrus_ts.errors import AppendError, SchemaError, UsageError
from walrus_ts.ids import count_late, split_times, to_ids
from walrus_ts.transfer.chunk import CHUNK_ROWS, Chunk, ConflictError, Plan, View
from walrus_ts.transfer.job import Appended, Job, check_late, first_write, iso, record_to_write
from walrus_ts.transfer.loads import LoadRecord, Progress
from walrus_ts.transfer.patience import PASSING, Patience
from walrus_ts.transfer.scan import StreamState, current_schema
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    import pyarrow as pa

    from walrus_ts.cluster import Pool

_EXEC, _DISCARD, _UNWATCH = command(b"EXEC"), command(b"DISCARD"), command(b"UNWATCH")


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


class _Load:
    def __init__(self, pool: Pool, job: Job) -> None:
        self._pool = pool
        self._job = job
        self._record = LoadRecord(job.records, job.load)
        self._fitted: tuple[tuple[bytes | None, bool], Fitted] | None = None
        self._stored = self._late = self._chunks = 0
        self._first_id: str | None = None
        self._last_id: str | None = None
        self._earlier: int | None = None  # rows that earlier calls of this load have stored
        self._reached = False  # the server, so that it may be back soon
        self._sent = False  # a transaction, so that some of the load may be stored
        self._doubtful: Chunk | None = None  # one whose EXEC is sent and not answered

    def run(self) -> Appended:
        patience, known = Patience(), 0
        while True:
            try:
                with Wire(self._pool) as wire:
                    self._reached = True
                    while not self._run_on(wire):
                        time.sleep(random.uniform(0, 0.005))  # two writers step out of each other's way
                    wire.confirm()
                if self._record.new and self._stored + self._late < len(self._job.times):
                    raise self._deleted()  # with its progress, which else goes when all is stored
                return Appended(self._stored, self._late, self._first_id, self._last_id)
            except PASSING as error:
                if not self._reached and not isinstance(error, ElsewhereError):
                    raise
                if self._chunks > known:
                    patience.renew()
                    known = self._chunks
                patience.wait(error, self._stopped if self._sent else None)

    def _run_on(self, wire: Wire) -> bool:
        """Store what is left, on one connection; False where another writer came in between."""
        try:
            return self._store(wire)
        except PASSING:
            raise
        except Exception as error:  # whatever it is, nothing of a load that never began is left behind
            with suppress(RedisError):  # it is the first error that counts
                self._give_up(wire)
            if not self._sent or isinstance(error, AppendError):
                raise
            raise self._stopped(error) from error

    def _store(self, wire: Wire) -> bool:
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
        except ConflictError:
            self._doubtful = None
            wire.exchange(_DISCARD, _UNWATCH)
            return False
        return True

    # What is watched -------------------------------------------------------------------------------------------------

    def _looking(self) -> list[bytes]:
        records = self._job.records
        return [
            command(b"WATCH", records.key, records.schema, self._record.key),
            command(b"XINFO", b"STREAM", records.key),
            command(b"GET", records.schema),
            self._record.read(),
        ]

    def _look(self, wire: Wire) -> View:
        """Ask how things stand; the progress of an unnamed load begins here, so that its end can be told from it."""
        begin = [] if self._sent else self._record.begin(self._blank, moving=wire.asking)
        replies = wire.ask(*begin, *self._looking())
        self._record.begun([check(reply) for reply in replies[: len(begin)]])
        return self._view(replies[len(begin) :])

    def _view(self, replies: list[Any]) -> View:
        check(replies[0])
        records = self._job.records
        record, progress = check(replies[2], records.schema), check(replies[3], self._record.key)
        return View(StreamState.of(replies[1], records.key), record, progress)

    # Planning --------------------------------------------------------------------------------------------------------

    def _plan(self, view: View) -> Chunk | None:
        """Make the next transaction; None when all is stored."""
        job = self._job
        schema = current_schema(view.state, view.record, job.records)
        fitted = self._fit(view, schema)
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
        return Chunk.of(job, self._record, view, Plan(fitted, start, texts, late, progress, written))

    def _fit(self, view: View, schema: Schema | None) -> Fitted:
        key = (view.record, schema is None)
        if self._fitted is None or self._fitted[0] != key:
            try:
                self._fitted = (key, self._job.fit(schema))
            except SchemaError as error:
                self._refuse_other_columns(view, schema, error)
                raise
        return self._fitted[1]

    def _refuse_other_columns(self, view: View, schema: Schema | None, error: SchemaError) -> None:
        """Refuse a frame whose columns are not those of the frame that the load was begun with."""
        progress = None if view.progress is None else Progress.from_json(view.progress, self._record.key)
        if progress is not None and progress.stored and progress.holds(view.state, schema):
            raise UsageError(
                f"the load {self._record.name!r} of {self._where} was begun with another frame; what is stored of it "
                f"has other columns. Give the same frame, or another name. ({error})",
                load=self._record.name,
            ) from error

    @cached_property
    def _blank(self) -> Progress:
        """The progress of a load that has not begun."""
        times = self._job.times
        first, last = (iso(times[0]), iso(times[-1])) if len(times) else (None, None)
        return Progress(len(times), first, last, (), _now())

    def _progress(self, view: View, schema: Schema | None, fitted: Fitted) -> Progress | None:
        """Return how far the load is; None where an unnamed one is complete."""
        present = tuple(column.field.decode() for column, array in fitted.columns if array is not None)
        begun = replace(self._blank, fields=present, added=view.state.added if view.state else 0)
        if view.progress is None:
            self._check_age()
            if self._record.unnamed and _reaches(view.state, fitted.times):
                return None  # the last transaction of an unnamed load removes its progress
            if self._chunks:
                raise self._deleted()
            return begun
        progress = Progress.from_json(view.progress, self._record.key)
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
            load=self._record.name,
        )

    def _check_age(self) -> None:
        """Refuse to go on with a load whose progress may have expired, and not have been removed at its end."""
        if self._record.expired:
            raise UsageError(
                f"the progress of the load {self._record.name!r} of {self._where} has expired: it cannot be told how "
                "much of it is stored. Compare the stream's last rows (`tail`) with the frame, and append what is "
                "missing.",
                load=self._record.name,
            )

    def _other_frame(self, progress: Progress, begun: Progress, differ: list[str]) -> UsageError:
        found = "; ".join(f"{n} was {getattr(progress, n)!r} and is {getattr(begun, n)!r}" for n in differ)
        if self._job.zone is not None and not {"first", "last"}.isdisjoint(differ):
            found += " (in UTC)"
        return UsageError(
            f"the load {self._record.name!r} of {self._where} was begun with another frame: {found}. Give the same "
            "frame, or another name.",
            load=self._record.name,
        )

    def _count_late(self, view: View, progress: Progress, fitted: Fitted) -> int:
        if self._job.late == "raise":
            check_late(self._job, fitted.times, view.state, progress.position)
            return 0
        return count_late(fitted.times.slice(progress.position), view.state.last_id if view.state else None)

    # Checking --------------------------------------------------------------------------------------------------------

    def _settle(self, wire: Wire, chunk: Chunk, following: Chunk | None, *, queued: bool) -> None:
        """Read what EXEC and the commands behind it are answered with."""
        reply, waiting = wire.receive_opened()
        looked = chunk.check(reply[:-SLACK], queued=queued)
        self._count(chunk)
        if following is None:
            return
        following.check_queued(waiting)
        if not self._view(looked).matches(following.before):
            raise ConflictError

    def _resolve_doubt(self, view: View) -> None:
        """Count the chunk whose answer was lost with a connection, if it is stored: the progress says so.

        And do not count what the server has lost: a replica that is the master now may not have had all.
        """
        chunk, self._doubtful = self._doubtful, None
        if chunk is not None and view.progress == chunk.behind.progress:
            self._count(chunk)
        if self._stored and view.progress is not None:
            progress = Progress.from_json(view.progress, self._record.key)
            self._stored = min(self._stored, max(0, progress.stored - (self._earlier or 0)))

    def _count(self, chunk: Chunk) -> None:
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
            undo = [] if self._sent else self._record.forget()
            wire.exchange(_DISCARD, _UNWATCH, *undo)

    def _stopped(self, error: Exception) -> AppendError:
        appended, reason = (self._earlier or 0) + self._stored, str(error).rstrip(".")
        return AppendError(
            f"appending to {self._where} stopped after {appended} of {len(self._job.times)} rows: {reason}. "
            f"`append(frame, load={self._record.name!r})` stores the rest.",
            appended=appended,
            load=self._record.name,
            key=self._job.records.key,
            skipped=self._late,
            unanswered=self._doubtful.rows if self._doubtful else 0,
        )


def _reaches(state: StreamState | None, times: pa.TimestampArray) -> bool:
    """Tell whether a stream ends at or behind the last of these times, as it does once they are stored."""
    if state is None or not len(times):
        return not len(times)
    (milliseconds,), (sequence,) = split_times(times.slice(len(times) - 1))
    return state.last_id >= (int(milliseconds), int(sequence))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
