"""Ranges handed to libraries that take Arrow data: names and zones there."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from walrus_ts import Database
from walrus_ts.timeseries import TimeSeriesStream

TWO = pd.DatetimeIndex(["2024-01-01", "2024-07-01"]).as_unit("us")


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream without anything in it."""
    return db.time_series("research", [key()])[key()]


@pytest.mark.parametrize(
    ("name", "labels", "names"),
    [
        (None, ["time", "x"], ["time_1", "time", "x"]),
        (None, ["time", "time_1"], ["time_2", "time", "time_1"]),
        ("x", ["x", "time"], ["x_1", "x", "time"]),
        (None, [1, "1"], ["time", "1_1", "1"]),
        (1, [1, "1"], ["1_2", "1_1", "1"]),
    ],
)
def test_names(stream: TimeSeriesStream, name: Any, labels: list[Any], names: list[str]) -> None:
    """Columns keep names that are text; the index and other labels get free ones."""
    frame = pd.DataFrame([[1, 2], [3, 4]], index=TWO.rename(name), columns=pd.Index(labels, dtype=object))
    stream.append(frame)
    scan = stream.scan()
    assert scan.to_arrow().column_names == names
    assert pa.table(scan).column_names == names
    assert scan.to_polars().columns == names
    assert duckdb.sql(f'select "{names[1]}", "{names[2]}" from scan').fetchall() == [(1, 2), (3, 4)]


@pytest.mark.parametrize("zone", ["+05:30", dt.timezone(dt.timedelta(hours=-3.5)), dt.UTC, "Europe/Berlin"], ids=str)
def test_zones(stream: TimeSeriesStream, zone: Any) -> None:
    """A fixed offset is spelled as Arrow spells it; polars, which has none, gets UTC."""
    frame = pd.DataFrame({"x": [1, 2]}, index=TWO.tz_localize("UTC").tz_convert(zone))
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame, check_freq=False)
    table = stream.scan().to_arrow()
    assert table["time"].to_pandas().tolist() == frame.index.tolist()
    assert stream.schema is not None
    assert table.schema.field("time").type.tz == stream.schema.zone
    found = stream.scan().to_polars()["time"]
    assert found.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list() == list(TWO.to_pydatetime())
    again = table.append_column("y", pa.array([3, 4]))
    assert str(stream.schema.zone) in str(stream.scan().to_arrow().schema)
    stream.drop()
    stream.append(again)
    assert stream.frame().index.equals(frame.index)


def test_a_stream_without_a_record_in_a_series_with_a_zone(db: Database, key: Callable[..., str]) -> None:
    """What another program writes comes back in the zone of the series, too."""
    db.xadd(key(), {"x": "1"}, id="1704067200000-0")
    stream = db.time_series("research", [key()], tz="Asia/Tokyo")[key()]
    frames = [*stream.scan(columns=["x"]).frames(), stream.frame(), stream.head(), stream.frame("2024-01-01 09:00")]
    for frame in frames:
        assert frame.index.tolist() == [pd.Timestamp("2024-01-01 09:00", tz="Asia/Tokyo")]
    assert str(stream.frame("2025").index.dtype) == "datetime64[ms, Asia/Tokyo]"
    assert stream.scan(columns=["x"]).to_arrow().schema.field("time").type == pa.timestamp("ms", "Asia/Tokyo")


def test_polars_frame_of_a_scan(stream: TimeSeriesStream) -> None:
    """polars takes a scan as it is where the zone has a name."""
    stream.append(pd.DataFrame({"x": np.arange(2)}, index=TWO.tz_localize("Europe/Berlin")))
    assert pl.DataFrame(stream.scan())["x"].to_list() == [0, 1]
