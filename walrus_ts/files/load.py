"""A file -> a stream, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from walrus_ts.errors import WalrusTSError
from walrus_ts.files.read import File
from walrus_ts.progress import Progress, reporting
from walrus_ts.transfer.job import Appended, joined


def load_file(
    append: Callable[..., Appended],
    file: File,
    *,
    time: str | None = None,
    load: str | None = None,
    progress: Progress = None,
    **options: Any,
) -> Appended:
    """Append a file to a stream.

    A load with a name is one load a piece, so that it can be repeated as a whole: the record of each piece says what is
    stored of it. The first has the name itself, the one that begins with row 100,000 has ``NAME[100000:]``. Where
    pieces begin follows from the number of columns alone.

    Parameters
    ----------
    append : callable
        The stream's.
    file : File
    time : str, optional
        The column of times (`File.time_column`).
    load : str, optional
        The load's name.
    progress : bool or callable, optional
        As in `append`, over the whole file.
    **options
        Those of `append`.

    Returns
    -------
    Appended

    Raises
    ------
    UsageError, SchemaError, LateRowsError, AppendError
        As in `append`, of one piece; `.first_row` is where it begins in the file, and `.done` what was stored of those
        before it.
    DataError
        The file is broken.
    """
    clock = file.time_column(time)
    done, row = Appended(0), 0
    with reporting(progress, file.rows, f"load {file.path.name}") as report:
        for piece in file.pieces(clock):
            tell = _telling(report)
            named = {"load": f"{load}[{row}:]" if load and row else load, "progress": tell}
            if isinstance(piece, pa.Table):
                named["time"] = clock
            try:
                new = append(piece, **named, **options)
            except WalrusTSError as error:
                error.__dict__.update(first_row=row, done=done)
                if row:
                    error.add_note(
                        f"Rows are counted from row {row:,} of {str(file.path)!r}; those before it are stored."
                    )
                raise
            tell(len(piece), len(piece))  # of a piece that was stored before, `append` tells nothing
            row += len(piece)
            done = joined(done, new)
    return done


def _telling(report: Callable[[int], object] | None) -> Callable[[int, int], None]:
    """Pass on how many rows of a piece are new since it was last told."""
    told = 0

    def tell(done: int, _: int) -> None:
        nonlocal told
        if report is not None and done > told:
            report(done - told)
        told = done

    return tell
