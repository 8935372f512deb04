"""The database, which makes streams, groups and time series; `connect`, and what a URL means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import signature
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit
from weakref import WeakSet

import redis
from redis.cluster import REDIS_ALLOWED_KEYS, RedisCluster
from redis.connection import parse_url
from redis.exceptions import RedisClusterException, RedisError

from walrus_ts.cluster import close_cluster, data_cluster
from walrus_ts.connection import data_client, embedded_servers, hide_passwords, no_pushes, server_url
from walrus_ts.embedded import SCHEME as EMBEDDED
from walrus_ts.embedded import EmbeddedServer, open_server
from walrus_ts.embedded import parse_url as parse_embedded
from walrus_ts.errors import UsageError
from walrus_ts.sentinel import SCHEMES as SENTINEL_SCHEMES
from walrus_ts.sentinel import close_sentinels, make_pool
from walrus_ts.sentinel import parse_url as parse_sentinel

if TYPE_CHECKING:
    from datetime import tzinfo

    from redis.typing import KeyT

    from walrus_ts import group, stream, timeseries
    from walrus_ts.live import Live

URL_VARIABLE = "WALRUS_TS_URL"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")  # RFC 3986, 3.1
_CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
_SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES, *_CLUSTER_SCHEMES)


class Factories:
    """What makes streams, consumer groups and time series of a database."""

    @property
    def _lives(self) -> WeakSet[Live]:
        """What follows streams of this database."""
        lives: WeakSet[Live] = self.__dict__.setdefault("_followed_by", WeakSet())
        return lives

    def _end_lives(self) -> None:
        """End what follows streams: it would open connections anew, and for ever."""
        for live in list(self._lives):
            live._leave("ended: its database was closed")

    def Stream(self, key: KeyT) -> stream.Stream:
        """Make a `walrus_ts.Stream`; nothing is sent to the server.

        Parameters
        ----------
        key : str, bytes or memoryview
            The stream's name. The stream need not exist.
        """
        from walrus_ts.stream import Stream  # it stands on this module

        return Stream(cast("AnyDatabase", self), key)

    def consumer_group(self, name: str | bytes, keys: Any, consumer: str | bytes | None = None) -> group.ConsumerGroup:
        """Make a `walrus_ts.ConsumerGroup`; its `create` creates it on the server.

        Parameters
        ----------
        name : str or bytes
            The group's name.
        keys : key, iterable of keys, or mapping of keys to ids
            The streams. An id is that after which the group starts when it is created.
        consumer : str or bytes, optional
            The consumer that reads and claims; ``NAME.c1`` without it.
        """
        from walrus_ts.group import ConsumerGroup  # it stands on this module

        return ConsumerGroup(cast("AnyDatabase", self), name, keys, consumer)

    def time_series(
        self,
        name: str | bytes,
        keys: Any,
        consumer: str | bytes | None = None,
        tz: str | tzinfo | None = None,
    ) -> timeseries.TimeSeries:
        """Make a `walrus_ts.TimeSeries`; its `create` creates the group on the server.

        Parameters
        ----------
        name : str or bytes
            The group's name.
        keys : key, iterable of keys, or mapping of keys to ids or times
            The streams. An id or a time is that after which the group starts when it is created.
        consumer : str or bytes, optional
            The consumer that reads and claims; ``NAME.c1`` without it.
        tz : str or tzinfo, optional
            The zone of naive times, and of the times that come back; without one, those are naive
            and UTC.
        """
        from walrus_ts.timeseries import TimeSeries  # it stands on this module

        return TimeSeries(cast("AnyDatabase", self), name, keys, consumer, tz)


class Database(Factories, redis.Redis):
    """A redis-py client, with factories for streams, consumer groups and time series.

    It is made as `redis.Redis` is, and does all that it does. `connect` makes one from a URL.

    Attributes
    ----------
    data : redis.Redis
        The client through which streams, groups and time series speak to the server. It has
        connections of its own, with this database's settings but RESP2 and bytes, so that ids and
        data are the same whatever `protocol` and `decode_responses` the database has. It does no
        client-side caching, and takes str for UTF-8.
    url : str
        What another process passes to `connect` to reach the same server, passwords included.

    Examples
    --------
    >>> with connect("embedded://") as db:
    ...     db.Stream("stream-a").add({"message": "hello"}, id="5-1")
    b'5-1'
    """

    _embedded: EmbeddedServer | None = None  # ended by this database's close

    __signature__ = signature(redis.Redis)  # what help() and notebooks show

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hide_passwords(self.connection_pool)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where}>"

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import database_html

        return database_html(self)

    @property
    def _where(self) -> str:
        """The server, without passwords."""
        try:
            return server_url(self.connection_pool, secrets=False)
        except UsageError:
            return repr(self.connection_pool)

    @property
    def data(self) -> redis.Redis:
        """The client for streams: RESP2 and bytes, with connections of its own."""
        client: redis.Redis | None = self.__dict__.get("_data")
        # Two threads may both make one; the first stays, the other never connects.
        return client or self.__dict__.setdefault("_data", data_client(self.connection_pool))

    @property
    def url(self) -> str:
        """What another process passes to `connect` to reach the same server.

        It holds the user, the password and those TLS options that a URL can hold; a credential
        provider is not among them.

        Raises
        ------
        UsageError
            No URL names the server: a connection class of the caller's own finds it, or it is any of Sentinel's
            replicas.
        """
        return server_url(self.connection_pool, secrets=True)

    def close(self) -> None:
        """Close all connections, and let an embedded server that `connect` opened go."""
        self._end_lives()
        self._disconnect()
        close_sentinels(self.connection_pool)
        if self._embedded is not None:
            self._embedded.close()

    def _disconnect(self) -> None:
        super().close()
        if "_data" in self.__dict__:
            self.__dict__["_data"].close()

    def __del__(self) -> None:
        # An embedded server is not closed here, but goes with the last who refers to it: a
        # pipeline of this database still has the pool, and the pool has the server.
        with suppress(Exception):  # as redis-py's own: the interpreter may be shutting down
            self._disconnect()


class ClusterDatabase(Factories, RedisCluster):
    """A redis-py client of a cluster, with factories for streams, consumer groups and time series.

    It is made as `redis.cluster.RedisCluster` is, by keywords alone, and does all that it does. Which servers there are
    it asks at once. `connect` makes one from a URL.

    Attributes
    ----------
    data : redis.Redis
        As in `Database`; it is a `redis.cluster.RedisCluster`, and all that it reads comes from the masters.
    url : str
        What another process passes to `connect` to reach the same cluster, passwords included.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._settings = settings
        self._hide_passwords(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url(secrets=False)}>"

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import cluster_html

        return cluster_html(self)

    @property
    def data(self) -> redis.Redis:
        """The client for streams: RESP2 and bytes, with connections of its own."""
        if "_data" not in self.__dict__:
            made = data_cluster(self, self._settings)
            self._hide_passwords(made)
            self.__dict__.setdefault("_data", made)  # two threads may both make one; the first stays
        return cast("redis.Redis", self.__dict__["_data"])  # it has all the commands of streams

    @property
    def url(self) -> str:
        """What another process passes to `connect` to reach the same cluster, by one of its servers."""
        return self._url(secrets=True)

    def close(self) -> None:
        """Close all connections."""
        self._end_lives()
        close_cluster(self)
        if "_data" in self.__dict__:
            close_cluster(self.__dict__["_data"])

    def _url(self, *, secrets: bool) -> str:
        nodes = self.get_nodes()  # type: ignore[no-untyped-call]  # redis-py's
        pool = self.get_redis_connection(nodes[0]).connection_pool
        return re.sub(r"://(.*)/0", r"+cluster://\1", server_url(pool, secrets=secrets), count=1)

    @staticmethod
    def _hide_passwords(cluster: Any) -> None:
        hide_passwords(cluster.nodes_manager)  # the settings of servers to come
        for node in cluster.get_nodes():
            hide_passwords(cluster.get_redis_connection(node).connection_pool)


