import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import redis

import walrus_ts
from tests.consuming import Key, rows, series, xs
from tests.helpers import wait_until
from walrus_ts import BatchLostError, DataError, GroupMissingError, SchemaError, UsageError
from walrus_ts.columnar import lines


@contextmanager
def in_thread(work: Callable[[], object], after: float) -> Iterator[None]:
    """Do something in another thread, some seconds after the block has begun."""
    timer = threading.Timer(after, work)
    timer.start()
    yield
    timer.join()


# What is delivered --------------------------------------------------------------------------------------------------


def test_batches_are_the_rows_as_they_went_in(db: walrus_ts.Database, key: Key) -> None:
    """One stream's batches are its frame, cut into pieces of `count` rows."""
    ts = series(db, key(), n=10)
    frames = []
    for batch in ts[key()].batches(count=4, wait=0):
        with batch:
            frames.append(batch.frame)
    assert [len(frame) for frame in frames] == [4, 4, 2]
    pd.testing.assert_frame_equal(pd.concat(frames), rows(10), check_freq=False)


@pytest.mark.parametrize("count", [4_999, 5_000, 7_501, 100_000])
def test_large_batches(db: walrus_ts.Database, key: Key, count: int) -> None:
    """Batches that are read in pieces are of `count` rows all the same, whatever fields the pieces' entries have."""
    ts = series(db, key())
    frame = pd.DataFrame({"x": 0.5, "y": "text"}, index=pd.date_range("2024", periods=12_000, freq="s", unit="us"))
    frame.loc[frame.index[2_000:9_000], "x"] = np.nan
    frame.iloc[3_000:, 1] = None
    ts[key()].append(frame)
    with ts[key()].batches(count=count, wait=0) as batches:
        found = [batch for batch in batches if batch.ack()]
    assert [len(batch) for batch in found[:-1]] == [count] * (12_000 // count)
    pd.testing.assert_frame_equal(pd.concat([batch.frame for batch in found]), frame, check_freq=False)
    assert [id_ for batch in found for id_ in batch.ids] == ts[key()].frame(ids=True)["stream_id"].tolist()
    assert ts.status()["pending"].tolist() == [0]


def test_a_groups_batches_say_where_a_row_is_from(db: walrus_ts.Database, key: Key) -> None:
    """A group's batch has rows of all streams in the order of time, with a categorical column of the keys."""
    ts = series(db, key("a"), key("b"))
    ts[key("a")].append(rows(3))
    ts[key("b")].append(rows(3, start="2024-01-01 00:00:01", first=10))
    (batch,) = list(ts.batches(wait=0))
    assert xs(batch) == [0, 1, 10, 2, 11, 12]
    assert batch.frame["stream"].tolist() == [key(name) for name in "aababb"]
    assert batch.frame["stream"].dtype == pd.CategoricalDtype([key("a"), key("b")])
    assert batch.ids[0] == "1704067200000-0"
    assert batch.deliveries.tolist() == [1] * 6
    assert batch.ack() == 6


def test_stream_name(db: walrus_ts.Database, key: Key) -> None:
    """Data with a column `stream` need another name for ours; rows met before that is said are not lost or counted."""
    ts = series(db, key())
    ts[key()].append(rows(2).rename(columns={"x": "stream"}))
    with pytest.raises(UsageError, match="stream_name"):
        next(ts.batches(wait=0))
    (batch,) = ts.batches(wait=0, stream_name="source")
    assert list(batch.frame.columns) == ["source", "stream"]
    assert batch.deliveries.tolist() == [1, 1]


def test_streams_of_different_dtypes_are_refused_and_left(db: walrus_ts.Database, key: Key) -> None:
    """Rows that no one frame can hold are handed back, and can be consumed stream by stream."""
    ts = series(db, key("a"), key("b"))
    ts[key("a")].append(rows(2))
    ts[key("b")].append(rows(2).astype(str))
    with pytest.raises(SchemaError, match="Read the streams one by one"):
        next(ts.batches(wait=0))
    for name in "ab":
        (batch,) = ts[key(name)].batches(wait=0)
        assert batch.deliveries.tolist() == [1, 1]


def test_rows_that_come_later(db: walrus_ts.Database, key: Key) -> None:
    """Columns that were added, and streams without a record, are followed while the iterator lives."""
    ts = series(db, key(), n=1)
    stream = ts[key()]
    batches = stream.batches(wait=0)
    with next(batches) as batch:
        assert batch.frame["x"].dtype == "int64"
    stream.append(pd.DataFrame({"x": [7], "y": ["a"]}, index=rows(1, "2025").index), evolve=True)
    with next(batches) as batch:
        assert batch.frame.to_dict("list") == {"x": [7], "y": ["a"]}
    db.xadd(key(), {"x": 8, "z": "b"})
    with next(batches) as batch:
        assert batch.frame["z"].tolist() == ["b"]


def test_read_frame(db: walrus_ts.Database, key: Key) -> None:
    """`read_frame` reads once, leaves rows pending, and gives no rows of the right dtypes where nothing is new."""
    ts = series(db, key(), n=3)
    stream = ts[key()]
    pd.testing.assert_frame_equal(stream.read_frame(count=2), rows(2), check_freq=False)
    assert ts.read_frame()[["stream", "x"]].to_dict("list") == {"stream": [key()], "x": [2]}
    empty = stream.read_frame()
    assert (len(empty), empty["x"].dtype) == (0, np.dtype("int64"))
    assert stream.ack(*rows(3).index) == 3


def test_read_frame_of_what_is_no_one_frame(db: walrus_ts.Database, key: Key) -> None:
    """`read_frame` takes no row where the data have a column `stream`, and gives back what only the rows tell of."""
    ts = series(db, key())
    ts[key()].append(rows(2).rename(columns={"x": "stream"}))
    with pytest.raises(UsageError, match="stream_name"):
        ts.read_frame()
    assert ts[key()].pending() == []
    assert list(ts.read_frame(stream_name="source").columns) == ["source", "stream"]

    ts = series(db, key("foreign"))
    db.xadd(key("foreign"), {"stream": "a"})
    with pytest.raises(UsageError, match="stream_name"):
        ts.read_frame()
    (batch,) = ts.batches(wait=0, stream_name="source")
    assert batch.frame["stream"].tolist() == ["a"]
    assert batch.deliveries.tolist() == [1]


def test_read_frame_blocks_for_ever(url: str, db: walrus_ts.Database, key: Key) -> None:
    """`block=0` outlasts the socket's timeout."""
    ts = series(db, key())
    with (
        walrus_ts.connect(url, socket_timeout=0.1) as impatient,
        in_thread(lambda: db.time_series("other", [key()])[key()].append(rows(1)), after=0.4),
    ):
        assert len(impatient.time_series("readers", [key()]).read_frame(block=0)) == 1
    assert len(ts[key()].pending()) == 1


def test_read_frame_of_what_cannot_be_decoded(db: walrus_ts.Database, key: Key) -> None:
    """`read_frame` names the value that its column cannot hold, and leaves the rows pending."""
    ts = series(db, key(), n=1)
    db.xadd(key(), {"x": "much"})
    with pytest.raises(DataError, match=r"much.*declare\(\{'x': 'str'"):
        ts.read_frame()
    assert len(ts[key()].pending()) == 2
    ts[key()].declare({"x": "str"})
    assert xs(next(ts.batches(wait=0, claim_after=0.001))) == ["0", "much"]


# What becomes of rows -----------------------------------------------------------------------------------------------


def test_a_block_acknowledges(db: walrus_ts.Database, key: Key) -> None:
    """`with batch:` acknowledges at its end, also where it is left by `break`."""
    ts = series(db, key(), n=4)
    for batch in ts.batches(count=2, wait=0):
        with batch:
            break
    assert [id for (id, _), *_ in ts[key()].pending()] == []
    assert len(next(ts.batches(wait=0))) == 2


def test_ack_takes_a_mask(db: walrus_ts.Database, key: Key) -> None:
    """`ack` acknowledges the rows of a mask, be it a Series, an array or a list, and says how many were pending."""
    ts = series(db, key(), n=6)
    batch = next(ts.batches(wait=0))
    assert batch.ack(batch.frame["x"] < 2) == 2
    assert batch.ack((batch.frame["x"] < 3).to_numpy()) == 1
    assert batch.ack([False] * 5 + [True]) == 1
    assert repr(batch) == "<Batch of 6 rows, 2 of them open>"
    assert batch.ack() == 2
    assert batch.ack() == 0


@pytest.mark.parametrize("dtype", ["Int64", "int64[pyarrow]"])
def test_masks_of_nullable_columns(db: walrus_ts.Database, key: Key, dtype: str) -> None:
    """A mask may be of a nullable dtype; null is false, as where pandas indexes by it."""
    ts = series(db, key())
    frame = rows(4).astype(dtype)
    frame.iloc[3, 0] = None
    ts[key()].append(frame)
    batches = ts.batches(wait=0)
    batch = next(batches)
    assert batch.ack(batch.frame["x"] > 1) == 1
    assert batch.ack((batch.frame["x"] > 0).array) == 1


@pytest.mark.parametrize("mask", [[True], ["a"], [0, 1, 2], np.ones((3, 1), bool)])
def test_what_is_no_mask(db: walrus_ts.Database, key: Key, mask: Any) -> None:
    """Positions, labels and masks of another length are refused; nothing is acknowledged."""
    batch = next(series(db, key(), n=3).batches(wait=0))
    for act in (batch.ack, batch.reject):
        with pytest.raises(UsageError, match="boolean mask with one value for each of the 3 rows"):
            act(mask)
    assert batch.ack() == 3


def test_extend_keeps_others_away(db: walrus_ts.Database, key: Key) -> None:
    """A batch that is extended in time is not taken over, and its deliveries are not counted."""
    ts = series(db, key(), n=3)
    batches = ts.batches(wait=0)
    batch = next(batches)
    wait_until(lambda: ts[key()].pending_frame()["idle"].min() > pd.Timedelta("300ms"))
    batch.extend()
    assert list(ts.batches(wait=0, claim_after=0.3)) == []
    assert ts[key()].pending_frame()["deliveries"].tolist() == [1] * 3


def test_extend_takes_nothing_back(db: walrus_ts.Database, key: Key) -> None:
    """Rows that another consumer has claimed or finished stay its own: the error names them; others are extended."""
    ts = series(db, key(), n=3)
    batches = ts.batches(wait=0)
    batch = next(batches)
    thief = ts.consumer("thief")[key()]
    thief.claim(batch.ids[0])
    thief.ack(batch.ids[1])
    with pytest.raises(BatchLostError, match="2 of the batch's 3 rows") as raised:
        batch.extend()
    assert raised.value.rows == batch.ids[:2]
    assert ts[key()].pending_frame()["consumer"].tolist()[0] == "thief"
    assert batch.ack() == 1


def test_streams_that_share_ids(db: walrus_ts.Database, key: Key) -> None:
    """What happens to a row of one stream does not touch that of another one under the same id."""
    ts = series(db, key("a"), key("b"), n=2)
    batches = ts.batches(wait=0)
    batch = next(batches)
    db.xack(key("a"), "readers", batch.ids[0])
    with pytest.raises(BatchLostError, match="1 of the batch's 4 rows"):
        batch.extend()
    in_b = batch.frame["stream"] == key("b")
    assert batch.reject(in_b) == 2
    assert (len(ts[key("a")].dead_letters()), len(ts[key("b")].dead_letters())) == (0, 2)
    assert batch.ack() == 1


def test_lost_rows(db: walrus_ts.Database, key: Key) -> None:
    """Rows trimmed while pending are acknowledged and counted, with the next batch and in the iterator."""
    ts = series(db, key(), n=4, consumer="w")
    next(ts.batches(wait=0)).extend()
    ts[key()].trim(1, approximate=False)
    batches = ts.batches(wait=0)
    batch = next(batches)
    assert (xs(batch), batch.lost, batches.lost) == ([3], 3, 3)
    batch.ack()
    assert list(batches) == []
    assert ts[key()].pending() == []


def test_nothing_but_lost_rows(db: walrus_ts.Database, key: Key) -> None:
    """Where all pending rows are gone, the iteration ends, and has counted them."""
    ts = series(db, key(), n=4, consumer="w")
    list(ts.batches(wait=0))
    db.xtrim(key(), 0, approximate=False)
    batches = ts.batches(wait=0)
    assert (list(batches), batches.lost) == ([], 4)
    assert ts[key()].pending() == []


# Who gets which rows ------------------------------------------------------------------------------------------------


def test_own_backlog_comes_first(db: walrus_ts.Database, key: Key) -> None:
    """A worker that comes back under its name gets what it had pending, with the count of deliveries, then new rows."""
    ts = series(db, key(), n=2, consumer="w")
    list(ts.batches(wait=0))
    ts[key()].append(rows(2, "2025", first=10))
    assert [(xs(b), b.deliveries.tolist()) for b in ts.batches(wait=0)] == [([0, 1], [2, 2]), ([10, 11], [1, 1])]


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_value_that_reads_like_the_row_behind_it(db: walrus_ts.Database, key: Key, *, prefetch: bool) -> None:
    """Rows that failed come again, and rows read ahead are handed back, also where a value reads like another row."""
    ts = series(db, key(), consumer="w1")
    frame = pd.DataFrame({"x": [str(number) for number in range(900)]}, index=rows(900).index)
    frame.iloc[[298, 598], 0] = "x\r\n*2\r\n$15\r\n9999999999999-0\r\n*4"
    ts[key()].append(frame)
    with ts.batches(300, wait=0, prefetch=prefetch) as batches, suppress(ZeroDivisionError):
        for batch in batches:
            with batch:
                raise ZeroDivisionError
    again = [batch.frame["x"] for batch in ts.batches(300, wait=0, max_deliveries=2**40) if batch.ack()]
    assert sorted(pd.concat(again)) == sorted(frame["x"])


def test_rows_that_are_too_long_together(db: walrus_ts.Database, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of more bytes than can be read at once are an error, and come with a smaller `count`."""
    monkeypatch.setattr(lines, "LONGEST", 100_000)  # 2 GiB are too much for a test
    ts = series(db, key(), consumer="w1")
    ts[key()].append(pd.DataFrame({"x": ["x" * 9_000] * 20}, index=rows(20).index))
    with pytest.raises(UsageError, match="Ask for fewer rows: a smaller `count`"), ts.batches(20, wait=0) as batches:
        next(batches)
    assert sum(batch.ack() for batch in ts.batches(10, wait=0)) == 20


def test_a_backlog_ends(db: walrus_ts.Database, key: Key) -> None:
    """The backlog is what was pending at the beginning: what fails meanwhile does not come again in the iteration."""
    ts = series(db, key(), n=40, consumer="w")
    list(ts.batches(count=20, wait=0))
    ts[key()].append(rows(40, "2025", first=100))
    seen = [x for batch in ts.batches(count=10, wait=0) for x in xs(batch)]
    assert sorted(seen) == [*range(40), *range(100, 140)]


def test_backlog_and_new_rows_take_turns(db: walrus_ts.Database, key: Key) -> None:
    """Neither a backlog nor what the dead have left keeps new rows waiting, and new rows do not keep those waiting."""
    ts = series(db, key(), n=40)
    list(ts.consumer("dead").batches(count=20, wait=0))
    ts[key()].append(rows(40, "2025", first=100))
    wait_until(lambda: ts[key()].pending_frame()["idle"].min() > pd.Timedelta("60ms"))
    kinds = [xs(b)[0] >= 100 for b in ts.consumer("w").batches(count=10, wait=0, claim_after=0.05)]
    assert all(one != other for one, other in pairwise(kinds[:6]))


@pytest.mark.parametrize("reader", ["dead", "other"])
def test_streams_take_turns(db: walrus_ts.Database, key: Key, reader: str) -> None:
    """What is pending in one stream of a group, here and with the dead, does not keep that of another one waiting."""
    ts = series(db, key("a"), key("b"), n=30)
    list(ts.consumer("dead").batches(count=30, wait=0))
    wait_until(lambda: ts.pending_frame()["idle"].min() > pd.Timedelta("60ms"))
    worker = ts.consumer(reader)
    claim_after = 0.05 if reader == "other" else 60
    batches = [batch for batch in worker.batches(count=10, wait=0, claim_after=claim_after) if batch.ack()]
    found = [batch.frame["stream"].iloc[0] for batch in batches]
    assert all(one != other for one, other in pairwise(found))
    assert sum(map(len, batches)) == 60


def test_workers_side_by_side(db: walrus_ts.Database, key: Key) -> None:
    """Several workers share a group's rows: each row is worked on by one of them."""
    series(db, key("a"), key("b"), n=2_000)
    seen: list[tuple[str, int]] = []

    def work() -> None:
        for batch in db.time_series("readers", [key("a"), key("b")]).batches(count=50, wait=0):
            with batch:
                seen.extend(zip(batch.frame["stream"], batch.frame["x"], strict=True))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == len(set(seen)) == 4_000


def test_however_one_connects(any_db: walrus_ts.Database, key: Key) -> None:
    """Batches, rejections and transactions are the same with text or bytes, RESP2 or RESP3, hiredis or not."""
    ts = series(any_db, key(), n=4)
    batches = ts.batches(count=2, wait=0)
    with next(batches) as batch:
        batch.reject(batch.frame["x"] == 0)
    with next(batches).transaction() as pipe:
        pipe.set(key("n"), "ä")
        pipe.get(key("n"))
    assert pipe.replies == [b"OK", "ä".encode()]
    assert list(batches) == []
    assert ts[key()].dead_letters()["x"].tolist() == [0]
    assert ts.status()[["pending", "consumers"]].values.tolist() == [[0, 0]]


def test_rows_of_the_dead(db: walrus_ts.Database, key: Key) -> None:
    """Rows that a consumer left pending for `claim_after` seconds go to another one, while it waits, and no sooner."""
    ts = series(db, key(), n=3)
    list(ts.consumer("dead").batches(wait=0))
    assert list(ts.batches(wait=0)) == []
    batch = next(ts.batches(wait=10, claim_after=0.3))
    assert (xs(batch), batch.deliveries.tolist()) == ([0, 1, 2], [2, 2, 2])


def test_rows_that_stay_open(db: walrus_ts.Database, key: Key) -> None:
    """A consumer that goes on without acknowledging takes its own rows over, and at last they are dead letters."""
    ts = series(db, key(), n=1)
    batches = ts.batches(wait=10, claim_after=0.01, max_deliveries=3)
    assert [next(batches).deliveries.tolist() for _ in range(3)] == [[1], [2], [3]]
    wait_until(lambda: ts[key()].pending_frame()["idle"].min() > pd.Timedelta("20ms"))
    assert list(ts.batches(wait=0, claim_after=0.01, max_deliveries=3)) == []
    assert ts[key()].dead_letters()["deliveries"].tolist() == [3]


def test_one_connection(url: str, db: walrus_ts.Database, key: Key) -> None:
    """One connection is enough to give up rows that were delivered too often."""
    series(db, key(), n=1)
    with walrus_ts.connect(url, max_connections=1) as own:
        ts = own.time_series("readers", [key()])
        batches = ts.batches(wait=10, claim_after=0.01, max_deliveries=3)
        assert [next(batches).deliveries.tolist() for _ in range(3)] == [[1], [2], [3]]
        wait_until(lambda: ts[key()].pending_frame()["idle"].min() > pd.Timedelta("20ms"))
        assert list(ts.batches(wait=0, claim_after=0.01, max_deliveries=3)) == []
        assert ts[key()].dead_letters()["deliveries"].tolist() == [3]


def test_consumers_without_a_name(db: walrus_ts.Database, key: Key) -> None:
    """Each iterator without a name is a consumer of its own, and leaves when it ends with nothing pending."""
    ts = series(db, key(), n=4)
    one, other = ts.batches(count=2, wait=0), ts.batches(count=2, wait=0)
    with next(one), next(other):
        names = ts[key()].consumers_frame()["consumer"].tolist()
        assert len(set(names)) == 2
        assert all(name.startswith("readers.") for name in names)
    assert list(one) == list(other) == []
    assert len(ts[key()].consumers_frame()) == 0


def test_a_consumer_with_pending_rows_stays(db: walrus_ts.Database, key: Key) -> None:
    """A consumer without a name does not leave while rows are pending with it: the group would forget them."""
    ts = series(db, key(), n=2)
    list(ts.batches(wait=0))
    assert ts[key()].consumers_frame()["pending"].tolist() == [2]


def test_a_named_consumer_stays(db: walrus_ts.Database, key: Key) -> None:
    """A consumer that was given a name stays in the group."""
    ts = series(db, key(), n=2, consumer="w")
    for batch in ts.batches(wait=0):
        batch.ack()
    assert ts[key()].consumers_frame()["consumer"].tolist() == ["w"]


# Redelivery ---------------------------------------------------------------------------------------------------------


def test_redelivery_shrinks(db: walrus_ts.Database, key: Key) -> None:
    """Batches that fail come again in smaller and smaller ones, at last row by row; then they are dead letters."""
    ts = series(db, key(), n=100, consumer="w")
    sizes = []
    for _ in range(5):
        batches = list(ts.batches(count=100, wait=0, max_deliveries=5))
        sizes.append(max(map(len, batches)))
        assert sum(map(len, batches)) == 100
    assert sizes == [100, 32, 10, 3, 1]
    assert list(ts.batches(count=100, wait=0, max_deliveries=5)) == []
    assert len(ts[key()].dead_letters()) == 100


def test_one_row_is_to_blame(db: walrus_ts.Database, key: Key) -> None:
    """A row that fails alone, and often enough, goes to the dead letters at once; all others are worked on."""
    ts = series(db, key(), n=50, consumer="w")
    done: set[int] = set()
    for _ in range(5):
        batches = ts.batches(count=20, wait=0, max_deliveries=3)
        while (batch := next(batches, None)) is not None:
            with suppress(ValueError), batch:
                if 33 in xs(batch):
                    raise ValueError("thirty-three")
                done |= set(xs(batch))
    assert done == set(range(50)) - {33}
    letters = ts[key()].dead_letters()
    assert letters[["x", "deliveries", "reason"]].values.tolist() == [[33, 3, "ValueError: thirty-three"]]
    assert ts[key()].pending() == []


def test_a_transaction_that_fails_is_a_failure(db: walrus_ts.Database, key: Key) -> None:
    """A row whose transaction raises is counted, and goes to the dead letters in the end."""
    ts = series(db, key(), n=1, consumer="w")
    for _ in range(2):
        with ts.batches(wait=0, max_deliveries=2) as batches, suppress(ValueError):
            for batch in batches:
                with batch.transaction():
                    raise ValueError("bad row")
    assert ts[key()].dead_letters()["reason"].tolist() == ["ValueError: bad row"]


def test_a_failed_batch_can_be_rejected(db: walrus_ts.Database, key: Key) -> None:
    """After a block that raised, rows are still the batch's to reject or to acknowledge."""
    ts = series(db, key(), n=3)
    batch = next(ts.batches(wait=0))
    with suppress(ValueError), batch:
        raise ValueError
    assert batch.reject([True, False, False], "of no use") == 1
    assert batch.ack() == 2


def test_a_batch_outlives_its_iterator(db: walrus_ts.Database, key: Key) -> None:
    """Rows that were handed back can still be acknowledged and rejected, as long as nobody else has taken them."""
    ts = series(db, key(), n=3)
    batch = next(ts.batches(wait=0))
    assert ts[key()].pending_frame()["deliveries"].tolist() == [0, 0, 0]
    assert batch.reject([True, False, False]) == 1
    assert batch.ack() == 2


@pytest.mark.parametrize("leave", ["break", "close", "with", "raise"])
def test_leaving_hands_back(db: walrus_ts.Database, key: Key, leave: str) -> None:
    """Rows in hand when the iteration is left are as if they had not been delivered, and anybody's."""
    ts = series(db, key(), n=3)
    batches = ts.batches(wait=0)
    if leave == "break":
        for _ in ts.batches(wait=0):
            break
    elif leave == "close":
        next(batches)
        batches.close()
        batches.close()
        assert list(batches) == []
    else:
        with suppress(ZeroDivisionError), batches:
            next(batches)
            if leave == "raise":
                raise ZeroDivisionError
    batch = next(ts.batches(wait=0))
    assert (len(batch), batch.deliveries.tolist()) == (3, [1, 1, 1])


def test_an_iterator_that_outlives_its_database(url: str, db: walrus_ts.Database, key: Key) -> None:
    """What is left of an iteration when the database has been closed opens no connection."""
    series(db, key(), n=3)
    with walrus_ts.connect(url) as other:
        batches = other.time_series("readers", [key()]).batches(wait=0)
        next(batches)
    before = db.info("stats")["total_connections_received"]
    del batches
    assert db.info("stats")["total_connections_received"] == before


def test_a_batch_that_raised_is_not_handed_back(db: walrus_ts.Database, key: Key) -> None:
    """An exception in the block counts as a delivery, also where it ends the iteration."""
    ts = series(db, key(), n=3, consumer="w")
    with suppress(ZeroDivisionError), ts.batches(wait=0) as batches:
        for batch in batches:
            with batch:
                raise ZeroDivisionError
    assert next(ts.batches(wait=0)).deliveries.tolist() == [2, 2, 2]


# How it ends --------------------------------------------------------------------------------------------------------


def test_wait(db: walrus_ts.Database, key: Key) -> None:
    """`wait` is how many seconds without a row end the iteration; rows within them begin the time anew."""
    ts = series(db, key(), n=1)
    with in_thread(lambda: db.time_series("other", [key()])[key()].append(rows(1, "2025", first=1)), after=0.2):
        begun = time.monotonic()
        assert [xs(batch) for batch in ts.batches(wait=0.5)] == [[0], [1]]
    assert 0.6 < time.monotonic() - begun < 2


def test_a_group_that_does_not_exist(db: walrus_ts.Database, key: Key) -> None:
    """A group that was never there is an error that names the cure, with and without its stream."""
    ts = db.time_series("nobody", [key()])
    for _ in range(2):
        with pytest.raises(GroupMissingError, match=r"'nobody'.*create\(\)"):
            next(ts.batches(wait=0))
        with pytest.raises(GroupMissingError, match=r"create\(\)"):
            ts.read_frame()
        ts[key()].append(rows(1))


def test_a_key_of_another_type(db: walrus_ts.Database, key: Key) -> None:
    """A stream in whose place another type lies is named."""
    series(db, key())
    db.delete(key())
    db.set(key(), "text")
    with pytest.raises(redis.ResponseError, match=f"WRONGTYPE.*{key()}"):
        next(db.time_series("readers", [key()]).batches(wait=0))
    with pytest.raises(redis.ResponseError, match=f"WRONGTYPE.*{key()}"):
        db.time_series("readers", [key()])[key()].read_frame()


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 1.5},
        {"count": True},
        {"count": 2**70},
        {"wait": -1},
        {"wait": "1"},
        {"claim_after": 0},
        {"claim_after": float("nan")},
        {"claim_after": float("inf")},
        {"max_deliveries": 0},
        {"max_deliveries": 2**63},
    ],
)
def test_numbers_that_make_no_sense(db: walrus_ts.Database, key: Key, wrong: dict[str, Any]) -> None:
    """What `batches` cannot work with is refused when it is called, by name and value."""
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"{name} is .*found {value!r}"):
        db.time_series("readers", [key()]).batches(**wrong)
