"""Entries -> rows, by a schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import text
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.labels import Label, identity
from walrus_ts.columnar.schema import Column, Schema, shown
from walrus_ts.errors import DataError, UsageError
from walrus_ts.frames.rows import Rows
from walrus_ts.frames.source import Source, by_record
from walrus_ts.ids import from_ids
from walrus_ts.pandas_io.read_few import Reading, reading
from walrus_ts.times import zone_name

Errors = Literal["raise", "coerce"]
_NO_RECORD = Schema((), unit="ms")


class Decoder:
    """Makes rows of entries, by a schema.

    Parameters
    ----------
    source : Source
    schema : Schema, optional
        The stream's; without one, every field is a column of text.
    columns : sequence of labels, optional
        Only these, in this order.
    errors : {"raise", "coerce"}
        What happens to a value that its column's type does not have: `DataError`, or null.
    ids : bool
        Keep the ids.
    """

    def __init__(
        self,
        source: Source,
        schema: Schema | None,
        columns: Sequence[Label] | None = None,
        errors: Errors = "raise",
        *,
        ids: bool = False,
    ) -> None:
        if errors not in ("raise", "coerce"):
            raise UsageError(f"errors is 'raise' or 'coerce'; found {errors!r}", errors=errors)
        self.source = source
        self.known = schema or replace(_NO_RECORD, zone=None if source.zone is None else zone_name(source.zone))
        self.errors = errors
        self.ids = ids
        self._all = columns is None
        if columns is None:
            self.schema = self.known
        else:
            known = {identity(column.label): column for column in self.known.columns}
            chosen = [known.get(identity(label)) or self._unknown(label, free=schema is None) for label in columns]
            self.schema = replace(self.known, columns=tuple(chosen))
        self._fields = {column.field for column in self.schema.columns}
        self._known_fields = set(self.known.fields)

    def _unknown(self, label: Label, *, free: bool) -> Column:
        """Return a column of text where there is no record to know it; else refuse the label."""
        if free and isinstance(label, str) and label:
            return _text_column(label.encode())
        known = ", ".join(repr(c.label) for c in self.known.columns)
        raise UsageError(f"{self.source.where} has no column {label!r}; it has {known}", column=label)

    @cached_property
    def few(self) -> Reading | None:
        """How a few plain entries are read without Arrow; None where they all go the long way."""
        with by_record(self.source.records):
            return reading(self.known)

    @property
    def fields(self) -> list[bytes]:
        """The fields that entries are expected to have."""
        return self.known.fields or self.schema.fields

    def wants(self, field: bytes) -> bool:
        """Tell whether a field's values are needed."""
        return field in self._fields or (self._all and field not in self._known_fields)

    def rows(self, entries: Entries) -> Rows:
        """Decode entries.

        Raises
        ------
        DataError
            A value, or an id, is none of its column's type; names key, id, column and value.
        """
        schema = self._with_extras(entries)
        ticks = from_ids(entries.milliseconds, entries.sequence, schema.unit, self.source.where)
        missing = pa.nulls(len(entries), pa.binary())
        with by_record(self.source.records):
            arrays = [
                self._decode(entries.columns.get(column.field, missing), column, entries) for column in schema.columns
            ]
        ids = np.column_stack((entries.milliseconds, entries.sequence)) if self.ids else None
        return Rows(schema, [pa.chunked_array([array]) for array in arrays], ticks, ids)

    def empty(self) -> Rows:
        """Return no rows, of the right columns."""
        arrays = [pa.chunked_array([], column.type) for column in self.schema.columns]
        return Rows(self.schema, arrays, np.zeros(0, np.int64), np.zeros((0, 2), np.uint64) if self.ids else None)

    def _with_extras(self, entries: Entries) -> Schema:
        if not self._all:
            return self.schema
        extras = [
            _text_column(field)
            for field, values in entries.columns.items()
            if field not in self._known_fields and not _is_filler(field, values)
        ]
        if not extras:
            return self.schema
        labels = None if self.known.columns else self.known.labels
        return replace(self.schema, columns=(*self.schema.columns, *extras), labels=labels)

    def _decode(self, values: pa.Array, column: Column, entries: Entries) -> pa.Array:
        try:
            array = text.decode(values, column.type)
        except pa.ArrowInvalid as error:
            if self.errors == "raise":
                row = text.first_bad(values, column.type)
                raise self._bad_value(column, entries.id_at(row), values[row].as_py()) from error
            array = text.coerce(values, column.type)
        known = column.known_values()
        if known is not None:
            array = self._known_values(array, known, values, column, entries)
        if not column.nullable and array.null_count and self.errors == "raise":
            row = array.is_null().index(True).as_py()
            raise self._bad_value(column, entries.id_at(row), None)
        return array

    def _known_values(
        self, array: pa.Array, known: pa.Array, values: pa.Array, column: Column, entries: Entries
    ) -> pa.Array:
        """Hold values against a column's categories."""
        unknown = pc.and_(pc.is_valid(array), pc.invert(pc.is_in(array, value_set=known)))
        row = unknown.index(True).as_py()
        if row < 0:
            return array
        if self.errors == "raise":
            raise self._bad_value(column, entries.id_at(row), values[row].as_py())
        return pc.if_else(unknown, pa.scalar(None, array.type), array)

    def _bad_value(self, column: Column, id_: str, value: bytes | None) -> DataError:
        found = "no value" if value is None else repr(value[:80])
        cure = "`frame(errors='coerce')` makes a null of it"
        if value is None:
            nullable = str(column.type).replace("int", "Int").replace("uI", "UI").replace("bool", "boolean")
            cure += f"; so does a dtype that has nulls: `{declaration(self.known, column.label, repr(nullable))}`"
        else:
            dtype, as_what = ("'str'", "text") if _is_text(value) else ("pd.ArrowDtype(pa.binary())", "bytes")
            cure += f"; `{declaration(self.known, column.label, dtype)}` reads it as {as_what}"
        known = column.known_values()
        expected = str(column.type) if known is None else f"one of {len(known)} categories"
        return DataError(
            f"column {column.label!r} of {self.source.where} holds {expected}, and the entry {id_} has "
            f"{found} there. {cure}.",
            key=self.source.records.key,
            id=id_,
            column=column.label,
            value=value,
        )


def declaration(schema: Schema, label: Label, dtype: str) -> str:
    """Write the call that declares a column anew, and leaves the index as it is."""
    unit = "" if schema.unit == "ms" else f", unit={schema.unit!r}"
    zone = "" if schema.zone is None else f", tz={schema.zone!r}"
    return f"declare({{{label!r}: {dtype}, ...}}{unit}{zone})"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_column(field: bytes) -> Column:
    return Column(shown(field), field, pa.string())


def _is_filler(field: bytes, values: pa.Array) -> bool:
    """Tell whether a field is the empty one of rows with nothing in them."""
    return field == b"" and not pc.any(pc.not_equal(values.cast(pa.binary()), b"")).as_py()


def label_list(columns: Any) -> list[Label]:
    """Return the labels that `columns=` names.

    Raises
    ------
    UsageError
        It is no list of labels, or names one twice.
    """
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise UsageError(
            f"columns is a list of labels; found {columns!r}. Write columns=[{columns!r}].", columns=columns
        )
    labels, seen = list(columns), set()
    for label in labels:
        try:
            known = identity(label) in seen
        except TypeError as error:  # no dict takes it
            raise UsageError(f"columns is a list of labels; found {label!r} in it", column=label) from error
        if known:
            raise UsageError(f"columns names {label!r} twice", column=label)
        seen.add(identity(label))
    return labels
