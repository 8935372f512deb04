"""Arrow -> a column of a frame, of the dtype that its description names."""

from __future__ import annotations

import re
from datetime import UTC
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.columnar import types
from walrus_ts.columnar.labels import label_from_json
from walrus_ts.columnar.schema import Column
from walrus_ts.errors import UsageError
from walrus_ts.times import parse_zone

Backend = Literal["numpy_nullable", "pyarrow"]
Objects = npt.NDArray[Any]

_NAMES = re.compile(  # of dtypes; pandas takes many more, and does not make them of numbers
    r"u?int(8|16|32|64)|U?Int(8|16|32|64)|float(16|32|64)|Float(32|64)|bool|boolean"
    r"|(datetime64|timedelta64)\[(s|ms|us|ns)(, .+)?\]"
)
MISSING = {"None": None, "nan": float("nan"), "NA": pd.NA}


def to_values(array: pa.ChunkedArray, column: Column, backend: Backend | None) -> Any:
    """Make what pandas takes for a column: an array of its own memory, or an extension array.

    Parameters
    ----------
    array : ChunkedArray, shape (n,)
    column : Column
    backend : {"numpy_nullable", "pyarrow"}, optional
        In place of the dtype that is on record.
    """
    description = column.dtype
    if backend is not None:
        return _backend_values(array, backend)
    if description is None:
        return _default_values(array)
    if isinstance(description, str):
        return _plain_values(array, description)
    kind, *rest = description
    if kind == "arrow":
        return pd.arrays.ArrowExtensionArray(array)  # pandas 2's dtype casts, and Arrow's cast loses nulls within lists
    if kind == "string":
        return _from_arrow_array(string_dtype(*rest), array.cast(pa.large_string()))
    if kind == "object":
        return _object_values(array, *rest)
    return _category_values(array, column)


def _plain_values(array: pa.ChunkedArray, name: str) -> Any:
    dtype = _dtype(name)
    if isinstance(dtype, np.dtype):
        if dtype.kind in "iub":
            if array.null_count:  # rows of another program that do without the field
                return _default_values(array)
            return _writable(array).astype(dtype, copy=False)
        if dtype.kind == "f":
            return _writable(array).astype(dtype, copy=False)
        return _ticks(array).view(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(_ticks(array).view(f"M8[{dtype.unit}]"), tz="UTC").tz_convert(dtype.tz).array
    return _from_arrow_array(dtype, array)


@lru_cache(maxsize=256)
def _dtype(name: str) -> Any:
    """Return the dtype of a name; pandas takes 40 us to read one, which counts where a frame has ten rows."""
    if _NAMES.fullmatch(name) is None:
        raise ValueError(f"no dtype of a column is named {name[:40]!r}")
    return pd.api.types.pandas_dtype(name)


def _from_arrow_array(dtype: Any, array: pa.ChunkedArray) -> Any:
    """Let pandas' dtype read an Arrow array: the protocol that its stubs do not know."""
    return dtype.__from_arrow__(array)


def _writable(array: pa.ChunkedArray) -> Objects:
    """Return numbers as numpy has them, nan where they are null, in memory of their own."""
    values: Objects = array.to_numpy()
    return values if values.flags.writeable else values.copy()


def _ticks(array: pa.ChunkedArray) -> Objects:
    """Return times or durations as integers, NaT where they are null."""
    return np.array(pc.fill_null(array.cast(pa.int64()), np.iinfo(np.int64).min))


def _default_values(array: pa.ChunkedArray) -> Any:
    """Choose a dtype that has nulls."""
    type_ = array.type
    if pa.types.is_integer(type_):
        name = str(type_).replace("int", "Int").replace("uI", "UI")
        return _from_arrow_array(_dtype(name), array)
    if pa.types.is_boolean(type_):
        return _from_arrow_array(pd.BooleanDtype(), array)
    if types.family(type_) == "text":
        return pd.Series(_object_values(array, "None"), dtype="str").array
    if pa.types.is_floating(type_):
        return _writable(array)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return array.to_pandas().array
    return _object_values(array, "None")


def _backend_values(array: pa.ChunkedArray, backend: Backend) -> Any:
    if backend == "pyarrow":
        return pd.arrays.ArrowExtensionArray(array)
    if backend != "numpy_nullable":
        raise UsageError(f"dtype_backend is 'numpy_nullable' or 'pyarrow'; found {backend!r}", dtype_backend=backend)
    if types.family(array.type) == "text":
        return _from_arrow_array(pd.StringDtype(), array.cast(pa.large_string()))
    if pa.types.is_floating(array.type):
        name = "Float32" if array.type.bit_width <= 32 else "Float64"
        return _from_arrow_array(_dtype(name), array.cast(name.lower()))
    return _default_values(array)


def string_dtype(storage: str, missing: str) -> Any:
    """Make pandas' dtype of text, of a storage and with a null: ``"NA"`` or ``"nan"``."""
    make: Any = pd.StringDtype
    try:
        return make(storage, na_value=MISSING[missing])
    except TypeError:  # pandas 2.2 has no na_value
        return make("pyarrow_numpy" if missing == "nan" else storage)


def _object_values(array: pa.ChunkedArray, missing: str) -> Objects:
    values = np.empty(len(array), object)
    values[:] = array.to_numpy() if types.family(array.type) == "text" else to_objects(array)
    if missing != "None" and array.null_count:
        values[np.asarray(array.is_null())] = MISSING[missing]
    return values


def to_objects(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Make Python objects of an array; a datetime is in the zone that its type names."""
    values: list[Any] = array.to_pylist()
    if not pa.types.is_timestamp(array.type) or array.type.tz is None:
        return values
    # Not pyarrow's own choice, which is pytz where that is installed.
    zone = UTC if array.type.tz == "UTC" else parse_zone(array.type.tz)
    return [None if value is None else value.astimezone(zone) for value in values]


def _category_values(array: pa.ChunkedArray, column: Column) -> pd.Categorical:
    facts, categories = column.categories(), column.known_values()
    assert facts is not None  # the caller has looked
    assert categories is not None
    codes = pc.fill_null(pc.index_in(array, value_set=categories), -1)
    own = Column(column.label, column.field, categories.type, facts["dtype"])
    values = to_values(pa.chunked_array([categories]), own, None)
    name = label_from_json(facts.get("name"))
    index = pd.Index(values, dtype=values.dtype, name=name)  # without the dtype pandas 3 makes text of objects
    return pd.Categorical.from_codes(np.asarray(codes), categories=index, ordered=facts["ordered"])
