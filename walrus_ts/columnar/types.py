"""Arrow types <-> JSON, and whether values of one type fit another without loss."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import nested
from walrus_ts.errors import DataError
from walrus_ts.ids import TICKS, Unit

_SIMPLE: dict[str, pa.DataType] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "date32": pa.date32(),
    "date64": pa.date64(),
}
_NAMES = {type_: name for name, type_ in _SIMPLE.items()}


def to_json(type_: pa.DataType) -> Any:
    """Describe a type: ``"int64"``, or a list of its name and parameters, as in ``["timestamp", "ns", "UTC"]``."""
    if type_ in _NAMES:
        return _NAMES[type_]
    if pa.types.is_timestamp(type_):
        return ["timestamp", type_.unit, type_.tz]
    if pa.types.is_time(type_):
        return ["time", type_.unit]
    if pa.types.is_duration(type_):
        return ["duration", type_.unit]
    if pa.types.is_decimal(type_):
        return [f"decimal{type_.bit_width}", type_.precision, type_.scale]
    if pa.types.is_fixed_size_binary(type_):
        return ["binary", type_.byte_width]
    if pa.types.is_dictionary(type_):
        return ["dictionary", to_json(type_.index_type), to_json(type_.value_type), type_.ordered]
    if pa.types.is_struct(type_):
        return ["struct", *(_field_to_json(type_.field(at)) for at in range(type_.num_fields))]
    if pa.types.is_map(type_):
        return ["map", _field_to_json(type_.key_field), _field_to_json(type_.item_field)]
    if pa.types.is_fixed_size_list(type_):
        return ["list", _field_to_json(type_.value_field), type_.list_size]
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return ["list" if pa.types.is_list(type_) else "large_list", _field_to_json(type_.value_field)]
    raise TypeError(f"the Arrow type {type_} has no description")  # text.check refuses it before


def shown(type_: pa.DataType) -> str:
    """Write a type for people: by the name that it has on record, or as Arrow writes it where it has parameters."""
    return _NAMES.get(type_) or str(type_)


def from_json(description: Any) -> pa.DataType:
    """Return the type that `to_json` described.

    Raises
    ------
    DataError
        There is no such type.
    """
    try:
        if isinstance(description, str):
            return _SIMPLE[description]
        name, *parameters = description
        type_: pa.DataType = _MAKERS[name](*parameters)
        if not 0 <= nested.places(type_) <= nested.MOST_PLACES:
            raise ValueError("values of a fixed size that is too large, or none")
    except (LookupError, ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise DataError(f"the schema record has an unknown type: {description!r}", type=description) from error
    return type_


def _field_to_json(field: pa.Field) -> list[Any]:
    return [field.name, to_json(field.type), field.nullable]


def _field(description: list[Any]) -> pa.Field:
    name, type_, nullable = description
    return pa.field(name, from_json(type_), nullable)


def _list(item: list[Any], size: int = -1) -> pa.DataType:
    if size == 0:
        raise ValueError("lists of the fixed size 0, by which Arrow divides")
    return pa.list_(_field(item), size)


def _time(unit: str) -> pa.DataType:
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _dictionary(index: Any, value: Any, ordered: bool) -> pa.DataType:
    return pa.dictionary(from_json(index), from_json(value), ordered)


_MAKERS: dict[str, Any] = {
    "timestamp": pa.timestamp,
    "time": _time,
    "duration": pa.duration,
    "decimal32": pa.decimal32,
    "decimal64": pa.decimal64,
    "decimal128": pa.decimal128,
    "decimal256": pa.decimal256,
    "binary": pa.binary,
    "dictionary": _dictionary,
    "list": _list,
    "large_list": lambda item: pa.large_list(_field(item)),
    "struct": lambda *fields: pa.struct([_field(field) for field in fields]),
    "map": lambda key, item: pa.map_(_field(key), _field(item)),
}


_VIEW_BYTES = 16  # https://arrow.apache.org/docs/format/Columnar.html


def size_of(array: pa.Array | pa.ChunkedArray) -> int:
    """Return the bytes that an array takes."""
    if isinstance(array, pa.ChunkedArray):
        return sum(map(size_of, array.chunks))
    if pa.types.is_dictionary(array.type):
        return size_of(array.indices) + size_of(array.dictionary)
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        # Arrow 23 cannot tell, and 24 ends the process, where it has made them of short texts itself.
        sizes: list[int] = [buffer.size for buffer in array.buffers() if buffer is not None]
        rows: int = array.buffers()[1].size // _VIEW_BYTES  # of which the array may be a slice
        return sum(sizes) * len(array) // max(1, rows)
    return int(array.nbytes)


def family(type_: pa.DataType) -> str:
    """Name the family of types within which values may be cast: ``"number"``, ``"text"``, ..."""
    if pa.types.is_dictionary(type_):
        return family(type_.value_type)
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return "number"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "text"
    if pa.types.is_timestamp(type_):
        return "naive timestamp" if type_.tz is None else "zoned timestamp"
    if nested.is_nested(type_):
        return "nested"
    for name in ("decimal", "duration", "boolean", "date", "time", "null"):
        if getattr(pa.types, f"is_{name}")(type_):
            return name
    return "binary"


def cast_exactly(array: pa.Array, type_: pa.DataType) -> pa.Array | None:
    """Cast an array where every value stays as it is; None where one would change.

    Parameters
    ----------
    array : Array, shape (n,)
    type_ : DataType

    Returns
    -------
    cast : Array of `type_`, shape (n,), or None
        Within lists, what is of the null type may be nulls of another.
    """
    if array.type == type_:
        return array
    array = nested.without_dictionary(array)
    if pa.types.is_dictionary(type_):  # stored as its values
        type_ = type_.value_type
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), type_)
    try:
        filled = nested.filled(array.type, type_)
        if _families(filled) != _families(type_):
            return None
        array = array.cast(nested.without_nulls(filled))
        cast = array.cast(nested.without_nulls(type_))
        same = (
            cast.cast(array.type).equals(array) if not pa.types.is_floating(array.type) else _same_floats(cast, array)
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the latter: of one kind of nesting to another
        return None
    return cast if same else None


def _families(type_: pa.DataType) -> list[str]:
    """Name the family of a type, or those of all that a nested one has at its ends."""
    return [family(leaf.type) for leaf in nested.leaves(pa.array([], type_))]


def first_inexact(array: pa.Array, type_: pa.DataType) -> int:
    """Return the position of the first value that `cast_exactly` would change."""
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        # Not a slice: Arrow casts all that its lists point into, the rows behind it, too.
        if cast_exactly(array.take(pa.array(range(low, middle))), type_) is not None:
            low = middle
        else:
            high = middle
    return low


def _same_floats(cast: pa.Array, array: pa.Array) -> bool:
    """Compare floats, where nan is nan."""
    back = cast.cast(array.type)
    differ = pc.and_(pc.not_equal(back, array), pc.or_(pc.invert(pc.is_nan(back)), pc.invert(pc.is_nan(array))))
    return not pc.any(differ).as_py()


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds every value of both exactly; None where there is none."""
    filled = nested.filled(one, other)
    if filled != one:
        return filled
    kind = family(one)
    if kind != family(other):
        return None
    if pa.types.is_timestamp(one):
        return pa.timestamp(_finer(one.unit, other.unit), one.tz)
    if pa.types.is_decimal(one):
        return _wider_decimal(one, other)
    if kind != "number":
        return None  # a duration's unit, too, stays as it is: what is stored is a number of it
    candidates = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    candidates += [pa.float32(), pa.float64()]
    if pa.types.is_floating(one):  # what is stored is the shortest text in its own width: 0.1 is another float64
        candidates = [one]
    return next((t for t in candidates if _holds(t, one) and _holds(t, other)), None)


