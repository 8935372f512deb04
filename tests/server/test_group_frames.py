"""The streams of a time series in one frame: columns, dtypes and zones that are not the same in all of them."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.helpers import PANDAS_2
from walrus_ts import Database, SchemaError, TimeSeries, UsageError

LAYOUTS: list[Literal["long", "wide"]] = ["long", "wide"]


@pytest.fixture
def ts(db: Database, key: Callable[..., str]) -> TimeSeries:
    """Have a time series of two streams, `a` and `b`, that do not exist yet."""
    return db.time_series("research", [key("a"), key("b")])


def at(hour: int, tz: str | None = None, **columns: Any) -> pd.DataFrame:
    """Make a frame of one row."""
    return pd.DataFrame(columns, index=pd.DatetimeIndex([pd.Timestamp(2024, 1, 1, hour)], tz=tz).as_unit("us"))


def fill(ts: TimeSeries, *frames: pd.DataFrame) -> list[str]:
    """Append a frame to each stream, as far as there are frames; return the streams' names."""
    for stream, frame in zip(ts.streams.values(), frames, strict=False):
        stream.append(frame)
    return [str(key) for key in ts.streams]


class TestStreamsThatDoNotExist:
    @pytest.mark.parametrize("created", [False, True])
    def test_long(self, ts: TimeSeries, created: bool) -> None:
        """A stream that nothing was written to changes neither dtypes nor the zone of the others."""
        frame = at(0, "Europe/Berlin", n=[1], yes=[True], x=[1.5])
        fill(ts, frame)
        if created:
            ts.create(mkstream=True)
        assert_frame_equal(ts.frame().drop(columns="stream"), frame, check_freq=False)
        assert ts.frame(ids=True).columns.tolist() == ["stream", "n", "yes", "x", "stream_id"]
        assert ts.frame()["stream"].cat.categories.tolist() == [str(key) for key in ts.streams]

    def test_wide(self, ts: TimeSeries) -> None:
        """In the wide layout it has no columns."""
        frame = at(0, "Europe/Berlin", n=[1], yes=[True])
        name = fill(ts, frame)[0]
        assert_frame_equal(ts.frame(layout="wide")[name], frame, check_freq=False)
        assert ts.frame(layout="wide", ids=True).columns.tolist() == [(name, "n"), (name, "yes"), (name, "stream_id")]

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_columns(self, ts: TimeSeries, layout: Literal["long", "wide"]) -> None:
        """It has no column that is asked for, either."""
        fill(ts, at(0, x=[1.5], y=[2]))
        assert ts.frame(columns=["x"], layout=layout).dtypes.iloc[-1] == "float64"

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_none_at_all(self, ts: TimeSeries, layout: Literal["long", "wide"]) -> None:
        """Without any stream there is an empty frame."""
        assert len(ts.frame(layout=layout)) == 0
        assert len(ts.frame(columns=["x"], layout=layout)) == 0

    def test_new_rows(self, ts: TimeSeries) -> None:
        """Rows that a group reads keep their dtypes beside a stream without any."""
        fill(ts, at(0, "Europe/Berlin", n=[1]))
        ts.create(mkstream=True)
        assert_frame_equal(ts.read_frame().drop(columns="stream"), at(0, "Europe/Berlin", n=[1]), check_freq=False)

    def test_an_empty_range_has_its_columns(self, ts: TimeSeries) -> None:
        """A stream that exists has its columns also where it has no rows."""
        fill(ts, at(0, x=[1.5]), at(5, y=["a"]))
        assert ts.frame(stop="2024-01-01 03:00").columns.tolist() == ["stream", "x", "y"]


