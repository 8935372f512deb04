"""A reply as lines: where they are, what lies between them, and columns that point into it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.errors import UsageError
from walrus_ts.ids import Ids, StreamId

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

SLACK = 16  # readable bytes behind a reply: values are loaded eight bytes at a time
LONGEST = (1 << 31) - 1  # bytes of a reply: a column's views have 31 bits to say where a value is
TABLE = 1_000  # lengths below it are checked by table


def low_bytes(count: int) -> int:
    """Return a mask of the first bytes of a little-endian word."""
    return (1 << 8 * count) - 1


_HEADERS = [b"$%d\r\n" % n for n in range(TABLE)]
HEADER = np.array([int.from_bytes(h, "little") for h in _HEADERS], np.uint64)
HEADER_MASK = np.array([low_bytes(len(h)) for h in _HEADERS], np.uint64)
_INLINE = 12  # bytes of a value that lie in its view


# What of a view's two words is the value itself, by its length: behind the length stand four bytes in the first word,
# and eight in the second. The last is that of all long values: four bytes, and where the value is.
_FIRST_WORD = np.array([low_bytes(min(n, 4)) << 32 for n in range(_INLINE + 2)], np.uint64)
_SECOND_WORD = np.array([low_bytes(max(n - 4, 0)) for n in range(_INLINE + 1)] + [0], np.uint64)


class IrregularReplyError(Exception):
    """The reply cannot be read as a table of lines."""


class Lines:
    """The lines of a reply.

    Parameters
    ----------
    data : memoryview
        The reply, and at least `SLACK` bytes behind it that do not belong to it.

    Attributes
    ----------
    bytes : uint8 array
        The data.
    words : uint64 array
        The eight bytes from any position on.
    ends : int64 array, shape (n,)
        Where each line ends: the position of its CR. A bare CR or LF within a value ends none.
    count : int
        How many entries the first line announces.

    Raises
    ------
    IrregularReplyError
        They are no lines, or the first announces nothing.
    UsageError
        The reply is longer than columns can be.
    """

    def __init__(self, data: memoryview) -> None:
        if len(data) > LONGEST:
            raise UsageError(
                f"the rows that were asked for at once have {len(data):,} bytes, and at most {LONGEST:,} can be read. "
                "Ask for fewer rows: a smaller `count`.",
                bytes=len(data),
            )
        self.data = data
        self.bytes: Bytes = np.frombuffer(data, np.uint8)
        # Overlapping views, no copy.
        self.words: npt.NDArray[np.uint64] = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
        body = self.bytes[: len(data) - SLACK]
        is_end = body[:-1] == ord("\r")
        is_end &= body[1:] == ord("\n")
        self.ends: Positions = np.flatnonzero(is_end)
        if not len(self.ends) or self.ends[-1] + 2 != len(body):
            raise IrregularReplyError
        self.count = self._first_count()

    @cached_property
    def starts(self) -> Positions:
        """Where each line begins, shape (n,)."""
        return np.concatenate(([0], self.ends[:-1] + 2))

    def _first_count(self) -> int:
        line = self.text(0, self.ends[0])
        if line[:1] != b"*" or not line[1:].isdigit() or (line[1:2] == b"0" and (len(line) > 2 or len(self.ends) > 1)):
            raise IrregularReplyError
        return int(line[1:])

    def text(self, start: int, end: int) -> bytes:
        """Return the bytes from one position to another."""
        return bytes(self.data[start:end])

    def check_lengths(self, start: Positions, length: Positions) -> None:
        """Hold the lengths that lines announce against the lines that follow them.

        Parameters
        ----------
        start : int64 array, shape (n,)
            Where the announcements begin.
        length : int64 array, shape (n,)
            Of the lines behind them.

        Raises
        ------
        IrregularReplyError
        """
        if length.max(initial=0) < TABLE:
            right = self.words[start] & HEADER_MASK[length] == HEADER[length]
        else:
            short = length < TABLE
            self.check_lengths(start[short], length[short])
            wanted = (b"$%d\r\n" % number for number in length[~short].tolist())
            right = np.array(
                [self.text(a, a + len(w)) == w for a, w in zip(start[~short].tolist(), wanted, strict=True)], bool
            )
        if not right.all():
            raise IrregularReplyError

    def ids(self, start: Positions, end: Positions) -> tuple[Ids, Ids]:
        """Read ids.

        Parameters
        ----------
        start, end : int64 arrays, shape (n,)
            From where to where.

        Returns
        -------
        milliseconds, sequence : uint64 arrays, shape (n,)

        Raises
        ------
        IrregularReplyError
        """
        dash = start + 13  # milliseconds have 13 digits from 2001 to 2286
        if (end <= dash).any() or not (self.bytes[dash] == ord("-")).all():
            ids = [StreamId.parse(self.text(a, b)) for a, b in zip(start.tolist(), end.tolist(), strict=True)]
            return (np.array([i.milliseconds for i in ids], np.uint64), np.array([i.sequence for i in ids], np.uint64))
        if (self.bytes[[start + 1, dash + 2]] | 0x20 == ord("x")).any():  # Arrow reads 0x1f and 0X1f as numbers, too
            raise IrregularReplyError
        milliseconds = _numbers(self.views(start, dash - start))
        if not (end - dash == 2).all():
            return milliseconds, _numbers(self.views(dash + 1, end - dash - 1))
        digit = self.bytes[dash + 1] - ord("0")
        if digit.max() > 9:
            raise IrregularReplyError
        return milliseconds, digit.astype(np.uint64)

    def reads(self, start: Positions, text: bytes) -> npt.NDArray[np.bool_]:
        """Tell where a text stands.

        Parameters
        ----------
        start : int64 array, shape (n,)
            Where to look; the reply has as many bytes from there on.
        text : bytes

        Returns
        -------
        bool array, shape (n,)
        """
        width = -(-len(text) // 8)
        found = self._pieces(start, 8 * width)
        right = np.ones(len(start), bool)
        for at in range(width):
            part = text[8 * at : 8 * at + 8]
            right &= found[:, at] & low_bytes(len(part)) == int.from_bytes(part, "little")
        return right

    def views(
        self, start: Positions, length: Positions, valid: npt.NDArray[np.bool_] | None = None
    ) -> pa.BinaryViewArray:
        """Make a column of pieces of the reply: short ones are copied, long ones pointed to.

        Parameters
        ----------
        start, length : int64 arrays, shape (n,)
        valid : bool array, shape (n,), optional
            False where the piece is null.
        """
        # A view is a length, and the bytes of a short piece, or the first ones of a long one and where it is.
        views = self._pieces(start - 4, 16)
        if len(start) and length.min() > _INLINE:
            views[:, 0] &= _FIRST_WORD[-1]
            views[:, 1] = start << 32
        else:
            clipped = np.minimum(length, _INLINE + 1)
            views[:, 0] &= _FIRST_WORD.take(clipped)
            views[:, 1] &= _SECOND_WORD.take(clipped)
            if length.max(initial=0) > _INLINE:
                views[:, 1] |= np.where(length > _INLINE, start << 32, 0).view(np.uint64)
        views[:, 0] |= length.view(np.uint64)
        bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(
            pa.binary_view(), len(start), [bitmap, pa.py_buffer(views), pa.py_buffer(self.data)]
        )

    def _pieces(self, start: Positions, size: int) -> npt.NDArray[np.uint64]:
        """Copy pieces of the reply, of a size that is a multiple of eight: shape (n, size / 8)."""
        anywhere = np.ndarray(max(0, len(self.data) - size + 1), f"V{size}", self.data, strides=(1,))
        return anywhere[start].view("<u8").reshape(-1, size // 8)


class Framed:
    """The lines of a reply, and which of them are the ids of its entries.

    Parameters
    ----------
    lines : Lines
    """

    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    def _frame_ids(self, announced: Positions, starts: Positions, ends: Positions) -> None:
        """Keep from where to where the ids are, and hold against that what is announced."""
        self.lines.check_lengths(announced, ends - starts)
        self._id_starts, self._id_ends = starts, ends

    def id_texts(self, rows: slice) -> list[bytes]:
        """Return the ids of some entries, as Redis writes them."""
        return list(map(self.lines.text, self._id_starts[rows].tolist(), self._id_ends[rows].tolist()))

    def _ids(self) -> tuple[Ids, Ids]:
        return self.lines.ids(self._id_starts, self._id_ends)


def _numbers(text: pa.Array) -> Any:
    return np.asarray(pc.cast(text.cast(pa.string()), pa.uint64()))
