"""Appending frames: what is stored, under which ids, and what is refused."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import redis
from pandas.testing import assert_frame_equal

import walrus_ts
from tests.helpers import wait_until
from tests.own_server import own_server
from tests.proxy import Proxy, Way
from tests.relay import Relay
from walrus_ts import Database, DataError, LateRowsError, SchemaError, UsageError
from walrus_ts.columnar.schema import Records
from walrus_ts.pandas_io.restore import string_dtype
from walrus_ts.timeseries import TimeSeriesStream
from walrus_ts.transfer import patience
from walrus_ts.transfer.job import Job
from walrus_ts.transfer.load import append


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream without anything in it."""
    return db.time_series("research", [key()])[key()]


TEXT = string_dtype("pyarrow", "nan")  # what pandas 3 makes of text


def at(*times: str, unit: str = "us", tz: str | None = None, **columns: Any) -> pd.DataFrame:
    """Make a frame of these times; of one column `x`, counting, where none is given."""
    index = pd.DatetimeIndex(np.array(times, f"M8[{unit}]"))  # pandas 2 makes nanoseconds of texts, up to 2262
    return pd.DataFrame(columns or {"x": range(len(times))}, index=index.tz_localize(tz))


PLACES = ["index", "column", "table"]  # where the times of what is appended are


def placed(frame: pd.DataFrame, place: str) -> tuple[Any, dict[str, Any]]:
    """Have a frame's times in its index, in a column, or in one of an Arrow table; and how that is appended."""
    if place == "index":
        return frame, {}
    column = frame.reset_index(names="t")
    return (column, {"time": "t"}) if place == "column" else (pa.Table.from_pandas(column, preserve_index=False), {})


def mended(data: Any, error: UsageError) -> Any:
    """Do what an error says in its first expression."""
    cure = re.search(r"`([^`]*)`", str(error))[1]  # type: ignore[index]
    names = {"frame": data.copy() if isinstance(data, pd.DataFrame) else None, "table": data, "np": np, "pc": pc}
    if " = " not in cure:
        return eval(cure, names)
    exec(cure, names)
    return names["frame"]


def seconds(rows: int, start: str = "2024-01-01") -> pd.DataFrame:
    """Make a frame of a row a second."""
    return pd.DataFrame({"x": range(rows)}, index=pd.date_range(start, periods=rows, freq="s", unit="us"))


def times(unit: str | None, tz: str | None = None) -> pd.DatetimeIndex:
    """Make a time of a unit, with a fraction if the unit has any; NaT without a unit."""
    if unit is None:
        return pd.DatetimeIndex([None])
    fraction = {"s": 0, "ms": 1_000, "us": 1, "ns": 0}[unit]
    return pd.DatetimeIndex([pd.Timestamp("2024-01-01") + pd.Timedelta(fraction, "us")], tz=tz).as_unit(unit)


def objects(*values: Any) -> Any:
    """Make a column of Python objects, for a frame that `at` makes."""
    made = np.empty(len(values), object)
    made[:] = values
    return made


def arrow(values: Any, type_: Any) -> Any:
    """Make a column of an Arrow type."""
    return pd.array(values, dtype=f"{type_}[pyarrow]" if isinstance(type_, str) else pd.ArrowDtype(type_))


def decimals(value: str, precision: int, scale: int) -> Any:
    """Make a column of Arrow's decimals."""
    return arrow([Decimal(value)], pa.decimal128(precision, scale))


class TestOrder:
    def test_what_is_told(self, stream: TimeSeriesStream) -> None:
        """The result tells rows, and the first and the last id."""
        done = stream.append(at("2024-01-05 09:30", "2024-01-05 09:31"))
        assert done == (2, 0, "1704447000000-0", "1704447060000-0")

    def test_nothing(self, stream: TimeSeriesStream) -> None:
        """A frame without rows has no ids."""
        assert stream.append(at("2024-01-05").iloc[:0]) == (0, 0, None, None)

    @pytest.mark.parametrize("late", ["raise", "skip"])
    def test_out_of_order(self, stream: TimeSeriesStream, db: Database, late: Any) -> None:
        """An index out of order is an error that names the first such row, and the cure works."""
        frame = at("2024-01-01", "2024-01-03", "2024-01-02", "2024-01-01")
        with pytest.raises(UsageError, match=r"row 2.*sort_index\(kind='stable'\)") as caught:
            stream.append(frame, late=late)
        assert caught.value.row == 2
        assert not db.exists(stream.key)
        stream.append(frame.sort_index(kind="stable"))
        assert stream.frame()["x"].tolist() == [0, 3, 2, 1]

    @pytest.mark.parametrize(
        ("times", "match", "kept"),
        [
            (["2024-01-01", None, "2024-01-02"], r"\(NaT\) at row 1", [0, 2]),
            (["2024-01-03", "2024-01-01", "2024-01-01"], "row 1, 2024-01-01 00:00:00, is older", [1, 2, 0]),
            (
                ["1969-12-30", "1969-12-31 23:59:59", "1970-01-01"],
                "row 0 is of 1969-12-30T00:00:00, before",
                [2],
            ),
            (["2024-01-01", "9999-12-31", "10000-01-01"], "row 2 is of 10000-01-01T00:00:00, and lies", [0, 1]),
        ],
        ids=["NaT", "order", "before 1970", "after 9999"],
    )
    @pytest.mark.parametrize("place", PLACES)
    def test_cures(
        self, stream: TimeSeriesStream, db: Database, place: str, times: list[Any], match: str, kept: list[int]
    ) -> None:
        """Times that cannot be stored are an error that names the first of them and its row, and its cure works."""
        index = pd.DatetimeIndex(np.array(times, "M8[s]"))
        data, options = placed(pd.DataFrame({"x": range(3)}, index=index), place)
        with pytest.raises(UsageError, match=match) as caught:
            stream.append(data, **options)
        assert not db.exists(stream.key)
        stream.append(mended(data, caught.value), **options)
        assert stream.frame()["x"].tolist() == kept

    @pytest.mark.parametrize(
        ("wall", "unit", "zone", "match"),
        [
            ("-0001-12-31", "s", "Asia/Tokyo", "before 1970"),
            ("0001-01-01 05:00", "us", "Asia/Tokyo", "before 1970"),
            ("1677-09-21 00:13", "ns", "Asia/Tokyo", "before 1970"),
            ("1970-01-01 05:00", "us", "Asia/Tokyo", "before 1970"),
            ("2262-04-11 23:40", "ns", "America/New_York", "where nanoseconds end"),
            ("9999-12-31 20:00", "us", "America/New_York", "behind the year 9999"),
            ("20000-01-01", "s", "America/New_York", "behind the year 9999"),
        ],
    )
    def test_the_ends_of_a_zone(
        self, db: Database, key: Callable[..., str], wall: str, unit: str, zone: str, match: str
    ) -> None:
        """A naive time that has no id in the series' zone is an error that names it, and its cure works."""
        stream = db.time_series("research", [key()], tz=zone)[key()]
        times = np.array([wall, wall, "2024-01-01"], f"M8[{unit}]")
        index = pd.DatetimeIndex(np.sort(times))
        frame = pd.DataFrame({"x": range(3)}, index=index)
        with pytest.raises(UsageError, match=match) as caught:
            stream.append(frame)
        assert caught.value.row == (0 if times[0] < times[2] else 1)
        stream.append(mended(frame, caught.value))
        assert stream.length() == 1

    @pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
    def test_a_clock_set_back(self, db: Database, key: Callable[..., str], tz: str | None) -> None:
        """Local times that go back within an hour may be of a clock that was set back: the cure keeps their order."""
        stream = db.time_series("research", [key()], tz=tz)[key()]
        frame = at("2024-10-27 02:10", "2024-10-27 02:50", "2024-10-27 02:50", "2024-10-27 02:04", "2024-10-27 02:50")
        with pytest.raises(UsageError, match="clock was set back") as caught:
            stream.append(frame)
        (cure,) = re.findall(r"`(frame\.index = frame\.index\.tz_localize\(.*)`", str(caught.value))
        exec(cure.replace("'...'", "'Europe/Berlin'"), {"frame": frame, "np": np})
        stream.append(frame)
        assert stream.frame()["x"].tolist() == [0, 1, 2, 3, 4]
        hours = [f"2024-10-27 0{hour}" for hour in (0, 0, 0, 1, 1)]
        assert [f"{time.tz_convert('UTC'):%Y-%m-%d %H}" for time in stream.frame().index] == hours

    def test_late_rows(self, stream: TimeSeriesStream) -> None:
        """Late rows are an error that says how many, the first of them, and what the stream ends with."""
        stream.append(at("2024-01-02"))
        with pytest.raises(LateRowsError, match=r"2 rows.*1704153600000-0.*row 0.*late='skip'") as caught:
            stream.append(at("2024-01-01", "2024-01-01 12:00", "2024-01-03"))
        assert caught.value.rows == 2
        assert caught.value.row == 0
        assert stream.length() == 1

    @pytest.mark.parametrize(
        ("tz", "unit", "time", "said"),
        [
            (None, "s", "2024-01-01", "2024-01-01 00:00:00"),
            (None, "ns", "2024-01-01 09:30:00.000000250", "2024-01-01 09:30:00.00000025"),
            ("America/New_York", "us", "2024-01-01 09:30:00.25", "2024-01-01 09:30:00.25-05:00"),
        ],
    )
    def test_late_rows_in_their_own_time(
        self, stream: TimeSeriesStream, tz: str | None, unit: str, time: str, said: str
    ) -> None:
        """The error has the times as the frame has them: in its zone, with all their digits."""
        stream.append(at("2024-01-02", tz=tz, unit="s"))
        offset = "-05:00" if tz else ""
        with pytest.raises(LateRowsError) as caught:
            stream.append(at(time, tz=tz, unit=unit), evolve=True)
        assert f"-0 (2024-01-02 00:00:00{offset}); " in str(caught.value)
        assert f" is row 0, {said}. " in str(caught.value)

    def test_late_rows_at_the_end_of_time(self, stream: TimeSeriesStream, db: Database) -> None:
        """Rows and ids that have no time in the frame's zone are late all the same."""
        frame = at("9999-12-31 22:00", tz="UTC", unit="s").tz_convert("Asia/Tokyo")
        db.xadd(stream.key, {"x": 1}, f"{2**63}-0")
        with pytest.raises(LateRowsError, match=r"id 9223372036854775808-0; .* row 0, 9999-12-31 22:00:00\+00:00"):
            stream.append(frame)

    def test_late_rows_skipped(self, stream: TimeSeriesStream) -> None:
        """Late rows may be left out; they are counted."""
        stream.append(at("2024-01-02"))
        frame = at("2024-01-01", "2024-01-01 12:00", "2024-01-02", "2024-01-03")
        assert stream.append(frame, late="skip") == (2, 2, "1704153600000-1", "1704240000000-0")
        assert stream.frame()["x"].tolist() == [0, 2, 3]

    def test_all_rows_late(self, stream: TimeSeriesStream) -> None:
        """A frame that is late as a whole is skipped as a whole."""
        stream.append(at("2024-01-02"))
        assert stream.append(at("2024-01-01"), late="skip") == (0, 1, None, None)

    def test_rows_are_late_even_when_the_newest_were_deleted(self, stream: TimeSeriesStream) -> None:
        """Deleting the newest rows does not take back the id that the stream ends with."""
        stream.append(seconds(10))
        assert stream.delete_range("2024-01-01 00:00:05", None) == 5
        with pytest.raises(LateRowsError):
            stream.append(at("2024-01-01 00:00:08"))

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_counters_continue(self, stream: TimeSeriesStream, unit: str) -> None:
        """Rows of the time at which the stream ends get the next counters."""
        frame = at("2024-01-01", "2024-01-01", unit=unit)
        stream.append(frame)
        done = stream.append(frame)
        assert (done.first_id, done.last_id) == ("1704067200000-2", "1704067200000-3")
        assert stream.frame()["x"].tolist() == [0, 1, 0, 1]

    def test_counters_of_a_nanosecond(self, stream: TimeSeriesStream) -> None:
        """Counters continue within one nanosecond, and begin anew in the next."""
        index = pd.DatetimeIndex([1_000_007, 1_000_007, 1_000_008])
        stream.append(pd.DataFrame({"x": [0, 1, 2]}, index=index))
        done = stream.append(pd.DataFrame({"x": [3, 4]}, index=index[2:].repeat(2)))
        assert done.first_id == f"1-{(8 << 20) + 1}"
        assert stream.frame().index.asi8.tolist() == [1_000_007] * 2 + [1_000_008] * 3

    def test_redis_own_ids_continue(self, stream: TimeSeriesStream, db: Database) -> None:
        """Entries that Redis numbers itself continue the series, and are continued."""
        stream.append(at("2024-01-01", unit="ms"))
        db.xadd(stream.key, {"x": 7}, "1704067200000-*")
        done = stream.append(at("2024-01-01", unit="ms"))
        assert done.first_id == "1704067200000-2"
        assert stream.frame()["x"].tolist() == [0, 7, 0]

    @pytest.mark.parametrize("late", ["raise", "skip"])
    @pytest.mark.parametrize("left", [0, 1])
    def test_a_millisecond_without_ids(self, stream: TimeSeriesStream, db: Database, left: int, late: Any) -> None:
        """Where another program's id leaves too few behind it, that is an error before anything is written."""
        last = f"1704067200000-{2**64 - 1 - left}"
        db.xadd(stream.key, {"x": 7}, last)
        with pytest.raises(UsageError, match=rf"{last}.*has {left} ids left, and 2 rows") as caught:
            stream.append(at("2024-01-01", "2024-01-01", "2024-01-02", unit="ms"), late=late)
        assert not isinstance(caught.value, LateRowsError)
        assert len(stream) == 1
        rows = at("2024-01-01", "2024-01-02", unit="ms") if left else at("2024-01-02", unit="ms")
        assert stream.append(rows).rows == 1 + left