class TestColumnsOfSomeStreams:
    def test_labels_that_are_no_strings(self, ts: TimeSeries) -> None:
        """Streams with different labels go together, whatever the labels are."""
        fill(ts, pd.DataFrame([[1.0, 2.0]], index=at(0).index), pd.DataFrame([[3.0]], index=at(1).index, columns=[2]))
        assert ts.frame().columns.tolist() == ["stream", 0, 1, 2]
        assert ts.frame(columns=[2, 0])[[2, 0]].to_numpy().tolist()[1] == [3.0, pytest.approx(np.nan, nan_ok=True)]

    def test_labels_of_several_levels(self, ts: TimeSeries) -> None:
        """Labels of several levels keep their names."""
        labels = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")], names=["one", "two"])
        wide = pd.DataFrame([[1.0, 2.0, 3.0]], index=at(0).index, columns=labels)
        fill(ts, wide.iloc[:, :2], wide.iloc[:, 1:].set_axis(at(1).index))
        found = ts.frame()
        assert found.columns.tolist() == [("stream", ""), *labels]
        assert found.columns.names == ["one", "two"]
        few = ts.frame(columns=[("b", "x")], ids=True)
        assert few.columns.tolist() == [("stream", ""), ("b", "x"), ("stream_id", "")]

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
    def test_nulls_among_objects(self, ts: TimeSeries, missing: Any) -> None:
        """A column of objects has the nulls that it has elsewhere; pandas 2 has no NA in rows of other streams."""
        objects = pd.DataFrame({"o": pd.Series([b"x", missing], dtype=object)}).set_axis(at(0).index.repeat(2))
        fill(ts, objects, at(1, p=[1.0]))
        elsewhere = np.nan if PANDAS_2 and missing is pd.NA else missing
        assert [type(value) for value in ts.frame()["o"]] == [bytes, type(missing), type(elsewhere)]

    def test_leaving_a_column_out(self, ts: TimeSeries) -> None:
        """The cure for a column of different dtypes works where the other columns are not in every stream."""
        a, b = fill(ts, at(0, p=[1.5], q=[1]), at(0, p=[1], r=[2]))
        with pytest.raises(SchemaError, match=r"'p' is float64.*int64.*Leave it out by `columns=`"):
            ts.frame()
        found = ts.frame(columns=["r", "q"])
        assert found.columns.tolist() == ["stream", "r", "q"]
        assert found.dtypes.tolist()[1:] == ["Int64", "Int64"]
        assert found["q"].tolist() == [1, pd.NA]
        assert ts.frame(columns=["q"], layout="wide").columns.tolist() == [(a, "q")]
        assert ts.frame(columns=["r", "p"], layout="wide").columns.tolist() == [(a, "p"), (b, "r"), (b, "p")]

    def test_reading_with_the_group(self, ts: TimeSeries) -> None:
        """Where columns cannot be chosen, the error does not offer that; its cure, one stream by itself, works."""
        a, b = fill(ts, at(0, p=[1.5]), at(0, p=[1]))
        ts.create()
        for read in (ts.read_frame, lambda: list(ts.batches(wait=0))):
            with pytest.raises(SchemaError, match=r"'p' is float64.*int64.*\. Read the streams one by one\.$"):
                read()
        for name in (a, b):
            assert [len(batch.frame) for batch in ts[name].batches(wait=0)] == [1]

    def test_zones(self, ts: TimeSeries, db: Database) -> None:
        """Streams of different zones make one frame in a series with a zone, as the error says."""
        a, b = fill(ts, at(0, "Europe/Berlin", n=[1]), at(0, "Asia/Tokyo", n=[2]))
        with pytest.raises(SchemaError, match=r"different zones: Europe/Berlin.*Make the time series with `tz=\.\.\.`"):
            ts.frame()
        assert len(db.time_series("research", [a, b], tz="UTC").frame()) == 2

    def test_naive_and_zoned(self, ts: TimeSeries) -> None:
        """Of streams of which one is naive, the error does not offer a zone, which would not help."""
        fill(ts, at(0, n=[1]), at(0, "Asia/Tokyo", n=[2]))
        with pytest.raises(SchemaError, match=r"different zones: naive .*localise the naive frames") as caught:
            ts.frame()
        assert "tz=" not in str(caught.value)

    def test_a_column_that_no_stream_has(self, ts: TimeSeries) -> None:
        """A column that none of the streams has is an error that lists those that they have."""
        fill(ts, at(0, p=[1.5], q=[1]), at(0, p=[1], r=[2]))
        with pytest.raises(UsageError, match=r"has a column 'zz'; they have 'p', 'q', 'r'"):
            ts.frame(columns=["p", "zz"])

    def test_a_stream_of_another_program(self, ts: TimeSeries, db: Database) -> None:
        """A stream without a record has the columns that its entries have, and no others."""
        b = fill(ts, at(0, x=[1.5]))[1]
        db.xadd(b, {"t": "text"}, id="1704067200000-0")
        found = ts.frame(columns=["x", "t"])
        text = pd.Series(["x"]).dtype  # str, and with pandas 2 object
        assert found.dtypes.tolist()[1:] == ["float64", text]
        assert found["t"].tolist()[1] == "text"


class TestWide:
    def test_integers_and_bools(self, ts: TimeSeries) -> None:
        """Where the streams' times differ, integers keep every digit, and bools are bools."""
        a, b = fill(ts, at(0, n=[2**53 + 1], yes=[True]), at(1, n=[2**53 + 3], yes=[False]))
        found = ts.frame(layout="wide")
        assert found.dtypes.tolist() == ["Int64", "boolean"] * 2
        assert found[a, "n"].tolist() == [2**53 + 1, pd.NA]
        assert found[b, "n"].tolist() == [pd.NA, 2**53 + 3]

    def test_equal_times(self, ts: TimeSeries) -> None:
        """Where they do not, the dtypes are those that went in."""
        fill(ts, at(0, n=[1]), at(0, n=[2]))
        assert ts.frame(layout="wide").dtypes.tolist() == ["int64", "int64"]

    def test_zones(self, ts: TimeSeries) -> None:
        """Streams of different zones do not go side by side, either."""
        fill(ts, at(0, "Europe/Berlin", n=[1]), at(0, "Asia/Tokyo", n=[2]))
        with pytest.raises(SchemaError, match="different zones"):
            ts.frame(layout="wide")
