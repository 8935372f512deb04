import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import walrus_ts
from tests.cluster import Cluster
from tests.consuming import Key, rows, series, xs
from tests.own_server import own_server
from walrus_ts import Batch
from walrus_ts.transfer.member import PIECE

N = 4 * PIECE + 17  # rows: several pieces, the last of them not full


def ahead(db: walrus_ts.Database, key: str) -> int:
    """Say how many rows are pending that have been delivered once."""
    found: pd.Series = db.time_series("readers", [key])[key].pending_frame()["deliveries"]
    return int((found == 1).sum())


def take(batch: Batch) -> list[int]:
    """Acknowledge a batch; give the numbers of its rows."""
    with batch:
        return xs(batch)


@pytest.mark.parametrize("count", [1, 100, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 1, N, N + 1])
def test_each_row_once_in_order(db: walrus_ts.Database, key: Key, count: int) -> None:
    """Batches are the same as without `prefetch`, and nothing is left pending, nor a consumer."""
    n = N if count > 1 else 20
    ts = series(db, key(), n=n)
    with ts[key()].batches(count, wait=0, prefetch=True) as batches:
        found = [(xs(batch), batch.deliveries.tolist()) for batch in batches if batch.ack()]
    expected = [list(range(at, min(at + count, n))) for at in range(0, n, count)]
    assert [numbers for numbers, _ in found] == expected
    assert all(set(deliveries) == {1} for _, deliveries in found)
    assert ts[key()].pending_frame().empty
    assert ts[key()].consumers_frame().empty


def test_rows_are_read_ahead(db: walrus_ts.Database, key: Key) -> None:
    """While a full batch is in hand, a piece of the next one is pending, and no more; without `prefetch`, none."""
    ts = series(db, key(), n=N)
    with ts.batches(100, wait=0) as batches:
        next(batches).ack()
        assert ahead(db, key()) == 0
    with ts.batches(2 * PIECE, wait=0, prefetch=True) as batches:
        next(batches).ack()
        time.sleep(0.05)  # nothing waits for the request: the server takes it up some time
        assert ahead(db, key()) == PIECE
        batch = next(batches)
        assert xs(batch)[0] == 100 + 2 * PIECE
        assert len(batch) == 2 * PIECE - 83
        assert ahead(db, key()) == len(batch)


