"""Small calls: what one costs, beside the one call of redis-py's that does the same."""

from __future__ import annotations

from abc import abstractmethod
from queue import Queue
from statistics import median
from threading import Thread
from time import perf_counter, sleep
from typing import Any, ClassVar

import pandas as pd
import redis

from tests.benchmarks.frames import Shape
from tests.benchmarks.peers import GROUP, Append, Consume, Read, entries, our_stream, to_frame
from walrus_ts import Batch

_BASE = 100  # rows that are there before


class SmallAppend(Append):
    """Append to a stream that is there, call by call; the arguments are made beforehand."""

    size: ClassVar[int] = 1

    def __init__(self, url: str, prefix: str, shape: Shape, rows: int) -> None:
        self.calls = max(5, min(500, rows // 100))
        super().__init__(url, prefix, shape, _BASE + self.calls * self.size)

    @property
    def count(self) -> int:
        """Calls."""
        return self.calls

    def before(self) -> None:
        """Begin a stream."""
        super().before()
        our_stream(self.url, self.key).append(self.frame[:_BASE], progress=False)

    def parts(self) -> list[pd.DataFrame]:
        """Return a frame for each call."""
        return [self.frame[at : at + self.size] for at in range(_BASE, self.rows, self.size)]


class OurSmallAppend(SmallAppend):
    who = "**walrus_ts**"

    def prepare(self) -> None:
        """Connect, and cut the frame."""
        super().prepare()
        self.stream, self.pieces = our_stream(self.url, self.key), self.parts()

    def run(self) -> None:
        """Append each."""
        for piece in self.pieces:
            self.stream.append(piece)


class RedisAppendOne(SmallAppend):
    who = "redis-py xadd"

    def prepare(self) -> None:
        """Make the arguments."""
        super().prepare()
        self.arguments = list(entries(self.frame[_BASE:], has_nulls=False))

    def run(self) -> None:
        """One XADD a call."""
        for id_, row in self.arguments:
            self.client.xadd(self.key, row, id=id_)


class OurAppendHundred(OurSmallAppend):
    size = 100


class RedisAppendHundred(SmallAppend):
    who = "redis-py pipeline"
    size = 100

    def prepare(self) -> None:
        """Cut the frame."""
        super().prepare()
        self.pieces = self.parts()

    def run(self) -> None:
        """One pipeline a call; its rows come from a frame, as ours do."""
        for piece in self.pieces:
            pipeline = self.client.pipeline(transaction=False)
            for id_, row in entries(piece, has_nulls=False):
                pipeline.xadd(self.key, row, id=id_)
            pipeline.execute()


class Tail(Read):
    """Read the last ten rows, again and again."""

    @property
    def count(self) -> int:
        """Calls."""
        return max(5, min(500, self.rows // 100))


class OurTail(Tail):
    who = "**walrus_ts**"

    def run(self) -> pd.DataFrame:
        """Call `tail`."""
        for _ in range(self.count):
            frame = self.stream.tail(10)
        return frame


class RedisTail(Tail):
    who = "redis-py xrevrange"

    def run(self) -> list[Any]:
        """Call XREVRANGE, and leave its reply as it is."""
        for _ in range(self.count):
            found = self.client.xrevrange(self.key, count=10)
        return found

    def rows_done(self, result: list[Any]) -> pd.DataFrame:
        """Make a frame of it after all."""
        texts = [(id_.decode(), {n.decode(): v.decode() for n, v in row.items()}) for id_, row in reversed(result)]
        return to_frame(texts, self.shape)


class RedisTailFrame(RedisTail):
    who = "redis-py + DataFrame"

    def run(self) -> pd.DataFrame:
        """Call XREVRANGE, and make a DataFrame."""
        for _ in range(self.count):
            frame = super().rows_done(self.client.xrevrange(self.key, count=10))
        return frame

    def rows_done(self, result: pd.DataFrame) -> pd.DataFrame:
        """Return what was read."""
        return result


class Delay(Consume):
    """Add rows one by one, each when the one before it has come to a waiting consumer; how long is a row on its way?

    A run takes the median of the delays, as often as there are rows: each from the call of `append`, whoever consumes,
    until the consumer has the row in hand. The acknowledgement comes behind that.
    """

    def __init__(self, url: str, prefix: str, shape: Shape, rows: int) -> None:
        super().__init__(url, prefix, shape, max(10, min(500, rows // 100)))
        self.key = f"{prefix}{shape.name}:delay:{type(self).__name__}"

    def prepare(self) -> None:
        """Connect, and cut the frame."""
        self.stream, self.writer = our_stream(self.url, self.key), our_stream(self.url, self.key)
        self.pieces = [self.frame[at : at + 1] for at in range(self.rows)]

    def before(self) -> None:
        """Begin a stream and its group, with a record."""
        self.after()
        self.stream.append(self.frame[:0], progress=False)
        self.client.xgroup_create(self.key, GROUP, id="0", mkstream=True)

    def after(self) -> None:
        """Delete the stream and its record."""
        self.stream.drop()

    def run(self) -> list[pd.DataFrame]:
        """Let a thread wait for the rows that this one adds."""
        frames: list[pd.DataFrame] = []
        came = Queue[float]()
        consumer = Thread(target=self.consume, args=(frames, came))
        consumer.start()
        self.delays = []
        for at in range(self.rows):
            begun = perf_counter()
            self.add(at)
            self.delays.append(came.get(timeout=120) - begun)  # a consumer that has failed says nothing
            sleep(0.0005)  # until it waits again
        consumer.join()
        return frames

    def add(self, at: int) -> None:
        """Add a row."""
        self.writer.append(self.pieces[at])

    def seconds(self, result: Any, elapsed: float) -> float:
        """Return the median delay, as often as there are rows."""
        return median(self.delays) * self.count

    @abstractmethod
    def consume(self, frames: list[pd.DataFrame], came: Queue[float]) -> None:
        """Take all rows, and say of each when it has come."""


class OurDelay(Delay):
    who = "**walrus_ts**"

    def consume(self, frames: list[pd.DataFrame], came: Queue[float]) -> None:
        """Take batches; DataFrames are made when it is over."""
        taken = []
        with self.stream.batches(count=10, wait=60) as batches:
            while len(taken) < self.rows:
                with next(batches) as batch:
                    arrived = self.arrived(batch)
                taken.append(batch)
                came.put(arrived)
        frames += [batch.frame for batch in taken]

    def arrived(self, batch: Batch) -> float:
        """Return the time when the batch is there."""
        return perf_counter()


class OurDelayFrame(OurDelay):
    def arrived(self, batch: Batch) -> float:
        """Return the time when its DataFrame is there."""
        assert len(batch.frame) == 1
        return perf_counter()


class RedisDelay(Delay):
    who = "redis-py xreadgroup"

    def consume(self, frames: list[pd.DataFrame], came: Queue[float]) -> None:
        """XREADGROUP and XACK; DataFrames are made when it is over."""
        replies: list[Any] = []
        with redis.Redis.from_url(self.url) as reader:
            while len(replies) < self.rows:
                found = reader.xreadgroup(GROUP, "one", {self.key: ">"}, count=10, block=60_000)
                [(_, entries_)] = found.items() if isinstance(found, dict) else found
                arrived = self.arrived(entries_)
                reader.xack(self.key, GROUP, *(id_ for id_, _ in entries_))
                replies += entries_
                came.put(arrived)
        frames.append(self.to_frame(replies))

    def arrived(self, found: list[Any]) -> float:
        """Return the time when the entries are there."""
        return perf_counter()

    def to_frame(self, found: list[Any]) -> pd.DataFrame:
        """Make a DataFrame of entries."""
        texts = [(id_.decode(), {n.decode(): v.decode() for n, v in row.items()}) for id_, row in found]
        return to_frame(texts, self.shape)


class RedisDelayFrame(RedisDelay):
    who = "redis-py xreadgroup + DataFrame"

    def arrived(self, found: list[Any]) -> float:
        """Return the time when a DataFrame of them is there."""
        assert len(self.to_frame(found)) == 1
        return perf_counter()


class _ByXadd(Delay):
    """Rows come from redis-py, which adds one sooner: more of the delay is the consumer's own."""

    def prepare(self) -> None:
        """Make the arguments, too."""
        super().prepare()
        self.arguments = list(entries(self.frame, has_nulls=False))

    def add(self, at: int) -> None:
        """Add a row."""
        id_, row = self.arguments[at]
        self.client.xadd(self.key, row, id=id_)


class OurDelayByXadd(_ByXadd, OurDelay):
    """A batch."""


class RedisDelayByXadd(_ByXadd, RedisDelay):
    """A reply."""
