"""The database: what it is besides a redis-py client, its URL, its second client, blocking."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.connection import parse_url
from redis.retry import Retry
from redis.utils import str_if_bytes

import walrus_ts
from tests.benchmarks.servers import serving
from tests.helpers import wait_until
from walrus_ts import Database, Stream, UsageError, connect

SECRET = "p/w@:é%"


@pytest.fixture
def user(server: Database) -> Iterator[str]:
    """Have a user on the server whose password is `SECRET`."""
    name = f"t-{uuid4().hex[:8]}"
    server.acl_setuser(name, enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all"])
    yield name
    server.acl_deluser(name)


def login(server: Database, **settings: object) -> Database:
    """Connect where the run's server is, with other settings, and with a pool of the caller's own."""
    pool = server.connection_pool
    place = {
        name: pool.connection_kwargs[name] for name in ("host", "port", "path", "db") if name in pool.connection_kwargs
    }
    return Database(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **place, **settings))


# A redis-py client ------------------------------------------------------------------------------------------------


def test_database_is_a_redis_client(db: Database, key: Callable[..., str]) -> None:
    """A database does what redis-py does, with the replies that redis-py gives."""
    assert isinstance(db, redis.Redis)
    db.set(key(), "1")
    assert db.pipeline().incr(key()).get(key()).execute() == [2, b"2"]


def test_database_is_true() -> None:
    """A database is true, whatever it holds."""
    assert Database()


def test_factories_send_nothing() -> None:
    """Streams, groups and time series are made without a server."""
    database = Database(unix_socket_path="/nowhere/at/all")
    assert repr(database.Stream("ticks")) == "<Stream 'ticks'>"
    assert repr(database.consumer_group("g", ["a", b"b"])) == "<ConsumerGroup 'g' on 'a', b'b'>"
    assert repr(database.consumer_group("g", "a").a) == "<ConsumerGroupStream 'a' of 'g'>"
    assert repr(database.time_series("g", "a")) == "<TimeSeries 'g' on 'a'>"


def test_classes_are_public(db: Database, key: Callable[..., str]) -> None:
    """Streams, groups and time series are made directly as well as by the database."""
    stream = Stream(db, key())
    stream.add({"a": 1}, id="5-1")
    group = walrus_ts.ConsumerGroup(db, "g", [key()], consumer="me")
    group.create()
    series = walrus_ts.TimeSeries(db, "g", {key(): "0-0"}, "other", tz="+01:00")
    assert group.read() == [(key(), [(b"5-1", {b"a": b"1"})])]
    assert series[key()].claim("5-1")[0].data == {"a": "1"}


def test_exported_names_exist() -> None:
    """Every name in `__all__` is there, once, in order."""
    assert walrus_ts.__all__ == sorted(set(walrus_ts.__all__))
    assert all(hasattr(walrus_ts, name) for name in walrus_ts.__all__)


def test_any_database_reads_bytes(any_db: Database, key: Callable[..., str]) -> None:
    """Ids and data are bytes, whatever the database's own replies are."""
    stream = any_db.Stream(key())
    raw = bytes(range(256))
    assert stream.add({raw: raw, "text": "é"}, id="5-1") == b"5-1"
    assert stream.read() == [(b"5-1", {raw: raw, b"text": "é".encode()})]


def test_databases_of_one_pool(db: Database, key: Callable[..., str]) -> None:
    """`client()` gives a database with one connection for itself, and streams work on it."""
    with db.client() as single:
        assert isinstance(single, Database)
        assert single.Stream(key()).add({"a": 1}, id="5-1") == b"5-1"
    assert len(db.Stream(key())) == 1
    assert db.ping()


# The client for streams -------------------------------------------------------------------------------------------


def test_data_client_keeps_the_settings(db: Database) -> None:
    """The client for streams has the database's settings, but RESP2 and bytes."""
    retry = Retry(NoBackoff(), 2)
    database = connect(db.url, client_name="me", retry=retry, decode_responses=True, protocol=3, socket_timeout=3)
    kwargs = database.data.connection_pool.connection_kwargs
    assert kwargs["client_name"] == "me"
    assert kwargs["retry"] is retry
    assert kwargs["socket_timeout"] == 3
    assert (kwargs["protocol"], kwargs["decode_responses"]) == (2, False)
    assert database.data is database.data
    with closing(database):
        assert str_if_bytes(database.client_getname()) == str_if_bytes(database.data.client_getname()) == "me"
        assert isinstance(database.data.execute_command("HELLO"), list)  # RESP3 has maps for that


