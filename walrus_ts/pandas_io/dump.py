"""A column of a frame -> Arrow, and the description of its dtype; refuses what would not come back as it is."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar import text, types
from walrus_ts.columnar.labels import Label, is_unicode, label_to_json
from walrus_ts.errors import UsageError
from walrus_ts.pandas_io.index import stored_zone
from walrus_ts.pandas_io.restore import MISSING, Objects, to_objects
from walrus_ts.times import zone_name

_MASKED = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)
_ARROW_REFUSES = (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError)
_OBJECTS: dict[str, pa.DataType | None] = {  # what pandas' infer_dtype says, and the Arrow type of it
    "string": pa.string(),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "floating": pa.float64(),
    "date": pa.date32(),
    "datetime": None,  # of the zone that the values have
    "timedelta": pa.duration("us"),
    "time": pa.time64("us"),
    "decimal": None,  # of the precision that the values have
    "nested": None,  # of the types within
    "empty": pa.null(),
}


def to_array(series: pd.Series[Any], label: Label) -> tuple[pa.Array, Any, bool]:
    """Return a column as Arrow has it, its dtype's description, and whether the dtype has nulls."""
    dtype, values = series.dtype, series.array
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(series, label)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        array, description = _objects(series, label)
        return array, description, True
    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        return _text_array(values, label), ["string", dtype.storage, missing], True
    if isinstance(dtype, pd.ArrowDtype):
        return _checked(pa.array(values), label), ["arrow"], True
    if isinstance(values, _MASKED):
        return pa.array(values), dtype.name, True
    if isinstance(dtype, pd.DatetimeTZDtype):
        stored_zone(dtype, f"column {label!r}", f"frame[{label!r}].dt.tz_convert")
        return _checked(pa.array(series), label), str(dtype), True
    if isinstance(dtype, np.dtype) and dtype.kind in "iufbmM" and dtype.itemsize <= 8:
        return _checked(pa.array(series, from_pandas=True), label), dtype.name, dtype.kind in "fmM"
    raise UsageError(
        f"column {label!r} is of dtype {dtype}, which cannot be stored. Convert it to numbers, text or times: "
        f"`frame[{label!r}].astype(...)`.",
        column=label,
        dtype=str(dtype),
    )


