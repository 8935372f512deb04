"""Plots of streams of any length: read page by page, and thinned out so that peaks stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from walrus_ts.columnar.schema import Column, Schema, shown
from walrus_ts.connection import require_count
from walrus_ts.errors import SchemaError, UsageError
from walrus_ts.frames.scan import Scan
from walrus_ts.notebook.html import printable
from walrus_ts.progress import Bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Ticks = npt.NDArray[np.int64]
Page = tuple[Ticks, Floats]  # times, shape (n,), and values, shape (k, n): NaN where there is nothing to draw


def plot(parts: Sequence[tuple[str, Scan]], max_points: int, ax: Axes | None) -> Axes:
    """Draw the columns of numbers of ranges (`TimeSeriesStream.plot`, `TimeSeries.plot`).

    Parameters
    ----------
    parts : sequence of (str, Scan)
        What stands before the columns' names in the legend, and a range.
    max_points : int
        Of a line.
    ax : Axes, optional
    """
    most = require_count(max_points, "max_points", minimum=2)
    pyplot = _pyplot()
    _check_axes(ax)
    drawn = [(name, scan, schema, columns) for name, scan in parts for schema, columns in [_columns(scan)] if columns]
    if not drawn:
        raise _nothing_to_draw(parts)
    _check_clocks(schema for _, _, schema, _ in drawn)
    lines = [line for name, scan, schema, columns in drawn for line in _lines(name, scan, schema, columns, most)]
    if ax is None:
        _, ax = pyplot.subplots()
    for line in lines:
        # pandas' periods, which it makes of regular times without `x_compat`, do not share an axis with other times.
        line.plot(ax=ax, label=line.name, x_compat=True, backend="matplotlib")
    for text in [ax.xaxis.label, *ax.legend().get_texts()]:
        text.set_parse_math(False)  # "$" in a name is no formula
    return ax


def _lines(name: str, scan: Scan, schema: Schema, columns: Sequence[Column], most: int) -> list[pd.Series[float]]:
    """Read the points of each column's line; a series is named as its line is."""
    ticks, values = _points(scan, columns, most)
    lines = []
    for at, column in enumerate(columns):
        # What matplotlib draws has microseconds, and it warns of what is finer.
        times = pd.DatetimeIndex(ticks[at].view(f"M8[{schema.unit}]")).as_unit("us")
        times.name = None if schema.name is None else printable(str(schema.name))
        if schema.zone is not None:
            times = times.tz_localize("UTC").tz_convert(scan._source.zone or schema.zone)
        label = printable(f"{name} {column.label}" if name else str(column.label))
        # A legend leaves out what begins with an underscore.
        lines.append(pd.Series(values[at], times, name=f" {label}" if label.startswith("_") else label))
    return lines


# Which columns ---------------------------------------------------------------------------------------------------


def _columns(scan: Scan) -> tuple[Schema, list[Column]]:
    """Choose the columns that are drawn: those asked for, else all of numbers."""
    schema = scan._source.look()[1] or Schema((), unit="ms")
    if scan._columns is None:
        return schema, [column for column in schema.columns if is_number(column.type)]
    numbers = [column.label for column in schema.columns if is_number(column.type)]
    chosen = [(label, schema.column(label)) for label in scan._columns]
    for label, column in chosen:
        if column is None or not (is_number(column.type) or pa.types.is_boolean(column.type)):
            found = "is not on its record" if column is None else f"holds {column.type}"
            cure = f"Leave it out: its columns of numbers are {numbers}." if numbers else _DECLARE
            raise UsageError(
                f"a plot draws numbers, and column {label!r} of {scan._source.where} {found}. {cure}", column=label
            )
    return schema, [column for _, column in chosen if column is not None]


_DECLARE = "`declare({'price': 'float64'})` says of a column that is stored as text that it holds numbers."


