"""The torturer: writes rows, kills those who work on them, and counts what has become of each row."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import redis

from tests.torture.worker import POISON
from walrus_ts import Database, connect
from walrus_ts.timeseries import TimeSeries, TimeSeriesStream

_ROOT = Path(__file__).parents[2]
_STREAMS = ("a", "b", "c")
_WORKERS = 4
_PREFIX = "torture:"
_PATIENCE = 180.0  # seconds for which the last rows may take


@dataclass
class Outcome:
    """What a run has to tell.

    Attributes
    ----------
    rows : int
        That were appended.
    missing, twice : int
        Rows that were not done, nor given up; rows that were done more than once.
    dead, innocent : int
        Rows that were given up; and those among them that did not make the work fail.
    pending : int
        Rows that are still pending.
    kills, cuts, restarts : int
        Workers, connections, servers.
    redelivered : int
        Rows that a worker has had more than once.
    seconds : float
    """

    rows: int = 0
    missing: int = 0
    twice: int = 0
    dead: int = 0
    innocent: int = 0
    pending: int = 0
    kills: int = 0
    cuts: int = 0
    restarts: int = 0
    redelivered: int = 0
    seconds: float = 0.0


def torture(mode: str, rows: int, seed: int) -> Outcome:
    """Run once, on a server of its own.

    Parameters
    ----------
    mode : {"transaction", "ack"}
        Whether workers write what they have done in the batch's transaction, or before they acknowledge.
    rows : int
        To append.
    seed : int
        Of what is killed, and when.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder, connect(f"embedded://{folder}/data") as db:
        keys = [_PREFIX + name for name in _STREAMS]
        series = db.time_series("torture", keys)
        series.create()
        with Torturer(db, mode, keys, random.Random(seed)) as torturer:
            writer = threading.Thread(target=write, args=(db.url, keys, rows, seed), daemon=True)
            writer.start()
            torturer.go_on_while(lambda: writer.is_alive() or not torturer.has_done(rows // 2))
            torturer.leave_in_peace()
            torturer.wait_until(lambda: is_settled(series))
        outcome = count(db, series, rows)
    outcome.kills, outcome.cuts, outcome.restarts = torturer.kills, torturer.cuts, torturer.restarts
    outcome.seconds = time.monotonic() - begun
    return outcome


def write(url: str, keys: list[str], rows: int, seed: int) -> None:
    """Append numbered rows to the streams in turn, in pieces of random lengths."""
    chance = random.Random(seed)
    with connect(url) as db:
        series = db.time_series("torture", keys)
        for number in _pieces(rows, chance):
            index = pd.to_datetime([number.start + at for at in range(len(number))], unit="ms")
            frame = pd.DataFrame({"n": list(number)}, index=index)
            append(series[chance.choice(keys)], frame)


def append(stream: TimeSeriesStream, frame: pd.DataFrame) -> None:
    """Append; where the server is away from the beginning, nothing was sent, and it is tried again."""
    while True:
        try:
            stream.append(frame, progress=False)
        except redis.ConnectionError:
            time.sleep(0.05)
        else:
            return


def _pieces(rows: int, chance: random.Random) -> Iterator[range]:
    start = 1
    while start <= rows:
        stop = min(rows + 1, start + chance.choice((1, 10, 500, 2_000)))
        yield range(start, stop)
        start = stop


@dataclass
class Torturer:
    """Keeps workers at work, and kills them, cuts connections and restarts the server; a context manager."""

    db: Database
    mode: str
    keys: list[str]
    chance: random.Random
    kills: int = 0
    cuts: int = 0
    restarts: int = 0
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Torturer:
        self._workers = [self._worker(at) for at in range(_WORKERS)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def _worker(self, at: int) -> subprocess.Popen[bytes]:
        """Start a worker; some have names, and so a backlog when they are started again, and some read ahead."""
        name, ahead = f"w{at}" if at % 2 else "", "ahead" if at % 4 >= 2 else ""
        worker = [sys.executable, "-m", "tests.torture.worker"]
        command = [*worker, self.db.url, _PREFIX, self.mode, name, ahead, *self.keys]
        return subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.DEVNULL)

    def go_on_while(self, condition: Callable[[], bool]) -> None:
        """Do harm, at random moments."""
        begun = time.monotonic()
        while condition():
            time.sleep(self.chance.uniform(0.05, 0.4))
            if self.restarts < 2 and time.monotonic() - begun > 2 + 3 * self.restarts:
                self._restart()
            elif self.chance.random() < 0.5:
                self._kill()
            else:
                self._cut()
            self._replace_dead()

    def leave_in_peace(self) -> None:
        """Restart the server as often as it should have been; then do no more harm."""
        while self.restarts < 2:
            self._restart()
            time.sleep(0.5)
        self._replace_dead()

    def _kill(self) -> None:
        at = self.chance.randrange(_WORKERS)
        self._workers[at].kill()
        self._workers[at].wait()
        self._workers[at] = self._worker(at)
        self.kills += 1

    def _cut(self) -> None:
        with suppress(redis.RedisError):
            clients = [client for client in self.db.client_list() if client["cmd"] != "client|list"]
            if clients:
                self.cuts += self.db.client_kill_filter(_id=self.chance.choice(clients)["id"])

    def _restart(self) -> None:
        """Let the server end, by a signal or as it is told; the folder's keeper starts it again."""
        with suppress(redis.RedisError):
            process = self.db.info("server")["process_id"]
            if self.chance.random() < 0.5:
                os.kill(process, signal.SIGKILL)
            else:
                self.db.shutdown()
            self.restarts += 1

    def _replace_dead(self) -> None:
        """Start those again that have ended by themselves: a server that was away for long ends them, too."""
        for at, worker in enumerate(self._workers):
            if worker.poll() is not None:
                self._workers[at] = self._worker(at)

    def has_done(self, rows: int) -> bool:
        """Tell whether so many rows are done."""
        with suppress(redis.RedisError):
            return bool(self.db.llen(f"{_PREFIX}done") >= rows)
        return False

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait; workers that end are replaced."""
        end = time.monotonic() + _PATIENCE
        while not condition() and time.monotonic() < end:
            self._replace_dead()
            time.sleep(0.2)


def is_settled(series: TimeSeries) -> bool:
    """Tell whether the group has read all rows, and has none pending."""
    with suppress(redis.RedisError):
        status = series.status()
        return bool((status["lag"] == 0).all() and (status["pending"] == 0).all())
    return False


def count(db: Database, series: TimeSeries, rows: int) -> Outcome:
    """Count what has become of the rows."""
    done = Counter(int(number) for number in db.lrange(f"{_PREFIX}done", 0, -1))
    dead = {int(n) for stream in series.streams.values() for n in stream.dead_letters()["n"]}
    every = set(range(1, rows + 1))
    assert done.keys() <= every
    return Outcome(
        rows=sum(len(stream) for stream in series.streams.values()),
        missing=len(every - done.keys() - dead),
        twice=sum(times > 1 for times in done.values()) + len(dead & done.keys()),
        dead=len(dead),
        innocent=sum(number % POISON != 0 for number in dead),
        pending=int(series.status()["pending"].sum()),
        redelivered=int(db.hget(f"{_PREFIX}facts", "redelivered") or 0),
    )
