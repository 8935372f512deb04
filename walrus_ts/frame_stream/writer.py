"""DataFrames -> the stream: rows appended, and rows deleted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
from redis.exceptions import RedisError

from walrus_ts import pandas_io
from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.fitting import Fitted, fit
from walrus_ts.columnar.labels import Label, is_unicode
from walrus_ts.columnar.schema import Origin, Schema
from walrus_ts.connection import check_count
from walrus_ts.errors import AppendError, UsageError, WalrusTSError
from walrus_ts.frame_stream.base import FrameStreamBase
from walrus_ts.ids import StreamId
from walrus_ts.pandas_io.write_few import Plan
from walrus_ts.progress import Progress, reporting
from walrus_ts.times import parse_zone
from walrus_ts.transfer.few import MOST_COLUMNS, MOST_ROWS, append_few, is_stored, stopped_at
from walrus_ts.transfer.job import Appended, Job, joined
from walrus_ts.transfer.load import append
from walrus_ts.transfer.scan import Range, fix_end, pages
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True)
class _Few:
    """How a few rows are appended at one round trip: while the record is this one."""

    plan: Plan
    record: bytes
    origin: Origin


class FrameWriter(FrameStreamBase):
    """How DataFrames become rows of a stream."""

    _few: _Few | None = None

    def append(
        self,
        data: Any,
        *,
        time: Label | None = None,
        late: Literal["raise", "skip"] = "raise",
        load: str | None = None,
        evolve: bool = False,
        maxlen: int | None = None,
        minid: Any = None,
        progress: Progress = None,
    ) -> Appended:
        """Append a frame: one entry a row, at the time of its index.

        What is stored is always a prefix of the frame; one of up to 5,000 rows is all or nothing. Every reply of the
        server is checked, and a lost connection is mended: never a row twice, never a row less.

        Parameters
        ----------
        data : DataFrame, Series, pyarrow Table, RecordBatch or RecordBatchReader, polars DataFrame, or anything with \
