"""A few entries -> a frame, without Arrow, whose kernels are made for many.

It knows the plain dtypes alone, and only text that is written as walrus_ts writes it: whatever else an entry holds goes
the long way (`frames.decoder`), so both give the same frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar.schema import Schema
from walrus_ts.ids import Ids, StreamId, expresses, from_ids
from walrus_ts.pandas_io.index import to_index
from walrus_ts.pandas_io.labels import columns_of, own
from walrus_ts.pandas_io.restore import string_dtype

Texts = Sequence[bytes | None]  # of one column; None where an entry does not have the field
Entry = Sequence[Any]  # its id, and its fields and values in turn

_is_float = re.compile(rb"-?\d+(?:\.\d+)?(?:e[+-]?\d\d?)?").fullmatch  # none that is as good as 0: Arrow 23 refuses it
_is_integer = re.compile(rb"-?\d+").fullmatch


class _UnfitError(Exception):
    """The entries hold what is not read here."""


@dataclass(frozen=True)
class Reading:
    """How entries under a record become frames.

    Attributes
    ----------
    schema : Schema
    fields : list of bytes
        Of the columns.
    labels : Index
        Of the frames' columns.
    kinds : list of Kind
        Of the columns.
    """

    schema: Schema
    fields: list[bytes]
    labels: pd.Index
    kinds: list[Kind]

    def read(self, entries: Sequence[Entry]) -> FewRows | None:
        """Read entries; None where they go the long way, for an error with its reason, say."""
        try:
            texts = zip(*(self._texts(fields) for _, fields in entries), strict=True)
            values = [kind.read(column) for kind, column in zip(self.kinds, texts, strict=True)]
        except (_UnfitError, UnicodeDecodeError):
            return None
        ids = [StreamId.parse(id_) for id_, _ in entries]
        return FewRows(self, values, ids) if all(expresses(self.schema.unit, id_) for id_ in ids) else None

    def _texts(self, fields: list[bytes] | None) -> Texts:
        """Return an entry's values in the columns' order."""
        if fields is None:  # it was deleted while it was pending
            raise _UnfitError
        if fields[::2] == self.fields:
            return fields[1::2]
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        if not values.keys() <= set(self.fields):  # another program's, or the filler of a row with nothing in it
            raise _UnfitError
        return [values.get(field) for field in self.fields]


@dataclass
class FewRows:
    """Rows whose frame is made when it is wanted: that costs more than to read them.

    Attributes
    ----------
    reading : Reading
    values : list of list, shape (k,), each (n,)
    stream_ids : list of StreamId, length n
    """

    reading: Reading
    values: list[list[Any]]
    stream_ids: list[StreamId]

    @cached_property
    def ids(self) -> Ids:
        """The ids, shape (n, 2)."""
        return np.array(self.stream_ids, np.uint64)

    def frame(self, zone: tzinfo | None) -> pd.DataFrame:
        """Make the frame."""
        columns = zip(self.reading.kinds, self.values, strict=True)
        arrays = {at: kind.make(values) for at, (kind, values) in enumerate(columns)}
        schema = self.reading.schema
        index = to_index(from_ids(self.ids[:, 0], self.ids[:, 1], schema.unit), schema, zone)
        frame = pd.DataFrame(arrays, index=index, copy=False)
        frame.columns = own(self.reading.labels)
        return frame


class Kind(NamedTuple):
    """How a column's texts become values, and these an array for a frame."""

    read: Callable[[Texts], list[Any]]
    make: Callable[[list[Any]], Any]


def reading(schema: Schema) -> Reading | None:
    """Find how entries under a record become frames; None where they all go the long way."""
    return _reading(schema, schema.exactly)


@lru_cache(maxsize=64)
def _reading(schema: Schema, _: str) -> Reading | None:
    kinds = [_kind(column.dtype) for column in schema.columns]
    known = [kind for kind in kinds if kind is not None]
    if not kinds or len(known) < len(kinds):
        return None
    return Reading(schema, schema.fields, columns_of(schema), known)


def _kind(dtype: Any) -> Kind | None:
    """Choose how a column is read; None for dtypes that Arrow has to make."""
    if dtype == "float64":
        return Kind(_floats, np.array)
    if dtype == "bool":
        return Kind(_bools, np.array)
    if isinstance(dtype, list) and dtype[0] == "string":
        return Kind(_strings, _strings_of(string_dtype(*dtype[1:])))
    if isinstance(dtype, str) and dtype.lstrip("u") in ("int8", "int16", "int32", "int64"):
        return Kind(_integers(np.iinfo(dtype)), lambda values: np.array(values, dtype))
    return None


def _floats(texts: Texts) -> list[float]:
    values = [np.nan if text is None else float(_matched(text, _is_float)) for text in texts]
    if np.inf in values or -np.inf in values:  # 1e999: where infinity is meant, its text is no such number
        raise _UnfitError
    return values


def _integers(limits: np.iinfo[Any]) -> Callable[[Texts], list[int]]:
    least, most = int(limits.min), int(limits.max)

    def read(texts: Texts) -> list[int]:
        values = [int(_matched(text, _is_integer)) for text in texts]
        if not all(least <= value <= most for value in values):
            raise _UnfitError
        return values

    return read


def _matched(text: bytes | None, is_one: Callable[[bytes], object]) -> bytes:
    if text is None or is_one(text) is None:
        raise _UnfitError
    return text


def _bools(texts: Texts) -> list[bool]:
    if not all(text in (b"true", b"false") for text in texts):
        raise _UnfitError
    return [text == b"true" for text in texts]


def _strings(texts: Texts) -> list[str | None]:
    return [None if text is None else text.decode() for text in texts]


def _strings_of(dtype: Any) -> Callable[[list[str | None]], Any]:
    return lambda values: dtype.__from_arrow__(pa.chunked_array([pa.array(values, pa.large_string())]))
