"""What happens to servers: they end and come back, load their data, or are no masters any more."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis

from tests.faults.loading import loading
from tests.faults.rows import Tally
from tests.helpers import wait_until
from tests.own_server import OwnServer, free_port, own_server

_LONGEST_ABSENCE = 0.4  # seconds


def killed_always(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server is killed (-9) and started again; it syncs its append-only file always."""
    with loading("server killed, fsync always", folder, chance) as (load, server):
        restart = _Restart(server, server.kill, chance)
        return load.suffer(times, restart.begin, restart.wait)


def killed_everysec(folder: Path, times: int, chance: random.Random) -> Tally:
    """Likewise, syncing once a second: what a process has written stays, when the process alone dies.

    While it syncs in the background, it may write up to two seconds late (`aof.c`, flushAppendOnlyFile), and what it
    has answered by then is lost with it: that is `lost_tail`, and this is not.
    """
    with loading("server killed, fsync everysec", folder, chance, appendfsync="everysec") as (load, server):

        def kill() -> None:
            _wait_until_written(load.direct)
            server.kill()

        restart = _Restart(server, kill, chance)
        return load.suffer(times, restart.begin, restart.wait)


def restarted(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server ends as it is told to, and is started again."""
    with loading("server restarted", folder, chance, appendfsync="everysec") as (load, server):
        restart = _Restart(server, server.stop, chance)
        return load.suffer(times, restart.begin, restart.wait)


def loading_data(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server is killed, and is back at once, but says LOADING for a while."""
    with loading("LOADING", folder, chance) as (load, server):
        assert load.direct.config_get("key-load-delay"), "the server cannot be told to load slowly"

        def kill() -> None:
            server.kill()
            server.settings |= {
                "key-load-delay": -max(1, load.written // 8_000),  # a short sleep every so-manieth row
                "loading-process-events-interval-bytes": 1 << 16,  # how often it looks at its clients meanwhile
            }

        restart = _Restart(server, kill, chance, longest=0)
        return load.suffer(times, restart.begin, restart.wait)


def lost_tail(folder: Path, times: int, chance: random.Random) -> Tally:
    """The machine fails: the append-only file has lost its end, some of the load that is under way."""
    with loading("server's newest data lost", folder, chance, appendfsync="everysec") as (load, server):
        size = 0

        def measure() -> None:
            nonlocal size
            restart.wait()
            _wait_until_written(load.direct)
            size = _log(folder).stat().st_size

        def end() -> None:
            _wait_until_written(load.direct)
            server.kill()
            os.truncate(_log(folder), chance.randint(size, _log(folder).stat().st_size))

        def fail() -> bool:
            restart.begin()
            return False  # what was answered, and is still on its way, is lost with it

        restart = _Restart(server, end, chance)
        measure()
        return load.suffer(times, fail, measure, named=True)  # nothing is said behind its last transaction


def _log(folder: Path) -> Path:
    (log,) = folder.rglob("*.incr.aof")
    return log


def _wait_until_written(client: redis.Redis) -> None:
    wait_until(lambda: not client.info("persistence")["aof_buffer_length"], timeout=60)


def demoted(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server is made a replica, and says READONLY until it is a master again."""
    with loading("READONLY (REPLICAOF)", folder, chance) as (load, _):
        nobody = free_port()
        return load.suffer(
            times,
            lambda: load.direct.replicaof("127.0.0.1", nobody),
            lambda: load.direct.replicaof("NO", "ONE"),
        )


def roles_switched(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server and its replica change places, with all their data (FAILOVER), and change back after an error."""
    for name in ("one", "other"):
        (folder / name).mkdir()
    settings = {"repl_diskless_sync_delay": 0}
    with (
        own_server(folder / "other", **settings) as other,
        redis.Redis.from_url(other.url) as replica,
        loading("roles switched (FAILOVER)", folder / "one", chance, **settings) as (load, server),
    ):
        replica.replicaof("127.0.0.1", server.port)

        def switch() -> None:
            _fail_over(load.direct, replica, other.port)

        def switch_back() -> None:
            if load.direct.role()[0] != b"master":
                _fail_over(replica, load.direct, server.port)

        wait_until(lambda: _is_in_step(replica), timeout=60)
        return load.suffer(times, switch, switch_back)


def _fail_over(master: redis.Redis, replica: redis.Redis, port: int) -> None:
    wait_until(lambda: _is_in_step(replica), timeout=60)
    wait_until(lambda: _begin_failover(master, port), timeout=60)
    wait_until(lambda: replica.role()[0] == b"master" and _is_in_step(master), timeout=60)


def _begin_failover(master: redis.Redis, port: int) -> bool:
    with suppress(redis.ResponseError):  # a replica that the master has not heard of yet
        return bool(master.execute_command("FAILOVER", "TO", "127.0.0.1", port))
    return False


def _is_in_step(replica: redis.Redis) -> bool:
    role, *_, state, _ = replica.role()
    return bool(role == b"slave" and state == b"connected")


class _Restart:
    """Ends a server, and starts it again a little later, in a thread."""

    def __init__(
        self, server: OwnServer, end: Callable[[], None], chance: random.Random, longest: float = _LONGEST_ABSENCE
    ) -> None:
        self._server, self._end, self._chance, self._longest = server, end, chance, longest
        self._thread = threading.Thread()

    def begin(self) -> None:
        self._end()
        absence = self._chance.uniform(0, self._longest)
        self._thread = threading.Thread(target=self._start, args=(absence,))
        self._thread.start()

    def _start(self, absence: float) -> None:
        time.sleep(absence)
        self._server.start(wait=False)

    def wait(self) -> None:
        """Wait until the server answers."""
        if self._thread.ident is not None:
            self._thread.join()
        wait_until(self._server.answers, timeout=60)
