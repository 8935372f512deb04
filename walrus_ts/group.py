"""Consumer groups: streams whose server keeps account of what was read, and by whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from redis.exceptions import ResponseError

from walrus_ts.connection import Entry, read_streams
from walrus_ts.errors import UsageError
from walrus_ts.group_stream import ConsumerGroupStream, Name, xreadgroup
from walrus_ts.message import to_text
from walrus_ts.stream import AnyId

if TYPE_CHECKING:
    from redis.typing import KeyT
    from typing_extensions import TypeVar  # its `default=` is the standard library's from 3.13 on

    from walrus_ts.database import AnyDatabase

    S = TypeVar("S", bound="ConsumerGroupStream[Any]", default="ConsumerGroupStream[Entry]")
else:
    from typing import TypeVar

    S = TypeVar("S")

Keys = Any  # a key, an iterable of keys, a mapping of keys to ids: a str is an iterable, too


class ConsumerGroup(Generic[S]):
    """A consumer group over one or more streams.

    Each stream is ``group[key]``, and an attribute under its key in lower case, with `_` for what
    is no letter or digit: ``group.stream_a`` for the key `stream-a`. Keys that would share an
    attribute, or that are named like one of the group's own (`read`), have none.

    Parameters
    ----------
    database : Database or ClusterDatabase
    name : str or bytes
        The group's name.
    keys : key, iterable of keys, or mapping of keys to ids
        The streams. An id is that after which the group starts when it is created; without ids,
        it starts at the beginning (`"0-0"`).
    consumer : str or bytes, optional
        The consumer that reads and claims; ``NAME.c1`` without it.

    Attributes
    ----------
    database : Database or ClusterDatabase
    name : str or bytes
    keys : dict
        The keys, as they were given, and the ids after which the group starts.
    streams : dict
        The keys, as they were given, and their streams.
    consumer_name : str or bytes

    Raises
    ------
    UsageError
        There are no keys, or two of them are one (`"a"` and `b"a"`).

    Examples
    --------
    >>> group = db.consumer_group("cg-abc", ["stream-a", "stream-b"])
    >>> group.create()
    {'stream-a': True, 'stream-b': True}
    >>> group.stream_a.add({"message": "hello"}, id="5-1")
    b'5-1'
    >>> group.read()
    [('stream-a', [(b'5-1', {b'message': b'hello'})])]
    >>> group.stream_a.ack("5-1")
    1
    """

    def __init__(self, database: AnyDatabase, name: Name, keys: Keys, consumer: Name | None = None) -> None:
        self.database = database
        self.name = name
        self.keys: dict[KeyT, AnyId] = _start_ids(keys)
        if consumer is None:
            consumer = name + ".c1" if isinstance(name, str) else name + b".c1"
        self.consumer_name = consumer
        self.streams: dict[KeyT, S] = {key: self._make_stream(key) for key in self.keys}
        self._by_bytes = {_key_bytes(key): stream for key, stream in self.streams.items()}
        self._attributes: dict[str, list[KeyT]] = {}
        for key in self.keys:
            self._attributes.setdefault(_attribute(key), []).append(key)

    def _make_stream(self, key: KeyT) -> S:
        stream = ConsumerGroupStream[Entry](self.database, self.name, key, self.consumer_name)
        return cast("S", stream)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} on {_listed(self.keys)}>"

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import group_html

        return group_html(self)

    def __getitem__(self, key: KeyT) -> S:
        """Return the stream with a key, which may be spelled as str or as bytes."""
        try:
            return self._by_bytes[_key_bytes(key)]
        except KeyError:
            raise KeyError(f"{key!r} is no stream of the group {self.name!r}: {_listed(self.keys)}") from None

    def __contains__(self, key: KeyT) -> bool:
        return _key_bytes(key) in self._by_bytes

    def __iter__(self) -> Iterator[KeyT]:
        return iter(self.keys)

    def __getattr__(self, name: str) -> S:
        """Return the stream whose key gives it that attribute name."""
        keys = self.__dict__.get("_attributes", {}).get(name, [])
        if len(keys) == 1:
            return self.streams[keys[0]]
        if keys:
            raise AttributeError(
                f"the attribute {name!r} would stand for each of the streams {_listed(keys)}; "
                f"name one by its key: group[{keys[0]!r}]"
            )
        streams = _listed(self.__dict__.get("keys", ()))
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}; its streams are group[key], with the keys {streams}"
        )

    def __dir__(self) -> list[str]:
        single = [name for name, keys in self._attributes.items() if len(keys) == 1]
        return sorted({*super().__dir__(), *single})

    def create(self, ensure_keys_exist: bool = True, mkstream: bool = False) -> dict[KeyT, bool]:
        """Create the group on each of its streams (XGROUP CREATE).

        Parameters
        ----------
        ensure_keys_exist : bool
            Make the streams that do not exist, empty.
        mkstream : bool
            The same, under the name that the command has for it.

        Returns
        -------
        dict
            For each key whether the group was created: False where it existed already, which then
            stays as it is.

        Raises
        ------
        UsageError
            A key holds something else than a stream; it is left alone, and nothing is created.
        redis.ResponseError
            A stream does not exist, and none was to be made.
        """
        for key in self.keys:
            kind = self.database.data.type(key)
            if kind not in (b"stream", b"none"):
                raise UsageError(
                    f"a consumer group is on streams, and the key {key!r} holds a "
                    f"{to_text(kind)}, which is left alone; no group was created. Name another "
                    "key, or delete or rename this one.",
                    key=key,
                )
        make = ensure_keys_exist or mkstream
        return {key: self._create_on(key, start, make) for key, start in self.keys.items()}

    def _create_on(self, key: KeyT, start: AnyId, make: bool) -> bool:
        after = self.streams[key]._axis(start).upper(start)
        try:
            return self.database.data.xgroup_create(key, self.name, after, mkstream=make)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return False

    def destroy(self) -> dict[KeyT, bool]:
        """Remove the group from its streams, and return from which (XGROUP DESTROY)."""
        data = self.database.data
        return {key: bool(data.xgroup_destroy(key, self.name)) for key in self.keys}

    def reset(self) -> dict[KeyT, bool]:
        """Mark all entries of all streams as not read: ``set_id("0-0")``."""
        return self.set_id("0-0")

    def set_id(self, id: AnyId = "$") -> dict[KeyT, bool]:
        """Set the last id that the group has read on each stream (XGROUP SETID).

        Parameters
        ----------
        id : optional
            `"$"` marks all entries as read, `"0-0"` none.
        """
        return {key: stream.set_id(id) for key, stream in self.streams.items()}

    def read(self, count: int | None = None, block: int | None = None, consumer: Name | None = None) -> list[Any]:
        """Return entries that the group has not read yet; they stay pending (XREADGROUP).

        It is sent once, never again: had a reply been lost, another would hold other entries.

        Parameters
        ----------
        count : int, optional
            The greatest number of entries of each stream.
        block : int, optional
            Milliseconds to wait for an entry; 0 waits for ever. Without it, there is no waiting.
            It may be longer than the database's `socket_timeout`.
        consumer : str or bytes, optional
            The consumer that reads, in place of the group's own.

        Returns
        -------
        list of (key, entries)
            Of the streams that have new entries, each key as the group was given it.

        Raises
        ------
        UsageError
            `count` or `block` is no whole number.
        redis.ResponseError
            There is no such group (`create` makes it): the message begins with NOGROUP.
        """
        return self._read(count, block, consumer)

    def _read(self, count: int | None, block: int | None, consumer: Name | None) -> list[tuple[KeyT, list[Any]]]:
        command = xreadgroup(self.name, self.consumer_name if consumer is None else consumer)
        positions = dict.fromkeys(self.keys, ">")
        found = read_streams(self.database.data, command, positions, count, block)
        by_stream = [(self._by_bytes[key], entries) for key, entries in found]
        return [(stream.key, stream._entries_out(entries)) for stream, entries in by_stream]

    def consumer(self, name: Name) -> Self:
        """Return the same group with another consumer; nothing changes on the server."""
        return type(self)(self.database, self.name, self.keys, name)

    def stream_info(self) -> dict[KeyT, dict[str, Any]]:
        """Return what the server knows about each stream (XINFO STREAM)."""
        return {key: stream.info() for key, stream in self.streams.items()}


def _start_ids(keys: Keys) -> dict[KeyT, AnyId]:
    """Bring the keys of a group, in any of their forms, into one."""
    if isinstance(keys, Mapping):
        starts = dict(keys)
    elif isinstance(keys, Iterable) and not isinstance(keys, (str, bytes, memoryview)):
        starts = dict.fromkeys(keys, "0-0")
    else:
        starts = {keys: "0-0"}
    if not starts:
        raise UsageError("a consumer group is on one stream or more; found no key")
    if len({_key_bytes(key) for key in starts}) < len(starts):
        raise UsageError(f"two of these keys are one to Redis: {_listed(starts)}", keys=starts)
    return starts


def _key_bytes(key: KeyT) -> bytes:
    if isinstance(key, (str, bytes, memoryview)):
        return key.encode() if isinstance(key, str) else bytes(key)
    raise UsageError(f"a key is a str, bytes or a memoryview; found {key!r}", key=key)


def _attribute(key: KeyT) -> str:
    """Name the attribute of a stream as walrus does."""
    name = re.sub(r"\W+", "_", _key_bytes(key).decode(errors="replace")).lower()
    return f"_{name}" if name[:1].isdigit() else name


def _listed(keys: Iterable[KeyT]) -> str:
    return ", ".join(repr(key) for key in keys)
