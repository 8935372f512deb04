"""docs/links.py, with which `make docs` follows the links of what it has made."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_dead_links_are_found(tmp_path: Path) -> None:
    """A page, a file or an anchor that is not there is found; other sites are left alone."""
    (tmp_path / "a b.html").write_text(
        '<h1 id="here">a</h1><img src="picture.png"><a href="https://example.org/x">x</a>'
    )
    (tmp_path / "index.html").write_text(
        '<a href="a%20b.html#here">a</a><a href="a%20b.html#there">b</a><a href="#top">c</a><a href="gone.html">d</a>'
    )
    found = runpy.run_path(str(DOCS / "links.py"))["dead_links"](tmp_path)
    assert found == [
        "a b.html: picture.png",
        "index.html: #top",
        "index.html: a%20b.html#there",
        "index.html: gone.html",
    ]
