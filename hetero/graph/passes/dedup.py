"""Common subexpressions: nodes that would compute the same are one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node, canonical


def dedup(graph: Graph) -> Graph:
    """Equal op, equal attributes, equal inputs: the first one stays. Equal small constants count as equal inputs."""
    seen: dict[Any, Sequence[Ref]] = {}

    def identity(builder: Builder, ref: Ref) -> Any:
        array = builder.known(ref)
        return canonical(array) if array is not None and array.size <= 16 else ref.index

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        if not node.op.pure:
            return None
        key = (node.op.name, tuple(identity(builder, r) for r in refs), canonical(node.attrs))
        if key not in seen:
            seen[key] = builder.emit(node.op, refs, node.attrs)
        return seen[key]

    return rewrite(graph, rule)
