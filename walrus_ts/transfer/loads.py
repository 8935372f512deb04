"""How far loads are: the record that is written with the rows, and where it lies."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from walrus_ts.columnar.commands import command
from walrus_ts.columnar.schema import Origin, Records, Schema, shown
from walrus_ts.errors import DataError
from walrus_ts.ids import StreamId
from walrus_ts.transfer.scan import StreamState
from walrus_ts.transfer.wire import Wire, check

_TOKEN_SECONDS = 86_400  # how long the progress of an unnamed load is kept
# Writes how far a load is, where its rows are in the stream. In a transaction they are, one would think; but Redis
# looks at a user's rights command by command, when it is queued and again at EXEC, and where MULTI itself is refused,
# what stands behind it is carried out at once. So rights that are taken away meanwhile could leave this without rows.
# KEYS: stream, the record's key. ARGV: the last row's id, then verb and values of the command.
_WRITE_BEHIND = b"""
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' and info[i + 1] ~= ARGV[1] then
    return redis.error_reply('ERR the rows were refused')
  end
end
redis.call(ARGV[2], KEYS[2], unpack(ARGV, 3))
return 1
"""
_TOKEN = re.compile(r"unnamed:(\d+:[0-9a-f]{32})")  # the first number: when it was made


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is; its JSON is the record.

    The first four say which frame it is: another one under the same name is an error. `added` (entries that had ever
    been added before the load) and `origin` (the schema record's) say which stream it is.
    """

    rows: int
    first: str | None
    last: str | None
    fields: tuple[str, ...]
    begun: str
    stored: int = 0
    late: int = 0
    first_id: str | None = None
    finished: str | None = None
    added: int = 0
    origin: Origin | None = None

    def to_json(self) -> bytes:
        """Write the record."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["origin"] = self.origin and self.origin.to_json()
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, record: bytes, key: bytes) -> Progress:
        """Read the record.

        Raises
        ------
        DataError
            It is broken; the message names the key that it lies under, or within.
        """
        try:
            read = json.loads(record)
            origin = read.get("origin") and Origin.from_json(read["origin"])
            if not isinstance(read["fields"], list):
                raise ValueError("the fields are no list")
            progress = cls(**{**read, "fields": tuple(read["fields"]), "origin": origin})
            progress._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            where = shown(key)
            raise DataError(
                f"{where} has no record of a load of walrus_ts: {record[:80]!r}. Delete what is there.", key=key
            ) from error
        return progress

    def _check(self) -> None:
        for count in (self.rows, self.stored, self.late, self.added):
            if type(count) is not int or not 0 <= count < 2**63:
                raise ValueError(f"a number of rows that is none: {count!r}")
        for time_ in (self.first, self.last, self.begun, self.finished):
            if time_ is not None:
                datetime.fromisoformat(time_)
        for text_ in (*self.fields, *([] if self.first_id is None else [self.first_id])):
            text_.encode()  # an AttributeError where it is no text; JSON has what is no Unicode, too

    @property
    def position(self) -> int:
        """Rows of the frame that are dealt with."""
        return self.late + self.stored

    def holds(self, state: StreamState | None, schema: Schema | None) -> bool:
        """Tell whether this is of the stream that is there now, and not of one deleted since."""
        if state is None or state.added < self.added + self.stored:
            return False
        return self.origin is None or (schema is not None and schema.origin == self.origin)

    def differences(self, other: Progress) -> list[str]:
        """Name what tells that the two are not of one frame; times are the same in any unit."""
        mine, others = ((p.rows, _trimmed(p.first), _trimmed(p.last), p.fields) for p in (self, other))
        pairs = zip(("rows", "first", "last", "fields"), mine, others, strict=True)
        return [name for name, one, two in pairs if one != two]


class LoadRecord:
    """Where the progress of a load lies: under its name among the stream's loads, or in a key of its own.

    Parameters
    ----------
    records : Records
        Of the stream.
    given : str, optional
        The load's name. One that has none gets one, by which it can be resumed.

    Attributes
    ----------
    name : str
    key : bytes
        The key that the progress lies under, or within.
    unnamed : bool
        The load has a key of its own, which expires, and is gone when all rows are stored.
    new : bool
        Likewise, and it begins with this call.
    """

    def __init__(self, records: Records, given: str | None) -> None:
        self.name = given or f"unnamed:{time.time():.0f}:{secrets.token_hex(16)}"
        token = _TOKEN.fullmatch(self.name)
        self.unnamed = token is not None
        self.new = not given
        self.key = records.load(token[1].encode()) if token else records.loads
        self._undo = False  # something was written before the first row

    @property
    def expired(self) -> bool:
        """Tell whether the progress of a resumed load may be gone for its age, and not for the load's end."""
        return self.unnamed and not self.new and time.time() - int(self.name.split(":")[1]) > _TOKEN_SECONDS

    def read(self) -> bytes:
        """Return the command that reads the progress."""
        return command(b"GET", self.key) if self.unnamed else command(b"HGET", self.key, self.name.encode())

    def begin(self, progress: Progress, *, moving: bool) -> list[bytes]:
        """Return the commands that write what has to be there before the first row.

        For a load without a name, the progress: its end can be told from it. For others, where the slot is on its way
        to the server, the key: that takes no transaction with keys that are not there (TRYAGAIN). Progress that is
        there is left alone: these may be bytes of a connection that was given up, which arrive when the load goes on.
        """
        if self.unnamed:
            return [command(b"SET", self.key, *self._expiring(progress), b"NX")] if self.new else []
        return [command(b"HSETNX", self.key, self.name.encode(), progress.to_json())] if moving else []

    def begun(self, replies: list[Any]) -> None:
        """Take note of what the commands of `begin` were answered with."""
        self._undo = self._undo or bool(replies and replies[0] != 0)

    def write(self, progress: Progress) -> bytes:
        """Return the command that writes the progress."""
        verb, *values = self._written(progress)
        return command(verb, self.key, *values)

    def write_behind(self, progress: Progress, stream: bytes, last_id: StreamId) -> bytes:
        """Return the command that writes the progress behind the rows of a stream, of which the last is given."""
        verb, *values = self._written(progress)
        return command(b"EVAL", _WRITE_BEHIND, b"2", stream, self.key, last_id.encode(), verb, *values)

    def _written(self, progress: Progress) -> list[bytes]:
        """Return the verb, and what stands behind the key."""
        if not self.unnamed:
            return [b"HSET", self.name.encode(), progress.to_json()]
        return [b"DEL"] if progress.finished else [b"SET", *self._expiring(progress)]

    def left_by(self, progress: Progress) -> bytes | None:
        """Return what can be read once this progress is written."""
        return None if self.unnamed and progress.finished else progress.to_json()

    def forget(self) -> list[bytes]:
        """Return the commands that undo those of `begin`."""
        if not self._undo:
            return []
        return [command(b"DEL", self.key) if self.unnamed else command(b"HDEL", self.key, self.name.encode())]

    def _expiring(self, progress: Progress) -> list[bytes]:
        return [progress.to_json(), b"EX", b"%d" % _TOKEN_SECONDS]


def unfinished(wire: Wire, records: Records) -> list[bytes]:
    """Return the names of the records of a stream's loads without a name, which are there until these are complete."""
    prefix, cursor, found = records.load(b""), b"0", set()
    pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", prefix) + b"*"
    while True:
        cursor, names = check(wire.ask(command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"1000"))[0])
        # `{t}a:b` begins as `{t}a` does.
        found |= {name for name in names if _TOKEN.fullmatch(f"unnamed:{name[len(prefix) :].decode(errors='replace')}")}
        if cursor == b"0":
            return sorted(found)


def _trimmed(time: str | None) -> str | None:
    """Write a time without the zeros that its unit puts at its end."""
    return time.rstrip("0").rstrip(".") if time is not None and "." in time else time
