"""`Batches`: the iterator that delivers new rows, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import numpy as np
from redis.exceptions import RedisError

from walrus_ts.columnar.schema import shown
from walrus_ts.consuming.batch import Batch
from walrus_ts.consuming.tables import Tables
from walrus_ts.errors import GroupMissingError
from walrus_ts.progress import Bar
from walrus_ts.stacking import stack
from walrus_ts.transfer.batches import Delivery, Feed, take_in_turn
from walrus_ts.transfer.wire import is_open


class Batches(Iterator[Batch]):
    """The batches of a consumer, one after the other; made by `batches`.

    Closing it, or leaving it (``break``, Ctrl-C), hands the rows of the batch in hand back as if they had not been
    delivered; the batch can still be acknowledged, unless somebody has taken them over. Use it in a ``with`` block for
    that to happen at once.

    Attributes
    ----------
    lost : int
        Rows that were pending and that the stream no longer holds, in all batches.
    """

    def __init__(
        self, feeds: list[Feed], tables: Tables, *, wait: float | None, stream_name: str | None, unnamed: bool
    ) -> None:
        self._feeds = feeds
        self._feed = feeds[0]  # the one that the batch in hand is of
        self._tables = tables
        self._wait = wait
        self._stream_name = stream_name
        self._unnamed = unnamed
        self._in_hand: Batch | None = None
        self._closed = False
        self._bar = Bar(f"read {shown(self._feed.member.group)}")
        self.lost = 0

    def __repr__(self) -> str:
        member = self._feed.member
        group, consumer, *keys = (repr(shown(name)) for name in (member.group, member.consumer, *member.keys))
        return f"<Batches of {group} on {', '.join(keys)}, consumer {consumer}>"

    def __next__(self) -> Batch:
        if self._closed:
            raise StopIteration
        self._in_hand = None
        self._bar.show()
        lost = 0
        while True:
            self._feed, deliveries = take_in_turn(self._feeds, self._wait)
            if not deliveries:
                self.close()
                raise StopIteration
            found = sum(delivery.lost for delivery in deliveries)
            lost += found
            self.lost += found
            try:
                batch = self._batch(deliveries, lost)
            except BaseException:
                self._hand_back(deliveries)
                raise
            if len(batch):
                self._in_hand = batch
                self._bar.update(len(batch))
                self._bar.hide()  # what is done with the batch may write to the terminal
                return batch

    def _batch(self, deliveries: list[Delivery], lost: int) -> Batch:
        feed = self._feed
        if len(deliveries) == 1 and self._stream_name is None:
            (one,) = deliveries
            few = self._tables.few(one.key, one.replies)
            if few is not None:  # one row, say, for which the consumer was waiting
                return Batch(few, [one.key], one.deliveries, lost, feed)
        parts, counts = [], []
        for delivery in deliveries:
            table = self._tables.read(delivery.key, delivery.replies)
            for row, reason in table.spoiled.items():
                feed.member.bury(delivery.key, [delivery.rows()[row]], reason)
            parts.append(table.part)
            counts.append(delivery.deliveries[table.kept])
        stacked = stack(parts, self._stream_name, self._tables.labels)
        keys, counted = [part.key for part in parts], np.concatenate(counts)[stacked.order]
        return Batch(stacked, keys, counted, lost, feed)

    def _hand_back(self, deliveries: list[Delivery]) -> None:
        """Hand back rows that no batch can be made of, by no fault of their own: two of the data's labels, Ctrl-C."""
        with suppress(RedisError, GroupMissingError):
            for delivery in deliveries:
                self._feed.member.hand_back(delivery.key, delivery.rows(), self._feed.claim_ms)

    def close(self) -> None:
        """End the iteration; rows in hand are handed back, and a consumer without a name leaves the group."""
        if self._closed:
            return
        self._closed = True
        self._bar.close()
        if self._in_hand is not None:
            self._in_hand.hand_back()
        for feed in self._feeds:  # in a cluster, the server of one may be away
            with suppress(RedisError, GroupMissingError):
                feed.settle()
            if self._unnamed:
                with suppress(RedisError, GroupMissingError):
                    feed.member.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # the server may be gone, or the interpreter going
            # Nobody would close a connection that is made now.
            if any(is_open(feed.member.pool) for feed in self._feeds):
                self.close()
