"""How a group stands with its streams, as DataFrames: status, pending rows, consumers, dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

import numpy as np
import pandas as pd
from redis.exceptions import ResponseError

from walrus_ts.columnar.commands import command
from walrus_ts.columnar.replies import from_objects
from walrus_ts.columnar.resp import pairs
from walrus_ts.columnar.schema import shown
from walrus_ts.errors import DataError
from walrus_ts.frames.decoder import Decoder
from walrus_ts.frames.source import Source
from walrus_ts.frames.to_pandas import to_pandas
from walrus_ts.ids import StreamId, parse_ids
from walrus_ts.transfer.dead import Letter
from walrus_ts.transfer.member import refuse_missing_group
from walrus_ts.transfer.patience import GRACE_SECONDS, Patience, persist
from walrus_ts.transfer.scan import StreamState
from walrus_ts.transfer.wire import check

Zone = tzinfo | str | None

_PAGE = 10_000
LETTER_COLUMNS = ("stream_id", "died", "deliveries", "group", "consumer", "reason")


def status_frame(sources: Sequence[Source], group: bytes) -> pd.DataFrame:
    """Say how a group stands with each of its streams (`TimeSeries.status`)."""
    zone = common_zone(sources)
    rows = [_status(source, group) for source in sources]
    names = [shown(source.records.key) for source in sources]
    frame = pd.DataFrame(rows, index=pd.Index(names, dtype="str", name="stream"))
    for column in ("first", "last", "oldest_pending"):
        frame[column] = _times(frame[column], zone)
    return frame.astype({"length": "int64", "lag": "Int64", "pending": "Int64", "consumers": "Int64"})[
        ["length", "first", "last", "lag", "pending", "oldest_pending", "consumers"]
    ]


def _status(source: Source, group: bytes) -> dict[str, Any]:
    """Ask for what a row of the status says; times are milliseconds."""
    key = source.records.key
    info, groups, pending = _ask(
        source,
        command(b"XINFO", b"STREAM", key),
        command(b"XINFO", b"GROUPS", key),
        command(b"XPENDING", key, group),
    )
    row: dict[str, Any] = dict.fromkeys(["first", "last", "lag", "pending", "oldest_pending", "consumers"])
    if StreamState.of(info, key) is None:
        return {**row, "length": 0}
    facts = pairs(info)
    row |= {"length": facts[b"length"], "first": _ms(facts[b"first-entry"]), "last": _ms(facts[b"last-entry"])}
    found = next((g for g in map(pairs, check(groups)) if g[b"name"] == group), None)
    if found is not None:
        count, oldest, *_ = check(pending)
        row |= {"lag": found.get(b"lag"), "pending": count, "consumers": found[b"consumers"]}
        row["oldest_pending"] = oldest and StreamId.parse(oldest).milliseconds
    return row


def pending_frame(source: Source, group: bytes, limit: int | None, zone: Zone) -> pd.DataFrame:
    """List the rows that are pending (`TimeSeriesStream.pending_frame`)."""
    rows: list[list[Any]] = []
    after = b"-"
    while limit is None or len(rows) < limit:
        count = _PAGE if limit is None else min(_PAGE, limit - len(rows))
        (page,) = _ask(source, command(b"XPENDING", source.records.key, group, after, b"+", b"%d" % count))
        rows += _of_group(page, group, source)
        if len(page) < count:
            break
        after = b"(" + page[-1][0]
    ids = [row[0].decode() for row in rows]
    return pd.DataFrame(
        {
            "stream_id": pd.array(ids, dtype="str"),
            "consumer": pd.array([shown(row[1]) for row in rows], dtype="str"),
            "idle": pd.array([row[2] for row in rows], dtype="int64").astype("timedelta64[ms]"),
            "deliveries": pd.array([row[3] for row in rows], dtype="int64"),
        },
        index=pd.DatetimeIndex(_times([int(id_[0]) for id_ in parse_ids(ids)], zone), name="time"),
    )


def consumers_frame(source: Source, group: bytes) -> pd.DataFrame:
    """List the group's consumers (`TimeSeriesStream.consumers_frame`)."""
    (reply,) = _ask(source, command(b"XINFO", b"CONSUMERS", source.records.key, group))
    found = [pairs(consumer) for consumer in _of_group(reply, group, source)]
    inactive = [consumer.get(b"inactive", -1) for consumer in found]  # -1: it has never read a row
    return pd.DataFrame(
        {
            "consumer": pd.array([shown(consumer[b"name"]) for consumer in found], dtype="str"),
            "pending": pd.array([consumer[b"pending"] for consumer in found], dtype="int64"),
            "idle": np.array([consumer[b"idle"] for consumer in found], "timedelta64[ms]"),
            "inactive": np.array([None if ms < 0 else ms for ms in inactive], "timedelta64[ms]"),
        }
    )


