"""`hetero diff`: the same model on two devices, node by node."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from hetero import dtype as types
from hetero.cli.common import Dt, Inputs, Json, Model, Rule, Seed, Sizes, console, gather_inputs, load_model, print_json
from hetero.counters import stats
from hetero.errors import GraphError
from hetero.graph.ir import Graph, Port, bind_sizes
from hetero.graph.passes import optimize
from hetero.op import Array
from hetero.select import device_of
from hetero.spi import Device


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one value is off. `relative` is to the largest magnitude; `ulp` is None for integers."""

    node: str
    op: str
    absolute: float
    relative: float
    ulp: int | None
    over: bool


def diff(
    model: Model,
    first: Annotated[str, typer.Argument(metavar="B1", help="The device whose values count as right.")],
    second: Annotated[str, typer.Argument(metavar="B2", help="The device that is compared.")],
    input: Inputs = None,
    random: Seed = None,
    size: Sizes = None,
    dt: Dt = None,
    rule: Rule = None,
    tolerance: Annotated[float, typer.Option(help="Largest relative difference that passes.")] = 1e-4,
    json: Json = False,
) -> None:
    """Compare two devices layer by layer; exit code 1 if any node is over the tolerance.

    Example: hetero diff model.onnx numpy opencl --random 0
    """
    graph = load_model(model, dt, rule)
    feed = gather_inputs(graph, input, random, size)
    rows = compare(graph, feed, device_of(first), device_of(second), tolerance)
    worst = next((r for r in rows if r.over), None)
    if json:
        print_json({"first": first, "second": second, "tolerance": tolerance, "agree": worst is None,
                    "first_over": worst.node if worst else None, "nodes": [asdict(r) for r in rows],
                    "fallbacks": stats().fallback_count})  # fmt: skip
    else:
        _show(rows, first, second, tolerance)
    if worst is not None:
        raise typer.Exit(1)


def compare(graph: Graph, feed: dict[str, Array], first: Device, second: Device, tolerance: float) -> list[Difference]:
    """One row for each value that a node makes, in the graph's order."""
    laid_open = open_up(graph, feed)
    used = {n: feed[n] for n in laid_open.input_types}
    a, b = (laid_open.run(used, device=d.name) for d in (first, second))
    makers = laid_open.producer
    rows: list[Difference] = []
    for port in laid_open.outputs:
        node = makers[port.value]
        rows.append(_difference(node.label, node.op.name, a[port.name], b[port.name], tolerance))
    return rows


def open_up(graph: Graph, feed: dict[str, Array]) -> Graph:
    """The graph for these inputs with every node's values as outputs."""
    sizes = bind_sizes(graph.input_types, {n: a.shape for n, a in feed.items() if n in graph.input_types})
    special = optimize(graph.specialize(sizes))
    if not special.static:
        special = optimize(graph.specialize(sizes, {n: a for n, a in feed.items() if a.size <= 1024}))
    if not special.static:
        raise GraphError(
            f"{graph.name} has shapes that depend on computed values, so its nodes cannot be laid side by side",
            hint="compare the outputs of `hetero run --output` instead",
        )
    ports = tuple(Port(f"v{i}", i) for n in special.nodes for i in n.outputs)
    return Graph(special.nodes, special.types, special.inputs, ports, special.constants, special.name)


def _difference(label: str, op: str, a: Array, b: Array, tolerance: float) -> Difference:
    if a.shape != b.shape or a.dtype != b.dtype:
        return Difference(label, op, np.inf, np.inf, None, True)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    x, y = a.astype(wide), b.astype(wide)
    both = np.isfinite(x) & np.isfinite(y)
    alike = both | (x == y) | (np.isnan(x) & np.isnan(y))
    off = float(np.max(np.abs(x - y)[both], initial=0.0)) if np.all(alike) else float("inf")
    scale = float(np.max(np.abs(x)[both], initial=0.0))
    relative = off / scale if scale else (0.0 if off == 0 else float("inf"))
    return Difference(label, op, off, relative, _ulp(a, b) if np.all(alike) else None, relative > tolerance)


def _ulp(a: Array, b: Array) -> int | None:
    """The largest number of floats between two values: bit patterns in the order of the numbers they stand for."""
    if types.kind(a.dtype) != "f" or a.dtype.itemsize not in (2, 4, 8) or not a.size:
        return None
    x, y = (_ordered(v) for v in (a, b))
    finite = np.isfinite(a.astype(np.float64)) & np.isfinite(b.astype(np.float64))
    gap = np.where(x > y, x - y, y - x)[finite]
    return int(np.max(gap, initial=0))


def _ordered(array: Array) -> Array:
    bits = array.dtype.itemsize * 8
    raw = np.ascontiguousarray(array).view(f"int{bits}").astype(np.int64)
    return np.where(raw < 0, np.int64(-(2 ** (bits - 1))) - raw, raw)


def _show(rows: list[Difference], first: str, second: str, tolerance: float) -> None:
    out = console()
    table = Table("node", "op", "absolute", "relative", "ulp", "", box=None, pad_edge=False)
    for r in rows:
        ulp = "-" if r.ulp is None else str(r.ulp)
        table.add_row(r.node, r.op, f"{r.absolute:.3g}", f"{r.relative:.3g}", ulp, "[red]over[/red]" if r.over else "")
    out.print(table)
    over = next((r for r in rows if r.over), None)
    if over is not None:
        out.print(
            f"\n[red]{second} leaves {first} first at {over.node}[/red]: relative {over.relative:.3g} > {tolerance:g}"
        )
    else:
        worst = max((r.relative for r in rows), default=0.0)
        out.print(f"\n{second} agrees with {first} at all {len(rows)} nodes: relative difference at most {worst:.3g}")
