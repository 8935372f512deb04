"""environment.yml lists what pyproject.toml requires, and each lower bound has one version."""

import re
from pathlib import Path

import pytest

from tests.oldest import lower_bounds, requirements

ROOT = Path(__file__).parents[2]
CONDA = {
    "build": "python-build",
    "duckdb": "python-duckdb",
    "redis": "redis-py",
}  # as conda-forge has them
ENTRY = re.compile(r"^ +- (?P<name>[\w-]+) >=(?P<version>[\w.]+)(?: +#.*)?$", re.M)


def environment() -> str:
    """Read environment.yml."""
    return (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_the_environment_has_all_extras() -> None:
    """environment.yml has each package of pyproject.toml once, in the same version, and no other; and Python's."""
    listed = ENTRY.findall(environment())
    python = re.search(r"requires-python = \">= ([\d.]+)\"", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert python is not None
    expected = {CONDA.get(name, name): version for name, version in lower_bounds().items()}
    assert sorted(listed) == sorted({**expected, "python": python[1]}.items())


def test_the_environment_has_nothing_else() -> None:
    """Each entry of environment.yml has a version, but for pip, what comes by it, and walrus_ts itself."""
    plain = re.findall(r"^ +- (?!.*>=)(.*?)(?: +#.*)?$", environment(), re.M)
    assert plain == ["conda-forge", "pip", "pip:", "-e ."]


def test_the_extra_of_all_extras() -> None:
    """The extra `all` has all the others."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.search(r"^all = \[\"walrus-ts\[(.*)\]\"\]$", text, re.M)
    assert named is not None
    assert set(named[1].split(",")) == set(requirements()) - {"", "all"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['"redis >= 6"', '"redis >= 7"'], r"redis >= 7 here, and redis >= 6 there"),
        (['"redis < 6"'], r"expected 'name >= version', found 'redis < 6'"),
    ],
)
def test_bounds_that_cannot_be_tested(tmp_path: Path, lines: list[str], message: str) -> None:
    """A package with two lower bounds, or with none, is an error: `make test-oldest` could not install it."""
    project = tmp_path / "pyproject.toml"
    project.write_text(f"[project]\ndependencies = [{', '.join(lines)}]\n[project.optional-dependencies]\n")
    with pytest.raises(ValueError, match=message):
        lower_bounds(project)
