"""Rows on stdout: a table for people, CSV or JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time
from shutil import get_terminal_size
from typing import Any, Literal

import numpy as np
import pandas as pd
import typer
from rich.cells import cell_len, set_cell_size

from walrus_ts.errors import UsageError
from walrus_ts.files.write import csv_text

Form = Literal["table", "csv", "json"]
Precision = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # what would steer the terminal, if data have it
_WIDEST = 40  # characters of a value on a terminal
_GAP = "  "


@contextmanager
def until_interrupted() -> Iterator[None]:
    """End a block at Ctrl-C, as that is how it is meant to end."""
    try:
        yield
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            typer.echo(err=True)  # the shell's prompt goes below the ^C that the terminal has written


def chosen_form(csv: bool, json: bool) -> Form:
    """Return what ``--csv`` and ``--json`` ask for."""
    if csv and json:
        raise UsageError("--csv and --json: choose one of them")
    return "csv" if csv else "json" if json else "table"


class Output:
    """Writes frames one below the other, with one header as long as their columns stay the same.

    Parameters
    ----------
    form : {"table", "csv", "json"}
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._columns: list[str] = []
        self._widths: list[int] = []

    def write(self, frame: pd.DataFrame) -> None:
        """Write a frame, its index as the first column."""
        flat = _flat(frame)
        new = self._columns != list(flat.columns)
        self._columns = list(flat.columns)
        if self._form == "csv":
            sys.stdout.write(csv_text(flat, header=new))
        elif self._form == "json":
            sys.stdout.writelines(f"{line}\n" for line in _json_lines(flat))
        else:
            self._write_table(flat, header=new)
        sys.stdout.flush()  # someone may be reading along

    def _write_table(self, flat: pd.DataFrame, *, header: bool) -> None:
        watched = sys.stdout.isatty()
        columns = [_cells(flat.iloc[:, at], cut=watched) for at in range(flat.shape[1])]
        needed = [max(map(cell_len, cells), default=0) for cells in columns]
        if header:
            self._widths = [max(cell_len(name), width) for name, width in zip(self._columns, needed, strict=True)]
        else:  # rows that follow stand below those before
            self._widths = [max(pair) for pair in zip(self._widths, needed, strict=True)]
        shown = _fitting(self._widths, get_terminal_size().columns) if watched else len(self._widths)
        right = [pd.api.types.is_numeric_dtype(dtype) for dtype in flat.dtypes]
        if header:
            typer.secho(self._line(self._columns, right, shown), bold=True)
        for row in zip(*columns, strict=True):
            typer.echo(self._line(row, right, shown))
        if header and shown < len(self._widths):
            hidden = ", ".join(self._columns[shown:])
            typer.secho(f"no room for: {hidden}", dim=True, err=True)

    def _line(self, row: Any, right: list[bool], shown: int) -> str:
        cells = zip(row, self._widths, right, strict=True)
        return _GAP.join([_padded(*cell) for cell in cells][:shown]).rstrip()


def _padded(text: str, width: int, right: bool) -> str:
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def _fitting(widths: list[int], columns: int) -> int:
    """Say how many columns a terminal's line holds, at least one."""
    ends = np.cumsum([width + len(_GAP) for width in widths]) - len(_GAP)
    return max(1, int(np.searchsorted(ends, columns, "right")))


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the index the first column, and all labels text."""
    names = [str(label) for label in frame.columns]
    index = "time" if frame.index.name is None else str(frame.index.name)
    while index in names:
        index += "_"
    flat: pd.DataFrame = frame.set_axis(pd.Index(names, dtype=object), axis=1).rename_axis(index=index).reset_index()
    return flat


def _cells(column: pd.Series[Any], *, cut: bool) -> list[str]:
    absent = column.isna().to_numpy(bool)
    values = column.tolist()
    precision = _precision([value for value in values if isinstance(value, pd.Timestamp)])
    cells = ["-" if gone else _cell(value, precision) for value, gone in zip(values, absent, strict=True)]
    return [cell[: _WIDEST - 1] + "…" if cut and len(cell) > _WIDEST else cell for cell in cells]


def _precision(times: list[pd.Timestamp]) -> Precision:
    """Choose how many digits a column's times have behind the second: as many as the finest of them needs."""
    fractions = np.array([time.microsecond * 1000 + time.nanosecond for time in times], np.int64)
    units: dict[Precision, int] = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3}
    return next((name for name, unit in units.items() if not (fractions % unit).any()), "nanoseconds")


def _cell(value: Any, precision: Precision = "nanoseconds") -> str:
    if isinstance(value, pd.Timestamp):
        text = value.isoformat(" ", precision)
    else:
        text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def _json_lines(flat: pd.DataFrame) -> list[str]:
    absent = flat.isna().to_numpy(bool)
    rows = zip(*(flat.iloc[:, at].tolist() for at in range(flat.shape[1])), strict=True)
    return [
        json.dumps(
            {n: None if gone else value for n, value, gone in zip(flat.columns, row, nulls, strict=True)},
            default=_plain,
            ensure_ascii=False,
        )
        for row, nulls in zip(rows, absent, strict=True)
    ]


def _plain(value: Any) -> Any:
    """Make what JSON has of a value."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return str(value)
