"""Two writers and many readers of one stream, all of them through a proxy that cuts connections."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import redis

from tests.faults.loading import KEY, WAYS
from tests.faults.rows import Tally, entries
from tests.own_server import own_server
from tests.proxy import Proxy
from walrus_ts import AppendError, LateRowsError, connect
from walrus_ts.timeseries import TimeSeriesStream

_BEGIN_MS = 1_704_067_200_000
_SIZES = (1, 50, 2_000, 12_000)
_BYTES = {"requests": 1 << 20, "replies": 1 << 18}  # between two cuts, at most
_MOST_SECONDS = 120


@dataclass
class Report:
    """What a writer was told: how many rows of a frame are stored, and how many were late."""

    frame: pd.DataFrame
    stored: int = 0
    late: int = 0
    errors: int = 0


@dataclass
class Shared:
    """What the threads have in common: the time, which goes on as they write, and their ends."""

    clock: int = _BEGIN_MS
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    number: int = 0
    failures: list[Exception] = field(default_factory=list)

    def frame(self, rows: int, chance: random.Random) -> pd.DataFrame:
        """Make numbered rows, of times that overlap those of the frames made before and behind."""
        with self.lock:
            number, start = self.number, self.clock
            self.number += rows
            self.clock += rows
        offsets = np.sort(np.random.default_rng(chance.randrange(1 << 32)).integers(0, 2 * rows, rows))
        return pd.DataFrame(
            {"n": np.arange(number, number + rows)}, index=pd.DatetimeIndex((start + offsets).view("M8[ms]"))
        )

    def thread(self, work: Callable[[], object]) -> threading.Thread:
        """Run something in a thread that keeps its error."""

        def run() -> None:
            try:
                work()
            except Exception as error:
                self.failures.append(error)
                self.ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def two_writers(folder: Path, times: int, chance: random.Random) -> Tally:
    """Rows reported as appended are there, once, and all others were reported late; no reader sees one vanish."""
    tally, shared, reports = Tally("two writers, four readers, cut"), Shared(), []
    with ExitStack() as stack:
        server = stack.enter_context(own_server(folder, appendonly="no"))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        proxy = stack.enter_context(Proxy(server.port))
        streams = [
            stack.enter_context(connect(proxy.url)).time_series("faults", [KEY], consumer="one")[KEY] for _ in range(6)
        ]
        direct.xgroup_create(KEY, "faults", "0", mkstream=True)
        consumed: list[int] = []
        chances = [random.Random(chance.random()) for _ in range(2)]
        works = [
            *(partial(_write, streams[at], shared, reports, chances[at]) for at in range(2)),
            *(partial(_scan, streams[at], shared) for at in range(2, 5)),
            partial(_consume, streams[5], shared, consumed),
        ]
        threads = [shared.thread(work) for work in works]
        try:
            tally.injected = _cut(proxy, times, shared, chance)
        finally:
            shared.ended.set()
            for thread in threads:
                thread.join()
        if shared.failures:
            raise shared.failures[0]
        take(streams[5], consumed)  # what the writers have appended since it ended
        found = [int(fields[b"n"]) for _, fields in entries(direct, KEY)]
    _compare(tally, reports, found)
    assert sorted(consumed) == sorted(found), "the consumer was not given each row once"
    return tally


def _compare(tally: Tally, reports: list[Report], found: list[int]) -> None:
    there = set(found)
    tally.twice = len(found) - len(there)
    for report in reports:
        stored = len(there.intersection(report.frame["n"]))
        tally.rows += report.stored
        tally.errors += report.errors
        tally.lost += max(0, report.stored - stored)
        assert stored == report.stored, f"{stored} rows are stored, {report.stored} were reported"
        assert stored + report.late == len(report.frame), f"{stored} rows are stored, and {report.late} were late"


def _write(stream: TimeSeriesStream, shared: Shared, reports: list[Report], chance: random.Random) -> None:
    """Append frames until it is enough; the rows that are late are left out, at once or after the error."""
    while not shared.ended.is_set():
        report = Report(shared.frame(chance.choice(_SIZES), chance))
        _append(stream, report, chance.choice(("raise", "skip")))
        reports.append(report)


def _append(stream: TimeSeriesStream, report: Report, late: Literal["raise", "skip"]) -> None:
    load = None
    while True:
        try:
            done = stream.append(report.frame, late=late, load=load, progress=False)
        except LateRowsError:  # nothing of the frame is stored
            report.late = len(report.frame)
            return
        except AppendError as error:  # overtaken: what is stored is a prefix; the others are left out
            report.errors += 1
            report.stored = error.appended
            load, late = error.load, "skip"
        else:
            report.stored += done.rows
            report.late = done.skipped
            return


def _scan(stream: TimeSeriesStream, shared: Shared) -> None:
    """Read all there is, again and again: it is in order, and what was there remains."""
    before = np.empty(0, np.int64)
    while not shared.ended.is_set():
        frame = stream.frame()
        assert frame.index.is_monotonic_increasing
        assert frame.empty or frame["n"].is_unique
        now = frame["n"].to_numpy() if len(frame) else before[:0]
        assert (now[: len(before)] == before).all(), "what was read before is not there as it was"
        before = now
        time.sleep(0.05)


def _consume(stream: TimeSeriesStream, shared: Shared, consumed: list[int]) -> None:
    """Consume while rows come."""
    while not shared.ended.is_set():
        take(stream, consumed)
        time.sleep(0.02)


def take(stream: TimeSeriesStream, consumed: list[int]) -> None:
    """Consume what there is."""
    for batch in stream.batches(1_000, wait=0):
        with batch:
            consumed += batch.frame["n"].tolist()


def _cut(proxy: Proxy, times: int, shared: Shared, chance: random.Random) -> int:
    """Cut a connection after random numbers of bytes, so many times."""
    end = time.monotonic() + _MOST_SECONDS
    while proxy.cuts < times and not shared.ended.is_set():
        way, before = chance.choice(WAYS), proxy.cuts
        proxy.cut_after(chance.randrange(_BYTES[way]), way)
        while proxy.cuts == before and not shared.ended.wait(0.005):
            assert time.monotonic() < end, f"{proxy.cuts} cuts in {_MOST_SECONDS} seconds"
    return proxy.cuts
