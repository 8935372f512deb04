"""Lists, structs and maps <-> JSON.

Within JSON a value is a number, text, true or false where JSON has it so; timestamps, dates and decimals are text, as
they are in fields of their own, durations and times of day integers in their unit. What floats have and JSON has not is
text: "nan", "inf", "-inf".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

MOST_PLACES = 1 << 16  # of a value of a fixed size: a record of a larger one would make memory of nulls

_NO_JSON = ("nan", "inf", "-inf")
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
_IN_JSON = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
)


def is_nested(type_: pa.DataType) -> bool:
    """Tell whether a type is a list, a struct or a map."""
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
        or pa.types.is_struct(type_)
        or pa.types.is_map(type_)
    )


def places(type_: pa.DataType) -> int:
    """Return how many numbers, texts or bytes a value has room for, and takes when it is null: one, or a fixed size."""
    if pa.types.is_fixed_size_binary(type_) and not pa.types.is_decimal(type_):
        return int(type_.byte_width)
    if pa.types.is_fixed_size_list(type_):
        return int(type_.list_size) * places(type_.value_type)
    if pa.types.is_struct(type_):
        return sum(places(field.type) for field in _children(type_))
    return 1


def why_no_json(type_: pa.DataType) -> str | None:
    """Say why the values of a type cannot be written as JSON and read again; None where they can."""
    if pa.types.is_dictionary(type_):
        of_lists = is_nested(type_.value_type) or pa.types.is_dictionary(type_.value_type)
        return "it has dictionaries of lists or of dictionaries" if of_lists else why_no_json(type_.value_type)
    if is_nested(type_):
        return _why_not_nested(type_)
    if any(is_kind(type_) for is_kind in _BYTES):
        return "JSON has no bytes"
    try:
        plain = pa.array([], type_).cast(_utc(type_)).cast(_plain(type_)).type
    except pa.ArrowException:
        return f"it has {type_} in it"
    return None if any(is_kind(plain) for is_kind in _IN_JSON) else f"it has {type_} in it"


def _why_not_nested(type_: pa.DataType) -> str | None:
    fields = _children(type_)
    if pa.types.is_fixed_size_list(type_) and type_.list_size == 0:  # by which Arrow divides, and the process ends
        return "it has lists of the fixed size 0"
    if pa.types.is_struct(type_):
        names = _names(fields)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            return f"it has structs with two fields {twice!r}"
    return next(filter(None, (why_no_json(field.type) for field in fields)), None)


def without_views(array: pa.Array) -> pa.Array:
    """Cast polars' views, also of categories and within lists, to the types for which Arrow has all its kernels."""
    type_ = map_leaves(array.type, _without_view)
    return array if type_ == array.type else _cast(array.cast(without_nulls(type_)), type_)


