"""docs/errors.md: it has every error that walrus_ts raises, under its class, and no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import walrus_ts
from walrus_ts import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
CLASSES = sorted(
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
)

VALUE = "\0"  # stands for what is filled in


def sections() -> dict[str, list[re.Pattern[str]]]:
    """List what the page says of messages, for each class: patterns, `…` being what is filled in."""
    found = {}
    for heading, body in re.findall(r"^## (\w+Error)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        cells = re.findall(r"^\| (`.*?) \| .* \| .* \|$", body, re.MULTILINE)
        fragments = [fragment for cell in cells for fragment in re.findall(r"`([^`]+)`", cell)]
        found[heading] = [re.compile(f"{VALUE}+".join(map(re.escape, part.split("…")))) for part in fragments]
    return found


def text_of(node: ast.expr) -> str | None:
    """Give the text of a literal, with `VALUE` for what is filled in; None where it is no literal."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) or VALUE for value in values)
    return None


def messages() -> Iterator[tuple[str, str, str]]:
    """List the messages in the code: where, the class, the text."""
    for path in sorted((ROOT / "walrus_ts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES and node.args:
                text = text_of(node.args[0])
                if text is not None:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.func.id, text


SECTIONS = sections()
MESSAGES = list(messages())


def test_every_class_has_a_row() -> None:
    """Every class of errors that there is stands on the page, and is public."""
    assert [name for name in CLASSES if f"{{exc}}`~walrus_ts.{name}`" not in PAGE] == []
    assert [name for name in CLASSES if name not in walrus_ts.__all__] == []


def test_every_class_that_is_raised_has_a_section() -> None:
    """Every class that is raised has a section of its messages."""
    assert sorted(SECTIONS) == sorted({name for _, name, _ in MESSAGES})


def test_every_message_is_in_the_table() -> None:
    """Every message has a row in the table of its class."""
    lacking = [
        (where, name, text) for where, name, text in MESSAGES if not any(row.search(text) for row in SECTIONS[name])
    ]
    assert lacking == []


def test_every_row_is_a_message() -> None:
    """Every row of a table is a message that there is."""
    rows = [(name, row) for name, section in SECTIONS.items() for row in section]
    assert len(rows) > 100
    assert [(n, row) for n, row in rows if not any(row.search(text) for _, name, text in MESSAGES if name == n)] == []
