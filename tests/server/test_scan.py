"""A scan whose connection is lost: it goes on where it stood, or says that it cannot; it is never short."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pandas as pd
import pytest

from tests.own_server import own_server
from walrus_ts import Database, ServerError, TimeSeriesStream, connect

ROWS = 60_000


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Have a stream of more rows than a page has."""
    stream = db.time_series("research", [key()])[key()]
    index = pd.date_range("2024-01-01", periods=ROWS, freq="s", unit="us")
    stream.append(pd.DataFrame({"x": np.arange(ROWS)}, index=index))
    return stream


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """Connect as another program."""
    with connect(url) as database:
        yield database


def cut(other: Database) -> int:
    """End all connections but this one; tell how many."""
    return int(other.client_kill_filter(_type="normal", skipme=True))


def test_goes_on(stream: TimeSeriesStream, other: Database) -> None:
    """A scan whose connections are killed reads every row once."""
    found, killed = [], 0
    for frame in stream.scan().frames(rows=10_000):
        found += frame["x"].tolist()
        killed += cut(other)
    assert killed
    assert found == list(range(ROWS))


@pytest.mark.parametrize("until", [None, "2024-01-01 15:00"])
def test_the_data_are_gone(stream: TimeSeriesStream, other: Database, until: str | None) -> None:
    """Where the stream is gone when the connection is made again, that is an error, and no short result."""
    frames = stream.scan(stop=until).frames(rows=1_000)
    next(frames)
    other.delete(stream.key)
    assert cut(other)
    with pytest.raises(ServerError, match=r"is gone.*Read the range again") as caught:
        list(frames)
    assert caught.value.key == stream.key.encode()


def test_the_newest_data_are_gone(stream: TimeSeriesStream, other: Database) -> None:
    """So it is where the server has come back with an older state of the stream."""
    frames = stream.scan().frames(rows=1_000)
    next(frames)
    other.delete(stream.key)
    other.xadd(stream.key, {"x": 0}, "1704067200000-0")
    assert cut(other)
    with pytest.raises(ServerError, match="ends with the id 1704067200000-0"):
        list(frames)


def test_an_end_that_does_not_belong_to_the_range(stream: TimeSeriesStream, other: Database) -> None:
    """An exclusive id as the end of a range is one that the stream need not have reached."""
    found, killed = [], 0
    for frame in stream.scan(stop=b"(1804067200000-0").frames(rows=10_000):
        found += frame["x"].tolist()
        killed += cut(other)
    assert killed
    assert found == list(range(ROWS))


def test_a_server_that_is_away_for_a_while(tmp_path: Path) -> None:
    """A scan waits for a server that is started anew, and goes on where it was."""
    with own_server(tmp_path) as server, connect(server.url) as db:
        stream = db.time_series("g", "ticks")["ticks"]
        index = pd.date_range("2024-01-01", periods=ROWS, freq="s")
        stream.append(pd.DataFrame({"x": np.arange(ROWS)}, index=index))
        frames = stream.scan().frames(rows=10_000)
        found = next(frames)["x"].tolist()
        server.kill()
        later = Timer(1.0, server.start)
        later.start()
        try:
            for frame in frames:
                found += frame["x"].tolist()
        finally:
            later.join()
    assert found == list(range(ROWS))
