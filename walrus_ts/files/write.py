"""A range of a stream -> a file, in bounded memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from walrus_ts.errors import UsageError
from walrus_ts.files.kinds import COMPRESSED, Kind, pieces_rows
from walrus_ts.files.read import pieces

if TYPE_CHECKING:
    from walrus_ts.frames.scan import Scan


def write_file(
    scan: Scan,
    path: Path,
    kind: Kind,
    empty: pd.DataFrame,
    report: Callable[[int], object] | None = None,
) -> int:
    """Write the rows of a scan, and return how many.

    They go into another file beside it, which takes its place at the end: so a file that is there is a whole one.

    Parameters
    ----------
    scan : Scan
    path : Path
    kind : {"csv", "parquet", "feather"}
    empty : DataFrame, shape (0, k)
        The frame that the scan gives, without rows: pandas reads its dtypes back from Parquet and Feather.
    report : callable, optional
        Is told of rows as they are written.

    Raises
    ------
    UsageError
        The format has no such values; names the column. Or the path is something else than a file.
    DataError
        As in `Scan.record_batches`.
    OSError
        The file cannot be written.
    """
    with pa.RecordBatchReader.from_stream(scan) as reader:
        schema = reader.schema  # there may be no rows to tell it
    if kind == "csv":
        _check_csv(schema)
    else:
        schema = _described(schema, empty)
    rows = 0
    compression = COMPRESSED.get(path.suffix.lower()) if kind == "csv" else None
    with _replacing(path) as partial, _writing(partial, kind, schema, compression) as writer:
        for table in pieces(scan.record_batches(), pieces_rows(len(schema))):
            writer.write_table(_fitted(table, schema, empty))
            rows += len(table)
            if report is not None:
                report(len(table))
    return rows


def csv_text(frame: pd.DataFrame, *, header: bool = True) -> str:
    """Write a few rows, without their index, as `write_file` writes CSV.

    Raises
    ------
    UsageError
        CSV has no such values; names the column.
    """
    from pyarrow import csv

    table = pa.Table.from_pandas(frame, preserve_index=False)
    _check_csv(table.schema)
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=header))
    text: str = sink.getvalue().to_pybytes().decode()
    return text


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file to write to, which takes the other's place where all went well, and goes where it did not.

    A symbolic link stays one: what it names is replaced. The mode stays, too.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise UsageError(f"{str(path)!r} is no file but a folder, a pipe or a device; name a file", path=str(path))
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _create(partial, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # nobody knows the other name
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _create(partial: Path, target: Path) -> None:
    """Make an empty file with the mode of another one, before there is something in it that not all may read."""
    partial.unlink(missing_ok=True)  # of a process that was killed, and had our number
    mode = S_IMODE(target.stat().st_mode) if target.exists() else None
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else 0o600))
    if mode is not None:
        partial.chmod(mode)


@contextmanager
def _writing(path: Path, kind: Kind, schema: pa.Schema, compression: str | None) -> Iterator[Any]:
    with ExitStack() as stack:
        if kind == "csv":
            from pyarrow import csv

            sink = stack.enter_context(pa.CompressedOutputStream(str(path), compression)) if compression else path
            writer = csv.CSVWriter(sink, schema)
        elif kind == "parquet":
            from pyarrow import parquet

            writer = parquet.ParquetWriter(path, schema)
        else:
            from pyarrow import ipc

            # The compression is Feather's own.
            writer = ipc.new_file(path, schema, options=ipc.IpcWriteOptions(compression="lz4"))
        yield stack.enter_context(writer)


def _check_csv(schema: pa.Schema) -> None:
    for field in schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise UsageError(
                f"column {field.name!r} holds {field.type}, which CSV does not have. Leave it out by `columns`, or "
                "choose another format.",
                column=field.name,
            )


# For pandas -----------------------------------------------------------------------------------------------------------


def _described(schema: pa.Schema, empty: pd.DataFrame) -> pa.Schema:
    """Add pandas' description of a frame, so that `pandas.read_parquet` and `load` make the same one of the columns."""
    labels = empty.columns
    if len(labels) != len(schema) - 1:
        return schema
    if labels.nlevels > 1 or labels.inferred_type.startswith("mixed"):
        empty = empty.set_axis(pd.Index(schema.names[1:]), axis=1)  # pandas' description has one type for all labels
    index = schema.names[0]
    metadata = pa.Schema.from_pandas(empty.rename_axis(index=index)).pandas_metadata
    metadata["columns"][-1]["name"] = empty.index.name
    for at, dtype in enumerate(empty.dtypes, start=1):
        if isinstance(dtype, pd.CategoricalDtype):
            kind = pa.dictionary(pa.int32(), schema.types[at], ordered=bool(dtype.ordered))
            schema = schema.set(at, schema.field(at).with_type(kind))
    return schema.with_metadata({"pandas": json.dumps(metadata)})


def _fitted(table: pa.Table, schema: pa.Schema, empty: pd.DataFrame) -> pa.Table:
    """Give columns of categories the dictionaries that the schema asks for: the same in each piece, in their order."""
    columns = [
        _with_categories(column, empty.dtypes.iloc[at - 1].categories, field.type)
        if pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(column.type)
        else column
        for at, (column, field) in enumerate(zip(table.columns, schema, strict=True))
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _with_categories(values: pa.ChunkedArray, categories: pd.Index[Any], kind: pa.DictionaryType) -> pa.Array:
    dictionary = pa.array(categories, type=kind.value_type)
    codes = pc.index_in(values, dictionary).combine_chunks()
    return pa.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)
