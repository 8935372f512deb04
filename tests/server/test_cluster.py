"""Clusters: streams on several servers, slots that move, masters that fail."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import redis
from pandas.testing import assert_frame_equal
from redis.cluster import LoadBalancingStrategy

from tests.cluster import SLOTS, Cluster, Node
from tests.helpers import wait_until
from walrus_ts import ClusterDatabase, LateRowsError, TimeSeries, UsageError, WalrusTSError, connect
from walrus_ts.cluster import ElsewhereError, pool_for
from walrus_ts.transfer import patience

KEYS = ["a", "b", "c"]  # each in a slot of its own, and on a server of its own


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Have three masters, each with a replica."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture
def db(cluster: Cluster) -> Iterator[ClusterDatabase]:
    """Connect to the cluster, which is empty."""
    wait_until(cluster.is_well, timeout=30)
    for node in cluster.nodes:
        if node.is_master():
            node.client.flushall()
    with connect(cluster.url) as database:
        assert isinstance(database, ClusterDatabase)
        yield database


@pytest.fixture
def ts(db: ClusterDatabase) -> TimeSeries:
    """Have a time series whose streams are on all three servers."""
    return db.time_series("research", KEYS)


def frame(rows: int, start: str = "2024-01-01") -> pd.DataFrame:
    """Make a frame."""
    index = pd.date_range(start, periods=rows, freq="s").as_unit("us")
    return pd.DataFrame({"x": np.arange(float(rows)), "s": ["text"] * rows}, index=index)


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    """Do something beside the block, and wait for its end; what it raises, the block does."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]


# Connecting -----------------------------------------------------------------------------------------------------------


def test_url(cluster: Cluster, db: ClusterDatabase) -> None:
    """The database's URL leads another process to the same cluster."""
    assert db.url.startswith("redis+cluster://127.0.0.1:")
    assert repr(db) == f"<ClusterDatabase {db.url}>"
    db.set("a", 1)
    with connect(db.url + "/0") as other:
        assert other.get("a") == b"1"


def test_close_leaves_no_connection(cluster: Cluster, db: ClusterDatabase) -> None:
    """A database that is closed has no connection left on any server, and closes twice."""

    def connections() -> int:
        return sum(node.ask("CLIENT", "LIST").count(" name=closing ") for node in cluster.nodes)

    own = connect(cluster.url, client_name="closing")
    ts = own.time_series("g", ["a", "b", "c"])
    ts.append(dict.fromkeys(ts.keys, frame(10)))
    ts.a.append(frame(10, "2024-02-01"))
    assert [ts[key].length() for key in ts.keys] == [20, 10, 10]
    scan = iter(ts.a.scan().frames(rows=5))
    next(scan)
    assert connections() >= 3
    for _ in range(2):
        own.close()
    wait_until(lambda: connections() == 0)


def test_no_repr_shows_a_password(cluster: Cluster) -> None:
    """User and password are in the URL, and in no repr."""
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "me", "on", ">s3cret", "~*", "&*", "+@all")
    with connect(cluster.url.replace("://", "://me:s3cret@")) as db:
        shown = [db, db.data, db.nodes_manager, db.get_nodes(), db.data.get_nodes(), db.Stream("a"), db.pipeline()]  # type: ignore[union-attr]
        assert not [repr(thing) for thing in shown if "s3cret" in repr(thing)]
        assert "***@127.0.0.1" in repr(db)
        assert "me:s3cret@127.0.0.1" in db.url
        with connect(db.url) as other:
            assert other.Stream("nothing").length() == 0
        with pytest.raises(redis.AuthenticationError):
            connect(db.url.replace("s3cret", "other"))


@pytest.mark.parametrize(
    "options",
    [{}, {"decode_responses": True}, {"protocol": 3}, {"load_balancing_strategy": LoadBalancingStrategy.ROUND_ROBIN}],
    ids=str,
)
def test_options_make_no_difference_to_streams(cluster: Cluster, db: ClusterDatabase, options: dict[str, Any]) -> None:
    """Streams speak RESP2 and bytes, with the masters, whatever the database does."""
    db.Stream("b").add({"x": 1}, id="5-1")
    with connect(f"{cluster.url}?decode_responses=yes", **options) as other:
        assert other.Stream("b").range() == [(b"5-1", {b"x": b"1"})]
        assert other.data is other.data


