"""Numbers <-> text, where Arrow's casts take what is no number's text, or write more of it than there need be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def halves_text(array: pa.Array) -> pa.Array:
    """Write float16 as the shortest text that reads back as the same; Arrow writes all digits of a float32."""
    halves = array.view(pa.uint16()).dictionary_encode()
    shortest = halves.dictionary.to_numpy().view(np.float16).astype(str).astype(np.float64)
    return pa.array(shortest).cast(pa.string()).take(halves.indices)


def floats_from(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Read floats.

    Parameters
    ----------
    text : BinaryArray or BinaryViewArray, shape (n,)
    type_ : DataType
        A type of floats.

    Raises
    ------
    pyarrow.ArrowInvalid
        A text is no number, or that of one beyond those of the type, which Arrow would take for infinity.
    """
    if type_.bit_width == 16:
        text = text.cast(pa.string())
    values = text.cast(type_)  # Arrow casts wider ones from views without a copy
    if np.isinf(values.to_numpy(zero_copy_only=False)).any():
        said = pc.match_substring(text.cast(pa.string()), "inf", ignore_case=True)
        if pc.any(pc.and_(pc.is_inf(values), pc.invert(said))).as_py():
            raise pa.ArrowInvalid(f"a number beyond those of {type_}")
    return values


def integers_from(text: pa.StringArray, type_: pa.DataType) -> pa.Array:
    """Read integers.

    Raises
    ------
    pyarrow.ArrowInvalid
        A text is none of decimal digits, or beyond the type.
    """
    # Arrow takes "0x10", too. A look at all bytes takes a hundredth of the cast's time; at the texts, more than all.
    if _greatest_byte(text) > ord("9") and pc.any(pc.match_substring(text, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("hexadecimal digits")
    return text.cast(type_)


def _greatest_byte(text: pa.StringArray) -> int:
    _, offsets, data = text.buffers()
    if data is None or not len(text):
        return 0
    ends = np.frombuffer(offsets, np.int32)
    within = np.frombuffer(data, np.uint8)[ends[text.offset] : ends[text.offset + len(text)]]
    return int(within.max(initial=0))
