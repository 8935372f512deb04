"""What comes back is what went in: every dtype, every label, every index."""

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import partial
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pandas.testing import assert_frame_equal

from tests.helpers import same_frames
from walrus_ts import Database, UsageError
from walrus_ts.pandas_io.restore import string_dtype
from walrus_ts.testing import COLUMNS, LABELS, UNITS, frames
from walrus_ts.timeseries import TimeSeriesStream

THREE = pd.DatetimeIndex(["2024-01-01 09:30:00.000001", "2024-01-01 09:30:00.000001", "2024-01-02"])
NAN = float("nan")
BERLIN = ZoneInfo("Europe/Berlin")
SURPRISING = ["a\r\nb", "", "*2\r\n$1\r\nx", "\x00", "😀", "é", " "]


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream without anything in it."""
    return db.time_series("research", [key()])[key()]


def comes_back(stream: TimeSeriesStream, frame: pd.DataFrame) -> None:
    """Append a frame and read it; all of it must be as before."""
    before = frame.copy()
    appended = stream.append(frame)
    same_frames(frame, before)  # append changes nothing in the caller's hands
    assert appended.rows == len(frame)
    found = stream.frame()
    same_frames(found, frame)
    assert found.index.dtype == frame.index.dtype
    same_frames(stream.head(100), frame[:100])  # read another way, and the same
    same_frames(stream.tail(100), frame[-100:])
    for position, label in enumerate(frame.columns):
        same_objects(found.iloc[:, position], frame.iloc[:, position], label)


def same_objects(found: "pd.Series[Any]", expected: "pd.Series[Any]", label: Any) -> None:
    """Compare what `assert_frame_equal` does not: kinds of nulls, nan beside null, the sign of zero."""
    if expected.dtype == object:
        assert [type(value) for value in found] == [type(value) for value in expected], label
    if isinstance(expected.dtype, pd.ArrowDtype):
        assert repr(found.array.__arrow_array__().to_pylist()) == repr(expected.array.__arrow_array__().to_pylist())
    elif expected.dtype.kind == "f":
        plain = [values.to_numpy("float64", na_value=np.nan) for values in (found, expected)]
        assert (np.signbit(plain[0]) == np.signbit(plain[1]))[~np.isnan(plain[1])].all(), label


class Summer(dt.tzinfo):
    """A zone of one's own."""

    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        """Return the offset."""
        return dt.timedelta(hours=2)

    def dst(self, _: dt.datetime | None) -> dt.timedelta:
        """Return what of it is the summer's."""
        return dt.timedelta(hours=1)

    def tzname(self, _: dt.datetime | None) -> str:
        """Return a name."""
        return "summer"


def one(values: Any, index: pd.DatetimeIndex = THREE) -> pd.DataFrame:
    """Make a frame of one column."""
    return pd.DataFrame({"x": pd.Series(values, index=index)})


def objects(*values: Any) -> pd.DataFrame:
    """Make a frame of one column of Python objects."""
    made = np.empty(len(values), object)
    made[:] = values
    return pd.DataFrame({"x": pd.Series(made, index=THREE[: len(values)], dtype=object)})


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
MASKED = [name.replace("int", "Int").replace("uI", "UI") for name in INTEGERS]
STRINGS = [string_dtype(storage, null) for storage in ("python", "pyarrow") for null in ("nan", "NA")]
LABEL_DTYPES = [*STRINGS, *(pd.ArrowDtype(type_) for type_ in (pa.string(), pa.large_string(), pa.int32()))]
LABEL_DTYPES += [pd.ArrowDtype(pa.timestamp(unit)) for unit in ("s", "ms", "us")]  # pandas lists those of ns as numbers
LABEL_DTYPES += [pd.ArrowDtype(pa.timestamp(unit, "Europe/Berlin")) for unit in UNITS]
LABEL_DTYPES += ["Int16", "boolean", "datetime64[us]", "datetime64[s, Europe/Berlin]"]


def label_index(dtype: Any, kind: str) -> pd.Index:
    """Make two labels of a dtype, or of categories or a level of it."""
    index = pd.Index(pd.array([0, 1], dtype="Int64").astype(object))
    if "time" in str(dtype):
        times = pd.DatetimeIndex(["2024-01-01", "2024-07-01 12:00"])
        index = times.tz_localize("UTC") if "Berlin" in str(dtype) else times
    elif "string" in str(dtype):
        index = pd.Index(["a", "b"], dtype=object)
    index = index.astype(dtype)
    if kind.startswith("categorical"):
        index = pd.CategoricalIndex(index, categories=index[::-1])
    return pd.MultiIndex.from_arrays([index, ["p", "q"]]) if kind.endswith("level") else index


