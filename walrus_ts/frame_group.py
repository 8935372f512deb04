"""What a time series does with DataFrames: its streams as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import pandas as pd

from walrus_ts.columnar.labels import Label, identity
from walrus_ts.columnar.schema import Schema, shown, to_bytes
from walrus_ts.connection import check_count
from walrus_ts.consuming.batches import Batches
from walrus_ts.consuming.reading import make_batches, read_rows
from walrus_ts.errors import UsageError
from walrus_ts.frame_stream import FrameStream
from walrus_ts.frames.decoder import Errors, label_list
from walrus_ts.frames.source import Source
from walrus_ts.frames.to_pandas import to_pandas, with_ids
from walrus_ts.live import Live, make_live
from walrus_ts.pandas_io import Backend
from walrus_ts.stacking import Part, stack, widen, with_columns
from walrus_ts.standing import by_stream, common_zone, pending_frame, status_frame
from walrus_ts.transfer.job import Appended
from walrus_ts.transfer.scan import StreamState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from redis.typing import KeyT

S = TypeVar("S", bound=FrameStream)
STREAM = "stream"


class FrameGroup(Generic[S]):
    """The frames' side of `TimeSeries`."""

    name: str | bytes
    streams: dict[KeyT, S]

    def append(self, data: Any, *, by: Label | None = None, **options: Any) -> dict[KeyT, Appended]:
        """Append frames to the group's streams, one stream after the other.

        Parameters
        ----------
        data : mapping of key -> frame, or DataFrame
            Frames for streams by their keys; or, with `by`, one frame for all.
        by : label, optional
            The column that names each row's stream; it is dropped.
        **options
            Those of `TimeSeriesStream.append`.

        Returns
        -------
        dict of key -> Appended

        Raises
        ------
        UsageError
            A name is not one of the group's keys; nothing is written.
        AppendError, LateRowsError, SchemaError, redis.exceptions.RedisError
            As in `TimeSeriesStream.append`; `.done` tells which streams are done, and what was stored.
        """
        frames = self._split(data, by) if by is not None else self._by_key(data)
        done: dict[KeyT, Appended] = {}
        for key, frame in frames.items():
            try:
                done[key] = self.streams[key].append(frame, **options)
            except Exception as error:  # redis-py's, too: a key of another type, no memory, a lost connection
                error.__dict__["done"] = done
                error.add_note(f"Of the group's streams, done are: {', '.join(map(repr, done)) or 'none'}.")
                raise
        return done

    def _by_key(self, data: Any) -> dict[KeyT, Any]:
        if not isinstance(data, Mapping):
            raise UsageError(
                "a time series takes a mapping of its keys to frames, or a frame and `by=`; found "
                f"{type(data).__name__}. For one stream: `series[key].append(frame)`."
            )
        return {self._known(key): frame for key, frame in data.items()}

    def _split(self, data: Any, by: Label) -> dict[KeyT, pd.DataFrame]:
        if not isinstance(data, pd.DataFrame):
            convert = "".join(f": `data.{name}()`" for name in ("to_pandas", "to_frame") if hasattr(data, name))
            raise UsageError(
                f"`by` splits a DataFrame of pandas'; found {type(data).__module__}.{type(data).__qualname__}. Convert "
                f"it{convert}, and name the column of its times where they are no index: `append(..., time='...')`.",
                type=type(data),
            )
        if by not in data.columns:
            raise UsageError(f"by={by!r}: the frame has no such column; it has {list(data.columns)}", column=by)
        absent = data[by].isna().to_numpy()
        if absent.any():
            row = int(absent.argmax())
            raise UsageError(f"column {by!r} names no stream at row {row}: it is null", column=by, row=row)
        groups = data.groupby(by, sort=False, observed=True)
        return {self._known(name): frame.drop(columns=by) for name, frame in groups}

    def _known(self, name: Any) -> KeyT:
        """Return a key as the group has it."""
        if isinstance(name, (str, bytes)):
            for key in self.streams:
                if to_bytes(key) == to_bytes(name):
                    return key
        known = ", ".join(map(repr, self.streams))
        raise UsageError(f"{name!r} is no stream of this time series: {known}", key=name)

    def frame(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        layout: Literal["long", "wide"] = "long",
        stream_name: str = STREAM,
        columns: Sequence[Label] | None = None,
        limit: int | None = None,
        dtype_backend: Backend | None = None,
        ids: bool = False,
        errors: Errors = "raise",
    ) -> pd.DataFrame:
        """Read a range of time of all streams into one DataFrame.

        Parameters
        ----------
        start, stop : time, date string or id, optional
            As in `TimeSeriesStream.frame`.
        layout : {"long", "wide"}
            ``"long"``: ordered by time, with a categorical column that names each row's stream. ``"wide"``: columns
            (stream, column), a row a time; the streams' times have to be unique.
        stream_name : str
            That column's name, or the column level's.
        columns : sequence of labels, optional
            Only these, in this order; a stream that does not have one of them has nulls there.
        limit : int, optional
            Rows of each stream at most, the first ones.
        dtype_backend, ids, errors
            As in `TimeSeriesStream.frame`.

        Returns
        -------
        DataFrame

        Raises
        ------
        UsageError
            The data have a column of that name, a bound is neither a time nor an id, or no stream has one of the
            columns.
        SchemaError
            The streams' columns do not go together.
        """
        if layout not in ("long", "wide"):
            raise UsageError(f"layout is 'long' or 'wide'; found {layout!r}", layout=layout)
        labels = None if columns is None else label_list(columns)
        looks = {key: stream._source.look() for key, stream in self.streams.items()}
        chosen = _choose(labels, looks)
        schemas = [schema for _, schema in looks.values() if schema is not None]
        parts = []
        for key, stream in self.streams.items():
            rows = stream.scan(start, stop, columns=chosen[key], limit=limit, errors=errors)._rows(ids=True)
            assert rows.ids is not None  # they were asked for
            frame = to_pandas(rows, stream._source, dtype_backend)
            if looks[key][1] is None:
                frame = _without_strangers(frame, schemas)
            parts.append(Part(shown(key), to_bytes(key), frame, rows.ids))
        if layout == "wide":
            if ids:
                parts = [replace(part, frame=with_ids(part.frame, part.ids)) for part in with_columns(parts)]
            return widen(parts, stream_name)
        stacked = stack(parts, stream_name, [part.label for part in parts], selects=True)
        frame = stacked.frame
        if labels is not None:
            order: list[Any] = [0, *map(frame.columns.get_loc, labels)]
            frame = frame.take(order, axis=1)
        return with_ids(frame, stacked.ids) if ids else frame

    def plot(
        self,
        start: Any = None,
        stop: Any = None,
        columns: Sequence[Label] | None = None,
        *,
        max_points: int = 2000,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a range of time of all streams, of any number of rows, with matplotlib.

        Parameters are those of `TimeSeriesStream.plot`; of `columns`, each stream draws those that it has.

        Returns
        -------
        matplotlib Axes
            A line a stream and column.

        Raises
        ------
        UsageError
            As in `TimeSeriesStream.plot`, or no stream has one of the columns.
        SchemaError
            Some streams have a naive index, others one with a zone.
        """
        from walrus_ts.notebook.plot import plot

        labels = None if columns is None else label_list(columns)
        chosen = _choose(labels, {key: stream._source.look() for key, stream in self.streams.items()})
        parts = [(shown(key), stream.scan(start, stop, columns=chosen[key])) for key, stream in self.streams.items()]
        return plot(parts, max_points, ax)

    def live(
        self,
        columns: Sequence[Label] | None = None,
        window: Any = "5min",
        *,
        every: float = 1.0,
        rows: int = 10,
        max_points: int = 600,
        errors: Errors = "raise",
        stream_name: str = STREAM,
    ) -> Live:
        """Show the newest rows of all streams as a chart and a table, and follow the streams until stopped.

        Parameters are those of `TimeSeriesStream.live`; of `columns`, each stream shows those that it has. The chart
        has a panel a column, and a line there for each of the first nine streams. `stream_name` names the table's
        column that says which stream a row is from.

        Returns
        -------
        Live
            Its `stop` ends it.

        Raises
        ------
        UsageError, DataError
            As in `TimeSeriesStream.live`, or no stream has one of the columns.
        SchemaError
            The streams' columns, or their zones, do not go together.
        """
        labels = None if columns is None else label_list(columns)
        _choose(labels, {key: stream._source.look() for key, stream in self.streams.items()})
        return make_live(
            [(shown(key), stream._source) for key, stream in self.streams.items()],
            labels,
            self._streams()[0].database,
            window=window,
            every=every,
            rows=rows,
            max_points=max_points,
            errors=errors,
            stream_name=stream_name,
            name=shown(self.name),
        )

    def read_frame(
        self, count: int | None = None, block: int | None = None, *, stream_name: str = STREAM
    ) -> pd.DataFrame:
        """Return rows that the group has not read yet (XREADGROUP); they stay pending until acknowledged.

        Parameters
        ----------
        count : int, optional
            Rows of each stream at most.
        block : int, optional
            Milliseconds to wait for a row; 0 waits for ever. Without it, there is no waiting.
        stream_name : str
            Name of the categorical column that says which stream a row is from.

        Returns
        -------
        DataFrame
            Ordered by time.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams: `create()` makes it.
        UsageError, SchemaError
            The data have a column `stream_name` of their own, or the streams' columns do not go together. No row is
            delivered; where that shows only in the rows, they are handed back, and `batches` takes them at once.
        DataError
            A value does not fit its column; the rows are pending.
        """
        return read_rows(self._streams(), count, block, stream_name)

    def batches(
        self,
        count: int = 1000,
        *,
        wait: float | None = None,
        claim_after: float = 60,
        max_deliveries: int = 5,
        stream_name: str = STREAM,
        prefetch: bool | None = None,
    ) -> Batches:
        """Iterate over the new rows of all streams, batch by batch, as they come.

        Parameters are those of `TimeSeriesStream.batches`; `count` is of each stream, and `stream_name` names the
        categorical column that says which stream a row is from.

        Returns
        -------
        Batches
            An iterator of `Batch`.
        """
        return make_batches(self._streams(), count, wait, claim_after, max_deliveries, stream_name, prefetch)

    def status(self) -> pd.DataFrame:
        """Say how the group stands with each of its streams.

        Returns
        -------
        DataFrame, shape (n, 7)
            Index: the streams' keys. Columns: `length`; `first` and `last`, the times of the first and the last row;
            `lag`, rows that the group has not read yet (NA where Redis does not know it); `pending`, rows that it has
            read and not acknowledged; `oldest_pending`, the time of the first of these; `consumers`. NA and NaT where
            there is no stream, or no group on it. Times are in the streams' zone, and in UTC where they differ, to
            the millisecond.

        Examples
        --------
        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-31", periods=3, freq="D")
        >>> series.s1.append(pd.DataFrame({"price": [7.5, 7.25, 7.0]}, index=days)).rows
        3
        >>> series.status().loc["s1", ["length", "lag", "pending"]].tolist()
        [3, 3, 0]
        """
        return status_frame(self._sources(), to_bytes(self.name))

    def pending_frame(self, limit: int | None = None) -> pd.DataFrame:
        """Return the rows that the group has read and not acknowledged, stream by stream (XPENDING).

        Parameters
        ----------
        limit : int, optional
            Rows of each stream at most.

        Returns
        -------
        DataFrame, shape (n, 5)
            As `TimeSeriesStream.pending_frame`, with a categorical column `stream` before the others.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams.
        """
        limit, sources = check_count(limit, "limit", minimum=0), self._sources()
        zone = common_zone(sources)
        frames = [pending_frame(source, to_bytes(self.name), limit, zone) for source in sources]
        return by_stream(frames, sources)

    def consumers_frame(self) -> pd.DataFrame:
        """Return the group's consumers, stream by stream (XINFO CONSUMERS).

        Returns
        -------
        DataFrame, shape (n, 5)
            As `TimeSeriesStream.consumers_frame`, with a categorical column `stream` before the others.

        Raises
        ------
        GroupMissingError
            The group does not exist on one of the streams.
        """
        return by_stream([stream.consumers_frame() for stream in self._streams()], self._sources())

    def _sources(self) -> list[Source]:
        return [stream._source for stream in self._streams()]

    def _streams(self) -> Sequence[S]:
        return list(self.streams.values())


def _choose(
    columns: Sequence[Label] | None, looks: Mapping[KeyT, tuple[StreamState | None, Schema | None]]
) -> dict[KeyT, list[Label] | None]:
    """Choose what to read of each stream: of the columns asked for, those that it has; one without a record has any."""
    exist = [key for key, (state, schema) in looks.items() if schema or (state and state.added)]
    if columns is None or not exist:
        return dict.fromkeys(looks, columns if columns is None else list(columns))
    chosen: dict[KeyT, list[Label] | None] = {key: [] for key in looks}
    found: set[Any] = set()
    for key in exist:
        schema = looks[key][1]
        known = None if schema is None else {identity(column.label) for column in schema.columns}
        own = chosen[key] = [label for label in columns if known is None or identity(label) in known]
        found.update(map(identity, own))
    for label in columns:
        if identity(label) not in found:
            listed = dict.fromkeys(repr(c.label) for _, schema in looks.values() if schema for c in schema.columns)
            raise UsageError(
                f"no stream of the time series has a column {label!r}; they have {', '.join(listed)}", column=label
            )
    return chosen


def _without_strangers(frame: pd.DataFrame, schemas: Sequence[Schema]) -> pd.DataFrame:
    """Drop what no entry of a stream without a record has, where another stream knows the column's dtype."""
    known = [any(schema.column(label) for schema in schemas) for label in frame.columns]
    kept = frame.notna().any().to_numpy(bool) | ~np.array(known, bool)
    return frame.take(np.flatnonzero(kept), axis=1)
