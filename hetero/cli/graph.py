"""`hetero graph`: what is in a model."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Annotated, Any

import typer

from hetero.cli.common import (
    Dt,
    Json,
    Model,
    Rule,
    Sizes,
    bytes_text,
    console,
    describe_ports,
    load_model,
    parse_sizes,
    print_json,
)
from hetero.graph.ir import Graph
from hetero.graph.passes import primitive
from hetero.graph.passes.fuse import fuse


class Stage(str, Enum):
    """How far the graph is taken before it is shown."""

    imported = "imported"
    optimized = "optimized"
    fused = "fused"


def graph(
    model: Model,
    stage: Annotated[
        Stage, typer.Option(help="Show the graph as imported, optimized, or with fusion regions.")
    ] = Stage.imported,
    size: Sizes = None,
    dt: Dt = None,
    rule: Rule = None,
    json: Json = False,
) -> None:
    """Print a model as readable assembly: inputs, nodes with types and places, outputs.

    Example: hetero graph model.onnx --stage fused --size batch=8
    """
    shown = load_model(model, dt, rule)
    if size:
        shown = shown.specialize(parse_sizes(size))
    if stage is not Stage.imported:
        shown = primitive(shown)
    if stage is Stage.fused:
        shown = fuse(shown)
    if json:
        print_json(_report(shown))
        return
    out = console()
    out.print(str(shown), markup=False)
    out.print(_summary(shown), markup=False)


def _report(graph: Graph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "inputs": describe_ports(graph.input_types),
        "outputs": describe_ports(graph.output_types),
        "ops": dict(Counter(n.op.name for n in graph.nodes).most_common()),
        "nodes": len(graph.nodes),
        "constant_bytes": _constant_bytes(graph),
        "open_dimensions": sorted(graph.symbols),
        "late_nodes": [n.label for n in graph.nodes if n.op.kind == "late"],
        "peak_bytes": graph.peak_bytes if graph.static else None,
        "text": str(graph),
    }


def _constant_bytes(graph: Graph) -> int:
    return sum(a.nbytes for a in graph.constants.values())


def _summary(graph: Graph) -> str:
    ops = ", ".join(f"{name} {n}" for name, n in Counter(n.op.name for n in graph.nodes).most_common())
    peak = f"; at its peak {bytes_text(graph.peak_bytes)} (computed)" if graph.static else ""
    open_ones = f"; open: {', '.join(sorted(graph.symbols))}" if graph.symbols else ""
    return f"{len(graph.nodes)} nodes: {ops}\nconstants {bytes_text(_constant_bytes(graph))}{peak}{open_ones}"
