"""A consumer group's new rows as DataFrames: the iterator that delivers them, batch by batch."""

from __future__ import annotations

import secrets
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import getpid
from typing import Any, Protocol, Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd
from redis.exceptions import RedisError

from walrus_ts.batch import Batch
from walrus_ts.cluster import Pool, join_pools
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.replies import Entries, EntriesReply
from walrus_ts.columnar.schema import to_bytes
from walrus_ts.connection import check_count, read_each
from walrus_ts.errors import DataError, GroupMissingError, UsageError
from walrus_ts.frames.decoder import Decoder
from walrus_ts.frames.source import Source
from walrus_ts.frames.to_pandas import FEW, read_few, to_pandas
from walrus_ts.progress import Bar
from walrus_ts.stacking import Part, Stacked, stack
from walrus_ts.transfer.batches import Delivery, Feed, take_in_turn
from walrus_ts.transfer.member import Member
from walrus_ts.transfer.patience import ONCE, PATIENCE_SECONDS, Patience, persist
from walrus_ts.transfer.wire import Wire, check, is_open


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
        self._bar = Bar(f"read {self._feed.member.group.decode(errors='backslashreplace')}")
        self.lost = 0

    def __repr__(self) -> str:
        member = self._feed.member
        group, consumer, *keys = (
            repr(name.decode(errors="backslashreplace")) for name in (member.group, member.consumer, *member.keys)
        )
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
                rows = partial(_stack_one, few)
                return Batch(rows, [one.key], one.deliveries, lost, feed.member, feed.most, feed.claim_ms)
        parts, counts = [], []
        for delivery in deliveries:
            table = self._tables.read(delivery.key, delivery.replies)
            for row, reason in table.spoiled.items():
                self._feed.member.bury(delivery.key, [delivery.rows()[row]], reason)
            parts.append(table.part)
            counts.append(delivery.deliveries[table.kept])
        stacked = stack(parts, self._stream_name, self._tables.labels)
        keys, counted = [part.key for part in parts], np.concatenate(counts)[stacked.order]
        return Batch(lambda: stacked, keys, counted, lost, feed.member, feed.most, feed.claim_ms)

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
        with suppress(RedisError, GroupMissingError):
            for feed in self._feeds:
                feed.settle()
        if self._unnamed:
            with suppress(RedisError, GroupMissingError):
                for feed in self._feeds:
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


def _stack_one(few: Callable[[], Part]) -> Stacked:
    return stack([few()], None)


@dataclass(frozen=True, slots=True)
class Read:
    """Entries as a table.

    Attributes
    ----------
    part : Part
        Those that could be decoded.
    kept : int64 array
        Their positions among the entries.
    spoiled : dict of position -> reason
        The others.
    """

    part: Part
    kept: npt.NDArray[np.int64]
    spoiled: dict[int, str]


