"""Chapter 2: in a consumer group, the server keeps account of what was read, and by whom."""

import pytest

from walrus_ts import ConsumerGroup, Database

STREAM_KEYS = ["stream-a", "stream-b", "stream-c"]


@pytest.fixture
def cg(db: Database) -> ConsumerGroup:
    """Create the group `cg-abc` on three streams, with all that they hold marked as read."""
    for key in STREAM_KEYS:
        db.xadd(key, {"data": ""})
    cg = db.consumer_group("cg-abc", STREAM_KEYS)
    cg.create()
    cg.set_id("$")
    return cg


@pytest.fixture
def filled(cg: ConsumerGroup) -> ConsumerGroup:
    """Add one message to a, one to b, and ten to c."""
    cg.stream_a.add({"message": "new a"})
    cg.stream_b.add({"message": "new for b"})
    for i in range(10):
        cg.stream_c.add({"message": f"c-{i}"})
    return cg


@pytest.fixture
def read_by_two(filled: ConsumerGroup) -> tuple[ConsumerGroup, ConsumerGroup]:
    """Have the default consumer read twice, and a second one once: c-0, c-1 and c-2 are pending."""
    filled.read(count=1)
    filled.read(count=1)
    second = filled.consumer("cg-abc.c2")
    second.read(count=1)
    return filled, second


def texts(response: list) -> dict[str, list[bytes]]:
    """Give the messages' texts by stream."""
    return {key: [data[b"message"] for _, data in messages] for key, messages in response}


def test_create(db: Database) -> None:
    """Creating a group says for each stream whether it was created; the second time, it was not."""
    cg = db.consumer_group("cg-abc", STREAM_KEYS)
    assert cg.create() == {"stream-a": True, "stream-b": True, "stream-c": True}
    assert cg.create() == {"stream-a": False, "stream-b": False, "stream-c": False}


def test_read_with_nothing_new(cg: ConsumerGroup) -> None:
    """A group whose messages are all marked as read reads an empty list."""
    assert cg.read() == []


def test_read_one_of_each(filled: ConsumerGroup) -> None:
    """A group's streams are its attributes; `count` is a number for each of them."""
    response = filled.read(count=1)
    assert [key for key, _ in response] == ["stream-a", "stream-b", "stream-c"]
    assert texts(response) == {
        "stream-a": [b"new a"],
        "stream-b": [b"new for b"],
        "stream-c": [b"c-0"],
    }


def test_read_goes_on(filled: ConsumerGroup) -> None:
    """The next read returns what was not read yet, of those streams that have something."""
    filled.read(count=1)
    assert texts(filled.read(count=1)) == {"stream-c": [b"c-1"]}


def test_pending(filled: ConsumerGroup) -> None:
    """What was read is pending: with its id, consumer, age and number of deliveries."""
    [(_, [(msgid, _)]), *_] = filled.read(count=1)
    [pending] = filled.stream_a.pending()
    age = pending.pop("time_since_delivered")
    assert 0 <= age < 10_000
    assert pending == {"message_id": msgid, "consumer": b"cg-abc.c1", "times_delivered": 1}


def test_acknowledge(filled: ConsumerGroup) -> None:
    """A message that was acknowledged is pending no more."""
    filled.read(count=1)
    pending_list = filled.stream_a.pending()
    assert filled.stream_a.ack(pending_list[0]["message_id"]) == 1
    assert filled.stream_a.pending() == []


def test_second_consumer(filled: ConsumerGroup) -> None:
    """Another consumer of the group goes on where the group has come to."""
    filled.read(count=1)
    filled.read(count=1)
    cg2 = filled.consumer("cg-abc.c2")
    assert texts(cg2.read(count=1)) == {"stream-c": [b"c-2"]}


def test_who_reads_what(read_by_two: tuple[ConsumerGroup, ConsumerGroup]) -> None:
    """A pending message belongs to the consumer that read it."""
    cg, _ = read_by_two
    assert [(p["consumer"], p["times_delivered"]) for p in cg.stream_c.pending()] == [
        (b"cg-abc.c1", 1),
        (b"cg-abc.c1", 1),
        (b"cg-abc.c2", 1),
    ]


def test_claim(read_by_two: tuple[ConsumerGroup, ConsumerGroup]) -> None:
    """A consumer claims a pending message: it gets the data, the message is its own, and counts one more delivery."""
    cg, cg2 = read_by_two
    mc1, _, _ = cg.stream_c.pending()

    assert cg2.stream_c.claim(mc1["message_id"]) == [(mc1["message_id"], {b"message": b"c-0"})]

    assert [(p["consumer"], p["times_delivered"]) for p in cg.stream_c.pending()] == [
        (b"cg-abc.c2", 2),
        (b"cg-abc.c1", 1),
        (b"cg-abc.c2", 1),
    ]


def test_streams_have_the_methods_of_standalone_ones(filled: ConsumerGroup) -> None:
    """A group's stream is read, added to, trimmed and deleted from like one on its own."""
    stream = filled.stream_c
    assert texts([("stream-c", stream.read(count=2))]) == {"stream-c": [b"c-0", b"c-1"]}
    newest = stream.add({"message": "one more"}, maxlen=5, approximate=False)
    assert len(stream) == 5
    assert stream.delete(newest) == 1
    assert stream.trim(2, approximate=False) == 2
    assert [data for _, data in stream] == [{b"message": b"c-8"}, {b"message": b"c-9"}]


def test_set_id(filled: ConsumerGroup) -> None:
    """`$` marks all messages of a stream as read, `0-0` none."""
    filled.stream_c.set_id("$")
    assert filled.stream_c.read() == []
    filled.stream_c.set_id("0-0")
    assert len(filled.stream_c.read()) == 11
