"""Entries of one stream -> tables and frames, by the stream's record; `Scan`, a range read when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts import pandas_io
from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.columnar import commands, text
from walrus_ts.columnar.labels import Label, same_label
from walrus_ts.columnar.replies import Entries, from_objects
from walrus_ts.columnar.schema import Column, Records, Schema, broken_record
from walrus_ts.connection import check_count
from walrus_ts.errors import DataError, SchemaError, UsageError, WalrusTSError
from walrus_ts.ids import Ids, TimeAxis, from_ids, parse_zone, zone_name
from walrus_ts.pandas_io.read_few import FewRows, reading
from walrus_ts.progress import Bar
from walrus_ts.transfer.scan import Range, StreamState, fix_end, look, pages, read_end
from walrus_ts.transfer.wire import GRACE_SECONDS, persist

if TYPE_CHECKING:
    from datetime import tzinfo
    from os import PathLike

    import polars as pl

    from walrus_ts.cluster import Pool

Errors = Literal["raise", "coerce"]
STREAM_ID = "stream_id"
_LARGE = 64 << 20  # bytes
FEW = 100  # rows that are read at one round trip
_NO_RECORD = Schema((), unit="ms")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream's rows come from.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    records : Records
    zone : tzinfo, optional
        The series' own: its frames come back in it.
    """

    pool: Pool
    records: Records
    zone: tzinfo | None = None

    @property
    def where(self) -> str:
        """The stream, in an error."""
        return f"stream {self.records.key.decode(errors='backslashreplace')!r}"

    def recorded(self) -> Schema | None:
        """Return the stream's schema; None where it has none."""
        return persist(self.pool, lambda wire: look(wire, self.records), GRACE_SECONDS)[1]

    def look(self, patience_seconds: float = GRACE_SECONDS) -> tuple[StreamState | None, Schema | None]:
        """Return the stream's state, and the schema that frames are made by; None for what there is not."""
        state, schema = persist(self.pool, lambda wire: look(wire, self.records), patience_seconds)
        if schema is not None:
            self.check_zone(schema)
        return state, schema

    def check_zone(self, schema: Schema) -> None:
        """Refuse a series with a zone over a stream whose times are naive, and a zone that is not known here."""
        self._zone_of(schema)
        if self.zone is not None and schema.zone is None:
            raise SchemaError(
                f"{self.where} has a naive index, and the time series has the zone {self.zone}. Read it with a series "
                "without `tz`, and localise the frame: `frame.tz_localize(...)`.",
                key=self.records.key,
                tz=self.zone,
            )

    def _zone_of(self, schema: Schema) -> tzinfo | None:
        """Return the zone of the index on record."""
        try:
            return parse_zone(schema.zone)
        except UsageError as error:
            record = self.records.schema
            raise DataError(
                f"{record.decode(errors='backslashreplace')} has the zone {schema.zone!r:.80}, not known here. "
                "`pip install tzdata` brings those that the system lacks; `stream.declare(..., tz=...)` names another.",
                key=record,
                tz=schema.zone,
            ) from error

    def axis(self, schema: Schema | None) -> TimeAxis:
        """Return how bounds become ids: strings and naive times are in the zone of the index that comes back."""
        zone = self._zone_of(schema) if schema else None
        return TimeAxis(schema.unit if schema else None, self.zone or zone)


@dataclass(slots=True)
class Rows:
    """Rows of a stream as Arrow has them.

    Attributes
    ----------
    schema : Schema
        Of `arrays`: the columns that were asked for, then fields that the record does not know.
    arrays : list of ChunkedArray, shape (k,), each (n,)
    ticks : int64 array, shape (n,)
        The index, in the schema's unit, UTC.
    ids : uint64 array, shape (n, 2), optional
        Milliseconds and sequences, where they were asked for.
    """

    schema: Schema
    arrays: list[pa.ChunkedArray]
    ticks: np.ndarray[Any, Any]
    ids: Ids | None


