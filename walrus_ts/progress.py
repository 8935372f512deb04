"""Progress of long work: a bar of tqdm's, or a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from walrus_ts.errors import UsageError

Progress = bool | Callable[[int, int], object] | None


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
        from tqdm.auto import tqdm

        options: dict[str, Any] = {"delay": 1.0, "disable": None} if progress is None else {}
        with tqdm(total=total, desc=what, unit=" rows", unit_scale=True, **options) as bar:
            yield bar.update
    else:
        raise UsageError(f"progress is True, False, None or a function; found {progress!r}", progress=progress)


def _telling(progress: Callable[[int, int], object], total: int | None) -> Callable[[int], object]:
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, done if total is None else total)

    return tell
