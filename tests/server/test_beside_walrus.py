"""The same programs on walrus and on walrus_ts, call by call, on one server.

`PROGRAMS` are what both must answer alike: each value that a program yields is one call's result. `DIFFERENCES` is what
they answer otherwise. Both are exact: the tests fail when a difference vanishes, and when a new one appears. The titles
are those of the tables of the page "Coming from walrus", which so names each difference and no other.
"""

import inspect
import linecache
import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import walrus
from redis.backoff import NoBackoff
from redis.retry import Retry
from walrus import containers, streams

import walrus_ts
from walrus_ts import UsageError

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-walrus.md"
HEAD = "what"  # heads the first column of its tables
CHICAGO = "CST6CDT,M3.2.0,M11.1.0"  # POSIX for America/Chicago: the C library needs no zone files for it
NEW_YEAR = datetime(2018, 1, 1)
DAY = timedelta(days=1)


# Two databases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One of the two libraries: its database on the server, its keys, and the zone for its time series."""

    name: str
    db: Any
    make_key: Callable[[str], str]
    tz: str | None = None

    def key(self, name: str = "a") -> str:
        """Make a key that the other side does not have."""
        return self.make_key(f"{self.name}:{name}")

    def stream(self, *ids: str) -> Any:
        """Make a stream of entries with these ids."""
        stream = self.db.Stream(self.key())
        for number, id_ in enumerate(ids):
            stream.add({"n": number}, id=id_)
        return stream

    def group(self, *ids: str) -> Any:
        """Make a group over two streams of entries with these ids."""
        for name in ("a", "b"):
            for number, id_ in enumerate(ids):
                self.db.Stream(self.key(name)).add({"n": number}, id=id_)
        group = self.db.consumer_group("g", [self.key("a"), self.key("b")])
        group.create()
        return group

    def series(self, *names: str, **options: Any) -> Any:
        """Make an empty time series; in the machine's zone, if this side has to be told."""
        if self.tz is not None:
            options["tz"] = self.tz
        series = self.db.time_series("g", [self.key(name) for name in names or ("a",)], **options)
        series.create()
        return series

    def one(self, *ids: Any) -> Any:
        """Make a time series of one stream, with entries at these times; return the stream."""
        stream = self.series().streams[self.key()]
        for number, id_ in enumerate(ids):
            stream.add({"n": number}, id=id_)
        return stream

    def other(self, name: str) -> Any:
        """Return the time series of `one` with another consumer; its stream."""
        options = {} if self.tz is None else {"tz": self.tz}
        return self.db.time_series("g", [self.key()], consumer=name, **options).streams[self.key()]

    def plain(self, value: Any) -> Any:
        """Reduce a result to what can be compared: messages as they print, keys as the program names them."""
        prefix = self.make_key(f"{self.name}:")
        if isinstance(value, (streams.Message, walrus_ts.Message)):
            return repr(value).replace(prefix, "")
        if isinstance(value, str):
            return value.replace(prefix, "")
        if isinstance(value, bytes):
            return value.replace(prefix.encode(), b"")
        if isinstance(value, (list, tuple)):
            return type(value)(self.plain(item) for item in value)
        if isinstance(value, dict):
            return {self.plain(name): self.plain(item) for name, item in value.items()}
        return value

    def outcome(self, call: Callable[["Side"], Any]) -> Any:
        """Make a call; what it returns, or the class of what it raises."""
        try:
            return self.plain(call(self))
        except Exception as error:
            return type(error)


