"""The labels of a frame's columns <-> their description."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from walrus_ts.columnar import types
from walrus_ts.columnar.labels import Label, label_from_json, label_to_json
from walrus_ts.columnar.schema import Schema
from walrus_ts.pandas_io.restore import string_dtype

_MANY = 100


def describe_labels(columns: pd.Index) -> Any:
    """Describe the columns' Index: its names, and its dtype, or the values and dtypes of its levels."""
    names = [label_to_json(name) for name in columns.names]
    if isinstance(columns, pd.MultiIndex):
        return {"names": names, "levels": [{"values": _values(v), "dtype": _describe_dtype(v)} for v in columns.levels]}
    return {"names": names, "dtype": _describe_dtype(columns)}


def _values(index: pd.Index) -> list[Any]:
    return [label_to_json(label) for label in index.tolist()]


def _describe_dtype(index: pd.Index) -> Any:
    dtype = index.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories
        facts = {"values": _values(categories), "dtype": _describe_dtype(categories), "ordered": dtype.ordered}
        return facts if categories.name is None else {**facts, "name": label_to_json(categories.name)}
    if isinstance(dtype, pd.ArrowDtype):  # whose own name may be that of a string dtype
        return ["arrow", types.to_json(dtype.pyarrow_dtype)]
    if isinstance(dtype, pd.StringDtype):
        name, missing = ("string", "NA") if dtype.na_value is pd.NA else ("str", "nan")
        return name if dtype == pd.api.types.pandas_dtype(name) else ["string", dtype.storage, missing]
    return str(dtype)


def columns_of(schema: Schema) -> pd.Index:
    """Make the columns' Index of a frame."""
    if len(schema.columns) > _MANY:  # to compare them takes longer
        return _restore([column.label for column in schema.columns], schema.labels)
    return own(_columns_of(schema, schema.exactly))


def own(labels: pd.Index) -> pd.Index:
    """Return labels for one frame alone: their names can be set, and under pandas 2 their values."""
    return labels.copy(deep=True)


@lru_cache(maxsize=64)
def _columns_of(schema: Schema, _: str) -> pd.Index:
    return _restore([column.label for column in schema.columns], schema.labels)


def _restore(labels: list[Label], description: Any) -> pd.Index:
    if description is None:  # pandas' own choice
        return pd.Index(labels) if labels else pd.Index([], dtype="object")
    names = [label_from_json(name) for name in description["names"]]
    if "levels" in description:
        return _restore_multi(labels, names, description["levels"])
    index = _index(labels, description["dtype"])
    index.name = names[0]
    return index


def _index(labels: list[Label], description: Any) -> pd.Index:
    """Make an Index of a dtype; of pandas' own choice where the labels are not of it, or none is on record."""
    make: Any = partial(pd.Index, labels, tupleize_cols=False)
    try:
        dtype = _restore_dtype(description)
        if isinstance(dtype, pd.CategoricalDtype) and not set(labels) <= set(dtype.categories):
            dtype = None
        index: pd.Index = make(dtype=dtype)
    except (TypeError, ValueError):  # `str` before pandas 3, or a column more than the record's
        index = make()
    return index


def _restore_dtype(description: Any) -> Any:
    if isinstance(description, str):
        dtype = pd.api.types.pandas_dtype(description)
        if isinstance(dtype, np.dtype) and dtype.kind in "SUV":
            raise ValueError(f"no labels are of dtype {description!r}: it may take any memory")
        return dtype
    if description is None:
        return None
    if isinstance(description, list):
        kind, *rest = description
        return pd.ArrowDtype(types.from_json(*rest)) if kind == "arrow" else string_dtype(*rest)
    categories = _restore_values(description).rename(label_from_json(description.get("name")))
    return pd.CategoricalDtype(categories, ordered=description["ordered"])


def _restore_values(description: Any) -> pd.Index:
    return _index([label_from_json(label) for label in description["values"]], description["dtype"])


def _restore_multi(labels: list[Label], names: list[Label], descriptions: list[Any] | None) -> pd.Index:
    if not all(isinstance(label, tuple) and len(label) == len(names) for label in labels):
        return pd.Index(labels, tupleize_cols=False)
    parts = list(zip(*labels, strict=True)) or [()] * len(names)
    made: Any = [_level(*pair) for pair in zip(parts, descriptions or [None] * len(names), strict=True)]
    return pd.MultiIndex([level for level, _ in made], [codes for _, codes in made], names=names)


def _level(parts: tuple[Label, ...], description: Any) -> tuple[pd.Index, npt.NDArray[np.intp]]:
    """Make a level of what is on record, and behind it of what is not, of columns that came later; and its codes."""
    level = _restore_values(description) if description else pd.Index([])
    dtype = description["dtype"] if description else None
    codes = np.full(len(parts), -1)  # a level holds no nan
    present = np.array([not pd.isna(part) for part in parts], bool)
    known = [part for part, there in zip(parts, present, strict=True) if there]
    found = _index(known, dtype)  # of the level's dtype: Arrow's times do not find a datetime
    new = [known[at] for at in np.flatnonzero(level.get_indexer(found) < 0)]
    if new:
        level = _index([*level.tolist(), *dict.fromkeys(new)], dtype)
    codes[present] = level.get_indexer(found)
    return level, codes


def full_label(columns: pd.Index, name: Label) -> Label:
    """Return the label that a new column of this name has beside labels of several levels."""
    return (name, *[""] * (columns.nlevels - 1)) if columns.nlevels > 1 else name
