"""Consumers whose connections are cut, at any byte."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import redis

from tests.faults.loading import WAYS
from tests.faults.rows import Tally, frame, numbers_in
from tests.own_server import own_server
from tests.proxy import Proxy
from walrus_ts import Batch, connect
from walrus_ts.timeseries import TimeSeries

_SOURCE, _DERIVED = "{rows}", "{rows}:derived"
_MOST_ATTEMPTS = 20


def acknowledging(folder: Path, times: int, chance: random.Random) -> Tally:
    """A consumer that lives is given each row once, though answers with rows, or of acknowledgements, are lost."""

    def work(batch: Batch, _: TimeSeries, done: list[int]) -> None:
        with batch:
            done += batch.frame["n"].tolist()

    return _consume("consumer cut, ack", folder, times, chance, work)


def in_transactions(folder: Path, times: int, chance: random.Random) -> Tally:
    """Rows derived in a batch's transaction are there exactly once, though its answer is lost."""

    def work(batch: Batch, series: TimeSeries, _: list[int]) -> None:
        with batch.transaction() as pipe:
            batch.append(series[_DERIVED], batch.frame)
            pipe.incrby("rows", len(batch))

    return _consume("consumer cut, transaction", folder, times, chance, work)


def _consume(
    fault: str,
    folder: Path,
    times: int,
    chance: random.Random,
    work: Callable[[Batch, TimeSeries, list[int]], None],
) -> Tally:
    tally, start = Tally(fault), 0
    with ExitStack() as stack:
        server = stack.enter_context(own_server(folder, appendonly="no"))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        owner = stack.enter_context(connect(server.url)).time_series("faults", [_SOURCE])
        proxy = stack.enter_context(Proxy(server.port))
        db = stack.enter_context(connect(proxy.url))
        series = db.time_series("faults", [_SOURCE, _DERIVED], consumer="one")
        reading = db.time_series("faults", [_SOURCE], consumer="one")
        owner.create(mkstream=True)
        while tally.injected < times:
            stop = start + chance.choice((1, 200, 5_000))
            owner[_SOURCE].append(frame(start, stop), progress=False)
            count, done, cuts = chance.choice((50, 1_000)), [], proxy.cuts
            _arm(proxy, chance, stop - start)
            for _ in range(_MOST_ATTEMPTS):
                try:
                    for batch in reading.batches(count, wait=0):
                        work(batch, series, done)
                        if proxy.cuts > cuts and chance.random() < 0.5:
                            tally.injected, cuts = tally.injected + proxy.cuts - cuts, proxy.cuts
                            _arm(proxy, chance, stop - start)
                    break
                except redis.ConnectionError:  # the rows are pending, and come again
                    tally.errors += 1
            proxy.act_no_more()
            tally.injected += proxy.cuts - cuts
            derived = numbers_in(direct, _DERIVED, start)
            tally.compare(done or derived, range(start, stop))
            assert not done or not derived
            assert direct.xpending(_SOURCE, "faults")["pending"] == 0
            start = stop
        assert int(direct.get("rows") or start) == start
    return tally


def _arm(proxy: Proxy, chance: random.Random, rows: int) -> None:
    way = chance.choice(WAYS)
    proxy.cut_after(chance.randrange(500 + rows * 100), way)
