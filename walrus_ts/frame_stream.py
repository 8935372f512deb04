"""What a time series' stream does with DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from walrus_ts import pandas_io
from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.cluster import Pool, pool_for
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.fitting import Fitted, fit
from walrus_ts.columnar.labels import Label
from walrus_ts.columnar.schema import Origin, Records, Schema, to_bytes
from walrus_ts.connection import check_count
from walrus_ts.consuming import Batches, make_batches, read_rows
from walrus_ts.errors import AppendError, UsageError
from walrus_ts.frames.decoder import Errors
from walrus_ts.frames.scan import Scan
from walrus_ts.frames.source import Source
from walrus_ts.ids import StreamId, Unit
from walrus_ts.pandas_io.write_few import Plan
from walrus_ts.progress import Progress, reporting
from walrus_ts.standing import common_zone, consumers_frame, letters_frame, pending_frame
from walrus_ts.transfer import load as loading
from walrus_ts.transfer.dead import Letter, letters, replay
from walrus_ts.transfer.few import MOST_COLUMNS, MOST_ROWS, append_few, is_stored, stopped_at
from walrus_ts.transfer.load import Appended
from walrus_ts.transfer.scan import Range, fix_end, look, pages
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    from datetime import tzinfo
    from os import PathLike

    from matplotlib.axes import Axes
    from redis.typing import KeyT

    from walrus_ts.database import AnyDatabase


@dataclass(frozen=True)
class _Few:
    """How a few rows are appended at one round trip: while the record is this one."""

    plan: Plan
    record: bytes
    origin: Origin


class FrameStream:
    """The frames' side of `TimeSeriesStream`: a table whose rows are ordered by time."""

    database: AnyDatabase
    key: KeyT
    group: str | bytes
    consumer_name: str | bytes
    tz: tzinfo | None
    start: Any
    _named: bool
    _few: _Few | None = None

    @property
    def _records(self) -> Records:
        return Records(to_bytes(self.key))

    @cached_property
    def _frame_pool(self) -> Pool:
        records = self._records
        return pool_for(self.database.data, records.key, records.schema)

    @property
    def _source(self) -> Source:
        return Source(self._frame_pool, self._records, self.tz)

    def _start_id(self) -> bytes:
        """Return the id after which the group begins where it is made anew."""
        after = self._source.axis(self._source.recorded()).upper(self.start)
        return after.encode() if isinstance(after, str) else bytes(after)

    @property
    def _label(self) -> str:
        """What stands before the bar of an append."""
        return f"append to {self._records.key.decode(errors='replace')}"

    # Writing ---------------------------------------------------------------------------------------------------------

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
            order of their paths.
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
            It is no Parquet file, or a broken one.
        """
        from walrus_ts.files.load import load_file
        from walrus_ts.files.read import open_parquet

        return load_file(self.append, open_parquet(Path(path)), time=time, **options)

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
        """Keep how such frames are written, for the next one."""
        with Wire(self._source.pool) as wire:
            record = check(wire.ask(command(b"GET", self._records.schema))[0], self._records.schema)
        schema = None if record is None else Schema.from_json(record, self._records.schema)
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
                    new = loading.append(self._source.pool, self._job(table, evolve, progress=report, **options))
                    done, read = _sum(done, new), read + len(batch)
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
            return loading.append(self._source.pool, self._job(table, evolve, progress=report, **options))

    def _job(self, table: pandas_io.Table, evolve: bool, **options: Any) -> loading.Job:
        return loading.Job(self._records, table.times, partial(self._fit, table, evolve=evolve), **options)

    def _derive(self, data: Any, time: Label | None, evolve: bool) -> loading.Job:
        """Prepare rows that a batch's transaction appends (`Batch.append`)."""
        return self._job(pandas_io.to_table(data, time=time, zone=self.tz), evolve)

    def _fit(self, table: pandas_io.Table, record: Schema | None, *, evolve: bool) -> Fitted:
        source = self._source
        if record is not None:
            source.check_zone(record)
        return fit(table.schema, table.arrays, table.times, record, source.where, evolve=evolve)

    # Reading ---------------------------------------------------------------------------------------------------------

    def frame(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        columns: Sequence[Label] | None = None,
        limit: int | None = None,
        dtype_backend: pandas_io.Backend | None = None,
        ids: bool = False,
        errors: Errors = "raise",
    ) -> pd.DataFrame:
        """Read a range of time into a DataFrame.

        Parameters
        ----------
        start, stop : time, date string or id, optional
            Inclusive. A partial date string stands for its whole period: ``stop="2024-02"`` is the end of February. A
            string is an id only with nine digits or more before its ``-``.
        columns : sequence of labels, optional
            Only these, in this order.
        limit : int, optional
            Rows at most, the first ones.
        dtype_backend : {"numpy_nullable", "pyarrow"}, optional
            As in pandas; without it, the dtypes that went in.
        ids : bool
            Add the column `stream_id`, text.
        errors : {"raise", "coerce"}
            What happens to a value that its column's type does not have: `DataError`, or null.

        Returns
        -------
        DataFrame, shape (n, k)
            Its index is a DatetimeIndex. An empty range gives an empty frame with the right columns and dtypes.

        Raises
        ------
        UsageError
            A bound is neither a time nor an id, or there is no such column.
        DataError
            A value does not fit its column; names key, id, column and value.
        """
        scan = self.scan(start, stop, columns=columns, limit=limit, errors=errors)
        return scan.to_pandas(dtype_backend, ids=ids)

    def scan(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        columns: Sequence[Label] | None = None,
        limit: int | None = None,
        errors: Errors = "raise",
    ) -> Scan:
        """Describe a range of time, to be read when it is needed.

        Parameters are those of `frame`.

        Returns
        -------
        Scan
        """
        return Scan(self._source, start, stop, columns=columns, limit=limit, errors=errors)

    def head(self, n: int = 5) -> pd.DataFrame:
        """Return the first `n` rows."""
        return self.frame(limit=_count(n))

    def tail(self, n: int = 5) -> pd.DataFrame:
        """Return the last `n` rows, in the order of time."""
        return self.scan(limit=_count(n)).to_pandas(reverse=True)

    @property
    def loc(self) -> Loc:
        """Rows by label, as in pandas: ``stream.loc["2024-01-05 09:30":, ["price"]]``."""
        return Loc(self)

    def plot(
        self,
        start: Any = None,
        stop: Any = None,
        columns: Sequence[Label] | None = None,
        *,
        max_points: int = 2000,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a range of time, of any number of rows, with matplotlib.

        Of more rows than `max_points` only peaks are drawn: the range is divided into stretches of time, and of each
        the least and the greatest value are kept, at their own times. It is read page by page, in bounded memory.

        Parameters
        ----------
        start, stop : time, date string or id, optional
            Inclusive, as in `frame`.
        columns : sequence of labels, optional
            Columns of numbers or bools; all of numbers without it.
        max_points : int
            Points of a line at most, 2 or more.
        ax : matplotlib Axes, optional
            Where to draw; a new figure without it.

        Returns
        -------
        matplotlib Axes
            A line a column, with gaps where there are nulls, NaN or infinity (of more rows than `max_points`: where a
            stretch has nothing else). Times are in the zone of the index.

        Raises
        ------
        UsageError
            A column holds no numbers, or none does; a bound is neither a time nor an id; matplotlib is missing.
        DataError
            A value does not fit its column; names key, id, column and value.
        """
        from walrus_ts.notebook.plot import plot

        return plot([("", self.scan(start, stop, columns=columns))], max_points, ax)

    # Consuming -------------------------------------------------------------------------------------------------------

    def read_frame(self, count: int | None = None, block: int | None = None) -> pd.DataFrame:
        """Return rows that the group has not read yet (XREADGROUP); they stay pending until acknowledged.

        Parameters
        ----------
        count : int, optional
            Rows at most.
        block : int, optional
            Milliseconds to wait for a row; 0 waits for ever. Without it, there is no waiting.

        Returns
        -------
        DataFrame, shape (n, k)
            As `frame`; empty where there are no new rows.

        Raises
        ------
        GroupMissingError
            The group does not exist: `create()` makes it.
        DataError
            A value does not fit its column; the rows are pending.
        """
        return read_rows([self], count, block, None)

    def batches(
        self,
        count: int = 1000,
        *,
        wait: float | None = None,
        claim_after: float = 60,
        max_deliveries: int = 5,
        stream_name: str | None = None,
    ) -> Batches:
        """Iterate over new rows, batch by batch, as they come.

        First this consumer's own backlog, then rows that another consumer left pending, then new ones; none starves the
        others. A batch that raised comes again, in smaller and smaller batches, at last row by row.

        Parameters
        ----------
        count : int
            Rows of a batch at most.
        wait : float, optional
            Seconds without a new row after which the iteration ends. None waits for ever, 0 takes what there is.
        claim_after : float
            Seconds for which a row has to be pending with another consumer before it is taken over.
        max_deliveries : int
            A row that was delivered so often and is still pending goes to the stream's dead letters.
        stream_name : str, optional
            Name of a column that says which stream a row is from; there is none without it.

        Returns
        -------
        Batches
            An iterator of `Batch`.

        Raises
        ------
        GroupMissingError
            While iterating: the group does not exist.

        Examples
        --------
        >>> for batch in series.s1.batches(count=10_000, wait=0):
        ...     with batch:
        ...         print(len(batch.frame))
        """
        return make_batches([self], count, wait, claim_after, max_deliveries, stream_name)

    def dead_letters(self) -> pd.DataFrame:
        """Return the rows that were given up: rejected, delivered too often, or that cannot be decoded.

        Returns
        -------
        DataFrame, shape (n, 6 + k)
            A row each, in the order in which they were given up; the index is the rows' own time. Columns: `stream_id`;
            `died`, when it was (UTC); `deliveries`; `group`, `consumer` and `reason`; and the row's own, null where a
            value cannot be decoded, and with a dot before a label that is one of these six.

        Raises
        ------
        DataError
            Another program has written to the dead letters.
        """
        return letters_frame(self._source, letters(self._source.pool, self._records))

    def replay_dead(self, ids: Any = None, *, as_new: bool = False) -> int:
        """Make rows that were given up pending again in their group, as not yet delivered (XCLAIM, FORCE).

        Any consumer of the group takes them over then. Each row's letter is removed in the same step.

        Parameters
        ----------
        ids : id or time, or a list of these, optional
            Which rows, by their own ids; all without it.
        as_new : bool
            Add a row that the stream no longer holds at the stream's end, with the server's time.

        Returns
        -------
        int
            How many rows.

        Raises
        ------
        UsageError
            An id has no dead letter, or the stream no longer holds a row; nothing is replayed.
        GroupMissingError
            A row's group does not exist.
        """
        found = list(letters(self._source.pool, self._records))
        if ids is not None:
            found = self._chosen_letters(found, ids)
        return replay(self._source.pool, self._records, found, as_new=as_new)

    def _chosen_letters(self, found: list[Letter], ids: Any) -> list[Letter]:
        axis = self._source.axis(self._source.recorded())
        given = [ids] if isinstance(ids, (str, bytes, tuple)) or not isinstance(ids, Iterable) else list(ids)
        wanted = [StreamId.parse(axis.at(id_)).encode() for id_ in given]
        known = {letter.id for letter in found}
        for id_ in wanted:
            if id_ not in known:
                raise UsageError(
                    f"{self._source.where} has no dead letter of the row {id_.decode()}; `dead_letters()` lists those "
                    "there are",
                    id=id_.decode(),
                )
        return [letter for letter in found if letter.id in set(wanted)]

    def pending_frame(self, limit: int | None = None) -> pd.DataFrame:
        """Return the rows that the group has read and not acknowledged, the oldest first (XPENDING).

        Parameters
        ----------
        limit : int, optional
            Rows at most.

        Returns
        -------
        DataFrame, shape (n, 4)
            Index: the rows' times, in milliseconds. Columns: `stream_id`, `consumer`, `idle` (Timedelta since the last
            delivery), `deliveries`.

        Raises
        ------
        UsageError
            `limit` is no whole number.
        GroupMissingError
            The group does not exist.
        """
        limit = check_count(limit, "limit", minimum=0)
        source = self._source
        return pending_frame(source, to_bytes(self.group), limit, common_zone([source]))

    def consumers_frame(self) -> pd.DataFrame:
        """Return the group's consumers (XINFO CONSUMERS).

        Returns
        -------
        DataFrame, shape (n, 4)
            Columns: `consumer`, `pending` rows, `idle` (Timedelta since it last asked for rows), `inactive` (Timedelta
            since it last got some; NaT where it never has, or the server, before Redis 7.2, does not tell).

        Raises
        ------
        GroupMissingError
            The group does not exist.
        """
        return consumers_frame(self._source, to_bytes(self.group))

    # Columns and rows ------------------------------------------------------------------------------------------------

    @property
    def schema(self) -> Schema | None:
        """The columns that the stream has on record; None where it has none. Prints as a small table."""
        return self._source.look()[1]

    def declare(self, columns: Mapping[Label, Any], unit: Unit = "ms", tz: str | tzinfo | None = None) -> Schema:
        """Write the record of a stream that another program writes.

        Parameters
        ----------
        columns : mapping of label -> dtype
            As pandas takes dtypes. The label is the entries' field.
        unit : {"s", "ms", "us", "ns"}
            Unit of the index.
        tz : str or tzinfo, optional
            Zone of the index; without one it is naive.

        Returns
        -------
        Schema

        Raises
        ------
        UsageError
            A dtype cannot be stored, or there is no such unit or zone.
        """
        source = self._source
        schema = pandas_io.declared(columns, unit, tz)
        with Wire(source.pool) as wire:
            self._refuse_another_type(wire, "Declare another key.")
            old = look(wire, self._records)[1]
            if old is not None:
                schema = replace(schema, origin=old.origin, columns=_keep_fields(schema, old))
            check(wire.ask(command(b"SET", self._records.schema, schema.to_json()))[0])
        return schema

    def drop(self) -> bool:
        """Delete the stream and the records beside it; tell whether there was one.

        The records of loads without a name that were never finished are looked for among all keys of the server (SCAN).

        Raises
        ------
        UsageError
            The key holds another type; it is left alone.
        """
        records = self._records
        with Wire(self._source.pool) as wire:
            self._refuse_another_type(wire, f"`stream.database.delete({self.key!r})` deletes it all the same.")
            beside = [records.schema, records.loads, records.dead, *loading.unfinished(wire, records)]
            gone, _ = map(check, wire.ask(command(b"DEL", records.key), command(b"DEL", *beside)))
        return bool(gone)

    def _refuse_another_type(self, wire: Wire, cure: str) -> None:
        kind = check(wire.ask(command(b"TYPE", self._records.key))[0])
        if kind not in (b"none", b"stream"):
            raise UsageError(f"{self._source.where} is no stream but a {kind.decode()}. {cure}", key=self._records.key)

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
            deleted += int(self.database.data.xdel(self._records.key, *entries.id_texts()))
        return deleted

    def loads(self) -> pd.DataFrame:
        """Return the named loads: a row each, in the order in which they were begun.

        Returns
        -------
        DataFrame, shape (n, 9)
            Index: the loads' names. Columns: `rows` in all, `stored`, `skipped` late ones, `first_id`, the `first` and
            the `last` time, `fields`, `begun`, `finished` (NaT where it is not).
        """
        return loads_frame(self._source)


class Loc:
    """Rows of a stream by label, as `pandas.DataFrame.loc` has them."""

    def __init__(self, stream: FrameStream) -> None:
        self._stream = stream

    def __getitem__(self, item: Any) -> pd.DataFrame | pd.Series[Any]:
        """Read ``[start:stop]``, ``[start:stop, columns]`` or the rows of one time or period."""
        rows, columns = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if isinstance(rows, slice):
            if rows.step is not None:
                raise UsageError(f"loc takes no step; found {rows.step!r}. Take `frame(start, stop)[::step]`.")
            start, stop = rows.start, rows.stop
        else:
            start = stop = rows
        if columns is None or (isinstance(columns, slice) and columns == slice(None)):
            return self._stream.frame(start, stop)
        if isinstance(columns, (list, pd.Index)):
            return self._stream.frame(start, stop, columns=list(columns))
        return self._stream.frame(start, stop, columns=[columns]).iloc[:, 0]


def _age(load: tuple[str, loading.Progress]) -> tuple[str, str]:
    return load[1].begun, load[0]  # to the second; then by name


def loads_frame(source: Source) -> pd.DataFrame:
    """Return a stream's named loads, but those of a stream that was deleted since."""
    with Wire(source.pool) as wire:
        state, schema = look(wire, source.records)
        found = check(wire.ask(command(b"HGETALL", source.records.loads))[0], source.records.loads)
    pairs = zip(found[::2], found[1::2], strict=True)
    where = source.records.loads
    loads = {name.decode(errors="backslashreplace"): loading.Progress.from_json(r, where) for name, r in pairs}
    kept = {name: p for name, p in sorted(loads.items(), key=_age) if p.holds(state, schema)}

    frame = pd.DataFrame(
        {
            "rows": pd.array([p.rows for p in kept.values()], dtype="int64"),
            "stored": pd.array([p.stored for p in kept.values()], dtype="int64"),
            "skipped": pd.array([p.late for p in kept.values()], dtype="int64"),
            "first_id": pd.array([p.first_id for p in kept.values()], dtype="str"),
            "fields": pd.Series([list(p.fields) for p in kept.values()], dtype=object),
            **{
                name: pd.to_datetime([getattr(p, name) for p in kept.values()], utc=True, format="ISO8601")
                for name in ("first", "last", "begun", "finished")
            },
        }
    )
    frame.index = pd.Index(list(kept), dtype="str", name="load")
    return frame


