"""Schema: the columns of a stream, and their record in Redis.

The record is JSON, beside the stream (`Records.schema`). It says of each column under which field its values lie, of
which Arrow type they are and which pandas dtype comes back; of the index, its unit, zone and name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import nested, text, types
from walrus_ts.errors import DataError, SchemaError, UsageError
from walrus_ts.ids import TICKS, StreamId, Unit

VERSION = 1
Label = Any  # what pandas takes as a column's label


def to_bytes(name: str | bytes | memoryview) -> bytes:
    """Write a key or a group's name as Redis has it."""
    return name.encode() if isinstance(name, str) else bytes(name)


@dataclass(frozen=True, slots=True)
class Records:
    """The keys that lie beside a stream, in its cluster slot.

    Parameters
    ----------
    key : bytes
        The stream.
    """

    key: bytes

    @property
    def schema(self) -> bytes:
        """The schema record, a string."""
        return self._name(b"schema")

    @property
    def loads(self) -> bytes:
        """Named loads, a hash."""
        return self._name(b"loads")

    @property
    def dead(self) -> bytes:
        """Dead letters, a stream."""
        return self._name(b"dead")

    def load(self, token: bytes) -> bytes:
        """Return the progress of a load without a name, a string that expires."""
        return self._name(b"load") + b":" + token

    @property
    def tag(self) -> bytes:
        """The part of the key that a cluster hashes: its hash tag, else the whole key."""
        start = self.key.find(b"{")
        end = self.key.find(b"}", start + 1)
        return self.key[start + 1 : end] if start >= 0 and end > start + 1 else self.key

    def _name(self, kind: bytes) -> bytes:
        return b"walrus_ts:%b:{%b}:%b" % (kind, self.tag, self.key)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Parameters
    ----------
    label : hashable
        What the column is called in a frame.
    field : bytes
        The field of an entry that holds its value.
    type : DataType
        Arrow type of the values.
    dtype : JSON value
        The pandas dtype that comes back, as `pandas_io` describes it; None for pandas' own choice.
    nullable : bool
        Whether an entry may do without the field.
    """

    label: Label
    field: bytes
    type: pa.DataType
    dtype: Any = None
    nullable: bool = True

    def categories(self) -> dict[str, Any] | None:
        """Return what `pandas_io` keeps of a categorical; None for another column."""
        is_category = isinstance(self.dtype, list) and self.dtype[:1] == ["category"]
        return self.dtype[1] if is_category else None

    def known_values(self) -> pa.Array | None:
        """Return the values that a categorical may have; None for another column."""
        facts = self.categories()
        if facts is None:
            return None
        texts = pa.array([value.encode() for value in facts["values"]], pa.binary())
        return text.decode(texts, types.from_json(facts["type"]))


@dataclass(frozen=True, slots=True)
class Origin:
    """The stream's first write under a record: tells whether the record is this stream's, or of one deleted since.

    Parameters
    ----------
    id : StreamId
        The first id that was written.
    added : int
        Entries that had ever been added to the stream before (XINFO STREAM, entries-added).
    """

    id: StreamId
    added: int

    def to_json(self) -> dict[str, Any]:
        """Describe the first write, within a record."""
        return {"id": str(self.id), "added": self.added}

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Origin:
        """Return the first write that `to_json` described."""
        return cls(StreamId.parse(read["id"]), int(read["added"]))


@dataclass(frozen=True, slots=True, repr=False)
class Schema:
    """What a stream holds, as a table.

    Parameters
    ----------
    columns : tuple of Column
    unit : {"s", "ms", "us", "ns"}
        Unit of the index.
    zone : str, optional
        Zone of the index; a naive index has none.
    name : hashable, optional
        Name of the index.
    labels : JSON value
        What `pandas_io` keeps of the columns' own Index; None for pandas' own choice.
    origin : Origin, optional
        None for a record that was declared, and not yet written under.
    """

    columns: tuple[Column, ...]
    unit: Unit = "ns"
    zone: str | None = None
    name: Label = None
    labels: Any = None
    origin: Origin | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash((*self.fields, self.unit, self.zone))

    @property
    def fields(self) -> list[bytes]:
        """The fields of the columns, in their order."""
        return [column.field for column in self.columns]

    def column(self, label: Label) -> Column | None:
        """Return the column of a label, None where there is none."""
        return next((column for column in self.columns if same_label(column.label, label)), None)

    def __str__(self) -> str:
        """Draw a small table: the index, then a line a column."""
        index = f"{self.unit}, {self.zone or 'naive'}"
        rows = [("label", "type", "null", "field"), (repr(self.name), f"index [{index}]", "", "")]
        rows += [(repr(c.label), str(c.type), "yes" if c.nullable else "no", repr(c.field)[1:]) for c in self.columns]
        widths = [max(len(row[at]) for row in rows) for at in range(4)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    __repr__ = __str__  # what an interactive session shows

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import schema_html

        return schema_html(self)

    def to_json(self) -> bytes:
        """Write the record."""
        record = {
            "walrus_ts": VERSION,
            "index": {"unit": self.unit, "zone": self.zone, "name": label_to_json(self.name)},
            "columns": [
                {
                    "label": label_to_json(column.label),
                    "field": column.field.decode(),
                    "type": types.to_json(column.type),
                    "dtype": column.dtype,
                    "nullable": column.nullable,
                }
                for column in self.columns
            ],
            "labels": self.labels,
            "origin": self.origin and self.origin.to_json(),
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, record: bytes, where: str) -> Schema:
        """Read the record.

        Raises
        ------
        DataError
            It is broken, or of a version that this version does not know; the message names the record (`where`).
        """
        try:
            read = json.loads(record)
            version = read["walrus_ts"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{where} is no schema record of walrus_ts: {record[:80]!r}", record=where) from error
        if version != VERSION:
            raise DataError(
                f"{where} has the format version {version!r}, and this walrus_ts reads {VERSION}. Upgrade walrus_ts.",
                record=where,
                version=version,
            )
        try:
            return cls._from_dict(read)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is a broken schema record: {error!r}", record=where) from error

    @classmethod
    def _from_dict(cls, read: dict[str, Any]) -> Schema:
        index, origin = read["index"], read["origin"]
        if index["unit"] not in TICKS:
            raise ValueError(f"unknown unit {index['unit']!r}")
        columns = tuple(
            Column(
                label_from_json(column["label"]),
                column["field"].encode(),
                types.from_json(column["type"]),
                column["dtype"],
                bool(column["nullable"]),
            )
            for column in read["columns"]
        )
        if len({column.field for column in columns}) != len(columns):
            raise ValueError("two columns with one field")
        return cls(
            columns,
            index["unit"],
            index["zone"],
            label_from_json(index["name"]),
            read["labels"],
            origin and Origin.from_json(origin),
        )


# Labels and fields ---------------------------------------------------------------------------------------------------


def fields_for(labels: Sequence[Label], taken: Iterable[bytes] = ()) -> list[bytes]:
    """Give each label a field: itself where it is a non-empty string, else a name that no other column has.

    Raises
    ------
    UsageError
        A label is not valid Unicode, or stands there twice.
    """
    seen = set()
    for label in labels:
        if _identity(label) in seen:
            raise UsageError(
                f"the column label {label!r} stands there twice; rename one (`frame.columns = [...]`, or of an Arrow "
                "table `table.rename_columns([...])`)",
                column=label,
            )
        seen.add(_identity(label))
    fields = [_own_field(label) for label in labels]
    used = {*taken, *(name for name in fields if name is not None)}
    given: list[bytes] = []
    for label, name in zip(labels, fields, strict=True):
        given.append(_free_field(label, used) if name is None else name)
        used.add(given[-1])
    return given


def same_label(one: Label, other: Label) -> bool:
    """Compare labels as pandas' columns do, but 1 and True and "1" apart."""
    return _identity(one) == _identity(other)


