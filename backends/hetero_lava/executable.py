"""A graph on Lava: each loop is a call of the worker; what lies around loops is computed by the ops' references."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hetero.errors import DeviceError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, Types
from hetero.ops.loihi_learning import SIGNS, STATES
from hetero.ops.loihi_rules import TRACE_TOP
from hetero.spiking.read import Loop, wrong_rounding
from hetero_lava.client import deadline
from hetero_lava.lowering import IN_LAVA, Lowered, RefusedError, check, lower, source_of
from hetero_lava.reach import MOST_CURRENT

Call = Callable[[dict[str, Any], dict[str, Array], float], tuple[dict[str, Any], dict[str, Array]]]

LEARNING = 50  # how much longer a weight that learns takes than one that does not

_numbers = itertools.count(1)  # of networks, for the worker


class LavaExecutable:
    """Nodes in order; buffers are NumPy arrays."""

    def __init__(self, graph: Graph, call: Call) -> None:
        self.graph = graph
        self.peak_bytes = graph.peak_bytes
        loops = [n for n in graph.nodes if n.op.name == "scan"]
        self._loops = {id(n): LoopOnLava(n, steps_of(n, graph.in_types(n)), call) for n in loops}

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        held: dict[int, Array] = dict(self.graph.constants)
        held |= {p.value: a for p, a in zip(self.graph.inputs, inputs, strict=True)}
        for node in self.graph.nodes:
            given = [held[i] for i in node.inputs]
            loop = self._loops.get(id(node))
            made = loop(given) if loop is not None else node.op.evaluate(tuple(given), node.attrs)
            held |= zip(node.outputs, made, strict=True)
        return tuple(held[p.value] for p in self.graph.outputs)


def steps_of(node: Node, types: Types) -> int:
    """How often a `scan` node with inputs of `types` runs its body."""
    return int(types[node.attrs["carried"]].known[0])  # pyright: ignore[reportArgumentType]


class LoopOnLava:
    """A `scan` node. Built twice where it also gets graded spikes: Lava takes those another way."""

    def __init__(self, node: Node, steps: int, call: Call) -> None:
        self._node, self._steps, self._call = node, steps, call
        self._plain = lower(node, steps)
        self._made: dict[frozenset[str], tuple[int, Lowered]] = {}

    def __call__(self, given: Sequence[Array]) -> tuple[Array, ...]:
        loop = self._plain.loop
        count = len(loop.carried)
        start = dict(zip(loop.carried, given[:count], strict=True))
        scanned = given[count:]
        _check_learning(loop, start, {n: scanned[k] for k, n in loop.tables.items()})
        true = [x for k, x in enumerate(scanned) if k not in loop.tables]
        xs = dict(zip(loop.network.inputs, true, strict=True))
        values = _Values(self._plain, start, xs, self._run(start, xs) if self._steps else {})
        return (*(values.last(*what) for what in loop.carried), *(values.each(*what) for what in loop.shown))

    def _run(self, start: dict[tuple[str, str], Array], xs: dict[str, Array]) -> dict[str, Array]:
        graded = frozenset(n for n, x in xs.items() if x.size and (x.min() < 0 or x.max() > 1))
        self._check(start, xs)
        if graded not in self._made:
            self._made[graded] = next(_numbers), lower(self._node, self._steps, graded)
        number, lowered = self._made[graded]
        arrays = {f"{n}.data": x for n, x in xs.items() if n in lowered.description["feeds"]} | _starts(lowered, start)
        layers = lowered.description["layers"]
        weights = sum(a.size * (layers[n].get("depth", 0) + 1) for n, a in _weights(lowered))
        weights += sum(LEARNING * d["shape"][0] * d["sources"] for d in layers.values() if d["op"] == "plastic")
        until = deadline(self._steps, len(layers) + len(xs), weights)
        header = {"do": "run", "net": number}
        answer, made = self._call(header, arrays, until)
        if answer.get("missing"):
            header |= {"spec": lowered.description}
            _, made = self._call(header, arrays | lowered.arrays, until)
        return made

    def _check(self, start: dict[tuple[str, str], Array], xs: dict[str, Array]) -> None:
        """Values that Lava's 32 bits do not hold; a DeviceError before anything runs."""
        net = self._plain.loop.network
        for (name, state), array in start.items():
            if state in ("u", "v") and _size(array) > MOST_CURRENT:
                raise DeviceError(f"{name} starts with {state} of {_size(array)}; Loihi has 24 bits, {MOST_CURRENT}")
        held: dict[str, int] = {}
        for (name, state), array in start.items():
            if state in ("", "line"):
                held[name] = held.get(name, 0) + _size(array) * max(1, len(array) if state else 1)
        try:
            check(net, self._steps, {n: _size(x) for n, x in xs.items()}, held)
        except RefusedError as e:
            raise DeviceError(f"these inputs do not run on lava: {e}", hint="run them on numpy") from e


