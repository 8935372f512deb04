import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import walrus_ts
from tests.consuming import Key, rows, series, xs
from tests.helpers import wait_until
from tests.own_server import OwnServer, own_server
from tests.proxy import Proxy, Way
from walrus_ts import GroupMissingError


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnServer]:
    """Start a server that may be killed."""
    with own_server(tmp_path) as server:
        yield server


@contextmanager
def later(work: object, after: float = 0.2) -> Iterator[None]:
    """Do something in another thread, some seconds after the block has begun."""
    timer = threading.Timer(after, work)  # type: ignore[arg-type]
    timer.start()
    yield
    timer.join()


def test_a_server_restarted_with_its_data(own: OwnServer) -> None:
    """A worker that waits, and one that has a batch in hand, go on when the server is back with its data."""

    def restart() -> None:
        own.kill()
        own.start()
        with walrus_ts.connect(own.url) as other:
            other.time_series("other", ["ticks"]).ticks.append(rows(2, "2025", first=10))

    with walrus_ts.connect(own.url) as db:
        ts = series(db, "ticks", n=2, consumer="w")
        batches = ts.batches()
        batch = next(batches)
        own.kill()
        own.start()
        assert batch.ack() == 2
        with later(restart):
            batch = next(batches)
        assert (xs(batch), batch.deliveries.tolist()) == ([10, 11], [1, 1])
        assert batch.ack() == 2
        batches.close()


def test_an_acknowledgement_while_the_data_are_loaded(own: OwnServer) -> None:
    """A batch in hand is acknowledged when the server has loaded its data, and answers again."""
    with walrus_ts.connect(own.url) as db, next(series(db, "ticks", n=6_000).batches(1_000)) as batch:
        own.kill()
        own.settings["key_load_delay"] = 200  # microseconds a command: more than a second
        own.start(wait=False)
        wait_until(lambda: is_loading(own))
        assert batch.ack() == len(batch) == 1_000


def is_loading(own: OwnServer) -> bool:
    """Tell whether a server loads its data."""
    with redis.Redis.from_url(own.url, retry=Retry(NoBackoff(), 0)) as client:
        try:
            return bool(client.info("persistence")["loading"])
        except redis.ConnectionError:
            return False


def test_a_server_restarted_without_its_data(own: OwnServer) -> None:
    """Where group and stream are gone, the group is made anew from the series' position, with a warning."""

    def restart() -> None:
        own.kill()
        own.forget()
        own.start()
        with walrus_ts.connect(own.url) as other:
            other.time_series("other", ["ticks"]).ticks.append(rows(4).astype("float64"))

    with walrus_ts.connect(own.url) as db:
        ts = db.time_series("readers", {"ticks": pd.Timestamp("2024-01-01 00:00:01")}, consumer="w")
        ts.create(mkstream=True)
        ts.ticks.append(rows(3))
        with ts.batches() as batches:
            batch = next(batches)
            assert (xs(batch), batch.ack()) == ([2], 1)
            with later(restart), pytest.warns(RuntimeWarning, match=r"'readers'.*made anew.*1704067201000-"):
                batch = next(batches)
            assert xs(batch) == [2.0, 3.0]
            assert batch.frame["x"].dtype == "float64"
            assert batch.ack() == 2


def test_a_stream_deleted_and_made_again(db: walrus_ts.Database, key: Key) -> None:
    """Rows of a new stream under the old name are delivered as they are; other streams' backlogs are not forgotten."""
    ts = series(db, key("a"), key("b"), n=4, consumer="w")
    list(ts.batches(wait=0))
    with ts.batches(count=2, wait=5) as batches:
        assert xs(next(batches)) == [0, 1]
        ts[key("a")].drop()
        db.time_series("other", [key("a")])[key("a")].append(rows(1, "2023", first=100).astype("string"))
        with pytest.warns(RuntimeWarning, match="the stream was deleted"):
            seen = [next(batches) for _ in range(3)]
    assert [b.frame["x"].tolist() for b in seen if b.frame["stream"].iloc[0] == key("a")] == [["100"]]
    assert sorted(x for b in seen if b.frame["stream"].iloc[0] == key("b") for x in xs(b)) == [0, 1, 2, 3]


def test_deleted_while_waiting(db: walrus_ts.Database, key: Key) -> None:
    """A worker that waits for rows of a stream that is deleted waits for those of the next one."""
    ts = series(db, key(), n=1)

    def replace() -> None:
        db.delete(key())
        db.time_series("other", [key()])[key()].append(rows(1, first=7))

    with ts.batches(wait=5) as batches:
        next(batches).ack()
        with later(replace), pytest.warns(RuntimeWarning, match="made anew"):
            assert xs(next(batches)) == [7]


def test_a_group_destroyed_before_a_rejection(db: walrus_ts.Database, key: Key) -> None:
    """Acknowledging finds nothing pending where the group has gone; rejecting and extending say that it has."""
    ts = series(db, key(), n=1)
    batches = ts.batches(wait=0)
    batch = next(batches)
    ts.destroy()
    for act in (batch.reject, batch.extend):
        with pytest.raises(GroupMissingError, match="readers"):
            act()
    assert batch.ack() == 0
    batches.close()


