"""Scans through a proxy that cuts connections, while others append, trim and delete."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.faults.loading import KEY, WAYS
from tests.faults.rows import Tally, entries, frame, id_of
from tests.own_server import own_server
from tests.proxy import Proxy
from walrus_ts import connect
from walrus_ts.timeseries import TimeSeriesStream

_ROWS = 60_000
_BYTES = {"requests": 1_500, "replies": 4 << 20}  # of a scan, about
_AT_ONCE = 200  # rows that are appended, trimmed or deleted at once


def cut_scans(folder: Path, times: int, chance: random.Random) -> Tally:
    """Rows that are there from a scan's beginning to its end are read by it, once, in order, and right."""
    tally = Tally("scan cut, rows come and go")
    with ExitStack() as stack:
        server = stack.enter_context(own_server(folder, appendonly="no"))
        direct = stack.enter_context(redis.Redis.from_url(server.url))
        owner = stack.enter_context(connect(server.url)).time_series("faults", [KEY])[KEY]
        proxy = stack.enter_context(Proxy(server.port))
        reader = stack.enter_context(connect(proxy.url)).time_series("faults", [KEY])[KEY]
        while tally.injected < times:
            owner.drop()
            owner.append(frame(0, _ROWS), progress=False)
            before, cuts = range(_ROWS), proxy.cuts
            with _coming_and_going(owner, direct, random.Random(chance.random())):
                found = _scan(reader, proxy, chance)
            tally.injected += proxy.cuts - cuts
            throughout = {int(fields[b"n"]) for _, fields in entries(direct, KEY)}.intersection(before)
            assert 0 < len(throughout) < _ROWS, "others have not been at work"
            assert found == sorted(found), "rows are not in their order"
            tally.compare([number for number in found if number in throughout], sorted(throughout))
    return tally


def _scan(reader: TimeSeriesStream, proxy: Proxy, chance: random.Random) -> list[int]:
    """Scan, with a cut at a random byte, and another one after it."""
    found: list[int] = []
    _arm(proxy, chance)
    for piece in reader.scan().frames(rows=chance.choice((1_000, 10_000, 100_000))):
        assert (piece["x"] == piece["n"] / 7).all()
        assert (piece["text"] == "row " + piece["n"].astype("str") + "\r\n").all()
        found += piece["n"].tolist()
        if chance.random() < 0.5:
            _arm(proxy, chance)
    proxy.act_no_more()
    return found


def _arm(proxy: Proxy, chance: random.Random) -> None:
    way = chance.choice(WAYS)
    proxy.cut_after(chance.randrange(_BYTES[way]), way)


@contextmanager
def _coming_and_going(owner: TimeSeriesStream, direct: redis.Redis, chance: random.Random) -> Iterator[None]:
    """Append rows at the end, trim some at the beginning and delete some anywhere, each in a thread of its own."""
    ended, failures = threading.Event(), []
    end, first = _ROWS, iter(range(_AT_ONCE, _ROWS, _AT_ONCE))

    def append() -> None:
        nonlocal end
        owner.append(frame(end, end + _AT_ONCE), progress=False)
        end += _AT_ONCE

    def trim() -> None:
        direct.xtrim(KEY, minid=id_of(next(first)), approximate=False)

    def delete() -> None:
        direct.xdel(KEY, *(id_of(number) for number in chance.choices(range(_ROWS), k=_AT_ONCE)))

    def go_on(work: Callable[[], object]) -> None:
        try:
            work()
            while not ended.wait(0.02):
                work()
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=go_on, args=(work,)) for work in (append, trim, delete)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        ended.set()
        for worker in workers:
            worker.join()
    if failures:
        raise failures[0]
