"""Passes: pure functions from a graph to a graph. `optimize` is the order that every backend gets."""

from __future__ import annotations

from collections.abc import Callable

from hetero.graph.ir import Graph, Node
from hetero.graph.passes.decompose import decompose, nothing_whole
from hetero.graph.passes.dedup import dedup
from hetero.graph.passes.fold import fold
from hetero.graph.passes.simplify import simplify
from hetero.op import Types

ROUNDS = 8  # each round may open the way for the next; real models settle after three


def optimize(graph: Graph) -> Graph:
    """Constants folded, algebra cleaned, equal nodes made one, dead code gone; results stay the same."""
    for _ in range(ROUNDS):
        before = _outline(graph)
        graph = dedup(simplify(fold(graph)))
        if _outline(graph) == before:
            break
    return graph


def primitive(graph: Graph, whole: Callable[[Node, Types, Types], bool] = nothing_whole) -> Graph:
    """Optimised, with every composite that `whole` refuses taken apart."""
    optimized = optimize(graph)
    parts = decompose(optimized, whole)
    return optimized if parts is optimized else optimize(parts)


def _outline(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    """Ops and how they hang together: changes whenever a pass did anything, and costs no look at constants."""
    return [(n.op.name, n.inputs) for n in graph.nodes]


__all__ = ["dedup", "fold", "optimize", "primitive", "simplify"]
