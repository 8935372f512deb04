"""What a caller gives as the bounds of a range of rows -> ids.

Frames take all that the object model takes (`times.TimeAxis`), and date strings, of which a partial one stands for its
whole period, as in pandas.
"""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any

import numpy as np
import pandas as pd

from walrus_ts.errors import UsageError
from walrus_ts.ids import NS_PER_S
from walrus_ts.times import TimeAxis, localize

_ID = re.compile(r"\d{9,}-\d+")
_ZONED = re.compile(r"(?<=\d)[T ]\d\d(?::\d\d[\d:.]*)?\s*(?P<zone>[A-Za-z+-].*)$")
_OFFSET = re.compile(r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>[01]\d|2[0-3])(?::?(?P<minutes>[0-5]\d))?")
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
    begin = np.datetime64(12 * (period.year - 1970) + month - 1, "M")  # of the year 10000, too: 9999 ends there
    return int(begin.astype("M8[s]").astype(np.int64)) * NS_PER_S


def _own_zone(string: str) -> tzinfo | None:
    """Return the zone that a date string ends with; `pandas.Period` takes no notice of it.

    Raises
    ------
    UsageError
        It is neither ``Z`` nor an offset.
    """
    match = _ZONED.search(string.strip())
    if match is None or match["zone"].upper() in ("AM", "PM"):
        return None
    if match["zone"].upper() in ("Z", "UTC", "GMT"):
        return UTC
    offset = _OFFSET.fullmatch(match["zone"])
    if offset is None:
        raise UsageError(
            f"the bound {string!r} ends with a zone that is not known: {match['zone']!r}. Write 'Z' or an offset, "
            "as in '+01:00', or give a `pandas.Timestamp`.",
            value=string,
        )
    minutes = int(offset["hours"]) * 60 + int(offset["minutes"] or 0)
    return timezone(timedelta(minutes=-minutes if offset["sign"] == "-" else minutes))
