"""What mends the times of a frame or of an Arrow table: expressions, in the words of either."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import pandas as pd

from walrus_ts.columnar.labels import Label


@dataclass(frozen=True, slots=True)
class Times:
    """Where the times of what is appended are.

    Attributes
    ----------
    column : label, optional
        Of these times; without it they are the frame's index.
    arrow : bool
        They are a column of an Arrow table.
    """

    column: Label | None = None
    arrow: bool = False

    @property
    def place(self) -> str:
        """The expression for them."""
        if self.column is None:
            return "frame.index"
        return f"{'table' if self.arrow else 'frame'}[{self.column!r}]"

    def without_nulls(self) -> str:
        """Leave the rows without a time out."""
        return f"table.filter({self.place}.is_valid())" if self.arrow else f"frame[{self.place}.notna()]"

    def rows(self, part: str) -> str:
        """Take a part of the rows, such as ``3:``."""
        return f"table[{part}]" if self.arrow else f"frame.iloc[{part}]"

    def in_order(self) -> str:
        """Sort the rows; those of one time keep their order."""
        if self.arrow:
            return f"table.sort_by({self.column!r})"
        return f"frame.sort_{'index(' if self.column is None else f'values({self.column!r}, '}kind='stable')"

    def localised(self, zone: tzinfo | str, ambiguous: str, nonexistent: str = "") -> str:
        """Say in which zone they are, and which times are meant that a clock shows twice or never."""
        options = f"{str(zone)!r}, ambiguous={ambiguous}{nonexistent and f', nonexistent={nonexistent}'}"
        if self.arrow:
            at = f"table.column_names.index({self.column!r})"
            return f"table.set_column({at}, {self.column!r}, pc.assume_timezone({self.place}, {options}))"
        return f"{self.place} = {self.place}{self._dt}.tz_localize({options})"

    def made(self, dtype: Any) -> str | None:
        """Make datetimes of values of another dtype; None where they are none."""
        if isinstance(dtype, pd.PeriodDtype):
            return f"{self.place} = {self.place}{self._dt}.to_timestamp()"
        if isinstance(dtype, pd.IntervalDtype):
            return self._made_of(f"pd.IntervalIndex({self.place}).left", dtype.subtype)
        return self._made_of(self.place, dtype)

    def _made_of(self, values: str, dtype: Any) -> str | None:
        if dtype.kind == "m":
            return f"{self.place} = pd.to_datetime(pd.Timestamp('2024-01-01') + {values})"
        if dtype.kind in "bc":
            return None
        unit = ", unit='s'" if pd.api.types.is_numeric_dtype(dtype) else ""
        return f"{self.place} = pd.to_datetime({values}{unit})"

    @property
    def _dt(self) -> str:
        return "" if self.column is None else ".dt"


INDEX = Times()
