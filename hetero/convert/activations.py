"""ReLU networks in integers of a few bits: `quantize_activations(graph, data, bits=...)`, for Akida and NorthPole.

`hetero.to_snn` reads the graph: weights between activations that are 1 at their threshold, the largest activation seen
but for the few above a percentile. Here an activation a becomes one of 2^bits - 1 steps of threshold / (2^bits - 1),
weights become integers with one scale for each neuron or channel, and `quantized_relu` rounds to the nearest step:

    y = round((sum of w x + bias) / step) = ceil((sum of w x - (step / 2 - bias)) / step), cut to 0 .. 2^bits - 1

The scale of the weights is the least at which the largest fits its bits and `step` is a whole number, so that no
rounding of steps adds up from layer to layer. Biases are in the thresholds; the last layer gives sums. Post-training,
symmetric, one scale a channel: Krishnamoorthi, arXiv:1806.08342 (2018), section 3; hetero's own: whole steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from hetero import dtype as dt
from hetero.convert.snn import Converted, Per, to_snn
from hetero.convert.snn_layers import per_channel
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.ops.activation import MOST_BITS
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network

SYNAPSES = ("synapse_dense", "synapse_conv")
MOST_STEP = 2**20  # of a potential; beyond it no weight of 8 bits gains anything, and sums come near the end of int32
TOP = 2**31 - 1
CHUNK = 256  # samples in one run


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What one layer loses on the calibration data: the mean distance to the float activation, in its unit, beside the
    mean of that; and of its weights the root of the mean square, relative to the largest."""

    name: str
    bits: int
    step: tuple[int, int]  # the least and the largest
    weight_error: float
    error: float
    activation: float

    @property
    def relative(self) -> float:
        """The error as a part of the mean activation."""
        return self.error / self.activation if self.activation else 0.0

    def __str__(self) -> str:
        steps = f"{self.step[0]}" if self.step[0] == self.step[1] else f"{self.step[0]} to {self.step[1]}"
        errors = f"weights {self.weight_error:.2%}, activations {self.relative:.2%} of their mean"
        return f"{self.name}: {self.bits} bits, steps of {steps}; errors: {errors}"


@dataclass(frozen=True, eq=False)
class QuantizedActivations:
    """The network in integers, for one step a sample. A code of the input is `input_unit`, one of the output
    `output_unit` in the unit of the original, which stands in `original` with its thresholds."""

    network: Network
    original: Converted
    bits: int
    input_bits: int
    input_unit: float
    output_unit: float
    layers: tuple[LayerLoss, ...] = ()

    def prepare(self, data: Array, device: str | None = None) -> Array:
        """Samples (n, ...) as codes, int32 (n, *shape); what is over the largest of the calibration is cut to it."""
        codes = np.rint(self.original.prepare(data, device).astype(np.float64) / self.input_unit)
        return np.clip(codes, 0, 2**self.input_bits - 1).astype(np.int32)

    def build(self, *, batch: int | str | None = "batch", record: Collection[str] = ()) -> Graph:
        """The network as a graph of one step: codes (1, [batch,] *shape) -> sums (1, [batch,] k)"""
        return build(self.network, steps=1, batch=batch, record=record)

    def run(self, data: Array, device: str | None = None) -> Array:
        """The last value for samples (n, ...), in the original's unit: (n, k)"""
        return self.codes(data, device)[self.network.outputs[0]] * self.output_unit

    def codes(self, data: Array, device: str | None = None, record: Collection[str] = ()) -> dict[str, Array]:
        """Sums of the output, and codes of the layers in `record`, for samples (n, ...): int32 (n, *shape) each."""
        x = self.prepare(data)
        (given,) = self.network.inputs
        graph = self.build(record=record)
        rows = [graph.run({given: x[None, k : k + CHUNK]}, device=device) for k in range(0, len(x), CHUNK)]
        return {n: np.concatenate([r[n][0] for r in rows]) for n in rows[0]}

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))


