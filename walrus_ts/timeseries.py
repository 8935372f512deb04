"""Time series: consumer groups whose ids are times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from walrus_ts.errors import DataError
from walrus_ts.frame_group import FrameGroup
from walrus_ts.frame_stream import FrameStream
from walrus_ts.group import ConsumerGroup, Keys
from walrus_ts.group_stream import ConsumerGroupStream, Name
from walrus_ts.ids import StreamId
from walrus_ts.message import Message, Text, to_text
from walrus_ts.stream import AnyId
from walrus_ts.times import TimeAxis, is_time, parse_zone, to_datetime

if TYPE_CHECKING:
    from redis.typing import KeyT

    from walrus_ts.database import AnyDatabase

# What `add` and `pending` return for an id: a pair; the id itself where it lies behind the year 9999.
Position = tuple[datetime, int] | str


class TimeSeriesStream(FrameStream, ConsumerGroupStream[Message]):
    """One stream of a time series: a table whose rows are ordered by time, and a `ConsumerGroupStream`.

    DataFrames go in by `append` and come out by `frame`, `loc`, `head`, `tail` and `scan`; new rows reach a consumer by
    `batches`. Below them lies the object model, whose ids are times here.

    Wherever an id is taken, it takes an id (`"1514764800000-0"`, `"-"`, `"+"`, `"$"`), a
    `datetime`, a `date` (its midnight), a `pandas.Timestamp`, a `numpy.datetime64`, a pair of
    a datetime and a sequence, or a `Message`. A string is an id, always. A naive time is in the
    zone `tz`, and UTC without one. Entries come back as `Message`.

    As a lower bound a time stands for its first possible id; as an upper one, and where reading
    goes on behind it (`last_id`, `set_id`), for its last; elsewhere for the first row at it.

    Parameters
    ----------
    database : Database or ClusterDatabase
    group : str or bytes
        The group's name.
    key : str, bytes or memoryview
        The stream's name.
    consumer : str or bytes
        The consumer that reads and claims.
    tz : str or tzinfo, optional
        The zone of naive times, and of the times that come back; without one, those are naive and
        UTC.
    named : bool
        Whether the consumer's name is the caller's own choice; `batches` makes a unique one where it is not.
    start : id or time
        That after which the group begins, where `batches` has to make it anew.
    """

    def __init__(
        self,
        database: AnyDatabase,
        group: Name,
        key: KeyT,
        consumer: Name,
        tz: str | tzinfo | None = None,
        *,
        named: bool = False,
        start: AnyId = "0-0",
    ) -> None:
        super().__init__(database, group, key, consumer)
        self.tz = parse_zone(tz)
        self.start = start
        self._named = named

    def _axis(self, *values: AnyId) -> TimeAxis:
        if not any(is_time(value) for value in values):
            return TimeAxis(zone=self.tz)
        schema = self._source.recorded()  # how fine its ids are, the stream's record says
        return TimeAxis(schema.unit if schema else None, self.tz)

    def _entries_out(self, entries: Sequence[Any]) -> list[Message]:
        return [Message(self.key, id, data, self.tz) for id, data in entries]

    def _position(self, id: bytes) -> Position:
        parsed = StreamId.parse(id)
        try:
            return to_datetime(parsed.milliseconds, self.tz), parsed.sequence
        except DataError:
            return str(parsed)

    def add(  # type: ignore[override]  # ids are times here, in what is returned, too
        self,
        data: Mapping[Any, Any],
        id: AnyId = "*",
        maxlen: int | None = None,
        approximate: bool = True,
        minid: AnyId | None = None,
    ) -> Position:
        """Append an entry, and trim the stream if `maxlen` or `minid` say so (XADD).

        As `Stream.add`. A time with more digits than the stream's unit (milliseconds, where it
        has no record) is rounded down to it.

        Returns
        -------
        (timestamp, sequence) : (datetime, int)
            The millisecond that the entry is stored under, and its id's second number. In place of
            the pair the id itself, a str, where it lies behind the year 9999, in which `datetime`
            ends: it was given as an id, or the server has made it behind such a one.

        Raises
        ------
        UsageError
            As in `Stream.add`, and where the time is before 1970 or after 9999, or is one that the
            zone `tz` has twice or never; nothing is written.
        """
        return self._position(super().add(data, id, maxlen, approximate, minid))

    def __delitem__(self, item: AnyId) -> None:
        """Delete entries: ``del s[time]``, ``del s[time, sequence]``, ``del s[id1, id2]``.

        A datetime with an int behind it is a pair; anything else with a comma is two ids.
        """
        super().__delitem__([item] if _is_pair(item) else item)

    def pending(  # type: ignore[override]  # ids are times here, in what is returned, too
        self,
        start: AnyId = "-",
        stop: AnyId = "+",
        count: int = 1000,
        consumer: Name | None = None,
        idle: int | None = None,
    ) -> list[tuple[Position, Text, int, int]]:
        """Return what the group has read and not acknowledged, the oldest first (XPENDING).

        Parameters are those of `ConsumerGroupStream.pending`.

        Returns
        -------
        list of ((timestamp, sequence), consumer, idle_ms, deliveries)
            The pairs may be given back, to `ack` and `claim`. So may what stands in the place of
            one whose id lies behind the year 9999: the id itself, a str.
        """
        return [
            (
                self._position(found["message_id"]),
                to_text(found["consumer"]),
                found["time_since_delivered"],
                found["times_delivered"],
            )
            for found in self._pending(start, stop, count, consumer, idle)
        ]


class TimeSeries(FrameGroup[TimeSeriesStream], ConsumerGroup[TimeSeriesStream]):
    """A consumer group whose ids are times, and whose entries come back as `Message`.

    What is taken for an id, and what a time stands for, `TimeSeriesStream` says. Each stream is
    ``series[key]``, and an attribute: ``series.stream_1`` for the key `stream-1`.

    Parameters
    ----------
    database : Database or ClusterDatabase
    name : str or bytes
        The group's name.
    keys : key, iterable of keys, or mapping of keys to ids or times
        The streams. An id or a time is that after which the group starts when it is created.
    consumer : str or bytes, optional
        The consumer that reads and claims; ``NAME.c1`` without it.
    tz : str or tzinfo, optional
        The zone of naive times, and of the times that come back; without one, those are naive and
        UTC.

    Attributes
    ----------
    tz : tzinfo or None

    Examples
    --------
    >>> from datetime import datetime
    >>> series = db.time_series("research", ["s1", "s2"])
    >>> series.create()
    {'s1': True, 's2': True}
    >>> series.s1.add({"price": 7.5}, id=datetime(2018, 1, 1))
    (datetime.datetime(2018, 1, 1, 0, 0), 0)
    >>> series.s1[datetime(2018, 1, 1):]
    [<Message s1 1514764800000-0: {'price': '7.5'}>]
    """

    def __init__(
        self,
        database: AnyDatabase,
        name: Name,
        keys: Keys,
        consumer: Name | None = None,
        tz: str | tzinfo | None = None,
    ) -> None:
        self.tz = parse_zone(tz)  # the streams, made in the next line, have it
        self._named = consumer is not None
        super().__init__(database, name, keys, consumer)

    def _make_stream(self, key: KeyT) -> TimeSeriesStream:
        return TimeSeriesStream(
            self.database, self.name, key, self.consumer_name, self.tz, named=self._named, start=self.keys[key]
        )

    def consumer(self, name: Name) -> Self:
        """Return the same time series with another consumer; nothing changes on the server."""
        return type(self)(self.database, self.name, self.keys, name, self.tz)

    def read(self, count: int | None = None, block: int | None = None, consumer: Name | None = None) -> list[Message]:
        """Return entries that the group has not read yet; they stay pending (XREADGROUP).

        Parameters are those of `ConsumerGroup.read`.

        Returns
        -------
        list of Message
            Of all streams, ordered by time and then by sequence; messages with one id are in the
            order of their streams.
        """
        messages = [m for _, found in self._read(count, block, consumer) for m in found]
        return sorted(messages, key=lambda message: message.stream_id)


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and is_time(item[0]) and isinstance(item[1], (int, np.integer))
