"""From layers and edges to a graph: one loop over time that runs them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Size
from hetero.errors import GraphError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, TensorType
from hetero.ops.loihi_rules import ROUNDING, rounding_of
from hetero.spiking.layers import Layer
from hetero.spiking.network import Network, own_shape


def build(
    net: Network,
    *,
    steps: int | str = "time",
    batch: int | str | None = None,
    record: Collection[str] | bool = (),
) -> Graph:
    """One loop over time: inputs (steps, [batch,] *shape) -> outputs (steps, [batch,] *shape), by their names.

    steps and batch may be names of open dimensions; without a batch there is no axis for it. `record` names layers
    whose output and states in every step are outputs too (`layer`, `layer.v`); True: all. A network that learns wants
    steps as a number and no batch: its rounding is drawn for each step of a run, before the run.
    """
    net = net.check()
    learning = {n: layer for n, layer in net.layers.items() if layer.kind.learns}
    count = _steps_of_learning(net, learning, steps, batch)
    body = _Body(net, () if batch is None else (_size(batch),))
    chosen = tuple(net.layers) if record is True else tuple(record or ())
    if unknown := [n for n in chosen if n not in net.layers]:
        raise GraphError(f"{net.name} has no layer {' or '.join(unknown)}", hint=f"it has {', '.join(net.layers)}")
    inner, names = body.build(chosen)
    outer = Builder(net.name, track=False)
    with outer.at("", net.name):
        xs = [
            outer.input(n, TensorType((_size(steps), *body.lead, *shape), net.dtype)) for n, shape in net.inputs.items()
        ]
        xs += [outer.constant(rounding_of(layer.attrs, count)) for layer in learning.values()]
        start = [_begin(outer, t, value) for t, value in zip(body.state_types, body.starts, strict=True)]
        made = outer.emit(
            OPS["scan"], (*start, *xs),
            {"body": inner, "carried": len(start), "scanned": len(xs), "reverse": False},
        )  # fmt: skip
    return outer.build(dict(zip(names, made[len(start) :], strict=True)))


def _steps_of_learning(net: Network, learning: Collection[str], steps: int | str, batch: int | str | None) -> int:
    """Steps as a number, where layers learn."""
    names = " and ".join(learning)
    if learning and batch is not None:
        raise GraphError(f"{net.name}: {names} learns from one sample at a time, not from a batch", hint="batch=None")
    if isinstance(steps, int):
        return steps
    if learning:
        raise GraphError(
            f"{net.name}: {names} learns, and how it rounds is drawn for each step, so that their number must be known",
            hint="build(network, steps=100)",
        )
    return 0


def _size(n: int | str) -> Size:
    return Dim.symbol(n) if isinstance(n, str) else n


def _zeros(builder: Builder, t: TensorType) -> Ref:
    zero = builder.constant(np.zeros((), t.dtype))
    return builder("broadcast_to", zero, shape=t.known) if t.rank else zero


def _begin(builder: Builder, t: TensorType, value: Array | None) -> Ref:
    """A state before the first step."""
    if value is None:
        return _zeros(builder, t)
    given = builder.constant(np.ascontiguousarray(value, t.dtype))
    return given if given.type.known == t.known else builder("broadcast_to", given, shape=t.known)


class _Body:
    """One step of a network, being written."""

    def __init__(self, net: Network, lead: tuple[Size, ...]) -> None:
        self.net, self.lead = net, lead
        self.builder = Builder("step", track=False)
        self.state_types: list[TensorType] = []
        self.starts: list[Array | None] = []
        self._state: dict[tuple[str, str], Ref] = {}
        late = dict.fromkeys(e.source for e in net.edges if e.delayed)
        for name in net.order:
            layer = net.layers[name]
            for state in layer.states:
                depth = () if state.depth is None else (state.depth,)
                shape = (*depth, *lead, *state.of(layer.shape))
                self._new_state(name, state.name, shape, state.dtype or net.dtype, layer.start.get(state.name))
        for name in late:
            shape = net.layers[name].shape if name in net.layers else net.inputs[name]
            self._new_state(name, "", (*lead, *shape), net.dtype)
        self._late = tuple(late)
        self._now = {n: self.builder.input(n, TensorType((*lead, *s), net.dtype)) for n, s in net.inputs.items()}
        self._rounding = {
            n: self.builder.input(f"{n}.rounding", TensorType((ROUNDING,), dt.int32))
            for n, layer in net.layers.items() if layer.kind.learns
        }  # fmt: skip
        self._after: dict[tuple[str, str], Ref] = {}

    def _new_state(
        self, layer: str, state: str, shape: tuple[Size, ...], dtype: dt.DType, start: Array | None = None
    ) -> None:
        t = TensorType(shape, dtype)
        self.state_types.append(t)
        self.starts.append(start)
        self._state[layer, state] = self.builder.input(f"{layer}.{state or 'before'}", t)

    def build(self, record: tuple[str, ...]) -> tuple[Graph, list[str]]:
        for name in self.net.order:
            self._step(self.net.layers[name])
        self._after |= {(n, ""): self._now[n] for n in self._late}
        outs = {f"{layer}.{state or 'before'}": self._after[layer, state] for layer, state in self._state}
        shown = {n: self._sum(n) for n in self.net.outputs}
        for n in record:
            shown |= {n: self._now[n]} | {f"{n}.{s.name}": self._after[n, s.name] for s in self.net.layers[n].states}
        return self.builder.build([*outs.values(), *shown.values()], prune=True), list(shown)

    def _sum(self, target: str) -> Ref:
        """What comes to a layer or an output."""
        came = [self._state[e.source, ""] if e.delayed else self._now[e.source] for e in self.net.into.get(target, ())]
        if not came:
            shape = own_shape(self.net.layers[target])
            return _zeros(self.builder, TensorType((*self.lead, *shape), self.net.dtype))
        total = came[0]
        for more in came[1:]:
            total = self.builder("add", total, more)
        return total

    def _step(self, layer: Layer) -> None:
        with self.builder.at("", layer.name):
            given = [self._sum(layer.name), *(self._state[layer.name, s.name] for s in layer.states)]
            if layer.kind.learns:
                given += [self._now[layer.post], self._rounding[layer.name]]
            given += [self.builder.constant(p) for p in layer.parameters.values()]
            made = self.builder.emit(OPS[layer.op], given, layer.attrs)
        self._now[layer.name] = made[0]
        self._after |= {(layer.name, s.name): ref for s, ref in zip(layer.states, made[1:], strict=True)}


__all__ = ["build"]
