"""A frame against the record of the stream that it is to be appended to, which it may widen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import text, types
from walrus_ts.columnar.labels import fields_for, identity
from walrus_ts.columnar.schema import Column, Schema
from walrus_ts.errors import SchemaError
from walrus_ts.ids import TICKS


@dataclass(frozen=True, slots=True)
class Fitted:
    """A frame's columns as the record wants them.

    Attributes
    ----------
    schema : Schema
        The record, widened where `evolve` allowed it.
    columns : list of (Column, Array or None)
        In the record's order; None where the frame has no such column: all null.
    times : TimestampArray, shape (n,)
        Of the record's unit.
    """

    schema: Schema
    columns: list[tuple[Column, pa.Array | None]]
    times: pa.TimestampArray


def fit(
    schema: Schema,
    arrays: Sequence[pa.Array],
    times: pa.TimestampArray,
    record: Schema | None,
    where: str,
    *,
    evolve: bool,
) -> Fitted:
    """Hold a frame against the record of the stream that it is to be appended to.

    Parameters
    ----------
    schema : Schema
        The frame's own.
    arrays : sequence of Array, shape (k,), each (n,)
        The frame's columns.
    times : TimestampArray, shape (n,)
        The frame's index.
    record : Schema, optional
        The stream's; without one the frame's own becomes it.
    where : str
        Names the stream in an error.
    evolve : bool
        Widen the record where the frame does not fit it and nothing is lost.

    Raises
    ------
    SchemaError
        The frame does not fit; the message names the column, the first bad row and the cure.
    """
    if record is None:
        return Fitted(schema, list(zip(schema.columns, arrays, strict=True)), times)
    _check_clock(schema, record, where)
    times = _fit_times(times, record, where, evolve=evolve)
    given = {identity(c.label): (c, array) for c, array in zip(schema.columns, arrays, strict=True)}
    fitted: list[tuple[Column, pa.Array | None]] = []
    for column in record.columns:
        found = given.pop(identity(column.label), None)
        if found is None:
            fitted.append((_missing(column, where, evolve=evolve), None))
        else:
            fitted.append(_fit_column(column, *found, where, evolve=evolve))
    if given and not evolve:
        label = next(iter(given.values()))[0].label
        known = ", ".join(repr(c.label) for c in record.columns)
        raise SchemaError(
            f"{where} has no column {label!r}; it has {known}. `evolve=True` adds it, `frame.drop(columns=...)` leaves "
            "it out.",
            column=label,
        )
    for (column, array), name in zip(
        given.values(), fields_for([c.label for c, _ in given.values()], record.fields), strict=True
    ):
        # The rows stored before do not have the column.
        fitted.append((_with_nulls(replace(column, field=name)), array))
    labels = _wider_labels(record.labels, schema.labels) if given else record.labels
    widened = replace(record, columns=tuple(c for c, _ in fitted), unit=times.type.unit, labels=labels)
    return Fitted(widened, fitted, times)


def _wider_labels(record: Any, given: Any) -> Any:
    """Describe the columns' Index once there are new ones: its names, and its dtypes where the frame's are the same."""
    if record is None:
        return None
    known = "levels" if "levels" in record else "dtype"
    if given is None or known not in given:
        return {**record, known: None}
    if known == "dtype":
        return {**record, known: record[known] if record[known] == given[known] else None}
    levels = zip(record[known] or [], given[known], strict=False)
    return {**record, known: [one if one and one["dtype"] == two["dtype"] else None for one, two in levels]}


def _check_clock(schema: Schema, record: Schema, where: str) -> None:
    """Refuse a naive frame for a zoned stream, and the reverse."""
    if (schema.zone is None) == (record.zone is None):
        return
    kinds = ("naive", "zoned") if record.zone is None else ("zoned", "naive")
    cure = "frame.tz_convert('UTC').tz_localize(None)" if record.zone is None else f"frame.tz_localize({record.zone!r})"
    raise SchemaError(
        f"{where} has a {kinds[0]} index, and the frame's is {kinds[1]}. Say which clock is meant, by `{cure}`, say.",
        zone=record.zone,
    )


def _fit_times(times: pa.TimestampArray, record: Schema, where: str, *, evolve: bool) -> pa.TimestampArray:
    """Bring the index to the record's unit, or let it widen the record."""
    cast = types.cast_exactly(times, pa.timestamp(record.unit))
    if cast is not None:
        return cast
    if evolve and TICKS[times.type.unit] > TICKS[record.unit]:
        return times
    row = types.first_inexact(times, pa.timestamp(record.unit))
    if TICKS[times.type.unit] > TICKS[record.unit]:
        cure = f"`evolve=True` widens the record; `frame.index = frame.index.floor({record.unit!r})` rounds the times."
    else:
        cure = (
            "Nanoseconds end there: leave later rows out (`frame[frame.index < '2262-04-11']`), or append to another "
            "stream."
        )
    raise SchemaError(
        f"{where} has an index of unit {record.unit!r}, which cannot express the time "
        f"{times[row].cast(pa.string())} at row {row} (the frame's unit is {times.type.unit!r}). {cure}",
        unit=record.unit,
        row=row,
    )


