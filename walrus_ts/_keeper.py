"""Keep one Valkey server running for as long as it has users.

A program of its own, which walrus_ts.embedded starts by path, with the standard library alone, so
that it neither waits for pandas nor keeps it in memory::

    python -I -S _keeper.py HOME SOCKET BINARY kept|private

HOME is the folder that keeps the data, or a private server's directory; a private server keeps
none. In ``HOME/locks`` lie four empty files, which are there for the `flock` on them: the kernel
takes it back from a process however that ends.

======  =========================  ==============================================================
file    who locks it               what that means
======  =========================  ==============================================================
start   an opener                  others who open the server, or wait for its end, wait
users   users, shared              the server is in use
users   a keeper                   nobody is left; who opens it now waits, then starts it anew
keeper  a keeper                   somebody starts the server, restarts it, and ends it
server  a keeper, with its server  a server may write into HOME, even if its keeper was killed
======  =========================  ==============================================================

The keeper waits for two children: the server, and a process that waits for the lock on ``users``.
There is no signal to be missed, no thread, and nothing is polled.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False  # to import `typing` takes 8 ms, for which whoever opens a server waits
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

QUICK_S = 10.0  # a server that lives no longer than that has failed
MOST_FAILURES = 5  # in a row, before the keeper gives up
END_S = 60.0  # what a server may take to write its data out before it is killed

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Become the keeper, unless there is one, and stay until nobody uses the server."""
    home, socket_path, binary, mode = sys.argv[1:]
    os.umask(0o077)
    os.chdir(home)  # every path below is relative: HOME may be moved, or be deleted and made anew
    # The one who opened the server may have ignored or blocked signals; children inherit that.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    keeper_lock = open_lock("keeper")
    try:
        fcntl.flock(keeper_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    keeper = Keeper(socket_path, binary, mode == "kept", keeper_lock)
    keeper.wait_for_predecessor()
    # Who started this program waits for its end, and takes the server that answers then for this
    # keeper's. The keeper proper is no child of theirs, so they have no zombie to wait for.
    if os.fork():
        os._exit(0)
    keeper.run()


class Keeper:
    """The process that starts, restarts and ends one server."""

    def __init__(self, socket_path: str, binary: str, kept: bool, keeper_lock: int) -> None:
        self.socket_path = socket_path
        self.binary = binary
        self.kept = kept
        self.keeper_lock = keeper_lock
        self.server_lock = open_lock("server")
        self.users_lock = open_lock("users")
        self.server: int | None = None
        self.watcher: int | None = None

    def run(self) -> None:
        """Serve until nobody uses the server, then leave nothing behind but the data."""
        signal.signal(signal.SIGTERM, _exit)
        self.protect_from_cleaners()
        nobody_left = False
        try:
            nobody_left = self.serve()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.end_server()
            end(self.watcher)
            if nobody_left:
                self.tidy_up()
        # In this order: openers wait for `users`, and then take one who holds `keeper` for alive.
        os.close(self.server_lock)
        os.close(self.keeper_lock)
        os.close(self.users_lock)

    def serve(self) -> bool:
        """Wait until nobody is left, and start the server again where it dies before.

        Returns
        -------
        bool
            Whether nobody is left; else the server cannot run, and who opens it next may try again.
        """
        self.watcher = self.start_watcher()
        self.server, started, failures = self.start_server(), time.monotonic(), 0
        while True:
            child, status = os.wait()
            exit_code = os.waitstatus_to_exitcode(status)
            if child == self.watcher:
                self.watcher = None
                if exit_code == 0:
                    return True
                self.watcher = self.start_watcher()  # somebody killed it
                continue
            self.server = None
            failures = failures + 1 if time.monotonic() < started + QUICK_S else 0
            log(f"the server ended with exit code {exit_code}")
            # A positive exit code is the server's own, for what it would find again: a broken file,
            # a full disk. Negative ones are signals, and 0 is a client's SHUTDOWN.
            if self.kept and exit_code <= 0 and failures < MOST_FAILURES:
                time.sleep(0.1 * failures)
                self.server, started = self.start_server(), time.monotonic()
                continue
            self.write_failure(exit_code)
            if self.kept:
                return False
            # A private server's data are gone; an empty one in its place would hide that.

    def start_server(self) -> int:
        """Start the server; returns its process id."""

        def become_server() -> NoReturn:
            os.set_inheritable(self.server_lock, True)
            os.execv(self.binary, [self.binary, *self.options()])

        return start(become_server, dies_by=signal.SIGTERM)

    def options(self) -> list[str]:
        """Give the server's options: a socket, no port; all data on disk each second, or none."""
        kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--aof-use-rdb-preamble", "yes"]
        return [
            *("--port", "0", "--unixsocket", self.socket_path, "--unixsocketperm", "700"),
            *("--save", ""),
            *(kept if self.kept else ["--appendonly", "no"]),
        ]

    def start_watcher(self) -> int:
        """Start the process that ends when nobody uses the server; returns its process id.

        It has the keeper's open file, to which the lock belongs: the keeper then has it as well.
        """

        def wait_for_users() -> NoReturn:
            os.close(self.keeper_lock)
            os.close(self.server_lock)
            fcntl.flock(self.users_lock, fcntl.LOCK_EX)
            os._exit(0)

        return start(wait_for_users, dies_by=signal.SIGKILL)

    def end_server(self) -> None:
        """End the server, and wait until it has written its data out."""
        if self.server is None:
            return
        if not self.kept:  # a server heeds SIGTERM within 100 ms, and has nothing to write out
            end(self.server)
            return
        os.kill(self.server, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while os.waitpid(self.server, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                log(f"the server did not end within {END_S} s, and is killed")
                end(self.server)
                break
            time.sleep(0.002)

    def wait_for_predecessor(self) -> None:
        """Wait until no other server can write into HOME.

        Where a keeper was killed, its server is on its way out (Linux), or has to be told (macOS).
        """
        try:
            fcntl.flock(self.server_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("a server whose keeper is gone still runs")
            shut_down(self.socket_path)
            fcntl.flock(self.server_lock, fcntl.LOCK_EX)

    def protect_from_cleaners(self) -> None:
        """Lock the socket's directory: systemd-tmpfiles leaves such ones alone (tmpfiles.d(5))."""
        directory = os.open(os.path.dirname(self.socket_path), os.O_RDONLY)
        fcntl.flock(directory, fcntl.LOCK_SH)

    def tidy_up(self) -> None:
        """Delete what a server that has ended leaves behind, its data excepted."""
        directory = os.path.dirname(self.socket_path)
        if not self.kept:
            gone = directory + ".gone"  # who opens its URL at this moment is not to find half of it
            os.rename(directory, gone)
            remove(gone)
            return
        # No more than the server has put there: a folder that somebody was given may name any
        # directory. The state goes last: by it the next one finds what is not deleted yet.
        with suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        with suppress(OSError):
            os.rmdir(directory)
        with suppress(FileNotFoundError):
            os.unlink("server.json")

    def write_failure(self, exit_code: int) -> None:
        """Note in the server's state that there is no server any more, and why."""
        import json

        home = os.stat(".")
        folder = [home.st_dev, home.st_ino]
        with open("server.json.new", "w", encoding="ascii") as file:
            json.dump({"folder": folder, "socket": self.socket_path, "exit_code": exit_code}, file)
        os.replace("server.json.new", "server.json")


def start(run: Callable[[], NoReturn], dies_by: signal.Signals) -> int:
    """Fork a child that runs `run` and is signalled if its parent dies; returns its process id."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(parent, dies_by)
        run()
    except OSError as error:
        log(str(error))
    finally:
        os._exit(127)


def die_with(parent: int, dies_by: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies.

    Other systems than Linux have no such thing: there the server of a keeper that was killed runs
    on until its last user closes it, or the next one opens its folder.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(dies_by), 0, 0, 0)
        if os.getppid() != parent:  # it died before
            os._exit(1)


def end(child: int | None) -> None:
    """Kill a child and wait for its end."""
    if child is not None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def shut_down(socket_path: str) -> None:
    """Ask the server behind a socket to write its data out and end, where there is one."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(socket_path)
            client.sendall(b"SHUTDOWN\r\n")
            client.recv(1)
    except OSError as error:
        log(f"it cannot be reached: {error}")


def remove(directory: str) -> None:
    """Delete a directory and all in it (`shutil.rmtree` takes 10 ms to import)."""
    for path, directories, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))
        for name in directories:
            os.rmdir(os.path.join(path, name))
    os.rmdir(directory)


def open_lock(name: str) -> int:
    """Open one of the files that are there to be locked."""
    return os.open(os.path.join("locks", name), os.O_RDWR | os.O_CREAT, 0o600)


def log(text: str) -> None:
    """Write a line to the server's log."""
    print(f"{os.getpid()}:K {time.strftime('%d %b %Y %H:%M:%S')} # keeper: {text}", file=sys.stderr)


def _exit(*_: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
