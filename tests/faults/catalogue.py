"""All the faults, and how often each is done where `make faults` is not told otherwise: 630 times together."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.faults import connections, consumers, processes, refusals, scanning, servers, writers
from tests.faults.rows import Tally

Fault = Callable[[Path, int, random.Random], Tally]

FAULTS: dict[str, tuple[Fault, int]] = {
    "cut": (connections.cut, 80),
    "late": (connections.late, 40),
    "delayed": (connections.delayed, 20),
    "split": (connections.split, 20),
    "killed-clients": (connections.killed_clients, 40),
    "killed-always": (servers.killed_always, 25),
    "killed-everysec": (servers.killed_everysec, 25),
    "restarted": (servers.restarted, 25),
    "loading": (servers.loading_data, 15),
    "lost-tail": (servers.lost_tail, 20),
    "demoted": (servers.demoted, 30),
    "roles-switched": (servers.roles_switched, 10),
    "out-of-memory": (refusals.out_of_memory, 40),
    "forbidden": (refusals.forbidden, 30),
    "full-disk": (refusals.full_disk, 20),
    "full-file": (refusals.full_file, 20),
    "killed-loaders": (processes.killed_loaders, 30),
    "cut-scans": (scanning.cut_scans, 40),
    "writers": (writers.two_writers, 40),
    "acknowledging": (consumers.acknowledging, 30),
    "transactions": (consumers.in_transactions, 30),
}


def suffer(name: str, times: int, seed: int) -> Tally:
    """Do a fault so many times, at bytes that follow from the seed."""
    fault, _ = FAULTS[name]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        return fault(Path(folder), times, random.Random(f"{name} {seed}"))
