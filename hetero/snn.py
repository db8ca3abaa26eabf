"""Spiking networks in Python: neurons and synapses of one time step, for `ht.scan`; spikes from values and back.

    def step(v, x):
        s, v = ht.snn.lif(x @ w, v, tau=0.01, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0,
                          dt=1e-3, rule="euler", reset="value", strict=True)
        return v, s

    v, spikes = ht.scan(step, ht.zeros((10,)), ht.snn.rate(key, image, steps=100, dt=1e-3, most_hz=200.0))

Neurons are described in `hetero.ops.neuron`, with their equations, units and sources. Spikes are 1 and 0 along axis 0,
one row a step; `Events` lists them instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hetero import random
from hetero.eager import place
from hetero.errors import AttributeValueError, ShapeError
from hetero.inline import inline
from hetero.op import Array
from hetero.ops.neuron import NEURONS
from hetero.select import device_of
from hetero.spiking.build import build
from hetero.spiking.network import Network
from hetero.tensor import Operand, Tensor, apply

# -- one step of neurons ----------------------------------------------------------------------------------------


def _neuron(
    name: str, x: Tensor, states: tuple[Any, ...], parameters: dict[str, Operand], attrs: dict[str, Any]
) -> Any:
    given = [_beside(x, parameters[p]) for p in NEURONS[name].parameters]
    return apply(name, x, *states, *given, **attrs)


def _beside(x: Tensor, value: Operand) -> Any:
    """A parameter in the dtype of x."""
    return value if isinstance(value, Tensor) else place(np.asarray(value, x.dtype), x.device)


def lif(
    x: Tensor, v: Tensor, wait: Tensor | None = None, *, tau: Operand, r: Operand, v_leak: Operand,
    v_threshold: Operand, v_reset: Operand, dt: float, rule: str, reset: str, strict: bool, refractory: int = 0,
) -> Any:  # fmt: skip
    """Spikes (...), voltage (...) after a step of tau dv/dt = (v_leak - v) + r x; then `wait`, if refractory."""
    parameters = {"tau": tau, "r": r, "v_leak": v_leak, "v_threshold": v_threshold, "v_reset": v_reset}
    attrs = {"dt": dt, "rule": rule, "reset": reset, "strict": strict, "refractory": refractory}
    return _neuron("lif", x, (v, *[wait] * bool(refractory)), parameters, attrs)


def cuba_lif(
    x: Tensor, i: Tensor, v: Tensor, wait: Tensor | None = None, *, tau_syn: Operand, tau_mem: Operand, r: Operand,
    v_leak: Operand, w_in: Operand, v_threshold: Operand, v_reset: Operand, dt: float, rule: str, reset: str,
    strict: bool, refractory: int = 0,
) -> Any:  # fmt: skip
    """Spikes, current, voltage (...) after a step of tau_syn di/dt = -i + w_in x, tau_mem dv/dt = (v_leak - v) + r i.

    Then `wait`, if refractory.
    """
    parameters = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": r, "v_leak": v_leak, "w_in": w_in,
                  "v_threshold": v_threshold, "v_reset": v_reset}  # fmt: skip
    attrs = {"dt": dt, "rule": rule, "reset": reset, "strict": strict, "refractory": refractory}
    return _neuron("cuba_lif", x, (i, v, *[wait] * bool(refractory)), parameters, attrs)


def if_(
    x: Tensor, v: Tensor, wait: Tensor | None = None, *, r: Operand, v_threshold: Operand, v_reset: Operand, dt: float,
    reset: str, strict: bool, refractory: int = 0,
) -> Any:  # fmt: skip
    """Spikes, voltage (...) after a step of dv/dt = r x."""
    parameters = {"r": r, "v_threshold": v_threshold, "v_reset": v_reset}
    attrs = {"dt": dt, "rule": "exact", "reset": reset, "strict": strict, "refractory": refractory}
    return _neuron("if", x, (v, *[wait] * bool(refractory)), parameters, attrs)


def li(x: Tensor, v: Tensor, *, tau: Operand, r: Operand, v_leak: Operand, dt: float, rule: str) -> Any:
    """The voltage (...) twice, as output and as state, after a step of tau dv/dt = (v_leak - v) + r x."""
    return _neuron("li", x, (v,), {"tau": tau, "r": r, "v_leak": v_leak}, {"dt": dt, "rule": rule})


def threshold(x: Tensor, level: Operand, *, strict: bool) -> Tensor:
    """1 where x is over the level, else 0"""
    return apply("threshold", x, _beside(x, level), strict=strict)


# -- whole networks -------------------------------------------------------------------------------------------


def call(network: Network, *inputs: Tensor) -> Any:
    """A network on spikes (steps, [batch,] *shape), a tensor for each of its inputs: outputs (steps, [batch,] *shape).

    One output is given as it is, several as a tuple in the network's order. Inputs are cast to the network's dtype. In
    a trace it becomes one loop, called as the network is: what `ht.plan` places as a whole.
    """
    if len(inputs) != len(network.inputs):
        raise ShapeError(f"{network.name} takes {', '.join(network.inputs)}, got {len(inputs)} tensors")
    lead = {x.shape[: max(x.ndim - len(s), 0)] for x, s in zip(inputs, network.inputs.values(), strict=True)}
    fits = all(x.shape[x.ndim - len(s) :] == s for x, s in zip(inputs, network.inputs.values(), strict=True))
    if len(lead) != 1 or not fits or len(first := next(iter(lead))) not in (1, 2):
        wanted = ", ".join(f"{n} (steps, [batch,] {', '.join(map(str, s))})" for n, s in network.inputs.items())
        raise ShapeError(f"{network.name} takes {wanted}; got {', '.join(str(x.shape) for x in inputs)}")
    graph = build(network, steps=first[0], batch=first[1] if len(first) == 2 else None)
    cast = [x if x.dtype == network.dtype else apply("cast", x, dtype=network.dtype.name) for x in inputs]
    made = inline(graph, *cast)
    return made[0] if len(made) == 1 else made


# -- values to spikes -----------------------------------------------------------------------------------------


def rate(key: Tensor, x: Tensor, *, steps: int, dt: float, most_hz: float) -> Tensor:
    """x (...) in 0 .. 1 -> spikes (steps, ...), each step by chance x * most_hz * dt, the same for the same key."""
    chance = most_hz * dt
    if steps < 0 or not 0 <= chance <= 1:
        raise AttributeValueError(
            f"rate wants 0 or more steps and most_hz * dt in 0 .. 1, got {steps} steps and {chance:.3g}",
            hint="a smaller dt, or a lower rate",
        )
    draws = random.uniform(key, (steps, *x.shape), dtype=x.dtype)
    return apply("cast", apply("less", draws, x * chance), dtype=x.dtype.name)


def latency(x: Tensor, *, steps: int, least: float = 0.0) -> Tensor:
    """x (...) in 0 .. 1 -> one spike each (steps, ...), the sooner the larger x is: 1 in step 0, `least` in the last.

    Values below `least`, and 0, give none.
    """
    if steps < 1 or not 0 <= least < 1:
        raise AttributeValueError(f"latency wants 1 or more steps and least in 0 .. 1, got {steps} and {least}")
    at = apply("round", (1.0 - x) * ((steps - 1) / (1.0 - least)))
    index = place(np.arange(steps, dtype=x.dtype).reshape(steps, *(1,) * x.ndim), x.device)
    meant = apply("logical_and", apply("greater", x, 0.0), apply("greater_equal", x, least))
    return apply("cast", apply("logical_and", apply("equal", index, at), meant), dtype=x.dtype.name)


def delta(x: Tensor, *, level: float) -> Tensor:
    """x (steps, ...) -> (steps, 2, ...): a spike where x rose (0) or fell (1) by more than `level` in a step.

    The first step is compared with 0.
    """
    if x.ndim < 1 or level <= 0:
        raise AttributeValueError(f"delta wants x (steps, ...) and a level above 0, got {x.shape} and {level}")
    before = apply("concat", x[:1] * 0.0, x[:-1], axis=0)
    change = (x - before).reshape((x.shape[0], 1, *x.shape[1:]))
    both = apply("concat", change, -change, axis=1)
    return apply("cast", apply("greater", both, level), dtype=x.dtype.name)


# -- spikes to values -----------------------------------------------------------------------------------------


def count(spikes: Tensor) -> Tensor:
    """(steps, ...) -> (...): how many spikes"""
    return apply("sum", spikes, axes=(0,), keepdims=False)


def first_spike(spikes: Tensor) -> Tensor:
    """(steps, ...) -> int64 (...): the step of the first spike; the number of steps where there is none"""
    steps = spikes.shape[0]
    index = place(np.arange(steps, dtype=np.int64).reshape(steps, *(1,) * (spikes.ndim - 1)), spikes.device)
    none = place(np.array(steps, np.int64), spikes.device)
    at = apply("where", apply("not_equal", spikes, spikes * 0), index, none)
    return apply("min", apply("concat", at, _row(none, at), axis=0), axes=(0,), keepdims=False)


def _row(value: Tensor, like: Tensor) -> Tensor:
    return apply("broadcast_to", value, shape=(1, *like.shape[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Spikes as a list: `step` rising, `index` into the flattened sample, `value` of each (1 for a spike).

    shape is that of the grid, (steps, ...).
    """

    step: Array
    index: Array
    value: Array
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.step)


