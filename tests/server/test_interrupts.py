import signal
import subprocess
import sys
import threading

import pytest

import walrus_ts
from tests.consuming import Key, series
from tests.helpers import wait_until

READER = """
import signal, sys, time
import walrus_ts
{first}
url, key = sys.argv[1:]
db = walrus_ts.connect(url)
ts = db.time_series("readers", [key])
for batch in {batches}:
    {block}
        print("in hand", flush=True)
        time.sleep(60)
"""
SYSTEM_EXIT = "signal.signal(signal.SIGTERM, lambda *_: sys.exit())"
RESTARTING = "signal.signal(signal.SIGINT, signal.default_int_handler); signal.siginterrupt(signal.SIGINT, False)"


def ended(url: str, key: str, with_signal: signal.Signals, **parts: str) -> int:
    """Run a script that reads, send it a signal when it has a batch in hand; return how it ended."""
    script = READER.format(**{"first": "", "batches": "ts.batches()", "block": "if True:"} | parts)
    reader = subprocess.Popen(
        [sys.executable, "-c", script, url, key], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert reader.stdout
    with reader.stdout:
        assert reader.stdout.readline() == b"in hand\n"
        reader.send_signal(with_signal)
        return reader.wait(timeout=20)


@pytest.mark.parametrize(
    ("with_signal", "parts"),
    [
        (signal.SIGINT, {}),
        (signal.SIGINT, {"block": "with batch:"}),
        (signal.SIGINT, {"block": "with batch.transaction():", "first": RESTARTING}),
        (signal.SIGTERM, {"first": SYSTEM_EXIT}),
    ],
)
def test_a_script_that_is_interrupted(
    db: walrus_ts.Database, url: str, key: Key, with_signal: signal.Signals, parts: dict[str, str]
) -> None:
    """A script that ends by Ctrl-C, or by SIGTERM turned into `SystemExit`, hands back what it has in hand."""
    ts = series(db, key(), n=3)
    ended(url, key(), with_signal, **parts)
    assert ts[key()].pending_frame()["deliveries"].tolist() == [0, 0, 0]
    (batch,) = ts.batches(wait=0)
    assert batch.deliveries.tolist() == [1, 1, 1]


def test_a_script_that_is_terminated(db: walrus_ts.Database, url: str, key: Key) -> None:
    """SIGTERM alone ends a script at once: its rows go to another worker after `claim_after`."""
    ts = series(db, key(), n=3)
    assert ended(url, key(), signal.SIGTERM) == -signal.SIGTERM
    assert ts[key()].pending_frame()["deliveries"].tolist() == [1, 1, 1]
    batch = next(batches := ts.batches(wait=5, claim_after=0.1))
    assert batch.deliveries.tolist() == [2, 2, 2]
    batches.close()


def test_ctrl_c_while_waiting(db: walrus_ts.Database, key: Key) -> None:
    """Ctrl-C ends the wait for rows at once, also where a library has system calls restarted; the consumer leaves."""
    ts = series(db, key())
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.siginterrupt(signal.SIGINT, False)
    main = threading.get_ident()
    waiting = threading.Thread(
        target=lambda: (
            wait_until(lambda: any(c["cmd"].startswith("xreadgroup") for c in db.client_list()))
            and signal.pthread_kill(main, signal.SIGINT)
        )
    )
    try:
        waiting.start()
        with ts.batches() as batches, pytest.raises(KeyboardInterrupt):
            next(batches)
    finally:
        waiting.join()
        signal.signal(signal.SIGINT, previous)
    assert len(ts[key()].consumers_frame()) == 0


def test_ctrl_c_while_rows_are_on_their_way(db: walrus_ts.Database, url: str, key: Key) -> None:
    """Rows that the server has handed out when Ctrl-C comes, and nobody has in hand, are handed back."""
    series(db, key(), n=8_000)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with walrus_ts.connect(url) as own:
        batches = own.time_series("readers", [key()])[key()].batches(count=2_500, wait=0)
        with next(batches) as batch:
            assert batch.ack() == 2_500
        batches._tables.prepare = batches._feeds[0].prepare = interrupt
        with pytest.raises(KeyboardInterrupt):
            next(batches)
        assert len(db.xpending_range(key(), "readers", "-", "+", 10_000)) == 2_500
        batches.close()
    found = db.xpending_range(key(), "readers", "-", "+", 10_000)
    assert {row["times_delivered"] for row in found} == {0}
