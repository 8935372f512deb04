"""Lists, structs and maps: JSON that every program reads."""

import datetime as dt
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from walrus_ts import Database, DataError, UsageError
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


TWO = pa.array([0, 1], pa.timestamp("ms"))
PAIR = pa.list_(pa.timestamp("ns"), 2)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.struct([("a", PAIR)]), [{"a": [0, None]}, None]),
        (pa.struct([("a", pa.list_(pa.decimal256(50, 1), 2))]), [None, {"a": [None, 1]}]),
        (pa.struct([("a", pa.list_(PAIR, 1))]), [{"a": [[0, 1]]}, None]),
        (pa.struct([("a", pa.list_(pa.struct([("b", PAIR)]), 1))]), [{"a": [{"b": None}]}, None]),
        (pa.list_(PAIR), [[None, [0, 1]], None]),
    ],
    ids=str,
)
def test_what_lies_beneath_a_null(stream: TimeSeriesStream, type_: pa.DataType, values: list[Any]) -> None:
    """A null comes back as one, whatever Arrow keeps beneath it: values of a fixed size take their place there."""
    array = pa.array(values, type_)
    stream.append(pa.table({"when": TWO, "x": array}))
    assert repr(stream.scan().to_arrow()["x"].to_pylist()) == repr(array.to_pylist())


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[[None]], [[None, None]]], pa.list_(pa.list_(pa.null()))),
        pa.array([{"a": [None]}, {"a": [None, None]}], pa.struct([("a", pa.list_(pa.null()))])),
        pa.array([[("k", [None])], [("k", [None, None])]], pa.map_(pa.string(), pa.list_(pa.null()))),
        pa.array(
            [{"a": [None], "b": 1}, {"a": 2 * [None], "b": 2}], pa.struct({"a": pa.list_(pa.null()), "b": "date32"})
        ),
    ],
    ids=lambda array: str(array.type),
)
def test_lists_of_nothing_but_nulls(stream: TimeSeriesStream, array: pa.Array) -> None:
    """Lists of nulls within lists keep every one of them."""
    stream.append(pa.table({"when": TWO, "x": array}))
    assert stream.scan().to_arrow()["x"].combine_chunks().equals(array)


def test_objects_of_nothing_but_nulls(stream: TimeSeriesStream) -> None:
    """So do Python's lists."""
    frame = pd.Series([[[None]], [[None, None]]], dtype=object, index=pd.to_datetime(["2024", "2025"])).to_frame("x")
    stream.append(frame)
    pd.testing.assert_frame_equal(stream.frame(), frame)


NULLS = [{"a": [None], "b": 1}, {"a": [None, None], "b": 2}]


def test_nulls_in_another_type(stream: TimeSeriesStream) -> None:
    """So do Arrow's lists of a frame whose other values are cast to the record's type."""
    for at, number in enumerate((pa.int64(), pa.int8())):
        array = pa.array(NULLS, pa.struct([("a", pa.list_(pa.null())), ("b", number)]))
        stream.append(pa.table({"when": pa.array([at, at], pa.timestamp("s")), "x": array}))
    assert stream.scan().to_arrow()["x"].to_pylist() == 2 * NULLS


@pytest.mark.parametrize("skipped", [0, 1])
def test_nulls_beside_views(stream: TimeSeriesStream, skipped: int) -> None:
    """And polars' lists, beside its text, also of a part of a frame."""
    rows = [
        {"a": [["x"]], "b": [None], "c": None, "d": [{"e": 1, "f": "y"}]},
        {"a": [[None, "y"], None], "b": [None, None], "c": ["u", "v"], "d": None},
        {"a": None, "b": [], "c": [None, "w"], "d": [{"e": None, "f": None}, None]},
    ]
    frame = pl.DataFrame(
        {"when": [0, 1, 2], "x": rows},
        schema_overrides={
            "when": pl.Datetime("ms"),
            "x": pl.Struct(
                {
                    "a": pl.List(pl.List(pl.Categorical)),
                    "b": pl.List(pl.Null),
                    "c": pl.Array(pl.String, 2),
                    "d": pl.List(pl.Struct({"e": pl.Int8, "f": pl.String})),
                }
            ),
        },
    )
    stream.append(frame[skipped:])
    assert stream.scan().to_arrow()["x"].to_pylist() == rows[skipped:]
    assert stream.scan().to_arrow()["x"].type.field("b").type == pa.large_list(pa.null())


def test_categories_of_bytes(stream: TimeSeriesStream) -> None:
    """Arrow's dictionaries may be of bytes that are no text."""
    array = pa.array([b"\xff", None]).dictionary_encode()
    stream.append(pa.table({"when": TWO, "x": array}))
    assert stream.scan().to_arrow()["x"].type == array.type
    assert stream.frame()["x"].tolist() == [b"\xff", pd.NA]


