"""Composite ops replaced by what they are made of, where a backend does not take them whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hetero.graph.build import Builder, Ref, replay, rewrite
from hetero.graph.ir import Graph, Node
from hetero.op import Types


def decompose(graph: Graph, whole: Callable[[Node, Types, Types], bool]) -> Graph:
    """Every composite node that `whole` refuses, replaced, again and again until none is left; the graph itself where
    none is refused."""
    composite = (n for n in graph.nodes if n.op.decompose is not None)
    refused = {id(n) for n in composite if not whole(n, graph.in_types(n), graph.out_types(n))}
    if not refused:
        return graph

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        if id(node) not in refused or node.op.decompose is None:
            return None
        types = tuple(r.type for r in refs)
        inner = Builder(track=False)
        inputs = [inner.input(f"i{k}", t) for k, t in enumerate(types)]
        with inner.at(node.where, node.name):
            made = node.op.decompose(inner, *inputs, **node.attrs)
        part = inner.build(made if isinstance(made, tuple) else (made,))
        return replay(decompose(part, whole), builder, refs)

    return rewrite(graph, rule)


def nothing_whole(node: Node, types: Types, outs: Types) -> bool:
    """For `decompose`: down to primitive ops."""
    return False