def test_small_blocking_pool(db: Database, key: Callable[..., str]) -> None:
    """A pool of one connection suffices, also for reading while one iterates."""
    pool = db.connection_pool
    small = redis.BlockingConnectionPool(
        connection_class=pool.connection_class, max_connections=1, timeout=1, **pool.connection_kwargs
    )
    with closing(Database(connection_pool=small)) as database:
        stream = database.Stream(key())
        stream.add({"a": 1}, id="5-1")
        stream.add({"a": 2}, id="5-2")
        assert [stream.get(id) for id, _ in stream] == stream.read(block=10)
        copy = database.data.connection_pool
        assert isinstance(copy, redis.BlockingConnectionPool)
        assert (copy.max_connections, copy.timeout) == (1, 1)
    small.disconnect()


def test_client_side_caching_does_not_reach_streams() -> None:
    """A database that caches reads its streams afresh."""
    # redis-py caches on TCP only, so this takes a server of its own.
    with serving(None) as url, connect(url, protocol=3, cache_config=CacheConfig()) as database, connect(url) as other:
        stream = database.Stream("a")
        stream.add({"a": 1}, id="5-1")
        assert len(stream) == len(stream.range()) == 1
        other.xadd("a", {"a": 2}, id="5-2")
        assert len(stream) == len(stream.range()) == 2
        assert database.connection_pool.cache is not None


def test_user_and_password_reach_both_clients(server: Database, user: str, key: Callable[..., str]) -> None:
    """A database with a password reads streams, and its URL is all that another process needs."""
    with closing(login(server, username=user, password=SECRET)) as database:
        assert database.acl_whoami() == user
        assert database.data.acl_whoami() == user
        with connect(database.url) as another:
            assert another.Stream(key()).add({"a": 1}, id="5-1") == b"5-1"
            assert another.data.acl_whoami() == user


def test_credential_provider_reaches_both_clients(server: Database, user: str) -> None:
    """A credential provider is asked for streams as well."""
    provider = redis.UsernamePasswordCredentialProvider(user, SECRET)
    with closing(login(server, credential_provider=provider)) as database:
        assert database.data.acl_whoami() == user


def test_close_closes_both_clients(url: str) -> None:
    """After `close`, and after a with block, no connection is left; a database can be used again."""
    with connect(url, client_name=f"t-{uuid4().hex[:8]}") as database:
        name = str_if_bytes(database.client_getname())
        assert len(database.Stream("t:nothing")) == 0
    with connect(url) as watch:
        wait_until(lambda: not [c for c in watch.client_list() if c["name"] == name])
    if not url.startswith("embedded"):
        assert len(database.Stream("t:nothing")) == 0
        database.close()


# URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "redis://localhost:6379/0"),
        ({"host": "h", "port": 1, "db": 2, "password": "p/w@"}, "redis://:p%2Fw%40@h:1/2"),
        ({"host": "::1", "username": "u:", "password": "é"}, "redis://u%3A:%C3%A9@[::1]:6379/0"),
        ({"unix_socket_path": "/a b/s?", "db": 3, "password": "x"}, "unix://:x@/a%20b/s%3F?db=3"),
        (
            {"host": "h", "ssl": True, "ssl_ca_certs": "/ca", "ssl_check_hostname": False, "ssl_cert_reqs": "none"},
            "rediss://h:6379/0?ssl_cert_reqs=none&ssl_ca_certs=%2Fca&ssl_check_hostname=False",
        ),
    ],
)
def test_url_of_a_database(settings: dict[str, object], url: str) -> None:
    """A database made in any way has a URL, and redis-py reads the same settings from it."""
    database = Database(**settings)
    assert database.url == url
    read = parse_url(url)
    assert read.pop("connection_class", redis.Connection) is database.connection_pool.connection_class
    given = database.connection_pool.connection_kwargs
    assert read == {name: given[name] for name in read}


def test_url_that_does_not_exist() -> None:
    """A connection class of the caller's own may find its server anywhere: no URL says where."""

    class Elsewhere(redis.connection.AbstractConnection):
        def repr_pieces(self) -> list[tuple[str, object]]:
            return []

    database = Database(connection_pool=redis.ConnectionPool(connection_class=Elsewhere))
    with pytest.raises(UsageError, match="no URL names"):
        _ = database.url
    assert "Elsewhere" in repr(database)


def test_embedded_url_leads_to_the_same_server(key: Callable[..., str]) -> None:
    """Another process that connects to an embedded database's URL finds its data."""
    with connect("embedded://") as first, connect(first.url) as second:
        first.Stream("a").add({"b": 1}, id="5-1")
        assert second.Stream("a").get("5-1") == (b"5-1", {b"b": b"1"})
        with first.client() as single:
            assert single.url == first.url == second.url


