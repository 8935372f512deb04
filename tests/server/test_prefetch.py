import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis

import walrus_ts
from tests.cluster import Cluster
from tests.consuming import Key, rows, series, xs
from tests.helpers import wait_until
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
    """While a full batch is in hand, a piece of the next one is pending, and no more; a small batch has none ahead."""
    ts = series(db, key(), n=N)
    with ts.batches(100, wait=0) as batches:
        next(batches).ack()
        assert ahead(db, key()) == 0
    with ts.batches(2 * PIECE, wait=0, prefetch=True) as batches:
        next(batches).ack()
        wait_until(lambda: ahead(db, key()) == PIECE)
        batch = next(batches)
        assert xs(batch)[0] == 100 + 2 * PIECE
        assert len(batch) == 2 * PIECE - 83
        assert ahead(db, key()) == len(batch)


@pytest.mark.parametrize(
    ("count", "prefetch", "seconds", "expected"),
    [
        (PIECE + 1, None, 0, PIECE),
        (PIECE, None, 0, 0),
        (PIECE + 1, False, 0, 0),
        (PIECE + 1, None, 1.1, 0),
        (PIECE, True, 0, PIECE),
    ],
)
def test_large_batches_and_quick_work(
    db: walrus_ts.Database, key: Key, *, count: int, prefetch: bool | None, seconds: float, expected: int
) -> None:
    """Large batches are read ahead behind one on which the work was quick, unless somebody wants it otherwise."""
    ts = series(db, key(), n=N)
    with ts.batches(count, wait=0, prefetch=prefetch) as batches:
        next(batches).ack()
        assert prefetch or ahead(db, key()) == 0  # nobody knows yet how quick the work is
        time.sleep(seconds)
        next(batches).ack()
        assert ahead(db, key()) == expected
    assert ahead(db, key()) == 0


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


@pytest.mark.parametrize("streams", [1, 3])
def test_slow_work(db: walrus_ts.Database, key: Key, streams: int) -> None:
    """Work that is slow at times changes neither the order of a stream's rows nor how often they are delivered."""
    ts = series(db, *(key(str(n)) for n in range(streams)), n=2_000)
    found: dict[str, list[int]] = {name: [] for name in ts.keys}
    for number, batch in enumerate(ts.batches(200, wait=0, claim_after=2, prefetch=True)):
        with batch:
            assert set(batch.deliveries) == {1}
            for name, frame in batch.frame.groupby("stream", observed=True):
                found[str(name)] += frame["x"].tolist()
            if number % 4 == 1:
                time.sleep(0.2)
    assert found == {name: list(range(2_000)) for name in ts.keys}
    assert set(ts.status()["pending"]) == {0}


def test_claim_after_begins_when_rows_are_given_out(db: walrus_ts.Database, key: Key) -> None:
    """Rows that have waited are nobody else's for as long as others: what they waited for is not taken off."""
    ts = series(db, key(), n=400)
    with ts.batches(100, wait=0, claim_after=2, prefetch=True) as batches:
        next(batches).ack()
        wait_until(lambda: ahead(db, key()) == 100)
        time.sleep(0.8)
        batch = next(batches)
        time.sleep(1.5)
        assert [take(other) for other in ts.batches(500, wait=0, claim_after=2)] == [list(range(200, 400))]
        assert batch.ack() == 100


def test_rows_that_others_have_taken_over(db: walrus_ts.Database, key: Key) -> None:
    """Rows that another consumer has taken over while they waited are not given out."""
    ts = series(db, key(), n=500)
    batches = ts.batches(100, wait=0, claim_after=60, prefetch=True)
    found = take(next(batches))
    wait_until(lambda: ahead(db, key()) == 100)
    ids = ts[key()].frame(ids=True)["stream_id"][100:150].tolist()
    db.xclaim(key(), "readers", "thief", 0, ids, justid=True)
    time.sleep(1.1)
    for batch in batches:
        found += take(batch)
    assert sorted(found) == [*range(100), *range(150, 500)]
    assert ts[key()].pending_frame()["consumer"].tolist() == ["thief"] * 50


def test_extend_gives_back(db: walrus_ts.Database, key: Key) -> None:
    """Work that says that it goes on leaves what was read ahead to others."""
    ts = series(db, key(), n=300)
    with ts.batches(100, wait=0, prefetch=True) as batches:
        batch = next(batches)
        batch.extend()
        assert [take(other) for other in ts.batches(200, wait=0)] == [list(range(100, 200)), list(range(200, 300))]
        assert batch.ack() == 100
        assert list(batches) == []


