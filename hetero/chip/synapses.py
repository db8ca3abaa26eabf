"""Every synapse of a network, by neuron: what layers between neurons connect, as one list for each layer of neurons.

Between two layers of neurons stand any number of linear ones (a pool, then a convolution); a chip keeps their product.
A synapse is a pair of neurons with a weight that is not zero and a delay; biases are no synapses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from hetero.errors import GraphError
from hetero.op import Array
from hetero.spiking.int8 import in_floats
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Network

POPULATION = ("threshold",)  # neurons without a state, beside the kinds that say they are neurons


def is_neuron(layer: Layer) -> bool:
    return layer.kind.neuron or layer.op in POPULATION


@dataclass(frozen=True, slots=True, eq=False)
class Synapses:
    """Synapses as four lists; `stored` weights where a kernel is shared by many of them, -1 where each has its own."""

    target: Array
    source: Array
    weight: Array
    delay: Array
    stored: int = -1

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A layer of neurons with all that comes to it: rows of a sparse matrix, sources numbered over the whole network.

    Neuron k has synapses start[k] to start[k + 1], sorted by source. `part` says which way of layers a synapse is of;
    `kernels` counts the weights of shared kernels, and is -1 where synapses have weights of their own.
    """

    layer: Layer
    first: int  # the number of its first neuron among all inputs and neurons
    start: Array
    source: Array
    weight: Array
    delay: Array
    part: Array
    kernels: int

    @property
    def size(self) -> int:
        return len(self.start) - 1

    @property
    def target(self) -> Array:
        """The neuron of each synapse."""
        return np.repeat(np.arange(self.size), np.diff(self.start))


def readouts(net: Network) -> list[tuple[str, str]]:
    """Outputs, each with a layer that gives it and leads to no neurons. One that is shown on its way to neurons is only
    looked at."""
    leads = {n for n, a in net.layers.items() if is_neuron(a)}
    waiting = list(leads)
    while waiting:
        before = {e.source for e in net.into.get(waiting.pop(), ())} - leads
        leads |= before
        waiting += [n for n in before if n in net.layers]
    return [(out, e.source) for out in net.outputs for e in net.into[out] if e.source in set(net.layers) - leads]


def populations(net: Network, *, crossbar: bool, sums: bool = False) -> tuple[dict[str, int], list[Population]]:
    """Where the numbers of each input and layer of neurons begin, and the layers in the order of a step.

    A crossbar has one synapse for an axon and a neuron: what several ways of layers connect is added up. `sums`: layers
    that give an output without neurons come last; nothing reads them.
    """
    sizes = {n: prod(s) for n, s in net.inputs.items()}
    sizes |= {n: net.layers[n].size for n in net.order if is_neuron(net.layers[n])}
    firsts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    finder = _Finder(net, sizes)
    found = [_population(finder, net.layers[n], firsts, crossbar) for n in sizes if n in net.layers]
    for name in dict.fromkeys(n for _, n in readouts(net)) if sums else ():
        last = {name: sum(sizes.values()) + sum(net.layers[n].size for n in firsts.keys() - sizes.keys())}
        firsts |= last
        found.append(_population(finder, net.layers[name], firsts, crossbar))
    return firsts, found


def _population(finder: _Finder, layer: Layer, firsts: Mapping[str, int], crossbar: bool) -> Population:
    parts = finder.into(layer.name, ()) if is_neuron(layer) else finder.out_of(layer.name, ())
    target = np.concatenate([p.target for _, p in parts] or [np.empty(0, np.int64)])
    source = np.concatenate([p.source + firsts[n] for n, p in parts] or [np.empty(0, np.int64)])
    weight = np.concatenate([p.weight for _, p in parts] or [np.empty(0)])
    delay = np.concatenate([p.delay for _, p in parts] or [np.empty(0, np.int64)])
    part = np.repeat(np.arange(len(parts)), [len(p) for _, p in parts]) * (not crossbar)
    merged, order = _merged(Synapses(target, source, weight, delay), part)
    start = np.zeros(layer.size + 1, np.int64)
    np.cumsum(np.bincount(merged.target, minlength=layer.size), out=start[1:])
    stored = [p.stored for _, p in parts]
    kernels = sum(stored) if stored and min(stored) >= 0 else -1
    return Population(
        layer, firsts[layer.name], start, merged.source, merged.weight, merged.delay, part[order], kernels
    )


