"""A consumer group's new rows as DataFrames: `Batch`, and the iterator that delivers them."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from os import getpid
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from walrus_ts.columnar.replies import EntriesReply
from walrus_ts.columnar.schema import to_bytes
from walrus_ts.connection import check_count
from walrus_ts.errors import DataError, UsageError
from walrus_ts.frames import Decoder, Rows, Source, to_pandas
from walrus_ts.stacking import Part, stack
from walrus_ts.transfer.batches import Delivery, Feed, Member
from walrus_ts.transfer.wire import Wire

_LEAVING = (KeyboardInterrupt, SystemExit, GeneratorExit)


class Batch:
    """Rows that were delivered together; they stay pending until they are acknowledged.

    ``with batch:`` acknowledges them when the block ends, and leaves them pending where it raises: they are then
    delivered again. An interruption (Ctrl-C) hands them back as if they had not been delivered.

    Attributes
    ----------
    frame : DataFrame, shape (n, k)
        The rows, in the order of time.
    ids : list of str, length n
        The rows' stream ids.
    deliveries : int64 array, shape (n,)
        How often each row has been delivered, this time included.
    lost : int
        Rows that were pending, and that the stream no longer holds.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        ids: list[str],
        keys: list[bytes],
        deliveries: npt.NDArray[np.int64],
        lost: int,
        member: Member,
        idle_ms: int,
    ) -> None:
        self.frame = frame
        self.ids = ids
        self.deliveries = deliveries
        self.lost = lost
        self._keys = keys
        self._open = np.ones(len(ids), bool)  # neither acknowledged nor handed back
        self._member = member
        self._idle_ms = idle_ms

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} rows, {int(self._open.sum())} of them open>"

    def ack(self, rows: Any = None) -> int:
        """Acknowledge rows (XACK).

        Parameters
        ----------
        rows : bool array, shape (n,), optional
            Which; all without it.

        Returns
        -------
        int
            How many were still pending.

        Raises
        ------
        UsageError
            `rows` is no mask of the batch's length.
        """
        chosen = self._mask(rows) & self._open
        acknowledged = sum(self._member.ack(key, ids) for key, ids in self._by_key(chosen))
        self._open &= ~chosen
        return acknowledged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.ack()
        elif issubclass(kind, _LEAVING):
            self._hand_back()
        else:
            self._open[:] = False  # left pending: another delivery

    def _hand_back(self) -> None:
        for key, ids in self._by_key(self._open):
            self._member.hand_back(key, ids, self._idle_ms)
        self._open[:] = False

    def _mask(self, rows: Any) -> npt.NDArray[np.bool_]:
        if rows is None:
            return np.ones(len(self), bool)
        mask = np.asarray(rows)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise UsageError(
                f"rows is a boolean mask with one value for each of the {len(self)} rows of the batch; found "
                f"{mask.dtype} of shape {mask.shape}. `batch.frame['x'] > 0` is such a mask.",
                rows=rows,
            )
        return mask

    def _by_key(self, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[bytes, list[bytes]]]:
        ids: dict[bytes, list[bytes]] = {}
        for position in np.flatnonzero(chosen):
            ids.setdefault(self._keys[position], []).append(self.ids[position].encode())
        yield from ids.items()


class Batches(Iterator[Batch]):
    """The batches of a consumer, one after the other; made by `batches`.

    Closing it, or leaving it (``break``, Ctrl-C), hands the rows of the batch in hand back as if they had not been
    delivered.

    Attributes
    ----------
    lost : int
        Rows that were pending and that the stream no longer holds, in all batches.
    """

    def __init__(
        self, feed: Feed, tables: Tables, *, wait: float | None, stream_name: str | None, unnamed: bool
    ) -> None:
        self._feed = feed
        self._tables = tables
        self._wait = wait
        self._stream_name = stream_name
        self._unnamed = unnamed
        self._in_hand: Batch | None = None
        self._closed = False
        self.lost = 0

    def __next__(self) -> Batch:
        if self._closed:
            raise StopIteration
        self._in_hand = None
        lost = 0
        while True:
            deliveries = self._feed.take(self._wait)
            if not deliveries:
                self.close()
                raise StopIteration
            lost += sum(delivery.lost for delivery in deliveries)
            self.lost += sum(delivery.lost for delivery in deliveries)
            batch = self._batch(deliveries, lost)
            if len(batch):
                self._in_hand = batch
                return batch

    def _batch(self, deliveries: list[Delivery], lost: int) -> Batch:
        parts, counts = [], []
        for delivery in deliveries:
            rows, kept, spoiled = self._tables.rows(delivery.key, delivery.reply)
            for id_, reason in spoiled:
                count = int(delivery.deliveries[delivery.reply.ids().index(id_)])
                self._feed.member.bury(delivery.key, [(id_, count)], reason)
            parts.append(self._tables.part(delivery.key, rows))
            counts.append(delivery.deliveries[kept])
        stacked = stack(parts, self._stream_name, self._tables.labels)
        deliveries_ = np.concatenate(counts)[stacked.order]
        return Batch(
            stacked.frame, stacked.ids, stacked.keys, deliveries_, lost, self._feed.member, self._feed.claim_ms
        )

    def close(self) -> None:
        """End the iteration; rows in hand are handed back, and a consumer without a name leaves the group."""
        if self._closed:
            return
        self._closed = True
        if self._in_hand is not None:
            self._in_hand._hand_back()
        if self._unnamed:
            self._feed.member.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # the server may be gone, or the interpreter going
            self.close()


