"""A ReLU network on Loihi's neurons, which reset to zero: thresholds higher, spikes in and out, pools in the weights.

What lies above the threshold is lost at a spike, so a neuron that spikes in every other step may mean anything from a
half to one. Its threshold is therefore `HEADROOM` activations, and it spikes in a quarter of the steps at most. What is
lost on average is measured layer by layer in the calibration data, and what a spike stands for corrected. Inputs are
spikes too, spread evenly; the readout counts its spikes, and what is left in it at the end tells two apart that have
the same number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from hetero.convert.snn_layers import Spiking, Style
from hetero.errors import GraphError
from hetero.op import Array
from hetero.ops.loihi import WEIGHT_SHIFT
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Network
from hetero.spiking.quantize import LayerError, quantize_loihi

HEADROOM, READOUT = 4.0, 2.0
STYLE = Style({"dt": 1.0, "rule": "exact", "reset": "zero", "strict": True, "refractory": 0}, HEADROOM, 0.0)


@dataclass(frozen=True, slots=True)
class Loihi:
    """What was chosen: an input of `most` spikes in every step; the readout, and the layers' errors in integers."""

    most: float
    readout: Spiking
    errors: tuple[LayerError, ...]


def most_of(data: Array) -> float:
    """The input that spikes in every step; a GraphError for inputs below zero."""
    if data.size and data.min() < 0:
        raise GraphError(
            f"inputs down to {data.min():.3g} cannot be spikes of 0 and 1",
            hint="bring them to 0 and more, with what that takes in the first layer's bias",
        )
    return float(data.max(initial=0)) or 1.0


def readout_of(values: Array) -> Spiking:
    """The span of the last values in calibration, each of them a spike in half of the steps at most."""
    low = float(values.min())
    return Spiking(low, READOUT * (float(values.max()) - low or 1.0))


def on_loihi(net: Network) -> tuple[Network, tuple[LayerError, ...]]:
    """The network in Loihi's integers; a GraphError lists what has no form there."""
    made = quantize_loihi(fold_pools(net))
    return made.network, made.layers


def encode(x: Array, most: float, steps: int) -> Array:
    """(n, ...) -> int32 spikes (steps, n, ...), x / most of the steps, spread evenly; more than `most` is cut"""
    made = np.empty((steps, *x.shape), np.int32)
    before = encoded(x, most, 0)
    for t in range(steps):
        after = encoded(x, most, t + 1)
        made[t] = after - before
        before = after
    return made


def encoded(x: Array, most: float, steps: int) -> Array:
    """How many spikes that are, int64 of the shape of x"""
    return np.floor(np.clip(x.astype(np.float64) / most, 0, 1) * steps + 0.5).astype(np.int64)


def correction(said: Array, wanted: Array) -> float:
    """What values of a layer must be multiplied with to be nearest to its activations, both (n, *shape)"""
    square = float((said * said).sum(dtype=np.float64))
    return float((said * wanted).sum(dtype=np.float64)) / square if square else 1.0


def decode(spikes: Array, voltage: Array, layer: Layer, readout: Spiking) -> Array:
    """Spikes and voltages of the readout (steps, n, *k) -> the value after each step"""
    left = voltage / (layer.parameters["vth"].astype(np.float64) * 2**WEIGHT_SHIFT)
    far = np.arange(1, len(spikes) + 1).reshape(-1, *(1,) * (spikes.ndim - 1))
    return ((np.cumsum(spikes, axis=0) + left) * (readout.worth / far) + readout.low).astype(np.float32)


# -- pools ----------------------------------------------------------------------------------------------------


