"""Elementwise ops and fused regions: a body graph becomes a plain region for the kernel generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

import hetero_kernels as kernels
from hetero import dtype as dt
from hetero.dim import broadcast, concrete
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, Node
from hetero.op import Types
from hetero_kernels import Input, Region, Step
from hetero_launch.driver import Style
from hetero_launch.plan import Plan, Storage, Together, index_type, scalars, whole

Ints = tuple[int, ...]
NARROW = 8  # lanes of a vector that is worth its place even where it overhangs
FLAT_GROUP = 256
SMALL = 1 << 12  # elements that are computed sooner than a kernel is handed over
FEW = 4  # arguments of a kernel that may have them many times over
ROW_GROUP = 16
ROW_BYTES = 1 << 15  # a row that the nearest cache holds beside the next one
STREAM_BYTES = 1 << 24  # outputs larger than what the last cache keeps are stored past it


@dataclass(frozen=True, slots=True)
class Grid:
    """Axes folded together as far as every input allows: outer sizes, columns, and strides of each input."""

    outer: Ints
    columns: int
    strides: tuple[Ints, ...]  # of each input, over the outer axes and the columns


def fold_axes(shape: Ints, inputs: Sequence[Ints], keep_last: bool) -> Grid:
    """`shape` with axes joined where no input can tell; with `keep_last` the last axis stays by itself."""
    rank = len(shape)
    strides = [_strides(s, rank) for s in inputs]
    axes: list[tuple[int, tuple[int, ...]]] = []  # size, stride of each input; outermost first
    for axis in range(rank):
        size, step = shape[axis], tuple(s[axis] for s in strides)
        last = axis == rank - 1
        if size == 1 and not (last and keep_last):
            continue
        if axes and not (last and keep_last):
            before, above = axes[-1]
            if all(a == b * size for a, b in zip(above, step, strict=True)):
                axes[-1] = (before * size, step)
                continue
        axes.append((size, step))
    if not axes:
        axes = [(1, (0,) * len(inputs))]
    *outer, (columns, _) = axes
    table = tuple(tuple(step[i] for _, step in axes) for i in range(len(inputs)))
    return Grid(tuple(n for n, _ in outer), columns, table)


def _strides(shape: Ints, rank: int) -> Ints:
    """Elements between neighbours along each of `rank` axes; 0 where the input is stretched."""
    full = (1,) * (rank - len(shape)) + shape
    out: list[int] = []
    step = 1
    for size in reversed(full):
        out.append(step if size != 1 else 0)
        step *= size
    return tuple(reversed(out))


def body_of(node: Node, types: Types) -> tuple[Graph, str]:
    """The body and pattern of a fused node; a single op is a body of one."""
    if node.op.name == "fused":
        return node.attrs["body"], node.attrs["pattern"]
    builder = Builder(track=False)
    refs = [builder.input(f"in{i}", t) for i, t in enumerate(types)]
    return builder.build(builder.emit(node.op, refs, node.attrs)), "map"


def steps_of(body: Graph, columns: int | None) -> tuple[tuple[Step, ...], dict[int, int]]:
    """The body's nodes as steps, and the number of each value; `columns` tells full values from row values."""
    order = [p.value for p in body.inputs] + list(body.constants)
    number = {value: n for n, value in enumerate(order)}
    steps: list[Step] = []
    for node in body.nodes:
        (out,) = node.outputs
        type = body.types[out]
        shape = concrete(type.known)
        wide = columns is None or (bool(shape) and shape[-1] == columns)
        number[out] = len(order) + len(steps)
        steps.append(Step(node.op.name, tuple(number[i] for i in node.inputs), dt.name_of(type.dtype), wide))
    return tuple(steps), number


def lower(plan: Plan, node: Node) -> None:
    """One kernel for the region."""
    body, pattern = body_of(node, plan.graph.in_types(node))
    sources: list[Any] = [plan.input(i) for i in node.inputs]
    shapes: list[Ints] = [concrete(body.types[p.value].known) for p in body.inputs]
    for array in body.constants.values():
        sources.append(source(plan, array))
        shapes.append(array.shape)
    outputs = [plan.output(i) for i in node.outputs]
    values = [*body.types]
    full = concrete(broadcast(*(values[i].known for n in body.nodes for i in (*n.inputs, *n.outputs))))
    if 0 in full:
        return _empty(plan, node, body, full)
    lower_region(plan, body, pattern == "rows", full, sources, shapes, outputs)