AnyDatabase = Database | ClusterDatabase


def connect(url: str | None = None, **redis_options: Any) -> Database | ClusterDatabase:
    """Connect to a server, or start one.

    Parameters
    ----------
    url : str, optional
        ``redis://[[user]:password@]host[:port][/db]``, ``rediss://…`` (TLS) or
        ``unix://[[user]:password@]/path[?db=n]``, as redis-py takes them: nothing is sent before
        the first command. ``redis+cluster://[[user]:password@]host[:port]``: a cluster, by any of
        its servers; which others there are, that one is asked at once; ``rediss+cluster://``: the
        same over TLS. ``embedded://``: a server of this process's own, a new one with each
        call, its data gone with it; ``embedded:///some/folder``: the same with its data kept in the
        folder, for any number of processes; both with ``?db=n``, too.
        ``redis+sentinel://[[user]:password@]host:port,host:port/service[?db=n]``: the master that
        Sentinel names, whichever it is; ``rediss+sentinel://``: servers and sentinels over TLS.
        Without a URL: the environment variable ``WALRUS_TS_URL``, else ``embedded://``.
    **redis_options
        What `redis.Redis.from_url` takes: `socket_timeout`, `decode_responses`, ... With Sentinel,
        what `redis.sentinel.Sentinel` takes, too: `sentinel_kwargs`, `min_other_sentinels`, ...
        For a cluster, what `redis.cluster.RedisCluster` takes.

    Returns
    -------
    Database or ClusterDatabase
        At the end of a ``with`` block, or by its `close`, an embedded server is let go.

    Raises
    ------
    UsageError
        The URL cannot be used, or an option is none of redis-py's; the message never shows a
        password.
    ServerError
        The embedded server did not start.
    redis.RedisError
        No server of the cluster answers, or it refuses.

    Examples
    --------
    >>> with connect("embedded://") as db:
    ...     db.ping()
    True
    """
    if url is not None and not isinstance(url, str):
        raise UsageError(
            f"a URL is a str, as in 'redis://host:6379/0'; found {type(url).__name__}. That of a folder is "
            "f'embedded://{Path(folder).absolute()}'."
        )
    given = "the URL"
    if url is None and (url := os.environ.get(URL_VARIABLE)):
        given = f"the URL in the environment variable {URL_VARIABLE}"
    url = url or EMBEDDED
    match = _SCHEME.match(url)
    scheme = match[1] if match else None
    if url.startswith(EMBEDDED):
        return _connect_embedded(url, redis_options)
    if scheme not in _SCHEMES:
        found = f"'{scheme}://'" if scheme else "no such beginning"
        known = ", ".join(f"'{known}://'" for known in (*_SCHEMES, "embedded"))
        raise UsageError(f"{given} begins with one of {known}; found {found}", scheme=scheme)
    problem = _misspelled(url)
    if problem is not None:
        raise UsageError(f"{given} cannot be read: {problem}", scheme=scheme)
    if scheme in _CLUSTER_SCHEMES:
        return _connect_cluster(url, redis_options)
    return (_connect_sentinel if scheme in SENTINEL_SCHEMES else _from_url)(url, redis_options)


