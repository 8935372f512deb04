"""The command `walrus-ts`, run as a user runs it; the examples of docs/command-line.md among others."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from typer.main import get_command

import walrus_ts
from tests.helpers import wait_until
from walrus_ts import Database, TimeSeriesStream
from walrus_ts.cli.app import make_app
from walrus_ts.cli.output import Output, _cell, _fitting

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
FENCE = re.compile(
    r"^(?P<waits>% until Ctrl-C\n)?```sh\n(?P<code>.*?)^```$(?:\n```text\n(?P<prints>.*?)^```$)?", re.M | re.S
)

Key = Callable[..., str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def settings(url: str | None = None) -> dict[str, str]:
    """Return an environment in which `walrus_ts` is found, and only this server is named."""
    found = {name: value for name, value in os.environ.items() if name != "WALRUS_TS_URL"}
    found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return found | ({"WALRUS_TS_URL": url} if url else {})


@contextmanager
def started(*arguments: str, url: str | None, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the command, in a folder."""
    command = [sys.executable, "-m", "walrus_ts.cli", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=settings(url), stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Run the command to its end."""

    def to_its_end(*arguments: str, url: str | None = url) -> "subprocess.CompletedProcess[str]":
        with started(*arguments, url=url, folder=tmp_path) as process:
            out, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        return subprocess.CompletedProcess(arguments, process.returncode, out, errors)

    return to_its_end


@pytest.fixture
def stream(db: Database, key: Key) -> TimeSeriesStream:
    """Make a stream with a few rows."""
    made = db.time_series("research", [key()])[key()]
    made.append(rows(6))
    return made


def rows(count: int, start: str = "2024-06-03 09:30") -> pd.DataFrame:
    """Make rows, one a second."""
    index = pd.date_range(start, periods=count, freq="s", unit="us", name="at")
    n = np.arange(count)
    return pd.DataFrame({"price": n / 4, "size": n, "side": ["buy"] * count}, index=index)


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page(url: str, server: Database, tmp_path: Path, no_key_left: None) -> None:
    """The examples of the page run one after the other, and print what it says."""
    before = set(server.scan_iter(count=1000))
    assert not before & {b"ticks", b"quotes", b"kurse"}, "the server has streams that the page would write to"
    shim = tmp_path / "bin" / "walrus-ts"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m walrus_ts.cli "$@"\n')
    shim.chmod(0o755)
    for name, header in (("june.csv", "at,"), ("juni.csv", "Zeit;")):
        [file] = re.findall(rf"^```text\n({header}.*?)^```$", PAGE, re.M | re.S)
        (tmp_path / name).write_text(file)
    environment = settings(url) | {"HOME": str(tmp_path), "PATH": f"{shim.parent}:{os.environ['PATH']}"}
    try:
        for block in FENCE.finditer(PAGE):
            out = run_block(block["code"], environment, tmp_path, waits=bool(block["waits"]))
            assert block["prints"] in (None, out), block["code"]
    finally:
        for name in set(server.scan_iter(count=1000)) - before:
            server.delete(name)
    assert len(pd.read_parquet(tmp_path / "ticks.parquet")) == 4
    assert (tmp_path / "weather.png").exists()


def run_block(code: str, environment: dict[str, str], folder: Path, *, waits: bool) -> str:
    """Run a block of the page; one that goes on until Ctrl-C, until it has written a line."""
    shell = ["sh", "-ec", f"exec {code}" if waits else code]
    pipe = subprocess.PIPE
    with subprocess.Popen(shell, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline() if waits else ""
        if waits:
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return first + rest


def documented() -> list[tuple[str, str]]:
    """List the commands with their options, and what typer adds to all of them."""
    app = get_command(make_app())
    commands = {"walrus-ts": app, **getattr(app, "commands", {})}
    return [(name, option) for name, command in commands.items() for p in command.params for option in p.opts]


@pytest.mark.parametrize(("command", "option"), documented())
def test_every_option_is_documented(command: str, option: str) -> None:
    """The page names every command and every option of it."""
    assert f"walrus-ts {command}" in PAGE or command == "walrus-ts"
    if option.startswith("-"):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", PAGE), option


# Loading and exporting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_there_and_back(run: Run, stream: TimeSeriesStream, key: Key, tmp_path: Path, ending: str) -> None:
    """What `export` writes, `load` makes an equal stream of."""
    exported = run("export", key(), f"f.{ending}", "--start", "2024-06-03 09:30:02")
    assert (exported.returncode, exported.stdout, exported.stderr) == (0, f"4 rows written to f.{ending}\n", "")
    loaded = run("load", f"f.{ending}", key("other"))
    assert (loaded.returncode, loaded.stdout, loaded.stderr) == (0, f"4 rows appended to {key('other')}\n", "")
    other = stream.database.time_series("research", [key("other")])[key("other")]
    assert_frame_equal(other.frame(), rows(6)[2:], check_freq=False)


def test_the_cure_of_a_csv_out_of_order(run: Run, key: Key, db: Database, tmp_path: Path) -> None:
    """The commands that an error names put a CSV in order, rows of one time as they were, and drop those without."""
    (tmp_path / "f.csv").write_text("at,x\n2024-01-02,1\n2024-01-01,3\n,5\n2024-01-01,2\n")
    cures = re.findall("`(.*)`", run("load", "f.csv", key()).stderr)
    subprocess.run(cures[-1].replace("FILE", "f.csv").replace("NEW", "g.csv"), shell=True, cwd=tmp_path, check=True)
    cures = re.findall("`(.*)`", run("load", "g.csv", key()).stderr)
    subprocess.run(cures[-1].replace("FILE", "g.csv").replace("NEW", "h.csv"), shell=True, cwd=tmp_path, check=True)
    assert run("load", "h.csv", key()).returncode == 0
    assert db.time_series("g", [key()])[key()].frame()["x"].tolist() == [3, 2, 1]


def test_load_is_told_of_late_rows(run: Run, stream: TimeSeriesStream, key: Key, tmp_path: Path) -> None:
    """Late rows stop a load, with a cure that can be typed in; `--late` leaves them out."""
    rows(8).to_csv(tmp_path / "f.csv")
    stopped = run("load", "f.csv", key())
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr.startswith("walrus-ts: 5 rows are older than the end of stream ")
    assert stopped.stderr.endswith("On the command line that is: --late\n")
    assert run("load", "f.csv", key(), "--late").stdout == f"3 rows appended to {key()}, 5 late left out\n"


def test_load_evolves_and_localises(run: Run, key: Key, db: Database, tmp_path: Path) -> None:
    """`--evolve` widens the columns, `--tz` says which clock the file's times are of, `--group` makes a group."""
    rows(2).to_csv(tmp_path / "a.csv")
    rows(2, "2024-06-04").assign(venue="x").to_csv(tmp_path / "b.csv")
    assert run("load", "a.csv", key(), "--tz", "Europe/Oslo", "--group", "workers").returncode == 0
    refused = run("load", "b.csv", key(), "--tz", "Europe/Oslo")
    assert refused.returncode == 1
    assert refused.stderr.endswith("On the command line that is: --evolve\n")
    assert run("load", "b.csv", key(), "--tz", "Europe/Oslo", "--evolve").returncode == 0
    series = db.time_series("workers", [key()])
    assert str(series[key()].frame().index[0]) == "2024-06-03 09:30:00+02:00"
    assert series.status()["lag"].tolist() == [4]


def test_a_repeated_load(run: Run, key: Key, db: Database, tmp_path: Path) -> None:
    """A file that is loaded again, or a copy of it, is known; one that has grown is another."""
    rows(3).to_csv(tmp_path / "f.csv")
    assert run("load", "f.csv", key()).stdout == f"3 rows appended to {key()}\n"
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "f.csv").write_bytes((tmp_path / "f.csv").read_bytes())
    [name] = db.time_series("g", [key()])[key()].loads().index
    assert re.fullmatch(r"f\.csv@[0-9a-f]{12}", name)
    for path in ("f.csv", "copies/f.csv"):
        again = run("load", path, key())
        assert again.stdout == f"0 rows appended to {key()}, 3 dealt with before, by the load {name!r}\n"
    rows(4).to_csv(tmp_path / "f.csv")
    assert run("load", "f.csv", key()).stderr.startswith("walrus-ts: 2 rows are older than the end of stream ")
    rows(1, "2024-06-04").to_csv(tmp_path / "f.csv")
    assert run("load", "f.csv", key(), "--load", "mine").stdout == f"1 row appended to {key()}\n"
    other = run("load", "copies/f.csv", key(), "--load", "mine")
    assert other.returncode == 1
    assert other.stderr.endswith("On the command line that is: --load NAME\n")


