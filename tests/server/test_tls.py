"""`rediss://`: a server and its clients show each other certificates, and what does not fit is refused."""

import socket
import ssl
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import redis

from tests.tls import PASSPHRASE, Certificates, tls_server, two_authorities
from walrus_ts import Database, connect
from walrus_ts.connection import wait_readable

ROWS = 30_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make two authorities, and certificates that they have signed."""
    made = two_authorities(tmp_path_factory.mktemp("certificates"))
    made.sign("misnamed", "ca", "DNS:elsewhere")
    made.sign("stranger", "other")
    made.lock("client")
    return made


@pytest.fixture(scope="module")
def url(certificates: Certificates) -> Iterator[str]:
    """Start a server that asks for certificates."""
    with tls_server(certificates, "server", "ca") as port:
        yield f"rediss://127.0.0.1:{port}/0"


def options(certificates: Certificates, authority: str = "ca", client: str = "client") -> dict[str, str]:
    """Give what `connect` takes to check a server's certificate, and to show one of the client's."""
    return certificates.shown_by(client, authority)


def work(database: Database, key: str) -> None:
    """Append, scan, consume, and write in a transaction."""
    series = database.time_series("research", [key])
    index = pd.date_range("2024-01-01", periods=ROWS, freq="s", unit="us")
    frame = pd.DataFrame({"x": np.arange(ROWS), "s": "text"}, index=index)
    assert series[key].append(frame).rows == ROWS
    pd.testing.assert_frame_equal(series[key].frame(), frame, check_freq=False)
    series.create()
    seen = 0
    for batch in series.batches(count=10_000, wait=0.1):
        with batch.transaction() as pipe:
            pipe.incrby(f"{key}:seen", len(batch))
        seen += len(batch)
    assert seen == int(database.get(f"{key}:seen") or 0) == ROWS


def test_work(certificates: Certificates, url: str) -> None:
    """Over TLS everything works, with a certificate of the client's, too; a URL has what another process needs."""
    with connect(url, **options(certificates)) as database:
        work(database, "ticks")
        with connect(database.url) as another:
            assert len(another.Stream("ticks")) == ROWS


def test_waiting_for_ever(certificates: Certificates, url: str) -> None:
    """A wait without a time-out ends with the row that comes."""
    with (
        connect(url, socket_timeout=None, **options(certificates)) as database,
        connect(url, **options(certificates)) as other,
    ):
        series = database.time_series("research", ["waiting"])
        series.create()
        for day in (1, 2):
            other.time_series("research", ["waiting"]).waiting.append(
                pd.DataFrame({"x": [day]}, index=pd.to_datetime([f"2024-01-0{day}"]))
            )
            assert series.read_frame(block=0)["x"].tolist() == [day]


def test_key_under_a_pass_phrase(certificates: Certificates, url: str) -> None:
    """A client's key may have a pass phrase, which no repr shows."""
    locked = options(certificates) | {"ssl_keyfile": certificates.path("client.locked"), "ssl_password": PASSPHRASE}
    with connect(url, **locked) as database:
        assert database.time_series("research", ["none"]).none.frame().empty
        shown = [database, database.data, database.connection_pool, database.data.connection_pool]
        assert not [text for text in map(repr, shown) if "s3cret" in text]


def test_wrong_pass_phrase(certificates: Certificates, url: str) -> None:
    """A wrong one is an error at once, which does not show it."""
    locked = options(certificates) | {"ssl_keyfile": certificates.path("client.locked"), "ssl_password": "s3cret?"}
    with connect(url, **locked) as database, pytest.raises(redis.AuthenticationError, match="PEM") as caught:
        next(database.time_series("research", ["none"]).batches(wait=0))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("authority", ["other", None])
def test_unknown_authority(certificates: Certificates, url: str, authority: str | None) -> None:
    """A server's certificate of another authority is refused at once, whatever else is tried again."""
    given = options(certificates, authority) if authority else {}
    with connect(url, **given) as database:
        series = database.time_series("research", ["ticks"])
        with pytest.raises(redis.AuthenticationError, match="certificate verify failed"):
            series.frame()
        with pytest.raises(redis.AuthenticationError, match="certificate verify failed"):
            next(series.batches(wait=0))


def test_certificate_of_another_name(certificates: Certificates) -> None:
    """A server's certificate has to be of its name."""
    with tls_server(certificates, "misnamed", "ca") as port:
        url = f"rediss://127.0.0.1:{port}/0"
        refused = pytest.raises(redis.AuthenticationError, match="IP address mismatch")
        with connect(url, **options(certificates)) as database, refused:
            database.time_series("research", ["ticks"]).frame()
        with connect(f"{url}?ssl_check_hostname=no", **options(certificates)) as database:
            assert database.time_series("research", ["ticks"]).ticks.frame().empty


@pytest.mark.parametrize("client", ["stranger", None])
def test_client_that_the_server_refuses(certificates: Certificates, url: str, client: str | None) -> None:
    """A client without a certificate, or with one that the server's authority has not signed, is kept out."""
    given = options(certificates, client=client) if client else {"ssl_ca_certs": certificates.path("ca.pem")}
    with connect(url, **given) as database, pytest.raises(redis.ConnectionError):
        database.time_series("research", ["ticks"]).frame()


def test_without_tls(url: str) -> None:
    """A server that speaks TLS alone says nothing without it."""
    with connect(url.replace("rediss://", "redis://")) as database, pytest.raises(redis.ConnectionError):
        database.time_series("research", ["ticks"]).frame()


def test_what_came_in_one_record(certificates: Certificates) -> None:
    """A reply that came in one TLS record with the one before it is not waited for: it is there."""
    speaks, checks = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cafile=certificates.path("ca.pem")),
    )
    speaks.load_cert_chain(certificates.path("server.pem"), certificates.path("server.key"))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with speaks.wrap_socket(theirs, server_side=True) as server:
            server.sendall(b"+OK\r\n*-1\r\n")
            server.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    with checks.wrap_socket(ours, server_hostname="127.0.0.1") as client:
        client.settimeout(10)
        assert client.recv(5) == b"+OK\r\n"
        waiting = threading.Thread(target=wait_readable, args=(SimpleNamespace(_sock=client),), daemon=True)
        waiting.start()
        waiting.join(10)
        assert not waiting.is_alive()
        assert client.recv(5) == b"*-1\r\n"
        client.sendall(b".")
        thread.join()
