"""What every part of a stream's frames' side stands on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from walrus_ts.cluster import Pool, pool_for
from walrus_ts.columnar.schema import Records, to_bytes
from walrus_ts.frames.source import Source

if TYPE_CHECKING:
    from datetime import tzinfo

    from redis.typing import KeyT

    from walrus_ts.database import AnyDatabase


class FrameStreamBase:
    """Where a stream's rows are; `TimeSeriesStream` sets the attributes."""

    database: AnyDatabase
    key: KeyT
    tz: tzinfo | None

    @property
    def _records(self) -> Records:
        return Records(to_bytes(self.key))

    @cached_property
    def _frame_pool(self) -> Pool:
        records = self._records
        return pool_for(self.database.data, records.key, records.schema, beside=(records.loads, records.dead))

    @property
    def _source(self) -> Source:
        return Source(self._frame_pool, self._records, self.tz)
