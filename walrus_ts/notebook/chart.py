"""Lines over time as SVG: small, without matplotlib, in the colours of the page that it stands on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np

from walrus_ts.columnar.labels import Label
from walrus_ts.notebook.following import Line
from walrus_ts.notebook.html import Markup, markup
from walrus_ts.notebook.plot import Floats

_WIDTH, _LEFT, _RIGHT = 640, 64, 8  # of a panel, and of what stands beside its lines
_TOP, _HEIGHT, _BOTTOM = 18, 84, 18
# The accent of the page, and middle tones, which stand out from white and from near-black alike (at least 3 to 1, as
# WCAG 2.2, 1.4.11, wants it of graphics).
_COLOURS = ("var(--wts-accent)", "#d4702c", "#3f9b5f", "#c4504f", "#8f6fc0", "#9a6b55", "#cc6fa8", "#808080", "#8f8a1c")
_SECOND, _DAY = 10**9, 86_400 * 10**9  # ns
# Nanoseconds between two marks on the axis of time.
_STEPS = [
    *(factor * 10**power for power in range(9) for factor in (1, 2, 5)),
    *(_SECOND * seconds for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800)),
    *(_SECOND * 3_600 * hours for hours in (1, 2, 3, 4, 6, 12)),
    *(_DAY * days for days in (1, 2, 7, 14, 28, 91, 182, 364, 728, 1_820, 3_640, 36_400, 364_000, 3_640_000)),
]
_MOST_MARKS = 6


def chart(lines: Sequence[Line], end_ns: int, length_ns: int, zone: tzinfo | None) -> Markup:
    """Draw a panel a column, with a line a stream, on one axis of time.

    Parameters
    ----------
    lines : sequence of Line
    end_ns : int
        Since 1970, UTC: the right edge.
    length_ns : int
        How far back the left edge lies.
    zone : tzinfo, optional
        Of the marks on the axis; UTC without it.
    """
    streams = list(dict.fromkeys(line.stream for line in lines))
    columns = list(dict.fromkeys(line.column for line in lines))
    colours = {stream: _COLOURS[at % len(_COLOURS)] for at, stream in enumerate(streams)}
    panels = "".join(_panel(column, lines, colours, (end_ns, length_ns), zone) for column in columns)
    return Markup(f"{_legend(colours) if len(streams) > 1 else ''}{panels}")


def _legend(colours: dict[str, str]) -> str:
    entries = (f'<span style="color:{colour}">━</span> {markup(stream)}' for stream, colour in colours.items())
    return f"<p>{' &nbsp; '.join(entries)}</p>"


def _panel(
    column: Label, lines: Sequence[Line], colours: dict[str, str], span: tuple[int, int], zone: tzinfo | None
) -> str:
    own = [_within(line, *span) for line in lines if line.column == column]
    found = np.concatenate([line.values for line in own])
    found = found[~np.isnan(found)]
    low, high = _limits(found)
    paths = "".join(
        f'<path d="{_path(line, span, (low, high))}" style="stroke:{colours[line.stream]}"/>' for line in own
    )
    name = markup(column if isinstance(column, str) else repr(column))
    extent = f"{_amount(float(found.min()))} to {_amount(float(found.max()))}" if len(found) else "no values"
    height = _TOP + _HEIGHT + _BOTTOM
    return (
        f'<svg class="wts-chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{name}: {extent}">'
        f'<text x="{_LEFT}" y="12" class="wts-title">{name}</text>'
        f"{_value_marks(low, high) if len(found) else ''}{_time_marks(span, zone)}{paths}</svg>"
    )


def _within(line: Line, end_ns: int, length_ns: int) -> Line:
    """Count times from the right edge, and leave out those before the left one."""
    times = line.times + (line.end_ns - end_ns) / _SECOND
    inside = times >= -length_ns / _SECOND
    return Line(line.stream, line.column, end_ns, times[inside], line.values[inside])


def _limits(values: Floats) -> tuple[float, float]:
    """Return what the lowest and the highest place of a panel stand for."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = (high / 2 - low / 2) * 0.1 if high > low else abs(low) * 0.01 or 1.0  # halves: their difference may overflow
    return max(low - room, -_LARGEST), min(high + room, _LARGEST)


