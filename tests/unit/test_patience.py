"""Patience with a server that is away."""

import pytest
import redis

from walrus_ts.errors import AppendError
from walrus_ts.transfer.patience import Patience


def test_a_server_that_is_away() -> None:
    """While the patience lasts there is a next try; then the error that the last one ended in is raised."""
    error = redis.ConnectionError("refused")
    Patience(60).wait(error)
    with pytest.raises(redis.ConnectionError) as caught:
        Patience(-1).wait(error)
    assert caught.value is error


def test_what_is_said_in_the_end() -> None:
    """The error can be told as another one, of which it is the cause."""
    error = redis.TimeoutError("no answer")
    with pytest.raises(AppendError, match="stopped: no answer") as caught:
        Patience(-1).wait(error, lambda error: AppendError(f"stopped: {error}"))
    assert caught.value.__cause__ is error


def test_pauses() -> None:
    """Each pause is twice as long as the one before, up to a second; where the work comes further, they begin anew."""
    patience = Patience()
    pauses = [patience.wait(redis.BusyLoadingError("loading")) for _ in range(3)]
    assert pauses == [0.02, 0.04, 0.08]
    patience.renew()
    assert patience.wait(redis.BusyLoadingError("loading")) == 0.02


@pytest.mark.parametrize("error", [redis.AuthenticationError("wrong password"), redis.ResponseError("no such key")])
def test_what_does_not_pass(error: Exception) -> None:
    """A refused login is an error at once, and so is what the server answers."""
    with pytest.raises(type(error)):
        Patience().wait(error)