def test_an_hour_that_comes_twice(run: Run, key: Key, db: Database, tmp_path: Path) -> None:
    """Local times that a zone has twice are an error whose cure, times with an offset, works."""
    (tmp_path / "f.csv").write_text("at,x\n2024-10-27 02:30,1\n2024-10-27 02:30,2\n")
    refused = run("load", "f.csv", key(), "--tz", "Europe/Oslo")
    assert refused.stderr.endswith("write the times with their offset, as in 2024-10-27 02:30+01:00\n")
    (tmp_path / "f.csv").write_text("at,x\n2024-10-27 02:30+02:00,1\n2024-10-27 02:30+01:00,2\n")
    assert run("load", "f.csv", key(), "--tz", "Europe/Oslo").returncode == 0
    times = db.time_series("g", [key()], tz="Europe/Oslo")[key()].frame().index
    assert [str(time) for time in times] == ["2024-10-27 02:30:00+02:00", "2024-10-27 02:30:00+01:00"]


@pytest.mark.parametrize("named", [[], ["--load", "f"]])
def test_an_interrupted_load_is_repeated(
    run: Run, key: Key, db: Database, url: str, tmp_path: Path, named: list[str]
) -> None:
    """A load that Ctrl-C has interrupted stores the rest when it is repeated, whether it has a name or not."""
    frame = rows(400_000)
    frame.to_parquet(tmp_path / "f.parquet")
    arguments = ["load", "f.parquet", key(), "--group", "workers", *named]
    with started(*arguments, url=url, folder=tmp_path) as process:
        wait_until(lambda: db.exists(key()) and db.xlen(key()), timeout=60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith("walrus-ts: interrupted: the first rows of f.parquet may be stored.")
    assert errors.endswith("The same command, given again, stores the rest.\n")
    stored = db.xlen(key())
    assert stored < 400_000
    again = run(*arguments)
    assert again.stdout.startswith(f"{400_000 - stored:,} rows appended to {key()}, {stored:,} dealt with before, by ")
    assert_frame_equal(db.time_series("g", [key()])[key()].frame(), frame, check_freq=False)


def test_a_killed_load_is_repeated(run: Run, key: Key, db: Database, url: str, tmp_path: Path) -> None:
    """A load whose process was killed stores the rest when the command is given again."""
    frame = rows(400_000)
    frame.to_parquet(tmp_path / "f.parquet")
    with started("load", "f.parquet", key(), url=url, folder=tmp_path) as process:
        wait_until(lambda: db.exists(key()), timeout=60)
        process.kill()
        process.communicate(timeout=30)
    assert run("load", "f.parquet", key()).returncode == 0
    assert_frame_equal(db.time_series("g", [key()])[key()].frame(), frame, check_freq=False)


@pytest.mark.parametrize("named", [[], ["--load", "f"]])
def test_a_load_that_the_server_stops(run: Run, tmp_path: Path, named: list[str]) -> None:
    """Stopped by the server, a load says behind which row, and why; repeated, it goes on from there."""
    frame = rows(250_000)
    frame.to_parquet(tmp_path / "f.parquet")
    arguments = ["load", "f.parquet", "ticks", *named]
    with walrus_ts.connect("embedded://") as db:
        db.config_set("maxmemory", "8mb")
        stopped = run(*arguments, url=db.url)
        stored = db.xlen("ticks")
        assert (stopped.returncode, stopped.stdout) == (1, "")
        assert 100_000 < stored < 250_000
        assert stopped.stderr.startswith(f"walrus-ts: f.parquet: stopped behind row {stored:,}: ")
        assert "maxmemory" in stopped.stderr
        assert "The same command, given again, stores the rest." in stopped.stderr
        db.config_set("maxmemory", "0")
        assert run(*arguments, url=db.url).returncode == 0
        assert_frame_equal(db.time_series("g", ["ticks"])["ticks"].frame(), frame, check_freq=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["load", "none.csv", "KEY"], 2, "'none.csv' does not exist"),
        (["load", "f.csv", "KEY", "--time", "tme"], 2, "walrus-ts: 'f.csv' has no column 'tme'; it has 'at', "),
        (["load", "f.xls", "KEY"], 2, "walrus-ts: 'f.xls' does not say what it is: expected a name that ends in .csv"),
        (["load", "broken.parquet", "KEY"], 1, "walrus-ts: 'broken.parquet' cannot be read as Parquet: "),
        (["load", "unsorted.csv", "KEY"], 1, "walrus-ts: the index is out of order: row 1, "),
        (["load", "unsorted.csv", "KEY"], 1, "On the command line that is: sort the file first; "),
        (["load", "gap.csv", "KEY"], 1, "by `grep -v '^,' FILE > NEW`\n"),
        (["load", "f.csv", "KEY", "--sep", ";"], 2, "Is ',' the separator? On the command line that is: --sep ','"),
        (["load", "", "KEY"], 2, "walrus-ts: an argument is empty, behind 'load': is it a variable that has no value?"),
        (["load", "f.csv", "KEY", "--load", ""], 2, "walrus-ts: an argument is empty, behind 'load f.csv "),
        (["load", "f.csv", "KEY", "--load="], 2, "walrus-ts: an argument is empty, behind '--load='"),
        (["serve", ""], 2, "walrus-ts: an argument is empty, behind 'serve'"),
        (
            ["load", "latin.csv", "KEY"],
            1,
            "walrus-ts: 'latin.csv' is not in UTF-8: found b'pr\\xe9is' in the columns' names.",
        ),
        (["load", "picture.csv", "KEY"], 1, "walrus-ts: 'picture.csv' is not in UTF-8: "),
        (["load", "empty", "KEY"], 1, "walrus-ts: 'empty' is a folder without a Parquet file in it"),
        (["load", "f.csv", "KEY", "--tz", "Europe/Oslo"], 1, "On the command line that is: leave out --tz\n"),
        (["head", "KEY", "--url", "redis://:sesame@127.0.0.1:7x"], 2, "walrus-ts: the URL cannot be read: "),
        (["head", "KEY", "--columns", "prce"], 2, "has no column 'prce'; it has 'price', 'size', 'side'\n"),
        (["head", "KEY", "--csv", "--json"], 2, "walrus-ts: --csv and --json: choose one of them\n"),
        (["head", "KEY:no"], 1, "walrus-ts: there is no stream '"),
        (["head", "KEY", "--url", "redis://127.0.0.1:1"], 1, "walrus-ts: Error 111 connecting to 127.0.0.1:1."),
        (["head", "KEY", "--url", "http://x"], 2, "walrus-ts: the URL begins with one of 'redis://', "),
        (["export", "KEY", "f.pq", "--stop", "soon"], 2, "walrus-ts: the bound 'soon' is no date that pandas reads"),
        (["export", "KEY", "no/f.pq"], 1, "walrus-ts: [Errno 2] No such file or directory: 'no/f.pq'\n"),
        (["tail"], 2, "Missing argument 'STREAM'"),
    ],
)
def test_errors(
    run: Run, stream: TimeSeriesStream, key: Key, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """What went wrong is said on stderr, in words of the command line; the exit code says whose fault it was."""
    rows(2).to_csv(tmp_path / "f.csv")
    rows(2)[::-1].to_csv(tmp_path / "unsorted.csv")
    (tmp_path / "latin.csv").write_bytes(b"at,pr\xe9is\n2024-01-01,1\n")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "gap.csv").write_text("at,x\n2024-01-01,1\n,2\n")
    (tmp_path / "empty").mkdir()
    for name in ("f.xls", "broken.parquet"):
        (tmp_path / name).write_text("x")
    ended = run(*(argument.replace("KEY", key()) for argument in arguments))
    assert (ended.returncode, ended.stdout) == (code, "")
    assert message in ended.stderr
    assert "sesame" not in ended.stderr
    assert len(stream) == 6