def attempt(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Make a call that may fail; what it returns, or the class of what it raises."""
    try:
        return call(*arguments, **options)
    except Exception as error:
        return type(error)


@pytest.fixture
def sides(url: str, key: Callable[..., str]) -> Iterator[Callable[..., tuple[Side, Side]]]:
    """Make both sides, with the same options of redis-py."""
    opened: list[redis.Redis | redis.ConnectionPool] = []

    def make(tz: str | None = None, lose: str | None = None, **options: Any) -> tuple[Side, Side]:
        ours = walrus_ts.connect(url, **options)
        opened.append(ours)
        if lose is not None:
            pools = [losing_pool(ours, lose) for _ in range(2)]
            opened.extend(pools)  # which their databases leave open
            theirs, ours = walrus.Database(connection_pool=pools[0]), walrus_ts.Database(connection_pool=pools[1])
        elif "path" in (given := ours.connection_pool.connection_kwargs):
            theirs = walrus.Database(unix_socket_path=given["path"], db=given.get("db", 0), **options)
        else:
            theirs = walrus.Database.from_url(url, **options)
        opened.extend([ours, theirs])
        return Side("walrus", theirs, key), Side("walrus_ts", ours, key, tz)

    yield make
    for each in reversed(opened):
        each.close()


def losing_pool(database: redis.Redis, command: str) -> redis.ConnectionPool:
    """Make a pool whose connections lose the reply to the first such command, which the server has carried out."""
    pool = database.connection_pool
    waiting = [command]

    class Losing(pool.connection_class):  # type: ignore[misc, name-defined]
        lost = False

        def send_command(self, *arguments: Any, **options: Any) -> None:
            super().send_command(*arguments, **options)
            if waiting == [arguments[0]]:
                waiting.clear()
                self.lost = True

        def read_response(self, *arguments: Any, **options: Any) -> Any:
            reply = super().read_response(*arguments, **options)
            if self.lost:
                self.lost = False
                self.disconnect()
                raise redis.ConnectionError("the reply was lost")
            return reply

    return redis.ConnectionPool(connection_class=Losing, **pool.connection_kwargs)


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the machine's local time, which walrus goes by."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


# What both answer alike ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A result that has another form in each library, and the same content: the difference's title."""

    title: str
    value: Any


def of(group: Any, key: str) -> Any:
    """Take a stream of a group by its attribute, as streams.rst does (``cg.stream_a``)."""
    return getattr(group, re.sub(r"\W+", "_", key))


def standalone(side: Side) -> Iterator[Any]:
    """streams.rst, "Standalone streams"."""
    stream = side.db.Stream(side.key("stream-a"))
    yield stream.add({"message": "hello streams"}, id="1539008903588-0")
    yield stream.add({"message": "message 2"}, id="1539008914283-0")
    yield stream.add({"message": "message 3"}, id=b"1539008918230-0")
    yield stream[b"1539008914283-0":]
    yield stream["1539008903588-0"::2]
    yield list(stream)
    msgid4 = stream.add({"message": "delete me"}, id="1539008918231-0")
    del stream[msgid4]
    yield len(stream)
    stream2 = side.db.Stream(side.key("stream-2"))
    for i in range(1000):
        stream2.add({"data": f"message-{i}"}, id=f"1539008903588-{i}")
    yield stream2.trim(10)
    yield len(stream2)
    yield stream2.trim(10, approximate=False)
    yield len(stream2)
    yield stream.read()
    yield stream.read(last_id="1539008914283-0")
    yield stream.read(last_id="1539008918230-0")
    yield stream.read(block=20, last_id="$")


def consumer_groups(side: Side) -> Iterator[Any]:
    """streams.rst, "Consumer groups"."""
    keys = [side.key(name) for name in ("stream-a", "stream-b", "stream-c")]
    for name in keys:
        side.db.xadd(name, {"data": ""}, id="5-0")
    cg = side.db.consumer_group("cg-abc", keys)
    yield cg.create()
    yield cg.set_id("$")
    yield cg.read()
    a, b, c = (of(cg, name) for name in keys)
    yield a.add({"message": "new a"}, id="1539023088125-0")
    yield b.add({"message": "new for b"}, id="1539023088125-0")
    for i in range(10):
        yield c.add({"message": f"c-{i}"}, id=f"1539023088126-{i}")
    yield Known("what a group's read returns", cg.read(count=1))
    yield Known("what a group's read returns", cg.read(count=1))
    yield [without_age(row) for row in a.pending()]
    msg_id = a.pending()[0]["message_id"]
    yield a.ack(msg_id)
    yield a.ack(msg_id)
    cg2 = cg.consumer("cg-abc.c2")
    yield Known("what a group's read returns", cg2.read(count=1))
    yield [without_age(row) for row in c.pending()]
    mc1, _, _ = c.pending()
    yield of(cg2, keys[2]).claim(mc1["message_id"])
    yield [without_age(row) for row in c.pending()]
    yield c.read(count=2, block=20)
    yield c.delete("1539023088126-9")
    yield c.set_id("0-0")
    yield c.trim(3, approximate=False)
    yield len(c.read())


def time_series(side: Side) -> Iterator[Any]:
    """streams.rst, "TimeSeries"."""
    keys = [side.key("s1"), side.key("s2")]
    options = {} if side.tz is None else {"tz": side.tz}
    ts = side.db.time_series("demo-ts", keys, **options)
    for name in keys:
        side.db.xadd(name, {"": ""}, id="0-1")
    yield ts.create()
    yield ts.set_id("$")
    s1, s2 = (of(ts, name) for name in keys)
    for i in range(10):
        moment = NEW_YEAR + i * DAY
        yield s1.add({"message": f"s1-{moment}"}, id=moment)
    yield s1[NEW_YEAR + DAY :: 3]
    for message in s1[NEW_YEAR::3]:
        yield message.stream, message.timestamp, message.sequence, message.data, message.message_id
    for i in range(5):
        moment = NEW_YEAR + i * DAY
        yield s2.add({"message": f"s2-{moment}"}, id=moment)
    yield ts.read(count=2)
    yield [(position, consumer, times) for position, consumer, _, times in s1.pending()]
    for position, _, _, _ in s1.pending():
        yield s1.ack(position)
    yield s1.set_id(NEW_YEAR)
    yield s1.read(count=2)


def more_of_streams(side: Side) -> Iterator[Any]:
    """What streams.rst names and does not show, and how things fail."""
    stream = side.stream("5-1", "6-1", "7-1")
    yield stream.range("5", "6")
    yield stream.range(count=1)
    yield stream.revrange("6", "5", 1)
    yield stream.revrange()
    yield stream["6-1"], stream.get("6-1"), stream.get("6-2")
    yield stream[5:6]
    yield stream.add({"a": 1, "b": 2.5, b"\xff": b"\xfe"}, "8-1", 2, False)
    yield stream.range()
    yield stream.delete("7-1", "9-9")
    yield stream.set_id("9-9")
    yield stream.info()
    yield stream.groups_info()
    yield stream.trim(minid="8-1", approximate=False)
    yield stream.trim(0, False)
    yield stream.length(), bool(stream)
    yield stream.read(last_id=6), stream.read(count=1), list(stream)
    yield stream.key
    yield attempt(stream.add, {"a": None})
    yield attempt(stream.add, {"a": 1}, id="4-1")
    yield attempt(stream.add, {"a": 1}, id="noon")
    yield attempt(stream.set_id, "noon")
    yield attempt(side.db.Stream(side.key("none")).info)
    yield side.db.Stream(side.key("none")).read()
    yield attempt(stream.consumers_info, "none")


def more_of_groups(side: Side) -> Iterator[Any]:
    """What streams.rst names and does not show, and how things fail."""
    db, a = side.db, side.key("c")
    yield db.consumer_group("g", a).keys
    yield db.consumer_group("g", a.encode()).keys
    yield db.consumer_group("g", (a, side.key("b"))).keys
    yield db.consumer_group("g", {a: "5-1"}).keys
    yield db.consumer_group("g", a).create()
    yield db.consumer_group("g", a).create()
    yield db.consumer_group("new", {side.key("m"): "$"}).create(False, True)
    yield attempt(db.consumer_group("g", side.key("none")).create, ensure_keys_exist=False)
    yield attempt(db.consumer_group("none", a).read)
    a, group = side.key("a"), side.group("5-1", "6-1", "7-1")
    yield group.name, list(group.streams), group.streams[a].key, group.streams[a].group
    stream = of(group, a)
    yield type(stream).__name__
    yield stream.read(1), stream.read()
    yield stream.read(last_id="0-0")
    yield stream.delete("5-1"), stream.read(last_id="0-0")
    yield [row["message_id"] for row in stream.pending("6-1", "6-1")]
    yield [row["message_id"] for row in stream.pending(count=2)]
    yield stream.pending(consumer="none"), stream.pending(idle=100_000)
    second = group.consumer("second").streams[a]
    yield second.claim("6-1", min_idle_time=100_000)
    yield second.claim("5-1", "6-1")
    yield stream.autoclaim("third", 0), stream.autoclaim("third", 0, "7-1", 1, True)
    yield [(row["name"], row["pending"]) for row in stream.consumers_info()]
    yield stream.delete_consumer("third"), stream.delete_consumer()
    yield group.set_id("6-1"), stream.set_id(), group.reset()
    yield Known("what a group's read returns", group.read(1, None, "fourth"))
    yield group.stream_info()
    yield group.destroy(), group.destroy()


def more_of_time_series(side: Side) -> Iterator[Any]:
    """What streams.rst says of time series in general."""
    ts = side.series("a", "b")
    a = ts.streams[side.key("a")]
    yield a.add({"n": 1}, id=NEW_YEAR.replace(microsecond=1_999))
    yield a.add({"n": 2}, id=(NEW_YEAR.replace(microsecond=1_999), 7))
    yield a.add({"n": 3}, NEW_YEAR + DAY, 3, False)
    yield list(a), a[:], a.range(NEW_YEAR, NEW_YEAR + DAY, 1)
    yield a.get(NEW_YEAR + DAY), a[NEW_YEAR + DAY], a.get(NEW_YEAR - DAY), a.get((NEW_YEAR + DAY, 0))
    [message] = a[NEW_YEAR + DAY :]
    yield a.get(message), a[message:]
    yield ts.read(), ts.read()
    yield [(position, times) for position, _, _, times in a.pending(NEW_YEAR, NEW_YEAR + DAY)]
    yield ts.consumer("second").streams[side.key("a")].claim(message, (NEW_YEAR.replace(microsecond=1_000), 7))
    yield a.ack(message, NEW_YEAR.replace(microsecond=1_000))
    yield a.delete(message)
    yield ts.set_id(NEW_YEAR), a.read(), ts.set_id(), a.read()
    yield attempt(a.add, {"n": 4}, id=NEW_YEAR)
    yield Known("what makes a message", pickle.loads(pickle.dumps(message)) == message)


PROGRAMS = [standalone, consumer_groups, time_series, more_of_streams, more_of_groups, more_of_time_series]


def without_age(row: dict[str, Any]) -> dict[str, Any]:
    """Leave the time since the delivery out, which passes between two calls."""
    assert row["time_since_delivered"] >= 0
    return {name: value for name, value in row.items() if name != "time_since_delivered"}


def walls(value: Any) -> Any:
    """Show each time as the wall clock does."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None, fold=0)
    if isinstance(value, (list, tuple)):
        return type(value)(walls(item) for item in value)
    return value


def content(value: Any) -> Any:
    """Leave out what is form: tuple or list, str or bytes."""
    if isinstance(value, (list, tuple)):
        return [content(item) for item in value]
    return value.encode() if isinstance(value, str) else value


def compare(program: Callable[[Side], Iterator[Any]], theirs: Side, ours: Side, see: Callable[[Any], Any]) -> int:
    """Run a program on both, call by call, and return the number of calls."""
    pair = [program(theirs), program(ours)]
    calls = 0
    for expected in pair[0]:
        line = linecache.getline(__file__, pair[0].gi_frame.f_lineno).strip()
        found = next(pair[1], "the program ended")
        calls += 1
        if isinstance(expected, Known):
            a, b = theirs.plain(expected.value), ours.plain(found.value)
            assert a != b, f"no difference any more ({expected.title}): {line}"
            assert expected.title in TITLES
            if not isinstance(a, bool):
                assert content(b) == content(a), line
        else:
            assert see(ours.plain(found)) == see(theirs.plain(expected)), line
    assert next(pair[1], None) is None
    return calls


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_program(
    sides: Callable[..., tuple[Side, Side]],
    local_zone: Callable[[str], None],
    program: Callable[[Side], Iterator[Any]],
) -> None:
    """A program written for walrus answers alike, call by call, on a machine whose local time is UTC."""
    local_zone("UTC0")
    assert compare(program, *sides(), lambda value: value) > 10


@pytest.mark.parametrize("program", [time_series, more_of_time_series], ids=lambda program: program.__name__)
def test_program_in_local_time(
    sides: Callable[..., tuple[Side, Side]],
    local_zone: Callable[[str], None],
    program: Callable[[Side], Iterator[Any]],
) -> None:
    """With `tz=`, it answers alike on a machine with another local time, too; only that times come back aware."""
    local_zone(CHICAGO)
    assert compare(program, *sides(tz="America/Chicago"), walls) > 10


def test_ids_of_the_text(sides: Callable[..., tuple[Side, Side]], local_zone: Callable[[str], None]) -> None:
    """The ids that streams.rst prints are those of local time in Chicago, and of `tz="America/Chicago"`."""
    local_zone(CHICAGO)
    for side in sides(tz="America/Chicago"):
        stream = side.one(NEW_YEAR, NEW_YEAR + DAY, NEW_YEAR + 2 * DAY)
        assert [m.message_id for m in stream] == ["1514786400000-0", "1514872800000-0", "1514959200000-0"]


# What they answer otherwise -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A call that the libraries answer differently.

    A result is `Side.outcome`'s: what is returned, or the class of what is raised. `tz` is given to our time series, on
    a machine whose local time is Chicago's.
    """

    title: str
    call: Callable[[Side], Any]
    walrus: Any
    ours: Any
    reason: str
    tz: str | None = "America/Chicago"
    options: Mapping[str, Any] = field(default_factory=dict)


def _forget(side: Side) -> int:
    """Count the entries that iterating still yields when the stream is deleted behind the first."""
    pipe = side.db.pipeline(transaction=False)
    for number in range(1, 1501):
        pipe.xadd(side.key(), {"n": number}, id=f"{number}-0")
    pipe.execute()
    entries = iter(side.db.Stream(side.key()))
    next(entries)
    side.db.delete(side.key())
    return 1 + sum(1 for _ in entries)


def _merged(side: Side) -> list[int]:
    ts = side.series("a", "b")
    ts.streams[side.key("a")].add({"n": 1}, id=(NEW_YEAR, 2))
    ts.streams[side.key("b")].add({"n": 2}, id=(NEW_YEAR, 10))
    return [message.sequence for message in ts.read()]


def _behind(side: Side) -> list[int]:
    stream = side.one((NEW_YEAR, 0), (NEW_YEAR, 1), NEW_YEAR + DAY)
    stream.set_id(NEW_YEAR)
    return [message.sequence for message in stream.read()]


def _wrong_type(side: Side, **options: Any) -> tuple[Any, list[str]]:
    side.db.set(side.key("b"), "text")
    group = side.db.consumer_group("g", [side.key("a"), side.key("b")])
    raised = attempt(group.create, **options)
    return raised, [name for name in ("a", "b") if side.db.exists(side.key(name))]


def _spent_ids(side: Side) -> Any:
    side.db.consumer_group("g", side.key()).create()
    return side.db.Stream(side.key()).add({"n": 1}, id="0-1")


def _last_generated(side: Side) -> Any:
    side.db.consumer_group("g", side.key()).create()
    return side.db.Stream(side.key()).info()["last-generated-id"]


def _after_deleting_pair(side: Side) -> list[int]:
    stream = side.one((NEW_YEAR, 0), (NEW_YEAR, 1))
    del stream[NEW_YEAR, 1]
    return [message.sequence for message in stream]


def _two_attributes(side: Side) -> str:
    keys = [side.key("s-1"), side.key("s_1")]
    return str(of(side.db.consumer_group("g", keys), keys[0]).key)


def _far(side: Side) -> list[Any]:
    stream = side.one()
    side.db.xadd(side.key(), {"n": 1}, id="999999999999999-0")
    return [message.message_id for message in stream]


def _binary_consumer(side: Side) -> list[Any]:
    side.one(NEW_YEAR)
    stream = side.other(b"\xff")
    stream.read()
    return [consumer for _, consumer, _, _ in stream.pending()]


def _binary_value(side: Side) -> Any:
    side.one()
    side.db.xadd(side.key(), {"n": b"\xff"}, id="5-0")
    return side.db.time_series("g", side.key()).streams[side.key()][:]


def _lost_add(side: Side) -> tuple[Any, int]:
    stream = side.db.Stream(side.key())
    outcome = attempt(stream.add, {"n": 1})
    return outcome if isinstance(outcome, type) else type(outcome), len(stream)


def _lost_read(side: Side) -> Any:
    group = side.group("5-1", "6-1")
    return attempt(group.streams[side.key()].read, count=1)


def _lost_claim(side: Side) -> Any:
    stream = side.group("5-1").streams[side.key()]
    stream.read()
    return stream


def _names(owner: Callable[[Side], Any], *names: str) -> Callable[[Side], list[str]]:
    return lambda side: [name for name in names if hasattr(owner(side), name)]


def _typed(side: Side) -> list[Any]:
    stream = side.stream("5-1")
    return [stream.read(), stream.set_id("9-0"), attempt(side.db.consumer_group("g", side.key()).create)]


CONTAINER = ("clear", "dump", "expire", "pexpire")
CONTAINERS = [
    "Array", "Hash", "HyperLogLog", "Index", "List", "Set",
    "ZSet", "atomic", "autocomplete", "bit_field", "bloom_filter", "cache",
    "cas", "counter", "get_key", "graph", "hash_exists", "init_scripts",
    "listener", "rate_limit", "rate_limit_lua", "run_script", "search", "stream_log",
]  # fmt: skip
ONCE = {"retry": Retry(NoBackoff(), 1)}

TEXTUAL = "redis-py decides by these options what a reply looks like; streams have connections of their own"
CLEARER = "the caller can mend it, and the message says how; a UsageError is a ValueError, too"
BOTH_SIDES = "a time stands for all entries of its millisecond"
EVERYWHERE = "a time series takes times wherever it takes ids"
MISSING = "walrus_ts is about streams; redis-py's own commands are all there"

DIFFERENCES = [
    # Times
    Difference(
        "naive times",
        lambda side: side.one(NEW_YEAR)[:],
        ["<Message a 1514786400000-0: {'n': '0'}>"],
        ["<Message a 1514764800000-0: {'n': '0'}>"],
        "the machine's local time is an accident: the same program on another machine would make other ids",
        tz=None,
    ),
    Difference(
        "naive times",
        lambda side: side.one(NEW_YEAR)[:][0].timestamp.tzinfo is None,
        True,
        False,
        "with `tz=`, what comes back says which zone it is in",
    ),
    Difference(
        "aware times",
        lambda side: side.one(datetime(2018, 1, 1, 12, tzinfo=UTC))[:],
        ["<Message a 1514829600000-0: {'n': '0'}>"],
        ["<Message a 1514808000000-0: {'n': '0'}>"],
        "walrus takes no notice of a time's own zone",
    ),
    Difference(
        "times that the clocks skip or repeat",
        lambda side: side.one().add({"n": 1}, id=datetime(2018, 3, 11, 2, 30)),
        (datetime(2018, 3, 11, 3, 30), 0),
        UsageError,
        "the entry would be stored at another time than it was given",
    ),
    Difference(
        "times that the clocks skip or repeat",
        lambda side: side.one().add({"n": 1}, id=datetime(2018, 11, 4, 1, 30))[1],
        0,
        UsageError,
        "nothing says which of the two is meant",
    ),
    Difference(
        "times before 1970",
        lambda side: side.one().add({"n": 1}, id=datetime(1969, 1, 1)),
        redis.ResponseError,
        UsageError,
        CLEARER,
    ),
    Difference(
        "times after 9999",
        _far,
        ValueError,
        ["999999999999999-0"],
        "`timestamp` is made when it is asked for, so an id that has none can be read",
    ),
    Difference(
        "times after 9999",
        lambda side: side.one().add({"n": 1}, id="999999999999999-0"),
        ValueError,
        "999999999999999-0",
        "the entry is stored, so its id is returned, which can be given back",
    ),
    Difference(
        "times after 9999",
        lambda side: (attempt(side.one().add, {"n": 1}, id=datetime.max), len(side.db.Stream(side.key()))),
        (ValueError, 1),
        (UsageError, 0),
        "an error after the entry was stored invites to store it again",
    ),
    Difference(
        "order of a merged read",
        _merged,
        [10, 2],
        [2, 10],
        "ids are pairs of numbers; as text, 10 comes before 2",
    ),
    Difference("a time as an upper bound", lambda side: len(side.one((NEW_YEAR, 1))[:NEW_YEAR]), 0, 1, BOTH_SIDES),
    Difference("behind a time", _behind, [1, 0], [0], BOTH_SIDES),
    Difference(
        "deleting a pair",
        _after_deleting_pair,
        [1],
        [0],
        "walrus takes the pair for two ids, and deletes sequence 0",
    ),
    Difference(
        "sequence `*`",
        lambda side: side.one().add({"n": 1}, id=(NEW_YEAR, "*"))[1],
        0,
        UsageError,
        "a pair is what `add` and `pending` return: a time and a number",
    ),
    # Where a time series takes times
    Difference(
        "where times are taken", lambda side: len(side.one(NEW_YEAR).revrange(NEW_YEAR)), redis.DataError, 1, EVERYWHERE
    ),
    Difference(
        "where times are taken",
        lambda side: side.one(NEW_YEAR, NEW_YEAR + DAY).trim(minid=NEW_YEAR + DAY, approximate=False),
        redis.DataError,
        1,
        EVERYWHERE,
    ),
    Difference(
        "where times are taken",
        lambda side: side.one(NEW_YEAR).autoclaim("other", 0, NEW_YEAR, justid=True),
        redis.DataError,
        [],
        EVERYWHERE,
    ),
    Difference(
        "where times are taken",
        lambda side: side.db.time_series("new", {side.key(): NEW_YEAR}).create(),
        redis.DataError,
        {"a": True},
        EVERYWHERE,
    ),
    Difference(
        "where times are taken", lambda side: side.one(date(2018, 1, 1))[:][0].sequence, redis.DataError, 0, EVERYWHERE
    ),
    Difference("where times are taken", lambda side: NEW_YEAR in side.one(NEW_YEAR), False, True, EVERYWHERE),
    Difference(
        "where messages come back",
        lambda side: side.one(NEW_YEAR).revrange(),
        [(b"1514786400000-0", {b"n": b"0"})],
        ["<Message a 1514786400000-0: {'n': '0'}>"],
        "a time series' entries are messages, in whichever direction they are read",
    ),
    Difference(
        "where messages come back",
        lambda side: (side.one(NEW_YEAR).read(), side.other("c2").autoclaim("c2", 0)[1])[1],
        [(b"1514786400000-0", {b"n": b"0"})],
        ["<Message a 1514786400000-0: {'n': '0'}>"],
        "as with `claim`",
    ),
    Difference(
        "arguments of a time series",
        lambda side: len(side.series().read(consumer="other")),
        TypeError,
        0,
        "as in a consumer group",
    ),
    Difference(
        "arguments of a time series",
        lambda side: len(side.one(NEW_YEAR).read(last_id="0-0")),
        TypeError,
        0,
        "as in a consumer group: the consumer's own backlog",
    ),
    # Messages
    Difference(
        "what makes a message",
        lambda side: side.one(NEW_YEAR)[NEW_YEAR] == side.other("c2")[NEW_YEAR],
        False,
        True,
        "two readings of one entry are equal",
    ),
    Difference(
        "what makes a message",
        lambda side: len({*side.one(NEW_YEAR)[:], *side.other("c2")[:]}),
        2,
        1,
        "and so they are one in a set",
    ),
    Difference(
        "text that is no UTF-8",
        _binary_value,
        UnicodeDecodeError,
        ["<Message a 5-0: {'n': b'\\xff'}>"],
        "one such value must not keep all others from being read",
    ),
    Difference("text that is no UTF-8", _binary_consumer, UnicodeDecodeError, [b"\xff"], "likewise"),
    Difference(
        "text that is no UTF-8",
        lambda side: len(side.db.consumer_group("g", [b"\xff"]).streams),
        UnicodeDecodeError,
        1,
        "a key is bytes, to Redis",
    ),
    # Streams
    Difference("`in`", lambda side: "5-1" in side.stream("5-1"), False, True, "an id is what identifies an entry"),
    Difference(
        "`in`",
        lambda side: (b"5-1", {b"n": b"0"}) in side.stream("5-1"),
        True,
        redis.DataError,
        "walrus reads the whole stream and compares its entries",
    ),
    Difference(
        "`get` with half an id",
        lambda side: side.stream("6-1").get("6"),
        (b"6-1", {b"n": b"0"}),
        None,
        "`get` is of one id, and '6' is '6-0', as it is in `delete` and `ack`",
    ),
    Difference("slices up to 0", lambda side: len(side.stream("6-1")[:0]), 1, 0, "0 is an id, too"),
    Difference(
        "iterating",
        _forget,
        1500,
        1000,
        "a page of 1,000 entries is in memory at a time, not the whole stream",
    ),
    Difference(
        "`add` with `minid`",
        lambda side: (
            side.stream("5-1").add({"n": 1}, "6-1", minid="6-0", approximate=False),
            len(side.db.Stream(side.key())),
        )[1],
        TypeError,
        1,
        "Redis has it since 6.2",
    ),
    Difference(
        "no ids", lambda side: side.stream("5-1").delete(), redis.ResponseError, 0, "a list of ids may be empty"
    ),
    Difference("no ids", lambda side: side.group("5-1").streams[side.key()].ack(), redis.ResponseError, 0, "likewise"),
    Difference("no ids", lambda side: side.group("5-1").streams[side.key()].claim(), redis.DataError, [], "likewise"),
    Difference("errors in arguments", lambda side: side.stream().add({}), redis.DataError, UsageError, CLEARER),
    Difference("errors in arguments", lambda side: side.stream().range(count=0), redis.DataError, UsageError, CLEARER),
    Difference("errors in arguments", lambda side: side.stream().read(count=0), redis.DataError, UsageError, CLEARER),
    Difference("errors in arguments", lambda side: side.stream().trim(), redis.DataError, UsageError, CLEARER),
    Difference(
        "errors in arguments", lambda side: side.stream().__delitem__(slice(None)), redis.DataError, UsageError, CLEARER
    ),
    Difference(
        "errors in arguments",
        lambda side: side.group().streams[side.key()].claim("5-1", idle=1),
        ValueError,
        TypeError,
        "as everywhere in Python",
    ),
    # Connections
    Difference(
        "blocking for long",
        lambda side: side.stream().read(block=300, last_id="$"),
        redis.TimeoutError,
        [],
        "`block` says how long to wait; the socket's timeout is for servers that do not answer",
        options={"socket_timeout": 0.1, **ONCE},
    ),
    Difference(
        "a reply that is lost",
        _lost_add,
        (bytes, 2),
        (redis.ConnectionError, 1),
        "redis-py sends the command again, and the entry is stored twice",
        options={"lose": "XADD", **ONCE},
    ),
    Difference(
        "a reply that is lost",
        _lost_read,
        [(b"6-1", {b"n": b"1"})],
        redis.ConnectionError,
        "redis-py sends the command again, and the first entry is pending without having been seen",
        options={"lose": "XREADGROUP", **ONCE},
    ),
    Difference(
        "a reply that is lost",
        lambda side: _lost_claim(side).claim("5-1"),
        [(b"5-1", {b"n": b"0"})],
        redis.ConnectionError,
        "redis-py claims again, and with a `min_idle_time` that leaves out what it has just claimed",
        options={"lose": "XCLAIM", **ONCE},
    ),
    Difference(
        "a reply that is lost",
        lambda side: _lost_claim(side).autoclaim("me", 0, justid=True),
        [b"5-1"],
        redis.ConnectionError,
        "likewise",
        options={"lose": "XAUTOCLAIM", **ONCE},
    ),
    Difference(
        "`decode_responses=True`",
        _typed,
        [[("5-1", {"n": "0"})], False, ValueError],
        [[(b"5-1", {b"n": b"0"})], True, {"a": True}],
        TEXTUAL,
        options={"decode_responses": True},
    ),
    Difference(
        "`decode_responses=True`",
        lambda side: side.one(NEW_YEAR)[:],
        TypeError,
        ["<Message a 1514786400000-0: {'n': '0'}>"],
        TEXTUAL,
        options={"decode_responses": True},
    ),
    Difference(
        "`protocol=3`",
        lambda side: attempt(side.stream("5-1").read),
        KeyError,
        [(b"5-1", {b"n": b"0"})],
        TEXTUAL,
        options={"protocol": 3},
    ),
    # Groups
    Difference(
        "what a group's read returns",
        lambda side: side.group("5-1").read(),
        [[b"a", [(b"5-1", {b"n": b"0"})]], [b"b", [(b"5-1", {b"n": b"0"})]]],
        [("a", [(b"5-1", {b"n": b"0"})]), ("b", [(b"5-1", {b"n": b"0"})])],
        "pairs, as streams.rst shows them, whose keys can be looked up among the group's own",
    ),
    Difference(
        "what `create` leaves",
        _last_generated,
        b"0-1",
        b"0-0",
        "walrus adds an entry and deletes it; XGROUP CREATE can make an empty stream itself",
    ),
    Difference("what `create` leaves", _spent_ids, redis.ResponseError, b"0-1", "the stream is as if it were new"),
    Difference(
        "`create` on a key of another type",
        _wrong_type,
        (ValueError, ["a", "b"]),
        (UsageError, ["b"]),
        "all keys are looked at before the first stream is made",
    ),
    Difference(
        "`create` on a key of another type",
        lambda side: _wrong_type(side, mkstream=True, ensure_keys_exist=False),
        (redis.ResponseError, ["a", "b"]),
        (UsageError, ["b"]),
        CLEARER,
    ),
    Difference(
        "keys with one attribute name",
        _two_attributes,
        "s_1",
        AttributeError,
        "walrus gives the last of them, whichever that is; `group[key]` is always right",
    ),
    Difference(
        "keys named like a method",
        lambda side: callable(side.db.consumer_group("g", ["read"]).read),
        False,
        True,
        "a group has to keep its methods; `group['read']` is the stream",
    ),
    Difference(
        "keys of a group",
        lambda side: list(side.db.consumer_group("g", []).keys),
        [],
        UsageError,
        "such a group could be neither created nor read",
    ),
    Difference(
        "keys of a group",
        lambda side: len(side.db.consumer_group("g", ["a", b"a"]).keys),
        2,
        UsageError,
        "they are one key to Redis, and its entries would be read once",
    ),
    Difference(
        "keys of a group",
        lambda side: len(side.db.consumer_group("g", [""]).keys),
        ValueError,
        1,
        "an empty key has no attribute, and is a key all the same",
    ),
    Difference(
        "`group[key]`",
        lambda side: side.group().__getitem__(side.key()).key,
        AttributeError,
        "a",
        "works for every key, spelled as str or as bytes; `in` and iteration are of keys",
    ),
    Difference(
        "names as bytes",
        lambda side: side.db.consumer_group(b"g", "a").name,
        TypeError,
        b"g",
        "a group's name is bytes, to Redis",
    ),
    Difference(
        "names of arguments",
        lambda side: side.db.consumer_group(group="g", keys=["a"]).name,
        "g",
        TypeError,
        "it is `name`, as the attribute is; by position nothing changes",
    ),
    Difference(
        "names of arguments",
        lambda side: side.db.time_series(group="g", keys=["a"]).name,
        "g",
        TypeError,
        "likewise",
    ),
    Difference(
        "names of arguments",
        lambda side: side.stream("5-1").get(docid="5-1")[0],
        b"5-1",
        TypeError,
        "it is `id`, as everywhere else",
    ),
    Difference(
        "how things print",
        lambda side: repr(side.stream()).startswith("<Stream '"),
        False,
        True,
        "a notebook shows what a cell ends with",
    ),
    # What is not here
    Difference("a stream's key as such", _names(lambda side: side.stream(), *CONTAINER), [*CONTAINER], [], MISSING),
    Difference(
        "commands with names of walrus's own",
        _names(lambda side: side.db, "xsetid", "xpending_summary"),
        ["xsetid", "xpending_summary"],
        [],
        "`stream.set_id` and redis-py's `xpending` do the same",
    ),
    Difference("other containers and tools", _names(lambda side: side.db, *CONTAINERS), CONTAINERS, [], MISSING),
    Difference(
        "other containers and tools",
        lambda side: type(side.db.lock("a")).__module__.split(".")[0],
        "walrus",
        "redis",
        "`lock` is redis-py's",
    ),
    Difference(
        "other containers and tools",
        _names(lambda side: side.db, "__len__", "__iter__"),
        ["__len__", "__iter__"],
        [],
        "`dbsize` and `scan_iter` are redis-py's names for it",
    ),
    Difference(
        "other containers and tools",
        lambda side: type(side.db)(script_dir=False).__class__.__name__,
        "Database",
        TypeError,
        "there are no scripts to load",
    ),
    Difference(
        "streams of a class of one's own",
        _names(lambda side: type(side.group()), "stream_key_class"),
        ["stream_key_class"],
        [],
        "what walrus leaves open for subclasses is not part of the object model",
    ),
]

TITLES = {difference.title for difference in DIFFERENCES}


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.title)
def test_difference(
    sides: Callable[..., tuple[Side, Side]], local_zone: Callable[[str], None], difference: Difference
) -> None:
    """Each difference is there, and is the one that was meant."""
    local_zone(CHICAGO)
    theirs, ours = sides(tz=difference.tz, **difference.options)
    assert theirs.outcome(difference.call) == difference.walrus
    assert ours.outcome(difference.call) == difference.ours
    assert difference.walrus != difference.ours
    assert difference.reason


