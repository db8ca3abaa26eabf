"""The frame of a report: style, the little script, and escaping. Everything is inline; nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#A6A000", "#7F7F7F")
LONGEST = 160  # characters of a name that are shown
LETTER = 5.9  # width of a character in a picture, about

STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #ffffff; --wash: #f6f8fa; --mark: #0072B2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9da7b3; --line: #3a434d; --paper: #0f1419; --wash: #171d24; --mark: #56B4E9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 1.5rem; background: var(--paper); color: var(--ink);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 75ch; } .soft { color: var(--soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: .75rem; margin: 1rem 0; }
.fact { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; background: var(--wash); }
.fact b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; } .fact .soft { font-size: .85rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
svg { display: block; width: 100%; min-width: 640px; height: auto; } svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
svg .soft { fill: var(--soft); } svg .line { stroke: var(--line); } svg .lane { fill: var(--wash); }
svg .label { stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; paint-order: stroke; }
table { border-collapse: collapse; width: 100%; font-size: 13px; } caption { text-align: left; padding: .3rem .6rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { position: sticky; top: 0; background: var(--wash); white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--mark); }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.name { overflow-wrap: anywhere; min-width: 12ch; }
.tall { max-height: 32rem; overflow: auto; }
input { font: inherit; padding: .3rem .5rem; margin: .25rem 0 .5rem; width: min(100%, 28rem); color: inherit;
        background: var(--paper); border: 1px solid var(--line); border-radius: 6px; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .4em; }
.matrix { display: grid; grid-template-columns: auto 1fr 1fr; gap: 1px; background: var(--line); border: 1px solid var(--line); }
.matrix > div { background: var(--paper); padding: .6rem .8rem; } .matrix .head { background: var(--wash); font-weight: 600; }
@media print { .tall { max-height: none; } body { max-width: none; } }
"""

SCRIPT = """
"use strict";
window.addEventListener("error", e => { document.documentElement.dataset.error = e.message; });
for (const table of document.querySelectorAll("table[data-sort]")) {
  table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
    const up = button.dataset.up !== "1"; button.dataset.up = up ? "1" : "0";
    const key = row => { const c = row.cells[column]; return c.dataset.v === undefined ? c.textContent : Number(c.dataset.v); };
    const rows = [...table.tBodies[0].rows].sort((a, b) => { const x = key(a), y = key(b); return x < y ? -1 : x > y ? 1 : 0; });
    if (!up) rows.reverse();
    table.tBodies[0].append(...rows);
  }));
}
for (const input of document.querySelectorAll("input[data-filter]")) {
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  input.addEventListener("input", () => { const q = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(q); });
}
document.documentElement.dataset.ready = "1";
"""


def text(value: object, most: int = LONGEST) -> str:
    """Safe to put between tags or into an attribute; long names are cut in the middle."""
    whole = str(value)
    if len(whole) > most:
        kept = most - 3
        whole = f"{whole[: kept - kept // 2]}...{whole[-(kept // 2) :]}"
    return escape("".join(c if c.isprintable() else "�" for c in whole), quote=True)


def page(title: str, body: Iterable[str]) -> str:
    """The whole file."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{text(title)}</h2>\n" + "\n".join(parts) + "</section>"


def picture(width: float, height: float, label: str, shapes: Iterable[str]) -> str:
    """An SVG that scrolls sideways where the screen is narrow."""
    return (
        f'<div class="scroll" tabindex="0"><svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(label)}">'
        + "".join(shapes)
        + "</svg></div>"
    )


class Room:
    """Where words still fit in a picture, so that nothing is written over something else."""

    def __init__(self, width: float, height: float) -> None:
        self.size = width, height
        self.taken: list[tuple[float, float, float, float]] = []

    def take(self, x: float, y: float, width: float, height: float) -> None:
        self.taken.append((x, y, x + width, y + height))

    def label(self, words: str, spots: Iterable[tuple[float, float]]) -> str:
        """The words around the middle of the first of `spots` that is free, as SVG; empty where none is."""
        wide, high = LETTER * len(words), 12.0
        for x, y in spots:
            left, top, right, bottom = x - wide / 2, y - high / 2, x + wide / 2, y + high / 2
            inside = left >= 0 and top >= 0 and right <= self.size[0] and bottom <= self.size[1]
            if inside and not any(
                left < x2 and x1 < right and top < y2 and y1 < bottom for x1, y1, x2, y2 in self.taken
            ):
                self.take(left, top, wide, high)
                return f'<text class="soft label" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{text(words)}</text>'
        return ""


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> str:
    """A table that sorts by its heads. Cells are whole `<td>` elements, see `cell` and `number`."""
    heads = "".join(f'<th scope="col"><button type="button">{text(h)}</button></th>' for h in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<input type="search" data-filter="{name}" placeholder="Filter" aria-label="Filter: {text(label)}">'
        f'<div class="scroll tall" tabindex="0"><table id="{name}" data-sort><caption class="soft">{text(label)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def cell(value: object) -> str:
    return f'<td class="name">{text(value)}</td>'


def number(value: float, shown: str) -> str:
    """A number that sorts by its value."""
    return f'<td class="n" data-v="{value:.9g}">{text(shown)}</td>'


def dot(colour: str, name: str) -> str:
    return f'<span class="dot" style="background:{colour}"></span>{text(name)}'