def test_without_a_server(run: Run) -> None:
    """Without a server's URL a command says how to name one."""
    ended = run("head", "ticks", url=None)
    assert ended.returncode == 2
    assert "Missing option '--url' (env var: 'WALRUS_TS_URL')" in ended.stderr


# Looking --------------------------------------------------------------------------------------------------------------


def test_csv_and_json(run: Run, stream: TimeSeriesStream, key: Key) -> None:
    """`--csv` and `--json` are what programs read."""
    shown = run("head", key(), "-n", "1", "--csv").stdout
    assert shown == '"at","price","size","side"\n2024-06-03 09:30:00.000000,0,0,"buy"\n'
    lines = run("tail", key(), "-n", "2", "--json").stdout.splitlines()
    assert json.loads(lines[1]) == {"at": "2024-06-03T09:30:05", "price": 1.25, "size": 5, "side": "buy"}
    assert len(lines) == 2


def test_follow(stream: TimeSeriesStream, key: Key, url: str, tmp_path: Path) -> None:
    """`tail --follow` writes new rows as they come, once, below one header, until Ctrl-C, which is no error."""
    with started("tail", key(), "-n", "1", "-f", "--columns", "size", "--csv", url=url, folder=tmp_path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        stream.append(rows(2, "2024-06-04"))
        lines += [process.stdout.readline() for _ in range(2)]
        stream.append(rows(2, "2024-06-04 00:00:01"))  # the first at the very time of the last
        lines += [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert [line.split(",")[-1].strip() for line in lines] == ['"size"', "5", "0", "1", "0", "1"]


def test_a_closed_pipe(stream: TimeSeriesStream, key: Key, url: str, tmp_path: Path) -> None:
    """Whoever reads only the beginning, as `head -1` does, sees no traceback."""
    stream.append(rows(20_000, "2024-06-04"))
    with started("head", key(), "-n", "20000", url=url, folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("at ")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_values_do_not_steer_the_terminal() -> None:
    """Control characters in values are written out, so that data cannot steer the terminal."""
    assert _cell("a\x1b[31mb\n\x9b") == r"a\x1b[31mb\n\x9b"
    assert _cell(b"\xff") == r"b'\xff'"


def test_columns_that_have_no_room() -> None:
    """A terminal's line holds as many columns as fit, and at least one."""
    assert [_fitting([10, 10, 10], width) for width in (34, 33, 22, 21, 5)] == [3, 2, 2, 1, 1]


def test_table_with_any_labels(capsys: pytest.CaptureFixture[str]) -> None:
    """A table has the index first, whatever its name and the columns' are."""
    frame = rows(1).rename(columns={"price": "at", "size": 7}).assign(none=None)
    Output("table").write(frame)
    assert capsys.readouterr().out == ("at_                  at  7  side  none\n2024-06-03 09:30:00   0  0  buy   -\n")


def test_rows_that_follow_stand_below(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that follow stand in the columns of those before, without a header; other columns get a new one."""
    output = Output("table")
    output.write(rows(1)[["side", "size"]])
    output.write(rows(1)[["side", "size"]].assign(size=12345))
    output.write(rows(1)[["side"]])
    assert capsys.readouterr().out.splitlines() == [
        "at                   side  size",
        "2024-06-03 09:30:00  buy      0",
        "2024-06-03 09:30:00  buy   12345",
        "at                   side",
        "2024-06-03 09:30:00  buy",
    ]


# Serving --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve(tmp_path: Path, stop: signal.Signals) -> None:
    """`serve` prints a URL by which others reach the server, until Ctrl-C; the data are there the next time."""
    for name in ("first", "second"):
        with started("serve", "a folder", url=None, folder=tmp_path) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url == f"embedded://{tmp_path}/a%20folder"
            with walrus_ts.connect(url) as db:
                db.set(name, 1)
                assert db.exists("first")
            process.send_signal(stop)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert errors in ("Ctrl-C ends it.\n", "")  # nothing, where the signal was faster
