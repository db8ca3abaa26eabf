"""From floats to Loihi's integers: `quantize_loihi` chooses scales and exponents, and says what each layer loses.

A voltage of a neuron is counted in units of its threshold: vth integer steps are v_threshold - v_leak volts. What one
spike adds to it in a step, the weight times the neuron's gain, must then be an integer of 8 bits times 2^exponent. The
exponent is as large as the bits of threshold, bias and current allow, so that thresholds and decays are as fine as can
be. Every connection of Loihi takes one step, so a layer that is k connections from the input is k - 1 steps later than
in floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.ops.loihi import WEIGHT_SHIFT, effective_weights
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network
from hetero.spiking.read import read

MOST_WEIGHT = 254  # of 8 bits when both signs occur
MOST_THRESHOLD = 2**17 - 1
EXPONENTS = range(-8, 8)
DECAY = 4096  # 12 bits
BIAS_BITS, BIAS_EXPONENTS = 12, range(8)
MOST_BIAS = 2**BIAS_BITS * 2 ** BIAS_EXPONENTS[-1]  # and less
MOST_CURRENT = 2**23
LEAST_THRESHOLD = 2**8  # what keeps currents from wrapping may cost: a threshold that is rounded by 0.2 %


@dataclass(frozen=True, slots=True)
class LayerError:
    """What one layer of neurons loses. Errors are relative: of weights to the largest one (root of the mean square),
    of time constants and the threshold to themselves (the worst neuron)."""

    layer: str
    exponent: int
    threshold: int
    weight_error: float
    decay_error: float
    bias_error: float
    reach: float  # the largest current that all synapses together can give, of what 24 bits hold

    def __str__(self) -> str:
        worst = f"weights {self.weight_error:.2%}, decays {self.decay_error:.2%}, biases {self.bias_error:.2%}"
        full = f"; currents can reach {self.reach:.0%} of 24 bits, beyond which they wrap" * (self.reach > 1)
        return f"{self.layer}: threshold {self.threshold}, weights times 2^{self.exponent}; errors: {worst}{full}"


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """The network in Loihi's arithmetic, and the errors of its layers."""

    graph: Graph
    network: Network
    layers: tuple[LayerError, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))


@dataclass(frozen=True, slots=True, eq=False)
class _Neuron:
    """A float neuron as Loihi sees it: kept parts of a step, what a weight of 1 adds to the voltage, the threshold."""

    keep_u: Array
    keep_v: Array
    gain: Array
    threshold: Array


def quantize_loihi(
    graph: Graph | Network, *, steps: int | str = "time", batch: int | str | None = None, record: Any = ()
) -> Quantized:
    """A network of `lif`, `cuba_lif` and `if` neurons behind dense, sparse or convolved synapses, in `loihi`
    arithmetic. A GraphError lists all that Loihi's neuron cannot do, by layer."""
    net = (graph if isinstance(graph, Network) else read(graph)).check()
    wrong = list(_refused(net))
    if wrong:
        raise GraphError(f"{net.name} does not fit Loihi's arithmetic: " + "; ".join(wrong))
    layers: dict[str, Layer] = {}
    errors: list[LayerError] = []
    for layer in net.layers.values():
        if layer.kind.neuron:
            made, error = _population(net, layer)
            layers |= made
            errors.append(error)
        elif layer.op == "flatten":
            layers[layer.name] = layer
    edges = tuple(_edge(net, e) for e in net.edges)
    integer = Network(net.inputs, {n: layers[n] for n in net.layers}, net.outputs, edges, dt.int32, net.name).check()
    return Quantized(build(integer, steps=steps, batch=batch, record=record), integer, tuple(errors))


def _edge(net: Network, e: Edge) -> Edge:
    """Into neurons edges are delayed, one step a connection; what was delayed before a synapse is so behind it now."""
    target = net.layers.get(e.target)
    return replace(e, delayed=target is not None and target.kind.neuron)


# -- what fits ------------------------------------------------------------------------------------------------

SYNAPSES = ("synapse_dense", "synapse_sparse", "synapse_conv")


def _refused(net: Network) -> list[str]:
    wrong: list[str] = []
    for layer in net.layers.values():
        name, into = layer.name, net.into.get(layer.name, [])
        sources = [net.layers[n] for e in into if (n := _spiking(net, e.source)) in net.layers]
        if layer.op in _READ:
            wrong += [f"{name}: {w}" for w in _neuron_faults(layer)]
            wrong += [f"{name} starts at other states than zero"] * bool(layer.start)
            wrong += [f"{name} is fed by {s.name}, which is no synapse" for s in sources if s.op not in SYNAPSES]
            wrong += [f"{name} is fed by an input without a synapse" for e in into if e.source in net.inputs]
        elif layer.op in SYNAPSES:
            wrong += [f"{name} is fed by {s.name}, which does not spike" for s in sources if s.op not in _READ]
            readers = [e for e in net.edges if e.source == name]
            if len(readers) != 1 or readers[0].target not in net.layers:
                wrong.append(f"{name} must feed one layer of neurons, not {len(readers)} readers")
        elif layer.op == "flatten":
            wrong += [f"{name} is a flatten of {len(into)} edges"] * (len(into) != 1)
        else:
            wrong.append(f"{name}: {layer.op} has no form in Loihi's arithmetic")
    return wrong


