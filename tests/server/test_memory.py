"""Memory: what is read piece by piece is never held whole, and a frame is held once."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from walrus_ts import Database

ROWS = 2_000_000

# Prints by how many MB the process grows at its peak while it reads, and how many the result has (proc(5)).
READ = """
import gc, sys, walrus_ts

def status(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))

url, key, how = sys.argv[1:]
stream = walrus_ts.connect(url).time_series("g", [key])[key]
stream.frame(limit=200)
if how in ("plot", "live"):
    import matplotlib
    matplotlib.use("agg")
    stream.plot(stop="1970-01-01 00:00:01")
    stream.live(window="1s").stop()
gc.collect()
open("/proc/self/clear_refs", "w").write("5")
before, size = status("VmRSS"), 0
if how == "frame":
    size = stream.frame().memory_usage(deep=True).sum() / 2**20
elif how == "frames":
    assert sum(map(len, stream.scan().frames())) == 2_000_000
elif how == "plot":
    stream.plot().figure.canvas.draw()
elif how == "live":
    stream.live(window="1h").stop()
else:
    assert sum(batch.num_rows for batch in stream.scan().record_batches()) == 2_000_000
print(status("VmHWM") - before, size)
"""


@pytest.fixture(scope="module")
def long_stream(server: Database) -> Iterator[str]:
    """Make a stream of two million rows, 100 MB as a frame."""
    name = "t:long"
    stream = server.time_series("g", [name])[name]
    random = np.random.default_rng(5)
    for start in range(0, ROWS, 500_000):
        index = pd.to_datetime(np.arange(start, start + 500_000), unit="ms")
        columns = {f"x{at}": random.random(500_000) for at in range(4)}
        stream.append(pd.DataFrame(columns | {"text": pd.Series("some text", index=index)}, index=index))
    yield name
    stream.drop()


@pytest.fixture
def read(url: str, long_stream: str) -> Callable[[str], tuple[float, float]]:
    """Read the stream in a process of its own; give the growth and the result's size in MB."""

    def run(how: str) -> tuple[float, float]:
        command = [sys.executable, "-c", READ, url, long_stream, how]
        grown, size = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return float(grown), float(size)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("how", ["frames", "record_batches", "plot", "live"])
def test_pieces_are_bounded(read: Callable[[str], tuple[float, float]], how: str) -> None:
    """A range that is read piece by piece, or drawn, takes the memory of some pieces, whatever its length."""
    assert read(how)[0] < 100


@pytest.mark.slow
def test_a_frame_is_held_once(read: Callable[[str], tuple[float, float]]) -> None:
    """Reading a frame takes less than 300 MB beside the frame."""
    grown, size = read("frame")
    assert size > 80
    assert grown - size < 300
