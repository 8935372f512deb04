"""`redis+sentinel://`: the master that Sentinel names, and the one that takes its place while work is under way."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import redis

from tests.helpers import wait_until
from tests.sentinels import PASSWORD, SENTINEL_PASSWORD, Sentinels, sentinels
from walrus_ts import Database, TimeSeriesStream, UsageError, connect
from walrus_ts.columnar.commands import command
from walrus_ts.transfer.patience import LOST
from walrus_ts.transfer.wire import Wire

ROWS = 60_000


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """Start a master, a replica and three sentinels."""
    with sentinels(tmp_path_factory.mktemp("sentinels")) as started:
        yield started


@pytest.fixture
def db(servers: Sentinels) -> Iterator[Database]:
    """Connect by way of the sentinels, and have no time-out help where an answer does not come."""
    servers.heal()
    with connect(servers.url, socket_timeout=None) as database:
        yield database


@pytest.fixture
def stream(db: Database, request: pytest.FixtureRequest) -> TimeSeriesStream:
    """Have a stream of the test's own."""
    return db.time_series("research", [request.node.name])[request.node.name]


@pytest.fixture(params=[Sentinels.fail_over, Sentinels.lose])
def strike(request: pytest.FixtureRequest, servers: Sentinels) -> Callable[[], None]:
    """Put another server in the master's place, whether this one is still there or not."""
    return lambda: request.param(servers)


def ticks(rows: int = ROWS, start: str = "2024-01-01") -> pd.DataFrame:
    """Make a frame."""
    index = pd.date_range(start, periods=rows, freq="s", unit="us")
    return pd.DataFrame({"x": np.arange(rows)}, index=index)


# URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1/svc",
        "redis+sentinel://u:p%2Fw%40@h:1,[::1]:2/svc?db=3",
        "redis+sentinel://:%C3%A9@h:1/a%20b",
        "redis+sentinel://h:1/svc?min_other_sentinels=2&sentinel_username=u&sentinel_password=p%26w",
        "redis+sentinel://h:1/svc?ssl=True&ssl_ca_certs=%2Fca&ssl_check_hostname=False",
        "redis+sentinel://h:1/svc?sentinel_ssl=True&sentinel_ssl_cert_reqs=none",
    ],
)
def test_url(url: str) -> None:
    """A database's URL is the one that it was made with, and makes the same one again."""
    with connect(url) as database, connect(database.url) as again:
        assert again.url == database.url
        assert database.url.startswith(url)


def test_url_with_what_goes_without_saying() -> None:
    """A sentinel's port is 26379; options may be keywords, as redis-py's Sentinel has them."""
    with connect("redis+sentinel://h/svc/", db=2, sentinel_kwargs={"password": "p"}) as database:
        assert database.url == "redis+sentinel://h:26379/svc?db=2&sentinel_password=p"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:p/w@h:1/svc",
        "redis+sentinel://:p%2Fw@h:1",
        "redis+sentinel://:p%2Fw@h:1/svc/3",
        "redis+sentinel://:p%2Fw@h:one/svc",
        "redis+sentinel://:p%2Fw@h:1,,g:2/svc",
        "redis+sentinel://:p%2Fw@/svc",
    ],
)
def test_url_that_cannot_be_read(url: str) -> None:
    """What is no URL of Sentinel's is an error that says how one is written, and shows nothing of this one."""
    with pytest.raises(
        UsageError, match=r"expected redis\+sentinel://user:password@host:port,host:port/service"
    ) as caught:
        connect(url)
    assert caught.value.__context__ is None
    assert "p%2Fw" not in str(caught.value)
    assert "p/w" not in str(caught.value)


@pytest.mark.parametrize(("query", "names"), [("db=one", "'db'"), ("min_other_sentinels=x", "'min_other_sentinels'")])
def test_value_that_cannot_be_read(query: str, names: str) -> None:
    """An option's value that is none is an error that names the option."""
    with pytest.raises(UsageError, match=f"Invalid value for {names}"):
        connect(f"redis+sentinel://h/svc?{query}")


@pytest.mark.parametrize("query", ["timeot=3", "sentinel_timeot=3"])
def test_option_that_nobody_knows(query: str) -> None:
    """An option that redis-py does not know is an error at once."""
    with pytest.raises(UsageError, match="'timeot'"):
        connect(f"redis+sentinel://h/svc?{query}")


def test_url_of_tls() -> None:
    """`rediss+sentinel://` stands for TLS to the servers and to the sentinels, whose options may be others."""
    with connect("rediss+sentinel://h:1/svc?ssl_ca_certs=a&sentinel_ssl_ca_certs=b") as database:
        with connect(database.url) as again:
            assert again.url == database.url
        assert database.url.startswith("redis+sentinel://h:1/svc?ssl=True&ssl_ca_certs=a&sentinel_ssl=True&")
        assert database.url.endswith("&sentinel_ssl_ca_certs=b")


def test_replicas_have_no_url() -> None:
    """A database on any replica has no URL: `connect` leads to masters."""
    manager = redis.Sentinel([("h", 1)])
    database = manager.slave_for("svc", redis_class=Database)
    with pytest.raises(UsageError, match="no URL names"):
        _ = database.url


# At work ----------------------------------------------------------------------------------------------------------


def test_master(servers: Sentinels, db: Database, stream: TimeSeriesStream) -> None:
    """A database is on the master, and its URL takes another process there."""
    stream.append(ticks(3))
    assert servers.client(servers.named()).exists(stream.key)
    with connect(db.url, decode_responses=True) as another:
        assert another.time_series("research", [stream.key])[stream.key].frame()["x"].tolist() == [0, 1, 2]
        assert another.exists(stream.key)


