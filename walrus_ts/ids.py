"""Stream id <-> time: one id, and whole columns of ids.

A stream id is ``<milliseconds>-<sequence>``, two 64-bit numbers. walrus_ts makes them from times by one formula::

    milliseconds = milliseconds since 1970, UTC
    sequence     = (nanoseconds within the millisecond) * 2**20 + counter

where the counter numbers the rows of one timestamp. Ids therefore sort as times do, and nothing is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from walrus_ts.errors import DataError, UsageError

Unit = Literal["s", "ms", "us", "ns"]
Ids = npt.NDArray[np.uint64]

TICKS: dict[Unit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # in a second
COUNTER_BITS = 20
COUNTERS = 1 << COUNTER_BITS
MAX_SEQUENCE = 2**64 - 1
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

YEAR_10000 = 253_402_300_800  # seconds from 1970; `datetime` ends before it
LAST_MILLISECOND = YEAR_10000 * 1_000 - 1
_ID = re.compile(rb"(\d+)(?:-(\d+))?")


class StreamId(NamedTuple):
    """The two numbers of a stream id."""

    milliseconds: int
    sequence: int

    @classmethod
    def parse(cls, text: bytes | str) -> StreamId:
        """Read ``b"1514764800000-3"``; a missing sequence is 0.

        Raises
        ------
        UsageError
            The text is no stream id.
        """
        raw = text.encode() if isinstance(text, str) else bytes(text)
        match = _ID.fullmatch(raw)
        if match is None:
            raise UsageError(f"a stream id is two numbers, as in '1514764800000-0'; found {text!r}", id=text)
        parsed = cls(int(match[1]), int(match[2] or 0))
        if parsed.milliseconds > MAX_SEQUENCE or parsed.sequence > MAX_SEQUENCE:
            raise UsageError(f"the numbers of a stream id have 64 bits; found {text!r}", id=text)
        return parsed

    def encode(self) -> bytes:
        """Write the id as Redis does."""
        return b"%d-%d" % self

    def __str__(self) -> str:
        """Write the id as Redis does."""
        return f"{self.milliseconds}-{self.sequence}"


def parse_ids(texts: Iterable[str]) -> Ids:
    """Read ids as Redis writes them.

    Returns
    -------
    ids : uint64 array, shape (n, 2)
        Milliseconds and sequences.
    """
    numbers = [number for text in texts for number in text.split("-")]
    return np.array(numbers, dtype=np.uint64).reshape(-1, 2)


def split_times(times: pa.TimestampArray) -> tuple[Ids, Ids]:
    """Give each time its millisecond, and the sequence of its counter 0.

    Parameters
    ----------
    times : TimestampArray, shape (n,)
        UTC or naive, no nulls, not before 1970.

    Returns
    -------
    milliseconds, sequence : uint64 arrays, shape (n,)
    """
    unit = cast(Unit, times.type.unit)
    ticks = np.asarray(times.cast(pa.int64()), dtype=np.int64)
    if unit in ("s", "ms"):
        return (ticks * (1_000 // TICKS[unit])).astype(np.uint64), np.zeros(len(ticks), np.uint64)
    milliseconds, rest = np.divmod(ticks, TICKS[unit] // 1_000)
    nanoseconds = rest * (NS_PER_S // TICKS[unit])
    return milliseconds.astype(np.uint64), nanoseconds.astype(np.uint64) << np.uint64(COUNTER_BITS)


def to_ids(times: pa.TimestampArray, after: StreamId | None = None) -> tuple[Ids, Ids]:
    """Give each time the stream id that it is stored under.

    Rows with one timestamp are numbered in their order, and go on from `after` where the first of them continues it.

    Parameters
    ----------
    times : TimestampArray, shape (n,)
        UTC or naive, non-decreasing, no nulls, not before 1970, none late (`count_late`).
    after : StreamId, optional
        The last id that the stream has generated.

    Returns
    -------
    milliseconds, sequence : uint64 arrays, shape (n,)

    Raises
    ------
    UsageError
        More than 2**20 rows share one timestamp, or `after` leaves no id for it; the message names it.
    """
    milliseconds, sequence = split_times(times)
    if not len(times):
        return milliseconds, sequence
    starts = np.flatnonzero(np.diff(milliseconds, prepend=milliseconds[0]) | np.diff(sequence, prepend=sequence[0]))
    runs = np.concatenate(([0], starts, [len(times)]))
    counter = np.arange(len(times), dtype=np.int64) - np.repeat(runs[:-1], np.diff(runs))
    base = _counter_after(after, int(milliseconds[0]), int(sequence[0]), coarse=times.type.unit in ("s", "ms"))
    counter[: runs[1]] += min(base, COUNTERS)
    if base <= COUNTERS and counter.max() >= COUNTERS:
        row = int(np.argmax(counter >= COUNTERS))
        raise UsageError(
            f"more than 2**20 rows share the timestamp {times[row]} (row {row} is the first too many). "
            "Give the frame a finer index, or spread the rows over several streams.",
            row=row,
            timestamp=times[row].as_py() if times.type.unit != "ns" else times[row].value,
        )
    sequence += counter.astype(np.uint64)
    if base + int(runs[1]) > MAX_SEQUENCE + 1:
        raise UsageError(
            f"the stream ends with the id {after}, its millisecond has {MAX_SEQUENCE + 1 - base} ids left, "
            f"and {runs[1]} rows share the timestamp {times[0]}. Append what is later, or to another stream.",
            rows=int(runs[1]),
            last_id=str(after),
        )
    if base > COUNTERS:
        sequence[: runs[1]] += np.uint64(base - COUNTERS)
    return milliseconds, sequence


def _counter_after(after: StreamId | None, milliseconds: int, sequence: int, *, coarse: bool) -> int:
    """Return the counter that the first row gets, given the id that the stream ends with."""
    after = after or StreamId(0, 0)  # which a stream without entries ends with, and which no entry can have
    if after.milliseconds != milliseconds:
        return 0
    if coarse:  # the sequence of another program's entries is a mere counter
        return after.sequence + 1
    return after.sequence % COUNTERS + 1 if after.sequence >> COUNTER_BITS == sequence >> COUNTER_BITS else 0


def count_late(times: pa.TimestampArray, after: StreamId | None) -> int:
    """Count the rows, all at the front, that are older than the time at which the stream ends.

    Parameters
    ----------
    times : TimestampArray, shape (n,)
        UTC or naive, non-decreasing, no nulls, not before 1970.
    after : StreamId, optional
        The last id that the stream has generated.
    """
    if after is None or not len(times):
        return 0
    if len(times) > 1 and not count_late(times.slice(0, 1), after):
        return 0  # as it mostly is, and no reason to look at ten million rows for each chunk of them
    milliseconds, sequence = split_times(times)
    below = int(np.searchsorted(milliseconds, np.uint64(after.milliseconds), "left"))
    if times.type.unit in ("s", "ms"):
        return below
    upto = int(np.searchsorted(milliseconds, np.uint64(after.milliseconds), "right"))
    ends_at = np.uint64(after.sequence >> COUNTER_BITS << COUNTER_BITS)
    return below + int(np.searchsorted(sequence[below:upto], ends_at, "left"))


def expresses(unit: Unit, id_: StreamId) -> bool:
    """Tell whether a unit can express the time that an id stands for: `from_ids` for one."""
    if id_.milliseconds > _last_millisecond(unit):
        return False
    if unit == "s":
        return id_.milliseconds % 1_000 == 0
    if unit == "ms":
        return True
    step, nanoseconds = NS_PER_S // TICKS[unit], id_.sequence >> COUNTER_BITS
    ticks = (id_.milliseconds * NS_PER_MS + nanoseconds) // step
    return nanoseconds < NS_PER_MS and nanoseconds % step == 0 and ticks < 2**63


def _last_millisecond(unit: Unit) -> int:
    """Return the last millisecond that begins with a tick of 64 bits."""
    return min(LAST_MILLISECOND, (2**63 - 1) // max(1, TICKS[unit] // 1_000))


def from_ids(milliseconds: Ids, sequence: Ids, unit: Unit, where: str = "the stream") -> npt.NDArray[np.int64]:
    """Give each id the time that it stands for, in ticks of `unit` since 1970, UTC.

    Parameters
    ----------
    milliseconds, sequence : uint64 arrays, shape (n,)
    unit : {"s", "ms", "us", "ns"}
    where : str
        Names the stream in an error.

    Returns
    -------
    ticks : int64 array, shape (n,)

    Raises
    ------
    DataError
        An id stands for a time that the unit cannot express; the message names the first.
    """
    ms = milliseconds.astype(np.int64)
    if unit == "s":
        ticks, bad = ms // 1_000, ms % 1_000 != 0
    elif unit == "ms":
        ticks, bad = ms, np.zeros(len(ms), bool)
    else:
        nanoseconds = (sequence >> np.uint64(COUNTER_BITS)).astype(np.int64)
        step = NS_PER_S // TICKS[unit]
        ticks = ms * (TICKS[unit] // 1_000) + nanoseconds // step
        bad = (nanoseconds >= NS_PER_MS) | (nanoseconds % step != 0)
    bad |= milliseconds > np.uint64(_last_millisecond(unit))
    bad |= ticks < 0  # nanoseconds end within their last millisecond
    if bad.any():
        row = int(np.argmax(bad))
        found = StreamId(int(milliseconds[row]), int(sequence[row]))
        raise DataError(
            f"{where} has the id {found}, a time that the index unit {unit!r} cannot express (another program wrote "
            "it). `declare(..., unit=..., tz=...)` with a unit that can: 'ms' reads every id Redis makes.",
            id=str(found),
            unit=unit,
        )
    return ticks
