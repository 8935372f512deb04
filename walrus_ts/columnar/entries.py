"""Entries of a stream as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from walrus_ts.ids import Ids


@dataclass(slots=True)
class Entries:
    """Entries of one stream, as columns.

    Attributes
    ----------
    milliseconds, sequence : uint64 arrays, shape (n,)
    columns : dict of field -> BinaryArray or BinaryViewArray, shape (n,)
        Null where an entry does not have the field. The fields that were asked for come first, in their order, and are
        always there; further ones follow as they were found.
    gone : bool array, shape (n,)
        Entries of a pending list whose values the stream no longer holds.
    """

    milliseconds: Ids
    sequence: Ids
    columns: dict[bytes, pa.Array] = field(default_factory=dict)
    gone: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.milliseconds)

    def id_at(self, row: int) -> str:
        """Return one id as Redis writes it."""
        return f"{self.milliseconds[row]}-{self.sequence[row]}"

    def ids(self) -> list[bytes]:
        """Return the ids as Redis writes them."""
        return [b"%d-%d" % pair for pair in zip(self.milliseconds.tolist(), self.sequence.tolist(), strict=True)]

    @classmethod
    def join(cls, parts: Sequence[Entries]) -> Entries:
        """Put entries behind each other."""
        if len(parts) == 1:
            return parts[0]
        names = dict.fromkeys(name for part in parts for name in part.columns)
        return cls(
            np.concatenate([part.milliseconds for part in parts]),
            np.concatenate([part.sequence for part in parts]),
            {name: _concatenated([part._column(name) for part in parts]) for name in names},
            np.concatenate([part.gone for part in parts]),
        )

    def _column(self, name: bytes) -> pa.Array:
        return self.columns[name] if name in self.columns else pa.nulls(len(self), pa.binary())

    def filter(self, chosen: npt.NDArray[np.bool_]) -> Entries:
        """Return those entries for which the mask is true."""
        columns = {name: column.cast(pa.binary()).filter(pa.array(chosen)) for name, column in self.columns.items()}
        return Entries(self.milliseconds[chosen], self.sequence[chosen], columns, self.gone[chosen])


def _concatenated(columns: Sequence[pa.Array]) -> pa.Array:
    if len({column.type for column in columns}) > 1:
        columns = [column.cast(pa.binary()) for column in columns]
    return pa.concat_arrays(columns)