@pytest.mark.parametrize("given", ["embedded://?db=3", "embedded://"])
def test_embedded_url_has_the_database(given: str) -> None:
    """The URL of an embedded database leads to the same database of the server, by its number."""
    with connect(given, db=3) as first, connect(first.url) as second, connect(first.url.replace("db=3", "")) as other:
        first.set("a", "1")
        assert second.get("a") == b"1"
        assert second.url == first.url
        assert other.get("a") is None


def test_embedded_server_lives_as_long_as_someone_uses_it() -> None:
    """A stream, or a pipeline, keeps the embedded server of a database that nobody holds."""
    stream = connect("embedded://").Stream("a")
    pipeline = connect("embedded://").pipeline()
    data = connect("embedded://").data
    gc.collect()
    assert stream.add({"b": 1}, id="5-1") == b"5-1"
    assert pipeline.ping().execute() == [True]
    assert data.ping()


def test_closing_ends_the_embedded_server() -> None:
    """With its only database closed, an embedded server ends."""
    with connect("embedded://") as database:
        path = database.connection_pool.connection_kwargs["path"]
        assert os.path.exists(path)
    wait_until(lambda: not os.path.exists(path))
    with pytest.raises(UsageError):
        connect(database.url)


def test_url_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL, `connect` takes that of the environment, and says so where it is wrong."""
    monkeypatch.setenv("WALRUS_TS_URL", url)
    with connect() as database, connect(url) as same:
        assert database.ping()
        assert database.url == same.url
    monkeypatch.setenv("WALRUS_TS_URL", "")
    with connect() as database:
        assert database.url.startswith("embedded://")
    monkeypatch.setenv("WALRUS_TS_URL", "http://h")
    with pytest.raises(UsageError, match=r"variable WALRUS_TS_URL .*'redis://', .*'embedded://'; found 'http://'"):
        connect()


@pytest.mark.parametrize("given", [Path("/data"), 5, b"redis://:p/w@h"])
def test_url_is_text(given: Any) -> None:
    """A URL of another type is an error that names the type."""
    with pytest.raises(UsageError, match=f"a URL is a str.*found {type(given).__name__}"):
        connect(given)


def test_number_of_the_database() -> None:
    """Behind host and port stands a number; redis-py would take another word for database 0."""
    assert connect("redis://h:1/3").url == connect("redis://h:1/3/").url == "redis://h:1/3"
    assert connect("redis://h:1").url == connect("redis://h:1/").url == "redis://h:1/0"
    with pytest.raises(UsageError, match="number of a database"):
        connect("redis://h:1/ticks")


@pytest.mark.parametrize("url", ["redis://h:1", "rediss://h:1", "unix:///s", "embedded://"])
def test_options_are_known(url: str) -> None:
    """An option that redis-py does not know is an error at once, which names it."""
    with pytest.raises(UsageError, match="'timeout'"):
        connect(url, timeout=3)
    with pytest.raises(UsageError, match="timeout"):
        connect(f"{url}?timeout=3")


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@h:1",
        f"redis://u:{SECRET}@[h:1",
        f"http://:{SECRET}@h",
        f"u:{SECRET}@h:6379",
        f"u:{SECRET}://h:6379",
        f"redis://:{quote(SECRET, safe='')}@h?db=one",
        f"redis+cluster://:{SECRET}@h",
        f"redis://h:1/{SECRET}",
        f"embedded://:{SECRET}@h:1/0",
        f"embedded://{SECRET}",
        f"embedded:///folder?{SECRET}",
        f"embedded:///folder?password={SECRET}",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    """A URL that cannot be used is not shown, in part or in whole, nor is a cause that shows it."""
    with pytest.raises(UsageError) as caught:
        connect(url)
    assert caught.value.__context__ is None
    for part in ("p/w", "p%2Fw", "'p'", "é"):
        assert part not in str(caught.value)
        assert part not in repr(vars(caught.value))


@pytest.mark.parametrize(
    "database",
    [
        Database(password="s3cret"),
        Database(username="u", password="s3cret", unix_socket_path="/s"),
        Database(ssl=True, ssl_password="s3cret", username="u", password="s3cret"),
        connect("redis://u:s3cret@h:1/0"),
        connect("unix://u@/s?password=s3cret"),
    ],
)
def test_no_repr_shows_a_password(database: Database) -> None:
    """The reprs of a database, its clients, pools, streams and groups have no password in them."""
    shown = [
        database,
        database.connection_pool,
        database.data,
        database.data.connection_pool,
        database.Stream("a"),
        database.consumer_group("g", "a"),
        database.time_series("g", "a").a,
        database.pipeline(),
    ]
    assert not [repr(thing) for thing in shown if "s3cret" in repr(thing)]
    assert "s3cret" in database.url


# Blocking ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(url: str, no_key_left: None) -> Iterator[Database]:
    """Connect with a socket timeout of 0.3 s."""
    with connect(url, socket_timeout=0.3) as database:
        yield database


def test_block_outlasts_the_socket_timeout(impatient: Database, key: Callable[..., str]) -> None:
    """`block` may be longer than `socket_timeout`, in all that reads."""
    group = impatient.consumer_group("g", [key()])
    group.create()
    series = impatient.time_series("g", [key()])
    stream = impatient.Stream(key())
    for read in (stream.read, group.read, group[key()].read, series.read, series[key()].read):
        began = time.monotonic()
        assert read(block=500) == []
        assert time.monotonic() - began >= 0.5
    assert len(stream) == 0  # the connection is as before: its timeout, too
    [connection] = impatient.data.connection_pool._available_connections
    assert connection._sock.gettimeout() == 0.3


def test_block_for_ever(impatient: Database, db: Database, key: Callable[..., str]) -> None:
    """`block=0` waits until an entry comes."""
    group = impatient.consumer_group("g", [key()])
    group.create()
    writer = threading.Timer(0.7, lambda: db.Stream(key()).add({"a": 1}, id="5-1"))
    writer.start()
    assert group.read(block=0) == [(key(), [(b"5-1", {b"a": b"1"})])]
    writer.join()


def blocked(watch: Database, name: str) -> list[str]:
    """Give the ids of the clients of a name that block."""
    return [c["id"] for c in watch.client_list() if c["name"] == name and "b" in c["flags"]]


@pytest.fixture(params=["as Python has it", "restarting"])
def interrupting(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let Ctrl-C interrupt system calls, or have the kernel restart them, as polars does when it is first used."""
    signal.siginterrupt(signal.SIGINT, request.param != "restarting")
    yield
    signal.siginterrupt(signal.SIGINT, True)


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("socket_timeout", [5, None])
def test_interrupted_read_takes_nothing(
    url: str, db: Database, key: Callable[..., str], socket_timeout: float | None
) -> None:
    """Ctrl-C ends a blocking read: what comes later is neither delivered to it, nor to another command."""
    name = f"t-{uuid4().hex[:8]}"
    group = connect(url, client_name=name, socket_timeout=socket_timeout).consumer_group("g", [key()])
    group.create()

    def interrupt() -> None:
        wait_until(lambda: blocked(db, name))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        group.read(block=0)
    thread.join()
    wait_until(lambda: not blocked(db, name))

    db.Stream(key()).add({"a": 1}, id="5-1")
    assert group[key()].pending() == []
    assert group.read() == [(key(), [(b"5-1", {b"a": b"1"})])]
    assert not group.database.data.connection_pool._in_use_connections
    group.database.close()


