"""The labels of a frame's columns <-> their description."""

from __future__ import annotations

from typing import Any

import pandas as pd

from walrus_ts.columnar.schema import Label, label_from_json, label_to_json


def describe_labels(columns: pd.Index) -> Any:
    """Describe the columns' Index: its names, and its dtype or those of its levels."""
    names = [label_to_json(name) for name in columns.names]
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
    names = [label_from_json(name) for name in description["names"]]
    if "levels" in description:
        return _restore_multi(labels, names, description["levels"])
    (name,) = names
    try:
        return _index(labels, description["dtype"], name)
    except (TypeError, ValueError):  # `str` before pandas 3, or a column more than the record's
        return _index(labels, None, name)


def _index(labels: list[Label], dtype: Any, name: Any) -> pd.Index:
    index: pd.Index = pd.Index(labels, dtype=dtype, name=name, tupleize_cols=False)
    return index


def _restore_multi(labels: list[Label], names: list[Label], dtypes: list[Any]) -> pd.Index:
    if not all(isinstance(label, tuple) and len(label) == len(names) for label in labels):
        return pd.Index(labels, tupleize_cols=False)
    parts = list(zip(*labels, strict=True)) or [()] * len(names)
    levels = [
        pd.Index(list(dict.fromkeys(part for part in found if not pd.isna(part))), dtype=dtype)
        for found, dtype in zip(parts, dtypes, strict=True)
    ]
    # A level holds no nan; its code is -1.
    codes = [
        [-1 if pd.isna(part) else level.get_loc(part) for part in found]
        for found, level in zip(parts, levels, strict=True)
    ]
    return pd.MultiIndex(levels, codes, names=names)


def full_label(columns: pd.Index, name: Label) -> Label:
    """Return the label that a new column of this name has beside labels of several levels."""
    return (name, *[""] * (columns.nlevels - 1)) if columns.nlevels > 1 else name
