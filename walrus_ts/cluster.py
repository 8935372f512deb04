"""Clusters: connections to whichever server has a key's slot."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)

from walrus_ts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.typing import KeyT

# The server has not carried a command out: it has the slot no more (MovedError is an AskError), or not all of it.
REDIRECTED = (AskError, TryAgainError, ClusterDownError)
_PASSING = (redis.ConnectionError, redis.TimeoutError, SlotNotCoveredError, *REDIRECTED)
_REFUSED_LOGIN = (AuthenticationError, AuthorizationError)
_PATIENCE_SECONDS = 1.0  # who can wait for longer, until a master that failed is replaced, asks again
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class SlotPool:
    """Lends connections to the server that has a slot now, as a pool of redis-py's lends those to one server.

    Before it lends one, it asks that server for the keys (EXISTS). So what is done with the connection is answered by a
    redirection only where the slot moves at that very moment; this costs a round trip.

    Parameters
    ----------
    client : RedisCluster
        Its connections speak RESP2 and do not decode.
    keys : tuple of keys
        Of one slot.
    slot : int
        Two pools of one slot are equal.
    """

    client: Any  # a RedisCluster, whose methods have no types
    keys: tuple[KeyT, ...] = field(compare=False)
    slot: int
    _lenders: dict[Any, redis.ConnectionPool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def master(self) -> redis.ConnectionPool:
        """The connections to the server that had the slot when it was last asked for."""
        node = self.client.nodes_manager.get_node_from_slot(self.slot)
        pool: redis.ConnectionPool = self.client.get_redis_connection(node).connection_pool
        return pool

    def holds(self, key: bytes) -> bool:
        """Tell whether a key is in the slot."""
        return bool(key_slot(key) == self.slot)

    def get_encoder(self) -> Any:
        """Return what writes commands, as the pools of redis-py do."""
        return self.client.get_encoder()

    def get_connection(self) -> Any:
        """Lend a connection.

        Raises
        ------
        redis.ConnectionError
            No server takes commands for the slot; it has been asked for a second.
        redis.ResponseError
            The server refuses.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._lend()
            except _PASSING as error:
                if isinstance(error, _REFUSED_LOGIN):
                    raise
                self._ask_anew()
                if time.monotonic() > end:
                    raise self._unreachable(error) from error
            time.sleep(_PAUSE_SECONDS)

    def release(self, connection: Any) -> None:
        """Take a connection back."""
        self._lenders.pop(connection).release(connection)

    def _ask_anew(self) -> None:
        """Ask which server has which slots; where none answers, the next try to reach one says so."""
        with suppress(RedisClusterException, RedisError):
            self.client.nodes_manager.initialize()

    def _lend(self) -> Any:
        pool = self.master
        connection: Any = pool.get_connection()
        try:
            connection.send_command("EXISTS", *self.keys)
            connection.read_response()
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise
        self._lenders[connection] = pool
        return connection

    def _unreachable(self, error: Exception) -> redis.ConnectionError:
        return redis.ConnectionError(
            f"no server of the cluster takes commands for the key {self.keys[0]!r}, of slot {self.slot}: "
            f"{str(error).rstrip('.')}. `CLUSTER NODES` tells which server is away, and whether the slot is on its way "
            f"to another; `CLUSTER SETSLOT {self.slot} STABLE` ends that on both of them."
        )


Pool = redis.ConnectionPool | SlotPool


def pool_for(client: Any, key: KeyT, *beside: bytes) -> Pool:
    """Return what lends connections to the server of a key, and of what lies beside it.

    Parameters
    ----------
    client : redis.Redis or RedisCluster
        `Database.data`.
    key, *beside : key

    Raises
    ------
    UsageError
        In a cluster, not all of them are in one slot.
    """
    if isinstance(client, redis.Redis):
        return client.connection_pool
    slot = client.keyslot(key)
    if any(client.keyslot(record) != slot for record in beside):
        raise UsageError(
            f"the stream {key!r} has a '}}' in its name, so what is kept beside it cannot lie in its slot of the "
            "cluster. Give it a name without one, or with a hash tag before it: '{ticks}...'.",
            key=key,
        )
    return SlotPool(client, (key, *beside), slot)


def data_cluster(cluster: Any, given: Mapping[str, Any]) -> RedisCluster:
    """Make the client for streams of a cluster: RESP2 and bytes, and all of it from the masters.

    Parameters
    ----------
    cluster : RedisCluster
    given : mapping
        The keywords that it was made with.
    """
    own = ("cache", "load_balancing", "maint_", "protocol", "read_from_replicas")
    settings = {name: value for name, value in given.items() if not name.startswith(own)}
    if "url" in settings:
        url, _, query = settings["url"].partition("?")
        options = parse_url(f"redis://?{query}")  # type: ignore[no-untyped-call]  # redis-py's
        settings |= {name: value for name, value in options.items() if not name.startswith((*own, "db"))}
        settings["url"] = url
    settings |= {"protocol": 2, "decode_responses": False, "encoding": "utf-8", "encoding_errors": "strict"}
    if "legacy_responses" in settings:  # redis-py 8: whether replies have the shapes of before
        settings["legacy_responses"] = True
    # Where the cluster was found may have gone since.
    nodes = [(node.host, node.port) for node in cluster.get_nodes()]
    settings["startup_nodes"] = [ClusterNode(*place) for place in nodes]  # type: ignore[no-untyped-call]  # redis-py's
    return RedisCluster(**settings)
