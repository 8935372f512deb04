"""A frame's DatetimeIndex <-> times in Arrow, and what the record keeps of it."""

from __future__ import annotations

import sys
from bisect import bisect_left
from datetime import tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar.labels import Label
from walrus_ts.columnar.schema import Schema
from walrus_ts.errors import UsageError
from walrus_ts.ids import COUNTERS, TICKS, YEAR_10000, Unit
from walrus_ts.pandas_io.cures import INDEX, Times
from walrus_ts.times import parse_zone, zone_name

_SET_BACK = pd.Timedelta(hours=1)  # by a clock, in autumn
_DAY = 86_400  # seconds
_NOT_THERE = (NotImplementedError, OverflowError, pd.errors.OutOfBoundsDatetime)  # pandas has no such time


def checked_index(index: pd.Index, zone: tzinfo | None, times: Times = INDEX) -> pd.DatetimeIndex:
    """Check an index, and localise a naive one to the series' zone; the errors' cures are of where its times are."""
    if not isinstance(index, pd.DatetimeIndex):
        raise UsageError(
            f"the index of the frame has to be a DatetimeIndex; found {type(index).__name__} of {_kind(index)}. "
            f"{_cure(index)}",
            dtype=_kind(index),
        )
    if index.hasnans:
        row = int(np.argmax(index.isna()))
        raise UsageError(
            f"the index has no time (NaT) at row {row}: drop such rows (`{times.without_nulls()}`)",
            row=row,
        )
    if not index.is_monotonic_increasing:
        ticks = index.asi8
        row = int(np.argmax(ticks[1:] < ticks[:-1])) + 1
        raise UsageError(
            f"the index is out of order: row {row}, {index[row]}, is older than row {row - 1}, {index[row - 1]}. Sort "
            f"it: `{times.in_order()}`.{_set_back(index, row, zone, times)}",
            row=row,
        )
    if zone is not None and index.tz is None:
        index = _localised(index, zone, times)
    _check_range(index, times)
    return index


def _kind(index: pd.Index) -> str:
    """Name the dtype of an index; those of its levels."""
    levels = index.levels if isinstance(index, pd.MultiIndex) else [index]
    return ", ".join(str(level.dtype) for level in levels)


def _cure(index: pd.Index) -> str:
    """Say how a frame comes by its times; pandas would take the numbers of its rows for nanoseconds of 1970."""
    named = "`append(frame, time='...')`"
    if isinstance(index, pd.MultiIndex):
        clocks = [at for at, level in enumerate(index.levels) if isinstance(level, pd.DatetimeIndex)]
        if len(clocks) != 1:
            return f"Make columns of its levels, `frame.reset_index()`, and name the one that holds the times: {named}."
        others = [at for at in range(index.nlevels) if at not in clocks]
        return f"Make columns of its other levels: `frame.reset_index(level={others})`."
    cure = None if isinstance(index, pd.RangeIndex) else INDEX.made(index.dtype)
    if cure is None:
        return f"Name the column that holds the times: {named}."
    start = " (the start is yours to say)" if "pd.Timestamp" in cure else ""
    return f"Make one with `{cure}`{start}, or name a column: {named}."


def _set_back(index: pd.DatetimeIndex, row: int, zone: tzinfo | None, times: Times) -> str:
    """Say what to do with times that may be of a clock that was set back before a row."""
    if index.tz is not None or index[row - 1] - index[row] >= _SET_BACK:
        return ""
    said = " But where a local clock was set back there, do not sort, and tell its two hours apart"
    if times.arrow:  # its function has no mask
        return f"{said}: `pc.assume_timezone`, `ambiguous='earliest'` for the rows before this one, else `'latest'`."
    return f"{said}: `{times.localised(str(zone or '...'), f'np.arange(len(frame)) < {row}')}`."


def _not_once() -> tuple[type[Exception], ...]:
    """List the errors of times that a zone has twice or never: pandas 2 raises pytz's, which are no ValueErrors."""
    pytz: Any = sys.modules.get("pytz")
    return (ValueError, pytz.InvalidTimeError) if pytz else (ValueError,)


def _localised(index: pd.DatetimeIndex, zone: tzinfo, times: Times) -> pd.DatetimeIndex:
    second = TICKS[_unit(index)]
    if len(index) and not -_DAY * second <= int(index.asi8[0]) <= int(index.asi8[-1]) < (YEAR_10000 + _DAY) * second:
        _check_range(index, times)  # pandas has not all of these times in a zone
    try:
        localised = index.tz_localize(zone)
    except _NOT_THERE as error:
        raise _no_such_time(index, zone, times) from error
    except _not_once() as error:
        row, often = _first_not_once(index, zone)
        choices = ("'earliest'", "'latest'") if times.arrow else ("True", "'shift_forward'")
        order = "" if times.arrow else " True is the earlier of two times; 'infer' goes by the order of the rows."
        raise UsageError(
            f"the naive index cannot be localised to the series' zone {zone}: {index[row]} at row {row} is there "
            f"{often}. Say what is meant, by `{times.localised(zone, *choices)}`, say.{order}",
            tz=zone,
            row=row,
        ) from error
    return localised