def _spiking(net: Network, name: str) -> str:
    """What gives the spikes that a layer hands on: a flatten only names them anew."""
    while name in net.layers and net.layers[name].op == "flatten" and net.into.get(name):
        name = net.into[name][0].source
    return name


def _neuron_faults(layer: Layer) -> list[str]:
    p, a = layer.parameters, layer.attrs
    rest = p.get("v_leak", np.zeros(1))
    wrong: list[str] = []
    if a["refractory"]:
        wrong.append(f"a refractory time of {a['refractory']} steps")
    if layer.start:
        wrong.append("a state that does not start at zero")
    if a["reset"] == "subtract":
        wrong.append("reset by subtraction (hetero.to_snn(..., loihi=True) makes neurons that reset to zero)")
    left = np.zeros(1) if a["reset"] == "zero" else p["v_reset"]
    if a["reset"] != "subtract" and not np.allclose(left, rest):
        wrong.append("v_reset differs from v_leak, and Loihi resets to rest")
    if not a["strict"]:
        wrong.append("a spike at the threshold (strict=False)")
    if (p["v_threshold"] - rest <= 0).any():
        wrong.append("a threshold that is not above rest")
    return wrong


# -- neurons --------------------------------------------------------------------------------------------------


def _lost(tau: Array, a: Any) -> Array:
    """The part of a state that decays in a step."""
    share = a["dt"] / tau.astype(np.float64)
    return share if a["rule"] == "euler" else -np.expm1(-share)


def _read_lif(layer: Layer) -> _Neuron:
    p = layer.parameters
    lost = _lost(p["tau"], layer.attrs)
    return _Neuron(np.zeros_like(lost), 1 - lost, lost * p["r"], p["v_threshold"] - p["v_leak"])


def _read_if(layer: Layer) -> _Neuron:
    p = layer.parameters
    gain = layer.attrs["dt"] * p["r"].astype(np.float64)
    return _Neuron(np.zeros_like(gain), np.ones_like(gain), gain, p["v_threshold"].astype(np.float64))


def _read_cuba(layer: Layer) -> _Neuron:
    """Loihi's current is the synaptic one times what it adds to the voltage in a step."""
    p, a = layer.parameters, layer.attrs
    fast, slow = _lost(p["tau_syn"], a), _lost(p["tau_mem"], a)
    return _Neuron(1 - fast, 1 - slow, fast * p["w_in"] * slow * p["r"], p["v_threshold"] - p["v_leak"])


_READ: dict[str, Callable[[Layer], _Neuron]] = {"lif": _read_lif, "if": _read_if, "cuba_lif": _read_cuba}


def _population(net: Network, layer: Layer) -> tuple[dict[str, Layer], LayerError]:
    """The neurons and all synapses into them, as integers with one exponent."""
    n = _READ[layer.op](layer)
    per_unit = (n.gain / n.threshold).astype(np.float64)  # thresholds that a weight of 1 adds in a step
    into = [net.layers[e.source] for e in net.into.get(layer.name, [])]
    parts = {s.name: _scaled(s, per_unit) for s in into}
    biases = sum((_bias(s, per_unit) for s in into), np.zeros(per_unit.shape))
    sums = sum(_most_sum(s, w, layer.shape) for s, w in zip(into, parts.values(), strict=True))
    largest = max((float(np.abs(w).max(initial=0)) for w in parts.values()), default=0.0)
    exponent, threshold = _scale(largest, float(np.abs(biases).max(initial=0)), float(sums))
    made: dict[str, Layer] = {}
    lost = 0.0
    for s in into:
        exact = parts[s.name] * threshold / 2.0**exponent
        weight = _rounded(exact)
        lost = max(lost, float(np.sqrt(np.mean((weight - exact) ** 2))) / max(float(np.abs(exact).max()), 1e-300))
        made[s.name] = _integer(s, weight, exponent)
    whole, bias_lost = _rounded_bias(biases * threshold * 2**WEIGHT_SHIFT)
    keep_u, keep_v = np.rint(n.keep_u * DECAY), np.rint(n.keep_v * DECAY)
    given = {"du": DECAY - 1 - keep_u, "dv": DECAY - keep_v, "vth": np.full(layer.shape, threshold), "bias": whole}
    clipped = {k: np.clip(v, 0, DECAY - 1) if k in ("du", "dv") else v for k, v in given.items()}
    made[layer.name] = Layer(layer.name, "loihi_lif", {k: v.astype(np.int32) for k, v in clipped.items()})
    decay = max(_decay_error(n.keep_u, keep_u), _decay_error(n.keep_v, keep_v))
    reach = sum(_most_sum(s, made[s.name].parameters["weight"], layer.shape) for s in into) * 2.0**exponent
    reach *= 2.0**WEIGHT_SHIFT / MOST_CURRENT
    return made, LayerError(layer.name, exponent, threshold, lost, decay, bias_lost, float(reach))


