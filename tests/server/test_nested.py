"""Lists, structs and maps: JSON that every program reads."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from walrus_ts import Database, DataError
from walrus_ts.timeseries import TimeSeriesStream

NAN, INF = float("nan"), float("inf")
TIME = dt.datetime(2024, 1, 1, 9, 30, 0, 1)


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream without anything in it."""
    return db.time_series("research", [key()])[key()]


def strict(value: bytes) -> Any:
    """Read JSON as other programs do: NaN and Infinity are none."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(value, parse_constant=refuse)


@pytest.mark.parametrize(
    ("type_", "value", "stored"),
    [
        (pa.list_(pa.float64()), [NAN, 1.5, -INF, INF, None], ["nan", 1.5, "-inf", "inf", None]),
        (pa.list_(pa.float16()), [NAN, 1.5], ["nan", 1.5]),
        (pa.list_(pa.float64(), 2), [NAN, 1.5], ["nan", 1.5]),
        (pa.map_(pa.string(), pa.float64()), [("a", NAN), ("b", None)], [["a", "nan"], ["b", None]]),
        (pa.struct([("a", pa.struct([("b", pa.list_(pa.float64()))]))]), {"a": {"b": [INF]}}, {"a": {"b": ["inf"]}}),
        (pa.list_(pa.dictionary(pa.int8(), pa.float64())), [NAN], ["nan"]),
        (pa.list_(pa.string()), ["nan", "2024-01-01 00:00"], ["nan", "2024-01-01 00:00"]),
        (pa.list_(pa.timestamp("us")), [TIME, None], ["2024-01-01T09:30:00.000001", None]),
        (pa.list_(pa.timestamp("us", "Asia/Tokyo")), [TIME.replace(tzinfo=dt.UTC)], ["2024-01-01T09:30:00.000001Z"]),
        (pa.list_(pa.date32()), [dt.date(2024, 1, 1)], ["2024-01-01"]),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_what_is_stored(stream: TimeSeriesStream, db: Database, type_: pa.DataType, value: Any, stored: Any) -> None:
    """What JSON has not is text there, times are as in fields of their own, and all comes back."""
    array = pa.array([value, None], type_)
    stream.append(pa.table({"when": pd.DatetimeIndex(["2024-01-01", "2024-01-02"]), "x": array}))
    ((_, fields), _) = db.xrange(stream.key)
    assert strict(fields[b"x"]) == stored
    assert repr(stream.scan().to_arrow()["x"].to_pylist()) == repr(array.to_pylist())


def test_what_other_programs_write(stream: TimeSeriesStream, db: Database) -> None:
    """The NaN and Infinity that Python's json writes are read, too; other text is no number."""
    stream.declare({"x": pd.ArrowDtype(pa.list_(pa.float64()))})
    db.xadd(stream.key, {"x": '[NaN, Infinity, -Infinity, "nan", 1]'})
    assert repr(stream.frame()["x"].tolist()) == repr([[NAN, INF, -INF, NAN, 1.0]])
    db.xadd(stream.key, {"x": '["1.5"]'})
    with pytest.raises(DataError, match="'x'"):
        stream.frame()