def test_what_extend_gives_back_comes_again(db: walrus_ts.Database, key: Key) -> None:
    """Where nobody else takes what an extended batch has given back, the same loop does, before it ends."""
    ts = series(db, key(), n=300)
    found: list[int] = []
    for batch in ts.batches(100, wait=0, prefetch=True):
        batch.extend()
        assert set(batch.deliveries) == {1}
        found += take(batch)
    assert sorted(found) == list(range(300))
    assert ts[key()].pending_frame().empty


def test_a_row_is_not_given_up_unseen(db: walrus_ts.Database, key: Key) -> None:
    """Where one delivery is all that a row has, it is not delivered ahead."""
    ts = series(db, key(), n=3)
    with ts.batches(1, wait=0, max_deliveries=1, prefetch=True) as batches:
        next(batches).ack()
        time.sleep(0.05)  # for longer than a request takes
        assert ts[key()].pending_frame().empty


def test_a_pool_that_waits(url: str, db: walrus_ts.Database, key: Key) -> None:
    """A pool whose users wait for each other's connections lends none ahead: they might wait for ever."""
    series(db, key(), n=300)
    options = walrus_ts.connect(url).connection_pool.connection_kwargs
    kinds = {} if "path" not in options else {"connection_class": redis.UnixDomainSocketConnection}
    pool = redis.BlockingConnectionPool(max_connections=1, timeout=None, **kinds, **options)
    with walrus_ts.Database(connection_pool=pool) as own:
        batches = own.time_series("readers", [key()]).batches(100, wait=0, prefetch=True)
        assert [number for batch in batches for number in take(batch)] == list(range(300))
    pool.disconnect()


def test_a_group_that_is_set_back(db: walrus_ts.Database, key: Key) -> None:
    """What was read ahead is handed back, whatever others have done to the group's position."""
    ts = series(db, key(), n=300)
    with ts.batches(100, wait=0, prefetch=True) as batches:
        next(batches).ack()
        wait_until(lambda: ahead(db, key()) == 100)
        db.xgroup_setid(key(), "readers", "0")
    assert ts[key()].pending_frame()["deliveries"].tolist() == [0] * 100


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


def test_a_pool_of_two_connections(url: str, db: walrus_ts.Database, key: Key) -> None:
    """A second connection is enough, also where rows have waited, and are extended or handed back."""
    series(db, key(), n=400)
    with walrus_ts.connect(url, max_connections=2) as own:
        batches = own.time_series("readers", [key()]).batches(100, wait=0, prefetch=True)
        found = take(next(batches))
        time.sleep(1.1)
        found += take(next(batches))
        batch = next(batches)
        batch.extend()
        found += take(batch)
        found += [number for batch in batches for number in take(batch)]
    assert sorted(found) == list(range(400))


def test_a_transaction(db: walrus_ts.Database, key: Key) -> None:
    """Rows that are read ahead do not stand in the way of a transaction, nor are they acknowledged by it."""
    ts = series(db, key(), n=N)
    with ts.batches(PIECE, wait=0, prefetch=True) as batches:
        for batch in batches:
            with batch.transaction() as pipe:
                pipe.rpush(key("done"), *xs(batch))
    assert [int(number) for number in db.lrange(key("done"), 0, -1)] == list(range(N))


def test_a_cluster(tmp_path: Path) -> None:
    """In a cluster, each slot's rows are read ahead, and handed back at the end, though a server is away."""
    cluster = Cluster(tmp_path)
    cluster.start()
    try:
        with walrus_ts.connect(cluster.url) as db:
            ts = db.time_series("readers", ["a", "b", "c"])
            ts.create(mkstream=True)
            for name in "abc":
                ts[name].append(rows(N))
            batches = ts.batches(PIECE, wait=0, prefetch=True)
            found: dict[str, list[int]] = {name: [] for name in "abc"}
            for batch in batches:
                with batch:
                    for name, frame in batch.frame.groupby("stream", observed=True):
                        found[str(name)] += frame["x"].tolist()
            assert found == {name: list(range(N)) for name in "abc"}
            assert ts.status()["pending"].tolist() == [0, 0, 0]
            for name in "abc":
                ts[name].append(rows(N, "2025"))
            batches = ts.batches(PIECE, wait=0, prefetch=True)
            for _ in "abc":
                next(batches).ack()
            cluster.master("a").kill()
            batches.close()
            for name in "bc":
                assert set(ts[name].pending_frame()["deliveries"]) == {0}
    finally:
        cluster.end()


def test_wrong_values(db: walrus_ts.Database, key: Key) -> None:
    """It is True, False or None."""
    with pytest.raises(walrus_ts.UsageError, match="prefetch is True, False or None; found 2"):
        series(db, key()).batches(prefetch=2)  # type: ignore[arg-type]
