"""The command `walrus-ts`: what there is to do from a shell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


def command() -> Callable[[], NoReturn]:
    """Import the command line, and return what runs it (`app.run`)."""
    try:
        import rich  # noqa: F401  typer prints errors and help by it
        import typer  # noqa: F401
    except ModuleNotFoundError:
        sys.exit("walrus-ts: the command needs the packages typer and rich: pip install typer rich")
    from walrus_ts.cli.app import run

    return run


def main() -> NoReturn:
    """Run the command line, and end with its exit code."""
    command()()
