"""A short run of ``make soak``, and what it takes for growth."""

import sys

import pytest

from tests.soak.samples import Sample, grown
from tests.soak.work import soak


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what a process has in use is read from /proc")
def test_nothing_grows() -> None:
    """Memory, objects, threads, files and connections stay what they are, however long work goes on."""
    samples = soak(15, 24, lambda *_: None)
    assert grown(samples) == {}, samples


@pytest.mark.parametrize("name", Sample._fields)
def test_growth_shows(name: str) -> None:
    """What grows by a fifth from a run's second quarter to its last is found, and what goes up and down is not."""
    at = Sample._fields.index(name)
    flat = [Sample(200.0 + n % 3, 1.0, 100_000 + n % 7, 5, 20 + n % 2, 4, 30.0) for n in range(40)]
    assert grown(flat) == {}
    rising = [
        Sample(*(value + (value / 50 + 1) * n * (i == at) for i, value in enumerate(s))) for n, s in enumerate(flat)
    ]
    assert list(grown(rising)) == [name]
