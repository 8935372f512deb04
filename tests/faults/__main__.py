"""``make faults``, or ``python -m tests.faults``: do all faults many times, and print a table."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple

from tests.faults.catalogue import FAULTS, suffer
from tests.faults.refusals import can_mount

_HEAD = ("fault", "injected", "rows", "lost", "twice", "errors", "seconds")
_LINE = "{:<32}{:>9,}{:>12,}{:>6,}{:>7,}{:>8,}{:>9,.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print a line a fault; 1 where a row was lost, or is there twice, or anything else was wrong."""
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="fault", help=f"which: {', '.join(FAULTS)}; all of them")
    parser.add_argument("--seed", type=int, help="of where harm is done; another one each time")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times more often than usual; 1")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - FAULTS.keys()
    if unknown:
        parser.error(f"there are no faults {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}")
    print(_LINE.replace(",", "").replace(".0f", "").format(*_HEAD), flush=True)
    sums, wrong = [0, 0, 0, 0, 0, 0.0], []
    for name in options.names or FAULTS:
        if name == "full-disk" and not can_mount():
            print("disk full (embedded)             needs root's right to mount a small disk, and was not done")
            continue
        begun = time.monotonic()
        try:
            tally = suffer(name, max(1, round(FAULTS[name][1] * options.scale)), seed)
        except Exception as error:
            wrong.append(name)
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            continue
        label, *counts = *astuple(tally), time.monotonic() - begun
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        print(_LINE.format(label, *counts), flush=True)
        if tally.lost or tally.twice:
            wrong.append(name)
    print(_LINE.format("together", *sums))
    if wrong:
        print(f"wrong: {', '.join(wrong)}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
