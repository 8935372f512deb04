"""`Scan`: a range of a stream, read when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.columnar.labels import Label
from walrus_ts.columnar.replies import from_objects
from walrus_ts.columnar.schema import shown
from walrus_ts.connection import check_count, require_count
from walrus_ts.errors import DataError
from walrus_ts.frames.decoder import Decoder, Errors, declaration, label_list
from walrus_ts.frames.rows import Rows, combine, reverse_rows, slice_rows
from walrus_ts.frames.source import Source
from walrus_ts.frames.to_arrow import to_arrow, without_offsets
from walrus_ts.frames.to_pandas import FEW, to_pandas
from walrus_ts.pandas_io import Backend
from walrus_ts.progress import Bar
from walrus_ts.transfer.scan import Range, fix_end, pages, read_end

if TYPE_CHECKING:
    from os import PathLike

    import polars as pl


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
        self, dtype_backend: Backend | None = None, *, ids: bool = False, reverse: bool = False
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
        return to_arrow(self._rows(), self._source)

    def to_polars(self) -> pl.DataFrame:
        """Read the range into a polars DataFrame; names are as in `to_arrow`.

        polars has no zones that are a fixed offset, like ``"+05:30"``: such times come in UTC.
        """
        import polars

        frame = polars.from_arrow(without_offsets(self.to_arrow()))
        assert isinstance(frame, polars.DataFrame)
        return frame

    def frames(self, rows: int = 100_000) -> Iterator[pd.DataFrame]:
        """Read the range as DataFrames of `rows` rows, the last one shorter, in bounded memory.

        Raises
        ------
        UsageError
            `rows` is no whole number of 1 or more.
        DataError
            An entry has a field that the record does not know: all frames have the same columns, so `declare` it.
        """
        size = require_count(rows, "rows")
        return (to_pandas(piece, self._source) for piece in self._pieces(size))

    def record_batches(self) -> Iterator[pa.RecordBatch]:
        """Read the range as Arrow record batches, in bounded memory."""
        yield from self._reader()

    def to_parquet(self, path: str | PathLike[str]) -> int:
        """Write the range into a Parquet file, in bounded memory; return how many rows.

        `pandas.read_parquet` makes the frame of it that `to_pandas` does; but columns' labels of several types, or of
        several levels, are text in a file. A file that is there is replaced when all is written, and keeps its mode.

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
        name = shown(self._source.records.key)
        with Bar(f"read {name}", range_.expected if range_ else None) as bar:
            rows = combine(_told(self._pages(decoder, range_, reverse=reverse), bar), decoder.empty())
        return reverse_rows(rows) if reverse else rows

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

    def _pages_of_one_schema(self, decoder: Decoder, range_: Range | None) -> Iterator[Rows]:
        """Read pages that all have the decoder's columns."""
        for page in self._pages(decoder, range_):
            if len(page.schema.columns) > len(decoder.schema.columns):
                raise self._unknown_field(page, decoder)
            yield page

    def _unknown_field(self, page: Rows, decoder: Decoder) -> DataError:
        column = page.schema.columns[len(decoder.schema.columns)]
        return DataError(
            f"{self._source.where} has entries with a field that its record does not know: {column.field!r}. What is "
            f"read piece by piece needs its columns before: `{declaration(decoder.known, column.label, repr('str'))}` "
            "with all of them, or name those you want by `columns=`.",
            key=self._source.records.key,
            column=column.label,
        )

    def _read_few(self, limit: int, backend: Backend | None, *, ids: bool, reverse: bool) -> pd.DataFrame:
        """Read a few rows at one round trip: no bounds have to wait for the record."""
        source = self._source
        entries, schema = read_end(source.pool, source.records, max(1, limit), reverse=reverse)
        if schema is not None:
            source.check_zone(schema)
        entries = entries[:limit]
        decoder = Decoder(source, schema, self._columns, self._errors, ids=ids)
        if schema and entries and backend is None and self._columns is None and not ids and decoder.few is not None:
            few = decoder.few.read(entries)
            if few is not None:
                return few.frame(source.zone)
        rows = decoder.rows(from_objects(entries, decoder.fields, decoder.wants)) if entries else decoder.empty()
        return to_pandas(rows, source, backend, ids=ids)

    def _pieces(self, size: int) -> Iterator[Rows]:
        """Read rows in pieces of one size and one schema."""
        decoder, range_ = self._begin()
        waiting: list[Rows] = []
        count = 0
        for page in self._pages_of_one_schema(decoder, range_):
            waiting.append(page)
            count += len(page.ticks)
            while count >= size:
                rows = combine(waiting, page)
                yield slice_rows(rows, 0, size)
                waiting = [slice_rows(rows, size, None)]
                count -= size
        if count:
            yield combine(waiting, waiting[0])

    def _reader(self) -> pa.RecordBatchReader:
        decoder, range_ = self._begin()

        def batches() -> Iterator[pa.RecordBatch]:
            for page in self._pages_of_one_schema(decoder, range_):
                yield from to_arrow(page, self._source).to_batches()

        return pa.RecordBatchReader.from_batches(to_arrow(decoder.empty(), self._source).schema, batches())


def _told(pieces: Iterable[Rows], bar: Bar) -> Iterator[Rows]:
    """Tell a bar of rows that come by."""
    for piece in pieces:
        bar.update(len(piece.ticks))
        yield piece