class Tables:
    """The streams of a group as tables: their records, asked for once and again where they do not fit.

    Parameters
    ----------
    sources : mapping of key -> (label, Source)
    """

    def __init__(self, sources: dict[bytes, tuple[str, Source]]) -> None:
        self._sources = sources
        self._decoders: dict[bytes, Decoder] = {}

    @property
    def labels(self) -> list[str]:
        """The streams' names in frames."""
        return [label for label, _ in self._sources.values()]

    def rows(self, key: bytes, reply: EntriesReply) -> tuple[Rows, npt.NDArray[np.int64], list[tuple[bytes, str]]]:
        """Decode entries.

        Returns
        -------
        rows : Rows
        kept : int64 array
            The positions of the rows among the entries.
        spoiled : list of (id, reason)
            Entries that cannot be decoded.
        """
        entries = reply.entries(self._decoder(key).fields)
        kept = np.arange(len(entries))
        spoiled: list[tuple[bytes, str]] = []
        fresh = False
        while True:
            try:
                return self._decoder(key).rows(entries), kept, spoiled
            except DataError as error:
                id_ = vars(error).get("id")
                if id_ is None:
                    raise
                if not fresh:  # the record may have been widened since
                    del self._decoders[key]
                    fresh = True
                    continue
                good = np.array([found != id_.encode() for found in entries.id_texts()], bool)
                spoiled.append((id_.encode(), str(error)))
                entries, kept = entries.filter(good), kept[good]

    def part(self, key: bytes, rows: Rows) -> Part:
        """Make a frame of rows."""
        label, source = self._sources[key]
        return Part(label, key, to_pandas(rows, source.zone), rows.id_texts())

    def _decoder(self, key: bytes) -> Decoder:
        if key not in self._decoders:
            source = self._sources[key][1]
            self._decoders[key] = Decoder(source, source.look()[1], ids=True)
        return self._decoders[key]


class Reading(Protocol):
    """What consuming needs of a stream: `TimeSeriesStream` has it."""

    group: str | bytes
    consumer_name: str | bytes
    _named: bool

    @property
    def _source(self) -> Source: ...


def read_rows(
    streams: Sequence[Reading], count: int | None, block: int | None, stream_name: str | None
) -> pd.DataFrame:
    """Read new rows once; they stay pending (`TimeSeries.read_frame`)."""
    count, block = check_count(count), check_count(block, "block", minimum=0)
    member = _member(streams, to_bytes(streams[0].consumer_name))
    tables = _tables(streams)
    with Wire(member.pool) as wire:
        replies = member.read_new(wire, count, block)
    parts = []
    for key in member.keys:
        rows, _, spoiled = tables.rows(key, replies.get(key, EntriesReply.of([])))
        if spoiled:
            raise DataError(spoiled[0][1], key=key, id=spoiled[0][0].decode())
        parts.append(tables.part(key, rows))
    return stack(parts, stream_name, tables.labels).frame


def make_batches(
    streams: Sequence[Reading],
    count: int,
    wait: float | None,
    claim_after: float,
    max_deliveries: int,
    stream_name: str | None,
) -> Batches:
    """Make the iterator (`TimeSeries.batches`)."""
    check_numbers(count, wait, claim_after, max_deliveries)
    first = streams[0]
    consumer = to_bytes(first.consumer_name) if first._named else unique_consumer(to_bytes(first.group))
    feed = Feed(_member(streams, consumer), count, max(1, round(claim_after * 1_000)), max_deliveries)
    return Batches(feed, _tables(streams), wait=wait, stream_name=stream_name, unnamed=not first._named)


def _member(streams: Sequence[Reading], consumer: bytes) -> Member:
    keys = [stream._source.records.key for stream in streams]
    return Member(streams[0]._source.pool, to_bytes(streams[0].group), consumer, keys)


def _tables(streams: Sequence[Reading]) -> Tables:
    sources = [stream._source for stream in streams]
    return Tables(
        {source.records.key: (source.records.key.decode(errors="backslashreplace"), source) for source in sources}
    )


def unique_consumer(group: bytes) -> bytes:
    """Make a consumer's name that no other process has."""
    return b"%b.%b.%d.%b" % (group, socket.gethostname().encode(), getpid(), secrets.token_hex(4).encode())


def check_numbers(count: Any, wait: Any, claim_after: Any, max_deliveries: Any) -> None:
    """Refuse numbers that `batches` cannot work with."""
    checks = [
        ("count", count, _is_whole(count), "a number of rows, at least 1"),
        ("wait", wait, wait is None or _is_seconds(wait), "None or a number of seconds, not negative"),
        ("claim_after", claim_after, _is_seconds(claim_after) and claim_after > 0, "a number of seconds, more than 0"),
        ("max_deliveries", max_deliveries, _is_whole(max_deliveries), "a number of deliveries, at least 1"),
    ]
    for name, value, right, expected in checks:
        if not right:
            raise UsageError(f"{name} is {expected}; found {value!r}", **{name: value})


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(value >= 0)
