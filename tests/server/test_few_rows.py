"""A few rows go and come another way than many: at one round trip, and without Arrow. Nobody can tell."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.helpers import same_frames
from tests.own_server import own_server
from tests.proxy import Proxy, Way
from tests.relay import Relay
from walrus_ts import AppendError, Database, DataError, LateRowsError, SchemaError, TimeSeriesStream, connect
from walrus_ts.pandas_io.restore import string_dtype
from walrus_ts.testing import frames
from walrus_ts.transfer import few, patience

NAN = float("nan")


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Make a stream without a record."""
    return db.time_series("research", [key()])[key()]


def seconds(rows: int, start: str = "2024-01-01", **columns: Any) -> pd.DataFrame:
    """Make a frame of a row a second."""
    index = pd.date_range(start, periods=rows, freq="s", unit="ns")
    text = pd.array([f"t{n}" for n in range(rows)], dtype=string_dtype("pyarrow", "nan"))
    return pd.DataFrame(columns or {"x": range(rows), "y": text}, index=index)


def test_piece_by_piece(db: Database) -> None:
    """Appended in small pieces, a frame is what it is appended whole, to its last byte in Redis."""

    @settings(derandomize=True, deadline=None, max_examples=60, database=None)
    @given(frames(max_columns=5, max_rows=12), st.integers(1, 4))
    def check(frame: pd.DataFrame, size: int) -> None:
        same_in_pieces(db, frame, size)

    check()


@pytest.mark.parametrize("rows", [3, 300])
def test_each_frame_has_labels_of_its_own(stream: TimeSeriesStream, rows: int) -> None:
    """What somebody makes of the labels of a frame is made of no other frame's."""
    stream.append(seconds(rows))
    labels = stream.tail(rows).columns
    labels.name = "mine"
    with suppress(ValueError):  # pandas 3 refuses it
        labels.values[0] = "mine"
    found = stream.tail(rows).columns
    assert found.name is None
    assert "mine" not in found


@pytest.mark.parametrize("rows", [3, 300])
def test_labels_that_are_equal_and_not_the_same(db: Database, key: Callable[..., str], rows: int) -> None:
    """Streams that differ in no more than 1 and True among their names each have their own."""
    for name in (1, True, 1.0):
        own = key(repr(name))
        stream = db.time_series("research", [own])[own]
        stream.append(seconds(rows).rename_axis(index=name, columns=name))
        found = stream.tail(rows)
        assert [(type(n), n) for n in (found.index.name, found.columns.name)] == 2 * [(type(name), name)]


FLOATS = (1.0, 100.0, -0.0, 1e-7, 1e-4, 9.999999999999999e-05, 1e9, 1e10, 1e15, 1e16, 1.5e300, 5e-324, float("inf"))


def test_floats_piece_by_piece(db: Database) -> None:
    """The text of every float is the same, too."""

    @settings(derandomize=True, deadline=None, max_examples=100, database=None)
    @given(st.lists(st.floats() | st.sampled_from(FLOATS) | st.decimals(-999, 999, places=2).map(float), min_size=3))
    @example([0.5, *FLOATS])
    def check(floats: list[float]) -> None:
        same_in_pieces(db, seconds(len(floats), x=np.array(floats)), 1)

    check()


def same_in_pieces(db: Database, frame: pd.DataFrame, size: int) -> None:
    """Append a frame whole, and in pieces of a size, to two streams, and compare these."""
    whole, pieces = (f"t:{uuid4().hex}" for _ in range(2))
    series = db.time_series("research", [whole, pieces])
    try:
        series[whole].append(frame)
        for at in range(0, len(frame), size):
            series[pieces].append(frame[at : at + size], evolve=True)
        assert db.xrange(pieces) == db.xrange(whole)
        if series[pieces].schema == series[whole].schema:  # objects of a piece alone may have another type
            same_frames(series[pieces].tail(100), series[whole].frame())
    finally:
        series[whole].drop()
        series[pieces].drop()


