"""Ops that pick elements by index and put them back.

A kernel cannot raise: it sets a flag when an index is outside, and the host raises an AxisError when it next waits
for the device. `take` and the gathers give the first element for such an index; scatters leave the update out.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero.op import TensorType, Types
from hetero_kernels.templates import STORED
from hetero_launch.movement import dense
from hetero_launch.plan import CELLS, Copy, Plan, Storage, index_type, names_of, scalars, table
from hetero_launch.reduction import sides

FOLDS = {"none": 0, "add": 1, "mul": 2, "max": 3, "min": 4}


def _flags(plan: Plan, node: Node) -> tuple[Storage, Any]:
    """Where kernels report an index outside, and under which number."""
    return plan.block(plan.runtime.flags), np.int32(plan.runtime.flag_number(node.label))


def _moving(x: TensorType, indices: TensorType, index: str) -> dict[str, Any]:
    return {"T": CELLS[x.dtype.itemsize], "I": STORED[indices.dtype.name][0], "INDEX": index}


def _group(size: tuple[int, int, int]) -> tuple[int, int, int]:
    return (16, 1, 1) if size[0] >= 16 else (1, 16, 1)


def take(plan: Plan, node: Node) -> None:
    (x, indices), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    outer, n, inner = sides(concrete(x.known), node.attrs["axis"])
    m = prod(concrete(indices.known))
    to = plan.output(node.outputs[0])
    if out.size == 0:
        return
    index, kind = index_type(max(outer * n * inner, outer * m * inner))
    run = plan.style.run
    flags, label = _flags(plan, node)
    size = (-(-inner // run), m, outer)
    plan.launch(
        kernels.source("take", _moving(x, indices, index) | {"RUN": run}), "hetero_take", size, _group(size),
        reads=(plan.input(node.inputs[0]), plan.input(node.inputs[1])), writes=(to, flags),
        numbers=[*scalars([m, n, inner], kind), label],
    )  # fmt: skip


def take_along(plan: Plan, node: Node) -> None:
    (x, indices), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    axis, shape, made = node.attrs["axis"], concrete(x.known), concrete(out.known)
    to = plan.output(node.outputs[0])
    if 0 in made:
        return
    steps = dense(shape)
    stretched = [0 if n == 1 or d == axis else s for d, (n, s) in enumerate(zip(shape, steps, strict=True))]
    given = concrete(indices.known)
    walk = [0 if n == 1 else s for n, s in zip(given, dense(given), strict=True)]
    index, kind = index_type(max(prod(shape), prod(made)))
    flags, label = _flags(plan, node)
    plan.launch(
        kernels.source("take_along", _moving(x, indices, index) | {"RANK": len(made)}), "hetero_take_along",
        (prod(made),), (64,), reads=(plan.input(node.inputs[0]), plan.input(node.inputs[1])), writes=(to, flags),
        numbers=[*scalars([prod(made), shape[axis], steps[axis]], kind), table(kind, made, stretched, walk), label],
    )  # fmt: skip


def gather_nd(plan: Plan, node: Node) -> None:
    (x, indices), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    shape, given = concrete(x.known), concrete(indices.known)
    lead, width = node.attrs["batch_dims"], given[-1]
    batch, m, inner = prod(shape[:lead]), prod(given[lead:-1]), prod(shape[lead + width :])
    axes = shape[lead : lead + width]
    to = plan.output(node.outputs[0])
    if out.size == 0:
        return
    index, kind = index_type(max(prod(shape), prod(concrete(out.known))))
    run = plan.style.run
    flags, label = _flags(plan, node)
    size = (-(-inner // run), m, batch)
    plan.launch(
        kernels.source("gather", _moving(x, indices, index) | {"WIDTH": width, "RUN": run}), "hetero_gather", size,
        _group(size), reads=(plan.input(node.inputs[0]), plan.input(node.inputs[1])), writes=(to, flags),
        numbers=[*scalars([m, prod(axes), inner], kind), table(kind, axes, dense(axes)), label],
    )  # fmt: skip


def refuse_gather(node: Node, types: Types, outs: Types) -> str:
    width = concrete(types[1].known)[-1]
    return "" if width else f"{node.op.name} by rows of no indices has no kernel"


def _started(plan: Plan, node: Node) -> Storage:
    """The output, holding a copy of the first input."""
    (out,) = plan.graph.out_types(node)
    to = plan.output(node.outputs[0])
    if out.size != 0:
        plan.steps.append(Copy(plan.input(node.inputs[0]), to, out.nbytes))
    return to


def _folding(x: TensorType, indices: TensorType, index: str, reduction: str) -> dict[str, Any]:
    return names_of(x.dtype.name) | {"I": STORED[indices.dtype.name][0], "INDEX": index, "FOLD_WITH": FOLDS[reduction]}


def scatter_nd(plan: Plan, node: Node) -> None:
    x, indices, updates = plan.graph.in_types(node)
    to = _started(plan, node)
    if updates.size == 0:
        return
    shape, given = concrete(x.known), concrete(indices.known)
    width = given[-1]
    m, inner, axes = prod(given[:-1]), prod(shape[width:]), shape[:width]
    index, kind = index_type(max(prod(shape), m * inner))
    flags, label = _flags(plan, node)
    defines = _folding(x, indices, index, node.attrs["reduction"]) | {"WIDTH": width}
    plan.launch(
        kernels.source("scatter", defines), "hetero_scatter", (inner,), (16,),
        reads=(plan.input(node.inputs[1]), plan.input(node.inputs[2])), writes=(to, flags),
        numbers=[*scalars([m, inner], kind), table(kind, axes, dense(axes)), label],
    )  # fmt: skip


def put_along(plan: Plan, node: Node) -> None:
    x, indices, updates = plan.graph.in_types(node)
    to = _started(plan, node)
    if updates.size == 0:
        return
    axis, shape, given = node.attrs["axis"], concrete(x.known), concrete(indices.known)
    steps, walk = dense(shape), dense(given)
    others = [d for d in range(len(shape)) if d != axis]
    lines = [given[d] for d in others] or [1]
    index, kind = index_type(max(prod(shape), prod(given)))
    flags, label = _flags(plan, node)
    defines = _folding(x, indices, index, node.attrs["reduction"]) | {"RANK": len(lines)}
    axes = table(kind, lines, [walk[d] for d in others] or [0], [steps[d] for d in others] or [0])
    plan.launch(
        kernels.source("put_along", defines), "hetero_put_along", (prod(lines),), (16,),
        reads=(plan.input(node.inputs[1]), plan.input(node.inputs[2])), writes=(to, flags),
        numbers=[*scalars([prod(lines), given[axis], walk[axis], shape[axis], steps[axis]], kind), axes, label],
    )  # fmt: skip
