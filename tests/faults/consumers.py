"""Consumers whose connections are cut, at any byte."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

import redis

from tests.faults.loading import WAYS
from tests.faults.rows import Tally, frame, numbers_in
from tests.own_server import own_server
from tests.proxy import Proxy
from walrus_ts import Batch, connect
from walrus_ts.timeseries import TimeSeriesStream

_SOURCE, _DERIVED = "{rows}", "{rows}:derived"
_MOST_ATTEMPTS = 20


def acknowledging(folder: Path, times: int, chance: random.Random) -> Tally:
    """A consumer that lives is given each row once, though answers with rows, or of acknowledgements, are lost."""
    return _consume(Tally("consumer cut, ack"), folder, times, chance, derive=False)


def in_transactions(folder: Path, times: int, chance: random.Random) -> Tally:
    """Rows derived in a batch's transaction are there exactly once, though its answer is lost."""
    return _consume(Tally("consumer cut, transaction"), folder, times, chance, derive=True)


def _consume(tally: Tally, folder: Path, times: int, chance: random.Random, *, derive: bool) -> Tally:
    start = 0
    with ExitStack() as stack:
        server = stack.enter_context(own_server(folder, appendonly="no"))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        owner = stack.enter_context(connect(server.url)).time_series("faults", [_SOURCE])
        proxy = stack.enter_context(Proxy(server.port))
        db = stack.enter_context(connect(proxy.url))
        reading = db.time_series("faults", [_SOURCE], consumer="one")
        derived = db.time_series("faults", [_DERIVED])[_DERIVED] if derive else None
        owner.create(mkstream=True)
        while tally.injected < times:
            stop = start + chance.choice((1, 200, 5_000, 9_000))
            owner[_SOURCE].append(frame(start, stop), progress=False)
            done, cuts = [], proxy.cuts
            _arm(proxy, chance, stop - start)
            for _ in range(_MOST_ATTEMPTS):
                try:
                    ahead = chance.choice((True, False, None))
                    for batch in reading.batches(chance.choice((50, 1_000, 2_501)), wait=0, prefetch=ahead):
                        done += _work(batch, derived)
                        if chance.random() < 0.2:
                            _arm(proxy, chance, stop - start)
                    break
                except redis.ConnectionError:  # the rows are pending, and come again
                    tally.errors += 1
            proxy.act_no_more()
            tally.injected += proxy.cuts - cuts
            tally.compare(numbers_in(direct, _DERIVED, start) if derive else done, range(start, stop))
            assert direct.xpending(_SOURCE, "faults")["pending"] == 0
            assert not derive or int(direct.get("rows")) == stop
            start = stop
    return tally


def _work(batch: Batch, derived: TimeSeriesStream | None) -> list[int]:
    """Acknowledge a batch, or derive rows from it and count them; return the numbers of its rows."""
    if derived is None:
        with batch:
            return batch.frame["n"].tolist()
    with batch.transaction() as pipe:
        batch.append(derived, batch.frame)
        pipe.incrby("rows", len(batch))
    return []


def _arm(proxy: Proxy, chance: random.Random, rows: int) -> None:
    way = chance.choice(WAYS)
    proxy.cut_after(chance.randrange(500 + rows * 100), way)
