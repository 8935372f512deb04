"""The notebooks: each runs from its first cell to its last, in a real kernel, and is stored with its outputs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Give the text of a notebook's outputs."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name the kernel of this Python, with this checkout, and with no setting of the user's own."""
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("WALRUS_TS_URL", raising=False)
    return "python3"


def test_there_are_notebooks() -> None:
    """There are notebooks to be run."""
    assert NOTEBOOKS


@each_notebook
def test_notebook_runs(path: Path, kernel: str, tmp_path: Path) -> None:
    """A notebook runs without an error, in a folder with nothing in it, and leaves nothing there."""
    notebook = nbformat.read(path, as_version=4)
    folder = tmp_path / "empty"
    folder.mkdir()
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name=kernel, resources=where).execute()
    assert list(folder.iterdir()) == []


@each_notebook
def test_stored_outputs(path: Path) -> None:
    """A notebook is stored small, as a run from the top has left it, and shows nothing of the machine that ran it."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert [cell for cell in code if "execution" in cell.metadata] == []
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 200_000
    shown = "\n".join(outputs(notebook))
    assert [place for place in (str(Path.home()), sys.prefix, "/tmp/", "embedded:///") if place in shown] == []
