"""``make torture``, or ``python -m tests.torture``: torture by several seeds, and print a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tests.torture.run import torture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print a line a seed; 1 where a row was lost, or done twice in a transaction."""
    parser = argparse.ArgumentParser("python -m tests.torture", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows that are appended; 200,000")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each mode; 10")
    options = parser.parse_args(arguments)
    failed = 0
    for mode in ("transaction", "ack"):
        for seed in range(options.seeds):
            outcome = torture(mode, options.rows, seed)
            wrong = outcome.missing or outcome.pending or (mode == "transaction" and outcome.twice)
            failed += bool(wrong)
            facts = ", ".join(
                f"{name} {value:,.0f}" if isinstance(value, float) else f"{name} {value:,}"
                for name, value in asdict(outcome).items()
            )
            print(f"{'WRONG' if wrong else 'right'}  {mode:<11}  seed {seed}: {facts}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
