"""What a caller gives as a bound: dates, partial dates, ids."""

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walrus_ts import UsageError
from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.ids import MAX_SEQUENCE, StreamId
from walrus_ts.times import TimeAxis

AXIS = TimeAxis("ns")
BERLIN = TimeAxis("ns", ZoneInfo("Europe/Berlin"))


def period(bound: str, axis: TimeAxis = AXIS) -> tuple[str, str]:
    """Give the first and the last nanosecond that a bound stands for."""
    found = []
    for id_ in (lower_id(bound, axis), upper_id(bound, axis)):
        milliseconds, sequence = StreamId.parse(id_)
        found.append(str(pd.Timestamp(milliseconds, unit="ms").as_unit("ns") + pd.Timedelta(sequence >> 20, "ns")))
    return found[0], found[1]


@pytest.mark.parametrize(
    ("bound", "first", "last"),
    [
        ("2024", "2024-01-01 00:00:00", "2024-12-31 23:59:59.999999999"),
        ("2024Q2", "2024-04-01 00:00:00", "2024-06-30 23:59:59.999999999"),
        ("2024-02", "2024-02-01 00:00:00", "2024-02-29 23:59:59.999999999"),
        ("2024-02-29", "2024-02-29 00:00:00", "2024-02-29 23:59:59.999999999"),
        ("20240229", "2024-02-29 00:00:00", "2024-02-29 23:59:59.999999999"),
        ("2024-02-29 09", "2024-02-29 09:00:00", "2024-02-29 09:59:59.999999999"),
        ("2024-02-29 09:30", "2024-02-29 09:30:00", "2024-02-29 09:30:59.999999999"),
        ("2024-02-29T09:30:01", "2024-02-29 09:30:01", "2024-02-29 09:30:01.999999999"),
        ("2024-02-29 09:30:01.5", "2024-02-29 09:30:01.500000", "2024-02-29 09:30:01.500999999"),
        ("2024-02-29 09:30:01.000000007", "2024-02-29 09:30:01.000000007", "2024-02-29 09:30:01.000000007"),
    ],
)
def test_partial_dates(bound: str, first: str, last: str) -> None:
    """A partial date string is its whole period."""
    assert period(bound) == (first, last)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2261, 12, 31)),
    st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%d %H", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]),
)
def test_pandas_takes_the_same_rows(moment: datetime, pattern: str) -> None:
    """A partial string takes the rows that pandas' own slicing takes."""
    bound = moment.strftime(pattern)
    first, last = map(pd.Timestamp, period(bound))
    nanosecond = pd.Timedelta(1, "ns")
    index = pd.DatetimeIndex([first - nanosecond, first, last, last + nanosecond])
    assert pd.Series(range(4), index=index).loc[bound:bound].tolist() == [1, 2]


@pytest.mark.parametrize(
    "bound",
    [
        "2024-07-01 10:00Z",
        "2024-07-01 10:00z",
        "2024-07-01 10:00 UTC",
        "2024-07-01T12:00+02:00",
        "2024-07-01T12:00+0200",
        "2024-07-01T12:00+02",
        "2024-07-01 06:30-03:30",
        "2024-07-01 12:00",
        "2024-07-01 12:00 PM",
    ],
)
def test_zones(bound: str) -> None:
    """A string's own zone counts; without one it is in the zone of the index."""
    assert period(bound, BERLIN) == ("2024-07-01 10:00:00", "2024-07-01 10:00:59.999999999")


@pytest.mark.parametrize("bound", ["2024-07-01T10Z", "2024-07-01T12+02:00", "2024-07-01 12"])
def test_zones_of_hours(bound: str) -> None:
    """An hour may have a zone, too."""
    assert period(bound, BERLIN) == ("2024-07-01 10:00:00", "2024-07-01 10:59:59.999999999")


def test_the_end_of_all_time() -> None:
    """The year 9999 is a period like others."""
    assert lower_id("9999", AXIS) == lower_id("9999-01-01", AXIS) == b"253370764800000-0"
    assert upper_id("9999", AXIS) == upper_id("9999-12-31", AXIS)


@pytest.mark.parametrize("side", [lower_id, upper_id])
@pytest.mark.parametrize("id_", ["1704067200000-0", "123456789-5", "-", "+", b"5-1"])
def test_ids(side: Any, id_: Any) -> None:
    """A string of nine digits or more before its `-` is an id, and passes as it is."""
    assert side(id_, AXIS) == (id_ if isinstance(id_, bytes) else id_.encode())


def test_no_bound() -> None:
    """None is the stream's end."""
    assert (lower_id(None, AXIS), upper_id(None, AXIS)) == (b"-", b"+")


def test_a_date_is_its_midnight() -> None:
    """A date, as a time, is its midnight and no period: strings are."""
    assert lower_id(date(2024, 2, 29), AXIS) == b"1709164800000-0"
    assert upper_id(date(2024, 2, 29), TimeAxis("ms")) == b"1709164800000-%d" % MAX_SEQUENCE


@pytest.mark.parametrize("side", [lower_id, upper_id])
@pytest.mark.parametrize(
    "bound",
    [
        "",
        "NaT",
        "now",
        "today",
        "soon",
        "2024-13",
        "2024-02-30",
        "12345678-1",
        "1969",
        "10000-01-01",
        "2024-07-01 12:00+25:00",
        "2024-07-01 12:00+02:99",
        "2024-07-01 12:00 Europe/Berlin",
        5,
        1.5,
        [],
        pd.NaT,
        True,
    ],
    ids=repr,
)
def test_no_bounds(side: Any, bound: Any) -> None:
    """What is neither a time nor an id is an error that shows it."""
    with pytest.raises(UsageError) as caught:
        side(bound, AXIS)
    assert repr(bound) in str(caught.value) or str(bound) in str(caught.value)