def quantize_activations(
    graph: Graph, data: Array, *, bits: int, weight_bits: int, input_bits: int, percentile: float = 99.9,
    per: Per = "channel", device: str | None = None,
) -> QuantizedActivations:  # fmt: skip
    """A ReLU network (`graph`, with one input whose first axis is the batch) in integers.

    data         (n, ...) inputs of the graph, from 0 on, which thresholds and scales are measured on
    bits         of every activation, 1 to 8; Akida 1 has 1, 2 and 4, NorthPole 2, 4 and 8
    weight_bits  2 to 8, sign included
    input_bits   of the input, 1 to 8; Akida 1 takes 4, and 8 where a convolution comes first
    percentile   of the activations: the largest that is kept
    per          one threshold for each channel (or neuron of a dense layer), or for each layer

    A GraphError lists everything that has no such form.
    """
    _check(bits, weight_bits, input_bits)
    original = to_snn(graph, data, steps=1, percentile=percentile, per=per, device=device)
    x = original.prepare(data, device)
    if float(x.min()) < 0:
        raise GraphError(f"the input goes down to {float(x.min()):g}; codes begin at 0", hint="shift the data")
    unit = float(x.max()) / (2**input_bits - 1) or 1.0
    made = _Integers(original.network, bits, weight_bits, input_bits, unit)
    net = made.run()
    if made.wrong:
        lines = "\n".join(f"  {w}" for w in made.wrong)
        raise GraphError(f"{graph.name} cannot be put into integers:\n{lines}", hint="docs/chips.md says what can")
    done = QuantizedActivations(net.check(), original, bits, input_bits, unit, made.output_unit)
    return replace(done, layers=tuple(_losses(done, data, made.lost, device)))


def _check(bits: int, weight_bits: int, input_bits: int) -> None:
    given = {"bits": (bits, 1), "weight_bits": (weight_bits, 2), "input_bits": (input_bits, 1)}
    wrong = [
        f"{n} from {least} to {MOST_BITS}, not {b}" for n, (b, least) in given.items() if not least <= b <= MOST_BITS
    ]
    if wrong:
        raise GraphError(f"quantize_activations wants {'; '.join(wrong)}")


def _losses(done: QuantizedActivations, data: Array, lost: Mapping[str, float], device: str | None) -> list[LayerLoss]:
    names = [r.name for r in done.original.layers]
    found, exact = done.codes(data, record=names), done.original.activations(data, device)
    made: list[LayerLoss] = []
    for name in names:
        unit = done.original.network.layers[name].parameters["v_threshold"] / (2**done.bits - 1)
        step = done.network.layers[name].parameters["step"]
        error = float(np.abs(found[name] * unit - exact[name]).mean())
        steps = int(step.min()), int(step.max())
        made.append(LayerLoss(name, done.bits, steps, lost[name], error, float(np.abs(exact[name]).mean())))
    return made