class Decoder:
    """Makes rows of entries, by a schema.

    Parameters
    ----------
    source : Source
    schema : Schema, optional
        The stream's; without one, every field is a column of text.
    columns : sequence of labels, optional
        Only these, in this order.
    errors : {"raise", "coerce"}
        What happens to a value that its column's type does not have: `DataError`, or null.
    ids : bool
        Keep the ids.
    """

    def __init__(
        self,
        source: Source,
        schema: Schema | None,
        columns: Sequence[Label] | None = None,
        errors: Errors = "raise",
        *,
        ids: bool = False,
    ) -> None:
        if errors not in ("raise", "coerce"):
            raise UsageError(f"errors is 'raise' or 'coerce'; found {errors!r}", errors=errors)
        self.source = source
        self.known = schema or replace(_NO_RECORD, zone=None if source.zone is None else zone_name(source.zone))
        self.errors = errors
        self.ids = ids
        self._all = columns is None
        if columns is None:
            self.schema = self.known
        else:
            chosen = [self._choose(label, free=schema is None) for label in columns]
            self.schema = replace(self.known, columns=tuple(chosen))
        self._fields = {column.field for column in self.schema.columns}
        self._known_fields = set(self.known.fields)

    def _choose(self, label: Label, *, free: bool) -> Column:
        column = self.known.column(label)
        if column is not None:
            return column
        if free and isinstance(label, str) and label:
            return _text_column(label.encode())
        known = ", ".join(repr(c.label) for c in self.known.columns)
        raise UsageError(f"{self.source.where} has no column {label!r}; it has {known}", column=label)

    @property
    def fields(self) -> list[bytes]:
        """The fields that entries are expected to have."""
        return self.known.fields or self.schema.fields

    def wants(self, field: bytes) -> bool:
        """Tell whether a field's values are needed."""
        return field in self._fields or (self._all and field not in self._known_fields)

    def rows(self, entries: Entries) -> Rows:
        """Decode entries.

        Raises
        ------
        DataError
            A value, or an id, is none of its column's type; names key, id, column and value.
        """
        schema = self._with_extras(entries)
        ticks = from_ids(entries.milliseconds, entries.sequence, schema.unit, self.source.where)
        missing = pa.nulls(len(entries), pa.binary())
        with _by_record(self.source.records):
            arrays = [
                self._decode(entries.columns.get(column.field, missing), column, entries) for column in schema.columns
            ]
        ids = np.column_stack((entries.milliseconds, entries.sequence)) if self.ids else None
        return Rows(schema, [pa.chunked_array([array]) for array in arrays], ticks, ids)

    def empty(self) -> Rows:
        """Return no rows, of the right columns."""
        arrays = [pa.chunked_array([], column.type) for column in self.schema.columns]
        return Rows(self.schema, arrays, np.zeros(0, np.int64), np.zeros((0, 2), np.uint64) if self.ids else None)

    def _with_extras(self, entries: Entries) -> Schema:
        if not self._all:
            return self.schema
        extras = [
            _text_column(field)
            for field, values in entries.columns.items()
            if field not in self._known_fields and not _is_filler(field, values)
        ]
        if not extras:
            return self.schema
        labels = None if self.known.columns else self.known.labels
        return replace(self.schema, columns=(*self.schema.columns, *extras), labels=labels)

    def _decode(self, values: pa.Array, column: Column, entries: Entries) -> pa.Array:
        try:
            array = text.decode(values, column.type)
        except pa.ArrowInvalid as error:
            if self.errors == "raise":
                row = text.first_bad(values, column.type)
                raise self._bad_value(column, entries.id_at(row), values[row].as_py()) from error
            array = text.coerce(values, column.type)
        known = column.known_values()
        if known is not None:
            array = self._known_values(array, known, values, column, entries)
        if not column.nullable and array.null_count and self.errors == "raise":
            row = array.is_null().index(True).as_py()
            raise self._bad_value(column, entries.id_at(row), None)
        return array

    def _known_values(
        self, array: pa.Array, known: pa.Array, values: pa.Array, column: Column, entries: Entries
    ) -> pa.Array:
        """Hold values against a column's categories."""
        unknown = pc.and_(pc.is_valid(array), pc.invert(pc.is_in(array, value_set=known)))
        row = unknown.index(True).as_py()
        if row < 0:
            return array
        if self.errors == "raise":
            raise self._bad_value(column, entries.id_at(row), values[row].as_py())
        return pc.if_else(unknown, pa.scalar(None, array.type), array)

    def _bad_value(self, column: Column, id_: str, value: bytes | None) -> DataError:
        found = "no value" if value is None else repr(value[:80])
        cure = "`errors='coerce'` makes a null of it"
        if value is None:
            cure += "; so does a dtype that has nulls (`declare`)"
        known = column.known_values()
        expected = str(column.type) if known is None else f"one of {len(known)} categories"
        if known is not None:
            cure += f"; `declare({{{column.label!r}: 'str', ...}})` reads it as text"
        return DataError(
            f"column {column.label!r} of {self.source.where} holds {expected}, and the entry {id_} has "
            f"{found} there. {cure}.",
            key=self.source.records.key,
            id=id_,
            column=column.label,
            value=value,
        )


