"""An Arrow column <-> a column of text, as it is stored in the fields of entries.

`encode` and `decode` are inverses for every column that `check` lets pass. Arrow's casts do the work, and they are
exact: a float's text is the shortest that reads back as the same number. Only where a cast exists one way alone is
there code of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import nested, numbers
from walrus_ts.errors import UsageError
from walrus_ts.ids import TICKS, YEAR_10000

_YEAR_0 = -62_167_219_200  # seconds from 1970

Cast = Callable[[pa.Array], pa.Array]


def check(array: pa.Array, column: object) -> None:
    """Refuse a column whose values have no text.

    Raises
    ------
    UsageError
        Its Arrow type has none, its text is no UTF-8, or a time lies outside the years 0 to 9999, which ISO 8601 writes
        with four digits.
        Names the column, the type or the row, and the cure.
    """
    _check_type(array.type, column)
    for leaf in nested.leaves(nested.without_dictionary(array)):
        _check_values(leaf, column, array)


def _check_type(type_: pa.DataType, column: object) -> None:
    value_type = type_.value_type if pa.types.is_dictionary(type_) else type_
    why = nested.why_no_json(type_) if nested.is_nested(value_type) else None
    has_text = _is_plain(value_type) or _is_text(value_type) or value_type.id in _ENCODERS
    if why or not (has_text or nested.is_nested(value_type)):
        reason = f": {why}" if why else ""
        raise UsageError(
            f"column {column!r} is of the Arrow type {type_}, which has no text form here{reason}. Convert it before, "
            "to numbers, text, times or bytes, or lists of numbers, text and times.",
            column=column,
            type=type_,
        )
    if nested.places(value_type) > nested.MOST_PLACES:
        raise UsageError(
            f"column {column!r} has values of the fixed size {nested.places(value_type)}, and the most is "
            f"{nested.MOST_PLACES}. Cast it to lists, or bytes, of any size: `pa.list_(...)`, `pa.binary()`.",
            column=column,
            type=type_,
        )


def _check_values(leaf: pa.Array, column: object, array: pa.Array) -> None:
    """Check what is at the ends of a column; where that is the column itself, its rows are known."""
    if pa.types.is_date64(leaf.type) and not _are_days(leaf):
        raise UsageError(
            f"column {column!r} is of the Arrow type {leaf.type}, and has milliseconds that are no whole days in "
            "it. Cast it before, to `pa.timestamp('ms')`.",
            column=column,
            type=array.type,
        )
    invalid = _first_invalid_text(leaf)
    if invalid is not None:
        row, value = invalid
        where = f" at row {row}" if leaf is array else ""
        raise UsageError(
            f"column {column!r} has text that is no valid Unicode{where}: {value!r}. Mend it, or cast a column of "
            "text to `pa.binary()`, which keeps its bytes.",
            column=column,
            row=row if leaf is array else None,
        )
    late = _first_unwritable_time(leaf)
    if late is not None:
        where = f" at row {late}" if leaf is array else ""
        raise UsageError(
            f"column {column!r} has a time{where} whose year has not four digits, as ISO 8601 wants it: "
            f"{leaf[late].cast(pa.string())}. Make it null, or convert the column to integers.",
            column=column,
            row=late if leaf is array else None,
        )


def _first_invalid_text(array: pa.Array) -> tuple[int, bytes] | None:
    """Return the position and the bytes of the first text that is no UTF-8, which Arrow itself does not look at."""
    array = array.dictionary if pa.types.is_dictionary(array.type) else array
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return None
    as_bytes = array.cast(pa.binary() if pa.types.is_string(array.type) else pa.large_binary())
    row = first_bad(as_bytes, array.type)
    return None if row == len(array) else (row, as_bytes[row].as_py())


def _are_days(array: pa.Array) -> bool:
    try:
        array.cast(pa.date32())
    except pa.ArrowInvalid:
        return False
    return True


def _first_unwritable_time(array: pa.Array) -> int | None:
    """Return the position of the first time before the year 0 or after 9999."""
    if pa.types.is_timestamp(array.type):
        ticks, factor = array.cast(pa.int64()), Fraction(TICKS[array.type.unit])
    elif pa.types.is_date32(array.type):
        ticks, factor = array.cast(pa.int32()).cast(pa.int64()), Fraction(1, 86_400)
    elif pa.types.is_date64(array.type):
        ticks, factor = array.cast(pa.int64()), Fraction(1_000)
    else:
        return None
    if factor == TICKS["ns"]:  # 64 bits of nanoseconds do not reach so far
        return None
    low, behind = (pa.scalar(int(second * factor), pa.int64()) for second in (_YEAR_0, YEAR_10000))
    outside = pc.or_(pc.less(ticks, low), pc.greater_equal(ticks, behind))
    row: int = pc.index(outside, True).as_py()
    return row if row >= 0 else None


def _is_plain(type_: pa.DataType) -> bool:
    """Tell whether Arrow casts the type to text and back by itself."""
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_date(type_)
        or pa.types.is_null(type_)
    )


def _is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
        or pa.types.is_fixed_size_binary(type_)
    )


def encode(array: pa.Array) -> pa.Array:
    """Give each value its text.

    Parameters
    ----------
    array : Array, shape (n,)
        That `check` lets pass.

    Returns
    -------
    text : BinaryArray, shape (n,)
        Null where the value is null.
    """
    array = nested.without_dictionary(array)
    if nested.is_nested(array.type):
        return nested.encode(array)
    encoder = _ENCODERS.get(array.type.id)
    if encoder is not None:
        array = encoder(array)
    elif _is_plain(array.type):
        array = array.cast(pa.string())
    return array if pa.types.is_binary(array.type) else array.cast(pa.binary())


def decode(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Give each text the value it stands for.

    Parameters
    ----------
    text : BinaryArray or BinaryViewArray, shape (n,)
    type_ : DataType
        What to make of it.

    Returns
    -------
    values : Array of `type_`, shape (n,)
        Null where the text is null.

    Raises
    ------
    pyarrow.ArrowInvalid
        A text does not stand for a value of the type; `first_bad` finds it.
    """
    if nested.is_nested(type_):
        return nested.decode(text, type_)
    if pa.types.is_dictionary(type_):
        return decode(text, type_.value_type).dictionary_encode().cast(type_)
    decoder = _DECODERS.get(type_.id)
    if decoder is not None:
        return decoder(text.cast(pa.string()), type_)
    if pa.types.is_floating(type_):
        return numbers.floats_from(text, type_)
    if pa.types.is_integer(type_):
        return numbers.integers_from(text.cast(pa.string()), type_)
    if pa.types.is_fixed_size_binary(type_):
        return text.cast(pa.binary()).cast(type_)
    return text.cast(type_) if _is_text(type_) else text.cast(pa.string()).cast(type_)


