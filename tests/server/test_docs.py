"""The examples of docs/, run page by page.

A page's blocks of Python run one after the other in one namespace, with `WALRUS_TS_URL` naming the tests' server. What
a page says of them is checked, too:

- ``expression    # value``: where the comment is an expression whose value is known, the two are equal;
- a block of text right behind a block of Python is what its last expression prints as, or, where the block ends with
  a statement, what the block prints there;
- ``% raises: LateRowsError`` above a block: its last statement raises that;
- ``% runs: last`` above a block: it is run behind those below it, whose names it uses;
- ``% not run: reason`` above a block: it cannot run here. `NOT_RUN` counts these.
"""

import ast
import contextlib
import datetime
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import walrus_ts

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
NOT_RUN = {  # how many blocks of a page cannot run
    "connecting.md": 4,  # a server and a cluster that there are not, a folder of a user's, a process
    "how-to/from-arcticdb.md": 1,  # a library of ArcticDB's
    "security.md": 1,  # a server that there is not
}

RUN_ELSEWHERE = {"command-line.md"}  # test_command_line.py runs its commands
SHELL = {  # commands that change the environment that they are given in
    ("installation.md", "conda activate walrus-ts"),
    ("installation.md", "conda env create -f environment.yml"),
    ("installation.md", "make demo"),
    ("installation.md", "pip install '.[cli,notebook]'"),
    ("installation.md", "pip install ."),
}

_FENCE = re.compile(r"^(?P<mark>(?:% [^\n]*\n)*)```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_KNOWN = {name: vars(datetime)[name] for name in ("datetime", "date", "timedelta")}
_KNOWN |= {name: getattr(walrus_ts, name) for name in walrus_ts.__all__}


@dataclass(frozen=True)
class Block:
    """A block of Python of a page, and what the page says of it."""

    page: str
    line: int
    code: str
    prints: str | None
    raises: str | None
    not_run: str | None
    runs_last: bool

    @property
    def tree(self) -> ast.Module:
        """The block's code, its lines numbered as the page's."""
        return ast.parse("\n" * self.line + self.code, self.page)


def blocks(page: Path) -> list[Block]:
    """List the blocks of Python of a page."""
    text = page.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    listed = []
    for match, following in zip(found, [*found, None][1:], strict=True):
        if match["language"] != "python":
            continue
        behind = following and not text[match.end() : following.start()].strip() and following["language"] == "text"
        marks = dict(line[2:].split(": ", 1) for line in match["mark"].splitlines())
        listed.append(
            Block(
                _name(page),
                text.count("\n", 0, match.start("body")),
                match["body"],
                following["body"] if following and behind else None,
                marks.get("raises"),
                marks.get("not run"),
                marks.get("runs") == "last",
            )
        )
    return sorted(listed, key=lambda block: block.runs_last)


def _name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def literals(page: Path) -> set[str]:
    """List the strings in a page's code: keys are among them."""
    trees = [block.tree for block in blocks(page) if not block.not_run]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.fixture
def keys_of_the_page(request: pytest.FixtureRequest, server: walrus_ts.Database, no_key_left: None) -> Iterator[None]:
    """Delete what a page makes; where the server has a key that it names already, touch nothing."""
    page: Path = request.getfixturevalue("page")
    taken = [name for name in literals(page) if name and server.exists(name)]
    if taken:
        pytest.fail(f"the server has the keys {', '.join(taken)}, which {_name(page)} would write to", pytrace=False)
    before = set(server.scan_iter(count=1000))
    yield
    for name in set(server.scan_iter(count=1000)) - before:
        server.delete(name)


def run(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block, and check what the page says of it."""
    last: Any = None
    *first, end = block.tree.body
    for node in first:
        last = _do(node, block, namespace)
    if block.raises:
        with pytest.raises(getattr(walrus_ts, block.raises)):
            _do(end, block, namespace)
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        last = _do(end, block, namespace)
    if block.prints is not None:
        text = str(last) if isinstance(end, ast.Expr) else printed.getvalue()
        shown = [line.rstrip() for line in text.splitlines()]
        assert shown == [line.rstrip() for line in block.prints.splitlines()], f"{block.page}, line {block.line}"


def _do(node: ast.stmt, block: Block, namespace: dict[str, Any]) -> Any:
    if not isinstance(node, ast.Expr):
        exec(compile(ast.Module([node], []), block.page, "exec"), namespace)
        return None
    value = eval(compile(ast.Expression(node.value), block.page, "eval"), namespace)
    said = _said(node, block)
    if said is not None:
        expected = eval(said, dict(_KNOWN))
        assert value == expected, f"{block.page}, line {node.lineno}: {value!r}, not {said}"
    return value


def _said(node: ast.Expr, block: Block) -> str | None:
    """Return the comment behind an expression, where it is an expression, too."""
    assert node.end_lineno is not None
    line = block.code.splitlines()[node.end_lineno - 1 - block.line].encode()
    comment = re.fullmatch(rb"\s*#\s*(.+)", line[node.end_col_offset :])
    if comment is None:
        return None
    text = comment[1].decode()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of prose that is nearly Python
            names = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
    except SyntaxError:
        return None
    return text if names <= _KNOWN.keys() else None


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=_name)
def test_page(page: Path, url: str, monkeypatch: pytest.MonkeyPatch, keys_of_the_page: None) -> None:
    """The examples of a page run, and do what it says."""
    monkeypatch.setenv("WALRUS_TS_URL", url)
    namespace: dict[str, Any] = {"__name__": page.stem}
    try:
        for block in blocks(page):
            if not block.not_run:
                run(block, namespace)
    finally:
        for value in namespace.values():
            if isinstance(value, walrus_ts.Database):
                value.close()


def test_blocks_that_do_not_run() -> None:
    """All other examples run."""
    counts = {_name(page): sum(bool(block.not_run) for block in blocks(page)) for page in PAGES}
    assert {name: count for name, count in counts.items() if count} == NOT_RUN


def test_languages() -> None:
    """What stands in a block is Python, which runs, text, or commands to a shell, of which few are not run."""
    found = [(_name(page), match) for page in PAGES for match in _FENCE.finditer(page.read_text(encoding="utf-8"))]
    assert {match["language"] for _, match in found} == {"python", "text", "sh"}
    shell = {(name, line) for name, match in found if match["language"] == "sh" for line in match["body"].splitlines()}
    assert {(name, line) for name, line in shell if name not in RUN_ELSEWHERE} == SHELL


def test_targets() -> None:
    """The make targets that the pages and CONTRIBUTING.md name exist."""
    targets = set(re.findall(r"^([a-z-]+):", (DOCS.parent / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set()
    for page in [*PAGES, DOCS.parent / "CONTRIBUTING.md"]:
        text = page.read_text(encoding="utf-8")
        commands = "\n".join(match["body"] for match in _FENCE.finditer(text) if match["language"] == "sh")
        found = re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE) + re.findall(r"`make ([a-z-]+)", text)
        named |= {(page.name, target) for target in found}
    assert {(page, target) for page, target in named if target not in targets} == set()
    assert len(named) > 10
