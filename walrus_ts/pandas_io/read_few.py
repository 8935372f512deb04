"""A few entries -> a frame, without Arrow, whose kernels are made for many.

It knows the plain dtypes alone, and only text that is written as walrus_ts writes it: whatever else an entry holds goes
the long way (`frames.decoder`), so both give the same frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar.schema import Schema
from walrus_ts.errors import DataError
from walrus_ts.ids import from_ids
from walrus_ts.pandas_io.index import to_index
from walrus_ts.pandas_io.labels import restore_labels
from walrus_ts.pandas_io.restore import string_dtype

Texts = Sequence[bytes | None]  # of one column; None where an entry does not have the field
Entry = Sequence[Any]  # its id, and its fields and values in turn

_FLOAT = re.compile(rb"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_INTEGER = re.compile(rb"-?\d+")


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
    makers : list of callable
        Each makes a column of its texts.
    """

    schema: Schema
    fields: list[bytes]
    labels: pd.Index
    makers: list[Callable[[Texts], Any]]

    def frame(self, entries: Sequence[Entry], zone: tzinfo | None) -> pd.DataFrame | None:
        """Make a frame; None where the entries go the long way, for an error with its reason, say."""
        try:
            texts = zip(*(self._texts(fields) for _, fields in entries), strict=True)
            values = {at: make(column) for at, (make, column) in enumerate(zip(self.makers, texts, strict=True))}
            ids = [id_.partition(b"-") for id_, _ in entries]
            milliseconds = np.array([int(ms) for ms, _, _ in ids], np.uint64)
            sequence = np.array([int(seq) for _, _, seq in ids], np.uint64)
            index = to_index(from_ids(milliseconds, sequence, self.schema.unit), self.schema, zone)
        except (_UnfitError, DataError, UnicodeDecodeError, OverflowError):
            return None
        frame = pd.DataFrame(values, index=index, copy=False)
        frame.columns = self.labels
        return frame

    def _texts(self, fields: list[bytes]) -> Texts:
        """Return an entry's values in the columns' order."""
        if fields[::2] == self.fields:
            return fields[1::2]
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        if not values.keys() <= set(self.fields):  # another program's, or the filler of a row with nothing in it
            raise _UnfitError
        return [values.get(field) for field in self.fields]


@lru_cache(maxsize=64)
def reading(schema: Schema) -> Reading | None:
    """Find how entries under a record become frames; None where they all go the long way."""
    makers = [_maker(column.dtype) for column in schema.columns]
    known = [maker for maker in makers if maker is not None]
    if not makers or len(known) < len(makers):
        return None
    labels = restore_labels([column.label for column in schema.columns], schema.labels)
    return Reading(schema, schema.fields, labels, known)


def _maker(dtype: Any) -> Callable[[Texts], Any] | None:
    """Choose what makes a column of texts; None for dtypes that Arrow has to make."""
    if dtype == "float64":
        return _floats
    if dtype == "bool":
        return _bools
    if isinstance(dtype, list) and dtype[0] == "string":
        return _strings(string_dtype(*dtype[1:]))
    if isinstance(dtype, str) and dtype.lstrip("u") in ("int8", "int16", "int32", "int64"):
        return _integers(np.dtype(dtype))
    return None


def _floats(texts: Texts) -> Any:
    return np.array([np.nan if text is None else _number(text, _FLOAT, float) for text in texts])


def _integers(dtype: np.dtype[Any]) -> Callable[[Texts], Any]:
    def make(texts: Texts) -> Any:
        return np.array([_number(text, _INTEGER, int) for text in texts], dtype)

    return make


def _number(text: bytes | None, pattern: re.Pattern[bytes], make: Callable[[bytes], Any]) -> Any:
    if text is None or pattern.fullmatch(text) is None:
        raise _UnfitError
    return make(text)


def _bools(texts: Texts) -> Any:
    if not all(text in (b"true", b"false") for text in texts):
        raise _UnfitError
    return np.array([text == b"true" for text in texts])


def _strings(dtype: Any) -> Callable[[Texts], Any]:
    def make(texts: Texts) -> Any:
        values = [None if text is None else text.decode() for text in texts]
        return dtype.__from_arrow__(pa.chunked_array([pa.array(values, pa.large_string())]))

    return make
