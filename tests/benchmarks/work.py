"""One piece of work that is measured, whoever does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
import redis

from tests.benchmarks.frames import Shape


class Work(ABC):
    """What is timed is `run`; what it needs is made when it is made, and by `before`.

    Parameters
    ----------
    url : str
        The server's, as redis-py takes it.
    prefix : str
        Begins all keys, so that a server's own data are safe.
    shape : Shape
    rows : int
        Of the frame.

    Attributes
    ----------
    who : str
        For the tables.
    most : int
        Rows at most, where a peer is so slow that more would only take longer.
    is_limit : bool
        Whether it does only what nobody can do without; it has no peak memory to compare.
    """

    who: ClassVar[str]
    most: ClassVar[int] = 2**62
    is_limit: ClassVar[bool] = False

    def __init__(self, url: str, prefix: str, shape: Shape, rows: int) -> None:
        self.url, self.prefix, self.shape = url, prefix, shape
        self.rows = min(rows, self.most)
        self.client = redis.Redis.from_url(url)
        self.key = f"{prefix}{shape.name}:{type(self).__name__}"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The data to write, or that are there to be read."""
        return self.shape.frame(self.rows)

    @property
    def count(self) -> int:
        """What the cost is divided by: rows, or calls."""
        return self.rows

    def prepare(self) -> None:  # noqa: B027  # not all need it
        """Make what all runs share."""

    def before(self) -> None:  # noqa: B027  # likewise
        """Get ready for a run."""

    @abstractmethod
    def run(self) -> Any:
        """Do what is measured."""

    def seconds(self, result: Any, elapsed: float) -> float:
        """Return what the run took, where that is not the time between its beginning and its end."""
        return elapsed

    def after(self) -> None:  # noqa: B027  # likewise
        """Clean up behind a run."""

    @abstractmethod
    def rows_done(self, result: Any) -> pd.DataFrame:
        """Return the rows that a run has written or read, to show that all peers do the same."""

    def close(self) -> None:
        """Delete the keys and let connections go."""
        for name in self.client.scan_iter(match=f"*{self.key}*", count=1_000):
            self.client.delete(name)
        self.client.close()
