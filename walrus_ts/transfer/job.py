"""A table that is to be stored, and what its stream asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from walrus_ts.columnar import text
from walrus_ts.columnar.fitting import Fitted
from walrus_ts.columnar.schema import Origin, Records, Schema, shown
from walrus_ts.errors import DataError, LateRowsError
from walrus_ts.ids import TICKS, Ids, StreamId, count_late
from walrus_ts.times import to_datetime
from walrus_ts.transfer.scan import StreamState


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


def joined(done: Appended, new: Appended) -> Appended:
    """Tell what two appends have done, one behind the other."""
    first_id, last_id = done.first_id or new.first_id, new.last_id or done.last_id
    return Appended(done.rows + new.rows, done.skipped + new.skipped, first_id, last_id)


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
        Takes the stream's Schema, or None, and returns the table's columns as it wants them (`fitting.fit`).
    late : {"raise", "skip"}
    load : str, optional
        The load's name.
    maxlen : int, optional
        Rows that the stream keeps at most.
    minid : callable, optional
        Takes the schema that the stream is left with, and returns the id below which entries are removed.
    progress : callable, optional
        Is told of rows as they are stored.
    zone : tzinfo, optional
        Of the frame's index: errors have times in it.
    """

    records: Records
    times: pa.TimestampArray
    fit: Callable[[Schema | None], Fitted]
    late: Literal["raise", "skip"] = "raise"
    load: str | None = None
    maxlen: int | None = None
    minid: Callable[[Schema], bytes] | None = None
    progress: Callable[[int], object] | None = None
    zone: tzinfo | None = None

    @property
    def where(self) -> str:
        """The stream, in an error."""
        return f"stream {shown(self.records.key)!r}"


_LATE_CURE = (
    "`late='skip'` leaves them out. A load with a name (`load='...'`) may be repeated, and stores what is missing"
)


def check_late(
    job: Job,
    times: pa.TimestampArray,
    state: StreamState | None,
    position: int = 0,
    cure: str = _LATE_CURE,
) -> None:
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
    cure : str
        What the caller can do about them.

    Raises
    ------
    LateRowsError
    """
    late = count_late(times.slice(position), state.last_id if state else None)
    if state is not None and late:
        raise LateRowsError(
            f"{late} rows are older than the end of {job.where}, which has generated the id {state.last_id}"
            f"{_of_id(state.last_id, job.zone)}; the first of them is row {position}, "
            f"{_of_row(job.times[position], job.zone)}. {cure}.",
            key=job.records.key,
            rows=late,
            row=position,
            last_id=str(state.last_id),
        )


def _of_row(time: pa.TimestampScalar, zone: tzinfo | None) -> str:
    """Write a row's time as pandas writes it."""
    seconds, ticks = divmod(time.value, TICKS[time.type.unit])
    try:
        whole = to_datetime(seconds * 1000, zone).isoformat(sep=" ")
    except DataError:  # in the zone, it is the year 10000
        whole = to_datetime(seconds * 1000, UTC).isoformat(sep=" ")
    fraction = str(TICKS[time.type.unit] + ticks)[1:].rstrip("0")
    return f"{whole[:19]}.{fraction}{whole[19:]}" if fraction else whole


def _of_id(id_: StreamId, zone: tzinfo | None) -> str:
    """Say of what time an id is, in a sentence; nothing where another program has chosen one that is none."""
    try:
        return f" ({to_datetime(id_.milliseconds, zone)})"
    except DataError:
        return ""


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


def iso(scalar: Any) -> str:
    """Write a time as it is stored."""
    return str(text.encode(pa.array([scalar]))[0].as_py().decode())
