"""Streams that another program writes: columns that are declared, and values that are none of theirs."""

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from walrus_ts import Database, DataError, UsageError
from walrus_ts.timeseries import TimeSeriesStream


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream without anything in it."""
    return db.time_series("research", [key()])[key()]


class TestDtypes:
    @pytest.mark.parametrize("dtype", ["datetime64", "no dtype", "M8[D]", "complex", "period[D]"])
    def test_that_there_are_not(self, stream: TimeSeriesStream, dtype: Any, db: Database) -> None:
        """What is no dtype of a column, or has no text, is an error that names the column; nothing is written."""
        with pytest.raises(UsageError, match="column 'x'") as caught:
            stream.declare({"x": dtype})
        assert caught.value.column == "x"
        assert stream.schema is None

    def test_none(self, stream: TimeSeriesStream) -> None:
        """None is no dtype: the error shows one of text."""
        with pytest.raises(UsageError, match=r"column 'x': None is no dtype of a column.*'str'") as caught:
            stream.declare({"x": None})
        assert caught.value.column == "x"
        assert stream.schema is None

    def test_no_mapping(self, stream: TimeSeriesStream) -> None:
        """Columns without dtypes are an error that shows how to write them."""
        with pytest.raises(UsageError, match=r"mapping of labels to dtypes.*declare\(\{'price': 'float64'\}\)"):
            stream.declare(["x"])  # type: ignore[arg-type]

    @pytest.mark.parametrize("dtype", ["category", pd.CategoricalDtype(), pd.CategoricalDtype([])], ids=repr)
    def test_a_category_without_categories(self, stream: TimeSeriesStream, dtype: Any, db: Database) -> None:
        """A categorical is declared with its categories; both cures of the error work."""
        db.xadd(stream.key, {"x": "a"})
        with pytest.raises(UsageError, match=r"column 'x'.*pd\.CategoricalDtype\(\[\.\.\.\]\).*'str'"):
            stream.declare({"x": dtype})
        stream.declare({"x": "str"})
        assert stream.frame()["x"].tolist() == ["a"]
        stream.declare({"x": pd.CategoricalDtype(["b", "a"], ordered=True)})
        assert stream.frame()["x"].dtype == pd.CategoricalDtype(["b", "a"], ordered=True)


class TestCategories:
    @pytest.fixture
    def written(self, stream: TimeSeriesStream, db: Database) -> TimeSeriesStream:
        """Have a stream of categories, and a value of another program's that is none of them."""
        index = pd.DatetimeIndex(["2024-01-01", "2024-01-02"])
        stream.append(pd.DataFrame({"x": pd.Categorical(["a", "b"]), "n": pd.Categorical([1, 2])}, index=index))
        db.xadd(stream.key, {"x": "zzz", "n": "2"}, id="1704240000000-0")
        return stream

    def test_a_value_that_is_none(self, written: TimeSeriesStream) -> None:
        """A value that is none of the categories is an error that names key, id, column and value."""
        readings: list[Callable[[], Any]] = [
            written.frame,
            written.tail,
            written.scan().to_arrow,
            lambda: list(written.scan().frames()),
        ]
        for read in readings:
            with pytest.raises(DataError, match=r"'x'.*1704240000000-0.*b'zzz'.*errors='coerce'") as caught:
                read()
            error = caught.value
            assert (error.key, error.id, error.column, error.value) == (
                str(written.key).encode(),
                "1704240000000-0",
                "x",
                b"zzz",
            )

    def test_a_null_in_its_place(self, written: TimeSeriesStream) -> None:
        """`errors="coerce"` makes a null of it, and changes nothing else."""
        found = written.frame(errors="coerce")
        assert found["x"].tolist() == ["a", "b", pytest.approx(float("nan"), nan_ok=True)]
        assert found["n"].tolist() == [1, 2, 2]

    def test_as_text(self, written: TimeSeriesStream) -> None:
        """The other cure, declaring it as text, works, too."""
        written.declare({"x": "str", "n": "int64"}, unit="us")
        assert written.frame()["x"].tolist() == ["a", "b", "zzz"]

    def test_a_value_of_another_type(self, written: TimeSeriesStream, db: Database) -> None:
        """A value that is not even of the categories' type is treated alike."""
        db.xadd(written.key, {"x": "a", "n": "many"}, id="1704240000001-0")
        assert written.frame("2024-01-03", errors="coerce")["n"].tolist()[0] == 2
        assert written.frame("2024-01-03", errors="coerce")["n"].isna().tolist() == [False, True]
        with pytest.raises(DataError, match=r"'n'.*b'many'"):
            written.frame("2024-01-03", columns=["n"])


