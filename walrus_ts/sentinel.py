"""``redis+sentinel://``: what such a URL names, and the pool of connections to the master that Sentinel names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.backoff import NoBackoff
from redis.connection import URL_QUERY_ARGUMENT_PARSERS, to_bool
from redis.exceptions import ConnectionError  # redis-py's own, which its users catch
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

if TYPE_CHECKING:
    from redis import ConnectionPool

SCHEME = "redis+sentinel"
SCHEMES = (SCHEME, "rediss+sentinel")
OWN = "sentinel_"  # begins the options that are for the sentinels, in place of the servers

_PORT = 26379  # redis.io, "High availability with Redis Sentinel"
_TIMEOUT_S = 2.0  # for a sentinel's answer: there are others to ask
_TRUST_S = 1.0  # for which a connection is taken to lead to the master, after Sentinel has said so
_PARSERS: dict[str, Callable[[str], Any]] = {
    **URL_QUERY_ARGUMENT_PARSERS,  # type: ignore[dict-item]  # redis-py's
    "ssl": to_bool,
    "min_other_sentinels": int,
}


class SentinelURL(NamedTuple):
    """What a ``redis+sentinel://`` URL names.

    Attributes
    ----------
    hosts : list of (host, port)
        The sentinels.
    service : str
        The master's name.
    options, own_options : dict
        For connections to the servers, and for those to the sentinels.
    tls : bool
        Both are over TLS, with the options of the servers where the sentinels have none of their own.
    """

    hosts: list[tuple[str, int]]
    service: str
    options: dict[str, Any]
    own_options: dict[str, Any]
    tls: bool


def parse_url(url: str) -> SentinelURL:
    """Read a ``redis+sentinel://`` URL.

    Parameters
    ----------
    url : str
        ``redis+sentinel://user:password@host:port,host:port/service``, with options behind a ``?`` as redis-py has
        them; those that begin with ``sentinel_`` (``sentinel_password``, ...) are for the sentinels. Or
        ``rediss+sentinel://...``.

    Raises
    ------
    ValueError
        It is none. The message shows no more of it than an option's name if it begins with "Invalid value for".
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    authority, _, service = place.partition("/")
    login, _, hosts = authority.rpartition("@")
    service = unquote(service.removesuffix("/"))
    if not service or "/" in service:
        raise ValueError("there is no name of a service")
    user, _, password = map(unquote, login.partition(":"))
    given = parse_qsl(query)
    options = _options({name: value for name, value in given if not name.startswith(OWN)})
    own = _options({name.removeprefix(OWN): value for name, value in given if name.startswith(OWN)})
    options |= {name: value for name, value in (("username", user), ("password", password)) if value}
    return SentinelURL([_host(host) for host in hosts.split(",")], service, options, own, scheme != SCHEME)


def _host(written: str) -> tuple[str, int]:
    parts = urlsplit(f"//{written}")
    if not parts.hostname or parts.netloc != written or parts.username is not None:
        raise ValueError("there is a host that is none")
    return unquote(parts.hostname), parts.port or _PORT


def _options(given: dict[str, str]) -> dict[str, Any]:
    """Read options as redis-py reads those of its own URLs."""
    options = {}
    for name, value in given.items():
        try:
            options[name] = _PARSERS.get(name, str)(value)
        except ValueError:
            raise ValueError(f"Invalid value for {name!r} in the URL") from None
    return options


def make_pool(url: SentinelURL, redis_options: dict[str, Any]) -> SentinelConnectionPool:
    """Make the pool; nothing is sent.

    Parameters
    ----------
    url : SentinelURL
    redis_options : dict
        What `redis.sentinel.Sentinel` takes, and connections to servers; they go before the URL's.

    Raises
    ------
    TypeError
        An option is not known to redis-py.
    """
    options = ({"ssl": True} if url.tls else {}) | url.options | redis_options
    shared = ("socket_", "ssl") if url.tls else ("socket_",)  # redis-py itself shares the former
    own = {name: value for name, value in options.items() if name.startswith(shared)}
    own |= {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S, "retry": Retry(NoBackoff(), 0)}
    own |= url.own_options | (options.pop("sentinel_kwargs", None) or {})
    manager = Sentinel(url.hosts, sentinel_kwargs=own, **options)  # type: ignore[no-untyped-call]  # redis-py's
    return SentinelConnectionPool(url.service, manager, **manager.connection_kwargs)  # type: ignore[no-untyped-call]


class MasterPool(SentinelConnectionPool):
    """A pool of Sentinel's that notices a failover also where the former master goes on as if nothing had happened.

    Sentinel turns that one into a replica ten seconds later only, and what is written to it until then is lost.
    """

    _asked = float("-inf")

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Lend a connection to the master."""
        connection: Any = super().get_connection(*args, **kwargs)
        if not self._leads(connection):
            try:
                connection.disconnect()
                connection.connect()
            except BaseException:
                self.release(connection)
                raise
        return connection

    def check(self, connection: Any, *, now: bool = False) -> None:
        """Ask Sentinel whether a connection that is lent still leads to the master: once a second at most, or now.

        Raises
        ------
        redis.exceptions.ConnectionError
            It does not, and is closed; the next one will.
        """
        if now:
            self._asked = float("-inf")
        if not self._leads(connection):
            connection.disconnect()
            raise ConnectionError(f"Sentinel names another master of {self.service_name!r} now")

    def _leads(self, connection: Any) -> bool:
        if not self.is_master or time.monotonic() < self._asked + _TRUST_S:
            return True
        try:
            named: tuple[str, int] = self.get_master_address()  # type: ignore[no-untyped-call]  # redis-py's
        except MasterNotFoundError:  # no sentinel can be reached; the master may be there all the same
            named = connection.host, connection.port
        self._asked = time.monotonic()
        return named == (connection.host, connection.port)


def close_sentinels(pool: ConnectionPool) -> None:
    """Close the connections to the sentinels of a pool, where it has some."""
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            sentinel.close()
