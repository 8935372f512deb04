# ruff: noqa: PT012  # what a transaction raises, it raises at the end of a block
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

import walrus_ts
from tests.consuming import Key, rows, series, xs
from tests.helpers import wait_until
from tests.own_server import own_server
from tests.proxy import Proxy, Way
from walrus_ts import BatchLostError, LateRowsError, SchemaError, UsageError


def test_commands_and_acknowledgement_are_one_step(db: walrus_ts.Database, key: Key) -> None:
    """A transaction runs what was queued, numpy's numbers too, when its block ends, and acknowledges the batch."""
    ts = series(db, key(), n=3)
    for batch in ts.batches(wait=0):
        with batch.transaction() as pipe:
            pipe.incrby(key("sum"), batch.frame["x"].sum())
            pipe.hset(key("hash"), mapping={"last": batch.ids[-1], "mean": batch.frame["x"].mean()})
            assert db.exists(key("sum"), key("hash")) == 0
        assert pipe.replies == [3, 2]
    assert (db.get(key("sum")), db.hvals(key("hash"))) == (b"3", [b"1704067202000-0", b"1.0"])
    assert ts[key()].pending() == []


def test_derived_rows(db: walrus_ts.Database, key: Key) -> None:
    """`batch.append` writes frames of any dtypes, one behind the other, in the same step."""
    ts = series(db, key(), n=4)
    out = db.time_series("out", [key("out")])[key("out")]
    for batch in ts.batches(count=2, wait=0):
        with batch.transaction():
            frame = batch.frame[["x"]].assign(name="ä", half=lambda f: f["x"] / 2)
            batch.append(out, frame[:1])
            batch.append(out, frame[1:])
            assert len(out.frame()) == batch.frame["x"].iloc[0]
    expected = rows(4).assign(name="ä", half=lambda f: f["x"] / 2)
    pd.testing.assert_frame_equal(out.frame(), expected, check_freq=False)
    assert ts[key()].pending() == []


def test_rows_derived_into_their_own_stream(db: walrus_ts.Database, key: Key) -> None:
    """What a batch appends to the stream that it is from is delivered in its turn."""
    ts = series(db, key(), n=2)
    seen = []
    for batch in ts[key()].batches(wait=0):
        seen += xs(batch)
        with batch.transaction():
            batch.append(ts[key()], (batch.frame + 10).shift(freq="1h")[: 2 if seen == [0, 1] else 0])
    assert seen == [0, 1, 10, 11]


def test_another_writer_in_between(db: walrus_ts.Database, key: Key) -> None:
    """Rows that another writer has appended in the block do not keep derived rows out, unless these are late then."""
    ts = series(db, key(), n=2)
    out = db.time_series("out", [key("out")])[key("out")]
    with ts.batches(wait=0) as batches:
        batch = next(batches)
        with batch.transaction():
            batch.append(out, batch.frame[["x"]])
            out.append(rows(1, "2023", first=-1))
        assert out.frame()["x"].tolist() == [-1, 0, 1]
        ts[key()].append(rows(1, "2024-02"))
        batch = next(batches)
        with pytest.raises(LateRowsError, match="out of the frame that `batch"), batch.transaction():
            batch.append(out, batch.frame[["x"]])
            out.append(rows(1, "2024-03"))
    assert out.frame()["x"].tolist() == [-1, 0, 1, 0]
    assert len(ts[key()].pending()) == 1


def test_a_block_that_raises_writes_nothing(db: walrus_ts.Database, key: Key) -> None:
    """Nothing is run, and nothing acknowledged, where a transaction's block raises, or derived rows do not fit."""
    ts = series(db, key(), n=2)
    out = db.time_series("out", [key("out")])[key("out")]
    out.append(rows(1, "2023"))
    for error, derived in ((ZeroDivisionError, rows(0)), (SchemaError, rows(2).astype(str))):
        with ts.consumer(error.__name__).batches(wait=0, claim_after=0.001) as batches, suppress(error):
            batch = next(batches)
            with batch.transaction() as pipe:
                pipe.set(key("n"), 1)
                batch.append(out, derived)
                if error is ZeroDivisionError:
                    raise ZeroDivisionError
            pytest.fail("it did not raise")
        wait_until(lambda: ts[key()].pending_frame()["idle"].min() > pd.Timedelta("2ms"))
    assert db.get(key("n")) is None
    assert len(out.frame()) == 1
    assert ts[key()].pending_frame()["deliveries"].tolist() == [2, 2]