class TestClocks:
    def test_naive_into_zoned(self, stream: TimeSeriesStream) -> None:
        """A naive frame does not go into a zoned stream; the cure that the error names works."""
        stream.append(at("2024-01-01", tz="Europe/Berlin"))
        late = at("2024-01-02")
        with pytest.raises(SchemaError, match="tz_localize"):
            stream.append(late)
        stream.append(late.tz_localize("Europe/Berlin"))
        assert str(stream.frame().index[1]) == "2024-01-02 00:00:00+01:00"

    def test_zoned_into_naive(self, stream: TimeSeriesStream) -> None:
        """A zoned frame does not go into a naive stream; the cure that the error names works."""
        stream.append(at("2024-01-01"))
        with pytest.raises(SchemaError, match="tz_convert"):
            stream.append(at("2024-01-02", tz="Europe/Berlin"))
        stream.append(at("2024-01-02", tz="Europe/Berlin").tz_convert("UTC").tz_localize(None))
        assert stream.length() == 2

    def test_another_zone(self, stream: TimeSeriesStream) -> None:
        """A frame of another zone comes back in the stream's."""
        stream.append(at("2024-01-01", tz="Europe/Berlin"))
        stream.append(at("2024-01-02", tz="America/New_York"))
        assert str(stream.frame().index[1]) == "2024-01-02 06:00:00+01:00"

    def test_localised_to_the_series_zone(self, db: Database, key: Callable[..., str]) -> None:
        """With a zone of its own, a time series localises naive frames to it."""
        stream = db.time_series("research", [key()], tz="Europe/Berlin")[key()]
        stream.append(at("2024-01-01"))
        assert str(stream.frame().index[0]) == "2024-01-01 00:00:00+01:00"
        assert stream.schema is not None
        assert stream.schema.zone == "Europe/Berlin"

    @pytest.mark.parametrize(
        ("wall", "often", "cured"),
        [
            ("2023-10-29 02:30", "twice", "2023-10-29 02:30+02:00"),
            ("2023-03-26 02:30", "never", "2023-03-26 03:00+02:00"),
        ],
    )
    @pytest.mark.parametrize("place", PLACES)
    def test_a_wall_clocks_time_twice_or_never(
        self, db: Database, key: Callable[..., str], wall: str, often: str, cured: str, place: str
    ) -> None:
        """A naive time that the zone has twice or never is an error that names it and a cure; nothing is written."""
        stream = db.time_series("research", [key()], tz="Europe/Berlin")[key()]
        data, options = placed(at("2023-01-01", wall, wall), place)
        with pytest.raises(
            UsageError, match=rf"{wall}:00 at row 1 is there {often}.*ambiguous=.*nonexistent="
        ) as caught:
            stream.append(data, **options)
        assert caught.value.row == 1
        assert not db.exists(key())
        stream.append(mended(data, caught.value), **options)
        assert stream.frame().index[1] == pd.Timestamp(cured)

    def test_a_series_zone_over_a_naive_stream(self, db: Database, key: Callable[..., str]) -> None:
        """A zone over a stream whose record is naive is an error that says so."""
        db.time_series("research", [key()])[key()].append(at("2024-01-01"))
        stream = db.time_series("research", [key()], tz="Europe/Berlin")[key()]
        for do in (stream.frame, lambda: stream.append(at("2024-01-02"))):
            with pytest.raises(SchemaError, match="naive"):
                do()


