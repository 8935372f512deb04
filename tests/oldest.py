"""The oldest packages that pyproject.toml allows, as constraints for pip: ``python -m tests.oldest > constraints.txt``.

It needs nothing that is not Python's own, for it runs before anything is installed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
OWN = "walrus-ts"  # extras name each other through it

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,\s-]+\])?\s*>=\s*(?P<version>[\w.]+)\s*(;.*)?")


def requirements(project: Path = PROJECT) -> dict[str, list[str]]:
    """Read what walrus_ts requires: by extra, with what is always required under the empty name."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    found = {"": table["dependencies"], **table["optional-dependencies"]}
    return {extra: [text for text in texts if not text.startswith(f"{OWN}[")] for extra, texts in found.items()}


def lower_bounds(project: Path = PROJECT) -> dict[str, str]:
    """Read the oldest version of each package that any extra allows.

    Raises
    ------
    ValueError
        A requirement is not of the form ``name >= version``, or two of one package differ.
    """
    bounds: dict[str, str] = {}
    for texts in requirements(project).values():
        for text in texts:
            match = _REQUIREMENT.fullmatch(text)
            if match is None:
                raise ValueError(f"expected 'name >= version', found {text!r}")
            name, version = match["name"], match["version"]
            if bounds.setdefault(name, version) != version:
                raise ValueError(f"{name} >= {version} here, and {name} >= {bounds[name]} there")
    return bounds


if __name__ == "__main__":
    for name, version in sorted(lower_bounds().items()):
        print(f"{name} == {version}")
