"""Frames of several streams -> one frame, ordered by time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from walrus_ts.errors import SchemaError, UsageError
from walrus_ts.ids import Ids
from walrus_ts.pandas_io import full_label


@dataclass(frozen=True, slots=True)
class Part:
    """One stream's rows.

    Attributes
    ----------
    label : str
        The stream, in the frame.
    key : bytes
    frame : DataFrame, shape (n, k)
    ids : uint64 array, shape (n, 2)
        Milliseconds and sequences.
    """

    label: str
    key: bytes
    frame: pd.DataFrame
    ids: Ids


@dataclass(frozen=True, slots=True)
class Stacked:
    """Rows of all streams, in the order of their ids.

    Attributes
    ----------
    frame : DataFrame, shape (n, k + 1)
    ids : uint64 array, shape (n, 2)
    part : int array, shape (n,)
        Which of the parts each row is from.
    order : int array, shape (n,)
        Where each row stood in the parts, one behind the other.
    """

    frame: pd.DataFrame
    ids: Ids
    part: npt.NDArray[np.intp]
    order: npt.NDArray[np.intp]


def stack(
    parts: Sequence[Part], stream_name: str | None, streams: Sequence[str] = (), *, selects: bool = False
) -> Stacked:
    """Put frames into one, ordered by time.

    Parameters
    ----------
    parts : sequence of Part
        At least one.
    stream_name : str, optional
        Name of the categorical column that says which stream a row is from; None for no such column.
    streams : sequence of str
        Its categories; the parts' labels without it.
    selects : bool
        The caller takes `columns`, so that an error may offer to leave one out.

    Raises
    ------
    UsageError
        The data have a column of that name.
    SchemaError
        Two streams have a column of one name and different dtypes, or one index is naive and another zoned.
    """
    ids = np.concatenate([part.ids for part in parts])
    source = np.repeat(np.arange(len(parts)), [len(part.ids) for part in parts])
    if len(parts) == 1:
        frame = parts[0].frame
        order = np.arange(len(ids))
    else:
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        frame = _concatenated(parts, selects=selects).iloc[order]
        ids, source = ids[order], source[order]
    if stream_name is not None:
        labels = list(dict.fromkeys([*streams, *(part.label for part in parts)]))
        codes = np.array([labels.index(part.label) for part in parts])[source]
        frame = _with_stream(frame, pd.Categorical.from_codes(codes, categories=pd.Index(labels)), stream_name)
    return Stacked(frame, ids, source, order)


def _with_stream(frame: pd.DataFrame, stream: Any, name: str) -> pd.DataFrame:
    if name in frame.columns:
        raise UsageError(
            f"the data have a column {name!r} of their own; name the one that says which stream a row is from "
            "otherwise: `stream_name='...'`",
            column=name,
        )
    frame = frame.copy(deep=False)
    with warnings.catch_warnings():  # pandas 2 warns of a hundred columns, as if they were inserted one by one
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
        frame.insert(0, full_label(frame.columns, name), stream)
    return frame


def _concatenated(parts: Sequence[Part], *, selects: bool) -> pd.DataFrame:
    parts = with_columns(parts)
    check_zones(parts)
    columns = parts[0].frame.columns.append([part.frame.columns for part in parts[1:]]).unique()
    everywhere = set.intersection(*(set(part.frame.columns) for part in parts))
    frames = [_nullable(part.frame, everywhere) for part in parts]
    known: dict[Any, tuple[pd.Series[Any], str]] = {}
    for part, frame in zip(parts, frames, strict=True):
        for label, series in frame.items():
            first, stream = known.setdefault(label, (series, part.label))
            if first.dtype != series.dtype:
                cure = "Leave it out by `columns=`, or read" if selects else "Read"
                raise SchemaError(
                    f"column {label!r} is {first.dtype} in the stream {stream!r} and {series.dtype} in {part.label!r}. "
                    f"{cure} the streams one by one.",
                    column=label,
                )
    models = [known[label][0] for label in columns]
    return pd.concat([_completed(frame, columns, models) for frame in frames])


def _nullable(frame: pd.DataFrame, everywhere: set[Any]) -> pd.DataFrame:
    """Give integers and bools that not all streams have a dtype that has nulls."""
    plain = [label for label, dtype in frame.dtypes.items() if isinstance(dtype, np.dtype) and dtype.kind in "iub"]
    return frame.astype({label: frame[label].convert_dtypes().dtype for label in plain if label not in everywhere})


def _completed(frame: pd.DataFrame, columns: pd.Index, models: Sequence[pd.Series[Any]]) -> pd.DataFrame:
    """Give a frame all columns, in their order; those that only other streams have are null, as in a model of each."""
    values = {
        at: frame[label] if label in frame.columns else _nulls(model, frame.index)
        for at, (label, model) in enumerate(zip(columns, models, strict=True))
    }
    completed = pd.DataFrame(values, index=frame.index, copy=False)
    completed.columns = columns
    return completed


def _nulls(model: pd.Series[Any], index: pd.Index) -> pd.Series[Any]:
    """Return a column of nulls, of the dtype of another one; among objects there are several, and it tells which."""
    found = model[model.isna()].tolist() if model.dtype == object else []
    return pd.Series((found[:1] or [None]) * len(index), index=index, dtype=model.dtype)


def with_columns(parts: Sequence[Part]) -> Sequence[Part]:
    """Return the parts of streams that exist: one that was never written to has no columns, and no clock."""
    return [part for part in parts if len(part.frame.columns) or len(part.frame)] or parts[:1]


def check_zones(parts: Sequence[Part]) -> None:
    """Refuse indexes of different zones.

    Raises
    ------
    SchemaError
        There are some; names the streams.
    """
    zones = {str(part.frame.index.tz): part.label for part in parts}  # type: ignore[attr-defined]
    if len(zones) > 1:
        found = ", ".join(f"{'naive' if zone == 'None' else zone} ({label!r})" for zone, label in zones.items())
        cure = "Make the time series with `tz=...`, or read the streams one by one"
        if "None" in zones:  # which no `tz` brings together with the others
            cure = "Read the streams one by one, and localise the naive frames: `frame.tz_localize(...)`"
        raise SchemaError(
            f"the streams have indexes of different zones: {found}. {cure}.",
            zones=zones,
        )


def widen(parts: Sequence[Part], name: str) -> pd.DataFrame:
    """Put frames side by side: columns (stream, column), a row a time.

    Parameters
    ----------
    parts : sequence of Part
        At least one.
    name : str
        Of the column level that says which stream a column is from.

    Raises
    ------
    UsageError
        A stream has two rows at one time.
    SchemaError
        The indexes are of different zones.
    """
    parts = with_columns(parts)
    check_zones(parts)
    for part in parts:
        if not part.frame.index.is_unique:
            time = part.frame.index[part.frame.index.duplicated()][0]
            raise UsageError(
                f"the stream {part.label!r} has more than one row at {time}: a wide frame has one row a time. Take "
                "`layout='long'`.",
                key=part.key,
            )
    times = len(parts[0].frame.index.append([part.frame.index for part in parts[1:]]).unique())
    frames = [part.frame if len(part.frame) == times else _nullable(part.frame, set()) for part in parts]
    return pd.concat(frames, axis=1, keys=[part.label for part in parts], names=[name]).sort_index()
