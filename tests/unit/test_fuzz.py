"""A few seconds of ``make fuzz``."""

import subprocess
import sys
from pathlib import Path

import pytest

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