class Tables:
    """The streams of a group as tables: their records, asked for once and again where they do not fit.

    Parameters
    ----------
    sources : mapping of key -> (label, Source)
    """

    def __init__(self, sources: dict[bytes, tuple[str, Source]]) -> None:
        self._sources = sources
        self._decoders: dict[bytes, Decoder] = {}
        self._foreign: dict[bytes, set[bytes]] = {key: set() for key in sources}  # fields that no record knows
        self._prepared = WeakKeyDictionary[EntriesReply, tuple[Decoder, Entries]]()

    @property
    def labels(self) -> list[str]:
        """The streams' names in frames."""
        return [label for label, _ in self._sources.values()]

    def forget(self) -> None:
        """Forget the records: a stream that is made again may have others."""
        self._decoders.clear()

    def prepare(self, key: bytes, reply: EntriesReply) -> None:
        """Make a reply's columns, where the stream's record is known; `read` takes them then."""
        decoder = self._decoders.get(key)
        if decoder is not None and reply.objects is None:
            self._prepared[reply] = decoder, reply.entries(decoder.fields)

    def read(self, key: bytes, replies: Sequence[EntriesReply]) -> Read:
        """Decode entries."""
        spoiled: dict[int, str] = {}
        kept = np.arange(sum(map(len, replies)))
        few = self.few(key, replies)
        if few is not None:
            return Read(few(), kept, spoiled)
        entries = Entries.join([self._entries(key, reply) for reply in replies])
        part = self._by_known_record(key, entries)
        if part is None:  # the record may have been widened since it was read
            del self._decoders[key]
            self._foreign[key] |= set(entries.columns) - set(self._decoder(key).fields)
            try:
                part = self._part(key, entries)
            except DataError as error:
                _require_id(error)
                self._find_spoiled(key, entries, 0, spoiled)
                good = np.ones(len(entries), bool)
                good[list(spoiled)] = False
                part, kept = self._part(key, entries.filter(good)), np.flatnonzero(good)
        return Read(part, kept, spoiled)

    def few(self, key: bytes, replies: Sequence[EntriesReply]) -> Callable[[], Part] | None:
        """Decode a few plain entries without Arrow; return what makes a table of them, None where they are others."""
        entries, (label, source) = replies[0].objects, self._sources[key]
        if len(replies) > 1 or not entries or len(entries) > FEW or any(fields is None for _, fields in entries):
            return None
        few = read_few(entries, self._decoder(key).known, source)
        return None if few is None else lambda: Part(label, key, few.frame(source.zone), few.ids)

    def _entries(self, key: bytes, reply: EntriesReply) -> Entries:
        decoder, entries = self._prepared.pop(reply, (None, None))
        if entries is None or decoder is not self._decoder(key):
            entries = reply.entries(self._decoder(key).fields)
        return entries

    def _by_known_record(self, key: bytes, entries: Entries) -> Part | None:
        """Decode entries by the record as it was; None where it does not know all of them."""
        if not entries.columns.keys() <= self._foreign[key].union(self._decoder(key).fields):
            return None
        try:
            return self._part(key, entries)
        except DataError:
            return None

    def _part(self, key: bytes, entries: Entries) -> Part:
        label, source = self._sources[key]
        rows = self._decoder(key).rows(entries)
        assert rows.ids is not None  # as the decoder was told
        return Part(label, key, to_pandas(rows, source), rows.ids)

    def _find_spoiled(self, key: bytes, entries: Entries, first: int, spoiled: dict[int, str]) -> None:
        """Find the entries that cannot be decoded, by halves; `first` is the position of these entries' first."""
        try:
            self._part(key, entries)
        except DataError as error:
            _require_id(error)
            if len(entries) == 1:
                spoiled[first] = str(error)
                return
            half = np.arange(len(entries)) < len(entries) // 2
            self._find_spoiled(key, entries.filter(half), first, spoiled)
            self._find_spoiled(key, entries.filter(~half), first + int(half.sum()), spoiled)

    def _decoder(self, key: bytes) -> Decoder:
        if key not in self._decoders:
            source = self._sources[key][1]
            self._decoders[key] = Decoder(source, source.look(PATIENCE_SECONDS)[1], ids=True)
        return self._decoders[key]


def _require_id(error: DataError) -> None:
    """Raise an error that is not of one entry: a broken record, say."""
    if "id" not in vars(error):
        raise error


class Reading(Protocol):
    """What consuming needs of a stream: `TimeSeriesStream` has it."""

    group: str | bytes
    consumer_name: str | bytes
    _named: bool

    @property
    def _source(self) -> Source: ...

    def _start_id(self) -> bytes: ...