``__arrow_c_stream__``
            In the order of time. A RecordBatchReader is checked, and written, batch by batch: an error behind the first
            of them is an `AppendError`, with no `load`.
        time : label, optional
            The column of times; without it the DatetimeIndex, or the only timestamp column of Arrow data.
        late : {"raise", "skip"}
            What happens to rows that are older than the last id that the stream has generated. Rows with the very time
            at which it ends are not late.
        load : str, optional
            A name under which the load can be repeated: it then writes what is missing, once.
        evolve : bool
            Widen the record where the frame does not fit it and nothing is lost.
        maxlen : int, optional
            Rows that the stream keeps at most; the oldest go.
        minid : id or time, optional
            Older rows go.
        progress : bool or callable, optional
            None: a bar after a second, where somebody watches. A callable gets the rows stored and the rows in all.

        Returns
        -------
        Appended

        Raises
        ------
        UsageError
            The frame cannot be stored: its index, its order, a column; names the row and the cure. Nothing is written.
        SchemaError
            It does not fit the columns that the stream has on record.
        LateRowsError
            Rows are late, and `late` is ``"raise"``.
        AppendError
            Something that cannot be mended came in between; `.appended` rows are stored, and
            ``append(data, load=error.load)`` goes on.

        Examples
        --------
        >>> import pandas as pd
        >>> times = pd.to_datetime(["2024-01-05 09:30", "2024-01-05 09:31"])
        >>> series.s1.append(pd.DataFrame({"price": [7.5, 7.25]}, index=times))
        Appended(rows=2, skipped=0, first_id='1704447000000-0', last_id='1704447060000-0')
        """
        _check_options(late, load)
        options: dict[str, Any] = {"late": late, "load": load, "maxlen": check_count(maxlen, "maxlen", minimum=0)}
        if minid is not None:
            options["minid"] = partial(self._minid, minid)
        if isinstance(data, pa.RecordBatchReader):
            return self._append_batches(data, time, evolve, progress, options)
        first = None if load is None else stopped_at(load)
        if first is not None:
            if self._is_stored(first, pandas_io.to_table(data, time=time, zone=self.tz), evolve=evolve):
                return Appended(0)
            load = options["load"] = None
        plain = isinstance(data, pd.DataFrame) and len(data) <= MOST_ROWS and self.tz is None and time is None
        few = plain and not progress and load is None and maxlen is None and minid is None
        done = self._append_few(data) if few else None
        if done is None:
            table = pandas_io.to_table(data, time=time, zone=self.tz)
            done = self._append_table(table, evolve, progress, options)
            if few:
                self._plan_few(data)
        return done

    def load_parquet(self, path: str | PathLike[str], *, time: str | None = None, **options: Any) -> Appended:
        """Append a Parquet file, or a folder of them, in bounded memory.

        Parameters
        ----------
        path : str or path
            A file, or a data set partitioned as Hive does it (``symbol=a/1.parquet``), whose files are taken in the
            order of their paths, numbers in them as numbers. Columns that a file does not have are null in its rows.
        time : str, optional
            The column of times; without it the index that pandas has written, or the only timestamp column.
        **options
            Those of `append`. A named load is one load a piece (``NAME``, ``NAME[100000:]``, ...), and is repeated as a
            whole.

        Returns
        -------
        Appended

        Raises
        ------
        UsageError, SchemaError, LateRowsError, AppendError
            As in `append`. Earlier pieces of the file may be stored: `.done` is what was, and `.first_row` the row of
            the file at which the piece begins.
        DataError
            It is no Parquet file, or a broken one; or files of the folder contradict each other.
        """
        from walrus_ts.files.load import load_file
        from walrus_ts.files.read import open_parquet

        return load_file(self.append, open_parquet(Path(path)), time=time, **options)

    def delete_range(self, start: Any = None, stop: Any = None) -> int:
        """Delete the rows of a range of time (XDEL); return how many.

        Parameters
        ----------
        start, stop : time, date string or id, optional
            Inclusive, as in `frame`.
        """
        source = self._source
        state, schema = source.look()
        if state is None:
            return 0
        axis = source.axis(schema)
        stop_id = fix_end(state, upper_id(stop, axis))
        range_ = Range(self._records.key, lower_id(start, axis), stop_id, (), lambda _: False)
        deleted = 0
        for entries in pages(source.pool, range_):
            deleted += int(self.database.data.xdel(self._records.key, *entries.ids()))
        return deleted

    @property
    def _label(self) -> str:
        """What stands before the bar of an append."""
        return f"append to {self._records.key.decode(errors='replace')}"

    def _minid(self, bound: Any, schema: Schema) -> bytes:
        """Return the id below which rows go, of a stream of this schema."""
        return StreamId.parse(lower_id(bound, self._source.axis(schema))).encode()

    def _append_few(self, frame: pd.DataFrame) -> Appended | None:
        """Append a few rows at one round trip; None where they have to go the long way."""
        plan = self._few
        rows = plan.plan.rows(frame) if plan is not None else None
        if plan is None or not rows:
            return None
        if append_few(self._frame_pool, self._records, plan.record, plan.origin, rows):
            return Appended(len(rows), 0, rows[0][0].decode(), rows[-1][0].decode())
        self._few = None
        return None

    def _is_stored(self, id_: bytes, table: pandas_io.Table, *, evolve: bool) -> bool:
        """Tell whether the few rows of an append that stopped are stored: the first of them, under its id."""
        source = self._source
        schema = source.look()[1]
        if schema is None or not len(table.times):
            return False
        return is_stored(source.pool, self._records, id_, self._fit(table, schema, evolve=evolve))

    def _plan_few(self, frame: pd.DataFrame) -> None:
        """Keep how such frames are written, for the next one; where that fails, that one goes the long way."""
        try:
            with Wire(self._source.pool) as wire:
                record = check(wire.ask(command(b"GET", self._records.schema))[0], self._records.schema)
            schema = None if record is None else Schema.from_json(record, self._records.schema)
        except (RedisError, WalrusTSError):  # it is no error of this append, whose rows are stored
            return
        if schema is not None and schema.origin is not None and len(schema.columns) <= MOST_COLUMNS:
            plan = Plan.of(frame, schema)
            self._few = None if plan is None else _Few(plan, record, schema.origin)

    def _append_batches(
        self,
        reader: pa.RecordBatchReader,
        time: Label | None,
        evolve: bool,
        progress: Progress,
        options: dict[str, Any],
    ) -> Appended:
        if options["load"] is not None:
            raise UsageError("a RecordBatchReader cannot be a named load: it cannot be read again. Give a Table.")
        done, read = Appended(0), 0
        with reporting(progress, None, self._label) as report:
            try:
                for batch in reader:
                    table = pandas_io.to_table(batch, time=time, zone=self.tz)
                    new = append(self._source.pool, self._job(table, evolve, progress=report, **options))
                    done, read = joined(done, new), read + len(batch)
            except Exception as error:
                if not read and not isinstance(error, AppendError):  # nothing is stored
                    raise
                raise self._stopped_within(error, done, read) from error
        return done

    def _stopped_within(self, error: Exception, done: Appended, read: int) -> AppendError:
        """Say how far a reader's batches are stored, given the error of one of them and the rows before it."""
        parts = vars(error) if isinstance(error, AppendError) else {}
        reason = (parts and error.__cause__) or error
        appended, unanswered = done.rows + parts.get("appended", 0), parts.get("unanswered", 0)
        left = read + parts.get("appended", 0) + parts.get("skipped", 0)
        row = vars(reason).get("row")
        where = "" if row is None else f" (Row {row} of its batch is row {read + row} of the reader.)"
        doubt = f" The {unanswered} rows behind may be stored, too: see `tail`." if unanswered else ""
        return AppendError(
            f"appending batches to {self._source.where} stopped after {appended} rows: {str(reason).rstrip('.')}."
            f"{where}{doubt} With the rows of the reader as a table, `append(table.slice({left}))` stores the rest.",
            appended=appended,
            load=None,
            key=self._records.key,
            row=None if row is None else read + row,
        )

    def _append_table(
        self, table: pandas_io.Table, evolve: bool, progress: Progress, options: dict[str, Any]
    ) -> Appended:
        with reporting(progress, len(table.times), self._label) as report:
            return append(self._source.pool, self._job(table, evolve, progress=report, **options))

    def _job(self, table: pandas_io.Table, evolve: bool, **options: Any) -> Job:
        zone = parse_zone(table.schema.zone)
        return Job(self._records, table.times, partial(self._fit, table, evolve=evolve), zone=zone, **options)

    def _derive(self, data: Any, time: Label | None, evolve: bool) -> Job:
        """Prepare rows that a batch's transaction appends (`Batch.append`)."""
        return self._job(pandas_io.to_table(data, time=time, zone=self.tz), evolve)

    def _fit(self, table: pandas_io.Table, record: Schema | None, *, evolve: bool) -> Fitted:
        source = self._source
        if record is not None:
            source.check_zone(record)
        return fit(table.schema, table.arrays, table.times, record, source.where, evolve=evolve)


def _check_options(late: Any, load: Any) -> None:
    if late not in ("raise", "skip"):
        raise UsageError(f"late is 'raise' or 'skip'; found {late!r}", late=late)
    if load is not None and (not isinstance(load, str) or not load or not is_unicode(load)):
        raise UsageError(f"load is a name, a string of valid Unicode that is not empty; found {load!r}", load=load)
