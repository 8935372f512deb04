"""Bytes out, bytes in, on a connection of redis-py's."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
import redis

from tests.helpers import wait_until
from walrus_ts import Database, connect
from walrus_ts.columnar.commands import command
from walrus_ts.transfer.wire import Wire


@pytest.mark.parametrize("socket_timeout", [5, None])
def test_closing_ends_a_wait(url: str, db: Database, key: Callable[..., str], socket_timeout: float | None) -> None:
    """A wait for a reply raises at once when another thread closes the database."""
    name = f"t-{uuid4().hex[:8]}"
    database = connect(url, client_name=name, socket_timeout=socket_timeout)

    def close() -> None:
        wait_until(lambda: [c for c in db.client_list() if c["name"] == name and "b" in c["flags"]])
        database.close()

    thread = threading.Thread(target=close)
    thread.start()
    blocking = command(b"XREAD", b"BLOCK", b"20000", b"STREAMS", key().encode(), b"$")
    with pytest.raises(redis.ConnectionError, match="while a reply"), Wire(database.data.connection_pool) as wire:
        wire.wait(blocking, 20_000)
    thread.join()


def test_a_value_that_reads_like_a_refusal(db: Database, key: Callable[..., str]) -> None:
    """A value that reads as if the server had refused to end its reply is read like any other."""
    value = b"-NOPERM no right to echo\r\n-BUSY\r\n" * 200_000
    db.set(key(), value)
    with Wire(db.data.connection_pool) as wire:
        assert wire.ask(command(b"GET", key().encode())) == [value]