def _sum(done: Appended, new: Appended) -> Appended:
    """Tell what two appends have done, one behind the other."""
    first_id, last_id = done.first_id or new.first_id, new.last_id or done.last_id
    return Appended(done.rows + new.rows, done.skipped + new.skipped, first_id, last_id)


def _check_options(late: Any, load: Any) -> None:
    if late not in ("raise", "skip"):
        raise UsageError(f"late is 'raise' or 'skip'; found {late!r}", late=late)
    if load is not None and (not isinstance(load, str) or not load or not _is_unicode(load)):
        raise UsageError(f"load is a name, a string of valid Unicode that is not empty; found {load!r}", load=load)


def _is_unicode(name: str) -> bool:
    """Tell whether a name has no half of a surrogate pair in it, as names of files that are no UTF-8 have."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _count(n: Any) -> int:
    number = check_count(n, "n", minimum=0)
    if number is None:
        raise UsageError("n is a number of rows; found None. `frame()` reads all of them.", n=n)
    return number


def _keep_fields(new: Schema, old: Schema) -> tuple[Any, ...]:
    """Keep the fields that the labels have had: the entries are stored under them."""
    known = [old.column(column.label) for column in new.columns]
    return tuple(
        column if before is None else replace(column, field=before.field)
        for column, before in zip(new.columns, known, strict=True)
    )