class TestColumns:
    @pytest.mark.parametrize("name", INTEGERS)
    def test_integers(self, stream: TimeSeriesStream, name: str) -> None:
        """Integers keep their width, to their ends."""
        comes_back(stream, one(np.array([np.iinfo(name).min, 0, np.iinfo(name).max], name)))

    @pytest.mark.parametrize("name", MASKED)
    def test_nullable_integers(self, stream: TimeSeriesStream, name: str) -> None:
        """Nullable integers keep their nulls and every digit."""
        comes_back(stream, one(pd.array([np.iinfo(name.lower()).min, None, np.iinfo(name.lower()).max], dtype=name)))

    @pytest.mark.parametrize("name", ["float16", "float32", "float64"])
    def test_floats(self, stream: TimeSeriesStream, name: str) -> None:
        """Floats keep every bit: infinities, nan, minus zero, subnormals."""
        info = np.finfo(name)
        special = [0.1, -0.0, np.nan, np.inf, -np.inf, info.max, info.min, info.tiny, info.smallest_subnormal, info.eps]
        index = pd.date_range("2024-01-01", periods=len(special), freq="s")
        comes_back(stream, one(np.array(special, name), index))

    @pytest.mark.parametrize("name", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("arrow", [False, True])
    def test_the_shortest_text(self, stream: TimeSeriesStream, db: Database, name: str, arrow: bool) -> None:
        """A float is stored as the shortest text that reads back as the same number."""
        values = np.array([0.1, 1 / 3, 2.0], name)
        frame = one(values).astype({"x": pd.ArrowDtype(pa.from_numpy_dtype(name))} if arrow else {})
        comes_back(stream, frame)
        stored = [fields[b"x"].decode() for _, fields in db.xrange(stream.key)]
        assert stored == [str(values[0]), str(values[1]), "2"]

    def test_all_halves(self, stream: TimeSeriesStream) -> None:
        """Every one of the 65,536 halves that there are comes back."""
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
        frame = pd.DataFrame({"x": halves}, index=pd.date_range("2024-01-01", periods=1 << 16, freq="s"))
        stream.append(frame)
        assert_frame_equal(stream.frame(), frame, check_freq=False)

    @pytest.mark.parametrize("name", ["Float32", "Float64"])
    def test_nullable_floats(self, stream: TimeSeriesStream, name: str) -> None:
        """Nullable floats tell nan from null."""
        zeros = pd.array([0.0, None, 1.0], dtype=name)
        column = zeros / zeros  # nan, null, 1
        comes_back(stream, one(column))
        found = stream.frame()["x"].array
        assert list(found._mask) == list(column._mask)

    @pytest.mark.parametrize("values", [np.array([True, False, True]), pd.array([True, None, False], dtype="boolean")])
    def test_bools(self, stream: TimeSeriesStream, values: Any) -> None:
        """Bools come back as bools, nullable ones with their nulls."""
        comes_back(stream, one(values))

    @pytest.mark.parametrize("dtype", STRINGS, ids=repr)
    @pytest.mark.parametrize("text", SURPRISING)
    def test_strings(self, stream: TimeSeriesStream, dtype: Any, text: str) -> None:
        """Each of pandas' string dtypes keeps all texts, an empty one beside a null."""
        comes_back(stream, one(pd.array([text, None, ""], dtype=dtype)))

    @pytest.mark.parametrize("missing", [None, NAN, pd.NA], ids=["None", "nan", "NA"])
    def test_objects_of_text(self, stream: TimeSeriesStream, missing: Any) -> None:
        """Text as Python objects stays that, and its null stays the one it was."""
        comes_back(stream, objects("a\r\nb", missing, ""))
        assert type(stream.frame()["x"].iloc[1]) is type(missing)

    @pytest.mark.parametrize("missing", [None, NAN, pd.NA], ids=["None", "nan", "NA"])
    def test_objects_all_null(self, stream: TimeSeriesStream, missing: Any) -> None:
        """A column of nothing but nulls comes back so."""
        comes_back(stream, objects(missing, missing, missing))

    @pytest.mark.parametrize(
        "values",
        [
            (b"\xff\r\n", None, b""),
            (True, None, False),
            (2**63 - 1, None, -(2**63)),
            (dt.date(1, 1, 1), None, dt.date(9999, 12, 31)),
            (dt.time(0), None, dt.time(23, 59, 59, 999_999)),
            (Decimal("1.10"), None, Decimal("-2.25")),
            (0.1, None, float("-inf")),
            (0.1, NAN, -0.0),
            (dt.datetime(1, 1, 1, microsecond=1), None, dt.datetime(2024, 1, 1)),
            (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None, dt.datetime(2024, 7, 1, tzinfo=dt.UTC)),
            (dt.datetime(2023, 10, 29, 2, 30, tzinfo=BERLIN), dt.datetime(2023, 10, 29, 2, 30, tzinfo=BERLIN, fold=1)),
            (dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5.5))), None),
            (dt.timedelta(1, 2, 3), None, dt.timedelta(-1)),
        ],
        ids=lambda values: f"{type(values[0]).__name__}-{getattr(values[0], 'tzinfo', None)}-{values[1]}",
    )
    def test_objects(self, stream: TimeSeriesStream, values: Any) -> None:
        """Python objects of one kind come back as they were."""
        comes_back(stream, objects(*values))
        assert list(map(repr, stream.frame()["x"])) == list(map(repr, values))

    @pytest.mark.parametrize(
        "values",
        [
            pd.Categorical(["b", None, "a"], categories=pd.Index(["b", "a"], dtype=object)),
            pd.Categorical(["b", None, "a"], categories=["b", "unused", "a"], ordered=True),
            pd.Categorical(["b", None, ""]),
            pd.Categorical(np.array(["x", "y", None], object)),
            pd.Categorical([1, None, 3], categories=[3, 2, 1]),
            pd.Categorical([1.5, None, 0.1]),
            pd.Categorical([True, None, False]),
            pd.Categorical(pd.array([1, None, 2], dtype="Int64")),
            pd.Categorical(pd.to_datetime(["2020-01-01", None, "2021-01-01"])),
            pd.Categorical(pd.to_datetime(["2020-07-01", None, "2021-01-01"]).tz_localize("Europe/Berlin")),
            pd.Categorical(pd.to_timedelta([1, None, 2], unit="s")),
            pd.Categorical([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)]),
            pd.Categorical([None, None, None]),
            pd.Categorical([None, None, None], categories=["a"]),
            pd.Categorical(["b", None, "a"], categories=pd.Index(["b", "a"], name="grade")),
            pd.Categorical([1, None, 2], categories=pd.Index([1, 2], name=("grade", 1))),
        ],
        ids=lambda values: f"{values.categories.dtype}-{len(values.categories)}-{values.ordered}",
    )
    def test_categoricals(self, stream: TimeSeriesStream, values: pd.Categorical) -> None:
        """Categoricals keep their categories, unused ones too, their dtype, their name and their order."""
        comes_back(stream, one(values))

    @pytest.mark.parametrize("unit", UNITS)
    def test_datetimes(self, stream: TimeSeriesStream, unit: str) -> None:
        """Datetimes keep their unit and zone, before 1970, too."""
        naive = np.array(["1960-01-01T00:00:01", "NaT", "2024-07-01T12:00:00"], f"M8[{unit}]")
        frame = one(naive)
        frame["zoned"] = pd.DatetimeIndex(naive, tz="UTC").tz_convert("America/New_York")
        comes_back(stream, frame)

    @pytest.mark.parametrize("far", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "0999-12-31T23:59:59"])
    def test_far_datetimes(self, stream: TimeSeriesStream, far: str) -> None:
        """Datetimes reach from year 1 to year 9999 where their unit does."""
        comes_back(stream, one(np.array([far, "NaT", "1970-01-01"], "M8[us]")))

    def test_the_ends_of_nanoseconds(self, stream: TimeSeriesStream) -> None:
        """The first and the last datetime that nanoseconds can express come back."""
        comes_back(stream, one(np.array([pd.Timestamp.min.value, 0, pd.Timestamp.max.value], "M8[ns]")))

    def test_decimals_of_several_scales(self, stream: TimeSeriesStream) -> None:
        """Decimals are equal to those that went in; they all have the digits of the one that has most."""
        comes_back(stream, objects(Decimal("1.5"), Decimal("10.25"), Decimal("1E+5")))
        assert [str(value) for value in stream.frame()["x"]] == ["1.50", "10.25", "100000.00"]

    def test_the_ends_of_iso_8601(self, stream: TimeSeriesStream) -> None:
        """The first and the last datetime whose year has four digits come back."""
        comes_back(stream, one(np.array(["0000-01-01", "NaT", "9999-12-31T23:59:59"], "M8[s]")))

    @pytest.mark.parametrize("year", ["-0044-01-01", "-0001-12-31T23:59:59", "10000-01-01"])
    @pytest.mark.parametrize("arrow", [False, True])
    def test_years_without_text(self, stream: TimeSeriesStream, year: str, arrow: bool, db: Database) -> None:
        """A datetime whose year has not four digits is refused before anything is written."""
        frame = one(np.array(["1970-01-01", "NaT", year], "M8[s]"))
        with pytest.raises(UsageError, match=r"column 'x'.*row 2.*four digits"):
            stream.append(frame.astype({"x": "timestamp[s][pyarrow]"}) if arrow else frame)
        assert not db.exists(stream.key)

    def test_days_without_text(self, stream: TimeSeriesStream, db: Database) -> None:
        """So is a date, also within a list, and among categories."""
        days = pa.array([0, None, 10**7], pa.int32()).cast(pa.date32())
        lists = pa.ListArray.from_arrays([0, 1, 2, 3], days)
        for column in (days, lists, days.dictionary_encode()):
            table = pa.table({"time": THREE, "x": column})
            with pytest.raises(UsageError, match=r"column 'x'.*four digits"):
                stream.append(table)
        assert not db.exists(stream.key)

    @pytest.mark.parametrize("unit", UNITS)
    def test_timedeltas(self, stream: TimeSeriesStream, unit: str) -> None:
        """Timedeltas keep their unit and every tick."""
        comes_back(stream, one(np.array([2**63 - 1, "NaT", -(2**63) + 1], f"m8[{unit}]")))

    @pytest.mark.parametrize(
        ("type_", "values"),
        [
            (pa.int8(), [1, None, -128]),
            (pa.uint64(), [2**64 - 1, None, 0]),
            (pa.float16(), [1.5, None, NAN]),
            (pa.float32(), [0.1, None, NAN]),
            (pa.float64(), [-0.0, None, NAN]),
            (pa.bool_(), [True, None, False]),
            (pa.string(), ["a\r\n", None, ""]),
            (pa.large_string(), ["a\r\n", None, ""]),
            (pa.binary(), [b"\xff\r\n", None, b""]),
            (pa.large_binary(), [b"\xff\r\n", None, b""]),
            (pa.binary(3), [b"\xff\r\n", None, b"abc"]),
            (pa.date32(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
            (pa.time32("s"), [dt.time(1, 2, 3), None, dt.time(0)]),
            (pa.time32("ms"), [dt.time(1, 2, 3, 4_000), None, dt.time(0)]),
            (pa.time64("us"), [dt.time(1, 2, 3, 4), None, dt.time(0)]),
            (pa.time64("ns"), [dt.time(1, 2, 3, 4), None, dt.time(0)]),
            (pa.timestamp("s"), [dt.datetime(1960, 1, 1), None, dt.datetime(2024, 7, 1)]),
            (pa.timestamp("ns"), [dt.datetime(1960, 1, 1), None, dt.datetime(2024, 7, 1)]),
            (pa.timestamp("us", "Europe/Berlin"), [dt.datetime(1960, 1, 1), None, dt.datetime(2024, 7, 1)]),
            (pa.duration("ms"), [dt.timedelta(1), None, dt.timedelta(-1)]),
            (pa.decimal128(38, 2), [Decimal("1.10"), None, Decimal(10) ** 35]),
            (pa.decimal256(76, 5), [Decimal("-1.10000"), None, Decimal(10) ** 70]),
            (pa.dictionary(pa.int8(), pa.string()), ["x", None, "x"]),
            (pa.date64(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
            (pa.decimal128(10, -2), [Decimal("1.2E+3"), None, Decimal("-1E+2")]),
            (pa.list_(pa.dictionary(pa.int32(), pa.string())), [["x", None], None, []]),
            (pa.null(), [None, None, None]),
        ],
        ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
    )
    def test_arrow(self, stream: TimeSeriesStream, type_: pa.DataType, values: list[Any]) -> None:
        """Arrow-backed columns keep their Arrow type, and tell nan from null."""
        comes_back(stream, one(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, type_)]))))

    def test_small_decimals(self, stream: TimeSeriesStream) -> None:
        """So do Arrow's small decimals."""
        frame = one(pd.array([Decimal("1.10"), None, Decimal("-0.01")], dtype=pd.ArrowDtype(pa.decimal32(5, 2))))
        frame["y"] = frame["x"].astype(pd.ArrowDtype(pa.decimal64(10, 2)))
        comes_back(stream, frame)

    def test_categories_in_views(self, stream: TimeSeriesStream) -> None:
        """Categories may be one of Arrow's views, for which it has few kernels."""
        categories = pa.array(["x", None, "x"]).dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string_view()))
        comes_back(stream, one(pd.arrays.ArrowExtensionArray(pa.chunked_array([categories]))))

    def test_rows_with_nothing_in_them(self, stream: TimeSeriesStream) -> None:
        """A row of nulls alone stays a row."""
        comes_back(stream, pd.DataFrame({"a": [NAN, 1.0, NAN], "b": ["x", None, None]}, index=THREE))

    def test_no_columns(self, stream: TimeSeriesStream) -> None:
        """A frame without columns keeps its index."""
        comes_back(stream, pd.DataFrame(index=THREE))

    def test_no_rows(self, stream: TimeSeriesStream) -> None:
        """A frame without rows keeps its columns."""
        comes_back(stream, pd.DataFrame({"a": [1], "b": ["x"]}, index=THREE[:1]).iloc[:0])

    def test_a_value_of_a_megabyte(self, stream: TimeSeriesStream) -> None:
        """A value may be a megabyte long."""
        comes_back(stream, one(["x" * (1 << 20), "y" * 65_536, "z" * 1_001]))

    def test_a_series(self, stream: TimeSeriesStream) -> None:
        """A Series is a frame of one column, `value` where it has no name."""
        stream.append(pd.Series([1.5], index=THREE[:1]))
        assert_frame_equal(stream.frame(), pd.DataFrame({"value": [1.5]}, index=THREE[:1]))


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            pd.RangeIndex(2),
            pd.Index([7, -1]),
            pd.Index([1, 2], dtype="int8"),
            pd.Index([1.5, 2.0]),
            pd.Index([1.5, NAN]),
            pd.Index([True, False]),
            pd.Index([1, "1"], dtype=object),
            pd.Index([1, True], dtype=object),
            pd.Index([None, "a"], dtype=object),
            pd.Index(["", "a"]),
            pd.Index(["stream_id", "stream"]),
            pd.Index(["time", "id"]),
            pd.Index(["a\r\n*2", "é" * 1_000]),
            pd.Index(["a", "b"], dtype="string"),
            pd.Index(["a", "b"], dtype=object),
            pd.Index(["a", "b"], name="field"),
            pd.Index(["a", "b"], name=5),
            pd.Index(["a", "b"], name=("x", 1)),
            pd.Index([("a", 1), ("b", 2)], tupleize_cols=False),
            pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
            pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None]),
            pd.MultiIndex.from_tuples([("a", NAN), ("b", 2)]),
            pd.MultiIndex.from_arrays([["a", "b"]], names=["x"]),
            pd.CategoricalIndex(["a", "b"]),
            pd.CategoricalIndex(["b", "a"], categories=["unused", "b", "a"], ordered=True, name="grade"),
            pd.CategoricalIndex([1, 3], categories=[3, 2, 1]),
            pd.CategoricalIndex(["a", "b"], categories=pd.Index(["b", "a"], name=("grade", 1)), name="x"),
            pd.MultiIndex.from_arrays([pd.CategoricalIndex(["a", "b"], pd.Index(["b", "a"], name="y")), [1, 2]]),
            pd.MultiIndex.from_product([["b"], [2, 1]]),
            pd.MultiIndex.from_product([["b", "a"], [2, 1]])[:2],
            pd.MultiIndex.from_arrays([pd.Categorical(["b", "a"], categories=["b", "a", "z"], ordered=True), [2, 1]]),
            pd.date_range("2024-01-01", periods=2, name="day"),
            pd.date_range("2024-01-01", periods=2, unit="ns"),
            pd.date_range("2024-03-30 12:00", periods=2, tz="Europe/Berlin"),
            pd.MultiIndex.from_product([pd.DatetimeIndex(["2024-01-01"], tz="+05:30"), ["b", "a"]]),
            pd.Index([dt.date(2024, 1, 1), dt.date(2024, 1, 2)], dtype=object),
            pd.Index([dt.datetime(2024, 1, 1), "a"], dtype=object),
            pd.Index([np.float64(1.5), "a"], dtype=object),
            pd.Index([np.str_("a"), np.str_("b")], dtype=object),
        ],
        ids=repr,
    )
    def test_labels(self, stream: TimeSeriesStream, labels: pd.Index) -> None:
        """Columns keep their labels, whatever these are, and are found by them."""
        frame = pd.DataFrame(np.ones((3, 2)), index=THREE, columns=labels)
        comes_back(stream, frame)
        found = stream.frame().columns
        if isinstance(labels, pd.MultiIndex):
            for level, expected in zip(found.levels, labels.levels, strict=True):
                assert level.equals(expected)
                assert (level.dtype, level.name) == (expected.dtype, expected.name)
        if isinstance(labels, pd.CategoricalIndex):
            assert found.dtype == labels.dtype
        assert stream.frame(columns=labels.tolist()[1:]).shape == (3, 1)
        stream.append(frame.set_axis(THREE + pd.Timedelta(days=1)))  # the columns are those on record

    @pytest.mark.parametrize("kind", ["plain", "categorical", "level", "categorical level"])
    @pytest.mark.parametrize("dtype", LABEL_DTYPES, ids=repr)
    def test_dtypes_of_labels(self, stream: TimeSeriesStream, dtype: Any, kind: str) -> None:
        """Labels keep their dtype, by themselves, as categories and as levels."""
        labels = label_index(dtype, kind)
        frame = pd.DataFrame(np.ones((3, 2)), index=THREE, columns=labels)
        comes_back(stream, frame)
        found = stream.frame().columns
        for one, other in zip(getattr(found, "levels", [found]), getattr(labels, "levels", [labels]), strict=True):
            assert one.dtype == other.dtype
        assert stream.frame(columns=labels.tolist()[1:]).shape == (3, 1)
        stream.append(frame.set_axis(THREE + pd.Timedelta(days=1)))
        wider = pd.DataFrame(np.ones((3, 1)), index=THREE + pd.Timedelta(days=2), columns=labels[:1])
        wider["new" if labels.nlevels == 1 else ("new", "r")] = 1.0
        stream.append(wider, evolve=True)
        assert stream.frame().shape == (9, 3)

    @pytest.mark.parametrize(
        "labels",
        [
            pd.DatetimeIndex(["2024-01-01 00:00:00.000000001"]),
            pd.DatetimeIndex([None]),
            pd.period_range("2024", periods=1, freq="D"),
            pd.to_timedelta([1]),
            *(pd.Index([label], dtype=object) for label in (b"a", Decimal(1), dt.time(1), pd.NA)),
            pd.Index([IntEnum("E", "x").x], dtype=object),
            pd.Index([StrEnum("E", "x").x], dtype=object),
        ],
        ids=repr,
    )
    def test_labels_that_would_not_come_back(self, stream: TimeSeriesStream, labels: pd.Index, db: Database) -> None:
        """Other labels are an error that says how to rename them; nothing is written."""
        frame = pd.DataFrame([[1.0]], index=THREE[:1], columns=labels)
        with pytest.raises(UsageError, match=r"a column label is.*frame\.columns"):
            stream.append(frame)
        assert not db.exists(stream.key)
        stream.declare({1: "float64", "x": "float64"})
        with pytest.raises(UsageError, match=r"a column label is.*frame\.columns"):
            stream.append(frame)

    @pytest.mark.parametrize("several", [False, True])
    def test_labels_that_are_no_unicode(self, stream: TimeSeriesStream, several: bool, db: Database) -> None:
        """Text that is no valid Unicode is refused as a label, and as a part of one."""
        columns: Any = pd.Index(["\ud800"], dtype=object)
        if several:
            columns = pd.MultiIndex.from_arrays([columns, ["a"]])
        with pytest.raises(UsageError, match=r"column label '\\ud800' is no valid Unicode"):
            stream.append(pd.DataFrame([[1.0]], index=THREE[:1], columns=columns))
        assert not db.exists(stream.key)

    def test_labels_as_numpy_has_them(self, stream: TimeSeriesStream) -> None:
        """A number that is a label is found as numpy's, too, as `frame.columns[0]` is one."""
        stream.append(pd.DataFrame(np.ones((3, 2)), index=THREE, columns=[7, 1.5]))
        assert stream.frame(columns=[np.float64(7), np.float64(1.5)]).columns.tolist() == [7, 1.5]

    def test_a_pivoted_frame(self, stream: TimeSeriesStream) -> None:
        """The columns of a pivot, times, come back and can be chosen."""
        long = pd.DataFrame({"when": THREE, "until": pd.DatetimeIndex(["2025", "2026", "2025"]), "x": [1.0, 2.0, 3.0]})
        frame = long.pivot(index="when", columns="until", values="x")
        comes_back(stream, frame)
        assert stream.loc[:, pd.Timestamp("2026")].tolist()[0] == 2.0

    def test_labels_that_no_field_can_have_do_not_meet(self, stream: TimeSeriesStream) -> None:
        """Labels with one text have fields of their own."""
        columns = pd.Index([1, "1", True, "True", None, "None", "", "column"], dtype=object)
        comes_back(stream, pd.DataFrame(np.arange(24).reshape(3, 8), index=THREE, columns=columns))

    @pytest.mark.parametrize("labels", [["a", "a"], [1, 1], [("a", 1), ("a", 1)]])
    def test_duplicates(self, stream: TimeSeriesStream, db: Database, labels: Any) -> None:
        """Two columns of one label are an error that names it; nothing is written."""
        with pytest.raises(UsageError, match="twice") as caught:
            stream.append(pd.DataFrame(np.ones((3, 2)), index=THREE, columns=labels))
        assert caught.value.column == labels[0]
        assert not db.exists(stream.key)

    def test_ids_meet_a_column_of_their_name(self, stream: TimeSeriesStream) -> None:
        """Where the data have a column `stream_id`, `ids=True` is an error."""
        stream.append(pd.DataFrame({"stream_id": [1]}, index=THREE[:1]))
        with pytest.raises(UsageError, match="stream_id"):
            stream.frame(ids=True)