def _misspelled(url: str) -> str | None:
    """Say what is wrong with a URL, without showing any of it: it may hold a password.

    What urllib says of "redis://:pass/word@host" shows half of the password, so it is not the cause
    of the error that the caller gets either.
    """
    form = "redis://user:password@host:port/db or unix://user:password@/path?db=0"
    try:
        parts = urlsplit(url)
        if parts.scheme in SENTINEL_SCHEMES:
            form = "redis+sentinel://user:password@host:port,host:port/service?db=0"
            parse_sentinel(url)
        elif parts.scheme in _CLUSTER_SCHEMES:
            form = "redis+cluster://user:password@host:port"
            _parse_cluster(url)
        else:
            parse_url(url)  # type: ignore[no-untyped-call]  # redis-py's
    except ValueError as error:
        if str(error).startswith("Invalid value for"):  # redis-py's, of an option behind the "?"
            return str(error)
        return (
            f"expected {form}, with characters like / and @ in user and password as %2F and %40 "
            "(`urllib.parse.quote(password, safe='')`)"
        )
    number = unquote(parts.path).replace("/", "")
    has_number = parts.scheme not in ("unix", *SENTINEL_SCHEMES)
    if has_number and number and not number.isdecimal():  # which redis-py takes for 0
        return "behind host and port stands the number of a database, as in redis://host:port/0; found no number"
    return None


