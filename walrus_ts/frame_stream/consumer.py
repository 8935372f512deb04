"""A group's rows as DataFrames: new ones, pending ones, and those that were given up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from walrus_ts.columnar.schema import to_bytes
from walrus_ts.connection import check_count
from walrus_ts.consuming.batches import Batches
from walrus_ts.consuming.reading import make_batches, read_rows
from walrus_ts.errors import UsageError
from walrus_ts.frame_stream.base import FrameStreamBase
from walrus_ts.ids import StreamId
from walrus_ts.standing import common_zone, consumers_frame, letters_frame, pending_frame
from walrus_ts.transfer.dead import Letter, letters, replay


class FrameConsumer(FrameStreamBase):
    """How a group's rows reach a consumer; `TimeSeriesStream` sets the attributes."""

    group: str | bytes
    consumer_name: str | bytes
    start: Any
    _named: bool

    def read_frame(self, count: int | None = None, block: int | None = None) -> pd.DataFrame:
        """Return rows that the group has not read yet (XREADGROUP); they stay pending until acknowledged.

        Parameters
        ----------
        count : int, optional
            Rows at most.
        block : int, optional
            Milliseconds to wait for a row; 0 waits for ever. Without it, there is no waiting.

        Returns
        -------
        DataFrame, shape (n, k)
            As `frame`; empty where there are no new rows.

        Raises
        ------
        GroupMissingError
            The group does not exist: `create()` makes it.
        DataError
            A value does not fit its column; the rows are pending.
        """
        return read_rows([self], count, block, None)

    def batches(
        self,
        count: int = 1000,
        *,
        wait: float | None = None,
        claim_after: float = 60,
        max_deliveries: int = 5,
        stream_name: str | None = None,
        prefetch: bool | None = None,
    ) -> Batches:
        """Iterate over new rows, batch by batch, as they come.

        First this consumer's own backlog, then rows that were left pending, then new ones; none starves the others. A
        batch that raised comes again, in smaller and smaller batches, at last row by row.

        Parameters
        ----------
        count : int
            Rows of a batch at most.
        wait : float, optional
            Seconds without a new row after which the iteration ends. None waits for ever, 0 takes what there is.
        claim_after : float
            Seconds for which a row has to be pending before it is taken over; one of this consumer's own, too.
        max_deliveries : int
            A row that was delivered so often and is still pending goes to the stream's dead letters.
        stream_name : str, optional
            Name of a column that says which stream a row is from; there is none without it.
        prefetch : bool, optional
            Have the server read on while a batch is worked on: faster, where that takes less than a second. It takes a
            second connection, and up to 2,500 rows of each stream are pending that are not in hand yet. At the end they
            are handed back as if they had not been delivered: leave the loop by a ``with`` block of the iterator.
            Without it, as True where `count` is more than 2,500, once the work on a batch was quick.

        Returns
        -------
        Batches
            An iterator of `Batch`.

        Raises
        ------
        UsageError
            A number is none that it can work with, or `prefetch` is not True, False or None.
        GroupMissingError
            While iterating: the group does not exist.

        Examples
        --------
        >>> for batch in series.s1.batches(count=10_000, wait=0):
        ...     with batch:
        ...         print(len(batch.frame))
        """
        return make_batches([self], count, wait, claim_after, max_deliveries, stream_name, prefetch)

    def _start_id(self) -> bytes:
        """Return the id after which the group begins where it is made anew."""
        after = self._source.axis(self._source.recorded()).upper(self.start)
        return after.encode() if isinstance(after, str) else bytes(after)

    def dead_letters(self) -> pd.DataFrame:
        """Return the rows that were given up: rejected, delivered too often, or that cannot be decoded.

        Returns
        -------
        DataFrame, shape (n, 6 + k)
            A row each, in the order in which they were given up; the index is the rows' own time. Columns: `stream_id`;
            `died`, when it was (UTC); `deliveries`; `group`, `consumer` and `reason`; and the row's own, null where a
            value cannot be decoded, and with a dot before a label that is one of these six.

        Raises
        ------
        DataError
            Another program has written to the dead letters.

        Examples
        --------
        >>> import pandas as pd
        >>> times = pd.to_datetime(["2024-01-05 09:30", "2024-01-05 09:31"])
        >>> series.s1.append(pd.DataFrame({"price": [7.5, -1.0]}, index=times)).rows
        2
        >>> for batch in series.s1.batches(wait=0):
        ...     with batch:
        ...         batch.reject(batch.frame["price"] < 0, reason="negative")
        1
        >>> series.s1.dead_letters()[["price", "deliveries", "reason"]]
                             price  deliveries    reason
        2024-01-05 09:31:00   -1.0           1  negative
        """
        return letters_frame(self._source, letters(self._source.pool, self._records))

    def replay_dead(self, ids: Any = None, *, as_new: bool = False) -> int:
        """Make rows that were given up pending again in their group, as not yet delivered (XCLAIM, FORCE).

        They are pending with the consumer ``NAME.c1``, the one without a name, and any consumer of the group takes them
        over at once. Each row's letter is removed in the same step.

        Parameters
        ----------
        ids : id or time, or a list of these, optional
            Which rows, by their own ids; all without it.
        as_new : bool
            Add a row that the stream no longer holds at the stream's end, with the server's time.

        Returns
        -------
        int
            How many rows.

        Raises
        ------
        UsageError
            An id has no dead letter, or the stream no longer holds a row; nothing is replayed.
        GroupMissingError
            A row's group does not exist.
        """
        found = list(letters(self._source.pool, self._records))
        if ids is not None:
            found = self._chosen_letters(found, ids)
        return replay(self._source.pool, self._records, found, as_new=as_new)

    def _chosen_letters(self, found: list[Letter], ids: Any) -> list[Letter]:
        axis = self._source.axis(self._source.recorded())
        given = [ids] if isinstance(ids, (str, bytes, tuple)) or not isinstance(ids, Iterable) else list(ids)
        if any(id_ is None for id_ in given):
            raise UsageError("None is no id of a dead letter; without `ids`, all of them are replayed", ids=ids)
        wanted = dict.fromkeys(StreamId.parse(axis.at(id_)).encode() for id_ in given)
        known = {letter.id for letter in found}
        for id_ in wanted:
            if id_ not in known:
                raise UsageError(
                    f"{self._source.where} has no dead letter of the row {id_.decode()}; `dead_letters()` lists those "
                    "there are",
                    id=id_.decode(),
                )
        return [letter for letter in found if letter.id in wanted]

    def pending_frame(self, limit: int | None = None) -> pd.DataFrame:
        """Return the rows that the group has read and not acknowledged, the oldest first (XPENDING).

        Parameters
        ----------
        limit : int, optional
            Rows at most.

        Returns
        -------
        DataFrame, shape (n, 4)
            Index: the rows' times, in milliseconds. Columns: `stream_id`, `consumer`, `idle` (Timedelta since the last
            delivery), `deliveries`.

        Raises
        ------
        UsageError
            `limit` is no whole number.
        GroupMissingError
            The group does not exist.
        """
        limit = check_count(limit, "limit", minimum=0)
        source = self._source
        return pending_frame(source, to_bytes(self.group), limit, common_zone([source]))

    def consumers_frame(self) -> pd.DataFrame:
        """Return the group's consumers (XINFO CONSUMERS).

        Returns
        -------
        DataFrame, shape (n, 4)
            Columns: `consumer`, `pending` rows, `idle` (Timedelta since it last asked for rows), `inactive` (Timedelta
            since it last got some; NaT where it never has, or the server, before Redis 7.2, does not tell).

        Raises
        ------
        GroupMissingError
            The group does not exist.
        """
        return consumers_frame(self._source, to_bytes(self.group))