def _merged(s: Synapses, part: Array) -> tuple[Synapses, Array]:
    """Synapses of the same pair, delay and part as one, those without a weight gone; sorted, and where they stood."""
    order = np.lexsort((part, s.delay, s.source, s.target))
    target, source, delay = s.target[order], s.source[order], s.delay[order]
    new = np.ones(len(order), bool)
    new[1:] = np.logical_or.reduce([np.diff(a) != 0 for a in (target, source, delay, part[order])])
    at = np.flatnonzero(new)
    weight = np.add.reduceat(s.weight[order], at) if at.size else s.weight[:0]
    kept = weight != 0
    at = at[kept]
    return Synapses(target[at], source[at], weight[kept], delay[at], s.stored), order[at]


class _Finder:
    """Follows edges back to inputs and neurons."""

    def __init__(self, net: Network, sizes: Mapping[str, int]) -> None:
        self.net, self.sizes = net, sizes
        self._known: dict[str, list[tuple[str, Synapses]]] = {}

    def into(self, name: str, seen: tuple[str, ...]) -> list[tuple[str, Synapses]]:
        """Source and synapses of all that comes to a layer or an output."""
        if name in seen:
            raise GraphError(
                f"{self.net.name}: {' and '.join(seen)} are a loop without neurons", hint="put neurons into the loop"
            )
        found: list[tuple[str, Synapses]] = []
        for edge in self.net.into.get(name, ()):
            late = int(edge.delayed)
            for source, s in self.out_of(edge.source, (*seen, name)):
                found.append((source, Synapses(s.target, s.source, s.weight, s.delay + late, s.stored)))
        return found

    def out_of(self, name: str, seen: tuple[str, ...]) -> list[tuple[str, Synapses]]:
        if name in self.sizes:
            return [(name, _diagonal(np.ones(self.sizes[name])))]
        if name not in self._known:
            layer = in_floats(self.net.layers[name])
            if layer.kind.learns:
                raise GraphError(
                    f"{self.net.name}: {name} learns, and virtual chips do not",
                    hint="map it with the weights as they are in the end, as a synapse_dense",
                )
            before = self.into(name, seen)
            own = _shifted(MADE[layer.op](layer, self._input_shape(layer)), layer.attrs.get("exponent", 0))
            self._known[name] = [(source, _after(own, s)) for source, s in before]
        return self._known[name]

    def _input_shape(self, layer: Layer) -> Shape:
        shapes = {e.source: self.net.inputs.get(e.source) for e in self.net.into.get(layer.name, ())}
        known = [s if s is not None else self.net.layers[n].shape for n, s in shapes.items()]
        return known[0] if known else layer.shape


def _after(b: Synapses, a: Synapses) -> Synapses:
    """What a and then b connect. A pair that is joined in several ways has the sum of the products."""
    order = np.argsort(a.target, kind="stable")
    most = int(max(a.target.max(initial=-1), b.source.max(initial=-1))) + 1
    start = np.zeros(most + 1, np.int64)
    np.cumsum(np.bincount(a.target, minlength=most), out=start[1:])
    count = start[b.source + 1] - start[b.source]
    of_b = np.repeat(np.arange(len(b)), count)
    within = np.arange(len(of_b)) - np.repeat(np.cumsum(count) - count, count)
    of_a = order[start[b.source[of_b]] + within]
    stored = -1 if min(a.stored, b.stored) < 0 else a.stored + b.stored
    joined = Synapses(
        b.target[of_b], a.source[of_a], b.weight[of_b] * a.weight[of_a], b.delay[of_b] + a.delay[of_a], stored
    )
    return joined if count.max(initial=0) <= 1 else _merged(joined, np.zeros(len(joined), np.int64))[0]


def _shifted(s: Synapses, exponent: int) -> Synapses:
    """Weights with their layer's power of two; one that divides is of the sum, and stays with the layer."""
    return s if exponent <= 0 else Synapses(s.target, s.source, s.weight * 2.0**exponent, s.delay, s.stored)


