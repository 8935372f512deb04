"""What was delivered, as tables: by the streams' records, and without the rows that no record fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.replies import EntriesReply
from walrus_ts.errors import DataError
from walrus_ts.frames.decoder import Decoder
from walrus_ts.frames.rows import Rows, combine
from walrus_ts.frames.source import Source
from walrus_ts.frames.to_pandas import FEW, to_pandas
from walrus_ts.ids import Ids
from walrus_ts.pandas_io.read_few import FewRows
from walrus_ts.stacking import Part
from walrus_ts.transfer.patience import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Read:
    """Entries as a table.

    Attributes
    ----------
    part : Part
        Those that could be decoded.
    kept : int64 array
        Their positions among the entries.
    spoiled : dict of position -> reason
        The others.
    """

    part: Part
    kept: npt.NDArray[np.int64]
    spoiled: dict[int, str]


@dataclass
class Few:
    """A few rows of one stream, as `Stacked` has them; what costs more than to read them is made when it is wanted."""

    rows: FewRows
    zone: tzinfo | None

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows, shape (n, k)."""
        return self.rows.frame(self.zone)

    @property
    def ids(self) -> Ids:
        """The ids, uint64 of shape (n, 2)."""
        return self.rows.ids

    @property
    def part(self) -> npt.NDArray[np.intp]:
        """They are all of the first stream."""
        return np.zeros(len(self.ids), np.intp)


class Tables:
    """The streams of a group as tables: their records, asked for once and again where they do not fit.

    Parameters
    ----------
    sources : mapping of key -> (label, Source)
    """

    def __init__(self, sources: dict[bytes, tuple[str, Source]]) -> None:
        self._sources = sources
        self._decoders: dict[bytes, Decoder] = {}
        self._foreign: dict[bytes, set[bytes]] = {key: set() for key in sources}  # fields that no record knows
        self._prepared = WeakKeyDictionary[EntriesReply, tuple[Decoder, Rows | None]]()

    @property
    def labels(self) -> list[str]:
        """The streams' names in frames."""
        return [label for label, _ in self._sources.values()]

    def ask(self, patience_seconds: float) -> None:
        """Ask for the records that are not known yet."""
        for key in self._sources:
            self._decoder(key, patience_seconds)

    def forget(self) -> None:
        """Forget the records: a stream that is made again may have others."""
        self._decoders.clear()

    def prepare(self, key: bytes, reply: EntriesReply) -> None:
        """Decode a reply, where the stream's record is known; `read` takes what comes of it."""
        decoder = self._decoders.get(key)
        if decoder is not None and reply.objects is None:
            self._prepared[reply] = decoder, self._by_known_record(key, reply.entries(decoder.fields))

    def read(self, key: bytes, replies: Sequence[EntriesReply]) -> Read:
        """Decode entries."""
        spoiled: dict[int, str] = {}
        kept = np.arange(sum(map(len, replies)))
        few = self.few(key, replies)
        if few is not None:
            return Read(Part(self._sources[key][0], key, few.frame, few.ids), kept, spoiled)
        pieces = [self._take_prepared(key, reply) for reply in replies]
        ready = [rows for rows in pieces if rows is not None]
        if len(ready) == len(pieces):
            return Read(self._part(key, combine(ready, self._decoder(key).empty())), kept, spoiled)
        entries = Entries.join([reply.entries(self._decoder(key).fields) for reply in replies])
        rows = self._by_known_record(key, entries)
        if rows is None:  # the record may have been widened since it was read
            del self._decoders[key]
            self._foreign[key] |= set(entries.columns) - set(self._decoder(key).fields)
            try:
                rows = self._decoder(key).rows(entries)
            except DataError as error:
                _require_id(error)
                self._find_spoiled(key, entries, 0, spoiled)
                good = np.ones(len(entries), bool)
                good[list(spoiled)] = False
                rows, kept = self._decoder(key).rows(entries.filter(good)), np.flatnonzero(good)
        return Read(self._part(key, rows), kept, spoiled)

    def few(self, key: bytes, replies: Sequence[EntriesReply]) -> Few | None:
        """Decode a few plain entries without Arrow; None where they are others."""
        entries = replies[0].objects
        if len(replies) > 1 or not entries or len(entries) > FEW:
            return None
        plan = self._decoder(key).few
        rows = None if plan is None else plan.read(entries)
        return None if rows is None else Few(rows, self._sources[key][1].zone)

    def _take_prepared(self, key: bytes, reply: EntriesReply) -> Rows | None:
        decoder, rows = self._prepared.pop(reply, (None, None))
        return rows if decoder is self._decoder(key) else None

    def _by_known_record(self, key: bytes, entries: Entries) -> Rows | None:
        """Decode entries by the record as it was; None where it does not know all of them."""
        if not entries.columns.keys() <= self._foreign[key].union(self._decoder(key).fields):
            return None
        try:
            return self._decoder(key).rows(entries)
        except DataError:
            return None

    def _part(self, key: bytes, rows: Rows) -> Part:
        label, source = self._sources[key]
        assert rows.ids is not None  # as the decoder was told
        return Part(label, key, to_pandas(rows, source), rows.ids)

    def _find_spoiled(self, key: bytes, entries: Entries, first: int, spoiled: dict[int, str]) -> None:
        """Find the entries that cannot be decoded, by halves; `first` is the position of these entries' first."""
        try:
            self._decoder(key).rows(entries)
        except DataError as error:
            _require_id(error)
            if len(entries) == 1:
                spoiled[first] = str(error)
                return
            half = np.arange(len(entries)) < len(entries) // 2
            self._find_spoiled(key, entries.filter(half), first, spoiled)
            self._find_spoiled(key, entries.filter(~half), first + int(half.sum()), spoiled)

    def _decoder(self, key: bytes, patience_seconds: float = PATIENCE_SECONDS) -> Decoder:
        if key not in self._decoders:
            source = self._sources[key][1]
            self._decoders[key] = Decoder(source, source.look(patience_seconds)[1], ids=True)
        return self._decoders[key]


def _require_id(error: DataError) -> None:
    """Raise an error that is not of one entry: a broken record, say."""
    if "id" not in vars(error):
        raise error