class TestSchema:
    def test_columns_in_another_order(self, stream: TimeSeriesStream) -> None:
        """Columns may come in another order."""
        stream.append(at("2024-01-01", a=[1], b=["x"]))
        stream.append(at("2024-01-02", b=["y"], a=[2]))
        assert_frame_equal(stream.frame(), at("2024-01-01", "2024-01-02", a=[1, 2], b=["x", "y"]))

    def test_a_missing_column_with_nulls(self, stream: TimeSeriesStream) -> None:
        """A missing column is nulls where its dtype has them."""
        stream.append(
            at("2024-01-01", a=[1], f=[1.5], t=["x"], d=[pd.Timestamp("2024")], n=pd.array([1], dtype="Int64"))
        )
        stream.append(at("2024-01-02", a=[2]))
        assert stream.frame().iloc[1, 1:].isna().all()
        assert stream.frame().dtypes["n"] == "Int64"

    @pytest.mark.parametrize("values", [[1], [True]])
    def test_a_missing_column_without_nulls(self, stream: TimeSeriesStream, values: Any) -> None:
        """A missing column of ints or bools is an error, unless the record may be widened."""
        stream.append(at("2024-01-01", a=[1.5], n=values))
        with pytest.raises(SchemaError, match=r"'n'.*evolve=True"):
            stream.append(at("2024-01-02", a=[2.5]))
        assert stream.length() == 1
        stream.append(at("2024-01-02", a=[2.5]), evolve=True)
        assert stream.frame()["n"].tolist() == [values[0], pd.NA]
        stream.append(at("2024-01-03", a=[2.5]))

    def test_a_new_column(self, stream: TimeSeriesStream) -> None:
        """A new column is an error that names both cures; both work."""
        stream.append(at("2024-01-01", a=[1]))
        frame = at("2024-01-02", a=[2], b=[3])
        with pytest.raises(SchemaError, match=r"'b'.*evolve=True.*drop") as caught:
            stream.append(frame)
        assert caught.value.column == "b"
        stream.append(frame.drop(columns="b"))
        stream.append(at("2024-01-03", a=[2], b=[3]), evolve=True)
        assert stream.frame()["b"].tolist() == [pd.NA, pd.NA, 3]
        assert stream.frame()["b"].dtype == "Int64"
        assert stream.frame()["a"].dtype == "int64"

    @pytest.mark.parametrize(
        ("first", "second", "row"),
        [
            (np.array([1], "int64"), np.array([2.0, 2.5]), 1),
            (np.array([1], "int8"), np.array([127, 128], "int64"), 1),
            (np.array([1], "int64"), np.array([1, 2**63], "uint64"), 1),
            (np.array([1.5], "float32"), np.array([0.5, 0.1]), 1),
            (np.array([1.5], "float64"), np.array([1, 2**53 + 1], "int64"), 1),
            (np.array([1.5], "float64"), np.array(["1", "n/a"], object), 0),
            (np.array(["x"], object), np.array([1, 2]), 0),
            (np.array([True]), np.array([1, 0]), 0),
            (np.array([1]), np.array([True, False]), 0),
            (np.array(["2024"], "M8[s]"), np.array(["2024", "2024-01-01T00:00:00.5"], "M8[ms]"), 1),
            (pd.Categorical(["a"]), np.array(["a", "b"], object), 1),
            (pd.array([[1]], object), pd.array([[2.0], [3.5]], object), 1),
            (pd.array([[1]], object), pd.array([["2"], ["3"]], object), 0),
            (pd.array([[1]], object), pd.array([{"item": 2}, {"item": 3}], object), 0),
        ],
        ids=repr,
    )
    def test_values_that_do_not_fit(self, stream: TimeSeriesStream, first: Any, second: Any, row: int) -> None:
        """Values that the record's type cannot hold are an error with the column, the first row and its value."""
        stream.append(at("2024-01-01", x=first))
        with pytest.raises(SchemaError, match=rf"'x'.*row {row}") as caught:
            stream.append(at("2024-01-02", "2024-01-03", x=second))
        assert (caught.value.column, caught.value.row) == ("x", row)
        assert stream.length() == 1

    @pytest.mark.parametrize(
        ("first", "second", "said"),
        [
            (
                np.array(["2024"], "M8[us]"),
                np.array(["x"], object),
                "holds timestamp[us], and this frame has string in it",
            ),
            (np.array([0.5]), pd.array([[1]], object), "holds float64, and this frame has list<item: int64> in it"),
            (np.array([1]), np.array([None], object), "holds int64, which has no null"),
        ],
        ids=["times", "numbers", "null"],
    )
    def test_types_as_the_schema_has_them(self, stream: TimeSeriesStream, first: Any, second: Any, said: str) -> None:
        """The error calls types by the names that people know."""
        stream.append(at("2024-01-01", x=first))
        with pytest.raises(SchemaError, match=re.escape(said)):
            stream.append(at("2024-01-02", x=second))

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (np.array([1], "int64"), np.array([2.0, 3.0])),
            (np.array([1], "int8"), np.array([2, 3], "uint64")),
            (np.array([1.5], "float32"), np.array([0.5, 2.0])),
            (np.array([1.5]), np.array([1, 2**53])),
            (np.array(["2024"], "M8[s]"), np.array(["2024", "2025"], "M8[ns]")),
            (pd.Categorical(["a"], categories=["a", "b"]), np.array(["a", "b"], object)),
            (np.array(["x"], object), pd.array(["a", "b"], dtype="string")),
            (np.array(["x"], object), pd.Categorical(["a", "b"])),
            (pd.array([1], dtype="Int64"), np.array([2, 3])),
        ],
        ids=repr,
    )
    def test_values_that_fit(self, stream: TimeSeriesStream, first: Any, second: Any) -> None:
        """Values of another dtype are taken where the record's can hold them exactly; it stays as it is."""
        stream.append(at("2024-01-01", x=first))
        dtype = stream.frame()["x"].dtype
        stream.append(at("2024-01-02", "2024-01-03", x=second))
        found = stream.frame()["x"]
        assert found.dtype == dtype
        assert found.tolist()[1:] == list(pd.Series(second).astype(dtype))

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ([[1, 2]], [[]]),
            ([[1]], [[None]]),
            ([[[1]]], [[[]]]),
            ([{"a": 1}], [{"a": None}]),
            ([[{"a": 1}]], [[{"a": None}]]),
            ([1.5], [float("nan")]),
            (pd.array(["x"], dtype=TEXT), [float("nan")]),
        ],
        ids=repr,
    )
    def test_what_is_null_or_empty_fits(self, stream: TimeSeriesStream, first: Any, second: Any) -> None:
        """Objects that are all null, or empty within, fit what the record holds there."""
        stream.append(at("2024-01-01", x=first))
        stream.append(at("2024-01-02", x=pd.array(second, object)))
        assert repr(stream.frame()["x"].tolist()) == repr([*first, *second])

    @pytest.mark.parametrize(
        ("first", "second"),
        [([None], [1]), ([[]], [[1]]), ([[[]]], [[[1]]]), ([{"a": None, "b": 1}], [{"a": 2, "b": 1}])],
        ids=repr,
    )
    def test_null_or_empty_so_far(self, stream: TimeSeriesStream, first: Any, second: Any) -> None:
        """Where a record holds nothing but nulls so far, `evolve=True` makes it whatever comes, as the error says."""
        stream.append(at("2024-01-01", x=first))
        frame = at("2024-01-02", x=pd.array(second, object))
        with pytest.raises(SchemaError, match=r"null.*row 0. `evolve=True`"):
            stream.append(frame)
        stream.append(frame, evolve=True)
        assert stream.frame()["x"].tolist() == [*first, *second]

    def test_nulls_without_a_type(self, stream: TimeSeriesStream) -> None:
        """Arrow's column of nulls fits every column that may be null."""
        frame = at("2024-01-01", a=[1.5], b=["x"], c=pd.to_datetime(["2024"]), d=pd.array([1], "Int8"))
        stream.append(frame)
        nulls = {label: pd.array([None], dtype=pd.ArrowDtype(pa.null())) for label in frame}
        stream.append(at("2024-01-02", **nulls))
        assert stream.frame().dtypes.equals(frame.dtypes)
        assert stream.frame().isna().to_numpy().tolist() == [[False] * 4, [True] * 4]

    def test_a_null_among_ints(self, stream: TimeSeriesStream) -> None:
        """A null in a column of ints is an error with its row, unless the record may be widened to nullable ints."""
        stream.append(at("2024-01-01", x=[2**62 + 1]))
        frame = at("2024-01-02", "2024-01-03", x=pd.array([1, None], dtype="Int64"))
        with pytest.raises(SchemaError, match=r"'x'.*row 1.*fillna.*evolve=True"):
            stream.append(frame)
        stream.append(frame, evolve=True)
        assert stream.frame()["x"].dtype == "Int64"
        assert stream.frame()["x"].tolist() == [2**62 + 1, 1, pd.NA]

    @pytest.mark.parametrize(
        ("first", "second", "wide"),
        [
            (np.array([1], "int8"), np.array([2**40], "int64"), "int64"),
            (np.array([1], "uint8"), np.array([-1], "int8"), "int16"),
            (np.array([1], "int32"), np.array([1.5]), "float64"),
            (pd.array([1], dtype="Int8"), pd.array([300], dtype="Int16"), "Int16"),
        ],
        ids=repr,
    )
    def test_widened(self, stream: TimeSeriesStream, first: Any, second: Any, wide: str) -> None:
        """`evolve=True` widens a column to the smallest type that holds the old values and the new."""
        stream.append(at("2024-01-01", x=first))
        stream.append(at("2024-01-02", x=second), evolve=True)
        assert stream.frame()["x"].dtype == wide
        assert list(stream.frame()["x"]) == [*pd.Series(first).astype(wide), *pd.Series(second).astype(wide)]

    @pytest.mark.parametrize(
        ("first", "second", "wide"),
        [
            (times("s"), times("ms"), "datetime64[ms]"),
            (times("s"), times("us"), "datetime64[us]"),
            (times("ms", "Europe/Berlin"), times("us", "UTC"), "datetime64[us, Europe/Berlin]"),
            (arrow(times("s"), "timestamp[s]"), times("ms"), "timestamp[ms][pyarrow]"),
            (decimals("1.10", 5, 2), decimals("123.456", 20, 6), "decimal128(20, 6)"),
            (decimals("1.10", 38, 2), decimals("0.001", 5, 3), "decimal256(39, 3)"),
            (objects(Decimal("1.10")), objects(Decimal("123.456")), "object"),
            (objects(Decimal("1.10")), objects(Decimal("123456789.1")), "object"),
            (arrow([1], pa.int8()), np.array([300]), "int64[pyarrow]"),
        ],
        ids=repr,
    )
    def test_widened_to_more_digits(self, stream: TimeSeriesStream, first: Any, second: Any, wide: str) -> None:
        """`evolve=True` takes finer times and longer decimals, and keeps the kind of dtype that the column has."""
        stream.append(at("2024-01-01", x=first))
        stream.append(at("2024-01-02", x=second), evolve=True)
        found = stream.frame()["x"]
        assert str(found.dtype).startswith(wide)
        assert found.tolist() == [*pd.Series(first), *pd.Series(second)]

    @pytest.mark.parametrize("evolve", [False, True])
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"a": 1, "b": 2}, {"a": 1}),
            ({"a": 1}, {"a": 1, "b": 2}),
            ({"a": 1}, {"a": 1, "b": None}),
            ([{"a": [{"x": 1}]}], [{"a": [{"x": 1, "y": 2}]}]),
        ],
        ids=repr,
    )
    def test_dicts_keep_their_keys(self, stream: TimeSeriesStream, first: Any, second: Any, evolve: bool) -> None:
        """Dicts as objects have the keys that they had: others are refused, for they would come back with these."""
        stream.append(at("2024-01-01", x=objects(first)))
        with pytest.raises(SchemaError, match="'x'"):
            stream.append(at("2024-01-02", x=objects(second)), evolve=evolve)
        stream.append(at("2024-01-02", x=objects(first)))
        assert stream.frame()["x"].tolist() == [first, first]

    def test_decimals_among_objects_have_room(self, stream: TimeSeriesStream) -> None:
        """Decimals that are objects may grow, up to 38 digits, without a change of the record."""
        stream.append(at("2024-01-01", x=objects(Decimal("1.10"))))
        stream.append(at("2024-01-02", x=objects(Decimal("12345678901234567890.5"))))
        assert stream.frame()["x"].tolist() == [Decimal("1.10"), Decimal("12345678901234567890.5")]

    def test_never_widened_to_nanoseconds(self, stream: TimeSeriesStream) -> None:
        """A column of coarser times is not widened to nanoseconds, which end in 2262: what is stored may lie behind."""
        stream.append(at("2024-01-01", x=np.array(["2500-01-01"], "M8[s]")))
        with pytest.raises(SchemaError, match="'x'"):
            stream.append(at("2024-01-02", x=np.array([1], "M8[ns]")), evolve=True)
        stream.append(at("2024-01-02", x=np.array([1_000], "M8[ns]")), evolve=True)  # a whole microsecond
        assert stream.frame()["x"].dtype == "datetime64[us]"

    @pytest.mark.parametrize(
        "column",
        [
            pd.array(["a"], dtype=TEXT),
            times("us"),
            pd.Categorical(["a"]),
            pd.Categorical(["a"], ordered=True),
            pd.array([1], dtype="Int64"),
            objects(b"x"),
            objects([1, 2]),
            arrow([{"a": 1}], pa.struct([("a", pa.int64())])),
        ],
        ids=lambda column: str(getattr(column, "dtype", column)),
    )
    @pytest.mark.parametrize(
        "nulls",
        [np.array([np.nan]), pd.Categorical([None]), pd.array([None], dtype=TEXT), objects(None), times(None)],
        ids=lambda nulls: str(getattr(nulls, "dtype", nulls)),
    )
    def test_nothing_but_nulls(self, stream: TimeSeriesStream, column: Any, nulls: Any) -> None:
        """A column of nothing but nulls, of whichever dtype, fits any column that may be null."""
        stream.append(at("2024-01-01", x=column))
        stream.append(at("2024-01-02", x=nulls))
        assert stream.frame()["x"].isna().tolist() == [False, True]
        assert stream.frame()["x"].dtype == at("2024-01-01", x=column)["x"].dtype

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (pd.Index(["a"], name="field"), pd.Index(["a", "b"], name="field")),
            (pd.Index(["a"], name="field"), pd.Index(["b"])),
            (pd.Index([1], name="field", dtype="int8"), pd.Index([2], dtype="int8", name="field")),
            (pd.Index([1], name="field"), pd.Index(["b"])),
            (pd.MultiIndex.from_tuples([("a", 1)], names=["x", "y"]), pd.MultiIndex.from_tuples([("b", 2)])),
            (pd.date_range("2024", periods=1, name="day"), pd.date_range("2024", periods=2)),
            (
                pd.CategoricalIndex(["a"], categories=["b", "a"], ordered=True, name="field"),
                pd.CategoricalIndex(["b"], categories=["b", "a"], ordered=True),
            ),
        ],
        ids=repr,
    )
    def test_labels_keep_their_names(self, stream: TimeSeriesStream, first: pd.Index, second: pd.Index) -> None:
        """A new column leaves the columns their names and, where the new frame has the same, their dtype."""
        for hour, labels in enumerate((first, second)):
            index = pd.DatetimeIndex([pd.Timestamp(2024, 1, 1, hour)]).as_unit("us")
            stream.append(pd.DataFrame(1.0, index=index, columns=labels), evolve=True)
        found = stream.frame().columns
        assert found.names == first.names
        assert found.tolist() == list(dict.fromkeys([*first, *second]))
        if first.dtype == second.dtype:
            assert found.dtype == first.dtype

    @pytest.mark.parametrize(("first", "second"), [(2**53 + 1, 1.5), (1.5, 2**53 + 1)])
    def test_never_widened_to_a_float_that_rounds(self, stream: TimeSeriesStream, first: Any, second: Any) -> None:
        """A record is never widened to a float that would round what is stored."""
        stream.append(at("2024-01-01", x=[first]))
        with pytest.raises(SchemaError):
            stream.append(at("2024-01-02", x=[second]), evolve=True)
        assert stream.frame()["x"].tolist() == [first]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (np.array([1], "m8[s]"), np.array([1], "m8[ns]")),
            (np.array([0.1], "float32"), np.array([0.1])),
            (np.array([0.1], "float16"), np.array([0.1], "float32")),
        ],
        ids=repr,
    )
    def test_never_widened_where_the_stored_text_would_change_its_meaning(
        self, stream: TimeSeriesStream, first: Any, second: Any
    ) -> None:
        """A record is never widened to a type in which the text that is stored stands for something else."""
        stream.append(at("2024-01-01", x=first))
        with pytest.raises(SchemaError):
            stream.append(at("2024-01-02", x=second), evolve=True)
        assert_frame_equal(stream.frame(), at("2024-01-01", x=first))

    def test_categories(self, stream: TimeSeriesStream) -> None:
        """`evolve=True` adds categories behind those that there are."""
        stream.append(at("2024-01-01", x=pd.Categorical(["b"], categories=["b", "unused"])))
        stream.append(at("2024-01-02", x=pd.Categorical(["a"])), evolve=True)
        assert stream.frame()["x"].cat.categories.tolist() == ["b", "unused", "a"]
        assert stream.frame()["x"].tolist() == ["b", "a"]

    def test_categories_that_are_no_text(self, stream: TimeSeriesStream) -> None:
        """Bytes that are no text are never added to categories, which are on record as text."""
        stream.append(at("2024-01-01", x=pd.Categorical([b"a"])))
        stream.append(at("2024-01-02", x=objects(b"b")), evolve=True)
        with pytest.raises(SchemaError, match=r"'x'.*b'\\xff'") as caught:
            stream.append(at("2024-01-03", x=objects(b"\xff")), evolve=True)
        assert caught.value.value == b"\xff"
        assert stream.frame()["x"].tolist() == [b"a", b"b"]

    def test_ordered_categories(self, stream: TimeSeriesStream) -> None:
        """Ordered categories are not added to: nobody knows where the new one belongs."""
        stream.append(at("2024-01-01", x=pd.Categorical(["b"], ordered=True)))
        with pytest.raises(SchemaError, match="ordered"):
            stream.append(at("2024-01-02", x=pd.Categorical(["a"], ordered=True)), evolve=True)

    def test_a_finer_index(self, stream: TimeSeriesStream) -> None:
        """A finer index is taken where the unit can express it, else `evolve=True` widens the record."""
        stream.append(at("2024-01-01", unit="s"))
        stream.append(at("2024-01-02", unit="ns"))
        assert stream.frame().index.unit == "s"
        fine = at("2024-01-03 00:00:00.5", unit="ms")
        with pytest.raises(SchemaError, match=r"'s'.*row 0.*evolve=True.*floor"):
            stream.append(fine)
        stream.append(fine, evolve=True)
        assert stream.frame().index.unit == "ms"
        assert stream.frame().index[-1] == fine.index[0]

    def test_a_time_that_nanoseconds_do_not_reach(self, stream: TimeSeriesStream) -> None:
        """The cure for a time that the record's unit does not reach works."""
        stream.append(at("2024-01-01", unit="ns"))
        frame = at("2024-01-02", "2024-01-03")
        frame.index = pd.DatetimeIndex(np.array(["2024-01-02", "2500-01-01"], "M8[us]"))
        for evolve in (False, True):
            with pytest.raises(SchemaError, match=r"'ns'.*row 1.*frame\[frame\.index < '2262-04-11'\]") as caught:
                stream.append(frame, evolve=evolve)
            assert "evolve" not in str(caught.value)
            assert "floor" not in str(caught.value)
        assert stream.append(frame[frame.index < "2262-04-11"]).rows == 1

    def test_the_cure_for_a_finer_index_works(self, stream: TimeSeriesStream) -> None:
        """Rounding the index as the error says makes it fit."""
        stream.append(at("2024-01-01", unit="s"))
        frame = at("2024-01-03 00:00:00.5", unit="ms")
        frame.index = frame.index.floor("s")
        stream.append(frame)
        assert stream.length() == 2

    def test_coarse_counters_and_a_finer_unit(self, stream: TimeSeriesStream) -> None:
        """Rows that were counted under a coarse unit keep their times when the unit is widened."""
        stream.append(at("2024-01-01", "2024-01-01", unit="ms"))
        stream.append(at("2024-01-01 00:00:00.000001", unit="us"), evolve=True)
        assert stream.frame().index.tolist() == [
            pd.Timestamp("2024-01-01"),
            pd.Timestamp("2024-01-01"),
            pd.Timestamp("2024-01-01 00:00:00.000001"),
        ]