class TestIndexes:
    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize(
        "zone",
        [
            None,
            "UTC",
            "Europe/Berlin",
            "Asia/Kolkata",
            "Etc/GMT+5",
            "+02:00",
            dt.UTC,
            dt.timezone(dt.timedelta(hours=-3.5)),
        ],
        ids=str,
    )
    def test_unit_and_zone(self, stream: TimeSeriesStream, unit: str, zone: Any) -> None:
        """An index keeps its unit and its zone."""
        index = pd.DatetimeIndex(["2024-01-01", "2024-01-01", "2024-07-01"], tz=zone).as_unit(unit)
        comes_back(stream, pd.DataFrame({"x": [1, 2, 3]}, index=index))

    @pytest.mark.parametrize("name", [None, "when", "", 1, 1.5, True, ("a", 2), "x"])
    def test_name(self, stream: TimeSeriesStream, name: Any) -> None:
        """An index keeps its name."""
        comes_back(stream, pd.DataFrame({"x": [1, 2, 3]}, index=THREE.rename(name)))

    @pytest.mark.parametrize("unit", UNITS)
    def test_repeated_times(self, stream: TimeSeriesStream, unit: str) -> None:
        """Rows of one timestamp keep their order, over chunks, too."""
        index = pd.DatetimeIndex(["2024-01-01 00:00:01"] * 12_000 + ["2024-01-01 00:00:02"]).as_unit(unit)
        comes_back(stream, pd.DataFrame({"x": range(12_001)}, index=index))

    def test_neighbouring_nanoseconds(self, stream: TimeSeriesStream) -> None:
        """Nanoseconds are kept, with more than one row each."""
        index = pd.DatetimeIndex(np.repeat(np.arange(999_998, 1_000_003), 3).view("M8[ns]"))
        comes_back(stream, pd.DataFrame({"x": range(15)}, index=index))

    def test_a_clock_change(self, stream: TimeSeriesStream) -> None:
        """The hour that a zone has twice stays two hours."""
        index = pd.date_range("2023-10-28T23:00Z", periods=8, freq="30min").tz_convert("Europe/Berlin")
        comes_back(stream, pd.DataFrame({"x": range(8)}, index=index))

    @pytest.mark.parametrize("unit", UNITS)
    def test_the_first_time(self, stream: TimeSeriesStream, unit: str) -> None:
        """The first moment of 1970 can be stored, more than once."""
        index = pd.DatetimeIndex(np.array([0, 0, 1]).view(f"M8[{unit}]"))
        comes_back(stream, pd.DataFrame({"x": [1, 2, 3]}, index=index))
        assert len(stream.frame(index[0], index[0])) == 2

    @pytest.mark.parametrize("unit", ["s", "ms", "us"])
    def test_the_last_time(self, stream: TimeSeriesStream, unit: str) -> None:
        """The last moment of 9999 can be stored."""
        index = pd.DatetimeIndex(np.array(["9999-12-31T23:59:59.999999"], f"M8[{unit}]"))
        comes_back(stream, pd.DataFrame({"x": [1]}, index=index))

    def test_the_last_nanosecond(self, stream: TimeSeriesStream) -> None:
        """So can the last moment that nanoseconds express, and those of its millisecond."""
        index = pd.DatetimeIndex(np.array([2**63 - 775_808, 2**63 - 2, 2**63 - 1]).view("M8[ns]"))
        comes_back(stream, pd.DataFrame({"x": [1, 2, 3]}, index=index))

    @pytest.mark.parametrize("zone", [dateutil.tz.tzlocal(), dateutil.tz.tzrange("A"), Summer()], ids=type)
    def test_zones_without_a_name(self, stream: TimeSeriesStream, db: Database, zone: dt.tzinfo) -> None:
        """A zone that has no name to be made from again is refused before anything is written."""
        index = THREE.tz_localize(zone)
        with pytest.raises(UsageError, match=r"zone of the index.*`frame\.tz_convert"):
            stream.append(pd.DataFrame({"x": [1, 2, 3]}, index=index))
        with pytest.raises(UsageError, match=r"zone of column 'x'.*`frame\['x'\]\.dt\.tz_convert"):
            stream.append(one(index, THREE))
        assert not db.exists(stream.key)

    @pytest.mark.parametrize(
        ("index", "match"),
        [
            (pd.RangeIndex(2), "DatetimeIndex"),
            (pd.period_range("2024", periods=2, freq="D"), "DatetimeIndex"),
            (pd.IntervalIndex.from_breaks([0, 1, 2]), "DatetimeIndex"),
            (pd.DatetimeIndex(["2024-01-01", None]), "row 1"),
            (pd.DatetimeIndex(["2024-01-02", "2024-01-01"]), "row 1.*sort_index"),
            (pd.DatetimeIndex(["1969-12-31 23:59:59.999", "2024-01-01"]), "1970"),
            (pd.DatetimeIndex(np.array(["2024-01-01", "10000-01-01"], "M8[s]")), "row 1.*9999"),
            (
                pd.DatetimeIndex(["2024-01-01", "2024-01-02"], tz=dt.timezone(dt.timedelta(hours=1, seconds=30))),
                "seconds",
            ),
        ],
        ids=["range", "period", "interval", "NaT", "order", "before 1970", "after 9999", "seconds"],
    )
    def test_refused(self, stream: TimeSeriesStream, db: Database, index: pd.Index, match: str) -> None:
        """An index that cannot be stored is an error that says why; nothing is written."""
        with pytest.raises(UsageError, match=match):
            stream.append(pd.DataFrame({"x": [1, 2]}, index=index))
        assert not db.exists(stream.key)


