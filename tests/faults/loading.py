"""Frames that are loaded through a proxy, and harm that is done at some byte of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.faults.rows import Tally, frame, numbers_in
from tests.own_server import OwnServer, own_server
from tests.proxy import Proxy, Way
from walrus_ts import AppendError, connect
from walrus_ts.timeseries import TimeSeriesStream

KEY = "rows"
SIZES = (1, 30, 3_000, 12_000, 25_000)  # two that go in a script, one of a chunk, two of several
WAYS: tuple[Way, Way] = ("requests", "replies")
_MOST_ATTEMPTS = 20


def nothing() -> None:
    """Mend nothing."""


class Loading:
    """A stream that numbered rows are appended to, through a proxy; checked after each append.

    Attributes
    ----------
    direct : redis.Redis
        A connection past the proxy.
    proxy : Proxy
    stream : TimeSeriesStream
    chance : random.Random
    tally : Tally
    written : int
        The stream's length; the number of the next row.
    stray : bool
        Bytes of connections that were given up may arrive when the load is complete, and begin it again: a record
        without rows, which expires.
    """

    def __init__(
        self, fault: str, direct: redis.Redis, proxy: Proxy, stream: TimeSeriesStream, chance: random.Random
    ) -> None:
        self.direct, self.proxy, self.stream, self.chance = direct, proxy, stream, chance
        self.tally = Tally(fault)
        self.written = 0
        self.stray = False
        self._bytes: dict[int, dict[Way, int]] = {}
        for rows in (SIZES[0], *SIZES):  # the first append of all asks for more than those after it
            self._bytes[rows] = self._measure(rows)

    def _measure(self, rows: int) -> dict[Way, int]:
        """Append undisturbed; return how many bytes that takes."""
        self.proxy.act_after(1 << 62, "requests", None)
        self._append(rows, None, nothing)
        return dict(self.proxy.passed)

    def suffer(
        self,
        times: int,
        harm: Callable[[], object] | None,
        mend: Callable[[], object] = nothing,
        *,
        named: bool = False,
    ) -> Tally:
        """Append until harm was done so many times, each time at a random byte of an append.

        Parameters
        ----------
        times : int
        harm : callable or None
            Is called while the connection waits; None cuts it.
        mend : callable
            Makes the server useful again, and waits until it is. It is called after an error, and after each append.
        named : bool
            Whether all loads have a name; else half of them have.
        """
        for _ in range(10 * times):
            if self.tally.injected >= times:
                return self.tally
            rows, way = self.chance.choice(SIZES), self.chance.choice(WAYS)
            before = self.proxy.acts
            self.proxy.act_after(self.chance.randrange(self._bytes[rows][way]), way, harm)
            name = f"load {self.written}" if named or self.chance.random() < 0.5 else None
            self._append(rows, name, mend)
            self.tally.injected += self.proxy.acts - before
        raise AssertionError(f"in {10 * times} appends, harm was done {self.tally.injected} times")

    def weather(self, times: int) -> Tally:
        """Append so many times, in the weather that the proxy makes (`piece`, `pause`)."""
        for _ in range(times):
            self._append(self.chance.choice(SIZES), None, nothing)
            self.tally.injected += 1
        return self.tally

    def _append(self, rows: int, load: str | None, mend: Callable[[], object]) -> None:
        """Append, go on from each error, and compare what is stored."""
        start = self.written
        data = frame(start, start + rows)
        for _ in range(_MOST_ATTEMPTS):
            try:
                done = self.stream.append(data, load=load, progress=False)
            except AppendError as error:
                self._mend(mend)
                self._check_error(error, error.appended, start, rows)
                load = error.load
            except redis.RedisError as error:  # the server was not to be had, or refused, before anything was sent
                self._mend(mend)
                self._check_error(error, 0, start, rows if load else 0)
            else:
                assert done.rows <= rows
                break
            self.tally.errors += 1
        else:
            raise AssertionError(f"{_MOST_ATTEMPTS} attempts did not store {rows} rows")
        self.proxy.act_no_more()
        self._mend(mend)
        self.written += rows
        self.tally.compare(numbers_in(self.direct, KEY, start), range(start, self.written))
        assert self.direct.xlen(KEY) == self.written
        self._check_records()

    def _check_error(self, error: Exception, least: int, start: int, most: int) -> None:
        """Check that as many rows are stored as an error says."""
        stored = self.direct.xlen(KEY) - start
        assert least <= stored <= most, f"{stored} rows are stored, and the error is {error!r}"

    def _check_records(self) -> None:
        """Check that no load is on record as unfinished; one that never began may be, where it could not be removed."""
        for name in self.direct.scan_iter("walrus_ts:load:*"):
            record = json.loads(self.direct.get(name))
            is_blank = record["stored"] == 0 and (self.stray or self.tally.errors > 0)
            assert is_blank, f"a load that is complete has left {record}"

    def _mend(self, mend: Callable[[], object]) -> None:
        self.proxy.act_no_more()
        mend()
        if self.proxy.failure:
            raise self.proxy.failure


@contextmanager
def loading(
    fault: str,
    folder: Path,
    chance: random.Random,
    *,
    user: str = "",
    options: dict[str, Any] | None = None,
    **settings: object,
) -> Iterator[tuple[Loading, OwnServer]]:
    """Start a server with a proxy before it, and begin to load.

    Parameters
    ----------
    fault : str
    folder : Path
        For the server.
    chance : random.Random
    user : str
        Whom the loader logs in as (``name:password``).
    options : dict
        Of `connect`.
    **settings
        The server's.
    """
    with ExitStack() as stack:
        server = stack.enter_context(own_server(folder, **settings))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        if user:
            name, _, password = user.partition(":")
            direct.acl_setuser(name, enabled=True, passwords=f"+{password}", commands=["+@all"], keys=["*"])
        proxy = stack.enter_context(Proxy(server.port))
        url = proxy.url.replace("//", f"//{user}@") if user else proxy.url
        db = stack.enter_context(connect(url, **(options or {})))
        yield Loading(fault, direct, proxy, db.time_series("faults", [KEY])[KEY], chance), server