def _finer(one: Unit, other: Unit) -> Unit:
    """Return the finer unit, but not nanoseconds in place of another: they end in 2262, and what is stored may not."""
    unit = max(one, other, key=TICKS.__getitem__)
    return "us" if unit == "ns" and one != "ns" else unit


def _wider_decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the decimal with the digits of both, before the point and behind it."""
    scale = max(one.scale, other.scale)
    precision = max(one.precision - one.scale, other.precision - other.scale) + scale
    make = pa.decimal128 if precision <= 38 and one.bit_width <= 128 else pa.decimal256
    return make(precision, scale) if precision <= 76 else None


def _holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Tell whether every value of one numeric type is one of the other."""
    if pa.types.is_floating(wide):
        digits = {16: 11, 32: 24, 64: 53}[wide.bit_width]
        if pa.types.is_floating(narrow):
            return bool(narrow.bit_width <= wide.bit_width)
        return bool(narrow.bit_width - pa.types.is_signed_integer(narrow) <= digits)
    if pa.types.is_floating(narrow):
        return False
    if pa.types.is_signed_integer(wide) == pa.types.is_signed_integer(narrow):
        return bool(narrow.bit_width <= wide.bit_width)
    return bool(pa.types.is_signed_integer(wide) and narrow.bit_width < wide.bit_width)
