"""Users with the rights that docs/security.md gives them: they are enough, each is needed, and there are no others."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import redis

import walrus_ts
from tests.helpers import wait_until
from walrus_ts import AppendError, Database, TimeSeries, WalrusTSError, connect

DOCS = Path(__file__).parents[2] / "docs" / "security.md"
RULES = re.findall(r"^```text\n(ACL SETUSER .*?)```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
ROLES = {"loader": RULES[:1], "reader": RULES[1:2], "consumer": RULES[2:]}
SECRET = "s3cret"


@pytest.fixture
def keys(key: Callable[..., str]) -> dict[str, str]:
    """Have keys of this test's own for the names in the documentation."""
    return {name: key(name) for name in ("ticks", "minutes")}


@contextmanager
def user(server: Database, rules: list[str], keys: dict[str, str]) -> Iterator[Database]:
    """Connect as a user who has the rights that the documentation lists, on keys of the test's own."""
    name = f"t-{uuid4().hex[:8]}"
    for rule in rules:
        own = re.sub(r"\b(ticks|minutes)\b", lambda found: keys[found[1]], rule).replace(">secret", f">{SECRET}")
        tokens = re.findall(r"\([^)]*\)|\S+", own)[3:]
        server.execute_command("ACL SETUSER", name, *(" ".join(token.split()) for token in tokens))
    place = server.connection_pool.connection_kwargs
    login = f"{name}:{SECRET}@"
    url = (
        f"unix://{login}{quote(place['path'])}"
        if "path" in place
        else f"redis://{login}{place['host']}:{place['port']}"
    )
    # Without the right to DISCARD, a connection answers no more.
    with connect(f"{url}?db={place.get('db') or 0}", socket_timeout=0.5) as database:
        yield database
    server.acl_deluser(name)


def refused(server: Database, database: Database) -> list[str]:
    """List what the server has refused to a user; that it may not introduce its client is no matter."""
    name = database.connection_pool.connection_kwargs["username"]
    found = [entry["object"] for entry in server.acl_log() if entry["username"] == name]
    return [what for what in found if what not in ("client|setinfo", "select")]


def ticks(rows: int, start: str, column: str = "x") -> pd.DataFrame:
    """Make a frame."""
    index = pd.date_range(start, periods=rows, freq="s", unit="us")
    return pd.DataFrame({column: np.arange(rows)}, index=index)


def stream_of(database: Database, keys: dict[str, str]) -> TimeSeries:
    """Take the stream `ticks` as a time series."""
    return database.time_series("research", [keys["ticks"]])


# What each of them does --------------------------------------------------------------------------------------------


