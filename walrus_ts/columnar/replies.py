"""An XRANGE or XREADGROUP reply -> ids and columns of text.

A reply is read as a table of lines, whose ends numpy finds. Where all entries have the same fields, the lines are a
grid (`grid.py`); else a cursor for each entry walks over its fields (`walk.py`). Either way, every length in the reply
is held against the distance of its line's ends, so the bytes of a value never pass for framing: a reply that fails a
check (a value with a line end in it, say) is read again by `resp.parse`, slower and never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from walrus_ts.columnar import resp
from walrus_ts.columnar.commands import bulk
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.grid import Grid
from walrus_ts.columnar.lines import SLACK, IrregularReplyError, Lines
from walrus_ts.columnar.walk import Walk
from walrus_ts.ids import StreamId

_SMALL = 1 << 13  # bytes of a reply that is read entry by entry sooner than as a table of lines
_LAST_BYTES = 1 << 14  # where `glance` looks for the last entry
_COUNT_LINE = re.compile(rb"\*(\d{1,9})\r\n")
_ENTRY_HEAD = re.compile(rb"\r\n\*2\r\n\$\d+\r\n(\d{1,19})-(\d{1,19})\r\n\*\d+\r\n")


class EntriesReply:
    """The entries of a reply (XRANGE, XCLAIM, XREADGROUP's of a stream): framed at once, columns made when asked for.

    So the next request can be on its way while the columns are made. A value with line ends in it may read like an
    entry; so no id is told before all lengths are checked, which is done where columns are made.

    Parameters
    ----------
    data : memoryview
        The reply, and at least `SLACK` bytes behind it that do not belong to it.
    strict : bool
        Leave to the caller what cannot be read as a table of lines; else it is read entry by entry.

    Raises
    ------
    ValueError
        The bytes are no reply of this kind.
    """

    def __init__(self, data: memoryview, *, strict: bool = False) -> None:
        self._objects: list[Any] | None = None
        self._data = data
        self._lengths_checked = False  # of the table's lines, all of them
        try:
            self._table = _table(data)
        except IrregularReplyError:
            if strict:
                raise
            self._read_objects()

    @classmethod
    def of(cls, objects: list[Any]) -> EntriesReply:
        """Take entries that are parsed already, ``[id, [field, value, ...]]`` each."""
        reply = cls.__new__(cls)
        reply._objects, reply._data = objects, memoryview(bytes(SLACK))
        return reply

    def __len__(self) -> int:
        return self._table.lines.count if self._objects is None else len(self._objects)

    @property
    def objects(self) -> list[Any] | None:
        """The entries, ``[id, [field, value, ...]]`` each, where they are parsed already."""
        return self._objects

    @property
    def last_id(self) -> StreamId:
        """The id of the last entry."""
        return StreamId.parse(self.last_id_text)

    @property
    def last_id_text(self) -> bytes:
        """The id of the last entry, as Redis writes it."""
        return self._id_texts(slice(-1, None))[0]

    def ids(self) -> list[bytes]:
        """Return the ids of the entries."""
        return self._id_texts(slice(None))

    def _id_texts(self, rows: slice) -> list[bytes]:
        if self._objects is None and not self._lengths_checked:
            self.entries(wanted=lambda _: False)
        if self._objects is not None:
            return [entry[0] for entry in self._objects[rows]]
        return self._table.id_texts(rows)

    def entries(self, fields: Sequence[bytes] = (), wanted: Callable[[bytes], bool] = lambda _: True) -> Entries:
        """Make the columns.

        Parameters
        ----------
        fields : sequence of bytes
            The fields that entries are known to have, in their usual order.
        wanted : callable
            Tells of a field whether its column is made; all by default.
        """
        if self._objects is None:
            try:
                made = self._columns(fields, wanted)
            except IrregularReplyError:
                self._read_objects()
            else:
                self._lengths_checked = True
                return made
        assert self._objects is not None
        return from_objects(self._objects, fields, wanted)

    def _columns(self, fields: Sequence[bytes], wanted: Callable[[bytes], bool]) -> Entries:
        if isinstance(self._table, Grid):
            try:
                return self._table.entries(fields, wanted)
            except IrregularReplyError:
                self._table = Walk(self._table.lines)
        return self._table.entries(fields, wanted)

    def _read_objects(self) -> None:
        (entries,) = resp.parse(self._data[:-SLACK])
        self._objects = _checked(entries)


def _table(data: memoryview) -> Grid | Walk:
    lines = Lines(data)
    try:
        return Grid(lines)
    except IrregularReplyError:
        return Walk(lines)


def glance(data: memoryview) -> tuple[int, StreamId] | None:
    """Guess how many entries a reply has and the id of its last one, in no time; None where nothing can be guessed.

    The guess is wrong where a value of the last entry reads like the beginning of an entry.

    Parameters
    ----------
    data : memoryview
        As for `EntriesReply`.
    """
    count = _COUNT_LINE.match(data[:24])
    end = bytes(data[-_LAST_BYTES - SLACK : -SLACK])
    at = end.rfind(b"\r\n*2\r\n$")
    # An entry of one field has a second line that reads so, before its field.
    head = _ENTRY_HEAD.match(end, at) or _ENTRY_HEAD.match(end, end.rfind(b"\r\n*2\r\n$", 0, at))
    return (int(count[1]), StreamId(int(head[1]), int(head[2]))) if count and head else None


def parse_streams(data: memoryview, keys: Sequence[bytes]) -> dict[bytes, EntriesReply]:
    """Read the reply to one XREADGROUP: the new entries of each stream that has some.

    Parameters
    ----------
    data : memoryview
        The reply, and at least `SLACK` bytes behind it that do not belong to it.
    keys : sequence of bytes
        The streams that were asked for, in their order.

    Raises
    ------
    ValueError
        The bytes are no reply of this kind.
    """
    if data[:5].tobytes() == b"*-1\r\n":
        return {}
    if len(data) < _SMALL:
        return _streams_of_objects(data)
    try:
        parts = _split_streams(data, keys)
        return {key: EntriesReply(part, strict=True) for key, part in parts.items()}
    except IrregularReplyError:
        return _streams_of_objects(data)


def _streams_of_objects(data: memoryview) -> dict[bytes, EntriesReply]:
    (reply,) = resp.parse(data[:-SLACK])
    if not isinstance(reply, list) or not all(map(_is_stream, reply)):
        raise ValueError("the reply is none of streams and their entries")
    return {key: EntriesReply.of(_checked(entries)) for key, entries in reply}


def _is_stream(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], bytes)


def _split_streams(data: memoryview, keys: Sequence[bytes]) -> dict[bytes, memoryview]:
    """Cut a reply where the streams' keys stand.

    A value may read like the head of a stream, too. So each head has to stand there once, and there have to be as many
    as the reply has streams: then none of them is a value's. Where there is one stream, its head is what comes first.
    """
    for key in keys:
        head = b"*1\r\n*2\r\n" + bulk(key)
        if data[: len(head)] == head:
            return {key: data[len(head) :]}
    raw = bytes(data)
    starts: dict[bytes, tuple[int, int]] = {}
    for key in keys:
        head = b"*2\r\n" + bulk(key)
        found = raw.find(head)
        if found >= 0:
            starts[key] = (found, found + len(head))
            if raw.find(head, found + 1) >= 0:
                raise IrregularReplyError
    if raw[: raw.index(b"\r\n")] != b"*%d" % len(starts):
        raise IrregularReplyError
    begins = [begin for _, begin in starts.values()]
    ends = [*(head for head, _ in starts.values()), len(data) - SLACK][1:]
    return {key: data[begin : end + SLACK] for key, begin, end in zip(starts, begins, ends, strict=True)}


def _checked(entries: Any) -> list[Any]:
    """Return parsed entries, ``[id, [field, value, ...]]`` each.

    Raises
    ------
    ValueError
        They are none.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) == 2 for entry in entries):
        raise ValueError("the reply is no list of entries")
    for id_, fields in entries:
        if not isinstance(id_, bytes) or not (fields is None or (isinstance(fields, list) and len(fields) % 2 == 0)):
            raise ValueError(f"the reply has an entry that is none: {id_!r}")
        if fields is not None and not all(isinstance(part, bytes) for part in fields):
            raise ValueError(f"the reply has an entry with something else than text in it: {id_!r}")
    return entries


def from_objects(
    reply: list[Any], fields: Iterable[bytes] = (), wanted: Callable[[bytes], bool] = lambda _: True
) -> Entries:
    """Turn parsed entries, ``[id, [field, value, ...]]`` each, into columns."""
    ids = [StreamId.parse(entry[0]) for entry in reply]
    rows: list[Mapping[bytes, bytes]] = [
        dict(zip(entry[1][::2], entry[1][1::2], strict=True)) if entry[1] is not None else {} for entry in reply
    ]
    names = dict.fromkeys(fields)
    for row in rows:
        names.update(dict.fromkeys(row))
    return Entries(
        np.array([id_.milliseconds for id_ in ids], np.uint64),
        np.array([id_.sequence for id_ in ids], np.uint64),
        {name: pa.array([row.get(name) for row in rows], pa.binary()) for name in names if wanted(name)},
        np.array([entry[1] is None for entry in reply], bool),
    )