@pytest.mark.parametrize("parser", [redis.connection._HiredisParser, redis.connection._RESP2Parser])
@pytest.mark.parametrize("socket_timeout", [5, None])
def test_closing_ends_a_blocking_read(
    url: str, db: Database, key: Callable[..., str], socket_timeout: float | None, parser: type
) -> None:
    """A read that blocks for ever raises at once when another thread closes the database."""
    name = f"t-{uuid4().hex[:8]}"
    database = connect(url, client_name=name, socket_timeout=socket_timeout, parser_class=parser)

    def close() -> None:
        wait_until(lambda: blocked(db, name))
        database.close()

    thread = threading.Thread(target=close)
    thread.start()
    with pytest.raises(redis.ConnectionError, match="closed"):
        database.Stream(key()).read(block=0)
    thread.join()


def test_lost_read_is_not_repeated(url: str, db: Database, key: Callable[..., str]) -> None:
    """A blocking read whose connection is cut raises, although the database would try again."""
    name = f"t-{uuid4().hex[:8]}"
    retry = Retry(NoBackoff(), 5)
    group = connect(url, client_name=name, retry=retry).consumer_group("g", [key()])
    group.create()

    def cut() -> None:
        [client] = wait_until(lambda: blocked(db, name))
        db.client_kill_filter(_id=client)

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(redis.ConnectionError):
        group.read(block=5_000)
    thread.join()
    assert group.read() == []
    group.database.close()


@pytest.mark.parametrize("block", [-1, 1.5, True, "100", 2**63])
def test_block_is_milliseconds(db: Database, key: Callable[..., str], block: object) -> None:
    """`block` is a whole number, 0 or greater."""
    with pytest.raises(UsageError, match="block is a whole number, 0 or greater"):
        db.Stream(key()).read(block=block)


def test_longest_block(impatient: Database, key: Callable[..., str]) -> None:
    """A `block` beyond what a socket waits, 292 years, is the server's to judge."""
    stream = impatient.Stream(key())
    stream.add({"a": 1}, id="5-1")
    assert stream.read(block=2**60) == [(b"5-1", {b"a": b"1"})]
