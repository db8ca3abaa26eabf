"""The products of a graph that can be quantised: what comes in, where the weights are, and what is added behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from hetero import dtype as dt
from hetero.graph.ir import Graph, Node
from hetero.op import Array

PRODUCTS = ("conv", "matmul")


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """One conv or matmul. Positions are of its inputs, `channel` is an axis of the weights, and `summed` the one that
    the product sums over. A bias is a constant that the node, or the `add` after it, has for each channel."""

    node: Node
    name: str
    activations: tuple[int, ...]
    weight: int | None = None
    channel: int = 0
    summed: int = 0
    bias: int | None = None  # value number
    add: Node | None = None

    @property
    def output(self) -> int:
        return (self.add or self.node).outputs[0]


@dataclass(slots=True)
class Found:
    products: list[Product] = field(default_factory=list[Product])
    left: list[str] = field(default_factory=list[str])


def find(graph: Graph, *, skip: Collection[str], activations: bool) -> Found:
    """All products, in order, and why others are not among them. Without `activations` those without weights stay."""
    found, names = Found(), _names(graph)
    for node in graph.nodes:
        bodies = sum(isinstance(v, Graph) for v in node.attrs.values())
        if bodies:
            found.left.append(f"{node.label}: what is inside a {node.op.name} stays in floats")
        if node.op.name not in PRODUCTS:
            continue
        name, reason = names[id(node)], _reason(graph, node, activations)
        reason = "asked for" if name in skip else reason
        if reason:
            found.left.append(f"{name}: {reason}")
        else:
            found.products.append(_conv(graph, node, name) if node.op.name == "conv" else _matmul(graph, node, name))
    return found


def _names(graph: Graph) -> dict[int, str]:
    """A name of its own for each product."""
    products = [n for n in graph.nodes if n.op.name in PRODUCTS]
    often = Counter(n.label for n in products)
    seen: Counter[str] = Counter()
    names: dict[int, str] = {}
    for node in products:
        seen[node.label] += 1
        names[id(node)] = f"{node.label} #{seen[node.label]}" if often[node.label] > 1 else node.label
    return names


def _reason(graph: Graph, node: Node, activations: bool) -> str:
    """Why a product stays in floats; nothing if it does not."""
    types = graph.in_types(node)
    known = [graph.constants.get(i) for i in node.inputs]
    if types[0].dtype != dt.float32:
        return f"it is of {types[0].dtype.name}, not of float32"
    if any(a is not None and not np.isfinite(a).all() for a in known):
        return "its weights are not finite"
    if node.op.name == "conv":
        return "" if known[1] is not None else "its weights are computed"
    if known[0] is None and known[1] is None:
        return "" if activations else "it has no weights"
    return "it is a constant" if known[0] is not None and known[1] is not None else ""


def _conv(graph: Graph, node: Node, name: str) -> Product:
    bias = next((i for i in node.inputs[2:] if i in graph.constants), None)
    return Product(node, name, (0,), 1, 0, 1, bias)


def _matmul(graph: Graph, node: Node, name: str) -> Product:
    left, right = (i in graph.constants for i in node.inputs)
    if not (left or right):
        return Product(node, name, (0, 1))
    at = 0 if left else 1
    rank = graph.types[node.inputs[at]].rank
    channel, summed = (rank - 2, rank - 1) if left else (rank - 1, rank - 2)
    add, bias = _added(graph, node, graph.constants[node.inputs[1]]) if right else (None, None)
    return Product(node, name, (1 - at,), at, channel, summed, bias, add)


def _added(graph: Graph, node: Node, weight: Array) -> tuple[Node | None, int | None]:
    """The add behind a product and its constant, one number for each channel."""
    value = node.outputs[0]
    readers = graph.uses.get(value, ())
    if len(readers) != 1 or readers[0].op.name != "add" or any(p.value == value for p in graph.outputs):
        return None, None
    (other,) = [i for i in readers[0].inputs if i != value] or [value]
    bias = graph.constants.get(other)
    fits = bias is not None and bias.shape == (weight.shape[-1],) and bool(np.isfinite(bias).all())
    return (readers[0], other) if fits else (None, None)


__all__ = ["PRODUCTS", "Found", "Product", "find"]