def test_what_cannot_be_connected_to(url: str, cluster: Cluster) -> None:
    """An option that there is not, the number of a database and a server without a cluster are errors."""
    with pytest.raises(UsageError, match="not known to redis-py: 'colour'"):
        connect(cluster.url, colour="blue")
    with pytest.raises(UsageError, match=r"not known to redis-py.*'timeout'"):
        connect(f"{cluster.url}?timeout=3")
    with pytest.raises(UsageError, match="the database 0 alone"):
        connect(f"{cluster.url}/3")
    with pytest.raises(redis.ConnectionError, match="refused"):
        connect("redis+cluster://127.0.0.1:1")


# What works on one server ---------------------------------------------------------------------------------------------


def test_object_model(db: ClusterDatabase) -> None:
    """Streams and groups over several servers do what they do on one."""
    group = db.consumer_group("g", KEYS)
    assert group.create() == dict.fromkeys(KEYS, True)
    for key in KEYS:
        for number in (1, 2, 3):
            group[key].add({"n": number}, id=f"5-{number}")
    assert [len(group[key]) for key in KEYS] == [3, 3, 3]
    assert group.read(count=2) == [(key, [(b"5-1", {b"n": b"1"}), (b"5-2", {b"n": b"2"})]) for key in KEYS]
    assert group.b.ack("5-1", "5-2") == 2
    assert [entry["message_id"] for entry in group.c.pending()] == [b"5-1", b"5-2"]
    assert group.consumer("other").c.claim("5-1") == [(b"5-1", {b"n": b"1"})]
    assert group.a.autoclaim("other", 0)[1] == [(b"5-1", {b"n": b"1"}), (b"5-2", {b"n": b"2"})]
    assert group.a.read() == [(b"5-3", {b"n": b"3"})]
    assert group.a.set_id("$")
    assert group.destroy() == dict.fromkeys(KEYS, True)


def test_displays(db: ClusterDatabase, ts: TimeSeries) -> None:
    """In a notebook a cluster shows its servers, and a stream and a group what they show on one server."""
    ts.create()
    ts.a.append(frame(10))
    for part in ("3 masters", "3 replicas", "1 key", "redis+cluster://127.0.0.1"):
        assert part in db._repr_html_()
    assert "10 rows" in ts.a._repr_html_()
    assert "cannot be reached" not in ts._repr_html_()


def test_blocking_read(db: ClusterDatabase, ts: TimeSeries) -> None:
    """A read over several slots waits for the first entry of any of them, and not for longer than it was told."""
    ts.create()
    for key in KEYS:
        with meanwhile(lambda key=key: (time.sleep(0.1), db.Stream(key).add({"n": 1}))):  # type: ignore[misc]
            (message,) = ts.read(block=10_000)
            assert message.stream == key
    begun = time.monotonic()
    assert ts.read(block=200) == []
    assert len(ts.read_frame(block=1)) == 0
    assert 0.2 < time.monotonic() - begun < 2


def test_a_slot_that_cannot_be_read(db: ClusterDatabase, ts: TimeSeries) -> None:
    """What was read of other slots is not lost for it; the error comes when there is nothing else."""
    ts.create()
    ts.b.add({"n": 1})
    db.delete("c")
    found: list[Any] = []

    def read_on() -> None:
        while True:
            found.extend(ts.read())

    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        read_on()
    assert len(found) == len(ts.b.pending())


