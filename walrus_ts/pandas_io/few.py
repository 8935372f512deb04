"""A few rows of a frame -> text, without Arrow, whose kernels are made for many.

It knows the plain dtypes alone; a frame that holds anything else goes the long way (`to_table`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from walrus_ts.columnar.commands import EMPTY_PAIR
from walrus_ts.columnar.schema import Schema
from walrus_ts.ids import COUNTER_BITS, COUNTERS, NS_PER_MS, NS_PER_S, TICKS, StreamId

Row = tuple[bytes, list[bytes]]

_LATEST_SECOND = 253_402_300_800  # the year 10000


class _UnfitError(Exception):
    """The rows hold what is not written here."""


def _float(value: Any) -> bytes | None:
    return None if value != value else repr(value).encode()  # noqa: PLR0124  nan: a field that is not there


def _integer(value: Any) -> bytes:
    return b"%d" % value


def _boolean(value: Any) -> bytes:
    return b"true" if value else b"false"


def _text(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    return None  # pd.NA or nan: the dtype holds nothing else


@dataclass(frozen=True)
class Plan:
    """How frames with these columns are written, found once.

    Attributes
    ----------
    columns : Index
    dtypes : list
    index_dtype : dtype
        Unit and zone.
    order : list of (position, field, writer)
        In the record's order.
    """

    columns: pd.Index
    dtypes: list[Any]
    index_dtype: Any
    order: list[tuple[int, bytes, Callable[[Any], bytes | None]]]

    @classmethod
    def of(cls, frame: pd.DataFrame, schema: Schema) -> Plan | None:
        """Make the plan for frames like this one; None where they go the long way.

        Parameters
        ----------
        frame : DataFrame
            That has just been appended, so that it fits the record.
        schema : Schema
            The record.
        """
        index = frame.index
        if not isinstance(index, pd.DatetimeIndex) or index.unit != schema.unit:
            return None
        positions = {(type(label), label): at for at, label in enumerate(frame.columns.tolist())}
        order = []
        for column in schema.columns:
            at = positions.get((type(column.label), column.label))
            writer = None if at is None else _writer(frame.dtypes.iloc[at], column.dtype)
            if at is None or writer is None:
                return None
            order.append((at, column.field, writer))
        return cls(frame.columns, list(frame.dtypes), index.dtype, order) if len(order) == len(positions) else None

    def rows(self, frame: pd.DataFrame) -> list[Row] | None:
        """Write the rows of a frame; None where it goes the long way, for an error with its reason, say."""
        index = frame.index
        if not isinstance(index, pd.DatetimeIndex) or index.dtype != self.index_dtype:
            return None
        if (
            not (frame.columns is self.columns or frame.columns.equals(self.columns))
            or list(frame.dtypes) != self.dtypes
        ):
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


def _writer(dtype: Any, description: Any) -> Callable[[Any], bytes | None] | None:
    """Choose what writes the values of a column; None for dtypes that Arrow has to write."""
    if isinstance(dtype, pd.StringDtype):
        return _text if isinstance(description, list) and description[0] == "string" else None
    if not isinstance(dtype, np.dtype) or dtype.name != description:
        return None
    if dtype == np.float64:
        return _float
    return {"i": _integer, "u": _integer, "b": _boolean}.get(dtype.kind)


def _ids(ticks: list[int], per_second: int) -> list[bytes]:
    """Give times their ids, as `walrus_ts.ids.to_ids` does for a stream that ends before them."""
    step = NS_PER_S // per_second
    ids, counter, before = [], 0, -1
    for tick in ticks:
        if tick < max(before, 0) or tick >= _LATEST_SECOND * per_second:
            raise _UnfitError  # NaT is the least integer
        counter = counter + 1 if tick == before else 0
        milliseconds, rest = divmod(tick * step, NS_PER_MS)
        ids.append(StreamId(milliseconds, (rest << COUNTER_BITS) + counter).encode())
        before = tick
    assert counter < COUNTERS  # few rows
    return ids
