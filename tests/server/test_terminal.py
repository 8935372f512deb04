"""The command `walrus-ts` in a terminal, as a person sees it: bars, tables that grow or are shown anew, Ctrl-C."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pytest

from tests.terminal import CTRL_C, Terminal, in_terminal
from walrus_ts import Database, TimeSeriesStream

# A bar appears at once, so that no test has to load for a second.
EAGER = "from walrus_ts import progress; progress._DELAY = 0; from walrus_ts.cli import main; main()"

Key = Callable[..., str]
Start = Callable[..., AbstractContextManager[Terminal]]


def settings(url: str) -> dict[str, str]:
    """Return an environment in which `walrus_ts` is found, and the server is named."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "WALRUS_TS_URL": url}


@pytest.fixture
def start(url: str, tmp_path: Path) -> Start:
    """Run the command in a terminal."""
    return lambda *arguments: in_terminal([sys.executable, "-c", EAGER, *arguments], tmp_path, settings(url))


@pytest.fixture
def stream(db: Database, key: Key) -> TimeSeriesStream:
    """Make a stream with a row."""
    made = db.time_series("research", [key()])[key()]
    made.append(rows(1))
    return made


def rows(count: int, begin: str = "2024-06-03 09:30") -> pd.DataFrame:
    """Make rows, four a second."""
    index = pd.date_range(begin, periods=count, freq="250ms", unit="us", name="at")
    return pd.DataFrame({"price": range(count), "side": "buy"}, index=index)


def test_bars(start: Start, key: Key, tmp_path: Path) -> None:
    """`load` and `export` show how far they are, of how many rows, and rows a second; the result stands below."""
    rows(20_000).to_csv(tmp_path / "june.csv")
    with start("load", "june.csv", key()) as terminal:
        assert terminal.exit_code() == 0
    assert re.search(
        r"\rload june\.csv: 100%\S* 20\.0k/20\.0k \[\S+, \S+ rows/s\].*\r\n20,000 rows", terminal.written, re.S
    )
    with start("export", key(), "june.parquet") as terminal:
        assert terminal.exit_code() == 0
    assert re.search(r"\rexport \S+: 100%.* 20\.0k/20\.0k .*\r\n20,000 rows written", terminal.written, re.S)


def test_an_interrupted_load(start: Start, key: Key, tmp_path: Path) -> None:
    """Ctrl-C ends a load with one line, which stands below the bar, and the exit code 130."""
    rows(3_000_000).to_parquet(tmp_path / "june.parquet")
    with start("load", "june.parquet", key()) as terminal:
        terminal.wait_for(r"load june\.parquet: +[1-9]")  # before that, redis-py's `__del__`s may swallow it
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
    assert "\rwalrus-ts: interrupted: the first rows of june.parquet may be stored. " in terminal.written
    assert terminal.written.endswith("The same command, given again, stores the rest.\r\n")


def test_follow(start: Start, stream: TimeSeriesStream, key: Key) -> None:
    """`tail --follow` shows new rows below those before, until Ctrl-C; the prompt has a line of its own."""
    with start("tail", key(), "--follow") as terminal:
        terminal.wait_for(r"at +price +side.*2024-06-03 09:30:00 +0 +buy\r\n")
        stream.append(rows(2, "2024-06-04"))
        terminal.wait_for(r"2024-06-04 00:00:00\.000 +0 +buy\r\n2024-06-04 00:00:00\.250 +1 +buy\r\n$")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 0
    assert terminal.written.endswith("^C\r\n")
    assert terminal.written.count("price") == 1


def test_watch(start: Start, stream: TimeSeriesStream, key: Key) -> None:
    """`status --watch` clears the screen and shows the table anew, with what has changed."""
    with start("status", "research", key(), "--watch") as terminal:
        terminal.wait_for(rf"\x1b\[2J.*stream +length.*{key()} +1 +2024")
        stream.append(rows(2, "2024-06-04"))
        terminal.wait_for(rf"\x1b\[2J.*\x1b\[2J.*{key()} +3 +2024.*\r\n")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 0
    assert terminal.written.endswith("^C\r\n")
