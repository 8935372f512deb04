"""Ours, redis-py and walrus: appending, reading and consuming, as somebody who knows the library would do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import pandas as pd
import redis
import walrus
from walrus.utils import make_python_attr

import walrus_ts
from tests.benchmarks.frames import Shape
from tests.benchmarks.work import Work
from walrus_ts.timeseries import TimeSeriesStream

XADDS = 1_000  # commands of a pipeline
PAGE = 1_000  # entries of an XRANGE: redis-py was fastest so (10,000 and all at once: 15 and 20 % slower)
BATCH = 10_000  # rows of a batch to consume
GROUP = "bench"

Entry = tuple[str, dict[str, Any]]
Text = tuple[str, dict[str, str]]


def our_stream(url: str, key: str) -> TimeSeriesStream:
    """Make the stream as a user does; its database lives as long as it."""
    return walrus_ts.connect(url).time_series(GROUP, [key])[key]


def entries(frame: pd.DataFrame, *, has_nulls: bool) -> Iterator[Entry]:
    """Make XADD's arguments of a frame's rows, without those that are null."""
    names = list(frame.columns)
    ids = (frame.index.as_unit("ms").asi8).tolist()
    columns = [frame[name].tolist() for name in names]
    for milliseconds, *values in zip(ids, *columns, strict=True):
        row = dict(zip(names, values, strict=True))
        if has_nulls:
            row = {name: value for name, value in row.items() if not pd.isna(value)} or {"": ""}
        yield f"{milliseconds}-0", row


def to_frame(found: list[Text], shape: Shape) -> pd.DataFrame:
    """Make a DataFrame of entries' dicts, with times and the dtypes that went in."""
    index = pd.DatetimeIndex(pd.to_datetime([int(id_.partition("-")[0]) for id_, _ in found], unit="ms"), name="time")
    frame = pd.DataFrame([row for _, row in found], index=index, columns=list(shape.dtypes))
    return shape.typed(frame)


def read_pages(client: redis.Redis, key: str) -> Iterator[list[Text]]:
    """Read a stream page by page; `client` decodes."""
    start = "-"
    while found := client.xrange(key, start, "+", count=PAGE):
        yield found
        start = f"({found[-1][0]}"


def read_all(url: str, key: str, shape: Shape) -> pd.DataFrame:
    """Read a stream with redis-py alone: what truly lies there."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return to_frame([entry for page in read_pages(client, key) for entry in page], shape)


# Appending -----------------------------------------------------------------------------------------------------------


class Append(Work):
    """Write a frame to a stream that is not there."""

    def prepare(self) -> None:
        """Make the frame."""
        _ = self.frame

    def before(self) -> None:
        """Delete what the run before has written."""
        self.after()

    def after(self) -> None:
        """Delete the stream, and our records beside it."""
        for name in [self.key, *self.client.scan_iter(match=f"walrus_ts:*{self.key}*", count=1_000)]:
            self.client.delete(name)

    def rows_done(self, result: Any) -> pd.DataFrame:
        """Read the stream back."""
        return read_all(self.url, self.key, self.shape)


class OurAppend(Append):
    who = "**walrus_ts**"

    def prepare(self) -> None:
        """Connect."""
        super().prepare()
        self.stream = our_stream(self.url, self.key)

    def run(self) -> Any:
        """Append."""
        return self.stream.append(self.frame, progress=False)


class OurAppendWithoutNulls(OurAppend):
    who = "walrus_ts, no nulls"


class RedisAppend(Append):
    who = "redis-py pipeline"

    def run(self) -> None:
        """Send pipelines of 1,000 XADDs."""
        for start in range(0, self.rows, XADDS):
            pipeline = self.client.pipeline(transaction=False)
            for id_, row in entries(self.frame.iloc[start : start + XADDS], has_nulls=self.shape.has_nulls):
                pipeline.xadd(self.key, row, id=id_)
            pipeline.execute()


class WalrusAppend(Append):
    who = "walrus"
    most = 20_000

    def prepare(self) -> None:
        """Connect."""
        super().prepare()
        self.stream = walrus_stream(self.url, self.key)

    def run(self) -> None:
        """Add row by row: walrus has no other way."""
        for id_, row in entries(self.frame, has_nulls=self.shape.has_nulls):
            self.stream.add(row, id=id_)


def walrus_stream(url: str, key: str) -> Any:
    """Make walrus's stream of a time series."""
    return getattr(walrus.Database.from_url(url).time_series(GROUP, [key]), make_python_attr(key))


