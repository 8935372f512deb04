from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

import walrus_ts
from tests.consuming import Key, rows, series, xs
from tests.helpers import record_names
from tests.own_server import own_server
from tests.proxy import Proxy, Way
from walrus_ts import DataError, GroupMissingError, UsageError


def reject_all(ts: walrus_ts.TimeSeries, reason: str = "") -> None:
    """Reject all new rows."""
    for batch in ts.batches(wait=0):
        batch.reject(reason=reason)


def test_rejected_rows(db: walrus_ts.Database, key: Key) -> None:
    """A rejected row is a dead letter, with its values in their dtypes, its time as index, and why it is there."""
    ts = series(db, key(), n=3, consumer="w")
    batch = next(batches := ts.batches(wait=0))
    assert batch.reject(batch.frame["x"] == 1, reason="tø much") == 1
    assert batch.reject(batch.frame["x"] == 1) == 0
    assert batch.ack() == 2
    letters = ts[key()].dead_letters()
    assert letters.drop(columns="died").to_dict("list") == {
        "stream_id": ["1704067201000-0"],
        "deliveries": [1],
        "group": ["readers"],
        "consumer": ["w"],
        "reason": ["tø much"],
        "x": [1],
    }
    assert letters.index.tolist() == [pd.Timestamp("2024-01-01 00:00:01")]
    assert abs(pd.Timestamp.now("UTC") - letters["died"].iloc[0]) < pd.Timedelta("1min")
    assert len(ts[key()].frame()) == 3
    batches.close()


def test_no_dead_letters(db: walrus_ts.Database, key: Key) -> None:
    """Where there are none, the frame has the same columns and dtypes as with some."""
    ts = series(db, key(), n=1)
    empty = ts[key()].dead_letters()
    reject_all(ts)
    pd.testing.assert_frame_equal(empty, ts[key()].dead_letters().iloc[:0])
    assert len(db.time_series("readers", [key("none")])[key("none")].dead_letters()) == 0


def test_rows_that_cannot_be_decoded(db: walrus_ts.Database, key: Key) -> None:
    """A value that its column cannot hold makes its row a dead letter, null there; the rows around it are delivered."""
    ts = series(db, key("a"), key("b"), n=5)
    for name in "ab":
        db.xadd(key(name), {"x": "much"}, "1704067204000-1")
        ts[key(name)].append(rows(1, "2025", first=5))
    (batch,) = ts.batches(wait=0)
    assert sorted(xs(batch)) == sorted([*range(6), *range(6)])
    assert batch.ack() == 12
    letters = ts[key("a")].dead_letters()
    assert letters["x"].isna().tolist() == [True]
    assert "'much'" in letters["reason"].iloc[0]
    assert letters["stream_id"].tolist() == ["1704067204000-1"]


def test_nothing_but_rows_that_cannot_be_decoded(db: walrus_ts.Database, key: Key) -> None:
    """A batch of which no row can be decoded is none; what comes behind it is."""
    ts = series(db, key(), n=1)
    for n in range(7):
        db.xadd(key(), {"x": "?"}, f"1704067200001-{n}")
    ts[key()].append(rows(1, "2025", first=5))
    assert [x for batch in ts[key()].batches(count=2, wait=0) for x in xs(batch)] == [0, 5]
    assert len(ts[key()].dead_letters()) == 7


def test_ids_that_the_unit_cannot_express(db: walrus_ts.Database, key: Key) -> None:
    """A row whose id is no time of the index is a dead letter at its millisecond."""
    ts = series(db, key())
    ts[key()].append(rows(1).tz_localize("UTC").set_axis(pd.to_datetime(["2024-01-01"]).as_unit("us")))
    db.xadd(key(), {"x": "1"}, f"1704067200005-{500 << 20}")
    assert [xs(batch) for batch in ts.batches(wait=0)] == [[0]]
    letters = ts[key()].dead_letters()
    assert letters.index.tolist() == [pd.Timestamp("2024-01-01 00:00:00.005")]
    assert letters["x"].tolist() == [1]


def test_labels_like_ours(db: walrus_ts.Database, key: Key) -> None:
    """A column of the data that is named as one of ours has a dot before it."""
    ts = series(db, key())
    ts[key()].append(rows(1).assign(reason="cause", died=1))
    reject_all(ts, "ours")
    letters = ts[key()].dead_letters()
    assert letters[["reason", ".reason", ".died"]].values.tolist() == [["ours", "cause", 1]]


