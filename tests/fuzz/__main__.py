"""``make fuzz``, or ``python -m tests.fuzz --seconds 60``: exits with 77 where a finding is, and prints its bytes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["walrus_ts.columnar"]):
    from tests.fuzz.targets import run, seeds


def main(arguments: Sequence[str] | None = None) -> None:
    """Fuzz for some seconds, beginning with the seeds and what a folder has."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long; 60")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was found to be of interest")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds()):
            Path(folder, str(number)).write_bytes(data)
        corpora = [folder] if options.corpus is None else [str(options.corpus), folder]
        limits = [f"-max_total_time={options.seconds}", "-max_len=2048", "-rss_limit_mb=4096", "-timeout=10"]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", "-print_final_stats=1", *corpora], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
