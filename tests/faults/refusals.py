"""What a server refuses: for want of memory or of space on its disk, or because the user may not."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from tests.faults.loading import KEY, Loading, loading
from tests.faults.rows import Tally
from tests.helpers import wait_until
from tests.own_server import OwnServer
from tests.proxy import Proxy
from walrus_ts import connect

# What is taken away: a command, many of them, the keys, the next login.
_RIGHTS = ("-xadd", "-exec", "-@write", "-@all", "-watch", "-echo", "-evalsha", "resetkeys", "off")
_DISK_BYTES = 192 << 20


def out_of_memory(folder: Path, times: int, chance: random.Random) -> Tally:
    """The server has reached `maxmemory`, until it is raised."""
    with loading("OOM", folder, chance) as (load, _):
        return load.suffer(
            times,
            lambda: load.direct.config_set("maxmemory", 1),
            lambda: load.direct.config_set("maxmemory", 0),
        )


def forbidden(folder: Path, times: int, chance: random.Random) -> Tally:
    """A right is taken away, or the keys, or the login, and given back after the error."""
    with loading("NOPERM", folder, chance, user="loader:secret") as (load, _):

        def take() -> None:
            load.direct.execute_command("ACL", "SETUSER", "loader", chance.choice(_RIGHTS))

        def give() -> None:
            load.direct.execute_command("ACL", "SETUSER", "loader", "on", "+@all", "~*")

        return load.suffer(times, take, give)


def full_disk(folder: Path, times: int, chance: random.Random) -> Tally:
    """The disk of an embedded server is full, until there is space again. Its disk is a small one of its own."""
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk(folder))
        keeper = stack.enter_context(connect(f"embedded://{disk}/data"))
        path = keeper.connection_pool.connection_kwargs["path"]
        direct = stack.enter_context(redis.Redis(unix_socket_path=path))
        proxy = stack.enter_context(Proxy(path))
        db = stack.enter_context(connect(proxy.url))
        load = Loading("disk full (embedded)", direct, proxy, db.time_series("faults", [KEY])[KEY], chance)
        filler = disk / "filler"

        def mend() -> None:
            filler.unlink(missing_ok=True)
            wait_until(lambda: _takes_writes(direct), timeout=60)

        return load.suffer(times, lambda: _fill(filler), mend)


def full_file(folder: Path, times: int, chance: random.Random) -> Tally:
    """The append-only file may not grow, as on a disk that is full, until it may again."""
    with loading("file that may not grow", folder, chance, appendfsync="everysec") as (load, server):

        def mend() -> None:
            _limit(server, resource.RLIM_INFINITY)
            wait_until(lambda: _takes_writes(load.direct), timeout=60)

        return load.suffer(times, lambda: _limit(server, 1), mend)


def _limit(server: OwnServer, nbytes: int) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (nbytes, resource.RLIM_INFINITY))


def _takes_writes(client: redis.Redis) -> bool:
    with suppress(redis.ResponseError):  # MISCONF: the server writes what it owes to its file about once a second
        client.set("walrus_ts faults", 1)
        return bool(client.delete("walrus_ts faults"))
    return False


def _fill(file: Path) -> None:
    """Take all the space that a disk has left, to the last byte."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while True:
                    os.write(handle, bytes(size))
    finally:
        os.close(handle)


def can_mount() -> bool:
    """Tell whether this user may mount a disk: root, mostly, outside a container."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "walrus_ts", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
