"""Common subexpressions: nodes that would compute the same are one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node, canonical

SMALL = 16  # elements of a constant that is compared


def dedup(graph: Graph) -> Graph:
    """Equal op, equal attributes, equal inputs: the first one stays. Equal small constants count as equal inputs."""
    same = _same(graph)
    if not same:
        return graph
    kept: dict[int, Sequence[Ref]] = {}  # first of an equal several -> its values

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref]:
        if id(node) not in same:
            kept[id(node)] = builder.emit(node.op, refs, node.attrs)
        return kept[same.get(id(node), id(node))]

    return rewrite(graph, rule)


def _same(graph: Graph) -> dict[int, int]:
    """Nodes that compute what an earlier one has, and that one, both by `id`."""
    value: dict[int, Any] = {i: canonical(a) for i, a in graph.constants.items() if a.size <= SMALL}
    first: dict[Any, Node] = {}
    same: dict[int, int] = {}
    for node in graph.nodes:
        if not node.op.pure:
            continue
        key = (node.op.name, tuple(value.get(i, i) for i in node.inputs), canonical(node.attrs))
        found = first.setdefault(key, node)
        if found is not node:
            same[id(node)] = id(found)
            value |= {mine: value.get(its, its) for mine, its in zip(node.outputs, found.outputs, strict=True)}
    return same
