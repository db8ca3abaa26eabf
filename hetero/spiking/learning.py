"""Synapses that learn while a network runs, in Loihi's integers: what they are made of, and what is wrong with one.

The weights are the state `weight`, so `build(..., record=["name"])` gives them for each step. Equations:
`hetero.ops.loihi_learning`; rules: `hetero.ops.products`.
"""

from __future__ import annotations

import numpy as np

from hetero.errors import GraphError
from hetero.op import Array
from hetero.ops.loihi_learning import ATTRS, SIGNS, STATES, faults
from hetero.ops.loihi_rules import TRACE_TOP, TRACES
from hetero.spiking.layers import Layer

OP = "loihi_learn_dense"
OFF = (0.0, 0.0)  # a trace that stays 0

Trace = tuple[float, float]  # what a spike adds, and the time constant (steps); 0: only this step's spike counts


def plastic(
    name: str, weight: Array, rule: str, *, sign: str, post: str, seed: int, x1: Trace = OFF, x2: Trace = OFF,
    y1: Trace = OFF, y2: Trace = OFF, y3: Trace = OFF, exponent: int = 0,
) -> Layer:  # fmt: skip
    """A dense synapse (targets, sources) that learns by `rule`, such as "2^-2*x1*y0 - 2^-2*x0*y1", each step.

    `post` names the neurons behind it; `sign` is mixed, excitatory or inhibitory, and stays. Traces x1, x2 follow its
    input, y1, y2, y3 those neurons: (impulse 0 to 127, time constant in steps). `seed` decides how Lava rounds. A
    GraphError lists all that is wrong.
    """
    traces = dict(zip(TRACES, (x1, x2, y1, y2, y3), strict=True))
    times = {f"{n}_impulse": float(impulse) for n, (impulse, _) in traces.items()}
    times |= {f"{n}_tau": float(tau) for n, (_, tau) in traces.items()}
    attrs = {"rule": rule, "sign": sign, "exponent": exponent, "seed": seed, **times}
    given = np.asarray(weight)
    layer = Layer(name, OP, {}, {k: attrs[k] for k in ATTRS}, given.shape[:1], {"weight": given}, post)
    wrong = wrong_learning(layer)
    if wrong:
        raise GraphError("; ".join(wrong))
    return layer


def wrong_learning(layer: Layer) -> list[str]:
    """What is wrong with a layer that learns, taken alone."""
    missing, unknown = sorted(set(ATTRS) - set(layer.attrs)), sorted(set(layer.attrs) - set(ATTRS))
    wrong = [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it has no {', '.join(unknown)}"] * bool(unknown)
    wrong += faults(layer.attrs) if not missing else []
    wrong += _wrong_weight(layer.start.get("weight"), layer.attrs.get("sign", ""))
    for name in TRACES:
        value = layer.start.get(name)
        if value is not None and value.size and not (value.min() >= 0 and value.max() <= TRACE_TOP):
            wrong.append(f"{name} starts at {value.min()} to {value.max()}; a trace is 0 to {TRACE_TOP}")
    wrong += [f"{n} is no state; these are: {', '.join(STATES)}" for n in layer.start if n not in STATES]
    return [f"{layer.name}: {w}" for w in wrong]


def _wrong_weight(weight: Array | None, sign: str) -> list[str]:
    if weight is None or weight.ndim != 2 or not weight.size:
        return [f"it starts with a weight (targets, sources), not {'none' if weight is None else weight.shape}"]
    if weight.dtype.kind not in "iu":
        return [f"its weights are whole numbers, not {weight.dtype.name}"]
    low, high = SIGNS.get(sign, (-256, 255))
    if weight.min() < low or weight.max() > high:
        return [f"{sign} weights are {low} to {high}, not {weight.min()} to {weight.max()}"]
    if sign == "mixed" and (weight % 2).any():
        return ["weights of mixed signs start in steps of 2: hetero.ops.loihi.effective_weights gives those"]
    return []


__all__ = ["OFF", "OP", "Trace", "plastic", "wrong_learning"]
