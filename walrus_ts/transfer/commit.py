"""Commands and derived rows, written in one step with the acknowledgement of the rows that they come from."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from redis.exceptions import ResponseError

from walrus_ts.cluster import Pool, SlotPool
from walrus_ts.columnar import resp, text
from walrus_ts.columnar.commands import EMPTY_PAIR, command, id_texts
from walrus_ts.columnar.fitting import Fitted
from walrus_ts.errors import BatchLostError, GroupMissingError, UsageError
from walrus_ts.ids import StreamId, to_ids
from walrus_ts.transfer.job import Job, check_late, first_write, record_to_write
from walrus_ts.transfer.member import Guard, Member
from walrus_ts.transfer.patience import PASSING, Patience
from walrus_ts.transfer.scan import StreamState, current_schema
from walrus_ts.transfer.script import MOST_UNPACKED
from walrus_ts.transfer.wire import Wire, check

_MOST_ARGUMENTS = 1_000_000  # of a script: the server takes 1,048,576 in all (networking.c)
_LATE = "Leave them out of the frame that `batch.append` is given"

Command = Sequence[bytes]
Rows = Sequence[tuple[bytes, list[bytes]]]  # of each stream: its key, and ids


def commit(member: Member, rows: Rows, commands: Sequence[Command], jobs: Sequence[Job]) -> list[Any]:
    """Run commands, append rows and acknowledge others, all in one step, and once.

    Parameters
    ----------
    member : Member
        With whom the rows have to be pending.
    rows : sequence of (key, ids)
        What is acknowledged.
    commands : sequence of arguments
    jobs : sequence of Job
        Tables that are appended.

    Returns
    -------
    replies : list
        Of the commands; empty where they were run, and the answer was lost with its connection.

    Raises
    ------
    BatchLostError
        A row is no longer pending, or is another consumer's, or its group has gone; nothing is written.
    LateRowsError, SchemaError, UsageError
        The rows cannot be appended; nothing is written.
    redis.exceptions.RedisError
        The server has refused a command, or could not be reached for a minute.
    """
    if not rows:
        if not commands and not jobs:
            return []
        raise UsageError(
            "the batch has no row left that could be acknowledged together with the transaction's commands"
        )
    patience, in_doubt = Patience(), False
    while True:
        try:
            with Wire(member.pool) as wire:
                keys = _keys(wire, member.pool, commands)
                _check_slot(member, [*keys, *(job.records.key for job in jobs)])
                while True:
                    try:
                        guards, appends = _plan(wire, jobs)
                    except UsageError:  # rows that have been appended by the commit whose answer was lost are late now
                        if in_doubt and _is_done(wire, member, rows):
                            return []
                        raise
                    _check_sizes([*commands, *appends])
                    outcome, *facts = member.commit(wire, rows, guards, [*commands, *appends], keys)
                    if outcome != b"changed":
                        return _result(outcome, facts, rows, len(commands), in_doubt=in_doubt)
                    time.sleep(random.uniform(0, 0.005))  # two writers step out of each other's way
        except PASSING as error:
            patience.wait(error)
            in_doubt = True
        except GroupMissingError as error:
            raise _lost(rows, sum(len(ids) for _, ids in rows), 0) from error


def _is_done(wire: Wire, member: Member, rows: Rows) -> bool:
    """Tell whether none of the rows is pending any more."""
    requests = [command(b"XPENDING", key, member.group, id_, id_, b"1") for key, ids in rows for id_ in ids]
    return not any(check(reply) for reply in wire.ask(*requests))


def _result(outcome: bytes, facts: list[Any], rows: Rows, commands: int, *, in_doubt: bool) -> list[Any]:
    if outcome == b"done":
        replies: list[Any] = facts[0][:commands]
        return replies
    if outcome == b"failed":
        number, message = facts
        raise ResponseError(
            f"the server refused command {number} of the batch's transaction: {message.decode(errors='replace')}. The "
            f"{number - 1} before it have been run; the batch's rows stay pending."
        )
    gone, taken = facts
    total = sum(len(ids) for _, ids in rows)
    if in_doubt and gone == total:  # it had been done when the connection was lost; or another consumer has done it all
        return []
    raise _lost(rows, gone, taken)


def _lost(rows: Rows, gone: int, taken: int) -> BatchLostError:
    total = sum(len(ids) for _, ids in rows)
    return BatchLostError(
        f"of the {total} rows of the batch, {taken} have been claimed by another consumer and {gone} are no longer "
        "pending: nothing of the transaction was written. Work that takes longer than `claim_after` calls "
        "`batch.extend()` before that time is over.",
        claimed=taken,
        finished=gone,
    )


def _keys(wire: Wire, pool: Pool, commands: Sequence[Command]) -> list[bytes]:
    """Ask which keys commands have, where a script has to declare them: in a cluster (COMMAND GETKEYS)."""
    if not isinstance(pool, SlotPool):
        return []
    replies = wire.ask(*(command(b"COMMAND", b"GETKEYS", *parts) for parts in commands))
    # An error: the command has no keys, or there is none of this name.
    return [key for reply in replies if not isinstance(reply, resp.ErrorReply) for key in reply]


def _check_slot(member: Member, keys: Sequence[bytes]) -> None:
    """Refuse to write to another slot of a cluster than that of the rows: no script can do so in one step."""
    for key in keys:
        if isinstance(member.pool, SlotPool) and not member.pool.holds(key):
            raise UsageError(
                f"a batch's transaction writes to one slot of the cluster, that of its rows (of {member.keys[0]!r}), "
                f"and the key {key!r} is in another. Keys that share a hash tag share a slot: '{{a}}x', '{{a}}y'.",
                key=key,
            )


def _check_sizes(commands: Sequence[Command]) -> None:
    longest = max(map(len, commands), default=0)
    if longest > MOST_UNPACKED:
        raise UsageError(
            f"a command of a batch's transaction has at most {MOST_UNPACKED} arguments; found one of {longest}. Split "
            "it."
        )
    total = sum(map(len, commands))
    if total > _MOST_ARGUMENTS:
        raise UsageError(
            f"a batch's transaction has at most {_MOST_ARGUMENTS} values; found {total}. Take smaller batches "
            "(`batches(count=...)`)."
        )


# Rows that are appended ----------------------------------------------------------------------------------------------


def _plan(wire: Wire, jobs: Sequence[Job]) -> tuple[list[Guard], list[Command]]:
    """Write the rows as commands, for streams that are as they are now: that is what the guards say."""
    guards: list[Guard] = []
    commands: list[Command] = []
    seen: dict[bytes, tuple[StreamState | None, bytes | None]] = {}
    for job in jobs:
        records = job.records
        if records.key not in seen:
            info, record = wire.ask(command(b"XINFO", b"STREAM", records.key), command(b"GET", records.schema))
            state, record = StreamState.of(info, records.key), check(record, records.schema)
            seen[records.key] = state, record
            last_id = state.last_id.encode() if state else b""
            guards.append(Guard(records.key, records.schema, last_id, record or b""))
        seen[records.key] = _append(job, *seen[records.key], commands)
    return guards, commands


def _append(
    job: Job, state: StreamState | None, record: bytes | None, commands: list[Command]
) -> tuple[StreamState | None, bytes | None]:
    """Write a table's rows as commands; return the state and the record that they leave behind."""
    schema = current_schema(state, record, job.records)
    fitted = job.fit(schema)
    check_late(job, fitted.times, state, cure=_LATE)
    milliseconds, sequence = to_ids(fitted.times, state.last_id if state else None)
    origin = first_write(state, schema, milliseconds, sequence)
    written = record_to_write(schema, fitted.schema, origin)
    if written is not None:
        commands.append([b"SET", job.records.schema, written])
        record = written
    ids = id_texts(milliseconds, sequence).to_pylist()
    commands += [[b"XADD", job.records.key, id_, *pairs] for id_, pairs in zip(ids, _pairs(fitted), strict=True)]
    if ids:
        last = StreamId.parse(ids[-1])
        state = StreamState(last, (state.added if state else 0) + len(ids), state.first_id if state else None)
    return state, record


def _pairs(fitted: Fitted) -> list[list[bytes]]:
    """Return each row's fields and values in turn."""
    pairs: list[list[bytes]] = [[] for _ in range(len(fitted.times))]
    for column, array in fitted.columns:
        if array is None:
            continue
        texts: pa.Array = text.encode(array)
        for row, value in zip(pairs, texts.to_pylist(), strict=True):
            if value is not None:
                row.extend((column.field, value))
    return [row or EMPTY_PAIR for row in pairs]
