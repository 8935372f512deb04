"""Hypothesis strategies: random frames of all that a stream can hold.

For tests of code that stands on walrus_ts, as walrus_ts's own tests use them. Hypothesis is no dependency of walrus_ts:
``pip install hypothesis``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("walrus_ts.testing needs Hypothesis: pip install hypothesis") from error

from walrus_ts.ids import TICKS, YEAR_10000, Unit
from walrus_ts.pandas_io.restore import string_dtype

__all__ = ["COLUMNS", "LABELS", "columns", "frames", "indexes", "labels"]

UNITS = tuple(TICKS)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "+05:30")
_LAST_SECOND_OF_NS = 2**63 // TICKS["ns"] - 2 * 86_400  # from 1970, in any zone
_YEAR_1, _YEAR_9999 = -62_135_596_800, YEAR_10000 - 1  # seconds from 1970

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "a\r\nb", "\x00", "*2", "😀"]
)
_bytes = st.binary(max_size=8) | st.sampled_from([b"", b"\r\n", b"$5", b"\xff\x00"])
_dates = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
_times = st.times().map(lambda time: time.replace(fold=0))
_timedeltas = st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6))
_decimals = st.decimals(-(10**9), 10**9, places=3)
_nulls = st.lists(st.lists(st.none(), max_size=3), max_size=3)
_dicts = st.fixed_dictionaries({"a": st.none() | _text, "": st.none() | st.booleans()})


def _integers(name: str) -> st.SearchStrategy[int]:
    info = np.iinfo(name)
    return st.integers(int(info.min), int(info.max)) | st.sampled_from([int(info.min), 0, int(info.max)])


def _ticks(unit: Unit, low: int, high: int) -> st.SearchStrategy[int]:
    if unit == "ns":
        low, high = max(low, -_LAST_SECOND_OF_NS), min(high, _LAST_SECOND_OF_NS)
    return st.integers(low * TICKS[unit], high * TICKS[unit])


Maker = Callable[[list[Any]], Any]
_Kind = tuple[st.SearchStrategy[Any], Maker, bool]  # values, how a column is made of them, whether it has nulls


def _numpy(dtype: str) -> Maker:
    return lambda values: np.array(values, dtype)


def _array(dtype: Any) -> Maker:
    return lambda values: pd.array(values, dtype=dtype)


def _object(missing: Any) -> Maker:
    def make(values: list[Any]) -> Any:
        made = np.empty(len(values), object)
        for at, value in enumerate(values):  # of lists of one length numpy would make a table
            made[at] = missing if value is None else value
        return pd.Series(made, dtype=object).array

    return make


def _arrow(type_: pa.DataType) -> Maker:
    return lambda values: pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, type_)]))


def _masked_floats(name: str) -> Maker:
    make = _array(name)
    return lambda values: make([None if v is None or math.isnan(v) else v for v in values])


def _clock(dtype: str, zone: str | None = None) -> Maker:
    def make(values: list[Any]) -> Any:
        ticks = np.array([np.iinfo(np.int64).min if value is None else value for value in values], np.int64)
        index = ticks.view(dtype)
        return index if zone is None else pd.DatetimeIndex(index).tz_localize("UTC").tz_convert(zone).array

    return make


def _categories(make: Maker, *, ordered: bool, name: str | None = None) -> Maker:
    def categorical(values: list[Any]) -> Any:
        known = list(dict.fromkeys(value for value in values if not pd.isna(value)))
        # The last one stays unused.
        spare = known[-1:] if len(known) > 1 else []
        index = pd.Index(make(known), name=name)
        codes = [-1 if pd.isna(value) or value in spare else known.index(value) for value in values]
        return pd.Categorical.from_codes(codes, categories=index, ordered=ordered)

    return categorical


def _pairs(mapping: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return list(mapping.items())


def _kinds() -> dict[str, _Kind]:
    kinds: dict[str, _Kind] = {}
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        kinds[name] = (_integers(name), _numpy(name), False)
        masked = name.replace("int", "Int").replace("uI", "UI")
        kinds[masked] = (_integers(name), _array(masked), True)
    for width in (16, 32, 64):
        kinds[f"float{width}"] = (st.floats(width=width), _numpy(f"float{width}"), False)
        kinds[f"float{width}[arrow]"] = (st.floats(width=width), _arrow(getattr(pa, f"float{width}")()), True)
    kinds["Float32"] = (st.floats(width=32), _masked_floats("Float32"), True)
    kinds["Float64"] = (st.floats(width=64), _masked_floats("Float64"), True)
    kinds["bool"] = (st.booleans(), _numpy("bool"), False)
    kinds["boolean"] = (st.booleans(), _array("boolean"), True)
    for storage in ("python", "pyarrow"):
        for missing in ("nan", "NA"):
            kinds[f"string[{storage}, {missing}]"] = (_text, _array(string_dtype(storage, missing)), True)
    for label, null in (("None", None), ("nan", np.nan), ("NA", pd.NA)):
        kinds[f"object of text, {label}"] = (_text, _object(null), True)
    kinds["object of bytes"] = (_bytes, _object(None), True)
    kinds["object of dates"] = (_dates, _object(None), True)
    kinds["object of times"] = (_times, _object(None), True)
    kinds["object of decimals"] = (_decimals, _object(None), True)
    kinds["object of integers"] = (_integers("int64"), _object(None), True)
    kinds["object of floats"] = (st.floats(allow_nan=False), _object(None), True)
    kinds["object of datetimes"] = (st.datetimes().map(lambda time: time.replace(fold=0)), _object(None), True)
    kinds["object of timedeltas"] = (_timedeltas, _object(None), True)
    kinds["object of bools"] = (st.booleans(), _object(None), True)
    kinds["object of lists"] = (st.lists(st.none() | _text, max_size=3), _object(None), True)
    kinds["object of lists of nulls"] = (_nulls, _object(None), True)
    kinds["object of dicts"] = (_dicts, _object(None), True)
    for unit in UNITS:
        clock = _ticks(unit, _YEAR_1 + 86_400, _YEAR_9999 - 86_400)
        kinds[f"datetime64[{unit}]"] = (clock, _clock(f"M8[{unit}]"), True)
        kinds[f"datetime64[{unit}, zone]"] = (clock, _clock(f"M8[{unit}]", "America/New_York"), True)
        kinds[f"timedelta64[{unit}]"] = (st.integers(-(2**62), 2**62), _clock(f"m8[{unit}]"), True)
    kinds["category of text"] = (_text, _categories(_array(string_dtype("pyarrow", "nan")), ordered=False), True)
    kinds["category of integers, ordered"] = (
        _integers("int64"),
        _categories(_numpy("int64"), ordered=True, name="grade"),
        True,
    )
    kinds["category of times"] = (_ticks("us", 0, _YEAR_9999), _categories(_clock("M8[us]"), ordered=False), True)
    kinds |= {f"{type_}[arrow]": (values, _arrow(type_), True) for type_, values in _arrow_types()}
    return kinds


def _arrow_types() -> list[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    naive = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
    two_dates = st.lists(st.none() | _dates, min_size=2, max_size=2)
    return [
        (pa.int8(), _integers("int8")),
        (pa.uint64(), _integers("uint64")),
        (pa.bool_(), st.booleans()),
        (pa.string(), _text),
        (pa.large_string(), _text),
        (pa.binary(), _bytes),
        (pa.large_binary(), _bytes),
        (pa.binary(3), st.binary(min_size=3, max_size=3)),
        (pa.date32(), _dates),
        (pa.time32("s"), _times.map(lambda value: value.replace(microsecond=0))),
        (pa.time64("us"), _times),
        (pa.timestamp("us"), naive),
        (pa.timestamp("us", "Europe/Berlin"), naive.map(lambda value: value.replace(tzinfo=dt.UTC))),
        (pa.duration("us"), _timedeltas),
        (pa.decimal128(20, 3), _decimals),
        (pa.decimal256(50, 3), _decimals),
        (pa.dictionary(pa.int32(), pa.string()), _text),
        (pa.dictionary(pa.int32(), pa.binary()), _bytes),
        (pa.null(), st.none()),
        (pa.list_(pa.timestamp("us")), st.lists(st.none() | naive, max_size=3)),
        (pa.list_(pa.list_(pa.null())), _nulls),
        (pa.large_list(pa.decimal256(50, 3)), st.lists(st.none() | _decimals, max_size=3)),
        (pa.struct([("a", pa.string()), ("", pa.bool_())]), _dicts),
        (pa.struct([("a", pa.list_(pa.date32(), 2))]), st.fixed_dictionaries({"a": st.none() | two_dates})),
        (pa.map_(pa.string(), pa.float64()), st.dictionaries(_text, st.none() | st.floats(), max_size=3).map(_pairs)),
    ]


COLUMNS: dict[str, _Kind] = _kinds()
LABELS = (  # of columns, not in columns
    *(name for name in COLUMNS if name.startswith(("string", "large_string", "object of text"))),
    *(
        "int64",
        "Int64",
        "uint8",
        "float64",
        "int8[arrow]",
        "object of integers",
        "object of dates",
        "date32[day][arrow]",
    ),
    *("datetime64[us]", "datetime64[s, zone]"),
)
if not pd.__version__.startswith("2."):  # which crashes of some of Arrow's times in a level
    LABELS += ("timestamp[us][arrow]", "timestamp[us, tz=Europe/Berlin][arrow]")


def columns(kind: str, rows: int) -> st.SearchStrategy[Any]:
    """Make columns of one kind.

    Parameters
    ----------
    kind : str
        One of `COLUMNS`, as ``"int64"`` or ``"object of dates"``.
    rows : int

    Returns
    -------
    strategy of numpy or extension arrays, shape (rows,)

    Examples
    --------
    >>> column = columns("Int64", 3).example()  # doctest: +SKIP
    """
    values, make, nullable = COLUMNS[kind]
    return st.lists(st.none() | values if nullable else values, min_size=rows, max_size=rows).map(make)


@st.composite
def labels(draw: st.DrawFn, kind: str, count: int) -> pd.Index:
    """Make labels of columns, of a dtype that labels may have: by themselves, as categories, or as a level.

    Parameters
    ----------
    kind : str
        One of `LABELS`, which are among `COLUMNS`.
    count : int

    Returns
    -------
    strategy of Index, shape (count,)
        No label stands there twice.
    """
    values, make, _ = COLUMNS[kind]
    there = values.filter(lambda value: not pd.isna(value))
    made = make(draw(st.lists(there, min_size=count, max_size=count, unique=True)))
    index = pd.Index(made, dtype=object if kind.startswith("object") else made.dtype)
    shape = draw(st.sampled_from(["plain", "categories", "level", "level of categories", "two levels"]))
    if shape.endswith("categories"):
        index = pd.CategoricalIndex(index, categories=index[::-1], ordered=draw(st.booleans()))
    if not count or "level" not in shape:
        return index.rename(draw(st.sampled_from([None, "name", 1])))
    if shape == "two levels":
        pairs = st.tuples(st.sampled_from("ab"), st.integers(0, 99))
        drawn = draw(st.lists(pairs, min_size=count, max_size=count, unique=True))
        return pd.MultiIndex.from_tuples(drawn, names=["one", None])
    second = draw(st.lists(st.sampled_from("ab"), min_size=count, max_size=count))
    return pd.MultiIndex.from_arrays([index, second], names=[None, "two"])


@st.composite
def indexes(
    draw: st.DrawFn, rows: int, *, unit: Unit | None = None, zone: str | bool | None = None
) -> pd.DatetimeIndex:
    """Make indexes that `append` takes: in order, from 1970 to 9999, some times repeated.

    Parameters
    ----------
    rows : int
    unit : {"s", "ms", "us", "ns"}, optional
        Any of them without it.
    zone : str or bool, optional
        A zone's name; False for a naive index; any without it.

    Returns
    -------
    strategy of DatetimeIndex, shape (rows,)
    """
    drawn: Unit = draw(st.sampled_from(UNITS)) if unit is None else unit
    chosen: Any = draw(st.sampled_from([False, *ZONES])) if zone is None else zone
    near = st.integers(0, 5).map(lambda tick: 1_704_067_200 * TICKS[drawn] + tick)
    # A day off both ends: no zone leads out of the years that there are.
    ticks = draw(st.lists(near | _ticks(drawn, 86_400, _YEAR_9999 - 86_400), min_size=rows, max_size=rows))
    index = pd.DatetimeIndex(np.array(sorted(ticks), np.int64).view(f"M8[{drawn}]"))
    if chosen:
        index = index.tz_localize("UTC").tz_convert(chosen)
    return index.rename(draw(st.sampled_from([None, "time", "", 0, ("a", 1)])))


@st.composite
def frames(
    draw: st.DrawFn,
    max_columns: int = 20,
    max_rows: int = 30,
    *,
    unit: Unit | None = None,
    zone: str | bool | None = None,
) -> pd.DataFrame:
    """Make frames that come back from a stream as they went in.

    Parameters
    ----------
    max_columns, max_rows : int
        A frame may have fewer, and none.
    unit, zone
        Of the index; as in `indexes`.

    Returns
    -------
    strategy of DataFrame

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(frames(max_columns=3))
    ... def test_round_trip(frame):
    ...     ...
    """
    rows = draw(st.integers(0, max_rows))
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), max_size=max_columns))
    index = draw(indexes(rows, unit=unit, zone=zone))
    found = draw(st.sampled_from(LABELS).flatmap(lambda kind: labels(kind, len(kinds))))
    made: dict[int, pd.Series[Any]] = {}
    for at, kind in enumerate(kinds):
        # Of objects pandas would make what they look like: datetimes become Timestamps.
        dtype = object if kind.startswith("object") else None
        made[at] = pd.Series(draw(columns(kind, rows)), index=index, dtype=dtype)
    frame = pd.DataFrame(made, index=index)
    frame.columns = found
    return frame