class TestOtherData:
    def test_arrow(self, stream: TimeSeriesStream) -> None:
        """An Arrow table is stored by its only timestamp column, or by the one that is named."""
        times = pa.array([1, 2], pa.timestamp("ms"))
        stream.append(pa.table({"x": [1, 2], "when": times}))
        assert stream.frame().index.name == "when"
        assert stream.frame()["x"].tolist() == [1, 2]
        with pytest.raises(UsageError, match=r"found 2: .*'a', 'b'"):
            stream.append(pa.table({"a": times, "b": times}))
        with pytest.raises(UsageError, match="expected a timestamp column"):
            stream.append(pa.table({"a": [1]}))

    def test_named_column(self, stream: TimeSeriesStream) -> None:
        """A frame is stored by the column of times that `time` names."""
        stream.append(pd.DataFrame({"x": [1], "when": pd.to_datetime(["2024-01-01"])}), time="when")
        assert_frame_equal(
            stream.frame(), pd.DataFrame({"x": [1]}, index=pd.DatetimeIndex(["2024-01-01"], name="when"))
        )
        with pytest.raises(UsageError, match="no such column"):
            stream.append(pd.DataFrame({"x": [1]}), time="when")

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            (["2024-01-01", "2024-01-02"], "str"),
            (["2024-01-01", "2024-01-02"], "category"),
            (pd.to_datetime(["2024-01-01", "2024-01-02"]).date, object),
            ([1704067200, 1704153600], "int64"),
            (pd.to_datetime(["2024-01-01", "2024-01-02"]), pd.ArrowDtype(pa.timestamp("us"))),
            (pd.period_range("2024-01-01", periods=2, freq="D"), None),
            (pd.to_timedelta([0, 1], unit="D"), None),
            (pd.interval_range(pd.Timestamp("2024-01-01"), periods=2), None),
        ],
        ids=repr,
    )
    def test_a_named_column_of_no_times(self, stream: TimeSeriesStream, values: Any, dtype: Any) -> None:
        """Where the column that `time` names holds no times, the error names it, and its cure works."""
        frame = pd.DataFrame({"when": pd.Series(values, dtype=dtype), "x": [1, 2]})
        with pytest.raises(UsageError, match=r"'when' has to hold times.*found") as caught:
            stream.append(frame, time="when")
        exec(re.search(r"`(.*?)`", str(caught.value))[1], {"pd": pd, "frame": frame})
        stream.append(frame, time="when")
        assert stream.frame().index.tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]

    @pytest.mark.parametrize(
        "values",
        [
            ["2024-01-01", "2024-01-02"],
            [1704067200, 1704153600],
            pd.IntervalIndex.from_arrays([1704067200, 1704153600], [1704153600, 1704240000]),
            pd.period_range("2024-01-01", periods=2, freq="D"),
            pd.to_timedelta([0, 1], unit="D"),
            pd.interval_range(pd.Timestamp("2024-01-01"), periods=2),
            pd.Index(pd.array([0, 86_400], dtype="duration[s][pyarrow]")),
        ],
        ids=repr,
    )
    def test_an_index_of_no_times(self, stream: TimeSeriesStream, values: Any) -> None:
        """Where the index holds no times, the error's cure makes them of it."""
        frame = pd.DataFrame({"x": [1, 2]}, index=values)
        with pytest.raises(UsageError, match=f"DatetimeIndex; found {type(frame.index).__name__} of") as caught:
            stream.append(frame)
        exec(re.search(r"`(.*?)`", str(caught.value))[1], {"pd": pd, "frame": frame})
        stream.append(frame)
        assert stream.frame().index.tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]

    def test_an_index_of_several_levels(self, stream: TimeSeriesStream) -> None:
        """Of an index of several levels, the error's cure leaves the times; without any, it asks for a column."""
        levels = pd.MultiIndex.from_product([["a"], pd.to_datetime(["2024-01-01", "2024-01-02"]), [7]])
        frame = pd.DataFrame({"x": [1, 2]}, index=levels)
        with pytest.raises(UsageError, match=r"found MultiIndex of .*, datetime64.*, int64") as caught:
            stream.append(frame)
        stream.append(eval(re.search(r"`(.*?)`", str(caught.value))[1], {"frame": frame}))
        assert stream.frame().columns.tolist() == ["level_0", "level_2", "x"]
        with pytest.raises(UsageError, match=r"`frame.reset_index\(\)`, and name .* `append\(frame, time="):
            stream.append(frame.droplevel(1))

    def test_an_index_that_no_times_can_be_made_of(self, stream: TimeSeriesStream) -> None:
        """Where no times can be made of the index, the error asks for a column."""
        with pytest.raises(UsageError, match=r"found Index of bool. Name the column .* `append\(frame, time="):
            stream.append(pd.DataFrame({"x": [1, 2]}, index=[True, False]))

    def test_rows_that_are_only_numbered(self, stream: TimeSeriesStream) -> None:
        """Where the index only numbers the rows, the error asks for a column, and makes no times of the numbers."""
        frame = pd.DataFrame({"when": pd.to_datetime(["2024-01-01"]), "x": [1]})
        with pytest.raises(
            UsageError, match=r"found RangeIndex of int64. Name the column .* `append\(frame, time="
        ) as e:
            stream.append(frame)
        assert "to_datetime" not in str(e.value)

    @pytest.mark.parametrize(
        "column",
        [pa.array(["2024-01-01 09:30"]), pa.array([1_704_101_400_000_000]), pa.array([19_723], pa.date32())],
        ids=lambda column: str(column.type),
    )
    @pytest.mark.parametrize("options", [{}, {"time": "t"}], ids=str)
    def test_arrow_data_without_times(
        self, stream: TimeSeriesStream, column: pa.Array, options: dict[str, Any]
    ) -> None:
        """Where no column of Arrow data is of times, the error lists those that there are, and its cure works."""
        table = pa.table({"t": column, "x": [1]})
        with pytest.raises(UsageError, match=r"timestamp column; .*: 't' \(.*\), 'x' \(int64\)") as caught:
            stream.append(table, **options)
        cure = re.search(r"`(.*?)`", str(caught.value))[1]  # type: ignore[index]
        stream.append(eval(cure, {"table": table, "pa": pa}), **options)
        assert stream.frame().index[0].date() == pd.Timestamp("2024-01-01").date()

    def test_a_named_column_that_is_there_twice(self, stream: TimeSeriesStream) -> None:
        """Two columns of the name that `time` has are an error."""
        with pytest.raises(UsageError, match="more than one"):
            stream.append(pd.DataFrame([[1, 2]], columns=["when", "when"]), time="when")

    def test_record_batches(self, stream: TimeSeriesStream) -> None:
        """A RecordBatchReader is written batch by batch, and cannot be a named load."""
        table = pa.table({"t": pa.array(range(1, 11), pa.timestamp("s")), "x": list(range(10))})
        done = stream.append(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=3)))
        assert done == (10, 0, "1000-0", "10000-0")
        assert stream.frame()["x"].tolist() == list(range(10))
        with pytest.raises(UsageError, match="RecordBatchReader"):
            stream.append(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), load="a")

    def test_a_later_batch_does_not_fit(self, stream: TimeSeriesStream) -> None:
        """A reader that stops says how many rows are stored, which of its rows is wrong, and how to go on."""
        table = pa.table({"t": pa.array([*range(1, 9), 5, 10], pa.timestamp("s")), "x": list(range(10))})
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=3))
        found = r"after 6 rows: .*row 2.* is row 8 of the reader.*slice\(6\)"
        with pytest.raises(walrus_ts.AppendError, match=found) as caught:
            stream.append(reader)
        error = caught.value
        assert (error.appended, error.load, error.row) == (6, None, 8)
        assert isinstance(error.__cause__, UsageError)
        with pytest.raises(UsageError, match="row 2"):
            stream.append(table.slice(6))

    def test_a_reader_that_stopped_goes_on(self, stream: TimeSeriesStream, db: Database) -> None:
        """What its error says stores the rest, also where late rows were left out."""
        stream.append(at("2024-01-01 00:00:03", unit="s"))
        table = pa.table({"t": pa.array(seconds(30_000).index), "x": range(30_000)})
        batches = table.to_batches(max_chunksize=12_000)
        told: list[tuple[int, int]] = []

        def full(done: int, rows: int) -> None:
            told.append((done, rows))
            if done > 20_000:
                raise RuntimeError("enough")

        with pytest.raises(walrus_ts.AppendError, match=r"after 21997 rows: enough.*slice\(22000\)") as caught:
            stream.append(pa.RecordBatchReader.from_batches(table.schema, batches), late="skip", progress=full)
        assert len(stream) == 1 + caught.value.appended
        assert told[-2:] == [(16_997, 16_997), (21_997, 21_997)]
        stream.append(table.slice(22_000))
        assert stream.frame()["x"].tolist() == [0, *range(3, 30_000)]

    def test_a_reader_whose_answer_was_lost(
        self, db: Database, key: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a chunk's answer is lost for good, the error says that its rows may be stored, too."""
        monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.2)
        table = pa.table({"t": pa.array(seconds(30_000).index), "x": range(30_000)})
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=15_000))
        with Relay(db, tmp_path) as relay, walrus_ts.connect(relay.url) as through:
            stream = through.time_series("research", [key()])[key()]

            def mute(done: int, rows: int) -> None:
                if done == 20_000:
                    relay.state = "mute"

            with pytest.raises(walrus_ts.AppendError, match="The 5000 rows behind may be stored, too") as caught:
                stream.append(reader, progress=mute)
            assert caught.value.appended == 20_000
            assert db.xlen(key()) == 25_000

    def test_polars(self, stream: TimeSeriesStream) -> None:
        """A polars frame is stored, and comes back as one."""
        frame = pl.DataFrame({"t": pd.to_datetime(["2024-01-01", "2024-01-02"]), "x": [1, None], "s": ["a\r\n", ""]})
        stream.append(frame)
        assert stream.scan().to_polars().equals(frame)

    @pytest.mark.parametrize(
        "values",
        [
            pl.Series(["b", None, "a"], dtype=pl.Categorical),
            pl.Series([["b", "a"], None, []], dtype=pl.List(pl.Categorical)),
            pl.Series([{"x": "b"}, None, {"x": None}], dtype=pl.Struct({"x": pl.Categorical})),
        ],
        ids=lambda values: str(values.dtype),
    )
    def test_polars_categories(self, stream: TimeSeriesStream, values: pl.Series) -> None:
        """polars' categoricals come back, also within lists and structs."""
        times = [pd.Timestamp(2024, 1, day).to_pydatetime() for day in (1, 2, 3)]
        data = pl.DataFrame({"when": times, "x": values})
        stream.append(data)
        assert stream.scan().to_polars().equals(data)
        assert stream.scan().to_polars().schema == data.schema

    def test_polars_enum(self, stream: TimeSeriesStream) -> None:
        """An Enum of polars keeps its values."""
        times = [pd.Timestamp(2024, 1, day).to_pydatetime() for day in (1, 2)]
        stream.append(pl.DataFrame({"when": times, "x": pl.Series(["a", None], dtype=pl.Enum(["b", "a"]))}))
        assert stream.scan().to_polars()["x"].to_list() == ["a", None]

    def test_polars_types_that_arrow_has_not(self, stream: TimeSeriesStream, db: Database) -> None:
        """A type that only polars has is an error that names the column."""
        data = pl.DataFrame({"when": [pd.Timestamp("2024").to_pydatetime()], "x": pl.Series([1], dtype=pl.Int128)})
        with pytest.raises(UsageError, match="column 'x' is of a type, Int128") as caught:
            stream.append(data)
        assert caught.value.column == "x"
        assert not db.exists(stream.key)

    def test_two_columns_of_one_name(self, stream: TimeSeriesStream, db: Database) -> None:
        """Two Arrow columns of one name are an error with a cure that works."""
        times = pa.array(pd.DatetimeIndex(["2024-01-01"]))
        table = pa.Table.from_arrays([times, pa.array([1]), pa.array([2])], names=["when", "x", "x"])
        with pytest.raises(UsageError, match=r"'x' stands there twice.*rename_columns"):
            stream.append(table)
        assert not db.exists(stream.key)
        stream.append(table.rename_columns(["when", "x", "y"]))

    def test_by(self, db: Database, key: Callable[..., str]) -> None:
        """`by` sends each row to the stream that a column names, and drops the column."""
        series = db.time_series("research", [key("a"), key("b")])
        frame = at("2024-01-01", "2024-01-02", "2024-01-03", x=[1, 2, 3], to=[key("b"), key("a"), key("b")])
        done = series.append(frame, by="to")
        assert {name: found.rows for name, found in done.items()} == {key("a"): 1, key("b"): 2}
        assert series[key("b")].frame()["x"].tolist() == [1, 3]
        with pytest.raises(UsageError, match="no stream of this time series"):
            series.append(at("2024-02-01", x=[1], to=["nobody"]), by="to")

    def test_other_frames_split_by_a_column(self, db: Database, key: Callable[..., str]) -> None:
        """Data that are no pandas DataFrame are not split; the error says whose they are, and its cure works."""
        series = db.time_series("research", [key("a")])
        data = pl.DataFrame({"t": [pd.Timestamp("2024-01-01").to_pydatetime()], "to": [key("a")]})
        with pytest.raises(
            UsageError, match=r"found polars\..*DataFrame\. Convert it: `data\.to_pandas\(\)`"
        ) as caught:
            series.append(data, by="to")
        assert "time='...'" in str(caught.value)
        assert series.append(data.to_pandas(), by="to", time="t")[key("a")].rows == 1

    def test_a_mapping(self, db: Database, key: Callable[..., str]) -> None:
        """A mapping sends each frame to its stream; an error tells which are done."""
        series = db.time_series("research", [key("a"), key("b")])
        assert list(series.append({key("a"): at("2024-01-01"), key("b"): at("2024-01-01")})) == [key("a"), key("b")]
        with pytest.raises(LateRowsError) as caught:
            series.append({key("a"): at("2024-01-02"), key("b"): at("2023-01-01")})
        assert list(caught.value.done) == [key("a")]

    def test_errors_of_redis_py(self, db: Database, key: Callable[..., str]) -> None:
        """An error of redis-py's own tells which streams are done, too."""
        series = db.time_series("research", [key("a"), key("b")])
        db.set(key("b"), "no stream")
        with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE") as caught:
            series.append({key("a"): at("2024-01-02"), key("b"): at("2024-01-01")})
        assert caught.value.done[key("a")].rows == 1  # type: ignore[attr-defined]
        assert caught.value.__notes__ == [f"Of the group's streams, done are: '{key('a')}'."]


