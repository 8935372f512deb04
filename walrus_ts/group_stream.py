"""One stream within a consumer group: reading, acknowledging, claiming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from walrus_ts.connection import Entry, check_count, parse_entries, read_streams, send_once
from walrus_ts.stream import AnyId, Stream

if TYPE_CHECKING:
    from redis.typing import KeyT
    from typing_extensions import TypeVar  # its `default=` is the standard library's from 3.13 on

    from walrus_ts.database import AnyDatabase

    E = TypeVar("E", default=Entry)
else:
    from typing import TypeVar

    E = TypeVar("E")

Name = str | bytes


class ConsumerGroupStream(Stream[E]):
    """One stream of a consumer group: all that a `Stream` has, and the group's side of it.

    A group makes them: ``group["stream-a"]``, or ``group.stream_a``.

    Parameters
    ----------
    database : Database or ClusterDatabase
    group : str or bytes
        The group's name.
    key : str, bytes or memoryview
        The stream's name.
    consumer : str or bytes
        The consumer that reads and claims.

    Attributes
    ----------
    group, key, consumer_name
        As they were given.
    """

    def __init__(self, database: AnyDatabase, group: Name, key: KeyT, consumer: Name) -> None:
        super().__init__(database, key)
        self.group = group
        self.consumer_name = consumer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key!r} of {self.group!r}>"

    def read(self, count: int | None = None, block: int | None = None, last_id: AnyId | None = None) -> list[E]:
        """Return entries that the group has not read yet; they stay pending (XREADGROUP).

        It is sent once, never again: had a reply been lost, another would hold other entries.

        Parameters
        ----------
        count : int, optional
            The greatest number of entries.
        block : int, optional
            Milliseconds to wait for an entry; 0 waits for ever. Without it, there is no waiting.
            It may be longer than the database's `socket_timeout`.
        last_id : optional
            Reads this consumer's own pending entries behind an id in place of new ones; `"0-0"`
            reads them all. One that was deleted from the stream has no data: ``{}``.

        Returns
        -------
        list
            Empty where nothing came.

        Raises
        ------
        UsageError
            `count` or `block` is no whole number.
        redis.ResponseError
            There is no such group (its `create` makes it): the message begins with NOGROUP.
        """
        after = ">" if last_id is None else self._axis(last_id).upper(last_id)
        command = xreadgroup(self.group, self.consumer_name)
        found = read_streams(self._data, command, {self.key: after}, count, block)
        return self._entries_out(found[0][1]) if found else []

    def ack(self, *ids: AnyId) -> int:
        """Acknowledge entries: they are pending no more. Returns how many were (XACK)."""
        return self._data.xack(self.key, self.group, *self._ids_in(ids)) if ids else 0

    def claim(self, *ids: AnyId, min_idle_time: int = 0) -> list[E]:
        """Make pending entries this consumer's own, and return them (XCLAIM).

        It is sent once, never again: had a reply been lost, the entries would not be idle any more,
        and another reply would leave them out.

        Parameters
        ----------
        *ids
        min_idle_time : int
            Milliseconds since their last delivery; entries delivered later are left alone.

        Returns
        -------
        list
            The entries that were claimed. Each counts one delivery more.

        Raises
        ------
        UsageError
            `min_idle_time` is no whole number.
        redis.ResponseError
            There is no such group: the message begins with NOGROUP.
        """
        if not ids:
            return []
        idle = check_count(min_idle_time, "min_idle_time", minimum=0) or 0
        reply = send_once(self._pool, "XCLAIM", self.key, self.group, self.consumer_name, idle, *self._ids_in(ids))
        return self._entries_out(parse_entries(reply))

    def autoclaim(
        self,
        consumer: Name,
        min_idle_time: int,
        start_id: AnyId = "0-0",
        count: int | None = None,
        justid: bool = False,
    ) -> list[Any]:
        """Make entries that are pending for long a consumer's own, and return them (XAUTOCLAIM).

        It is sent once, never again, as `claim` is.

        Parameters
        ----------
        consumer : str or bytes
            Whose they shall be.
        min_idle_time : int
            Milliseconds since their last delivery; entries delivered later are left alone.
        start_id : optional
            Where to begin; the call returns where to go on.
        count : int, optional
            How many pending entries to look at, at most; 100 without it.
        justid : bool
            Return ids only, and count no delivery.

        Returns
        -------
        list
            As in redis-py: ``[next start id, entries, ids that were deleted]``, the last one from
            Redis 7 on, the first one `b"0-0"` at the end. With `justid` the claimed ids alone.

        Raises
        ------
        UsageError
            `min_idle_time` or `count` is no whole number.
        redis.ResponseError
            There is no such group: the message begins with NOGROUP.
        """
        idle = check_count(min_idle_time, "min_idle_time", minimum=0) or 0
        options: list[Any] = [] if (count := check_count(count)) is None else ["COUNT", count]
        if justid:
            options.append("JUSTID")
        start = self._axis(start_id).lower(start_id)
        reply = send_once(self._pool, "XAUTOCLAIM", self.key, self.group, consumer, idle, start, *options)
        following, entries, *deleted = reply
        return list(entries) if justid else [following, self._entries_out(parse_entries(entries)), *deleted]

    def pending(
        self,
        start: AnyId = "-",
        stop: AnyId = "+",
        count: int = 1000,
        consumer: Name | None = None,
        idle: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return what the group has read and not acknowledged, the oldest first (XPENDING).

        Parameters
        ----------
        start, stop : optional
            The first and the last id, both inclusive.
        count : int
            The greatest number of entries.
        consumer : str or bytes, optional
            Only that consumer's.
        idle : int, optional
            Only those whose last delivery is that many milliseconds ago.

        Returns
        -------
        list of dict
            `message_id` and `consumer` (bytes), `time_since_delivered` (milliseconds) and
            `times_delivered`.
        """
        return self._pending(start, stop, count, consumer, idle)

    def _pending(
        self, start: AnyId, stop: AnyId, count: int, consumer: Name | None, idle: int | None
    ) -> list[dict[str, Any]]:
        axis = self._axis(start, stop)
        bounds = axis.lower(start), axis.upper(stop)
        count = cast("int", check_count(count))
        found = self._data.xpending_range(self.key, self.group, *bounds, count, consumer, idle)
        return cast("list[dict[str, Any]]", found)

    def set_id(self, id: AnyId = "$") -> bool:
        """Set the last id that the group has read (XGROUP SETID).

        Parameters
        ----------
        id : optional
            `"$"` marks all entries as read, `"0-0"` none.
        """
        return self._data.xgroup_setid(self.key, self.group, self._axis(id).upper(id))

    def consumers_info(self, group: Name | None = None) -> list[dict[str, Any]]:  # type: ignore[override]  # its own group is the default, as in walrus
        """Return a dict for each consumer of the group (XINFO CONSUMERS)."""
        return super().consumers_info(self.group if group is None else group)

    def delete_consumer(self, consumer: Name | None = None) -> int:
        """Remove a consumer, this stream's own without `consumer` (XGROUP DELCONSUMER).

        What it had pending is lost to the group: nobody can claim it.

        Returns
        -------
        int
            How many entries the consumer had pending.
        """
        name = self.consumer_name if consumer is None else consumer
        return self._data.xgroup_delconsumer(self.key, self.group, name)


def xreadgroup(group: Name, consumer: Name) -> list[Any]:
    """Begin an XREADGROUP for `read_streams`."""
    return ["XREADGROUP", "GROUP", group, consumer]
