"""Constant folding: what depends on constants alone is computed now, if it is small; casts of any size from numbers of
less than a byte to bytes, which take no more room, and which few devices can make."""

from __future__ import annotations

from collections.abc import Sequence

from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node
from hetero.ops.quantize import SHORT


def fold(graph: Graph) -> Graph:
    """The folding itself is the builder's; this replays the graph through it, where some node reads constants alone."""
    if not any(graph.constants.keys() >= set(node.inputs) for node in graph.nodes):
        return graph
    return rewrite(graph, _as_it_is, fold=True)


def _as_it_is(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
    given = builder.known(refs[0]) if node.op.name == "cast" else None
    if given is None or given.dtype.name not in SHORT or node.attrs["dtype"] not in ("int8", "uint8"):
        return None
    return (builder.constant(given.astype(node.attrs["dtype"])),)
