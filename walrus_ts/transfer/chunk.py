"""A chunk of a load: its transaction as bytes, and the replies that it must get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from walrus_ts.columnar import commands, resp, text
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.fitting import Fitted
from walrus_ts.columnar.types import size_of
from walrus_ts.ids import StreamId
from walrus_ts.transfer.job import Job
from walrus_ts.transfer.loads import LoadRecord, Progress
from walrus_ts.transfer.scan import StreamState, current_schema
from walrus_ts.transfer.wire import check

CHUNK_ROWS = 5_000  # some 10 ms of the server's time
_PIECE_BYTES = 32 << 20  # of a chunk that is encoded in one piece

_MULTI = command(b"MULTI")
_OK, _QUEUED = b"+OK\r\n", b"+QUEUED\r\n"


class ConflictError(Exception):
    """What is watched has changed: nothing of the chunk is stored."""


class View(NamedTuple):
    """What is watched."""

    state: StreamState | None
    record: bytes | None
    progress: bytes | None

    def matches(self, other: View) -> bool:
        """Tell whether nothing has changed that a chunk's ids and records follow from."""
        mine, others = (view.state and view.state.last_id for view in (self, other))
        return (mine, self.record, self.progress) == (others, other.record, other.progress)


class Plan(NamedTuple):
    """What a chunk is to store.

    Attributes
    ----------
    fitted : Fitted
        The whole table, as the stream's record wants it.
    start : int
        The chunk's first row.
    ids : binary array, shape (n,)
        Of its rows.
    late : int
        Rows before them that are left out.
    progress : Progress
        How far the load is then.
    record : bytes, optional
        The schema record, where it is to be written.
    """

    fitted: Fitted
    start: int
    ids: pa.Array
    late: int
    progress: Progress
    record: bytes | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A transaction: its commands, the replies they must get, and what is watched before and behind it."""

    buffers: list[bytes | memoryview]
    replies: bytes  # the head of EXEC's: the ids
    count: int
    extras: int  # replies behind the ids
    rows: int
    late: int
    first_id: str
    last_id: str
    before: View
    behind: View

    @classmethod
    def of(cls, job: Job, where: LoadRecord, view: View, plan: Plan) -> Chunk:
        """Write a chunk's transaction, for a stream that is as it was seen."""
        ids, rows = plan.ids, len(plan.ids)
        last = StreamId.parse(ids[-1].as_py()) if rows else (view.state.last_id if view.state else StreamId(0, 0))
        extras = _extras(job, where, view, plan, last if rows else None)
        added = (view.state.added if view.state else 0) + rows
        behind = View(
            StreamState(last, added) if rows or view.state else None,
            view.record if plan.record is None else plan.record,
            where.left_by(plan.progress),
        )
        return cls(
            [_MULTI, *_xadds(job.records.key, plan), *extras],
            b"*%d\r\n" % (rows + len(extras)) + commands.values_of(commands.bulks(ids)).tobytes(),
            rows + len(extras),
            len(extras),
            rows,
            plan.late,
            str(StreamId.parse(ids[0].as_py())) if rows else "",
            str(last),
            view,
            behind,
        )

    def check(self, reply: memoryview, *, queued: bool) -> list[Any]:
        """Compare what the transaction was answered with, and return the replies behind it.

        Parameters
        ----------
        reply : memoryview
        queued : bool
            All but EXEC was answered before (`check_queued`).

        Raises
        ------
        ConflictError
            Nothing is stored: something has come in between.
        redis.exceptions.RedisError
            A command was refused.
        """
        expected = (b"" if queued else _OK + _QUEUED * self.count) + self.replies
        if bytes(reply[: len(expected)]) == expected:
            rest = resp.parse(reply[len(expected) :])
            done, behind = rest[: self.extras], rest[self.extras :]
        else:
            replies = resp.parse(reply)
            commit = 0 if queued else self.count + 1
            _check_all(replies[:commit])
            if replies[commit] is None:
                raise ConflictError
            _check_all(check(replies[commit]))
            done, behind = replies[commit][self.rows :], replies[commit + 1 :]
        _check_all(done)
        return behind

    def check_queued(self, lines: bytes) -> None:
        """Compare what the transaction was answered with before its EXEC."""
        if lines[:1] == b"-":  # what is behind a MULTI that was refused is no line of a transaction
            lines = lines[: lines.index(b"\n") + 1]
        if lines != _OK + _QUEUED * self.count:
            _check_all(resp.parse(lines))


def _extras(job: Job, where: LoadRecord, view: View, plan: Plan, last: StreamId | None) -> list[bytes]:
    """Return what a transaction holds besides its rows."""
    records, extras = job.records, []
    if plan.record is not None:
        extras.append(command(b"SET", records.schema, plan.record))
        if view.record is not None and current_schema(view.state, view.record, records) is None:
            extras.append(command(b"DEL", records.loads))  # of the stream that the old record was of
    extras.append(where.write(plan.progress) if last is None else where.write_behind(plan.progress, records.key, last))
    if job.maxlen is not None:
        extras.append(command(b"XTRIM", records.key, b"MAXLEN", b"=", b"%d" % job.maxlen))
    if job.minid is not None:
        extras.append(command(b"XTRIM", records.key, b"MINID", b"=", job.minid(plan.fitted.schema)))
    return extras


def _xadds(key: bytes, plan: Plan) -> list[memoryview]:
    """Encode a chunk's rows, in pieces where they are wide: Arrow's binary columns end at 2 GiB."""
    ids = plan.ids
    present = [
        (column.field, array.slice(plan.start, len(ids))) for column, array in plan.fitted.columns if array is not None
    ]
    size = sum(size_of(array) for _, array in present)
    step = max(1, len(ids) if size <= _PIECE_BYTES else len(ids) * _PIECE_BYTES // size)
    fields = [field for field, _ in present]
    return [
        commands.xadds(key, ids.slice(at, step), fields, [text.encode(array.slice(at, step)) for _, array in present])
        for at in range(0, len(ids), step)
    ]


def _check_all(replies: list[Any]) -> None:
    for reply in replies:
        check(reply)