def test_frames(db: ClusterDatabase, ts: TimeSeries) -> None:
    """Frames of streams on several servers go in and come back, row by row and in bulk."""
    data = frame(12_000)
    ts.append(dict.fromkeys(KEYS, data))
    for key in KEYS:
        assert_frame_equal(ts[key].frame(), data, check_freq=False)
        ts[key].append(frame(1, "2024-01-02"))
        ts[key].append(frame(1, "2024-01-03"))
        assert ts[key].tail(2)["x"].tolist() == [0.0, 0.0]
    assert len(ts.frame(limit=10)) == 30
    assert ts.frame("2024-01-02", layout="wide").shape == (2, 6)
    assert ts.status()["length"].tolist() == [12_002] * 3
    assert ts.a.append(data, load="data", late="skip").skipped == 12_000
    assert ts.a.loads().index.tolist() == ["data"]
    assert ts.a.delete_range("2024-01-02") == 2
    assert ts.a.drop()
    assert not [key for key in db.scan_iter() if b"{a}" in key]


def test_batches(ts: TimeSeries) -> None:
    """Batches have the rows of all streams, each row once, and those of one slot at a time."""
    ts.create()
    ts.append({key: frame(2_500) for key in KEYS})
    counts = dict.fromkeys(KEYS, 0)
    with ts.batches(count=1_000, wait=0) as batches:
        for batch in batches:
            with batch:
                (key,) = batch.frame["stream"].unique()
                counts[key] += len(batch.frame)
    assert counts == dict.fromkeys(KEYS, 2_500)
    assert ts.status()[["pending", "lag", "consumers"]].to_numpy().tolist() == [[0, 0, 0]] * 3


def test_batches_wait(ts: TimeSeries) -> None:
    """Batches of several slots come as soon as there are rows, and end when none have come for a while."""
    ts.create()
    with meanwhile(lambda: (time.sleep(0.2), ts.c.append(frame(5)))):
        begun = time.monotonic()
        sizes = [(len(batch), batch.ack()) for batch in ts.batches(wait=0.5)]
    assert sizes == [(5, 5)]
    assert 0.6 < time.monotonic() - begun < 3


def test_dead_letters(ts: TimeSeries) -> None:
    """A row that was rejected is a dead letter in its slot, and comes back from there."""
    ts.create()
    ts.b.append(frame(2))
    for batch in ts.batches(wait=0):
        batch.reject(reason="no")
    assert ts.b.dead_letters()["reason"].tolist() == ["no", "no"]
    assert ts.b.replay_dead() == 2
    assert len(ts.b.pending_frame()) == len(ts.pending_frame()) == 2
    assert len(ts.consumers_frame()) >= 1


def test_transaction_within_a_slot(cluster: Cluster, db: ClusterDatabase) -> None:
    """Keys with one hash tag share a transaction with the acknowledgement, also where the slot has moved meanwhile."""
    ts = db.time_series("g", ["{a}ticks", "{a}sums"])
    ts.create()
    ts["{a}ticks"].append(frame(10))
    for batch in ts["{a}ticks"].batches(wait=0):
        with batch.transaction() as pipe:
            pipe.incrby("{a}seen", len(batch))
            pipe.publish("news", "rows")
            batch.append(ts["{a}sums"], batch.frame.tail(1))
            cluster.move("{a}ticks")
        assert pipe.replies == [10, 0]
    assert db.get("{a}seen") == b"10"
    assert ts.status()["length"].tolist() == [10, 1]
    assert ts.status()["pending"].tolist() == [0, 0]


def test_transaction_across_slots(db: ClusterDatabase, ts: TimeSeries) -> None:
    """A transaction that would write to another slot is refused, and writes nothing."""
    ts.create()
    ts.a.append(frame(10))
    batch = next(ts.a.batches(wait=0))

    def write(work: Callable[[Any], Any]) -> None:
        with batch.transaction() as pipe:
            pipe.incrby("{a}seen", len(batch))
            work(pipe)

    with pytest.raises(UsageError, match=r"one slot of the cluster.*b'seen' is in another.*hash tag"):
        write(lambda pipe: pipe.incrby("seen", len(batch)))
    with pytest.raises(UsageError, match=r"one slot of the cluster.*b'b' is in another"):
        write(lambda _: batch.append(ts.b, batch.frame))
    assert db.get("{a}seen") is None
    assert ts.b.length() == 0
    assert batch.ack() == 10


