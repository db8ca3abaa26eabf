"""A spiking loop stage by stage: sums over the sources that are not zero, then the elementwise body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from hetero.errors import GraphError
from hetero.graph.build import Builder, replay
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType
from hetero.spiking.read import Loop
from hetero.spiking.stages import Read, Stage, Stages, Synapses, staged

# The share of sources that are not zero from which a matrix product is quicker, of many samples and of one: measured
# for 784 to 512 and 1000 to 1000 elements.
DENSE, DENSE_ONE = 0.05, 0.4
EXACT = 1 << 52  # integer sums below this are exact in float64, whose products BLAS knows

Sum = Callable[[Array], Array]  # (batch, sources) -> (batch, targets)


def staged_or_none(node: Node) -> tuple[Loop, Stages] | None:
    """The loop as stages; None: it has no such form."""
    try:
        return staged(node)
    except GraphError:
        return None


def summing(synapses: Synapses, size: int) -> Sum:
    """What adds up the weights of the sources that are not zero."""
    if synapses.source is None:
        return _dense(np.ascontiguousarray(synapses.weight.T))
    shape = (synapses.sources, size)
    rows = sparse.csr_array((synapses.weight, (synapses.source, synapses.target)), shape=shape)
    return _Rows(rows)


def _dense(weight: Array) -> Sum:
    """weight (sources, targets)"""
    wide = weight
    if weight.dtype.kind == "i":
        if np.abs(weight.astype(np.float64)).sum(0, initial=0).max(initial=0) >= EXACT >> 31:
            return _Plain(weight)
        wide = weight.astype(np.float64)
    return _Dense(weight, wide)


@dataclass(frozen=True, slots=True, eq=False)
class _Plain:
    """Integers too large for anything but integer arithmetic."""

    weight: Array

    def __call__(self, x: Array) -> Array:
        return np.matmul(x, self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    weight: Array
    wide: Array  # the same as floats

    def __call__(self, x: Array) -> Array:
        active = np.count_nonzero(x)
        if active > (DENSE_ONE if len(x) == 1 else DENSE) * x.size:
            return np.matmul(x.astype(self.wide.dtype, copy=False), self.wide).astype(x.dtype, copy=False)
        if len(x) == 1:
            (at,) = np.nonzero(x[0])
            return (x[0, at].astype(self.wide.dtype, copy=False) @ self.wide[at]).astype(x.dtype)[None]
        events = sparse.csr_array(x.astype(self.wide.dtype, copy=False))
        return np.asarray(events @ self.wide).astype(x.dtype, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Sparse weights, a row for each source."""

    rows: Any

    def __call__(self, x: Array) -> Array:
        if len(x) == 1:
            return self._one(x[0])[None]
        return np.asarray((sparse.csr_array(x) @ self.rows).todense()).astype(x.dtype, copy=False)

    def _one(self, x: Array) -> Array:
        """The rows of the events end to end, added by target."""
        (at,) = np.nonzero(x)
        begin, stop = self.rows.indptr[at], self.rows.indptr[at + 1]
        chosen = [slice(a, b) for a, b in zip(begin.tolist(), stop.tolist(), strict=True)]
        size = self.rows.shape[1]
        if not chosen:
            return np.zeros(size, x.dtype)
        target = np.concatenate([self.rows.indices[c] for c in chosen])
        weight = np.concatenate([self.rows.data[c] for c in chosen]) * np.repeat(x[at], stop - begin)
        return np.bincount(target, weight, size).astype(x.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class _StageRun:
    """A stage, ready: its sums, and its body for a batch."""

    stage: Stage
    sums: tuple[tuple[Read, Sum], ...]
    body: Callable[..., tuple[Array, ...]]


class SpikingStep:
    """A loop of spiking stages; `compiled` makes an executable of a body."""

    def __init__(self, node: Node, graph: Graph, loop: Loop, staged: Stages, compiled: Callable[[Graph], Any]) -> None:
        self._node, self._staged = node, staged
        self._carried = int(node.attrs["carried"])
        self._types = graph.out_types(node)
        first = graph.types[node.inputs[self._carried]].known
        self._batch = int(np.prod([int(n) for n in first[1 : 1 + loop.lead]], dtype=np.int64))  # pyright: ignore
        self._runs = [self._prepare(s, compiled) for s in staged.stages]
        self.scratch_bytes = max((int(getattr(r.body, "peak_bytes", 0)) for r in self._runs), default=0)

    def _prepare(self, stage: Stage, compiled: Callable[[Graph], Any]) -> _StageRun:
        sums = tuple((s.read, summing(s, stage.size)) for s in stage.synapses)
        return _StageRun(stage, sums, compiled(_batched(stage.body, self._batch)))

    def __call__(self, values: list[Any]) -> None:
        inputs = [values[i] for i in self._node.inputs]
        steps, batch = len(inputs[self._carried]), self._batch
        sizes = self._staged.inputs.items()
        xs = {n: x.reshape(steps, batch, k) for (n, k), x in zip(sizes, inputs[self._carried :], strict=True)}
        last = {
            what: state.reshape(batch, self._size(what[0]))
            for what, state in zip(self._staged.carried, inputs[: self._carried], strict=True)
        }
        ys = [np.empty((steps, batch, self._size(name)), t.dtype) for (name, _), t in zip(
            self._staged.shown, self._types[self._carried :], strict=True)]  # fmt: skip
        for t in range(steps):
            now = {(n, 0): x[t] for n, x in xs.items()}
            for run in self._runs:
                self._step(run, now, last)
            for y, what in zip(ys, self._staged.shown, strict=True):
                y[t] = now[what]
            last = now
        made = [*(last[what] for what in self._staged.carried), *ys]
        for i, array, type in zip(self._node.outputs, made, self._types, strict=True):
            values[i] = array.reshape(type.known)  # pyright: ignore[reportArgumentType]

    def _size(self, name: str) -> int:
        return next(s.size for s in self._staged.stages if s.name == name)

    def _step(self, run: _StageRun, now: dict[tuple[str, int], Array], last: dict[tuple[str, int], Array]) -> None:
        def value(read: Read) -> Array:
            return (last if read.late else now)[read.name, 0]

        given = [add(value(read)) for read, add in run.sums] + [value(r) for r in run.stage.direct]
        given += [last[run.stage.name, 1 + k] for k in range(len(run.stage.states))]
        for k, array in enumerate(run.body(*given)):
            now[run.stage.name, k] = array


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
