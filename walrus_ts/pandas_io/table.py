"""What `append` takes -> Arrow and a schema, and back to a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar import nested, text
from walrus_ts.columnar.labels import Label, fields_for
from walrus_ts.columnar.schema import Column, Schema
from walrus_ts.errors import UsageError
from walrus_ts.ids import TICKS, Unit
from walrus_ts.pandas_io.cures import Times
from walrus_ts.pandas_io.dump import combined, to_array
from walrus_ts.pandas_io.index import checked_index, index_facts, to_index, to_times
from walrus_ts.pandas_io.labels import columns_of, describe_labels
from walrus_ts.pandas_io.restore import Backend, Objects, to_values
from walrus_ts.times import parse_zone

_LARGE = 1 << 24  # bytes


@dataclass(frozen=True, slots=True)
class Table:
    """A frame as Arrow has it.

    Attributes
    ----------
    schema : Schema
    arrays : list of Array, shape (k,), each (n,)
        The columns.
    times : TimestampArray, shape (n,)
        The index: naive, or UTC without saying so.
    """

    schema: Schema
    arrays: list[pa.Array]
    times: pa.TimestampArray


def to_table(data: Any, *, time: Label | None, zone: tzinfo | None) -> Table:
    """Convert what `append` takes.

    Parameters
    ----------
    data : DataFrame, Series, pyarrow Table or RecordBatch, polars DataFrame, or anything with ``__arrow_c_stream__``
    time : label, optional
        The column of times; without it the DatetimeIndex, or the only timestamp column of Arrow data.
    zone : tzinfo, optional
        In which naive times are.

    Raises
    ------
    UsageError
        The data cannot be stored as they are; names the row or the column, and the cure.
    """
    if isinstance(data, pd.Series):
        data = data.to_frame() if data.name is not None else data.to_frame(name="value")
    if isinstance(data, pd.DataFrame):
        return _from_frame(data, time, zone)
    return _from_arrow(_arrow_table(data), time, zone)


def _from_frame(frame: pd.DataFrame, time: Label | None, zone: tzinfo | None) -> Table:
    if time is not None:
        frame = _set_index(frame, time)
    index = checked_index(frame.index, zone, Times(time))
    labels = frame.columns.tolist()
    fields = fields_for(labels)
    columns, arrays = [], []
    for position, (label, field) in enumerate(zip(labels, fields, strict=True)):
        array, dtype, nullable = to_array(frame.iloc[:, position], label)
        columns.append(Column(label, field, array.type, dtype, nullable))
        arrays.append(array)
    schema = Schema(tuple(columns), *index_facts(index), describe_labels(frame.columns))
    return Table(schema, arrays, to_times(index))


def _set_index(frame: pd.DataFrame, time: Label) -> pd.DataFrame:
    if time not in frame.columns:
        known = ", ".join(map(repr, frame.columns))
        raise UsageError(f"time={time!r}: the frame has no such column; it has {known}", column=time)
    if frame.columns.tolist().count(time) > 1:
        raise UsageError(f"time={time!r}: the frame has more than one such column; rename one", column=time)
    indexed = frame.set_index(time)
    if not isinstance(indexed.index, pd.DatetimeIndex):
        dtype = frame[time].dtype
        times = Times(time)
        cure, hint = times.made(dtype), ""
        if cure == f"{times.place} = pd.to_datetime({times.place})":
            hint = ", with `dayfirst=True` where the day comes first, and `utc=True` where times have offsets"
        convert = "Name a column of times." if cure is None else f"Convert it: `{cure}`{hint}."
        raise UsageError(
            f"the column {time!r} has to hold times, of a datetime64 dtype; found {dtype}. {convert}",
            column=time,
            dtype=str(dtype),
        )
    return indexed


def _arrow_table(data: Any) -> pa.Table:
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        try:
            return pa.table(data)
        except pa.ArrowException as error:
            raise _no_arrow(data, error) from error
    raise UsageError(
        "expected a DataFrame, a Series, a pyarrow Table or RecordBatch, a polars DataFrame or something with "
        f"`__arrow_c_stream__`; found {type(data).__name__}",
        type=type(data),
    )


def _no_arrow(data: Any, error: pa.ArrowException) -> UsageError:
    """Name the first column that pyarrow does not take, where the data (polars') tell their columns."""
    column = None
    for name in getattr(data, "columns", ()):
        try:
            pa.table(data.select(name))
        except pa.ArrowException:
            column = name
            break
    where = "the data have a type" if column is None else f"column {column!r} is of a type, {data.schema[column]},"
    return UsageError(f"{where} that pyarrow does not take ({error}). Cast it before.", column=column)


def _from_arrow(table: pa.Table, time: Label | None, zone: tzinfo | None) -> Table:
    fields_for(table.column_names)  # refuses a name that stands there twice
    time = _time_column(table, time)
    clock = table.column(time)
    index = checked_index(pd.DatetimeIndex(clock.to_pandas(), name=time), zone, Times(time, arrow=True))
    # Arrow's own unit: pandas has them all, but `to_pandas` may choose another.
    index = index.as_unit(clock.type.unit)
    rest = table.drop_columns([time])
    fields = fields_for(rest.column_names)
    arrays = [nested.without_views(combined(column)) for column in rest.columns]
    for name, array in zip(rest.column_names, arrays, strict=True):
        text.check(array, name)
    columns = [Column(n, f, a.type, ["arrow"]) for n, f, a in zip(rest.column_names, fields, arrays, strict=True)]
    return Table(Schema(tuple(columns), *index_facts(index)), arrays, to_times(index))


def _time_column(table: pa.Table, time: Label | None) -> str:
    names = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if time is not None:
        if time not in names:
            known = f"there are {names}." if names else _no_times(table)
            raise UsageError(f"time={time!r} is no timestamp column; {known}", column=time)
        return str(time)
    if not names:
        raise UsageError(f"expected a timestamp column; {_no_times(table)}", columns=names)
    if len(names) != 1:
        raise UsageError(
            f"expected one timestamp column, found {len(names)}: {names}. Name it: `append(..., time='...')`.",
            columns=names,
        )
    return str(names[0])


def _no_times(table: pa.Table) -> str:
    """Say of Arrow data which columns they have, where none is of times, and how one of them becomes that."""
    found = ", ".join(f"{field.name!r} ({field.type})" for field in table.schema) or "none"
    return (
        f"there is none among the columns: {found}. Make one of that which holds the times: `table.set_column(0, 't', "
        "table['t'].cast(pa.timestamp('us')))`; text has to be as in 2024-01-31 09:30, and integers count the unit."
    )


def to_frame(
    ticks: Objects,
    arrays: list[pa.ChunkedArray],
    schema: Schema,
    *,
    backend: Backend | None,
    zone: tzinfo | None,
) -> pd.DataFrame:
    """Make the frame that a table of a stream stands for.

    Parameters
    ----------
    ticks : int64 array, shape (n,)
        The index, in ticks of the schema's unit since 1970, UTC.
    arrays : list of ChunkedArray, shape (k,), each (n,)
        Emptied as the columns are converted.
    schema : Schema
        Of these columns.
    backend : {"numpy_nullable", "pyarrow"}, optional
        As pandas' `dtype_backend`; without it the dtypes that went in.
    zone : tzinfo, optional
        The index comes back in it, whichever zone is on record.
    """
    index = to_index(ticks, schema, zone)
    values = {}
    pool = pa.default_memory_pool()
    for position, column in enumerate(schema.columns):
        values[position] = to_values(arrays[position], column, backend)
        held = pool.bytes_allocated()
        arrays[position] = None  # of a long frame, no column is held twice for longer than it takes to convert it
        if held - pool.bytes_allocated() >= _LARGE:  # which Arrow keeps for arrays of its own, and numpy takes again
            pool.release_unused()
    for position, array in values.items():
        if isinstance(array, np.ndarray) and array.dtype == object:  # pandas 3 would make `str` of it
            values[position] = pd.Series(array, index=index, dtype=object)
    frame = pd.DataFrame(values, index=index, copy=False)
    frame.columns = columns_of(schema)
    return frame


def declared(columns: Mapping[Label, Any], unit: Unit, zone: tzinfo | str | None) -> Schema:
    """Make the schema of columns that are named with their dtypes.

    Raises
    ------
    UsageError
        A dtype cannot be stored, or there is no such unit or zone.
    """
    if unit not in TICKS:
        raise UsageError(f"unit is one of {', '.join(TICKS)}; found {unit!r}", unit=unit)
    if not isinstance(columns, Mapping):
        raise UsageError(
            f"columns is a mapping of labels to dtypes; found {type(columns).__name__}: {columns!r}. Write "
            "`declare({'price': 'float64'})`.",
            columns=columns,
        )
    made = []
    for (label, dtype), field in zip(columns.items(), fields_for(list(columns)), strict=True):
        if dtype is None:  # which pandas takes for its own choice
            raise UsageError(f"column {label!r}: None is no dtype of a column. Text is 'str'.", column=label)
        try:
            empty = pd.Series([], dtype=dtype)
        except (TypeError, ValueError) as error:
            raise UsageError(f"column {label!r}: {dtype!r} is no dtype of a column: {error}", column=label) from error
        if isinstance(empty.dtype, pd.CategoricalDtype) and not len(empty.dtype.categories):
            raise UsageError(
                f"column {label!r}: a categorical is declared with its categories, `pd.CategoricalDtype([...])`. Where "
                "they are not known, declare it as 'str'.",
                column=label,
            )
        if empty.dtype == object:
            made.append(Column(label, field, pa.string(), ["object", "None"]))
            continue
        array, description, nullable = to_array(empty, label)
        made.append(Column(label, field, array.type, description, nullable))
    parsed = parse_zone(zone)
    clock: Any = f"M8[{unit}]" if parsed is None else pd.DatetimeTZDtype(unit, parsed)
    return Schema(
        tuple(made), *index_facts(pd.DatetimeIndex([], dtype=clock))[:2], None, describe_labels(pd.Index(list(columns)))
    )
