"""The report of a quantised graph as one HTML file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from hetero.convert.quantize_report import LayerError, QuantizeReport
from hetero.convert.quantize_text import HEAD, cells, decibel, head, tail
from hetero.errors import GraphError
from hetero.files import write_whole
from hetero.report.page import COLOURS, cell, number, page, picture, section, table, text

WIDE, HIGH = 700, 22  # of the longest bar, and from one to the next
FULL_DB = 60.0  # SQNR of the longest bar: about 10 bits


def save(report: QuantizeReport, path: str | Path) -> None:
    """One HTML file that loads nothing from anywhere: the whole of it, or none."""
    try:
        write_whole(path, page(f"{report.name}, quantised", _body(report)))
    except OSError as e:
        problem = f"cannot write the report to {path}: {e}"
        raise GraphError(problem, hint="choose a folder that can be written to") from e


def _body(r: QuantizeReport) -> Iterator[str]:
    yield f"<h1>{text(r.name)}, quantised</h1>"
    yield f'<p class="soft">{text(head(r), 400)}</p>'
    yield '<div class="facts">' + "".join(_facts(r)) + "</div>"
    yield section("Layer by layer", _bars(r), _layers(r))
    yield section("The whole", *(f"<p>{text(line, 4000)}</p>" for line in tail(r)))


def _facts(r: QuantizeReport) -> Iterator[str]:
    facts = [("constants saved", f"{r.saved:.1%}", f"{r.before_byte:,} to {r.after_byte:,} bytes")]
    facts += [
        (f"{o.name}: SQNR, {r.label}", f"{decibel(o.sqnr_db)} dB", f"same argmax {o.agreement:.2%}") for o in r.outputs
    ]
    for name, value, more in facts:
        yield f'<div class="fact">{text(name)}<b>{text(value)}</b><span class="soft">{text(more)}</span></div>'


def _bars(r: QuantizeReport) -> str:
    title = "SQNR of each layer's output, dB"
    shapes = [f'<text x="8" y="16">{text(title)}</text>']
    for k, layer in enumerate(r.layers):
        y, wide = 26 + HIGH * k, WIDE * min(max(layer.sqnr_db / FULL_DB, 0.0), 1.0)
        shapes.append(
            f'<text class="soft" x="8" y="{y + 12}">{text(layer.name, 34)}</text>'
            f'<rect x="240" y="{y}" width="{max(wide, 1):.1f}" height="16" fill="{COLOURS[0]}" rx="2"/>'
            f'<text class="soft" x="{246 + wide:.1f}" y="{y + 12}">{text(decibel(layer.sqnr_db))}</text>'
        )
    return picture(1080, 32 + HIGH * len(r.layers), title, shapes)


def _layers(r: QuantizeReport) -> str:
    return table(
        "layers", HEAD, (_row(layer) for layer in r.layers), "Errors are of the layer's output in the whole graph"
    )


def _row(layer: LayerError) -> tuple[str, ...]:
    shown = cells(layer)
    own = -math.inf if layer.weight_sqnr_db is None else layer.weight_sqnr_db
    values = (layer.sqnr_db, layer.max_error, own, layer.before_byte, layer.after_byte)
    numbers = (number(v, s) for v, s in zip(values, shown[4:], strict=True))
    return (*map(cell, shown[:4]), *numbers)


__all__ = ["save"]
