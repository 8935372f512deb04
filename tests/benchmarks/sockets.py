"""The limits: the same bytes over a socket, with nothing made of them.

They bound what any client can reach: the server has to take in, or give out, the same bytes, and this client does
nothing else. What ours sends is recorded once, so that they are the same.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from select import select
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import redis
from redis.connection import AbstractConnection

from tests.benchmarks.frames import Shape
from tests.benchmarks.peers import BATCH, GROUP, Append, Consume, Read, our_stream, to_frame
from tests.benchmarks.work import Work
from walrus_ts.columnar import commands, resp, text

_CHUNK = 5_000
_PIECE = 1 << 20  # bytes handed to the kernel at once
_BUFFER = 1 << 18  # bytes taken from it at once
_TOKEN = b"0123456789abcdef0123456789abcdef"
_END_BYTES = len(commands.bulk(_TOKEN))  # of the random text that ends a request of ours, and so its reply


@contextmanager
def recording() -> Iterator[list[bytes]]:
    """Keep what goes out over redis-py's connections, request by request."""
    sent: list[bytes] = []
    original = AbstractConnection.send_packed_command

    def keep(connection: Any, command: Any, check_health: bool = True) -> None:
        sent.append(b"".join([command] if isinstance(command, (bytes, str)) else command))
        original(connection, command, check_health)

    with mock.patch.object(AbstractConnection, "send_packed_command", keep):
        yield sent


class _Socket:
    """A socket to the server, opened by redis-py: it knows addresses and passwords."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, protocol=2)
        self._connection = self._client.connection_pool.get_connection()
        self.raw: socket.socket = self._connection._sock
        self.raw.settimeout(None)
        self._buffer = memoryview(bytearray(_BUFFER))

    def close(self) -> None:
        self._connection.disconnect()
        self._client.close()

    def stream(self, payload: bytes, end: bytes) -> int:
        """Send all, take in the replies meanwhile until they end in `end`; return how many bytes they had."""
        left, tail, received = memoryview(payload), b"", 0
        self.raw.setblocking(False)
        while tail != end:
            readable, writable, _ = select([self.raw], [self.raw] if left else [], [])
            if writable:
                left = left[self.raw.send(left[:_PIECE]) :]
            if readable:
                size = self._receive()
                received += size
                tail = (tail + bytes(self._buffer[max(0, size - len(end)) : size]))[-len(end) :]
        self.raw.settimeout(None)
        return received

    def collect(self, request: bytes) -> bytes:
        """Send a request, and return its reply whole."""
        self.raw.sendall(request)
        reply, end = bytearray(), request[-_END_BYTES:]
        while not reply.endswith(end):
            reply += self._buffer[: self._receive()]
        return bytes(reply)

    def discard(self, requests: list[bytes], lengths: list[int]) -> int:
        """Send requests, two under way at a time, and throw their replies away, whose lengths are known."""
        behind, sent, received = list(accumulate(lengths)), 0, 0
        while received < behind[-1]:
            while sent < len(requests) and (sent < 2 or received >= behind[sent - 2]):
                self.raw.sendall(requests[sent])
                sent += 1
            received += self._receive()
        return received

    def _receive(self) -> int:
        size = self.raw.recv_into(self._buffer)
        if not size:
            raise ConnectionError("the server closed the connection")
        return size


class _BySocket(Work):
    is_limit = True

    def __init__(self, url: str, prefix: str, shape: Shape, rows: int) -> None:
        super().__init__(url, prefix, shape, rows)
        self.socket = _Socket(url)

    def close(self) -> None:
        """Close the socket."""
        super().close()
        self.socket.close()


class SocketAppend(_BySocket, Append):
    """What ours has sent for this frame, byte for byte: WATCH, MULTI, the XADDs, EXEC, and its questions between."""

    who = "bare socket, same bytes"

    def prepare(self) -> None:
        """Record the bytes."""
        super().prepare()
        self.payload, self.end = self.encoded()
        super().after()

    def encoded(self) -> tuple[bytes, bytes]:
        """Return the bytes, and how the last reply ends."""
        stream = our_stream(self.url, self.key)
        stream.database.data.ping()  # the connection's greetings are not to be recorded
        with recording() as sent:
            stream.append(self.frame, progress=False)
        return b"".join(sent), sent[-1][-_END_BYTES:]

    def run(self) -> int:
        """Send them, and take in the replies."""
        return self.socket.stream(self.payload, self.end)


class SocketPipeline(SocketAppend):
    """The XADDs alone: no transaction, nothing watched."""

    who = "bare socket, XADDs alone"

    def encoded(self) -> tuple[bytes, bytes]:
        """Encode the frame's rows as ours does."""
        frame, end = self.frame, commands.command(b"ECHO", _TOKEN)
        milliseconds = frame.index.as_unit("ms").asi8.astype(np.uint64)
        ids = commands.id_texts(milliseconds, np.zeros(len(frame), np.uint64))
        texts = [text.encode(_combined(pa.array(frame[name], from_pandas=True))) for name in frame.columns]
        fields = [name.encode() for name in frame.columns]
        chunks = [
            commands.xadds(self.key.encode(), ids[at : at + _CHUNK], fields, [t[at : at + _CHUNK] for t in texts])
            for at in range(0, len(frame), _CHUNK)
        ]
        return b"".join([*chunks, end]), end[-_END_BYTES:]


