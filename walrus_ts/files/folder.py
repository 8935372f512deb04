"""A folder of Parquet files as one table: which files, in which order, with which columns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from walrus_ts.errors import DataError

if TYPE_CHECKING:
    from pyarrow.dataset import FileSystemDataset

_ENDINGS = (".parquet", ".pq")
_MAGIC = b"PAR1"  # https://parquet.apache.org/docs/file-format/
_WHOLE = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
_NULLABLE = {"bool": "boolean"} | {name.lower(): name for name in _WHOLE}  # Arrow's names -> pandas' dtypes'


def data_set(path: Path) -> FileSystemDataset:
    """Open the Parquet files below a folder, in the order of their paths.

    Numbers in paths are compared as numbers: ``month=2`` comes before ``month=10``. Files that are no Parquet, neither
    by their names nor by their first bytes, are left out, and so is what begins with a dot or an underscore.

    Raises
    ------
    DataError
        There is none.
    """
    from pyarrow import dataset

    files = [file for file in path.rglob("*") if _is_meant(file.relative_to(path)) and _is_parquet(file)]
    if not files:
        raise DataError(f"{str(path)!r} is a folder without a Parquet file in it", path=str(path))
    files.sort(key=lambda file: _in_order(file.relative_to(path)))
    return dataset.dataset(
        [str(file) for file in files], format="parquet", partitioning="hive", partition_base_dir=str(path)
    )


def _is_meant(path: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in path.parts)


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.name.lower().endswith(_ENDINGS):
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _in_order(path: Path) -> list[list[str | int]]:
    """Make a key to sort by: of each part of the path, texts and numbers in turns."""
    return [
        [int(piece) if at % 2 else piece for at, piece in enumerate(re.split("([0-9]+)", part))] for part in path.parts
    ]


def common_schema(data: FileSystemDataset) -> pa.Schema:
    """Return a schema that holds the columns of all files; those that a file does not have are null in its rows.

    Raises
    ------
    DataError
        A column's types in two files have none in common.
    """
    fragments = list(data.get_fragments())
    schema: pa.Schema = data.schema
    if len(fragments) == 1:
        return schema
    missing: set[str] = set()
    partitions = set(schema.names) - set(fragments[0].physical_schema.names)
    for fragment in fragments:
        found = fragment.physical_schema
        missing |= set(schema.names) ^ {*found.names, *partitions}
        try:
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"{fragment.path!r} does not fit the files before it: {error}. Load it by itself, or write it anew "
                "with the type that the others have.",
                path=fragment.path,
            ) from error
    return _with_nulls(schema, missing)


def _with_nulls(schema: pa.Schema, names: set[str]) -> pa.Schema:
    """Have pandas make nullable columns, and not floats, of integers and truths that some files do not have."""
    described: dict[str, Any] | None = schema.pandas_metadata
    if described is None:
        return schema
    nullable = {
        name: _NULLABLE[str(schema.field(name).type)] for name in names if str(schema.field(name).type) in _NULLABLE
    }
    columns = [column for column in described["columns"] if column["field_name"] not in nullable]
    for name, dtype in sorted(nullable.items()):
        columns.append(
            {"name": name, "field_name": name, "pandas_type": dtype.lower(), "numpy_type": dtype, "metadata": None}
        )
    metadata = {**(schema.metadata or {}), b"pandas": json.dumps({**described, "columns": columns})}
    return schema.with_metadata(metadata)
