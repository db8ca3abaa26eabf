"""How large the integers of a network can become. Lava computes in 32 bits, and wraps where hetero does not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hetero.ops.loihi import TOP, WEIGHT_SHIFT
from hetero.ops.loihi_learning import SIGNS
from hetero.spiking.layers import Layer
from hetero.spiking.network import Network

MOST = 2**31 - 1
MOST_CURRENT = TOP  # of 24 bits
MOST_CONV = 2**23 - 1  # Lava's Conv wraps beyond
MOST_VALUE = 2**23 - 1  # of a graded spike


def check_reach(net: Network, steps: int, inputs: Mapping[str, int], start: Mapping[str, int]) -> str:
    """Why the arithmetic would differ, or nothing.

    `inputs`: the largest absolute value of each (1 if not said); `start`: the same of what synapses hold at the start.
    """
    large: dict[str, int] = {n: inputs.get(n, 1) for n in net.inputs}
    for name, value in large.items():
        if value > MOST_VALUE:
            return f"{name}: a graded spike of {value}; Loihi has {MOST_VALUE} at most"
    large |= {n: 1 for n, layer in net.layers.items() if layer.kind.neuron}
    for name in net.order:
        layer = net.layers[name]
        if layer.op == "flatten":
            large[name] = large[net.into[name][0].source]
        elif not layer.kind.neuron:
            sums = _sum_of(layer) * sum(large[e.source] for e in net.into[name])
            large[name], reason = _given(layer, sums)
            if reason:
                return f"{name}: {reason}"
            large[name] += start.get(name, 0)
    for name, layer in net.layers.items():
        if layer.kind.neuron:
            most = _current(sum(large[e.source] for e in net.into.get(name, ())), steps)
            if most + TOP + int(np.abs(layer.parameters["bias"].astype(np.int64)).max(initial=0)) > MOST:
                return f"{name}: its currents may become {most}, beyond the 32 bits of lava's model"
    return ""


def _current(sums: int, steps: int) -> int:
    """The largest current: what a step adds beyond one turn of the 24 bits stays, and adds up."""
    added = sums << WEIGHT_SHIFT
    return TOP + added + steps * max(0, added - 2 * TOP)


def _given(layer: Layer, sums: int) -> tuple[int, str]:
    """What the synapse gives at most, after its shift; the reason why that is too much."""
    exponent, saturate = int(layer.attrs.get("exponent", 0)), int(layer.attrs.get("saturate", 0))
    given = sums << exponent if exponent > 0 else (sums >> -exponent) + (MOST_SLACK if exponent else 0)
    if max(sums, given) > MOST:
        return given, f"its sums may become {max(sums, given)}, beyond 32 bits"
    if layer.op == "synapse_conv" and given > MOST_CONV:
        return given, f"its sums may become {given}; lava's Conv wraps at {MOST_CONV}"
    if saturate and given > 2 ** (saturate - 1) - 1:
        return given, f"its sums may become {given}, and lava's synapses do not saturate at {saturate} bits"
    return given, ""


MOST_SLACK = 64  # rounding down, once for each delay


def _sum_of(layer: Layer) -> int:
    """The largest sum of absolute weights that one target takes; of weights that learn, the largest there may be."""
    if layer.kind.learns:
        low, high = SIGNS[layer.attrs["sign"]]
        return max(-low, high) * layer.start["weight"].shape[1]
    weight = np.abs(layer.parameters["weight"].astype(np.int64))
    if layer.op == "synapse_sparse":
        sums = np.bincount(layer.parameters["target"], weight, minlength=1)
        return int(sums.max())
    return int(weight.reshape(weight.shape[0], -1).sum(axis=1).max(initial=0))
