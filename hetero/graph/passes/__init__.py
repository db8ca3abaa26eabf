"""Passes: pure functions from a graph to a graph. `optimize` is the order that every backend gets."""

from __future__ import annotations

from hetero.graph.ir import Graph
from hetero.graph.passes.dedup import dedup
from hetero.graph.passes.fold import fold
from hetero.graph.passes.simplify import simplify

ROUNDS = 8  # each round may open the way for the next; real models settle after three


def optimize(graph: Graph) -> Graph:
    """Constants folded, algebra cleaned, equal nodes made one, dead code gone; results stay the same."""
    for _ in range(ROUNDS):
        before = _outline(graph)
        graph = dedup(simplify(fold(graph)))
        if _outline(graph) == before:
            break
    return graph


def _outline(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    """Ops and how they hang together: changes whenever a pass did anything, and costs no look at constants."""
    return [(n.op.name, n.inputs) for n in graph.nodes]


__all__ = ["dedup", "fold", "optimize", "simplify"]
