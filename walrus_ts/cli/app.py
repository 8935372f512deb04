"""All commands as one application, and how it ends."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer
from redis.exceptions import RedisError

from walrus_ts import __version__
from walrus_ts.cli.look import head, status, tail
from walrus_ts.cli.move import export, load
from walrus_ts.cli.serve import demo, serve
from walrus_ts.errors import UsageError, WalrusTSError

COMMANDS: Sequence[Callable[..., None]] = [load, export, head, tail, status, serve, demo]


def make_app() -> typer.Typer:
    """Make the typer application of all commands."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # examples in help texts stay as they are written
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=_HELP)(_main)
    for command in COMMANDS:
        app.command()(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what goes before a command."""


_HELP = """DataFrames in and out of Redis streams.

\b
  walrus-ts serve ~/market                      a server of your own; it prints its URL
  export WALRUS_TS_URL=embedded:///home/me/market
  walrus-ts load june.csv ticks
  walrus-ts tail ticks --follow
  walrus-ts export ticks june.parquet --start 2024-06 --stop 2024-06

Exit codes: 0 all went well, 1 the server or the data stood in the way, 2 the command was not understood, 130 it was
interrupted."""


def run() -> NoReturn:
    """Run the command line; what users can mend is said on stderr, without a traceback.

    The exit code is 1 for what the server or the data have to do with, and 2 for a command that cannot be carried out
    as it was written.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a command that is terminated tidies up, too
    try:
        _check(sys.argv[1:])
        make_app()(prog_name="walrus-ts")
    except KeyboardInterrupt:  # before typer began, or behind its end
        sys.exit(130)
    except (WalrusTSError, RedisError, OSError) as error:
        print("\n".join([f"walrus-ts: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        of_data = "first_row" in vars(error)  # a file's, which `load_file` counts
        sys.exit(2 if isinstance(error, UsageError) and not of_data else 1)
    sys.exit(0)


def _check(arguments: list[str]) -> None:
    """Refuse an empty argument, which as a path would be the current folder."""
    for argument in arguments:
        if not argument or re.fullmatch("--[a-z-]+=", argument):
            before = argument or " ".join(arguments[: arguments.index(argument)])
            raise UsageError(f"an argument is empty, behind {before!r}: is it a variable that has no value?")