class SocketFrame(_BySocket, Read):
    """The replies that ours got for this range, thrown away; the server always has the next request at hand."""

    who = "bare socket, same replies"

    def prepare(self) -> None:
        """Record the requests, and how long their replies are."""
        super().prepare()
        self.stream.database.data.ping()
        with recording() as sent:
            self.stream.frame()
        self.requests = list(sent)
        self.lengths = [len(self.socket.collect(request)) for request in self.requests]

    def run(self) -> int:
        """Ask, and throw away."""
        return self.socket.discard(self.requests, self.lengths)

    def rows_done(self, result: int) -> pd.DataFrame:
        """Ask once more, look at the replies, and see that as many bytes had come."""
        replies = [self.socket.collect(request) for request in self.requests]
        assert result == sum(map(len, replies))
        pages = [resp.parse(reply)[0] for reply in replies[1:]]  # the first asks for the record
        return to_frame([_decoded(entry) for page in pages for entry in page], self.shape)


class SocketBatches(_BySocket, Consume):
    """What ours has sent to read and acknowledge all batches; the server always has the next request at hand."""

    who = "bare socket, same commands"

    def prepare(self) -> None:
        """Record the requests, and how long their replies are."""
        super().prepare()
        self.before()
        self.stream.database.data.ping()
        with recording() as sent:
            for batch in self.stream.batches(count=BATCH, wait=0):
                batch.ack()
        self.requests = list(_whole(sent))
        self.lengths = [len(reply) for reply in self._replies()]

    def run(self) -> int:
        """Ask and acknowledge, and throw all replies away."""
        return self.socket.discard(self.requests, self.lengths)

    def rows_done(self, result: int) -> pd.DataFrame:
        """See that nothing is pending; ask once more, look at the replies, and see that as many bytes had come."""
        assert self.client.xpending(self.key, GROUP)["pending"] == 0
        replies = self._replies()
        assert result == sum(map(len, replies))
        found = [resp.parse(reply)[0] for request, reply in zip(self.requests, replies, strict=True) if _reads(request)]
        return to_frame([_decoded(entry) for streams in found if streams for entry in streams[0][1]], self.shape)

    def _replies(self) -> list[bytes]:
        self.before()
        return [self.socket.collect(request) for request in self.requests]


def _whole(sent: list[bytes]) -> Iterator[bytes]:
    """Join what was sent into requests: each ends with an ECHO."""
    parts: list[bytes] = []
    for part in sent:
        parts.append(part)
        if part[:-_END_BYTES].endswith(commands.bulk(b"ECHO")):
            yield b"".join(parts)
            parts = []


def _reads(request: bytes) -> bool:
    return commands.bulk(b"XREADGROUP") in request[:40]


def _combined(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _decoded(entry: list[Any]) -> tuple[str, dict[str, str]]:
    id_, parts = entry[0].decode(), [part.decode() for part in entry[1]]
    return id_, dict(zip(parts[::2], parts[1::2], strict=True))
