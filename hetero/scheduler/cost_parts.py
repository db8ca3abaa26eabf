"""How an op splits into passes over memory, and the finer class of each: what decides its speed beside its size.

A convolution by columns is a copy of the columns under its windows and a matrix product; a region run step by step is
its border and one pass for each op. Devices that work so have rows for these passes in their profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2, prod

from hetero.dim import concrete
from hetero.graph.ir import Graph, Node
from hetero.op import TensorType


@dataclass(frozen=True, slots=True)
class Pass:
    """One way over memory: arithmetic and traffic of one class of op."""

    op_class: str
    op: float = 0.0
    read_byte: float = 0.0  # weights not counted
    write_byte: float = 0.0
    weight_byte: float = 0.0  # constants: read as well, and resident
    times: float = 1.0  # how often it is launched

    @property
    def byte(self) -> float:
        """All traffic."""
        return self.read_byte + self.write_byte + self.weight_byte

    @property
    def size(self) -> float:
        """log2 of what decides the size bucket: operations of one launch, or bytes where nothing is computed."""
        return log2(max((self.op or self.byte) / max(self.times, 1.0), 1.0))


Ints = tuple[int, ...]
Parts = tuple[Pass, ...]
Split = tuple[str, Parts]  # the finer class of the whole, and its parts


def split(graph: Graph, node: Node, op_class: str, whole: Pass) -> tuple[Pass, Parts]:
    """The whole with its finer class, and its parts."""
    rule = _RULES.get(node.op.name) or _BY_CLASS.get(op_class)
    if rule is None or whole.byte == 0:
        return whole, ()
    name, parts = rule(graph, node, op_class, whole)
    return replace(whole, op_class=name), parts


def run(elements: int) -> str:
    """Class of how many elements lie one behind the other: r0 is 1, r3 up to 15, r7 128 and more."""
    return f"r{min(int(log2(max(elements, 1))), 7)}"


# -- products ---------------------------------------------------------------------------------------------------


def _product(batch: int, m: int, k: int, n: int, itemsize: int) -> Pass:
    """(batch, m, k) by (batch, k, n)"""
    traffic = itemsize * batch * (m * k + k * n)
    name = f"matmul.{_THIN[min(int(log2(max(min(m, n), 1))), 5)]}{'.few' if k < SHALLOW else ''}"
    return Pass(name, 2.0 * batch * m * k * n, traffic, itemsize * batch * m * n)


_THIN = ("vector", "thin2", "thin2", "thin8", "thin16", "wide")  # by log2 of the smaller side of the product
SHALLOW = 16  # products summed for one element: below, writing it is what takes the time


def _matmul(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    a, b = (concrete(t.known) for t in graph.in_types(node))
    *batch, m, n = concrete(graph.out_types(node)[0].known)
    rows = prod(batch) * m if prod(b[:-2]) == 1 else m  # one right side for all is a single product
    return _product(prod(batch) * m // max(rows, 1), rows, a[-1], n, 4).op_class, ()


def _conv(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    x, w, *bias = graph.in_types(node)
    (out,) = graph.out_types(node)
    outputs, each, *kernel = concrete(w.known)
    samples, _, *windows = concrete(out.known)
    groups, depth, item = int(node.attrs["groups"]), each * prod(kernel), x.dtype.itemsize
    strides = tuple(node.attrs["strides"])
    padded = any((*node.attrs["pads_before"], *node.attrs["pads_after"]))
    product = _product(samples * groups, outputs // groups, depth, prod(windows), item)
    parts: list[Pass] = [product]
    if prod(kernel) > 1 or set(strides) != {1} or padded:
        columns = float(item * samples * groups * depth * prod(windows))
        step = "strided" if strides[-1] > 1 else "plain"
        parts.append(Pass(f"{op_class}.columns.{step}.{run(windows[-1])}", 0.0, float(x.nbytes), columns))
    else:
        parts.append(Pass(f"{op_class}.columns.none", 0.0, 0.0, 1.0))  # what it takes to be called
    if bias:
        parts.append(Pass(f"{op_class}.bias", 0.0, float(out.nbytes), float(out.nbytes)))
    shape = f"{'s' if max(strides) > 1 else ''}k{max(kernel)}"
    return f"{op_class}.{shape}.{_THIN[min(int(log2(max(outputs // groups, 1))), 5)]}", tuple(parts)


# -- windows and reductions -------------------------------------------------------------------------------------


def _pool(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    kind = "mean" if node.op.name == "avg_pool" else "max"
    if "kernel" not in node.attrs:
        return op_class, ()
    kernel = [k for k in node.attrs["kernel"] if k > 1]
    spatial = concrete(graph.in_types(node)[0].known)[2:]
    if tuple(node.attrs["kernel"]) == spatial:
        return f"pool.{kind}.all", ()
    return f"pool.{kind}.d{len(kernel)}.w{round(2 * log2(max(prod(kernel), 1)))}", ()


def _reduction(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    """Along the last axis, or across it."""
    (x,) = graph.in_types(node)[:1]
    axes = node.attrs.get("axes", (node.attrs.get("axis", -1),))
    shape = concrete(x.known)
    last = max(a % max(len(shape), 1) for a in axes) if axes and shape else 0
    inner = prod(shape[last + 1 :])
    family = "scan" if node.op.name.startswith("cum") else "arg" if node.op.name.startswith("arg") else "fold"
    if inner == 1:
        return f"reduction.{family}.rows.{run(_reduced(shape, axes))}", ()
    return f"reduction.{family}.across.{run(inner)}", ()


def _reduced(shape: Sequence[int], axes: Sequence[int]) -> int:
    return prod(shape[a] for a in axes)


# -- elementwise ------------------------------------------------------------------------------------------------


def _elementwise(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    return f"{op_class}.{_step_name(graph, node)}", ()


def _step_name(graph: Graph, node: Node) -> str:
    """Ops of one operation an element are alike; others go by their names. Where an input is stretched, by how many
    elements lie one behind the other too."""
    (out,) = graph.out_types(node)[:1]
    shape = concrete(out.known)
    cost = node.op.cost(graph.in_types(node), graph.out_types(node), node.attrs)
    name = node.op.name if cost.flop > prod(shape) or node.op.kind != "elementwise" else "plain"
    inner = min((_inner_run(concrete(t.known), shape) for t in graph.in_types(node)), default=0)
    return f"{name}.{run(inner)}" if 0 < inner < prod(shape) else name


def _inner_run(shape: Ints, out: Ints) -> int:
    """Elements of the output over which an input runs on, or stands still; all where it is as large, or one number."""
    if prod(shape) in (1, prod(out)):
        return prod(out)
    full = (1,) * (len(out) - len(shape)) + shape
    still = full[-1] == 1
    length = 1
    for n, m in zip(reversed(full), reversed(out), strict=True):
        if m != 1 and (n == 1) != still:
            break
        length *= m
    return length


def _fused(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    """The border of the region, then its ops."""
    body: Graph = node.attrs["body"]
    pattern = str(node.attrs["pattern"])
    border = replace(whole, op_class=f"region.{pattern}", op=0.0)
    full = max(prod(concrete(t.known)) for n in body.nodes for t in (*body.in_types(n), *body.out_types(n)))
    steps: dict[str, list[float]] = {}
    for n in body.nodes:
        elements = max(prod(concrete(t.known)) for t in (*body.in_types(n), *body.out_types(n)))
        if elements * 2 >= full:  # what works on one number a row is nothing beside the rows
            steps.setdefault(_step_name(body, n), []).append(float(elements))
    return op_class, (border, *(Pass(f"step.{k}", sum(v), times=float(len(v))) for k, v in steps.items()))


# -- movement ---------------------------------------------------------------------------------------------------


def _permute(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    shape = concrete(graph.in_types(node)[0].known)
    axes = [a for a in node.attrs["axes"] if shape[a] != 1]
    kept = 1
    order = [a for a in range(len(shape)) if shape[a] != 1]
    while axes and order and axes[-1] == order[-1]:
        kept *= shape[axes.pop()]
        order.pop()
    if not axes:
        return "movement.copy", ()
    if kept > 1:
        return f"movement.rows.{run(kept)}", ()
    return f"movement.turn.{_alignment(graph, node, axes[-1])}", ()


def _alignment(graph: Graph, node: Node, axis: int) -> str:
    """Whether what is read one after the other lies apart by a multiple of a large power of two: then few lines of a
    cache serve all of it. a0 is none, a4 a page."""
    (x,) = graph.in_types(node)
    apart = prod(concrete(x.known)[axis + 1 :]) * x.dtype.itemsize
    return f"a{_twos(apart) // 1024}"


def _twos(n: int) -> int:
    """The largest power of two that divides n, up to a page."""
    return min(n & -n, 4096)


def _slice(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    (x,), (out,) = graph.in_types(node), graph.out_types(node)
    shape, made = concrete(x.known), concrete(out.known)
    kept = 1
    for a, (n, m) in reversed(list(enumerate(zip(shape, made, strict=True)))):
        if node.attrs["steps"][a] != 1:
            return (f"movement.rows.{run(kept)}" if kept > 1 else "movement.strided"), ()
        kept *= m
        if n != m:
            break
    return f"movement.rows.{run(kept)}", ()


def _concat(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    axis = int(node.attrs["axis"])
    return f"movement.join.{run(min(_inner(t, axis) for t in graph.in_types(node)))}", ()


def _inner(type: TensorType, axis: int) -> int:
    return prod(concrete(type.known)[axis:])


def _broadcast(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    (x,) = graph.in_types(node)
    return f"movement.fill.{'one' if x.size == 1 else 'rows'}", ()


def _pad(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    return f"movement.pad.{run(concrete(graph.in_types(node)[0].known)[-1])}", ()


def _gather(graph: Graph, node: Node, op_class: str, whole: Pass) -> Split:
    if "axis" not in node.attrs or node.op.name != "take":
        return f"gather.{node.op.name}", ()
    return f"gather.take.{run(_inner(graph.in_types(node)[0], int(node.attrs['axis']) + 1))}", ()


_RULES: Mapping[str, Callable[[Graph, Node, str, Pass], Split]] = {
    "matmul": _matmul, "conv": _conv, "fused": _fused, "permute": _permute, "slice": _slice, "concat": _concat,
    "broadcast_to": _broadcast, "pad": _pad, "max_pool": _pool, "avg_pool": _pool,
}  # fmt: skip
_BY_CLASS: Mapping[str, Callable[[Graph, Node, str, Pass], Split]] = {
    "reduction": _reduction, "elementwise": _elementwise, "transcendental": _elementwise, "gather": _gather,
}  # fmt: skip
