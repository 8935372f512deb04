"""Sentinel over TLS: a master, its replica and the sentinels show certificates, and ask for them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import redis

from tests.sentinels import Sentinels, sentinels
from tests.tls import Certificates, two_authorities
from walrus_ts import connect

ROWS = 30_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make an authority, what it has signed, and another authority."""
    return two_authorities(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Sentinels]:
    """Start a master, a replica and three sentinels that speak TLS alone."""
    with sentinels(tmp_path_factory.mktemp("sentinels"), certificates) as started:
        yield started


def ways(servers: Sentinels, certificates: Certificates) -> list[tuple[str, dict[str, Any]]]:
    """Name the ways to say it: by the scheme, with options in the URL or as keywords, or by options alone."""
    shown = certificates.shown_by("client")
    by_options = {"ssl": True, **shown, "sentinel_ssl": True}
    by_options |= {f"sentinel_{name}": value for name, value in shown.items()}
    by_scheme = servers.url.replace("redis+", "rediss+")
    return [
        (by_scheme, shown),
        (f"{by_scheme}&{urlencode(shown)}", {}),
        (f"{servers.url}&{urlencode(by_options)}", {}),
    ]


@pytest.mark.parametrize("way", range(3))
def test_work_and_a_failover(servers: Sentinels, certificates: Certificates, way: int) -> None:
    """Over TLS, an append, a scan and a loop over batches go on with the next master."""
    url, options = ways(servers, certificates)[way]
    servers.heal()
    index = pd.date_range("2024-01-01", periods=ROWS, freq="s", unit="us")
    frame = pd.DataFrame({"x": np.arange(ROWS), "s": "text"}, index=index)
    struck: list[int] = []

    def strike(done: int, rows: int) -> None:
        if done >= ROWS // 2 and not struck:
            struck.append(done)
            servers.wait_for_replica()
            servers.fail_over()

    with connect(url, **options) as database:
        series = database.time_series("research", [f"ticks-{way}"])
        stream = series[f"ticks-{way}"]
        assert stream.append(frame, progress=strike).rows == ROWS
        assert struck
        pd.testing.assert_frame_equal(stream.frame(), frame, check_freq=False)
        series.create()
        assert sum(batch.ack() for batch in series.batches(count=10_000, wait=0)) == ROWS
        with connect(database.url) as another:
            assert another.url == database.url
            assert len(another.Stream(stream.key)) == ROWS


def test_another_authority(servers: Sentinels, certificates: Certificates) -> None:
    """Sentinels whose certificates another authority has signed are not believed, and nor are such servers."""
    shown = certificates.shown_by("client")
    strange = {"ssl_ca_certs": certificates.path("other.pem")}
    url = servers.url.replace("redis+", "rediss+")
    for options in (shown | strange, shown | {"sentinel_kwargs": strange}):
        with connect(url, **options) as database, pytest.raises(redis.ConnectionError):
            database.time_series("research", ["ticks"]).ticks.frame()
    sentinels_only = f"{url}&{urlencode({f'sentinel_{name}': value for name, value in shown.items()})}"
    refused = pytest.raises(redis.AuthenticationError, match="certificate verify failed")
    with connect(sentinels_only, **(shown | strange)) as database, refused:
        database.time_series("research", ["ticks"]).ticks.frame()


def test_without_tls(servers: Sentinels) -> None:
    """Sentinels that speak TLS alone name no master to a client that does not."""
    with connect(servers.url) as database, pytest.raises(redis.ConnectionError):
        database.time_series("research", ["ticks"]).ticks.frame()