class TestTrimming:
    def test_maxlen(self, stream: TimeSeriesStream) -> None:
        """`maxlen` keeps the newest rows alone, exactly so many."""
        stream.append(seconds(12_000), maxlen=7)
        assert stream.frame()["x"].tolist() == list(range(11_993, 12_000))

    @pytest.mark.parametrize("maxlen", [3, np.int64(3), np.uint8(3)])
    def test_whole_numbers_of_numpy(self, stream: TimeSeriesStream, maxlen: Any) -> None:
        """Numbers of rows may be numpy's."""
        stream.append(seconds(10), maxlen=maxlen)
        found = stream.frame(), stream.head(maxlen), stream.tail(maxlen), stream.frame(limit=maxlen)
        assert [len(frame) for frame in found] == [3] * 4

    @pytest.mark.parametrize("number", ["3", 2.5, 3.0, True, -1, np.float64(3), [3]])
    def test_no_whole_numbers(self, db: Database, stream: TimeSeriesStream, number: Any) -> None:
        """What is no whole number is refused, wherever a number of rows is taken."""
        stream.append(seconds(10))
        for refuse in (
            lambda: stream.append(seconds(1, "2025-01-01"), maxlen=number),
            lambda: stream.head(number),
            lambda: stream.tail(number),
            lambda: stream.frame(limit=number),
            lambda: stream.scan("2024", limit=number),
            lambda: stream.scan().frames(number),
            lambda: db.time_series("research", [stream.key]).batches(number),
            lambda: stream.plot(max_points=number),
            lambda: stream.live(rows=number),
        ):
            with pytest.raises(UsageError, match="whole number"):
                refuse()
        assert len(stream) == 10

    def test_minid(self, stream: TimeSeriesStream) -> None:
        """`minid` removes older rows; it takes what bounds take."""
        stream.append(seconds(10), minid="2024-01-01 00:00:04")
        assert stream.frame()["x"].tolist() == list(range(4, 10))

    def test_minid_of_the_unit_that_is_left(self, stream: TimeSeriesStream) -> None:
        """A time as `minid` is exact in the unit that the append gives the stream."""
        first = at("2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", "2024-01-01 00:00:00.000003")
        stream.append(first, minid=first.index[1])
        assert stream.frame()["x"].tolist() == [1, 2]
        finer = at("2024-01-02 00:00:00.000000001", "2024-01-02 00:00:00.000000002", unit="ns")
        stream.append(finer, minid=finer.index[1], evolve=True)
        assert stream.frame()["x"].tolist() == [1]

    @pytest.mark.parametrize("minid", ["-", "+", "no date", 5, "1950"])
    def test_minid_that_is_none(self, stream: TimeSeriesStream, minid: Any) -> None:
        """`minid` is a time or an id; what is neither is refused before anything is written."""
        with pytest.raises(UsageError):
            stream.append(seconds(3), minid=minid)
        assert len(stream) == 0

    def test_progress(self, stream: TimeSeriesStream) -> None:
        """A callable is told of the rows that are stored, chunk by chunk."""
        told: list[tuple[int, int]] = []
        stream.append(seconds(12_000), progress=lambda done, rows: told.append((done, rows)))
        assert told == [(5_000, 12_000), (10_000, 12_000), (12_000, 12_000)]


