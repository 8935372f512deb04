"""Rows -> a pyarrow Table."""

from __future__ import annotations

import pyarrow as pa

from walrus_ts.columnar.schema import Schema
from walrus_ts.frames.rows import Rows
from walrus_ts.frames.source import Source
from walrus_ts.times import zone_name


def to_arrow(rows: Rows, source: Source) -> pa.Table:
    """Make a table of rows: the index, then the columns."""
    schema = rows.schema
    zone = None if schema.zone is None else zone_name(source.zone or schema.zone)
    times = pa.array(rows.ticks).view(pa.timestamp(schema.unit)).view(pa.timestamp(schema.unit, zone))
    return pa.table([times, *rows.arrays], names=_arrow_names(schema))


def _arrow_names(schema: Schema) -> list[str]:
    """Name the index and the columns for Arrow, where names are text, and no two are equal (`Scan.to_arrow`)."""
    labels = [column.label for column in schema.columns]
    used = {label for label in labels if isinstance(label, str)}
    names = [label if isinstance(label, str) else _free_name(str(label), used) for label in labels]
    return [_free_name("time" if schema.name is None else str(schema.name), used), *names]


def _free_name(base: str, used: set[str]) -> str:
    """Return a name that is not used yet, and count it among those that are."""
    name, number = base, 0
    while name in used:
        number += 1
        name = f"{base}_{number}"
    used.add(name)
    return name


def without_offsets(table: pa.Table) -> pa.Table:
    """Bring times with a fixed offset to UTC: polars knows no zones like ``"+05:30"``."""
    fields = [
        field.with_type(pa.timestamp(field.type.unit, "UTC"))
        if pa.types.is_timestamp(field.type) and (field.type.tz or "")[:1] in ("+", "-")
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