def read_rows(
    streams: Sequence[Reading], count: int | None, block: int | None, stream_name: str | None
) -> pd.DataFrame:
    """Read new rows once; they stay pending (`TimeSeries.read_frame`)."""
    count, block = check_count(count), check_count(block, "block", minimum=0)
    members = {member.pool: member for member in _members(streams, to_bytes(streams[0].consumer_name))}
    tables = _tables(streams)

    def read(pool: Pool, block: int | None) -> dict[bytes, list[EntriesReply]]:
        found: dict[bytes, list[EntriesReply]] = {}

        def work(wire: Wire) -> None:
            if found:
                return
            for pieces in members[pool].read_new(wire, count, block):
                for key, reply in pieces.items():
                    found.setdefault(key, []).append(reply)

        try:
            persist(pool, work, Patience(ONCE))
        except RedisError:  # behind a piece: those that have come are what there is
            if not found:
                raise
        return found

    replies = {key: each for found in read_each(list(members), read, block) for key, each in found.items()}
    parts = []
    for stream in streams:
        key = stream._source.records.key
        found = replies.get(key, [EntriesReply.of([])])
        table = tables.read(key, found)
        for row, reason in table.spoiled.items():
            raise DataError(reason, key=key, id=[id_ for reply in found for id_ in reply.ids()][row].decode())
        parts.append(table.part)
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
    tables, claim_ms = _tables(streams), max(1, round(claim_after * 1_000))
    feeds = [
        Feed(member, count, claim_ms, max_deliveries, _remaking(streams, member, tables), tables.prepare)
        for member in _members(streams, consumer)
    ]
    return Batches(feeds, tables, wait=wait, stream_name=stream_name, unnamed=not first._named)


def _members(streams: Sequence[Reading], consumer: bytes) -> list[Member]:
    """Return the consumer as a member of the group: one, or in a cluster one for each slot that streams are in."""
    sources: dict[Pool, list[Source]] = {}
    for source in (stream._source for stream in streams):
        sources.setdefault(source.pool, []).append(source)
    group = to_bytes(streams[0].group)
    return [
        Member(join_pools([one.pool for one in some]), group, consumer, [one.records.key for one in some])
        for some in sources.values()
    ]


def _tables(streams: Sequence[Reading]) -> Tables:
    sources = [stream._source for stream in streams]
    return Tables(
        {source.records.key: (source.records.key.decode(errors="backslashreplace"), source) for source in sources}
    )


def _remaking(streams: Sequence[Reading], member: Member, tables: Tables) -> Callable[[], set[bytes]]:
    """Return what makes the group anew where it has gone, from the position that the series was created with."""

    def remake() -> set[bytes]:
        tables.forget()
        made = set()
        for stream in streams:
            key = stream._source.records.key
            if key not in member.keys:
                continue
            after = stream._start_id()
            with Wire(member.pool) as wire:
                (reply,) = wire.ask(command(b"XGROUP", b"CREATE", key, member.group, after, b"MKSTREAM"))
            if getattr(reply, "message", "").startswith("BUSYGROUP"):
                continue
            check(reply)
            made.add(key)
            warnings.warn(
                f"the consumer group {member.group.decode(errors='backslashreplace')!r} had gone from "
                f"{stream._source.where} (the stream was deleted, or the server has lost its data). It has been made "
                f"anew, and begins behind {after.decode(errors='backslashreplace')}, as its series says.",
                RuntimeWarning,
                stacklevel=2,
            )
        return made

    return remake


def unique_consumer(group: bytes) -> bytes:
    """Make a consumer's name that no other process has."""
    return b"%b.%b.%d.%b" % (group, socket.gethostname().encode(), getpid(), secrets.token_hex(4).encode())


def check_numbers(count: Any, wait: Any, claim_after: Any, max_deliveries: Any) -> None:
    """Refuse numbers that `batches` cannot work with."""
    checks = [
        ("count", count, _is_whole(count), "a number of rows, at least 1"),
        ("wait", wait, wait is None or _is_seconds(wait), "None or a number of seconds, not negative"),
        ("claim_after", claim_after, _is_claimable(claim_after), "a number of seconds, more than 0, at most a year"),
        ("max_deliveries", max_deliveries, _is_whole(max_deliveries), "a number of deliveries, at least 1"),
    ]
    for name, value, right, expected in checks:
        if not right:
            raise UsageError(f"{name} is {expected}; found {value!r}", **{name: value})


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _is_claimable(value: Any) -> bool:
    return _is_seconds(value) and bool(0 < value <= 366 * 86_400)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(value >= 0)
