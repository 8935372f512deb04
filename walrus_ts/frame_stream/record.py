"""What is on record beside a stream's entries: its columns and its loads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from walrus_ts import pandas_io
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.labels import Label
from walrus_ts.columnar.resp import pairs
from walrus_ts.columnar.schema import Schema, shown
from walrus_ts.errors import UsageError
from walrus_ts.frame_stream.base import FrameStreamBase
from walrus_ts.frames.source import Source
from walrus_ts.ids import Unit
from walrus_ts.transfer.loads import Progress, unfinished
from walrus_ts.transfer.patience import GRACE_SECONDS, Patience, persist
from walrus_ts.transfer.scan import look
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    from datetime import tzinfo


class FrameRecord(FrameStreamBase):
    """A stream's columns and loads, as they are on record, and the end of all of it (`drop`)."""

    @property
    def schema(self) -> Schema | None:
        """The columns that the stream has on record; None where it has none. Prints as a small table."""
        return self._source.look()[1]

    def declare(self, columns: Mapping[Label, Any], unit: Unit = "ms", tz: str | tzinfo | None = None) -> Schema:
        """Write the record of a stream that another program writes.

        Parameters
        ----------
        columns : mapping of label -> dtype
            As pandas takes dtypes. The label is the entries' field.
        unit : {"s", "ms", "us", "ns"}
            Unit of the index.
        tz : str or tzinfo, optional
            Zone of the index; without one it is naive.

        Returns
        -------
        Schema

        Raises
        ------
        UsageError
            A dtype cannot be stored, or there is no such unit or zone.
        """
        source = self._source
        schema = pandas_io.declared(columns, unit, tz)

        def write(wire: Wire) -> Schema:
            self._refuse_another_type(wire, "Declare another key.")
            old = look(wire, self._records)[1]
            kept = schema if old is None else replace(schema, origin=old.origin, columns=_keep_fields(schema, old))
            check(wire.ask(command(b"SET", self._records.schema, kept.to_json()))[0])
            return kept

        return persist(source.pool, write, Patience(GRACE_SECONDS))

    def loads(self) -> pd.DataFrame:
        """Return the named loads: a row each, in the order in which they were begun.

        Returns
        -------
        DataFrame, shape (n, 9)
            Index: the loads' names. Columns: `rows` in all, `stored`, `skipped` late ones, `first_id`, the `first` and
            the `last` time, as the index has them, `fields`, and in UTC `begun` and `finished` (NaT where it is not).
        """
        return loads_frame(self._source)

    def drop(self) -> bool:
        """Delete the stream and the records beside it; tell whether there was one.

        The records of loads without a name that were never finished are looked for among all keys of the server (SCAN).

        Raises
        ------
        UsageError
            The key holds another type; it is left alone.
        """
        records, gone = self._records, False

        def delete(wire: Wire) -> None:
            nonlocal gone
            cure = f"`stream.database.delete({self.key!r})` deletes it all the same."
            gone = self._refuse_another_type(wire, cure) or gone
            names = [records.key, records.schema, records.loads, records.dead, *unfinished(wire, records)]
            for reply in wire.ask(*(command(b"DEL", name) for name in names)):
                check(reply)

        persist(self._source.pool, delete, Patience(GRACE_SECONDS))
        return gone

    def _refuse_another_type(self, wire: Wire, cure: str) -> bool:
        """Refuse to go on where the key holds another type; tell whether there is a stream."""
        kind = check(wire.ask(command(b"TYPE", self._records.key))[0])
        if kind not in (b"none", b"stream"):
            raise UsageError(f"{self._source.where} is no stream but a {kind.decode()}. {cure}", key=self._records.key)
        return bool(kind == b"stream")


def _keep_fields(new: Schema, old: Schema) -> tuple[Any, ...]:
    """Keep the fields that the labels have had: the entries are stored under them."""
    known = [old.column(column.label) for column in new.columns]
    return tuple(
        column if before is None else replace(column, field=before.field)
        for column, before in zip(new.columns, known, strict=True)
    )


def _age(load: tuple[str, Progress]) -> tuple[str, str]:
    return load[1].begun, load[0]  # to the second; then by name


def loads_frame(source: Source) -> pd.DataFrame:
    """Return a stream's named loads, but those of a stream that was deleted since."""
    request, where = command(b"HGETALL", source.records.loads), source.records.loads
    (state, schema), found = persist(
        source.pool,
        lambda wire: (look(wire, source.records), check(wire.ask(request)[0], where)),
        Patience(GRACE_SECONDS),
    )
    records = pairs(found).items()
    loads = {shown(name): Progress.from_json(r, where) for name, r in records}
    kept = {name: p for name, p in sorted(loads.items(), key=_age) if p.holds(state, schema)}
    zone = source.axis(schema).zone

    frame = pd.DataFrame(
        {
            "rows": pd.array([p.rows for p in kept.values()], dtype="int64"),
            "stored": pd.array([p.stored for p in kept.values()], dtype="int64"),
            "skipped": pd.array([p.late for p in kept.values()], dtype="int64"),
            "first_id": pd.array([p.first_id for p in kept.values()], dtype="str"),
            "fields": pd.Series([list(p.fields) for p in kept.values()], dtype=object),
            "first": _utc(p.first for p in kept.values()).tz_convert(zone),
            "last": _utc(p.last for p in kept.values()).tz_convert(zone),
            "begun": _utc(p.begun for p in kept.values()),
            "finished": _utc(p.finished for p in kept.values()),
        }
    )
    frame.index = pd.Index(list(kept), dtype="str", name="load")
    return frame


def _utc(times: Iterable[str | None]) -> pd.DatetimeIndex:
    """Read the times of a load's record, which are in UTC."""
    return pd.to_datetime(pd.Index(list(times), dtype="str"), utc=True, format="ISO8601")
