"""Streams on their own: every method, on every kind of database."""

from collections.abc import Callable

import numpy as np
import pytest
import redis

from walrus_ts import Database, Stream, UsageError

ENTRIES = [(b"5-%d" % i, {b"a": b"%d" % i}) for i in range(1, 4)]


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> Stream:
    """Have the entries 5-1, 5-2 and 5-3."""
    return filled(db.Stream(key()))


def filled(stream: Stream) -> Stream:
    """Add the entries 5-1, 5-2 and 5-3."""
    for i in range(1, 4):
        stream.add({"a": i}, id=f"5-{i}")
    return stream


def test_replies_have_one_shape(any_db: Database, key: Callable[..., str]) -> None:
    """All that reads, and all that informs, gives the same on every kind of database."""
    stream = filled(any_db.Stream(key()))
    assert stream.range() == stream[:] == list(stream) == stream.read() == ENTRIES
    assert stream.revrange() == ENTRIES[::-1]
    assert stream.get("5-2") == stream["5-2"] == ENTRIES[1]
    assert stream.get("5-9") is None
    assert stream.read(last_id="5-3") == stream.read(last_id="$", block=1) == []
    assert "5-2" in stream
    assert "5-9" not in stream
    assert stream.length() == len(stream) == 3

    info = stream.info()
    assert info["length"] == 3
    assert info["last-generated-id"] == b"5-3"
    assert (info["first-entry"], info["last-entry"]) == (ENTRIES[0], ENTRIES[-1])

    any_db.consumer_group("g", [key()], consumer="c").create()
    any_db.consumer_group("g", [key()], consumer="c").read(count=1)
    [group] = stream.groups_info()
    assert (group["name"], group["pending"], group["last-delivered-id"]) == (b"g", 1, b"5-1")
    [consumer] = stream.consumers_info("g")
    assert (consumer["name"], consumer["pending"]) == (b"c", 1)


def test_writing_on_any_database(any_db: Database, key: Callable[..., str]) -> None:
    """All that writes does the same on every kind of database."""
    stream = filled(any_db.Stream(key()))
    assert stream.add({b"b": 2.5, "c": b"\xff"}, id=b"6-0") == b"6-0"
    assert stream["6-0"] == (b"6-0", {b"b": b"2.5", b"c": b"\xff"})
    assert stream.delete("6-0", "6-1") == 1
    assert stream.set_id("9-0") is True
    assert stream.info()["last-generated-id"] == b"9-0"
    assert stream.trim(1, approximate=False) == 2
    assert stream.trim(minid="9-0", approximate=False) == 1
    assert list(stream) == []


@pytest.mark.parametrize("name", ["naïve 'key'", b"\xff\x00\r\n", memoryview(b"view-\xfe")])
def test_any_key(any_db: Database, key: Callable[..., str], name: str | bytes | memoryview) -> None:
    """A key is text, which is stored as UTF-8, or bytes of any kind."""
    unique = key().encode() + (name.encode() if isinstance(name, str) else bytes(name))
    written = unique.decode() if isinstance(name, str) else type(name)(unique)
    try:
        stream = filled(any_db.Stream(written))
        assert stream.key == written
        assert stream.read() == list(stream) == ENTRIES
        assert list(any_db.Stream(unique)) == ENTRIES
    finally:
        any_db.data.delete(unique)


def test_slices(stream: Stream) -> None:
    """Both ends of a slice are inclusive, each may be left out, and the step is a count."""
    assert stream["5-2":] == ENTRIES[1:]
    assert stream[:"5-2"] == ENTRIES[:2]
    assert stream["5-1":"5-2"] == ENTRIES[:2]
    assert stream[::2] == ENTRIES[:2]
    assert stream["5-2" :: np.int64(1)] == ENTRIES[1:2]
    assert stream["-":"+"] == ENTRIES
    assert stream["(5-1":] == ENTRIES[1:]
    assert stream[0:6] == ENTRIES


@pytest.mark.parametrize("step", [0, -1, True, 1.0, "2"])
def test_step_is_a_count(stream: Stream, step: object) -> None:
    """A slice's step that is no whole number of 1 or more is the caller's error."""
    with pytest.raises(UsageError, match=r"the step of a slice is a whole number, 1 or greater.*found"):
        stream[::step]
    with pytest.raises(UsageError, match="count is a whole number"):
        stream.range(count=step)
    with pytest.raises(UsageError, match="count is a whole number"):
        stream.revrange(count=step)
    with pytest.raises(UsageError, match="count is a whole number"):
        stream.read(count=step)


def test_revrange(stream: Stream) -> None:
    """A range read backwards begins with its upper end."""
    assert stream.revrange("5-2") == ENTRIES[1::-1]
    assert stream.revrange("+", "5-2") == ENTRIES[:0:-1]
    assert stream.revrange(count=1) == ENTRIES[-1:]


def test_incomplete_id_is_one_id(stream: Stream) -> None:
    """Where one entry is meant, `5` is `5-0`: for getting it as for deleting it."""
    assert stream.get("5") is None
    assert "5" not in stream
    assert 5 not in stream
    assert stream.delete("5") == 0
    stream.add({"a": 6}, id=6)
    assert stream[6] == stream["6"] == stream[b"6"] == (b"6-0", {b"a": b"6"})
    assert stream.delete(6) == 1


def test_deleting(stream: Stream) -> None:
    """Entries are deleted one at a time, or several, by `del` and by `delete`."""
    del stream["5-1"]
    assert list(stream) == ENTRIES[1:]
    del stream["5-2", "5-3"]
    assert list(stream) == []
    del stream[["5-2", "5-3"]]
    assert stream.delete() == 0
    with pytest.raises(UsageError, match=r"trim\(minid"):
        del stream["5-1":"5-2"]


