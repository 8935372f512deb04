"""The errors of walrus_ts, sorted by who can mend them.

::

    WalrusTSError
    ├── UsageError (also a ValueError)   the caller
    │   ├── SchemaError                  the frame does not fit the stream's record
    │   └── LateRowsError                rows are older than the stream's last id
    ├── DataError                        the data in Redis
    └── ServerError                      the server, or another client
        ├── AppendError                  an append stopped; `.appended` rows are stored
        ├── BatchLostError               another consumer has claimed or finished the rows
        └── GroupMissingError            the consumer group, or its stream, is not there

redis-py's own errors (a refused connection, a wrong password, a key of another type) pass through as they are.

A message says where, what was expected, what was found, and the cure. Its parts are attributes of the error, too:
`UsageError("...", column="price", row=17)` has `.column` and `.row`.
"""

from __future__ import annotations

from typing import Any


class WalrusTSError(Exception):
    """Root of all errors that walrus_ts raises itself.

    Parameters
    ----------
    message : str
        Where, what was expected, what was found, and the cure.
    **parts
        The parts of the message (`key`, `column`, `row`, ...), kept as attributes.
    """

    def __init__(self, message: str, **parts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        """Say which parts there are where one is asked for that this error does not have."""
        known = ", ".join(sorted(vars(self))) or "none"
        raise AttributeError(f"{type(self).__name__} has no part {name!r}; its parts: {known}")


class UsageError(WalrusTSError, ValueError):
    """The call cannot be carried out as it was made; nothing has been written."""


class SchemaError(UsageError):
    """A frame does not fit the columns that the stream has on record."""


class LateRowsError(UsageError):
    """Rows are older than the stream's last generated id, so no id can be made for them.

    Attributes
    ----------
    key : bytes
        The stream.
    rows : int
        How many rows are late.
    """


class DataError(WalrusTSError):
    """An entry or a record in Redis does not hold what it should."""


class ServerError(WalrusTSError):
    """The server, or another client of it, stood in the way."""


class AppendError(ServerError):
    """An append stopped before its end.

    Attributes
    ----------
    appended : int
        Rows of the frame that are known to be stored: a prefix of it.
    load : str or None
        What `append(frame, load=...)` takes to store the rest, and nothing twice. None for a RecordBatchReader, which
        cannot be read again: the message says from which row on the rest has to be appended.
    """


class BatchLostError(ServerError):
    """Another consumer has claimed or acknowledged rows of the batch."""


class GroupMissingError(ServerError):
    """A consumer group that is to be read does not exist on a stream."""
