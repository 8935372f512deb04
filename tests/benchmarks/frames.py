"""The data: frames that look like what people keep in streams, the same ones each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from walrus_ts.pandas_io.restore import string_dtype

_SEED = 20240105
_BEGIN_MS = 1_704_447_000_000  # 2024-01-05 09:30 UTC
_NULLS = 0.2
_TALK = """order filled partially at the open while venue latency rose above its usual band and the desk moved its
remaining quantity to another book before the auction closed"""

_TEXT = string_dtype("pyarrow", "nan")  # `str` of pandas 3

Make = Callable[[np.random.Generator, int], dict[str, object]]


@dataclass(frozen=True)
class Shape:
    """A kind of frame.

    Attributes
    ----------
    name : str
    title : str
        For the tables.
    make : callable
        Makes the columns.
    dtypes : dict of column -> dtype
        What the columns have to come back as.
    share : float
        Of the run's rows: wide rows are fewer, so that all cases take about as long.
    """

    name: str
    title: str
    make: Make
    dtypes: dict[str, Any]
    share: float = 1.0

    @property
    def has_nulls(self) -> bool:
        """Tell whether values are missing."""
        return self.name == "nulls"

    def rows(self, rows: int) -> int:
        """Return how many of a run's rows this shape has."""
        return max(1, round(rows * self.share))

    def frame(self, rows: int) -> pd.DataFrame:
        """Make the frame; its times are whole milliseconds, no two the same."""
        random = np.random.default_rng(_SEED)
        times = _BEGIN_MS + random.integers(1, 500, rows).cumsum()
        index = pd.DatetimeIndex(times.astype("datetime64[ms]"), name="time")
        return self.typed(pd.DataFrame(self.make(random, rows), index=index))

    def typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give the columns their dtypes, also to columns of text."""
        return frame.astype({name: dtype for name, dtype in self.dtypes.items() if name in frame.columns})


def _walk(random: np.random.Generator, rows: int) -> np.ndarray:
    """Prices at full precision: 16 or 17 digits each."""
    return 100 * np.exp(random.normal(0, 1e-4, rows).cumsum())


def _mixed(random: np.random.Generator, rows: int) -> dict[str, object]:
    tickers = ["".join(chr(65 + letter) for letter in random.integers(0, 26, 3 + at % 3)) for at in range(500)]
    return {
        "bid": _walk(random, rows),
        "ask": _walk(random, rows),
        "last": _walk(random, rows),
        "size": random.integers(1, 10_000, rows),
        "symbol": random.choice(np.array(tickers, object), rows),
    }


def _with_nulls(random: np.random.Generator, rows: int) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, values in _mixed(random, rows).items():
        columns[name] = pd.Series(values, dtype=_MIXED[name]).mask(random.random(rows) < _NULLS).array
    return columns


def _float(random: np.random.Generator, rows: int) -> dict[str, object]:
    return {"price": _walk(random, rows)}


def _floats(random: np.random.Generator, rows: int) -> dict[str, object]:
    return {f"sensor{at:02d}": _walk(random, rows) for at in range(50)}


def _text(random: np.random.Generator, rows: int) -> dict[str, object]:
    words = np.array(_TALK.split(), object)
    texts = [" ".join(random.choice(words, length)) for length in random.integers(100, 500, rows)]
    return {"level": random.integers(0, 5, rows), "message": texts}


_MIXED = {"bid": "float64", "ask": "float64", "last": "float64", "size": "Int64", "symbol": _TEXT}

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("mixed", "5 mixed columns", _mixed, _MIXED | {"size": "int64"}),
        Shape("float", "1 float", _float, {"price": "float64"}),
        Shape("floats", "50 floats", _floats, {f"sensor{at:02d}": "float64" for at in range(50)}, 0.1),
        Shape("text", "long text", _text, {"level": "int64", "message": _TEXT}, 0.1),
        Shape("nulls", "20 % nulls", _with_nulls, _MIXED),
    )
}
