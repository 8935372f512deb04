"""One time -> a stream id: what users write for a time, zones and their clock changes, and bounds."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import numpy as np

from walrus_ts.errors import DataError, UsageError
from walrus_ts.ids import (
    COUNTER_BITS,
    COUNTERS,
    LAST_MILLISECOND,
    MAX_SEQUENCE,
    NS_PER_MS,
    NS_PER_S,
    TICKS,
    StreamId,
    Unit,
)

Side = Literal["first", "last"]

NS_PER_DAY = 86_400 * NS_PER_S

_EPOCH = datetime(1970, 1, 1)
_PYTZ_OFFSET = re.compile(r"pytz\.FixedOffset\((?P<sign>-?)(?P<minutes>\d+)\)")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([01]\d|2[0-3]):?([0-5]\d)")


def parse_zone(zone: str | tzinfo | None) -> tzinfo | None:
    """Return the zone that a name, an offset (``"+05:30"``) or a tzinfo stands for.

    Raises
    ------
    UsageError
        There is no such zone, or its offset has seconds.
    """
    if zone is None:
        return None
    if isinstance(zone, tzinfo):
        name = getattr(zone, "zone", None)  # pytz: its zones do not work with datetime.replace
        return parse_zone(name) if isinstance(name, str) else _whole_minutes(zone)
    if not isinstance(zone, str):
        raise UsageError(f"a time zone is a name like 'Europe/Berlin' or a tzinfo; found {zone!r}", tz=zone)
    offset = _OFFSET.fullmatch(zone)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {zone!r}; expected a name of the IANA list, like 'Europe/Berlin', or an offset, "
            "like '+05:30'",
            tz=zone,
        ) from error


def zone_name(zone: tzinfo | str) -> str:
    """Name a zone as Arrow does: ``"Europe/Berlin"``, or a fixed offset like ``"+05:30"``."""
    name = str(zone)
    if pytz := _PYTZ_OFFSET.fullmatch(name):  # Arrow gives it where pytz is installed, as with pandas 2
        hours, minutes = divmod(int(pytz["minutes"]), 60)
        return f"{pytz['sign'] or '+'}{hours:02}:{minutes:02}"
    offset = name.removeprefix("UTC")  # which Python writes before it
    return offset if _OFFSET.fullmatch(offset) else name


def _whole_minutes(zone: tzinfo) -> tzinfo:
    offset = zone.utcoffset(None)
    if offset is not None and offset.total_seconds() % 60:
        raise UsageError(f"the offset of the time zone {zone} has seconds; use one of whole minutes", tz=zone)
    return zone


def localize(local_ns: int, zone: tzinfo | None, side: Side | None = None, *, fold: int = 0) -> int:
    """Return the UTC nanoseconds of a wall clock's time.

    Parameters
    ----------
    local_ns : int
        Nanoseconds from 1970-01-01 00:00 on the wall clock.
    zone : tzinfo, optional
        The clock's zone; without one it shows UTC.
    side : {"first", "last"}, optional
        Which of two to take where the zone has the time twice; one that it never has is then the end of the gap.
        Without it, both are errors unless `fold` is 1.
    fold : {0, 1}
        As `datetime.fold`: 1 takes the offset that holds after the change.

    Raises
    ------
    UsageError
        The zone has the time twice or never, and nothing says which is meant.
    """
    if zone is None:
        return local_ns
    wall = _EPOCH + timedelta(microseconds=local_ns // 1_000)
    before, behind = (_offset_ns(wall.replace(tzinfo=zone, fold=f)) for f in (0, 1))
    if before == behind:
        return local_ns - before
    if side is None:
        if fold:
            return local_ns - behind
        often = "twice" if before > behind else "never"
        raise UsageError(
            f"the zone {zone} has the time {wall} {often} (the clocks change). Give an aware datetime, or a naive one "
            f"with `fold=1` for the offset that holds after the change, `{wall.replace(fold=1)!r}` (frames: "
            "`index.tz_localize(zone, ambiguous=..., nonexistent=...)`)",
            time=wall,
            tz=zone,
        )
    if before > behind:
        return local_ns - (before if side == "first" else behind)
    return _change_between(local_ns - behind, local_ns - before, zone)


def _offset_ns(aware: datetime) -> int:
    offset = aware.utcoffset()
    assert offset is not None  # the datetime has a zone
    return (offset.days * 86_400 + offset.seconds) * NS_PER_S + offset.microseconds * 1_000


def _change_between(low_ns: int, high_ns: int, zone: tzinfo) -> int:
    """Find the second at which the zone's offset changes."""

    def offset_at(second: int) -> int:
        return _offset_ns((_EPOCH + timedelta(seconds=second)).replace(tzinfo=UTC).astimezone(zone))

    low, high = low_ns // NS_PER_S, high_ns // NS_PER_S
    old = offset_at(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(middle) == old else (low, middle)
    return high * NS_PER_S


def to_datetime(milliseconds: int, zone: tzinfo | None = None) -> datetime:
    """Return the time of an id's first number: naive and UTC without a zone, else aware and in the zone.

    Raises
    ------
    DataError
        The number lies behind the year 9999, in UTC or in the zone.
    """
    try:
        utc = _EPOCH + timedelta(milliseconds=milliseconds)
        return utc if zone is None else utc.replace(tzinfo=UTC).astimezone(zone)
    except OverflowError:
        where = "" if milliseconds > LAST_MILLISECOND else f" in the zone {zone}"
        raise DataError(
            f"the id's millisecond {milliseconds} lies behind the year 9999{where} and has no datetime; read the entry "
            "by its id with the object model (`Stream`)",
            milliseconds=milliseconds,
        ) from None


def is_time(value: object) -> bool:
    """Tell whether a value is a time, and not an id: a date, datetime, Timestamp or datetime64."""
    return isinstance(value, (date, np.datetime64))


def to_ns(value: Any, zone: tzinfo | None, side: Side | None = None) -> int:
    """Return the nanoseconds since 1970, UTC, of a date, datetime, Timestamp or datetime64.

    Raises
    ------
    UsageError
        The value is NaT, before 1970, a datetime64 after 9999, or a wall clock's time that the zone has twice or never.
    """
    if value != value:  # noqa: PLR0124  only NaT, of any library, is not itself
        raise UsageError("NaT has no stream id; give a time", value=value)
    if isinstance(value, np.datetime64):
        wall = _up_to_9999(_datetime64_ns(value), value)
        # Zones reckon in datetimes, which do not reach as far back as a datetime64 does.
        ns = localize(max(wall, -NS_PER_DAY), zone, side)
    elif isinstance(value, datetime):
        fraction = value.microsecond * 1_000 + getattr(value, "nanosecond", 0)
        wall = timegm(value.timetuple()) * NS_PER_S + fraction
        aware = value.utcoffset() is not None
        ns = wall - _offset_ns(value) if aware else localize(wall, zone, side, fold=value.fold)
    else:
        ns = localize(timegm(datetime.combine(value, time()).timetuple()) * NS_PER_S, zone, side)
    if ns < 0:
        raise UsageError(f"{value} is before 1970, and so has no stream id", value=value)
    return ns


def _up_to_9999(ns: int, value: Any) -> int:
    """Return nanoseconds since 1970, unless what they were made of lies behind the year 9999."""
    if ns // NS_PER_MS > LAST_MILLISECOND:
        raise UsageError(
            f"{value} is after 9999, in UTC, where times end. What another program has stored there is named by its "
            "id, as in '253402300800000-0'; and '+' is the end of a range.",
            value=value,
        )
    return ns


def _datetime64_ns(value: np.datetime64) -> int:
    unit, step = np.datetime_data(value.dtype)
    if unit in ("ps", "fs", "as"):
        value = value.astype("datetime64[ns]")
        unit, step = "ns", 1
    if unit not in TICKS:
        value = value.astype("datetime64[s]")
        unit, step = "s", 1
    return int(value.astype(np.int64)) * step * (NS_PER_S // TICKS[cast(Unit, unit)])


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """How a time series turns what a caller gives as an id, or as a time, into a stream id.

    Strings, bytes and numbers are ids and pass as they are. A pair is a time's millisecond and a sequence. What has a
    `message_id` stands for it.

    Parameters
    ----------
    unit : {"s", "ms", "us", "ns"}, optional
        The index unit on record; without a record the ids are milliseconds with a counter.
    zone : tzinfo, optional
        The zone of naive times; without one they are UTC.
    """

    unit: Unit | None = None
    zone: tzinfo | None = None

    def at(self, value: Any) -> Any:
        """Return the id of the first row at a time, which is floored to the unit (get, ack, claim, delete, add).

        The first of 1970-01-01 itself is 0-1, for Redis has no entry 0-0.

        Raises
        ------
        UsageError
            The time is before 1970 or after 9999, in UTC, or one that the zone has twice or never.
        """
        first = self._convert(value, lambda ns: self._id(self._floor(_up_to_9999(ns, value))), None)
        return b"0-1" if is_time(value) and first == b"0-0" else first

    def lower(self, value: Any, side: Side | None = None) -> Any:
        """Return the first id at a time, or behind it where the unit is coarser than the time."""
        return self._convert(value, lambda ns: self._id(-self._floor(-ns)), side)

    def upper(self, value: Any, side: Side | None = None) -> Any:
        """Return the last id at a time; as `last_id` it stands for "after this time"."""
        return self._convert(value, lambda ns: self._last(self._floor(ns)), side)

    def lower_ns(self, ns: int) -> bytes:
        """Return the first id at or behind a time in nanoseconds since 1970, UTC."""
        return self._id(-self._floor(-ns))

    def upper_ns(self, ns: int) -> bytes:
        """Return the last id at or before a time in nanoseconds since 1970, UTC."""
        return self._last(self._floor(ns))

    def _convert(self, value: Any, make: Callable[[int], bytes], side: Side | None) -> Any:
        if isinstance(value, tuple):
            return self._pair(value)
        if is_time(value):
            return make(to_ns(value, self.zone, side))
        return getattr(value, "message_id", value)

    def _pair(self, value: tuple[Any, ...]) -> bytes:
        if len(value) != 2 or not is_time(value[0]) or not isinstance(value[1], (int, np.integer)):
            raise UsageError(f"an id as a pair is (datetime, sequence); found {value!r}", value=value)
        if not 0 <= value[1] <= MAX_SEQUENCE:
            raise UsageError(f"a sequence is a number of 64 bits, not negative; found {value[1]}", value=value)
        ns = _up_to_9999(to_ns(value[0], self.zone), value[0])
        return StreamId(ns // NS_PER_MS, int(value[1])).encode()

    def _floor(self, ns: int) -> int:
        step = NS_PER_S // TICKS[self.unit or "ms"]
        return ns // step * step

    def _id(self, ns: int) -> bytes:
        milliseconds, rest = divmod(ns, NS_PER_MS)
        return StreamId(milliseconds, rest << COUNTER_BITS).encode()

    def _last(self, ns: int) -> bytes:
        milliseconds, rest = divmod(ns, NS_PER_MS)
        if self.unit not in ("us", "ns"):
            return StreamId(milliseconds, MAX_SEQUENCE).encode()
        return StreamId(milliseconds, (rest << COUNTER_BITS) + COUNTERS - 1).encode()
