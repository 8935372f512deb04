"""An XRANGE or XREADGROUP reply -> ids and columns of text.

A reply is read as a table of lines: numpy finds the line ends, which say where each entry begins, and a cursor for each
entry then walks over its fields, one vectorised step a field. Every length in the reply is held against the distance of
its line's ends, so the bytes of a value never pass for framing: a reply that fails a check (a value with a line end in
it, say) is read again by `resp.parse`, slower and never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import resp
from walrus_ts.ids import Ids, StreamId

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

SLACK = 16  # readable bytes behind a reply: values are loaded eight bytes at a time
_TABLE = 1_000  # lengths below it are checked by table
_MORE_FIELDS = 200  # unknown fields (or orders of fields) a reply may have before it is read entry by entry

_HEADERS = [b"$%d\r\n" % n for n in range(_TABLE)]
_HEADER = np.array([int.from_bytes(h, "little") for h in _HEADERS], np.uint64)
_HEADER_MASK = np.array([(1 << 8 * len(h)) - 1 for h in _HEADERS], np.uint64)
_PAIR = np.uint64(int.from_bytes(b"*2", "little"))
_TO_COUNT = np.uint64(ord("$") ^ ord("*"))  # makes the header of an array of a string's
_GONE = np.uint64(int.from_bytes(b"*-1\r\n", "little"))
_SMALL = 1 << 13  # bytes of a reply that is read entry by entry sooner than as a table of lines
_LAST_BYTES = 1 << 14  # where `glance` looks for the last entry
_COUNT_LINE = re.compile(rb"\*(\d{1,9})\r\n")
_ENTRY_HEAD = re.compile(rb"\r\n\*2\r\n\$\d+\r\n(\d{1,19})-(\d{1,19})\r\n\*\d+\r\n")
_LOW_BYTES = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)


class _IrregularReplyError(Exception):
    """The reply cannot be read as a table of lines."""


@dataclass(slots=True)
class Entries:
    """Entries of one stream, as columns.

    Attributes
    ----------
    milliseconds, sequence : uint64 arrays, shape (n,)
    columns : dict of field -> BinaryArray or BinaryViewArray, shape (n,)
        Null where an entry does not have the field. The fields that were asked for come first, in their order, and are
        always there; further ones follow as they were found.
    gone : bool array, shape (n,)
        Entries of a pending list whose values the stream no longer holds.
    """

    milliseconds: Ids
    sequence: Ids
    columns: dict[bytes, pa.Array] = field(default_factory=dict)
    gone: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.milliseconds)

    def id_at(self, row: int) -> str:
        """Return one id as Redis writes it."""
        return f"{self.milliseconds[row]}-{self.sequence[row]}"

    def ids(self) -> list[bytes]:
        """Return the ids as Redis writes them."""
        return [b"%d-%d" % pair for pair in zip(self.milliseconds.tolist(), self.sequence.tolist(), strict=True)]

    @classmethod
    def join(cls, parts: Sequence[Entries]) -> Entries:
        """Put entries behind each other."""
        if len(parts) == 1:
            return parts[0]
        names = dict.fromkeys(name for part in parts for name in part.columns)
        return cls(
            np.concatenate([part.milliseconds for part in parts]),
            np.concatenate([part.sequence for part in parts]),
            {name: _concatenated([part._column(name) for part in parts]) for name in names},
            np.concatenate([part.gone for part in parts]),
        )

    def _column(self, name: bytes) -> pa.Array:
        return self.columns[name] if name in self.columns else pa.nulls(len(self), pa.binary())

    def filter(self, chosen: npt.NDArray[np.bool_]) -> Entries:
        """Return those entries for which the mask is true."""
        columns = {name: column.cast(pa.binary()).filter(pa.array(chosen)) for name, column in self.columns.items()}
        return Entries(self.milliseconds[chosen], self.sequence[chosen], columns, self.gone[chosen])


def _concatenated(columns: Sequence[pa.Array]) -> pa.Array:
    if len({column.type for column in columns}) > 1:
        columns = [column.cast(pa.binary()) for column in columns]
    return pa.concat_arrays(columns)


class EntriesReply:
    """The entries of a reply (XRANGE, XCLAIM, XREADGROUP's of a stream): framed at once, columns made when asked for.

    So the next request can be on its way while the columns are made.

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
        try:
            self._lines = _Lines(data)
        except _IrregularReplyError:
            if strict:
                raise
            self._read_objects(data)

    @classmethod
    def of(cls, objects: list[Any]) -> EntriesReply:
        """Take entries that are parsed already, ``[id, [field, value, ...]]`` each."""
        reply = cls.__new__(cls)
        reply._objects, reply._data = objects, memoryview(bytes(SLACK))
        return reply

    def __len__(self) -> int:
        return self._lines.count if self._objects is None else len(self._objects)

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
        return self._lines.last_id() if self._objects is None else bytes(self._objects[-1][0])

    def ids(self) -> list[bytes]:
        """Return the ids of the entries."""
        if self._objects is not None:
            return [entry[0] for entry in self._objects]
        return self._lines.ids()

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
                return self._lines.entries(fields, wanted)
            except _IrregularReplyError:
                self._read_objects(self._data)
        assert self._objects is not None
        return from_objects(self._objects, fields, wanted)

    def _read_objects(self, data: memoryview) -> None:
        (entries,) = resp.parse(data[:-SLACK])
        self._objects = _checked(entries)


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
    except _IrregularReplyError:
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
    as the reply has streams: then none of them is a value's.
    """
    raw = bytes(data)
    starts: dict[bytes, tuple[int, int]] = {}
    for key in keys:
        head = b"*2\r\n$%d\r\n%b\r\n" % (len(key), key)
        found = raw.find(head)
        if found >= 0:
            starts[key] = (found, found + len(head))
            if raw.find(head, found + 1) >= 0:
                raise _IrregularReplyError
    if raw[: raw.index(b"\r\n")] != b"*%d" % len(starts):
        raise _IrregularReplyError
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


class _Lines:
    """A reply as lines: where each begins and ends."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.bytes: Bytes = np.frombuffer(data, np.uint8)
        # Eight bytes from any position on: overlapping views, no copy.
        self.words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
        body = self.bytes[: len(data) - SLACK]
        self.ends: Positions = np.flatnonzero(body == ord("\n")) - 1
        if not len(self.ends) or self.ends[0] < 0:
            raise _IrregularReplyError
        returns = self.bytes[self.ends] == ord("\r")
        if not returns.all():  # a bare line feed within a value ends no line
            self.ends = self.ends[returns]
        if not len(self.ends) or self.ends[-1] + 2 != len(body):
            raise _IrregularReplyError
        self.starts: Positions = np.concatenate(([0], self.ends[:-1] + 2))
        self.count = self._first_count()
        self.heads = self._entry_heads(self.count) if self.count else np.zeros(0, np.int64)
        self._check_lengths(self.heads + 1)

    def ids(self) -> list[bytes]:
        lines = self.heads + 2
        return [bytes(self.data[a:b]) for a, b in zip(self.starts[lines], self.ends[lines], strict=True)]

    def last_id(self) -> bytes:
        line = self.heads[-1] + 2
        return bytes(self.data[self.starts[line] : self.ends[line]])

    def entries(self, fields: Sequence[bytes], wanted: Callable[[bytes], bool]) -> Entries:
        if self.count == 0:
            nothing = np.zeros(0, np.uint64)
            return Entries(nothing, nothing, {name: pa.array([], pa.binary()) for name in fields if wanted(name)})
        heads = self.heads
        gone = self.bytes[self.starts[heads + 3] + 1] == ord("-")
        stops = np.append(heads[1:], len(self.ends))
        values = self._walk(heads + 4, stops, fields)
        milliseconds, sequence = self._ids(heads + 2)
        columns = {name: self._column(lines) for name, lines in values.items() if wanted(name)}
        return Entries(milliseconds, sequence, columns, gone)

    def _first_count(self) -> int:
        line = bytes(self.data[: int(self.ends[0])])
        if line[:1] != b"*" or not line[1:].isdigit() or (line[1:2] == b"0" and (len(line) > 2 or len(self.ends) > 1)):
            raise _IrregularReplyError
        return int(line[1:])

    def _entry_heads(self, count: int) -> Positions:
        """Return the line ``*2`` with which each entry begins.

        A value may read ``*2``, too; so each entry's own count has to lead to the next one's first line.
        """
        heads = self._even_heads(count)
        if heads is None:
            heads = self._find_heads()
        following = self._next_heads(heads)
        if len(heads) > count:
            chosen = _chain(heads, following, count)
            heads, following = heads[chosen], following[chosen]
        if len(heads) != count or heads[0] != 1 or not np.array_equal(following[:-1], heads[1:]):
            raise _IrregularReplyError
        if following[-1] != len(self.ends):
            raise _IrregularReplyError
        self._check_counts(heads + 3, (following - heads - 4) // 2)
        return np.asarray(heads)

    def _even_heads(self, count: int) -> Positions | None:
        """Return the first lines of entries that have as many lines each, as they mostly have; None where not."""
        lines = len(self.ends) - 1
        if lines % count or lines < 4 * count:
            return None
        heads = np.arange(1, lines + 1, lines // count)
        return heads if self._is_head(heads).all() and (self._first_bytes(heads + 3) == ord("*")).all() else None

    def _find_heads(self) -> Positions:
        """Return all lines that may be the first ones of entries."""
        heads = np.flatnonzero(self._is_head(slice(None)))
        # Two lines behind the id stands the count of fields and values; behind other lines that read *2, hardly ever.
        heads = heads[heads + 3 < len(self.ends)]
        return np.asarray(heads[self._first_bytes(heads + 3) == ord("*")])

    def _is_head(self, lines: Positions | slice) -> npt.NDArray[np.bool_]:
        starts = self.starts[lines]
        return np.asarray((self.ends[lines] - starts == 2) & (self.words[starts] & np.uint64(0xFFFF) == _PAIR))

    def _first_bytes(self, lines: Positions) -> Bytes:
        return self.bytes[self.starts[lines]]

    def _check_counts(self, line: Positions, count: Positions) -> None:
        """Hold the lines that count fields and values against what they were read as."""
        if (count % 2).any() or count.max() >= _TABLE:
            raise _IrregularReplyError
        words = self.words[self.starts[line]]
        right = words & _HEADER_MASK[count] == _HEADER[count] ^ _TO_COUNT
        if not right.all() and not (right | (words & _LOW_BYTES[5] == _GONE)).all():
            raise _IrregularReplyError

    def _next_heads(self, heads: Positions) -> Positions:
        """Return the line behind each entry, by the count that the entry begins with; ``*-1`` has no fields."""
        start = self.starts[heads + 3] + 1
        width = self.ends[heads + 3] - start
        items = np.zeros(len(heads), np.int64)
        for digit in range(min(7, int(width.max(initial=0)))):
            byte = self.bytes[start + digit].astype(np.int64)
            value = np.where(byte == ord("-"), -1_000_000, items * 10 + byte - ord("0"))
            items = np.where(digit < width, value, items)
        following: Positions = heads + 4 + 2 * np.maximum(items, 0)
        return following

    def _check_lengths(self, line: Positions) -> None:
        """Hold the lengths that lines announce against the lines that follow them."""
        length = self.ends[line + 1] - self.starts[line + 1]
        if length.max(initial=0) < _TABLE:
            right = self.words[self.starts[line]] & _HEADER_MASK[length] == _HEADER[length]
        else:
            short = length < _TABLE
            self._check_lengths(line[short])
            texts = zip(self.starts[line[~short]], self.ends[line[~short]], length[~short], strict=True)
            right = np.array([self.data[a:b] == b"$%d" % n for a, b, n in texts], bool)
        if not right.all():
            raise _IrregularReplyError

    def _walk(self, cursor: Positions, stops: Positions, fields: Sequence[bytes]) -> dict[bytes, Positions]:
        """Lead each entry's cursor over its fields; return the lines of their values, -1 where there is none."""
        values: dict[bytes, Positions] = {}
        for name in fields:
            self._step(name, cursor, values)
        for _ in range(_MORE_FIELDS):
            (left,) = np.nonzero(cursor != stops)
            if not len(left):
                return values
            line = int(cursor[left[0]]) + 1
            self._step(bytes(self.data[self.starts[line] : self.ends[line]]), cursor, values)
        raise _IrregularReplyError

    def _step(self, name: bytes, cursor: Positions, values: dict[bytes, Positions]) -> None:
        here = self._at_field(cursor, name)
        if here.all():
            lines = cursor + 3
            self._check_lengths(lines - 1)
            values[name] = lines
            cursor += 4
            return
        lines = values.setdefault(name, np.full(len(cursor), -1, np.int64))
        found = cursor[here] + 3
        self._check_lengths(found - 1)
        lines[here] = found
        cursor[here] += 4

    def _at_field(self, cursor: Positions, name: bytes) -> npt.NDArray[np.bool_]:
        """Tell which cursors stand at a field of this name."""
        text = b"$%d\r\n%b\r\n" % (len(name), name)
        # A cursor behind the last entry stands at no field; any line that is none will do.
        start = self.starts[np.minimum(cursor, len(self.starts) - 1)]
        fits = start + len(text) <= len(self.bytes) - SLACK
        start = np.where(fits, start, 0)
        for at in range(0, len(text), 8):
            part = text[at : at + 8]
            fits &= self.words[np.minimum(start + at, len(self.words) - 1)] & _LOW_BYTES[len(part)] == int.from_bytes(
                part, "little"
            )
        return fits

    def _ids(self, line: Positions) -> tuple[Ids, Ids]:
        start, end = self.starts[line], self.ends[line]
        dash = start + 13  # milliseconds have 13 digits from 2001 to 2286
        if (end <= dash).any() or not (self.bytes[dash] == ord("-")).all():
            texts = [bytes(self.data[a:b]) for a, b in zip(start, end, strict=True)]
            ids = [StreamId.parse(text) for text in texts]
            return (np.array([i.milliseconds for i in ids], np.uint64), np.array([i.sequence for i in ids], np.uint64))
        if (self.bytes[[start + 1, dash + 2]] == ord("x")).any():  # Arrow reads 0x1f as a number, too
            raise _IrregularReplyError
        milliseconds = self._views(start, dash - start)
        if not (end - dash == 2).all():
            return _numbers(milliseconds), _numbers(self._views(dash + 1, end - dash - 1))
        digit = self.bytes[dash + 1] - ord("0")
        if digit.max() > 9:
            raise _IrregularReplyError
        return _numbers(milliseconds), digit.astype(np.uint64)

    def _column(self, lines: Positions) -> pa.Array:
        missing = lines < 0
        if not missing.any():
            return self._views(self.starts[lines], self.ends[lines] - self.starts[lines])
        start, end = self.starts[lines], self.ends[lines]
        return self._views(start, np.where(missing, 0, end - start), ~missing)

    def _views(
        self, start: Positions, length: Positions, valid: npt.NDArray[np.bool_] | None = None
    ) -> pa.BinaryViewArray:
        """Make a binary view column of pieces of the reply: up to 12 bytes lie in the view, more are pointed to."""
        views = np.empty((len(start), 2), np.uint64)
        words = self.words
        views[:, 0] = (words[start] & _LOW_BYTES[np.minimum(length, 4)]) << np.uint64(32) | length.astype(np.uint64)
        tail = words[np.minimum(start + 4, len(words) - 1)] & _LOW_BYTES[np.clip(length - 4, 0, 8)]
        views[:, 1] = np.where(length > 12, start.astype(np.uint64) << np.uint64(32), tail)
        bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(
            pa.binary_view(), len(start), [bitmap, pa.py_buffer(views), pa.py_buffer(self.data)]
        )


def _chain(heads: Positions, following: Positions, count: int) -> Positions:
    """Choose those of the lines ``*2`` that follow from one another: where values read ``*2`` themselves."""
    position = {line: at for at, line in enumerate(heads.tolist())}
    steps = following.tolist()
    chosen: list[int] = []
    at: int | None = 0
    while at is not None and len(chosen) < count:
        chosen.append(at)
        at = position.get(steps[at])
    return np.array(chosen, np.int64)


def _numbers(text: pa.Array) -> Ids:
    return np.asarray(pc.cast(text.cast(pa.string()), pa.uint64()))
