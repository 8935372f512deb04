"""The types of a CSV's columns, so that all of its rows fit them.

Arrow reads a CSV piece by piece with the types that the first megabytes suggest, and stops where a later value does not
fit them. So the file is read twice: first to find types that fit every row, which costs a small part of what storing
the rows does, and means that a value in the last row is no surprise when all others are stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from walrus_ts.errors import DataError, UsageError
from walrus_ts.files.kinds import COMPRESSED

_BLOCK_BYTES = 8 << 20
_NANOSECONDS = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
_MISFIT = re.compile(
    r"In CSV column #(?P<column>\d+): (?:Row #\d+: )?CSV conversion error to [^:]+: "
    r"(?:invalid value|expected (?:no|a) zone offset in) '(?P<value>.*)'",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV is written.

    Parameters
    ----------
    separator : str
        What stands between values, a character.
    decimal : str
        What stands before a number's fraction, a character.
    time_format : str, optional
        How times are written, in the words of `datetime.strptime`, without fractions of a second (Arrow knows none
        there). ISO 8601 is known besides.

    Raises
    ------
    UsageError
        A character is none, or both are one.
    """

    separator: str = ","
    decimal: str = "."
    time_format: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("separator", self.separator), ("decimal", self.decimal)):
            if len(value) != 1 or not value.isascii() or value in '"\r\n' or value.isalnum():
                raise UsageError(f"the {name} of a CSV is one character, such as ',' or ';'; found {value!r}")
        if self.separator == self.decimal:
            raise UsageError(
                f"the separator and the decimal of a CSV are two characters; found {self.decimal!r} for both"
            )

    @property
    def parsers(self) -> list[Any]:
        """What reads times; where there is none, Arrow takes its own for ISO 8601, which knows fractions."""
        return [self.time_format, csv.ISO8601] if self.time_format else []

    def convert_options(self, types: dict[str, pa.DataType] | None = None) -> csv.ConvertOptions:
        """Say how values are read."""
        return csv.ConvertOptions(
            column_types=types,
            decimal_point=self.decimal,
            timestamp_parsers=self.parsers,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["true", "True", "TRUE"],  # and not 1, which Arrow takes for true, too
            false_values=["false", "False", "FALSE"],
        )


PLAIN = Dialect()


@dataclass(frozen=True, slots=True)
class Types:
    """What a CSV holds.

    Attributes
    ----------
    types : dict of name -> DataType
        Of all columns.
    nulls : set of str
        The columns that have nulls.
    rows : int
    """

    types: dict[str, pa.DataType]
    nulls: set[str]
    rows: int


def open_csv(path: Path, types: dict[str, pa.DataType], dialect: Dialect = PLAIN) -> csv.CSVStreamingReader:
    """Begin to read a CSV; columns without a type get what the beginning of the file suggests."""
    compression = COMPRESSED.get(path.suffix.lower())  # Arrow itself looks for small letters alone
    return csv.open_csv(
        pa.input_stream(str(path), compression=compression) if compression else path,
        read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
        convert_options=dialect.convert_options(types),
    )


def find_types(path: Path, dialect: Dialect = PLAIN) -> Types:
    """Read a CSV through, and find types that fit all of its rows.

    Raises
    ------
    DataError
        It is no CSV in UTF-8: its rows differ in length, a name is there twice, it is empty, its text is in another
        encoding.
    """
    types: dict[str, pa.DataType] = {}
    tried: set[tuple[str, pa.DataType]] = set()
    while True:
        try:
            found = _read_through(path, types, dialect)
        except pa.ArrowInvalid as error:
            misfit = _MISFIT.match(str(error))
            if misfit is None:
                hint = other_separator(str(error).partition(", got ")[2], dialect)  # behind it, Arrow shows the row
                raise DataError(f"{str(path)!r} cannot be read as CSV: {error}{hint}", path=str(path)) from error
            with open_csv(path, {}, dialect) as reader:  # with our types, even opening fails where the misfit is near
                field = reader.schema.field(int(misfit["column"]))
            name = field.name
            kind = wider(types.get(name, field.type), _type_of(misfit["value"], dialect))
            types[name] = pa.string() if (name, kind) in tried else kind  # nanoseconds beside the year 3000: none fits
            tried.add((name, kind))
        else:
            fractions = {
                n: pa.timestamp("us", k.tz) for n, k in found.types.items() if k in _NANOSECONDS and n not in types
            }
            if not fractions:
                return Types({name: _settled(kind) for name, kind in found.types.items()}, found.nulls, found.rows)
            types |= fractions  # Arrow has nanoseconds for any fraction; pandas, and so we, microseconds where they do


