"""Schema: the columns of a stream, and their record in Redis.

The record is JSON, beside the stream (`Records.schema`). It says of each column under which field its values lie, of
which Arrow type they are and which pandas dtype comes back; of the index, its unit, zone and name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from walrus_ts.columnar import text, types
from walrus_ts.columnar.labels import Label, identity, label_from_json, label_to_json, same_label
from walrus_ts.errors import DataError
from walrus_ts.ids import TICKS, StreamId, Unit

VERSION = 1
_LONGEST_SHOWN = 200  # characters of what a broken record has


def to_bytes(name: str | bytes | memoryview) -> bytes:
    """Write a key or a group's name as Redis has it."""
    return name.encode() if isinstance(name, str) else bytes(name)


def shown(name: str | bytes | memoryview) -> str:
    """Write a key or a group's name for people, who may read what is no UTF-8 as an escape."""
    return to_bytes(name).decode(errors="backslashreplace")


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
        """Return the first write that `to_json` described.

        Raises
        ------
        ValueError, TypeError, KeyError
            It is none.
        """
        id_, added = read["id"], read["added"]
        if not isinstance(id_, str) or type(added) is not int or added < 0:
            raise ValueError(f"a first write that is none: {read!r}")
        return cls(StreamId.parse(id_), added)


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
    def exactly(self) -> str:
        """The labels as text: schemas that are equal may have 1 where another has True, or 1.0."""
        return repr((self.name, self.labels, [column.label for column in self.columns]))

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
    def from_json(cls, record: bytes, key: bytes) -> Schema:
        """Read the record.

        Raises
        ------
        DataError
            It is broken, or of a version that this version does not know; the message names its key.
        """
        where = shown(key)
        try:
            read = json.loads(record)
            version = read["walrus_ts"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise broken_record(key, f"is no schema record of walrus_ts: {record[:80]!r}") from error
        if version != VERSION:
            raise DataError(
                f"{where} has the format version {_shortened(version)}, and this walrus_ts reads {VERSION}. Upgrade "
                "walrus_ts.",
                record=where,
                key=key,
                version=version,
            )
        try:
            return cls._from_dict(read)
        except (
            DataError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise broken_record(key, f"is a broken schema record: {_shortened(error)}") from error

    @classmethod
    def _from_dict(cls, read: dict[str, Any]) -> Schema:
        index, origin = read["index"], read["origin"]
        if index["unit"] not in TICKS:
            raise ValueError(f"unknown unit {index['unit']!r}")
        if not isinstance(index["zone"], str | None):
            raise ValueError(f"a zone that is none: {index['zone']!r}")
        columns = tuple(
            Column(
                label_from_json(column["label"]),
                column["field"].encode(),
                types.from_json(column["type"]),
                _checked_dtype(column["dtype"]),
                bool(column["nullable"]),
            )
            for column in read["columns"]
        )
        if len({column.field for column in columns}) != len(columns):
            raise ValueError("two columns with one field")
        if len({identity(column.label) for column in columns}) != len(columns):
            raise ValueError("two columns with one label")
        for column in columns:
            column.known_values()
        return cls(
            columns,
            index["unit"],
            index["zone"],
            label_from_json(index["name"]),
            read["labels"],
            None if origin is None else Origin.from_json(origin),
        )


def _checked_dtype(dtype: Any) -> Any:
    """Return a description of a dtype that has the form of one; `pandas_io` knows what it means."""
    if dtype is None or isinstance(dtype, str) or (isinstance(dtype, list) and dtype and isinstance(dtype[0], str)):
        return dtype
    raise ValueError(f"a dtype that is none: {dtype!r}")


def broken_record(key: bytes, problem: str) -> DataError:
    """Make the error of a schema record that cannot be used."""
    where = shown(key)
    return DataError(
        f"{where} {problem}. `stream.database.delete({_as_written(key)!r})` deletes it: the stream's columns are text "
        "then, until `stream.declare(...)` names their types.",
        record=where,
        key=key,
    )


def _as_written(key: bytes) -> str | bytes:
    """Return a key as one would write it."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
