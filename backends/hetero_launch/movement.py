"""Ops that move elements: every one is copies of boxes with strides on both sides, or an alias where nothing moves."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero.op import TensorType
from hetero_launch.plan import CELLS, Copy, Plan, Storage, index_type, scalars, table

Ints = tuple[int, ...]
TILE = 16


def dense(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a row-major tensor."""
    out: list[int] = []
    step = 1
    for size in reversed(shape):
        out.append(step)
        step *= size
    return out[::-1]


def alias(plan: Plan, node: Node) -> None:
    plan.alias(node.outputs[0], node.inputs[0])


def copy_box(
    plan: Plan,
    source: Storage,
    to: Storage,
    itemsize: int,
    shape: Sequence[int],
    source_steps: Sequence[int],
    to_steps: Sequence[int],
    begin: tuple[int, int] = (0, 0),
) -> None:
    """Elements of a box from one storage to the other; `begin` is where it begins in each."""
    if 0 in shape:
        return
    axes = _folded(shape, source_steps, to_steps)
    if len(axes) == 1 and axes[0][1:] == (1, 1):
        plan.steps.append(Copy(source, to, axes[0][0] * itemsize, begin[0] * itemsize, begin[1] * itemsize))
        return
    *outer, rows, columns = [(1, 0, 0)] * (2 - len(axes)) + axes
    turned = abs(columns[1]) != 1 and plan.style.run > 1  # a transpose: tiles keep both sides in the cache
    if turned and outer and min(axes[:-1], key=_reading)[1] != rows[1]:
        near = min(range(len(outer)), key=lambda i: _reading(outer[i]))
        if _reading(outer[near]) < _reading(rows):
            outer[near], rows = rows, outer[near]
    outer = outer or [(1, 0, 0)]
    run = TILE if plan.style.run > 1 else 1
    tall = TILE if turned else 1
    reach = [sum(abs(s[i]) * (s[0] - 1) for s in axes) for i in (1, 2)]
    index, kind = index_type(max(reach))
    unit = int(columns[1] == 1 and columns[2] == 1)
    defines: dict[str, Any] = {
        "T": CELLS[itemsize], "RUN": run, "TALL": tall, "RANK": len(outer), "UNIT": unit, "INDEX": index,
    }  # fmt: skip
    steps = table(kind, (rows[1], columns[1], rows[2], columns[2]))
    others = table(kind, *zip(*outer, strict=True))
    size = (-(-columns[0] // run), -(-rows[0] // tall), prod(n for n, _, _ in outer))
    plan.launch(
        kernels.source("copy", defines), "hetero_copy", size, (16, 1, 1) if size[0] >= 16 else (1, 16, 1),
        reads=(source,), writes=(to,), numbers=[*scalars([*begin, rows[0], columns[0]], kind), steps, others],
    )  # fmt: skip


def _reading(axis: tuple[int, int, int]) -> int:
    """The step in the source, where 0 and 1 element are far from helpful."""
    return abs(axis[1]) if axis[1] else 1 << 62


def _folded(shape: Sequence[int], source: Sequence[int], to: Sequence[int]) -> list[tuple[int, int, int]]:
    """(size, step, step) of each axis, joined where both sides run on."""
    out: list[tuple[int, int, int]] = []
    for size, a, b in zip(shape, source, to, strict=True):
        if size == 1:
            continue
        if out and out[-1][1:] == (a * size, b * size):
            out[-1] = (out[-1][0] * size, a, b)
        else:
            out.append((size, a, b))
    return out or [(1, 1, 1)]


def _strided(plan: Plan, node: Node, steps: Sequence[int], begin: int = 0) -> None:
    """The output, row-major, from one input by strides; the input itself where that is the same."""
    (x,), (out,) = plan.graph.in_types(node)[:1], plan.graph.out_types(node)
    shape = concrete(out.known)
    if x.size == out.size and _folded(shape, steps, dense(shape)) == [(max(prod(shape), 1), 1, 1)] and not begin:
        return plan.alias(node.outputs[0], node.inputs[0])
    to = plan.output(node.outputs[0])
    copy_box(plan, plan.input(node.inputs[0]), to, x.dtype.itemsize, shape, steps, dense(shape), (begin, 0))


def permute(plan: Plan, node: Node) -> None:
    steps = dense(concrete(plan.graph.in_types(node)[0].known))
    _strided(plan, node, [steps[a] for a in node.attrs["axes"]])


def broadcast_to(plan: Plan, node: Node) -> None:
    shape = concrete(plan.graph.in_types(node)[0].known)
    rank = len(node.attrs["shape"])
    steps = [0] * (rank - len(shape)) + [s if n != 1 else 0 for n, s in zip(shape, dense(shape), strict=True)]
    _strided(plan, node, steps)


def slice_(plan: Plan, node: Node) -> None:
    steps = dense(concrete(plan.graph.in_types(node)[0].known))
    begin = sum(a * s for a, s in zip(node.attrs["starts"], steps, strict=True))
    if plan.graph.out_types(node)[0].size == 0:
        begin = 0
    _strided(plan, node, [s * k for s, k in zip(steps, node.attrs["steps"], strict=True)], begin)


def concat(plan: Plan, node: Node) -> None:
    """Each input into its part of the output."""
    (out,) = plan.graph.out_types(node)
    axis = node.attrs["axis"]
    steps = dense(concrete(out.known))
    to, at = plan.output(node.outputs[0]), 0
    for i, x in zip(node.inputs, plan.graph.in_types(node), strict=True):
        shape = concrete(x.known)
        copy_box(plan, plan.input(i), to, x.dtype.itemsize, shape, dense(shape), steps, (0, at * steps[axis]))
        at += shape[axis]


MODES = {"constant": 0, "edge": 1, "reflect": 2, "wrap": 3}
_CELL_TYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def cell(value: Any, type: TensorType) -> Any:
    """One element of `type` as the bits that a kernel moves."""
    return np.asarray(value).astype(type.dtype).reshape(1).view(_CELL_TYPES[type.dtype.itemsize])[0]


def pad(plan: Plan, node: Node) -> None:
    (x,), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    shape, made = concrete(x.known), concrete(out.known)
    before = tuple(node.attrs["before"])
    to = plan.output(node.outputs[0])
    if 0 in made:
        return
    value = node.attrs["value"] if node.attrs["mode"] == "constant" else 0
    rank = max(len(shape), 1)
    index, kind = index_type(prod(made))
    defines: dict[str, Any] = {
        "T": CELLS[x.dtype.itemsize], "RANK": rank, "MODE": MODES[node.attrs["mode"]], "INDEX": index,
    }  # fmt: skip
    axes = table(kind, made or (1,), shape or (1,), before or (0,))
    plan.launch(
        kernels.source("pad", defines), "hetero_pad", (prod(made),), (64,),
        reads=(plan.input(node.inputs[0]), cell(value, x)), writes=(to,), numbers=[kind(prod(made)), axes],
    )  # fmt: skip


def fill(plan: Plan, to: Storage, value: Any, type: TensorType) -> None:
    """Every element the same."""
    count = prod(concrete(type.known))
    index, kind = index_type(count)
    text = kernels.source("fill", {"T": CELLS[type.dtype.itemsize], "INDEX": index})
    plan.launch(text, "hetero_fill", (count,), (64,), reads=(cell(value, type),), writes=(to,), numbers=[kind(count)])


def philox(plan: Plan, node: Node) -> None:
    """Random words."""
    count = prod(concrete(plan.graph.out_types(node)[0].known))
    index, kind = index_type(count)
    text = kernels.source("philox", {"INDEX": index})
    to = plan.output(node.outputs[0])
    plan.launch(
        text, "hetero_philox", (-(-count // 4),), (64,), reads=(plan.input(node.inputs[0]),), writes=(to,),
        numbers=[kind(count)],
    )  # fmt: skip
