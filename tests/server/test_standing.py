from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from redis.backoff import NoBackoff
from redis.retry import Retry

import walrus_ts
from tests.consuming import Key, rows, series
from tests.own_server import own_server
from tests.proxy import Proxy
from walrus_ts import GroupMissingError, UsageError


def test_status(db: walrus_ts.Database, key: Key) -> None:
    """`status` is a row a stream: counts that one can calculate with, and times in the streams' zone."""
    ts = series(db, key("a"), key("b"), consumer="w")
    ts[key("a")].append(rows(5).tz_localize("Europe/Berlin"))
    ts[key("a")].read_frame(count=2)
    status = ts.status()
    assert status.index.tolist() == [key("a"), key("b")]
    assert status.dtypes.astype(str).to_dict() == {
        "length": "int64",
        "first": "datetime64[ms, UTC]",  # b has no zone
        "last": "datetime64[ms, UTC]",
        "lag": "Int64",
        "pending": "Int64",
        "oldest_pending": "datetime64[ms, UTC]",
        "consumers": "Int64",
    }
    assert status[["length", "lag", "pending", "consumers"]].values.tolist() == [[5, 3, 2, 1], [0, 0, 0, 0]]
    assert status["last"].iloc[0] - status["oldest_pending"].iloc[0] == pd.Timedelta("4s")
    assert status["last"].isna().tolist() == [False, True]
    alone = db.time_series("readers", [key("a")]).status()
    assert alone["first"].tolist() == [pd.Timestamp("2024-01-01", tz="Europe/Berlin")]
    assert (status["lag"] / status["length"]).iloc[0] == 0.6


def test_status_of_what_is_not_there(db: walrus_ts.Database, key: Key) -> None:
    """A stream that is not there, or that the group is not on, is NA and NaT, and no error."""
    ts = db.time_series("nobody", [key("a"), key("b")])
    ts[key("a")].append(rows(2))
    status = ts.status()
    assert status["length"].tolist() == [2, 0]
    assert status[["lag", "pending", "consumers", "oldest_pending"]].isna().all(axis=None)
    assert status["lag"].sum() == 0


def test_a_lag_that_redis_does_not_know(db: walrus_ts.Database, key: Key) -> None:
    """The lag is NA where rows were deleted ahead of the group, not a number that is wrong."""
    ts = series(db, key(), n=5)
    ts.read_frame(count=1)
    ts[key()].delete("1704067203000-0")
    status = ts.status()
    assert status["lag"].isna().tolist() == [True]
    assert status["lag"].dtype == "Int64"


def test_pending_frame(db: walrus_ts.Database, key: Key) -> None:
    """`pending_frame` lists what is pending, with whom, how long and how often, at the rows' own times."""
    ts = series(db, key("a"), key("b"), n=3, consumer="w")
    empty = ts.pending_frame()
    ts.read_frame(count=2)
    pending = ts[key("a")].pending_frame()
    assert pending.index.tolist() == rows(2).index.tolist()
    assert pending.index.name == "time"
    assert pending["stream_id"].tolist() == ["1704067200000-0", "1704067201000-0"]
    assert pending["consumer"].tolist() == ["w", "w"]
    assert pending["deliveries"].dtype == "int64"
    assert pd.Timedelta(0) <= pending["idle"].max() < pd.Timedelta("1min")
    both = ts.pending_frame(limit=1)
    assert both["stream"].tolist() == [key("a"), key("b")]
    assert (len(empty), empty.dtypes.tolist()) == (0, both.dtypes.tolist())
    assert len(ts[key("a")].pending_frame(limit=0)) == 0
    with pytest.raises(UsageError, match="limit"):
        ts.pending_frame(limit=-1)


def test_many_pending_rows(db: walrus_ts.Database, key: Key) -> None:
    """`pending_frame` has no end but that of the list."""
    ts = series(db, key(), n=25_000)
    ts.read_frame()
    pending = ts[key()].pending_frame()
    assert (len(pending), pending["stream_id"].is_unique, pending.index.is_monotonic_increasing) == (25_000, True, True)


def test_consumers_frame(db: walrus_ts.Database, key: Key) -> None:
    """`consumers_frame` has a row a consumer; one that never got a row has been inactive for no known time."""
    ts = series(db, key("a"), key("b"), n=3)
    empty = ts.consumers_frame()
    ts.consumer("one")[key("a")].read_frame()
    db.xgroup_createconsumer(key("a"), "readers", "two")  # before Redis 7.2, one that reads nothing is none
    consumers = ts[key("a")].consumers_frame().set_index("consumer")
    assert consumers["pending"].to_dict() == {"one": 3, "two": 0}
    told = "inactive" in db.xinfo_consumers(key("a"), "readers")[0]  # from Redis 7.2 on
    assert consumers["inactive"].isna().to_dict() == {"one": not told, "two": True}
    assert consumers["idle"].max() < pd.Timedelta("1min")
    assert ts.consumers_frame()["stream"].tolist() == [key("a"), key("a")]
    assert (len(empty), empty.dtypes.tolist()) == (0, ts.consumers_frame().dtypes.tolist())
    assert consumers["pending"].dtype == np.dtype("int64")


@pytest.mark.parametrize("ask", ["status", "pending_frame", "consumers_frame"])
def test_a_connection_that_is_cut(tmp_path: Path, ask: str) -> None:
    """A question whose answer is cut is asked again."""
    with own_server(tmp_path) as server, Proxy(server.port) as proxy, walrus_ts.connect(server.url) as direct:
        expected = getattr(series(direct, "a", n=3), ask)()
        with walrus_ts.connect(proxy.url, retry=Retry(NoBackoff(), 1)) as db:
            ts = db.time_series("readers", ["a"])
            for place in range(0, 1_000, 50):
                proxy.cut_after(place, "replies")
                pd.testing.assert_frame_equal(getattr(ts, ask)(), expected)
        assert proxy.cuts


def test_frames_of_a_group_that_is_not_there(db: walrus_ts.Database, key: Key) -> None:
    """Pending rows and consumers of a group that does not exist are an error that says how it is made."""
    ts = db.time_series("nobody", [key()])
    for _ in range(2):
        for ask in (ts.pending_frame, ts.consumers_frame, ts[key()].pending_frame, ts[key()].consumers_frame):
            with pytest.raises(GroupMissingError, match=r"'nobody'.*create\(\)"):
                ask()
        ts[key()].append(rows(1))


def test_names_that_are_no_text(db: walrus_ts.Database, key: Key) -> None:
    """Groups, consumers and keys of any bytes are shown with their bytes escaped."""
    ts = db.time_series(b"g\xff", [key()], consumer=b"c\xff")
    ts.create(mkstream=True)
    ts[key()].append(rows(1))
    next(batches := ts.batches(wait=0)).reject(reason="r\udcff")
    assert ts[key()].consumers_frame()["consumer"].tolist() == ["c\\xff"]
    assert ts[key()].dead_letters()[["group", "consumer", "reason"]].values.tolist() == [["g\\xff", "c\\xff", "r?"]]
    batches.close()
