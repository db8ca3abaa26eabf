"""States that spiking networks start with are no work of their own: a chip begins with them, nothing is sent to it."""

from __future__ import annotations

from collections.abc import Sequence

from hetero.graph.ir import Graph, Node
from hetero.spiking.work import spiking_loop


def with_starts(fused: Graph, members: Sequence[list[Node]]) -> list[tuple[Node, list[Node]]]:
    """Each node of the fused graph with the nodes that it stands for; constants that are only spread over the states of
    spiking networks stand with these networks, with each of them where they are shared."""
    loops = {id(n): set(n.inputs[: int(n.attrs["carried"])]) for n in fused.nodes if spiking_loop(n) is not None}
    shown = {p.value for p in fused.outputs}
    starts = {
        node.outputs[0]: nodes
        for node, nodes in zip(fused.nodes, members, strict=True)
        if loops and node.op.name == "broadcast_to" and node.inputs[0] in fused.constants
        and node.outputs[0] not in shown
        and all(node.outputs[0] in loops.get(id(use), ()) for use in fused.uses.get(node.outputs[0], ()))
    }  # fmt: skip
    found: list[tuple[Node, list[Node]]] = []
    for node, nodes in zip(fused.nodes, members, strict=True):
        if node.outputs[0] in starts:
            continue
        first = [n for i in dict.fromkeys(node.inputs) if id(node) in loops for n in starts.get(i, ())]
        found.append((node, [*first, *nodes]))
    return found
