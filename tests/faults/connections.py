"""What happens to connections."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.faults.loading import loading
from tests.faults.rows import Tally

_IMPATIENT = {"socket_timeout": 0.2}


def cut(folder: Path, times: int, chance: random.Random) -> Tally:
    """The connection is cut."""
    with loading("connection cut", folder, chance, appendonly="no") as (load, _):
        return load.suffer(times, None)


def late(folder: Path, times: int, chance: random.Random) -> Tally:
    """The bytes are on their way for longer than the socket waits, and arrive all the same."""
    with loading("bytes that come too late", folder, chance, options=_IMPATIENT, appendonly="no") as (load, _):
        load.stray = True
        return load.suffer(times, lambda: time.sleep(chance.uniform(0.1, 0.5)))


def delayed(folder: Path, times: int, chance: random.Random) -> Tally:
    """Whatever is sent comes later."""
    with loading("connection delayed", folder, chance, appendonly="no") as (load, _):
        load.proxy.pause = lambda: chance.uniform(0, 0.005)
        return load.weather(times)


def split(folder: Path, times: int, chance: random.Random) -> Tally:
    """Whatever is sent comes in pieces, split at any byte."""
    with loading("connection split", folder, chance, appendonly="no") as (load, _):
        load.proxy.piece = lambda: 1 + int(10 ** chance.uniform(0, 5))
        return load.weather(times)


def killed_clients(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server ends all connections (CLIENT KILL)."""
    with loading("CLIENT KILL", folder, chance, appendonly="no") as (load, _):
        return load.suffer(times, lambda: load.direct.client_kill_filter(_type="normal", skipme=True))
