"""What tests of consumer groups' frames share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import walrus_ts
from walrus_ts import Batch, TimeSeries

Key = Callable[..., str]


def rows(n: int, start: str = "2024-01-01", first: int = 0) -> pd.DataFrame:
    """Make a frame of numbered rows, one a second."""
    index = pd.date_range(start, periods=n, freq="s", name="time", unit="ms")
    return pd.DataFrame({"x": np.arange(first, first + n)}, index=index)


def series(db: walrus_ts.Database, *keys: str, n: int = 0, **options: Any) -> TimeSeries:
    """Make a group over streams of n rows each."""
    ts = db.time_series("readers", list(keys), **options)
    ts.create(mkstream=True)
    for key in keys if n else ():
        ts[key].append(rows(n))
    return ts


def xs(batch: Batch) -> list[int]:
    """Give the numbers of a batch's rows."""
    return batch.frame["x"].tolist()
