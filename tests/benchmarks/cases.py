"""Who is held against whom, and what the figures ought to be."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks import peers, small, sockets
from tests.benchmarks.frames import SHAPES, Shape
from tests.benchmarks.work import Work


@dataclass(frozen=True)
class Case:
    """A piece of work, ours first.

    Attributes
    ----------
    name : str
        As `--case` takes it.
    shape : Shape
    ours : type of Work
    others : tuple of type of Work
    unit : str
        What is counted: rows or calls.
    plain : type of Work, optional
        Ours on the frame without nulls.
    """

    name: str
    shape: Shape
    ours: type[Work]
    others: tuple[type[Work], ...]
    unit: str = "row"
    plain: type[Work] | None = None

    @property
    def title(self) -> str:
        """For the tables."""
        return f"{self.name.split(':')[0]}, {self.shape.title}"

    def works(self, url: str, prefix: str, rows: int) -> list[Work]:
        """Make ours, then the others'."""
        rows = self.shape.rows(rows)
        made = [kind(url, prefix, self.shape, rows) for kind in (self.ours, *self.others)]
        if self.plain is not None:
            made.append(self.plain(url, prefix, SHAPES["mixed"], rows))
        return made


def _by_shape() -> list[Case]:
    made = []
    for shape in SHAPES.values():
        plain = (peers.OurAppendWithoutNulls, peers.OurFrameWithoutNulls) if shape.has_nulls else (None, None)
        writers = (peers.RedisAppend, peers.WalrusAppend, sockets.SocketAppend, sockets.SocketPipeline)
        readers = (peers.RedisFrame, peers.WalrusFrame, sockets.SocketFrame)
        made.append(Case(f"append:{shape.name}", shape, peers.OurAppend, writers, plain=plain[0]))
        made.append(Case(f"frame:{shape.name}", shape, peers.OurFrame, readers, plain=plain[1]))
    return sorted(made, key=lambda case: case.name.startswith("frame"))


_MIXED = SHAPES["mixed"]
CASES = {
    case.name: case
    for case in (
        *_by_shape(),
        Case(
            "batches",
            _MIXED,
            peers.OurBatches,
            (peers.RedisBatches, peers.WalrusBatches, peers.OurBatchesOneByOne, sockets.SocketBatches),
        ),
        Case("delay", _MIXED, small.OurDelay, (small.RedisDelay,), "call"),
        Case("delay-xadd", _MIXED, small.OurDelayByXadd, (small.RedisDelayByXadd,), "call"),
        Case("delay-frame", _MIXED, small.OurDelayFrame, (small.RedisDelayFrame,), "call"),
        Case("append-1", _MIXED, small.OurSmallAppend, (small.RedisAppendOne,), "call"),
        Case("append-100", _MIXED, small.OurAppendHundred, (small.RedisAppendHundred,), "call"),
        Case("tail-10", _MIXED, small.OurTail, (small.RedisTail, small.RedisTailFrame), "call"),
    )
}


@dataclass(frozen=True)
class Goal:
    """A figure to reach.

    Attributes
    ----------
    text : str
    case : str
    peer : type of Work, optional
        Whom the ratio is to; None: the figure is ours alone, client CPU a row, and less is better.
    least, aim : float
    """

    text: str
    case: str
    peer: type[Work] | None
    least: float
    aim: float


GOALS = (
    Goal("append, to a redis-py pipeline", "append:mixed", peers.RedisAppend, 8, 10),
    Goal("append, to the same bytes by a bare socket", "append:mixed", sockets.SocketAppend, 0.8, 0.95),
    Goal("frame, to redis-py + DataFrame", "frame:mixed", peers.RedisFrame, 8, 12),
    Goal("frame, to the same replies by a bare socket", "frame:mixed", sockets.SocketFrame, 0.5, 0.9),
    Goal("append, client CPU µs a row", "append:mixed", None, 1.8, 1.0),
    Goal("frame, client CPU µs a row", "frame:mixed", None, 1.8, 0.9),
    Goal("append, 20 % nulls to none", "append:nulls", peers.OurAppendWithoutNulls, 0.5, 0.8),
    Goal("frame, 20 % nulls to none", "frame:nulls", peers.OurFrameWithoutNulls, 0.5, 0.8),
    Goal("batches(10,000) with ack, to redis-py", "batches", peers.RedisBatches, 6, 10),
    Goal(
        "batches(10,000) with ack, to the same commands by a bare socket", "batches", sockets.SocketBatches, 0.8, 0.95
    ),
    Goal("a row from append to a waiting consumer, to xreadgroup", "delay", small.RedisDelay, 1 / 1.5, 1.0),
    Goal("append of one row, to xadd", "append-1", small.RedisAppendOne, 0.5, 0.8),
    Goal("tail(10), to xrevrange", "tail-10", small.RedisTail, 0.5, 0.8),
)
