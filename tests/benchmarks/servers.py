"""The server that is measured: one of the run's own on loopback TCP, the embedded one, or any that a URL names."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import redis

from walrus_ts.embedded import SCHEME, _find_binary, open_server

_PATIENCE_S = 20


@contextmanager
def serving(url: str | None) -> Iterator[str]:
    """Give a URL that redis-py takes, and a server behind it.

    Parameters
    ----------
    url : str, optional
        None starts a server on a free port of 127.0.0.1, ``embedded://`` one on a unix socket. Any other is given back.
    """
    if url is None:
        with _own_server() as own:
            yield own
    elif url.startswith(SCHEME):
        with open_server(url) as server:
            yield f"unix://{quote(server.socket_path)}"
    else:
        yield url


@contextmanager
def _own_server() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="wts-bench-")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"bind": "127.0.0.1", "port": port, "dir": folder, "save": "", "appendonly": "no"}
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    server = subprocess.Popen([_find_binary(), *options], stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}"
        _wait(url, server)
        yield url
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE_S
    with redis.Redis.from_url(url) as client:
        while server.poll() is None and time.monotonic() < end:
            try:
                if client.info("server")["process_id"] == server.pid:
                    return
            except redis.ConnectionError:
                time.sleep(0.02)
    raise RuntimeError(f"the benchmark's server did not start on {url}")


def describe(url: str) -> str:
    """Name the server and how it is reached: ``Valkey 9.1.2 on loopback TCP``."""
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    name = str(info.get("server_name", "redis"))
    version = info.get(f"{name}_version") or info["redis_version"]
    if url.startswith("unix:"):
        way = "a unix socket"
    else:
        local = any(host in url for host in ("127.0.0.1", "localhost", "[::1]"))
        way = "loopback TCP" if local else "the network"
    return f"{name.capitalize()} {version} on {way}"
