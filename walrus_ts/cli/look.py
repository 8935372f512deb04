"""What is in streams, and how groups stand with them."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Annotated

import typer
from redis.exceptions import ResponseError
from rich.console import Console

from walrus_ts.cli.options import Columns, Csv, Json, Stream, Url, Zone, labels, opened
from walrus_ts.cli.output import Output, chosen_form, until_interrupted
from walrus_ts.columnar.labels import Label
from walrus_ts.ids import StreamId
from walrus_ts.timeseries import TimeSeriesStream

_PAUSE = 0.2  # seconds between two looks of `tail --follow`

Rows = Annotated[int, typer.Option("-n", metavar="N", min=0, help="How many rows.")]


def head(
    stream: Stream,
    url: Url,
    rows: Rows = 5,
    columns: Columns = None,
    tz: Zone = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Show the first rows of a stream.

    \b
      walrus-ts head ticks
      walrus-ts head ticks -n 100 --columns price,size --csv
    """
    output = Output(chosen_form(csv, json))
    with opened(url, [stream], tz) as series:
        source = series[stream]
        output.write(source.scan(columns=labels(source, columns), limit=rows).to_pandas())


def tail(
    stream: Stream,
    url: Url,
    rows: Rows = 5,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new rows as they come.")] = False,
    columns: Columns = None,
    tz: Zone = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Show the last rows of a stream, and the new ones as they come.

    \b
      walrus-ts tail ticks
      walrus-ts tail ticks --follow
      walrus-ts tail ticks --follow --json | jq .price

    Ctrl-C ends it.
    """
    output = Output(chosen_form(csv, json))
    with opened(url, [stream], tz) as series, until_interrupted():
        source = series[stream]
        chosen = labels(source, columns)
        end = _last_id(source)
        output.write(source.scan(stop=end.encode(), columns=chosen, limit=rows).to_pandas(reverse=True))
        while follow:
            time.sleep(_PAUSE)
            end = _write_new(source, end, chosen, output)


def _write_new(stream: TimeSeriesStream, end: StreamId, columns: list[Label] | None, output: Output) -> StreamId:
    """Write the rows behind an id, and return the stream's last one."""
    last = _last_id(stream)
    if last < end:
        end = StreamId(0, 0)  # another stream, made under the key
    if last > end:
        start = StreamId(end.milliseconds, end.sequence + 1)
        frame = stream.scan(start.encode(), last.encode(), columns=columns).to_pandas()
        if len(frame):
            output.write(frame)
    return last


def _last_id(stream: TimeSeriesStream) -> StreamId:
    """Return the last id that a stream has generated; the lowest where there is no stream."""
    with suppress(ResponseError):
        return StreamId.parse(stream.info()["last-generated-id"])
    return StreamId(0, 0)


def status(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The consumer group's name.")],
    streams: Annotated[list[str], typer.Argument(metavar="STREAM", help="The streams' keys.")],
    url: Url,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
    tz: Zone = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Show how a consumer group stands with its streams.

    Of each stream: its length, its first and its last time, rows that the group has not read yet (lag), rows that it
    has read and not acknowledged (pending), the oldest of these, and the group's consumers.

    \b
      walrus-ts status research ticks quotes
      walrus-ts status research ticks --watch

    Ctrl-C ends it.
    """
    form = chosen_form(csv, json)
    with opened(url, streams, tz, group, exist=False) as series, until_interrupted():
        while True:
            frame = series.status()
            if watch and form == "table" and sys.stdout.isatty():
                Console().clear()
            Output(form).write(frame)
            if not watch:
                break
            time.sleep(2)
