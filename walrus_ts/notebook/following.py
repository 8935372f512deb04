"""The newest rows of one stream: the peaks of its columns of numbers, and the last rows whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from walrus_ts.columnar.labels import Label
from walrus_ts.columnar.replies import from_objects
from walrus_ts.columnar.schema import Column, Schema
from walrus_ts.frames.decoder import Decoder, Errors
from walrus_ts.frames.rows import Rows
from walrus_ts.frames.source import Source
from walrus_ts.frames.to_pandas import to_pandas
from walrus_ts.ids import TICKS, StreamId
from walrus_ts.notebook.plot import Floats, Peaks, is_number, to_floats
from walrus_ts.stacking import Part
from walrus_ts.transfer.patience import Patience
from walrus_ts.transfer.scan import Range, StreamState, pages, read_end

_NEVER = StreamState(StreamId(0, 0), 0)


@dataclass(frozen=True, slots=True)
class Line:
    """What a chart draws of a column.

    Attributes
    ----------
    stream : str
    column : label
    end_ns : int
        The time of the last point, in nanoseconds since 1970, UTC.
    times : float array, shape (n,)
        Seconds from there, so none is positive; in their order. (Since 1970, floats are not finer than 0.2 us.)
    values : float array, shape (n,)
        NaN where there is a gap.
    """

    stream: str
    column: Label
    end_ns: int
    times: Floats
    values: Floats


class Follower:
    """Reads one stream on, from where it was before.

    Parameters
    ----------
    label : str
        The stream, in the view.
    source : Source
    columns : sequence of labels, optional
        Only these; of a stream that has a record, those that are on it.
    window_ns : int
        How far back from the newest row lines reach.
    max_points : int
        Of a line.
    max_lines : int
        The first columns of numbers have one.
    errors : {"raise", "coerce"}
        What happens to a value that its column's type does not have.

    Attributes
    ----------
    schema : Schema
        Without columns, where the stream has no record.
    rows : int
        That have come since the first look.
    begun : int
        How often the window was read anew: for another stream made under the key, another record, or deleted rows.
    """

    def __init__(
        self,
        label: str,
        source: Source,
        columns: Sequence[Label] | None,
        window_ns: int,
        max_points: int,
        max_lines: int,
        errors: Errors,
    ) -> None:
        self.label, self.source = label, source
        self._columns, self._window_ns, self._errors = columns, window_ns, errors
        self._max_points, self._max_lines = max_points, max_lines
        self._state: StreamState | None = None
        self.schema = Schema(())
        self.rows = self.begun = 0
        self._decoder = Decoder(source, None)
        self._start = b"-"  # of what has not been read yet
        self._first_id = StreamId(0, 0)  # of what was read since the window was begun
        self._read_to: StreamId | None = None
        self._drawn: list[Column] = []
        self._peaks: Peaks | None = None
        self._asked: list[Label] | None = None

    def look(self, ended: Callable[[], bool]) -> None:
        """Read what has come since the last look, page by page, until that or `ended`.

        Raises
        ------
        redis.exceptions.RedisError
            The connection is lost; the next look goes on.
        """
        state, schema = self.source.look(patience_seconds=0)
        found, before = state or _NEVER, self._state
        went_back = before is not None and (found.last_id < before.last_id or found.added < before.added)
        if before is None or went_back or (schema or Schema(())) != self.schema or self._has_lost(found, before):
            self._begin(found, schema)
        if found.added and self._drawn and self._read_to != found.last_id:
            self._read_on(found, ended)
            self._read_to = found.last_id
        if before is not None:
            self.rows += found.added if went_back else found.added - before.added
        self._state = found

    @property
    def length(self) -> int:
        """How many rows the stream had at the last look."""
        return (self._state.length if self._state else None) or 0

    def _has_lost(self, state: StreamState, before: StreamState) -> bool:
        """Tell whether rows that the chart draws may have been deleted; trimming goes on and on, and is no reason."""
        removed, known = (one.added - (one.length or 0) for one in (state, before))
        return removed > known and (not state.length or (state.deleted_id or self._first_id) >= self._first_id)

    def _begin(self, state: StreamState, schema: Schema | None) -> None:
        self.schema = schema or Schema(())
        known = self._columns
        if known is not None and schema is not None:
            known = [label for label in known if schema.column(label) is not None]
        self._asked = None if known is None else list(known)
        self._drawn = _drawn(self.schema, self._asked)[: self._max_lines]
        self._decoder = Decoder(self.source, schema, [column.label for column in self._drawn], self._errors, ids=True)
        milliseconds = max(1, self._window_ns // 10**6)
        self._first_id = StreamId(max(0, state.last_id.milliseconds - milliseconds), 0)
        self._start = self._first_id.encode()
        self._read_to, self._peaks = None, None
        self.begun += 1

    def _read_on(self, state: StreamState, ended: Callable[[], bool]) -> None:
        decoder = self._decoder
        range_ = Range(self.source.records.key, self._start, state.last_id.encode(), decoder.fields, decoder.wants)
        for entries in pages(self.source.pool, range_, patience=Patience(0)):
            rows = decoder.rows(entries)
            assert rows.ids is not None  # they were asked for
            self._take(rows)
            self._start = b"(%d-%d" % tuple(rows.ids[-1].tolist())
            if ended():
                return

    def _take(self, rows: Rows) -> None:
        values = np.array([to_floats(array.combine_chunks()) for array in rows.arrays])
        last = int(rows.ticks[-1])
        if self._peaks is None:
            length = max(1, self._window_ns * TICKS[self.schema.unit] // 10**9)
            length = min(length, last + 1)  # there is nothing before 1970
            self._peaks = Peaks(last - length + 1, last, min(length, self._max_points // 2), len(self._drawn))
        first = self._peaks.reach(last)
        inside = rows.ticks >= first
        if inside.any():
            self._peaks.add(rows.ticks[inside], values[:, inside])

    def lines(self) -> list[Line]:
        """Return what there is to be drawn."""
        if self._peaks is None:
            return []
        lines = []
        for at, column in enumerate(self._drawn):
            ticks, values = self._peaks.line(at)
            a_second, last = TICKS[self.schema.unit], int(ticks[-1])
            lines.append(Line(self.label, column.label, last * 10**9 // a_second, (ticks - last) / a_second, values))
        return lines

    def newest(self, count: int) -> Part:
        """Read the last rows whole."""
        entries, schema = read_end(self.source.pool, self.source.records, max(1, count), reverse=True)
        entries = entries if count else []
        decoder = Decoder(self.source, schema, self._asked, self._errors, ids=True)
        rows = decoder.rows(from_objects(entries, decoder.fields, decoder.wants)) if entries else decoder.empty()
        assert rows.ids is not None  # they were asked for
        return Part(self.label, self.source.records.key, to_pandas(rows, self.source), rows.ids)


def _drawn(schema: Schema, asked: Sequence[Label] | None) -> list[Column]:
    """Choose what a chart draws: columns of numbers, and bools that were asked for by name."""
    if asked is None:
        return [column for column in schema.columns if is_number(column.type)]
    chosen = [column for label in asked if (column := schema.column(label)) is not None]
    return [column for column in chosen if is_number(column.type) or pa.types.is_boolean(column.type)]
