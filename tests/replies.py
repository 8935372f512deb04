"""Replies of a server, written and read otherwise than walrus_ts does: by hiredis."""

from collections.abc import Sequence
from typing import Any

import hiredis

from walrus_ts.columnar import replies, resp
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.lines import SLACK
from walrus_ts.columnar.replies import EntriesReply, parse_streams

Entry = tuple[bytes, list[bytes] | None]
Row = tuple[bytes, dict[bytes, bytes] | None]


def bulk(value: bytes) -> bytes:
    """Write a bulk string."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def encoded(found: Sequence[Entry]) -> bytes:
    """Write the reply to an XRANGE, as a server does."""
    parts = [b"*%d\r\n" % len(found)]
    for id_, fields in found:
        parts += [b"*2\r\n", bulk(id_)]
        parts.append(b"*-1\r\n" if fields is None else b"*%d\r\n" % len(fields) + b"".join(map(bulk, fields)))
    return b"".join(parts)


def view(data: bytes) -> memoryview:
    """Give a reply the bytes behind it that the parser may read."""
    return memoryview(data + b"\xaa" * SLACK)


def rows(columns: Entries) -> list[Row]:
    """Turn columns into rows again."""
    lists = {name: column.to_pylist() for name, column in columns.columns.items()}
    found: list[Row] = []
    for position, id_ in enumerate(columns.ids()):
        row = {name: column[position] for name, column in lists.items() if column[position] is not None}
        assert not (columns.gone[position] and row), "an entry that is gone has values"
        found.append((id_, None if columns.gone[position] else row))
    return found


def oracle(data: bytes) -> list[Row]:
    """Read a reply by hiredis; ValueError where it is none, or not one of entries."""
    reader = hiredis.Reader(protocolError=ValueError, replyError=ValueError)
    reader.feed(data)
    reader.feed(b"+end\r\n")  # `has_data` knows nothing of a reply that was read in part
    try:
        reply, end = reader.gets(), reader.gets()
    except TypeError as error:  # a map of RESP3 whose keys are arrays
        raise ValueError("no RESP2") from error
    if not isinstance(reply, list) or end != b"end":
        raise ValueError("no whole reply")
    found: list[Row] = []
    for entry in reply:
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], bytes):
            raise ValueError("no entry")
        milliseconds, dash, sequence = entry[0].partition(b"-")
        if not milliseconds.isdigit() or bool(dash) != sequence.isdigit():
            raise ValueError("no id")
        if max(int(milliseconds), int(sequence or 0)) >= 2**64:
            raise ValueError("an id that no server makes")
        id_ = b"%d-%d" % (int(milliseconds), int(sequence or 0))
        if entry[1] is None:
            found.append((id_, None))
            continue
        if not isinstance(entry[1], list) or len(entry[1]) % 2 or not all(isinstance(v, bytes) for v in entry[1]):
            raise ValueError("no fields")
        found.append((id_, dict(zip(entry[1][::2], entry[1][1::2], strict=True))))
    return found


def plain(reply: Any) -> Any:
    """Give an error reply a form that both parsers share."""
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return ("error", reply.message) if isinstance(reply, resp.ErrorReply) else reply


def streams_as_table(data: memoryview, keys: Sequence[bytes]) -> dict[bytes, EntriesReply]:
    """Read a reply to XREADGROUP as a table of lines, which is done with long ones."""
    usual = replies._SMALL
    replies._SMALL = 0
    try:
        return parse_streams(data, keys)
    finally:
        replies._SMALL = usual
