"""DataFrames in and out of Redis streams, on walrus's object model."""

from walrus_ts.columnar.schema import Schema
from walrus_ts.consuming.batch import Batch, Transaction
from walrus_ts.consuming.batches import Batches
from walrus_ts.database import ClusterDatabase, Database, connect
from walrus_ts.errors import (
    AppendError,
    BatchLostError,
    DataError,
    GroupMissingError,
    LateRowsError,
    SchemaError,
    ServerError,
    UsageError,
    WalrusTSError,
)
from walrus_ts.frames.scan import Scan
from walrus_ts.group import ConsumerGroup
from walrus_ts.group_stream import ConsumerGroupStream
from walrus_ts.live import Live
from walrus_ts.message import Message
from walrus_ts.stream import Stream
from walrus_ts.timeseries import TimeSeries, TimeSeriesStream
from walrus_ts.transfer.job import Appended

__version__ = "0.1.0"

__all__ = [
    "AppendError",
    "Appended",
    "Batch",
    "BatchLostError",
    "Batches",
    "ClusterDatabase",
    "ConsumerGroup",
    "ConsumerGroupStream",
    "DataError",
    "Database",
    "GroupMissingError",
    "LateRowsError",
    "Live",
    "Message",
    "Scan",
    "Schema",
    "SchemaError",
    "ServerError",
    "Stream",
    "TimeSeries",
    "TimeSeriesStream",
    "Transaction",
    "UsageError",
    "WalrusTSError",
    "connect",
]