def _no_such_time(index: pd.DatetimeIndex, zone: tzinfo, times: Times) -> UsageError:
    """Name the first time that pandas does not have in UTC, for it lies behind the last one."""

    def is_none(row: int) -> bool:
        try:
            index[row : row + 1].tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        except _NOT_THERE:
            return True
        return False

    row = bisect_left(range(len(index)), True, key=is_none)
    end = "2262-04-11 23:47:16, where nanoseconds end" if index.unit == "ns" else "the year 9999"
    return UsageError(
        f"row {row} of the naive index, {index[row]}, localised to the series' zone {zone}, lies behind {end}, in UTC: "
        f"it has no stream id. Leave such rows out: `{times.rows(f':{row}')}`.",
        tz=zone,
        row=row,
    )


def _first_not_once(index: pd.DatetimeIndex, zone: tzinfo) -> tuple[int, str]:
    """Find the first time that a zone has twice or never, and say which."""
    row = int(np.argmax(index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").isna()))
    never = index[row : row + 1].tz_localize(zone, ambiguous=np.array([True]), nonexistent="NaT").hasnans
    return row, "never" if never else "twice"


def _check_range(index: pd.DatetimeIndex, times: Times) -> None:
    ticks = index.asi8
    if not len(ticks):
        return
    if ticks[0] < 0:
        cure = times.rows(f"{np.searchsorted(ticks, 0)}:")
        raise UsageError(
            f"row 0 is of {_shown(index, 0)}, before 1970: it has no stream id. Leave such rows out: `{cure}`.",
            row=0,
        )
    behind = ticks > min(YEAR_10000 * TICKS[_unit(index)] - 1, 2**63 - 1)
    if behind[-1]:
        row = int(np.argmax(behind))
        raise UsageError(
            f"row {row} is of {_shown(index, row)}, and lies behind the year 9999: it has no stream id. "
            f"Leave such rows out: `{times.rows(f':{row}')}`.",
            row=row,
        )
    if len(ticks) > COUNTERS:
        crowded = ticks[COUNTERS:] == ticks[:-COUNTERS]
        if crowded.any():
            row = int(np.argmax(crowded))
            raise UsageError(
                f"more than 2**20 rows share the timestamp {index[row]} (row {row + COUNTERS} is the first too many). "
                "Give the frame a finer index, or spread the rows over several streams.",
                row=row + COUNTERS,
            )


def _shown(index: pd.DatetimeIndex, row: int) -> str:
    """Show a time, also of a year that pandas does not show."""
    time = index.asi8[row].view(f"M8[{index.unit}]")
    return f"{time}" if index.tz is None else f"{time}, in UTC"


def _unit(index: pd.DatetimeIndex) -> Unit:
    return index.unit


def index_facts(index: pd.DatetimeIndex) -> tuple[Unit, str | None, Label]:
    """Return the unit, zone and name of an index.

    Raises
    ------
    UsageError
        Its zone has no name that it can be made from again, or an offset with seconds.
    """
    dtype = index.dtype
    zone = stored_zone(dtype, "the index", "frame.tz_convert") if isinstance(dtype, pd.DatetimeTZDtype) else None
    return _unit(index), zone, index.name


def stored_zone(dtype: pd.DatetimeTZDtype, where: str, convert: str) -> str:
    """Return the name that the zone of some times is stored by, and made from again.

    Raises
    ------
    UsageError
        It has none, or an offset with seconds. The message says where the times are, and what converts them.
    """
    name = zone_name(dtype.tz)
    try:
        parse_zone(name)
        same = pd.DatetimeTZDtype(dtype.unit, name).tz
    except (KeyError, TypeError, ValueError, OSError) as error:  # zoneinfo's, pytz's and dateutil's, of a name
        raise UsageError(
            f"the zone of {where}, {dtype.tz!r}, has no name that it can be made from again. Convert it: "
            f"`{convert}('Europe/Berlin')`, for example.",
            tz=dtype.tz,
        ) from error
    parse_zone(dtype.tz)
    parse_zone(same)
    return name


def to_times(index: pd.DatetimeIndex) -> pa.TimestampArray:
    """Return an index as Arrow has it: naive, or UTC without saying so."""
    return pa.array(index.asi8).view(pa.timestamp(index.unit))


def to_index(ticks: npt.NDArray[Any], schema: Schema, zone: tzinfo | None) -> pd.DatetimeIndex:
    """Make the index."""
    index = pd.DatetimeIndex(ticks.view(f"M8[{schema.unit}]"), name=schema.name)
    if schema.zone is None:
        return index
    return index.tz_localize("UTC").tz_convert(zone or schema.zone)
