"""A server for the tests, databases on it, keys of a test's own, the check that none is left."""

import os
import platform
import signal
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from uuid import uuid4

import hiredis
import pandas as pd
import pyarrow as pa
import pytest
import redis
from redis import connection as redis_connection
from redis._parsers import Encoder

import walrus_ts
from tests.helpers import load_record_prefix, record_names

# The run's own connection to the server, which no test is given. It keeps an embedded server alive,
# and looks for keys and deletes them, whatever a test does to its connections.
_SERVER = pytest.StashKey[walrus_ts.Database]()


def _server(config: pytest.Config) -> walrus_ts.Database:
    if _SERVER not in config.stash:
        server = walrus_ts.connect(os.environ.get("WALRUS_TS_TEST_URL") or "embedded://")
        try:
            server.ping()
        except BaseException:
            server.close()
            raise
        config.stash[_SERVER] = server
    return config.stash[_SERVER]


def pytest_configure() -> None:
    """Hear Ctrl-C where a shell has started the run in the background: programs of ours would inherit deafness."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is tested, and with what."""
    try:
        info = _server(config).info("server")
    except Exception as error:  # the tests without a server run all the same, the others say it again
        server = f"none ({error})"
    else:
        name = info.get("server_name", "redis")  # Valkey has it, Redis has not
        version = info.get(f"{name}_version") or info["redis_version"]
        origin = "WALRUS_TS_TEST_URL" if os.environ.get("WALRUS_TS_TEST_URL") else "embedded"
        server = f"{name} {version} ({origin})"
    return [
        f"server: {server}",
        f"redis-py {redis.__version__}, hiredis {hiredis.__version__}, pandas {pd.__version__}, "
        f"pyarrow {pa.__version__}, Python {platform.python_version()}",
    ]


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the embedded server."""
    if _SERVER in config.stash:
        config.stash[_SERVER].close()
        del config.stash[_SERVER]


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> walrus_ts.Database:
    """Hold the run's own connection to the server: for fixtures, not for tests."""
    return _server(pytestconfig)


@pytest.fixture(scope="session")
def url(server: walrus_ts.Database) -> str:
    """Name the server: WALRUS_TS_TEST_URL, else one embedded server for the whole run."""
    return os.environ.get("WALRUS_TS_TEST_URL") or server.url


@pytest.fixture
def no_key_left(server: walrus_ts.Database) -> Iterator[None]:
    """Fail a test after which there is a key that was not there before it."""
    before = set(server.scan_iter(count=1000))
    yield
    left = sorted(set(server.scan_iter(count=1000)) - before)
    if left:
        names = ", ".join(name.decode(errors="backslashreplace") for name in left)
        pytest.fail(
            f"keys left behind: {names}. The fixture `key` gives a test its keys, and deletes them "
            "and their records; what else a test makes, it deletes itself.",
            pytrace=False,
        )


@pytest.fixture
def key(server: walrus_ts.Database, no_key_left: None) -> Iterator[Callable[..., str]]:
    """Make keys of this test's own: ``key("ticks")`` is ``"t:5f0c…:ticks"``, each time.

    They and their records are deleted after the test, by name, so a server may hold other data.
    """
    prefix = f"t:{uuid4().hex[:12]}:"
    made: set[str] = set()

    def make(name: str = "stream") -> str:
        made.add(prefix + name)
        return prefix + name

    yield make
    if not made:
        return
    records = [record for stream in made for record in record_names(stream)]
    load_prefixes = tuple(load_record_prefix(stream).encode() for stream in made)
    loads = [
        name
        for name in server.scan_iter(match=f"walrus_ts:load:*{prefix}*", count=1000)
        if name.startswith(load_prefixes)
    ]
    for name in [*made, *records, *loads]:
        server.delete(name)  # one by one: a cluster refuses keys of several slots at once


@pytest.fixture
def db(url: str, no_key_left: None) -> Iterator[walrus_ts.Database]:
    """Connect to the server with nothing set, as most users do."""
    database = walrus_ts.connect(url)
    yield database
    database.close()


def _any_options() -> Iterator[Any]:
    pure_python: dict[str, Any] = {
        # redis-py makes it the RESP3 parser where the protocol is 3.
        "parser_class": redis_connection._RESP2Parser,
        # What hiredis does on the way out, redis-py does itself when it is not installed.
        "command_packer": redis_connection.PythonRespSerializer(
            6000, Encoder("utf-8", "strict", decode_responses=False).encode
        ),
    }
    parsers = {
        "hiredis": {"parser_class": redis_connection._HiredisParser},
        "python": pure_python,
    }
    texts = {"bytes": {}, "str": {"decode_responses": True}}
    protocols: dict[str, dict[str, int]] = {
        "default": {},  # redis-py 8 speaks RESP3 then, and shapes its replies as for RESP2
        "resp2": {"protocol": 2},
        "resp3": {"protocol": 3},
    }
    for text, protocol, parser in product(texts, protocols, parsers):
        yield pytest.param(texts[text] | protocols[protocol] | parsers[parser], id=f"{text}-{protocol}-{parser}")


@pytest.fixture(params=_any_options())
def any_db(request: pytest.FixtureRequest, url: str, no_key_left: None) -> Iterator[walrus_ts.Database]:
    """Connect in each of the ways that must make no difference to what walrus_ts returns."""
    database = walrus_ts.connect(url, **request.param)
    yield database
    database.close()
