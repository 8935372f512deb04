"""The keys of these chapters are those of the text that they follow: `stream-a`, `s1`, ..."""

from collections.abc import Iterator

import pytest

import walrus_ts

KEYS = ("stream-a", "stream-b", "stream-c", "stream-2", "s1", "s2")


@pytest.fixture(autouse=True)
def keys_of_the_text(server: walrus_ts.Database, no_key_left: None) -> Iterator[None]:
    """Delete what a chapter makes; where the server has such a key already, touch nothing."""
    taken = [key for key in KEYS if server.exists(key)]
    if taken:
        pytest.fail(
            f"the server has the keys {', '.join(taken)}, which these tests would write to and delete; "
            "name another server, or delete them",
            pytrace=False,
        )
    yield
    for key in KEYS:
        server.delete(key)
