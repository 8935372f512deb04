"""A process that loads, and is killed (``python -m tests.faults.processes URL FIRST STOP NAME`` is one)."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import redis

from tests.faults.loading import KEY, WAYS
from tests.faults.rows import Tally, frame, numbers_in
from tests.own_server import own_server
from tests.proxy import Proxy
from walrus_ts import connect

_ROOT = Path(__file__).parents[2]
_ROWS = 30_000
_BYTES_A_ROW = {"requests": 140, "replies": 30}


def killed_loaders(folder: Path, times: int, chance: random.Random) -> Tally:
    """Processes that make a named load are killed (-9), until one completes it; then there is another load."""
    tally, start = Tally("loading process killed"), 0
    with ExitStack() as stack:
        server = stack.enter_context(own_server(folder, appendonly="no"))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        proxy = stack.enter_context(Proxy(server.port))
        while tally.injected < times:
            while not _load(proxy, start, chance):
                tally.injected += 1
            stop = start + _ROWS
            tally.compare(numbers_in(direct, KEY, start), range(start, stop))
            assert direct.xlen(KEY) == stop
            start = stop
    return tally


def _load(proxy: Proxy, start: int, chance: random.Random) -> bool:
    """Start a process that loads, and kill it at a random byte; tell whether it has completed its load before."""
    way = chance.choice(WAYS)
    arguments = [proxy.url, str(start), str(start + _ROWS), f"load {start}"]
    process = subprocess.Popen([sys.executable, "-m", __name__, *arguments], cwd=_ROOT, stderr=subprocess.PIPE)
    before = proxy.acts
    proxy.act_after(chance.randrange(_ROWS * _BYTES_A_ROW[way]), way, process.kill)
    complaint = process.communicate()[1]
    proxy.act_no_more()
    if process.returncode and proxy.acts == before:
        raise AssertionError(f"the loading process failed:\n{complaint.decode()}")
    return process.returncode == 0


def main(url: str, start: str, stop: str, name: str) -> None:
    """Load numbered rows under a name."""
    with connect(url) as db:
        db.time_series("faults", [KEY])[KEY].append(frame(int(start), int(stop)), load=name, progress=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
