"""What a file's name says of what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from walrus_ts.errors import UsageError

Kind = Literal["csv", "parquet", "feather"]

_ENDINGS: dict[str, Kind] = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_ENDINGS |= dict.fromkeys((".feather", ".arrow", ".ipc"), "feather")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2"}  # a CSV, behind its ending: Arrow's names


def kind_of(path: Path) -> Kind:
    """Tell by a file's ending what it is; a folder is a data set of Parquet files.

    Raises
    ------
    UsageError
        There is no such ending; the message lists those there are.
    """
    if path.is_dir():
        return "parquet"
    name = path.name.lower()
    for ending in COMPRESSED:
        if name.endswith(f".csv{ending}"):
            return "csv"
    kind = _ENDINGS.get(Path(name).suffix)
    if kind is None:
        raise UsageError(
            f"{str(path)!r} does not say what it is: expected a name that ends in {', '.join(_ENDINGS)}, "
            f"or .csv{' or .csv'.join(COMPRESSED)}",
            path=str(path),
        )
    return kind


def pieces_rows(columns: int) -> int:
    """Say how many rows are held at a time: fewer of a wide table.

    The names of the loads of a file's pieces follow from it (`load.load_file`): where it changes, a load that was begun
    before cannot be completed under its name.
    """
    return min(100_000, max(1_000, 4_000_000 // max(1, columns)))
