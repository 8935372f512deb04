"""A worker of the torture test (``python -m tests.torture.worker``): consumes until it is killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from walrus_ts import Batch, BatchLostError, connect
from walrus_ts.timeseries import TimeSeries

CLAIM_AFTER = 1.5  # seconds: much longer than a batch takes, much shorter than a run
MAX_DELIVERIES = 8
COUNT = 400
POISON = 4_999  # every so-manieth row makes the work fail


class PoisonError(Exception):
    """The work fails because of a row."""


def main(arguments: Sequence[str]) -> None:
    """Consume: the numbers of the rows go into a list, exactly once or at least once."""
    url, prefix, mode, consumer, ahead, *keys = arguments
    db = connect(url)
    series = db.time_series("torture", keys, consumer=consumer or None)
    for batch in series.batches(COUNT, claim_after=CLAIM_AFTER, max_deliveries=MAX_DELIVERIES, prefetch=bool(ahead)):
        again = int((batch.deliveries > 1).sum())
        try:
            work(series, batch, f"{prefix}done", mode)
        except (PoisonError, BatchLostError):
            continue  # the rows come again; or another worker has them
        finally:
            if again:
                series.database.hincrby(f"{prefix}facts", "redelivered", again)


def work(series: TimeSeries, batch: Batch, done: str, mode: str) -> None:
    """Write the numbers of a batch's rows to the list, and acknowledge it."""
    numbers = batch.frame["n"].tolist()
    with batch:
        if any(number % POISON == 0 for number in numbers):
            raise PoisonError
        if mode == "transaction":
            with batch.transaction() as pipe:
                pipe.rpush(done, *numbers)
        else:
            series.database.rpush(done, *numbers)


if __name__ == "__main__":
    main(sys.argv[1:])
