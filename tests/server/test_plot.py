"""Plots: the points of every line, and what is refused."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.dates import num2date

import walrus_ts
from walrus_ts import Database, SchemaError, TimeSeriesStream, UsageError

START = "2024-10-26 18:00"


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """Draw into memory."""
    mpl.use("agg")
    yield
    pyplot.close("all")


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream with nothing in it."""
    [stream] = db.time_series("research", [key("ticks")]).streams.values()
    return stream


def times(rows: int, freq: str = "s", **options: Any) -> pd.DatetimeIndex:
    """Make an index."""
    return pd.date_range(START, periods=rows, freq=freq, **options)


def points(ax: Any) -> dict[str, pd.Series]:
    """Return the lines that were drawn."""
    return {
        line.get_label(): pd.Series(line.get_ydata(), pd.DatetimeIndex(line.get_xdata(orig=True))) for line in ax.lines
    }


def texts(ax: Any) -> list[str]:
    """Return what the legend says, once all is drawn."""
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_few_rows(stream: TimeSeriesStream) -> None:
    """Of few rows all points are drawn, those at one time, too; columns that are no numbers are left out."""
    index = times(3).append(times(1) + pd.Timedelta(seconds=2))
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "n": [1, 2, 3, 4], "side": "buy", "on": True}, index=index)
    stream.append(frame)
    ax = stream.plot()
    drawn = points(ax)
    assert texts(ax) == ["a", "n"]
    assert drawn["a"].tolist() == [1, 2, 3, 4]
    assert drawn["n"].index.tolist() == index.tolist()


