"""The live view: what it shows of new rows, how it goes on, and how it ends."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest

import walrus_ts
from tests.helpers import wait_until
from tests.own_server import own_server
from tests.page import HOSTILE, Page
from tests.terminal import run_in_terminal
from walrus_ts import Database, DataError, Live, SchemaError, TimeSeriesStream, UsageError

ROOT = Path(__file__).parents[2]
READS = {"xinfo|stream", "get", "xrange", "xrevrange", "echo", "info", "hello", "client|setinfo"}


def frame(rows: int, start: str = "2024-01-01", freq: str = "s", **columns: Any) -> pd.DataFrame:
    """Make a frame."""
    index = pd.date_range(start, periods=rows, freq=freq, name="at")
    return pd.DataFrame({"price": np.arange(rows) / 2, "side": "buy"} | columns, index=index)


def drawn(live: Live) -> dict[str, list[float]]:
    """Return the values of the lines in the chart, by stream and column."""
    lines = [line for follower in live._view._followers for line in follower.lines()]
    return {f"{line.stream} {line.column}": line.values.tolist() for line in lines}


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream with nothing in it."""
    [stream] = db.time_series("research", [key("ticks")]).streams.values()
    return stream


@pytest.fixture
def live(stream: TimeSeriesStream) -> Iterator[Live]:
    """Follow a stream of ten rows."""
    stream.append(frame(10))
    with stream.live(every=0.1) as live:
        yield live


def test_new_rows(stream: TimeSeriesStream, live: Live) -> None:
    """Rows that come while it runs are in its table and its chart, until it is stopped."""
    assert live.running
    pd.testing.assert_frame_equal(live.frame, stream.frame(), check_freq=False)
    stream.append(frame(5, "2024-01-01 00:01", price=7.5))
    wait_until(lambda: live.frame["price"].tolist()[-5:] == [7.5] * 5)
    assert drawn(live)[f"{stream.key} price"][-6:] == [4.5] + [7.5] * 5
    assert re.fullmatch(rf"<Live of {stream.key}: following, 5 new rows, [\d,]+ rows/s>", repr(live))
    live.stop()
    live.stop()
    assert not live.running
    assert live.error is None
    stream.append(frame(1, "2024-01-01 00:02"))
    assert live.frame["price"].iloc[-1] == 7.5
    assert repr(live) == f"<Live of {stream.key}: stopped, 5 new rows>"
    assert str(live).startswith(repr(live))
    assert str(live).endswith("2024-01-01 00:01:04    7.5  buy")


def test_deleted_rows(stream: TimeSeriesStream) -> None:
    """Rows that are deleted while it runs leave its table and its chart; those that come then follow."""
    stream.append(frame(100))
    with stream.live(every=0.1) as live:
        stream.delete_range("2024-01-01 00:00:30", None)
        wait_until(lambda: drawn(live) == {f"{stream.key} price": (np.arange(30) / 2).tolist()})
        wait_until(lambda: live.frame.index.equals(stream.tail(10).index))
        stream.delete_range("2024-01-01 00:00:10", "2024-01-01 00:00:19")
        wait_until(lambda: len(drawn(live)[f"{stream.key} price"]) == 20)
        stream.append(frame(1, "2024-01-01 00:02", price=7.5))
        wait_until(lambda: live.frame["price"].iloc[-1] == 7.5)
        stream.delete_range(None, None)
        wait_until(lambda: live.frame.empty and not drawn(live))


def test_window(stream: TimeSeriesStream) -> None:
    """The chart reaches back from the newest row, the table has the last rows."""
    stream.append(frame(1_000))
    with stream.live(window="100s", rows=3, every=0.1) as live:
        assert drawn(live)[f"{stream.key} price"] == (np.arange(900, 1_000) / 2).tolist()
        assert live.frame.index.equals(stream.tail(3).index)
        stream.append(frame(60, "2024-01-01 00:17"))
        wait_until(lambda: len(live.frame) and live.frame.index[-1] == pd.Timestamp("2024-01-01 00:17:59"))
        [values] = drawn(live).values()
        assert values == (np.r_[np.arange(980, 1_000), np.arange(60)] / 2).tolist()


