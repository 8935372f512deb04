"""A frame's DatetimeIndex <-> times in Arrow, and what the record keeps of it."""

from __future__ import annotations

import sys
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
from walrus_ts.times import parse_zone, zone_name

_SET_BACK = pd.Timedelta(hours=1)  # by a clock, in autumn


def checked_index(index: pd.Index, zone: tzinfo | None) -> pd.DatetimeIndex:
    """Check an index, and localise a naive one to the series' zone."""
    if not isinstance(index, pd.DatetimeIndex):
        raise UsageError(
            f"the index of the frame has to be a DatetimeIndex; found {type(index).__name__} of {index.dtype}. "
            f"{_cure(index)}",
            dtype=str(index.dtype),
        )
    if index.hasnans:
        row = int(np.argmax(index.isna()))
        raise UsageError(
            f"the index has no time (NaT) at row {row}: drop such rows (`frame[frame.index.notna()]`)",
            row=row,
        )
    if not index.is_monotonic_increasing:
        ticks = index.asi8
        row = int(np.argmax(ticks[1:] < ticks[:-1])) + 1
        clock = ""
        if index.tz is None and index[row - 1] - index[row] < _SET_BACK:
            localised = f"frame.index.tz_localize({str(zone or '...')!r}, ambiguous=np.arange(len(frame)) < {row})"
            clock = (
                " But where a local clock was set back there, do not sort, and tell its two hours apart: "
                f"`frame.index = {localised}`."
            )
        raise UsageError(
            f"the index is out of order: row {row}, {index[row]}, is older than row {row - 1}, {index[row - 1]}. Sort "
            f"it: `frame.sort_index(kind='stable')`.{clock}",
            row=row,
        )
    if zone is not None and index.tz is None:
        index = _localised(index, zone)
    _check_range(index)
    return index


def _cure(index: pd.Index) -> str:
    """Say how a frame comes by its times; pandas would take the numbers of its rows for nanoseconds of 1970."""
    if isinstance(index, pd.RangeIndex):
        return "Name the column that holds the times: `append(frame, time='...')`."
    unit = ", unit='s'" if pd.api.types.is_numeric_dtype(index.dtype) else ""
    make = f"Make one with `frame.index = pd.to_datetime(frame.index{unit})`"
    return f"{make}, or name a column: `append(frame, time='...')`."


def _not_once() -> tuple[type[Exception], ...]:
    """List the errors of times that a zone has twice or never: pandas 2 raises pytz's, which are no ValueErrors."""
    pytz: Any = sys.modules.get("pytz")
    return (ValueError, pytz.InvalidTimeError) if pytz else (ValueError,)


def _localised(index: pd.DatetimeIndex, zone: tzinfo) -> pd.DatetimeIndex:
    try:
        localised = index.tz_localize(zone)
    except _not_once() as error:  # pandas' own message names the time
        raise UsageError(
            f"the naive index cannot be localised to the series' zone {zone}: {error}. Say what is meant: "
            f"`frame.index = frame.index.tz_localize('{zone}', ambiguous=..., nonexistent=...)`.",
            tz=zone,
        ) from error
    except (NotImplementedError, OverflowError) as error:  # pandas has no such time
        raise UsageError(
            f"the naive index, localised to the series' zone {zone}, has a time before 1970 or after 9999, in UTC: it "
            f"has no stream id ({error})",
            tz=zone,
        ) from error
    return localised


def _check_range(index: pd.DatetimeIndex) -> None:
    ticks = index.asi8
    if not len(ticks):
        return
    if ticks[0] < 0:
        raise UsageError(f"row 0 is of {index[0]}, before 1970: it has no stream id", row=0)
    behind = ticks > min(YEAR_10000 * TICKS[_unit(index)] - 1, 2**63 - 1)
    if behind[-1]:
        row = int(np.argmax(behind))
        raise UsageError(f"row {row} lies behind the year 9999: it has no stream id", row=row)
    if len(ticks) > COUNTERS:
        crowded = ticks[COUNTERS:] == ticks[:-COUNTERS]
        if crowded.any():
            row = int(np.argmax(crowded))
            raise UsageError(
                f"more than 2**20 rows share the timestamp {index[row]} (row {row + COUNTERS} is the first too many). "
                "Give the frame a finer index, or spread the rows over several streams.",
                row=row + COUNTERS,
            )


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
