"""Tables in Markdown, to be read in a terminal and pasted into docs/performance.md."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import hiredis
import numpy as np
import pandas as pd
import pyarrow as pa
import redis
import walrus

from tests.benchmarks.cases import GOALS, Goal
from tests.benchmarks.measure import Cost
from tests.benchmarks.run import Line

Cells = Sequence[str]


def heading(server: str, command: str) -> str:
    """Say when, where and with what."""
    modules = {"redis-py": redis, "hiredis": hiredis, "walrus": walrus, "pandas": pd, "pyarrow": pa, "numpy": np}
    versions = ", ".join(f"{name} {module.__version__}" for name, module in modules.items())
    machine = f"{os.cpu_count()} cores of {_processor()}, {platform.system()} {platform.release().split('-')[0]}"
    date = time.strftime("%Y-%m-%d")
    return (
        f"Measured on {date} with `{command}`: {server}, client and server on one machine ({machine}); "
        f"Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def cases(lines: Iterable[Line]) -> str:
    """Write the table of rows, and that of calls."""
    lines = list(lines)
    rows = [line for line in lines if line.case.unit == "row"]
    calls = [line for line in lines if line.case.unit == "call"]
    head = ("", "rows", "rows/s", "client µs/row", "server µs/row", "peak MB", "walrus_ts is faster by")
    small = ("", "calls", "µs/call", "client µs/call", "server µs/call", "walrus_ts is faster by")
    parts = [_titled(rows, head, _row_cells), _titled(calls, small, _call_cells)]
    return "\n\n".join(part for part in parts if part)


def _titled(lines: list[Line], head: Cells, cells) -> str:
    body: list[Cells] = []
    for title, group in groupby(lines, key=lambda line: line.case.title):
        body.append((f"*{title}*", *[""] * (len(head) - 1)))
        body += [cells(line) for line in group]
    return table(head, body) if body else ""


def _row_cells(line: Line) -> Cells:
    peak = "" if line.peak_mb is None else f"{line.peak_mb:,.0f}"
    cost = line.cost
    return (
        line.kind.who,
        f"{cost.rows:,}",
        f"{cost.rate:,.0f}",
        f"{cost.client_us:.2f}",
        f"{cost.server_us:.2f}",
        peak,
        _times(line),
    )


def _call_cells(line: Line) -> Cells:
    cost = line.cost
    each = f"{1e6 / cost.rate:,.0f}"
    return line.kind.who, f"{cost.rows:,}", each, f"{cost.client_us:,.0f}", f"{cost.server_us:,.0f}", _times(line)


def _times(line: Line) -> str:
    """Write the median of the ratios and their range."""
    if line.ratio is None:
        return ""
    low, high = line.ratios[0], line.ratios[-1]
    return f"{line.ratio:.2f} ({low:.2f} to {high:.2f})"


def goals(lines: Iterable[Line]) -> str:
    """Write what was to be reached, of those cases that were measured."""
    lines = list(lines)
    found = [(goal, _reached(goal, lines)) for goal in GOALS]
    body = [
        (goal.text, f"{value:.2f}", f"{goal.least:g}", f"{goal.aim:g}", _verdict(goal, value))
        for goal, value in found
        if value is not None
    ]
    return table(("figure", "measured", "at least", "aim", ""), body) if body else ""


def _reached(goal: Goal, lines: list[Line]) -> float | None:
    for line in lines:
        if line.case.name != goal.case:
            continue
        if goal.peer is None and line.kind is line.case.ours:
            return line.cost.client_us
        if line.kind is goal.peer:
            return line.ratio
    return None


def _verdict(goal: Goal, value: float) -> str:
    sign = -1 if goal.peer is None else 1  # of processor time, less is better
    if sign * value >= sign * goal.aim:
        return "aim reached"
    return "reached" if sign * value >= sign * goal.least else "**missed**"


def scale(costs: Iterable[tuple[str, Cost]]) -> str:
    """Write what a row costs, by the number of rows."""
    head = ("5 mixed columns", "rows", "rows/s", "client µs/row", "server µs/row")
    body = [
        (what, f"{cost.rows:,}", f"{cost.rate:,.0f}", f"{cost.client_us:.2f}", f"{cost.server_us:.2f}")
        for what, cost in costs
    ]
    return table(head, body)


def table(head: Cells, body: Sequence[Cells]) -> str:
    """Write a Markdown table whose columns stand below each other; numbers to the right."""
    widths = [max(len(row[at]) for row in (head, *body)) for at in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    rows = [_aligned(row, widths) for row in (head, rule, *body)]
    return "\n".join(rows)


def _aligned(cells: Cells, widths: Sequence[int]) -> str:
    texts = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
    return f"| {' | '.join(texts)} |"
