"""Below the database: a pool like another, one command on one connection, a server's URL."""

from __future__ import annotations

import operator
import random
import selectors
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode
from weakref import WeakKeyDictionary

import redis
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from walrus_ts import sentinel
from walrus_ts.cluster import REDIRECTED, Pool, SlotPool, pool_for
from walrus_ts.errors import UsageError, WalrusTSError

try:  # redis-py 7 and later
    from redis.maint_notifications import MaintNotificationsConfig
except ImportError:  # redis-py 6
    MaintNotificationsConfig = None  # type: ignore[assignment, misc]  # it is a class elsewhere

if TYPE_CHECKING:
    from redis.typing import EncodableT, KeyT

    from walrus_ts.embedded import EmbeddedServer

Entry = tuple[bytes, dict[bytes, bytes]]

T = TypeVar("T")

# poll(2) keeps hold of a socket that another thread closes, and wakes up; epoll(7) forgets it, and waits on.
_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)  # Windows has no poll

_LATE_SECONDS = 5.0  # that the reply to a blocking command may be late, at the least
LONGEST_PAUSE = 0.05  # seconds between two looks at streams of several slots

# The embedded servers of pools. A pool keeps its server: a pipeline has a pool, and no database.
embedded_servers: WeakKeyDictionary[redis.ConnectionPool, EmbeddedServer] = WeakKeyDictionary()


def send_once(pool: Pool, *command: EncodableT, block: int | None = None) -> Any:
    """Send a command once and return its reply as the protocol has it, without callbacks.

    For what must not be sent twice: redis-py repeats a command whose reply was lost, and a repeated
    XREADGROUP or XCLAIM leaves the entries of the lost reply pending, unseen. And for what blocks:
    redis-py waits `socket_timeout` for a reply and no longer.

    Parameters
    ----------
    pool : Pool
        Of `Database.data`, for the key (`pool_for`).
    *command
        The command's name and arguments.
    block : int, optional
        Milliseconds for which the server may keep the command waiting; 0 is for ever.

    Raises
    ------
    redis.ConnectionError, redis.TimeoutError
        The reply did not come; whether the command was carried out is not known.
    redis.ResponseError
        The reply is an error.
    """
    try:
        return _send(pool, *command, block=block)
    except redis.ResponseError as error:
        if not isinstance(error, REDIRECTED) and not (isinstance(pool, SlotPool) and _is_unblocked(error)):
            raise
        return _send(pool, *command, block=block)  # nothing was carried out; the pool finds where the slot is now


def _is_unblocked(error: redis.ResponseError) -> bool:
    """Tell whether the key has gone that a command was waiting for, as it does when its slot moves (Redis 7.0)."""
    return str(error).startswith("UNBLOCKED")


def _send(pool: Pool, *command: EncodableT, block: int | None) -> Any:
    connection: Any = pool.get_connection()
    try:
        if isinstance(pool, SlotPool) and pool.asks(connection):
            connection.send_command("ASKING")
            connection.read_response()
        connection.send_command(*command)
        if block is None:
            return connection.read_response()
        timeout = _reply_timeout(connection.socket_timeout, block)
        connection._sock.settimeout(timeout)
        if timeout is None:
            wait_readable(connection)
        reply = connection.read_response()
        connection._sock.settimeout(connection.socket_timeout)
        return reply
    except AttributeError as error:
        if connection._sock is not None:
            raise
        raise redis.ConnectionError("the connection was closed while a reply was on its way") from error
    except BaseException as error:  # Ctrl-C, too: a reply that comes later is no other command's
        if block is not None or not isinstance(error, redis.ResponseError):
            connection.disconnect()
        raise
    finally:
        pool.release(connection)


def wait_readable(connection: Any) -> None:
    """Wait for ever until a connection of redis-py's has something to read; Ctrl-C ends it, and so does closing it.

    Ctrl-C does not always end a bare `recv`: a library may have asked the kernel to restart what a signal has
    interrupted (`signal.siginterrupt`), as polars does when it is first used. No wait of a selector is ever restarted
    (signal(7)).

    Raises
    ------
    redis.ConnectionError
        The connection is closed.
    """
    sock = connection._sock
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return  # it came in one TLS record with what was read before: the kernel has it no more
    try:
        with _Selector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.select()
    except (OSError, ValueError) as error:  # ValueError: there is no socket any more
        raise redis.ConnectionError(f"the connection was closed while a reply was on its way: {error}") from error


def _reply_timeout(socket_timeout: float | None, block: int) -> float | None:
    if block == 0 or socket_timeout is None:
        return None
    return min(block / 1_000 + max(socket_timeout, _LATE_SECONDS), TIMEOUT_MAX)  # a socket takes no more: 292 years