def test_memory_is_bounded(stream: TimeSeriesStream) -> None:
    """However many rows a window has, a line has no more points than were asked for, and all its peaks."""
    random = np.random.default_rng(5)
    prices = random.normal(size=60_000)
    prices[[12_345, 50_000]] = 1e6, -1e6
    stream.append(frame(30_000, freq="10ms", price=prices[:30_000]))
    with stream.live(window="10min", max_points=100, every=0.1) as live:
        stream.append(frame(30_000, "2024-01-01 00:05", "10ms", price=prices[30_000:]))
        wait_until(
            lambda: min(*drawn(live).values(), default=0) == -1e6 or min(next(iter(drawn(live).values()))) == -1e6
        )
        [values] = drawn(live).values()
        assert 50 < len(values) <= 100
        assert max(values) == 1e6
        assert set(values) <= set(prices)
        size = len(live._view.html())
        stream.append(frame(60_000, "2024-01-01 00:10", "10ms", price=prices))
        wait_until(lambda: live.frame.index[-1] == pd.Timestamp("2024-01-01 00:19:59.990"))
        assert len(live._view.html()) < 1.2 * size


def test_columns(stream: TimeSeriesStream) -> None:
    """Columns may be chosen: the table has them all, the chart those of numbers and bools."""
    stream.append(frame(3, on=[True, False, True], n=pd.array([1, None, 3], "Int64"), far=[1.0, np.inf, 2.0]))
    with stream.live(["on", "side", "n", "far"]) as live:
        assert list(live.frame.columns) == ["on", "side", "n", "far"]
        lines = {
            name.rpartition(" ")[2]: np.nan_to_num(values, nan=-1).tolist() for name, values in drawn(live).items()
        }
        assert lines == {"on": [1, 0, 1], "n": [1, -1, 3], "far": [1, -1, 2]}
    with stream.live() as live:
        assert [name.rpartition(" ")[2] for name in drawn(live)] == ["price", "n", "far"]


def test_group(db: Database, key: Callable[..., str]) -> None:
    """A group's streams are lines of one panel, and rows of one table; a stream may come later."""
    one, two = key("one"), key("two")
    series = db.time_series("research", [one, two])
    series[one].append(frame(3))
    with series.live(every=0.1, rows=4) as live:
        assert list(drawn(live)) == [f"{one} price"]
        series[two].append(frame(3, "2024-01-01 00:00:01"))
        wait_until(lambda: len(live.frame) == 4)
        pd.testing.assert_frame_equal(live.frame, series.frame().iloc[-4:], check_freq=False)
        assert list(drawn(live)) == [f"{one} price", f"{two} price"]
        assert live._view.html().count("<svg") == 1
        assert live._view.html().count("<path") == 2
        with pytest.raises(UsageError, match="no stream of the time series has a column 'z'"):
            series.live(["z"])


def test_wrong_calls(stream: TimeSeriesStream, db: Database, key: Callable[..., str]) -> None:
    """What cannot be followed is refused at once, and nothing runs."""
    stream.append(frame(3))
    with pytest.raises(UsageError, match="has no column 'z'"):
        stream.live(["z"])
    for window in ("rubbish", "-5min", 0, None, "NaT", 5, 2.5, "5", "+5", np.int64(5), True):
        with pytest.raises(UsageError, match="window is a length of time"):
            stream.live(window=window)
    for every in (0, 0.05, "1s", True, 86_400):
        with pytest.raises(UsageError, match="every is a number of seconds"):
            stream.live(every=every)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_points"):
        stream.live(max_points=1)
    for name in ("max_points", "rows"):
        for number in (None, -1):  # and None is none of what the error offers
            with pytest.raises(UsageError, match=rf"{name} is a whole number, \d or greater \(.*\); found {number}"):
                stream.live(**{name: number})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at most 106,751 days; found '1000000D'"):
        stream.live(window="1000000D")
    with pytest.raises(UsageError, match="errors is"):
        stream.live(errors="ignore")  # type: ignore[arg-type]
    zoned = key("zoned")
    series = db.time_series("research", [stream.key, zoned])
    series[zoned].append(frame(3).tz_localize("UTC"))
    with pytest.raises(SchemaError, match="different zones"):
        series.live()


@pytest.mark.parametrize("window", ["1ns", "100000D", pd.Timedelta(days=2), np.timedelta64(10**12, "s")])
@pytest.mark.parametrize("start", ["1970-01-01", "2024-01-01"])
def test_any_window(stream: TimeSeriesStream, start: str, window: Any) -> None:
    """Windows may be as short and as long as a Timedelta is."""
    stream.append(frame(3, start, "s"))
    with stream.live(window=window) as live:
        assert "<path" in live._view.html()


def test_nanoseconds(stream: TimeSeriesStream) -> None:
    """Points that are nanoseconds apart are drawn apart."""
    stream.append(frame(3, "2024-01-01", "ns").set_axis(pd.date_range("2024-01-01", periods=3, freq="ns", unit="ns")))
    with stream.live(window="10ns") as live:
        [path] = re.findall(r'd="M([\d.]+),[^L]*L([\d.]+),[^L]*L([\d.]+),', live._view.html())
    assert np.diff([float(x) for x in path]).tolist() == pytest.approx([56.8, 56.8], abs=0.2)


