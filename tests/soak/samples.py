"""What a process and its server have in use, and whether that grows."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow as pa
import redis

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MB = 1e6


class Sample(NamedTuple):
    """What is in use at a moment.

    Attributes
    ----------
    memory : float
        The process's resident memory, in MB.
    arrow : float
        Of it, what Arrow has handed out, in MB.
    objects : int
        Python's, those that the garbage collector knows.
    threads, files : int
        The process's threads and file descriptors.
    connections : int
        The server's.
    server : float
        The server's memory, in MB (`used_memory`).
    """

    memory: float
    arrow: float
    objects: int
    threads: int
    files: int
    connections: int
    server: float


# What counts as none: a share of what there was, and so much besides. Memory goes up and down with how the allocators
# cut it into pieces; objects with the caches of what was imported; files and connections with the moment.
SLACK = Sample(0.05, 0, 0.01, 0, 0, 0, 0.05), Sample(10, 1, 500, 1, 2, 2, 2)


def take(server: redis.Redis) -> Sample:
    """Measure, when what nobody refers to is gone."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    info = server.info()
    return Sample(
        resident / _MB,
        pa.total_allocated_bytes() / _MB,
        len(gc.get_objects()),
        threading.active_count(),
        len(os.listdir("/proc/self/fd")),
        info["connected_clients"],
        info["used_memory"] / _MB,
    )


def grown(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Tell what has grown: from the second quarter of the samples to the last, by their medians.

    The first quarter is for what is imported, cached, and filled until it is trimmed. Medians, for single samples are
    taken in the middle of something.

    Returns
    -------
    dict of name -> (before, behind)
    """
    quarter = len(samples) // 4
    found = {}
    for at, name in enumerate(Sample._fields):
        before = median(sample[at] for sample in samples[quarter : 2 * quarter])
        behind = median(sample[at] for sample in samples[-quarter:])
        if behind > before * (1 + SLACK[0][at]) + SLACK[1][at]:
            found[name] = before, behind
    return found