def _settled(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("us", kind.tz)  # as pandas: the next file of the kind may have fractions
    return pa.string() if pa.types.is_null(kind) else kind


def other_separator(text: str, dialect: Dialect) -> str:
    """Say what the separator may be, where a text of the file has another one."""
    for separator, typed in ((";", "';'"), ("\t", "tab"), ("|", "'|'"), (",", "','")):
        if separator in text and separator not in (dialect.separator, dialect.decimal):
            return f". Is {separator!r} the separator? On the command line that is: --sep {typed}"
    return ""


def _read_through(path: Path, types: dict[str, pa.DataType], dialect: Dialect) -> Types:
    rows, nulls = 0, set()
    with open_csv(path, types, dialect) as reader:
        schema = reader.schema
        try:
            names = schema.names
        except UnicodeDecodeError as error:
            raise _no_utf_8(path, "the columns' names", error.object) from None
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{str(path)!r} has two columns {name!r}; rename one of them", path=str(path))
        for batch in reader:
            rows += batch.num_rows
            for field, column in zip(schema, batch.columns, strict=True):
                if pa.types.is_binary(field.type):  # what Arrow makes of it
                    raise _no_utf_8(path, f"column {field.name!r}", _first_that_is_not_utf_8(column))
            nulls |= {name for name, column in zip(names, batch.columns, strict=True) if column.null_count}
    return Types(dict(zip(names, schema.types, strict=True)), nulls, rows)


def _first_that_is_not_utf_8(column: pa.BinaryArray) -> bytes:
    for value in column.drop_null().to_pylist():
        try:
            value.decode()
        except UnicodeDecodeError:
            return bytes(value)
    return b""


def _no_utf_8(path: Path, where: str, found: bytes) -> DataError:
    return DataError(
        f"{str(path)!r} is not in UTF-8: found {found[:80]!r} in {where}. Convert the file first: "
        "`iconv -f LATIN1 -t UTF-8 FILE > NEW`, if LATIN1 is what it is in.",
        path=str(path),
    )


def _type_of(value: str, dialect: Dialect) -> pa.DataType:
    """Return the type that Arrow gives a single value; text for an integer that no integer type holds."""
    if re.fullmatch(r"[+-]?\d+", value) and not -(2**63) <= int(value) < 2**63:
        return pa.string()
    quoted = '"' + value.replace('"', '""') + '"'
    return csv.read_csv(
        pa.BufferReader(f"x\n{quoted}\n".encode()),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(decimal_point=dialect.decimal, timestamp_parsers=dialect.parsers),
    ).schema.types[0]


def wider(old: pa.DataType, new: pa.DataType) -> pa.DataType:
    """Return a type that holds the values of two, in the end text.

    Examples
    --------
    >>> wider(pa.int64(), pa.float64())
    DataType(double)
    >>> wider(pa.bool_(), pa.int64())
    DataType(string)
    """
    kinds = pa.types
    if kinds.is_null(old) and not kinds.is_null(new):
        return new
    if {old, new} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if all(kinds.is_timestamp(kind) or kinds.is_date32(kind) for kind in (old, new)) and old != new:
        zones = {kind.tz for kind in (old, new) if kinds.is_timestamp(kind)}
        zoned_dates = "UTC" in zones and any(kinds.is_date32(kind) for kind in (old, new))
        if len(zones) == 1 and not zoned_dates:
            units = {kind.unit for kind in (old, new) if kinds.is_timestamp(kind)}
            unit = "s" if units == {"s"} else "ns" if "us" in units else "us"
            return pa.timestamp(unit, zones.pop())
    return pa.string()
