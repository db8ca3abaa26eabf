"""From float weights to weights of one byte: `quantize_synapses` scales them by target, and says what each layer loses.

Only weights change, to int8 with one float scale for each target: the largest weight of a target is 127 of its scales.
Neurons, states and biases stay float. Event-driven loops add integers, exactly, of a quarter of the memory. The report
is about weights alone: what that does to spikes, only a run tells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Network
from hetero.spiking.read import read

LARGEST = 127  # both signs alike


@dataclass(frozen=True, slots=True)
class WeightError:
    """What the weights of one layer lose, and the bytes that they take before and after, scales included. `rms` is the
    root of the mean square over the largest weight, `worst` the largest error over the largest weight of its target."""

    layer: str
    rms: float
    worst: float
    before_byte: int
    after_byte: int

    def __str__(self) -> str:
        size = f"{self.before_byte} to {self.after_byte} bytes"
        return f"{self.layer}: weights' error {self.rms:.2%} (worst {self.worst:.2%}); {size}"


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedSynapses:
    """The network with weights of one byte, and the errors of the layers that changed."""

    graph: Graph
    network: Network
    layers: tuple[WeightError, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))


def quantize_synapses(
    graph: Graph | Network, *, steps: int | str = "time", batch: int | str | None = None,
    record: Collection[str] | bool = (), layers: Collection[str] | None = None,
) -> QuantizedSynapses:  # fmt: skip
    """The network with its dense, sparse and convolved synapses, or those named in `layers`, in int8. A GraphError
    for a network that is not of floats, for names that are no such layers, and for weights that are not finite."""
    net = (graph if isinstance(graph, Network) else read(graph)).check()
    chosen = {n for n, s in net.layers.items() if s.op in RULES} if layers is None else set(layers)
    _refuse(net, chosen)
    made = dict(net.layers)
    errors: list[WeightError] = []
    for name in (n for n in net.layers if n in chosen):
        made[name], error = _quantized(net.layers[name])
        errors.append(error)
    small = replace(net, layers=made).check()
    return QuantizedSynapses(build(small, steps=steps, batch=batch, record=record), small, tuple(errors))


def _refuse(net: Network, chosen: Collection[str]) -> None:
    wrong = [f"{net.dtype.name} is no float"] * (net.dtype.kind != "f")
    for name in sorted(chosen):
        layer = net.layers.get(name)
        if layer is None or layer.op not in RULES:
            wrong.append(f"{name} is no {', '.join(RULES)}")
        elif not np.isfinite(layer.parameters["weight"]).all():
            wrong.append(f"{name} has weights that are not finite")
    if wrong:
        raise GraphError(f"{net.name} has no weights of one byte: " + "; ".join(wrong))


# -- scales ---------------------------------------------------------------------------------------------------


def _largest_of_rows(layer: Layer) -> Array:
    weight = layer.parameters["weight"]
    return np.abs(weight).reshape(weight.shape[0], -1).max(1, initial=0)


def _largest_of_targets(layer: Layer) -> Array:
    largest = np.zeros(int(layer.attrs["size"]), layer.parameters["weight"].dtype)
    np.maximum.at(largest, layer.parameters["target"], np.abs(layer.parameters["weight"]))
    return largest


def _by_row(layer: Layer, scale: Array) -> Array:
    return scale.reshape(-1, *(1,) * (layer.parameters["weight"].ndim - 1))


def _by_target(layer: Layer, scale: Array) -> Array:
    return scale[layer.parameters["target"]]


# op -> (the largest weight of each target, a value of each target for each weight)
RULES: dict[str, tuple[Callable[[Layer], Array], Callable[[Layer, Array], Array]]] = {
    "synapse_dense": (_largest_of_rows, _by_row),
    "synapse_sparse": (_largest_of_targets, _by_target),
    "synapse_conv": (_largest_of_rows, _by_row),
}


def _quantized(layer: Layer) -> tuple[Layer, WeightError]:
    weight = layer.parameters["weight"]
    largest_of, spread = RULES[layer.op]
    largest = largest_of(layer)
    scale = (np.where(largest > 0, largest, LARGEST) / LARGEST).astype(weight.dtype)
    each = spread(layer, np.maximum(scale, np.finfo(weight.dtype).tiny))
    whole = np.clip(np.rint(weight / each), -LARGEST, LARGEST).astype(np.int8)
    lost = np.abs(whole * spread(layer, scale).astype(np.float64) - weight)
    top = spread(layer, np.where(largest > 0, largest, 1))
    rms = float(np.sqrt(np.mean(lost**2))) / max(float(largest.max(initial=0)), 1e-300) if lost.size else 0.0
    error = WeightError(
        layer.name, rms, float((lost / top).max(initial=0)), weight.nbytes, whole.nbytes + scale.nbytes
    )  # fmt: skip
    ends = {k: v for k, v in layer.parameters.items() if k not in ("weight", "bias")}
    bias = {k: v for k, v in layer.parameters.items() if k == "bias"}
    attrs = {k: v for k, v in layer.attrs.items() if k not in ("exponent", "saturate")}
    parameters = {"weight": whole, **ends, "scale": scale, **bias}
    return replace(layer, op=f"{layer.op}_int8", parameters=parameters, attrs=attrs), error


def in_floats(layer: Layer) -> Layer:
    """The layer with weights of floats that one with weights of a byte stands for; any other as it is."""
    op = layer.op.removesuffix("_int8")
    if op == layer.op:
        return layer
    scale = RULES[op][1](layer, layer.parameters["scale"])
    parameters = {k: v for k, v in layer.parameters.items() if k != "scale"}
    return replace(layer, op=op, parameters=parameters | {"weight": layer.parameters["weight"] * scale})


__all__ = ["QuantizedSynapses", "WeightError", "in_floats", "quantize_synapses"]
