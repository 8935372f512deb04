"""The objects of walrus_ts as HTML: what they know, and what the server tells of them without looking at rows.

A server that cannot be reached, or that refuses, is said in the object's card: showing an object never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import pandas as pd
from redis.exceptions import RedisError, ResponseError

from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.cluster import pool_for
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.resp import pairs
from walrus_ts.columnar.schema import Records, Schema, shown, to_bytes
from walrus_ts.errors import WalrusTSError
from walrus_ts.frames.source import Source
from walrus_ts.ids import StreamId
from walrus_ts.notebook.html import MOST_ROWS, Markup, bar, card, counted, markup, muted, number, table
from walrus_ts.times import TimeAxis
from walrus_ts.transfer.patience import LOST
from walrus_ts.transfer.scan import StreamState, current_schema
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    from walrus_ts.consuming.batch import Batch
    from walrus_ts.database import ClusterDatabase, Database
    from walrus_ts.frames.scan import Scan
    from walrus_ts.group import ConsumerGroup
    from walrus_ts.stream import Stream
    from walrus_ts.transfer.job import Appended

Told = tuple[Sequence[str], Sequence[Markup]]  # facts in a line, and tables


def database_html(database: Database) -> str:
    """Show a database: where it is, and what its server says of itself (INFO)."""

    def tell() -> Told:
        info: dict[str, Any] = database.data.info()
        number_ = database.connection_pool.connection_kwargs.get("db") or 0
        keys = info.get(f"db{number_}", {}).get("keys", 0)
        memory, up = info.get("used_memory"), info.get("uptime_in_seconds")
        return [
            _version(info),
            counted(keys, "keys"),
            "" if memory is None else f"{size(memory)} in use",
            "" if up is None else f"up {str(pd.Timedelta(seconds=up)).removeprefix('0 days ')}",
        ], []

    return _told(type(database).__name__, database._where, [], tell)


def cluster_html(database: ClusterDatabase) -> str:
    """Show a cluster: by which server it is reached, and how many it has."""

    def tell() -> Told:
        masters, replicas = len(database.get_primaries()), len(database.get_replicas())  # type: ignore[no-untyped-call]  # redis-py's
        keys = database.data.dbsize()  # of all masters
        counts = counted(masters, "masters"), counted(replicas, "replicas"), counted(keys, "keys")
        return [_version(database.data.info()), *counts], []

    return _told(type(database).__name__, database._url(secrets=False), [], tell)


def _version(info: dict[str, Any]) -> str:
    name = info.get("server_name", "redis")  # Valkey has it, Redis has not
    return f"{name.capitalize()} {info.get(f'{name}_version') or info.get('redis_version', '')}"


def stream_html(stream: Stream[Any]) -> str:
    """Show a stream: how long it is, its span of time, the groups that read it, its columns."""

    def tell() -> Told:
        facts = StreamFacts.ask(_source(stream))
        if facts is None:
            return ["does not exist yet"], []
        own = to_bytes(group) if (group := getattr(stream, "group", None)) else None
        groups = [table(_GROUP_HEAD, [_group_row(g, facts, own) for g in facts.groups])] if facts.groups else []
        columns = [schema_table(facts.schema)] if facts.schema else []
        length = counted(facts.length, "rows" if facts.schema else "entries")
        memory = "" if facts.memory is None else f"about {size(facts.memory)}"
        return [length, facts.span, memory], [*groups, *columns]

    group: Any = getattr(stream, "group", None)
    consumer: Any = getattr(stream, "consumer_name", None)
    membership = "" if group is None else f"consumer {shown(consumer)} of the group {shown(group)}"
    return _told(type(stream).__name__, shown(stream.key), [membership], tell)


def group_html(group: ConsumerGroup[Any]) -> str:
    """Show a group: how it stands with each of its streams, and their spans on one axis of time."""

    def tell() -> Told:
        first = list(group.streams.values())[:MOST_ROWS]
        asked = [_ask(stream) for stream in first]
        spans = [(f.first, f.last) for f in asked if isinstance(f, StreamFacts) and f.first and f.last]
        axis = (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None
        rows = [
            _stream_row(stream, facts, axis, to_bytes(group.name)) for stream, facts in zip(first, asked, strict=True)
        ]
        zones = dict.fromkeys(f.clock for f in asked if isinstance(f, StreamFacts))
        return [f"times: {', '.join(zones)}" if zones else ""], [table(_STREAM_HEAD, rows, len(group.streams))]

    return _told(type(group).__name__, shown(group.name), [f"consumer {shown(group.consumer_name)}"], tell)


def scan_html(scan: Scan) -> str:
    """Show a scan: its range, as a part of the stream's span, and what it reads of it."""

    def tell() -> Told:
        facts = StreamFacts.ask(scan._source)
        if facts is None or not (facts.first and facts.last):
            return ["the stream is empty"], []
        axis = TimeAxis(facts.schema.unit if facts.schema else None, facts.zone)
        start, stop = lower_id(scan._start, axis), upper_id(scan._stop, axis)
        begin = facts.first if start == b"-" else _id(start)
        end = facts.last if stop == b"+" else _id(stop)
        whole = (facts.first, facts.last)
        says = f"{facts.when(begin)} … {facts.when(end)}"
        part = bar(_share(begin, whole), _share(end, whole, 1.0), says)
        head = ["from", "to", "within the stream", "the stream's first", "last"]
        row = [facts.when(begin), facts.when(end), part, facts.when(facts.first), facts.when(facts.last)]
        return [f"times: {facts.clock}"], [table(head, [row])]

    name = shown(scan._source.records.key)
    return _told("Scan", name, scan._options(), tell)


