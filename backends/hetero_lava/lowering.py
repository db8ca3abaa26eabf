"""From a loop over time to a description of Lava processes, or the reason why there is none.

What Lava's models do differently from hetero's ops, or do not have, is refused here, before anything runs: a model that
raises would stop Lava for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.errors import GraphError
from hetero.graph.ir import Node
from hetero.op import Array
from hetero.ops.loihi_learning import STATES
from hetero.ops.loihi_rules import TRACES, text
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network
from hetero.spiking.read import Loop, loop_of
from hetero_lava.reach import check_reach

SYNAPSES = {
    "synapse_dense": "dense", "synapse_delayed": "delayed", "synapse_sparse": "sparse", "synapse_conv": "conv",
    "loihi_learn_dense": "plastic",
}  # fmt: skip
IN_LAVA = {"weight": "weights"}  # states of a layer that learns, where Lava calls them something else
MOST_DELAY = 63  # Loihi 2 has 6 bits for it
MOST_DECAY, MOST_THRESHOLD = 4095, 2**17 - 1
MANTISSA, MOST_EXPONENT = 2**12, 7  # of a bias: -2^12 .. 2^12 - 1, times 2^0 .. 2^7


class RefusedError(Exception):
    """Why Lava does not run a loop."""


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A loop as Lava runs it. `description` is what the worker builds, from `arrays`."""

    loop: Loop
    steps: int
    description: dict[str, Any]
    arrays: dict[str, Array]


def lower(node: Node, steps: int, graded: frozenset[str] = frozenset()) -> Lowered:
    """The loop of a `scan` node; a RefusedError says what Lava lacks. `graded`: inputs of more than 0 and 1."""
    try:
        loop = loop_of(node)
    except GraphError as e:
        raise RefusedError(e.problem) from e
    net = loop.network
    _check_network(loop)
    layers: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for name, layer in net.layers.items():
        if layer.op == "flatten":
            continue
        made, given = _lif(layer) if layer.op == "loihi_lif" else _synapse(net, layer)
        layers[name] = {"shape": layer.shape, "traces": _traces(loop, layer), **made}
        layers[name]["graded"] = len(net.into.get(name, ())) > 1 or any(e.source in graded for e in _into(net, name))
        arrays |= {f"{name}.{k}": a for k, a in given.items()}
    edges = [(e.source, e.target) for n in layers for e in _into(net, n)]
    if len(set(edges)) < len(edges):
        raise RefusedError(f"two edges from {_twice(edges)}")
    if not graded:  # otherwise the values decide, which are not known yet
        check(net, steps, {})
    feeds = {s: net.inputs[s] for s, _ in edges if s in net.inputs}
    posts = [(layer.post, n) for n, layer in net.layers.items() if layer.post]
    description = {"steps": steps, "feeds": feeds, "layers": layers, "edges": edges, "posts": posts}
    return Lowered(loop, steps, description, arrays)


def check(net: Network, steps: int, inputs: Mapping[str, int], start: Mapping[str, int] | None = None) -> None:
    """A RefusedError where sums may become too large for 32 bits; `inputs` and `start` say how large values are."""
    reason = check_reach(net, steps, inputs, start or {})
    if reason:
        raise RefusedError(reason)


def source_of(net: Network, name: str) -> str:
    """The layer or input whose values `name` has: a flatten only gives them another shape."""
    while name in net.layers and net.layers[name].op == "flatten":
        name = net.into[name][0].source
    return name


def _into(net: Network, name: str) -> list[Edge]:
    return [Edge(source_of(net, e.source), name, e.delayed) for e in net.into.get(name, ())]


def _twice(edges: list[tuple[str, str]]) -> str:
    return " to ".join(next(e for e in edges if edges.count(e) > 1))


# -- the network ----------------------------------------------------------------------------------------------


