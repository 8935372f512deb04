"""A file of a table, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from walrus_ts.errors import DataError, UsageError
from walrus_ts.files.csv_types import PLAIN, Dialect, Types, find_types, open_csv, other_separator
from walrus_ts.files.folder import common_schema, data_set
from walrus_ts.files.kinds import kind_of, pieces_rows


@dataclass(frozen=True, slots=True)
class File:
    """A file of a table, or a folder of such files.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
    rows : int
    batches : callable
        Reads the file, from its beginning each time.
    to_frame : callable
        Makes of a piece what `append` takes, with the index that the second argument names.
    dialect : Dialect
        How it is written, if it is a CSV.
    """

    path: Path
    schema: pa.Schema
    rows: int
    batches: Callable[[], Iterator[pa.RecordBatch]]
    to_frame: Callable[[pa.Table, str], pd.DataFrame | pa.Table]
    dialect: Dialect = PLAIN

    def pieces(self, time: str) -> Iterator[pd.DataFrame | pa.Table]:
        """Read the file in pieces of one number of rows, in bounded memory.

        Parameters
        ----------
        time : str
            The column of times; of dates, too, which are midnights then.

        Yields
        ------
        DataFrame or Table
            What `append` takes: a frame where pandas has written the file, or nobody knows of types (CSV).

        Raises
        ------
        DataError
            The file is broken.
        """
        at = self.schema.get_field_index(time)
        try:
            for table in pieces(self.batches(), pieces_rows(len(self.schema))):
                if pa.types.is_date(self.schema.types[at]):
                    midnights = table.column(at).cast(pa.timestamp("us"))
                    yield self.to_frame(table.set_column(at, time, midnights), time)
                else:
                    yield self.to_frame(table, time)
        except pa.ArrowException as error:
            raise DataError(f"{str(self.path)!r} cannot be read to its end: {error}", path=str(self.path)) from error

    def time_column(self, time: str | None = None) -> str:
        """Choose the column of times: the one that is named, else pandas' index, else the only one of timestamps.

        Raises
        ------
        UsageError
            There is no such column, or more than one; says which there are.
        """
        where, names = repr(str(self.path)), self.schema.names
        if time is not None and time not in names:
            raise UsageError(f"{where} has no column {time!r}; it has {', '.join(map(repr, names))}", column=time)
        kinds = {field.name: field.type for field in self.schema}
        clocks = [name for name, kind in kinds.items() if pa.types.is_timestamp(kind)]
        clocks = clocks or [name for name, kind in kinds.items() if pa.types.is_date(kind)]
        if time is None:
            index = pandas_index(self.schema)
            clocks = index if len(index) == 1 and index[0] in clocks else clocks
            if len(clocks) != 1:
                listed = ", ".join(map(repr, clocks)) or "none"
                hint = other_separator(names[0], self.dialect) if len(names) == 1 else ""
                raise UsageError(
                    f"expected one column of times in {where}, found {listed}. Its columns: "
                    f"{', '.join(f'{name!r} ({kind})' for name, kind in kinds.items())}. Name the one to take "
                    f"(`time`; on the command line `--time`){hint}.",
                    columns=clocks,
                )
            return clocks[0]
        if not (pa.types.is_timestamp(kinds[time]) or pa.types.is_date(kinds[time])):
            raise UsageError(
                f"column {time!r} of {where} holds {kinds[time]}, and not times such as 2024-01-31T09:30:00Z or "
                "2024-01-31 09:30. Convert it first (`frame[column] = pd.to_datetime(frame[column], ...)`), or, on the "
                "command line and of a CSV, say how they are written: --time-format '%d.%m.%Y %H:%M'.",
                column=time,
            )
        return time


def open_file(path: Path, dialect: Dialect = PLAIN) -> File:
    """Open a CSV, a Parquet or a Feather file, by its ending, or a folder of Parquet files.

    A CSV is read through once, to find its columns' types.

    Parameters
    ----------
    path : Path
    dialect : Dialect
        How a CSV is written.

    Raises
    ------
    UsageError
        The name does not say what it is, or it is no CSV and has a dialect.
    DataError
        It is something else than its name says.
    OSError
        It cannot be read.
    """
    kind = kind_of(path)
    path.stat()  # Python's own error where there is none
    if kind == "csv":
        return _open_csv(path, dialect)
    if dialect != PLAIN:
        raise UsageError(f"{str(path)!r} is no CSV: it has no separator, decimal or format of times", path=str(path))
    return open_parquet(path) if kind == "parquet" else _open_feather(path)


def open_parquet(path: Path) -> File:
    """Open a Parquet file, or a folder of them, partitioned as Hive does it."""
    from pyarrow import dataset

    path.stat()
    try:
        data = data_set(path) if path.is_dir() else dataset.dataset(path, format="parquet")
        rows, schema = data.count_rows(), common_schema(data)
    except pa.ArrowException as error:
        raise DataError(f"{str(path)!r} cannot be read as Parquet: {error}", path=str(path)) from error

    def batches() -> Iterator[pa.RecordBatch]:
        # Not the data set's own `to_batches`: where rows are read faster than they are stored, it holds all of them.
        for fragment in data.get_fragments():
            for group in fragment.split_by_row_group():
                yield from group.to_table(schema=schema).to_batches()

    return File(path, schema, rows, batches, _converter(schema))


def _open_feather(path: Path) -> File:
    from pyarrow import dataset, ipc

    try:
        reader = ipc.open_file(pa.memory_map(str(path)))
        rows = dataset.dataset(path, format="ipc").count_rows()  # the reader's own came with a late version
    except pa.ArrowException as error:
        raise DataError(f"{str(path)!r} cannot be read as Feather: {error}", path=str(path)) from error

    def batches() -> Iterator[pa.RecordBatch]:
        yield from map(reader.get_batch, range(reader.num_record_batches))

    return File(path, reader.schema, rows, batches, _converter(reader.schema))


def _open_csv(path: Path, dialect: Dialect) -> File:
    found = find_types(path, dialect)

    def batches() -> Iterator[pa.RecordBatch]:
        with open_csv(path, found.types, dialect) as reader:
            yield from reader

    return File(path, pa.schema(list(found.types.items())), found.rows, batches, _of_csv(found), dialect)


def pieces(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Cut batches anew: each of `rows` rows, the last one shorter."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, rows)
            waiting = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(waiting)


# What `append` takes --------------------------------------------------------------------------------------------------


def _converter(schema: pa.Schema) -> Callable[[pa.Table, str], pd.DataFrame | pa.Table]:
    return _from_pandas if b"pandas" in (schema.metadata or {}) else _as_it_is


def _as_it_is(table: pa.Table, _: str) -> pa.Table:
    return table


def _from_pandas(table: pa.Table, time: str) -> pd.DataFrame:
    """Make the frame that pandas reads; another index than `time` becomes columns, unless it only numbers the rows."""
    frame: pd.DataFrame = table.to_pandas()
    if isinstance(frame.index, pd.RangeIndex):
        return frame.set_index(time)
    if pandas_index(table.schema) == [time]:
        return frame
    return frame.reset_index().set_index(time)


def _of_csv(found: Types) -> Callable[[pa.Table, str], pd.DataFrame]:
    """Give columns the dtypes that `pandas.read_csv` gives them, but nullable ones in place of floats for integers."""
    whole = {
        name: kind.to_pandas_dtype()
        for name, kind in found.types.items()
        if kind in (pa.int64(), pa.bool_()) and name not in found.nulls
    }
    dtypes: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    for kind in found.types.values():
        if pa.types.is_date(kind) or pa.types.is_time(kind):
            dtypes[kind] = pd.ArrowDtype(kind)

    def to_frame(table: pa.Table, time: str) -> pd.DataFrame:
        frame: pd.DataFrame = table.to_pandas(types_mapper=dtypes.get).astype(whole)
        return frame.set_index(time)

    return to_frame


def pandas_index(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that were pandas' index; what is no column (a RangeIndex) is not among them."""
    described = schema.pandas_metadata or {}
    return [name for name in described.get("index_columns", []) if isinstance(name, str)]
