"""What tests share that is no fixture."""

import os
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from walrus_ts.embedded import _find_binary

T = TypeVar("T")

PANDAS_2 = pd.__version__.startswith("2.")

RECORD_KINDS = ("schema", "loads", "dead")


def lack(reason: str) -> NoReturn:
    """Skip the test for want of something; on CI, which has to have it, the test fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_until(predicate: Callable[[], T], timeout: float = 10, interval: float = 0.02) -> T:
    """Call `predicate` until it gives something true, and return that.

    Parameters
    ----------
    predicate : callable
        Without arguments. An exception in it ends the waiting.
    timeout : float
        Seconds after which the test fails.
    interval : float
        Seconds between two calls.

    Raises
    ------
    AssertionError
        It gave nothing true in time; the message says what it gave last.
    """
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            name = getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"{name} still gave {value!r} after {timeout} s")
        time.sleep(interval)
    return value


def server_program() -> str:
    """Return the program of a test's own servers: WALRUS_TS_TEST_SERVER, else the embedded one's."""
    return os.environ.get("WALRUS_TS_TEST_SERVER") or str(_find_binary())


def hash_tag(key: str) -> str:
    """Give the part of a key that a Redis cluster hashes.

    It is what stands between the first ``{`` and the next ``}``, unless that is nothing; else the
    whole key. From the Redis cluster specification, "Hash tags".
    """
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else key


def record_names(key: str) -> list[str]:
    """Name the records that a stream has at most once: columns, named loads, dead letters."""
    return [f"walrus_ts:{kind}:{{{hash_tag(key)}}}:{key}" for kind in RECORD_KINDS]


def load_record_prefix(key: str) -> str:
    """Begin the names of the records of a stream's loads without a name; a token follows."""
    return f"walrus_ts:load:{{{hash_tag(key)}}}:{key}:"


def same_frames(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare frames as pandas does, but for some of Arrow's times, of which pandas 2 crashes."""
    if PANDAS_2:
        assert found.dtypes.tolist() == expected.dtypes.tolist()
        found, expected = _without_times(found), _without_times(expected)
    assert_frame_equal(found, expected, check_freq=False)


def _without_times(frame: pd.DataFrame) -> pd.DataFrame:
    plain = frame.copy()
    for position, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.ArrowDtype) and pa.types.is_timestamp(dtype.pyarrow_dtype):
            plain.isetitem(position, frame.iloc[:, position].astype("int64[pyarrow]"))
    return plain
