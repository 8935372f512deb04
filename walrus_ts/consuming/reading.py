"""What a group's streams are read by: new rows once, and the iterator of batches."""

from __future__ import annotations

import secrets
import socket
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import getpid
from typing import Any, Protocol

import numpy as np
import pandas as pd
from redis.exceptions import RedisError

from walrus_ts.cluster import Pool, join_pools
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.replies import EntriesReply
from walrus_ts.columnar.schema import shown, to_bytes
from walrus_ts.connection import check_count, read_each, require_count
from walrus_ts.consuming.batches import Batches
from walrus_ts.consuming.tables import Tables
from walrus_ts.errors import DataError, GroupMissingError, UsageError
from walrus_ts.frames.source import Source
from walrus_ts.stacking import stack
from walrus_ts.transfer.batches import Feed
from walrus_ts.transfer.member import LONG_IDLE_MS, Member
from walrus_ts.transfer.patience import GRACE_SECONDS, ONCE, Patience, persist
from walrus_ts.transfer.wire import Wire, check


class Consumed(Protocol):
    """What consuming needs of a stream: `TimeSeriesStream` has it."""

    group: str | bytes
    consumer_name: str | bytes
    _named: bool

    @property
    def _source(self) -> Source: ...

    def _start_id(self) -> bytes: ...


def read_rows(
    streams: Sequence[Consumed], count: int | None, block: int | None, stream_name: str | None
) -> pd.DataFrame:
    """Read new rows once; they stay pending (`TimeSeries.read_frame`)."""
    count, block = check_count(count), check_count(block, "block", minimum=0)
    members = {member.pool: member for member in _members(streams, to_bytes(streams[0].consumer_name))}
    tables = _tables(streams)
    if stream_name is not None:  # what cannot be one frame is refused before it is delivered
        tables.ask(GRACE_SECONDS)  # nothing has been delivered yet for which a lost server would be waited for
        _stacked(streams, tables, {}, stream_name)
        if block is not None:
            tables.forget()  # the records may have been made anew when a row comes

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
    try:
        return _stacked(streams, tables, replies, stream_name)
    except UsageError:  # a stream has no record that would have said so before
        with suppress(RedisError, GroupMissingError):
            for member in members.values():
                for key in replies.keys() & set(member.keys):
                    rows = [(id_, 1) for reply in replies[key] for id_ in reply.ids()]
                    member.hand_back(key, rows, LONG_IDLE_MS)
        raise


def _stacked(
    streams: Sequence[Consumed], tables: Tables, replies: dict[bytes, list[EntriesReply]], stream_name: str | None
) -> pd.DataFrame:
    """Make one frame of what was delivered; of streams from which nothing was, it has the columns."""
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
    streams: Sequence[Consumed],
    count: int,
    wait: float | None,
    claim_after: float,
    max_deliveries: int,
    stream_name: str | None,
    prefetch: bool | None,
) -> Batches:
    """Make the iterator (`TimeSeries.batches`)."""
    count, max_deliveries = require_count(count, "count"), require_count(max_deliveries, "max_deliveries")
    _check_seconds(wait, claim_after)
    if not isinstance(prefetch, (bool, np.bool_, type(None))):
        raise UsageError(f"prefetch is True, False or None; found {prefetch!r}", prefetch=prefetch)
    first = streams[0]
    consumer = to_bytes(first.consumer_name) if first._named else unique_consumer(to_bytes(first.group))
    tables, claim_ms = _tables(streams), max(1, round(claim_after * 1_000))
    feeds = [
        Feed(member, count, claim_ms, max_deliveries, _remaking(streams, member, tables), tables.prepare, prefetch)
        for member in _members(streams, consumer)
    ]
    return Batches(feeds, tables, wait=wait, stream_name=stream_name, unnamed=not first._named)


def _members(streams: Sequence[Consumed], consumer: bytes) -> list[Member]:
    """Return the consumer as a member of the group: one, or in a cluster one for each slot that streams are in."""
    sources: dict[Pool, list[Source]] = {}
    for source in (stream._source for stream in streams):
        sources.setdefault(source.pool, []).append(source)
    group = to_bytes(streams[0].group)
    return [
        Member(join_pools([one.pool for one in some]), group, consumer, [one.records.key for one in some])
        for some in sources.values()
    ]


def _tables(streams: Sequence[Consumed]) -> Tables:
    sources = [stream._source for stream in streams]
    return Tables({source.records.key: (shown(source.records.key), source) for source in sources})


def _remaking(streams: Sequence[Consumed], member: Member, tables: Tables) -> Callable[[], set[bytes]]:
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
                f"the consumer group {shown(member.group)!r} had gone from "
                f"{stream._source.where} (the stream was deleted, or the server has lost its data). It has been made "
                f"anew, and begins behind {shown(after)}, as its series says.",
                RuntimeWarning,
                stacklevel=2,
            )
        return made

    return remake


def unique_consumer(group: bytes) -> bytes:
    """Make a consumer's name that no other process has."""
    return b"%b.%b.%d.%b" % (group, socket.gethostname().encode(), getpid(), secrets.token_hex(4).encode())


def _check_seconds(wait: Any, claim_after: Any) -> None:
    if wait is not None and not _is_seconds(wait):
        raise UsageError(f"wait is None or a number of seconds, not negative; found {wait!r}", wait=wait)
    if not _is_seconds(claim_after) or not 0 < claim_after <= 366 * 86_400:
        raise UsageError(
            f"claim_after is a number of seconds, more than 0, at most a year; found {claim_after!r}",
            claim_after=claim_after,
        )


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(value >= 0)
