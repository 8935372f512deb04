"""A small run of ``make torture``: workers and connections killed, the server restarted twice."""

import pytest

from tests.torture.run import torture


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["transaction", "ack"])
def test_no_row_is_lost(mode: str) -> None:
    """Each row is done at least once, in transactions exactly once; those that make the work fail are dead letters."""
    outcome = torture(mode, rows=20_000, seed=1)
    print(outcome)
    assert (outcome.rows, outcome.missing, outcome.pending) == (20_000, 0, 0)
    assert outcome.restarts == 2
    assert outcome.kills + outcome.cuts > 0
    assert outcome.dead - outcome.innocent == 4
    if mode == "transaction":
        assert outcome.twice == 0