def test_reading(stream: Stream) -> None:
    """Reading begins with the first entry, and its `last_id` is exclusive."""
    assert stream.read(count=2) == ENTRIES[:2]
    assert stream.read(last_id=b"5-2") == ENTRIES[2:]
    assert stream.read(count=1, last_id=5) == ENTRIES[:1]


def test_stream_that_is_not_there(db: Database, key: Callable[..., str]) -> None:
    """A stream that does not exist is empty; only its information is an error."""
    stream = db.Stream(key())
    assert (list(stream), stream.read(), stream[:], stream.revrange(), len(stream)) == ([], [], [], [], 0)
    assert stream.get("5-1") is None
    assert stream.trim(1) == 0
    assert stream.delete("5-1") == 0
    with pytest.raises(redis.ResponseError, match="no such key"):
        stream.info()


def test_iterating_reads_pages(db: Database, key: Callable[..., str]) -> None:
    """Iterating over more than a page gives every entry once, in order."""
    pipe = db.pipeline()
    for i in range(2_500):
        pipe.xadd(key(), {"i": i}, id=f"{i // 7}-{i % 7 + 1}")
    pipe.execute()
    assert [int(data[b"i"]) for _, data in db.Stream(key())] == list(range(2_500))


@pytest.mark.parametrize("length", [1_000, 1_001, 2_000])
def test_iterating_up_to_the_end_of_a_page(db: Database, key: Callable[..., str], length: int) -> None:
    """An iteration that ends with a page ends there, also at the greatest id."""
    pipe = db.pipeline()
    for i in range(1, length):
        pipe.xadd(key(), {"i": i}, id=f"{i}-0")
    pipe.xadd(key(), {"i": length}, id=f"{2**64 - 1}-{2**64 - 1}")
    pipe.execute()
    assert sum(1 for _ in db.Stream(key())) == length


def test_iterating_ends_where_the_stream_ended(stream: Stream) -> None:
    """Entries that are added while one iterates are not among those that come."""
    for count, _ in enumerate(stream, start=4):
        stream.add({"a": count}, id=f"5-{count}")
    assert len(stream) == 6


def test_iterating_while_deleting(stream: Stream) -> None:
    """Entries may be deleted while one iterates."""
    for id, _ in stream:
        del stream[id]
    assert len(stream) == 0


def test_add_trims(stream: Stream) -> None:
    """Adding trims to a length, or to an id."""
    stream.add({"a": 4}, id="5-4", maxlen=2, approximate=False)
    assert [id for id, _ in stream] == [b"5-3", b"5-4"]
    stream.add({"a": 5}, id="5-5", minid="5-4", approximate=False)
    assert [id for id, _ in stream] == [b"5-4", b"5-5"]
    stream.add({"a": 6}, id="5-6", maxlen=1)  # about one: these few stay
    assert len(stream) == 3


def test_server_makes_ids(stream: Stream) -> None:
    """The server makes whole ids, or the second number of one."""
    assert stream.add({"a": 1}, id="5-*") == b"5-4"
    newest = stream.add({"a": 1})
    assert newest > b"1000000000000-0"


@pytest.mark.parametrize("data", [{}, None, [("a", 1)], "a"])
def test_entry_needs_a_field(stream: Stream, data: object) -> None:
    """An entry without a field is the caller's error."""
    with pytest.raises(UsageError, match="mapping of at least one field"):
        stream.add(data)
    assert len(stream) == 3


@pytest.mark.parametrize("value", [None, True, {"b": 1}, [1]])
def test_values_are_those_of_redis_py(stream: Stream, value: object) -> None:
    """What redis-py does not write is its error, and nothing is written."""
    with pytest.raises(redis.DataError):
        stream.add({"fine": 1, "a": value})
    assert list(stream) == ENTRIES


def test_id_below_the_last(stream: Stream) -> None:
    """An id that is not above the last is the server's error, and the stream goes on working."""
    with pytest.raises(redis.ResponseError, match="equal or smaller"):
        stream.add({"a": 1}, id="5-3")
    with pytest.raises(redis.ResponseError, match="equal or smaller"):
        stream.add({"a": 1}, id=4)
    assert len(stream) == 3


def test_trim_takes_one_bound(stream: Stream) -> None:
    """A trim is to a number of entries or to an id."""
    with pytest.raises(UsageError, match="either `count`"):
        stream.trim()
    with pytest.raises(UsageError, match="either `count`"):
        stream.trim(1, minid="5-1")
    with pytest.raises(UsageError, match=r"`maxlen` or .*`minid`"):
        stream.add({"a": 1}, maxlen=1, minid="5-1")
    with pytest.raises(UsageError, match="count is a whole number, 0 or greater"):
        stream.trim(-1)
    assert len(stream) == 3
    assert stream.trim(0, approximate=False) == 3


def test_trim_in_steps(db: Database, key: Callable[..., str]) -> None:
    """An approximate trim removes no more than its limit."""
    pipe = db.pipeline()
    for i in range(1, 501):
        pipe.xadd(key(), {"i": i}, id=f"{i}-0")
    pipe.execute()
    stream = db.Stream(key())
    assert stream.trim(0, limit=100) == 100
    assert stream.trim(minid="301-0", limit=0) == 200
    assert len(stream) == 200


def test_key_of_another_type(db: Database, key: Callable[..., str]) -> None:
    """A key that holds something else is the server's error."""
    db.set(key(), "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        db.Stream(key()).add({"a": 1})
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        list(db.Stream(key()))
