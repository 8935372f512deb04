"""The notebooks: each runs from its first cell to its last, in a real kernel, and is stored with its outputs."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers import PANDAS_2

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Give the text of a notebook's outputs."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """Name the kinds of a cell's outputs, each once; a bar of progress comes only where the machine is slow."""
    found = []
    for output in cell.get("outputs", ()):
        assert output.output_type != "error", output
        data = output.get("data", {output.get("name"): ""})
        if "application/vnd.jupyter.widget-view+json" not in data:
            found.append(f"{output.output_type}: {', '.join(sorted(data))}")
    return list(dict.fromkeys(found))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name the kernel of this Python, with this checkout, and with no setting of the user's own."""
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as `make notebooks` does
    monkeypatch.delenv("WALRUS_TS_URL", raising=False)
    return "python3"


def test_there_are_notebooks() -> None:
    """The README names each notebook that there is."""
    assert NOTEBOOKS
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if f"(notebooks/{path.name})" not in readme] == []


@pytest.mark.skipif(PANDAS_2, reason="what the notebooks show, and say of it, is what pandas 3 makes")
@each_notebook
def test_notebook_runs(path: Path, kernel: str, tmp_path: Path) -> None:
    """A notebook runs without an error, in an empty folder, which stays so, and shows what its stored outputs show."""
    notebook = nbformat.read(path, as_version=4)
    stored = [kinds(cell) for cell in notebook.cells]
    folder = tmp_path / "empty"
    folder.mkdir()
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name=kernel, resources=where).execute()
    assert list(folder.iterdir()) == []
    assert [kinds(cell) for cell in notebook.cells] == stored


@each_notebook
def test_stored_outputs(path: Path) -> None:
    """A notebook is stored small, as a run from the top has left it, with a picture, and nothing of its machine."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert [cell for cell in code if "execution" in cell.metadata] == []
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 200_000
    shown_kinds = [kind for cell in code for kind in kinds(cell)]
    assert "display_data: image/png, text/plain" in shown_kinds
    assert "stream: stderr" not in shown_kinds
    shown = "\n".join(outputs(notebook))
    of_machine = (str(Path.home()), sys.prefix, "/tmp/", "embedded:///", f".{socket.gethostname()}.", "| 0.00/")
    assert [place for place in of_machine if place in shown] == []
