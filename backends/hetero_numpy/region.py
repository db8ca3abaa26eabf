"""A fused region in blocks that fit the cache: each op runs over one block with `out=`, then the next block.

The block size is measured, see docs/backends/numpy.md: smaller ones spend their time in Python, larger ones in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from hetero.dim import concrete
from hetero.errors import BackendError
from hetero.graph.ir import Graph
from hetero.graph.passes.fuse import full_shape
from hetero.op import Array
from hetero_numpy import threads
from hetero_numpy.into import Into, into

BLOCK = 1 << 17  # elements: 512 KiB of float32
PARALLEL = 1 << 18  # elements of a region from which more than one thread pays

NOT_IN_PLACE = frozenset({"where"})  # they write the output before they have read every input

Index: TypeAlias = "tuple[slice, ...]"


@dataclass(frozen=True, slots=True)
class Step:
    """One op of the body: reads and writes slots of a block's table."""

    run: Into
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True, slots=True)
class Scratch:
    """A value that lives inside a block only."""

    slot: int
    dtype: np.dtype[Any]
    row: bool  # one number a row
    buffer: int  # which of the block's buffers it uses


class Region:
    """A region compiled for NumPy. Call with inputs and preallocated outputs."""

    def __init__(self, body: Graph, pattern: str) -> None:
        self.shape = concrete(full_shape(body, pattern), "a region")
        self.body = body
        self._steps, self._scratch, self._buffers = _program(body, self.shape)
        self._blocks = _blocks(self.shape, whole_rows=pattern == "rows")
        self._values = len(body.types)
        self._block_size = max((math.prod(_extent(b, self.shape)) for b in self._blocks), default=0)
        self.scratch_bytes = sum(self._buffers) * max(self._block_size, 1) * self._workers()

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Fill `outputs`; inputs broadcast to the region's shape."""
        shape = self.shape
        slots = [(p.value, _aligned(a, shape)) for p, a in zip(self.body.inputs, inputs, strict=True)]
        slots += [(i, _aligned(a, shape)) for i, a in self.body.constants.items()]
        slots += [(p.value, _aligned(a, shape)) for p, a in zip(self.body.outputs, outputs, strict=True)]
        workers = self._workers()
        if workers == 1:
            self._run(slots, self._blocks)
            return
        share = -(-len(self._blocks) // workers)
        parts = [self._blocks[k * share : (k + 1) * share] for k in range(workers)]
        threads.run([partial(self._run, slots, part) for part in parts])

    def _workers(self) -> int:
        return min(threads.COUNT, len(self._blocks)) if math.prod(self.shape) >= PARALLEL else 1

    def _run(self, slots: Sequence[tuple[int, Array]], blocks: Sequence[Index]) -> None:
        pool = [np.empty(self._block_size * width, np.uint8) for width in self._buffers]
        table: list[Array] = [_NOTHING] * self._values
        extent: tuple[int, ...] | None = None
        whole = [_stretched(a, self.shape) for _, a in slots]
        with np.errstate(all="ignore"):  # a warning inside a block names no line of the person's
            for block in blocks:
                for (slot, array), stretched in zip(slots, whole, strict=True):
                    table[slot] = array if stretched is None else array[_cut(block, stretched)]
                if (found := _extent(block, self.shape)) != extent:
                    extent = found
                    for s in self._scratch:
                        size = (*extent[:-1], 1) if s.row else extent
                        table[s.slot] = pool[s.buffer][: math.prod(size) * s.dtype.itemsize].view(s.dtype).reshape(size)
                for step in self._steps:
                    step.run(*[table[i] for i in step.inputs], out=table[step.output])


_NOTHING: Array = np.empty(0)


def _program(body: Graph, shape: tuple[int, ...]) -> tuple[list[Step], list[Scratch], list[int]]:
    """Steps in order, and a buffer for each value that is not an output, reused once it is dead."""
    outputs = {p.value for p in body.outputs}
    last = {i: k for k, node in enumerate(body.nodes) for i in node.inputs}
    pool = _Buffers()
    steps: list[Step] = []
    scratch: list[Scratch] = []
    for k, node in enumerate(body.nodes):
        run = into(node.op.name, node.attrs, body.in_types(node))
        if run is None:
            raise BackendError(f"numpy cannot run {node.op.name} inside a region", hint="report this: a bug of hetero")
        (out,) = node.outputs
        row = body.types[out].shape != shape
        dead = [i for i in dict.fromkeys(node.inputs) if last.get(i) == k]
        if out not in outputs:
            alike = [i for i in dead if body.types[i] == body.types[out] and node.op.name not in NOT_IN_PLACE]
            pool.release(alike)
            dtype = body.types[out].dtype
            scratch.append(Scratch(out, dtype, row, pool.take(out, dtype.itemsize)))
        pool.release(dead)
        steps.append(Step(run, node.inputs, out))
    return steps, scratch, pool.widths


class _Buffers:
    """Which buffer of a block holds which value; a dead value's buffer is used again, also by the op that ends it."""

    def __init__(self) -> None:
        self.widths: list[int] = []  # bytes an element
        self._free: list[int] = []
        self._holder: dict[int, int] = {}

    def take(self, value: int, itemsize: int) -> int:
        """A free buffer wide enough, the last freed first since it is still in the cache, else a new one."""
        for b in reversed(self._free):
            if self.widths[b] >= itemsize:
                self._free.remove(b)
                break
        else:
            self.widths.append(itemsize)
            b = len(self.widths) - 1
        self._holder[value] = b
        return b

    def release(self, values: Sequence[int]) -> None:
        self._free += [self._holder.pop(i) for i in values if i in self._holder]


@cache
def _blocks(shape: tuple[int, ...], whole_rows: bool) -> list[Index]:
    """Boxes of about BLOCK elements that tile `shape`; `whole_rows` never cuts the last axis."""
    if not shape:
        return [()]
    if math.prod(shape) == 0:
        return []
    last_free = len(shape) - 1 if whole_rows else len(shape)
    axis, inner = last_free - 1, math.prod(shape[last_free:])
    while axis > 0 and inner * shape[axis] <= BLOCK:
        inner *= shape[axis]
        axis -= 1
    if axis < 0:
        return [tuple(slice(0, n) for n in shape)]
    step = max(1, BLOCK // inner)
    tail = tuple(slice(0, n) for n in shape[axis + 1 :])
    cuts = [slice(k, min(k + step, shape[axis])) for k in range(0, shape[axis], step)]
    heads = [tuple(slice(k, k + 1) for k in index) for index in np.ndindex(*shape[:axis])]
    return [(*head, cut, *tail) for head in heads for cut in cuts]


def _extent(block: Index, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s.stop - s.start for s in block)


def _aligned(array: Array, shape: tuple[int, ...]) -> Array:
    """With as many axes as the region."""
    return array.reshape((1,) * (len(shape) - array.ndim) + array.shape)


def _stretched(array: Array, shape: tuple[int, ...]) -> tuple[bool, ...] | None:
    """The axes along which the array is one wide and the region is not; None where all are: never cut."""
    flags = tuple(n == 1 and m != 1 for n, m in zip(array.shape, shape, strict=True))
    return None if array.size == 1 else flags


def _cut(block: Index, stretched: tuple[bool, ...]) -> Index:
    return tuple(_ALL if s else b for b, s in zip(block, stretched, strict=True))


_ALL = slice(None)