def _from_url(url: str, redis_options: dict[str, Any]) -> Database:
    # redis-py 7.0 asks for them on unix sockets, too, where it then fails: there is no host.
    pushes = no_pushes() if url.startswith("unix://") else {}
    database = cast("Database", Database.from_url(url, **pushes | redis_options))
    with _known_options():
        _make_connection(database.connection_pool)
    return database


def _connect_sentinel(url: str, redis_options: dict[str, Any]) -> Database:
    with _known_options():
        pool = make_pool(parse_sentinel(url), redis_options)
        _make_connection(pool)
    return cast("Database", Database.from_pool(pool))


def _make_connection(pool: redis.ConnectionPool) -> None:
    """Make a connection as the first command would; nothing is sent."""
    pool.connection_class(**pool.connection_kwargs)


@contextmanager
def _known_options() -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        raise _unknown_option(error, "redis.Redis.from_url") from None


def _unknown_option(found: object, known_by: str) -> UsageError:
    return UsageError(
        f"an option, in the URL or as a keyword, is not known to redis-py: {found}. Those of `{known_by}` are."
    )


def _server_scheme(url: str) -> str:
    """Write a cluster's URL as one of a server of it."""
    return url.replace("+cluster", "", 1)


def _parse_cluster(url: str) -> dict[str, Any]:
    options: dict[str, Any] = parse_url(_server_scheme(url))  # type: ignore[no-untyped-call]  # redis-py's
    return options


def _connect_cluster(url: str, redis_options: dict[str, Any]) -> ClusterDatabase:
    options = _parse_cluster(url) | redis_options
    if options.pop("db", 0) != 0:
        raise UsageError("a cluster has the database 0 alone: redis+cluster://host:port; found the number of another")
    known = {*signature(RedisCluster.__init__).parameters, *REDIS_ALLOWED_KEYS}  # redis-py drops all others unseen
    unknown = ", ".join(repr(name) for name in options if name not in known)
    if unknown:
        raise _unknown_option(unknown, "redis.cluster.RedisCluster")
    redis_options = {name: value for name, value in redis_options.items() if name != "db"}
    try:
        return cast("ClusterDatabase", ClusterDatabase.from_url(_server_scheme(url), **redis_options))
    except RedisClusterException as error:
        raise _not_connected(error) from None


def _not_connected(error: Exception) -> Exception:
    """Say why there is no client of a cluster: redis-py's own error hides it, and is no `RedisError`."""
    reason = error.__cause__ or error
    if isinstance(reason, TypeError):
        return _unknown_option(reason, "redis.cluster.RedisCluster")
    if "not enabled" in str(reason):
        return UsageError("the server is no part of a cluster; a single one is 'redis://host:port'")
    return reason if isinstance(reason, RedisError) else redis.ConnectionError(str(reason))


def _connect_embedded(url: str, redis_options: dict[str, Any]) -> Database:
    number = {"db": db} if (db := parse_embedded(url).db) else {}
    server = open_server(url)
    try:
        database = _from_url(f"unix://{quote(server.socket_path)}", redis_options | number)
    except BaseException:
        server.close()
        raise
    database._embedded = server
    embedded_servers[database.connection_pool] = server
    return database
