"""A graph as a list of NumPy calls that write into one arena.

What a call costs beside the calls of NumPy is kept small: the arena, and the views of it that values lie in, are made
once and used again by the next call; small regions are run op by op, since cutting them into blocks takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from hetero.dim import concrete
from hetero.errors import FOREIGN, DeviceError, HeteroError, from_foreign
from hetero.graph.build import Builder, Ref, replay, rewrite
from hetero.graph.ir import Graph, Node
from hetero.graph.passes.fuse import full_shape, fuse
from hetero.graph.passes.memory import VIEWS, plan_memory
from hetero.op import Array
from hetero_numpy import spiking
from hetero_numpy.into import Into, into
from hetero_numpy.region import Region

Values: TypeAlias = "list[Any]"  # value number -> array; None: not made yet, or dead
Step: TypeAlias = Callable[[Values], None]

SMALL = 1 << 14  # elements of a region that is run op by op: its values stay in the nearest cache anyhow
SPARES = 2  # frames kept for the next calls; more threads at once make their own


class NumpyExecutable:
    """Runs a graph. Safe to call from several threads: each call has a frame, and with it an arena, of its own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = fuse(graph)
        self._ran = ran = rewrite(self.graph, _opened)
        plan = plan_memory(ran, placed=_placed)
        steps = {k: _step(ran, node) for k, node in enumerate(ran.nodes)}
        scratch = (
            s.scratch_bytes
            for s in steps.values()
            if isinstance(s, RegionStep | ScanStep | CondStep | spiking.SpikingStep)
        )
        self.peak_bytes = plan.peak_bytes + max(scratch, default=0)
        self._arena_bytes = plan.arena_bytes
        self._offsets = dict(plan.offsets)
        self._views = {v: s for v, s in plan.alias.items() if s in self._offsets}  # of values that lie in the arena
        lies = self._offsets.keys() | self._views.keys()
        loose = {k: tuple(i for i in dead if i not in lies) for k, dead in plan.frees.items()}
        self._steps = [(s, loose.get(k, ()), ran.nodes[k]) for k, s in steps.items()
                       if not self._views.keys() & ran.nodes[k].outputs]  # fmt: skip
        self._inputs = [p.value for p in ran.inputs]
        borrowed = {*self._inputs, *ran.constants}
        self._outputs = [(p.value, plan.alias.get(p.value, p.value) in borrowed) for p in ran.outputs]
        self._held = [i for i in range(len(ran.types)) if i not in ran.constants and i not in lies]
        self._frames: list[Values] = []

    def _frame(self) -> Values:
        """The table of values, with the views of a new arena in it."""
        values: Values = [self._ran.constants.get(i) for i in range(len(self._ran.types))]
        arena = np.empty(self._arena_bytes, np.uint8)
        for value, at in self._offsets.items():
            t = self._ran.types[value]
            values[value] = arena[at : at + t.nbytes].view(t.dtype).reshape(concrete(t.known))
        for value, source in self._views.items():
            values[value] = values[source].reshape(concrete(self._ran.types[value].known))
        return values

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Outputs own their memory: one that is an input or a constant is a copy."""
        try:
            values = self._frames.pop()
        except IndexError:
            values = None
        try:
            values = values or self._frame()
            for value, array in zip(self._inputs, inputs, strict=True):
                values[value] = array
            with np.errstate(all="ignore"):  # a warning inside a graph names no line of the person's
                self._run(values)
        except MemoryError as e:
            raise DeviceError(
                f"numpy: no memory for a run that needs {self.peak_bytes} bytes beside its inputs",
                hint="run with a smaller batch",
            ) from e
        made = tuple(values[i].copy() if copied else values[i] for i, copied in self._outputs)
        for i in self._held:
            values[i] = None
        if len(self._frames) < SPARES:
            self._frames.append(values)
        return made

    def _run(self, values: Values) -> None:
        node = None
        try:
            for step, dead, node in self._steps:  # noqa: B007, the handlers below name it
                step(values)
                for i in dead:
                    values[i] = None
        except HeteroError as e:
            raise e.at(node.label if node else "") from e.__cause__
        except MemoryError:
            raise
        except FOREIGN as e:
            raise from_foreign(node.label if node else "", e) from e


def _opened(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
    """A small region as its nodes."""
    if node.op.name != "fused":
        return None
    body: Graph = node.attrs["body"]
    if math.prod(concrete(full_shape(body, node.attrs["pattern"]))) > SMALL:
        return None
    return replay(body, builder, refs)


def _placed(node: Node) -> bool:
    """Whether the node writes into the arena."""
    return node.op.name == "fused" or into(node.op.name, node.attrs) is not None


def _step(graph: Graph, node: Node) -> Step:
    if node.op.name in CONTROL:
        return CONTROL[node.op.name](graph, node)
    if node.op.name in VIEWS:
        return partial(_view, node.inputs[0], node.outputs[0], concrete(graph.types[node.outputs[0]].known))
    run = into(node.op.name, node.attrs, graph.in_types(node))
    if run is None:
        return partial(_reference, node)
    if node.outputs[0] in {p.value for p in graph.outputs} | _shown(graph):
        return partial(_into_new, node.inputs, node.outputs[0], run, _maker(graph, node.outputs[0]))
    if isinstance(run, np.ufunc) and len(node.inputs) in _UFUNC:
        return _UFUNC[len(node.inputs)](run, *node.inputs, *node.outputs)
    return partial(_into, node.inputs, node.outputs[0], run)


def _shown(graph: Graph) -> set[int]:
    """Values that an output of the graph is a view of: they are new memory, too."""
    seen = {p.value for p in graph.outputs}
    for node in reversed(graph.nodes):
        if node.op.name in VIEWS and node.outputs[0] in seen:
            seen.add(node.inputs[0])
    return seen


def _view(source: int, to: int, shape: tuple[int, ...], values: Values) -> None:
    values[to] = values[source].reshape(shape)


def _reference(node: Node, values: Values) -> None:
    made = node.op.evaluate(tuple(values[i] for i in node.inputs), node.attrs)
    for i, array in zip(node.outputs, made, strict=True):
        values[i] = array


def _into(inputs: tuple[int, ...], output: int, run: Into, values: Values) -> None:
    """One op into its place."""
    run(*[values[i] for i in inputs], out=values[output])


def _into_new(inputs: tuple[int, ...], output: int, run: Into, new: Callable[[], Array], values: Values) -> None:
    """One op into new memory: an output of the graph."""
    out = values[output] = new()
    run(*[values[i] for i in inputs], out=out)


def _ufunc1(run: np.ufunc, a: int, output: int) -> Step:
    def step(values: Values) -> None:
        run(values[a], out=values[output])

    return step


def _ufunc2(run: np.ufunc, a: int, b: int, output: int) -> Step:
    def step(values: Values) -> None:
        run(values[a], values[b], out=values[output])

    return step


_UFUNC: dict[int, Callable[..., Step]] = {1: _ufunc1, 2: _ufunc2}


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
