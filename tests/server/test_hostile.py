"""Names and values of any bytes, and records that are broken: an error that names the key, or the right result."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import redis

from walrus_ts import Database, DataError, TimeSeries, TimeSeriesStream, UsageError, WalrusTSError
from walrus_ts.columnar.schema import Records

NAMES = [
    b"",
    b" a b ",
    b"a\r\nb\n",
    b"\0a\0",
    b"{}",
    b"}{",
    b"{a}b",
    b"*?[x]\\",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"*2\r\n$1\r\nx\r\n",
    b"-NOPERM no echo\r\n",
    b"<b>%s{0}'\"",
    b">",
    b"$",
    "é\u202e\U0001f600".encode(),
    b"k" * 65_536,
    b"\xff" * 65_536,
]


def shown(name: bytes) -> str:
    """Name a name in a test's id."""
    return f"{name[:16]!r}{'...' if len(name) > 16 else ''}"


@pytest.fixture
def prefix(no_key_left: None) -> str:
    """Begin keys of the test's own: it drops what it makes, and the records with it."""
    return f"t:{uuid4().hex[:12]}:"


def ticks(rows: int, start: str = "2024-01-01", label: str = "x") -> pd.DataFrame:
    """Make a frame."""
    index = pd.date_range(start, periods=rows, freq="s", unit="us")
    return pd.DataFrame({label: np.arange(rows)}, index=index)