def test_peaks_stay(stream: TimeSeriesStream) -> None:
    """Of many rows the peaks of each stretch of time stay, at their own times, in no more than `max_points` points."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"walk": random.normal(size=40_000).cumsum(), "flat": 0.0, "count": random.integers(0, 9, 40_000)},
        index=times(40_000),
    )
    frame.iloc[12_345, 1], frame.iloc[31_007, 1] = 1e6, -1e6
    stream.append(frame)
    drawn = points(stream.plot(max_points=200))
    for label, column in frame.items():
        line = drawn[str(label)]
        assert len(line) <= 200
        assert line.index.is_monotonic_increasing
        for stretch, rows in column.groupby(np.arange(40_000) // 400):
            shown = line[rows.index[0] : rows.index[-1]]
            assert (shown.min(), shown.max()) == (rows.min(), rows.max()), stretch
        assert column[line.index].tolist() == line.tolist()


def test_ranges_and_columns(stream: TimeSeriesStream) -> None:
    """A range and columns may be chosen; bools are drawn where they are asked for."""
    stream.append(pd.DataFrame({"a": 1.0, "b": 2.0, "on": [True, False] * 5}, index=times(10)))
    drawn = points(stream.plot(f"{START}:03", f"{START}:06", ["on", "a"]))
    assert list(drawn) == ["on", "a"]
    assert drawn["on"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("max_points", [2_000, 20])
def test_gaps(stream: TimeSeriesStream, max_points: int) -> None:
    """Nulls, NaN and infinity are gaps."""
    frame = pd.DataFrame({"a": 1.0, "n": pd.array([1] * 100, "Int64"), "d": [Decimal("1.5")] * 100}, index=times(100))
    frame.iloc[40:60, 0] = np.inf
    frame.iloc[40:60, 1] = pd.NA
    frame.iloc[40:60, 2] = None
    stream.append(frame)
    for line in points(stream.plot(max_points=max_points)).values():
        inside = line[f"{START}:40" : f"{START}:59"]
        assert len(inside)
        assert inside.isna().all()
        assert line.drop(inside.index).notna().all()


def test_zone(stream: TimeSeriesStream) -> None:
    """Times are in the zone of the index, on the day that the clocks change, too."""
    index = times(48, "h", tz="Europe/Oslo")
    stream.append(pd.DataFrame({"a": range(48)}, index=index))
    ax = stream.plot()
    ax.figure.canvas.draw()
    [line] = ax.lines
    assert pd.DatetimeIndex(num2date(line.get_xdata(orig=False))).round("s").equals(index.tz_convert("UTC"))
    assert str(ax.xaxis.get_major_formatter()._tz) == "Europe/Oslo"


def test_series_zone(db: Database, key: Callable[..., str]) -> None:
    """A series with a zone draws in it."""
    name = key()
    stream = db.time_series("g", [name], tz="Asia/Tokyo")[name]
    stream.append(pd.DataFrame({"a": range(3)}, index=times(3)))
    assert str(points(stream.plot())["a"].index.tz) == "Asia/Tokyo"


def test_nanoseconds(stream: TimeSeriesStream) -> None:
    """Times finer than what matplotlib draws are rounded down, without a warning."""
    stream.append(pd.DataFrame({"a": range(3)}, index=times(3, "ns", unit="ns")))
    assert points(stream.plot())["a"].tolist() == [0, 1, 2]


def test_axes(stream: TimeSeriesStream) -> None:
    """What is drawn goes onto axes that are given, and else into a figure of its own."""
    stream.append(pd.DataFrame({"a": range(3)}, index=times(3, name="at")))
    ax = stream.plot()
    assert ax.get_xlabel() == "at"
    assert stream.plot(ax=ax) is ax
    assert len(ax.lines) == 2
    assert stream.plot().figure is not ax.figure


def test_hostile_names(stream: TimeSeriesStream) -> None:
    """Names are no formulas, and none is left out."""
    labels = ["$\\frac$", "_hidden", "<b>\n", 3, "$x$"]
    frame = pd.DataFrame([[1.0] * 5] * 3, columns=labels, index=times(3, name="$\\frac$"))
    stream.append(frame)
    assert texts(stream.plot()) == ["$\\frac$", " _hidden", "<b>\\n", "3", "$x$"]


def test_empty_range(stream: TimeSeriesStream) -> None:
    """A range without rows gives axes without points."""
    stream.append(pd.DataFrame({"a": range(3)}, index=times(3)))
    assert points(stream.plot("2030"))["a"].empty


def test_group(db: Database, key: Callable[..., str]) -> None:
    """A group draws all its streams, each with the columns that it has; one that does not exist has none."""
    one, two, none = key("one"), key("two"), key("none")
    series = db.time_series("g", [one, two, none])
    series[one].append(pd.DataFrame({"a": range(3), "b": 1.0}, index=times(3)))
    series[two].append(pd.DataFrame({"a": range(3), "c": "x"}, index=times(3)))
    assert texts(series.plot()) == [f"{one} a", f"{one} b", f"{two} a"]
    assert texts(series.plot(columns=["b"])) == [f"{one} b"]
    with pytest.raises(UsageError, match="no stream of the time series has a column 'z'"):
        series.plot(columns=["z"])
    with pytest.raises(UsageError, match="column 'c' of stream"):
        series.plot(columns=["c"])


def test_clocks_apart(db: Database, key: Callable[..., str]) -> None:
    """Streams with a zone and streams without are not drawn on one axis."""
    one, two = key("one"), key("two")
    series = db.time_series("g", [one, two])
    series[one].append(pd.DataFrame({"a": range(3)}, index=times(3)))
    series[two].append(pd.DataFrame({"a": range(3)}, index=times(3, tz="UTC")))
    with pytest.raises(SchemaError, match=r"series\[key\].plot"):
        series.plot()


def test_text_is_refused(stream: TimeSeriesStream, db: Database) -> None:
    """A column of text is refused, and the cure works."""
    db.xadd(stream.key, {"price": "1.5", "side": "buy"})
    for columns in (None, ["price"]):
        with pytest.raises(UsageError, match=r"declare\(\{'price': 'float64'\}\)"):
            stream.plot(columns=columns)
    stream.declare({"price": "float64"})
    assert points(stream.plot())["price"].tolist() == [1.5]
    stream.declare({"price": "float64", "side": "str"})
    with pytest.raises(UsageError, match=r"column 'side' of stream .* holds string. .*numbers are \['price'\]"):
        stream.plot(columns=["side"])


@pytest.mark.parametrize("max_points", [0, 1, 2.5, True, None])
def test_max_points(stream: TimeSeriesStream, max_points: Any) -> None:
    """The number of points is a whole one, 2 or greater."""
    with pytest.raises(UsageError, match="max_points is a whole number, 2 or greater"):
        stream.plot(max_points=max_points)


def test_no_columns_and_no_axes(stream: TimeSeriesStream) -> None:
    """An empty list of columns, and axes that are none, are refused as what they are."""
    stream.append(pd.DataFrame({"a": [1.0, 2.0]}, index=times(2)))
    with pytest.raises(UsageError, match="`columns` names no column"):
        stream.plot(columns=[])
    with pytest.raises(UsageError, match="ax is one matplotlib Axes"):
        stream.plot(ax=5)  # type: ignore[arg-type]


def test_one_connection(url: str, key: Callable[..., str]) -> None:
    """One connection is enough."""
    name = key()
    with walrus_ts.connect(url, max_connections=1) as db:
        stream = db.time_series("g", [name])[name]
        stream.append(pd.DataFrame({"a": range(3_000)}, index=times(3_000)))
        assert len(points(stream.plot())["a"]) <= 2_000


def test_without_matplotlib(url: str) -> None:
    """Without matplotlib the error says what to install."""
    code = f"""
import sys, walrus_ts
sys.modules["matplotlib"] = None
try:
    walrus_ts.connect({url!r}).time_series("g", ["a"]).a.plot()
except walrus_ts.UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install matplotlib" in done.stdout