def test_a_key_with_no_place_beside_it(db: ClusterDatabase) -> None:
    """A key with a brace that no record can follow into its slot holds entries, and no frames."""
    stream = db.time_series("g", ["odd}key"])["odd}key"]
    stream.add({"x": 1}, id="5-1")
    assert len(stream) == 1
    with pytest.raises(UsageError, match=r"'\}' in its name.*hash tag"):
        stream.append(frame(1))


# Slots that move ------------------------------------------------------------------------------------------------------


def test_a_slot_has_moved(cluster: Cluster, ts: TimeSeries) -> None:
    """Every kind of work finds a stream where it is now, at once."""
    ts.create()
    ts.a.append(frame(10))
    work: list[Callable[[], Any]] = [
        lambda: ts.a.append(frame(1, "2024-02-01")),
        lambda: ts.a.append(frame(1, "2024-02-02")),
        lambda: ts.a.add({"x": 1.0}, id=pd.Timestamp("2024-02-03")),
        lambda: len(ts.a.frame()) == 13,
        lambda: len(ts.a.tail(3)) == 3,
        lambda: len(ts.read_frame(1)) == 1,
        lambda: len(ts.read(count=1)) == 1,
        lambda: ts.status()["length"].tolist() == [13, 0, 0],
        lambda: sum(batch.ack() for batch in ts.batches(wait=0)) == 11,
        ts.a.drop,
    ]
    for step in work:
        cluster.move("a")
        assert step()


def test_a_batch_in_hand_while_its_slot_moves(cluster: Cluster, ts: TimeSeries) -> None:
    """A large batch is acknowledged where its stream is now."""
    ts.create()
    ts.a.append(frame(3_000))
    batch = next(ts.a.batches(3_000))
    cluster.move("a")
    assert batch.ack() == 3_000
    assert ts.status()["pending"].tolist() == [0, 0, 0]


def test_a_live_view_while_its_slot_moves(cluster: Cluster, ts: TimeSeries) -> None:
    """A live view follows streams on all servers, and goes on where a slot has gone to."""
    for stream in ts.streams.values():
        stream.append(frame(3))
    cluster.move("a")
    with ts.live(every=0.1, rows=3) as live:
        assert live.frame["stream"].tolist() == KEYS
        cluster.move("a")
        for day, stream in enumerate(ts.streams.values(), 2):
            stream.append(frame(1, f"2024-01-0{day}"))
        wait_until(lambda: live.frame.index.day.tolist() == [2, 3, 4], timeout=30)
        assert live.frame["stream"].tolist() == KEYS


def test_a_load_while_its_slot_moves(cluster: Cluster, ts: TimeSeries) -> None:
    """A load goes on where its slot has gone to: each row once."""
    data = frame(200_000)
    moved = []

    def move() -> None:
        wait_until(lambda: ts.a.length() > 20_000, interval=0.001)
        moved.append(ts.a.length())
        cluster.move("a")

    with meanwhile(move):
        assert ts.a.append(data).rows == len(data)
    assert moved[0] < len(data)
    assert_frame_equal(ts.a.frame(), data, check_freq=False)


def test_a_scan_while_its_slot_moves(cluster: Cluster, ts: TimeSeries) -> None:
    """A scan goes on where its slot has gone to."""
    data = frame(100_000)
    ts.a.append(data)
    found = []
    for number, part in enumerate(ts.a.scan().frames(rows=20_000)):
        found.append(part)
        if number < 3:
            cluster.move("a")
    assert_frame_equal(pd.concat(found), data, check_freq=False)


