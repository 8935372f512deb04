"""Streams on their own: Redis' commands as a container of entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from walrus_ts.cluster import Pool, pool_for
from walrus_ts.connection import Entry, check_count, read_streams, send_once
from walrus_ts.errors import UsageError
from walrus_ts.times import TimeAxis

if TYPE_CHECKING:
    import redis
    from redis.typing import EncodableT, GroupT, KeyT
    from typing_extensions import TypeVar  # its `default=` is the standard library's from 3.13 on

    from walrus_ts.database import AnyDatabase

    E = TypeVar("E", default=Entry)
else:
    from typing import TypeVar

    E = TypeVar("E")

AnyId = Any  # an id as redis-py takes it; a time series takes times, pairs and messages, too

PAGE = 1_000  # entries that iterating holds at a time


class _AsGiven:
    """Leaves ids as the caller gives them; in a time series, `TimeAxis` stands in its place."""

    def at(self, value: AnyId) -> AnyId:
        return value

    lower = upper = at


class Stream(Generic[E]):
    """A stream of Redis as a container of entries, each an id and a dict.

    Ids, fields and values come back as bytes, whatever the database's `decode_responses` is.
    Errors of redis-py and of the server pass through.

    Parameters
    ----------
    database : Database or ClusterDatabase
    key : str, bytes or memoryview
        The stream's name; a str is stored as UTF-8. The stream need not exist.

    Attributes
    ----------
    database : Database or ClusterDatabase
    key : str, bytes or memoryview
        As it was given.

    Examples
    --------
    >>> stream = db.Stream("stream-a")
    >>> first = stream.add({"message": "hello"}, id="5-1")
    >>> stream.add({"message": "streams"}, id="5-2")
    b'5-2'
    >>> stream[first:]
    [(b'5-1', {b'message': b'hello'}), (b'5-2', {b'message': b'streams'})]
    >>> len(stream), "5-2" in stream
    (2, True)
    """

    def __init__(self, database: AnyDatabase, key: KeyT) -> None:
        self.database = database
        self.key = key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key!r}>"

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import stream_html

        return stream_html(self)

    @property
    def _data(self) -> redis.Redis:
        return self.database.data

    @property
    def _pool(self) -> Pool:
        return pool_for(self._data, self.key)

    def _axis(self, *_: AnyId) -> _AsGiven | TimeAxis:
        """Say how the values, given where an id is taken, become ids."""
        return _AsGiven()

    def _ids_in(self, values: Sequence[AnyId]) -> list[AnyId]:
        axis = self._axis(*values)
        return [axis.at(value) for value in values]

    def _entries_out(self, entries: Sequence[Any]) -> list[E]:
        """Give entries the form in which the caller gets them."""
        return cast("list[E]", entries)

    # Writing ------------------------------------------------------------------------------------

    def add(
        self,
        data: Mapping[Any, Any],
        id: AnyId = "*",
        maxlen: int | None = None,
        approximate: bool = True,
        minid: AnyId | None = None,
    ) -> bytes:
        """Append an entry, and trim the stream if `maxlen` or `minid` say so (XADD).

        It is sent once, never again, whatever the database's `retry` says: a command whose reply
        was lost may have been carried out, and `"*"` would then store the entry twice.

        Parameters
        ----------
        data : mapping
            Fields and values: str, bytes, int or float.
        id : optional
            The entry's id; `"*"` lets the server make it from its clock.
        maxlen : int, optional
            How many entries the stream keeps, the newest.
        approximate : bool
            Whether the server may keep some more, which is faster.
        minid : optional
            Entries with ids below it are removed.

        Returns
        -------
        bytes
            The entry's id.

        Raises
        ------
        UsageError
            `data` holds nothing or is no mapping, or both `maxlen` and `minid` are given.
        redis.DataError
            A field or a value is of another type; nothing is written.
        redis.ResponseError
            The id is not above the stream's last one, or is none.
        """
        fields = _fields(data)
        maxlen = check_count(maxlen, "maxlen", minimum=0)
        axis = self._axis(id, minid)
        bounds: list[EncodableT] = []
        if maxlen is not None and minid is not None:
            raise UsageError("a stream is trimmed to `maxlen` or to `minid`; give one of the two")
        if maxlen is not None:
            bounds = ["MAXLEN", "~" if approximate else "=", maxlen]
        elif minid is not None:
            bounds = ["MINID", "~" if approximate else "=", axis.lower(minid)]
        stored = send_once(self._pool, "XADD", self.key, *bounds, axis.at(id), *fields)
        return cast("bytes", stored)

    def delete(self, *ids: AnyId) -> int:
        """Delete entries by their ids, and return how many there were (XDEL)."""
        return self._data.xdel(self.key, *self._ids_in(ids)) if ids else 0

    def __delitem__(self, item: AnyId) -> None:
        """Delete the entry with an id, or with each of several: ``del stream[id1, id2]``."""
        if isinstance(item, slice):
            raise UsageError(
                "a range of a stream cannot be deleted; give ids (`del stream[id1, id2]`), or "
                "remove all entries below an id (`stream.trim(minid=...)`)",
                item=item,
            )
        self.delete(*item) if isinstance(item, (list, tuple)) else self.delete(item)

    def trim(
        self,
        count: int | None = None,
        approximate: bool = True,
        minid: AnyId | None = None,
        limit: int | None = None,
    ) -> int:
        """Remove the oldest entries (XTRIM).

        Parameters
        ----------
        count : int, optional
            How many entries the stream keeps, the newest.
        approximate : bool
            Whether the server may keep some more, which is faster: it frees whole nodes of its
            tree, of 100 entries by default.
        minid : optional
            Entries with ids below it are removed.
        limit : int, optional
            How many entries to remove at most; only with `approximate`.

        Returns
        -------
        int
            How many entries were removed.

        Raises
        ------
        UsageError
            Neither or both of `count` and `minid` are given, or a number is no whole one.
        """
        count = check_count(count, minimum=0)
        limit = check_count(limit, "limit", minimum=0)
        if (count is None) == (minid is None):
            raise UsageError(
                "a trim takes either `count`, the number of entries to keep, or `minid`, the "
                f"oldest id to keep; found count={count!r}, minid={minid!r}"
            )
        if minid is not None:
            minid = self._axis(minid).lower(minid)
        return self._data.xtrim(self.key, count, approximate, minid, limit)

    def set_id(self, id: AnyId) -> bool:
        """Set the stream's last id, above which new ones must be (XSETID)."""
        return bool(send_once(self._pool, "XSETID", self.key, id) == b"OK")

    # Reading ------------------------------------------------------------------------------------

    def get(self, id: AnyId) -> E | None:
        """Return the entry with an id, or None (XRANGE)."""
        exact = _complete(self._axis(id).at(id))
        found = self._entries_out(self._data.xrange(self.key, exact, exact, 1) or [])
        return found[0] if found else None

    def __contains__(self, id: AnyId) -> bool:
        return self.get(id) is not None

    @overload
    def __getitem__(self, item: slice) -> list[E]: ...
    @overload
    def __getitem__(self, item: AnyId) -> E | None: ...
    def __getitem__(self, item: AnyId) -> list[E] | E | None:
        """Return the entry with an id, or None; or a range: ``stream[start:stop:count]``.

        Both ends of a range are inclusive, and its step is the greatest number of entries.
        """
        if not isinstance(item, slice):
            return self.get(item)
        start = "-" if item.start is None else item.start
        stop = "+" if item.stop is None else item.stop
        return self.range(start, stop, check_count(item.step, "the step of a slice"))

    def range(self, start: AnyId = "-", stop: AnyId = "+", count: int | None = None) -> list[E]:
        """Return the entries of a range, the oldest first (XRANGE).

        Parameters
        ----------
        start, stop : optional
            The first and the last id, both inclusive. Redis takes an incomplete one (`"5"`) as
            the first or last of its millisecond.
        count : int, optional
            The greatest number of entries.

        Raises
        ------
        UsageError
            `count` is no whole number of 1 or more.
        """
        count = check_count(count)
        axis = self._axis(start, stop)
        found = self._data.xrange(self.key, axis.lower(start), axis.upper(stop), count)
        return self._entries_out(found or [])

    def revrange(self, start: AnyId = "+", stop: AnyId = "-", count: int | None = None) -> list[E]:
        """Return the entries of a range, the newest first (XREVRANGE).

        Parameters
        ----------
        start, stop : optional
            The last and the first id, both inclusive: here the upper one comes first.
        count : int, optional
            The greatest number of entries.

        Raises
        ------
        UsageError
            `count` is no whole number of 1 or more.
        """
        count = check_count(count)
        axis = self._axis(start, stop)
        found = self._data.xrevrange(self.key, axis.upper(start), axis.lower(stop), count)
        return self._entries_out(found or [])

    def __iter__(self) -> Iterator[E]:
        """Yield the entries, the oldest first, up to the one that is the newest at the beginning.

        A page of 1,000 is held at a time. Entries added meanwhile are not among them.
        """
        newest = self._data.xrevrange(self.key, count=1)
        if not newest:
            return
        start: AnyId = "-"
        stop: AnyId = newest[0][0]
        while page := self._data.xrange(self.key, start, stop, PAGE):
            yield from self._entries_out(page)
            last: AnyId = page[-1][0]
            if last == stop or len(page) < PAGE:
                return
            start = b"(" + last

    def read(self, count: int | None = None, block: int | None = None, last_id: AnyId | None = None) -> list[E]:
        """Return the entries behind an id, and wait for one if there is none (XREAD).

        Parameters
        ----------
        count : int, optional
            The greatest number of entries.
        block : int, optional
            Milliseconds to wait for an entry; 0 waits for ever. Without it, there is no waiting.
            It may be longer than the database's `socket_timeout`.
        last_id : optional
            The last id that was read: what comes behind it is returned. `"$"` stands for the
            stream's last one; without it, reading begins with the first.

        Returns
        -------
        list
            Empty where nothing came.

        Raises
        ------
        UsageError
            `count` or `block` is no whole number.
        """
        after = "0-0" if last_id is None else self._axis(last_id).upper(last_id)
        found = read_streams(self._data, ["XREAD"], {self.key: after}, count, block)
        return self._entries_out(found[0][1]) if found else []

    # About it -----------------------------------------------------------------------------------

    def length(self) -> int:
        """Return how many entries there are (XLEN)."""
        return self._data.xlen(self.key)

    def __len__(self) -> int:
        return self.length()

    def info(self) -> dict[str, Any]:
        """Return what the server knows about the stream (XINFO STREAM).

        Raises
        ------
        redis.ResponseError
            There is no such stream.
        """
        return self._data.xinfo_stream(self.key)

    def groups_info(self) -> list[dict[str, Any]]:
        """Return a dict for each consumer group (XINFO GROUPS).

        Raises
        ------
        redis.ResponseError
            There is no such stream.
        """
        return self._data.xinfo_groups(self.key)

    def consumers_info(self, group: GroupT) -> list[dict[str, Any]]:
        """Return a dict for each consumer of a group (XINFO CONSUMERS).

        Raises
        ------
        redis.ResponseError
            There is no such stream or group.
        """
        return self._data.xinfo_consumers(self.key, group)


def _fields(data: Any) -> list[EncodableT]:
    if not isinstance(data, Mapping) or not data:
        raise UsageError(
            f"an entry is a mapping of at least one field to its value, as in {{'message': 'hello'}}; found {data!r}",
            data=data,
        )
    return [part for pair in data.items() for part in pair]


def _complete(id: AnyId) -> AnyId:
    """Write out the sequence of an id: "5" is "5-0" to XDEL and XACK, but not to XRANGE."""
    if isinstance(id, int):
        return f"{id}-0"
    if isinstance(id, (str, bytes)) and id.isdigit():
        return id + "-0" if isinstance(id, str) else id + b"-0"
    return id
