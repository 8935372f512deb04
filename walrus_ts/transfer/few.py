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
from walrus_ts.columnar.schema import Origin, Records
from walrus_ts.errors import AppendError
from walrus_ts.transfer.wire import LOST, REFUSED_LOGIN, Wire, check

if TYPE_CHECKING:
    from redis import ConnectionPool

MOST_ROWS = 100
_PATIENCE_SECONDS = 20.0

# KEYS: stream, schema record. ARGV: the record; the id of the stream's first write, and how many entries had been added
# before it; rows; then of each row: its id, how many arguments follow, fields and values. Returns 1 where the rows are
# added, 0 where nothing is: the record is another, the stream is another (`StreamState.began`), or the ids are not
# greater than its last one.
_SCRIPT = b"""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
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
"""
_SHA = sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()


Row = tuple[bytes, list[bytes]]  # its id; its fields and values, in turn


def append_few(pool: ConnectionPool, records: Records, record: bytes, origin: Origin, rows: Sequence[Row]) -> bool:
    """Add rows, if the stream has this schema record and ends before them.

    Parameters
    ----------
    pool : redis.ConnectionPool
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
        The connection was lost, and could not be made again: the rows may be stored.
    redis.exceptions.RedisError
        The server refuses; nothing is stored.
    """
    arguments = [record, origin.id.encode(), b"%d" % origin.added, b"%d" % len(rows)]
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