def appended_one_by_one(stream: TimeSeriesStream, frame: pd.DataFrame) -> None:
    """Append rows, each in a call of its own."""
    for at in range(len(frame)):
        assert stream.append(frame[at : at + 1]).rows == 1


class TestAppend:
    def test_row_by_row_with_repeated_times(self, stream: TimeSeriesStream) -> None:
        """Rows of one time that are appended one by one get the next counters."""
        frame = pd.DataFrame({"x": range(20)}, index=pd.DatetimeIndex(["2024-01-01 00:00:00.000000001"] * 20))
        appended_one_by_one(stream, frame)
        assert_frame_equal(stream.frame(), frame, check_freq=False)

    @pytest.mark.parametrize(
        ("value", "found"),
        [(1.5, "float64"), ("text", "str"), (True, "bool"), (None, "object"), (2**63, "uint64"), (NAN, "float64")],
    )
    def test_values_of_another_type(self, stream: TimeSeriesStream, value: Any, found: str) -> None:
        """A value that the record's type cannot hold is a SchemaError, as in a frame of many rows."""
        appended_one_by_one(stream, seconds(3, x=[1, 2, 3]))
        with pytest.raises(SchemaError, match="'x'"):
            stream.append(seconds(1, "2024-01-02", x=[value]))
        assert len(stream) == 3
        assert found

    def test_values_that_fit(self, stream: TimeSeriesStream) -> None:
        """A value of another dtype that the record's type holds exactly is stored as the record has it."""
        appended_one_by_one(stream, seconds(3, x=[1.5, 2.5, 3.5]))
        stream.append(seconds(1, "2024-01-02", x=pd.array([4], "int8")))
        stream.append(seconds(1, "2024-01-03", x=pd.array([0.1], "float32")))
        assert stream.frame()["x"].tolist() == [1.5, 2.5, 3.5, 4.0, float(np.float32(0.1))]

    def test_the_record_changes(self, stream: TimeSeriesStream, url: str) -> None:
        """When another writer widens the record, the next small append is held against the new one."""
        appended_one_by_one(stream, seconds(3))
        with connect(url) as other:
            other.time_series("g", [stream.key])[stream.key].append(
                seconds(1, "2024-01-02", x=[1], y=["a"], z=[1.5]), evolve=True
            )
        appended_one_by_one(stream, seconds(2, "2024-01-03"))
        assert stream.frame()["z"].isna().tolist() == [True, True, True, False, True, True]

    def test_the_stream_is_made_anew(self, stream: TimeSeriesStream, db: Database) -> None:
        """When another program deletes the stream, the next small append writes a record of its own."""
        appended_one_by_one(stream, seconds(3))
        db.delete(stream.key)
        again = seconds(2, "2020-01-01", x=["now", "text"])
        appended_one_by_one(stream, again)
        assert_frame_equal(stream.frame(), again, check_freq=False)

    def test_a_stream_of_another_program_under_the_key(self, stream: TimeSeriesStream, db: Database) -> None:
        """Nor is a stream that another program has made since taken for the one that the record is of."""
        appended_one_by_one(stream, seconds(3))
        db.delete(stream.key)
        db.xadd(stream.key, {"foreign": "1"}, id="5-1")
        stream.append(seconds(1))
        assert_frame_equal(stream.frame("2024"), seconds(1), check_freq=False)
        assert stream.frame(errors="coerce").columns.tolist() == ["x", "y", "foreign"]

    def test_a_stream_made_anew_with_ids_of_redis_own(self, stream: TimeSeriesStream, db: Database) -> None:
        """Nor where its ids continue those of the old one, and its entries are more."""
        appended_one_by_one(stream, seconds(3))
        db.delete(stream.key)
        for _ in range(5):
            db.xadd(stream.key, {"y": "foreign"})
        frame = seconds(1, "2100-01-01")
        stream.append(frame)
        assert_frame_equal(stream.frame("2100"), frame, check_freq=False)

    def test_late(self, stream: TimeSeriesStream) -> None:
        """A late row is an error that says so, or is left out."""
        appended_one_by_one(stream, seconds(3))
        with pytest.raises(LateRowsError):
            stream.append(seconds(1, "2023-01-01"))
        assert stream.append(seconds(1, "2023-01-01"), late="skip").skipped == 1

    def test_another_type_of_key(self, stream: TimeSeriesStream, db: Database) -> None:
        """A key that has become another type is left alone."""
        appended_one_by_one(stream, seconds(3))
        db.delete(stream.key)
        db.set(stream.key, "mine")
        with pytest.raises(Exception, match=r"WRONGTYPE|wrong kind"):
            stream.append(seconds(1, "2024-01-02"))
        assert db.get(stream.key) == b"mine"

    def test_labels_are_told_apart(self, stream: TimeSeriesStream) -> None:
        """Columns 1 and 1.0 are two, although pandas takes them for equal."""
        index = pd.date_range("2024-01-01", periods=4, freq="s")
        for at in range(3):
            stream.append(pd.DataFrame({1: [0.5]}, index=index[at : at + 1]))
        with pytest.raises(SchemaError, match=r"no column 1\.0"):
            stream.append(pd.DataFrame({1.0: [0.5]}, index=index[3:]))


