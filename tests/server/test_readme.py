"""README.md: its code runs, its links lead somewhere, and what its table says of walrus_ts is so."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from walrus_ts import Database, LateRowsError, connect
from walrus_ts.timeseries import TimeSeries

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def ts(db: Database, key: Callable[..., str]) -> TimeSeries:
    """Have a group over one stream with nothing in it."""
    return db.time_series("research", [key("ticks")])


@pytest.fixture
def frame() -> pd.DataFrame:
    """Have a frame of what is hard to keep: two rows of one nanosecond, a zone, categories, large integers."""
    times = pd.DatetimeIndex(["2024-01-31 23:59:59.999999999"] * 2 + ["2024-02-29 12:00"], name="at")
    return pd.DataFrame(
        {
            "price": [1.5, None, 0.1],
            "volume": [2**53 + 1, 2**63 - 1, -1],
            "side": pd.Categorical(["sell", "buy", "sell"], categories=["sell", "buy", "none"], ordered=True),
            "note": ["naïve", "", "a\nb"],
        },
        index=times.tz_localize("Europe/Berlin"),
    )


def test_code_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's code runs as it is, without any setting, and gives what its comments say."""
    monkeypatch.delenv("WALRUS_TS_URL", raising=False)
    [code] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    with names["db"]:
        assert (len(names["february"]), str(names["february"].index[0])) == (2_120, "2024-02-01 00:00:00+00:00")
        assert isinstance(names["morning"], pd.Series)
        assert len(names["morning"]) == 151
        assert [float(line) for line in capsys.readouterr().out.split()] == [499.5, 1499.5, 2499.5, 3499.5, 4499.5]
        assert names["ts"].ticks.pending() == []


def test_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The README's commands load a file, show it, and export a month of it."""
    [commands] = [code for code in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "walrus-ts load" in code]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "ticks.csv").write_text("at,price\n2024-06-30 09:30,10.5\n2024-06-30 09:30,\n2024-07-01 00:00,11\n")
    (shim := tmp_path / "walrus-ts").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m walrus_ts.cli "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = subprocess.run(["sh", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("3 rows appended to ticks", 5, "2 rows written to june.parquet")
    assert pd.read_parquet(tmp_path / "june.parquet")["price"].isna().tolist() == [False, True]
    frame = pd.read_csv(tmp_path / "ticks.csv", parse_dates=["at"])
    with connect("embedded://") as db:
        assert db.time_series("g", ["ticks"])["ticks"].append(frame, time="at").rows == 3


def test_links() -> None:
    """The files that the README links to exist."""
    files = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_targets() -> None:
    """The make targets that the README names exist."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE))
    assert named == {"demo", "test"}
    assert named <= targets


def test_an_equal_frame_comes_back(ts: TimeSeries, frame: pd.DataFrame) -> None:
    """An equal frame comes back: rows of one nanosecond in their order, zone, categories, integers above 2**53."""
    [stream] = ts.streams.values()
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame)


def test_plain_text(ts: TimeSeries, frame: pd.DataFrame, db: Database) -> None:
    """A row is an entry of plain text, which any Redis client reads."""
    [stream] = ts.streams.values()
    stream.append(frame[-1:])
    fields = {b"price": b"0.1", b"volume": b"-1", b"side": b"sell", b"note": b"a\nb"}
    assert db.xrange(stream.key) == [(b"1709204400000-0", fields)]


def test_a_month_by_its_name(ts: TimeSeries, frame: pd.DataFrame) -> None:
    """A date string as a bound stands for its whole period, in the zone of the stream."""
    [stream] = ts.streams.values()
    stream.append(frame)
    assert_frame_equal(stream.frame("2024-02", "2024-02"), frame[2:])
    assert_frame_equal(stream.frame(stop="2024-01"), frame[:2])


def test_a_load_run_again(ts: TimeSeries, frame: pd.DataFrame) -> None:
    """A load with a name that is run again writes nothing twice."""
    [stream] = ts.streams.values()
    assert stream.append(frame, load="2024.csv").rows == 3
    assert stream.append(frame, load="2024.csv").rows == 0
    assert len(stream.frame()) == 3


def test_older_rows(ts: TimeSeries, frame: pd.DataFrame) -> None:
    """Rows older than the stream's newest are refused, with all of their frame, or left out on request."""
    [stream] = ts.streams.values()
    stream.append(frame[2:])
    with pytest.raises(LateRowsError, match="2 rows are older"):
        stream.append(frame[:2])
    assert stream.append(frame[:2], late="skip").skipped == 2
    assert len(stream.frame()) == 1


def test_workers(ts: TimeSeries, frame: pd.DataFrame) -> None:
    """A batch whose block raises stays pending and is delivered again; one whose block ends is acknowledged."""
    [stream] = ts.streams.values()
    ts.create()
    stream.append(frame)
    worker = ts.consumer("w1")
    batch = next(worker.batches(wait=0))
    with pytest.raises(ZeroDivisionError), batch:
        raise ZeroDivisionError
    assert len(stream.pending()) == 3
    seen = []
    for batch in worker.batches(wait=0):
        with batch:
            seen.append(batch.frame.drop(columns="stream"))
    assert_frame_equal(pd.concat(seen), frame)
    assert stream.pending() == []
