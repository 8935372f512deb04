"""walrus_ts as a person sees it in JupyterLab, light and dark: run in a real browser, from the quickstart on."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.chromium import Page, chromium, find_chromium
from tests.helpers import lack
from tests.jupyterlab import ROOT, jupyterlab

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}

# What stands in place of the quickstart's last cell, which closes the database: every kind of object that has HTML, a
# bar (that does not wait for a second), a plot, and the live view.
OBJECTS = ["db", "ts", "ts.jfk", "ts.jfk.schema", "ts.jfk.scan('2013-02', '2013-03')", "db.Stream('JFK')"]
APPENDED = "ts.lga.append(past[past['origin'] == 'LGA'].drop(columns='origin'), late='skip')"
BATCH = """\
others = db.time_series("others", ["JFK"])
others.create()
next(others.batches(count=5, wait=0))"""
BAR = """\
from walrus_ts import progress
progress._DELAY = 0
len(ts.ewr.frame())"""
PLOT = "ts.jfk.plot('2013-03', '2013-04', columns=['temp', 'wind_speed']);"
LIVE = "view = ts.live(['temp', 'wind_speed'], window='7D', every=0.2, rows=5)"
NEW_ROWS = """\
times = pd.date_range(december.index[-1], periods=24, freq="h", name="time_hour")[1:]
ts.jfk.append(pd.DataFrame({"temp": 99.5, "wind_speed": 1.5, "precip": 0.0, "visib": 10.0}, times))"""
THREADS = """\
import threading
print(sum(thread.name.endswith(" live") for thread in threading.enumerate()), "live")"""
CELLS = [*OBJECTS, APPENDED, BATCH, BAR, PLOT, LIVE, NEW_ROWS, THREADS]

NOTEBOOK = "[...jupyterapp.shell.widgets('main')][0]"
MARKS = {"●", "━"}
# Every text in cards and charts, with how it stands out from what is behind it, as WCAG 2.2 defines it ("contrast
# ratio"; 1.4.3 wants 4.5 of text, 1.4.11 3 of graphics); colours are read off a canvas, which knows all ways to write
# them.
CONTRASTS = """(() => {
    const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = (colour) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3]));
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (element) => {
        let opacity = 1, behind = null;
        for (let at = element; at; at = at.parentElement) {
            const style = getComputedStyle(at);
            opacity *= style.opacity;
            const colour = rgba(style.backgroundColor);
            if (behind === null && colour[3] === 1) behind = colour.slice(0, 3);
        }
        const style = getComputedStyle(element);
        const front = rgba(element instanceof SVGElement ? style.fill : style.color);
        front[3] *= opacity;
        const pair = [light(over(front, behind)), light(behind)];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    };
    return [...document.querySelectorAll(".walrus-ts :is(p, strong, span, th, td, text)")]
        .filter((element) => [...element.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
        .map((element) => [element.textContent, contrast(element)]);
})()"""


def cell(source: str) -> str:
    """Name a cell, in the browser."""
    return f"{NOTEBOOK}.content.widgets.find(cell => cell.model.sharedModel.source === {json.dumps(source)})"


def found(page: Page, source: str, selector: str) -> int:
    """Count what a selector finds in the outputs of a cell."""
    return int(page.evaluate(f"{cell(source)}.outputArea.node.querySelectorAll({json.dumps(selector)}).length"))


def output(page: Page, source: str) -> str:
    """Return the text of a cell's outputs."""
    return str(page.evaluate(f"{cell(source)}.outputArea.node.innerText"))