def _text_column(field: bytes) -> Column:
    return Column(field.decode(errors="backslashreplace"), field, pa.string())


def _is_filler(field: bytes, values: pa.Array) -> bool:
    """Tell whether a field is the empty one of rows with nothing in them."""
    return field == b"" and not pc.any(pc.not_equal(values.cast(pa.binary()), b"")).as_py()


def combine(pieces: Iterable[Rows], empty: Rows) -> Rows:
    """Join rows that follow each other; columns that not all of them have come last, null where they are missing.

    Small pieces are copied into large ones as they come: the memory of large ones goes back to the system when they are
    converted, that of small ones stays with Arrow.
    """
    parts: list[Rows] = []
    small: list[Rows] = []
    size = 0
    for piece in pieces:
        small.append(piece)
        size += sum(array.nbytes for array in piece.arrays)
        if size >= _LARGE:
            parts.append(_compact(_joined(small)))
            small, size = [], 0
    return _joined([*parts, *small] or [empty])


def _compact(rows: Rows) -> Rows:
    return replace(rows, arrays=[pa.chunked_array([array.combine_chunks()], array.type) for array in rows.arrays])


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    widest = max((part.schema for part in parts), key=lambda schema: len(schema.columns))
    columns = {column.field: column for part in parts for column in part.schema.columns}
    return Rows(
        replace(widest, columns=tuple(columns.values())),
        [_join([_column_of(part, column) for part in parts]) for column in columns.values()],
        np.concatenate([part.ticks for part in parts]),
        None if parts[0].ids is None else np.concatenate([part.ids for part in parts if part.ids is not None]),
    )


def _column_of(rows: Rows, column: Column) -> pa.ChunkedArray:
    for array, own in zip(rows.arrays, rows.schema.columns, strict=True):
        if own.field == column.field:
            return array
    return pa.chunked_array([pa.nulls(len(rows.ticks), column.type)])


def _join(arrays: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for array in arrays for chunk in array.chunks], arrays[0].type)


def to_pandas(
    rows: Rows, source: Source, backend: pandas_io.Backend | None = None, *, ids: bool = False
) -> pd.DataFrame:
    """Make a DataFrame of rows, which are used up; `ids` adds the column `stream_id`."""
    with _by_record(source.records):
        frame = pandas_io.to_frame(rows.ticks, rows.arrays, rows.schema, backend=backend, zone=source.zone)
    return frame if rows.ids is None or not ids else with_ids(frame, rows.ids)


def read_few(entries: Sequence[Any], schema: Schema, source: Source) -> FewRows | None:
    """Read a few plain entries, without Arrow; None where they are others."""
    with _by_record(source.records):
        plan = reading(schema)
        return None if plan is None else plan.read(entries)


@contextmanager
def _by_record(records: Records) -> Iterator[None]:
    """Say of what Arrow and pandas cannot make that the record of the stream's types and labels is broken."""
    try:
        yield
    except (WalrusTSError, MemoryError):
        raise
    except Exception as error:  # which one it is depends on what is broken, and on their versions
        raise broken_record(records.schema, f"describes columns that cannot be made: {error!s:.200}") from error


