"""Where a stream's rows come from, and the record that says what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walrus_ts.columnar.schema import Records, Schema, broken_record, shown
from walrus_ts.errors import DataError, SchemaError, UsageError, WalrusTSError
from walrus_ts.times import TimeAxis, parse_zone
from walrus_ts.transfer.patience import GRACE_SECONDS, Patience, persist
from walrus_ts.transfer.scan import StreamState, look

if TYPE_CHECKING:
    from datetime import tzinfo

    from walrus_ts.cluster import Pool


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream's rows come from.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    records : Records
    zone : tzinfo, optional
        The series' own: its frames come back in it.
    """

    pool: Pool
    records: Records
    zone: tzinfo | None = None

    @property
    def where(self) -> str:
        """The stream, in an error."""
        return f"stream {shown(self.records.key)!r}"

    def recorded(self) -> Schema | None:
        """Return the stream's schema; None where it has none."""
        return persist(self.pool, lambda wire: look(wire, self.records), Patience(GRACE_SECONDS))[1]

    def look(self, patience_seconds: float = GRACE_SECONDS) -> tuple[StreamState | None, Schema | None]:
        """Return the stream's state, and the schema that frames are made by; None for what there is not."""
        state, schema = persist(self.pool, lambda wire: look(wire, self.records), Patience(patience_seconds))
        if schema is not None:
            self.check_zone(schema)
        return state, schema

    def check_zone(self, schema: Schema) -> None:
        """Refuse a series with a zone over a stream whose times are naive, and a zone that is not known here."""
        self._zone_of(schema)
        if self.zone is not None and schema.zone is None:
            raise SchemaError(
                f"{self.where} has a naive index, and the time series has the zone {self.zone}. Read it with a series "
                "without `tz`, and localise the frame: `frame.tz_localize(...)`.",
                key=self.records.key,
                tz=self.zone,
            )

    def _zone_of(self, schema: Schema) -> tzinfo | None:
        """Return the zone of the index on record."""
        try:
            return parse_zone(schema.zone)
        except UsageError as error:
            record = self.records.schema
            raise DataError(
                f"{shown(record)} has the zone {schema.zone!r:.80}, not known here. "
                "`pip install tzdata` brings those that the system lacks; `stream.declare(..., tz=...)` names another.",
                key=record,
                tz=schema.zone,
            ) from error

    def axis(self, schema: Schema | None) -> TimeAxis:
        """Return how bounds become ids: strings and naive times are in the zone of the index that comes back."""
        zone = self._zone_of(schema) if schema else None
        return TimeAxis(schema.unit if schema else None, self.zone or zone)


@contextmanager
def by_record(records: Records) -> Iterator[None]:
    """Say of what Arrow and pandas cannot make that the record of the stream's types and labels is broken."""
    try:
        yield
    except (WalrusTSError, MemoryError):
        raise
    except Exception as error:  # which one it is depends on what is broken, and on their versions
        raise broken_record(records.schema, f"describes columns that cannot be made: {error!s:.200}") from error
