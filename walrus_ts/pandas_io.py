"""DataFrame <-> Arrow arrays and a Schema: the one place that knows pandas' corners.

Each column's dtype has a description in JSON, from which the same dtype is made again:

=====================================  ==============================================================
``"int64"``, ``"Int64"``, ...          what `pandas.api.types.pandas_dtype` reads
``["string", storage, missing]``       `pandas.StringDtype`; missing is ``"nan"`` or ``"NA"``
``["object", missing]``                Python objects of one kind; missing is ``"None"``, ``"nan"`` or ``"NA"``
``["category", {...}]``                categories as text, their own dtype and Arrow type, and whether they are ordered
``["arrow"]``                          `pandas.ArrowDtype` of the column's Arrow type
``None``                               pandas' default for the Arrow type, in a dtype that has nulls
=====================================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import text, types
from walrus_ts.columnar.schema import Column, Label, Schema, fields_for
from walrus_ts.errors import DataError, UsageError
from walrus_ts.ids import COUNTERS, TICKS, Unit, parse_zone

Backend = Literal["numpy_nullable", "pyarrow"]

Objects = npt.NDArray[Any]

_YEAR_10000 = 253_402_300_800  # seconds since 1970
_MASKED = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)
_OBJECTS: dict[str, pa.DataType | None] = {  # what pandas' infer_dtype says, and the Arrow type of it
    "string": pa.string(),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "decimal": None,  # of the precision that the values have
    "nested": None,  # of the types within
    "empty": pa.null(),
}
_MISSING = {"None": None, "nan": float("nan"), "NA": pd.NA}


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


# In ------------------------------------------------------------------------------------------------------------------


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
    index = _checked_index(frame.index, zone)
    labels = frame.columns.tolist()
    fields = fields_for(labels)
    columns, arrays = [], []
    for position, (label, field) in enumerate(zip(labels, fields, strict=True)):
        array, dtype, nullable = _column(frame.iloc[:, position], label)
        columns.append(Column(label, field, array.type, dtype, nullable))
        arrays.append(array)
    schema = Schema(tuple(columns), *_index_facts(index), _describe_labels(frame.columns))
    return Table(schema, arrays, _times(index))


def _set_index(frame: pd.DataFrame, time: Label) -> pd.DataFrame:
    if time not in frame.columns:
        known = ", ".join(map(repr, frame.columns))
        raise UsageError(f"time={time!r}: the frame has no such column; it has {known}", column=time)
    return frame.set_index(time)


def _checked_index(index: pd.Index, zone: tzinfo | None) -> pd.DatetimeIndex:
    """Check an index, and localise a naive one to the series' zone."""
    if not isinstance(index, pd.DatetimeIndex):
        raise UsageError(
            f"the index of the frame has to be a DatetimeIndex; found {type(index).__name__} of {index.dtype}. Make "
            "one with `frame.index = pd.to_datetime(frame.index)`, or name a column: `append(frame, time='...')`.",
            dtype=str(index.dtype),
        )
    if index.hasnans:
        row = int(np.argmax(index.isna()))
        raise UsageError(
            f"the index has no time (NaT) at row {row}: drop such rows (`frame[frame.index.notna()]`)",
            row=row,
        )
    if not index.is_monotonic_increasing:
        ticks = index.asi8
        row = int(np.argmax(ticks[1:] < ticks[:-1])) + 1
        raise UsageError(
            f"the index is out of order: row {row}, {index[row]}, is older than row {row - 1}, {index[row - 1]}. Sort "
            "it: `frame.sort_index(kind='stable')`.",
            row=row,
        )
    if zone is not None and index.tz is None:
        index = _localised(index, zone)
    _check_range(index)
    return index


def _localised(index: pd.DatetimeIndex, zone: tzinfo) -> pd.DatetimeIndex:
    try:
        localised = index.tz_localize(zone)
    except ValueError as error:  # pandas' own message names the time
        raise UsageError(
            f"the naive index cannot be localised to the series' zone {zone}: {error}. Say what is meant: "
            f"`frame.index = frame.index.tz_localize('{zone}', ambiguous=..., nonexistent=...)`.",
            tz=zone,
        ) from error
    if not localised.is_monotonic_increasing:  # pragma: no cover  ambiguous times are an error before
        raise UsageError(f"the index is out of order once it is localised to {zone}", tz=zone)
    return localised


