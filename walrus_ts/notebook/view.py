"""What a view that follows streams shows: a line of facts, a chart, a table; as HTML and as text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from walrus_ts.columnar.labels import Label
from walrus_ts.errors import UsageError
from walrus_ts.frames.decoder import Errors, label_list
from walrus_ts.frames.source import Source
from walrus_ts.ids import StreamId
from walrus_ts.notebook.chart import chart
from walrus_ts.notebook.following import Follower
from walrus_ts.notebook.html import Markup, card, counted, markup, muted, printable
from walrus_ts.stacking import stack

_TOO_LONG = (pd.errors.OutOfBoundsTimedelta, pd.errors.OutOfBoundsDatetime, OverflowError)  # the second is pandas 2's
_MOST_LINES = 9  # streams of a chart: it has as many colours
_MOST_PANELS = 4  # columns


@dataclass(frozen=True, slots=True)
class Look:
    """What the last look found; replaced as a whole, so that another thread may show it at any time."""

    frame: pd.DataFrame
    ids: list[tuple[int, StreamId]]
    drawn: Markup
    at: float
    rows: int
    rate: float


class View:
    """The newest rows of streams.

    Parameters
    ----------
    sources : sequence of (str, Source)
        The streams and what they are called.
    columns : sequence of labels, optional
        Only these.
    name : str
        What it is of.
    window : Timedelta, or what makes one
        How far back from the newest row the chart reaches.
    rows : int
        Of the table.
    max_points : int
        Of a line.
    errors : {"raise", "coerce"}
        What happens to a value that its column's type does not have.
    stream_name : str, optional
        The table's column that says which stream a row is from.

    Attributes
    ----------
    ended : str
        Why nothing is read any more, in words; empty until then.
    lost : Exception, optional
        Why nothing can be read at present.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, Source]],
        columns: Sequence[Label] | None,
        name: str,
        window: Any,
        rows: int,
        max_points: int,
        errors: Errors,
        stream_name: str | None,
    ) -> None:
        chosen = None if columns is None else label_list(columns)
        span = to_window(window)
        self.name, self._window_ns, self._most_rows, self._stream_name = name, span, rows, stream_name
        self._followers = [
            Follower(label, source, chosen, span, max_points, _MOST_PANELS, errors) for label, source in sources
        ]
        self._looked = Look(pd.DataFrame(), [], Markup(""), time.monotonic(), 0, 0.0)
        self._drawn = (0, 0, 0)  # what of the followers' rows, beginnings and lengths is in it
        self.ended = ""
        self.lost: Exception | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The newest rows."""
        return self._looked.frame

    @property
    def ids(self) -> list[tuple[int, StreamId]]:
        """Of each row in `frame`, which of the streams it is from, and its id."""
        return self._looked.ids

    @property
    def rows(self) -> int:
        """How many have come since the first look."""
        return self._looked.rows

    def look(self, ended: Callable[[], bool]) -> None:
        """Read what is new.

        Raises
        ------
        redis.exceptions.RedisError
            The connection is lost; the next look goes on.
        """
        for follower in self._followers:
            follower.look(ended)
        rows, begun = sum(f.rows for f in self._followers), sum(f.begun for f in self._followers)
        length = sum(f.length for f in self._followers)  # less where rows have been deleted
        now = time.monotonic()
        rate = (rows - self._looked.rows) / max(now - self._looked.at, 1e-3)
        looked = replace(self._looked, at=now, rows=rows, rate=rate)
        if (rows, begun, length) != self._drawn:  # what a lost connection has cut off is drawn by the next look
            frame, ids = self._newest()
            looked = replace(looked, frame=frame, ids=ids, drawn=self._chart())
        self._looked, self._drawn = looked, (rows, begun, length)

    def _newest(self) -> tuple[pd.DataFrame, list[tuple[int, StreamId]]]:
        parts = [follower.newest(self._most_rows) for follower in self._followers]
        stacked = stack(parts, self._stream_name, [part.label for part in parts], selects=True)
        first = max(0, len(stacked.frame) - self._most_rows)
        ids = [StreamId(*id_) for id_ in stacked.ids[first:].tolist()]
        return stacked.frame.iloc[first:], list(zip(stacked.part[first:].tolist(), ids, strict=True))

    def _chart(self) -> Markup:
        lines = [line for follower in self._followers[:_MOST_LINES] for line in follower.lines()]
        panels = set(islice(dict.fromkeys(line.column for line in lines), _MOST_PANELS))
        lines = [line for line in lines if line.column in panels]
        if not lines:
            return Markup("")
        end_ns = max(line.end_ns for line in lines)
        length_ns = min(self._window_ns, max(end_ns, 10**9))  # there is nothing before 1970
        zone = next((f.source.axis(f.schema).zone for f in self._followers if f.schema.columns), None)
        left = len(self._followers) - _MOST_LINES
        more = f"<p>{muted(f'and {left:,} more streams, in the table')}</p>" if left > 0 else ""
        return Markup(chart(lines, end_ns, length_ns, zone) + more)

    # In words --------------------------------------------------------------------------------------------------------

    def facts(self) -> list[str]:
        """Say how it stands."""
        state = self.ended or "following"
        if self.lost is not None and not self.ended:
            state = f"connection lost, trying again: {type(self.lost).__name__}: {self.lost}"
        looked = self._looked
        rate = "" if self.ended or self.lost else f"{looked.rate:,.0f} rows/s"
        return [state, counted(looked.rows, "new rows"), rate]

    def line(self) -> str:
        """Tell all in a line."""
        return f"<Live of {printable(self.name)}: {', '.join(printable(fact, 500) for fact in self.facts() if fact)}>"

    def text(self) -> str:
        """Tell all as text, the table below."""
        return f"{self.line()}\n{self.frame.to_string()}"

    def html(self) -> str:
        """Draw it all."""
        state, *others = self.facts()
        # pandas has an option that turns it off.
        table = self.frame._repr_html_()  # type: ignore[operator]  # pandas-stubs do not know it
        on = "" if self.ended or self.lost else " wts-on"
        mark = Markup(f'<span class="wts-live{on}">●</span> {markup(state, 500)}')
        return card("Live", self.name, [mark, *others], self._looked.drawn, Markup(table or ""))


def _is_number(window: Any) -> bool:
    """Tell whether a length is a number without a unit, which pandas takes for nanoseconds."""
    if isinstance(window, str):
        return re.fullmatch(r"\s*[+-]?[\d.]+\s*", window) is not None
    # numpy's lengths of time are integers to it.
    return isinstance(window, (int, float, np.number)) and not isinstance(window, np.timedelta64)


def to_window(window: Any) -> int:
    """Return a length of time in nanoseconds.

    Raises
    ------
    UsageError
        It is none, or not positive.
    """
    most = ""
    try:
        span = pd.Timedelta(window)
        good = not _is_number(window) and span > pd.Timedelta(0)  # NaT is not
    except _TOO_LONG:
        good, most = False, f", and at most {pd.Timedelta.max.days:,} days"
    except (ValueError, TypeError):
        good = False
    if not good:
        raise UsageError(
            f"window is a length of time, as '5min' or pd.Timedelta(hours=1){most}; found {window!r}", window=window
        )
    # One of coarser units may be longer than int64 has nanoseconds.
    return (span.days * 86_400 + span.seconds) * 10**9 + span.microseconds * 10**3 + span.nanoseconds