@contextmanager
def half_way(cluster: Cluster, key: str, *, moved: bool = True) -> Iterator[tuple[Node, Node]]:
    """Let a slot stand half-way between two servers, with its keys on the new one or on the old; end the move then."""
    source = cluster.master(key)
    target = next(node for node in cluster.nodes if node.is_master() and node is not source)
    cluster.begin_move(key, target)
    try:
        if moved:
            cluster.move_keys(key, target)
        yield source, target
    finally:
        cluster.move_keys(key, target)
        cluster.end_move(key, target)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon."""
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.5)


def test_a_slot_half_way(cluster: Cluster, ts: TimeSeries, impatient: None) -> None:
    """Every kind of work finds a stream that is on the new server while its slot still belongs to the old one."""
    ts.create()
    ts.a.append(frame(10))
    with half_way(cluster, "a"):
        work: list[Callable[[], Any]] = [
            lambda: len(ts.a.frame()) == 10,
            lambda: ts.a.append(frame(1, "2024-02-01")).rows == 1,
            lambda: ts.a.append(frame(1, "2024-02-02")).rows == 1,
            lambda: ts.a.append(frame(20_000, "2024-02-03")).rows == 20_000,
            lambda: ts.a.append(frame(20_000, "2024-03-01"), load="march").rows == 20_000,
            lambda: ts.a.append(frame(20_000, "2024-03-01"), load="march").rows == 0,
            lambda: ts.a.loads().index.tolist() == ["march"],
            lambda: ts.a.add({"x": 1.0}, id=pd.Timestamp("2024-04-01")),
            lambda: len(ts.a.frame()) == 40_013,
            lambda: len(ts.a.tail(3)) == 3,
            lambda: len(ts.a.read_frame(1)) == 1,
            lambda: len(ts.a.read_frame(1, block=100)) == 1,
            lambda: len(ts.a.read(count=1, block=100)) == 1,
            lambda: ts.a.dead_letters().empty,
            lambda: ts.status()["length"].tolist() == [40_013, 0, 0],
            lambda: sum(batch.ack() for batch in ts.batches(wait=0)) == 40_010,
            lambda: ts.a.delete_range("2024-02-01", "2024-02-02") == 2,
            ts.a.drop,
        ]
        for number, step in enumerate(work):
            assert step(), number
    assert ts.a.frame().empty


def test_a_transaction_half_way(cluster: Cluster, db: ClusterDatabase, impatient: None) -> None:
    """A batch's transaction is carried out on the new server, where all its keys are."""
    ts = db.time_series("g", ["{a}ticks", "{a}sums"])
    ts.create()
    ts.append(dict.fromkeys(ts.keys, frame(10)))
    db.set("{a}seen", 0)
    with half_way(cluster, "a"):
        for batch in ts["{a}ticks"].batches(wait=0):
            with batch.transaction() as pipe:
                pipe.incrby("{a}seen", len(batch))
                batch.append(ts["{a}sums"], frame(1, "2024-02-01"))
        assert pipe.replies == [10]
    assert db.get("{a}seen") == b"10"
    assert ts.status()["length"].tolist() == [10, 11]


def test_a_wait_half_way(cluster: Cluster, ts: TimeSeries) -> None:
    """A read that waits on the new server has what comes there, however long it waits."""
    ts.create()
    with half_way(cluster, "a"):
        for block in (0, 10_000):
            with meanwhile(lambda: (time.sleep(0.3), ts.a.add({"n": 1}))):
                assert len(ts.a.read_frame(block=block)) == 1


def test_values_that_read_like_answers(cluster: Cluster, ts: TimeSeries) -> None:
    """What ASKING is answered with is told from values that read like it."""
    data = pd.DataFrame({"s": ["+OK\r\n", "$3\r\nfoo\r\n+OK\r\n"]}, index=frame(2).index)
    ts.a.append(data)
    with half_way(cluster, "a"):
        assert_frame_equal(ts.a.frame(), data, check_freq=False)


@pytest.mark.parametrize("moves", [1, 3])
def test_a_load_while_its_slot_stands_half_way(cluster: Cluster, ts: TimeSeries, moves: int) -> None:
    """A load follows its keys to the new server before the slot is there, and goes on when it is: each row once."""
    data = frame(100_000)
    ts.a.append(frame(1, "2023-01-01"))

    def move() -> None:
        for number in range(moves):
            wait_until(lambda number=number: ts.a.length() > 20_000 * (number + 1), interval=0.001)  # type: ignore[misc]
            with half_way(cluster, "a"):
                before = ts.a.length()
                wait_until(lambda before=before: ts.a.length() > min(before, 90_000), interval=0.001)  # type: ignore[misc]

    with meanwhile(move):
        assert ts.a.append(data).rows == len(data)
    assert_frame_equal(ts.a.frame("2024"), data, check_freq=False)


