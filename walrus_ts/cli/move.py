"""Files into streams, and streams into files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from walrus_ts.cli.options import Columns, Stream, Url, Zone, labels, opened
from walrus_ts.errors import AppendError
from walrus_ts.files.csv_types import Dialect
from walrus_ts.files.kinds import kind_of
from walrus_ts.files.load import load_file
from walrus_ts.files.names import load_name
from walrus_ts.files.read import File, open_file
from walrus_ts.files.write import write_file
from walrus_ts.progress import reporting
from walrus_ts.timeseries import TimeSeriesStream
from walrus_ts.transfer.job import Appended


def load(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, help="CSV, Parquet or Feather; or a folder of Parquet files."),
    ],
    stream: Stream,
    url: Url,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of times, where there are several.")
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option("--tz", metavar="ZONE", help="The zone of times that have none in the file; others keep theirs."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--load", metavar="NAME", help="The load's name, by which it is known when it is repeated; else the file's."
        ),
    ] = None,
    late: Annotated[bool, typer.Option("--late", help="Leave out rows that are older than the stream's end.")] = False,
    evolve: Annotated[
        bool, typer.Option("--evolve", help="Widen the stream's columns where the file does not fit them.")
    ] = False,
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Create this consumer group on the stream before.")
    ] = None,
    separator: Annotated[
        str, typer.Option("--sep", metavar="CHAR", help="What stands between the values of a CSV; tab is a tab.")
    ] = ",",
    decimal: Annotated[
        str, typer.Option("--decimal", metavar="CHAR", help="What stands before a fraction in a CSV.")
    ] = ".",
    time_format: Annotated[
        str | None,
        typer.Option(
            "--time-format", metavar="FORMAT", help="How the times of a CSV are written, if not as 2024-06-03 09:30."
        ),
    ] = None,
) -> None:
    """Append a file to a stream.

    The file's name says what it is: .csv (.csv.gz, .csv.bz2), .parquet (.pq), .feather (.arrow, .ipc). Its rows are in
    the order of time. It may be larger than memory.

    \b
      walrus-ts load june.csv ticks
      walrus-ts load june.csv ticks --time at --tz Europe/Oslo
      walrus-ts load juni.csv ticks --sep ';' --decimal , --time-format '%d.%m.%Y %H:%M'

    It can be repeated, wherever it stopped: the same command, given again, stores what is missing. The file is known
    again by its name, its size, its beginning and its end.
    """
    source = open_file(file, Dialect("\t" if separator in ("tab", "\\t") else separator, decimal, time_format))
    source.time_column(time)  # before the server is asked for anything
    name = load_name(file) if name is None else name
    with opened(url, [stream], tz, group or "walrus-ts", exist=False) as series:
        if group is not None:
            series.create()
        done = _load(series[stream], source, time=time, load=name, late="skip" if late else "raise", evolve=evolve)
    facts = [f"{_rows(done.rows)} appended to {stream}"]
    if done.skipped:
        facts.append(f"{done.skipped:,} late left out")
    if earlier := source.rows - done.rows - done.skipped:
        facts.append(f"{earlier:,} dealt with before, by the load {name!r}")
    typer.echo(", ".join(facts))


def _load(stream: TimeSeriesStream, file: File, *, load: str, **options: Any) -> Appended:
    """Load a file, with errors whose cures can be typed into a shell."""
    again = "The same command, given again, stores the rest."
    try:
        return load_file(stream.append, file, load=load, **options)
    except KeyboardInterrupt:
        echoed = "\r" if sys.stderr.isatty() else ""  # over the ^C that the terminal has written
        typer.echo(f"{echoed}walrus-ts: interrupted: the first rows of {file.path} may be stored. {again}", err=True)
        raise typer.Exit(130) from None
    except AppendError as error:
        rows = error.first_row + error.appended
        why = error.__cause__ or error
        raise AppendError(
            f"{file.path}: stopped behind row {rows:,}: {why}. {again}", appended=rows, load=error.load
        ) from error


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def export(
    stream: Stream,
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="A CSV, Parquet or Feather file.")],
    url: Url,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="From here on.")] = None,
    stop: Annotated[str | None, typer.Option(metavar="TIME", help="Up to here, inclusive.")] = None,
    columns: Columns = None,
    tz: Zone = None,
) -> None:
    """Write a stream, or a range of it, into a file.

    The file's name says what it is to be: .csv (.csv.gz, .csv.bz2), .parquet (.pq) or .feather (.arrow, .ipc). The
    stream may be larger than memory. A file that is there is replaced when all is written.

    \b
      walrus-ts export ticks ticks.parquet
      walrus-ts export ticks june.csv --start 2024-06 --stop 2024-06 --columns price,size

    A time is a date, or a part of one, which stands for its whole period: --stop 2024-06 is the end of June. It is in
    the zone of the stream's times, or in that of --tz.
    """
    kind = kind_of(file)
    with opened(url, [stream], tz) as series:
        source = series[stream]
        chosen = labels(source, columns)
        total = len(source) if start is None and stop is None else None
        empty = source.scan(columns=chosen, limit=0).to_pandas()
        with reporting(None, total, f"export {stream}") as report:
            rows = write_file(source.scan(start, stop, columns=chosen), file, kind, empty, report)
    typer.echo(f"{_rows(rows)} written to {file}")
