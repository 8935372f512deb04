"""Time series as Python objects: times where ids are, messages where entries are."""

import datetime as dt
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from walrus_ts import Database, DataError, Message, TimeSeries, UsageError
from walrus_ts.timeseries import TimeSeriesStream

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YEAR = datetime(2018, 1, 1)
NEW_YEAR_MS = 1_514_764_800_000  # in UTC


@pytest.fixture
def ts(db: Database, key: Callable[..., str]) -> TimeSeries:
    """Have a time series in UTC, of one empty stream."""
    series = db.time_series("demo", [key()])
    series.create()
    return series


@pytest.fixture
def stream(ts: TimeSeries, key: Callable[..., str]) -> TimeSeriesStream:
    """Have its stream."""
    return ts[key()]


@pytest.fixture
def days(stream: TimeSeriesStream) -> TimeSeriesStream:
    """Have three days, a message each."""
    for day in range(3):
        stream.add({"day": day}, id=NEW_YEAR + timedelta(days=day))
    return stream


def numbers(messages: list[Message]) -> list[str]:
    """Give the messages' days."""
    return [message.data["day"] for message in messages]


# What is an id ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        NEW_YEAR,
        date(2018, 1, 1),
        pd.Timestamp("2018-01-01"),
        np.datetime64("2018-01-01"),
        np.datetime64("2018-01-01T00:00:00.000000000"),
        datetime(2018, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        pd.Timestamp("2018-01-01", tz="UTC"),
        (NEW_YEAR, 0),
        (pd.Timestamp("2018-01-01"), np.int64(0)),
        f"{NEW_YEAR_MS}-0",
        f"{NEW_YEAR_MS}-0".encode(),
        str(NEW_YEAR_MS),
        NEW_YEAR_MS,
        Message("s", f"{NEW_YEAR_MS}-0", {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_that_is_an_id(ts: TimeSeries, stream: TimeSeriesStream, given: object) -> None:
    """Every form of one moment is the same id, wherever an id is taken."""
    assert stream.add({"a": 1}, id=given) == (NEW_YEAR, 0)
    [message] = stream[:]
    assert message.message_id == f"{NEW_YEAR_MS}-0"
    assert stream.get(given) == stream[given] == message
    assert given in stream
    assert stream[given:given] == stream.range(given, given) == stream.revrange(given, given) == [message]
    assert stream.read() == [message]
    assert len(stream.pending(given, given)) == 1
    assert stream.claim(given) == [message]
    assert stream.autoclaim("other", 0, given)[1] == [message]
    assert stream.ack(given) == 1
    assert ts.set_id(given) == {stream.key: True}
    assert stream.read() == []
    assert stream.trim(minid=given, approximate=False) == 0
    assert stream.delete(given) == 1


def test_any_database_gives_messages(any_db: Database, key: Callable[..., str]) -> None:
    """Messages, times and names are the same on every kind of database; what is no UTF-8 stays bytes."""
    ts = any_db.time_series("demo", [key()], tz="Europe/Berlin")
    ts.create()
    assert ts[key()].add({"é": "ü", b"\xff": b"\xfe"}, id=NEW_YEAR) == (NEW_YEAR.replace(tzinfo=BERLIN), 0)
    [message] = ts.read()
    assert message.stream == key()
    assert message.data == {"é": "ü", b"\xff": b"\xfe"}
    assert message.timestamp == NEW_YEAR.replace(tzinfo=BERLIN)
    [(moment, consumer, idle, deliveries)] = ts[key()].pending()
    assert (moment, consumer, deliveries) == ((NEW_YEAR.replace(tzinfo=BERLIN), 0), "demo.c1", 1)
    assert idle >= 0


def test_time_as_a_bound(stream: TimeSeriesStream) -> None:
    """As a lower bound a time is its first id, as an upper one its last; elsewhere it is the first."""
    for sequence in (0, 3, 2**64 - 1):
        stream.add({"day": sequence}, id=(NEW_YEAR, sequence))
    stream.add({"day": "later"}, id=NEW_YEAR + timedelta(milliseconds=1))
    assert len(stream[NEW_YEAR:NEW_YEAR]) == 3
    assert len(stream.revrange(NEW_YEAR, NEW_YEAR)) == 3
    assert numbers(stream.read(last_id="0-0")) == []  # its own backlog, of which there is none
    assert numbers([stream[NEW_YEAR]]) == ["0"]
    stream.set_id(NEW_YEAR)
    assert numbers(stream.read()) == ["later"]


def test_bounds_finer_than_a_millisecond_go_inward(days: TimeSeriesStream) -> None:
    """A lower bound between two milliseconds is the later one, an upper bound the earlier."""
    second = NEW_YEAR + timedelta(days=1)
    assert numbers(days[second + timedelta(microseconds=1) :]) == ["2"]
    assert numbers(days[: second + timedelta(microseconds=1)]) == ["0", "1"]
    assert numbers(days[second - timedelta(microseconds=1) : second]) == ["1"]


def test_revrange(days: TimeSeriesStream) -> None:
    """Read backwards, a range begins with its upper end."""
    assert numbers(days.revrange(NEW_YEAR + timedelta(days=1))) == ["1", "0"]
    assert numbers(days.revrange("+", NEW_YEAR + timedelta(days=1), count=1)) == ["2"]
    assert numbers(list(days)) == ["0", "1", "2"]


def test_group_starts_behind_a_time(db: Database, days: TimeSeriesStream) -> None:
    """A mapping's times are those after which the group starts."""
    later = db.time_series("later", {days.key: NEW_YEAR})
    later.create()
    assert numbers(later.read()) == ["1", "2"]


def test_backlog_behind_a_time(days: TimeSeriesStream) -> None:
    """`last_id` as a time reads the consumer's own backlog behind it; what was deleted has no data."""
    days.read()
    days.delete(NEW_YEAR + timedelta(days=1))
    gone, last = days.read(last_id=NEW_YEAR)
    assert (gone.timestamp, gone.data) == (NEW_YEAR + timedelta(days=1), {})
    assert last.data == {"day": "2"}


def test_strings_are_ids(stream: TimeSeriesStream) -> None:
    """A string is an id, always: 2024-01 is the millisecond 2024, sequence 1."""
    assert stream.add({"a": 1}, id="2024-01") == (datetime(1970, 1, 1, 0, 0, 2, 24_000), 1)
    assert stream["2024-1"].message_id == "2024-1"


def test_server_makes_ids(stream: TimeSeriesStream) -> None:
    """With `*`, the server's clock makes the id."""
    timestamp, sequence = stream.add({"a": 1})
    assert abs(timestamp.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=5)
    assert sequence == 0


def test_deleting(stream: TimeSeriesStream) -> None:
    """In `del`, a datetime and an int are a pair; anything else with a comma is two ids."""
    for day in range(2):
        for sequence in range(3):
            stream.add({"a": 1}, id=(NEW_YEAR + timedelta(days=day), sequence))
    next_day = NEW_YEAR + timedelta(days=1)
    del stream[NEW_YEAR, 1]
    assert (NEW_YEAR, 1) not in stream
    assert (NEW_YEAR, 0) in stream
    del stream[NEW_YEAR, next_day]
    assert NEW_YEAR not in stream
    assert next_day not in stream
    del stream[(NEW_YEAR, 2), (next_day, 1)]
    assert [(message.timestamp, message.sequence) for message in stream] == [(next_day, 2)]
    del stream[stream[next_day:][0]]
    assert len(stream) == 0


def test_what_comes_out_goes_in(stream: TimeSeriesStream) -> None:
    """The pairs that `add` and `pending` return are ids to all that takes them, whatever the sequence."""
    for id in ("5-7", f"5-{2**64 - 1}"):
        pair = stream.add({"a": 1}, id=id)
        assert stream[pair].message_id == id
    assert len(stream.read()) == 2
    pairs = [pair for pair, *_ in stream.pending()]
    assert len(stream.claim(*pairs)) == 2
    assert stream.ack(*pairs) == 2
    assert stream.delete(*pairs) == 2


@pytest.mark.parametrize("pair", [(NEW_YEAR, -1), (NEW_YEAR, 2**64), (NEW_YEAR, "1"), (NEW_YEAR,), (1, 2)])
def test_pairs_that_are_none(stream: TimeSeriesStream, pair: tuple[object, ...]) -> None:
    """A pair is a time and a sequence of 64 bits."""
    with pytest.raises(UsageError):
        stream.add({"a": 1}, id=pair)
    assert len(stream) == 0


def test_before_1970(stream: TimeSeriesStream) -> None:
    """A time before 1970 is an error before anything is written."""
    with pytest.raises(UsageError, match="before 1970"):
        stream.add({"a": 1}, id=datetime(1969, 12, 31, 23, 59))
    with pytest.raises(UsageError, match="NaT"):
        stream.add({"a": 1}, id=pd.NaT)
    assert len(stream) == 0


@pytest.mark.parametrize(
    ("tz", "time"),
    [
        (None, np.datetime64("10000-01-01")),
        ("Europe/Berlin", np.datetime64("10000-01-01")),
        ("America/Chicago", datetime.max),
        (None, datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        ("America/Chicago", (datetime.max, 0)),
    ],
)
def test_after_9999(db: Database, key: Callable[..., str], tz: str | None, time: object) -> None:
    """A time after 9999, in UTC, is an error before anything is written."""
    stream = db.time_series("demo", [key()], tz=tz)[key()]
    with pytest.raises(UsageError, match="after 9999"):
        stream.add({"a": 1}, id=time)
    assert len(stream) == 0
    stream.add({"a": 1}, id="253402300800000-0")  # the cure
    assert len(stream[datetime(1999, 1, 1, tzinfo=UTC) : "+"]) == 1


@pytest.mark.parametrize(
    ("tz", "time", "match"),
    [
        ("America/Chicago", "9999-12-31T23:00", "behind the year 9999"),
        ("Asia/Tokyo", "0001-01-01T00:00", "before 1970"),
    ],
)
def test_frames_beyond_the_calendar(db: Database, key: Callable[..., str], tz: str, time: str, match: str) -> None:
    """A frame's time that the series' zone puts into another year than 1 to 9999 is an error like others."""
    frame = pd.DataFrame({"a": [1]}, index=pd.DatetimeIndex(np.array([time], "M8[s]")))
    with pytest.raises(UsageError, match=match):
        db.time_series("demo", [key()], tz=tz)[key()].append(frame)


@pytest.mark.parametrize("tz", [None, "Asia/Tokyo"])
def test_upper_bound_of_all(db: Database, key: Callable[..., str], tz: str | None) -> None:
    """The greatest datetime is an upper bound like others, in any zone."""
    stream = db.time_series("demo", [key()], tz=tz)[key()]
    stream.add({"a": 1}, id=NEW_YEAR)
    assert len(stream[: datetime.max]) == 1


def test_first_moment_of_1970(stream: TimeSeriesStream) -> None:
    """The first moment of 1970 stands for the id 0-1, where an id 0-0 cannot be."""
    first = datetime(1970, 1, 1)
    assert stream.add({"a": 1}, id=first) == (first, 1)
    assert stream[first].message_id == "0-1"
    assert len(stream[first:first]) == len(stream.read()) == 1
    assert len(stream.claim(first)) == stream.ack(first) == stream.delete(first) == 1


# Zones ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tz", ["Europe/Berlin", BERLIN, "+01:00"], ids=str)
def test_naive_times_are_in_the_zone(db: Database, key: Callable[..., str], tz: object) -> None:
    """A naive time is in the series' zone, and what comes back is aware and in it."""
    ts = db.time_series("demo", [key()], tz=tz)
    added, _ = ts[key()].add({"a": 1}, id=NEW_YEAR)
    [message] = ts[key()][:]
    assert message.message_id == f"{NEW_YEAR_MS - 3_600_000}-0"
    assert added == message.timestamp == datetime(2017, 12, 31, 23, tzinfo=UTC)
    assert message.timestamp.utcoffset() == timedelta(hours=1)
    assert ts.tz == ts[key()].tz == ts.consumer("other").tz == ts.consumer("other")[key()].tz == message.tz


def test_no_zone_is_utc(stream: TimeSeriesStream) -> None:
    """Without a zone, naive times are UTC, come back naive, and aware ones mean what they say."""
    assert stream.add({"a": 1}, id=datetime(2018, 1, 1, 1, tzinfo=BERLIN)) == (NEW_YEAR, 0)
    assert stream.tz is None


def test_unknown_zone(db: Database) -> None:
    """A zone that does not exist is an error at once."""
    with pytest.raises(UsageError, match="no time zone 'Europe/Atlantis'"):
        db.time_series("demo", ["a"], tz="Europe/Atlantis")


@pytest.mark.parametrize(
    ("wall", "often"), [(datetime(2024, 10, 27, 2, 30), "twice"), (datetime(2024, 3, 31, 2, 30), "never")]
)
def test_clock_changes(db: Database, key: Callable[..., str], wall: datetime, often: str) -> None:
    """A naive time that the zone has twice or never is an error whose cures work."""
    stream = db.time_series("demo", [key()], tz="Europe/Berlin")[key()]
    for use in (lambda: stream.add({"a": 1}, id=wall), lambda: stream[wall:], lambda: stream.read(last_id=wall)):
        with pytest.raises(UsageError, match=rf"{often}.*aware datetime.*fold"):
            use()
    assert len(stream) == 0
    first, _ = stream.add({"a": 1}, id=wall.replace(tzinfo=timezone(timedelta(hours=1))))
    assert first.utcoffset() == timedelta(hours=1 if often == "twice" else 2)
    assert len(stream[wall.replace(fold=1) :]) == 1


@pytest.mark.parametrize("time", [date(2024, 11, 3), np.datetime64("2024-11-03"), pd.Timestamp("2024-11-03")])
def test_clock_change_at_midnight(db: Database, key: Callable[..., str], time: object) -> None:
    """The cure for a midnight that the zone has twice can be typed in, whatever the midnight was given as."""
    stream = db.time_series("demo", [key()], tz="America/Havana")[key()]
    with pytest.raises(UsageError, match="twice") as caught:
        stream.add({"a": 1}, id=time)
    cure = str(caught.value).split("`")[3]
    added, _ = stream.add({"a": 1}, id=eval(cure, {"datetime": dt}))
    assert (added.replace(tzinfo=None), added.utcoffset()) == (datetime(2024, 11, 3), timedelta(hours=-5))


# Order, messages --------------------------------------------------------------------------------------------------


def test_order_is_of_numbers(db: Database, key: Callable[..., str]) -> None:
    """Streams are merged by time and sequence as numbers; at one id, in the order of the keys."""
    one, two = key("one"), key("two")
    ts = db.time_series("demo", [two, one])
    ts.create()
    for id in ("5-2", "5-10", "40-0"):
        ts[one].add({"a": 1}, id=id)
    for id in ("5-10", "6-0"):
        ts[two].add({"a": 1}, id=id)
    assert [(message.stream, message.message_id) for message in ts.read()] == [
        (one, "5-2"),
        (two, "5-10"),
        (one, "5-10"),
        (two, "6-0"),
        (one, "40-0"),
    ]
    assert ts.read() == []


def test_times_behind_the_calendar(stream: TimeSeriesStream) -> None:
    """An id behind the year 9999 is read like others; only its time is an error, and the id stands in its place."""
    assert stream.add({"a": 1}, id="253402300799999-5") == (datetime(9999, 12, 31, 23, 59, 59, 999_000), 5)
    assert stream.add({"a": 1}, id="253402300800000-7") == "253402300800000-7"
    assert stream.add({"a": 1}) == "253402300800000-8"
    assert len(stream.read()) == 3
    positions = [position for position, *_ in stream.pending()]
    assert positions[1:] == ["253402300800000-7", "253402300800000-8"]
    assert len(stream.claim(*positions)) == 3
    assert stream.ack(positions[0], positions[2]) == 2
    message = stream[positions[1]]
    assert (message.message_id, message.sequence) == ("253402300800000-7", 7)
    assert list(stream)[1] == message
    with pytest.raises(DataError, match="9999"):
        _ = message.timestamp
    assert stream.ack(message) == 1


def test_last_hours_of_the_calendar(db: Database, key: Callable[..., str]) -> None:
    """The last hours of 9999, in a zone where they are the year 10000, are read by their ids, too."""
    stream = db.time_series("demo", [key()], tz="Asia/Tokyo")[key()]
    last = datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert stream.add({"a": 1}, id=last) == "253402297200000-0"
    message = stream[last]
    with pytest.raises(DataError, match="9999 in the zone Asia/Tokyo"):
        _ = message.timestamp
    assert db.time_series("demo", [key()])[key()][last].timestamp == last.replace(tzinfo=None)


def test_keys_of_bytes(db: Database, key: Callable[..., str]) -> None:
    """A message's stream is text, or bytes where the key is no UTF-8."""
    odd = key().encode() + b"\xff"
    try:
        for name, shown in [(key().encode(), key()), (odd, odd)]:
            ts = db.time_series("demo", name)
            ts[name].add({"a": 1}, id=NEW_YEAR)
            assert ts[name][NEW_YEAR].stream == shown
    finally:
        db.delete(odd)


def test_autoclaim_gives_messages(days: TimeSeriesStream) -> None:
    """What is claimed automatically comes as messages; where to go on is an id."""
    days.read()
    following, messages, deleted = days.autoclaim("other", 0, count=2)
    assert numbers(messages) == ["0", "1"]
    assert deleted == []
    assert numbers(days.autoclaim("other", 0, following)[1]) == ["2"]
    assert days.autoclaim("other", 0, justid=True)[0] == f"{NEW_YEAR_MS}-0".encode()


def test_messages_are_values() -> None:
    """Messages are equal by stream, id and data, can be pickled, and show what they hold."""
    message = Message("s1", b"1514764800000-3", {b"message": b"hi", b"\xff": b"\xff"}, BERLIN)
    same = Message(b"s1", "1514764800000-3", {"message": "hi", b"\xff": b"\xff"})
    assert repr(message) == "<Message s1 1514764800000-3: {'message': 'hi', b'\\xff': b'\\xff'}>"
    assert message == same
    assert len({message, same}) == 1
    assert message != Message("s2", "1514764800000-3", same.data)
    assert message != "1514764800000-3"
    again = pickle.loads(pickle.dumps(message))
    assert again == message
    assert again.timestamp == message.timestamp == datetime(2018, 1, 1, 1, tzinfo=BERLIN)