def combined(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Make one array of chunks."""
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _checked(array: pa.Array | pa.ChunkedArray, label: Label) -> pa.Array:
    array = combined(array)
    text.check(array, label)
    return array


def _text_array(values: Any, label: Label) -> pa.Array:
    try:
        return combined(pa.array(values, type=pa.string(), from_pandas=True))
    except UnicodeEncodeError as error:
        row = next(i for i, v in enumerate(values) if isinstance(v, str) and not is_unicode(v))
        raise UsageError(
            f"column {label!r} has text that is no valid Unicode at row {row}: {values[row]!r}. Mend it: "
            "`.str.encode('utf-8', 'replace').str.decode('utf-8')`.",
            column=label,
            row=row,
        ) from error


def _categorical(series: pd.Series[Any], label: Label) -> tuple[pa.Array, Any, bool]:
    categorical = cast(pd.Categorical, series.array)
    index = categorical.categories
    categories, description, _ = to_array(pd.Series(index), label)
    codes = categorical.codes.astype(np.int32)
    array = categories.take(pa.array(codes, mask=codes < 0))
    try:
        texts = [value.decode() for value in text.encode(categories).to_pylist()]
    except UnicodeDecodeError as error:
        raise UsageError(
            f"column {label!r} has a category of bytes that are no text: {error.object!r}. Store it as bytes: "
            f"`frame[{label!r}].astype(object)`.",
            column=label,
        ) from error
    facts: dict[str, Any] = {
        "ordered": categorical.ordered,
        "values": texts,
        "type": types.to_json(categories.type),
        "dtype": description,
    }
    if index.name is not None:
        facts["name"] = _name_of_categories(index, label)
    return array, ["category", facts], True


def _name_of_categories(index: pd.Index, label: Label) -> Any:
    try:
        return label_to_json(index.name)
    except UsageError as error:
        renamed = f"frame[{label!r}].cat.rename_categories(frame[{label!r}].cat.categories.rename('...'))"
        raise UsageError(
            f"the categories of column {label!r} have the name {index.name!r}, of type {type(index.name).__name__}, "
            f"which is none that a column can have. Rename them: `frame[{label!r}] = {renamed}`.",
            column=label,
        ) from error


def _objects(series: pd.Series[Any], label: Label) -> tuple[pa.Array, Any]:
    """Convert a column of Python objects, and refuse it where they would not come back as they are."""
    values = series.to_numpy(dtype=object)
    absent = _absent(values, label)
    missing = _missing_kind(values[absent], label)
    kind = pd.api.types.infer_dtype(values[~absent], skipna=False)
    if kind == "mixed" and isinstance(values[~absent][0], (list, dict)):
        kind = "nested"
    if kind not in _OBJECTS:
        raise _no_object(series, label, kind, absent)
    type_ = _OBJECTS[kind]
    if kind == "string" and set(map(type, values[~absent])) == {str}:
        return _text_array(_without(values, absent), label), ["object", missing]
    try:
        array = combined(pa.array(_without(values, absent), type=type_))
    except _ARROW_REFUSES as error:
        row = _first_refused(_without(values, absent), type_)
        raise UsageError(
            f"column {label!r} holds objects ({kind}) that Arrow does not take: {values[row]!r} of type "
            f"{type(values[row]).__name__} at row {row} ({error}). Convert the column to one type, or to text "
            f"(`frame[{label!r}].astype(str)`).",
            column=label,
            row=row,
        ) from error
    if pa.types.is_decimal128(array.type):  # a later value may have more digits
        array = array.cast(pa.decimal128(38, array.type.scale))
    text.check(array, label)
    for row, (value, back) in enumerate(zip(values, to_objects(array), strict=True)):
        if not absent[row] and not _same_object(value, back):
            cure = _cure(kind, label, values[~absent])
            raise UsageError(
                f"column {label!r} has an object that would come back changed at row {row}: {value!r} of type "
                f"{type(value).__name__} as {back!r}. Convert the column to one type (`{cure}`).",
                column=label,
                row=row,
            )
    return array, ["object", missing]


def _absent(values: Objects, label: Label) -> npt.NDArray[np.bool_]:
    try:
        return np.asarray(pd.isna(values), bool)
    except InvalidOperation as error:  # of a signalling NaN, as of every comparison with one
        row = next(at for at, value in enumerate(values) if isinstance(value, Decimal) and value.is_snan())
        raise UsageError(
            f"column {label!r} holds objects that cannot be compared: {values[row]!r} at row {row}. Make it None, or "
            f"convert the column to text (`frame[{label!r}].map(str)`).",
            column=label,
            row=row,
        ) from error


def _first_refused(values: Objects, type_: pa.DataType | None) -> int:
    """Return the position of the first value that Arrow does not take behind those before it."""
    taken, refused = 0, len(values)  # so many of the first ones
    while refused - taken > 1:
        middle = (taken + refused) // 2
        try:
            pa.array(values[:middle], type=type_)
            taken = middle
        except _ARROW_REFUSES:
            refused = middle
    return taken


def _cure(kind: str, label: Label, values: Objects) -> str:
    """Tell what makes one type of a column of objects that would come back changed."""
    if kind == "datetime":
        several = len({value.tzinfo for value in values}) > 1
        return f"pd.to_datetime(frame[{label!r}]{', utc=True' if several else ''})"
    if kind == "timedelta":
        return f"pd.to_timedelta(frame[{label!r}])"
    return f"frame[{label!r}].astype({'float' if kind == 'floating' else '...'})"


def _same_object(one: Any, other: Any) -> bool:
    """Compare objects, and their types, and those of what is within them; nan is nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same_object, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_object(one[key], other[key]) for key in one)
    if isinstance(one, (dt.datetime, dt.time)) and _clock_of(one) != _clock_of(other):
        return False
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124  only nan is not itself


def _clock_of(value: dt.datetime | dt.time) -> tuple[str, int]:
    """Return what equal times may differ in: their zone, and whether a clock shows them the second time."""
    return zone_name(value.tzinfo) if value.tzinfo is not None else "", value.fold


def _without(values: Objects, absent: npt.NDArray[np.bool_]) -> Objects:
    """Return objects with None where they are absent."""
    cleared = values.copy()
    cleared[absent] = None
    return cleared


def _missing_kind(missing: Objects, label: Label) -> str:
    kinds = {
        "None" if v is None else "NA" if v is pd.NA else "nan" if isinstance(v, float) else repr(v) for v in missing
    }
    if len(kinds) > 1 or not kinds <= set(MISSING):
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