# -- one layer ------------------------------------------------------------------------------------------------


def _diagonal(weight: Array, delay: Array | None = None, stored: int = 0) -> Synapses:
    each = np.arange(weight.size)
    late = np.zeros(weight.size, np.int64) if delay is None else delay.ravel().astype(np.int64)
    return Synapses(each, each, weight.ravel().astype(np.float64), late, stored)


def _dense(layer: Layer, x: Shape) -> Synapses:
    weight = layer.parameters["weight"]
    target, source = np.nonzero(weight)
    delay = layer.parameters.get("delay")
    late = np.zeros(len(target), np.int64) if delay is None else delay[target, source].astype(np.int64)
    return Synapses(target, source, weight[target, source].astype(np.float64), late)


def _sparse(layer: Layer, x: Shape) -> Synapses:
    p = layer.parameters
    late = np.zeros(p["weight"].size, np.int64)
    return Synapses(p["target"].astype(np.int64), p["source"].astype(np.int64), p["weight"].astype(np.float64), late)


def _conv(layer: Layer, x: Shape) -> Synapses:
    a = layer.attrs
    return _windows(
        layer.parameters["weight"], x, layer.shape, a["strides"], a["dilations"], a["pads_before"], a["groups"]
    )


def _pool(layer: Layer, x: Shape) -> Synapses:
    """A convolution by ones, each channel alone."""
    a = layer.attrs
    one = np.ones((x[0], 1, *a["kernel"])) / (prod(a["kernel"]) if a["mean"] else 1)
    ones = (1,) * len(a["kernel"])
    made = _windows(one, x, layer.shape, a["strides"], ones, a["pads_before"], x[0])
    return Synapses(made.target, made.source, made.weight, made.delay, 1)


def _windows(weight: Array, x: Shape, y: Shape, strides: Any, dilations: Any, before: Any, groups: int) -> Synapses:
    """The synapses of a convolution: weights (o, c / groups, *k), x (c, *s) -> y (o, *t)"""
    outs, per, kernel = weight.shape[0], weight.shape[1], weight.shape[2:]
    targets, sources, weights = [], [], []
    places = np.indices(y[1:]).reshape(len(kernel), -1)  # (axes, places)
    channel = np.arange(outs)[:, None] // (outs // groups) * per + np.arange(per)  # (o, c / groups)
    for at in product(*map(range, kernel)):
        where = [
            places[i] * strides[i] + at[i] * dilations[i] - before[i] for i in range(len(kernel))
        ]  # fmt: skip
        inside = np.logical_and.reduce([(w >= 0) & (w < n) for w, n in zip(where, x[1:], strict=True)])
        flat_in = np.ravel_multi_index([w[inside] for w in where], x[1:])
        flat_out = np.flatnonzero(inside)
        shape = (outs, per, int(inside.sum()))
        targets.append(np.broadcast_to((np.arange(outs)[:, None, None] * prod(y[1:]) + flat_out), shape).ravel())
        sources.append((channel[:, :, None] * prod(x[1:]) + flat_in).ravel())
        weights.append(np.broadcast_to(weight[(slice(None), slice(None), *at)][:, :, None], shape).ravel())
    weight_list = np.concatenate(weights).astype(np.float64)
    kept = weight_list != 0
    late = np.zeros(int(kept.sum()), np.int64)
    return Synapses(
        np.concatenate(targets)[kept], np.concatenate(sources)[kept], weight_list[kept], late, int(weight.size)
    )  # fmt: skip


def _scale(layer: Layer, x: Shape) -> Synapses:
    return _diagonal(layer.parameters["scale"], stored=-1)


def _flatten(layer: Layer, x: Shape) -> Synapses:
    return _diagonal(np.ones(prod(x)))


def _delay(layer: Layer, x: Shape) -> Synapses:
    return _diagonal(np.ones(prod(x)), layer.parameters["steps"])


MADE = {
    "synapse_dense": _dense, "synapse_delayed": _dense, "synapse_sparse": _sparse, "synapse_conv": _conv,
    "sum_pool": _pool, "synapse_scale": _scale, "flatten": _flatten, "delay": _delay,
}  # fmt: skip
