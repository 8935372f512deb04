"""The labels of a frame's columns <-> their description."""

from __future__ import annotations

from typing import Any

import pandas as pd

from walrus_ts.columnar.schema import Label


def describe_labels(columns: pd.Index) -> Any:
    """Describe the columns' Index: its names, and its dtype or those of its levels."""
    names = [None if name is None else str(name) for name in columns.names]
    if isinstance(columns, pd.MultiIndex):
        return {"names": names, "levels": [_label_dtype(level) for level in columns.levels]}
    return {"names": names, "dtype": _label_dtype(columns)}


def _label_dtype(index: pd.Index) -> str:
    if isinstance(index.dtype, pd.StringDtype):
        return "string" if index.dtype.na_value is pd.NA else "str"
    return str(index.dtype)


def restore_labels(labels: list[Label], description: Any) -> pd.Index:
    """Make the columns' Index; without a description it is pandas' own choice."""
    if description is None:
        return pd.Index(labels) if labels else pd.Index([], dtype="object")
    if "levels" in description:
        return _restore_multi(labels, description)
    (name,) = description["names"]
    try:
        return _index(labels, description["dtype"], name)
    except (TypeError, ValueError):  # `str` before pandas 3, or a column more than the record's
        return _index(labels, None, name)


def _index(labels: list[Label], dtype: Any, name: Any) -> pd.Index:
    index: pd.Index = pd.Index(labels, dtype=dtype, name=name)
    return index


def _restore_multi(labels: list[Label], description: Any) -> pd.Index:
    if not all(isinstance(label, tuple) and len(label) == len(description["names"]) for label in labels):
        return pd.Index(labels, tupleize_cols=False)
    parts = list(zip(*labels, strict=True)) or [()] * len(description["names"])
    arrays = [pd.Index(part, dtype=dtype) for part, dtype in zip(parts, description["levels"], strict=True)]
    return pd.MultiIndex.from_arrays(arrays, names=description["names"])