def _check_range(index: pd.DatetimeIndex) -> None:
    ticks = index.asi8
    if not len(ticks):
        return
    if ticks[0] < 0:
        raise UsageError(f"row 0 is of {index[0]}, before 1970: it has no stream id", row=0)
    behind = ticks >= min(_YEAR_10000 * TICKS[_unit(index)], 2**63 - 1)
    if behind[-1]:
        row = int(np.argmax(behind))
        raise UsageError(f"row {row} lies behind the year 9999: it has no stream id", row=row)
    if len(ticks) > COUNTERS:
        crowded = ticks[COUNTERS:] == ticks[:-COUNTERS]
        if crowded.any():
            row = int(np.argmax(crowded))
            raise UsageError(
                f"more than 2**20 rows share the timestamp {index[row]} (row {row + COUNTERS} is the first too many). "
                "Give the frame a finer index, or spread the rows over several streams.",
                row=row + COUNTERS,
            )


def _unit(index: pd.DatetimeIndex) -> Unit:
    return index.unit


def _index_facts(index: pd.DatetimeIndex) -> tuple[Unit, str | None, Label]:
    zone = None if index.tz is None else str(index.tz)
    if zone is not None:
        try:
            same = pd.DatetimeTZDtype(index.unit, zone).tz
        except Exception as error:
            raise UsageError(
                f"the zone of the index, {index.tz!r}, has no name that it can be made from again. Convert it: "
                "`frame.tz_convert('Europe/Berlin')`, for example.",
                tz=index.tz,
            ) from error
        parse_zone(same)
    return _unit(index), zone, index.name


def _times(index: pd.DatetimeIndex) -> pa.TimestampArray:
    return pa.array(index.asi8).view(pa.timestamp(index.unit))


def _column(series: pd.Series[Any], label: Label) -> tuple[pa.Array, Any, bool]:
    """Return a column as Arrow has it, its dtype's description, and whether the dtype has nulls."""
    dtype, values = series.dtype, series.array
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(series, label)
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        array, description = _objects(series, label)
        return array, description, True
    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        return _text_array(values, label), ["string", dtype.storage, missing], True
    if isinstance(dtype, pd.ArrowDtype):
        array = _combined(pa.array(values))
        text.check_type(array.type, label)
        return array, ["arrow"], True
    if isinstance(values, _MASKED):
        return pa.array(values), dtype.name, True
    if isinstance(dtype, pd.DatetimeTZDtype):
        _index_facts(pd.DatetimeIndex([], dtype=dtype))
        return _combined(pa.array(series)), str(dtype), True
    if isinstance(dtype, np.dtype) and dtype.kind in "iufbmM" and dtype.itemsize <= 8:
        return _combined(pa.array(series, from_pandas=True)), dtype.name, dtype.kind in "fmM"
    raise UsageError(
        f"column {label!r} is of dtype {dtype}, which cannot be stored. Convert it to numbers, text or times: "
        f"`frame[{label!r}].astype(...)`.",
        column=label,
        dtype=str(dtype),
    )


