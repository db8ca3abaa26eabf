"""The elementwise body of a stage as calls of NumPy into buffers that stay: thousands of short steps run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from hetero.dim import concrete
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spiking.stages import is_uniform
from hetero_numpy.into import into

MOST = 1 << 18  # elements from which a region in blocks, by several threads, is quicker
BITS = 1 << 13  # elements from which a choice by bits is quicker than one that guesses branches

Run: TypeAlias = Callable[..., Any]
Body: TypeAlias = Callable[..., Sequence[Array]]


@dataclass(frozen=True, slots=True)
class Step:
    """One op: values by number in, one out, in `buffer` (below 0: an output of the body, with memory of its own)."""

    run: Run
    inputs: tuple[int, ...]
    output: int
    buffer: int


class Program:
    """A body for all runs; `begin` gives one of them its memory. All values are of one shape."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        shape = concrete(body.types[body.outputs[0].value].known, "a spiking stage")
        self.shape: tuple[int, ...] = tuple(shape)
        self.constants = {i: _small(a) for i, a in body.constants.items()}
        self.steps, self.buffers = _allocated(body, prod(self.shape) >= BITS)
        self.outputs = tuple(p.value for p in body.outputs)
        self.peak_bytes = prod(self.shape) * sum(
            [np.dtype(t).itemsize for t in self.buffers] + [2 * body.types[i].dtype.itemsize for i in self.outputs]
        )

    def begin(self) -> Body:
        """The body with memory of its own; what a call gives is overwritten by the one after the next."""
        return _Running(self)


def program(body: Graph) -> Program | None:
    """None: one that is large, or has results that are inputs, or ops that do not write where they are told."""
    made = {i for n in body.nodes for i in n.outputs}
    outputs = [p.value for p in body.outputs]
    shape = concrete(body.types[outputs[0]].known, "a spiking stage")
    alike = all(body.types[i].known == shape for i in (*made, *outputs))
    if prod(shape) >= MOST or not alike or not made.issuperset(outputs) or len(set(outputs)) < len(outputs):
        return None
    return None if any(_run(n.op.name, n.attrs, False) is None for n in body.nodes) else Program(body)


class _Running:
    def __init__(self, whole: Program) -> None:
        self._ports = [p.value for p in whole.body.inputs]
        self._outputs = whole.outputs
        buffers = [np.empty(whole.shape, t) for t in whole.buffers]
        values: list[Any] = [None] * len(whole.body.types)
        for i, a in whole.constants.items():
            values[i] = a
        self._tables = [values, values.copy()]  # states are read while their next values are written
        for table in self._tables:
            for step in whole.steps:
                own = np.empty(whole.shape, whole.body.types[step.output].dtype) if step.buffer < 0 else None
                table[step.output] = buffers[step.buffer] if own is None else own
        self._steps = whole.steps
        self._turn = 0

    def __call__(self, *inputs: Array) -> list[Array]:
        self._turn ^= 1
        table = self._tables[self._turn]
        for i, a in zip(self._ports, inputs, strict=True):
            table[i] = a
        for step in self._steps:
            step.run(*[table[i] for i in step.inputs], out=table[step.output])
        return [table[i] for i in self._outputs]


def _small(array: Array) -> Array:
    """One number instead of many that are alike."""
    return array.reshape(-1)[0] if is_uniform(array) else array


def _allocated(body: Graph, large: bool) -> tuple[list[Step], list[Any]]:
    """Steps with buffers, which dead values leave to others; dtypes of the buffers."""
    outputs = {p.value for p in body.outputs}
    last = {i: k for k, n in enumerate(body.nodes) for i in n.inputs}
    holder: dict[int, int] = {}
    dtypes: list[Any] = []
    free: list[int] = []
    steps: list[Step] = []
    for k, n in enumerate(body.nodes):
        (out,) = n.outputs
        dead = [holder.pop(i) for i in dict.fromkeys(n.inputs) if last[i] == k and i in holder]
        free += [] if n.op.name == "where" else dead  # it writes before it has read all
        buffer = -1
        if out not in outputs:
            dtype = body.types[out].dtype
            buffer = next((b for b in reversed(free) if dtypes[b] == dtype), len(dtypes))
            if buffer == len(dtypes):
                dtypes.append(dtype)
            else:
                free.remove(buffer)
            holder[out] = buffer
        free += dead if n.op.name == "where" else []
        run = _run(n.op.name, n.attrs, large)
        assert run is not None
        steps.append(Step(run, n.inputs, out, buffer))
    return steps, dtypes


def _run(op: str, attrs: Any, large: bool) -> Run | None:
    if op == "where":
        return _bits if large else _where
    return _cast if op == "cast" else into(op, attrs)


def _cast(x: Array, out: Array) -> None:
    np.copyto(out, x, casting="unsafe")


def _where(condition: Array, yes: Array, no: Array, out: Array) -> None:
    np.copyto(out, no)
    np.copyto(out, yes, where=condition)


def _bits(condition: Array, yes: Array, no: Array, out: Array) -> None:
    """A choice by bits, without branches, which a processor guesses wrong where spikes are at random."""
    if out.dtype.kind == "b" or condition.shape != out.shape:
        _where(condition, yes, no, out)
        return
    whole = f"i{out.dtype.itemsize}"
    mask = condition.astype(whole)
    np.negative(mask, out=mask)
    other, to = no.view(whole), out.view(whole)
    np.bitwise_and(np.bitwise_xor(yes.view(whole), other), mask, out=mask)
    np.bitwise_xor(mask, other, out=to)
