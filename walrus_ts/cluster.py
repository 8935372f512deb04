"""Clusters: connections to whichever server has a key's slot."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)

from walrus_ts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.typing import KeyT

# The server has not carried a command out: it has the slot no more (MovedError is an AskError), or not all of it.
REDIRECTED = (AskError, TryAgainError, ClusterDownError)
_PASSING = (redis.ConnectionError, redis.TimeoutError, SlotNotCoveredError, *REDIRECTED)
REFUSED_LOGIN = (AuthenticationError, AuthorizationError)  # redis-py derives them from ConnectionError
_PATIENCE_SECONDS = 1.0  # who can wait for longer, until a master that failed is replaced, asks again
_PAUSE_SECONDS = 0.02


class ElsewhereError(redis.ConnectionError):
    """Another server has what was asked for, or will have it soon; nothing has been carried out."""


class _Lent(NamedTuple):
    """Where a connection was lent from, and whether each command needs ASKING before it."""

    pool: redis.ConnectionPool
    asking: bool


@dataclass(frozen=True)
class SlotPool:
    """Lends connections to the server that has a slot now, as a pool of redis-py's lends those to one server.

    Before it lends one, it asks that server for the keys (EXISTS). So what is done with the connection is answered by a
    redirection only where the slot moves at that very moment; this costs a round trip.

    While a slot is on its way to another server, its keys are on one of two. A connection then leads to the one that
    has them all; where that is the new one, it takes a command for them only behind ASKING (`asks`).

    Parameters
    ----------
    client : RedisCluster
        Its connections speak RESP2 and do not decode.
    keys : tuple of keys
        Of one slot.
    slot : int
        Two pools of one slot are equal.
    beside : tuple of keys
        Others of the slot that the work may be about: they have to be on the same server.
    """

    client: Any  # a RedisCluster, whose methods have no types
    keys: tuple[KeyT, ...] = field(compare=False)
    slot: int
    beside: tuple[KeyT, ...] = field(default=(), compare=False)
    _lent: dict[Any, _Lent] = field(default_factory=dict, init=False, repr=False, compare=False)
    # Servers that have no slot yet are not among the client's.
    _strangers: dict[tuple[str, int], ClusterNode] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def master(self) -> redis.ConnectionPool:
        """The connections to the server that had the slot when it was last asked for."""
        return self._connections(self.client.nodes_manager.get_node_from_slot(self.slot))

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
        ElsewhereError
            No server takes commands for the slot; it has been asked for a second. Others of the cluster answer.
        redis.ConnectionError
            None does.
        redis.ResponseError
            The server refuses.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._lend()
            except _PASSING as error:
                if isinstance(error, REFUSED_LOGIN):
                    raise
                answered = self._ask_anew()
                if time.monotonic() > end:
                    raise self._unreachable(error, answered=answered) from error
            time.sleep(_PAUSE_SECONDS)

    def asks(self, connection: Any) -> bool:
        """Tell whether a connection that is lent leads to a server that the slot is still on its way to."""
        return self._lent[connection].asking

    def release(self, connection: Any) -> None:
        """Take a connection back; one to a server that is none of the client's is closed, for nobody else would."""
        pool = self._lent.pop(connection).pool
        if pool not in _pools(self.client):
            connection.disconnect()
        pool.release(connection)

    def _ask_anew(self) -> bool:
        """Ask which server has which slots, and tell whether one has answered; hang up on those that have gone."""
        before = _pools(self.client)
        with suppress(RedisClusterException, RedisError):
            self.client.nodes_manager.initialize()
            for pool in before - _pools(self.client):
                pool.disconnect(inuse_connections=False)
            return True
        return False

    def _lend(self) -> Any:
        source = self.master
        try:
            connection, _ = _ask(source, [("EXISTS", *self.keys)])
        except MovedError:
            raise
        except (AskError, TryAgainError):  # not all of them are there
            return self._lend_while_moving(source)
        self._lent[connection] = _Lent(source, asking=False)
        return connection

    def _lend_while_moving(self, source: redis.ConnectionPool) -> Any:
        """Find on which of two servers the keys are: all that exist have to be on one."""
        keys = [*self.keys, *self.beside]
        connection, found = _ask(source, [("EXISTS", key) for key in keys], kept=(AskError, NoPermissionError))
        redirection = next((reply for reply in found if isinstance(reply, AskError)), None)
        if redirection is not None:
            # In this order: a key that is not on the one server has come to the other by now, or is nowhere.
            source.release(connection)
            target = self._target(redirection, connection)
            asking = [part for key in keys for part in (("ASKING",), ("EXISTS", key))]
            connection, there = _ask(target, asking, kept=(NoPermissionError,))
            self._lent[connection] = _Lent(target, asking=True)
            if 1 not in found:
                return connection
            self.release(connection)
            if 1 in there:
                raise TryAgainError("some of its keys are on one server, and some on another")
            connection = source.get_connection()
        self._lent[connection] = _Lent(source, asking=False)
        return connection

    def _target(self, redirection: AskError, connection: Any) -> redis.ConnectionPool:
        """Return connections to the server that a slot is on its way to."""
        place = redirection.host or connection.host, redirection.port
        host, port = self.client.nodes_manager.remap_host_port(*place)
        node = self.client.get_node(host=host, port=port)
        if node is None:
            node = self._strangers.setdefault((host, port), ClusterNode(host, port))  # type: ignore[no-untyped-call]  # redis-py's
        return self._connections(node)

    def _connections(self, node: ClusterNode) -> redis.ConnectionPool:
        pool: redis.ConnectionPool = self.client.get_redis_connection(node).connection_pool
        return pool

    def _unreachable(self, error: Exception, *, answered: bool) -> redis.ConnectionError:
        return (ElsewhereError if answered else redis.ConnectionError)(
            f"no server of the cluster takes commands for the key {self.keys[0]!r}, of slot {self.slot}: "
            f"{str(error).rstrip('.')}. `CLUSTER NODES` tells which server is away, and whether the slot is on its way "
            f"to another; `CLUSTER SETSLOT {self.slot} STABLE` ends that on both of them."
        )


