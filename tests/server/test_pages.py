"""Long ranges, page by page: each page is asked for before the one before it has been read."""

from collections.abc import Callable

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from walrus_ts import Database, TimeSeriesStream, UsageError
from walrus_ts.columnar import lines
from walrus_ts.columnar.lines import SLACK
from walrus_ts.columnar.replies import EntriesReply, glance
from walrus_ts.transfer import scan

ENTRY = "\r\n*2\r\n$15\r\n1704067200001-0\r\n*2\r\n$1\r\nx\r\n$1\r\n1\r\n"  # reads like the beginning of an entry


@pytest.fixture
def stream(db: Database, key: Callable[..., str]) -> TimeSeriesStream:
    """Make a stream without a record."""
    return db.time_series("research", [key()])[key()]


def texts(*values: str) -> pd.DataFrame:
    """Make a frame of a row a second."""
    index = pd.date_range("2024-01-01", periods=len(values), freq="s", unit="ms")
    return pd.DataFrame({"x": pd.Series(values, index=index, dtype="str")})


def test_a_glance_can_be_wrong() -> None:
    """Where a value reads like an entry, the id of the last entry is guessed wrongly: the reader has to know."""
    value = ENTRY.encode()
    reply = b"*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$%d\r\n%b\r\n" % (len(value), value)
    data = memoryview(reply + bytes(SLACK))
    assert glance(data) == (1, (1704067200001, 0))
    assert EntriesReply(data).last_id == (5, 1)


@pytest.mark.parametrize("every", [1, 7, 250])
def test_values_that_read_like_entries(stream: TimeSeriesStream, every: int) -> None:
    """A wrong guess of where the next page begins is thrown away: each row is read once, forwards and backwards."""
    frame = texts(*(ENTRY * (at % every == every - 1) + str(at) for at in range(3_000)))
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame, check_freq=False)
    assert_frame_equal(stream.tail(2_000), frame[-2_000:], check_freq=False)
    assert_frame_equal(stream.frame(limit=1_999), frame[:1_999], check_freq=False)


@pytest.mark.parametrize("id_", ["0-0", "1000000000000-0", "1704067200100-0", "9999999999999-0"])
@pytest.mark.parametrize("at", [248, 249])  # the first page has 250 rows
def test_values_that_hide_the_end_of_a_page(stream: TimeSeriesStream, id_: str, at: int) -> None:
    """A value that reads like all that is left of its page does not say where the next one begins."""
    values = [str(number) for number in range(1_000)]
    rest = "*4" if at < 249 else "*2\r\n$1\r\nx\r\n$1\r\n1"
    values[at] = values[999 - at] = f"x\r\n*2\r\n${len(id_)}\r\n{id_}\r\n{rest}"
    frame = texts(*values)
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame, check_freq=False)
    assert_frame_equal(stream.tail(999), frame[1:], check_freq=False)


def test_pages_that_are_too_long(stream: TimeSeriesStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of more bytes than can be read is asked for again, in smaller ones; of one row, it is an error."""
    monkeypatch.setattr(lines, "LONGEST", 100_000)  # 2 GiB are too much for a test
    monkeypatch.setattr(scan, "_PAGE_BYTES", 50_000)
    frame = texts(*("x" * 9_000 + str(at) for at in range(300)))
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame, check_freq=False)
    assert_frame_equal(stream.tail(280), frame[20:], check_freq=False)
    stream.append(texts("x" * 100_001).shift(freq="1h"))
    with pytest.raises(UsageError, match="at most 100,000 can be read"):
        stream.frame()


@pytest.mark.parametrize("rows", [249, 250, 251, 2_750, 2_751])
def test_ends_of_pages(stream: TimeSeriesStream, rows: int) -> None:
    """A range may end with a page, behind it or before it."""
    frame = texts(*map(str, range(rows)))
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame, check_freq=False)
    assert len(stream.tail(rows)) == len(stream.frame(limit=rows)) == rows


def test_long_values_behind_short_ones(stream: TimeSeriesStream) -> None:
    """A value longer than what a glance looks at is read all the same."""
    frame = texts(*("x" * (20_000 * (at % 100 == 99)) + str(at) for at in range(1_000)))
    stream.append(frame)
    assert_frame_equal(stream.frame(), frame, check_freq=False)
