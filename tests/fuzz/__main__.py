"""``make fuzz``, or ``python -m tests.fuzz --seconds 60``: exits with 77 where a finding is, and prints its bytes."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROUND_SECONDS = 60  # then a new process goes on: atheris keeps some 4 KB of each execution (the targets alone do not)
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fuzz for some seconds, beginning with the seeds and what a folder has."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long; 60")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was found to be of interest")
    options = parser.parse_args(arguments)
    if options.seconds <= ROUND_SECONDS:
        fuzz(options.seconds, options.corpus)
    else:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(rounds(options.seconds, options.corpus or Path(folder)))


def rounds(seconds: int, corpus: Path) -> int:
    """Fuzz in one process after the other, each with what those before it found; return the last one's exit code."""
    executed = 0
    for done in range(0, seconds, ROUND_SECONDS):
        left = min(ROUND_SECONDS, seconds - done)
        command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(left), "--corpus", str(corpus)]
        child = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        executed += sum(map(int, _EXECUTED.findall(child.stderr)))
        print(f"{done + left:,} of {seconds:,} s, {executed:,} executions", flush=True)
        if child.returncode:
            sys.stderr.write(child.stderr)
            return child.returncode
    return 0


def fuzz(seconds: int, corpus: Path | None) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["walrus_ts.columnar"]):
        from tests.fuzz.targets import run, seeds

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds()):
            Path(folder, str(number)).write_bytes(data)
        corpora = [folder] if corpus is None else [str(corpus), folder]
        limits = [f"-max_total_time={seconds}", "-max_len=2048", "-rss_limit_mb=4096", "-timeout=10"]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", "-print_final_stats=1", *corpora], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