def by_stream(frames: Sequence[pd.DataFrame], sources: Sequence[Source]) -> pd.DataFrame:
    """Put frames of several streams below each other, with a categorical column `stream` before the others."""
    names = [shown(source.records.key) for source in sources]
    codes = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    stacked = pd.concat(list(frames), ignore_index=isinstance(frames[0].index, pd.RangeIndex))
    stream: Any = pd.Categorical.from_codes(codes, categories=pd.Index(names))
    stacked.insert(0, "stream", stream)
    return stacked


def letters_frame(source: Source, letters: Iterable[Letter]) -> pd.DataFrame:
    """Make a frame of dead letters (`TimeSeriesStream.dead_letters`)."""
    found = list(letters)
    facts: dict[str, Any] = {
        "stream_id": pd.array([shown(letter.id) for letter in found], dtype="str"),
        "died": pd.to_datetime(
            [StreamId.parse(letter.letter_id).milliseconds for letter in found], unit="ms", utc=True
        ).as_unit("ms"),
        "deliveries": pd.array([letter.deliveries for letter in found], dtype="int64"),
        **{
            name: pd.array([shown(getattr(letter, name)) for letter in found], dtype="str")
            for name in ("group", "consumer", "reason")
        },
    }
    data = _rows_of(source, found)
    frame = data.rename(columns={label: f".{label}" for label in data.columns if label in LETTER_COLUMNS})
    for at, (name, values) in enumerate(facts.items()):
        frame.insert(at, name, values)
    return frame


def _rows_of(source: Source, letters: Sequence[Letter]) -> pd.DataFrame:
    """Decode the letters' values; what cannot be decoded is null: that is why some of them are here."""
    schema = source.look()[1]
    entries = [[letter.id, letter.values] for letter in letters]
    decoder = Decoder(source, schema, errors="coerce")
    if not entries:
        return to_pandas(decoder.empty(), source)
    try:
        return to_pandas(decoder.rows(from_objects(entries, decoder.fields)), source)
    except DataError:  # an id that the unit cannot express; milliseconds are in every id
        assert schema is not None  # without one, the unit is ms
        decoder = Decoder(source, replace(schema, unit="ms"), errors="coerce")
        return to_pandas(decoder.rows(from_objects(entries, decoder.fields)), source)


def _ask(source: Source, *commands: bytes) -> list[Any]:
    """Ask, and again where the connection is lost."""
    return persist(source.pool, lambda wire: wire.ask(*commands), Patience(GRACE_SECONDS))


def _of_group(reply: Any, group: bytes, source: Source) -> list[Any]:
    """Return a reply that has rows, or raise it where it is an error."""
    try:
        rows: list[Any] = check(reply)
    except ResponseError as error:
        refuse_missing_group(error, group, [source.records.key])
        raise
    return rows


def common_zone(sources: Sequence[Source]) -> Zone:
    """Return the zone that all streams' frames come back in; UTC where they differ."""
    zones = set()
    for source in sources:
        schema = source.look()[1]
        zones.add(source.zone or (schema.zone if schema else None))
    return zones.pop() if len(zones) == 1 else "UTC"


def _times(milliseconds: Iterable[Any], zone: Zone) -> pd.DatetimeIndex:
    ticks = np.array([np.iinfo(np.int64).min if pd.isna(ms) else int(ms) for ms in milliseconds], np.int64)
    index = pd.DatetimeIndex(ticks.view("M8[ms]"))
    return index if zone is None else index.tz_localize("UTC").tz_convert(zone)


def _ms(entry: list[Any] | None) -> int | None:
    return None if entry is None else StreamId.parse(entry[0]).milliseconds