def _missing(column: Column, where: str, *, evolve: bool) -> Column:
    if column.nullable:
        return column
    if not evolve:
        raise SchemaError(
            f"the frame has no column {column.label!r}, and {where} holds it as {types.shown(column.type)}, which "
            "has no null. Add the column, or append with `evolve=True`, which lets it be null from now on.",
            column=column.label,
        )
    return _with_nulls(column)


def _with_nulls(column: Column) -> Column:
    """Return the column with a dtype that has nulls: numpy's integers and bools become pandas' nullable ones."""
    return column if column.nullable else replace(column, dtype=None, nullable=True)


def _fit_column(column: Column, given: Column, array: pa.Array, where: str, *, evolve: bool) -> tuple[Column, pa.Array]:
    if not column.nullable and array.null_count:
        if not evolve:
            row = array.is_null().index(True).as_py()
            raise SchemaError(
                f"column {column.label!r} of {where} holds {types.shown(column.type)}, which has no null, and the "
                f"frame has one at row {row}. Fill it (`fillna`), or append with `evolve=True`, which lets it be null.",
                column=column.label,
                row=row,
            )
        column = _with_nulls(column)
    if array.null_count == len(array):  # which fits any column
        array = pa.nulls(len(array))
    cast = types.cast_exactly(array, column.type)
    if cast is not None:
        return _fit_categories(column, given, cast, where, evolve=evolve), cast
    wider = types.wider(column.type, given.type) if column.categories() is None else None
    cast = None if wider is None else types.cast_exactly(array, wider)
    if wider is None or cast is None or not evolve:
        raise _misfit(column, array, where, widens=cast is not None)
    nullable = column.nullable or given.nullable
    return replace(column, type=wider, dtype=_wider_dtype(column, given, wider), nullable=nullable), cast


def _fit_categories(column: Column, given: Column, array: pa.Array, where: str, *, evolve: bool) -> Column:
    """Hold values against the categories on record; new ones are added behind them where `evolve` says so."""
    facts = column.categories()
    if facts is None or column.dtype == given.dtype:
        return column
    known = pa.array([value.encode() for value in facts["values"]], pa.binary())
    texts = text.encode(array)
    new = pc.and_(pc.is_valid(texts), pc.invert(pc.is_in(texts, value_set=known)))
    if not pc.any(new).as_py():
        return column
    row = new.index(True).as_py()
    if not evolve or facts["ordered"]:
        cure = "They are ordered: append to another stream." if facts["ordered"] else "`evolve=True` adds it to them."
        raise SchemaError(
            f"column {column.label!r} of {where} is categorical, and {array[row].as_py()!r} at row {row} is none of "
            f"its {len(known)} categories. {cure}",
            column=column.label,
            row=row,
            value=array[row].as_py(),
        )
    try:
        added = [value.decode() for value in pc.unique(texts.filter(new)).to_pylist()]
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"column {column.label!r} of {where} is categorical, and its categories are on record as text, which "
            f"{error.object!r} is not. Append to another stream.",
            column=column.label,
            value=error.object,
        ) from error
    return replace(column, dtype=["category", {**facts, "values": [*facts["values"], *added]}])


def _misfit(column: Column, array: pa.Array, where: str, *, widens: bool) -> SchemaError:
    row = types.first_inexact(array, column.type)
    cure = f"Convert it first (`frame[{column.label!r}].astype(...)`), or append to another stream."
    if widens:
        cure = "`evolve=True` widens the record."
    return SchemaError(
        f"column {column.label!r} of {where} holds {types.shown(column.type)}, and this frame has "
        f"{types.shown(array.type)} in it: {array[row].as_py()!r} at row {row}. {cure}",
        column=column.label,
        row=row,
        value=array[row].as_py(),
    )


def _wider_dtype(column: Column, given: Column, wider: pa.DataType) -> Any:
    if isinstance(column.dtype, list):  # Arrow's own, or objects: whatever the type
        return column.dtype
    if pa.types.is_timestamp(wider) and column.dtype is not None:
        return column.dtype.replace(f"[{column.type.unit}", f"[{wider.unit}")
    if wider == given.type and given.nullable == column.nullable:
        return given.dtype
    # numpy calls an Arrow double a float64, as the record does.
    return None if column.nullable or given.nullable else types.to_json(wider)
