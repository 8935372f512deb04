"""Dead letters: rows that were given up, in a stream beside their own, and the way out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from walrus_ts.columnar.commands import command
from walrus_ts.columnar.schema import Records, shown
from walrus_ts.errors import DataError, UsageError
from walrus_ts.ids import StreamId
from walrus_ts.transfer.member import LONG_IDLE_MS, refuse_missing_group
from walrus_ts.transfer.patience import persist
from walrus_ts.transfer.script import Script
from walrus_ts.transfer.wire import check

if TYPE_CHECKING:
    from walrus_ts.cluster import Pool

_PAGE = 1_000
_MOST_DIGITS = 18  # of a number of 64 bits

# Makes rows pending again, as not yet delivered, each in one step with the removal of its letter; where the stream no
# longer holds a row, its values are added as a new one, if that is wanted. A letter that is gone was replayed before.
# KEYS: stream, dead letters. ARGV: '1' to add new rows, idle milliseconds, then letter, row, group, consumer of each.
# Returns how many were replayed, or the first row that is gone.
_REPLAY = Script(b"""
local replayed = 0
for i = 3, #ARGV, 4 do
  local letter = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  if letter then
    if redis.call('XRANGE', KEYS[1], ARGV[i + 1], ARGV[i + 1])[1] then
      redis.call('XCLAIM', KEYS[1], ARGV[i + 2], ARGV[i + 3], 0, ARGV[i + 1], 'IDLE', ARGV[2], 'RETRYCOUNT', 0,
        'FORCE', 'JUSTID')
    else
      local row = {}
      for at = 1, #letter[2], 2 do
        if string.sub(letter[2][at], 1, 1) == '.' then
          table.insert(row, string.sub(letter[2][at], 2))
          table.insert(row, letter[2][at + 1])
        end
      end
      if ARGV[1] == '' or #row == 0 then return ARGV[i + 1] end
      redis.call('XADD', KEYS[1], '*', unpack(row))
    end
    redis.call('XDEL', KEYS[2], ARGV[i])
    replayed = replayed + 1
  end
end
return replayed
""")


class Letter(NamedTuple):
    """A row that was given up.

    Attributes
    ----------
    letter_id : bytes
        When it was: an id of the server's clock.
    id : bytes
        The row's own.
    deliveries : int
    group, consumer, reason : bytes
    values : list of bytes
        The row's fields and values in turn.
    """

    letter_id: bytes
    id: bytes
    deliveries: int
    group: bytes
    consumer: bytes
    reason: bytes
    values: list[bytes]


def letters(pool: Pool, records: Records) -> Iterator[Letter]:
    """Read a stream's dead letters, the oldest first.

    Raises
    ------
    DataError
        An entry is none: another program has written it.
    """
    start = b"-"
    while True:
        request = command(b"XRANGE", records.dead, start, b"+", b"COUNT", b"%d" % _PAGE)
        (reply,) = persist(pool, lambda wire, request=request: wire.ask(request))  # type: ignore[misc]
        page = check(reply, records.dead)
        yield from (_letter(letter_id, flat, records) for letter_id, flat in page)
        if len(page) < _PAGE:
            return
        start = b"(" + page[-1][0]


def _letter(letter_id: bytes, flat: list[bytes], records: Records) -> Letter:
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    facts = dict(pairs)
    values = [part for field, value in pairs if field[:1] == b"." for part in (field[1:], value)]
    try:
        return Letter(
            letter_id,
            StreamId.parse(facts[b"id"]).encode(),
            _count(facts[b"deliveries"]),
            facts[b"group"],
            facts[b"consumer"],
            facts[b"reason"],
            values,
        )
    except (KeyError, ValueError) as error:
        raise DataError(
            f"the entry {letter_id.decode()} of {records.dead!r} is no dead letter: {error!r:.200}. Another program "
            "has written it; delete it (XDEL).",
            key=records.dead,
            id=letter_id.decode(),
        ) from error


def _count(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of deliveries that is none: {digits[:40]!r}")
    return int(digits)


def replay(pool: Pool, records: Records, chosen: Sequence[Letter], *, as_new: bool) -> int:
    """Make rows pending again in their groups, as not yet delivered; return how many.

    Raises
    ------
    UsageError
        The stream no longer holds a row, and it is not to be added anew; nothing is replayed.
    GroupMissingError
        A row's group does not exist.
    """
    parts = [chosen[at : at + _PAGE] for at in range(0, len(chosen), _PAGE)]
    if not as_new:
        for part in parts:
            requests = [command(b"XRANGE", records.key, letter.id, letter.id) for letter in part]
            found = persist(pool, lambda wire, requests=requests: wire.ask(*requests))  # type: ignore[misc]
            for letter, entries in zip(part, found, strict=True):
                if not check(entries):
                    raise _gone(letter.id, records, as_new=False)
    replayed = 0
    for part in parts:
        arguments = [b"1" if as_new else b"", b"%d" % LONG_IDLE_MS]
        for letter in part:
            # Not the consumer that had it: where that is gone, the claim would make it anew, and nobody remove it.
            arguments += [letter.letter_id, letter.id, letter.group, letter.group + b".c1"]
        keys = [records.key, records.dead]
        try:
            done = persist(pool, lambda wire, keys=keys, arguments=arguments: _REPLAY.run(wire, keys, arguments))  # type: ignore[misc]
        except ResponseError as error:
            refuse_missing_group(error, part[0].group, [records.key])
            raise
        if isinstance(done, bytes):
            raise _gone(done, records, as_new=as_new)
        replayed += done
    return replayed


def _gone(id_: bytes, records: Records, *, as_new: bool) -> UsageError:
    cure = (
        "Its dead letter has no values (they were too many to be copied): delete it (XDEL)."
        if as_new
        else "`replay_dead(..., as_new=True)` adds its values at the stream's end."
    )
    key = shown(records.key)
    return UsageError(
        f"stream {key!r} no longer holds the row {id_.decode()}, so it cannot be pending again. {cure}",
        key=records.key,
        id=id_.decode(),
    )