class TestTogether:
    @pytest.mark.parametrize("rows", [1, 4_999, 5_000])
    def test_all_or_nothing(self, stream: TimeSeriesStream, db: Database, url: str, rows: int) -> None:
        """What is stored of frames of up to 5,000 rows is all or nothing, whoever else writes."""
        frame = seconds(rows)
        lengths: set[int] = set()
        done = threading.Event()

        def watch() -> None:
            with walrus_ts.connect(url) as other:
                while not done.is_set():
                    lengths.add(other.xlen(stream.key))

        watcher = threading.Thread(target=watch)
        watcher.start()
        stream.append(frame)
        done.set()
        watcher.join()
        assert lengths <= {0, rows}

    def test_two_writers(self, stream: TimeSeriesStream, url: str) -> None:
        """Two writers at once lose nothing and store nothing twice; what the one overtakes is late for the other."""
        index = pd.DatetimeIndex(np.full(20_000, 1_704_067_200_000).view("M8[ms]"))
        errors: list[Exception] = []

        def write(name: int) -> None:
            with walrus_ts.connect(url) as other:
                mine = other.time_series("research", [stream.key])[stream.key]
                try:
                    mine.append(pd.DataFrame({"x": np.arange(20_000) + name * 20_000}, index=index))
                except Exception as error:
                    errors.append(error)

        writers = [threading.Thread(target=write, args=(name,)) for name in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors == []
        found = stream.frame()["x"].to_numpy()
        assert sorted(found) == list(range(60_000))
        for name in range(3):
            mine = np.flatnonzero(found // 20_000 == name)
            assert (np.diff(found[mine]) == 1).all(), "a writer's rows are in its order"
            chunks = np.flatnonzero(np.diff(mine) > 1) + 1
            assert (chunks % 5_000 == 0).all(), "nothing comes in between the rows of a chunk"

    def test_overtaken(self, stream: TimeSeriesStream, url: str) -> None:
        """Rows that another writer overtakes are late: what is stored is a prefix, and the error says how much."""
        other = walrus_ts.connect(url)

        def overtake(done: int, rows: int) -> None:
            if done == 5_000:
                other.xadd(stream.key, {"x": -1}, "1804067200000-0")

        with pytest.raises(walrus_ts.AppendError, match="late") as caught:
            stream.append(seconds(20_000), progress=overtake)
        other.close()
        found = stream.frame()["x"].tolist()
        assert found == [*range(caught.value.appended), -1]
        assert caught.value.appended % 5_000 == 0

    def test_connections_killed(self, stream: TimeSeriesStream, url: str) -> None:
        """Whenever its connections are killed, a load stores every row exactly once."""
        other = walrus_ts.connect(url)
        killed = 0

        def kill(done: int, rows: int) -> None:
            nonlocal killed
            if done % 15_000 == 0:
                killed += other.client_kill_filter(_type="normal", skipme=True)

        frame = seconds(100_000)
        done = stream.append(frame, progress=kill)
        other.close()
        assert killed
        assert done.rows == 100_000
        assert_frame_equal(stream.frame(), frame, check_freq=False)

    def test_connections_killed_at_any_moment(self, stream: TimeSeriesStream, url: str) -> None:
        """Killed at any moment, also between EXEC and its reply, a load stores every row exactly once."""
        other, begun, ended = walrus_ts.connect(url), threading.Event(), threading.Event()

        def kill() -> None:
            begun.wait()
            while not ended.is_set():
                other.client_kill_filter(_type="normal", skipme=True)
                ended.wait(0.03)

        killer = threading.Thread(target=kill)
        killer.start()
        frame = seconds(100_000)
        try:
            done = stream.append(frame, progress=lambda done, rows: begun.set())
        finally:
            begun.set()
            ended.set()
            killer.join()
            other.close()
        assert_frame_equal(stream.frame(), frame, check_freq=False)
        assert done.rows == 100_000


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_connection_cut_at_any_byte(tmp_path: Path, way: Way) -> None:
    """Wherever a connection is cut, also before the first row is sent, an append goes on, and stores each row once."""
    frame = seconds(3)
    with own_server(tmp_path) as server, Proxy(server.port) as proxy, walrus_ts.connect(proxy.url) as db:
        db.time_series("research", ["before"])["before"].append(frame)  # without a connection to begin with, it raises
        for place in range(0, 1_200, 40):
            stream = db.time_series("research", [f"cut at {place}"])[f"cut at {place}"]
            proxy.cut_after(place, way)
            assert stream.append(frame).rows == 3
            proxy.act_no_more()
            assert_frame_equal(stream.frame(), frame, check_freq=False)
        assert proxy.cuts > 10
        assert list(db.scan_iter("walrus_ts:load:*")) == []


def test_bytes_of_a_connection_that_was_given_up(tmp_path: Path) -> None:
    """What was sent on a connection that was given up, and arrives all the same, does not begin the load anew."""
    frame = pd.DataFrame({"x": range(20_000)}, index=pd.DatetimeIndex(["2024"]).repeat(20_000))  # no row is ever late
    held = threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(own_server(tmp_path))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        proxy = stack.enter_context(Proxy(server.port))
        db = stack.enter_context(walrus_ts.connect(proxy.url, socket_timeout=0.2))
        db.time_series("research", ["before"])["before"].append(seconds(3))

        def sets() -> int:
            return int(direct.info("commandstats")["cmdstat_set"]["calls"])

        def let_go(done: int, rows: int) -> None:
            if done and not held.is_set():
                before = sets()
                held.set()
                wait_until(lambda: sets() > before)

        stream = db.time_series("research", ["ticks"])["ticks"]
        proxy.act_after(0, "requests", lambda: held.wait(30))
        assert stream.append(frame, progress=let_go).rows == 20_000
        assert held.is_set()
        assert_frame_equal(stream.frame(), frame, check_freq=False)


LOADER = """
import sys, pandas as pd, walrus_ts
url, key, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
index = pd.date_range("2024-01-01", periods=rows, freq="s", unit="us")
with walrus_ts.connect(url) as db:
    stream = db.time_series("research", [key])[key]
    print("ready", flush=True)
    sys.stdin.readline()
    print(stream.append(pd.DataFrame({"x": range(rows)}, index=index), load="one").rows, flush=True)
"""


def loader(url: str, key: str, rows: int) -> "subprocess.Popen[str]":
    """Start a process that loads a frame when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOADER, url, key, str(rows)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


class TestLoads:
    def test_two_processes_load_one_frame(self, stream: TimeSeriesStream, url: str) -> None:
        """Two processes that load one frame under one name at once store each row once."""
        processes = [loader(url, stream.key, 100_000) for _ in range(2)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        stored = [int(process.communicate(timeout=60)[0]) for process in processes]
        assert sum(stored) == 100_000
        assert_frame_equal(stream.frame(), seconds(100_000), check_freq=False)

    def test_a_killed_process(self, stream: TimeSeriesStream, url: str) -> None:
        """A load whose process was killed goes on when it is made again under its name."""
        process = loader(url, stream.key, 200_000)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: stream.length() >= 10_000, interval=0.005)
        process.kill()
        process.communicate()
        left = 200_000 - stream.length()
        assert left
        assert stream.loads().loc["one", "stored"] == 200_000 - left
        assert stream.append(seconds(200_000), load="one").rows == left
        assert_frame_equal(stream.frame(), seconds(200_000), check_freq=False)

    def test_again(self, stream: TimeSeriesStream) -> None:
        """A load made again when it is complete writes nothing, also when its rows were trimmed or deleted."""
        assert stream.append(seconds(10), load="a").rows == 10
        assert stream.append(seconds(10), load="a") == (0, 0, None, None)
        stream.trim(3, approximate=False)
        assert stream.append(seconds(10), load="a").rows == 0
        stream.delete_range()
        assert stream.append(seconds(10), load="a").rows == 0

    def test_another_frame(self, stream: TimeSeriesStream) -> None:
        """Another frame under a load's name is an error that says what differs."""
        stream.append(seconds(10), load="a")
        for other in (seconds(11), seconds(10, "2024-01-02"), seconds(10).assign(y=1.5)):
            with pytest.raises(UsageError, match=r"'a'.*another frame"):
                stream.append(other, load="a", evolve=True)
        with pytest.raises(UsageError, match=r"'a'.*another frame.*other columns.*'y'"):
            stream.append(seconds(10).assign(y=1.5), load="a")
        with pytest.raises(SchemaError, match="'y'"):
            stream.append(seconds(10, "2024-01-02").assign(y=1.5), load="b")
        assert stream.length() == 10
        assert stream.loads().index.tolist() == ["a"]

    def test_in_another_unit(self, stream: TimeSeriesStream) -> None:
        """The same times in another unit are the same frame."""
        frame = seconds(10)
        stream.append(frame, load="a")
        for unit in ("s", "ms", "ns"):
            assert stream.append(frame.set_axis(frame.index.as_unit(unit)), load="a").rows == 0
        frame = at("2024-01-02 00:00:00.000250", "2024-01-03")
        stream.append(frame, load="b")
        assert stream.append(frame.set_axis(frame.index.as_unit("ns")), load="b").rows == 0
        with pytest.raises(UsageError, match=r"another frame: first was '2024-01-02T00:00:00.000250' and is"):
            stream.append(frame.set_axis(frame.index.floor("100us")), load="b")

    def test_another_frame_in_a_zone(self, stream: TimeSeriesStream) -> None:
        """Where the frame has a zone, the error says that its times are in UTC."""
        frame = seconds(10).tz_localize("America/New_York")
        stream.append(frame, load="a")
        with pytest.raises(UsageError, match=r"first was '2024-01-01T05:00:00.* \(in UTC\)\. Give"):
            stream.append(frame[1:], load="a")

    def test_loads_of_several_units(self, stream: TimeSeriesStream) -> None:
        """`loads` lists times of any units side by side, naive where the index is."""
        stream.append(at("2024-01-01", unit="s"), load="a")
        stream.append(at("2024-01-02", unit="ns"), load="b")
        assert stream.loads()["first"].tolist() == pd.to_datetime(["2024-01-01", "2024-01-02"]).tolist()

    def test_loads_in_the_zone_of_the_index(self, stream: TimeSeriesStream, db: Database) -> None:
        """The times of a load are in the zone in which frames come back: the stream's, or that of the series."""
        frame = seconds(10).tz_localize("America/New_York")
        stream.append(frame, load="a")
        of_tokyo = db.time_series("g", [stream.key], tz="Asia/Tokyo")[stream.key]
        for reader in (stream, of_tokyo):
            loads, index = reader.loads(), reader.frame().index
            assert (loads["first"].item(), loads["last"].item()) == (index[0], index[-1])
            assert str(loads["first"].dt.tz) == str(loads["last"].dt.tz) == str(index.tz)
            assert str(loads["begun"].dt.tz) == "UTC"

    def test_after_the_stream_was_deleted(self, stream: TimeSeriesStream, db: Database) -> None:
        """A load made again after another program deleted its stream writes all of it."""
        stream.append(seconds(10), load="a")
        db.delete(stream.key)
        assert stream.append(seconds(10), load="a").rows == 10
        assert stream.length() == 10

    def test_after_the_stream_was_made_anew(self, stream: TimeSeriesStream, db: Database) -> None:
        """Nor does a load made again write nothing where the stream was deleted and made anew since."""
        stream.append(seconds(10), load="a")
        stream.append(seconds(10, "2024-02-01"), load="b")
        db.delete(stream.key)
        stream.append(seconds(30, "2023-01-01"))
        assert stream.loads().empty
        assert not db.exists(Records(stream.key.encode()).loads)
        assert stream.append(seconds(10), load="a").rows == 10
        assert stream.append(seconds(10), load="a").rows == 0
        assert stream.loads().index.tolist() == ["a"]

    def test_after_another_program_made_the_stream_anew(self, stream: TimeSeriesStream, db: Database) -> None:
        """It is told also where another program has added more entries than the load had."""
        stream.append(seconds(10), load="a")
        db.delete(stream.key)
        for n in range(20):
            db.xadd(stream.key, {"x": n}, f"{n}-1")
        assert stream.loads().empty
        assert stream.append(seconds(10), load="a").rows == 10
        assert stream.append(seconds(10), load="a").rows == 0

    def test_a_frame_of_late_rows(self, stream: TimeSeriesStream, db: Database) -> None:
        """A load all of whose rows were late is complete, until another program deletes the stream."""
        db.xadd(stream.key, {"x": 1}, "1704153600000-0")
        assert stream.append(seconds(10), load="a", late="skip").skipped == 10
        assert stream.append(seconds(10), load="a") == (0, 0, None, None)
        assert stream.loads()["skipped"].tolist() == [10]
        db.delete(stream.key)
        assert stream.append(seconds(10), load="a").rows == 10

    @pytest.mark.parametrize("record", ["junk", "[]", "{}", "1", "\xff", None, "rows", "begun"])
    def test_broken_records(self, stream: TimeSeriesStream, db: Database, record: str | None) -> None:
        """What is no record of a load is an error that names its key, and nothing is written."""
        stream.append(seconds(3), load="a")
        name = Records(stream.key.encode()).loads
        whole = json.loads(db.hget(name, "a"))
        db.hset(name, "a", json.dumps(whole | {record: "x"}) if record in whole else record or "null")
        for what in (stream.loads, lambda: stream.append(seconds(3), load="a")):
            with pytest.raises(DataError, match=r"loads.*no record of a load") as caught:
                what()
            assert caught.value.key == name
        assert len(stream) == 3

    def test_a_name_that_is_no_text(self, stream: TimeSeriesStream, db: Database) -> None:
        """A load's name is valid Unicode; one that is not is refused."""
        with pytest.raises(UsageError, match="valid Unicode"):
            stream.append(seconds(3), load="\udcff.csv")
        assert not db.exists(stream.key)

    def test_skipped_rows(self, stream: TimeSeriesStream) -> None:
        """A load remembers how many late rows were left out."""
        stream.append(at("2024-01-01 00:00:04"))
        assert stream.append(seconds(10), load="a", late="skip")[:2] == (6, 4)
        assert stream.append(seconds(10), load="a", late="skip").rows == 0
        found = stream.loads().loc["a"]
        assert (found["rows"], found["stored"], found["skipped"]) == (10, 6, 4)
        assert found["finished"] is not pd.NaT

    def test_a_load_that_stopped_goes_on(self, stream: TimeSeriesStream, db: Database) -> None:
        """An append that stopped goes on under the name that its error has, and then leaves no record."""
        limit = db.config_get("maxmemory")["maxmemory"]
        frame = pd.DataFrame({"x": ["y" * 1_000] * 20_000}, index=seconds(20_000).index)

        def fill(done: int, rows: int) -> None:
            if done == 5_000:
                db.config_set("maxmemory", 1)

        try:
            with pytest.raises(walrus_ts.AppendError, match="memory") as caught:
                stream.append(frame, progress=fill)
        finally:
            db.config_set("maxmemory", limit)
        assert stream.length() == caught.value.appended
        assert 0 < caught.value.appended < 20_000
        stream.append(frame, load=caught.value.load)
        assert_frame_equal(stream.frame(), frame, check_freq=False)
        assert list(db.scan_iter("walrus_ts:load:*")) == []

    def test_dropped_after_it_stopped(self, db: Database, key: Callable[..., str]) -> None:
        """`drop` deletes what there is of a load without a name, too; going on with it then stores all of the frame."""
        stream = db.time_series("research", [key("a[b]*")])[key("a[b]*")]
        other = Records(key("a[b]*").encode()).load(b"b:1:" + 32 * b"0")  # as of a stream whose name goes on
        with pytest.raises(walrus_ts.AppendError, match=r"after 5000 of 20000 rows: enough") as caught:
            stream.append(seconds(20_000), progress=stop)
        assert list(db.scan_iter("walrus_ts:load:*"))
        db.set(other, "mine")
        stream.drop()
        assert list(db.scan_iter("walrus_ts:load:*")) == [other]
        assert stream.append(seconds(20_000), load=caught.value.load).rows == 20_000
        assert stream.append(seconds(20_000), load=caught.value.load).rows == 0

    @pytest.mark.parametrize("load", [None, "a"])
    def test_dropped_meanwhile(self, stream: TimeSeriesStream, load: str | None) -> None:
        """A stream that is dropped while it is appended to is an error: its first rows are gone."""
        with pytest.raises(walrus_ts.AppendError, match="deleted while it was appended to") as caught:
            stream.append(seconds(20_000), load=load, progress=lambda done, rows: done == 5_000 and stream.drop())
        assert caught.value.appended == 0
        assert stream.frame().empty


def stop(done: int, rows: int) -> None:
    """Stop an append, by an error that has nothing to do with it."""
    raise RuntimeError("enough")


def test_an_error_of_nobodys(stream: TimeSeriesStream, db: Database) -> None:
    """Whatever goes wrong while an append is planned, it leaves nothing in Redis."""

    def fit(record: Any) -> Any:
        raise KeyError("nobody has thought of it")

    job = Job(Records(stream.key.encode()), pa.array([0], pa.timestamp("s")), fit)
    with pytest.raises(KeyError):
        append(db.data.connection_pool, job)
    assert list(db.scan_iter(f"*{stream.key}*")) == []


class TestStaleRecords:
    def test_deleted_by_another_program(self, stream: TimeSeriesStream, db: Database) -> None:
        """The record of a stream that another program deleted is replaced."""
        stream.append(at("2024-01-01", x=[1.5]))
        db.delete(stream.key)
        assert stream.schema is None
        stream.append(at("2023-01-01", y=["text"]))
        assert_frame_equal(stream.frame(), at("2023-01-01", y=["text"]))

    def test_deleted_and_written_by_another_program(self, stream: TimeSeriesStream, db: Database) -> None:
        """A stream that another program made anew is not read by the old one's record."""
        stream.append(at("2024-01-01", x=[1.5]))
        db.delete(stream.key)
        db.xadd(stream.key, {"x": "no number"}, "1-0")
        assert stream.frame()["x"].tolist() == ["no number"]

    @pytest.mark.parametrize("rows", [1, 3, 5])
    def test_made_anew_with_ids_of_redis_own(self, stream: TimeSeriesStream, db: Database, rows: int) -> None:
        """Nor where the new stream's ids are behind those of the old one, and its entries as many."""
        stream.append(seconds(3))
        db.delete(stream.key)
        for _ in range(rows):
            db.xadd(stream.key, {"x": "no number"})
        assert stream.schema is None
        assert stream.tail()["x"].tolist() == stream.frame()["x"].tolist() == ["no number"] * rows

    def test_removed_rows_do_not_make_another_stream(self, stream: TimeSeriesStream, db: Database) -> None:
        """A stream whose first entries are deleted or trimmed is still the one that the record is of."""
        stream.append(seconds(5))
        db.xdel(stream.key, stream.frame(ids=True)["stream_id"].iloc[0])
        assert stream.frame()["x"].tolist() == [1, 2, 3, 4]
        stream.trim(2, approximate=False)
        assert stream.frame()["x"].tolist() == [3, 4]
        stream.delete_range()
        assert stream.frame()["x"].dtype == "int64"

    def test_declared_anew(self, stream: TimeSeriesStream, db: Database) -> None:
        """What is declared for a stream that another program made anew holds for that one."""
        stream.append(seconds(3))
        db.delete(stream.key)
        db.xadd(stream.key, {"x": "1.5"})
        stream.declare({"x": "float64"})
        assert stream.frame()["x"].tolist() == [1.5]

    def test_drop(self, stream: TimeSeriesStream, db: Database) -> None:
        """`drop` deletes the stream and its records, and says whether there was one."""
        stream.append(at("2024-01-01"), load="a")
        assert stream.drop()
        assert not stream.drop()
        assert list(db.scan_iter(f"*{stream.key}*")) == []

    def test_drop_of_another_type(self, stream: TimeSeriesStream, db: Database) -> None:
        """`drop` leaves alone what is no stream; the cure that the error names works."""
        db.set(stream.key, "mine")
        with pytest.raises(UsageError, match=rf"no stream but a string. `stream.database.delete\('{stream.key}'\)`"):
            stream.drop()
        assert db.get(stream.key) == b"mine"
