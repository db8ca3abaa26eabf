"""What can be a layer of a spiking network: ops of one step, by what they keep and what they are given.

Every such op takes x, its states, its parameters, in this order, and gives its output, then its states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.errors import GraphError
from hetero.op import OPS, Array, TensorType
from hetero.ops.loihi_rules import ROUNDING, TRACES
from hetero.ops.neuron import NEURONS

Shape = tuple[int, ...]
Attrs = Mapping[str, Any]
Parameters = Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer: an op of `KINDS` with its parameters. `shape` is one sample of its output. `start` has the states that
    do not begin at zero: values that broadcast to `shape`. `post` names the neurons that a layer which learns lies
    before: it also reads what they give in this step."""

    name: str
    op: str
    parameters: Parameters
    attrs: Attrs = field(default_factory=dict[str, Any])
    shape: Shape = ()
    start: Parameters = field(default_factory=dict[str, Array])
    post: str = ""

    @property
    def kind(self) -> Kind:
        return KINDS[self.op]

    @property
    def states(self) -> tuple[State, ...]:
        return self.kind.states(self)

    @property
    def size(self) -> int:
        """Elements of one sample of the output."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class State:
    """What a layer keeps: `depth` times its output's shape (0: just once), zeros at first unless `Layer.start` says
    otherwise. `own` is the shape of a state that has not the output's."""

    name: str
    depth: int | None = None
    dtype: dt.DType | None = None  # None: that of the network
    own: Shape | None = None

    def of(self, sample: Shape) -> Shape:
        """Its shape, `depth` aside, in a layer whose output is `sample`."""
        return sample if self.own is None else self.own


@dataclass(frozen=True, slots=True)
class Kind:
    """An op as a layer. `optional` counts the parameters at the end that may be left out."""

    op: str
    parameters: tuple[str, ...]
    states: Callable[[Layer], tuple[State, ...]]
    rank: Callable[[Layer], int]  # axes of one sample of the input
    neuron: bool = False
    optional: int = 0
    elementwise: bool = False  # parameters are given for each element of a sample
    learns: bool = False  # takes the neurons behind it and a step of rounding after its states


def _no_states(layer: Layer) -> tuple[State, ...]:
    return ()


def _of_neuron(layer: Layer) -> tuple[State, ...]:
    kept = [State(s) for s in NEURONS[layer.op].states]
    return (*kept, *[State("wait", dtype=dt.int32)] * bool(layer.attrs.get("refractory", 0)))


def _of_loihi(layer: Layer) -> tuple[State, ...]:
    return State("u"), State("v")


def _of_learning(layer: Layer) -> tuple[State, ...]:
    """The weights, with which such a layer always starts, and a trace for each source or target."""
    m, n = layer.start["weight"].shape
    return State("weight", own=(m, n)), *(State(t, own=(n if t[0] == "x" else m,)) for t in TRACES)


def _line(parameter: str) -> Callable[[Layer], tuple[State, ...]]:
    def states(layer: Layer) -> tuple[State, ...]:
        steps = layer.parameters[parameter]
        return (State("line", depth=int(steps.max()) if steps.size else 0),)

    return states


def _first_rank(layer: Layer) -> int:
    return next(iter(layer.parameters.values())).ndim


def _one(layer: Layer) -> int:
    return 1


def _of_weight(layer: Layer) -> int:
    return layer.parameters["weight"].ndim - 1


def _of_kernel(layer: Layer) -> int:
    return len(layer.attrs["kernel"]) + 1


def _of_rank(layer: Layer) -> int:
    return int(layer.attrs["rank"])


def _neuron(name: str, parameters: tuple[str, ...]) -> Kind:
    return Kind(name, parameters, _of_neuron, _first_rank, neuron=True, elementwise=True)


KINDS: dict[str, Kind] = {
    k.op: k
    for k in (
        *(_neuron(n.name, n.parameters) for n in NEURONS.values()),
        Kind("loihi_lif", ("du", "dv", "vth", "bias"), _of_loihi, _first_rank, neuron=True, elementwise=True),
        Kind("threshold", ("threshold",), _no_states, _first_rank, elementwise=True),
        Kind("quantized_relu", ("threshold", "step"), _no_states, _first_rank, neuron=True, elementwise=True),
        Kind("synapse_dense", ("weight", "bias"), _no_states, _one, optional=1),
        Kind("synapse_delayed", ("weight", "delay"), _line("delay"), _one),
        Kind("synapse_conv", ("weight", "bias"), _no_states, _of_weight, optional=1),
        Kind("synapse_sparse", ("weight", "source", "target"), _no_states, _one),
        Kind("loihi_learn_dense", (), _of_learning, _one, learns=True),
        Kind("synapse_dense_int8", ("weight", "scale", "bias"), _no_states, _one, optional=1),
        Kind("synapse_conv_int8", ("weight", "scale", "bias"), _no_states, _of_weight, optional=1),
        Kind("synapse_sparse_int8", ("weight", "source", "target", "scale"), _no_states, _one),
        Kind("synapse_scale", ("scale",), _no_states, _first_rank, elementwise=True),
        Kind("sum_pool", (), _no_states, _of_kernel),
        Kind("flatten", (), _no_states, _of_rank),
        Kind("delay", ("steps",), _line("steps"), _first_rank, elementwise=True),
    )
}


def shape_after(layer: Layer, x: Shape, dtype: dt.DType) -> Shape:
    """The shape of one sample of the output, by the op's own rule; its refusal names the layer."""
    op = OPS[layer.op]
    given = [TensorType(x, dtype)]
    out: Shape | None = None
    for state in layer.states:
        out = out if out is not None else _stateless_shape(layer, x)
        kept = state.of(out)
        given.append(TensorType(kept if state.depth is None else (state.depth, *kept), state.dtype or dtype))
    if layer.kind.learns:
        given += [TensorType(layer.start["weight"].shape[:1], dtype), TensorType((ROUNDING,), dt.int32)]
    given += [TensorType(p.shape, p.dtype) for p in layer.parameters.values()]
    with_name = layer.name
    try:
        types = op.infer_types(tuple(given), op.complete(layer.attrs))
    except GraphError as e:
        raise e.at(with_name) from e.__cause__
    shape = types[0].known
    assert all(isinstance(n, int) for n in shape)
    return tuple(int(n) for n in shape)  # pyright: ignore[reportArgumentType]


def _stateless_shape(layer: Layer, x: Shape) -> Shape:
    """What states look like: x, but for synapses that give another number of elements."""
    return (*x[:-1], layer.parameters["weight"].shape[0]) if layer.op == "synapse_delayed" else x
