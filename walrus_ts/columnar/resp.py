"""RESP2 replies -> Python objects: for short replies, and for those that cannot be taken as columns.

hiredis does it where it is installed; the parser below is for where it is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

hiredis: Any
try:
    import hiredis
except ImportError:  # a platform without its wheels
    hiredis = None


_END = b"+no reply of a server's\r\n"
_NUMBER = re.compile(rb"0|-?[1-9]\d{0,18}")
_LARGE = re.compile(rb"\*\d{6}")  # an array of so many items that they may not be there; or a value that reads so


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error that the server answered with, as ``"ERR no such key"``."""

    message: str


def parse(data: bytes | bytearray | memoryview) -> list[Any]:
    """Read all the replies that a buffer holds.

    Parameters
    ----------
    data : bytes-like
        Whole RESP2 replies, one behind the other.

    Returns
    -------
    replies : list
        int, bytes, None, list or `ErrorReply` each; a status (``+OK``) is bytes.

    Raises
    ------
    ValueError
        The bytes are no RESP2, or end within a reply.
    """
    # hiredis makes an array as long as it is announced before it reads the first item.
    slowly = hiredis is None or _LARGE.search(data) is not None
    return _parse_all(bytes(data)) if slowly else _parse_hiredis(data)


def pairs(flat: list[Any]) -> dict[bytes, Any]:
    """Return what a reply of names and values in turn says, as XINFO's are."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _parse_hiredis(data: bytes | bytearray | memoryview) -> list[Any]:
    reader = hiredis.Reader(replyError=ErrorReply, protocolError=ValueError, errors="replace")
    reader.feed(bytes(data) + _END)  # `has_data` knows nothing of a reply that was read in part
    replies = []
    try:
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    except TypeError as error:  # a map of RESP3 whose keys are arrays
        raise ValueError(f"the reply is no RESP2: {error}") from error
    if not replies or replies.pop() != _END[1:-2]:
        raise ValueError("the buffer ends within a reply")
    return replies


def _parse_all(data: bytes) -> list[Any]:
    replies, at = [], 0
    try:
        while at < len(data):
            reply, at = _parse_one(data, at)
            replies.append(reply)
    except RecursionError as error:
        raise ValueError("the reply has arrays within arrays without an end") from error
    return replies


def _parse_one(data: bytes, at: int) -> tuple[Any, int]:
    end = data.find(b"\r\n", at)
    if end < 0:
        raise ValueError("the buffer ends within a reply")
    kind, line, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in (b"+", b"-") and (b"\r" in line or b"\n" in line):
        raise ValueError(f"a line with another line's end in it: {line[:20]!r}")
    if kind == b"+":
        return line, at
    if kind == b"-":
        return ErrorReply(line.decode(errors="replace")), at
    if kind not in (b":", b"$", b"*") or not _NUMBER.fullmatch(line):
        raise ValueError(f"no RESP2 reply begins with {kind + line[:20]!r}")
    number = int(line)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"a number of more than 64 bits: {number}")
    if kind == b":":
        return number, at
    if number < 0:
        if number < -1:
            raise ValueError(f"a length of {number}")
        return None, at
    if kind == b"$":
        if data[at + number : at + number + 2] != b"\r\n":
            raise ValueError("the buffer ends within a reply")
        return data[at : at + number], at + number + 2
    items = []
    for _ in range(number):
        item, at = _parse_one(data, at)
        items.append(item)
    return items, at
