"""What `walrus_ts` shows is what docs/api documents, and all of it has docstrings."""

import inspect
import re
from pathlib import Path
from types import FunctionType

import pytest

import walrus_ts

DOCS = Path(__file__).parents[2] / "docs"
TABLE = re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
# The names that the pages in docs/api document, each with its directive's options.
DOCUMENTED = [
    (name, dict(re.findall(r":([\w-]+): ?(.*)", options)))
    for page in sorted((DOCS / "api").glob("*.md"))
    for name, options in re.findall(
        r"^\.\. auto(?:class|exception|function):: (\w+).*\n((?:   :.*\n)*)",
        page.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    if page.stem != "testing"  # that is of another module
]


def members(name: str) -> list[str]:
    """List the public methods and properties of a class that are walrus_ts's own, and not redis-py's."""
    cls = getattr(walrus_ts, name)
    if not inspect.isclass(cls):
        return []
    own = [base for base in cls.__mro__ if base.__module__.startswith("walrus_ts.")]
    found = {member for base in own for member, value in vars(base).items() if _is_shown(member, value)}
    return sorted(f"{name}.{member}" for member in found)


def _is_shown(member: str, value: object) -> bool:
    return not member.startswith("_") and isinstance(value, (property, classmethod, staticmethod, FunctionType))


def test_api_page_documents_what_there_is() -> None:
    """Every public name is on one of the pages once, and no other."""
    assert sorted(name for name, _ in DOCUMENTED) == sorted(walrus_ts.__all__)


def test_api_pages_document_every_method() -> None:
    """Every public method and property is documented with its class, or with a public one that it is inherited from."""
    shown = set()
    for name, options in DOCUMENTED:
        cls = getattr(walrus_ts, name)
        if options.get("members"):
            shown |= {(name, member) for member in options["members"].split(", ")}
        elif inspect.isclass(cls) and "members" in options:
            end = options.get("inherited-members")
            bases = [base.__name__ for base in cls.__mro__]
            documented = cls.__mro__[: bases.index(end)] if end else [cls]
            shown |= {(name, member) for base in documented for member in vars(base)}
    lacking = [
        f"{name}.{member}"
        for name, member in (entry.split(".") for public in walrus_ts.__all__ for entry in members(public))
        if not any((base.__name__, member) in shown for base in getattr(walrus_ts, name).__mro__)
    ]
    assert lacking == []


def test_api_page_lists_what_is_no_error() -> None:
    """The page's table names everything but the errors, which have a section of their own."""
    errors = {name for name in walrus_ts.__all__ if name.endswith("Error")}
    assert sorted(TABLE) == sorted(set(walrus_ts.__all__) - errors)


def test_names_are_there() -> None:
    """`walrus_ts` has the names of `__all__`, each once, and no others beside its modules."""
    assert len(set(walrus_ts.__all__)) == len(walrus_ts.__all__)
    shown = {n for n, value in vars(walrus_ts).items() if not n.startswith("_") and not inspect.ismodule(value)}
    assert shown == set(walrus_ts.__all__)


@pytest.mark.parametrize("name", [*walrus_ts.__all__, *(m for n in walrus_ts.__all__ for m in members(n))])
def test_docstring(name: str) -> None:
    """Every public name and method says what it is for, beginning with a line that ends in a full stop."""
    value = walrus_ts
    for part in name.split("."):
        value = inspect.getattr_static(value, part)
    text = inspect.getdoc(value.__func__ if isinstance(value, (classmethod, staticmethod)) else value)
    assert text
    assert re.search(r"[.:)]$", text.split("\n\n")[0].strip()), text.split("\n\n")[0]
