"""Chapter 1: a stream on its own is a container. Items are added, read and deleted, explicitly."""

import re
import time

import pytest

from walrus_ts import Database, Stream


@pytest.fixture
def stream(db: Database) -> Stream:
    """Have three messages in `stream-a`."""
    stream = db.Stream("stream-a")
    for text in ("hello streams", "message 2", "message 3"):
        stream.add({"message": text})
    return stream


@pytest.fixture
def ids(stream: Stream) -> list[bytes]:
    """Know their ids."""
    return [msgid for msgid, _ in stream]


def test_add_returns_an_id_of_milliseconds_and_sequence(db: Database) -> None:
    """A message added is given an id from the server's clock, and the id is returned."""
    stream = db.Stream("stream-a")
    msgid = stream.add({"message": "hello streams"})
    assert re.fullmatch(rb"\d{13,}-\d+", msgid)


def test_ids_grow(stream: Stream, ids: list[bytes]) -> None:
    """Each message's id is above the one before it, also within a millisecond."""
    pairs = [tuple(map(int, msgid.split(b"-"))) for msgid in ids]
    assert pairs == sorted(set(pairs))


def test_slice_from_an_id(stream: Stream, ids: list[bytes]) -> None:
    """A slice begins with the message of its id: the ends of a range are inclusive."""
    _, msgid2, msgid3 = ids
    assert stream[msgid2:] == [
        (msgid2, {b"message": b"message 2"}),
        (msgid3, {b"message": b"message 3"}),
    ]


def test_step_of_a_slice_is_a_count(stream: Stream, ids: list[bytes]) -> None:
    """A slice's step limits how many messages come back."""
    msgid, msgid2, _ = ids
    assert stream[msgid::2] == [
        (msgid, {b"message": b"hello streams"}),
        (msgid2, {b"message": b"message 2"}),
    ]


def test_iterating_yields_all_messages(stream: Stream, ids: list[bytes]) -> None:
    """A stream is iterated from its oldest message to its newest."""
    assert list(stream) == [
        (ids[0], {b"message": b"hello streams"}),
        (ids[1], {b"message": b"message 2"}),
        (ids[2], {b"message": b"message 3"}),
    ]


def test_delete_a_message(stream: Stream) -> None:
    """A message is deleted by its id, and the stream's length is the number of those left."""
    msgid4 = stream.add({"message": "delete me"})
    del stream[msgid4]
    assert len(stream) == 3


def test_trim(db: Database) -> None:
    """Trimming keeps the newest messages: some more than were asked for, or exactly as many."""
    stream2 = db.Stream("stream-2")
    for i in range(1000):
        stream2.add({"data": f"message-{i}"})

    nremoved = stream2.trim(10)
    assert nremoved == 900
    assert len(stream2) == 100

    assert stream2.trim(10, approximate=False) == 90
    assert len(stream2) == 10
    assert [data for _, data in stream2][-1] == {b"data": b"message-999"}


def test_read_returns_all_messages(stream: Stream) -> None:
    """Reading begins with the first message."""
    assert stream.read() == list(stream)


def test_read_behind_an_id(stream: Stream, ids: list[bytes]) -> None:
    """Reading goes on behind the last id that was read, which is exclusive."""
    _, msgid2, msgid3 = ids
    assert stream.read(last_id=msgid2) == [(msgid3, {b"message": b"message 3"})]


def test_read_with_nothing_new(stream: Stream, ids: list[bytes]) -> None:
    """Reading behind the newest message returns an empty list."""
    assert stream.read(last_id=ids[-1]) == []


def test_read_blocks(stream: Stream) -> None:
    """Reading behind `$` waits for a new message, and returns an empty list if none comes."""
    began = time.monotonic()
    assert stream.read(block=200, last_id="$") == []
    assert time.monotonic() - began >= 0.2
