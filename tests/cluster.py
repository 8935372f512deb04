"""A cluster of the tests' own, on loopback TCP: three masters, each with a replica."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.helpers import server_program, wait_until

SLOTS = 16_384
NODE_TIMEOUT_MS = 2_000  # a master that has not answered for so long is replaced


class Node:
    """A server of a cluster.

    Attributes
    ----------
    port : int
    client : redis.Redis
        Speaks to this server alone, and follows no redirection.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _free_port()
        self.client = redis.Redis(port=self.port, decode_responses=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it keeps nothing but its part in the cluster."""
        self._folder.mkdir(exist_ok=True)
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": self._folder, "save": "", "cluster-enabled": "yes"}
        settings |= {"cluster-node-timeout": NODE_TIMEOUT_MS, "repl-diskless-sync-delay": 0}
        settings |= {"cluster-allow-replica-migration": "no"}
        options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen([server_program(), *options], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def hang(self) -> None:
        """Let it stand still: its connections stay, and are not answered (SIGSTOP)."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let one that hangs go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: Any) -> Any:
        """Send a command, and return its reply as the server has it."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.response_callbacks = {}
            return pipe.execute_command(*command).execute()[0]

    def answers(self) -> bool:
        """Tell whether it takes commands."""
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def is_master(self) -> bool:
        """Tell whether it is up, and has slots."""
        return self.answers() and self.ask("ROLE")[0] == "master"

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return str(self.ask("CLUSTER", "MYID"))


class Cluster:
    """Servers that share the slots, and what an operator does with them."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [Node(folder / str(number)) for number in range(6)]

    @property
    def url(self) -> str:
        """What `connect` takes."""
        return f"redis+cluster://127.0.0.1:{next(node for node in self.nodes if node.answers()).port}"

    def start(self) -> None:
        """Start the servers, and make a cluster of them."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.nodes):
            wait_until(node.answers)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        for number, master in enumerate(self.nodes[:3]):
            first, behind = (SLOTS * n // 3 for n in (number, number + 1))
            master.ask("CLUSTER", "ADDSLOTSRANGE", first, behind - 1)
            name, replica = master.name, self.nodes[3 + number]
            wait_until(lambda name=name, replica=replica: name in replica.ask("CLUSTER", "NODES"))  # type: ignore[misc]
            replica.ask("CLUSTER", "REPLICATE", name)
        wait_until(self.is_well, timeout=30)

    def end(self) -> None:
        """End the servers."""
        for node in self.nodes:
            node.kill()
            node.client.close()

    def is_well(self) -> bool:
        """Tell whether all servers are up and agree, and every master has a replica that has all it has."""
        if not all(node.answers() and "cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes):
            return False
        masters = [node for node in self.nodes if node.is_master()]
        if len(masters) != 3 or not all("state=online" in node.ask("INFO", "REPLICATION") for node in masters):
            return False
        views = [
            sorted((first, *(port for _, port, *_ in servers)) for first, _, *servers in self._slots(node))
            for node in self.nodes
        ]
        return all(view == views[0] for view in views) and all(len(nodes) == 3 for nodes in views[0])

    def _slots(self, node: Node) -> Any:
        """Return each range of slots, its master and its replicas, as a server sees them."""
        return node.ask("CLUSTER", "SLOTS")

    def slot(self, key: str) -> int:
        """Return a key's slot."""
        return int(self._up.ask("CLUSTER", "KEYSLOT", key))

    def master(self, key: str) -> Node:
        """Return the server that has a key's slot."""
        slot = self.slot(key)
        port = next(master[1] for first, last, master, *_ in self._slots(self._up) if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    def begin_move(self, key: str, target: Node) -> None:
        """Begin to move a key's slot to another master: the keys that are there stay, for now."""
        source, slot = self.master(key), self.slot(key)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.name)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.name)

    def move_keys(self, key: str, target: Node, count: int = 100) -> None:
        """Move keys of the slot."""
        source, slot = self.master(key), self.slot(key)
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, count):
            source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5_000)

    def end_move(self, key: str, target: Node) -> None:
        """Give the slot to the other master."""
        source, slot, name = self.master(key), self.slot(key), target.name
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    @contextmanager
    def guest(self, folder: Path) -> Iterator[Node]:
        """Have one more server for a while, to which no slot belongs."""
        node = Node(folder)
        node.start()
        try:
            wait_until(node.answers)
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
            wait_until(lambda: all(node.name in other.ask("CLUSTER", "NODES") for other in self.nodes))
            wait_until(lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
            yield node
            name = node.name
        finally:
            node.kill()
            node.client.close()
        for other in self.nodes:
            other.ask("CLUSTER", "FORGET", name)

    def move(self, key: str) -> None:
        """Move a key's slot, and what is in it, to another master."""
        source = self.master(key)
        target = next(node for node in self.nodes if node.is_master() and node is not source)
        self.begin_move(key, target)
        self.move_keys(key, target)
        self.end_move(key, target)

    @property
    def _up(self) -> Node:
        return next(node for node in self.nodes if node.answers())


def _free_port() -> int:
    """Find a port; the cluster speaks on the one 10,000 above it, too."""
    while True:
        with socket.socket() as free, socket.socket() as bus:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
            if port < 55_000:
                bus.bind(("127.0.0.1", port + 10_000))
                return port
