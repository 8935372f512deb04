"""HTML in small pieces: text, tables, bars, and the card that an object is shown as.

What comes from outside (keys, labels, names, values) is a `str` and is escaped where it is put into a piece; what a
function of this module returns is `Markup`, which is not escaped again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

MOST_ROWS = 30  # of a table; the others are counted
_MOST_CHARACTERS = 120  # of one text

# Colours come from the page, so that the card is light where the page is and dark where it is: the text's own colour
# and greys that show on both; only the accent is taken from Jupyter's theme or that of Sphinx' pages. What asks the
# browser (prefers-color-scheme) would be wrong in a light notebook on a dark desktop.
_STYLE = """
.walrus-ts{--wts-line:rgba(128,128,128,.35);--wts-track:rgba(128,128,128,.22);
--wts-accent:var(--jp-brand-color1,var(--pst-color-primary,#3b82c4));
color:inherit;font-size:13px;line-height:1.45;max-width:100%;overflow-x:auto;margin:2px 0;
scrollbar-color:rgba(128,128,128,.5) transparent}
.walrus-ts p{margin:0 0 4px;font-size:13px}
.walrus-ts .wts-muted{opacity:.65}
.walrus-ts table.wts{border-collapse:collapse;border:0;margin:0 0 6px;font-size:12px;width:auto;
table-layout:auto;font-variant-numeric:tabular-nums;color:inherit}
.walrus-ts table.wts tr:nth-child(n),.walrus-ts table.wts tr:nth-child(n):hover{background:none;color:inherit}
.walrus-ts table.wts th,.walrus-ts table.wts td{padding:2px 16px 2px 0;text-align:left;vertical-align:middle;
max-width:none;white-space:nowrap;border:0;color:inherit}
.walrus-ts table.wts th{font-weight:normal;opacity:.65}
.walrus-ts table.wts thead tr{border-bottom:1px solid var(--wts-line)}
.walrus-ts table.wts .wts-number{text-align:right}
.walrus-ts .wts-bar{position:relative;display:block;width:140px;height:8px;border-radius:2px;
background:var(--wts-track);overflow:hidden}
.walrus-ts .wts-bar span{position:absolute;top:0;bottom:0;min-width:2px;border-radius:2px;background:var(--wts-accent)}
.walrus-ts .wts-chart{display:block;width:100%;max-width:640px;height:auto;margin:0 0 4px}
.walrus-ts .wts-chart text{fill:currentColor;font-size:10px;opacity:.65}
.walrus-ts .wts-chart .wts-title{font-size:11px;opacity:1}
.walrus-ts .wts-chart line{stroke:var(--wts-line)}
.walrus-ts .wts-chart path{fill:none;stroke-width:1.3;stroke-linejoin:round;stroke-linecap:round}
.walrus-ts .wts-live{opacity:.5}
.walrus-ts .wts-on{color:#3f9b5f;opacity:1}
""".replace("\n", "")


class Markup(str):
    """HTML, which is not escaped again."""

    __slots__ = ()


class Number(str):
    """A text that is a number, and stands at the right."""

    __slots__ = ()


def number(value: int | None) -> Number:
    """Write a number with thousands apart; nothing where it is not known."""
    return Number("" if value is None else f"{value:,}")


def counted(count: int, what: str) -> str:
    """Write how many there are of what: ``"1 row"`` of `rows`, ``"2,000 new rows"`` of `new rows`."""
    one = what[:-3] + "y" if what.endswith("ies") else what.removesuffix("s")
    return f"{count:,} {one if count == 1 else what}"


def printable(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Write out what does not print (line ends, marks that turn text round, halves of characters); shorten the rest."""
    short = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


def markup(text: str, most: int = _MOST_CHARACTERS) -> Markup:
    """Escape a text, unless it is markup."""
    return text if isinstance(text, Markup) else Markup(escape(printable(text, most)))


def muted(text: str) -> Markup:
    """Set a text back."""
    return Markup(f'<span class="wts-muted">{markup(text)}</span>')


def bar(begin: float, end: float, says: str) -> Markup:
    """Draw a part of a whole.

    Parameters
    ----------
    begin, end : float
        From 0 to 1.
    says : str
        What it stands for, to those who point at it or do not see it.
    """
    left = min(max(begin, 0.0), 1.0)
    width = min(max(end, left), 1.0) - left
    left = min(left, 0.985)  # the narrowest part is two pixels wide
    return Markup(
        f'<span class="wts-bar" role="img" title="{markup(says)}" aria-label="{markup(says)}">'
        f'<span style="left:{left:.2%};width:{width:.2%}"></span></span>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], in_all: int | None = None) -> Markup:
    """Draw a table; of more than `MOST_ROWS` rows, the first ones.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of sequences of str
        The last cell of a row that is shorter than the head takes the room of those that are missing.
    in_all : int, optional
        How many rows there are, where `rows` are only the first of them.
    """
    found = list(rows)
    shown = found[:MOST_ROWS]
    left = (len(found) if in_all is None else in_all) - len(shown)
    numbers = [any(isinstance(row[at], Number) for row in shown if at < len(row)) for at in range(len(head))]
    top = _row("th", head, numbers)
    body = "".join(_row("td", row, numbers) for row in shown)
    more = f"<p>{muted(f'and {left:,} more')}</p>" if left > 0 else ""
    return Markup(f'<table class="wts"><thead>{top}</thead><tbody>{body}</tbody></table>{more}')


def _row(tag: str, cells: Sequence[str], numbers: Sequence[bool]) -> str:
    missing = len(numbers) - len(cells)
    attributes = [' class="wts-number"' * right for right in numbers[: len(cells)]]
    if missing:
        attributes[-1] = f' colspan="{missing + 1}"'
    drawn = [f"<{tag}{given}>{markup(cell)}</{tag}>" for cell, given in zip(cells, attributes, strict=True)]
    return f"<tr>{''.join(drawn)}</tr>"


def card(kind: str, name: str, facts: Sequence[str], *parts: Markup) -> Markup:
    """Draw an object: what it is and is called, facts about it in a line, and tables below.

    Parameters
    ----------
    kind : str
    name : str
    facts : sequence of str
        Empty ones are left out.
    *parts : Markup
    """
    title = f"<strong>{markup(name)}</strong> {muted(kind)}" if name else f"<strong>{markup(kind)}</strong>"
    line = " · ".join(markup(fact) for fact in facts if fact)
    return Markup(
        f'<div class="walrus-ts"><style>{_STYLE}</style><p>{title}</p>'
        f"{f'<p>{line}</p>' if line else ''}{''.join(parts)}</div>"
    )
