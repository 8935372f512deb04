"""The clock, the processors' time, and how pairs of runs are compared."""

from __future__ import annotations

import gc
import resource
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import redis

from tests.benchmarks.work import Work


@dataclass(frozen=True)
class Cost:
    """What one run took, in seconds.

    Attributes
    ----------
    rows : int
        Rows, or calls, that were worked off.
    elapsed : float
        By the clock.
    client, server : float
        Processor time of this process, all its threads, and of the server's.
    """

    rows: int
    elapsed: float
    client: float
    server: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.elapsed

    @property
    def client_us(self) -> float:
        """Microseconds of the client's processor a row."""
        return 1e6 * self.client / self.rows

    @property
    def server_us(self) -> float:
        """Microseconds of the server's processor a row."""
        return 1e6 * self.server / self.rows


def timed(work: Work) -> tuple[Cost, Any]:
    """Run once; return the cost, and what the work gave."""
    with redis.Redis.from_url(work.url) as server:
        work.before()
        gc.collect()
        server_before, client_before, begun = _server_seconds(server), _client_seconds(), perf_counter()
        result = work.run()
        elapsed, client = perf_counter() - begun, _client_seconds() - client_before
        return Cost(work.count, work.seconds(result, elapsed), client, _server_seconds(server) - server_before), result


@dataclass(frozen=True)
class Pairs:
    """Runs of ours and of a peer, each pair one directly after the other."""

    ours: list[Cost]
    peer: list[Cost]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast as the peer we were, pair by pair, ascending."""
        return sorted(one.rate / other.rate for one, other in zip(self.ours, self.peer, strict=True))


def alternate(ours: Work, peer: Work, repeat: int) -> Pairs:
    """Measure two in turn; who begins changes from pair to pair, since a machine may grow slower or faster."""
    pairs = Pairs([], [])
    for turn in range(repeat):
        both = [(ours, pairs.ours), (peer, pairs.peer)]
        for work, costs in both if turn % 2 == 0 else reversed(both):
            costs.append(timed(work)[0])
            work.after()
    return pairs


def middle(costs: list[Cost]) -> Cost:
    """Return the medians."""
    columns = (median(getattr(cost, name) for cost in costs) for name in ("elapsed", "client", "server"))
    return Cost(costs[0].rows, *columns)


def _client_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _server_seconds(server: redis.Redis) -> float:
    info = server.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])
