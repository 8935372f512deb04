"""Passwords: in URLs that are asked for, and nowhere else."""

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import redis

from tests.own_server import own_server
from walrus_ts import Database, WalrusTSError, connect

SECRET = "s3cret:p@ss/word"
QUOTED = "s3cret%3Ap%40ss%2Fword"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that asks for a password, and wants another one in a second user's place."""
    with own_server(tmp_path_factory.mktemp("server")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", SECRET)
        yield server.url.removeprefix("redis://")


def shown(error: BaseException | None) -> Iterator[str]:
    """Give all that an error shows, and those behind it: words, attributes, tracebacks."""
    if error is not None:
        yield from traceback.format_exception(error)
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        error = error.__cause__ or error.__context__


def ticks() -> pd.DataFrame:
    """Make a frame."""
    return pd.DataFrame({"x": [1.5]}, index=pd.to_datetime(["2024-01-01"]))


def stop(done: int, rows: int) -> None:
    """End an append."""
    raise RuntimeError("enough")


FAILURES: dict[str, Callable[[str], Any]] = {
    "no password": lambda place: connect(f"redis://{place}").time_series("g", "a").a.append(ticks()),
    "wrong password": lambda place: connect(f"redis://:{QUOTED}x@{place}").time_series("g", "a").a.append(ticks()),
    "wrong user": lambda place: connect(f"redis://u:{QUOTED}@{place}").time_series("g", "a").a.frame(),
    "wrong user of batches": lambda place: next(connect(f"redis://u:{QUOTED}@{place}").time_series("g", "a").batches()),
    "object model": lambda place: connect(f"redis://u:{QUOTED}@{place}").Stream("a").add({"x": 1}),
    "no server": lambda place: connect(f"redis://:{QUOTED}@127.0.0.1:1").time_series("g", "a").a.append(ticks()),
    "no TLS": lambda place: connect(f"rediss://:{QUOTED}@{place}", socket_timeout=0.2).ping(),
    "no sentinel": lambda place: connect(f"redis+sentinel://:{QUOTED}@{place}/svc?sentinel_password={QUOTED}").ping(),
    "no database": lambda place: connect(f"redis://:{QUOTED}@{place}/9999").time_series("g", "a").a.frame(),
    "no group": lambda place: connect(f"redis://:{QUOTED}@{place}").time_series("g", "a").read_frame(),
    "a stopped append": lambda place: (
        connect(f"redis://:{QUOTED}@{place}").time_series("g", "b").b.append(ticks(), progress=stop)
    ),
    "no URL": lambda place: connect(f"redis://:{SECRET}@{place}"),
    "no option": lambda place: connect(f"redis://:{QUOTED}@{place}?timeout=3"),
    "no value": lambda place: connect(f"redis://{place}?password={QUOTED}&db=one"),
    "no keyword": lambda place: connect(f"redis://{place}", password=SECRET, timeout=3),
    "pickled": lambda place: pickle.dumps(connect(f"redis://:{QUOTED}@{place}")),
}


@pytest.mark.parametrize("name", FAILURES)
def test_errors(place: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """No error shows a password, nor one that caused it, nor their attributes, nor a log of any level."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises((redis.RedisError, WalrusTSError, TypeError)) as caught:
        FAILURES[name](place)
    said = [*shown(caught.value), caplog.text]
    # The traceback has the lines of this file, in which there is no password either.
    assert not [text for text in said if "s3cret" in text or "ss%2Fword" in text or "ss/word" in text]


def test_reprs(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """No repr of what a database makes shows it, and no representation in a notebook."""
    caplog.set_level(logging.DEBUG)
    with connect(f"redis://:{QUOTED}@{place}") as database:
        series = database.time_series("g", "a")
        series.a.append(ticks())
        series.create()
        with series.batches(wait=0) as batches, next(batches) as batch, batch.transaction() as pipe:
            things: list[Any] = [database, database.data, database.pipeline(), database.connection_pool]
            things += [database.Stream("a"), database.consumer_group("g", "a"), series, series.a, series.a.scan()]
            things += [series.a._source, batches, batch, pipe, batch._member, batches._feed, database.pubsub()]
            said = [repr(thing) for thing in things]
            said += [thing._repr_html_() for thing in things if hasattr(thing, "_repr_html_")]
        connection = database.connection_pool.get_connection()
        said += [repr(connection), str(connection)]
        database.connection_pool.release(connection)
        assert not [text for text in [*said, caplog.text] if "s3cret" in text]
        assert database.url == f"redis://:{QUOTED}@{place}/0"


def test_reprs_of_other_databases() -> None:
    """So it is however a database was made."""
    databases = [
        Database(password=SECRET),
        connect("redis://h", password=SECRET),
        connect("redis+sentinel://h/svc", password=SECRET, sentinel_kwargs={"password": SECRET}),
        connect("rediss://h", ssl_password=SECRET),
        Database(credential_provider=redis.UsernamePasswordCredentialProvider("u", SECRET)),
    ]
    assert not [repr(database) for database in databases if "s3cret" in repr(database) + repr(database.data)]