@pytest.mark.parametrize("finished", [True, False])
def test_overtaken(db: walrus_ts.Database, key: Key, finished: bool) -> None:
    """If any program has claimed or acknowledged one row of a transaction, nothing of it is written."""
    ts = series(db, key(), n=3)
    out = db.time_series("out", [key("out")])[key("out")]
    batches = ts.batches(wait=0)
    batch = next(batches)
    with (
        pytest.raises(BatchLostError, match=r"1 have been claimed|1 are no longer pending"),
        batch.transaction() as pipe,
    ):
        pipe.set(key("n"), 1)
        batch.append(out, batch.frame[["x"]])
        if finished:
            db.xack(key(), "readers", batch.ids[1])
        else:
            db.xclaim(key(), "readers", "stranger", 0, [batch.ids[1]])
    assert db.get(key("n")) is None
    assert len(out.frame()) == 0
    assert len(ts[key()].pending()) == (2 if finished else 3)


def test_a_group_that_has_gone(db: walrus_ts.Database, key: Key) -> None:
    """Where the group is no more, no row is pending with it: nothing is written."""
    ts = series(db, key(), n=3)
    batches = ts.batches(wait=0)
    batch = next(batches)
    with pytest.raises(BatchLostError, match="3 are no longer pending"), batch.transaction() as pipe:
        pipe.set(key("n"), 1)
        db.delete(key())
    assert db.get(key("n")) is None


def test_some_rows_first(db: walrus_ts.Database, key: Key) -> None:
    """Rows that were acknowledged or rejected before are no part of the transaction."""
    ts = series(db, key(), n=3)
    batches = ts.batches(wait=0)
    batch = next(batches)
    batch.ack([True, False, False])
    batch.reject([False, True, False])
    with batch.transaction() as pipe:
        pipe.set(key("n"), 1)
    assert (db.get(key("n")), ts[key()].pending()) == (b"1", [])
    with pytest.raises(UsageError, match="no row left"), batch.transaction() as pipe:
        pipe.set(key("n"), 2)


def test_a_refused_command(db: walrus_ts.Database, key: Key) -> None:
    """A command that the server refuses is named by its number; the rows stay pending."""
    ts = series(db, key(), n=1)
    db.set(key("text"), "a")
    batches = ts.batches(wait=0)
    batch = next(batches)
    with (
        pytest.raises(ResponseError, match="refused command 2 of the batch's transaction"),
        batch.transaction() as pipe,
    ):
        pipe.set(key("n"), 1)
        pipe.incr(key("text"))
        pipe.set(key("n"), 2)
    assert db.get(key("n")) == b"1"
    assert len(ts[key()].pending()) == 1


def test_what_a_transaction_is_not(db: walrus_ts.Database, key: Key) -> None:
    """What a transaction cannot do, and what no stream is, are errors that say what to do; nothing is run."""
    batches = series(db, key(), n=1).batches(wait=0)
    batch = next(batches)
    with batch.transaction() as pipe:
        for wrong in (
            pipe.execute,
            lambda: pipe.watch(key()),
            lambda: pipe.immediate_execute_command("SET", key("n"), 1),
            lambda: pipe.execute_command("WATCH", key()),
            batch.transaction().__enter__,
            lambda: batch.append(key("out"), rows(1)),  # type: ignore[arg-type]
        ):
            with pytest.raises(UsageError):
                wrong()
    assert db.get(key("n")) is None
    with pytest.raises(UsageError, match=r"with batch.transaction\(\)"):
        batch.append(db.time_series("out", [key()])[key()], rows(1))


