"""Peak memory of one run, taken in a process of its own (``python -m tests.benchmarks.memory URL PREFIX CASE ...``).

In the parent, what earlier runs have freed would be taken again and not show.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.benchmarks.work import Work

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_ROOT = Path(__file__).parents[2]


def peak_mb(case: str, work: Work, rows: int) -> float:
    """Return by how many MB a run's memory grows at its peak, over what the process had before, frame included.

    Parameters
    ----------
    case : str
    work : Work
        Of the case; its stream is there if it reads one.
    rows : int
        The run's.
    """
    arguments = [work.url, work.prefix, case, type(work).__name__, str(rows)]
    command = [sys.executable, "-m", "tests.benchmarks.memory", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout)


def main(arguments: Sequence[str]) -> None:
    """Run once, and print the growth in MB."""
    from tests.benchmarks.cases import CASES

    url, prefix, case, who, rows = arguments
    kinds = {type(work).__name__: work for work in CASES[case].works(url, prefix, int(rows))}
    work = kinds[who]
    work.prepare()
    work.before()
    gc.collect()
    before = _reset()
    result = work.run()
    print((_peak() - before) / 1e6)
    del result
    work.after()


def _reset() -> int:
    """Begin a new peak where the system can do that (Linux, proc(5)); return the bytes held now."""
    with suppress(OSError):
        _RESET.write_text("5")
        return _status("VmRSS")
    return _peak()


def _peak() -> int:
    if _STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of either
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