def is_text(name: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


# Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_keys_groups_and_consumers(db: Database, prefix: str, name: bytes) -> None:
    """Keys, groups and consumers may have names of any bytes; every call does with them what it does with others."""
    key = prefix.encode() + name
    series = db.time_series(name, [key], consumer=name or b"w")
    stream = series[key]
    for day in range(1, 4):  # the first goes the long way, the others the short one
        stream.append(ticks(3, f"2024-01-0{day}"))
    if name and is_text(name):
        assert stream.append(ticks(1, "2024-01-04"), load=name.decode()).rows == 1
        assert stream.append(ticks(1, "2024-01-04"), load=name.decode()).rows == 0
        assert stream.loads().index.tolist() == [name.decode()]
        stream.delete_range("2024-01-04")
    assert len(stream.frame()) == len(series.frame()) == stream.scan().to_arrow().num_rows == len(stream.tail(50)) == 9
    assert len(series.frame(layout="wide", stop="2024-01-01")) == 3
    check_consuming(series, stream)
    for thing in (db, stream, series, stream.schema, stream.scan()):
        assert repr(thing)
        assert thing._repr_html_()
    stream.declare({"x": "float64"}, unit="us")
    assert stream.delete_range("2024-01-02", "2024-01-02") == 3
    assert stream.drop()


def check_consuming(series: TimeSeries, stream: TimeSeriesStream) -> None:
    """Consume rows, of which one becomes a dead letter and pending again."""
    series.create()
    assert len(series.read_frame(count=2)) == 2
    assert len(series.read(count=1)) == 1
    with series.batches(count=9, wait=0) as batches:
        for batch in batches:
            batch.extend()
            if batch.ids[0].startswith("1704067200000-"):
                assert batch.reject(np.arange(len(batch)) == 0, reason=repr(stream.key)) == 1
            with batch.transaction() as pipe:
                pipe.xlen(stream.key)
            assert pipe.replies == [9]
    assert stream.dead_letters()["reason"].tolist() == [repr(stream.key)[:500]] or stream.replay_dead() == 1
    assert stream.replay_dead() in (0, 1)
    assert len(stream.pending_frame()) == series.status()["pending"].sum() == 1
    assert len(stream.consumers_frame()) == 2  # this one, and the group's first, which has what is replayed


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_fields_and_values(db: Database, prefix: str, name: bytes) -> None:
    """Fields and values of another program may be any bytes; what is no text is escaped, or an error."""
    key = prefix + "fields"
    series = db.time_series("research", [key])
    stream = series[key]
    db.xadd(key, {name: b"1", b"other": b"2"}, id="1704067200000-0")
    label = name.decode(errors="backslashreplace")
    for frame in (stream.frame(), stream.tail(), series.frame()):
        assert frame[[label, "other"]].iloc[0].tolist() == ["1", "2"]
    assert stream.scan().to_arrow().num_columns == 3
    series.create()
    with series.batches(wait=0) as batches:
        assert [batch.frame[label].tolist() for batch in batches] == [["1"]]
    db.xadd(key, {b"other": name}, id="1704067200000-1")
    if is_text(name):
        assert stream.frame()["other"].tolist() == ["2", name.decode()]
    else:
        with pytest.raises(DataError, match=r"'other'.*1704067200000-1") as caught:
            stream.frame()
        assert len(str(caught.value)) < 1_000
        assert stream.frame(errors="coerce")["other"].isna().tolist() == [False, True]
    stream.drop()


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_labels_and_bytes(db: Database, prefix: str, name: bytes) -> None:
    """Labels of any text, and values of any bytes, come back as they were."""
    label = name.decode() if is_text(name) else "x"
    frame = ticks(2)
    frame[label] = pd.Series([name, b"\xff"], index=frame.index, dtype=object)
    stream = db.time_series("research", [f"{prefix}labels"])[f"{prefix}labels"]
    stream.append(frame)
    pd.testing.assert_frame_equal(stream.frame(), frame, check_freq=False)
    pd.testing.assert_frame_equal(stream.tail(), frame, check_freq=False)
    stream.drop()


# Records ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> Iterator[TimeSeriesStream]:
    """Have a stream of five rows, a named load and a group."""
    series = db.time_series("research", [key()])
    series[key()].append(ticks(3))
    series[key()].append(ticks(2, "2024-01-02"), load="2")
    series.create()
    yield series[key()]
    series[key()].drop()


def calls(stream: TimeSeriesStream) -> dict[str, Callable[[], Any]]:
    """Return all that reads the records of a stream."""
    series = stream.database.time_series("research", [stream.key])
    return {
        "frame": stream.frame,
        "tail": stream.tail,
        "head": stream.head,
        "loc": lambda: stream.loc["2024-01-01"],
        "arrow": lambda: stream.scan().to_arrow(),
        "polars": lambda: stream.scan().to_polars(),
        "frames": lambda: list(stream.scan().frames()),
        "group": series.frame,
        "wide": lambda: series.frame(layout="wide"),
        "schema": lambda: str(stream.schema),
        "loads": stream.loads,
        "append": lambda: stream.append(ticks(2, "2024-02-01")),
        "load": lambda: stream.append(ticks(2, "2024-01-02"), load="2"),
        "batches": lambda: [batch.frame for batch in series.batches(wait=0)],
        "status": series.status,
        "dead letters": stream.dead_letters,
        "replay": stream.replay_dead,
        "html": lambda: (stream._repr_html_(), series._repr_html_()),
    }


def problems(stream: TimeSeriesStream) -> dict[str, WalrusTSError]:
    """Make all calls; return the errors, none of which may be a bare one of Python's or of a library's."""
    found = {}
    for name, call in calls(stream).items():
        try:
            call()
        except WalrusTSError as error:
            found[name] = error
    assert not [error for error in found.values() if len(str(error)) > 1_500]
    return found


def changed(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Change a record at a place: ``"columns.0.type"``."""

    def change(record: dict[str, Any]) -> object:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        place: Any = record
        for parent in parents:
            place = place[parent]
        place[last] = value
        return record

    return change


def category(**facts: object) -> list[object]:
    """Describe a categorical."""
    return ["category", {"ordered": False, "values": ["0", "1", "2"], "type": "int64", "dtype": "int64", **facts}]


FIELD = ["i", "int64", True]
LONG = "x" * 1_000_000
JUNK: dict[str, list[object]] = {  # of each part of a record
    "walrus_ts": [2, "1", [1], LONG],
    "index": [None, [], {}],
    "index.unit": ["h", LONG, [], {}, None],
    "index.zone": [[1], 3],
    "index.name": [[1], {"x": 1}, {"tuple": 1}, {"float": "one"}, {"date": "then"}],
    "columns": [None, 3, "abc", [1], [{}]],
    "columns.0.label": [["a"], {"tuple": 3}, {}, "\ud800"],
    "columns.0.field": [None, 3, "\ud800"],
    "columns.0.type": [
        *["nope", None, 3, [], {}, LONG],
        *[["list"], ["list", 1], ["list", FIELD, 10**9], ["list", FIELD, 10**30], ["list", FIELD, "x"]],
        *[["list", FIELD, 0], ["list", ["i", ["list", FIELD, 0], True]]],
        ["list", ["i", ["list", FIELD, 60_000], True], 60_000],
        ["struct", ["i", ["binary", 60_000], True], ["j", ["binary", 60_000], True]],
        ["struct", ["\ud800", "int8", True]],
        *[["binary", 10**9], ["binary", -2], ["binary", "x"]],
        *[["decimal128", 99, 2], ["decimal128"], ["decimal128", "x", 1], ["time", "h"], ["timestamp", "h", None]],
    ],
    "columns.0.dtype": [
        *[3, [], {}, [3], "nope", "S8", "V999999999", "object", "category", "i4,i4"],
        *["period[D]", "interval", "Sparse[int]", "datetime64[us, Mars]"],
        *[["category"], ["category", {}], ["category", 3], ["category", []], ["category", {"values": ["a"]}]],
        *[category(values=values) for values in (["0", "1", "2", "2"], [1], "x", None, ["x"], ["9" * 30])],
        *[category(dtype=dtype) for dtype in ("nope", ["category"])],
    ],
    "labels": [
        *[3, [1], "int64", {}, {"dtype": "str"}, {"names": 3, "dtype": "str"}],
        *[{"names": [], "dtype": "str"}, {"names": [["a"]], "dtype": "str"}],
    ],
    "origin": [3, 0, [], {}, {"id": "x", "added": 0}, {"id": 10**11, "added": 0}],
    "origin.added": ["x", -5, 1.5, float("inf"), float("nan"), None],
}
BROKEN: list[bytes | Callable[[dict[str, Any]], object]] = [
    *[b"", b"null", b"[]", b'"x"', b"\xff\0"],
    *[b"[" * 100_000, b'{"walrus_ts":' * 50_000, b'{"walrus_ts":' + b"9" * 5_000 + b"}"],
    *[changed(path, value) for path, values in JUNK.items() for value in values],
]


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_broken_schema_record(stream: TimeSeriesStream, number: int) -> None:
    """A schema record that is broken is an error that names it; the cure in it works."""
    name = Records(str(stream.key).encode()).schema
    change, record = BROKEN[number], stream.database.get(name)
    assert isinstance(record, bytes)
    stream.database.set(name, change if isinstance(change, bytes) else json.dumps(change(json.loads(record))))
    found = problems(stream)
    error = found["frame"]
    assert isinstance(error, DataError)
    assert error.key == name
    assert name.decode() in str(error)
    assert {type(found[call]) for call in ("tail", "frames", "group", "batches")} == {DataError}
    if "Upgrade" not in str(error):
        assert f"`stream.database.delete({name.decode()!r})`" in str(error)
    stream.database.delete(name)
    assert stream.frame(stop="2024-01-02")["x"].tolist() == ["0", "1", "2", "0", "1"]


@pytest.mark.parametrize("zone", ["Mars/Base", "../../../etc/passwd", LONG, "a\0b", "+99:99"])
def test_zone_that_there_is_not(stream: TimeSeriesStream, zone: str) -> None:
    """A zone that is not known here is an error that names the record; `declare` names another."""
    name = Records(str(stream.key).encode()).schema
    stream.database.set(name, json.dumps(changed("index.zone", zone)(json.loads(stream.database.get(name) or b""))))
    error = problems(stream)["frame"]
    assert isinstance(error, DataError)
    assert error.key == name
    assert "tzdata" in str(error)
    stream.declare({"x": "int64"}, tz="UTC")
    assert stream.frame()["x"].tolist()[:5] == [0, 1, 2, 0, 1]


TYPES = ["bool", "date32", "null", ["time", "us"], ["timestamp", "us", None], ["list", FIELD], ["struct", FIELD]]
CONTRADICTING = [
    *[changed("columns.0.type", type_) for type_ in TYPES],
    changed("columns.0.field", "another"),
    changed("origin.id", "18446744073709551615-0"),
    changed("origin.added", 10**30),
]


@pytest.mark.parametrize("number", range(len(CONTRADICTING)))
def test_record_of_other_data(stream: TimeSeriesStream, number: int) -> None:
    """A record that contradicts the data is an error that names the stream, or no record of this stream."""
    name = Records(str(stream.key).encode()).schema
    record = json.loads(stream.database.get(name) or b"")
    record["columns"][0]["dtype"] = None
    stream.database.set(name, json.dumps(CONTRADICTING[number](record)))
    found = problems(stream)
    if "frame" in found:
        assert isinstance(found["frame"], DataError)
        assert str(stream.key) in str(found["frame"])
    else:
        assert stream.frame(stop="2024-01-02")["x"].astype(int).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("part", ["rows", "stored", "late", "added", "first", "begun", "fields", "first_id", "origin"])
def test_broken_load(stream: TimeSeriesStream, part: str) -> None:
    """The record of a load that is broken is an error that names the hash of loads."""
    name = Records(str(stream.key).encode()).loads
    record = json.loads(stream.database.hget(name, "2") or b"")
    for junk in (-1, 1.5, "\ud800", 10**30, {"": 1}, [[]]):
        stream.database.hset(name, "2", json.dumps({**record, part: junk}))
        for call in (stream.loads, lambda: stream.append(ticks(2, "2024-01-02"), load="2")):
            with pytest.raises(DataError) as caught:
                call()
            assert caught.value.key == name


@pytest.mark.parametrize("junk", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b"1" * 5_000])
def test_no_load(stream: TimeSeriesStream, junk: bytes) -> None:
    """So is what is no record at all."""
    name = Records(str(stream.key).encode()).loads
    stream.database.hset(name, "2", junk)
    assert {call: error.key for call, error in problems(stream).items()} == {"loads": name, "load": name}


LETTER = {"id": "1704067200000-0", "deliveries": "1", "group": "research", "consumer": "c", "reason": "r", ".x": "1"}


@pytest.mark.parametrize(
    "junk",
    [
        {"a": "b"},
        *({**LETTER, "id": id_} for id_ in ("", b"\xff", "x\r\n", "+", "$", "1-2-3", "18446744073709551616-0", "1_0")),
        *({**LETTER, "deliveries": number} for number in ("", "x", "-1", "1_0", "9" * 30, "9" * 5_000)),
        *({name: value for name, value in LETTER.items() if name != part} for part in list(LETTER)[:5]),
    ],
)
def test_no_dead_letter(stream: TimeSeriesStream, junk: dict[Any, Any]) -> None:
    """What is no dead letter among them is an error that names their key and the entry."""
    name = Records(str(stream.key).encode()).dead
    entry = stream.database.xadd(name, junk)
    found = problems(stream)
    assert {call: (error.key, error.id) for call, error in found.items()} == {
        call: (name, entry.decode()) for call in ("dead letters", "replay")
    }


def test_strange_dead_letters(stream: TimeSeriesStream) -> None:
    """Dead letters of any bytes, of a group that there is not, and of many fields, are shown."""
    name = Records(str(stream.key).encode()).dead
    for part in ("group", "consumer", "reason", ".x"):
        stream.database.xadd(name, {**LETTER, part: b"\xff\r\n\0" * 1_000})
    stream.database.xadd(name, {**LETTER, b".\xff": b"\xff", "..": "2", ".": "3", "": "4"})
    stream.database.xadd(name, {**LETTER, **{f".c{n}": "1" for n in range(5_000)}})
    assert len(stream.dead_letters()) == 6
    with pytest.raises(WalrusTSError):
        stream.replay_dead()
    stream.database.delete(name)


@pytest.mark.parametrize("record", ["schema", "loads", "dead"])
def test_record_of_another_type(stream: TimeSeriesStream, record: str) -> None:
    """A key of another type in a record's place is the server's own error, with the key in it."""
    name: bytes = getattr(Records(str(stream.key).encode()), record)
    call = {"schema": "frame", "loads": "loads", "dead": "dead letters"}[record]
    stream.database.delete(name)
    stream.database.sadd(name, "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE") as caught:
        calls(stream)[call]()
    assert name.decode() in str(caught.value)


def test_values_of_a_fixed_size(stream: TimeSeriesStream) -> None:
    """A type of whose nulls each takes much memory is refused when it is written, too."""
    table = pa.table({"t": pa.array(ticks(1).index), "x": pa.array([b"x" * 70_000], pa.binary(70_000))})
    with pytest.raises(UsageError, match=r"fixed size 70000.*65536.*pa\.binary\(\)"):
        stream.append(table)