def test_page_names_the_differences() -> None:
    """The page "Coming from walrus" has a row for each difference, and no other row."""
    cells = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [cell for cell in cells if cell != HEAD and cell.strip("-")]
    assert sorted(rows) == sorted(TITLES)


PAIRS = [
    (walrus.Database, walrus_ts.Database),
    (containers.Stream, walrus_ts.Stream),
    (containers.ConsumerGroup, walrus_ts.ConsumerGroup),
    (containers.ConsumerGroupStream, walrus_ts.ConsumerGroupStream),
    (streams.TimeSeries, walrus_ts.TimeSeries),
    (streams.TimeSeriesStream, walrus_ts.TimeSeriesStream),
    (streams.Message, walrus_ts.Message),
]
RENAMED = {  # (class, method): walrus's argument and ours: "names of arguments"
    ("Database", "consumer_group"): ("group", "name"),
    ("Database", "time_series"): ("group", "name"),
    ("Stream", "get"): ("docid", "id"),
    ("ConsumerGroupStream", "get"): ("docid", "id"),
}
ABSENT = {*CONTAINER, *CONTAINERS, "xsetid", "xpending_summary", "stream_key_class"}
ABSENT |= {"get_transaction", "commit_transaction", "clear_transaction", "get_temp_key"}  # parts of `atomic` and others


def _arguments(function: Any) -> list[str]:
    """List the arguments by name; those behind a star have none."""
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in named]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda cls: cls.__module__ + "." + cls.__name__)
def test_names_and_arguments(theirs: type, ours: type) -> None:
    """Every method of walrus's classes is there, with the same arguments in the same places; but for what is listed."""
    absent, renamed = set(), {}
    for name, method in inspect.getmembers(theirs, callable):
        if name.startswith("_") or getattr(redis.Redis, name, None) is method or name == "lock":
            continue
        if not hasattr(ours, name):
            absent.add(name)
            continue
        expected = _arguments(method)
        found = _arguments(getattr(ours, name))[: len(expected)]
        if found != expected:
            [renamed[ours.__name__, name]] = [pair for pair in zip(expected, found, strict=True) if len(set(pair)) > 1]
    assert absent <= ABSENT
    assert renamed == {place: pair for place, pair in RENAMED.items() if place[0] == ours.__name__}