def with_ids(frame: pd.DataFrame, ids: Ids) -> pd.DataFrame:
    """Add the column `stream_id` to a frame.

    Parameters
    ----------
    frame : DataFrame, shape (n, k)
    ids : uint64 array, shape (n, 2)

    Raises
    ------
    UsageError
        The data have a column of that name.
    """
    if STREAM_ID in frame.columns:
        raise UsageError(
            f"the data have a column {STREAM_ID!r} of their own; leave it out by `columns=`", column=STREAM_ID
        )
    frame = frame.copy(deep=False)
    texts = commands.id_texts(ids[:, 0], ids[:, 1]).cast(pa.string())
    frame[pandas_io.full_label(frame.columns, STREAM_ID)] = pd.array(texts.to_pylist(), dtype="str")
    return frame


class Scan:
    """A range of a stream, read when it is needed and each time anew.

    Made by `TimeSeriesStream.scan`. It goes wherever Arrow data go: ``pa.table(scan)``, ``polars.DataFrame(scan)``,
    ``duckdb.sql("select * from scan")``. What is appended while it is read is not part of it: its end is fixed when it
    begins.

    Parameters
    ----------
    source : Source
    start, stop : bound, optional
        Inclusive; as in `TimeSeriesStream.frame`.
    columns : sequence of labels, optional
        Only these, in this order.
    limit : int, optional
        Rows at most.
    errors : {"raise", "coerce"}
        What happens to a value that its column's type does not have: `DataError`, or null.
    """

    def __init__(
        self,
        source: Source,
        start: Any = None,
        stop: Any = None,
        *,
        columns: Sequence[Label] | None = None,
        limit: int | None = None,
        errors: Errors = "raise",
    ) -> None:
        self._source = source
        self._start, self._stop = start, stop
        self._columns = None if columns is None else label_list(columns)
        self._limit = check_count(limit, "limit", minimum=0)
        self._errors = errors

    def __repr__(self) -> str:
        start = "its beginning" if self._start is None else repr(self._start)
        stop = "its end" if self._stop is None else repr(self._stop)
        return ", ".join([f"<Scan of {self._source.where} from {start} to {stop}", *self._options()]) + ">"

    def _options(self) -> list[str]:
        """List in words what else than the bounds was asked for."""
        return [
            *([] if self._columns is None else [f"columns {', '.join(map(repr, self._columns))}"]),
            *([] if self._limit is None else [f"{self._limit:,} rows at most"]),
            *([] if self._errors == "raise" else ["errors become nulls"]),
        ]

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import scan_html

        return scan_html(self)

    def to_pandas(
        self, dtype_backend: pandas_io.Backend | None = None, *, ids: bool = False, reverse: bool = False
    ) -> pd.DataFrame:
        """Read the range into a DataFrame.

        Parameters
        ----------
        dtype_backend : {"numpy_nullable", "pyarrow"}, optional
            As in pandas; without it, the dtypes that went in.
        ids : bool
            Add the column `stream_id`, text.
        reverse : bool
            Count `limit` from the end; the rows are in the order of time all the same.

        Returns
        -------
        DataFrame
            Its index is a DatetimeIndex. An empty range gives an empty frame with the right columns and dtypes.

        Raises
        ------
        DataError
            A value does not fit its column; names key, id, column and value.
        """
        if self._start is None and self._stop is None and self._limit is not None and self._limit <= FEW:
            return self._read_few(self._limit, dtype_backend, ids=ids, reverse=reverse)
        return to_pandas(self._rows(ids=ids, reverse=reverse), self._source, dtype_backend, ids=ids)

    def to_arrow(self) -> pa.Table:
        """Read the range into a pyarrow Table; its first column is the index, ``"time"`` where it has no name.

        Names are text there, and all different: a label that is no string, and the index, get a number behind their
        name where another column has it: ``"time_1"``.
        """
        return self._arrow(self._rows())

    def to_polars(self) -> pl.DataFrame:
        """Read the range into a polars DataFrame; names are as in `to_arrow`.

        polars has no zones that are a fixed offset, like ``"+05:30"``: such times come in UTC.
        """
        import polars

        frame = polars.from_arrow(_without_offsets(self.to_arrow()))
        assert isinstance(frame, polars.DataFrame)
        return frame

    def frames(self, rows: int = 100_000) -> Iterator[pd.DataFrame]:
        """Read the range as DataFrames of `rows` rows, the last one shorter, in bounded memory.

        Raises
        ------
        DataError
            An entry has a field that the record does not know: all frames have the same columns, so `declare` it.
        """
        if rows < 1:
            raise UsageError(f"rows is a number of rows, at least 1; found {rows}", rows=rows)
        for piece in self._pieces(rows):
            yield to_pandas(piece, self._source)

    def record_batches(self) -> Iterator[pa.RecordBatch]:
        """Read the range as Arrow record batches, in bounded memory."""
        yield from self._reader()

    def to_parquet(self, path: str | PathLike[str]) -> int:
        """Write the range into a Parquet file, in bounded memory; return how many rows.

        `pandas.read_parquet` makes the frame of it that `to_pandas` does. A file that is there is replaced when all is
        written.

        Parameters
        ----------
        path : str or path
        """
        from walrus_ts.files.write import write_file

        empty = Scan(self._source, columns=self._columns, limit=0).to_pandas()
        return write_file(self, Path(path), "parquet", empty)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the range over as an Arrow stream (the Arrow PyCapsule interface)."""
        return self._reader().__arrow_c_stream__(requested_schema)

    # ------------------------------------------------------------------------------------------------------------------

    def _rows(self, *, ids: bool = False, reverse: bool = False) -> Rows:
        """Read the range as Arrow has it, beside the schema that says what frame it stands for."""
        decoder, range_ = self._begin(ids=ids)
        name = self._source.records.key.decode(errors="backslashreplace")
        with Bar(f"read {name}", range_.expected if range_ else None) as bar:
            rows = combine(_told(self._pages(decoder, range_, reverse=reverse), bar), decoder.empty())
        return _reversed(rows) if reverse else rows

    def _begin(self, *, ids: bool = False) -> tuple[Decoder, Range | None]:
        """Look at the stream: what its columns are, and where the scan ends."""
        state, schema = self._source.look()
        decoder = Decoder(self._source, schema, self._columns, self._errors, ids=ids)
        axis = self._source.axis(schema)
        start, stop = lower_id(self._start, axis), upper_id(self._stop, axis)
        if state is None:
            return decoder, None
        key, limit = self._source.records.key, self._limit
        expected = state.length if self._start is None and self._stop is None else None
        if expected is not None and limit is not None:
            expected = min(expected, limit)
        return decoder, Range(key, start, fix_end(state, stop), decoder.fields, decoder.wants, limit, expected)

    def _pages(self, decoder: Decoder, range_: Range | None, *, reverse: bool = False) -> Iterator[Rows]:
        if range_ is not None:
            for entries in pages(self._source.pool, range_, reverse=reverse):
                yield decoder.rows(entries)

    def _read_few(self, limit: int, backend: pandas_io.Backend | None, *, ids: bool, reverse: bool) -> pd.DataFrame:
        """Read a few rows at one round trip: no bounds have to wait for the record."""
        source = self._source
        entries, schema = read_end(source.pool, source.records, max(1, limit), reverse=reverse)
        if schema is not None:
            source.check_zone(schema)
        entries = entries[:limit]
        if schema and entries and backend is None and self._columns is None and not ids:
            few = read_few(entries, schema, source)
            if few is not None:
                return few.frame(source.zone)
        decoder = Decoder(source, schema, self._columns, self._errors, ids=ids)
        rows = decoder.rows(from_objects(entries, decoder.fields, decoder.wants)) if entries else decoder.empty()
        return to_pandas(rows, source, backend, ids=ids)

    def _pieces(self, size: int) -> Iterator[Rows]:
        """Read rows in pieces of one size and one schema."""
        decoder, range_ = self._begin()
        waiting: list[Rows] = []
        count = 0
        for page in self._pages(decoder, range_):
            if len(page.schema.columns) > len(decoder.schema.columns):
                raise self._unknown_field(page, decoder)
            waiting.append(page)
            count += len(page.ticks)
            while count >= size:
                rows = combine(waiting, page)
                yield _slice(rows, 0, size)
                waiting = [_slice(rows, size, None)]
                count -= size
        if count:
            yield combine(waiting, waiting[0])

    def _unknown_field(self, page: Rows, decoder: Decoder) -> DataError:
        column = page.schema.columns[len(decoder.schema.columns)]
        return DataError(
            f"{self._source.where} has entries with a field that its record does not know: {column.field!r}. What is "
            "read piece by piece needs its columns before: `declare` them, or name those you want by `columns=`.",
            key=self._source.records.key,
            column=column.label,
        )

    def _reader(self) -> pa.RecordBatchReader:
        decoder, range_ = self._begin()

        def batches() -> Iterator[pa.RecordBatch]:
            for page in self._pages(decoder, range_):
                if len(page.schema.columns) > len(decoder.schema.columns):
                    raise self._unknown_field(page, decoder)
                yield from self._arrow(page).to_batches()

        return pa.RecordBatchReader.from_batches(self._arrow(decoder.empty()).schema, batches())

    def _arrow(self, rows: Rows) -> pa.Table:
        schema = rows.schema
        zone = None if schema.zone is None else zone_name(self._source.zone or schema.zone)
        times = pa.array(rows.ticks).view(pa.timestamp(schema.unit)).view(pa.timestamp(schema.unit, zone))
        return pa.table([times, *rows.arrays], names=_arrow_names(schema))


def _arrow_names(schema: Schema) -> list[str]:
    """Name the index and the columns for Arrow, where names are text, and no two are equal (`Scan.to_arrow`)."""
    labels = [column.label for column in schema.columns]
    used = {label for label in labels if isinstance(label, str)}
    names = [label if isinstance(label, str) else _free_name(str(label), used) for label in labels]
    return [_free_name("time" if schema.name is None else str(schema.name), used), *names]


def _free_name(base: str, used: set[str]) -> str:
    """Return a name that is not used yet, and count it among those that are."""
    name, number = base, 0
    while name in used:
        number += 1
        name = f"{base}_{number}"
    used.add(name)
    return name


def _without_offsets(table: pa.Table) -> pa.Table:
    """Bring times with a fixed offset to UTC: polars knows no zones like ``"+05:30"``."""
    fields = [
        field.with_type(pa.timestamp(field.type.unit, "UTC"))
        if pa.types.is_timestamp(field.type) and (field.type.tz or "")[:1] in ("+", "-")
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def label_list(columns: Any) -> list[Label]:
    """Return the labels that `columns=` names.

    Raises
    ------
    UsageError
        It is no list of labels, or names one twice.
    """
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise UsageError(
            f"columns is a list of labels; found {columns!r}. Write columns=[{columns!r}].", columns=columns
        )
    labels = list(columns)
    for position, label in enumerate(labels):
        if any(same_label(label, other) for other in labels[:position]):
            raise UsageError(f"columns names {label!r} twice", column=label)
    return labels


def _told(pieces: Iterable[Rows], bar: Bar) -> Iterator[Rows]:
    """Tell a bar of rows that come by."""
    for piece in pieces:
        bar.update(len(piece.ticks))
        yield piece


def _slice(rows: Rows, start: int, stop: int | None) -> Rows:
    chosen = slice(start, stop)
    arrays = [array[chosen] for array in rows.arrays]
    return Rows(rows.schema, arrays, rows.ticks[chosen], None if rows.ids is None else rows.ids[chosen])


def _reversed(rows: Rows) -> Rows:
    order = np.arange(len(rows.ticks))[::-1]
    arrays = [array.take(pa.array(order)) for array in rows.arrays]
    return Rows(rows.schema, arrays, rows.ticks[order], None if rows.ids is None else rows.ids[order])
