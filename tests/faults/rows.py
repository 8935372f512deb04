"""Numbered rows: what they are as a frame, and whether just these are in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import redis

_BEGIN_MS = 1_704_067_200_000
_TOGETHER = 3  # rows of one timestamp: to store rows anew would number them on, and not fail
_PAGE = 5_000


@dataclass
class Tally:
    """What has become of the rows under a fault.

    Attributes
    ----------
    fault : str
        Its name.
    injected : int
        Times that it was done.
    rows : int
        Written; of a fault that readers meet, read.
    lost, twice : int
    errors : int
        That were raised, so that something was done about them.
    """

    fault: str
    injected: int = 0
    rows: int = 0
    lost: int = 0
    twice: int = 0
    errors: int = 0

    def compare(self, found: list[int], expected: range | list[int]) -> None:
        """Count numbers that are missing, and those that are there twice.

        Raises
        ------
        AssertionError
            There are others, or they are not in their order.
        """
        once = set(found)
        self.rows += len(expected)
        self.lost += len(set(expected) - once)
        self.twice += len(found) - len(once)
        assert once <= set(expected), f"rows that were never written: {sorted(once - set(expected))[:5]}"
        assert found == sorted(found), "rows are not in their order"


def frame(start: int, stop: int) -> pd.DataFrame:
    """Make the rows of these numbers."""
    n = np.arange(start, stop)
    index = pd.DatetimeIndex((_BEGIN_MS + n // _TOGETHER).view("M8[ms]"))
    return pd.DataFrame({"n": n, "x": n / 7, "text": [f"row {number}\r\n" for number in n]}, index=index)


def id_of(number: int) -> bytes:
    """Return the id that the row of a number has, if those of its timestamp were all stored, in their order."""
    return b"%d-%d" % (_BEGIN_MS + number // _TOGETHER, number % _TOGETHER)


def numbers_in(client: redis.Redis, key: str, start: int = 0) -> list[int]:
    """Read the numbers of the rows of a stream, from one of them on.

    Raises
    ------
    AssertionError
        A row has not the id or the values that it has to have.
    """
    found = []
    for id_, fields in entries(client, key, id_of(start)):
        number = int(fields[b"n"])
        right = id_ == id_of(number) and float(fields[b"x"]) == number / 7 and fields[b"text"] == b"row %d\r\n" % number
        assert right, f"row {number} has the id {id_!r} and the values {fields!r}"
        found.append(number)
    return found


def entries(client: redis.Redis, key: str, start: bytes = b"-") -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Read a stream, page by page."""
    while True:
        page: Any = client.xrange(key, min=start, count=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        start = b"(" + page[-1][0]