def _ask(
    pool: redis.ConnectionPool, commands: Sequence[tuple[Any, ...]], kept: tuple[type[ResponseError], ...] = ()
) -> tuple[Any, list[Any]]:
    """Borrow a connection, and send commands; errors of EXISTS that are `kept` are among the replies."""
    connection: Any = pool.get_connection()
    replies: list[Any] = []
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except ResponseError as error:
                replies.append(error)
            except AttributeError as error:
                # Before redis-py 7.2, who looks servers up hangs up on the other threads: the reader has gone.
                raise redis.ConnectionError("the connection was closed by another thread") from error
        for (verb, *_), reply in zip(commands, replies, strict=True):
            left = verb == "EXISTS" and isinstance(reply, kept) and not isinstance(reply, MovedError)
            if isinstance(reply, ResponseError) and not left:
                raise reply
    except BaseException:
        connection.disconnect()
        pool.release(connection)
        raise
    return connection, replies


Pool = redis.ConnectionPool | SlotPool


def pool_for(client: Any, key: KeyT, *records: bytes, beside: Iterable[bytes] = ()) -> Pool:
    """Return what lends connections to the server of a key, and of what lies beside it.

    Parameters
    ----------
    client : redis.Redis or RedisCluster
        `Database.data`.
    key, *records : key
        What most work is about.
    beside : iterable of keys
        What some is.

    Raises
    ------
    UsageError
        In a cluster, not all of them are in one slot.
    """
    if isinstance(client, redis.Redis):
        return client.connection_pool
    slot = client.keyslot(key)
    if any(client.keyslot(record) != slot for record in (*records, *beside)):
        raise UsageError(
            f"the stream {key!r} has a '}}' in its name, so what is kept beside it cannot lie in its slot of the "
            "cluster. Give it a name without one, or with a hash tag before it: '{ticks}...'.",
            key=key,
        )
    return SlotPool(client, (key, *records), slot, tuple(beside))


def join_pools(pools: Sequence[Pool]) -> Pool:
    """Return what lends connections for all that equal pools do: keys of one slot may be on two servers."""
    first = pools[0]
    if len(pools) == 1 or not isinstance(first, SlotPool):
        return first
    others = [key for pool in pools if isinstance(pool, SlotPool) for key in (*pool.keys, *pool.beside)]
    return replace(first, beside=tuple(others))


def close_cluster(client: Any) -> None:
    """Close a client, and its connections with it: those of one that a URL has made, redis-py leaves open."""
    RedisCluster.close(client)
    for pool in _pools(client):
        pool.disconnect()


def _pools(client: Any) -> set[redis.ConnectionPool]:
    """Return the connections to the servers that a client knows, those that it was first told of included."""
    manager = client.nodes_manager
    nodes = (*manager.nodes_cache.values(), *manager.startup_nodes.values())
    return {node.redis_connection.connection_pool for node in nodes if node.redis_connection is not None}


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
