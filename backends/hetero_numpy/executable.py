"""A graph as a list of NumPy calls that write into one arena."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from hetero.dim import concrete
from hetero.errors import FOREIGN, DeviceError, HeteroError, from_foreign
from hetero.graph.ir import Graph, Node
from hetero.graph.passes.fuse import fuse
from hetero.graph.passes.memory import VIEWS, plan_memory
from hetero.op import Array
from hetero_numpy import spiking
from hetero_numpy.into import Into, into
from hetero_numpy.region import Region

Values: TypeAlias = "list[Any]"  # value number -> array; None: not made yet, or dead
Step: TypeAlias = Callable[[Values], None]


@dataclass(frozen=True, slots=True)
class Place:
    """A value of the arena: where, and as what."""

    value: int
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def view(self, arena: Array) -> Array:
        nbytes = math.prod(self.shape) * self.dtype.itemsize
        return arena[self.offset : self.offset + nbytes].view(self.dtype).reshape(self.shape)


class NumpyExecutable:
    """Runs a graph. Safe to call from several threads: each call has an arena of its own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = fuse(graph)
        plan = plan_memory(self.graph, placed=_placed)
        self._steps = [_step(self.graph, node) for node in self.graph.nodes]
        scratch = (
            s.scratch_bytes
            for s in self._steps
            if isinstance(s, RegionStep | ScanStep | CondStep | spiking.SpikingStep)
        )
        self.peak_bytes = plan.peak_bytes + max(scratch, default=0)
        self._arena_bytes = plan.arena_bytes
        self._places = [self._place(i, o) for i, o in plan.offsets.items()]
        self._frees = [plan.frees.get(k, ()) for k in range(len(self.graph.nodes))]
        self._start: Values = [self.graph.constants.get(i) for i in range(len(self.graph.types))]
        borrowed = {p.value for p in self.graph.inputs} | set(self.graph.constants)
        self._copied = [plan.alias.get(p.value, p.value) in borrowed for p in self.graph.outputs]

    def _place(self, value: int, offset: int) -> Place:
        t = self.graph.types[value]
        return Place(value, offset, concrete(t.known), t.dtype)

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Outputs own their memory: one that is an input or a constant is a copy."""
        values = self._start.copy()
        for port, array in zip(self.graph.inputs, inputs, strict=True):
            values[port.value] = array
        try:
            self._run(values)
        except MemoryError as e:
            raise DeviceError(
                f"numpy: no memory for a run that needs {self.peak_bytes} bytes beside its inputs",
                hint="run with a smaller batch",
            ) from e
        made = [values[p.value] for p in self.graph.outputs]
        return tuple(a.copy() if c else a for a, c in zip(made, self._copied, strict=True))

    def _run(self, values: Values) -> None:
        arena = np.empty(self._arena_bytes, np.uint8)
        for place in self._places:
            values[place.value] = place.view(arena)
        for node, step, dead in zip(self.graph.nodes, self._steps, self._frees, strict=True):
            try:
                step(values)
            except HeteroError as e:
                raise e.at(node.label) from e.__cause__
            except MemoryError:
                raise
            except FOREIGN as e:
                raise from_foreign(node.label, e) from e
            for i in dead:
                values[i] = None


def _placed(node: Node) -> bool:
    """Whether the node writes into the arena."""
    return node.op.name == "fused" or into(node.op.name, node.attrs) is not None


def _step(graph: Graph, node: Node) -> Step:
    if node.op.name in CONTROL:
        return CONTROL[node.op.name](graph, node)
    if node.op.name in VIEWS:
        return partial(_view, node.inputs[0], node.outputs[0], concrete(graph.types[node.outputs[0]].known))
    run = into(node.op.name, node.attrs)
    if run is None:
        return partial(_reference, node)
    return IntoStep(graph, node, run)


def _view(source: int, to: int, shape: tuple[int, ...], values: Values) -> None:
    values[to] = values[source].reshape(shape)


def _reference(node: Node, values: Values) -> None:
    made = node.op.evaluate(tuple(values[i] for i in node.inputs), node.attrs)
    for i, array in zip(node.outputs, made, strict=True):
        values[i] = array


class IntoStep:
    """One op into its place, or into new memory when it is an output of the graph."""

    def __init__(self, graph: Graph, node: Node, run: Into) -> None:
        (self._output,) = node.outputs
        self._inputs, self._run = node.inputs, run
        self._new = _maker(graph, self._output)

    def __call__(self, values: Values) -> None:
        out = values[self._output]
        if out is None:
            out = values[self._output] = self._new()
        with np.errstate(all="ignore"):
            self._run(*[values[i] for i in self._inputs], out=out)


class RegionStep:
    """A fused region into its places."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._inputs = node.inputs
        self._outputs = [(i, _maker(graph, i)) for i in node.outputs]
        self._region = Region(node.attrs["body"], node.attrs["pattern"])
        self.scratch_bytes = self._region.scratch_bytes

    def __call__(self, values: Values) -> None:
        for i, new in self._outputs:
            if values[i] is None:
                values[i] = new()
        self._region([values[i] for i in self._inputs], [values[i] for i, _ in self._outputs])


class ScanStep:
    """A loop: the body compiled once, each step's outputs written into their row."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._node = node
        self._body = NumpyExecutable(node.attrs["body"])
        self._carried, self._scanned = int(node.attrs["carried"]), int(node.attrs["scanned"])
        self._stacked = [_maker(graph, i) for i in node.outputs[self._carried :]]
        self.scratch_bytes = self._body.peak_bytes

    def __call__(self, values: Values) -> None:
        inputs = [values[i] for i in self._node.inputs]
        state, rest = inputs[: self._carried], inputs[self._carried + self._scanned :]
        xs = inputs[self._carried : self._carried + self._scanned]
        ys = [new() for new in self._stacked]
        steps = range(xs[0].shape[0])
        for t in reversed(steps) if self._node.attrs["reverse"] else steps:
            out = self._body(*state, *[x[t] for x in xs], *rest)
            state = out[: self._carried]
            for y, row in zip(ys, out[self._carried :], strict=True):
                y[t] = row
        for i, array in zip(self._node.outputs, [*state, *ys], strict=True):
            values[i] = array


class CondStep:
    """A branch: both bodies compiled, one run."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._node = node
        self._branches = {True: NumpyExecutable(node.attrs["then"]), False: NumpyExecutable(node.attrs["otherwise"])}
        self.scratch_bytes = max(b.peak_bytes for b in self._branches.values())

    def __call__(self, values: Values) -> None:
        chosen, *inputs = [values[i] for i in self._node.inputs]
        values_out = self._branches[bool(chosen)](*inputs)
        for i, array in zip(self._node.outputs, values_out, strict=True):
            values[i] = array


def _scan(graph: Graph, node: Node) -> Step:
    """A spiking loop by its events, any other one by its body."""
    if found := spiking.staged_or_none(node):
        return spiking.SpikingStep(node, graph, *found, NumpyExecutable)
    return ScanStep(graph, node)


CONTROL: dict[str, Callable[[Graph, Node], Step]] = {"fused": RegionStep, "scan": _scan, "cond": CondStep}


def _maker(graph: Graph, value: int) -> Callable[[], Array]:
    t = graph.types[value]
    return partial(np.empty, concrete(t.known), t.dtype)