ONES = pa.array([1, 2])
NO_TEXT = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], "i4")), pa.py_buffer(b"a\xff"))


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (pa.array([[], None], pa.list_(pa.int8(), 0)), "has lists of the fixed size 0"),
        (pa.array([[[]], None], pa.list_(pa.list_(pa.int8(), 0))), "has lists of the fixed size 0"),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([[1], [2]])), "has dictionaries of lists"),
        (pa.StructArray.from_arrays([ONES, ONES], names=["a", "a"]), "has structs with two fields 'a'"),
        (pa.array([[b"x"], None]), "JSON has no bytes"),
        (NO_TEXT, r"no valid Unicode at row 1: b'\\xff'\. .*pa\.binary\(\)"),
        (NO_TEXT.dictionary_encode(), r"no valid Unicode: b'\\xff'"),
        (pa.ListArray.from_arrays([0, 1, 2], NO_TEXT), r"no valid Unicode: b'\\xff'"),
        (pa.ListArray.from_arrays([0, 1, 2], NO_TEXT.dictionary_encode()), r"no valid Unicode: b'\\xff'"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_refused(stream: TimeSeriesStream, db: Database, array: pa.Array, why: str) -> None:
    """What could not be read again is refused, with the reason; nothing is written."""
    with pytest.raises(UsageError, match=f"column 'x' .*{why}") as caught:
        stream.append(pa.table({"when": TWO, "x": array}))
    assert caught.value.column == "x"
    assert not db.exists(stream.key)


LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    (pa.binary(), st.binary(max_size=3)),
    (pa.date32(), st.dates()),
    (pa.timestamp("ns"), st.integers(0, 2**62)),
    (pa.timestamp("us", "Europe/Berlin"), st.integers(0, 2**50)),
    (pa.time64("us"), st.integers(0, 86_399_999_999)),
    (pa.duration("s"), st.integers(-(2**40), 2**40)),
    (pa.decimal128(20, 3), st.decimals(-(10**9), 10**9, places=3)),
    (pa.decimal256(50, 3), st.decimals(-(10**9), 10**9, places=3)),
    (pa.month_day_nano_interval(), st.just((1, 2, 3))),
    (pa.null(), st.none()),
]


@st.composite
def arrays(draw: st.DrawFn, rows: int, depth: int = 3) -> pa.Array:
    """Make arrays of any type, from the outside in; beneath a null there is a value, as Arrow allows."""
    kinds = ["leaf", "list", "large_list", "fixed", "struct", "map", "dictionary"]
    kind = draw(st.sampled_from(kinds if depth else kinds[:1]))
    mask = pa.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), pa.bool_())
    if kind == "leaf":
        type_, values = draw(st.sampled_from(LEAVES))
        return pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type_)
    if kind == "struct":
        names = draw(st.lists(st.sampled_from(["a", "b", ""]), max_size=2))
        fields = [draw(arrays(rows, depth - 1)) for _ in names]
        return pa.StructArray.from_arrays(fields, names=names, mask=mask) if names else pa.array([{}] * rows)
    if kind == "dictionary":
        codes = draw(st.lists(st.none() | st.integers(0, 2), min_size=rows, max_size=rows))
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), draw(arrays(3, depth - 1)))
    if kind == "fixed":
        size = draw(st.integers(0, 2))
        if size == 0:  # pyarrow makes one from Python's lists alone
            return pa.array([[]] * rows, pa.list_(pa.int8(), 0))
        return pa.FixedSizeListArray.from_arrays(draw(arrays(rows * size, depth - 1)), size, mask=mask)
    sizes = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    within = draw(arrays(sum(sizes), depth - 1))
    offsets = np.cumsum([0, *sizes])
    if kind == "map":
        keys = pa.array([f"k{at}" for at in range(len(within))], pa.string())
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, within)
    if kind == "large_list":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), within, mask=mask)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), within, mask=mask)


@settings(derandomize=True, deadline=None, max_examples=300, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_arrays(db: Database, stream: TimeSeriesStream, data: st.DataObject) -> None:
    """Whatever Arrow has, it comes back, or is refused before anything is written."""
    rows = data.draw(st.integers(1, 4))
    array = data.draw(arrays(rows))
    with suppress(UsageError):
        stream.append(pa.table({"when": pa.array(range(rows), pa.timestamp("ms")), "x": array}), time="when")
    if not db.exists(stream.key):
        assert stream.schema is None
        return
    try:
        found = stream.scan().to_arrow()["x"]
        assert found.type == array.type
        assert repr(found.to_pylist()) == repr(array.to_pylist())
        assert len(stream.frame()) == rows
    finally:
        stream.drop()


def test_what_other_programs_write(stream: TimeSeriesStream, db: Database) -> None:
    """The NaN and Infinity that Python's json writes are read, too; other text is no number."""
    stream.declare({"x": pd.ArrowDtype(pa.list_(pa.float64()))})
    db.xadd(stream.key, {"x": '[NaN, Infinity, -Infinity, "nan", 1]'})
    assert repr(stream.frame()["x"].tolist()) == repr([[NAN, INF, -INF, NAN, 1.0]])
    db.xadd(stream.key, {"x": '["1.5"]'})
    with pytest.raises(DataError, match="'x'"):
        stream.frame()
