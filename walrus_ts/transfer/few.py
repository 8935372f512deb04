"""A few rows at one round trip, where the stream is as it was when rows were last appended to it.

A script on the server compares the schema record and adds the rows, all or none. Where something has changed, it does
nothing, and the rows go the long way (`load`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from walrus_ts.cluster import ElsewhereError
from walrus_ts.columnar import text
from walrus_ts.columnar.commands import EMPTY_PAIR, command
from walrus_ts.columnar.fitting import Fitted
from walrus_ts.columnar.schema import Origin, Records, shown
from walrus_ts.errors import AppendError
from walrus_ts.transfer.patience import LOST, Patience
from walrus_ts.transfer.script import MOST_UNPACKED, Script
from walrus_ts.transfer.wire import Wire, check

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool

MOST_ROWS = 100
MOST_COLUMNS = MOST_UNPACKED // 2  # of a row: a field and a value each
_LOAD = re.compile(r"few:(\d+-\d+)")

# KEYS: stream, schema record. ARGV: the record; the id of the stream's first write, and how many entries had been added
# before it; rows; then of each row: its id, how many arguments follow, fields and values. Returns 1 where the rows are
# added, 0 where nothing is: the record is another, the stream is another (`StreamState.began`), or the ids are not
# greater than its last one.
_SCRIPT = Script(b"""
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local reply = redis.pcall('XINFO', 'STREAM', KEYS[1])
if reply.err then return 0 end
local info = {}
for i = 1, #reply, 2 do info[reply[i]] = reply[i + 1] end
local before, added, first = tonumber(ARGV[3]), info['entries-added'], info['first-entry']
if added <= before then return 0 end
if before == 0 and info['length'] == added and first[1] ~= ARGV[2] then return 0 end
local at = 5
for row = 1, tonumber(ARGV[4]) do
  local count = tonumber(ARGV[at + 1])
  local added = redis.pcall('XADD', KEYS[1], ARGV[at], unpack(ARGV, at + 2, at + 1 + count))
  if type(added) == 'table' and added.err then
    if row == 1 and string.find(added.err, 'equal or smaller') then return 0 end
    return added
  end
  at = at + 2 + count
end
return 1
""")


Row = tuple[bytes, list[bytes]]  # its id; its fields and values, in turn


def append_few(pool: Pool, records: Records, record: bytes, origin: Origin, rows: Sequence[Row]) -> bool:
    """Add rows, if the stream has this schema record and ends before them.

    Parameters
    ----------
    pool : Pool
        Its connections speak RESP2 and do not decode.
    records : Records
        Of the stream.
    record : bytes
        The schema record that the rows are written by.
    origin : Origin
        The record's.
    rows : sequence of (id, pairs)
        Of increasing ids, not empty; the pairs are fields and values in turn.

    Returns
    -------
    bool
        Whether the rows are stored; else nothing is.

    Raises
    ------
    AppendError
        The connection was lost, and could not be made again, or the end of the answer was refused: the rows may be
        stored; `is_stored` tells.
    redis.exceptions.RedisError
        The server was not to be had, or refuses; nothing is stored.
    """
    arguments = [record, origin.id.encode(), b"%d" % origin.added, b"%d" % len(rows)]
    for id_, pairs in rows:
        arguments += [id_, b"%d" % len(pairs), *pairs]
    lost, patience = False, Patience()
    while True:
        sent = False
        try:
            with Wire(pool) as wire:
                sent = True
                if _SCRIPT.run(wire, [records.key, records.schema], arguments):
                    wire.confirm()
                    return True
                # Nothing is added now; but an earlier try, whose answer was lost, may have been carried out.
                return lost and _lies_there(wire, records.key, *rows[0])
        except RedisError as error:
            unanswered = isinstance(error, LOST) or vars(error).get("unheard", False)
            lost = lost or (sent and unanswered and not isinstance(error, ElsewhereError))
            if not lost and not isinstance(error, ElsewhereError):
                raise
            patience.wait(error, partial(_stopped, records.key, rows) if lost else None)


def _stopped(key: bytes, rows: Sequence[Row], error: Exception) -> AppendError:
    load, reason = f"few:{rows[0][0].decode()}", str(error).rstrip(".")
    return AppendError(
        f"appending {len(rows)} rows to stream {shown(key)!r} stopped: {reason}. They may "
        f"be stored, all or none; `append(frame, load={load!r})` stores them if they are not.",
        appended=0,
        load=load,
        key=key,
    )


def stopped_at(load: str) -> bytes | None:
    """Return the id of the first of the rows whose append has stopped; None for the name of another load."""
    match = _LOAD.fullmatch(load)
    return match and match[1].encode()


def is_stored(pool: Pool, records: Records, id_: bytes, fitted: Fitted) -> bool:
    """Tell whether an append of a few rows, whose answer was lost, was carried out.

    Parameters
    ----------
    pool : Pool
    records : Records
        Of the stream.
    id_ : bytes
        Of the first row.
    fitted : Fitted
        The rows, as the stream's record wants them; not empty.
    """
    pairs: list[bytes] = []
    for column, array in fitted.columns:
        value = None if array is None else text.encode(array.slice(0, 1))[0].as_py()
        if value is not None:
            pairs += (column.field, value)
    with Wire(pool) as wire:
        return _lies_there(wire, records.key, id_, pairs or EMPTY_PAIR)


def _lies_there(wire: Wire, key: bytes, id_: bytes, pairs: list[bytes]) -> bool:
    (found,) = wire.ask(command(b"XRANGE", key, id_, id_))
    return bool(check(found) == [[id_, pairs]])