def _without_view(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return pa.dictionary(type_.index_type, _without_view(type_.value_type), type_.ordered)
    if pa.types.is_string_view(type_):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(type_) else type_


def without_dictionary(array: pa.Array) -> pa.Array:
    """Return the values of a dictionary; an array that is none itself."""
    return without_views(array).dictionary_decode() if pa.types.is_dictionary(array.type) else array


def without_nulls(type_: pa.DataType) -> pa.DataType:
    """Put another in place of the null type within lists: of what it casts to that, Arrow loses elements."""
    return map_leaves(type_, lambda leaf: pa.int8() if pa.types.is_null(leaf) else leaf) if is_nested(type_) else type_


def leaves(array: pa.Array) -> list[pa.Array]:
    """Return what is at the ends of a nested array; an array that is not nested itself."""
    if not is_nested(array.type):
        return [array]
    if pa.types.is_map(array.type):
        parts = [array.keys, array.items]
    else:
        parts = array.flatten() if pa.types.is_struct(array.type) else [array.flatten()]
    return [leaf for part in parts for leaf in leaves(part)]


def filled(type_: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type with those of another where it has null ones: what is empty or null so far may become anything."""
    if pa.types.is_null(type_):
        return other
    if not (is_nested(type_) and is_nested(other)):
        return type_
    fields, others = _children(type_), _children(other)
    if len(fields) != len(others) or (pa.types.is_struct(type_) and _names(fields) != _names(others)):
        return type_
    return _rebuilt(type_, [f.with_type(filled(f.type, o.type)) for f, o in zip(fields, others, strict=True)])


def encode(array: pa.Array) -> pa.Array:
    """Write each value as JSON.

    Parameters
    ----------
    array : Array, shape (n,)
        Of a nested type for which `why_no_json` finds nothing.

    Returns
    -------
    text : BinaryArray, shape (n,)
    """
    array = without_views(array)
    type_ = map_leaves(array.type, _utc)
    values = array.cast(without_nulls(type_)).cast(without_nulls(map_leaves(type_, _plain))).to_pylist()
    jsons = (None if value is None else _to_json(value, type_) for value in values)
    texts = (
        None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        for value in jsons
    )
    return pa.array([None if text is None else text.encode() for text in texts], pa.binary())


def _to_json(value: Any, type_: pa.DataType) -> Any:
    """Make what JSON has of a value as Python has it."""
    if value is None:
        return None
    if pa.types.is_map(type_):
        return [[_to_json(key, type_.key_type), _to_json(item, type_.item_type)] for key, item in value]
    if pa.types.is_struct(type_):
        return {field.name: _to_json(value[field.name], field.type) for field in _children(type_)}
    if is_nested(type_):
        return [_to_json(item, type_.value_type) for item in value]
    if pa.types.is_floating(type_):
        return value if math.isfinite(value) else str(value)
    return value.replace(" ", "T") if pa.types.is_timestamp(type_) else value


def decode(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Read each text, JSON, as a value of a nested type.

    Raises
    ------
    pyarrow.ArrowInvalid
        A text is no JSON, or its value is none of the type.
    """
    plain = map_leaves(type_, _plain)
    try:
        values = [None if value is None else _from_json(json.loads(value), plain) for value in text.to_pylist()]
        return _cast(pa.array(values, plain), type_)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise pa.ArrowInvalid(f"no JSON of {type_}: {error}") from error


def _cast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Cast what is within an array; Arrow's own cast stumbles over what lies beneath a null struct."""
    if array.type == type_:
        return array
    if pa.types.is_null(type_):
        return pa.nulls(len(array))
    if not is_nested(type_):
        values = array.cast(_utc(type_))
        return (values.dictionary_encode() if pa.types.is_dictionary(type_) else values).cast(type_)
    mask = array.is_null()
    if pa.types.is_struct(type_):
        fields = _children(type_)
        if not fields:
            return array
        parts = [_cast(part, field.type) for part, field in zip(array.flatten(), fields, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=mask)
    if pa.types.is_map(type_):
        keys, items = _cast(array.keys, type_.key_type), _cast(array.items, type_.item_type)
        return pa.MapArray.from_arrays(_offsets(array), keys, items, type_, mask=mask)
    if pa.types.is_fixed_size_list(type_):
        values = array.values.slice(array.offset * type_.list_size, len(array) * type_.list_size)
        if array.null_count:  # a null has its places, too, and no value of the type need lie there
            beneath = np.repeat(mask.to_numpy(zero_copy_only=False), type_.list_size)
            values = values.take(pa.array(np.arange(len(beneath)), mask=beneath))
        return pa.FixedSizeListArray.from_arrays(_cast(values, type_.value_type), type=type_, mask=mask)
    values = _cast(array.values, type_.value_type)
    kind = pa.LargeListArray if pa.types.is_large_list(type_) else pa.ListArray
    return kind.from_arrays(_offsets(array), values, type=type_, mask=mask)


def _offsets(array: pa.Array) -> pa.Array:
    """Return the offsets of lists or maps in memory of their own: Arrow takes no mask beside a slice of them."""
    return pa.array(array.offsets.to_numpy())


def _from_json(value: Any, type_: pa.DataType) -> Any:
    """Make what Arrow takes of a value as JSON has it: tuples of a map's pairs, and numbers of what JSON has not."""
    if value is None:
        return None
    if pa.types.is_map(type_):
        return [(_from_json(key, type_.key_type), _from_json(item, type_.item_type)) for key, item in value]
    if pa.types.is_struct(type_):
        return {field.name: _from_json(value[field.name], field.type) for field in _children(type_)}
    if is_nested(type_):
        return [_from_json(item, type_.value_type) for item in value]
    if isinstance(value, str) and pa.types.is_floating(type_) and value in _NO_JSON:
        return float(value)
    return value


def _children(type_: pa.DataType) -> list[pa.Field]:
    if pa.types.is_map(type_):
        return [type_.key_field, type_.item_field]
    if pa.types.is_struct(type_):
        return [type_.field(at) for at in range(type_.num_fields)]
    return [type_.value_field]


def _names(fields: list[pa.Field]) -> list[str]:
    return [field.name for field in fields]


def map_leaves(type_: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Replace the types at the ends of a nested type."""
    if not is_nested(type_):
        return leaf(type_)
    return _rebuilt(type_, [field.with_type(map_leaves(field.type, leaf)) for field in _children(type_)])


def _rebuilt(type_: pa.DataType, children: list[pa.Field]) -> pa.DataType:
    """Return a type of the same kind with other children."""
    if pa.types.is_map(type_):
        return pa.map_(*children)
    if pa.types.is_struct(type_):
        return pa.struct(children)
    if pa.types.is_large_list(type_):
        return pa.large_list(children[0])
    return pa.list_(children[0], type_.list_size if pa.types.is_fixed_size_list(type_) else -1)


def _utc(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return type_.value_type
    return pa.timestamp(type_.unit, "UTC") if pa.types.is_timestamp(type_) and type_.tz else type_


def _plain(type_: pa.DataType) -> pa.DataType:
    """Return the type that a value has in JSON."""
    if pa.types.is_dictionary(type_):
        return _plain(type_.value_type)
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_) or pa.types.is_decimal(type_):
        return pa.string()
    if pa.types.is_duration(type_) or pa.types.is_time64(type_):
        return pa.int64()
    if pa.types.is_time32(type_):
        return pa.int32()
    return pa.float32() if pa.types.is_float16(type_) else type_