def _check_learning(loop: Loop, start: dict[tuple[str, str], Array], tables: dict[str, Array]) -> None:
    """Lava draws its random numbers itself, and keeps weights and traces of few bits; a DeviceError for other ones."""
    for name, table in tables.items():
        attrs = loop.network.layers[name].attrs
        if wrong_rounding(attrs, table):
            raise DeviceError(f"{name} does not round as its seed {attrs['seed']} says", hint="build the network again")
        for state in STATES:
            low, high = SIGNS[attrs["sign"]] if state == "weight" else (0, TRACE_TOP)
            array = start[name, state]
            if array.size and (array.min() < low or array.max() > high):
                raise DeviceError(
                    f"{name} starts with {state} of {array.min()} to {array.max()}; Loihi has {low} to {high}"
                )


def _size(array: Array) -> int:
    return max(-int(array.min()), int(array.max())) if array.size else 0


def _weights(lowered: Lowered) -> list[tuple[str, Array]]:
    return [(k[: -len(".weight")], a) for k, a in lowered.arrays.items() if k.endswith(".weight")]


def _starts(lowered: Lowered, start: dict[tuple[str, str], Array]) -> dict[str, Array]:
    """What Lava's models hold before the first step. Their buffer is hetero's line, and before it what comes next."""
    made: dict[str, Array] = {}
    for name, layer in lowered.description["layers"].items():
        if layer["op"] == "lif":
            made |= {f"{name}.start.{s}": start[name, s] for s in "uv"}
            continue
        before = start.get((name, ""))
        before = np.zeros(layer["shape"], np.int32) if before is None else before
        if layer["op"] == "conv":
            made[f"{name}.start.a_buf"] = before.transpose(1, 2, 0)
        elif layer["op"] == "delayed":
            made[f"{name}.start.a_buff"] = np.concatenate((before[None], start[name, "line"])).T
        else:
            made[f"{name}.start.a_buff"] = before
        if layer["op"] == "plastic":
            made |= {f"{name}.start.{IN_LAVA.get(s, s)}": start[name, s] for s in STATES}
    return made


class _Values:
    """What a run gave, by hetero's names and in its shapes."""

    def __init__(
        self, lowered: Lowered, start: dict[tuple[str, str], Array], xs: dict[str, Array], made: dict[str, Array]
    ) -> None:
        self.net, self.layers = lowered.loop.network, lowered.description["layers"]
        self.start, self.xs, self.made, self.steps = start, xs, made, lowered.steps

    def each(self, name: str, state: str) -> Array:
        """In each step: (steps, ...)"""
        if not name:
            return self._sum(state)
        if name in self.xs:
            return self.xs[name]
        shape = (self.steps, *self.net.layers[name].shape)
        if not self.steps:
            return np.zeros((0, *self.start[name, state].shape) if state else shape, np.int32)
        if self.net.layers[name].op == "flatten":
            return self.each(source_of(self.net, name), "").reshape(shape)
        op = self.layers[name]["op"]
        if op == "lif":
            return self.made[f"{name}.trace.{state or 's'}"].astype(np.int32)
        if state == "line":
            return np.ascontiguousarray(self.made[f"{name}.trace.a_buff"][:, :, 1:].transpose(0, 2, 1))
        if state:
            return self.made[f"{name}.trace.{IN_LAVA.get(state, state)}"]
        y = self.made[f"{name}.trace.y"]
        return np.ascontiguousarray(y.transpose(0, 3, 1, 2)) if op == "conv" else y

    def last(self, name: str, state: str) -> Array:
        """After the last step, or as it was where there is none."""
        if not self.steps:
            return self.start[name, state]
        layer = self.layers.get(name, {"op": ""})
        if layer["op"] in ("", "lif"):
            return self.made[f"{name}.end.{state}"] if state else self.each(name, "")[-1]
        if layer["op"] == "conv":
            return np.ascontiguousarray(self.made[f"{name}.end.a_buf"].transpose(2, 0, 1))
        if layer["op"] == "plastic" and state:
            return self.made[f"{name}.end.{IN_LAVA.get(state, state)}"]
        buffer = self.made[f"{name}.end.a_buff"]
        if layer["op"] == "delayed":
            return np.ascontiguousarray(buffer[:, 1:].T if state else buffer[:, 0])
        return buffer

    def _sum(self, output: str) -> Array:
        """An output of the network: its edges, added up."""
        total: Any = 0
        for edge in self.net.into[output]:
            value = self.each(edge.source, "")
            if edge.delayed:
                value = np.concatenate((self.start[edge.source, ""][None], value))[: self.steps]
            total = total + value
        return np.asarray(total, np.int32)
