"""The benchmarks run, at a small size, and those who are compared do the same work. No timing is asserted."""

from collections.abc import Callable, Iterator
from math import isfinite

import pandas as pd
import pytest

from tests.benchmarks import report, run
from tests.benchmarks.__main__ import main
from tests.benchmarks.cases import CASES, GOALS, Case
from tests.benchmarks.frames import SHAPES, Shape
from tests.benchmarks.servers import serving

ROWS = 200

each_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@pytest.fixture
def plain_url(url: str) -> Iterator[str]:
    """Name the run's server as redis-py takes it."""
    with serving(url) as plain:
        yield plain


@pytest.fixture
def prefix(key: Callable[..., str]) -> str:
    """Begin the keys of a test's own."""
    return f"{key('bench')}:"


def sample_rows(case: Case) -> int:
    """Have some rows of those shapes, too, that get a tenth."""
    return round(ROWS / case.shape.share)


@each_case
def test_all_peers_do_the_same_work(case: Case, plain_url: str, prefix: str) -> None:
    """What each has written or read are the rows of the frame, to the last digit."""
    works = run.verify(case, plain_url, prefix, sample_rows(case))
    whole = set(case.shape.frame(ROWS).columns)
    assert len(works) == 1 + len(case.others) + (case.plain is not None)
    for who, (given, found) in works.items():
        assert len(given) >= 10, who
        assert set(given.columns) == whole, who
        pd.testing.assert_frame_equal(
            case.shape.typed(found), case.shape.typed(given), check_index_type=False, check_freq=False, obj=who
        )


@each_case
def test_each_case_is_a_line_a_peer(case: Case, plain_url: str, prefix: str) -> None:
    """Every case has figures for ours and for each peer, and the report shows them all."""
    lines = run.measure(case, plain_url, prefix, sample_rows(case), 1, memory=False)
    assert lines[0].kind is case.ours
    assert lines[0].ratio is None
    for line in lines:
        figures = [line.cost.rows, line.cost.rate, line.cost.elapsed, *line.ratios]
        assert all(isfinite(figure) and figure > 0 for figure in figures), line
        # Some systems count processor time in steps that are longer than so little work.
        assert all(isfinite(figure) and figure >= 0 for figure in (line.cost.client_us, line.cost.server_us)), line
        assert line.ratio is not None or line is lines[0]
    text = report.cases(lines)
    assert [text.count(f"| {line.kind.who} ") for line in lines] == [1] * len(lines)


def test_peak_memory_is_taken_in_a_process_of_its_own(plain_url: str, prefix: str) -> None:
    """Ours and the libraries have a peak; a bare socket has nothing to compare."""
    lines = run.measure(CASES["append:float"], plain_url, prefix, ROWS, 1)
    peaks = {line.kind: line.peak_mb for line in lines}
    assert [kind for kind, peak in peaks.items() if peak is None] == [kind for kind in peaks if kind.is_limit]
    assert all(peak is None or (isfinite(peak) and peak >= 0) for peak in peaks.values())


def test_one_command_prints_the_tables(plain_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints Markdown: when and where, the figures to reach, the cases."""
    cases = ["append:mixed", "tail-10"]
    assert main(["--rows", "200", "--repeat", "1", "--no-memory", "--url", plain_url, "--case", *cases]) == 0
    printed = capsys.readouterr().out
    assert "Measured on 20" in printed
    tables = [block.splitlines() for block in printed.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) <= set("|-: ")
    assert all(goal.text in printed for goal in GOALS if goal.case in cases)


def test_scale_measures_what_a_row_costs(plain_url: str, prefix: str) -> None:
    """Ten thousand rows are the first step; the keys are deleted behind each."""
    costs = list(run.scale(plain_url, prefix, 10_000))
    assert [(what, cost.rows) for what, cost in costs] == [("append", 10_000), ("frame", 10_000)]
    assert "10,000" in report.scale(costs)


def test_goals_name_cases_and_peers_that_there_are() -> None:
    """A goal whose peer was renamed would silently be left out of the table."""
    for goal in GOALS:
        case = CASES[goal.case]
        assert goal.peer is None or goal.peer in (*case.others, case.plain)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_frames_are_the_same_each_time(shape: Shape) -> None:
    """The data are seeded, in the order of time, and only one shape has nulls: a fifth."""
    frame = shape.frame(2_000)
    pd.testing.assert_frame_equal(frame, shape.frame(2_000))
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    nulls = frame.isna().to_numpy().mean()
    assert (0.18 < nulls < 0.22) if shape.has_nulls else nulls == 0
