"""Frames of several streams -> one frame, ordered by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from walrus_ts.errors import SchemaError, UsageError
from walrus_ts.ids import Ids


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


def stack(parts: Sequence[Part], stream_name: str | None, streams: Sequence[str] = ()) -> Stacked:
    """Put frames into one, ordered by time.

    Parameters
    ----------
    parts : sequence of Part
        At least one.
    stream_name : str, optional
        Name of the categorical column that says which stream a row is from; None for no such column.
    streams : sequence of str
        Its categories; the parts' labels without it.

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
        frame = _concatenated(parts)
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        frame = frame.iloc[order]
    source = source[order]
    if stream_name is not None:
        labels = list(dict.fromkeys([*streams, *(part.label for part in parts)]))
        codes = np.array([labels.index(part.label) for part in parts])[source]
        frame = _with_stream(frame, pd.Categorical.from_codes(codes, categories=pd.Index(labels)), stream_name)
    return Stacked(frame, ids[order], source, order)


def _with_stream(frame: pd.DataFrame, stream: Any, name: str) -> pd.DataFrame:
    if name in frame.columns:
        raise UsageError(
            f"the data have a column {name!r} of their own; name the one that says which stream a row is from "
            "otherwise: `stream_name='...'`",
            column=name,
        )
    frame = frame.copy(deep=False)
    frame.insert(0, name, stream)
    return frame


def _concatenated(parts: Sequence[Part]) -> pd.DataFrame:
    zones = {str(part.frame.index.tz): part.label for part in parts}  # type: ignore[attr-defined]
    if len(zones) > 1:
        found = ", ".join(f"{zone} ({label!r})" for zone, label in zones.items())
        raise SchemaError(
            f"the streams have indexes of different zones: {found}. Make the time series with `tz=...`, or read the "
            "streams one by one.",
            zones=zones,
        )
    everywhere = set.intersection(*(set(part.frame.columns) for part in parts))
    frames = [_nullable(part.frame, everywhere) for part in parts]
    dtypes: dict[Any, tuple[Any, str]] = {}
    for part, frame in zip(parts, frames, strict=True):
        for label, dtype in frame.dtypes.items():
            known, first = dtypes.setdefault(label, (dtype, part.label))
            if known != dtype:
                raise SchemaError(
                    f"column {label!r} is {known} in the stream {first!r} and {dtype} in {part.label!r}. Leave it out "
                    "by `columns=`, or read the streams one by one.",
                    column=label,
                )
    return pd.concat([_completed(frame, dtypes) for frame in frames])


def _nullable(frame: pd.DataFrame, everywhere: set[Any]) -> pd.DataFrame:
    """Give integers and bools that not all streams have a dtype that has nulls."""
    plain = [label for label, dtype in frame.dtypes.items() if isinstance(dtype, np.dtype) and dtype.kind in "iub"]
    return frame.astype(
        {label: frame[label].convert_dtypes(convert_floating=False).dtype for label in plain if label not in everywhere}
    )


def _completed(frame: pd.DataFrame, dtypes: dict[Any, tuple[Any, str]]) -> pd.DataFrame:
    """Add the columns that other streams have, null."""
    missing = {label: dtype for label, (dtype, _) in dtypes.items() if label not in frame.columns}
    for label, dtype in missing.items():
        frame = frame.assign(**{label: pd.Series(pd.NA if _has_na(dtype) else None, index=frame.index, dtype=dtype)})
    return frame[list(dtypes)]


def _has_na(dtype: Any) -> bool:
    return not isinstance(dtype, np.dtype)
