"""What a time series' stream does with DataFrames."""

from walrus_ts.frame_stream.consumer import FrameConsumer
from walrus_ts.frame_stream.reader import FrameReader
from walrus_ts.frame_stream.record import FrameRecord
from walrus_ts.frame_stream.writer import FrameWriter

__all__ = ["FrameStream"]


class FrameStream(FrameWriter, FrameReader, FrameConsumer, FrameRecord):
    """The frames' side of `TimeSeriesStream`: a table whose rows are ordered by time."""