def read_streams(
    client: redis.Redis,
    command: Sequence[EncodableT],
    positions: Mapping[KeyT, Any],
    count: int | None,
    block: int | None,
) -> list[tuple[bytes, list[Entry]]]:
    """Read streams from positions on, once (XREAD, XREADGROUP).

    Parameters
    ----------
    client : redis.Redis
        `Database.data`.
    command : sequence
        ``["XREAD"]``, or ``["XREADGROUP", "GROUP", group, consumer]``.
    positions : mapping
        Stream keys and ids.
    count, block : int, optional
        As in `Stream.read`.

    Returns
    -------
    list of (key, entries)
        Of the streams that have entries, in the order of `positions`. An entry of a consumer's
        backlog that was deleted has no fields.
    """
    options: list[EncodableT] = []
    if (count := check_count(count)) is not None:
        options += ["COUNT", count]
    block = check_count(block, "block", minimum=0)
    by_pool: dict[Pool, list[KeyT]] = {}
    for key in positions:
        by_pool.setdefault(pool_for(client, key), []).append(key)

    def read(pool: Pool, block: int | None) -> list[Any]:
        waiting: list[EncodableT] = [] if block is None else ["BLOCK", block]
        where = ["STREAMS", *by_pool[pool], *(positions[key] for key in by_pool[pool])]
        return send_once(pool, *command, *options, *waiting, *where, block=block) or []

    replies = read_each(list(by_pool), read, block)
    return [(key, parse_entries(entries)) for reply in replies for key, entries in reply]


def read_each(pools: Sequence[Pool], read: Callable[[Pool, int | None], T], block: int | None) -> list[T]:
    """Read what there is; where that is nothing, wait for it.

    No command waits for streams in several slots of a cluster: these are read again and again. Where one of them cannot
    be read when others have given something, that is returned; for the error to come up, too, no slot is always first.

    Parameters
    ----------
    pools : sequence of Pool
    read : callable
        Reads from one of them, and waits for `block` milliseconds; returns something empty where there is nothing.
    block : int, optional
        As in `Stream.read`.

    Returns
    -------
    list
        What was read, in the order of the pools.
    """
    if len(pools) == 1:
        return [read(pools[0], block)]
    end = None if block == 0 else time.monotonic() + (block or 0) / 1_000
    pause = 0.001
    while True:
        found: dict[Pool, T] = {}
        for pool in random.sample(pools, len(pools)):
            try:
                found[pool] = read(pool, None)
            except (redis.RedisError, WalrusTSError):
                if not any(found.values()):
                    raise
        left = LONGEST_PAUSE if end is None else end - time.monotonic()
        if any(found.values()) or left <= 0:
            return [found[pool] for pool in pools if pool in found]
        time.sleep(min(pause, left))
        pause = min(LONGEST_PAUSE, 2 * pause)


def parse_entries(reply: Sequence[Any]) -> list[Entry]:
    """Give entries, as a reply has them, as ids and fields.

    Redis 6.2 claims entries that are deleted, and sends a null in their places: they are left out.
    """
    return [(id, dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}) for id, flat in filter(None, reply)]


def check_count(value: int | None, name: str = "count", minimum: int = 1) -> int | None:
    """Return a number that the server takes as one, or None (`require_count`)."""
    return None if value is None else require_count(value, name, minimum, ", or None")


