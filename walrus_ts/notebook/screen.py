"""Where a view is shown while it changes: in a notebook, in a terminal, or nowhere."""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

from walrus_ts.ids import StreamId
from walrus_ts.notebook.view import View

_WIDTH = 12  # characters of a column on a terminal, so that rows stand below those before


class Screen:
    """Nobody watches: nothing is shown."""

    def show(self, view: View) -> None:
        """Show a view as it is now."""

    def show_again(self, view: View) -> None:
        """Show it where its object is named, unless it stands there already."""
        print(view.line())

    def replaces(self, other: Screen) -> bool:
        """Tell whether what another one shows is seen no more, because this one is there."""
        return False


class Notebook(Screen):
    """The output of a cell, which changes after the cell has run, too.

    Parameters
    ----------
    shell : IPython shell
        Of a kernel.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._id = uuid4().hex
        self._shown = ""
        self._made = self._named = self._asking()

    def _asking(self) -> tuple[str, str]:
        """Return which request is carried out, and of which cell, where the frontend tells."""
        ask = getattr(self._shell, "get_parent", dict)  # kernels other than ipykernel may not have it
        parent: dict[str, dict[str, str]] = ask() or {}
        return parent.get("header", {}).get("msg_id", ""), parent.get("metadata", {}).get("cellId", "")

    def show(self, view: View) -> None:
        """Show a view as it is now, in all the places where it stands."""
        html = view.html()
        if html != self._shown:
            self._send(view, html, update=bool(self._shown))
            self._shown = html

    def show_again(self, view: View) -> None:
        """Show it below the cell that names it, unless that is the one that made it."""
        if self._asking() != self._named:
            self._named = self._asking()
            self._send(view, view.html(), update=False)

    def _send(self, view: View, html: str, *, update: bool) -> None:
        from IPython.display import display, update_display

        data = {"text/html": html, "text/plain": view.text()}
        if update:
            update_display(data, display_id=self._id, raw=True)  # type: ignore[no-untyped-call]  # IPython's
        else:
            display(data, display_id=self._id, raw=True)  # type: ignore[no-untyped-call]  # likewise

    def replaces(self, other: Screen) -> bool:
        """Tell whether the other is of an earlier run of this one's cell."""
        if not isinstance(other, Notebook):
            return False
        (request, cell), (earlier, its_cell) = self._made, other._made
        return bool(cell) and cell == its_cell and request != earlier


class Terminal(Screen):
    """A terminal: new rows are written below the others."""

    def __init__(self) -> None:
        self._said = ""
        self._rows = 0
        self._ends: dict[int, StreamId] = {}  # of each stream, the last id that was written

    def show(self, view: View) -> None:
        """Write what is new: the state where it has changed, and rows."""
        state = view.facts()[0]
        if state != self._said:
            self._said = state
            print(view.line(), flush=True)
        frame, ids, rows, first = view.frame, view.ids, view.rows, not self._ends
        # In the order of time; but a stream's new rows may be older than what another has had for long.
        new = [stream not in self._ends or id_ > self._ends[stream] for stream, id_ in ids]
        left_out = rows - self._rows - sum(new)
        if left_out > 0 and not first:
            print(f"... {left_out:,} more {'row' if left_out == 1 else 'rows'}", flush=True)
        if any(new):
            print(frame[new].to_string(header=first, index_names=first, col_space=_WIDTH), flush=True)
        self._rows, self._ends = rows, self._ends | dict(ids)


def screen() -> Screen:
    """Return where this program is watched."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        return Notebook(shell)
    return Terminal() if sys.stdout is not None and sys.stdout.isatty() else Screen()
