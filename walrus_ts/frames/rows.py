"""Rows of a stream as Arrow has them: joined, sliced, reversed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from walrus_ts.columnar.schema import Column, Schema
from walrus_ts.columnar.types import size_of
from walrus_ts.ids import Ids

_LARGE = 64 << 20  # bytes


@dataclass(slots=True)
class Rows:
    """Rows of a stream as Arrow has them.

    Attributes
    ----------
    schema : Schema
        Of `arrays`: the columns that were asked for, then fields that the record does not know.
    arrays : list of ChunkedArray, shape (k,), each (n,)
    ticks : int64 array, shape (n,)
        The index, in the schema's unit, UTC.
    ids : uint64 array, shape (n, 2), optional
        Milliseconds and sequences, where they were asked for.
    """

    schema: Schema
    arrays: list[pa.ChunkedArray]
    ticks: np.ndarray[Any, Any]
    ids: Ids | None


def combine(pieces: Iterable[Rows], empty: Rows) -> Rows:
    """Join rows that follow each other; columns that not all of them have come last, null where they are missing.

    Small pieces are copied into large ones as they come: the memory of large ones goes back to the system when they are
    converted, that of small ones stays with Arrow.
    """
    parts: list[Rows] = []
    small: list[Rows] = []
    size = 0
    for piece in pieces:
        small.append(piece)
        size += sum(map(size_of, piece.arrays))
        if size >= _LARGE:
            parts.append(_compact(_joined(small)))
            small, size = [], 0
    return _joined([*parts, *small] or [empty])


def _compact(rows: Rows) -> Rows:
    return replace(rows, arrays=[pa.chunked_array([array.combine_chunks()], array.type) for array in rows.arrays])


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    widest = max((part.schema for part in parts), key=lambda schema: len(schema.columns))
    columns = {column.field: column for part in parts for column in part.schema.columns}
    return Rows(
        replace(widest, columns=tuple(columns.values())),
        [_join([_column_of(part, column) for part in parts]) for column in columns.values()],
        np.concatenate([part.ticks for part in parts]),
        None if parts[0].ids is None else np.concatenate([part.ids for part in parts if part.ids is not None]),
    )


def _column_of(rows: Rows, column: Column) -> pa.ChunkedArray:
    for array, own in zip(rows.arrays, rows.schema.columns, strict=True):
        if own.field == column.field:
            return array
    return pa.chunked_array([pa.nulls(len(rows.ticks), column.type)])


def _join(arrays: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for array in arrays for chunk in array.chunks], arrays[0].type)


def slice_rows(rows: Rows, start: int, stop: int | None) -> Rows:
    """Return the rows from one position to another; with `stop` None, to the end."""
    chosen = slice(start, stop)
    arrays = [array[chosen] for array in rows.arrays]
    return Rows(rows.schema, arrays, rows.ticks[chosen], None if rows.ids is None else rows.ids[chosen])


def reverse_rows(rows: Rows) -> Rows:
    """Return the rows in the opposite order."""
    order = np.arange(len(rows.ticks))[::-1]
    arrays = [array.take(pa.array(order)) for array in rows.arrays]
    return Rows(rows.schema, arrays, rows.ticks[order], None if rows.ids is None else rows.ids[order])