_LARGEST = float(np.finfo(np.float64).max)


def _path(line: Line, span: tuple[int, int], limits: tuple[float, float]) -> str:
    """Write a line's points, a new beginning behind each gap."""
    x = _WIDTH - _RIGHT + line.times * _SECOND / span[1] * (_WIDTH - _LEFT - _RIGHT)
    y = _height(line.values, *limits)
    gap = np.isnan(y)
    begins = np.append(True, gap[:-1]) if len(gap) else gap
    # "h0" makes a dot of a point that stands alone.
    return "".join(
        f"{'M' if begin else 'L'}{at:.1f},{up:.1f}{'h0' if begin else ''}"
        for at, up, begin in zip(x[~gap].tolist(), y[~gap].tolist(), begins[~gap].tolist(), strict=True)
    )


def _height(values: Floats, low: float, high: float) -> Floats:
    share: Floats = (values / 2 - low / 2) / (high / 2 - low / 2)
    return _TOP + _HEIGHT * (1 - share)


def _value_marks(low: float, high: float) -> str:
    marks = []
    for value in _nice(low, high):
        y = float(_height(np.array([value]), low, high)[0])
        marks.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_amount(value)}</text>')
    return "".join(marks)


def _nice(low: float, high: float) -> list[float]:
    """Choose two to five round numbers between two others."""
    exponent = math.floor(math.log10(high / 3 - low / 3))
    step = next((f * 10.0**exponent for f in (1, 2, 2.5, 5, 10) if (high / f - low / f) / 10.0**exponent <= 4), 0.0)
    if not (step and math.isfinite(step) and abs(low) / step < 2**52):  # closer to each other than floats are
        return [low / 2 + high / 2]
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def _amount(value: float) -> str:
    text = f"{value:.6g}" if abs(value) < 1e5 and (abs(value) >= 1e-3 or value == 0) else f"{value:.3g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 and value == round(value) else text


def _time_marks(span: tuple[int, int], zone: tzinfo | None) -> str:
    end, length = span
    step = next((step for step in _STEPS if length <= _MOST_MARKS * step), _STEPS[-1])
    local = end + _offset(end, zone)  # what the zone's own clock shows
    base = _HEIGHT + _TOP
    marks = [f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>']
    for at in range(-((length - local) // step) * step, local + 1, step):
        x = _WIDTH - _RIGHT - (local - at) / length * (_WIDTH - _LEFT - _RIGHT)
        if x > _WIDTH - 30:  # its text would be cut off
            continue
        marks.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 4}"/>')
        marks.append(f'<text x="{x:.1f}" y="{base + 15}" text-anchor="middle">{_clock(at, step)}</text>')
    return "".join(marks)


def _clock(at: int, step: int) -> str:
    seconds, rest = divmod(at, _SECOND)
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)  # of the zone's own clock
    except OverflowError:  # behind the year 9999, in a zone that is ahead of UTC
        return ""
    if step >= _DAY:
        return f"{moment:%Y-%m-%d}"
    if step >= 60 * _SECOND:
        return f"{moment:%H:%M}"
    digits = max(0, 10 - len(str(step)))  # that a step of 500 ms needs: one
    return f"{moment:%H:%M:%S}" + (f".{rest:09}"[: digits + 1] if digits else "")


def _offset(at: int, zone: tzinfo | None) -> int:
    """Return by how many nanoseconds a zone's clock is ahead of UTC."""
    try:
        ahead = zone and datetime.fromtimestamp(at // _SECOND, UTC).astimezone(zone).utcoffset()
    except OverflowError:  # likewise
        ahead = None
    return round(ahead.total_seconds()) * _SECOND if ahead else 0