def test_no_password_shows(
    servers: Sentinels, db: Database, stream: TimeSeriesStream, caplog: pytest.LogCaptureFixture
) -> None:
    """No repr, log, error or traceback shows a password, neither the servers' nor the sentinels'."""
    caplog.set_level(logging.DEBUG)
    stream.append(ticks(3))
    manager = db.connection_pool.sentinel_manager
    shown = [
        db,
        db.data,
        db.connection_pool,
        db.data.connection_pool,
        db.pipeline(),
        manager,
        manager.sentinels,
        stream,
    ]
    said = [repr(thing) for thing in shown]
    for wrong in (servers.url.replace("=sentinels", "=nobody"), servers.url.replace("//:servers", "//:nobody")):
        with connect(wrong) as refused, pytest.raises(redis.RedisError) as caught:
            refused.time_series("research", ["ticks"]).ticks.append(ticks(3))
        said += traceback.format_exception(caught.value)
        said.append(repr(vars(caught.value)))
    said.append(caplog.text)
    assert not [text for text in said if "s3cret" in text]
    assert PASSWORD.endswith("s3cret")
    assert SENTINEL_PASSWORD.endswith("s3cret")


def test_no_sentinel_answers(servers: Sentinels) -> None:
    """Where no sentinel can be reached, that is an error at the first command."""
    with connect("redis+sentinel://127.0.0.1:1/svc") as database, pytest.raises(redis.ConnectionError, match="'svc'"):
        database.time_series("research", ["ticks"]).ticks.frame()


# Another master ---------------------------------------------------------------------------------------------------


def test_append(servers: Sentinels, stream: TimeSeriesStream, strike: Callable[[], None]) -> None:
    """A frame whose append is overtaken by a failover is on the new master, every row of it once."""
    told: list[int] = []

    def fail_over(done: int, rows: int) -> None:
        if done >= ROWS // 2 and not told:
            told.append(done)
            servers.wait_until_copied(stream.key)  # else all of it is gone, which is an error
            strike()

    old = servers.named()
    done = stream.append(ticks(), progress=fail_over)
    assert told
    assert servers.named() != old
    assert done.rows == ROWS
    assert stream.frame()["x"].tolist() == list(range(ROWS))


def test_append_after(servers: Sentinels, stream: TimeSeriesStream) -> None:
    """A second behind a failover, appends go to the new master, though the old one still takes them."""
    stream.append(ticks(1))
    servers.fail_over()
    master = servers.client(servers.named())
    days = iter(pd.date_range("2024-01-02", periods=1_000))
    wait_until(lambda: stream.append(ticks(1, next(days))) and master.xlen(stream.key) > 1, timeout=2)
    stream.append(ticks(1_000, "2034-01-01"))
    assert master.xlen(stream.key) == len(stream) > 1_001


def test_scan(servers: Sentinels, stream: TimeSeriesStream, strike: Callable[[], None]) -> None:
    """A scan that is overtaken by a failover goes on with the new master, and reads every row once."""
    stream.append(ticks())
    servers.wait_for_replica()
    frames = stream.scan().frames(rows=1_000)
    found = next(frames)["x"].tolist()
    strike()
    for frame in frames:
        found += frame["x"].tolist()
    assert found == list(range(ROWS))


def test_batches(servers: Sentinels, db: Database, stream: TimeSeriesStream, strike: Callable[[], None]) -> None:
    """A loop over batches that is overtaken by a failover goes on with the new master; no row is left out."""
    stream.append(ticks())
    series = db.time_series("research", [stream.key], consumer="w1")
    series.create()
    servers.wait_for_replica()
    seen: set[int] = set()
    for number, batch in enumerate(series.batches(count=5_000, wait=0)):
        with batch:
            seen.update(batch.frame["x"].tolist())
        if number == 3:
            strike()
            wait_until(lambda: servers.leads(db) and servers.leads(db.data), timeout=30)
    assert seen == set(range(ROWS))
    status = series.status().loc[stream.key]
    (group,) = servers.client(servers.named()).xinfo_groups(stream.key)
    assert status["pending"] == group["pending"] == 0
    assert (status["lag"] is pd.NA) if group["lag"] is None else (status["lag"] == group["lag"] == 0)


def test_waiting_for_rows(servers: Sentinels, db: Database, stream: TimeSeriesStream) -> None:
    """A loop that waits for rows while the master fails gets those that come to the new one."""
    series = db.time_series("research", [stream.key])
    series.create()
    servers.wait_for_replica()
    old = servers.named()

    def write() -> None:
        servers.lose()
        wait_until(lambda: servers.named() not in (0, old))
        stream.append(ticks(10))

    writer = threading.Timer(0.3, write)
    writer.start()
    with series.batches() as batches, next(batches) as batch:
        assert batch.frame["x"].tolist() == list(range(10))
    writer.join()


@pytest.mark.parametrize("rows", [1, 1_000])
def test_read_only(servers: Sentinels, stream: TimeSeriesStream, rows: int) -> None:
    """While Sentinel still names a master that has become a replica, an append waits for one that takes it."""
    for day in (1, 2):
        stream.append(ticks(rows, f"2024-01-0{day}"))
    master = servers.client(servers.named())
    pool = stream.database.data.connection_pool
    with Wire(pool) as wire:
        wire.ask(command(b"PING"))  # Sentinel was asked before, and is not again for a second
    master.replicaof("127.0.0.1", servers.ports[2])
    with pytest.raises(LOST, match="not the master"), Wire(pool) as wire:
        wire.ask(command(b"SET", b"x", b"1"))
    healing = threading.Timer(0.5, lambda: master.replicaof("NO", "ONE"))
    healing.start()
    assert stream.append(ticks(rows, "2024-01-03")).rows == rows
    healing.join()
    assert len(stream) == 3 * rows