@pytest.mark.parametrize("fields", [{"": ""}, {b"\xff": b"\x00\r\n"}, {f"c{n}": n for n in range(3_000)}])
def test_any_row_comes_back(db: walrus_ts.Database, key: Key, fields: dict[str, str]) -> None:
    """An empty row, one of any bytes, and a very wide one are what they were when they are added anew."""
    ts = series(db, key())
    db.xadd(key(), fields)
    ((_, before),) = db.xrange(key())
    reject_all(ts)
    db.xtrim(key(), 0, approximate=False)
    assert ts[key()].replay_dead(as_new=True) == 1
    assert [after for _, after in db.xrange(key())] == [before]


def test_a_row_too_wide_to_copy(db: walrus_ts.Database, key: Key) -> None:
    """A row of more values than a script can pass on is given up all the same; it can be replayed while it is there."""
    ts = series(db, key())
    db.xadd(key(), {f"c{n}": n for n in range(5_000)})
    reject_all(ts)
    assert (len(ts[key()].dead_letters()), len(ts[key()].pending())) == (1, 0)
    assert ts[key()].replay_dead() == 1
    reject_all(ts)
    db.xtrim(key(), 0, approximate=False)
    with pytest.raises(UsageError, match=r"no values.*XDEL"):
        ts[key()].replay_dead(as_new=True)
    assert len(ts[key()].dead_letters()) == 1


def test_replay(db: walrus_ts.Database, key: Key) -> None:
    """Replayed rows are delivered to whoever asks first, as for the first time, and their letters are gone."""
    ts = series(db, key(), n=4)
    reject_all(ts)
    stream = ts[key()]
    assert stream.replay_dead("1704067200000-0") == 1
    assert stream.replay_dead([pd.Timestamp("2024-01-01 00:00:01")]) == 1
    assert stream.dead_letters()["x"].tolist() == [2, 3]
    assert stream.replay_dead(stream.dead_letters()["stream_id"]) == 2
    assert stream.replay_dead() == 0
    assert stream.pending_frame()["deliveries"].tolist() == [0] * 4
    (batch,) = ts.batches(wait=0)
    assert (xs(batch), batch.deliveries.tolist()) == ([0, 1, 2, 3], [1] * 4)


def test_replay_makes_no_consumer_of_one_that_is_gone(db: walrus_ts.Database, key: Key) -> None:
    """Replayed rows are pending with the group's NAME.c1; the consumers that had them are not back."""
    ts = series(db, key(), n=2)
    for batch in ts.batches(count=1, wait=0):  # a consumer of its own, which ends with the loop
        batch.reject()
        break
    reject_all(ts)
    assert ts[key()].dead_letters()["consumer"].nunique() == 2
    assert len(ts.consumers_frame()) == 0
    ts[key()].replay_dead()
    assert ts.consumers_frame()[["consumer", "pending"]].values.tolist() == [["readers.c1", 2]]


def test_replay_of_what_is_no_letter(db: walrus_ts.Database, key: Key) -> None:
    """An id without a dead letter is an error; nothing is replayed."""
    ts = series(db, key(), n=2)
    reject_all(ts)
    with pytest.raises(UsageError, match="no dead letter of the row 5-5"):
        ts[key()].replay_dead(["1704067200000-0", "5-5"])
    with pytest.raises(UsageError, match="None is no id"):
        ts[key()].replay_dead([None])
    assert len(ts[key()].dead_letters()) == 2


@pytest.mark.parametrize("reason", [None, 5])
def test_reasons_that_are_no_text(db: walrus_ts.Database, key: Key, reason: Any) -> None:
    """A reason that is no text is refused, and nothing is rejected."""
    ts = series(db, key(), n=1)
    batch = next(ts.batches(wait=0))
    with pytest.raises(UsageError, match="reason is text"):
        batch.reject(reason=reason)
    assert batch.ack() == 1