def batch_html(batch: Batch) -> str:
    """Show a batch: how many rows, how many are open, and the frame as pandas shows it."""
    again = int((batch.deliveries > 1).sum())
    facts = [
        counted(len(batch), "rows"),
        f"{int(batch._open.sum()):,} open",
        f"{again:,} delivered before" if again else "",
        f"{batch.lost:,} lost" if batch.lost else "",
    ]
    # pandas has an option that turns it off.
    frame = batch.frame._repr_html_()  # type: ignore[operator]  # pandas-stubs do not know it
    return card("Batch", "", facts, Markup(frame or ""))


def appended_html(appended: Appended) -> str:
    """Show what an append has done."""
    stored, skipped = f"{counted(appended.rows, 'rows')} stored", f"{appended.skipped:,} late ones skipped"
    facts = [stored, skipped if appended.skipped else ""]
    ends = [id_ for id_ in (appended.first_id, appended.last_id) if id_ is not None]
    rows = [
        [name, id_, _when(StreamId.parse(id_).milliseconds, None)]
        for name, id_ in zip(["first", "last"], ends, strict=False)
    ]
    return card("Appended", "", facts, *([table(["row", "id", "time (UTC)"], rows)] if rows else []))


def schema_html(schema: Schema) -> str:
    """Show a schema: the index, then a row a column."""
    return card("Schema", "", [counted(len(schema.columns), "columns")], schema_table(schema))


def schema_table(schema: Schema) -> Markup:
    """Draw the columns of a schema; their fields only where they are called otherwise."""
    index = ["" if schema.name is None else _label(schema.name), f"index [{schema.unit}, {schema.zone or 'naive'}]"]
    listed = schema.columns[:MOST_ROWS]
    fields = [shown(c.field) for c in listed]
    rows = [[_label(c.label), str(c.type), "" if c.nullable else "no nulls"] for c in listed]
    head, first = ["column", "type", ""], [*map(muted, index), ""]
    if any(field != row[0] for field, row in zip(fields, rows, strict=True)):
        head, first = [*head, "field"], [*first, ""]
        rows = [[*row, field] for row, field in zip(rows, fields, strict=True)]
    return table(head, [first, *rows], len(schema.columns) + 1)


