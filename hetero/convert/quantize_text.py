"""The report of a quantised graph as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import StringIO

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from hetero.convert.quantize_report import LayerError, QuantizeReport

WIDTH = 140


def tables(r: QuantizeReport) -> Group:
    """What rich prints: a head, the layers, the outputs, what was left."""
    layers = Table(box=None, pad_edge=False)
    for name, right in zip(HEAD, NUMBERS, strict=True):
        layers.add_column(name, justify="right" if right else "left", overflow="fold")
    for layer in r.layers:
        layers.add_row(*map(Text, cells(layer)))
    return Group(Text(head(r)), layers, *(Text(line) for line in tail(r)))


HEAD = ("layer", "op", "weights", "inputs", "SQNR dB", "max error", "weights' SQNR dB", "bytes", "after")
NUMBERS = (False, False, False, False, True, True, True, True, True)


def cells(layer: LayerError) -> list[str]:
    own = "-" if layer.weight_sqnr_db is None else decibel(layer.weight_sqnr_db)
    sizes = f"{layer.before_byte:,}", f"{layer.after_byte:,}"
    return [
        layer.name,
        layer.op,
        layer.weights or "-",
        layer.inputs,
        decibel(layer.sqnr_db),
        f"{layer.max_error:.3g}",
        own,
        *sizes,
    ]


def decibel(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else ("exact" if value > 0 else "nothing left")


def head(r: QuantizeReport) -> str:
    coded = f"activations {r.activations} ({r.calibration})" if r.activations in ("int8", "uint8") else ""
    coded = coded or (f"activations {r.activations}" if r.activations else "activations in float32")
    on = "the calibration data itself" if r.data == "data" else "test data"
    return f"{r.name}: weights {r.weights}, {coded}; errors {r.label} over {r.runs} runs of {on}"


def tail(r: QuantizeReport) -> Iterator[str]:
    for o in r.outputs:
        sqnr = f"{decibel(o.sqnr_db)} dB" if math.isfinite(o.sqnr_db) else decibel(o.sqnr_db)
        yield f"output {o.name}: SQNR {sqnr}, max error {o.max_error:.3g}, same argmax {o.agreement:.2%}"
    yield f"constants: {r.before_byte:,} bytes before, {r.after_byte:,} after, {r.saved:.1%} saved"
    if r.left:
        yield f"left in floats: {'; '.join(r.left)}"


def words(r: QuantizeReport) -> str:
    """The tables as plain text."""
    out = StringIO()
    Console(file=out, width=WIDTH, color_system=None, force_terminal=False).print(tables(r))
    return out.getvalue().rstrip("\n")


__all__ = ["HEAD", "NUMBERS", "cells", "decibel", "head", "tables", "tail", "words"]
