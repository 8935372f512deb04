"""Charts: marks, gaps, and numbers of any size."""

import re
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walrus_ts.notebook.chart import chart
from walrus_ts.notebook.following import Line

NOON = 1_704_110_400_000_000_000  # 2024-01-01 12:00 UTC


def draw(values: list[float], span: float = 300.0, zone: str | None = None) -> str:
    """Draw values that are evenly apart, the last one at noon."""
    times = np.linspace(-span, 0, len(values)) if len(values) > 1 else np.zeros(1)
    line = Line("s", "price", NOON, times, np.array(values, float))
    return chart([line], NOON, round(span * 10**9), ZoneInfo(zone) if zone else None)


def marks(svg: str) -> list[str]:
    """Return what is written beside the axes."""
    return re.findall(r'text-anchor="\w+">([^<]*)<', svg)


def test_marks() -> None:
    """Marks are round numbers, and times of the zone's own clock."""
    assert marks(draw([0, 10])) == ["0", "5", "10", "11:55", "11:56", "11:57", "11:58", "11:59"]


@pytest.mark.parametrize(
    ("span", "zone", "expected"),
    [
        (6e-9, None, "11:59:59.999999997"),
        (2e-3, None, "11:59:59.9985"),
        (1.0, None, "11:59:59.2"),
        (60.0, "Asia/Kolkata", "17:29:10"),
        (86_400.0, "Asia/Kolkata", "16:00"),
        (30 * 86_400.0, "America/New_York", "2023-12-21"),
        (3_000 * 86_400.0, None, "2021-10-28"),
    ],
)
def test_times(span: float, zone: str | None, expected: str) -> None:
    """From milliseconds to years, marks stand at round times, not more than seven."""
    times = [mark for mark in marks(draw([np.nan], span, zone)) if re.match(r"\d\d:|\d{4}-", mark)]
    assert expected in times
    assert 2 <= len(times) <= 7


def test_gaps() -> None:
    """A gap begins a new stroke, and a point that stands alone is a dot."""
    [path] = re.findall(r'd="([^"]*)"', draw([1, 2, np.nan, 3, np.nan, np.nan, 4, 5]))
    assert re.sub(r"[\d.,]+", "", path.replace("h0", "h")) == "MhLMhMhL"


def test_extent_is_said() -> None:
    """Those who do not see it are told the extent; one without values says so."""
    assert 'aria-label="price: -2.5 to 12,345"' in draw([-2.5, 12_345])
    assert 'aria-label="price: no values"' in draw([np.nan])


@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=20))
def test_any_numbers(values: list[float]) -> None:
    """Whatever the numbers are, all is drawn within the picture, beside at most six marks."""
    svg = draw(values)
    [path] = re.findall(r'd="([^"]*)"', svg)
    points = re.findall(r"[ML]([^,]+),([-\d.]+)", path)
    assert len(points) == np.count_nonzero(~np.isnan(values))
    assert all(0 <= float(x) <= 640 and 0 <= float(y) <= 120 for x, y in points)
    assert len(marks(svg)) <= 6 + 7
    assert "nan" not in svg
    assert "inf" not in svg