# Reading -------------------------------------------------------------------------------------------------------------


class Read(Work):
    """Read a stream that is there, whole, into a DataFrame."""

    def __init__(self, url: str, prefix: str, shape: Shape, rows: int) -> None:
        super().__init__(url, prefix, shape, rows)
        self.key = f"{prefix}{shape.name}:{self.rows}"  # readers of as many rows share a stream

    def prepare(self) -> None:
        """Write the stream where it is not there yet, and connect."""
        self.stream = our_stream(self.url, self.key)
        if not self.client.exists(self.key):
            self.stream.append(self.frame, progress=False)
        vars(self).pop("frame", None)

    def rows_done(self, result: Any) -> pd.DataFrame:
        """Return what was read."""
        return result


class OurFrame(Read):
    who = "**walrus_ts**"

    def run(self) -> pd.DataFrame:
        """Read the frame."""
        return self.stream.frame()


class OurFrameWithoutNulls(OurFrame):
    who = "walrus_ts, no nulls"


class RedisFrame(Read):
    who = "redis-py + DataFrame"

    def prepare(self) -> None:
        """Connect, decoding."""
        super().prepare()
        self.reader = redis.Redis.from_url(self.url, decode_responses=True)

    def run(self) -> pd.DataFrame:
        """Read page by page, and make a DataFrame of the dicts."""
        return to_frame([entry for page in read_pages(self.reader, self.key) for entry in page], self.shape)


class WalrusFrame(Read):
    who = "walrus + DataFrame"

    def prepare(self) -> None:
        """Connect."""
        super().prepare()
        self.messages = walrus_stream(self.url, self.key)

    def run(self) -> pd.DataFrame:
        """Read all messages, and make a DataFrame of their dicts."""
        return to_frame([(message.message_id, message.data) for message in self.messages.range()], self.shape)


# Consuming -----------------------------------------------------------------------------------------------------------


class Consume(Read):
    """Read a stream as new rows of a group, acknowledging each batch."""

    def before(self) -> None:
        """Make the group anew."""
        self.after()
        self.client.xgroup_create(self.key, GROUP, id="0")

    def after(self) -> None:
        """Delete the group."""
        self.client.xgroup_destroy(self.key, GROUP)

    def rows_done(self, result: list[pd.DataFrame]) -> pd.DataFrame:
        """Join the batches; nothing may be pending."""
        assert self.client.xpending(self.key, GROUP)["pending"] == 0
        return pd.concat(result)


class OurBatches(Consume):
    who = "**walrus_ts**"
    prefetch: bool | None = None

    def run(self) -> list[pd.DataFrame]:
        """Take the batches."""
        frames = []
        for batch in self.stream.batches(count=BATCH, wait=0, prefetch=self.prefetch):
            with batch:
                frames.append(batch.frame)
        return frames


class OurBatchesOneByOne(OurBatches):
    who = "walrus_ts, `prefetch=False`"
    prefetch = False


class RedisBatches(Consume):
    who = "redis-py + DataFrames"

    @cached_property
    def reader(self) -> redis.Redis:
        """A client that decodes."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def run(self) -> list[pd.DataFrame]:
        """XREADGROUP, a DataFrame of the dicts, XACK, until nothing is left."""
        frames = []
        while found := list(_of_streams(self.reader.xreadgroup(GROUP, "one", {self.key: ">"}, count=BATCH))):
            frames.append(to_frame(found, self.shape))
            self.reader.xack(self.key, GROUP, *(id_ for id_, _ in found))
        return frames


class WalrusBatches(Consume):
    who = "walrus + DataFrames"

    def run(self) -> list[pd.DataFrame]:
        """Read messages, make a DataFrame of their dicts, acknowledge, until nothing is left."""
        group = walrus.Database.from_url(self.url).time_series(GROUP, [self.key])
        stream = getattr(group, make_python_attr(self.key))
        frames = []
        while found := group.read(count=BATCH):
            frames.append(to_frame([(message.message_id, message.data) for message in found], self.shape))
            stream.ack(*found)
        return frames


def _of_streams(reply: Any) -> Iterable[Text]:
    """Take the only stream's entries out of a reply: a list of pairs, or a dict of lists of lists (RESP3)."""
    parts = reply.values() if isinstance(reply, dict) else [found for _, found in reply]
    for part in parts:
        yield from part[0] if isinstance(reply, dict) else part
