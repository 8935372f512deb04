"""The stream -> DataFrames: rows by time, by label, by number, drawn, and followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from walrus_ts.columnar.labels import Label
from walrus_ts.columnar.schema import shown
from walrus_ts.connection import check_count
from walrus_ts.errors import UsageError
from walrus_ts.frame_stream.base import FrameStreamBase
from walrus_ts.frames.decoder import Decoder, Errors, label_list
from walrus_ts.frames.scan import Scan
from walrus_ts.live import Live, make_live
from walrus_ts.pandas_io import Backend

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class FrameReader(FrameStreamBase):
    """How rows of a stream become DataFrames."""

    def frame(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        columns: Sequence[Label] | None = None,
        limit: int | None = None,
        dtype_backend: Backend | None = None,
        ids: bool = False,
        errors: Errors = "raise",
    ) -> pd.DataFrame:
        """Read a range of time into a DataFrame.

        Parameters
        ----------
        start, stop : time, date string or id, optional
            Inclusive. A partial date string stands for its whole period: ``stop="2024-02"`` is the end of February. A
            string is an id only with nine digits or more before its ``-``.
        columns : sequence of labels, optional
            Only these, in this order.
        limit : int, optional
            Rows at most, the first ones.
        dtype_backend : {"numpy_nullable", "pyarrow"}, optional
            As in pandas; without it, the dtypes that went in.
        ids : bool
            Add the column `stream_id`, text.
        errors : {"raise", "coerce"}
            What happens to a value that its column's type does not have: `DataError`, or null.

        Returns
        -------
        DataFrame, shape (n, k)
            Its index is a DatetimeIndex. An empty range gives an empty frame with the right columns and dtypes.

        Raises
        ------
        UsageError
            A bound is neither a time nor an id, or there is no such column.
        DataError
            A value does not fit its column; names key, id, column and value.

        Examples
        --------
        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-31", periods=3, freq="D")
        >>> series.s1.append(pd.DataFrame({"price": [7.5, 7.25, 7.0]}, index=days)).rows
        3
        >>> series.s1.frame("2024-02")
                    price
        2024-02-01   7.25
        2024-02-02   7.00
        """
        scan = self.scan(start, stop, columns=columns, limit=limit, errors=errors)
        return scan.to_pandas(dtype_backend, ids=ids)

    def scan(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        columns: Sequence[Label] | None = None,
        limit: int | None = None,
        errors: Errors = "raise",
    ) -> Scan:
        """Describe a range of time, to be read when it is needed.

        Parameters are those of `frame`.

        Returns
        -------
        Scan

        Examples
        --------
        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-31", periods=3, freq="D")
        >>> series.s1.append(pd.DataFrame({"price": [7.5, 7.25, 7.0]}, index=days)).rows
        3
        >>> scan = series.s1.scan("2024-02", columns=["price"])
        >>> [len(frame) for frame in scan.frames(rows=1)]
        [1, 1]
        """
        return Scan(self._source, start, stop, columns=columns, limit=limit, errors=errors)

    def head(self, n: int = 5) -> pd.DataFrame:
        """Return the first `n` rows."""
        return self.frame(limit=_count(n))

    def tail(self, n: int = 5) -> pd.DataFrame:
        """Return the last `n` rows, in the order of time."""
        return self.scan(limit=_count(n)).to_pandas(reverse=True)

    @property
    def loc(self) -> Loc:
        """Rows by label, as in pandas: ``stream.loc["2024-01-05 09:30":, ["price"]]``."""
        return Loc(self)

    def plot(
        self,
        start: Any = None,
        stop: Any = None,
        columns: Sequence[Label] | None = None,
        *,
        max_points: int = 2000,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a range of time, of any number of rows, with matplotlib.

        Of more rows than `max_points` only peaks are drawn: the range is divided into stretches of time, and of each
        the least and the greatest value are kept, at their own times. It is read page by page, in bounded memory.

        Parameters
        ----------
        start, stop : time, date string or id, optional
            Inclusive, as in `frame`.
        columns : sequence of labels, optional
            Columns of numbers or bools; all of numbers without it.
        max_points : int
            Points of a line at most, 2 or more.
        ax : matplotlib Axes, optional
            Where to draw; a new figure without it.

        Returns
        -------
        matplotlib Axes
            A line a column, with gaps where there are nulls, NaN or infinity (of more rows than `max_points`: where a
            stretch has nothing else). Times are in the zone of the index.

        Raises
        ------
        UsageError
            A column holds no numbers, or none does; a bound is neither a time nor an id; matplotlib is missing.
        DataError
            A value does not fit its column; names key, id, column and value.
        """
        from walrus_ts.notebook.plot import plot

        return plot([("", self.scan(start, stop, columns=columns))], max_points, ax)

    def live(
        self,
        columns: Sequence[Label] | None = None,
        window: Any = "5min",
        *,
        every: float = 1.0,
        rows: int = 10,
        max_points: int = 600,
        errors: Errors = "raise",
    ) -> Live:
        """Show the newest rows as a chart and a table, and follow the stream until stopped.

        In a notebook both stand below the cell, and change while other cells run. Nothing is written, no group is
        needed, and memory does not grow: the chart keeps the peaks of each stretch of time, the table its last rows.

        Parameters
        ----------
        columns : sequence of labels, optional
            Only these, in this order; the chart draws the first four of them that hold numbers or bools. Without it the
            table has all columns, and the chart the first four of numbers.
        window : Timedelta, or what makes one
            How far back from the newest row the chart reaches.
        every : float
            Seconds between two looks at the stream, 0.1 or more.
        rows : int
            Of the table.
        max_points : int
            Points of a line at most, 2 or more.
        errors : {"raise", "coerce"}
            What happens to a value that its column's type does not have: `DataError`, which ends it, or null.

        Returns
        -------
        Live
            Its `stop` ends it.

        Raises
        ------
        UsageError
            There is no such column, or no such window. Later errors end it, are shown in it, and are raised by `stop`.
        DataError
            A value does not fit its column; names key, id, column and value.

        Examples
        --------
        >>> view = series.s1.live(window="1h")
        >>> view.stop()
        """
        source, labels = self._source, None if columns is None else label_list(columns)
        Decoder(source, source.look()[1], labels, errors)  # raises what is wrong with these
        return make_live(
            [(shown(self.key), source)],
            labels,
            self.database,
            window=window,
            every=every,
            rows=rows,
            max_points=max_points,
            errors=errors,
        )


class Loc:
    """Rows of a stream by label, as `pandas.DataFrame.loc` has them."""

    def __init__(self, stream: FrameReader) -> None:
        self._stream = stream

    def __getitem__(self, item: Any) -> pd.DataFrame | pd.Series[Any]:
        """Read ``[start:stop]``, ``[start:stop, columns]`` or the rows of one time or period."""
        rows, columns = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if isinstance(rows, slice):
            if rows.step is not None:
                raise UsageError(f"loc takes no step; found {rows.step!r}. Take `frame(start, stop)[::step]`.")
            start, stop = rows.start, rows.stop
        else:
            start = stop = rows
        if columns is None or (isinstance(columns, slice) and columns == slice(None)):
            return self._stream.frame(start, stop)
        if isinstance(columns, (list, pd.Index)):
            return self._stream.frame(start, stop, columns=list(columns))
        return self._stream.frame(start, stop, columns=[columns]).iloc[:, 0]


def _count(n: Any) -> int:
    number = check_count(n, "n", minimum=0)
    if number is None:
        raise UsageError("n is a number of rows; found None. `frame()` reads all of them.", n=n)
    return number
