"""Labels of columns: which of them are one, what field each has, and their JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from walrus_ts.errors import UsageError

Label = Any  # what pandas takes as a column's label
_NUMPYS = (np.integer, np.floating, np.bool_, np.str_)


def fields_for(labels: Sequence[Label], taken: Iterable[bytes] = ()) -> list[bytes]:
    """Give each label a field: itself where it is a non-empty string, else a name that no other column has.

    Raises
    ------
    UsageError
        A label stands there twice, or no record can hold it (`label_to_json`).
    """
    seen = set()
    for label in labels:
        key = identity(label)
        if key in seen:
            raise UsageError(
                f"the column label {label!r} stands there twice; rename one (`frame.columns = [...]`, or of an Arrow "
                "table `table.rename_columns([...])`)",
                column=label,
            )
        seen.add(key)
    fields = [_own_field(label) for label in labels]
    used = {*taken, *(name for name in fields if name is not None)}
    given: list[bytes] = []
    for label, name in zip(labels, fields, strict=True):
        given.append(_free_field(label, used) if name is None else name)
        used.add(given[-1])
    return given


def is_unicode(text: str) -> bool:
    """Tell whether a text has no half of a surrogate pair in it, as names of files that are no UTF-8 have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def same_label(one: Label, other: Label) -> bool:
    """Compare labels as pandas' columns do, but 1 and True and "1" apart."""
    return identity(one) == identity(other)


def identity(label: Label) -> tuple[type, Label]:
    """Give each label a key of its own: 1, True and "1" apart; one nan, and one moment, like another."""
    label = _without_numpy(label)
    if isinstance(label, tuple):
        return tuple, tuple(map(identity, label))
    if isinstance(label, datetime):  # pandas.Timestamp is one
        return datetime, _moment(label)
    return type(label), repr(label) if is_nan(label) else label


def _without_numpy(label: Label) -> Label:
    """Make Python's of numpy's scalar: what `frame.columns[0]` gives is that of `frame.columns.tolist()`."""
    return label.item() if isinstance(label, _NUMPYS) else label


def _moment(label: datetime) -> str:
    return (label if label.tzinfo is None else label.astimezone(UTC)).isoformat()


def is_nan(label: Label) -> bool:
    """Tell whether a label is not a number."""
    return isinstance(label, float) and math.isnan(label)


def _own_field(label: Label) -> bytes | None:
    described = label_to_json(label)  # refuses what no record can hold
    return described.encode() if type(described) is str and described else None


def _free_field(label: Label, used: set[bytes]) -> bytes:
    base = str(label).encode(errors="replace") or b"column"
    name, number = base, 1
    while name in used:
        number += 1
        name = b"%b_%d" % (base, number)
    return name


def label_to_json(label: Label) -> Any:
    """Describe a label; `label_from_json` makes it again.

    Raises
    ------
    UsageError
        It is neither valid Unicode, a number, a date nor a time of whole microseconds, nor a tuple of these.
    """
    label = _without_numpy(label)
    if type(label) is str:
        if not is_unicode(label):
            raise UsageError(f"the column label {label!r} is no valid Unicode text; rename it", column=label)
        return label
    if label is None or type(label) in (bool, int):  # a member of an IntEnum is an int, and would not come back
        return label
    if type(label) is float:
        return {"float": repr(label)}
    if isinstance(label, tuple):
        return {"tuple": [label_to_json(part) for part in label]}
    if isinstance(label, datetime) and label == label and not getattr(label, "nanosecond", 0):  # noqa: PLR0124  NaT
        return {"datetime": _moment(label)}
    if type(label) is date:
        return {"date": label.isoformat()}
    raise UsageError(
        "a column label is text, a number, a date, a time of whole microseconds or a tuple of these; found "
        f"{label!r} of type {type(label).__name__}. Rename it (`frame.columns = [...]`).",
        column=label,
    )


def label_from_json(label: Any) -> Label:
    """Return the label that `label_to_json` described; a `pandas.Timestamp` as a datetime, in UTC if it had a zone.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is none.
    """
    if isinstance(label, str):
        label.encode()  # JSON has what is no Unicode, and nothing else has
    if label is None or isinstance(label, (str, bool, int)):
        return label
    if "float" in label:
        return float(label["float"])
    if "datetime" in label:
        return datetime.fromisoformat(label["datetime"])
    if "date" in label:
        return date.fromisoformat(label["date"])
    return tuple(label_from_json(part) for part in label["tuple"])
