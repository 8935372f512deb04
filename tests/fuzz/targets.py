"""What is fuzzed: each target takes bytes, and raises AssertionError where walrus_ts and hiredis disagree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.replies import Entry, bulk, encoded, oracle, plain, rows, streams_as_table, view
from walrus_ts.columnar import resp
from walrus_ts.columnar.replies import EntriesReply, glance, parse_streams

KEY = b"k"
FIELDS = [b"price", b"*2", b""]
_HEAD = b"*1\r\n*2\r\n" + bulk(KEY)


def entries(data: bytes) -> None:
    """Read a reply to XRANGE, as whichever fields are expected."""
    expected = _result(lambda: oracle(data))
    for fields in ([], FIELDS):
        _same(_result(lambda fields=fields: rows(EntriesReply(view(data)).entries(fields))), expected, data)
    if expected:
        _same(EntriesReply(view(data)).last_id.encode(), expected[-1][0], data)
    glance(view(data))


def streams(data: bytes) -> None:
    """Read a reply to XREADGROUP."""
    expected = _result(lambda: oracle(data))
    for parse in (parse_streams, streams_as_table):
        found = _result(lambda parse=parse: rows(parse(view(_HEAD + data), [b"another", KEY])[KEY].entries()))
        _same(found, expected, data)


def replies(data: bytes) -> None:
    """Read replies one behind the other, by both parsers."""
    found, expected = _result(lambda: plain(resp._parse_all(data))), _result(lambda: plain(resp._parse_hiredis(data)))
    # hiredis takes any two bytes for the end of a text, and types of RESP3, which no server sends unasked.
    if found is not None or expected is None or b"".join(map(_written, expected)) == data:
        _same(found, expected, data)


def _written(reply: Any) -> bytes:
    """Write a reply as a server does, which writes no status."""
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(_written, reply))
    if isinstance(reply, bytes):
        return bulk(reply)
    return b":%d\r\n" % reply if isinstance(reply, int) else b"$-1\r\n" if reply is None else b""


def _same(found: Any, expected: Any, data: bytes) -> None:
    assert found == expected, f"{data!r} was read as {found!r}, and is {expected!r}"


def _result(read: Callable[[], Any]) -> Any:
    """Return what is read; None where the bytes are refused."""
    try:
        return read()
    except ValueError:
        return None


TARGETS: list[Callable[[bytes], None]] = [entries, streams, replies]


def run(data: bytes) -> None:
    """Give bytes to the target that the first of them chooses.

    hiredis takes as much memory as an array announces, so it is not asked about very long ones.
    """
    if data and not resp._LARGE.search(data):
        TARGETS[data[0] % len(TARGETS)](data[1:])


def seeds() -> list[bytes]:
    """Return what mutations begin with."""
    row = [b"price", b"1.5", b"volume", b"*2\r\n$3"]
    found: list[list[Entry]] = [
        [],
        [(b"1-1", None)],
        [(b"1700000000000-%d" % n, row) for n in range(4)],
        [(b"1700000000000-%d" % n, row[: 2 * (n % 3)]) for n in range(6)],
        [(b"5-0", [b"", b"", b"a\r\nb", b"x" * 1_005])],
    ]
    replies_ = [b"*-1\r\n", b"$-1\r\n+OK\r\n:-5\r\n-ERR no\r\n", b"*2\r\n*0\r\n*1\r\n$0\r\n\r\n"]
    return [bytes([at]) + data for data in [*map(encoded, found), *replies_] for at in range(len(TARGETS))]
