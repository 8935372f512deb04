"""What objects look like in a notebook: escaped, without a look at rows, and without an error."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import walrus_ts
from tests.page import HOSTILE, Page
from walrus_ts import Database, TimeSeriesStream

TAGS = {"div", "style", "p", "strong", "span", "table", "thead", "tbody", "tr", "th", "td"}
METADATA = {"xinfo|stream", "xinfo|groups", "memory|usage", "get", "echo", "info", "hello", "client|setinfo"}


def shown(thing: Any) -> Page:
    """Show an object as a notebook does."""
    return Page(thing._repr_html_())


def frame(rows: int, start: str = "2024-01-01", tz: str | None = None) -> pd.DataFrame:
    """Make a frame, a row an hour."""
    return pd.DataFrame({"price": 0.5}, index=pd.date_range(start, periods=rows, freq="h", tz=tz))


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream of 25 rows, the first day of 2024, that its group has read the half of."""
    [stream] = db.time_series("research", [key("ticks")], consumer="w1").streams.values()
    stream.append(frame(25))
    db.xgroup_create(stream.key, "research", "0-0")
    stream.read(13)
    return stream


@pytest.mark.parametrize(
    "make",
    [
        lambda db, key: db,
        lambda db, key: db.Stream(key),
        lambda db, key: db.consumer_group(HOSTILE, [key], HOSTILE),
        lambda db, key: db.consumer_group(HOSTILE.encode() + b"\xff", [key], b"\xff")[key],
        lambda db, key: db.time_series(HOSTILE, [key, key + "none"], HOSTILE),
        lambda db, key: db.time_series(HOSTILE, [key])[key],
        lambda db, key: db.time_series(HOSTILE, [key])[key].schema,
        lambda db, key: db.time_series(HOSTILE, [key])[key].scan(columns=[HOSTILE]),
        lambda db, key: db.time_series(HOSTILE, [key])[key].scan(HOSTILE),
        lambda db, key: walrus_ts.Appended(1, 0, "5-1", "5-1"),
    ],
    ids=["db", "stream", "group", "group-stream", "series", "ts-stream", "schema", "scan", "bad-scan", "appended"],
)
def test_hostile_names(make: Callable[..., Any], db: Database, key: Callable[..., str]) -> None:
    """Whatever keys, columns, index, groups and consumers are called: no markup of theirs gets through."""
    [stream] = db.time_series(HOSTILE, [key(HOSTILE)]).streams.values()
    index = pd.date_range("2024", periods=2, freq="h", name=HOSTILE)
    stream.append(pd.DataFrame({HOSTILE: [HOSTILE] * 2, "</style>": 1}, index=index))
    db.xgroup_create(stream.key, HOSTILE, "0-0")
    db.xgroup_create(stream.key, b"\xff<b>", "0-0")
    page = shown(make(db, stream.key))
    assert page.tags <= TAGS
    assert {name for name, _ in page.attributes} <= {"class", "style", "title", "role", "aria-label", "colspan"}
    assert "\u202e" not in page.text
    assert page.text.isascii() or set(page.text) - set(map(chr, range(128))) <= set("·…")


def test_hostile_values(db: Database, key: Callable[..., str]) -> None:
    """A batch shows the values of its rows escaped."""
    series = db.time_series("research", [key()])
    [stream] = series.streams.values()
    stream.append(pd.DataFrame({HOSTILE: [HOSTILE]}, index=pd.DatetimeIndex(["2024-01-01"])))
    series.create()
    with series.consumer("w1").batches(wait=0) as batches:
        page = shown(next(batches))
        assert repr(batches) == f"<Batches of 'research' on {stream.key!r}, consumer 'w1'>"
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "1 row · 1 open" in page.text


def test_costs_no_scan(stream: TimeSeriesStream, db: Database, server: Database) -> None:
    """Showing objects asks for metadata alone, however long the streams are."""
    series = db.time_series("research", [stream.key])
    things = [db, db.Stream(stream.key), stream, series, stream.scan("2024"), stream.schema]

    def calls() -> dict[str, int]:
        statistics = server.info("commandstats")
        return {name.removeprefix("cmdstat_"): counts["calls"] for name, counts in statistics.items()}

    before = calls()
    for thing in things:
        thing._repr_html_()
    after = calls()
    assert {name for name, count in after.items() if count > before.get(name, 0)} <= METADATA


def test_stream(stream: TimeSeriesStream) -> None:
    """A stream shows its length, its span, how far groups have read, and its columns."""
    page = shown(stream)
    assert "consumer w1 of the group research" in page.text
    assert "25 rows" in page.text
    assert "2024-01-01 00:00:00 … 2024-01-02 00:00:00 (naive)" in page.text
    assert re.search(r"research +1 +13 +12 +2024-01-01 12:00:00", page.text)
    assert ("style", "left:0.00%;width:50.00%") in page.attributes
    assert "price double" in page.text