def _rounded(exact: Array) -> Array:
    """To what Loihi keeps: even numbers where signs are mixed. Cutting bits off would make all weights smaller."""
    mixed = (exact <= -0.5).any() and (exact >= 0.5).any()
    return effective_weights(2 * np.rint(exact / 2) if mixed else np.rint(exact))


def _scale(largest: float, bias: float, sums: float) -> tuple[int, int]:
    """The largest exponent at which biases fit and no current can wrap, else only biases, else the threshold alone; and
    the threshold at which the largest weight fills 8 bits. All are counted in thresholds."""
    if largest <= 0:
        return 0, _within(MOST_THRESHOLD, bias, 0)
    found = {e: int(MOST_WEIGHT * 2.0**e / largest) for e in reversed(EXPONENTS)}
    legal = {e: threshold for e, threshold in found.items() if threshold <= MOST_THRESHOLD}
    for most_sum, least in ((sums, LEAST_THRESHOLD), (0, 1)):
        for exponent, threshold in legal.items():
            if least <= threshold == _within(threshold, bias, most_sum):
                return exponent, threshold
    exponent = max(legal, default=EXPONENTS[0])
    return exponent, max(legal.get(exponent, MOST_THRESHOLD), 1)


def _within(threshold: int, bias: float, sums: float) -> int:
    """The threshold, or the largest below it with which a bias and the sum of all weights keep to their bits."""
    for part, most in ((bias, MOST_BIAS - 2 ** BIAS_EXPONENTS[-1]), (sums, MOST_CURRENT)):
        if part * threshold * 2**WEIGHT_SHIFT > most:
            threshold = int(most / (part * 2**WEIGHT_SHIFT))
    return max(threshold, 1)


def _targets(s: Layer, values: Array) -> Array:
    """A value for each neuron, as the synapse's weights have their targets."""
    if s.op == "synapse_sparse":
        return values.reshape(-1)[s.parameters["target"]]
    if s.op == "synapse_dense":
        return values.reshape(-1)[:, None]
    each = values.reshape(values.shape[0], -1)
    if not np.allclose(each, each[:, :1]):
        raise GraphError(f"{s.name}: neurons behind a convolution must be alike in a channel to share its weights")
    return each[:, 0].reshape(-1, *(1,) * (s.parameters["weight"].ndim - 1))


def _scaled(s: Layer, per_unit: Array) -> Array:
    return s.parameters["weight"].astype(np.float64) * _targets(s, per_unit)


def _bias(s: Layer, per_unit: Array) -> Array:
    bias = s.parameters.get("bias")
    if bias is None:
        return np.zeros(per_unit.shape)
    return per_unit * bias.reshape(-1, *(1,) * (per_unit.ndim - 1))


def _integer(s: Layer, weight: Array, exponent: int) -> Layer:
    parameters = {k: v for k, v in s.parameters.items() if k != "bias"} | {"weight": weight}
    saturate = 24 if s.op == "synapse_conv" else 0
    return Layer(s.name, s.op, parameters, {**s.attrs, "exponent": exponent, "saturate": saturate})


def _rounded_bias(bias: Array) -> tuple[Array, float]:
    """As a mantissa of 13 bits, sign included, times a power of two that all share; and the worst relative error."""
    largest = float(np.abs(bias).max(initial=0))
    exponent = next((e for e in BIAS_EXPONENTS if largest < 2.0 ** (BIAS_BITS + e)), BIAS_EXPONENTS[-1])
    whole = np.clip(np.rint(bias / 2.0**exponent), -(2**BIAS_BITS), 2**BIAS_BITS - 1) * 2.0**exponent
    return whole, float(np.abs(whole - bias).max(initial=0)) / largest if largest else 0.0


def _decay_error(keep: Array, whole: Array) -> float:
    """Of the time constant, -1 / log(keep); a state that is cleared, or kept for ever, has none."""
    inside = (keep > 0) & (keep < 1) & (whole > 0) & (whole < DECAY)
    if not inside.any():
        return 0.0
    return float(np.abs(np.log(keep[inside]) / np.log(whole[inside] / DECAY) - 1).max())


def _most_sum(s: Layer, weight: Array, shape: tuple[int, ...]) -> float:
    """The largest sum of weights that one step can bring to a neuron."""
    size = np.abs(weight.astype(np.float64))
    if s.op == "synapse_sparse":
        most = np.bincount(s.parameters["target"], size, int(np.prod(shape))).max(initial=0)
    else:
        most = size.reshape(size.shape[0], -1).sum(1).max(initial=0)
    return float(most)