def test_reads_only(stream: TimeSeriesStream, server: Database) -> None:
    """It writes nothing, and needs no group."""
    stream.append(frame(3))

    def calls() -> dict[str, int]:
        statistics = server.info("commandstats")
        return {name.removeprefix("cmdstat_"): counts["calls"] for name, counts in statistics.items()}

    before = calls()
    with stream.live(every=0.1):
        wait_until(lambda: calls()["xinfo|stream"] > before.get("xinfo|stream", 0) + 3)
    assert {name for name, count in calls().items() if count > before.get(name, 0)} <= READS


def test_nothing_new_costs_a_look(stream: TimeSeriesStream, server: Database) -> None:
    """Without new rows nothing is read but the stream's state and its record."""
    stream.append(frame(3))

    def calls(name: str) -> int:
        return int(server.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"])

    with stream.live(every=0.1):
        looks, reads = calls("xinfo|stream"), calls("xrange") + calls("xrevrange")
        wait_until(lambda: calls("xinfo|stream") > looks + 5)
        assert calls("xrange") + calls("xrevrange") == reads


def test_another_stream(stream: TimeSeriesStream, live: Live) -> None:
    """Where the stream is deleted and made anew, also with other columns, its new rows are shown."""
    stream.drop()
    wait_until(lambda: live.frame.empty)
    stream.append(frame(2, "2023-01-01", n=[1, 2]))
    wait_until(lambda: live.frame.get("n", pd.Series()).tolist() == [1, 2])
    assert list(drawn(live)) == [f"{stream.key} price", f"{stream.key} n"]
    stream.append(frame(2, "2023-01-02", n=1, z=[0.5, 1.5]), evolve=True)
    wait_until(lambda: "z" in live.frame and live.frame["z"].iloc[-1] == 1.5)
    assert live.running


def test_a_stream_without_a_record(stream: TimeSeriesStream, db: Database) -> None:
    """A stream of another program's is a table of text, and has a chart from when its columns are declared."""
    db.xadd(stream.key, {"price": "1.5"}, id="5-0")
    with stream.live(every=0.1) as live:
        assert live.frame["price"].tolist() == ["1.5"]
        assert drawn(live) == {}
        stream.declare({"price": "float64"})
        wait_until(lambda: drawn(live) == {f"{stream.key} price": [1.5]})


def test_a_bad_value_ends_it(stream: TimeSeriesStream, db: Database, live: Live) -> None:
    """A value that does not fit its column ends it, is shown, and is raised by `stop`; `errors` makes a null of it."""
    db.xadd(stream.key, {"price": "n/a", "side": "buy"})
    wait_until(lambda: not live.running)
    assert isinstance(live.error, DataError)
    assert "ended by an error: DataError: column" in Page(live._view.html()).text
    with pytest.raises(DataError, match="n/a"):
        live.stop()
    live._error = None  # the fixture stops it once more
    with stream.live(errors="coerce") as other:
        assert np.isnan(other.frame["price"].iloc[-1])
    with pytest.raises(ZeroDivisionError), stream.live(errors="coerce") as other:
        raise ZeroDivisionError


def test_a_lost_connection(tmp_path: Path) -> None:
    """While the server is away the view says so; when it is back, what came meanwhile follows."""
    with own_server(tmp_path) as server, walrus_ts.connect(server.url) as db:
        stream = db.time_series("g", ["ticks"])["ticks"]
        stream.append(frame(3))
        live = stream.live(every=0.1)
        server.kill()
        wait_until(lambda: "connection lost, trying again" in repr(live), timeout=60)
        assert "connection lost" in live._view.html()
        assert len(live.frame) == 3
        server.start()
        with walrus_ts.connect(server.url) as other:
            other.time_series("g", ["ticks"])["ticks"].append(frame(2, "2024-01-01 00:01", price=8.0))
        wait_until(lambda: live.frame["price"].tolist()[-2:] == [8, 8], timeout=60)
        wait_until(lambda: "following, 2 new rows" in repr(live))
        live.stop()


def test_closing_the_database_ends_it(url: str, key: Callable[..., str]) -> None:
    """With its database it is closed."""
    name = key()
    with walrus_ts.connect(url) as db:
        db.time_series("g", [name])[name].append(frame(3))
        live = db.time_series("g", [name]).live(every=0.1)
        assert not live.wait(0.01)
    assert live.wait(60)
    assert repr(live) == "<Live of g: ended: its database was closed, 0 new rows>"
    assert live.error is None


def test_hostile_names_and_values(db: Database, key: Callable[..., str]) -> None:
    """Whatever keys, columns, index and values are: no markup of theirs gets through."""
    series = db.time_series(HOSTILE, [key(HOSTILE), key("other")])
    for stream in series.streams.values():
        index = pd.date_range("2024", periods=2, freq="h", name=HOSTILE)
        stream.append(pd.DataFrame({HOSTILE: [1.0, 2.0], "</style>": HOSTILE}, index=index))
    with series.live() as live:
        page = Page(live._view.html())
    assert not page.tags & {"script", "img"}
    assert {"svg", "path", "text", "line"} <= page.tags
    assert not {name for name, _ in page.attributes} & {"onerror", "src"}


PROGRAM = """
import time
import pandas as pd
import walrus_ts as wts

stream = wts.connect({url!r}).time_series("g", [{name!r}])[{name!r}]
live = stream.live(every=0.1, rows=3)
for at in range(3):
    stream.append(pd.DataFrame({{"price": [at + 0.25] * 4, "side": "sell"}},
                               pd.date_range(f"2024-01-0{{2 + at}}", periods=4, freq="s", name="at")))
    while live.frame["price"].iloc[-1] != at + 0.25:
        time.sleep(0.02)
{end}
"""


def test_in_a_terminal(stream: TimeSeriesStream, url: str) -> None:
    """In a terminal new rows are written below those before, and those that are too many are counted."""
    stream.append(frame(10))
    lines = run_in_terminal(PROGRAM.format(url=url, name=stream.key, end="live.stop()")).splitlines()
    assert lines[0].startswith(f"<Live of {stream.key}: following")
    assert lines[1].split() == ["price", "side"]
    rows = [line.split()[2:] for line in lines if line.startswith("2024-")]
    assert rows == [[str(value / 2), "buy"] for value in (7, 8, 9)] + [
        [f"{at}.25", "sell"] for at in range(3) for _ in range(3)
    ]
    assert lines.count("... 1 more row") == 3
    assert len({line.rindex(" ") for line in lines if line.startswith("2024-") and "sell" in line}) == 1
    assert lines[-1] == f"<Live of {stream.key}: stopped, 12 new rows>"


def test_a_slow_stream_in_a_terminal(db: Database, key: Callable[..., str], url: str) -> None:
    """In a terminal each row is written once, also where a stream's new rows are older than another's."""
    early, late = key("early"), key("late")
    series = db.time_series("g", [early, late])
    series[early].append(frame(2, price=[1.0, 2.0]))
    series[late].append(frame(2, "2025-01-01", price=[10.0, 20.0]))
    lines = run_in_terminal(f"""
import walrus_ts as wts, pandas as pd, time
db = wts.connect({url!r})
series = db.time_series("g", [{early!r}, {late!r}])
with series.live(["price"], every=0.1, rows=4) as live:
    for at in (3.0, 4.0):
        index = pd.DatetimeIndex([f"2024-01-0{{at:.0f}}"], name="at")
        series[{early!r}].append(pd.DataFrame({{"price": [at], "side": "buy"}}, index))
        while at not in live.frame["price"].tolist():
            time.sleep(0.02)
""").splitlines()
    prices = [float(line.split()[-1]) for line in lines if line.startswith("202")]
    assert prices == [1, 2, 10, 20, 3, 4]


@pytest.mark.parametrize("end", ["live.stop()", ""])
def test_where_nobody_watches(stream: TimeSeriesStream, url: str, end: str) -> None:
    """A program whose output goes to a file shows nothing of it, and ends, stopped or not."""
    stream.append(frame(10))
    code = PROGRAM.format(url=url, name=stream.key, end=end)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    assert done.stdout == ""
    assert done.stderr == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # the kernel's manager's own
def test_in_a_kernel(stream: TimeSeriesStream, url: str) -> None:
    """In a notebook the output of its cell goes on changing while other cells run; naming it shows it again."""
    stream.append(frame(10))
    program, _, appends = PROGRAM.format(url=url, name=stream.key, end="").partition("live = ")
    first, _, appends = appends.partition("\n")
    cells = [program, f"live = {first}\nlive", appends, "live", "live.stop()", "print(live.running, live.error)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    outputs = [[*cell.outputs] for cell in notebook.cells]
    assert [len(output) for output in outputs] == [0, 1, 0, 1, 0, 1]
    assert outputs[5][0].text == "False None\n"
    for [shown] in (outputs[1], outputs[3]):
        assert shown.output_type == "display_data"
        assert "stopped · 12 new rows" in shown.data["text/html"]
        assert "<svg" in shown.data["text/html"]
        assert shown.data["text/html"].count("<td>sell</td>") == 3
        assert shown.data["text/plain"].startswith(f"<Live of {stream.key}: stopped")
