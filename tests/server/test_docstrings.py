"""The examples in docstrings of public names run, and give what they show."""

import doctest
import inspect
from collections.abc import Iterator

import pytest

import walrus_ts


def examples() -> Iterator[doctest.DocTest]:
    """List the examples of public names and of their methods, each once."""
    finder = doctest.DocTestFinder(recurse=True, exclude_empty=True)
    found: dict[str, doctest.DocTest] = {}
    for name in walrus_ts.__all__:
        value = getattr(walrus_ts, name)
        for part in inspect.getmro(value) if inspect.isclass(value) else [value]:
            if part.__module__.startswith("walrus_ts"):
                found |= {test.name: test for test in finder.find(part) if test.examples}
    yield from found.values()


EXAMPLES = list(examples())


@pytest.fixture
def keys(server: walrus_ts.Database, no_key_left: None) -> Iterator[None]:
    """Delete what an example makes; its names are short, so a server that has them is left alone."""
    taken = {key: server.exists(key) for key in ("stream-a", "stream-b", "s1", "s2")}
    if any(taken.values()):
        pytest.fail(f"the server has keys that examples would write to: {taken}", pytrace=False)
    before = set(server.scan_iter(count=1000))
    yield
    for name in set(server.scan_iter(count=1000)) - before:
        server.delete(name)


def test_there_are_examples() -> None:
    """The classes that one begins with have examples."""
    named = {test.name for test in EXAMPLES}
    assert {"connect", "Database", "Stream", "ConsumerGroup", "TimeSeries", "Message"} <= named


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_example(test: doctest.DocTest, db: walrus_ts.Database, keys: None) -> None:
    """What the example shows is what happens; `db` is a database, `series` a time series of it."""
    series = db.time_series("research", ["s1", "s2"])
    if test.name != "TimeSeries":  # which shows how a series is made
        series.create()
    names = {name: getattr(walrus_ts, name) for name in walrus_ts.__all__}
    test.globs = names | {"db": db, "series": series}
    failed = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=failed.append, clear_globs=False)
    assert not failed, "".join(failed)