def load(database: Database, keys: dict[str, str]) -> None:
    """Do all that a loader does."""
    stream = stream_of(database, keys)[keys["ticks"]]
    for day in range(1, 4):  # the first goes the long way, the others the short one
        stream.append(ticks(3, f"2024-01-0{day}"))
    for _ in range(2):
        stream.append(ticks(3, "2024-01-04"), load="4.csv")
    assert stream.loads()["stored"].tolist() == [3]
    stream.append(ticks(3, "2024-01-04"), late="skip")
    stream.append(ticks(3, "2024-01-05", "y").assign(x=0), evolve=True)
    with pytest.raises(walrus_ts.LateRowsError):
        stream.append(ticks(200, "2024-01-01").assign(y=1))

    def stop(done: int, rows: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(AppendError, match="after 5000 of 12000 rows: enough"):  # a transaction is open
        stream.append(ticks(12_000, "2024-01-06").assign(y=1), progress=stop)


def read(database: Database, keys: dict[str, str]) -> None:
    """Do all that a reader does."""
    series = stream_of(database, keys)
    stream = series[keys["ticks"]]
    assert len(stream) == len(stream.frame()) == len(series.frame()) == sum(map(len, stream.scan().frames(1_000)))
    assert len(stream.head(3)) == len(stream.tail(3)) == len(stream.loc["2024-01-01"]) == 3
    assert "int64" in str(stream.schema)
    with series.live(rows=3) as live:
        assert len(live.frame) == 3
    assert len(stream.plot(max_points=100).lines) > 0


def consume(database: Database, keys: dict[str, str]) -> None:
    """Do all that a consumer does."""
    series = stream_of(database, keys).consumer("w1")
    stream = series[keys["ticks"]]
    minutes = database.time_series("research", [keys["minutes"]])[keys["minutes"]]
    series.create()
    assert len(series.read_frame(count=2)) == 2
    with series.batches(count=5, wait=0) as batches:
        batch = next(batches)
        batch.extend()
        assert batch.reject(np.arange(len(batch)) == 0) == 1
        with batch.transaction():
            batch.append(minutes, ticks(1, "2024-01-01"))
        for batch in batches:
            assert batch.ack() == len(batch)
    assert stream.dead_letters()["group"].tolist() == ["research"]
    assert stream.replay_dead() == 1
    assert len(stream.pending_frame()) == 1
    assert "pending" in stream.consumers_frame()
    assert series.status()["pending"].tolist() == [1]
    for batch in stream_of(database, keys).batches(wait=0):  # by a consumer without a name, which leaves
        assert batch.ack() == 1


WORK = {"loader": load, "reader": read, "consumer": consume}


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    """Name each of the roles in turn."""
    name: str = request.param
    return name


@pytest.fixture
def prepared(server: Database, role: str, keys: dict[str, str]) -> Callable[[], None]:
    """Make what the role's work finds, each time anew."""

    def prepare() -> None:
        for name in keys.values():
            server.time_series("research", [name])[name].drop()
        server.script_flush()  # scripts are sent whole where the server does not know them
        if role != "loader":
            stream_of(server, keys)[keys["ticks"]].append(ticks(20, "2024-01-01").iloc[:3])
            stream_of(server, keys)[keys["ticks"]].append(ticks(20, "2024-01-02"))

    return prepare


def test_enough(server: Database, role: str, keys: dict[str, str], prepared: Callable[[], None]) -> None:
    """The rights are enough: nothing of the role's work is refused."""
    prepared()
    with user(server, ROLES[role], keys) as database:
        WORK[role](database, keys)
        assert refused(server, database) == []


def test_needed(server: Database, role: str, keys: dict[str, str], prepared: Callable[[], None]) -> None:
    """Each of the rights is needed: without it, something is refused, and the work fails or ends untidily."""
    not_needed = []
    for at, rule in enumerate(ROLES[role]):
        for right in re.finditer(r"[+~%][^\s)]+", rule):
            less = rule[: right.start()] + rule[right.end() :]
            prepared()
            with user(server, [*ROLES[role][:at], less, *ROLES[role][at + 1 :]], keys) as database:
                with suppress(redis.RedisError, WalrusTSError, AssertionError):
                    WORK[role](database, keys)
                if not refused(server, database):
                    not_needed.append(right[0])
    assert not_needed == []


FORBIDDEN: dict[str, list[Callable[[TimeSeries, str], Any]]] = {
    "loader": [
        lambda series, key: series[key].frame(),
        lambda series, key: series[key].tail(),
        lambda series, key: series[key].delete_range(),
        lambda series, key: series[key].drop(),
        lambda series, key: series.database.delete(key),
        lambda series, key: series.database.get(key),
        lambda series, key: series.create(),
    ],
    "reader": [
        lambda series, key: series[key].append(ticks(3, "2024-02-01")),
        lambda series, key: series[key].declare({"x": "int64"}),
        lambda series, key: series.read_frame(),
        lambda series, key: next(series.batches(wait=0)),
        lambda series, key: series.database.delete(f"walrus_ts:schema:{{{key}}}:{key}"),
        lambda series, key: series.status(),
        lambda series, key: series[key].drop(),
    ],
    "consumer": [
        lambda series, key: series[key].append(ticks(3, "2024-02-01")),
        lambda series, key: series[key].add({"x": 1}),
        lambda series, key: series[key].delete_range(),
        lambda series, key: series[key].drop(),
        lambda series, key: series.database.set(f"walrus_ts:schema:{{{key}}}:{key}", "{}"),
    ],
}
EVERYBODY: list[Callable[[TimeSeries, str], Any]] = [
    lambda series, key: series.database.keys(),
    lambda series, key: series.database.config_get(),
    lambda series, key: series.database.acl_list(),
    lambda series, key: series.database.time_series("g", ["another"]).another.frame(),
    lambda series, key: series.database.time_series("g", ["another"]).another.append(ticks(3, "2024-02-01")),
    lambda series, key: series.database.time_series("g", [f"y:{{{key}}}:{key}"]).frame(),
]


def test_all_there_are(server: Database, role: str, keys: dict[str, str], prepared: Callable[[], None]) -> None:
    """A user can do no more: not what other roles do, and nothing with other streams."""
    prepared()
    if role == "loader":
        load(server, keys)
    before = server.dump(keys["ticks"])
    with user(server, ROLES[role], keys) as database:
        for forbidden in (*FORBIDDEN[role], *EVERYBODY):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden(stream_of(database, keys), keys["ticks"])
    assert server.dump(keys["ticks"]) == before


# How it is said ----------------------------------------------------------------------------------------------------


def test_the_error(server: Database, keys: dict[str, str]) -> None:
    """What is refused is an error that names the command, and where to look."""
    with user(server, ROLES["reader"], keys) as database:
        stream = stream_of(database, keys)[keys["ticks"]]
        with pytest.raises(redis.exceptions.NoPermissionError, match=r"to run the 'set' command .*Security.*ACL LOG"):
            stream.append(ticks(3, "2024-02-01"))
    with user(server, [rule.replace(" +xadd", "") for rule in ROLES["loader"]], keys) as database:
        stream = stream_of(database, keys)[keys["ticks"]]
        with pytest.raises(
            AppendError, match=r"after 0 of 3 rows: .* to run the 'xadd' command .*`append\(frame, load="
        ):
            stream.append(ticks(3, "2024-02-01"))
    assert not server.exists(keys["ticks"])


def test_the_error_of_a_script(server: Database, keys: dict[str, str]) -> None:
    """What is refused to a script on the server is such an error, too."""
    with user(server, ROLES["loader"], keys) as database:
        stream = stream_of(database, keys)[keys["ticks"]]
        for day in (1, 2):
            stream.append(ticks(3, f"2024-01-0{day}"))
        server.execute_command("ACL SETUSER", database.connection_pool.connection_kwargs["username"], "-xadd")
        with pytest.raises(redis.exceptions.NoPermissionError, match=r"script.*Security.*ACL LOG"):
            stream.append(ticks(3, "2024-01-03"))


@pytest.mark.parametrize("load", [None, "a"])
@pytest.mark.parametrize("right", ["-xadd", "-exec", "-echo", "-multi", "-@all"])
def test_rights_that_are_taken_away_meanwhile(
    server: Database, keys: dict[str, str], right: str, load: str | None
) -> None:
    """Whatever right is taken away during an append, the error says what is stored, and going on completes it."""
    frame = ticks(30_000, "2024-01-01")
    with user(server, ROLES["loader"], keys) as database:
        name = database.connection_pool.connection_kwargs["username"]

        def take(done: int, rows: int) -> None:
            if done == 10_000:
                server.execute_command("ACL SETUSER", name, right)

        stream = stream_of(database, keys)[keys["ticks"]]
        with pytest.raises(AppendError, match="permission") as caught:
            stream.append(frame, load=load, progress=take)
    assert 10_000 <= caught.value.appended <= server.xlen(keys["ticks"]) < 30_000
    whole = stream_of(server, keys)[keys["ticks"]]
    whole.append(frame, load=caught.value.load)
    assert whole.frame()["x"].tolist() == list(range(30_000))


@pytest.mark.parametrize("load", [None, "a"])
@pytest.mark.parametrize("begun", [False, True])
def test_no_right_to_transactions(server: Database, keys: dict[str, str], load: str | None, begun: bool) -> None:
    """Where MULTI is refused, and the rows are, what stands behind them was carried out, and is taken back."""
    frame = ticks(20_000, "2024-01-01")
    with user(server, ROLES["loader"], keys) as database:
        name = database.connection_pool.connection_kwargs["username"]
        stream = stream_of(database, keys)[keys["ticks"]]
        server.execute_command("ACL SETUSER", name, "-multi", *(() if begun else ("-xadd",)))
        if begun:
            server.execute_command("ACL SETUSER", name, "+multi")

            def take(done: int, rows: int) -> None:
                server.execute_command("ACL SETUSER", name, "-exec")

            with pytest.raises(AppendError) as caught:
                stream.append(frame, load=load, progress=take)
            load = caught.value.load
            server.execute_command("ACL SETUSER", name, "+exec", "-multi", "-xadd")
        before = server.xlen(keys["ticks"])
        with pytest.raises((AppendError, redis.exceptions.NoPermissionError), match="permission"):
            stream.append(frame, load=load)
        assert server.xlen(keys["ticks"]) == before == (5_000 if begun else 0)
        server.execute_command("ACL SETUSER", name, "+multi", "+xadd")
        other = stream_of(server, keys)[keys["ticks"]].tail(1).index[0] if begun else pd.Timestamp("2023")
        stream_of(server, keys)[keys["ticks"]].append(ticks(1, str(other)))  # a row more must not hide that some lack
        stream.append(frame, load=load, late="skip" if begun else "raise")
    found = stream_of(server, keys)[keys["ticks"]].frame()["x"].tolist()
    assert sorted(found) == sorted([*range(20_000), 0])


def test_the_right_to_echo(server: Database, keys: dict[str, str]) -> None:
    """A user without the right to ECHO, by which replies end, is told so at once."""
    rules = [rule.replace(" +echo", "") for rule in ROLES["reader"]]
    with user(server, rules, keys) as database, pytest.raises(redis.exceptions.NoPermissionError, match="'echo'"):
        stream_of(database, keys).frame()


def test_a_server_that_is_busy(server: Database, keys: dict[str, str]) -> None:
    """A server that a script keeps busy answers nothing else: an error at once, and no wait for the time-out."""
    stream_of(server, keys)[keys["ticks"]].append(ticks(3, "2024-01-01"))
    kept = server.config_get("busy-reply-threshold")["busy-reply-threshold"]
    server.config_set("busy-reply-threshold", 50)

    def keep_busy() -> None:
        with connect(server.url) as database, pytest.raises(redis.ResponseError, match="killed"):
            database.eval("while true do end", 0)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        with connect(server.url, socket_timeout=None) as database:
            wait_until(lambda: _is_busy(database))
            with pytest.raises(redis.exceptions.BusyLoadingError, match="busy running a script"):
                stream_of(database, keys).frame()
    finally:
        server.script_kill()
        thread.join()
        server.config_set("busy-reply-threshold", kept)


def _is_busy(database: Database) -> bool:
    try:
        database.ping()
    except redis.ResponseError:
        return True
    return False
