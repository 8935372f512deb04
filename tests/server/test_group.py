"""Consumer groups: every method, on every kind of database."""

import copy
from collections.abc import Callable

import pytest
import redis

from walrus_ts import ConsumerGroup, Database, UsageError

ENTRIES = [(b"5-%d" % i, {b"a": b"%d" % i}) for i in range(1, 4)]


def filled(db: Database, keys: list[str]) -> ConsumerGroup:
    """Have a group on streams of three entries each."""
    group = db.consumer_group("g", keys)
    group.create()
    for stream in group.streams.values():
        for i in range(1, 4):
            stream.add({"a": i}, id=f"5-{i}")
    return group


@pytest.fixture
def group(db: Database, key: Callable[..., str]) -> ConsumerGroup:
    """Have a group on one stream of three entries."""
    return filled(db, [key()])


def test_replies_have_one_shape(any_db: Database, key: Callable[..., str]) -> None:
    """Everything a group does gives the same on every kind of database."""
    one, two = key("one"), key("two")
    group = filled(any_db, [one, two])
    stream = group[one]
    assert group.create() == {one: False, two: False}
    assert group.read(count=1) == [(one, ENTRIES[:1]), (two, ENTRIES[:1])]
    assert stream.read() == ENTRIES[1:]
    assert stream.read() == []
    assert group.read(block=1) == [(two, ENTRIES[1:])]
    assert group.read() == []
    assert stream.read(last_id="5-1") == ENTRIES[1:]  # its own backlog, once more

    pending = stream.pending()
    assert [(p["message_id"], p["consumer"], p["times_delivered"]) for p in pending] == [
        (b"5-1", b"g.c1", 1),
        (b"5-2", b"g.c1", 2),
        (b"5-3", b"g.c1", 2),
    ]
    assert all(0 <= p["time_since_delivered"] < 60_000 for p in pending)

    assert group.consumer("other")[one].claim("5-2", "5-9") == ENTRIES[1:2]
    assert stream.autoclaim("third", 0, count=2) == [b"5-3", ENTRIES[:2], []]
    assert stream.autoclaim("third", 0, "5-3", justid=True) == [b"5-3"]
    assert {p["consumer"] for p in stream.pending()} == {b"third"}
    assert stream.ack("5-1", "5-2", "5-9") == 2
    assert {c["name"]: c["pending"] for c in stream.consumers_info()} == {b"g.c1": 0, b"other": 0, b"third": 1}
    assert stream.delete_consumer("third") == 1
    assert stream.delete_consumer() == 0
    assert [g["name"] for g in stream.groups_info()] == [b"g"]

    assert group.reset() == {one: True, two: True}
    assert [key for key, _ in group.read()] == [one, two]
    assert group.set_id("5-2") == {one: True, two: True}
    assert group.read() == [(one, ENTRIES[2:]), (two, ENTRIES[2:])]
    assert group.stream_info()[two]["length"] == 3
    assert group.destroy() == {one: True, two: True}
    assert group.destroy() == {one: False, two: False}


# Keys -------------------------------------------------------------------------------------------------------------


def test_keys_come_back_as_they_were_written(any_db: Database, key: Callable[..., str]) -> None:
    """Text, bytes and views are keys, come back as they were given, and are found in any spelling."""
    text, raw, view = key("é"), key("raw").encode(), memoryview(key("view").encode())
    group = any_db.consumer_group("g", [text, raw, view])
    assert list(group.keys) == list(group.create()) == list(group.streams) == [text, raw, view]
    for stream in group.streams.values():
        stream.add({"a": 1}, id="5-1")
    assert [key for key, _ in group.read()] == [text, raw, view]
    assert group[text.encode()] is group[text] is group.streams[text]
    assert raw.decode() in group
    assert "elsewhere" not in group
    with pytest.raises(KeyError, match="no stream of the group 'g'"):
        group["elsewhere"]