def is_number(type_: pa.DataType) -> bool:
    """Tell whether a column's values are numbers; bools are none."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def _nothing_to_draw(parts: Sequence[tuple[str, Scan]]) -> UsageError:
    names = ", ".join(scan._source.where for _, scan in parts)
    if all(scan._columns is not None for _, scan in parts):
        return UsageError("a plot draws numbers, and `columns` names no column; leave it out for all of numbers")
    return UsageError(f"a plot draws numbers, and there is no column of numbers in {names}. {_DECLARE}")


def _check_clocks(schemas: Iterable[Schema]) -> None:
    """Refuse naive and zoned times on one axis."""
    if len({schema.zone is None for schema in schemas}) > 1:
        raise SchemaError(
            "some of the streams have a naive index, others one with a zone, and they have no axis of time in common. "
            "Plot them one by one: `series[key].plot()`."
        )


# Which points --------------------------------------------------------------------------------------------------------


def _points(scan: Scan, columns: Sequence[Column], most: int) -> tuple[Sequence[Ticks], Sequence[Floats]]:
    """Read a range: all of its rows where these are few, else the peaks of each stretch of time."""
    last = _last_tick(scan, columns)  # now, and not when it is needed: the reading may hold the only connection
    few: list[Page] = []
    count = 0
    peaks: Peaks | None = None
    for page in _pages(scan, columns):
        if peaks is not None:
            peaks.add(*page)
            continue
        few.append(page)
        count += len(page[0])
        if count > most:
            peaks = Peaks(int(few[0][0][0]), last, most // 2, len(columns))
            for early in few:
                peaks.add(*early)
    if peaks is not None:
        lines = [peaks.line(at) for at in range(len(columns))]
        return [line[0] for line in lines], [line[1] for line in lines]
    ticks = np.concatenate([np.zeros(0, np.int64), *(page[0] for page in few)])
    values = np.concatenate([np.zeros((len(columns), 0)), *(page[1] for page in few)], axis=1)
    return [ticks] * len(columns), list(values)


def _pages(scan: Scan, columns: Sequence[Column]) -> Iterator[Page]:
    source, bounds = scan._source, (scan._start, scan._stop)
    name = shown(source.records.key)
    state = source.look()[0] if bounds == (None, None) else None
    with Bar(f"plot {name}", state.length if state else None) as bar:
        for batch in Scan(source, *bounds, columns=[column.label for column in columns]).record_batches():
            ticks, *arrays = batch.columns
            values = np.array([to_floats(array) for array in arrays])
            bar.update(len(batch))
            yield ticks.view(pa.int64()).to_numpy(), values


def to_floats(array: pa.Array) -> Floats:
    """Return numbers, rounded where they are too long; nulls and infinity, for which there is no place, are NaN."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _last_tick(scan: Scan, columns: Sequence[Column]) -> int:
    """Return the time of the last row of a range; 0 where there is none."""
    last = Scan(scan._source, scan._start, scan._stop, columns=[columns[0].label], limit=1)
    return max(last._rows(reverse=True).ticks.tolist(), default=0)


class Peaks:
    """The least and the greatest value of each column in each of many stretches of time, all of one length.

    Rows come page by page, and a stretch may begin in one and end in another; libraries that thin out arrays
    (tsdownsample, say) want them whole.

    Parameters
    ----------
    first, last : int
        Between what times the rows lie; what comes later belongs to the last stretch.
    stretches : int
    columns : int
    """

    def __init__(self, first: int, last: int, stretches: int, columns: int) -> None:
        self._first = first
        self._width = max(1, -(-(last - first + 1) // stretches))
        self._seen = np.zeros(stretches, bool)
        self._ticks = np.zeros((columns, stretches, 2), np.int64)
        self._values = np.full((columns, stretches, 2), np.nan)

    def reach(self, last: int) -> int:
        """Move on so that a time has a stretch, and forget as many at the beginning; return where they begin now."""
        by = (last - self._first) // self._width - len(self._seen) + 1
        if by > 0:
            self._first += by * self._width
            kept = max(0, len(self._seen) - by)
            for array, empty in (
                (self._seen, False),
                (self._ticks.swapaxes(0, 1), 0),
                (self._values.swapaxes(0, 1), np.nan),
            ):
                array[:kept] = array[len(array) - kept :].copy()
                array[kept:] = empty
        return self._first

    def add(self, ticks: Ticks, values: Floats) -> None:
        """Take rows in, in the order of time."""
        at = np.minimum((ticks - self._first) // self._width, len(self._seen) - 1)
        begins = np.flatnonzero(np.diff(at, prepend=-1))
        for begin, end in pairwise([*begins.tolist(), len(at)]):
            self._add_within(int(at[begin]), ticks[begin:end], values[:, begin:end])
            self._seen[at[begin]] = True

    def _add_within(self, stretch: int, ticks: Ticks, values: Floats) -> None:
        if not self._seen[stretch]:
            self._ticks[:, stretch] = ticks[0]
        for column, found in enumerate(values):
            if np.isnan(found).all():
                continue
            best = self._values[column, stretch]
            for side, row in enumerate((np.nanargmin(found), np.nanargmax(found))):
                better = found[row] < best[0] if side == 0 else found[row] > best[1]
                if better or np.isnan(best[side]):
                    self._values[column, stretch, side] = found[row]
                    self._ticks[column, stretch, side] = ticks[row]

    def line(self, column: int) -> tuple[Ticks, Floats]:
        """Return a column's points in the order of time: two a stretch, or one of NaN where it has no value there."""
        ticks, values = self._ticks[column, self._seen], self._values[column, self._seen]
        order = np.argsort(ticks, axis=1, kind="stable")
        ticks, values = np.take_along_axis(ticks, order, 1), np.take_along_axis(values, order, 1)
        twice = (ticks[:, 0] == ticks[:, 1]) & ((values[:, 0] == values[:, 1]) | np.isnan(values[:, 0]))
        kept = np.column_stack((np.ones(len(twice), bool), ~twice)).ravel()
        return ticks.ravel()[kept], values.ravel()[kept]


def _check_axes(ax: Any) -> None:
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        raise UsageError(f"ax is one matplotlib Axes, as `fig, ax = plt.subplots()` makes it; found {ax!r:.80}", ax=ax)


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise UsageError("plots need the package matplotlib: pip install matplotlib") from error
    return pyplot
