"""Measure cases, and how the cost grows with the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import pandas as pd

from tests.benchmarks.cases import Case
from tests.benchmarks.frames import SHAPES
from tests.benchmarks.measure import Cost, alternate, middle, timed
from tests.benchmarks.memory import peak_mb
from tests.benchmarks.peers import OurAppend, OurFrame
from tests.benchmarks.work import Work


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes
    ----------
    case : Case
    kind : type of Work
    cost : Cost
        The medians.
    peak_mb : float, optional
        None where there is nothing to compare.
    ratios : list of float
        How many times as fast ours was, pair by pair, ascending; none for ours itself.
    """

    case: Case
    kind: type[Work]
    cost: Cost
    peak_mb: float | None
    ratios: list[float]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return median(self.ratios) if self.ratios else None


@contextmanager
def prepared(case: Case, url: str, prefix: str, rows: int) -> Iterator[list[Work]]:
    """Make a case's works, and delete what they have made."""
    works = case.works(url, prefix, rows)
    try:
        for work in works:
            work.prepare()
        yield works
    finally:
        for work in works:
            work.close()


def measure(case: Case, url: str, prefix: str, rows: int, repeat: int, *, memory: bool = True) -> list[Line]:
    """Measure a case: ours and each of the others in turn, A B B A; `memory` takes a process more each."""
    with prepared(case, url, prefix, rows) as (ours, *others):
        timed(ours)  # imports, and the server's memory
        pairs = [alternate(ours, other, repeat) for other in others]
        costs = [[cost for pair in pairs for cost in pair.ours], *(pair.peer for pair in pairs)]
        ratios = [[], *(pair.ratios for pair in pairs)]
        wanted = memory and case.unit == "row"
        peaks = [peak_mb(case.name, work, rows) if wanted and not work.is_limit else None for work in (ours, *others)]
    kinds = [type(work) for work in (ours, *others)]
    return [
        Line(case, kind, middle(cost), peak, ratio)
        for kind, cost, peak, ratio in zip(kinds, costs, peaks, ratios, strict=True)
    ]


def verify(case: Case, url: str, prefix: str, rows: int) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Run all of a case once; return for each the rows that it was given, and those that it has written or read."""
    done = {}
    with prepared(case, url, prefix, rows) as works:
        for work in works:
            work.before()
            found = work.rows_done(work.run())
            given = work.shape.frame(work.rows)
            done[work.who] = (given if case.name != "tail-10" else given[-10:], found)
            work.after()
    return done


def scale(url: str, prefix: str, most: int) -> Iterator[tuple[str, Cost]]:
    """Append and read 10 thousand rows, 10 times as many, and so on: what does a row cost?"""
    rows = 10_000
    while rows <= most:
        work = OurAppend(url, prefix, SHAPES["mixed"], rows)
        work.prepare()
        repeat = 3 if rows <= 1_000_000 else 1
        yield "append", middle([timed(work)[0] for _ in range(repeat)])
        reader = OurFrame(url, prefix, SHAPES["mixed"], rows)
        reader.key = work.key  # what was written last
        reader.prepare()
        yield "frame", middle([timed(reader)[0] for _ in range(repeat)])
        work.close()
        rows *= 10
