"""Rows -> a DataFrame."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from walrus_ts import pandas_io
from walrus_ts.columnar import commands
from walrus_ts.errors import UsageError
from walrus_ts.frames.rows import Rows
from walrus_ts.frames.source import Source, by_record
from walrus_ts.ids import Ids

STREAM_ID = "stream_id"
FEW = 100  # rows that are read at one round trip


def to_pandas(
    rows: Rows, source: Source, backend: pandas_io.Backend | None = None, *, ids: bool = False
) -> pd.DataFrame:
    """Make a DataFrame of rows, which are used up; `ids` adds the column `stream_id`."""
    with by_record(source.records):
        frame = pandas_io.to_frame(rows.ticks, rows.arrays, rows.schema, backend=backend, zone=source.zone)
    return frame if rows.ids is None or not ids else with_ids(frame, rows.ids)


def with_ids(frame: pd.DataFrame, ids: Ids) -> pd.DataFrame:
    """Add the column `stream_id` to a frame.

    Parameters
    ----------
    frame : DataFrame, shape (n, k)
    ids : uint64 array, shape (n, 2)

    Raises
    ------
    UsageError
        The data have a column of that name.
    """
    if STREAM_ID in frame.columns:
        raise UsageError(
            f"the data have a column {STREAM_ID!r} of their own; leave it out by `columns=`", column=STREAM_ID
        )
    frame = frame.copy(deep=False)
    texts = commands.id_texts(ids[:, 0], ids[:, 1]).cast(pa.string())
    frame[pandas_io.full_label(frame.columns, STREAM_ID)] = pd.array(texts.to_pylist(), dtype="str")
    return frame
