"""A spiking loop stage by stage: sums over the sources that are not zero, then the elementwise body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hetero.dim import concrete
from hetero.errors import GraphError
from hetero.graph.build import Builder, replay
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType
from hetero.spiking.read import Loop
from hetero.spiking.stages import Kept, Stage, Stages, staged
from hetero.spiking.synapses import Read, Synapses
from hetero_numpy.spiking_body import Body, Program, program
from hetero_numpy.spiking_lines import Coming, Past
from hetero_numpy.spiking_sums import Sum, summing

BLOCK = 1 << 20  # elements of the sums of an input that are made at once, for as many steps as that is


def staged_or_none(node: Node) -> tuple[Loop, Stages] | None:
    """The loop as stages; None: it has no such form."""
    try:
        return staged(node)
    except GraphError:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _StageRun:
    """A stage, ready: its sums, and its body for a batch."""

    stage: Stage
    sums: tuple[Sum, ...]
    body: Program | Any  # or an executable

    def begin(self) -> Body:
        """The body for one run."""
        return self.body.begin() if isinstance(self.body, Program) else self.body


class SpikingStep:
    """A loop of spiking stages; `compiled` makes an executable of a body."""

    def __init__(self, node: Node, graph: Graph, loop: Loop, staged: Stages, compiled: Callable[[Graph], Any]) -> None:
        self._node, self._staged = node, staged
        self._carried = int(node.attrs["carried"])
        self._types = graph.out_types(node)
        first = graph.types[node.inputs[self._carried]].known
        self._batch = int(np.prod([int(n) for n in first[1 : 1 + loop.lead]], dtype=np.int64))  # pyright: ignore
        self._runs = [self._prepare(s, compiled) for s in staged.stages]
        steps = int(graph.types[node.inputs[self._carried]].known[0])  # pyright: ignore[reportArgumentType]
        self.scratch_bytes = sum(self._scratch(r, steps) for r in self._runs)

    def _prepare(self, stage: Stage, compiled: Callable[[Graph], Any]) -> _StageRun:
        sums = tuple(summing(s, stage.size) for s in stage.synapses)
        body = _batched(stage.body, self._batch)
        return _StageRun(stage, sums, program(body) or compiled(body))

    def _scratch(self, run: _StageRun, steps: int) -> int:
        """Bytes of a stage in a run: of its body, its delays, and the sums that are made ahead."""
        stage, item = run.stage, self._staged.dtype.itemsize
        total = int(run.body.peak_bytes) + (stage.depth + 1) * self._batch * stage.size * item
        for s in stage.synapses:
            row = self._batch * stage.size * (s.depth + 1)
            ahead = s.read.name in self._staged.inputs
            total += item * (min(steps * row, max(row, BLOCK)) if ahead else row)
        return total

    def __call__(self, values: list[Any]) -> None:
        inputs = [values[i] for i in self._node.inputs]
        run = _Run(self._staged, self._runs, self._batch, inputs[: self._carried], inputs[self._carried :])
        steps = len(inputs[self._carried])
        ys = [np.empty(concrete(t.known), t.dtype) for t in self._types[self._carried :]]
        shown = [y.reshape(steps, *run.shape(k)) for y, k in zip(ys, self._staged.shown, strict=True)] if steps else []
        with np.errstate(all="ignore"):
            for t in range(steps):
                run.step(t)
                for y, kept in zip(shown, self._staged.shown, strict=True):
                    y[t] = run.kept(kept)
        made = [*(run.kept(k) for k in self._staged.carried), *ys] if steps else [*inputs[: self._carried], *ys]
        for i, array, type in zip(self._node.outputs, made, self._types, strict=True):
            values[i] = array.reshape(type.known)  # pyright: ignore[reportArgumentType]


class _Run:
    """One run of a loop: what its stages keep from step to step."""

    def __init__(
        self, staged: Stages, runs: list[_StageRun], batch: int, before: list[Array], xs: list[Array]
    ) -> None:  # fmt: skip
        self.staged, self.batch = staged, batch
        self.runs = [(r, r.begin()) for r in runs]
        self.steps = len(xs[0])
        self.xs = {n: x.reshape(self.steps, batch, k) for (n, k), x in zip(staged.inputs.items(), xs, strict=True)}
        self.now: dict[str, Array] = {}
        self.last: dict[str, Array] = {}
        self.states: dict[tuple[str, int], Array] = {}
        self.past: dict[str, Past] = {}
        self.coming: dict[tuple[str, int], Coming] = {}
        self.ready: dict[tuple[str, int], tuple[int, Array]] = {}  # sums of inputs: their first step, for each step
        for kept, array in zip(staged.carried, before, strict=True):
            self._start(kept, array.reshape(self.shape(kept)))

    def _start(self, kept: Kept, array: Array) -> None:
        if kept.part == "out":
            self.last[kept.stage] = array
        elif kept.part == "state":
            self.states[kept.stage, kept.index] = array
        elif kept.part == "past":
            self.past[kept.stage] = Past(array)
        else:
            shift = self.staged.by_name[kept.stage].synapses[kept.index].shift
            self.coming[kept.stage, kept.index] = Coming(array, shift)

    def kept(self, kept: Kept) -> Array:
        """As it is after a step."""
        if kept.part == "out":
            return self.last[kept.stage]
        if kept.part == "state":
            return self.states[kept.stage, kept.index]
        return self.past[kept.stage].rows() if kept.part == "past" else self.coming[kept.stage, kept.index].rows()

    def shape(self, kept: Kept) -> tuple[int, ...]:
        """Of a step: (its own steps,) batch, elements."""
        depth = self.staged.depth(kept)
        return (*(() if depth is None else (depth,)), self.batch, self.staged.by_name[kept.stage].size)

    def step(self, t: int) -> None:
        self.now = {n: x[t] for n, x in self.xs.items()}
        for run, body in self.runs:
            self._stage(run, body, t)
        self.last = self.now

    def _stage(self, run: _StageRun, body: Body, t: int) -> None:
        stage = run.stage
        given = [self._sum(run, j, s, t) for j, s in enumerate(stage.synapses)]
        given += [self._read(r) for r in stage.direct]
        given += [self.states[stage.name, k] for k in range(len(stage.states))]
        out, *states = body(*given)
        self.now[stage.name] = out
        for k, array in enumerate(states):
            self.states[stage.name, k] = array
        if stage.name in self.past:
            self.past[stage.name].put(out)

    def _read(self, read: Read) -> Array:
        """A value of this step, or of some steps before."""
        if read.name in self.past:
            return self.past[read.name].at(read.late)
        return (self.last if read.late else self.now)[read.name]

    def _sum(self, run: _StageRun, j: int, synapses: Synapses, t: int) -> Array:
        if synapses.read.name in self.xs:
            brought = self._of_input(run, j, synapses, t)
        else:
            brought = run.sums[j](self._read(synapses.read))
        line = self.coming.get((run.stage.name, j))
        return brought if line is None else line.pass_(brought)

    def _of_input(self, run: _StageRun, j: int, synapses: Synapses, t: int) -> Array:
        """Inputs are known for all steps: their sums are made for many at once."""
        key = run.stage.name, j
        first, sums = self.ready.get(key, (0, None))
        if sums is None or t >= first + len(sums):
            width = max(run.stage.size * (synapses.depth + 1), synapses.sources)
            rows = max(1, BLOCK // max(self.batch * width, 1))
            x = self.xs[synapses.read.name][t : t + rows]
            made = run.sums[j](x.reshape(-1, synapses.sources))
            first, sums = t, made.reshape(len(x), self.batch, prod(made.shape[1:]))
            self.ready[key] = first, sums
        return sums[t - first]


def _batched(body: Graph, batch: int) -> Graph:
    """The body for `batch` samples at once."""
    builder = Builder(body.name, track=False)
    inputs = [builder.input(n, TensorType((batch, *t.known), t.dtype)) for n, t in body.input_types.items()]
    outs = replay(body, builder, inputs)
    wide = [_whole(builder, o, batch, body.types[p.value]) for o, p in zip(outs, body.outputs, strict=True)]
    return builder.build(wide)


def _whole(builder: Builder, ref: Any, batch: int, type: TensorType) -> Any:
    """A result that no input reaches has no batch yet."""
    shape = (batch, *type.known)
    return ref if ref.type.known == shape else builder("broadcast_to", ref, shape=shape)