def _identity(label: Label) -> tuple[type, Label]:
    """Give each label a key of its own: 1, True and "1" apart; one nan, and one moment, like another."""
    label = _without_numpy(label)
    if isinstance(label, tuple):
        return tuple, tuple(map(_identity, label))
    if isinstance(label, datetime):  # pandas.Timestamp is one
        return datetime, _moment(label)
    return type(label), repr(label) if _is_nan(label) else label


def _without_numpy(label: Label) -> Label:
    """Make Python's number of numpy's: what `frame.columns[0]` gives is that of `frame.columns.tolist()`."""
    return label.item() if isinstance(label, (np.integer, np.floating, np.bool_)) else label


def _moment(label: datetime) -> str:
    return (label if label.tzinfo is None else label.astimezone(UTC)).isoformat()


def _is_nan(label: Label) -> bool:
    return isinstance(label, float) and math.isnan(label)


def _own_field(label: Label) -> bytes | None:
    if not isinstance(label, str) or not label:
        return None
    try:
        return label.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the column label {label!r} is no valid Unicode text; rename it", column=label) from error


def _free_field(label: Label, used: set[bytes]) -> bytes:
    base = str(label).encode(errors="replace") or b"column"
    name, number = base, 1
    while name in used:
        number += 1
        name = b"%b_%d" % (base, number)
    return name


