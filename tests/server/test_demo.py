"""The demonstration, run as a user runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.image import imread

from walrus_ts import Database
from walrus_ts.demo import AIRPORTS, DAY, check_consumed, data_folder, read_flights, read_weather


@dataclass
class Ended:
    """A run of the demonstration that has ended."""

    code: int
    out: str
    errors: str
    picture: Path
    left: list[bytes]  # keys that were not on the server before


@contextmanager
def started(*arguments: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run `walrus-ts demo` in a folder, without the settings that this run of the tests may have."""
    settings = {name: value for name, value in os.environ.items() if name != "WALRUS_TS_URL"}
    settings["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    settings["PYTHONUNBUFFERED"] = "1"
    command = [sys.executable, "-m", "walrus_ts.cli", "demo", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_keys(server: Database) -> set[bytes]:
    """List all keys of the server."""
    return set(server.scan_iter(count=1000))


@pytest.fixture(scope="module", params=["embedded", "url"])
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Database, url: str
) -> Ended:
    """Run it to its end, with nothing set, and on a server that holds other data."""
    folder = tmp_path_factory.mktemp(request.param)
    before = read_keys(server)
    arguments = [] if request.param == "embedded" else ["--url", url, "--output", "weather.png"]
    with started(*arguments, folder=folder) as process:
        out, errors = process.communicate(timeout=60)
    picture = folder / ("demo.png" if request.param == "embedded" else "weather.png")
    return Ended(process.returncode, out, errors, picture, sorted(read_keys(server) - before))


def test_it_ends_by_itself_within_a_minute(ended: Ended) -> None:
    """It needs no settings, ends by itself within a minute, and has nothing to complain of."""
    assert (ended.code, ended.errors) == (0, "")
    [seconds] = re.findall(r"All of it took (\d+\.\d) s\.", ended.out)
    assert float(seconds) < 60


def test_weather(ended: Ended) -> None:
    """All 26,115 rows of weather are appended, read back, and equal to what went in."""
    assert re.search(r"ts\.append\(weather, by=\"origin\"\)\n  26,115 rows, \d+\.\d{3} s, [\d,]+ rows/s\n", ended.out)
    assert re.search(r"Read it all back\n.*\n  26,115 rows, .*\n  equal to what went in", ended.out)


def test_queries(ended: Ended) -> None:
    """It queries a day of one airport and a week of all, and finds the rows that the data have."""
    weather = read_weather(data_folder())
    day = weather[weather["origin"] == "JFK"].loc[DAY]
    week = weather.sort_index(kind="stable").loc["2013-03-03":"2013-03-09"]
    query = rf'ts\["JFK"\].loc\["{DAY}", columns\]\n  {len(day)} rows, .*\n  every fourth of them, .*:\n'
    assert re.search(query, ended.out)
    assert f"ts.frame('2013-03-03', '2013-03-09')\n  {len(week)} rows, " in ended.out
    for airport, rows in week.groupby("origin"):
        assert re.search(rf"{airport} +{len(rows)} +{rows['temp'].min()} +{rows['temp'].max()} ", ended.out)


def test_picture(ended: Ended) -> None:
    """It draws a picture, a PNG, with a line for each of the airports."""
    pixels = imread(ended.picture)
    assert pixels.shape == (900, 1200, 4)
    colors = {tuple(color) for color in (pixels[:, :, :3] * 255).round().astype(int).reshape(-1, 3)}
    assert {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x00, 0x9E, 0x73)} <= colors


def test_flights(ended: Ended) -> None:
    """Another process consumes each of the day's 979 flights once, batch by batch as they come."""
    lines = re.findall(r"^  2013-03-08 \d\d:\d\d +(\d+)   (.*)$", ended.out, flags=re.MULTILINE)
    assert sum(int(rows) for rows, _ in lines) == 979
    assert len(lines) > 3  # as they come: a consumer that comes late has fewer and larger batches
    assert "the consumer had each flight exactly once; none is pending" in ended.out
    means = read_flights(data_folder()).groupby("origin")["dep_delay"].mean()
    assert lines[-1][1].split() == [word for airport in AIRPORTS for word in (airport, f"{means[airport]:.1f}")]


def test_nothing_is_left(ended: Ended) -> None:
    """It leaves no key on the server that it was given, nor makes one there when it was given none."""
    assert ended.left == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(stop: signal.Signals, url: str, db: Database, tmp_path: Path) -> None:
    """Interrupted while the consumer works, it ends without a traceback and deletes what it made."""
    with started("--url", url, folder=tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("  2013-03-08 07:"):
                break
        made = {key for key in read_keys(db) if b"walrus-ts-demo:" in key}
        process.send_signal(stop)
        _, errors = process.communicate(timeout=20)
    assert len(made) == 8  # four streams and their records, all with the prefix
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert made & read_keys(db) == set()


def test_killed(url: str, db: Database, tmp_path: Path) -> None:
    """Killed, it leaves streams with its prefix, and its consumer ends by itself without a word."""
    with started("--url", url, folder=tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("  2013-03-08 07:"):
                break
        process.kill()
        _, errors = process.communicate(timeout=20)  # the consumer holds the other end of these pipes
    left = [key for key in read_keys(db) if b"walrus-ts-demo:" in key]
    db.delete(*left)
    assert len(left) == 8
    assert errors == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--url", "redis://127.0.0.1:1"], 1, "walrus-ts: Error 111 connecting to 127.0.0.1:1. Connection refused.\n"),
        (["--url", "http://x"], 2, "walrus-ts: the URL begins with one of 'redis://', "),
        (["--output", "nowhere/demo.png"], 1, "walrus-ts: [Errno 2] No such file or directory: 'nowhere/demo.png'\n"),
    ],
)
def test_errors(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    """What the user can mend is one line, and the exit code 1, or 2 where the command is at fault."""
    with started(*arguments, folder=tmp_path) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_the_check_at_its_end(db: Database, key: Callable[..., str]) -> None:
    """The check at its end fails where a row is pending, was missed, came twice, or is not in the stream."""
    day = read_flights(data_folder())[:5]
    series = db.time_series("demo", [key()])
    stream = series[key()]
    stream.append(day)
    ids = stream.frame(ids=True)["stream_id"].tolist()
    series.create()
    series.read_frame()
    with pytest.raises(AssertionError, match="5 rows are still pending"):
        check_consumed(stream, day, ids)
    stream.ack(*ids)
    check_consumed(stream, day, ids)
    with pytest.raises(AssertionError, match="5 rows; 4 were consumed, 4 of them different"):
        check_consumed(stream, day, ids[1:])
    with pytest.raises(AssertionError, match="5 rows; 6 were consumed, 5 of them different"):
        check_consumed(stream, day, [*ids, ids[0]])
    stream.delete_range(day.index[-1])
    with pytest.raises(AssertionError, match="shape mismatch"):
        check_consumed(stream, day, ids)