def require_count(value: int | None, name: str, minimum: int = 1, otherwise: str = "") -> int:
    """Return a number that the server takes as one.

    Parameters
    ----------
    value : int
    name : str
        What it is called in an error.
    minimum : int
    otherwise : str
        What else the caller takes, as the error says it.

    Raises
    ------
    UsageError
        It is no whole number, less than `minimum`, or of more than 64 bits, one for the sign.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # None has none, as it should
    except TypeError:
        number = minimum - 1
    if isinstance(value, bool) or not minimum <= number < 2**63:
        raise UsageError(
            f"{name} is a whole number, {minimum} or greater (and below 2**63){otherwise}; found {value!r}",
            **{name.replace(" ", "_"): value},
        )
    return number


def data_client(pool: redis.ConnectionPool) -> redis.Redis:
    """Make the client for streams, with a copy of a pool."""
    copy = _copy_pool(pool)
    # A streaming credential provider sends new tokens to the pools that it was told of.
    provider = pool.connection_kwargs.get("credential_provider")
    client = redis.Redis(connection_pool=copy, credential_provider=provider)
    client.auto_close_connection_pool = True
    return client


def _copy_pool(pool: redis.ConnectionPool) -> redis.ConnectionPool:
    """Make a pool with another's settings, but RESP2, bytes, and no pushed messages.

    The maintenance notifications of redis-py 7 and later are pushed messages, and their handlers
    refer to the pool that is copied; so do Sentinel's `connection_pool` and `himport_registry`.
    """
    own = ("cache", "connection_pool", "himport_registry", "maint", "orig_", "oss_cluster")
    given = pool.connection_kwargs
    settings = {name: given[name] for name in given if not name.startswith(own)}
    settings |= {
        "connection_class": pool.connection_class,
        "max_connections": pool.max_connections,
        "protocol": 2,
        "decode_responses": False,
        "encoding": "utf-8",
        "encoding_errors": "strict",
    }
    if "legacy_responses" in settings:  # redis-py 8: whether replies have the shapes of before
        settings["legacy_responses"] = True
    settings |= no_pushes()
    if isinstance(pool, SentinelConnectionPool):
        settings |= {"is_master": pool.is_master, "check_connection": pool.check_connection}
        copy: redis.ConnectionPool = sentinel.MasterPool(  # type: ignore[no-untyped-call]  # redis-py's
            pool.service_name, pool.sentinel_manager, **settings
        )
    elif isinstance(pool, redis.BlockingConnectionPool):
        settings |= {"timeout": pool.timeout, "queue_class": pool.queue_class}
        copy = redis.BlockingConnectionPool(**settings)  # type: ignore[no-untyped-call]  # redis-py's
    else:
        copy = redis.ConnectionPool(**settings)
    if pool in embedded_servers:
        embedded_servers[copy] = embedded_servers[pool]
    hide_passwords(copy)
    return copy


def server_url(pool: redis.ConnectionPool, *, secrets: bool) -> str:
    """Write the URL of a pool's server; without secrets, for people to look at."""
    given, made_by = pool.connection_kwargs, pool.connection_class
    number = given.get("db") or 0
    if pool in embedded_servers:
        url = embedded_servers[pool].url
        return f"{url}{'&' if '?' in url else '?'}db={number}" if number else url
    user, query = _user(given, secrets=secrets), {}
    if "path" in given:
        place = f"unix://{user}{quote(given['path'])}"
        query = {"db": number} if number else {}
    elif isinstance(pool, SentinelConnectionPool) and pool.is_master and issubclass(made_by, SentinelManagedConnection):
        hosts = ",".join(_address(own.connection_pool.connection_kwargs) for own in pool.sentinel_manager.sentinels)
        place = f"{sentinel.SCHEME}://{user}{hosts}/{quote(pool.service_name, safe='')}"
        query = ({"db": number} if number else {}) | (_sentinel_options(pool) if secrets else {})
    elif not isinstance(pool, SentinelConnectionPool) and issubclass(made_by, redis.Connection):
        tls = issubclass(made_by, redis.SSLConnection)
        place = f"{'rediss' if tls else 'redis'}://{user}{_address(given)}/{number}"
        query = _tls_options(given) if tls and secrets else {}
    else:
        raise UsageError(
            f"no URL names a server that {made_by.__name__} finds; pass on what you made the database with"
        )
    return f"{place}?{urlencode(query)}" if query else place


def _address(given: dict[str, Any]) -> str:
    host = given.get("host", "localhost")
    return f"{f'[{host}]' if ':' in host else quote(host)}:{given.get('port', 6379)}"


def _user(given: dict[str, Any], *, secrets: bool) -> str:
    name, password = given.get("username"), given.get("password")
    if not name and not password:
        return ""
    if not secrets:
        return "***@"
    return f"{quote(name or '', safe='')}:{quote(password or '', safe='')}@"


def _sentinel_options(pool: SentinelConnectionPool) -> dict[str, Any]:
    """Choose what a URL has to say besides the place: TLS, and how the sentinels are asked."""
    manager = pool.sentinel_manager
    own = manager.sentinels[0].connection_pool
    login = {name: own.connection_kwargs.get(name) for name in ("username", "password")}
    options = {
        "min_other_sentinels": manager.min_other_sentinels,
        "force_master_ip": getattr(manager, "_force_master_ip", None),  # redis-py 6 has none
        **_tls_of(pool),
        **{f"{sentinel.OWN}{name}": value for name, value in (login | _tls_of(own)).items()},
    }
    return {name: value for name, value in options.items() if value is False or value}


def _tls_of(pool: redis.ConnectionPool) -> dict[str, Any]:
    tls = issubclass(pool.connection_class, redis.SSLConnection)
    return {"ssl": True, **_tls_options(pool.connection_kwargs)} if tls else {}


def _tls_options(given: dict[str, Any]) -> dict[str, Any]:
    """Choose the TLS options that are set, and that redis-py reads from a URL as they are."""
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name == "ssl_cert_reqs" and isinstance(value, ssl.VerifyMode):
            options[name] = value.name.removeprefix("CERT_").lower()
        elif name == "ssl_min_version" and value is not None:
            options[name] = int(value)
        elif (name == "ssl_check_hostname" and value is False) or (name.startswith("ssl_") and isinstance(value, str)):
            options[name] = value
    return options


class _Password(str):
    """A password that does not show in the reprs of redis-py 7's pools."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<REDACTED>"

    def __format__(self, spec: str) -> str:
        return "<REDACTED>"


def no_pushes() -> dict[str, Any]:
    """Give the settings with which redis-py 7 and later ask for no maintenance notifications."""
    if MaintNotificationsConfig is None:
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def hide_passwords(pool: redis.ConnectionPool) -> None:
    """See to it that no repr of a pool shows a password."""
    if hasattr(pool, "SENSITIVE_REPR_KEYS"):  # redis-py 8 hides them itself
        return
    if isinstance(pool, SentinelConnectionPool):
        for own in pool.sentinel_manager.sentinels:
            hide_passwords(own.connection_pool)
    for name in ("password", "ssl_password"):
        if isinstance(pool.connection_kwargs.get(name), str):
            pool.connection_kwargs[name] = _Password(pool.connection_kwargs[name])