@pytest.fixture
def relay(db: Database, tmp_path: Path) -> Iterator[Relay]:
    """Stand between a client and the server."""
    with Relay(db, tmp_path) as relay:
        yield relay


class TestLost:
    @pytest.fixture
    def stream(self, relay: Relay, key: Callable[..., str]) -> Iterator[TimeSeriesStream]:
        """Have a stream, reached through the relay, to which a few rows are appended at one round trip."""
        with connect(relay.url) as through:
            stream = through.time_series("research", [key()])[key()]
            appended_one_by_one(stream, seconds(3))
            yield stream

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give up soon."""
        monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.2)

    def test_the_answer(self, stream: TimeSeriesStream, relay: Relay) -> None:
        """Where the answer is lost and the rows are stored, going on by the error writes nothing twice."""
        frame = seconds(4, "2024-01-02")
        relay.state = "mute"
        with pytest.raises(AppendError, match=r"append\(frame, load='few:1704153600000-0'\)") as caught:
            stream.append(frame)
        assert caught.value.appended == 0
        relay.state = "open"
        assert len(stream) == 7
        assert stream.append(frame, load=caught.value.load).rows == 0
        assert len(stream) == 7

    def test_the_request(self, stream: TimeSeriesStream, relay: Relay, db: Database) -> None:
        """Where the rows are not stored, going on stores them; another row under their id does not stand for them."""
        frame = seconds(4, "2024-01-02")
        db.xadd(stream.key, {"x": 0, "y": "not ours"}, "1704153600000-0")
        assert stream.append(frame, load="few:1704153600000-0").rows == 4
        assert stream.append(frame, load="few:1704153600000-1").rows == 0
        assert stream.append(seconds(1, "2024-01-03"), load="few:1704240000000-0").rows == 1
        assert len(stream) == 9

    def test_nothing_was_sent(self, stream: TimeSeriesStream, relay: Relay) -> None:
        """Where there is no connection to begin with, redis-py's own error says so."""
        relay.shut()
        with pytest.raises(redis.exceptions.ConnectionError):
            stream.append(seconds(1, "2024-01-02"))


def test_a_connection_that_is_lost_behind_the_rows(tmp_path: Path) -> None:
    """Wherever a connection is cut, an append either says that it was not done, or the rows are stored, once."""
    with own_server(tmp_path) as own, connect(own.url) as direct, Proxy(own.port) as proxy:
        for place in range(0, 1_500, 25):
            key = f"{place}"
            with connect(proxy.url, retry=Retry(NoBackoff(), 1)) as through:
                stream = through.time_series("research", [key])[key]
                proxy.cut_after(place, "replies")
                try:
                    done = stream.append(seconds(3)).rows
                except redis.ConnectionError:
                    done = 0
            assert direct.xlen(key) == done, place
        assert proxy.cuts > 20


