"""Options that several commands have, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from walrus_ts.columnar.labels import Label
from walrus_ts.database import URL_VARIABLE, connect
from walrus_ts.errors import ServerError, UsageError, WalrusTSError
from walrus_ts.timeseries import TimeSeries, TimeSeriesStream

Url = Annotated[
    str,
    typer.Option(
        envvar=URL_VARIABLE,
        metavar="URL",
        help="The server: redis://host:6379/0, embedded:///some/folder, and what else `walrus_ts.connect` takes.",
    ),
]
Stream = Annotated[str, typer.Argument(metavar="STREAM", help="The stream's key.")]
Zone = Annotated[str | None, typer.Option("--tz", metavar="ZONE", help="Show times in this zone.")]
Columns = Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these columns, in this order.")]
Csv = Annotated[bool, typer.Option("--csv", help="Write CSV.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, an object a line.")]


# What an error's cure for a program is on the command line, by words that the error has.
_CURES = {
    "late='skip'": "--late",
    "evolve=True": "--evolve",
    "has a naive index": "leave out --tz",
    "cannot be localised": "write the times with their offset, as in 2024-10-27 02:30+01:00",
    "the frame's is naive": "--tz ZONE",
    "begun with another frame": "--load NAME",
    "the index is out of order": "sort the file first; a CSV whose first column are such times as 2024-06-03 09:30, by "
    "`(sed -u 1q; LC_ALL=C sort -s -t, -k1,1) < FILE > NEW`",
    "a local clock was set back": "but write times of an hour that came twice with their offset before, as in "
    "2024-10-27 02:30+01:00",
    "the index has no time (NaT)": "take the rows without a time out of the file; of a CSV whose first column they "
    "are, by `grep -v '^,' FILE > NEW`",
}


@contextmanager
def opened(
    url: str, keys: Sequence[str], zone: str | None = None, group: str = "walrus-ts", *, exist: bool = True
) -> Iterator[TimeSeries]:
    """Connect to a server, and give streams of it as a time series.

    Parameters
    ----------
    url : str
    keys : sequence of str
    zone : str, optional
    group : str
        Nothing reads or creates it where it is not named.
    exist : bool
        The streams have to be there.

    Raises
    ------
    ServerError
        `exist`, and a stream is not there.
    """
    with connect(url) as db:
        series = db.time_series(group, list(keys), tz=zone)
        for key in keys:
            if exist and not db.exists(key):
                raise ServerError(f"there is no stream {key!r} on {db!r}", key=key)
        try:
            yield series
        except WalrusTSError as error:
            for words, typed in _CURES.items():
                if words in str(error):
                    error.add_note(f"On the command line that is: {typed}")
            raise


def labels(stream: TimeSeriesStream, columns: str | None) -> list[Label] | None:
    """Return the labels that ``--columns`` names, which need not be text in frames.

    Raises
    ------
    UsageError
        There is no such column.
    """
    if columns is None:
        return None
    names: list[Label] = [name.strip() for name in columns.split(",")]
    schema = stream.schema
    if schema is None:
        return names
    known = {str(column.label): column.label for column in schema.columns}
    for name in names:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise UsageError(f"stream {stream.key!r} has no column {name!r}; it has {listed}", column=name)
    return [known[name] for name in names]