def test_one_key_or_many(db: Database) -> None:
    """Keys are one key, an iterable of them, or a mapping to ids; without one, a group starts at the beginning."""
    assert db.consumer_group("g", "a").keys == {"a": "0-0"}
    assert db.consumer_group("g", b"a").keys == {b"a": "0-0"}
    assert db.consumer_group("g", (k for k in ["a", "b", "a"])).keys == {"a": "0-0", "b": "0-0"}
    assert db.consumer_group("g", {"a": "$", "b": "5-1"}).keys == {"a": "$", "b": "5-1"}
    with pytest.raises(UsageError, match="found no key"):
        db.consumer_group("g", [])
    with pytest.raises(UsageError, match="two of these keys are one"):
        db.consumer_group("g", ["a", b"a"])
    with pytest.raises(UsageError, match="a key is a str"):
        db.consumer_group("g", [1])


def test_group_starts_behind_an_id(db: Database, key: Callable[..., str]) -> None:
    """A mapping's ids are those after which the group starts."""
    filled(db, [key()])
    later = db.consumer_group("later", {key(): "5-2"})
    newest = db.consumer_group("newest", {key(): "$"})
    later.create()
    newest.create()
    assert later.read() == [(key(), ENTRIES[2:])]
    assert newest.read() == []


def test_names_of_bytes(any_db: Database, key: Callable[..., str]) -> None:
    """Groups and consumers have names of any bytes; the default consumer is NAME.c1."""
    group = any_db.consumer_group(b"\xff", [key()])
    group.create()
    group[key()].add({"a": 1}, id="5-1")
    assert group.consumer_name == b"\xff.c1"
    group.consumer(b"\xfe").read()
    [pending] = group[key()].pending()
    assert pending["consumer"] == b"\xfe"


# Attributes -------------------------------------------------------------------------------------------------------


def test_streams_are_attributes(db: Database) -> None:
    """A stream's attribute is its key in lower case, with `_` for what is no letter or digit."""
    group = db.consumer_group("g", ["stream-a", "Ticks:EUR/usd", "1min", b"raw", "größe"])
    names = {"stream_a": "stream-a", "ticks_eur_usd": "Ticks:EUR/usd", "_1min": "1min", "raw": b"raw", "größe": "größe"}
    for name, key in names.items():
        assert getattr(group, name) is group[key]
        assert name in dir(group)


def test_keys_that_would_share_an_attribute_have_none(db: Database) -> None:
    """Two keys of one attribute name have none, and the error says how to name them."""
    group = db.consumer_group("g", ["a-b", "a.b", "c"])
    with pytest.raises(AttributeError, match=r"'a_b' .* 'a-b', 'a.b'; .*group\['a-b'\]"):
        _ = group.a_b
    assert "a_b" not in dir(group)
    assert group.c is group["c"]


def test_keys_named_like_methods(db: Database) -> None:
    """A key named like one of the group's methods or attributes is found by its key alone."""
    group = db.consumer_group("g", ["read", "keys", "name"])
    assert callable(group.read)
    assert group.name == "g"
    assert group["read"].key == "read"


def test_missing_attribute(db: Database) -> None:
    """An attribute that is none is an error that lists the streams; a group can be copied."""
    group = db.consumer_group("g", ["a", "b"])
    with pytest.raises(AttributeError, match=r"no attribute 'nope'; .*group\[key\].* 'a', 'b'"):
        _ = group.nope
    assert not hasattr(group, "_repr_html_") or callable(group._repr_html_)
    assert copy.copy(group).a is group.a


# Creating ---------------------------------------------------------------------------------------------------------


def test_create_makes_streams(db: Database, key: Callable[..., str]) -> None:
    """Streams that do not exist are made, empty, and take any id."""
    group = db.consumer_group("g", [key()])
    assert group.create() == {key(): True}
    assert (group[key()].info()["length"], group[key()].info()["last-generated-id"]) == (0, b"0-0")
    assert group[key()].add({"a": 1}, id="0-1") == b"0-1"


def test_create_without_making_streams(db: Database, key: Callable[..., str]) -> None:
    """A stream that does not exist, and is not to be made, is the server's error."""
    group = db.consumer_group("g", [key()])
    with pytest.raises(redis.ResponseError, match="requires the key to exist"):
        group.create(ensure_keys_exist=False)
    assert not db.exists(key())
    assert group.create(ensure_keys_exist=False, mkstream=True) == {key(): True}