@pytest.mark.parametrize("way", ["requests", "replies"])
@pytest.mark.parametrize("right", ["-echo", "-@all", "-evalsha", "-get"])
def test_a_right_that_is_taken_away(tmp_path: Path, way: Way, right: str) -> None:
    """Wherever a right is taken away, an append is done, or was not, or says that its rows may be stored."""
    new, refused = seconds(4, "2024-01-02"), 0
    with own_server(tmp_path) as own, connect(own.url) as direct, Proxy(own.port) as proxy:
        acl = partial(direct.execute_command, "ACL", "SETUSER", "loader")
        for number, place in enumerate(range(0, 3_000, 45)):
            acl("on", ">secret", "+@all", "~*")
            with connect(proxy.url.replace("://", "://loader:secret@")) as through:
                stream = through.time_series("research", [f"{place}"])[f"{place}"]
                if number % 2:
                    stream.append(seconds(3))  # so that the next one goes at one round trip
                before = len(stream)
                proxy.act_after(place, way, lambda: acl(right))
                try:
                    stored = stream.append(new).rows
                except redis.exceptions.NoPermissionError:
                    stored, refused = 0, refused + 1
                except AppendError as error:
                    acl("+@all")
                    stream.append(new[error.appended :], load=error.load)
                    stored, refused = len(new), refused + 1
                proxy.act_no_more()
            assert direct.xlen(f"{place}") == before + stored, place
    assert refused or (right, way) == ("-evalsha", "replies")  # whose reply is the last one


@pytest.mark.parametrize("columns", [few.MOST_COLUMNS, 5_000])
def test_many_columns(stream: TimeSeriesStream, columns: int) -> None:
    """A row may have more columns than a script of the server's can pass on."""
    frame = pd.DataFrame(1.5, index=seconds(3).index, columns=[f"c{n}" for n in range(columns)])
    appended_one_by_one(stream, frame)
    assert len(stream) == 3


class TestRead:
    @pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "1e-400", " 1.5", "1_0", "+1", "0x10", "1.", ""])
    def test_text_that_others_write(self, stream: TimeSeriesStream, db: Database, text: str) -> None:
        """`tail` and `frame` read alike, and fail alike, whatever another program has written."""
        stream.declare({"x": "float64", "n": "int64"})
        db.xadd(stream.key, {"x": text, "n": "7"}, id="1704067200000-0")
        results: list[Any] = []
        for read in (stream.frame, stream.tail, stream.head):
            try:
                results.append(read())
            except DataError as error:
                results.append(error.value)
        if isinstance(results[0], bytes):
            assert results == [text.encode()] * 3
        else:
            for found in results[1:]:
                assert_frame_equal(found, results[0])

    def test_rows_of_other_shapes(self, stream: TimeSeriesStream, db: Database) -> None:
        """Fields in another order, twice, missing, unknown or none at all: `tail` reads as `frame` does."""
        stream.append(seconds(1, x=[1.5], y=["a"]))
        at = int(datetime(2024, 1, 2, tzinfo=UTC).timestamp()) * 1_000
        for number, fields in enumerate(
            [["y", "b", "x", "2.5"], ["x", "1.5", "x", "2.5", "y", "c"], ["y", "d"], ["x", "3"], ["", ""], ["z", "new"]]
        ):
            db.execute_command("XADD", stream.key, f"{at + number}-0", *fields)
            assert_frame_equal(stream.tail(10), stream.frame())
            assert_frame_equal(stream.head(10), stream.frame())
        assert stream.tail(1).columns.tolist() == ["x", "y", "z"]

    def test_options(self, stream: TimeSeriesStream) -> None:
        """`columns`, `ids`, `dtype_backend` and no rows at all are as in long frames."""
        frame = seconds(3)
        stream.append(frame)
        assert_frame_equal(stream.frame(limit=2, columns=["y"]), frame[["y"]][:2], check_freq=False)
        assert stream.frame(limit=1, ids=True)["stream_id"].tolist() == ["1704067200000-0"]
        arrow = stream.frame(limit=2, dtype_backend="pyarrow")
        assert all(isinstance(dtype, pd.ArrowDtype) for dtype in arrow.dtypes)
        assert_frame_equal(stream.tail(0), frame[:0], check_freq=False)