def _check_network(loop: Loop) -> None:
    net = loop.network
    if net.dtype != dt.int32:
        raise RefusedError(
            f"lava runs Loihi's integers, this network is {net.dtype.name}: hetero.quantize_loihi makes one"
        )
    if loop.lead:
        raise RefusedError("a batch axis: lava runs one sample at a time")
    if len(set(loop.carried)) < len(loop.carried):
        raise RefusedError("one state is carried twice")
    for layer in net.layers.values():
        if layer.op not in ("loihi_lif", "flatten", *SYNAPSES):
            raise RefusedError(f"{layer.name}: lava has no {layer.op} in Loihi's arithmetic")
        if not layer.size:
            raise RefusedError(f"{layer.name}: it has no elements")
        if layer.post and net.layers[layer.post].op != "loihi_lif":
            raise RefusedError(f"{layer.name}: it learns from {layer.post}, which is no loihi_lif")
        if layer.op == "flatten" and len(net.into.get(layer.name, ())) != 1:
            raise RefusedError(f"{layer.name}: a flatten of several edges")
    for edge in net.edges:
        if edge.target in net.layers:
            _check_edge(net, edge)


def _check_edge(net: Network, edge: Edge) -> None:
    """Lava's synapses hand over in the next step what they take in this one; nothing else waits."""
    source, target = net.layers.get(edge.source), net.layers[edge.target]
    if source is not None and source.op in SYNAPSES:
        if target.op != "loihi_lif":
            raise RefusedError(f"{target.name}: a synapse in front of {target.op}; lava's synapses end at neurons")
        if not edge.delayed:
            raise RefusedError(
                f"{target.name}: the edge from {source.name} is not delayed; lava's synapses hand over a step later"
            )
    elif edge.delayed:
        raise RefusedError(
            f"{target.name}: the edge from {edge.source} is delayed; in lava only those from synapses are"
        )


def _traces(loop: Loop, layer: Layer) -> list[str]:
    """What the worker must keep of each step, besides a neuron's spikes."""
    shown = {s for n, s in loop.shown if n == layer.name}
    if layer.op == "loihi_lif":
        return sorted(shown & {"u", "v"})
    wanted = "" in shown or any(e.source == layer.name and e.target in loop.network.outputs for e in loop.network.edges)
    return ["y"] * wanted + ["a_buff"] * ("line" in shown) + [IN_LAVA.get(s, s) for s in STATES if s in shown]


# -- layers ---------------------------------------------------------------------------------------------------


def _lif(layer: Layer) -> tuple[dict[str, Any], dict[str, Array]]:
    """Decays and threshold once where they are the same for all neurons; the bias as mantissa and exponent."""
    given = dict(layer.parameters)
    for name, most in (("du", MOST_DECAY), ("dv", MOST_DECAY), ("vth", MOST_THRESHOLD)):
        _within(layer, name, given[name], 0, most)
    decays = {k: given[k] for k in ("du", "dv", "vth")}
    if all(a.min() == a.max() for a in decays.values()):
        decays = {k: a.reshape(-1)[:1].reshape(()) for k, a in decays.items()}
    else:
        decays = {k: np.broadcast_to(a, layer.shape) for k, a in decays.items()}
    mantissa, exponent = _bias(layer, np.broadcast_to(given["bias"], layer.shape))
    return {"op": "lif"}, decays | {"bias_mant": mantissa, "bias_exp": exponent}


def _bias(layer: Layer, bias: Array) -> tuple[Array, Array]:
    """bias = mantissa 2^exponent, with the smallest exponent that does it"""
    mantissa, exponent = bias.astype(np.int32), np.zeros(bias.shape, np.int32)
    for _ in range(MOST_EXPONENT):
        wide = (mantissa < -MANTISSA) | (mantissa >= MANTISSA)
        wide &= mantissa % 2 == 0
        mantissa, exponent = np.where(wide, mantissa >> 1, mantissa), exponent + wide
    wrong = (mantissa < -MANTISSA) | (mantissa >= MANTISSA)
    if wrong.any():
        raise RefusedError(
            f"{layer.name}: a bias of {bias[wrong][0]} is no mantissa of 13 bits times 2^0 .. 2^{MOST_EXPONENT}"
        )
    return mantissa, exponent.astype(np.int32)


def _synapse(net: Network, layer: Layer) -> tuple[dict[str, Any], dict[str, Array]]:
    if not net.into.get(layer.name):
        raise RefusedError(f"{layer.name}: nothing comes to it")
    given = dict(layer.parameters)
    if given.pop("bias", np.zeros(1)).any():
        raise RefusedError(f"{layer.name}: lava's synapses have no bias; give it to the neurons")
    made, arrays = _OF[layer.op](net, layer, given)
    return {"op": SYNAPSES[layer.op], "exponent": int(layer.attrs.get("exponent", 0)), **made}, arrays


