"""Progress of long work: a bar of tqdm's, or a function of the caller's."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from walrus_ts.errors import UsageError

if TYPE_CHECKING:
    from tqdm import tqdm

Progress = bool | Callable[[int, int], object] | None

_DELAY = 1.0  # seconds of work without a bar
_INTERVAL = 0.1  # seconds between two drawings


class Bar:
    """A bar that appears when the work takes longer than a second, where somebody watches (a terminal, a notebook).

    Work that takes less does not even import tqdm.

    Parameters
    ----------
    what : str
        Stands before the bar.
    total : int, optional
        Rows in all; None where that is not known.
    at_once : bool
        Appear now, and whoever watches.
    """

    def __init__(self, what: str, total: int | None = None, *, at_once: bool = False) -> None:
        self._what, self._total = what, total
        self._begun = self._drawn = time.monotonic()
        self._delay = _DELAY if _is_wanted() and _is_watched() else math.inf
        self._early = 0  # rows that were done before there was a bar
        self._bar: tqdm[Any] | None = _make(what, total) if at_once and _is_wanted() else None

    def update(self, rows: int) -> None:
        """Tell of rows that are done."""
        if self._bar is not None:
            self._bar.update(rows)
            return
        self._early += rows
        elapsed = time.monotonic() - self._begun
        if elapsed >= self._delay:
            self._bar = _make(self._what, self._total)
            self._bar.start_t -= elapsed
            self._bar.last_print_t -= elapsed  # the rate is first measured from here
            self._bar.update(self._early)

    def hide(self) -> None:
        """Take the bar off a terminal's line, for others to write there."""
        if self._bar is not None:
            self._bar.clear()

    def show(self) -> None:
        """Draw the bar that was hidden."""
        if self._bar is not None and time.monotonic() - self._drawn >= _INTERVAL:
            self._drawn = time.monotonic()
            self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is, for good."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def reporting(progress: Progress, total: int | None, what: str) -> Iterator[Callable[[int], object] | None]:
    """Give work a function that it tells of rows that are done.

    Parameters
    ----------
    progress : bool or callable, optional
        None: a bar after one second, where somebody watches (a terminal, a notebook). True: at once. False: none. A
        callable is called with the rows done and the rows in all.
    total : int, optional
        Rows in all; None where nobody knows: a callable then gets the rows done for it.
    what : str
        Stands before the bar.
    """
    if progress is False:
        yield None
    elif callable(progress):
        yield _telling(progress, total)
    elif progress is None or progress is True:
        with Bar(what, total, at_once=progress is True) as bar:
            yield bar.update
    else:
        raise UsageError(f"progress is True, False, None or a function; found {progress!r}", progress=progress)


def _is_wanted() -> bool:
    """Tell whether TQDM_DISABLE leaves bars on; tqdm's own for notebooks takes no notice of it."""
    return not os.environ.get("TQDM_DISABLE")


def _is_watched() -> bool:
    """Tell whether bars have somebody to look at them; a log has not.

    A kernel's output is no terminal, but a notebook shows it.
    """
    kernel = getattr(getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)(), "kernel", None)
    return kernel is not None or (sys.stderr is not None and sys.stderr.isatty())


def _make(what: str, total: int | None) -> tqdm[Any]:
    from tqdm.auto import tqdm as automatic

    name = "".join(c if c.isprintable() else "?" for c in what)  # a key may hold what a terminal takes for a command
    return automatic(total=total, desc=name, unit=" rows", unit_scale=True)


def _telling(progress: Callable[[int, int], object], total: int | None) -> Callable[[int], object]:
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, done if total is None else total)

    return tell