class TestCures:
    """Each error names a call of `declare` that mends it, and leaves the index as it is."""

    @pytest.fixture
    def written(self, stream: TimeSeriesStream) -> TimeSeriesStream:
        """Have a stream of nanoseconds in a zone."""
        index = pd.DatetimeIndex(["2024-01-01 00:00:00.123456789"], tz="Europe/Paris")
        stream.append(pd.DataFrame({"x": [1]}, index=index))
        return stream

    def follow(self, stream: TimeSeriesStream, error: DataError) -> pd.Series:
        """Declare as an error says."""
        before = stream.schema
        call = re.search(r"`(declare\(\{.*?\}.*?\))`", str(error))
        assert call
        eval(f"stream.{call[1].replace(', ...', '')}", {"stream": stream, "pd": pd, "pa": pa})
        assert (stream.schema.unit, stream.schema.zone) == (before.unit, before.zone)
        found = stream.frame()
        assert str(found.index[0]) == "2024-01-01 00:00:00.123456789+01:00"
        return found["x"]

    @pytest.mark.parametrize(("value", "read"), [(b"many", ["1", "many"]), (b"\xff", [b"1", b"\xff"])])
    def test_a_value_of_another_type(
        self, written: TimeSeriesStream, db: Database, value: bytes, read: list[Any]
    ) -> None:
        """A value that does not parse is read as text, or as bytes where it is no text."""
        db.xadd(written.key, {"x": value})
        with pytest.raises(DataError, match=r"'x'.*holds int64") as caught:
            written.frame()
        assert self.follow(written, caught.value).tolist() == read

    def test_bytes_in_a_column_of_text(self, stream: TimeSeriesStream, db: Database) -> None:
        """What is no UTF-8 in a stream that has no record is read as bytes."""
        db.xadd(stream.key, {"x": b"\xff"}, id="1-0")
        with pytest.raises(DataError, match=r"`declare\(\{'x': pd\.ArrowDtype\(pa\.binary\(\)\), \.\.\.\}\)`"):
            stream.frame()
        stream.declare({"x": pd.ArrowDtype(pa.binary())})
        assert stream.frame()["x"].tolist() == [b"\xff"]

    def test_no_value(self, written: TimeSeriesStream, db: Database) -> None:
        """A row without a value of a column that has no nulls is null in one that has."""
        db.xadd(written.key, {"y": "1"})
        with pytest.raises(DataError, match="no value") as caught:
            written.frame(columns=["x"])
        assert self.follow(written, caught.value).tolist() == [1, pd.NA]

    def test_a_field_that_is_not_known(self, written: TimeSeriesStream, db: Database) -> None:
        """What is read piece by piece needs a field's column: the call to declare it is in the error."""
        db.xadd(written.key, {"x": 2, "y": "1"})
        with pytest.raises(DataError, match=r"`declare\(\{'y': 'str', \.\.\.\}, unit='ns', tz='Europe/Paris'\)`"):
            list(written.scan().frames())
        written.declare({"y": "str", "x": "int64"}, unit="ns", tz="Europe/Paris")
        assert [frame["y"].isna().tolist() for frame in written.scan().frames()] == [[True, False]]


class TestNumbers:
    @pytest.mark.parametrize("many", [False, True])
    @pytest.mark.parametrize(
        ("dtype", "bad"),
        [
            *[(dtype, b"0x10") for dtype in ("int8", "int64", "uint16", "Int64", "int32[pyarrow]", "timedelta64[s]")],
            *[
                ("int64", b"0XAB"),
                ("int8", b"300"),
                ("float64", b"1e999"),
                ("float64", b"-1e999"),
                ("Float64", b"1e999"),
            ],
            *[("float32", b"1e39"), ("float16", b"1e39"), ("double[pyarrow]", b"1e999"), ("float64", b"0x10")],
        ],
    )
    def test_text_that_is_none(
        self, stream: TimeSeriesStream, db: Database, dtype: str, bad: bytes, many: bool
    ) -> None:
        """Hexadecimal digits, and a number beyond a type's range, are no values of it, however many rows are read."""
        stream.declare({"x": dtype})
        for at in range(200 if many else 1):
            db.xadd(stream.key, {"x": "1"}, id=f"{at + 1}-0")
        db.xadd(stream.key, {"x": bad}, id="1000-0")
        readings: list[Callable[[], Any]] = [stream.frame, stream.tail, stream.scan().to_arrow]
        for read in readings:
            with pytest.raises(DataError, match=r"'x'.*1000-0") as caught:
                read()
            assert caught.value.value == bad
        assert stream.frame(errors="coerce")["x"].isna().tolist()[-2:] == [False, True]

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "double[pyarrow]"])
    def test_infinity(self, stream: TimeSeriesStream, db: Database, dtype: str) -> None:
        """Infinity is a number, in each of the ways that programs write it."""
        stream.declare({"x": dtype})
        for text in ("inf", "Infinity", "+INF"):
            db.xadd(stream.key, {"x": text})
        assert stream.frame()["x"].tolist() == [float("inf")] * 3
