"""`Batch`: rows that were delivered together, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype
from redis.client import Pipeline
from redis.exceptions import RedisError

from walrus_ts.columnar.commands import id_list
from walrus_ts.errors import BatchLostError, GroupMissingError, UsageError
from walrus_ts.ids import Ids
from walrus_ts.transfer.batches import Feed
from walrus_ts.transfer.commit import commit
from walrus_ts.transfer.job import Job

_LEAVING = (KeyboardInterrupt, SystemExit, GeneratorExit)
_LONGEST_REASON = 500


class Appending(Protocol):
    """What a transaction needs of a stream that rows are appended to: `TimeSeriesStream` has it."""

    def _derive(self, data: Any, time: Any, evolve: bool) -> Job: ...


class Delivered(Protocol):
    """The rows of a batch: `Stacked` has them, and `Few`."""

    @property
    def frame(self) -> pd.DataFrame:
        """The rows, in the order of time."""

    @property
    def ids(self) -> Ids:
        """Milliseconds and sequences, shape (n, 2)."""

    @property
    def part(self) -> npt.NDArray[np.intp]:
        """Which of the streams each row is from."""


class Transaction(Pipeline):
    """Commands that run together with a batch's acknowledgement; made by `Batch.transaction`.

    It has the methods of a redis-py pipeline, which queue commands. They are run when the ``with`` block ends.

    Attributes
    ----------
    replies : list
        What the commands were answered with, as the server has it (bytes, int, None, list): there when the block has
        ended.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__(pool, {}, transaction=False, shard_hint=None)
        self.replies: list[Any] = []
        self.derived: list[Job] = []

    def execute(self, raise_on_error: bool = True) -> NoReturn:
        """Refuse: the commands run when the block ends."""
        raise UsageError("the commands of a batch's transaction run when its `with` block ends; leave `execute` out")

    def immediate_execute_command(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: the commands run when the block ends."""
        raise UsageError(
            "the commands of a batch's transaction run when its `with` block ends; what is to run before that is a "
            "command of the database's"
        )

    def watch(self, *names: Any) -> NoReturn:
        """Refuse: what is watched are the batch's rows."""
        raise UsageError("a batch's transaction cannot watch keys; it checks that the batch's rows are still pending")

    def commands(self) -> list[list[bytes]]:
        """Return what was queued, as the server takes it."""
        encode = self.connection_pool.get_encoder().encode
        return [[*name.encode().split(), *map(encode, map(_plain, args))] for (name, *args), _ in self.command_stack]


def _plain(argument: Any) -> Any:
    """Return numpy's numbers as Python's: redis-py refuses integers, and writes a float as ``np.float64(0.5)``."""
    return argument.item() if isinstance(argument, np.generic) else argument


class Batch:
    """Rows that were delivered together; they stay pending until they are acknowledged.

    ``with batch:`` acknowledges them when the block ends, and leaves them pending where it raises: they are then
    delivered again. An interruption (Ctrl-C) hands them back as if they had not been delivered.

    Attributes
    ----------
    frame : DataFrame, shape (n, k)
        The rows, in the order of time.
    ids : list of str, length n
        The rows' stream ids.
    deliveries : int64 array, shape (n,)
        How often each row has been delivered, this time included.
    lost : int
        Rows that were pending, and that the stream no longer holds: they are acknowledged.
    """

    def __init__(
        self,
        rows: Delivered,
        keys: Sequence[bytes],
        deliveries: npt.NDArray[np.int64],
        lost: int,
        feed: Feed,
    ) -> None:
        self.deliveries = deliveries
        self.lost = lost
        self._rows = rows
        self._keys = keys  # of the streams that rows are from
        self._open = np.ones(len(deliveries), bool)  # neither acknowledged nor rejected, nor known to be another's
        self._failed = False
        self._feed = feed
        self._member = feed.member
        self._transaction: Transaction | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The rows, in the order of time."""
        return self._rows.frame

    @cached_property
    def ids(self) -> list[str]:
        """The rows' stream ids."""
        return [id_.decode() for id_ in id_list(self._rows.ids)]

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} rows, {int(self._open.sum())} of them open>"

    def _repr_html_(self) -> str:
        from walrus_ts.notebook.objects import batch_html

        return batch_html(self)

    # What becomes of rows --------------------------------------------------------------------------------------------

    def ack(self, rows: Any = None) -> int:
        """Acknowledge rows (XACK).

        Parameters
        ----------
        rows : bool array, shape (n,), optional
            Which; all without it.

        Returns
        -------
        int
            How many were still pending; where a reply was lost with its connection, when they were acknowledged again.

        Raises
        ------
        UsageError
            `rows` is no mask of the batch's length.
        """
        chosen = self._chosen(rows)
        acknowledged = sum(self._member.ack(key, self._rows.ids[mask]) for key, mask in self._by_key(chosen))
        self._open &= ~chosen
        return acknowledged

    def reject(self, rows: Any = None, reason: str = "") -> int:
        """Move rows to their streams' dead letters, each in one step with its acknowledgement.

        Parameters
        ----------
        rows : bool array, shape (n,), optional
            Which; all without it.
        reason : str
            Is kept with them.

        Returns
        -------
        int
            How many were moved: those that were still pending with this consumer.

        Raises
        ------
        UsageError
            `rows` is no mask of the batch's length, or `reason` no text.
        """
        if not isinstance(reason, str):
            raise UsageError(f"reason is text, which is kept with the rows; found {reason!r}", reason=reason)
        chosen = self._chosen(rows)
        moved = sum(self._member.bury(key, self._rows_at(mask), reason)[0] for key, mask in self._by_key(chosen))
        self._open &= ~chosen
        return moved

    def extend(self) -> None:
        """Say that the work goes on: `claim_after` begins anew, and nobody may claim the rows until then.

        It counts no delivery. What was read ahead (`prefetch`) is handed back: others may have it now.

        Raises
        ------
        BatchLostError
            Another consumer has claimed or finished some of the rows (`.rows`, their ids): those are not taken back,
            and are this batch's no longer. The others are extended.
        """
        self._feed.hand_back_ahead()
        gone: list[bytes] = []
        for key, mask in self._by_key(self._open):
            ids = id_list(self._rows.ids[mask])
            found = self._member.extend(key, ids)
            names = set(found)
            self._open[mask] = [id_ not in names for id_ in ids]
            gone += found
        if gone:
            raise BatchLostError(
                f"{len(gone)} of the batch's {len(self)} rows have been claimed or finished by another consumer, the "
                f"first of them {gone[0].decode()}; they are not taken back. Work that takes longer than `claim_after` "
                "calls `extend` before that time is over.",
                rows=[id_.decode() for id_ in gone],
            )

    # Exactly once ----------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Queue commands that run together with the acknowledgement of the batch's rows, exactly once.

        At the end of the block a script on the server checks that every row is still pending with this consumer, runs
        the commands, and acknowledges the rows, in one step. Where the block raises, nothing is run, and the rows are
        delivered again, as after ``with batch:``. `append` adds rows to streams in it. A command that the server
        refuses stops the script; those before it have been run then, and the rows stay pending.

        Yields
        ------
        Transaction
            A redis-py pipeline.

        Raises
        ------
        BatchLostError
            Another consumer has claimed or finished rows; nothing is written.
        LateRowsError, SchemaError
            Rows that are appended do not fit their stream; nothing is written.
        redis.exceptions.ResponseError
            The server has refused a command.

        Examples
        --------
        >>> for batch in series.batches(count=1_000, wait=0):
        ...     with batch.transaction() as pipe:
        ...         pipe.incrby("rows seen", len(batch))
        """
        if self._transaction is not None:
            raise UsageError("the batch has an open transaction; end its `with` block before another begins")
        pipe = self._transaction = Transaction(self._member.pool)
        try:
            yield pipe
            rows = [(key, id_list(self._rows.ids[mask])) for key, mask in self._by_key(self._open)]
            pipe.replies = commit(self._member, rows, pipe.commands(), pipe.derived)
        except BaseException as error:
            self._leave(error)
            raise
        finally:
            self._transaction = None
        self._open[:] = False

    def append(self, stream: Appending, data: Any, *, time: Any = None, evolve: bool = False) -> None:
        """Append rows to a stream, in a transaction of this batch.

        They are written when the transaction's block ends, or not at all. Their times have to be at or behind the end
        that the stream has then.

        Parameters
        ----------
        stream : TimeSeriesStream
            On the same server; in a cluster, in the slot of the batch's own streams.
        data, time, evolve
            As in `TimeSeriesStream.append`.

        Raises
        ------
        UsageError
            There is no open transaction, `stream` is none, or the frame cannot be stored.
        """
        if self._transaction is None:
            raise UsageError("`batch.append` writes within a transaction: `with batch.transaction() as pipe: ...`")
        if not hasattr(stream, "_derive"):
            raise UsageError(
                "`batch.append` takes a stream of a time series, as in `batch.append(series['minutes'], frame)`; found "
                f"{repr(stream)[:80]}",
                stream=stream,
            )
        self._transaction.derived.append(stream._derive(data, time, evolve))

    # In a block ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.ack()
        else:
            self._leave(error)

    def hand_back(self) -> None:
        """Give the rows that are still open back, as if they had not been delivered, unless work on them has failed.

        Where the server cannot be reached, they stay pending, and count as delivered.
        """
        if not self._failed:
            with suppress(RedisError, GroupMissingError):
                for key, mask in self._by_key(self._open):
                    self._member.hand_back(key, self._rows_at(mask), self._feed.claim_ms)

    def _leave(self, error: BaseException) -> None:
        """Hand rows back where the work was interrupted; where it failed, leave them pending for another delivery.

        A row that failed alone, and often enough, is rejected.
        """
        if isinstance(error, _LEAVING):
            self.hand_back()
            return
        self._failed = True
        if len(self) == 1 and self.deliveries[0] >= self._feed.most:
            with suppress(RedisError, GroupMissingError):  # it is given up when it is met again
                self.reject(reason=f"{type(error).__name__}: {error}"[:_LONGEST_REASON])

    def _chosen(self, rows: Any) -> npt.NDArray[np.bool_]:
        """Return those of the rows of a mask that are open."""
        if rows is None:
            return self._open.copy()
        nullable = isinstance(rows, (pd.Series, pd.api.extensions.ExtensionArray)) and is_bool_dtype(rows.dtype)
        # Null is false, as in `frame[mask]`.
        mask = rows.to_numpy(bool, na_value=False) if nullable else np.asarray(rows)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise UsageError(
                f"rows is a boolean mask with one value for each of the {len(self)} rows of the batch; found "
                f"{mask.dtype} of shape {mask.shape}. `batch.frame['x'] > 0` is such a mask.",
                rows=rows,
            )
        return np.asarray(self._open & mask)

    def _by_key(self, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[bytes, npt.NDArray[np.bool_]]]:
        """Return each stream that has some of the rows, and which of them."""
        for at, key in enumerate(self._keys):
            mask = chosen & (self._rows.part == at) if len(self._keys) > 1 else chosen
            if mask.any():
                yield key, mask

    def _rows_at(self, mask: npt.NDArray[np.bool_]) -> list[tuple[bytes, int]]:
        """Return ids and deliveries."""
        return list(zip(id_list(self._rows.ids[mask]), self.deliveries[mask].tolist(), strict=True))
