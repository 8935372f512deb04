"""``make soak``, or ``python -m tests.soak``: work for ten minutes, print what is in use, and fail where it grows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.soak.samples import Sample, grown
from tests.soak.work import soak

_HEAD = ("seconds", "rows", "memory MB", "Arrow MB", "objects", "threads", "files", "connections", "server MB")
_LINE = "{:>8,.0f}{:>12,}{:>11,.1f}{:>10,.1f}{:>10,}{:>9,}{:>7,}{:>13,}{:>11,.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print a line a sample; 1 where something has grown."""
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long; 10")
    parser.add_argument("--samples", type=int, default=40, help="lines of the table; 40")
    options = parser.parse_args(arguments)
    print(_LINE.replace(",.0f", "").replace(",.1f", "").replace(",", "").format(*_HEAD), flush=True)

    def tell(seconds: float, rows: int, sample: Sample) -> None:
        print(_LINE.format(seconds, rows, *sample), flush=True)

    found = grown(soak(60 * options.minutes, options.samples, tell))
    for name, (before, behind) in found.items():
        print(f"{name} has grown, from {before:,.1f} in the second quarter to {behind:,.1f} in the last")
    if not found:
        print("nothing has grown")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