def run(page: Page, source: str) -> None:
    """Run one cell."""
    page.evaluate(f"{NOTEBOOK}.content.activeCellIndex = {NOTEBOOK}.content.widgets.indexOf({cell(source)})")
    page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Run the quickstart, and the cells above behind it, in JupyterLab; have the page that shows them."""
    program = find_chromium()
    if program is None:
        lack("there is no Chromium here, as from Debian's package chromium")
    notebooks, folder = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")
    notebook = nbformat.read(ROOT / "notebooks" / "01_quickstart.ipynb", as_version=4)
    closing = notebook.cells.pop()
    assert closing.source == "db.close()"
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in CELLS]
    for each in notebook.cells:
        if each.cell_type == "code":
            each.outputs, each.execution_count = [], None
    nbformat.write(notebook, notebooks / "quickstart.ipynb")
    with jupyterlab(notebooks, folder) as url, chromium(program, folder) as page:
        page.resize(1000, 9000)
        page.go(url.format("quickstart.ipynb"))
        page.wait_for(f"window.jupyterapp && {NOTEBOOK}?.sessionContext?.isReady")
        page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        yield page


def test_all_cells_run(page: Page) -> None:
    """Every cell runs, and none with an error."""
    cells = f"{NOTEBOOK}.content.widgets.filter(cell => cell.model.type === 'code')"
    numbers = page.evaluate(f"{cells}.map(cell => cell.model.executionCount)")
    assert numbers == [*range(1, len(numbers) + 1)]
    errors = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
    assert page.evaluate(f"[...document.querySelectorAll({json.dumps(errors)})].map(output => output.innerText)") == []


def test_objects_are_tables(page: Page) -> None:
    """Objects are cards with their names and tables, and frames are pandas' tables."""
    for source in [*OBJECTS, APPENDED, BATCH]:
        assert found(page, source, ".walrus-ts strong") >= 1, source
    assert found(page, "ts", ".walrus-ts table.wts tbody tr") == 3
    assert found(page, "ts", ".walrus-ts .wts-bar") == 3
    assert found(page, "ts.jfk", ".walrus-ts table.wts") == 2
    assert found(page, BATCH, ".walrus-ts table.dataframe tbody tr") == 5
    assert page.evaluate("document.querySelectorAll('table.dataframe').length") >= 5


def test_bars_are_widgets(page: Page) -> None:
    """A bar is a widget that is full at the end, with rows and rows a second."""
    assert found(page, BAR, ".widget-hprogress .progress-bar") == 1
    assert page.evaluate(f"{cell(BAR)}.outputArea.node.querySelector('.progress-bar').style.width") == "100%"
    assert re.search(r"read\s+EWR:\s+100%[\s\S]*8\.70k/8\.70k[\s\S]*rows/s", output(page, BAR))


def test_plots_are_pictures(page: Page) -> None:
    """A plot is a picture below its cell."""
    assert found(page, PLOT, "img") == 1
    size = page.evaluate(f"(i => [i.naturalWidth, i.naturalHeight])({cell(PLOT)}.outputArea.node.querySelector('img'))")
    assert min(size) > 300


def test_live_view(page: Page) -> None:
    """The live view shows rows that a cell below it has appended; its cell, run again, ends the one that it made."""
    page.wait_for(f"{cell(LIVE)}.outputArea.node.innerText.includes('99.5')")
    assert found(page, LIVE, "svg.wts-chart") == 2
    assert found(page, LIVE, "svg.wts-chart:first-of-type path") == 3
    assert found(page, LIVE, "table.dataframe tbody tr") == 5
    assert found(page, LIVE, ".wts-on") == 1
    assert "1 live" in output(page, THREADS)
    run(page, LIVE)
    run(page, THREADS)
    assert "1 live" in output(page, THREADS)
    assert found(page, LIVE, ".walrus-ts") == 1
    assert found(page, LIVE, ".wts-on") == 1


@pytest.mark.parametrize("theme", THEMES)
def test_light_and_dark(page: Page, theme: str, tmp_path: Path) -> None:
    """In both themes all that cards and charts say can be read; the test leaves a picture of the page."""
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{THEMES[theme]}'}})")
    page.wait_for(f"document.body.dataset.jpThemeName === '{THEMES[theme]}'")
    page.wait_for(f"{cell(LIVE)}.outputArea.node.innerText.includes('99.5')")
    page.wait_for("!document.querySelector('#jupyterlab-splash')")  # it dims the page while the theme changes
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    page.picture(tmp_path / f"{theme}.png")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [said for said, contrast in contrasts if contrast < (3 if said in MARKS else 4.5)] == []