def lower_region(
    plan: Plan, body: Graph, rows: bool, full: Ints, sources: list[Any], shapes: list[Ints], outputs: list[Storage]
) -> None:
    steps, number = steps_of(body, full[-1] if rows else None)
    dtypes = _dtypes(body)
    outs = tuple(number[p.value] for p in body.outputs)
    elements = prod(full)
    index, kind = index_type(elements)
    widest = max(body.types[i].dtype.itemsize for n in body.nodes for i in (*n.inputs, *n.outputs))
    grid = fold_axes(full, shapes, rows)
    inputs, strided = _inputs(sources, dtypes, grid)
    flat = not rows and not grid.outer and not strided
    region = Region(tuple(inputs), steps, outs, 0 if flat else len(grid.outer))
    lanes = plan.style.lanes(widest)
    while lanes > NARROW and not flat and grid.columns % lanes and not kernels.takes_long(region):
        lanes //= 2  # rows then begin at whole vectors
    stream = elements * widest > STREAM_BYTES and (flat or grid.columns % lanes == 0)
    together = None
    if flat:
        text = kernels.flat(region, lanes=lanes, index=index, stream=stream)
        if elements <= SMALL and len(sources) + len(outputs) <= FEW and plan.style.together > 1:
            together = partial(_together, plan.style, region, lanes, elements)
        size, group, numbers = (-(-elements // lanes),), (FLAT_GROUP,), scalars([elements], kind)
    else:
        count = prod(grid.outer)
        sizes = [count, grid.columns]
        if strided:
            sizes += [*grid.outer, *(s for i in strided for s in grid.strides[i][:-1])]
        numbers = scalars(sizes, kind)
        if rows:
            team = plan.style.team
            ahead = grid.columns * widest <= ROW_BYTES
            text = kernels.rows(region, lanes=lanes, team=team, index=index, stream=stream, ahead=ahead)
            size, group = ((count,), (ROW_GROUP,)) if team == 1 else ((count * team,), (team,))
        else:
            text = kernels.broadcast(region, lanes=lanes, index=index, stream=stream)
            vectors = -(-grid.columns // lanes)
            size, group = (vectors, count), ((64, 1) if vectors >= 32 else (4, 32))
    exact = rows and plan.style.team > 1
    plan.launch(
        text, "hetero_region", size, group, reads=sources, writes=outputs, numbers=numbers, exact=exact,
        together=together,
    )  # fmt: skip


def _together(style: Style, region: Region, lanes: int, elements: int) -> Together:
    """The kernel for several such regions at once."""
    items = -(-elements // lanes)
    size = (items, style.together)
    group = style.group(size, (min(items, FLAT_GROUP), 1))
    text = kernels.together(region, lanes=lanes, times=style.together)
    return Together(text, "hetero_together", whole(size, group), group)


def _dtypes(body: Graph) -> list[str]:
    """Of what a kernel for the body reads: its inputs, then its constants."""
    return [dt.name_of(d) for d in (*(body.types[p.value].dtype for p in body.inputs),
                                    *(a.dtype for a in body.constants.values()))]  # fmt: skip


def _inputs(sources: list[Any], dtypes: list[str], grid: Grid) -> tuple[list[Input], list[int]]:
    """How the kernel finds each input's row, and the inputs whose strides it must be told."""
    inputs: list[Input] = []
    strided: list[int] = []
    for i, (source, dtype) in enumerate(zip(sources, dtypes, strict=True)):
        *outer, inner = grid.strides[i]
        if not isinstance(source, Storage):
            inputs.append(Input(dtype, "argument", False))
            continue
        wide = inner != 0
        row = "same" if not any(outer) else "each" if tuple(outer) == _dense(grid, wide) else "strided"
        if row == "strided":
            strided.append(i)
        inputs.append(Input(dtype, row, wide))
    return inputs, strided


def _dense(grid: Grid, wide: bool) -> Ints:
    """The strides of an input whose rows lie one behind the other."""
    out: list[int] = []
    step = grid.columns if wide else 1
    for size in reversed(grid.outer):
        out.append(step)
        step *= size
    return tuple(reversed(out))


_SCALARS: dict[str, Any] = {"float16": np.float32, "bfloat16": np.float32, "bool": np.uint8}


def argument(array: Any) -> Any:
    """A constant of one element as the number that the kernel is given."""
    return _SCALARS.get(dt.name_of(array.dtype), array.dtype.type)(array.reshape(()).item())


def source(plan: Plan, array: Any) -> Any:
    """A constant of a region: a number, or the storage that holds it."""
    return argument(array) if array.size == 1 else plan.constant(np.ascontiguousarray(array))


def _empty(plan: Plan, node: Node, body: Graph, full: Ints) -> None:
    """Nothing to compute, but a row reduction of no columns leaves its identity; fuse makes no such region."""
    assert all(body.types[p.value].size == 0 for p in body.outputs)


def refusal(node: Node, types: Types, outs: Types) -> str:
    """Why no kernel can be written for the node, or nothing."""
    if node.op.name != "fused":
        (out,) = outs
        return _unwritten(node.op.name, tuple(dt.name_of(t.dtype) for t in types), dt.name_of(out.dtype))
    body, pattern = body_of(node, types)
    columns = None
    if pattern == "rows":
        columns = concrete(broadcast(*(body.types[i].known for n in body.nodes for i in n.inputs)))[-1]
    steps, _ = steps_of(body, columns)
    return kernels.missing(Region(tuple(map(Input, _dtypes(body))), steps, ()))


@cache
def _unwritten(op: str, dtypes: tuple[str, ...], out: str) -> str:
    """Why no kernel can be written for an op by itself, or nothing."""
    step = Step(op, tuple(range(len(dtypes))), out)
    return kernels.missing(Region(tuple(map(Input, dtypes)), (step,), ()))