def _dense(net: Network, layer: Layer, given: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    return {"sign": _sign(layer, given["weight"])}, given


def _plastic(net: Network, layer: Layer, given: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The weights are a state: they come with each run."""
    a = layer.attrs
    times = {f"{t}_{what}": float(a[f"{t}_{what}"]) for t in TRACES for what in ("impulse", "tau")}
    sources = layer.start["weight"].shape[1]
    made = {"rule": text(a["rule"]), "seed": int(a["seed"]), "times": times, "sources": sources}
    return {"sign": str(a["sign"]).upper(), **made}, given


def _delayed(net: Network, layer: Layer, given: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    _within(layer, "delay", given["delay"], 0, MOST_DELAY)
    return {"sign": _sign(layer, given["weight"]), "depth": int(given["delay"].max())}, given


def _sparse(net: Network, layer: Layer, given: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    """One weight for each pair: several from one neuron to another are added up"""
    sources = int(np.prod(_input_shape(net, layer)))
    place = given["target"].astype(np.int64) * sources + given["source"]
    pairs, where = np.unique(place, return_inverse=True)
    weight = np.zeros(pairs.size, np.int64)
    np.add.at(weight, where, given["weight"])
    sign = _sign(layer, weight)
    target, source = np.divmod(pairs, sources)
    merged = {"weight": weight, "source": source, "target": target}
    return {"sign": sign, "sources": sources}, {k: a.astype(np.int32) for k, a in merged.items()}


def _conv(net: Network, layer: Layer, given: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Lava's fixed-point Conv keeps weights as they are and looks at no exponent: one to the left goes into them"""
    attrs, exponent = layer.attrs, int(layer.attrs.get("exponent", 0))
    if given["weight"].ndim != 4:
        raise RefusedError(f"{layer.name}: a convolution over {given['weight'].ndim - 2} axes; lava's has two")
    if tuple(attrs["pads_before"]) != tuple(attrs["pads_after"]):
        raise RefusedError(
            f"{layer.name}: pads {attrs['pads_before']} before and {attrs['pads_after']} after; lava has one"
        )
    if exponent < 0:
        raise RefusedError(
            f"{layer.name}: a convolution with exponent {exponent}; lava's Conv shifts nothing to the right"
        )
    _within(layer, "weight", given["weight"], -256, 255)
    made = {
        "source_shape": _input_shape(net, layer), "pads": attrs["pads_before"], "strides": attrs["strides"],
        "dilations": attrs["dilations"], "groups": int(attrs.get("groups", 1)),
    }  # fmt: skip
    _within(layer, "a pad, stride or dilation", np.array([made[k] for k in ("pads", "strides", "dilations")]), 0, 127)
    return made, {"weight": given["weight"] << exponent}


_OF: dict[str, Callable[[Network, Layer, dict[str, Array]], tuple[dict[str, Any], dict[str, Array]]]] = {
    "synapse_dense": _dense,
    "loihi_learn_dense": _plastic,
    "synapse_delayed": _delayed,
    "synapse_sparse": _sparse,
    "synapse_conv": _conv,
}


def _input_shape(net: Network, layer: Layer) -> tuple[int, ...]:
    name = net.into[layer.name][0].source
    return net.layers[name].shape if name in net.layers else net.inputs[name]


def _sign(layer: Layer, weight: Array) -> str:
    """Which of Lava's sign modes keeps all the weights; a block of mixed signs has steps of 2"""
    low, high = (int(weight.min()), int(weight.max())) if weight.size else (0, 0)
    if low >= 0 and high <= 255:
        return "EXCITATORY"
    if high <= 0 and low >= -255:
        return "INHIBITORY"
    if low >= -256 and high <= 254 and not (weight % 2).any():
        return "MIXED"
    raise RefusedError(
        f"{layer.name}: weights of {low} to {high} are not what Loihi keeps (255 at most, even where signs are mixed): "
        "hetero.ops.loihi.effective_weights gives those"
    )


def _within(layer: Layer, name: str, values: Array, low: int, high: int) -> None:
    if values.size and (values.min() < low or values.max() > high):
        raise RefusedError(f"{layer.name}: {name} of {values.min()} to {values.max()}; Loihi has {low} to {high}")