class TestRefused:
    @pytest.mark.parametrize(
        "values",
        [
            (1j, 2j),
            (object(), object()),
            (pd.Period("2024"), pd.Period("2025")),
            (pd.Interval(0, 1), pd.Interval(1, 2)),
            (dt.date(2024, 1, 1), dt.datetime(2024, 1, 1)),
            (dt.datetime(2024, 1, 1), dt.date(2024, 1, 1)),
            (dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
            (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=BERLIN)),
            (dt.datetime(2024, 1, 1, fold=1), dt.datetime(2024, 1, 1)),
            (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")),
            (pd.Timedelta(1), pd.Timedelta(2)),
            (dt.timedelta.max, dt.timedelta(1)),
            (np.float64(1.5), np.float64(2.5)),
            (["\ud800"], ["a"]),
            ({"\ud800": 1}, {"\ud800": 2}),
            (dt.time(1, tzinfo=dt.UTC), dt.time(2)),
            ("a", b"a"),
            ("a", 1),
            (1, 1.5),
            (1, True),
            ((1, 2), (3, 4)),
            ({1}, {2}),
            ("a", None, NAN),
            (b"a", NAN, None),
            (Decimal("NaN"), Decimal("1")),
            (Decimal("Infinity"), Decimal("1")),
            (2**70, 1),
            (np.int64(1), np.int64(2)),
            (pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2024", tz="Europe/Berlin")),
            (pd.NaT, None),
            ("\ud800", "a"),
            (bytearray(b"x"), bytearray(b"y")),
            (dt.time(1, fold=1), dt.time(2)),
            (type("Text", (str,), {})("x"), "y"),
        ],
        ids=repr,
    )
    def test_objects(self, stream: TimeSeriesStream, db: Database, values: tuple[Any, ...]) -> None:
        """Objects that would come back changed are refused; the error names the column, and nothing is written."""
        with pytest.raises(UsageError, match="'x'") as caught:
            stream.append(objects(*values))
        assert caught.value.column == "x"
        assert not db.exists(stream.key)
        assert stream.schema is None

    @pytest.mark.parametrize(
        "values",
        [
            np.array([1j, 2j, 3j]),
            pd.period_range("2024", periods=3, freq="D"),
            pd.IntervalIndex.from_breaks([0, 1, 2, 3]),
            pd.arrays.SparseArray([1.0, NAN, 2.0]),
            np.array([1, 2, 3], np.longdouble),
            pd.Categorical(pd.IntervalIndex.from_breaks([0, 1, 2, 3])),
        ],
        ids=lambda values: str(values.dtype),
    )
    def test_dtypes(self, stream: TimeSeriesStream, db: Database, values: Any) -> None:
        """Dtypes that have no text are refused; the error names the column, and nothing is written."""
        with pytest.raises(UsageError, match="'x'") as caught:
            stream.append(pd.DataFrame({"good": [1, 2, 3], "x": values}, index=THREE))
        assert caught.value.column == "x"
        assert not db.exists(stream.key)

    @pytest.mark.parametrize(
        ("values", "cure", "mend"),
        [
            ([pd.Timestamp("2024")], "pd.to_datetime(frame['x'])", pd.to_datetime),
            (
                [pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2024", tz=BERLIN)],
                "pd.to_datetime(frame['x'], utc=True)",
                partial(pd.to_datetime, utc=True),
            ),
            ([pd.Timedelta(1), pd.Timedelta(2)], "pd.to_timedelta(frame['x'])", pd.to_timedelta),
            ([np.float64(1.5)], "frame['x'].astype(float)", lambda column: column.astype(float)),
        ],
        ids=["times", "zones", "durations", "numbers"],
    )
    def test_cures_for_objects(self, stream: TimeSeriesStream, values: list[Any], cure: str, mend: Any) -> None:
        """The error says what makes one type of objects that are no plain ones of Python's, and that works."""
        frame = objects(*values)
        with pytest.raises(UsageError, match=re.escape(f"(`{cure}`)")):
            stream.append(frame)
        frame["x"] = mend(frame["x"])
        comes_back(stream, frame)

    @pytest.mark.parametrize(
        "values",
        [
            [1, None, 2**70],
            [Decimal(1), None, Decimal("Infinity")],
            [[Decimal(1)], None, [Decimal("sNaN")]],
            [["a"], None, ["a", NAN]],
            [["a"], None, [1]],
            [{"a": 1}, None, {1: 2}],
            [[{"a": 1}], None, [{"a": "x"}]],
            [["a"], None, ["\ud800"], ["\ud800"], ["b"]],
        ],
        ids=repr,
    )
    def test_objects_that_arrow_does_not_take(self, stream: TimeSeriesStream, db: Database, values: list[Any]) -> None:
        """The error names the first value that does not go with those before it, its row, and a cure that works."""
        frame = one(pd.Series(values, dtype=object).array, pd.date_range("2024-01-01", periods=len(values)))
        with pytest.raises(UsageError, match=r"column 'x' .* at row 2\b.*frame\['x'\]\.astype\(str\)") as caught:
            stream.append(frame)
        assert (caught.value.column, caught.value.row) == ("x", 2)
        assert repr(values[2]) in str(caught.value)
        assert not db.exists(stream.key)
        frame["x"] = frame["x"].astype(str)
        comes_back(stream, frame)

    def test_a_decimal_that_cannot_be_compared(self, stream: TimeSeriesStream, db: Database) -> None:
        """So does that of a signalling NaN, with which pandas, too, does nothing."""
        frame = objects(Decimal(1), None, Decimal("sNaN"))
        with pytest.raises(UsageError, match=r"column 'x' .*sNaN.* at row 2\b.*frame\['x'\]\.map\(str\)") as caught:
            stream.append(frame)
        assert (caught.value.column, caught.value.row) == ("x", 2)
        assert not db.exists(stream.key)
        frame["x"] = frame["x"].map(str)
        comes_back(stream, frame)

    def test_categories_with_a_strange_name(self, stream: TimeSeriesStream, db: Database) -> None:
        """Categories whose name could not be read back are refused, with a cure that works."""
        frame = one(pd.Categorical(["a", "b", None], categories=pd.Index(["a", "b"], name=pd.Timedelta(1))))
        with pytest.raises(
            UsageError, match=r"categories of column 'x' have the name Timedelta.* Rename them"
        ) as caught:
            stream.append(frame)
        assert not db.exists(stream.key)
        exec(str(caught.value).split("`")[1], {"frame": frame})
        comes_back(stream, frame)

    def test_categories_that_are_no_text(self, stream: TimeSeriesStream, db: Database) -> None:
        """Categories of bytes that are no UTF-8 are refused, with a cure that works."""
        frame = one(pd.Categorical([b"\xff", b"a", None]))
        with pytest.raises(UsageError, match=r"category of bytes that are no text.*astype\(object\)"):
            stream.append(frame)
        assert not db.exists(stream.key)
        frame["x"] = frame["x"].astype(object)
        stream.append(frame)

    @pytest.mark.parametrize(
        ("values", "match"),
        [
            (pa.array([[b"x"], None, []]), "JSON has no bytes"),
            (pa.array([[b"x"], None, []], pa.list_(pa.binary_view())), "JSON has no bytes"),
            (pa.array([0, None, 1], pa.int64()).cast(pa.date64()), "whole days"),
        ],
        ids=lambda values: str(values.type) if isinstance(values, pa.Array) else "",
    )
    def test_arrow(self, stream: TimeSeriesStream, db: Database, values: pa.Array, match: str) -> None:
        """Arrow columns that have no text are refused; the error names the column, and nothing is written."""
        with pytest.raises(UsageError, match=f"'x'.*{match}") as caught:
            stream.append(pa.table({"when": THREE, "x": values}))
        assert caught.value.column == "x"
        assert not db.exists(stream.key)

    @pytest.mark.parametrize("data", [[1], {"a": [1]}, "text", None, np.ones(3)])
    def test_no_table(self, stream: TimeSeriesStream, db: Database, data: Any) -> None:
        """What is no table is an error."""
        with pytest.raises(UsageError, match="expected a DataFrame"):
            stream.append(data)
        assert not db.exists(stream.key)


def _comes_back_by_itself(db: Database, frame: pd.DataFrame) -> Exception | AssertionError | None:
    name = f"t:{uuid4().hex}"
    stream = db.time_series("research", [name])[name]
    try:
        comes_back(stream, frame)
    except (Exception, AssertionError) as error:
        return error
    finally:
        stream.drop()
    return None


@settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(frame=frames())
def test_random_frames(db: Database, frame: pd.DataFrame) -> None:
    """Whatever frame goes in, it comes back; where one does not, the message has its first bad column alone."""
    failed = _comes_back_by_itself(db, frame)
    if failed is None:
        return
    for position, label in enumerate(frame.columns):
        alone = frame.iloc[:, [position]]
        error = _comes_back_by_itself(db, alone)
        if error is not None:
            raise AssertionError(f"column {label!r}, {alone.dtypes.iloc[0]}: {list(alone.iloc[:, 0])}") from error
    raise AssertionError("each column comes back alone, but not together") from failed


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_each_kind_of_random_column(db: Database, kind: str) -> None:
    """Each kind of column that there is comes back, of random values."""
    from hypothesis import strategies as st

    from walrus_ts.testing import columns, indexes

    @settings(derandomize=True, deadline=None, max_examples=8, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        rows = data.draw(st.integers(0, 12))
        column = data.draw(columns(kind, rows))
        frame = pd.DataFrame({"x": pd.Series(column, dtype=object if kind.startswith("object") else None)})
        frame.index = data.draw(indexes(rows))
        error = _comes_back_by_itself(db, frame)
        if error is not None:
            raise error

    check()


@pytest.mark.parametrize("kind", LABELS)
def test_each_kind_of_random_label(db: Database, kind: str) -> None:
    """Labels of each kind come back, by themselves, as categories and as a level."""
    from hypothesis import strategies as st

    from walrus_ts.testing import labels

    @settings(derandomize=True, deadline=None, max_examples=10, database=None)
    @given(st.integers(0, 4).flatmap(lambda count: labels(kind, count)))
    def check(columns: pd.Index) -> None:
        error = _comes_back_by_itself(db, pd.DataFrame(1.0, index=THREE, columns=columns))
        if error is not None:
            raise error

    check()