def test_replay_of_rows_that_are_gone(db: walrus_ts.Database, key: Key) -> None:
    """Where the stream no longer holds a row, replaying is an error that names the cure, and the cure works."""
    ts = series(db, key(), n=3)
    reject_all(ts)
    stream = ts[key()]
    stream.delete("1704067201000-0")
    with pytest.raises(UsageError, match=r"1704067201000-0.*as_new=True"):
        stream.replay_dead()
    assert len(stream.dead_letters()) == 3
    assert stream.replay_dead(as_new=True) == 3
    seen = {x: deliveries for b in ts.batches(wait=0) for x, deliveries in zip(xs(b), b.deliveries, strict=True)}
    assert seen == {0: 1, 1: 1, 2: 1}
    assert stream.frame(ids=True)["stream_id"].tolist()[-1] > "17040672"


def test_replay_into_a_group_that_is_gone(db: walrus_ts.Database, key: Key) -> None:
    """Letters of a group that was destroyed stay, and the error says which group that is."""
    ts = series(db, key(), n=1)
    reject_all(ts)
    ts.destroy()
    with pytest.raises(GroupMissingError, match="readers"):
        ts[key()].replay_dead()
    assert len(ts[key()].dead_letters()) == 1


def test_letters_of_several_groups(db: walrus_ts.Database, key: Key) -> None:
    """Each letter goes back to its own group."""
    one = series(db, key(), n=1)
    other = db.time_series("others", [key()])
    other.create()
    reject_all(one)
    reject_all(other)
    assert one[key()].dead_letters()["group"].tolist() == ["readers", "others"]
    assert one[key()].replay_dead() == 2
    assert (len(one[key()].pending()), len(other[key()].pending())) == (1, 1)


def test_what_another_program_wrote(db: walrus_ts.Database, key: Key) -> None:
    """What is no dead letter among them is an error that names it and the cure; so is a key of another type."""
    ts = series(db, key(), n=1)
    dead = record_names(key())[2]
    id = db.xadd(dead, {"a": "b"})
    with pytest.raises(DataError, match=rf"{id.decode()}.*delete it \(XDEL\)"):
        ts[key()].dead_letters()
    db.xdel(dead, id)
    assert len(ts[key()].dead_letters()) == 0
    db.delete(dead)
    db.set(dead, "text")
    batch = next(batches := ts.batches(wait=0))
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        batch.reject()
    assert len(ts[key()].pending()) == 1
    assert batch.ack() == 1
    batches.close()


def test_the_last_worker_was_killed(db: walrus_ts.Database, key: Key) -> None:
    """A row whose workers were killed each time, so that nobody rejected it, is a dead letter when it is met again."""
    ts = series(db, key(), n=3, consumer="w")
    for _ in range(3):
        for batch in ts.batches(count=1, wait=0, max_deliveries=3):
            if xs(batch) != [1]:
                batch.ack()
    assert list(ts.batches(wait=0, max_deliveries=3)) == []
    assert ts[key()].dead_letters()[["x", "deliveries", "reason"]].values.tolist() == [[1, 3, "delivered 3 times"]]


def test_one_delivery(db: walrus_ts.Database, key: Key) -> None:
    """With `max_deliveries=1`, a row that came with others gets another chance, alone."""
    ts = series(db, key(), n=3, consumer="w")
    for _ in range(2):
        with ts.batches(count=3, wait=0, max_deliveries=1) as batches:
            while (batch := next(batches, None)) is not None:
                with suppress(ValueError), batch:
                    if 1 in xs(batch):
                        raise ValueError
    assert ts[key()].dead_letters()["x"].tolist() == [1]


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_connection_cut_at_any_byte(tmp_path: Path, way: Way) -> None:
    """Wherever a connection is cut, a row is a dead letter once, and pending or a letter, never both."""
    with own_server(tmp_path) as server, Proxy(server.port) as proxy, walrus_ts.connect(server.url) as direct:
        for place in np.linspace(0, 2_000, 20, dtype=int).tolist():
            name = f"{place:05}"
            stream = series(direct, name, n=3)[name]
            with walrus_ts.connect(proxy.url, retry=Retry(NoBackoff(), 1)) as db:
                ts = db.time_series("readers", [name])
                proxy.cut_after(place, way)
                with ts.batches(wait=0) as batches:
                    next(batches).reject()
                assert stream.dead_letters()["x"].tolist() == [0, 1, 2], place
                assert stream.pending() == [], place
                ts[name].replay_dead()
            assert (len(stream.dead_letters()), len(stream.pending())) == (0, 3), place
        assert proxy.cuts > 10
