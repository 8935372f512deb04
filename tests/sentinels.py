"""A master, a replica and three sentinels of a test's own, on loopback TCP."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.helpers import server_program, wait_until
from tests.tls import Certificates, need

SERVICE = "ticks-master"
PASSWORD = "servers' s3cret"
SENTINEL_PASSWORD = "sentinels' s3cret"

_SERVER = """\
port {port}
bind 127.0.0.1
dir {folder}
save ""
appendonly no
repl-diskless-sync-delay 0
requirepass "{password}"
masterauth "{password}"
"""
_TLS = """\
port 0
tls-port {port}
tls-replication yes
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {authority}
"""
_SENTINEL = """\
port {port}
bind 127.0.0.1
dir {folder}
requirepass "{own_password}"
sentinel sentinel-pass "{own_password}"
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel auth-pass {service} "{password}"
sentinel down-after-milliseconds {service} 500
sentinel failover-timeout {service} 2000
"""


class Sentinels:
    """Servers that stand in for each other, and those that watch over them."""

    def __init__(self, folder: Path, tls: Certificates | None = None) -> None:
        self._folder = folder
        self._tls = tls
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = _free_ports(5)
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports[2:])
        own_password = quote(SENTINEL_PASSWORD, safe="")
        self.url = f"redis+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{SERVICE}?sentinel_password={own_password}"

    def start(self) -> None:
        """Start all, and wait until a failover is possible."""
        master, replica, *watching = self.ports
        self._start(master, _SERVER)
        self._start(replica, _SERVER + f"replicaof 127.0.0.1 {master}\n")
        wait_until(lambda: self.client(replica).info("replication").get("master_link_status") == "up", timeout=30)
        for port in watching:
            self._start(port, _SENTINEL, "--sentinel")
        wait_until(self._ready, timeout=30)

    def _start(self, port: int, config: str, *options: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        text = config.format(
            port=port,
            folder=folder,
            service=SERVICE,
            master=self.ports[0],
            password=PASSWORD,
            own_password=SENTINEL_PASSWORD,
        )
        (folder / "conf").write_text(text if self._tls is None else text.partition("\n")[2] + self._tls_config(port))
        program = server_program() if self._tls is None else need("redis-server")
        with (folder / "log").open("wb") as log:
            self._processes[port] = subprocess.Popen([program, folder / "conf", *options], stdout=log)
        wait_until(lambda: self._answers(port))

    def _tls_config(self, port: int) -> str:
        assert self._tls
        shown = {"certificate": "server.pem", "key": "server.key", "authority": "ca.pem"}
        return _TLS.format(port=port, **{name: self._tls.path(file) for name, file in shown.items()})

    def client(self, port: int) -> redis.Redis:
        """Connect to one of them."""
        password = PASSWORD if port in self.ports[:2] else SENTINEL_PASSWORD
        tls: dict[str, Any] = {} if self._tls is None else {"ssl": True, **self._tls.shown_by("client")}
        return redis.Redis("127.0.0.1", port, password=password, retry=Retry(NoBackoff(), 0), **tls)

    def named(self) -> int:
        """Return the port of the master that the sentinels agree on; 0 where they do not."""
        found = {self.client(port).sentinel_masters()[SERVICE]["port"] for port in self.ports[2:]}
        return found.pop() if len(found) == 1 else 0

    def leads(self, client: redis.Redis) -> bool:
        """Tell whether what a client says next goes to the master that the sentinels agree on."""
        with suppress(redis.ConnectionError):
            return bool(client.info("server")["tcp_port"] == self.named())
        return False

    def fail_over(self) -> None:
        """Have the sentinels make the replica the master, and wait for it; the former master goes on as one."""
        old = self.named()
        wait_until(self._begin_failover, timeout=30)
        wait_until(lambda: self.named() not in (0, old), timeout=30)

    def _begin_failover(self) -> bool:
        """Ask for a failover; a sentinel refuses while the one before it is not over for it."""
        try:
            return bool(self.client(self.ports[2]).execute_command("SENTINEL FAILOVER", SERVICE))
        except redis.ResponseError:
            return False

    def lose(self) -> None:
        """Kill the master; the sentinels find out by themselves."""
        self.kill(self.named())

    def heal(self) -> None:
        """Make the former master a replica, and wait until it has all data, and the sentinels know it."""
        master = wait_until(self.named, timeout=30)
        replica = next(port for port in self.ports[:2] if port != master)
        if replica in self._processes:
            self.client(replica).replicaof("127.0.0.1", master)
        else:
            self._start(replica, _SERVER + f"replicaof 127.0.0.1 {master}\n")
        wait_until(lambda: self.client(replica).info("replication").get("master_link_status") == "up", timeout=30)
        wait_until(self._ready, timeout=30)

    def wait_for_replica(self) -> None:
        """Wait until the replica has what the master has."""
        with self.client(self.named()) as master:
            master.set("behind all that is there", 1)  # WAIT waits for what its own client has written
            master.delete("behind all that is there")
            assert master.execute_command("WAIT", 1, 10_000) == 1

    def wait_until_copied(self, key: str) -> None:
        """Wait until the replica has something of a key."""
        replica = next(port for port in self.ports[:2] if port != self.named())
        wait_until(lambda: self.client(replica).exists(key), timeout=30)

    def kill(self, port: int) -> None:
        """End one of them at once (SIGKILL)."""
        process = self._processes.pop(port)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all."""
        for port in list(self._processes):
            self.kill(port)

    def _answers(self, port: int) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client(port).ping())
        return False

    def _ready(self) -> bool:
        for port in self.ports[2:]:
            sentinel = self.client(port)
            replicas = sentinel.sentinel_slaves(SERVICE)
            if sentinel.sentinel_masters()[SERVICE]["num-other-sentinels"] < 2 or len(replicas) != 1:
                return False
            if replicas[0]["flags"] != "slave":  # it may be down, too
                return False
        return True


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def sentinels(folder: Path, tls: Certificates | None = None) -> Iterator[Sentinels]:
    """Start them, and end them with the block; all of them speak TLS where there are certificates."""
    made = Sentinels(folder, tls)
    try:
        made.start()
        yield made
    finally:
        made.stop()
