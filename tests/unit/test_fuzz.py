"""A few seconds of ``make fuzz``."""

import subprocess
import sys
from pathlib import Path

import pytest

import tests.fuzz.__main__ as fuzz
from tests.fuzz.targets import run, seeds

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("data", seeds())
def test_seeds(data: bytes) -> None:
    """What mutations begin with is read as hiredis reads it."""
    run(data)


def test_fuzz() -> None:
    """Replies of any bytes are read as hiredis reads them, or refused."""
    pytest.importorskip("atheris", reason="atheris has no wheels for this Python, or this platform")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "5"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]


def test_long_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A long run is several processes that share what they find, and counts what all of them have executed."""
    pytest.importorskip("atheris", reason="atheris has no wheels for this Python, or this platform")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(fuzz, "ROUND_SECONDS", 1)
    assert fuzz.rounds(2, tmp_path) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1 of 2 s, ")
    assert second.startswith("2 of 2 s, ")
    assert list(tmp_path.iterdir())
