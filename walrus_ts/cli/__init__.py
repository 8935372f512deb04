"""The command `walrus-ts`: what there is to do from a shell."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and end with its exit code."""
    try:
        import rich  # noqa: F401  typer prints errors and help by it
        import typer  # noqa: F401
    except ModuleNotFoundError:
        sys.exit("walrus-ts: the command needs the packages typer and rich: pip install typer rich")
    from walrus_ts.cli.app import run

    run()
