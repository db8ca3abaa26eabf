"""Random spiking networks in Loihi's arithmetic, with input spikes: small, and of values at which integers wrap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.op import Array
from hetero.ops.loihi import TOP, WEIGHT_SHIFT, effective_weights
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Edge, Network

MOST_NEURONS = 20
MOST_DELAY = 8
MOST_STEPS = 50


def random_loihi(seed: int) -> tuple[Network, dict[str, Array]]:
    """A network of one to three layers of neurons and spikes (steps, *shape) for it, the same for the same seed.

    Synapses are dense, sparse, delayed or convolutions, excitatory, inhibitory or mixed; some layers read themselves or
    a later one. Every edge from a synapse is delayed, as on the chip.
    """
    rng = np.random.default_rng(seed)
    image = rng.random() < 0.2
    shape: Shape = (int(rng.integers(1, 4)), *map(int, rng.integers(4, 9, 2))) if image else (_size(rng),)
    made = _Made(rng, {"spikes": shape})
    before = "spikes"
    for k in range(int(rng.integers(1, 4))):
        before = made.neurons(f"lif{k}", before, shape, conv=image and k == 0)
        shape = made.shapes[before]
    made.loops()
    edges = (*made.edges, *(Edge(n, f"out_{n}") for n in made.neurons_of))
    net = Network({"spikes": made.shapes["spikes"]}, made.layers, tuple(f"out_{n}" for n in made.neurons_of), edges,
                  dt.int32, f"loihi{seed}")  # fmt: skip
    steps = int(rng.integers(5, MOST_STEPS))
    spikes = rng.random((steps, *made.shapes["spikes"])) < rng.choice([0.1, 0.5, 0.9])
    return net.check(), {"spikes": spikes.astype(np.int32)}


class _Made:
    """A network that grows."""

    def __init__(self, rng: np.random.Generator, shapes: dict[str, Shape]) -> None:
        self.rng, self.shapes = rng, shapes
        self.layers: dict[str, Layer] = {}
        self.edges: list[Edge] = []
        self.neurons_of: list[str] = []

    def neurons(self, name: str, source: str, shape: Shape, *, conv: bool) -> str:
        """A layer of neurons behind one or two synapses from `source`, or behind the input itself."""
        if conv:
            shape = self._conv(f"{name}.conv", source)
        elif len(self.shapes[source]) > 1:
            flat, rank = f"{name}.flat", len(self.shapes[source])
            self._add(Layer(flat, "flatten", {}, {"rank": rank, "start": 0, "end": rank - 1}), source)
            self.shapes[flat] = (int(np.prod(self.shapes[source])),)
            shape = (_size(self.rng),)
            self._synapse(f"{name}.in", flat, shape[0])
        else:
            shape = (_size(self.rng),)
            self._synapse(f"{name}.in", source, shape[0])
            if self.rng.random() < 0.25:
                self._synapse(f"{name}.too", source, shape[0])
        self.layers[name] = self._lif(name, shape)
        self.edges += [Edge(s, name, delayed=True) for s in self.layers if s.startswith(f"{name}.") and "flat" not in s]
        self.shapes[name] = shape
        self.neurons_of.append(name)
        return name

    def loops(self) -> None:
        """Synapses back to the same layer, or to an earlier one."""
        for k, source in enumerate(self.neurons_of):
            target = self.neurons_of[int(self.rng.integers(0, k + 1))]
            if self.rng.random() < 0.4 and len(self.shapes[source]) == len(self.shapes[target]) == 1:
                name = f"{source}.to.{target}"
                self._synapse(name, source, self.shapes[target][0])
                self.edges.append(Edge(name, target, delayed=True))

    def _add(self, layer: Layer, source: str) -> None:
        self.layers[layer.name] = layer
        self.edges.append(Edge(source, layer.name))

    def _lif(self, name: str, shape: Shape) -> Layer:
        """Half of them with one decay and threshold for all neurons; thresholds from tiny to the largest."""
        alike = self.rng.random() < 0.5
        given: dict[str, Array] = {}
        for what, most in (("du", 4096), ("dv", 4096), ("vth", 2 ** int(self.rng.integers(4, 18)))):
            values = self.rng.integers(0, most, () if alike else shape)
            given[what] = np.broadcast_to(values, shape).astype(np.int32)
        if self.rng.random() < 0.3:
            given["dv"] = np.zeros(shape, np.int32)
        bias = self.rng.integers(-4096, 4096, shape) << int(self.rng.integers(0, 8))
        given["bias"] = (bias * (self.rng.random() < 0.5)).astype(np.int32)
        return Layer(name, "loihi_lif", given)

    def _synapse(self, name: str, source: str, targets: int) -> None:
        sources = self.shapes[source][0]
        kind = str(self.rng.choice(["synapse_dense", "synapse_delayed", "synapse_sparse"]))
        weight = self._weights((targets, sources))
        attrs: dict[str, Any] = {"exponent": int(self.rng.integers(-4, 8)), "saturate": 0}
        given: dict[str, Array] = {"weight": weight}
        if kind == "synapse_delayed":
            given["delay"] = self.rng.integers(0, MOST_DELAY, weight.shape).astype(np.int32)
        if kind == "synapse_sparse":
            target, at = np.nonzero(weight)
            given = {"weight": weight[target, at], "source": at.astype(np.int32), "target": target.astype(np.int32)}
            attrs["size"] = targets
        self._add(Layer(name, kind, given, attrs), source)
        self.shapes[name] = (targets,)

    def _weights(self, shape: Shape) -> Array:
        """Mixed signs in half of them, some zeros, as Loihi keeps them."""
        low, high = {0: (0, 256), 1: (-255, 1)}.get(int(self.rng.integers(0, 4)), (-255, 256))
        weight = self.rng.integers(low, high, shape) * (self.rng.random(shape) < 0.8)
        return effective_weights(weight.astype(np.int32))

    def _conv(self, name: str, source: str) -> Shape:
        """A convolution of one exponent; the shape of what it gives."""
        c, *size = self.shapes[source]
        groups = c if self.rng.random() < 0.3 else 1
        out = groups * int(self.rng.integers(1, 3))
        kernel = self.rng.integers(1, 4, 2)
        pads, strides = self.rng.integers(0, 2, 2), self.rng.integers(1, 3, 2)
        attrs: dict[str, Any] = {
            "strides": tuple(map(int, strides)), "dilations": (1, 1), "pads_before": tuple(map(int, pads)),
            "pads_after": tuple(map(int, pads)), "groups": groups, "exponent": int(self.rng.integers(0, 6)),
            "saturate": 0,
        }  # fmt: skip
        weight = self._weights((out, c // groups, *map(int, kernel)))
        self._add(Layer(name, "synapse_conv", {"weight": weight}, attrs), source)
        inner = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, pads, kernel, strides, strict=True)]
        self.shapes[name] = (out, *map(int, inner))
        return self.shapes[name]


def _size(rng: np.random.Generator) -> int:
    return int(rng.integers(1, MOST_NEURONS))


def count_limits(net: Network, recorded: Mapping[str, Array]) -> tuple[int, int]:
    """How often a current wrapped and a voltage stopped at its lower end; `recorded` is what `record=True` gave."""
    wraps = clips = 0
    for name, layer in net.layers.items():
        if layer.op != "loihi_lif":
            continue
        u = recorded[f"{name}.u"].astype(np.int64)
        before = np.concatenate((np.zeros_like(u[:1]), u[:-1]))
        sums = np.zeros_like(u)
        for edge in net.into[name]:
            sums[1:] += recorded[edge.source][:-1]
        wide = before * (4095 - layer.parameters["du"].astype(np.int64))
        whole = np.sign(wide) * (np.abs(wide) >> 12) + (sums << WEIGHT_SHIFT)
        wraps += int((whole != u).sum())
        clips += int((recorded[f"{name}.v"] == 1 - TOP).sum())
    return wraps, clips