def _combined(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return (
        pa.concat_arrays(array.chunks)
        if isinstance(array, pa.ChunkedArray) and array.num_chunks
        else (pa.array([], array.type) if isinstance(array, pa.ChunkedArray) else array)
    )


def _text_array(values: Any, label: Label) -> pa.Array:
    try:
        return _combined(pa.array(values, type=pa.string(), from_pandas=True))
    except UnicodeEncodeError as error:
        row = next(i for i, v in enumerate(values) if isinstance(v, str) and not _is_unicode(v))
        raise UsageError(
            f"column {label!r} has text that is no valid Unicode at row {row}: {values[row]!r}. Mend it: "
            "`.str.encode('utf-8', 'replace').str.decode('utf-8')`.",
            column=label,
            row=row,
        ) from error


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _categorical(series: pd.Series[Any], label: Label) -> tuple[pa.Array, Any, bool]:
    categorical = cast(pd.Categorical, series.array)
    index = categorical.categories
    categories, description, _ = _column(pd.Series(index), label)
    codes = categorical.codes.astype(np.int32)
    array = categories.take(pa.array(codes, mask=codes < 0))
    texts = [value.decode() for value in text.encode(categories).to_pylist()]
    facts = {
        "ordered": categorical.ordered,
        "values": texts,
        "type": types.to_json(categories.type),
        "dtype": description,
    }
    return array, ["category", facts], True


def _objects(series: pd.Series[Any], label: Label) -> tuple[pa.Array, Any]:
    """Convert a column of Python objects, and refuse it where they would not come back as they are."""
    values = series.to_numpy(dtype=object)
    absent = np.asarray(pd.isna(values), bool)
    missing = _missing_kind(values[absent], label)
    kind = pd.api.types.infer_dtype(values[~absent], skipna=False)
    if kind == "mixed" and isinstance(values[~absent][0], (list, dict)):
        kind = "nested"
    if kind not in _OBJECTS:
        raise _no_object(series, label, kind, absent)
    type_ = _OBJECTS[kind]
    if kind == "string":
        return _text_array(_without(values, absent), label), ["object", missing]
    try:
        array = _combined(pa.array(_without(values, absent), type=type_))
    except (pa.ArrowException, OverflowError) as error:
        raise UsageError(
            f"column {label!r} holds objects ({kind}) that Arrow does not take: {error}", column=label
        ) from error
    text.check_type(array.type, label)
    for row, (value, back) in enumerate(zip(values, array.to_pylist(), strict=True)):
        if not absent[row] and not _same_object(value, back):
            raise UsageError(
                f"column {label!r} has an object that would come back changed at row {row}: {value!r} of type "
                f"{type(value).__name__} as {back!r}. Convert the column to one type (`.astype(...)`).",
                column=label,
                row=row,
            )
    return array, ["object", missing]


def _same_object(one: Any, other: Any) -> bool:
    """Compare objects, and their types, and those of what is within them; nan is nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same_object, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_object(one[key], other[key]) for key in one)
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124  only nan is not itself


def _without(values: Objects, absent: npt.NDArray[np.bool_]) -> Objects:
    """Return objects with None where they are absent."""
    cleared = values.copy()
    cleared[absent] = None
    return cleared


def _missing_kind(missing: Objects, label: Label) -> str:
    kinds = {
        "None" if v is None else "NA" if v is pd.NA else "nan" if isinstance(v, float) else repr(v) for v in missing
    }
    if len(kinds) > 1 or not kinds <= set(_MISSING):
        raise UsageError(
            f"column {label!r} holds different kinds of missing values: {', '.join(sorted(kinds))}. Make them one: "
            f"`frame[{label!r}].where(frame[{label!r}].notna(), None)`.",
            column=label,
        )
    return kinds.pop() if kinds else "None"


def _no_object(series: pd.Series[Any], label: Label, kind: str, absent: Objects) -> UsageError:
    values = series.to_numpy(dtype=object)
    first = type(values[~absent][0])
    others = (row for row in range(len(values)) if not absent[row] and type(values[row]) is not first)
    row = next(others, int(np.argmin(absent)))
    return UsageError(
        f"column {label!r} holds objects of the kind {kind!r}, which cannot be stored: {values[row]!r} of type "
        f"{type(values[row]).__name__} at row {row}. Convert it: `.astype(str)`, `pd.to_datetime`, `pd.to_numeric`.",
        column=label,
        row=row,
    )


# Arrow data ----------------------------------------------------------------------------------------------------------


def _arrow_table(data: Any) -> pa.Table:
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise UsageError(
        "expected a DataFrame, a Series, a pyarrow Table or RecordBatch, a polars DataFrame or something with "
        f"`__arrow_c_stream__`; found {type(data).__name__}",
        type=type(data),
    )


def _from_arrow(table: pa.Table, time: Label | None, zone: tzinfo | None) -> Table:
    time = _time_column(table, time)
    clock = table.column(time)
    index = _checked_index(pd.DatetimeIndex(clock.to_pandas(), name=time), zone)
    # Arrow's own unit: pandas has them all, but `to_pandas` may choose another.
    index = index.as_unit(clock.type.unit)
    rest = table.drop_columns([time])
    fields = fields_for(rest.column_names)
    arrays = [_plain_text(_combined(column)) for column in rest.columns]
    for name, array in zip(rest.column_names, arrays, strict=True):
        text.check_type(array.type, name)
    columns = [Column(n, f, a.type, ["arrow"]) for n, f, a in zip(rest.column_names, fields, arrays, strict=True)]
    return Table(Schema(tuple(columns), *_index_facts(index)), arrays, _times(index))


def _plain_text(array: pa.Array) -> pa.Array:
    """Cast polars' views to what pandas has: one text type."""
    if pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    return array.cast(pa.binary()) if pa.types.is_binary_view(array.type) else array


def _time_column(table: pa.Table, time: Label | None) -> str:
    names = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if time is not None:
        if time not in names:
            raise UsageError(f"time={time!r} is no timestamp column; there are {names}", column=time)
        return str(time)
    if len(names) != 1:
        raise UsageError(
            f"expected one timestamp column, found {len(names)}: {names}. Name it: `append(..., time='...')`.",
            columns=names,
        )
    return str(names[0])


# Out -----------------------------------------------------------------------------------------------------------------


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
    for position, column in enumerate(schema.columns):
        values[position] = _values(arrays[position], column, backend)
        arrays[position] = None  # of a long frame, no column is held twice for longer than it takes to convert it
    for position, array in values.items():
        if isinstance(array, np.ndarray) and array.dtype == object:  # pandas 3 would make `str` of it
            values[position] = pd.Series(array, index=index, dtype=object)
    frame = pd.DataFrame(values, index=index, copy=False)
    frame.columns = _restore_labels([column.label for column in schema.columns], schema.labels)
    return frame


def to_index(ticks: Objects, schema: Schema, zone: tzinfo | None) -> pd.DatetimeIndex:
    """Make the index."""
    index = pd.DatetimeIndex(ticks.view(f"M8[{schema.unit}]"), name=schema.name)
    if schema.zone is None:
        return index
    return index.tz_localize("UTC").tz_convert(zone or schema.zone)


def _values(array: pa.ChunkedArray, column: Column, backend: Backend | None) -> Any:
    description = column.dtype
    if backend is not None:
        return _backend_values(array, backend)
    if description is None:
        return _default_values(array)
    if isinstance(description, str):
        return _plain_values(array, description)
    kind, *rest = description
    if kind == "arrow":
        return _from_arrow_array(pd.ArrowDtype(array.type), array)
    if kind == "string":
        return _from_arrow_array(_string_dtype(*rest), array.cast(pa.large_string()))
    if kind == "object":
        return _object_values(array, *rest)
    return _category_values(array, rest[0], column)


def _plain_values(array: pa.ChunkedArray, name: str) -> Any:
    dtype = pd.api.types.pandas_dtype(name)
    if isinstance(dtype, np.dtype):
        if dtype.kind in "iub":
            if array.null_count:  # rows of another program that do without the field
                return _default_values(array)
            return _writable(array).astype(dtype, copy=False)
        if dtype.kind == "f":
            return _writable(array).astype(dtype, copy=False)
        return _ticks(array).view(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(_ticks(array).view(f"M8[{dtype.unit}]"), tz="UTC").tz_convert(dtype.tz).array
    return _from_arrow_array(dtype, array)


def _from_arrow_array(dtype: Any, array: pa.ChunkedArray) -> Any:
    """Let pandas' dtype read an Arrow array: the protocol that its stubs do not know."""
    return dtype.__from_arrow__(array)


def _writable(array: pa.ChunkedArray) -> Objects:
    """Return numbers as numpy has them, nan where they are null, in memory of their own."""
    values: Objects = array.to_numpy()
    return values if values.flags.writeable else values.copy()


def _ticks(array: pa.ChunkedArray) -> Objects:
    """Return times or durations as integers, NaT where they are null."""
    return np.array(pc.fill_null(array.cast(pa.int64()), np.iinfo(np.int64).min))


def _default_values(array: pa.ChunkedArray) -> Any:
    """Choose a dtype that has nulls."""
    type_ = array.type
    if pa.types.is_integer(type_):
        name = str(type_).replace("int", "Int").replace("uI", "UI")
        return _from_arrow_array(pd.api.types.pandas_dtype(name), array)
    if pa.types.is_boolean(type_):
        return _from_arrow_array(pd.BooleanDtype(), array)
    if types.family(type_) == "text":
        return pd.Series(_object_values(array, "None"), dtype="str").array
    if pa.types.is_floating(type_):
        return _writable(array)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return array.to_pandas().array
    return _object_values(array, "None")


def _backend_values(array: pa.ChunkedArray, backend: Backend) -> Any:
    if backend == "pyarrow":
        return _from_arrow_array(pd.ArrowDtype(array.type), array)
    if backend != "numpy_nullable":
        raise UsageError(f"dtype_backend is 'numpy_nullable' or 'pyarrow'; found {backend!r}", dtype_backend=backend)
    if types.family(array.type) == "text":
        return _from_arrow_array(pd.StringDtype(), array.cast(pa.large_string()))
    if pa.types.is_floating(array.type):
        name = "Float32" if array.type.bit_width <= 32 else "Float64"
        return _from_arrow_array(pd.api.types.pandas_dtype(name), array.cast(name.lower()))
    return _default_values(array)


def _string_dtype(storage: str, missing: str) -> Any:
    make: Any = pd.StringDtype
    try:
        return make(storage, na_value=_MISSING[missing])
    except TypeError:  # pandas 2.2 has no na_value
        return make("pyarrow_numpy" if missing == "nan" else storage)


def _object_values(array: pa.ChunkedArray, missing: str) -> Objects:
    values = np.empty(len(array), object)
    values[:] = array.to_numpy() if types.family(array.type) == "text" else array.to_pylist()
    if missing != "None" and array.null_count:
        values[np.asarray(array.is_null())] = _MISSING[missing]
    return values


def _category_values(array: pa.ChunkedArray, facts: Mapping[str, Any], column: Column) -> pd.Categorical:
    type_ = types.from_json(facts["type"])
    values = [value.encode() for value in facts["values"]]
    categories = text.decode(pa.array(values, pa.binary()), type_)
    codes = pc.fill_null(pc.index_in(array, value_set=categories), -1)
    unknown = (np.asarray(codes) < 0) & np.asarray(array.is_valid())
    if unknown.any():
        value = array[int(np.argmax(unknown))].as_py()
        raise DataError(
            f"column {column.label!r} holds the value {value!r}, which is none of its categories (another program "
            "wrote it). `declare` the column as text.",
            column=column.label,
            value=value,
        )
    index = pd.Index(
        _values(pa.chunked_array([categories]), Column(column.label, column.field, type_, facts["dtype"]), None)
    )
    return pd.Categorical.from_codes(np.asarray(codes), categories=index, ordered=facts["ordered"])


# Labels --------------------------------------------------------------------------------------------------------------


def _describe_labels(columns: pd.Index) -> Any:
    names = [None if name is None else str(name) for name in columns.names]
    if isinstance(columns, pd.MultiIndex):
        return {"names": names, "levels": [_label_dtype(level) for level in columns.levels]}
    return {"names": names, "dtype": _label_dtype(columns)}


def _label_dtype(index: pd.Index) -> str:
    if isinstance(index.dtype, pd.StringDtype):
        return "string" if index.dtype.na_value is pd.NA else "str"
    return str(index.dtype)


def _restore_labels(labels: list[Label], description: Any) -> pd.Index:
    if description is None:
        return pd.Index(labels) if labels else pd.Index([], dtype="object")
    if "levels" in description:
        return _restore_multi(labels, description)
    (name,) = description["names"]
    try:
        return _index(labels, description["dtype"], name)
    except (TypeError, ValueError):  # `str` before pandas 3, or a column more than the record's
        return _index(labels, None, name)


def _index(labels: list[Label], dtype: Any, name: Any) -> pd.Index:
    index: pd.Index = pd.Index(labels, dtype=dtype, name=name)
    return index


def _restore_multi(labels: list[Label], description: Any) -> pd.Index:
    if not all(isinstance(label, tuple) and len(label) == len(description["names"]) for label in labels):
        return pd.Index(labels, tupleize_cols=False)
    parts = list(zip(*labels, strict=True)) or [()] * len(description["names"])
    arrays = [pd.Index(part, dtype=dtype) for part, dtype in zip(parts, description["levels"], strict=True)]
    return pd.MultiIndex.from_arrays(arrays, names=description["names"])


# Declared columns ----------------------------------------------------------------------------------------------------


def declared(
    columns: Mapping[Label, Any], unit: Unit, zone: tzinfo | str | None, fields: Iterable[bytes] = ()
) -> Schema:
    """Make the schema of columns that are named with their dtypes.

    Raises
    ------
    UsageError
        A dtype cannot be stored, or there is no such unit or zone.
    """
    if unit not in TICKS:
        raise UsageError(f"unit is one of {', '.join(TICKS)}; found {unit!r}", unit=unit)
    made = []
    for (label, dtype), field in zip(columns.items(), fields_for(list(columns)), strict=True):
        try:
            empty = pd.Series([], dtype=dtype)
        except TypeError as error:
            raise UsageError(f"column {label!r}: {dtype!r} is no dtype", column=label) from error
        if empty.dtype == object:
            made.append(Column(label, field, pa.string(), ["object", "None"]))
            continue
        array, description, nullable = _column(empty, label)
        made.append(Column(label, field, array.type, description, nullable))
    parsed = parse_zone(zone)
    index = (
        pd.DatetimeIndex([], dtype=f"M8[{unit}]")
        if parsed is None
        else pd.DatetimeIndex([], dtype=pd.DatetimeTZDtype(unit, parsed))
    )
    return Schema(tuple(made), *_index_facts(index)[:2], None, _describe_labels(pd.Index(list(columns))))
