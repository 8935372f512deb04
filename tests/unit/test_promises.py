"""docs/promises.md: each promise names tests, and they are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!promise |---)(.*) \| (.*) \|$", PAGE, re.MULTILINE)


def names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """List the tests of a module or a class, as pytest names them."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{prefix}::{node.name}")
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield f"{prefix}::{node.name}"


def test_every_promise_has_a_test() -> None:
    """Every promise names the tests that hold it, and nothing else."""
    assert len(ROWS) > 30
    assert [
        promise for promise, held_by in ROWS if not re.fullmatch(r"`[^`]+::[^`]+`(, `[^`]+::[^`]+`)*", held_by)
    ] == []


def test_tests_are_there() -> None:
    """The tests that the page names exist."""
    named = {name for _, held_by in ROWS for name in re.findall(r"`([^`]+)`", held_by)}
    files = {TESTS / name.split("::")[0] for name in named}
    there = {
        name
        for file in files
        if file.is_file()
        for name in names(ast.parse(file.read_text(encoding="utf-8")).body, file.relative_to(TESTS).as_posix())
    }
    assert sorted(named - there) == []
