r"""A table -> XADD commands as one buffer, and the reply that they must get.

One call of Arrow's `binary_join_element_wise` writes the RESP of a whole chunk: constants, lengths and columns side by
side, ``*7\\r\\n$4\\r\\nXADD\\r\\n...``. No row becomes a Python object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.ids import Ids

_MANY = 50  # from so many ids on, Arrow writes them sooner than Python
EMPTY_PAIR = [b"", b""]  # an entry has at least one field: a row with nothing in it is "" = ""


def command(*arguments: bytes) -> bytes:
    """Write one command as RESP."""
    return b"*%d\r\n" % len(arguments) + b"".join(map(bulk, arguments))


def bulk(value: bytes) -> bytes:
    """Write one bulk string as RESP."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def command_of_ids(parts: Sequence[bytes], ids: Ids) -> bytes:
    """Write one command that ends in ids.

    Parameters
    ----------
    parts : sequence of bytes
        What stands before the ids.
    ids : uint64 array, shape (n, 2)
        Milliseconds and sequences.
    """
    if len(ids) < _MANY:
        return command(*parts, *id_list(ids))
    head = b"*%d\r\n" % (len(parts) + len(ids)) + b"".join(map(bulk, parts))
    return head + values_of(bulks(id_texts(ids[:, 0], ids[:, 1])))


def id_list(ids: Ids) -> list[bytes]:
    """Write ids, uint64 of shape (n, 2), as Redis does."""
    return [b"%d-%d" % (milliseconds, sequence) for milliseconds, sequence in ids.tolist()]


def id_texts(milliseconds: Ids, sequence: Ids) -> pa.Array:
    """Write a column of ids as Redis does.

    Parameters
    ----------
    milliseconds, sequence : uint64 arrays, shape (n,)

    Returns
    -------
    text : BinaryArray, shape (n,)
    """
    if not sequence.any():
        return pc.binary_join_element_wise(_digits(milliseconds), b"-0", b"")
    return pc.binary_join_element_wise(_digits(milliseconds), _digits(sequence), b"-")


def bulks(text: pa.Array) -> pa.Array:
    """Write each text as a bulk string; a null as nothing at all."""
    return pc.fill_null(pc.binary_join_element_wise(b"$", _lengths(text), b"\r\n", text, b"\r\n", b""), b"")


def xadds(key: bytes, ids: pa.Array, fields: Sequence[bytes], columns: Sequence[pa.Array]) -> memoryview:
    """Write one XADD a row.

    Parameters
    ----------
    key : bytes
    ids : BinaryArray, shape (n,)
    fields : sequence of bytes, shape (k,)
        The field of each column.
    columns : sequence of BinaryArray, shape (k,), each (n,)
        The values' text; a null is a field that is not there.

    Returns
    -------
    buffer : memoryview
        The RESP of n commands, less than 2 GiB.
    """
    head = b"$4\r\nXADD\r\n" + bulk(key) + b"$"
    pieces: list[bytes | pa.Array] = [head, _lengths(ids), b"\r\n", ids, b"\r\n"]
    filled = np.zeros(len(ids), np.int64)
    gaps = False
    for field, column in zip(fields, columns, strict=True):
        prefix = bulk(field) + b"$"
        if column.null_count:
            gaps = True
            filled += np.asarray(column.is_valid().cast(pa.int8()))
            pieces.append(
                pc.fill_null(pc.binary_join_element_wise(prefix, _lengths(column), b"\r\n", column, b"\r\n", b""), b"")
            )
        else:
            filled += 1
            pieces += [prefix, _lengths(column), b"\r\n", column, b"\r\n"]
    if gaps or not fields:
        empty = filled == 0
        if empty.any():
            filler = pa.scalar(b"".join(map(bulk, EMPTY_PAIR)), pa.binary())
            pieces.append(pc.if_else(pa.array(empty), filler, pa.scalar(b"", pa.binary())))
        arguments = 3 + 2 * np.maximum(filled, 1)
        pieces[:1] = [b"*", _digits(arguments), b"\r\n" + head]
    else:
        pieces[0] = b"*%d\r\n" % (3 + 2 * len(fields)) + head
    return values_of(pc.binary_join_element_wise(*_merged(pieces), b""))


def values_of(text: pa.Array) -> memoryview:
    """Return the bytes of a binary column, one value behind the other, without a copy."""
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int32, len(text) + 1, text.offset * 4)
    return memoryview(data)[int(ends[0]) : int(ends[-1])] if data is not None else memoryview(b"")


def _merged(pieces: list[bytes | pa.Array]) -> list[bytes | pa.Array]:
    """Join constants that stand side by side: each piece of a join costs time a row."""
    merged: list[bytes | pa.Array] = []
    for piece in pieces:
        if merged and isinstance(piece, bytes) and isinstance(merged[-1], bytes):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _digits(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string()).cast(pa.binary())


def _lengths(text: pa.Array) -> pa.Array:
    return pc.binary_length(text).cast(pa.string()).cast(pa.binary())
