"""Patience with a server that is away: which errors pass, for how long, with what pauses in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # redis-py's own, which its users catch
    TimeoutError,  # likewise
)

from walrus_ts.cluster import REFUSED_LOGIN, ElsewhereError
from walrus_ts.transfer.wire import Wire

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool

T = TypeVar("T")

PATIENCE_SECONDS = 60.0  # for which the server may be away
GRACE_SECONDS = 1.0  # likewise, where somebody waits for a small answer, or for an end

ONCE = -1.0  # likewise, for what must not be sent again: it is, only where nothing has been carried out

LOST = (ConnectionError, TimeoutError)  # what was sent may have been carried out
PASSING = (*LOST, BusyLoadingError)  # the server may be back soon

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds; each is twice the one before


def passes(error: Exception) -> bool:
    """Tell whether an error is of a server that may be back soon."""
    return isinstance(error, PASSING) and not isinstance(error, REFUSED_LOGIN)


class Patience:
    """How long work goes on trying.

    Parameters
    ----------
    seconds : float, optional
        For which the server may be away; `PATIENCE_SECONDS` without it.
    elsewhere : float, optional
        Likewise, where others of its cluster answer: one of them takes its place soon, or has the slot already.

    Examples
    --------
    ::

        patience = Patience()
        while True:
            try:
                return work()
            except PASSING as error:
                patience.wait(error)
    """

    def __init__(self, seconds: float | None = None, elsewhere: float | None = None) -> None:
        self._seconds = PATIENCE_SECONDS if seconds is None else seconds
        self._elsewhere = PATIENCE_SECONDS if elsewhere is None else elsewhere
        self.renew()

    def renew(self) -> None:
        """Begin anew: the work has come further."""
        self._begun = time.monotonic()
        self._pause = _FIRST_PAUSE

    def wait(self, error: Exception, stopped: Callable[[Exception], Exception] | None = None) -> float:
        """Pause before the next try; return for how many seconds.

        Parameters
        ----------
        error : Exception
            That the last one ended in.
        stopped : callable, optional
            Takes the error, and returns what is raised in its place where there is no next try.

        Raises
        ------
        Exception
            It does not pass, or the patience is at its end.
        """
        seconds = self._elsewhere if isinstance(error, ElsewhereError) else self._seconds
        if not passes(error) or time.monotonic() > self._begun + seconds:
            if stopped is None:
                raise error
            raise stopped(error) from error
        pause, self._pause = self._pause, min(_LONGEST_PAUSE, 2 * self._pause)
        time.sleep(pause)
        return pause


def persist(pool: Pool, work: Callable[[Wire], T], patience: Patience | None = None) -> T:
    """Do work on a connection, and all of it again on another one where that is lost.

    Parameters
    ----------
    pool : Pool
    work : callable
        May be done twice: a connection may be lost before a command comes to the server, or behind it.
    patience : Patience, optional
        The usual one without it.

    Raises
    ------
    redis.exceptions.RedisError
        The server refuses, or was away for too long.
    """
    patience = patience or Patience()
    while True:
        try:
            with Wire(pool) as wire:
                return work(wire)
        except PASSING as error:
            patience.wait(error)