class _Integers:
    """Makes the layers of a network that `to_snn` gave; `wrong` lists what has no such form."""

    def __init__(self, net: Network, bits: int, weight_bits: int, input_bits: int, input_unit: float) -> None:
        self.net, self.levels, self.most = net, 2**bits - 1, 2 ** (weight_bits - 1) - 1
        self.bits = bits
        self.unit: dict[str, float] = dict.fromkeys(net.inputs, input_unit)  # what a code is worth, by input or layer
        self.top: dict[str, int] = dict.fromkeys(net.inputs, int(2**input_bits - 1))  # the largest code
        self.layers: dict[str, Layer] = {}
        self.lost: dict[str, float] = {}
        self.output_unit = 1.0
        self.readout = ""
        self.wrong: list[str] = []

    def run(self) -> Network:
        for name in self.net.order:
            self._layer(self.net.layers[name])
        edges = [e for e in self.net.edges if self.readout not in (e.source, e.target)]
        edges += [Edge(e.source, n) for e in self.net.into.get(self.readout, ()) for n in self.net.outputs]
        layers = {n: self.layers[n] for n in self.net.layers if n in self.layers}
        return Network(self.net.inputs, layers, self.net.outputs, tuple(edges), dt.int32, self.net.name)

    def _layer(self, layer: Layer) -> None:
        into = [e.source for e in self.net.into.get(layer.name, ())]
        if layer.op in ("if", "i"):
            self._neurons(layer, into)
        elif layer.op in ("flatten", "sum_pool"):
            self._passes(layer, into)
        elif layer.op not in SYNAPSES:
            self.wrong.append(f"{layer.name}: {layer.op}, a factor beside no weights")

    def _passes(self, layer: Layer, into: list[str]) -> None:
        """Sums of windows; where they are means, the codes after them are worth less."""
        if len(into) != 1 or into[0] not in self.unit:
            self.wrong.append(f"{layer.name}: {layer.op} of what is no activation, or of several")
            return
        attrs, unit, count = dict(layer.attrs), self.unit[into[0]], 1
        if layer.op == "sum_pool":
            count = int(prod(attrs["kernel"]))
            unit = unit / count if attrs["mean"] else unit
            attrs["mean"] = False
        self.unit[layer.name], self.top[layer.name] = unit, self.top[into[0]] * count
        self.layers[layer.name] = Layer(layer.name, layer.op, {}, attrs)

    def _neurons(self, layer: Layer, into: list[str]) -> None:
        """A layer with all weights that come to it: they share one scale for each channel, and add up."""
        found = [self._weights(layer.name, name) for name in into]
        exact = [w for w in found if w is not None]
        if not exact or len(exact) < len(found):
            return
        largest = np.max([np.abs(w).reshape(len(w), -1).max(1) for w in exact], axis=0)
        bias = np.sum([self._bias(name) for name in into], axis=0)
        if layer.op == "i":
            scale = np.full(len(largest), float(largest.max()) / self.most or 1.0)
            self.readout, self.output_unit = layer.name, float(scale[0])
        else:
            scale = self._activation(layer, largest, bias)
        whole = [np.rint(w / _beside(scale, w)) for w in exact]
        tops = [self.top[self.net.into[n][0].source] for n in into]
        reach = sum(np.abs(w).reshape(len(w), -1).sum(1).max() * top for w, top in zip(whole, tops, strict=True))
        if reach > TOP:
            self.wrong.append(f"{layer.name}: its sums can reach {reach:.3g}, over 32 bits")
        kept = {"bias": np.clip(np.rint(bias / scale), -TOP, TOP)} if layer.op == "i" else {}
        for k, name in enumerate(into):
            given = {p: a.astype(np.int32) for p, a in ({"weight": whole[k]} | (kept if k == 0 else {})).items()}
            self.layers[name] = replace(self.net.layers[name], parameters=given)
        off = [np.sqrt(np.mean((w * _beside(scale, w) - e) ** 2)) for w, e in zip(whole, exact, strict=True)]
        self.lost[layer.name] = float(max(off)) / max(float(largest.max()), 1e-300)

    def _weights(self, neurons: str, name: str) -> Array | None:
        """The weights of a synapse times what the codes that it reads are worth."""
        layer = self.net.layers.get(name)
        if layer is None or layer.op not in SYNAPSES:
            self.wrong.append(f"{neurons}: is fed by {name}, which has no weights")
            return None
        before, readers = self.net.into[name], [e for e in self.net.edges if e.source == name]
        if len(before) != 1 or before[0].source not in self.unit or len(readers) != 1:
            self.wrong.append(f"{name}: weights between other things than two layers of activations")
            return None
        return layer.parameters["weight"].astype(np.float64) * self.unit[before[0].source]

    def _bias(self, name: str) -> Array:
        p = self.net.layers[name].parameters
        return p.get("bias", np.zeros(len(p["weight"]))).astype(np.float64)

    def _activation(self, layer: Layer, largest: Array, bias: Array) -> Array:
        """The layer `quantized_relu`, and the scale of the weights before it, for each channel."""
        threshold = per_channel(layer.parameters["v_threshold"].astype(np.float64))
        assert threshold is not None  # to_snn gives one a channel
        fits = np.where(largest > 0, threshold / self.levels * self.most / np.where(largest > 0, largest, 1), 1)
        if (fits < 1).any():
            self.wrong.append(f"{layer.name}: activations are finer than its sums; give weights or inputs more bits")
        step = np.clip(np.floor(fits), 1, MOST_STEP)
        scale = threshold / (self.levels * step)
        start = np.clip(np.rint(step / 2 - bias / scale), -TOP, TOP)
        wide = (len(step), *(1,) * (len(layer.shape) - 1))
        given = {"threshold": start, "step": step}
        whole = {k: np.broadcast_to(a.reshape(wide), layer.shape).astype(np.int32) for k, a in given.items()}
        self.layers[layer.name] = Layer(layer.name, "quantized_relu", whole, {"bits": self.bits})
        self.unit[layer.name], self.top[layer.name] = 1.0 / self.levels, self.levels
        return scale


def _beside(scale: Array, weight: Array) -> Array:
    return scale.reshape((-1, *(1,) * (weight.ndim - 1)))


__all__ = ["LayerLoss", "QuantizedActivations", "quantize_activations"]
