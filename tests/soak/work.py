"""What a soak does, again and again: append, scan, consume, trim; and what goes wrong now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pandas as pd

from tests.soak.samples import Sample, take
from walrus_ts import Database, LateRowsError, connect
from walrus_ts.timeseries import TimeSeries, TimeSeriesStream

_BEGIN_MS = 1_704_067_200_000
_KEPT = 10_000  # rows of a stream
_ROWS = 2_000  # appended at once
_FEW = 10  # appended one by one
_RARELY = 10  # every so-manieth round
_SOURCE, _DERIVED = "{soak}", "{soak}:derived"


def soak(seconds: float, count: int, tell: Callable[[float, int, Sample], object]) -> list[Sample]:
    """Work for so long, on a server of its own.

    Parameters
    ----------
    seconds : float
    count : int
        Of samples.
    tell : callable
        Is told of each: the seconds, the rows that were appended, the sample.
    """
    samples: list[Sample] = []
    with connect("embedded://") as server, connect(server.url) as db:
        series = db.time_series("soak", [_SOURCE, _DERIVED])
        db.consumer_group("soak", [_SOURCE]).create(mkstream=True)
        begun, rounds = time.monotonic(), 0
        while len(samples) < count:
            _round(series, rounds)
            if rounds % _RARELY == 0:
                _disturb(server)
            rounds += 1
            passed = time.monotonic() - begun
            if passed >= seconds * (len(samples) + 1) / count:
                samples.append(take(server))
                tell(passed, rounds * (_ROWS + _FEW), samples[-1])
    return samples


def _round(series: TimeSeries, number: int) -> None:
    source = series[_SOURCE]
    frame = _frame(number)
    source.append(frame[:_ROWS], maxlen=_KEPT, progress=False)
    for at in range(_ROWS, len(frame)):
        source.append(frame[at : at + 1])
    with suppress(LateRowsError):
        source.append(frame[:10])
    _read(source, frame)
    _consume(series, number)
    series[_DERIVED].trim(_KEPT, approximate=False)


def _frame(number: int) -> pd.DataFrame:
    """Make the rows of a round: no two have the same text, so that whatever is kept of them shows."""
    n = np.arange(_ROWS + _FEW) + number * (_ROWS + _FEW)
    text = pd.Series(n).astype("str").to_numpy()
    return pd.DataFrame({"n": n, "x": n / 7, "text": text}, index=pd.DatetimeIndex((_BEGIN_MS + n).view("M8[ms]")))


def _read(source: TimeSeriesStream, frame: pd.DataFrame) -> None:
    assert len(source.frame()) <= _KEPT + _FEW
    assert sum(len(piece) for piece in source.scan(frame.index[0]).frames(rows=500)) == len(frame)
    assert source.scan(frame.index[0], columns=["x"]).to_arrow().num_rows == len(frame)
    assert source.tail(3)["n"].iloc[-1] == frame["n"].iloc[-1]


def _consume(series: TimeSeries, number: int) -> None:
    """Consume what is new: in turn by acknowledging, and in transactions that derive rows."""
    for batch in series[_SOURCE].batches(500, wait=0, prefetch=number % 3 == 0):
        if number % 2:
            with batch:
                assert len(batch.frame)
        else:
            with batch.transaction():
                batch.append(series[_DERIVED], batch.frame[["n", "x"]])


def _disturb(server: Database) -> None:
    """Come and go as another client, and end all connections but this one."""
    with connect(server.url) as other:
        other.time_series("other", [_SOURCE])[_SOURCE].head()
    server.client_kill_filter(_type="normal", skipme=True)
