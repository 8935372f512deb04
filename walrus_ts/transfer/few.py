"""A few rows at one round trip, where the stream is as it was when rows were last appended to it.

A script on the server compares the schema record and adds the rows, all or none. Where something has changed, it does
nothing, and the rows go the long way (`load`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha1
from typing import TYPE_CHECKING

from redis.exceptions import BusyLoadingError

from walrus_ts.columnar import resp
from walrus_ts.columnar.commands import command
from walrus_ts.columnar.schema import Records
from walrus_ts.errors import AppendError
from walrus_ts.transfer.wire import LOST, REFUSED_LOGIN, Wire, check

if TYPE_CHECKING:
    from redis import ConnectionPool

MOST_ROWS = 100
_PATIENCE_SECONDS = 20.0

# KEYS: stream, schema record. ARGV: the record, how many entries had been added before the stream's first write, rows;
# then of each row: its id, how many arguments follow, fields and values. Returns 1 where the rows are added, 0 where
# nothing is: the record is another, the stream is another, or the ids are not greater than its last one.
_SCRIPT = b"""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then return 0 end
for i = 1, #info, 2 do
  if info[i] == 'entries-added' and info[i + 1] <= tonumber(ARGV[2]) then return 0 end
end
local at = 4
for row = 1, tonumber(ARGV[3]) do
  local count = tonumber(ARGV[at + 1])
  local added = redis.pcall('XADD', KEYS[1], ARGV[at], unpack(ARGV, at + 2, at + 1 + count))
  if type(added) == 'table' and added.err then
    if row == 1 and string.find(added.err, 'equal or smaller') then return 0 end
    return added
  end
  at = at + 2 + count
end
return 1
"""
_SHA = sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()


Row = tuple[bytes, list[bytes]]  # its id; its fields and values, in turn


def append_few(pool: ConnectionPool, records: Records, record: bytes, added: int, rows: Sequence[Row]) -> bool:
    """Add rows, if the stream has this schema record and ends before them.

    Parameters
    ----------
    pool : redis.ConnectionPool
        Its connections speak RESP2 and do not decode.
    records : Records
        Of the stream.
    record : bytes
        The schema record that the rows are written by.
    added : int
        Entries that had ever been added to the stream before its first write under the record.
    rows : sequence of (id, pairs)
        Of increasing ids, not empty; the pairs are fields and values in turn.

    Returns
    -------
    bool
        Whether the rows are stored; else nothing is.

    Raises
    ------
    AppendError
        The connection was lost, and could not be made again: the rows may be stored.
    redis.exceptions.RedisError
        The server refuses; nothing is stored.
    """
    arguments = [record, b"%d" % added, b"%d" % len(rows)]
    for id_, pairs in rows:
        arguments += [id_, b"%d" % len(pairs), *pairs]
    lost, patience, pause = False, time.monotonic() + _PATIENCE_SECONDS, 0.02
    while True:
        try:
            with Wire(pool) as wire:
                if _run(wire, [records.key, records.schema], arguments):
                    return True
                # Nothing is added now; but an earlier try, whose answer was lost, may have been carried out.
                return lost and _are_stored(wire, records.key, rows)
        except (*LOST, BusyLoadingError) as error:
            if isinstance(error, REFUSED_LOGIN) or time.monotonic() > patience:
                raise AppendError(
                    f"appending {len(rows)} rows to {records.key!r} stopped: {error}. They may be stored: compare the "
                    "stream's last rows (`tail`).",
                    appended=0,
                    load=None,
                ) from error
            lost = True
            time.sleep(pause)
            pause = min(1.0, 2 * pause)


def _run(wire: Wire, keys: list[bytes], arguments: list[bytes]) -> bool:
    (reply,) = wire.ask(command(b"EVALSHA", _SHA, b"2", *keys, *arguments))
    if isinstance(reply, resp.ErrorReply) and reply.message.startswith("NOSCRIPT"):
        (reply,) = wire.ask(command(b"EVAL", _SCRIPT, b"2", *keys, *arguments))
    return bool(check(reply))


def _are_stored(wire: Wire, key: bytes, rows: Sequence[Row]) -> bool:
    id_, pairs = rows[0]
    (found,) = wire.ask(command(b"XRANGE", key, id_, id_))
    return bool(check(found) == [[id_, pairs]])
