"""What a caller gives as the bounds of a range of rows -> ids.

Frames take all that the object model takes (`ids.TimeAxis`), and date strings, of which a partial one stands for its
whole period, as in pandas.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any

import pandas as pd

from walrus_ts.errors import UsageError
from walrus_ts.ids import NS_PER_S, TimeAxis, localize

_ID = re.compile(r"\d{9,}-\d+")
_OFFSET = re.compile(r":\d\d.*?(?P<zone>[zZ]|[+-]\d\d:?\d\d)$")
_STEP_NS = {"D": 86_400 * NS_PER_S, "h": 3_600 * NS_PER_S, "min": 60 * NS_PER_S, "s": NS_PER_S}
_STEP_NS |= {"ms": 1_000_000, "us": 1_000, "ns": 1}


def lower_id(bound: Any, axis: TimeAxis) -> bytes:
    """Return the first id of a range; None is the stream's beginning.

    Raises
    ------
    UsageError
        The bound is neither an id nor a time.
    """
    if bound is None:
        return b"-"
    if isinstance(bound, str) and not _is_id(bound):
        return axis.lower_ns(_period_ns(bound, axis.zone)[0])
    return _encode(axis.lower(bound))


def upper_id(bound: Any, axis: TimeAxis) -> bytes:
    """Return the last id of a range; None is the stream's end.

    Raises
    ------
    UsageError
        The bound is neither an id nor a time.
    """
    if bound is None:
        return b"+"
    if isinstance(bound, str) and not _is_id(bound):
        return axis.upper_ns(_period_ns(bound, axis.zone)[1])
    return _encode(axis.upper(bound))


def _is_id(bound: str) -> bool:
    """Tell an id from a date: ``"1704067200000-0"`` from ``"2024-01"``."""
    return bound in ("-", "+") or _ID.fullmatch(bound) is not None


def _encode(bound: Any) -> bytes:
    if isinstance(bound, (str, bytes)):
        return bound.encode() if isinstance(bound, str) else bound
    raise UsageError(
        f"a bound is a date string, a datetime, a date, a Timestamp, a datetime64 or an id; found {bound!r} of type "
        f"{type(bound).__name__}",
        value=bound,
    )


def _period_ns(string: str, zone: tzinfo | None) -> tuple[int, int]:
    """Return the first and the last nanosecond, UTC, of the period that a date string names."""
    try:
        period = pd.Period(string)
        first, last = _first_ns(period), _first_ns(period + 1) - 1
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UsageError(
            f"the bound {string!r} is no date that pandas reads ('2024', '2024-02', '2024-02-29 09:30'), and no stream "
            "id ('1704067200000-0')",
            value=string,
        ) from error
    own = _own_zone(string)
    if own is not None:
        zone = own
    bounds = localize(first, zone, "first"), localize(last, zone, "last")
    if bounds[1] < 0 or bounds[0] < 0:
        raise UsageError(f"the bound {string!r} is before 1970, and so has no stream id", value=string)
    return bounds


def _first_ns(period: pd.Period) -> int:
    """Return the wall clock's nanosecond, from 1970-01-01 00:00, at which a period begins."""
    step = _STEP_NS.get(period.freqstr)
    if step is not None:
        return period.ordinal * step
    month = {"Y": 1, "A": 1, "Q": 3 * period.quarter - 2, "M": period.month}[period.freqstr[0]]
    return timegm((period.year, month, 1, 0, 0, 0)) * NS_PER_S


def _own_zone(string: str) -> tzinfo | None:
    """Return the zone that a date string ends with; `pandas.Period` takes no notice of it."""
    match = _OFFSET.search(string.strip())
    if match is None:
        return None
    text = match["zone"]
    if text in "zZ":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