def test_a_scan_while_its_slot_stands_half_way(cluster: Cluster, ts: TimeSeries) -> None:
    """A scan follows its keys to the new server, and on from there."""
    data = frame(100_000)
    ts.a.append(data)
    scan = ts.a.scan().frames(rows=20_000)
    found = [next(scan)]
    with half_way(cluster, "a"):
        found.append(next(scan))
    found += scan
    assert_frame_equal(pd.concat(found), data, check_freq=False)


def test_a_slot_that_has_begun_to_move(cluster: Cluster, ts: TimeSeries, impatient: None) -> None:
    """While a stream is still on the old server, what is there can be read and added to."""
    ts.create()
    for day in (1, 2):
        ts.a.append(frame(1, f"2024-01-0{day}")[["x"]])
    with half_way(cluster, "a", moved=False):
        # Plain columns alone: with pandas 2, text goes as a load, whose new key would have to wait for the move.
        assert ts.a.append(frame(1, "2024-01-03")[["x"]]).rows == 1
        assert len(ts.a.frame()) == 3
        assert sum(batch.ack() for batch in ts.a.batches(wait=0)) == 3


def test_keys_on_two_servers(cluster: Cluster, ts: TimeSeries, impatient: None) -> None:
    """While a stream is on one server and its record on the other, work waits, and says so when it waits in vain."""
    ts.a.append(frame(10))
    with half_way(cluster, "a", moved=False) as (source, target):
        source.ask("MIGRATE", "127.0.0.1", target.port, "a", 0, 5_000)
        for work in (
            ts.a.frame,
            lambda: ts.a.append(frame(1, "2024-02-01")),
            lambda: ts.a.append(frame(10, "2024-03")),
        ):
            with pytest.raises(redis.ConnectionError, match=r"'a', of slot 15495: .*CLUSTER SETSLOT 15495 STABLE"):
                work()
    assert len(ts.a.frame()) == 10


