"""``make bench``, or ``python -m tests.benchmarks``: measure, and print tables in Markdown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from uuid import uuid4

from tests.benchmarks import report, run
from tests.benchmarks.cases import CASES
from tests.benchmarks.servers import describe, serving


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000, help="rows of a frame (wide rows: a tenth); 300,000")
    parser.add_argument("--repeat", type=int, default=5, help="pairs of runs of which the median is taken; 5")
    parser.add_argument("--case", nargs="+", default=list(CASES), choices=CASES, metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--url", help="a server to use, embedded:// or redis://...; default: one on loopback TCP")
    parser.add_argument(
        "--scale",
        type=int,
        nargs="?",
        const=10_000_000,
        metavar="MOST",
        help="measure 10 thousand rows to MOST (10 million) instead of the cases",
    )
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    options = parser.parse_args(arguments)
    if options.rows < 1 or options.repeat < 1:
        parser.error("--rows and --repeat are at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parse(arguments)
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    command = f'make bench BENCH_ARGS="{given}"' if given else "make bench"
    prefix = f"bench:{uuid4().hex[:8]}:"
    with serving(options.url) as url:
        print(report.heading(describe(url), command), end="\n\n", flush=True)
        if options.scale:
            print(report.scale(run.scale(url, prefix, options.scale)))
            return 0
        lines = []
        for name in options.case:
            print(f"... {name}", file=sys.stderr, flush=True)
            memory = not options.no_memory
            lines += run.measure(CASES[name], url, prefix, options.rows, options.repeat, memory=memory)
        print(report.goals(lines), report.cases(lines), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
