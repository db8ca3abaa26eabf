"""What a spiking network does in a step: neuron updates, synaptic events and spikes, at a given activity.

    events of a layer = sum over its synapses of the activity of their source;  x steps in a run

Activity is the share of sources that spike in a step. Layers are counted one by one; sources are taken to spike
independently of each other. A chip joins linear layers, and counts its own synapses (`hetero.chip.expect`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from threading import RLock

import numpy as np

from hetero.errors import GraphError
from hetero.graph.ir import Graph, Node
from hetero.op import Array
from hetero.spiking.layers import KINDS, Layer, Shape
from hetero.spiking.network import Network
from hetero.spiking.read import Loop, loop_of

JOINED = frozenset({"add", "broadcast_to"})  # what a step of a network has beside its layers
KEPT = 32  # loops remembered
_kept: OrderedDict[int, tuple[Graph, Loop | None]] = OrderedDict()
_lock = RLock()


@dataclass(frozen=True, slots=True)
class LayerWork:
    """One layer in one step, for one sample. `idle` are the updates of neurons that get nothing, `events` the
    synapses that a spike passes, out of `synapses` with a weight that is not zero."""

    name: str
    op: str
    updates: int = 0
    idle: float = 0.0
    spikes: float = 0.0
    synapses: int = 0
    events: float = 0.0


def is_neuron(layer: Layer) -> bool:
    """Whether what it gives are spikes, or a neuron's voltage."""
    return layer.kind.neuron or layer.op == "threshold"


def gives_spikes(layer: Layer) -> bool:
    """Whether what it gives are spikes."""
    return is_neuron(layer) and layer.op not in ("li", "cuba_li", "i")


def spiking_loop(node: Node) -> Loop | None:
    """The network of a `scan` whose body is one with neurons; None of any other node, and of one that learns: what
    it does in a step is its ops' cost, not its spikes'."""
    if node.op.name != "scan":
        return None
    body: Graph = node.attrs["body"]
    with _lock:
        known = _kept.get(id(body))
        if known is not None and known[0] is body:
            return known[1]
    found = _read(node, body)
    with _lock:
        _kept[id(body)] = body, found  # the body is held, so that its id stays its own
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def _read(node: Node, body: Graph) -> Loop | None:
    carried = int(node.attrs["carried"])
    layers = {i for n in body.nodes if n.op.name in KINDS for i in n.outputs}
    layers |= {p.value for p in body.inputs[carried:]}
    names = {n.op.name for n in body.nodes}
    if any(KINDS[n].learns for n in names & set(KINDS)):
        return None
    neurons = any(KINDS[n].neuron or n == "threshold" for n in names & set(KINDS))
    if not neurons or names - set(KINDS) - JOINED or any(p.value not in layers for p in body.outputs[:carried]):
        return None
    try:
        return loop_of(node)
    except GraphError:
        return None


def layer_works(net: Network, activity: float) -> tuple[LayerWork, ...]:
    """Every layer in the order of a step, where inputs and neurons spike with this share."""
    share = dict.fromkeys((*net.inputs, *net.layers), activity)
    for name in net.order:  # what a delayed edge brings is known the second time
        _layer(net, net.layers[name], share, activity)
    return tuple(_layer(net, net.layers[name], share, activity) for name in net.order)


def _layer(net: Network, layer: Layer, share: dict[str, float], activity: float) -> LayerWork:
    """One layer; `share` gets how many of its elements are not zero."""
    into = net.into.get(layer.name, [])
    none = prod(1.0 - share[e.source] for e in into)  # nothing comes to an element
    if is_neuron(layer):
        n = layer.size
        direct = n * sum(e.source in net.inputs or is_neuron(net.layers[e.source]) for e in into)
        return LayerWork(layer.name, layer.op, n, n * none, n * activity, direct, direct * activity)
    rule = _FAN_IN.get(layer.op)
    if rule is None or not into:  # only passes things on
        share[layer.name] = 1.0 - none
        return LayerWork(layer.name, layer.op)
    count = rule(layer, _shape(net, into[0].source))
    bias = layer.parameters.get("bias")
    always = bias is not None and bool(bias.any())
    share[layer.name] = 1.0 if always or not count.size else 1.0 - float(np.mean(none**count))
    synapses = round(float(count.mean()) * layer.size) if count.size else 0
    return LayerWork(layer.name, layer.op, synapses=synapses, events=synapses * (1.0 - none))


def _shape(net: Network, name: str) -> Shape:
    return net.layers[name].shape if name in net.layers else net.inputs[name]


# -- synapses of each element, or of as many of them as have the same mean -----------------------------------


def _dense(layer: Layer, x: Shape) -> Array:
    return np.count_nonzero(layer.parameters["weight"], axis=1)


def _sparse(layer: Layer, x: Shape) -> Array:
    p = layer.parameters
    return np.bincount(p["target"][p["weight"] != 0], minlength=int(layer.attrs["size"]))


def _conv(layer: Layer, x: Shape) -> Array:
    return _windows(layer, x, np.count_nonzero(layer.parameters["weight"], axis=(0, 1)) / layer.shape[0])


def _pool(layer: Layer, x: Shape) -> Array:
    return _windows(layer, x, np.ones(layer.attrs["kernel"]))


def _windows(layer: Layer, x: Shape, weights: Array) -> Array:
    """(places,) weights (*k), those of all channels, that lie inside x at each place of an output"""
    a = layer.attrs
    spatial, out = x[1:], layer.shape[1:]
    dilations = a.get("dilations", (1,) * len(spatial))
    count = weights.astype(np.float64)
    for axis, (n, size) in enumerate(zip(out, spatial, strict=True)):
        k = weights.shape[axis]
        at = np.arange(n)[:, None] * a["strides"][axis] + np.arange(k) * dilations[axis] - a["pads_before"][axis]
        inside = ((at >= 0) & (at < size)).astype(np.float64)  # (n, k)
        count = np.moveaxis(np.tensordot(inside, count, axes=(1, axis)), 0, axis)
    return count.reshape(prod(out))


_FAN_IN: dict[str, Callable[[Layer, Shape], Array]] = {
    "synapse_dense": _dense, "synapse_delayed": _dense, "synapse_sparse": _sparse, "synapse_conv": _conv,
    "synapse_dense_int8": _dense, "synapse_sparse_int8": _sparse, "synapse_conv_int8": _conv, "sum_pool": _pool,
}  # fmt: skip
