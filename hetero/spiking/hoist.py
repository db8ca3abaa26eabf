"""A loop whose first dense synapses are taken out of it: one matrix product over all steps at once.

That is the better form where most inputs are not zero, and the same network: a synapse has no state.
"""

from __future__ import annotations

from math import prod

import numpy as np

from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph, Node
from hetero.op import OPS, TensorType
from hetero.spiking.network import Network
from hetero.spiking.read import Loop


def first_synapses(loop: Loop) -> list[tuple[str, str]]:
    """(input, layer) of dense synapses of floats that read one input, at once, and that nobody looks at."""
    net, seen = loop.network, {n for n, _ in (*loop.carried, *loop.shown)}
    found: list[tuple[str, str]] = []
    for name, layer in net.layers.items():
        edges = net.into.get(name, [])
        delayed = any(e.delayed for e in net.edges if name in (e.source, e.target))
        one = len(edges) == 1 and edges[0].source in net.inputs and not delayed and name not in seen
        one &= net.dtype.kind == "f"
        if one and layer.op == "synapse_dense":
            found.append((edges[0].source, name))
    return found


def hoisted(node: Node, graph: Graph, loop: Loop) -> Graph | None:
    """The `scan` as a graph of its own (inputs and outputs as the node's) with these synapses before the loop; None:
    there are none, or some input is read by other layers too."""
    chosen = first_synapses(loop)
    net = loop.network
    readers = {n: [e.target for e in net.edges if e.source == n] for n in net.inputs}
    if not chosen or any(len(readers[x]) != 1 for x, _ in chosen):
        return None
    carried = int(node.attrs["carried"])
    builder = Builder("hoisted", track=False)
    given = [builder.input(f"i{k}", graph.types[i]) for k, i in enumerate(node.inputs)]
    before, xs = given[:carried], given[carried:]
    moved = {x: layer for x, layer in chosen}
    names = list(net.inputs)
    rows = [_product(builder, net, moved[n], x) if n in moved else x for n, x in zip(names, xs, strict=True)]
    body = _body(node, net, moved, loop.lead)
    made = builder.emit(OPS["scan"], (*before, *rows), {**node.attrs, "body": body})
    return builder.build(list(made))


def _product(builder: Builder, net: Network, layer: str, x: Ref) -> Ref:
    """x (t, ..., n) -> (t, ..., m)"""
    s = net.layers[layer]
    *lead, n = x.type.known
    flat = builder("reshape", x, shape=(prod(lead), n))  # pyright: ignore[reportArgumentType, reportCallIssue]
    y = builder("matmul", flat, builder.constant(np.ascontiguousarray(s.parameters["weight"].T)))
    if "bias" in s.parameters:
        y = builder("add", y, builder.constant(s.parameters["bias"]))
    return builder("reshape", y, shape=(*lead, s.shape[0]))


def _body(node: Node, net: Network, moved: dict[str, str], lead: int) -> Graph:
    """The loop's body with the moved layers' outputs in place of the inputs they read."""
    old: Graph = node.attrs["body"]
    carried = int(node.attrs["carried"])
    builder = Builder(old.name, track=False)
    env = {i: builder.share(a) for i, a in old.constants.items()}
    names = [*[None] * carried, *net.inputs]
    outs: dict[str, Ref] = {}
    for port, name in zip(old.inputs, names, strict=True):
        t = old.types[port.value]
        if name in moved:
            layer = net.layers[moved[name]]
            outs[moved[name]] = builder.input(port.name, TensorType((*t.known[:lead], layer.shape[0]), t.dtype))
        else:
            env[port.value] = builder.input(port.name, t)
    by_value = {v: n for n, v in _outputs(old, net).items()}
    for inner in old.nodes:
        name = by_value.get(inner.outputs[0])
        if name in outs:
            env[inner.outputs[0]] = outs[name]
            continue
        with builder.at(inner.where, inner.name):
            made = builder.emit(inner.op, [env[i] for i in inner.inputs], inner.attrs)
        env |= zip(inner.outputs, made, strict=True)
    return builder.build([env[p.value] for p in old.outputs], prune=False)


def _outputs(body: Graph, net: Network) -> dict[str, int]:
    """Layer -> the value of its output: layers keep the names of their nodes, in order."""
    nodes = [n for n in body.nodes if n.op.name in {layer.op for layer in net.layers.values()}]
    return {name: n.outputs[0] for name, n in zip(net.layers, nodes, strict=True)}


__all__ = ["first_synapses", "hoisted"]
