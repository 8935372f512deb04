"""A view that follows streams in the background, until it is stopped."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from walrus_ts.columnar.labels import Label
from walrus_ts.connection import require_count
from walrus_ts.errors import UsageError
from walrus_ts.frames.decoder import Errors
from walrus_ts.frames.source import Source
from walrus_ts.transfer.patience import GRACE_SECONDS, PASSING, Patience, passes

if TYPE_CHECKING:
    import pandas as pd

    from walrus_ts.database import AnyDatabase
    from walrus_ts.notebook.screen import Screen
    from walrus_ts.notebook.view import View

_SHORTEST_PAUSE = 0.1  # seconds; a browser that draws more often does nothing else
_PATIENCE = 5.0  # seconds that `stop` waits for a look that is under way

_running: weakref.WeakSet[Live] = weakref.WeakSet()


class Live:
    """A chart and a table of the newest rows, which follow their streams; made by `live`.

    In a notebook they stand where the cell is that made them, and cells below it run as ever; naming the object again
    shows them again. In a terminal new rows are written as they come. Elsewhere nothing is shown: `frame`, and the
    object's text, have the newest rows.

    It reads, as `frame` does, and is no consumer: nothing is written, and no group knows of it. A lost connection is
    said in the view, and rows that came meanwhile follow when it is back. It ends by `stop`, at the end of its ``with``
    block, when its database is closed, when its cell is run again, and with the process.
    """

    def __init__(self, view: View, screen: Screen, every: float) -> None:
        self._view, self._screen, self._every = view, screen, every
        self._end = threading.Event()
        self._error: Exception | None = None
        self._look_first()  # what is wrong with the call is raised here
        self._thread = threading.Thread(target=self._follow, name=f"{view.name} live", daemon=True)

    def _look_first(self) -> None:
        patience = Patience(GRACE_SECONDS)
        while True:
            try:
                return self._view.look(self._end.is_set)
            except PASSING as error:
                patience.wait(error)

    def _start(self) -> Self:
        for other in list(_running):
            if self._screen.replaces(other._screen):
                other._leave("ended: its cell was run again")
        self._screen.show(self._view)
        _running.add(self)
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Whether it still follows its streams."""
        return self._thread.is_alive() and not self._end.is_set()

    @property
    def error(self) -> Exception | None:
        """What ended it, where that was an error."""
        return self._error

    @property
    def frame(self) -> pd.DataFrame:
        """The newest rows, as the table shows them."""
        return self._view.frame.copy()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it ends; Ctrl-C ends the waiting and leaves it running.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether it has ended.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Stop; the view stays as it is. To stop again does nothing more.

        Raises
        ------
        Exception
            What ended it before, where that was an error: `DataError` for a value that does not fit its column, say.
        """
        self._leave("stopped")
        if self._error is not None:
            raise self._error

    def _leave(self, says: str, patience: float = _PATIENCE) -> None:
        if not self._end.is_set():
            self._view.ended = says
            self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(patience)

    def _follow(self) -> None:
        try:
            while not self._end.wait(self._every):
                try:
                    self._view.look(self._end.is_set)
                    self._view.lost = None
                except PASSING as error:
                    if not passes(error):
                        raise
                    self._view.lost = error
                if not self._end.is_set():
                    self._screen.show(self._view)
        except Exception as error:  # whatever it is: nobody else would say it
            self._error = error
            self._view.ended = f"ended by an error: {type(error).__name__}: {error}"
        self._end.set()
        with suppress(Exception):  # the kernel may be going
            self._screen.show(self._view)
        _running.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.stop()
        else:  # that is what matters then
            self._leave("stopped")

    def __repr__(self) -> str:
        return self._view.line()

    def __str__(self) -> str:
        return self._view.text()

    def _ipython_display_(self) -> None:
        self._screen.show_again(self._view)


def make_live(
    sources: Sequence[tuple[str, Source]],
    columns: Sequence[Label] | None,
    database: AnyDatabase,
    *,
    window: Any,
    every: float,
    rows: int,
    max_points: int,
    errors: Errors,
    stream_name: str | None = None,
    name: str = "",
) -> Live:
    """Begin to follow streams (`TimeSeries.live`, `TimeSeriesStream.live`)."""
    from walrus_ts.notebook.screen import screen
    from walrus_ts.notebook.view import View

    if not _is_pause(every):
        raise UsageError(
            f"every is a number of seconds between two looks, {_SHORTEST_PAUSE} or more and less than a day; found "
            f"{every!r}",
            every=every,
        )
    most_points, most_rows = require_count(max_points, "max_points", minimum=2), require_count(rows, "rows", minimum=0)
    view = View(sources, columns, name or sources[0][0], window, most_rows, most_points, errors, stream_name)
    live = Live(view, screen(), float(every))
    database._lives.add(live)
    return live._start()


def _is_pause(every: Any) -> bool:
    number = isinstance(every, (int, float, np.number)) and not isinstance(every, bool)
    return number and bool(_SHORTEST_PAUSE <= every < 86_400)


@atexit.register
def _end_all() -> None:
    for live in list(_running):
        live._leave("stopped", patience=1.0)
