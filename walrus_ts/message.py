"""One entry of a time series, its id as a time and its data as text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from walrus_ts.ids import StreamId
from walrus_ts.times import to_datetime

Text = str | bytes


def to_text(raw: Any) -> Any:
    """Decode bytes that are UTF-8; other bytes stay, and so does what is no bytes."""
    if isinstance(raw, memoryview):
        raw = bytes(raw)
    if not isinstance(raw, bytes):
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


class Message:
    """An entry of a time series.

    Parameters
    ----------
    stream : str or bytes
        The stream's key.
    message_id : str or bytes
        The entry's id, as Redis writes it.
    data : mapping of str or bytes to str or bytes
        The entry's fields; none where the entry was deleted while it was pending.
    tz : tzinfo, optional
        The zone of `timestamp`.

    Attributes
    ----------
    stream : str or bytes
        The stream's key: text, or bytes that are no UTF-8.
    message_id : str
        The entry's id.
    data : dict
        Fields and values: text, or bytes that are no UTF-8.
    tz : tzinfo or None
        The zone of `timestamp`.

    Notes
    -----
    Two messages are equal if they have one stream, one id and the same data; the zone makes no
    difference. Where a time series takes an id, it takes a message, too.

    Examples
    --------
    >>> message = Message("s1", b"1514764800000-3", {b"price": b"7.5"})
    >>> message
    <Message s1 1514764800000-3: {'price': '7.5'}>
    >>> message.timestamp, message.sequence
    (datetime.datetime(2018, 1, 1, 0, 0), 3)
    """

    __slots__ = ("data", "message_id", "stream", "tz")

    def __init__(
        self,
        stream: Text | memoryview,
        message_id: Text,
        data: Mapping[Any, Any],
        tz: tzinfo | None = None,
    ) -> None:
        self.stream: Text = to_text(stream)
        self.message_id: str = to_text(message_id)
        self.data: dict[Text, Text] = {to_text(k): to_text(v) for k, v in data.items()}
        self.tz = tz

    @property
    def stream_id(self) -> StreamId:
        """The id's two numbers."""
        return StreamId.parse(self.message_id)

    @property
    def timestamp(self) -> datetime:
        """The id's millisecond: aware and in `tz`, or naive and UTC without one.

        Raises
        ------
        DataError
            The id lies behind the year 9999, where `datetime` ends, in UTC or in `tz`.
        """
        return to_datetime(self.stream_id.milliseconds, self.tz)

    @property
    def sequence(self) -> int:
        """The id's second number, as it stands."""
        return self.stream_id.sequence

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.stream, self.message_id, self.data) == (
            other.stream,
            other.message_id,
            other.data,
        )

    def __hash__(self) -> int:
        return hash((self.stream, self.message_id))

    def __repr__(self) -> str:
        return f"<Message {self.stream!s} {self.message_id}: {self.data}>"
