"""A graph made ready for being quantised: constants of any size worked out, batch norms folded into convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node
from hetero.op import Array

NOT_NOW = ("late", "control", "random")  # kinds of ops that are not worked out here


def prepare(graph: Graph) -> Graph:
    """The same function of its inputs, up to the rounding of the folded batch norms."""
    return fold_norms(fold_all(graph))


def fold_all(graph: Graph) -> Graph:
    """Constants of any size: weights that a file gives as a fill, or transposed."""

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        if not node.op.pure or node.op.kind in NOT_NOW or not refs:
            return None
        known = [builder.known(r) for r in refs]
        given = tuple(a for a in known if a is not None)
        if len(given) < len(known) or node.op.name in ("quantize_linear", "dequantize_linear"):
            return None  # what is quantised already stays so
        return [builder.constant(a) for a in node.op.evaluate(given, node.attrs)]

    return rewrite(graph, rule)


def fold_norms(graph: Graph) -> Graph:
    """batch_norm(conv(x, w, b)) as one conv, where the norm's numbers are constants and nobody else reads the conv."""
    made: dict[int, Node] = {}  # value of the new graph -> the conv that gives it
    kept = {p.value for p in graph.outputs}
    alone = {i for i, readers in graph.uses.items() if len(readers) == 1 and i not in kept}

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        if node.op.name == "conv" and node.outputs[0] in alone:
            outs = builder.emit(node.op, refs, node.attrs)
            made[outs[0].index] = builder.nodes[-1]
            return outs
        conv = made.get(refs[0].index) if node.op.name == "batch_norm" else None
        if conv is None:
            return None
        norm = [builder.known(r) for r in refs[1:]]
        weights = [builder.constants.get(i) for i in conv.inputs[1:]]
        if any(a is None for a in (*norm, *weights)):
            return None
        folded = _folded([a for a in weights if a is not None], [a for a in norm if a is not None], node)
        given = [Ref(builder, conv.inputs[0]), *map(builder.constant, folded)]
        with builder.at(conv.where, conv.name):
            return builder.emit(conv.op, given, conv.attrs)

    return rewrite(graph, rule)


def _folded(weights: list[Array], norm: list[Array], node: Node) -> list[Array]:
    """Weights and bias of the one conv, worked out in double."""
    weight, dtype = weights[0].astype(np.float64), weights[0].dtype
    scale, shift, mean, variance = (a.astype(np.float64) for a in norm)
    bias = weights[1].astype(np.float64) if len(weights) > 1 else np.zeros(len(weight))
    factor = scale / np.sqrt(variance + node.attrs["epsilon"])
    return [
        (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(dtype),
        ((bias - mean) * factor + shift).astype(dtype),
    ]


__all__ = ["fold_all", "fold_norms", "prepare"]
