"""Bars: where somebody watches, and nowhere else."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest

from tests.terminal import run_in_terminal
from walrus_ts import Database

ROOT = Path(__file__).parents[2]

READ = "ts.frame()"
CONSUME = """
for batch in ts.batches(200, wait=0):
    with batch:
        print("in hand", len(batch))
        time.sleep(0.3)
"""


@pytest.fixture
def code(db: Database, url: str, key: Callable[..., str]) -> str:
    """Have a stream of 1,000 rows with a group on it, and the beginning of a program that works with it."""
    name = key("ticks")
    series = db.time_series("research", [name])
    series.create()
    series[name].append(pd.DataFrame({"x": range(1_000)}, index=pd.date_range("2024", periods=1_000, freq="s")))
    return f"""
import sys, time
import walrus_ts as wts
from walrus_ts import progress
ts = wts.connect({url!r}).time_series("research", [{name!r}])
"""


def in_pipe(code: str) -> str:
    """Run a program whose output goes to a file or another program, and return what it writes to standard error."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stderr


def test_a_long_read_has_a_bar(code: str) -> None:
    """Reading that takes long shows rows, how many in all, and rows a second, in a terminal."""
    written = run_in_terminal(f"{code}progress._DELAY = 0\n{READ}")
    assert re.search(r"read t:\S+ticks: 100%.* 1\.00k/1\.00k .*rows/s\]", written)


def test_a_short_read_has_none(code: str) -> None:
    """Reading that takes less than a second does not even import what draws bars."""
    assert run_in_terminal(f"{code}{READ}\nprint('tqdm' in sys.modules)").strip() == "False"


def test_the_first_rate(code: str) -> None:
    """The first rate that a bar shows is that since the work began, and not since the bar did."""
    late = "bar = progress.Bar('work', 1_000); bar._begun -= 10; bar.update(100); bar.close()"
    rate = r"work: +10%.* 100/1\.00k \[00:1\d<01:\d\d, +(9\.\d+|10\.0)\s?rows/s\]"
    assert re.search(rate, run_in_terminal(code + late))


def test_batches_have_a_bar(code: str) -> None:
    """After a second, `batches` shows rows and rows a second while it reads; what is done with a batch has the line."""
    lines = run_in_terminal(code + CONSUME).splitlines()
    assert sum(bool(re.search(r"read research: .*rows .*rows/s\]", line)) for line in lines) >= 1
    assert [line.rsplit("\r", 1)[-1] for line in lines if "in hand" in line] == ["in hand 200"] * 5


@pytest.mark.parametrize("work", [READ, CONSUME])
def test_logs_have_none(code: str, work: str) -> None:
    """Where nobody watches, nothing is written."""
    assert in_pipe(f"{code}progress._DELAY = 0\n{work}") == ""


@pytest.mark.parametrize("work", [READ, CONSUME])
def test_bars_that_are_turned_off(code: str, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    """TQDM_DISABLE turns bars off, in a terminal too, and the work is done all the same."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    written = run_in_terminal(f"{code}progress._DELAY = 0\n{work}\nprint(len(ts.frame()), 'tqdm' in sys.modules)")
    assert written.splitlines()[-1] == "1000 False"
    assert "rows/s" not in written


def test_a_hostile_name(db: Database, url: str, key: Callable[..., str]) -> None:
    """A key that holds commands to the terminal is written without them."""
    name = key("\x1b[2J")
    db.xadd(name, {"x": 1})
    code = "import walrus_ts as w; from walrus_ts import progress; progress._DELAY = 0\n"
    written = run_in_terminal(f"{code}w.connect({url!r}).time_series('g', [{name!r}])[{name!r}].frame()")
    assert "?[2J" in written
    assert "\x1b[2J" not in written


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # the kernel's manager's own
def test_turned_off_in_a_kernel(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TQDM_DISABLE turns bars off in a notebook, those that are asked for as well."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    append = "import pandas as pd\n_ = next(iter(ts.streams.values())).append(pd.DataFrame({'x': [1]}, "
    append += "index=pd.to_datetime(['2025-01-01'])), progress=True)"
    cells = [code + "progress._DELAY = 0", f"_ = {READ}", append]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    assert [cell.outputs for cell in notebook.cells] == [[], [], []]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # the kernel's manager's own
def test_in_a_kernel(code: str) -> None:
    """In a notebook objects are HTML, and long work has a bar."""
    cells = [code + "progress._DELAY = 0", "ts", READ, CONSUME]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    shown, read, consumed = ([*cell.outputs] for cell in notebook.cells[1:])
    assert "<strong>research</strong>" in shown[0].data["text/html"]
    assert shown[0].data["text/plain"].startswith("<TimeSeries 'research' on ")
    assert "rows/s" in str(read)
    assert "rows/s" in str(consumed)
