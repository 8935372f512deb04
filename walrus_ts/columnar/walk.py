"""Entries of any fields: a cursor for each walks over them, one vectorised step a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from walrus_ts.columnar.commands import bulk
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.lines import (
    HEADER,
    HEADER_MASK,
    SLACK,
    TABLE,
    Framed,
    IrregularReplyError,
    Lines,
    Positions,
    low_bytes,
)

_MORE_FIELDS = 200  # unknown fields (or orders of fields) a reply may have before it is read entry by entry
_TO_COUNT = np.uint64(ord("$") ^ ord("*"))  # makes the header of an array of a string's
_GONE = np.uint64(int.from_bytes(b"*-1\r\n", "little"))


class Walk(Framed):
    """The lines of a reply, and with which of them each entry begins.

    Parameters
    ----------
    lines : Lines

    Raises
    ------
    IrregularReplyError
        The lines are no entries.
    """

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines)
        self._heads = self._entry_heads(lines.count) if lines.count else np.zeros(0, np.int64)
        ids = self._heads + 2
        self._frame_ids(lines.starts[ids - 1], lines.starts[ids], lines.ends[ids])

    def entries(self, fields: Sequence[bytes], wanted: Callable[[bytes], bool]) -> Entries:
        """Make the columns (`EntriesReply.entries`).

        Raises
        ------
        IrregularReplyError
        """
        lines, heads = self.lines, self._heads
        if not len(heads):
            nothing = np.zeros(0, np.uint64)
            return Entries(nothing, nothing, {name: pa.array([], pa.binary()) for name in fields if wanted(name)})
        gone = lines.bytes[lines.starts[heads + 3] + 1] == ord("-")
        stops = np.append(heads[1:], len(lines.ends))
        values = self._walk(heads + 4, stops, fields)
        columns = {name: self._column(at) for name, at in values.items() if wanted(name)}
        return Entries(*self._ids(), columns, gone)

    def _entry_heads(self, count: int) -> Positions:
        """Return the line ``*2`` with which each entry begins.

        A value may read ``*2``, too; so each entry's own count has to lead to the next one's first line.
        """
        heads = self._find_heads()
        following = self._next_heads(heads)
        if len(heads) > count:
            chosen = _chain(heads, following, count)
            heads, following = heads[chosen], following[chosen]
        if len(heads) != count or heads[0] != 1 or not np.array_equal(following[:-1], heads[1:]):
            raise IrregularReplyError
        if following[-1] != len(self.lines.ends):
            raise IrregularReplyError
        self._check_counts(heads + 3, (following - heads - 4) // 2)
        return np.asarray(heads)

    def _find_heads(self) -> Positions:
        """Return all lines that may be the first ones of entries: ``*2``, and two lines behind the id another count."""
        lines = self.lines
        heads = np.flatnonzero((lines.ends - lines.starts == len(b"*2")) & (lines.bytes[lines.starts] == ord("*")))
        heads = heads[heads + 3 < len(lines.ends)]
        are_two = lines.bytes[lines.starts[heads] + 1] == ord("2")
        return np.asarray(heads[are_two & (lines.bytes[lines.starts[heads + 3]] == ord("*"))])

    def _check_counts(self, line: Positions, count: Positions) -> None:
        """Hold the lines that count fields and values against what they were read as."""
        if (count % 2).any() or count.max() >= TABLE:
            raise IrregularReplyError
        words = self.lines.words[self.lines.starts[line]]
        right = words & HEADER_MASK[count] == HEADER[count] ^ _TO_COUNT
        if not right.all() and not (right | (words & low_bytes(5) == _GONE)).all():
            raise IrregularReplyError

    def _next_heads(self, heads: Positions) -> Positions:
        """Return the line behind each entry, by the count that the entry begins with; ``*-1`` has no fields."""
        start = self.lines.starts[heads + 3] + 1
        width = self.lines.ends[heads + 3] - start
        items = np.zeros(len(heads), np.int64)
        for digit in range(min(7, int(width.max(initial=0)))):
            byte = self.lines.bytes[start + digit].astype(np.int64)
            value = np.where(byte == ord("-"), -1_000_000, items * 10 + byte - ord("0"))
            items = np.where(digit < width, value, items)
        following: Positions = heads + 4 + 2 * np.maximum(items, 0)
        return following

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
            self._step(self.lines.text(self.lines.starts[line], self.lines.ends[line]), cursor, values)
        raise IrregularReplyError

    def _step(self, name: bytes, cursor: Positions, values: dict[bytes, Positions]) -> None:
        here = self._at_field(cursor, name)
        if here.all():
            lines = cursor + 3
            self._check_lengths(lines)
            values[name] = lines
            cursor += 4
            return
        lines = values.setdefault(name, np.full(len(cursor), -1, np.int64))
        found = cursor[here] + 3
        self._check_lengths(found)
        lines[here] = found
        cursor[here] += 4

    def _at_field(self, cursor: Positions, name: bytes) -> npt.NDArray[np.bool_]:
        """Tell which cursors stand at a field of this name."""
        text = bulk(name)
        # A cursor behind the last entry stands at no field; any line that is none will do.
        start = self.lines.starts[np.minimum(cursor, len(self.lines.starts) - 1)]
        here = start + len(text) <= len(self.lines.bytes) - SLACK
        if here.all():
            return self.lines.reads(start, text)
        here[here] = self.lines.reads(start[here], text)
        return here

    def _check_lengths(self, values: Positions) -> None:
        self.lines.check_lengths(self.lines.starts[values - 1], self.lines.ends[values] - self.lines.starts[values])

    def _column(self, lines: Positions) -> pa.Array:
        missing = lines < 0
        if not missing.any():
            return self.lines.views(self.lines.starts[lines], self.lines.ends[lines] - self.lines.starts[lines])
        start, end = self.lines.starts[lines], self.lines.ends[lines]
        return self.lines.views(start, np.where(missing, 0, end - start), ~missing)


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