def test_killed_connections(db: walrus_ts.Database, url: str, key: Key) -> None:
    """A worker whose connections are killed again and again gets every row once, and acknowledges it."""
    series(db, key())
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.03):
            for client in other.client_list():
                if client["id"] != str(other.client_id()) and client["name"] == "victim":
                    other.client_kill_filter(_id=client["id"])

    with walrus_ts.connect(url, client_name="victim") as victim, walrus_ts.connect(url) as other:
        ts = victim.time_series("readers", [key()])
        killer = threading.Thread(target=kill)
        killer.start()
        seen: list[int] = []
        try:
            with ts.batches(count=7, wait=10) as batches:
                for n in range(10):
                    other.time_series("writers", [key()])[key()].append(rows(20, f"2024-01-{n + 1:02}", first=20 * n))
                    while len(seen) < 20 * (n + 1):
                        with next(batches) as batch:
                            seen += xs(batch)
                            assert batch.deliveries.max() == 1
                            time.sleep(0.01)
        finally:
            stop.set()
            killer.join()
        assert sorted(seen) == [*range(200)]
        assert other.xpending(key(), "readers")["pending"] == 0


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_backlog_over_a_connection_that_is_cut(own: OwnServer, way: Way) -> None:
    """Wherever a connection is cut, a backlog and rows of the dead are delivered once, and counted once."""
    with walrus_ts.connect(own.url) as direct, Proxy(own.port) as proxy:
        for place in range(0, 2_600, 130):
            ts = series(direct, f"{place}:a", f"{place}:b", n=6)
            ts.consumer("w").read_frame(count=3)
            ts.consumer("dead").read_frame()
            wait_until(lambda ts=ts: ts.pending_frame()["idle"].min() > pd.Timedelta("10ms"), interval=0.005)
            with walrus_ts.connect(proxy.url, retry=Retry(NoBackoff(), 1)) as db:
                proxy.cut_after(place, way)
                worker = db.time_series("readers", ts.keys, consumer="w")
                deliveries: list[int] = []
                for batch in worker.batches(count=2, wait=0, claim_after=0.01):
                    with batch:
                        deliveries += batch.deliveries.tolist()
            assert deliveries == [2] * 12, place
        assert proxy.cuts > 10


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_large_batch_over_a_connection_that_is_cut(own: OwnServer, way: Way) -> None:
    """A batch that is read in pieces, and cut off in one, has the pieces that came; the others are not counted."""
    with walrus_ts.connect(own.url) as direct, Proxy(own.port) as proxy:
        ts, short = series(direct, "a", "b", n=6_000), 0
        for place in range(0, 1_200, 120) if way == "requests" else range(0, 600_000, 60_000):
            ts.reset()
            with walrus_ts.connect(proxy.url, retry=Retry(NoBackoff(), 1)) as db:
                proxy.cut_after(place, way)
                seen: list[int] = []
                for batch in db.time_series("readers", ts.keys, consumer="w").batches(count=5_000, wait=0):
                    with batch:
                        seen += xs(batch)
                        assert batch.deliveries.max() == 1, place
                    short += len(seen) == len(batch) < 10_000
            assert sorted(seen) == sorted([*range(6_000)] * 2), place
        assert proxy.cuts >= 9
        assert short


def test_pieces_of_a_frame_over_a_connection_that_is_cut(own: OwnServer) -> None:
    """What `read_frame` has got before its connection is lost, it returns; it raises only where that is nothing."""
    with walrus_ts.connect(own.url) as direct, Proxy(own.port) as proxy:
        counts = set()
        for place in range(0, 1_000_000, 50_000):
            series(direct, f"{place}", n=10_000)
            with walrus_ts.connect(proxy.url, retry=Retry(NoBackoff(), 1)) as db:
                proxy.cut_after(place, "replies")
                try:
                    counts.add(len(db.time_series("readers", [f"{place}"]).read_frame(count=10_000)))
                except redis.ConnectionError:
                    counts.add(0)
        assert {0, 10_000} < counts


def test_a_wait_outlasts_the_sockets_timeout(db: walrus_ts.Database, url: str, key: Key) -> None:
    """redis-py gives a reply `socket_timeout` seconds; waiting for rows is no lost reply."""
    series(db, key())
    with walrus_ts.connect(url, socket_timeout=0.1, client_name=key()) as impatient:
        begun = db.info("stats")["total_connections_received"]
        assert list(impatient.time_series("readers", [key()]).batches(wait=0.6)) == []
        assert db.info("stats")["total_connections_received"] - begun <= 2


def test_memory_does_not_grow_while_work_is_slow(db: walrus_ts.Database, key: Key) -> None:
    """Nothing is read before it is asked for: what is pending is the batch in hand, however many rows are waiting."""
    ts = series(db, key(), n=1_000)
    with ts.batches(count=10, wait=0) as batches:
        for _ in range(3):
            with next(batches):
                time.sleep(0.02)
                assert len(ts[key()].pending_frame()) == 10
    assert ts.status()["lag"].tolist() == [970]


def test_rows_left_by_a_killed_connection_are_the_workers_own(db: walrus_ts.Database, key: Key) -> None:
    """Rows that reached a consumer of this name, and never its worker, are delivered when it begins."""
    ts = series(db, key(), n=3, consumer="w")
    db.xreadgroup("readers", "w", {key(): ">"})
    batch = next(ts.batches(wait=0))
    assert (xs(batch), batch.deliveries.tolist()) == ([0, 1, 2], [2, 2, 2])
    wait_until(lambda: len(ts[key()].pending()) == 3)