def test_a_loaders_rights(cluster: Cluster, db: ClusterDatabase) -> None:
    """What a loader needs besides in a cluster is what the documentation says, and no less."""
    db.time_series("g", "ticks").ticks.append(frame(1))
    text = Path(__file__).parents[2].joinpath("docs", "security.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"^ACL SETUSER loader (.*?)```$", text, re.MULTILINE | re.DOTALL)
    rights = re.findall(r"\+[a-z|]+", text.partition("In a cluster")[2].partition("\n\n")[0])
    url = cluster.url.replace("://", "://loader:secret@")

    def work(start: str) -> None:
        with connect(url) as own:
            stream = own.time_series("g", "ticks").ticks
            assert stream.append(frame(10_000, f"{start}-01")).rows == 10_000
            assert stream.append(frame(10_000, f"{start}-02"), load=start).rows == 10_000
            with pytest.raises(LateRowsError):
                stream.append(frame(1), load="late")
            assert "late" not in stream.loads().index

    with half_way(cluster, "ticks"):
        for number, missing in enumerate([None, *rights]):
            given = [right for right in rights if right != missing]
            for node in cluster.nodes:
                node.ask("ACL", "SETUSER", "loader", "reset", *re.findall(r"\([^)]*\)|\S+", rule), *given)
            if missing is None:
                work("2024-02")
            else:
                db.delete("walrus_ts:loads:{ticks}:ticks")
                with pytest.raises((redis.RedisError, WalrusTSError, AssertionError)):
                    work(f"{2025 + number}-01")


def test_a_server_that_has_no_slot_yet(cluster: Cluster, ts: TimeSeries, tmp_path: Path, impatient: None) -> None:
    """A slot that is on its way to a server that has joined just now is followed there, too."""
    ts.a.append(frame(10))
    with cluster.guest(tmp_path / "guest") as guest:
        source = cluster.master("a")
        cluster.begin_move("a", guest)
        cluster.move_keys("a", guest)
        assert ts.a.append(frame(20_000, "2024-02-01")).rows == 20_000
        assert len(ts.a.frame()) == 20_010
        guest.ask("CLUSTER", "SETSLOT", cluster.slot("a"), "STABLE")
        source.ask("CLUSTER", "SETSLOT", cluster.slot("a"), "STABLE")
    assert ts.a.length() == 0


def test_a_group_on_two_servers(cluster: Cluster, db: ClusterDatabase, impatient: None) -> None:
    """A stream that is still on the old server is not taken for one that has gone."""
    ts = db.time_series("g", ["{a}x", "{a}y"])
    ts.create()
    ts.append(dict.fromkeys(ts.keys, frame(5)))
    with half_way(cluster, "a", moved=False) as (source, target):
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", cluster.slot("a"), 100):
            if "{a}y" not in name:
                source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5_000)
        with pytest.raises(redis.ConnectionError, match="some on another"):
            next(ts.batches(wait=0))
        assert "{a}y" not in target.ask("CLUSTER", "GETKEYSINSLOT", cluster.slot("a"), 100)
    assert sum(batch.ack() for batch in ts.batches(wait=0)) == 10


@pytest.mark.parametrize(
    "read",
    [
        lambda ts: ts.a.read(block=10_000),
        lambda ts: ts.a.read_frame(block=10_000),
        lambda ts: next(ts.a.batches(wait=10)).frame,
    ],
    ids=["read", "read_frame", "batches"],
)
def test_a_blocking_read_while_its_slot_moves(
    cluster: Cluster, ts: TimeSeries, read: Callable[[TimeSeries], Any]
) -> None:
    """One that waits where the slot was goes on to wait where it is."""
    ts.create()

    def move_and_add() -> None:
        wait_until(lambda: cluster.master("a").client.info("clients")["blocked_clients"])
        cluster.move("a")
        ts.a.add({"n": 1})

    with meanwhile(move_and_add):
        assert len(read(ts)) == 1


# Masters that fail ----------------------------------------------------------------------------------------------------


def test_a_load_while_its_master_fails(cluster: Cluster, ts: TimeSeries) -> None:
    """A load waits for the master's successor, and goes on: each row once."""
    data = frame(200_000)
    master, killed = cluster.master("b"), []

    def kill() -> None:
        killed.append(wait_until(lambda: ts.b.length() > 20_000 and ts.b.length(), interval=0.001))
        master.kill()

    try:
        with meanwhile(kill):
            done = ts.b.append(data)
    finally:
        master.start()
    assert killed[0] < len(data)
    assert done.rows == len(data)
    assert_frame_equal(ts.b.frame(), data, check_freq=False)


def test_a_connection_that_another_thread_closes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another thread closes a connection that a reply is read from, another one is lent."""
    send, closed = redis.Connection.send_packed_command, []

    class Closing:
        """The socket of a connection that is closed while it waits for bytes."""

        def __init__(self, connection: Any) -> None:
            self._parser, self._socket = connection._parser, connection._parser._sock

        def recv_into(self, buffer: Any) -> int:
            """Receive; behind it, the parser is as redis-py leaves it."""
            received = self._socket.recv_into(buffer)
            self._parser.on_disconnect()
            closed.append(received)
            return int(received)

    def send_and_close(connection: Any, *arguments: Any) -> None:
        monkeypatch.undo()
        send(connection, *arguments)
        connection._parser._sock = Closing(connection)

    with connect(cluster.url) as db:
        pool = pool_for(db.data, b"{b}0")
        pool.release(pool.get_connection())
        monkeypatch.setattr(redis.Connection, "send_packed_command", send_and_close)
        pool.release(pool.get_connection())
    assert len(closed) == 1


def test_work_that_begins_without_a_master(cluster: Cluster, db: ClusterDatabase) -> None:
    """What begins while a slot has no master waits for the next one, as what is under way does."""
    ts = db.time_series("g", [f"{{b}}{number}" for number in range(6)])
    ts.create()
    streams = [ts[key] for key in ts.keys]
    for stream in streams:
        for day in (1, 2):
            stream.append(frame(1, f"2024-01-0{day}"))
    work: list[Callable[[], Any]] = [
        lambda: streams[0].append(frame(1, "2024-01-03")).rows == 1,
        lambda: streams[1].append(frame(10_000, "2024-01-03")).rows == 10_000,
        lambda: streams[2].append(frame(10_000, "2024-01-03"), load="file").rows == 10_000,
        lambda: len(streams[3].frame()) == 2,
        lambda: len(streams[3].tail(1)) == 1,
        lambda: len(streams[4].batches(wait=0).__next__()) == 2,
        lambda: streams[5].declare({"x": "float64", "s": "str"}),
        lambda: len(streams[5].loads()) == 0,
        lambda: len(ts.status()) == 6,
        lambda: len(streams[5].read_frame()) == 2,
    ]
    wait_until(cluster.is_well, timeout=30)
    master = cluster.master("{b}0")
    master.kill()
    try:
        with ThreadPoolExecutor(len(work)) as pool:
            done = [future.result() for future in [pool.submit(step) for step in work]]
    finally:
        master.start()
    assert all(done), done


def test_work_that_begins_without_a_cluster(tmp_path: Path) -> None:
    """Where no server of a cluster answers, that is said after a second, as of a single one."""
    node = Node(tmp_path)
    node.start()
    try:
        wait_until(node.answers)
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
        with connect(f"redis+cluster://127.0.0.1:{node.port}") as db:
            stream = db.time_series("g", "a").a
            stream.append(frame(1))
            node.kill()
            for work in (stream.frame, stream.tail, lambda: stream.append(frame(1, "2024-02-01"))):
                with pytest.raises(redis.ConnectionError, match="slot 15495") as caught:
                    work()
                assert not isinstance(caught.value, ElsewhereError)
    finally:
        node.kill()
        node.client.close()


def test_a_load_while_its_master_hangs(cluster: Cluster, db: ClusterDatabase) -> None:
    """A master that answers no more is left as one that is gone, after `socket_timeout`."""
    data = frame(200_000)
    master, held = cluster.master("c"), []

    def hang() -> None:
        stream = db.Stream("c")
        held.append(wait_until(lambda: len(stream) > 20_000 and len(stream), interval=0.001))
        master.hang()

    with connect(cluster.url, socket_timeout=1.5) as other:
        stream = other.time_series("g", "c").c
        try:
            with meanwhile(hang):
                done = stream.append(data)
        finally:
            master.go_on()
        assert held[0] < len(data)
        assert done.rows == len(data)
        assert_frame_equal(stream.frame(), data, check_freq=False)


def test_a_successor_lacks_rows(db: ClusterDatabase, ts: TimeSeries) -> None:
    """Rows that the master's successor has never got are written again, and counted once."""
    data, states = frame(30_000), []

    def roll_back(*_: int) -> None:
        names = [name for name in db.scan_iter() if b"a" in name]
        states.append({name: db.dump(name) for name in names})
        if len(states) == 4:
            for name, state in states[1].items():
                db.restore(name, 0, state, replace=True)

    assert ts.a.append(data, progress=roll_back).rows == len(data)
    assert len(states) > 6
    assert_frame_equal(ts.a.frame(), data, check_freq=False)


def test_batches_and_scans_while_a_master_fails(cluster: Cluster, ts: TimeSeries) -> None:
    """They wait for the master's successor, and have every row."""
    data = frame(50_000)
    ts.create()
    ts.append(dict.fromkeys(KEYS, data))
    wait_until(cluster.is_well, timeout=30)
    master, seen, read = cluster.master("c"), dict.fromkeys(KEYS, 0), []
    scan = ts.c.scan().frames(rows=10_000)
    read.append(next(scan))
    try:
        with ts.batches(count=10_000, wait=0) as batches:
            for number, batch in enumerate(batches):
                with batch:
                    seen[batch.frame["stream"].iloc[0]] += len(batch)
                if number == 2:
                    time.sleep(0.2)  # the replica has what the master has
                    master.kill()
        read += scan
    finally:
        master.start()
    assert seen == dict.fromkeys(KEYS, len(data))
    assert_frame_equal(pd.concat(read), data, check_freq=False)