def test_a_groups_batches(db: walrus_ts.Database, key: Key) -> None:
    """Pieces have rows of several streams, and of some of them fewer."""
    ts = series(db, key("a"), key("b"))
    ts[key("a")].append(rows(N))
    ts[key("b")].append(rows(N // 2, start="2024-01-01 00:00:00.500"))
    found = pd.concat([batch.frame for batch in ts.batches(3_000, wait=0, prefetch=True) if batch.ack()])
    for name, n in (("a", N), ("b", N // 2)):
        assert found.loc[found["stream"] == key(name), "x"].tolist() == list(range(n))
    assert ts.status()["pending"].tolist() == [0, 0]


@pytest.mark.parametrize("leave", ["break", "close", "raise"])
def test_leaving_hands_back(db: walrus_ts.Database, key: Key, leave: str) -> None:
    """What was read ahead is handed back at the end as if it had not been delivered, and is anybody's at once."""
    ts = series(db, key(), n=N)
    with suppress(ZeroDivisionError), ts.batches(PIECE, wait=0, prefetch=True) as batches:
        for batch in batches:
            assert take(batch) == list(range(PIECE))
            if leave == "raise":
                raise ZeroDivisionError
            break
        if leave == "close":
            batches.close()
    pending = ts[key()].pending_frame()
    assert (len(pending), pending["deliveries"].unique().tolist()) == (PIECE, [0])
    found: list[int] = []
    for batch in ts.batches(wait=0):
        assert set(batch.deliveries) == {1}
        found += take(batch)
    assert sorted(found) == list(range(PIECE, N))


def test_slow_work(db: walrus_ts.Database, key: Key) -> None:
    """Rows that have waited too long are handed back, not given out late: each is delivered once, by all counts."""
    ts = series(db, key(), n=N)
    found: list[int] = []
    for number, batch in enumerate(ts.batches(PIECE // 2, wait=0, claim_after=1, prefetch=True)):
        assert set(batch.deliveries) == {1}
        found += take(batch)
        if number % 3 == 0:
            time.sleep(0.2)
    assert sorted(found) == list(range(N))
    assert ts[key()].pending_frame().empty


def test_workers_side_by_side(url: str, db: walrus_ts.Database, key: Key) -> None:
    """Several consumers read ahead, and each row is one's."""
    ts = series(db, key())
    found: list[int] = []

    def work(count: int) -> None:
        with walrus_ts.connect(url) as own:
            for batch in own.time_series("readers", [key()]).batches(count, wait=0.5, prefetch=True):
                found.extend(take(batch))

    threads = [threading.Thread(target=work, args=(count,)) for count in (50, 700, PIECE, 2 * PIECE)]
    for thread in threads:
        thread.start()
    for at in range(0, 40_000, 4_000):
        ts[key()].append(rows(4_000, first=at, start=str(pd.Timestamp("2024") + pd.Timedelta(seconds=at))))
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(40_000))
    assert ts[key()].pending_frame().empty


def test_connections_that_are_lost(url: str, db: walrus_ts.Database, key: Key) -> None:
    """Killed connections cost what was read ahead, which is handed back: no row is delivered twice, and none lost."""
    series(db, key(), n=N)
    random = np.random.default_rng(1)
    found: list[int] = []
    with walrus_ts.connect(url, client_name=f"{key()}-worker") as own:
        for batch in own.time_series("readers", [key()]).batches(700, wait=0, prefetch=True):
            assert set(batch.deliveries) == {1}
            found += take(batch)
            for client in db.client_list():
                if client["name"] == f"{key()}-worker" and random.random() < 0.5:
                    db.client_kill_filter(client["id"])
    assert sorted(found) == list(range(N))
    assert db.time_series("readers", [key()])[key()].pending_frame().empty


def test_a_server_that_restarts(tmp_path: Path) -> None:
    """A server that is killed and back with its data has what was read ahead pending; it comes all the same."""
    with own_server(tmp_path) as own, walrus_ts.connect(own.url) as db:
        ts = series(db, "ticks", n=N)
        found: list[int] = []
        for number, batch in enumerate(ts.batches(PIECE, wait=0, prefetch=True)):
            found += take(batch)
            if number in (0, 2):
                own.kill()
                own.start()
        assert sorted(found) == list(range(N))
        assert ts.ticks.pending_frame().empty


def test_a_group_that_is_deleted(db: walrus_ts.Database, key: Key) -> None:
    """A group that goes while rows are read ahead is made anew, and says so."""
    ts = series(db, key(), n=2 * PIECE)
    batches = ts.batches(PIECE, wait=0, prefetch=True)
    next(batches).ack()
    ts.destroy()
    assert xs(next(batches)) == list(range(PIECE, 2 * PIECE))  # had been read ahead; it asks for more, and is refused
    with pytest.warns(RuntimeWarning, match="had gone"):
        assert xs(next(batches)) == list(range(PIECE))
    batches.close()


def test_a_pool_of_one_connection(url: str, db: walrus_ts.Database, key: Key) -> None:
    """Where there is no second connection, nothing is read ahead."""
    series(db, key(), n=N)
    with walrus_ts.connect(url, max_connections=1) as own:
        batches = own.time_series("readers", [key()]).batches(PIECE, wait=0, prefetch=True)
        assert [number for batch in batches for number in take(batch)] == list(range(N))


def test_a_transaction(db: walrus_ts.Database, key: Key) -> None:
    """Rows that are read ahead do not stand in the way of a transaction, nor are they acknowledged by it."""
    ts = series(db, key(), n=N)
    with ts.batches(PIECE, wait=0, prefetch=True) as batches:
        for batch in batches:
            with batch.transaction() as pipe:
                pipe.rpush(key("done"), *xs(batch))
    assert [int(number) for number in db.lrange(key("done"), 0, -1)] == list(range(N))


def test_a_cluster(tmp_path: Path) -> None:
    """In a cluster, each slot's rows are read ahead."""
    cluster = Cluster(tmp_path)
    cluster.start()
    try:
        with walrus_ts.connect(cluster.url) as db:
            ts = db.time_series("readers", ["a", "b", "c"])
            ts.create(mkstream=True)
            for name in "abc":
                ts[name].append(rows(N))
            found: dict[str, list[int]] = {name: [] for name in "abc"}
            for batch in ts.batches(PIECE, wait=0, prefetch=True):
                with batch:
                    for name, frame in batch.frame.groupby("stream", observed=True):
                        found[str(name)] += frame["x"].tolist()
            assert found == {name: list(range(N)) for name in "abc"}
            assert ts.status()["pending"].tolist() == [0, 0, 0]
    finally:
        cluster.end()


def test_wrong_values(db: walrus_ts.Database, key: Key) -> None:
    """It is True or False."""
    with pytest.raises(walrus_ts.UsageError, match="prefetch is True or False; found 2"):
        series(db, key()).batches(prefetch=2)  # type: ignore[arg-type]