def fold_pools(net: Network) -> Network:
    """Pools as part of the convolution or the dense layer behind them: Loihi has one synapse between two neurons."""
    net = net.check()
    layers, edges, wrong = dict(net.layers), list(net.edges), list[str]()
    for pool in [p for p in net.layers.values() if p.op == "sum_pool"]:
        try:
            layers |= _folded(net, pool)
        except GraphError as e:
            wrong.append(f"{pool.name}: {e.problem}")
            continue
        (into,) = net.into[pool.name]
        edges = [replace(e, source=into.source) if e.source == pool.name else e for e in edges if e != into]
        del layers[pool.name]
    if wrong:
        raise GraphError(f"{net.name} does not fit Loihi: " + "; ".join(wrong))
    return replace(net, layers={n: replace(a, shape=()) for n, a in layers.items()}, edges=tuple(edges)).check()


def _folded(net: Network, pool: Layer) -> dict[str, Layer]:
    """The layers behind a pool with it in their weights."""
    a = pool.attrs
    if tuple(a["kernel"]) != tuple(a["strides"]) or any(a["pads_before"]) or any(a["pads_after"]):
        raise GraphError("its windows overlap, or reach beyond the border")
    if len(net.into[pool.name]) != 1:
        raise GraphError("several layers come to it")
    before = _shape_before(net, pool)
    made: dict[str, Layer] = {}
    for edge in [e for e in net.edges if e.source == pool.name]:
        reader = net.layers.get(edge.target)
        behind = [reader] if reader is not None else []
        if reader is not None and reader.op == "flatten":
            behind = [net.layers[e.target] for e in net.edges if e.source == reader.name and e.target in net.layers]
        if not behind or any(_FOLDS.get(layer.op) is None or len(net.into[layer.name]) != 1 for layer in behind):
            raise GraphError("neither a convolution nor a dense layer alone reads it")
        made |= {layer.name: _FOLDS[layer.op](layer, pool, before) for layer in behind}
    return made


def _shape_before(net: Network, layer: Layer) -> Shape:
    source = net.into[layer.name][0].source
    return net.layers[source].shape if source in net.layers else net.inputs[source]


def _spread(weight: Array, kernel: tuple[int, ...], mean: bool) -> Array:
    """(..., *s) -> (..., *(s kernel)): each weight for all cells of its window"""
    for axis, n in enumerate(kernel, weight.ndim - len(kernel)):
        weight = weight.repeat(n, axis=axis)
    return weight / prod(kernel) if mean else weight


def _conv(layer: Layer, pool: Layer, before: Shape) -> Layer:
    """Windows of windows: kernel, strides and pads all grow by the pool's kernel"""
    a, kernel = dict(layer.attrs), tuple(pool.attrs["kernel"])
    rest = [n % k for n, k in zip(before[1:], kernel, strict=True)]
    if any(r and after for r, after in zip(rest, a["pads_after"], strict=True)):
        raise GraphError(f"cells at the border that no window takes, before {layer.name}, which reaches beyond it")
    if any(d != 1 for d in a["dilations"]):
        raise GraphError(f"{layer.name} behind it has dilations")
    for name in ("strides", "pads_before", "pads_after"):
        a[name] = tuple(n * k for n, k in zip(a[name], kernel, strict=True))
    weight = _spread(layer.parameters["weight"], kernel, pool.attrs["mean"])
    return replace(layer, parameters={**layer.parameters, "weight": weight}, attrs=a)


def _dense(layer: Layer, pool: Layer, before: Shape) -> Layer:
    weight = layer.parameters["weight"]
    kernel = tuple(pool.attrs["kernel"])
    wide = _spread(weight.reshape(len(weight), *pool.shape), kernel, pool.attrs["mean"])
    missing = [(0, 0), (0, 0), *((0, n - m) for n, m in zip(before[1:], wide.shape[2:], strict=True))]
    whole = np.pad(wide, missing).reshape(len(weight), -1)
    return replace(layer, parameters={**layer.parameters, "weight": np.ascontiguousarray(whole)})


_FOLDS: Mapping[str, Any] = {"synapse_conv": _conv, "synapse_dense": _dense}

__all__ = [
    "HEADROOM", "STYLE", "Loihi", "correction", "decode", "encode", "encoded", "fold_pools", "most_of", "on_loihi",
    "readout_of",
]  # fmt: skip