def test_create_leaves_other_types_alone(any_db: Database, key: Callable[..., str]) -> None:
    """A key of another type is an error before any group is created, and keeps what it holds."""
    text, stream = key("text"), key("stream")
    any_db.set(text, "mine")
    with pytest.raises(UsageError, match=r"holds a string, which is left alone; no group was created") as caught:
        any_db.consumer_group("g", [stream, text]).create()
    assert caught.value.key == text
    assert any_db.data.get(text) == b"mine"
    assert not any_db.exists(stream)


def test_reading_a_group_that_is_not_there(db: Database, key: Callable[..., str]) -> None:
    """Without `create`, reading is the server's error, which begins with NOGROUP."""
    group = db.consumer_group("g", [key()])
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        group.read()
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        group[key()].read(block=10)


# Pending ----------------------------------------------------------------------------------------------------------


def test_nothing_to_acknowledge_or_claim(group: ConsumerGroup, key: Callable[..., str]) -> None:
    """No ids, no entries: neither is an error."""
    assert group[key()].ack() == 0
    assert group[key()].claim() == []
    assert group[key()].delete() == 0


def test_reading_as_another_consumer(group: ConsumerGroup, key: Callable[..., str]) -> None:
    """A read may name its consumer."""
    group.read(count=1, consumer="other")
    assert [p["consumer"] for p in group[key()].pending()] == [b"other"]


def test_pending_is_filtered(group: ConsumerGroup, key: Callable[..., str]) -> None:
    """Pending entries are chosen by range, number, consumer and idleness."""
    stream = group[key()]
    group.read(count=1, consumer="other")
    group.read()

    def ids(**how: object) -> list[bytes]:
        return [p["message_id"] for p in stream.pending(**how)]

    assert ids() == [b"5-1", b"5-2", b"5-3"]
    assert ids(start="5-2") == [b"5-2", b"5-3"]
    assert ids(stop="5-2", count=1) == [b"5-1"]
    assert ids(consumer="other") == [b"5-1"]
    assert ids(idle=3_600_000) == []


def test_deleted_while_pending(group: ConsumerGroup, key: Callable[..., str]) -> None:
    """An entry that was deleted while it was pending has no data in the backlog, and is not claimed."""
    stream = group[key()]
    group.read()
    stream.delete("5-2")
    assert stream.read(last_id="0-0") == [ENTRIES[0], (b"5-2", {}), ENTRIES[2]]
    assert stream.claim("5-1", "5-2", "5-3") == [ENTRIES[0], ENTRIES[2]]
    assert group.read() == []


def test_autoclaim_tells_what_was_deleted(group: ConsumerGroup, key: Callable[..., str]) -> None:
    """Claiming what is there tells which ids are gone."""
    stream = group[key()]
    group.read()
    stream.delete("5-2")
    assert stream.autoclaim("other", 0) == [b"0-0", [ENTRIES[0], ENTRIES[2]], [b"5-2"]]
    assert stream.autoclaim("other", 3_600_000) == [b"0-0", [], []]
    assert stream.claim("5-1", min_idle_time=3_600_000) == []


@pytest.mark.parametrize("idle", [-1, 1.5, True, "100"])
def test_idle_time_is_milliseconds(group: ConsumerGroup, key: Callable[..., str], idle: object) -> None:
    """`min_idle_time` is a whole number, 0 or greater."""
    with pytest.raises(UsageError, match="min_idle_time is a whole number, 0 or greater"):
        group[key()].claim("5-1", min_idle_time=idle)
    with pytest.raises(UsageError, match="min_idle_time is a whole number, 0 or greater"):
        group[key()].autoclaim("other", idle)


def test_group_streams_are_streams(group: ConsumerGroup, key: Callable[..., str]) -> None:
    """A group's stream has all that a stream has: slices, iteration, membership."""
    stream = group[key()]
    assert list(stream) == stream[:] == ENTRIES
    assert stream["5-2"] == ENTRIES[1]
    assert "5-3" in stream
    assert stream.revrange(count=1) == ENTRIES[-1:]
    assert stream.consumers_info("g") == stream.consumers_info()
    del stream["5-1"]
    assert len(stream) == 2