def label_to_json(label: Label) -> Any:
    """Describe a label; `label_from_json` makes it again.

    Raises
    ------
    UsageError
        It is neither text, a number, a date nor a time of whole microseconds, nor a tuple of these.
    """
    label = _without_numpy(label)
    if label is None or isinstance(label, (str, bool, int)):
        return label
    if isinstance(label, float):
        return {"float": repr(label)}
    if isinstance(label, tuple):
        return {"tuple": [label_to_json(part) for part in label]}
    if isinstance(label, datetime) and label == label and not getattr(label, "nanosecond", 0):  # noqa: PLR0124  NaT
        return {"datetime": _moment(label)}
    if isinstance(label, date) and not isinstance(label, datetime):
        return {"date": label.isoformat()}
    raise UsageError(
        "a column label is text, a number, a date, a time of whole microseconds or a tuple of these; found "
        f"{label!r} of type {type(label).__name__}. Rename it (`frame.columns = [...]`).",
        column=label,
    )


def label_from_json(label: Any) -> Label:
    """Return the label that `label_to_json` described; a `pandas.Timestamp` as a datetime, in UTC if it had a zone."""
    if not isinstance(label, dict):
        return label
    if "float" in label:
        return float(label["float"])
    if "datetime" in label:
        return datetime.fromisoformat(label["datetime"])
    if "date" in label:
        return date.fromisoformat(label["date"])
    return tuple(label_from_json(part) for part in label["tuple"])


# A frame against the record ------------------------------------------------------------------------------------------


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
    given = {_identity(c.label): (c, array) for c, array in zip(schema.columns, arrays, strict=True)}
    fitted: list[tuple[Column, pa.Array | None]] = []
    for column in record.columns:
        found = given.pop(_identity(column.label), None)
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
            f"the frame has no column {column.label!r}, and {where} holds it as {types.to_json(column.type)}, which "
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
                f"column {column.label!r} of {where} holds {types.to_json(column.type)}, which has no null, and the "
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
    wider = _wider(column.type, given.type) if column.categories() is None else None
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
        f"column {column.label!r} of {where} holds {types.to_json(column.type)}, and this frame has "
        f"{types.to_json(array.type)} in it: {array[row].as_py()!r} at row {row}. {cure}",
        column=column.label,
        row=row,
        value=array[row].as_py(),
    )


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds every value of both exactly; None where there is none."""
    filled = nested.filled(one, other)
    if filled != one:
        return filled
    family = types.family(one)
    if family != types.family(other):
        return None
    if pa.types.is_timestamp(one):
        return pa.timestamp(_finer(one.unit, other.unit), one.tz)
    if pa.types.is_decimal(one):
        return _wider_decimal(one, other)
    if family != "number":
        return None  # a duration's unit, too, stays as it is: what is stored is a number of it
    candidates = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    candidates += [pa.float32(), pa.float64()]
    if pa.types.is_floating(one):  # what is stored is the shortest text in its own width: 0.1 is another float64
        candidates = [one]
    return next((t for t in candidates if _holds(t, one) and _holds(t, other)), None)


def _finer(one: Unit, other: Unit) -> Unit:
    """Return the finer unit, but not nanoseconds in place of another: they end in 2262, and what is stored may not."""
    unit = max(one, other, key=TICKS.__getitem__)
    return "us" if unit == "ns" and one != "ns" else unit


def _wider_decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the decimal with the digits of both, before the point and behind it."""
    scale = max(one.scale, other.scale)
    precision = max(one.precision - one.scale, other.precision - other.scale) + scale
    make = pa.decimal128 if precision <= 38 and one.bit_width <= 128 else pa.decimal256
    return make(precision, scale) if precision <= 76 else None


def _holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Tell whether every value of one numeric type is one of the other."""
    if pa.types.is_floating(wide):
        digits = {16: 11, 32: 24, 64: 53}[wide.bit_width]
        if pa.types.is_floating(narrow):
            return bool(narrow.bit_width <= wide.bit_width)
        return bool(narrow.bit_width - pa.types.is_signed_integer(narrow) <= digits)
    if pa.types.is_floating(narrow):
        return False
    if pa.types.is_signed_integer(wide) == pa.types.is_signed_integer(narrow):
        return bool(narrow.bit_width <= wide.bit_width)
    return bool(pa.types.is_signed_integer(wide) and narrow.bit_width < wide.bit_width)


def _wider_dtype(column: Column, given: Column, wider: pa.DataType) -> Any:
    if isinstance(column.dtype, list):  # Arrow's own, or objects: whatever the type
        return column.dtype
    if pa.types.is_timestamp(wider) and column.dtype is not None:
        return column.dtype.replace(f"[{column.type.unit}", f"[{wider.unit}")
    if wider == given.type and given.nullable == column.nullable:
        return given.dtype
    # numpy calls an Arrow double a float64, as the record does.
    return None if column.nullable or given.nullable else types.to_json(wider)
