"""Chapter 3: a time series is a consumer group whose ids are times."""

from datetime import datetime, timedelta

import pytest

from walrus_ts import Database, Message, TimeSeries


@pytest.fixture
def empty(db: Database) -> TimeSeries:
    """Create the time series `demo-ts`, whose dummy messages are not to be read."""
    ts = db.time_series("demo-ts", ["s1", "s2"], tz="America/Chicago")
    db.xadd("s1", {"": ""}, id="0-1")
    db.xadd("s2", {"": ""}, id="0-1")
    ts.create()
    ts.set_id("$")
    return ts


@pytest.fixture
def ts(empty: TimeSeries) -> TimeSeries:
    """Add a message a day: ten to s1, five to s2."""
    date = datetime(2018, 1, 1)
    for i in range(10):
        day = date + timedelta(days=i)
        empty.s1.add({"message": f"s1-{day}"}, id=day)
        if i < 5:
            empty.s2.add({"message": f"s2-{day}"}, id=day)
    return empty


def test_add_at_a_time(empty: TimeSeries) -> None:
    """A message added at a datetime is stored under its millisecond; time and sequence are returned."""
    timestamp, sequence = empty.s1.add({"message": "first"}, id=datetime(2018, 1, 1))
    assert (timestamp.replace(tzinfo=None), sequence) == (datetime(2018, 1, 1), 0)
    assert timestamp.tzinfo == empty.tz


def test_slice_from_a_time(ts: TimeSeries) -> None:
    """A slice takes datetimes, and gives messages."""
    messages = ts.s1[datetime(2018, 1, 2) :: 3]
    assert [repr(message) for message in messages] == [
        "<Message s1 1514872800000-0: {'message': 's1-2018-01-02 00:00:00'}>",
        "<Message s1 1514959200000-0: {'message': 's1-2018-01-03 00:00:00'}>",
        "<Message s1 1515045600000-0: {'message': 's1-2018-01-04 00:00:00'}>",
    ]


def test_message(ts: TimeSeries) -> None:
    """A message knows its stream, timestamp, sequence and data, as text."""
    for day, message in enumerate(ts.s1[datetime(2018, 1, 1) :: 3], start=1):
        assert isinstance(message, Message)
        assert message.stream == "s1"
        assert message.timestamp == datetime(2018, 1, day, tzinfo=ts.tz)
        assert message.sequence == 0
        assert message.data == {"message": f"s1-2018-01-0{day} 00:00:00"}


def test_read_is_one_list_ordered_by_time(ts: TimeSeries) -> None:
    """Where a group reads a list for each stream, a time series reads one list, ordered by time."""
    messages = ts.read(count=2)
    assert [repr(message) for message in messages] == [
        "<Message s1 1514786400000-0: {'message': 's1-2018-01-01 00:00:00'}>",
        "<Message s2 1514786400000-0: {'message': 's2-2018-01-01 00:00:00'}>",
        "<Message s1 1514872800000-0: {'message': 's1-2018-01-02 00:00:00'}>",
        "<Message s2 1514872800000-0: {'message': 's2-2018-01-02 00:00:00'}>",
    ]


def test_pending_has_times(ts: TimeSeries) -> None:
    """Pending messages are known by (time, sequence), and acknowledged so."""
    ts.read(count=2)
    pending = ts.s1.pending()
    assert [(id, consumer, deliveries) for id, consumer, _, deliveries in pending] == [
        ((datetime(2018, 1, 1, tzinfo=ts.tz), 0), "demo-ts.c1", 1),
        ((datetime(2018, 1, 2, tzinfo=ts.tz), 0), "demo-ts.c1", 1),
    ]
    for msgts_seq, _, _, _ in pending:
        assert ts.s1.ack(msgts_seq) == 1
    assert ts.s1.pending() == []


def test_set_id_to_a_time(ts: TimeSeries) -> None:
    """The last id read is set to a time; the next read goes on behind it."""
    ts.s1.set_id(datetime(2018, 1, 1))
    assert [repr(message) for message in ts.s1.read(count=2)] == [
        "<Message s1 1514872800000-0: {'message': 's1-2018-01-02 00:00:00'}>",
        "<Message s1 1514959200000-0: {'message': 's1-2018-01-03 00:00:00'}>",
    ]


def test_claim_gives_messages(ts: TimeSeries) -> None:
    """Another consumer of a time series claims messages by their times."""
    ts.s1.read(count=1)
    second = ts.consumer("demo-ts.c2")
    [message] = second.s1.claim(datetime(2018, 1, 1))
    assert message.timestamp == datetime(2018, 1, 1, tzinfo=ts.tz)
    [(_, consumer, _, deliveries)] = ts.s1.pending()
    assert (consumer, deliveries) == ("demo-ts.c2", 2)