# What the server tells ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the server knows of a stream without looking at its rows; ids are (milliseconds, sequence).

    Attributes
    ----------
    length : int
    first, last : StreamId, optional
        Of the entries that there are.
    groups : list of dict
        As XINFO GROUPS has them.
    memory : int, optional
        Bytes, by a sample; None where the server does not tell.
    schema : Schema, optional
    zone : tzinfo, optional
        In which times are shown; None for UTC.
    """

    length: int
    first: StreamId | None
    last: StreamId | None
    groups: list[dict[bytes, Any]]
    memory: int | None
    schema: Schema | None
    zone: tzinfo | None

    @classmethod
    def ask(cls, source: Source) -> StreamFacts | None:
        """Ask the server, in one round trip; None for a stream that does not exist."""
        key = source.records.key
        with Wire(source.pool) as wire:
            info, groups, memory, record = wire.ask(
                command(b"XINFO", b"STREAM", key),
                command(b"XINFO", b"GROUPS", key),
                command(b"MEMORY", b"USAGE", key),
                command(b"GET", source.records.schema),
            )
        if getattr(info, "message", "") == "ERR no such key":
            return None
        facts = pairs(check(info))
        known = b"entries-added" in facts  # from Redis 7.0 on; without it there are no frames either
        state = StreamState.of(info, key) if known else None
        schema = current_schema(state, check(record, source.records.schema), source.records) if known else None
        first, last = (entry and StreamId.parse(entry[0]) for entry in (facts[b"first-entry"], facts[b"last-entry"]))
        sampled = memory if isinstance(memory, int) else None
        return cls(
            facts[b"length"], first, last, [pairs(g) for g in check(groups)], sampled, schema, source.axis(schema).zone
        )

    @property
    def span(self) -> str:
        """The times of the first and the last row, in words."""
        if self.first is None or self.last is None:
            return ""
        return f"{self.when(self.first)} … {self.when(self.last)} ({self.clock})"

    @property
    def clock(self) -> str:
        """The zone of the times that are shown, or that they are naive."""
        return str(self.zone or ("naive" if self.schema and self.schema.zone is None else "UTC"))

    def when(self, id_: StreamId) -> str:
        """Write the time of an id."""
        return _when(id_.milliseconds, self.zone)


_GROUP_HEAD = ["group", "consumers", "pending", "not read yet", "read up to", ""]
_STREAM_HEAD = ["stream", "rows", "first", "last", "", "not read yet", "pending", "consumers"]


def _group_row(group: dict[bytes, Any], facts: StreamFacts, own: bytes | None) -> list[str]:
    """Tell how a group stands with a stream, and draw how far it has read."""
    name, read = markup(shown(group[b"name"])), StreamId.parse(group[b"last-delivered-id"])
    part, begun = Markup(""), read > (0, 0)
    if begun and facts.first and facts.last:
        share = _share(read, (facts.first, facts.last), 1.0) if read >= facts.first else 0.0
        part = bar(0.0, share, f"has read {share:.0%} of the stream's span of time")
    return [
        Markup(f"<strong>{name}</strong>") if group[b"name"] == own else name,
        number(group[b"consumers"]),
        number(group[b"pending"]),
        _lag(group),
        facts.when(read) if begun else muted("nothing"),
        part,
    ]


def _stream_row(
    stream: Stream[Any], facts: StreamFacts | str | None, axis: tuple[StreamId, StreamId] | None, group: bytes
) -> list[str]:
    """Tell how a stream stands with a group, and draw its span on the axis of all of them."""
    name = shown(stream.key)
    if not isinstance(facts, StreamFacts):
        return [name, muted(facts or "does not exist yet")]
    if facts.first and facts.last and axis:
        says = f"{facts.when(facts.first)} … {facts.when(facts.last)}"
        part = bar(_share(facts.first, axis), _share(facts.last, axis, 1.0), says)
        span = [facts.when(facts.first), facts.when(facts.last), part]
    else:
        span = ["", "", ""]
    own = next((g for g in facts.groups if g[b"name"] == group), None)
    if own is None:
        standing: list[str] = [muted("the group is not created")]
    else:
        standing = [_lag(own), number(own[b"pending"]), number(own[b"consumers"])]
    return [name, number(facts.length), *span, *standing]


def _ask(stream: Stream[Any]) -> StreamFacts | str | None:
    """Ask for a stream's facts; where the server answers with an error, that is the fact."""
    try:
        return StreamFacts.ask(_source(stream))
    except (ResponseError, WalrusTSError) as error:
        return str(error)


def _told(kind: str, name: str, facts: Sequence[str], tell: Callable[[], Told]) -> str:
    """Draw the card of an object that the server is asked about."""
    try:
        more, parts = tell()
    except (RedisError, OSError, WalrusTSError) as error:
        lost = "the server cannot be reached: " if isinstance(error, (*LOST, OSError)) else ""
        return card(kind, name, [*facts, muted(markup(f"{lost}{type(error).__name__}: {error}", 500))])
    return card(kind, name, [*facts, *more], *parts)


def _source(stream: Stream[Any]) -> Source:
    """Return where a stream's rows come from; one of the object model has them, too."""
    records = Records(to_bytes(stream.key))
    pool = pool_for(stream.database.data, records.key, records.schema)
    return Source(pool, records, getattr(stream, "tz", None))


# In words ------------------------------------------------------------------------------------------------------------


def size(count: int) -> str:
    """Write a number of bytes."""
    amount, units = float(count), iter(["KiB", "MiB", "GiB", "TiB"])
    unit = "bytes"
    while amount >= 1024 and unit != "TiB":
        amount, unit = amount / 1024, next(units)
    return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"


def _share(id_: StreamId, whole: tuple[StreamId, StreamId], single: float = 0.0) -> float:
    """Tell where an id lies between two others, from 0 to 1; `single` where these have one time."""
    first, last = whole[0].milliseconds, whole[1].milliseconds
    return single if first == last else (id_.milliseconds - first) / (last - first)


def _when(milliseconds: int, zone: tzinfo | None) -> str:
    try:
        stamp = pd.Timestamp(milliseconds, unit="ms", tz="UTC").tz_convert(zone or "UTC")
        return stamp.strftime("%Y-%m-%d %H:%M:%S") + (f".{stamp.microsecond // 1_000:03}" if stamp.microsecond else "")
    except (ValueError, OverflowError):  # behind the year 9999
        return str(milliseconds)


def _id(text: bytes) -> StreamId:
    """Read the id of a bound, an exclusive one ("(5-1"), too."""
    return StreamId.parse(text.lstrip(b"("))


def _lag(group: dict[bytes, Any]) -> str:
    lag = group.get(b"lag")
    return muted("unknown") if lag is None else number(lag)


def _label(label: Any) -> str:
    return label if isinstance(label, str) else repr(label)
