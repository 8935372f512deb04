"""A few rows of a frame -> text, without Arrow, whose kernels are made for many.

It knows the plain dtypes alone; a frame that holds anything else goes the long way (`to_table`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar import text
from walrus_ts.columnar.commands import EMPTY_PAIR
from walrus_ts.columnar.schema import Schema
from walrus_ts.ids import COUNTER_BITS, COUNTERS, NS_PER_MS, NS_PER_S, TICKS, YEAR_10000, StreamId

Row = tuple[bytes, list[bytes]]


class _UnfitError(Exception):
    """The rows hold what is not written here."""


Writer = Callable[[Any], bytes | None]  # of a value; None for a field that is not there


def _float(value: Any) -> bytes | None:
    if type(value) is not float:
        raise _UnfitError
    if value != value:  # noqa: PLR0124  only nan is not itself
        return None
    if 1e-4 <= abs(value) < 1e10 or value == 0:  # there Python and Arrow write alike, but for 1.0 and 1
        return repr(value).removesuffix(".0").encode()
    written: bytes = text.encode(pa.array([value]))[0].as_py()
    return written


def _integer(least: int, most: int) -> Writer:
    def write(value: Any) -> bytes:
        if type(value) is not int or not least <= value <= most:
            raise _UnfitError
        return b"%d" % value

    return write


def _boolean(value: Any) -> bytes:
    if type(value) is not bool:
        raise _UnfitError
    return b"true" if value else b"false"


def _text(value: Any) -> bytes | None:
    if type(value) is str:
        return value.encode()
    if value is None or value is pd.NA or (type(value) is float and value != value):  # noqa: PLR0124  likewise
        return None
    raise _UnfitError


@dataclass(frozen=True)
class Plan:
    """How frames with these columns are written, found once.

    Attributes
    ----------
    columns : Index
    index_dtype : dtype
        Unit and zone.
    order : list of (position, field, writer)
        In the record's order.
    """

    columns: pd.Index
    index_dtype: Any
    order: list[tuple[int, bytes, Writer]]

    @classmethod
    def of(cls, frame: pd.DataFrame, schema: Schema) -> Plan | None:
        """Make the plan for frames like this one; None where they go the long way.

        Parameters
        ----------
        frame : DataFrame
            That has just been appended, so that its index fits the record.
        schema : Schema
            The record.
        """
        index = frame.index
        if not isinstance(index, pd.DatetimeIndex) or index.unit != schema.unit:
            return None
        labels = frame.columns.tolist()
        if frame.columns.dtype == object and not all(type(label) is str for label in labels):
            return None  # pandas takes 1, 1.0 and True for one label
        positions = {(type(label), label): at for at, label in enumerate(labels)}
        order = []
        for column in schema.columns:
            at, writer = positions.get((type(column.label), column.label)), _writer(column.dtype)
            if at is None or writer is None:
                return None
            order.append((at, column.field, writer))
        return cls(frame.columns, index.dtype, order) if len(order) == len(positions) else None

    def rows(self, frame: pd.DataFrame) -> list[Row] | None:
        """Write the rows of a frame; None where it goes the long way, for an error with its reason, say.

        What a column holds is told from its values: that is a third of the time that `dtypes` takes.
        """
        index = frame.index
        if not isinstance(index, pd.DatetimeIndex) or index.dtype != self.index_dtype:
            return None
        if frame.columns.dtype != self.columns.dtype or not frame.columns.equals(self.columns):
            return None
        try:
            ids = _ids(index.asi8.tolist(), TICKS[index.unit])
            values = frame.to_numpy(dtype=object).tolist()
            return [(id_, self._pairs(row)) for id_, row in zip(ids, values, strict=True)]
        except (_UnfitError, UnicodeEncodeError):
            return None

    def _pairs(self, row: list[Any]) -> list[bytes]:
        pairs: list[bytes] = []
        for at, field, write in self.order:
            value = write(row[at])
            if value is not None:
                pairs += (field, value)
        return pairs or EMPTY_PAIR


def _writer(dtype: Any) -> Writer | None:
    """Choose what writes the values of a column on record; None for those that Arrow has to write."""
    if isinstance(dtype, list):
        return _text if dtype[0] == "string" else None
    if dtype == "float64":
        return _float
    if dtype == "bool":
        return _boolean
    if isinstance(dtype, str) and dtype.lstrip("u") in ("int8", "int16", "int32", "int64"):
        return _integer(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return None


def _ids(ticks: list[int], per_second: int) -> list[bytes]:
    """Give times their ids, as `walrus_ts.ids.to_ids` does for a stream that ends before them."""
    step = NS_PER_S // per_second
    ids, counter, before = [], 0, -1
    for tick in ticks:
        if tick < max(before, 0) or tick >= YEAR_10000 * per_second:
            raise _UnfitError  # NaT is the least integer
        counter = counter + 1 if tick == before else 0
        milliseconds, rest = divmod(tick * step, NS_PER_MS)
        ids.append(StreamId(milliseconds, (rest << COUNTER_BITS) + counter).encode())
        before = tick
    assert counter < COUNTERS  # few rows
    return ids
