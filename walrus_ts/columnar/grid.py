"""Entries that have the same fields in the same order, as a frame's rows have: a grid of lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from walrus_ts.columnar.commands import bulk
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.lines import Framed, IrregularReplyError, Lines, Positions

_HEAD = 4  # lines of an entry before its first field: *2, the id's length, the id, the count of fields and values
_FIELD = 4  # lines of a field: its length, itself, its value's length, its value
_WIDEST = 2_000  # lines of an entry: each column costs more than the values of a few rows


class Grid(Framed):
    """The lines of a reply as a grid: a row an entry, a column a part of it.

    Parameters
    ----------
    lines : Lines

    Raises
    ------
    IrregularReplyError
        The entries have not as many fields each, or none, or very many, which are few entries.
    """

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines)
        width, rest = divmod(len(lines.ends) - 1, lines.count or 1)
        if rest or width < _HEAD + _FIELD or width % _FIELD or width > _WIDEST:
            raise IrregularReplyError
        self._width = width
        self._before = lines.ends[:-1].reshape(-1, width)  # where the line before each one of the grid ends
        self._ends = lines.ends[1:].reshape(-1, width)
        self._require(b"*2\r\n", 0)
        self._require(b"*%d\r\n" % ((width - _HEAD) // 2), 3)
        self._frame_ids(self._starts(1), self._starts(2), self._ends[:, 2])

    def entries(self, fields: Sequence[bytes], wanted: Callable[[bytes], bool]) -> Entries:
        """Make the columns (`EntriesReply.entries`).

        Raises
        ------
        IrregularReplyError
            The entries have not the same fields in the same order.
        """
        lines, count = self.lines, len(self._ends)
        found: dict[bytes, pa.Array] = {}
        for at in range(_HEAD, self._width, _FIELD):
            name = lines.text(int(self._before[0, at + 1]) + 2, int(self._ends[0, at + 1]))
            if name in found:
                raise IrregularReplyError
            self._require(bulk(name), at, at + 1)
            starts = self._starts(at + 3)
            lengths = self._ends[:, at + 3] - starts
            lines.check_lengths(self._starts(at + 2), lengths)
            found[name] = lines.views(starts, lengths) if wanted(name) else None
        nowhere = pa.nulls(count, pa.binary())
        columns = {name: found.get(name, nowhere) for name in dict.fromkeys([*fields, *found]) if wanted(name)}
        return Entries(*self._ids(), columns, np.zeros(count, bool))

    def _starts(self, column: int) -> Positions:
        return self._before[:, column] + 2

    def _require(self, text: bytes, first: int, last: int | None = None) -> None:
        """Require that each entry has this text from one column to another."""
        starts, ends = self._starts(first), self._ends[:, first if last is None else last]
        if not (ends - starts == len(text) - 2).all() or not self.lines.reads(starts, text).all():
            raise IrregularReplyError