def test_group(stream: TimeSeriesStream, db: Database, key: Callable[..., str]) -> None:
    """A group shows how it stands with each stream, and the spans of all of them on one axis."""
    other, none, text = key("other"), key("none"), key("text")
    series = db.time_series("research", [stream.key, other, none, text])
    series[other].append(frame(13, "2024-01-02 12:00"))
    db.set(text, "no stream")
    page = shown(series)
    bars = [value for name, value in page.attributes if name == "style"]
    assert bars == ["left:0.00%;width:50.00%", "left:75.00%;width:25.00%"]
    assert re.search(rf"{stream.key} +25 .* 12 +13 +1 ", page.text)
    assert "the group is not created" in page.text
    assert f"{none} does not exist yet" in page.text
    assert f"{text} WRONGTYPE" in page.text


def test_group_of_many_streams(db: Database) -> None:
    """Of a group over very many streams, the first ones are asked about and shown."""
    page = shown(db.consumer_group("g", [f"none-{at}" for at in range(1_000)]))
    assert "none-29 does" in page.text
    assert "none-30 " not in page.text
    assert "and 970 more" in page.text


def test_zone(db: Database, key: Callable[..., str]) -> None:
    """Times are shown in the zone in which frames come back."""
    name = key()
    db.time_series("g", [name])[name].append(frame(2, tz="Europe/Oslo"))
    assert "2024-01-01 00:00:00 … 2024-01-01 01:00:00 (Europe/Oslo)" in shown(db.Stream(name)).text
    assert "2024-01-01 08:00:00" in shown(db.time_series("g", [name], tz="Asia/Tokyo")).text


def test_scan(stream: TimeSeriesStream) -> None:
    """A scan shows its range as a part of the stream."""
    scan = stream.scan("2024-01-01 06:00", "2024-01-01 12:00", columns=["price"], limit=5)
    page = shown(scan)
    assert "times: naive" in page.text
    assert "columns &#x27;price&#x27; · 5 rows at most" in scan._repr_html_()
    assert ("style", "left:25.00%;width:25.07%") in page.attributes
    assert repr(scan).endswith("from '2024-01-01 06:00' to '2024-01-01 12:00', columns 'price', 5 rows at most>")
    assert repr(stream.scan()).endswith("from its beginning to its end>")
    assert "UsageError: the bound 'rubbish' is no date" in shown(stream.scan("rubbish")).text


def test_schema(stream: TimeSeriesStream) -> None:
    """A schema is a small table, as text and as HTML; fields are shown where they differ from the labels."""
    assert repr(stream.schema).splitlines()[2].split() == ["'price'", "double", "yes", "'price'"]
    page = shown(stream.schema)
    assert "index [" in page.text
    assert "field" not in page.text
    stream.append(pd.DataFrame({"price": [1.0], "": 1}, index=pd.DatetimeIndex(["2025"])), evolve=True)
    assert "field" in shown(stream.schema).text


def test_appended(stream: TimeSeriesStream) -> None:
    """What an append has done is shown with the times of its ids."""
    page = shown(stream.append(frame(30), late="skip"))
    assert "6 rows stored · 24 late ones skipped" in page.text
    assert "1704153600000-1 2024-01-02 00:00:00" in page.text
    assert "0 rows stored" in shown(walrus_ts.Appended(0)).text


def test_server_that_is_not_there() -> None:
    """Where the server cannot be reached, objects say so; no password shows."""
    with walrus_ts.connect("redis://me:secret@127.0.0.1:1/3") as db:
        series = db.time_series("g", ["a"])
        for thing in [db, db.Stream("a"), series, series.a, series.a.scan()]:
            html = thing._repr_html_()
            assert "the server cannot be reached: ConnectionError" in html
            assert "secret" not in html + repr(thing)


def test_what_cannot_be_read(db: Database, key: Callable[..., str]) -> None:
    """A broken record, an id behind the year 9999 and a zone that there is not are shown for what they are."""
    broken, far, nowhere = key("broken"), key("far"), key("nowhere")
    db.xadd(broken, {"a": 1}, id="5-1")
    db.set(f"walrus_ts:schema:{{{broken}}}:{broken}", "<b>")
    assert "DataError" in shown(db.Stream(broken)).text
    db.xadd(far, {"a": 1}, id=f"{2**64 - 1}-{2**64 - 1}")
    assert str(2**64 - 1) in shown(db.Stream(far)).text
    stream = db.time_series("g", [nowhere])[nowhere]
    stream.append(frame(1, tz="UTC"))
    record = f"walrus_ts:schema:{{{nowhere}}}:{nowhere}"
    db.set(record, db.get(record).replace(b'"UTC"', b'"No/Where"'))
    assert "No/Where" in shown(stream).text
    assert "No/Where" in shown(stream.scan()).text


def test_bytes_that_are_no_text(db: Database) -> None:
    """Keys and groups may be any bytes."""
    group = db.time_series(b"\xfe", [b"\xff"])
    assert r"\xff" in shown(group).text
    assert r"\xfe" in shown(group[b"\xff"]).text


def test_nothing_is_imported_before_it_is_used() -> None:
    """`import walrus_ts` imports nothing of the notebook."""
    names = "tqdm", "matplotlib", "IPython", "walrus_ts.notebook"
    code = f"import sys, walrus_ts; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