def test_a_large_transaction(db: walrus_ts.Database, key: Key) -> None:
    """Some ten thousand rows are derived and acknowledged in one step; what the server cannot take is refused."""
    ts = series(db, key(), n=20_000)
    out = db.time_series("out", [key("out")])[key("out")]
    batches = ts.batches(count=20_000, wait=0)
    batch = next(batches)
    with pytest.raises(UsageError, match="at most 7000 arguments"), batch.transaction() as pipe:
        pipe.rpush(key("list"), *range(8_000))
    with batch.transaction():
        batch.append(out, batch.frame[["x"]])
    assert (len(out.frame()), len(ts[key()].pending(count=1))) == (20_000, 0)


def consume(ts: walrus_ts.TimeSeries, source: str, out: str, count: str) -> None:
    """Copy the rows of a stream to another, and count them; no row's delivery counts twice."""
    for batch in ts[source].batches(count=10, wait=0):
        assert batch.deliveries.max() == 1
        with batch.transaction() as pipe:
            pipe.incrby(count, len(batch))
            batch.append(ts.database.time_series("out", [out])[out], batch.frame)


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_connection_cut_at_any_byte(tmp_path: Path, way: Way) -> None:
    """Wherever a connection is cut, each row is worked on exactly once, in one iteration."""
    with own_server(tmp_path) as server, Proxy(server.port) as proxy, walrus_ts.connect(server.url) as direct:
        run_cut(direct, proxy, way, 999_998)  # the server has the scripts from here on
        nbytes = run_cut(direct, proxy, way, 999_999)
        assert proxy.cuts == 0
        places = range(0, nbytes, nbytes // 25)
        for place in places:
            run_cut(direct, proxy, way, place)
        assert proxy.cuts == len(places)


def run_cut(direct: walrus_ts.Database, proxy: Proxy, way: Way, place: int) -> int:
    """Work on a stream over a connection that is cut, check what came of it; return how many bytes it took."""
    source, out, count = (f"{place:06}:{name}" for name in ("source", "out", "count"))
    stream = series(direct, source, n=30)[source]
    with walrus_ts.connect(proxy.url, retry=Retry(NoBackoff(), 1)) as db:
        proxy.cut_after(place, way)
        consume(db.time_series("readers", [source]), source, out, count)
    assert direct.get(count) == b"30", place
    assert direct.time_series("out", [out])[out].frame()["x"].tolist() == [*range(30)], place
    assert (stream.pending(), len(stream.dead_letters())) == ([], 0), place
    return proxy.passed[way]


WORKER = """
import sys, time, walrus_ts
url, source, out, count = sys.argv[1:]
db = walrus_ts.connect(url)
ts = db.time_series("readers", [source])
for batch in ts[source].batches(count=3, wait=0, claim_after=0.001):
    with batch.transaction() as pipe:
        pipe.incrby(count, len(batch))
        batch.append(db.time_series("out", [out])[out], batch.frame)
"""


def test_a_worker_that_is_killed(url: str, db: walrus_ts.Database, key: Key) -> None:
    """Output and pending rows agree when a worker is killed; another one finishes the work, exactly once."""
    ts = series(db, key(), n=3_000)
    names = [key(), key("out"), key("n")]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, url, *names])
    wait_until(lambda: int(db.get(key("n")) or 0) > 10, timeout=30)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    out = db.time_series("out", [key("out")])[key("out")]
    done, read = int(db.get(key("n")) or 0), db.xinfo_groups(key())[0]["entries-read"]
    assert done == len(out.frame()) == read - len(ts[key()].pending())
    assert done < 3_000
    for batch in ts[key()].batches(wait=0.1, claim_after=0.001):
        with batch.transaction() as pipe:
            pipe.incrby(key("n"), len(batch))
    assert db.get(key("n")) == b"3000"