def to_events(spikes: Any) -> Events:
    """(steps, ...) -> its elements that are not 0, by step"""
    grid = np.asarray(spikes)
    if grid.ndim < 1:
        raise ShapeError("events want a grid (steps, ...), got a single number")
    flat = grid.reshape(grid.shape[0], -1)
    step, index = np.nonzero(flat)
    return Events(step, index, flat[step, index], grid.shape)


def from_events(events: Events, *, device: Any = None) -> Tensor:
    """The grid (steps, ...) of a list; events at one place are added."""
    flat = np.zeros((events.shape[0], int(np.prod(events.shape[1:]))), events.value.dtype)
    lengths = {len(a) for a in (events.step, events.index, events.value)}
    inside = len(lengths) == 1 and all(
        not a.size or (a.min() >= 0 and a.max() < n)
        for a, n in zip((events.step, events.index), flat.shape, strict=True)
    )
    if not inside:
        raise ShapeError(
            f"events do not fit a grid of {events.shape}", hint="step, index and value of one length, all inside"
        )
    np.add.at(flat, (events.step, events.index), events.value)
    return place(flat.reshape(events.shape), device_of(device))


__all__ = [
    "Events", "call", "count", "cuba_lif", "delta", "first_spike", "from_events", "if_", "latency", "li", "lif", "rate",
    "threshold", "to_events",
]  # fmt: skip
