"""A small run of ``make faults``: each fault a few times, each time at another byte."""

import pytest

from tests.faults.catalogue import FAULTS, suffer
from tests.faults.refusals import can_mount
from tests.helpers import lack

SEED = 1
TIMES = 2  # of each; `make faults` does it far more often, at other bytes each time


@pytest.mark.parametrize("name", FAULTS)
def test_no_row_is_lost_or_there_twice(name: str) -> None:
    """Whatever happens to connections, servers and processes, each row is there once, in order, and right."""
    if name == "full-disk" and not can_mount():
        lack("it needs the right to mount a small disk")
    tally = suffer(name, TIMES, SEED)
    print(tally)
    assert tally.injected >= TIMES
    assert tally.rows
    assert (tally.lost, tally.twice) == (0, 0)