def first_bad(text: pa.Array, type_: pa.DataType) -> int:
    """Return the position of the first text that stands for no value of the type, or the length if all do."""
    low, high = 0, len(text)
    if _decodes(text, type_):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if _decodes(text.slice(low, middle - low), type_):
            low = middle
        else:
            high = middle
    return low


def coerce(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Decode, with a null wherever a text stands for no value of the type."""
    try:
        return decode(text, type_)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, type_)
    middle = len(text) // 2
    return pa.concat_arrays([coerce(text.slice(0, middle), type_), coerce(text.slice(middle), type_)])


def _decodes(text: pa.Array, type_: pa.DataType) -> bool:
    try:
        decode(text, type_)
    except pa.ArrowInvalid:
        return False
    return True


# Types whose casts go one way, or not to ISO 8601 --------------------------------------------------------------------


def _timestamp_text(array: pa.Array) -> pa.Array:
    text = array.cast(pa.int64()).cast(pa.timestamp(array.type.unit)).cast(pa.string())
    text = pc.binary_replace_slice(text.cast(pa.binary()), 10, 11, b"T")
    return text if array.type.tz is None else pc.binary_join_element_wise(text, b"Z", b"")


def _timestamp_from(text: pa.Array, type_: pa.DataType) -> pa.Array:
    parsed = pa.timestamp(type_.unit, None if type_.tz is None else "UTC")
    try:
        ticks = text.cast(parsed)
    except pa.ArrowInvalid:
        if type_.unit != "ns":
            raise
        ticks = _first_second(text, parsed)
    return ticks if type_.tz is None else ticks.cast(pa.int64()).cast(type_)


def _first_second(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Read nanoseconds that lie within the first second that they can express: Arrow refuses its beginning."""
    first = pc.starts_with(text, "1677-09-21T00:12:43")
    later = pc.if_else(first, pc.binary_replace_slice(text.cast(pa.binary()), 17, 19, b"44").cast(pa.string()), text)
    shift = pc.if_else(first, pa.scalar(10**9, pa.int64()), pa.scalar(0, pa.int64()))
    return pc.subtract_checked(later.cast(type_).cast(pa.int64()), shift).cast(type_)


def _integer_text(array: pa.Array) -> pa.Array:
    return array.cast(pa.int64()).cast(pa.string())


def _integer_from(text: pa.Array, type_: pa.DataType) -> pa.Array:
    return numbers.integers_from(text, pa.int64()).cast(type_)


def _time_text(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _time_from(text: pa.Array, type_: pa.DataType) -> pa.Array:
    dated = pc.binary_join_element_wise("1970-01-01T", text, "")
    return dated.cast(pa.timestamp(type_.unit)).cast(type_)


def _null_from(text: pa.Array, type_: pa.DataType) -> pa.Array:
    if text.null_count != len(text):
        raise pa.ArrowInvalid("a value where there is to be none")
    return pa.nulls(len(text), type_)


_TIMESTAMP, _DURATION = pa.timestamp("s").id, pa.duration("s").id
_TIME32, _TIME64 = pa.time32("s").id, pa.time64("us").id
_ENCODERS: dict[int, Cast] = {
    _TIMESTAMP: _timestamp_text,
    _DURATION: _integer_text,
    _TIME32: _time_text,
    _TIME64: _time_text,
    pa.float16().id: numbers.halves_text,
}
_DECODERS: dict[int, Callable[[pa.Array, Any], pa.Array]] = {
    _TIMESTAMP: _timestamp_from,
    _DURATION: _integer_from,
    _TIME32: _time_from,
    _TIME64: _time_from,
    pa.null().id: _null_from,
}
