"""Matrix products: of floats by the array library of the driver, where it has one; else by a tiled kernel."""

from __future__ import annotations

from math import prod
from typing import Any

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero.op import Array, TensorType
from hetero_kernels import COLUMN
from hetero_launch import follow
from hetero_launch import matmul_panels as panels
from hetero_launch.follow import Head
from hetero_launch.movement import fill
from hetero_launch.plan import Mapped, Plan, Storage, batch_strides, index_type, names_of, scalars, table

TILE = 16  # the side of the square that a work-group computes
SMALL = 4096  # multiplications of one of many matrices, that an item does by itself: all its loops unroll
MANY = 64  # matrices from which that is done
GROUP = 64  # of them in a work-group


def lower(plan: Plan, node: Node, follower: Node | None = None) -> None:
    """The product, and the elementwise node that takes its result where a kernel of panels computes it."""
    a, b, out = _types(plan, node)
    left, right = node.inputs
    if not by_panels(plan, node):
        assert follower is None
        return product(plan, (plan.input(left), a), (plan.input(right), b), (plan.output(node.outputs[0]), out))
    then = follow.then(plan, node, follower, HEAD)
    if b.rank == 2 and plan.known(right):
        given = panels.known(plan, plan.contents(right).reshape(concrete(b.known)))
    else:
        given = panels.Side(plan.input(right), b)
    to = plan.output((follower or node).outputs[0])
    panels.launch(plan, panels.left(plan, plan.input(left), a, concrete(out.known)[-1]), given, to, out, then)


def _types(plan: Plan, node: Node) -> tuple[TensorType, TensorType, TensorType]:
    """Of a, b and the result; one b for all is a single product of all rows, not one for each batch"""
    a, b = plan.graph.in_types(node)
    (out,) = plan.graph.out_types(node)
    return (_rows(a), _rows(b), _rows(out)) if prod(concrete(b.known)[:-2]) == 1 else (a, b, out)


def _rows(type: TensorType) -> TensorType:
    """(..., m, n) as (rows, n)"""
    *lead, last = concrete(type.known)
    return TensorType((prod(lead), last), type.dtype)


def by_panels(plan: Plan, node: Node) -> bool:
    """Whether a kernel computes the product that does what follows too."""
    a, _, out = _types(plan, node)
    return panels.suits(plan, a, out) and not _is_small(plan, a, out)


HEAD = Head(by_panels, lower, -1, COLUMN)


def product(
    plan: Plan,
    a: tuple[Storage, TensorType],
    b: tuple[Storage, TensorType],
    out: tuple[Storage, TensorType],
    out_byte: int = 0,
) -> None:
    """(..., m, k), (..., k, n) -> (..., m, n), leading axes broadcast; `out_byte` is where the result begins"""
    if 0 in out[1].known:
        return
    if a[1].size == 0:  # a sum of nothing
        return fill(plan, out[0], 0, out[1])
    if out_byte == 0 and _is_small(plan, a[1], out[1]):
        _small(plan, a, b, out)
    elif panels.suits(plan, a[1], out[1]):
        first = panels.left(plan, *a, concrete(out[1].known)[-1])
        panels.launch(plan, first, panels.Side(*b), *out, shift=out_byte // out[1].dtype.itemsize)
    elif a[1].dtype.name in plan.style.blas:
        plan.steps.append(Mapped(blas, (a[0], b[0]), (out[0],), (a[1], b[1], out[1]), out_byte))
    else:
        assert out_byte == 0
        _tiled(plan, a, b, out)


def blas(xp: Any, a: Array, b: Array, out: Array) -> None:
    """By the array library `xp`: NumPy on memory that the host sees, CuPy on a GPU's."""
    xp.matmul(a, b, out=out)


def _is_small(plan: Plan, a: TensorType, out: TensorType) -> bool:
    """Whether a call for each matrix would take longer than its product."""
    *batch, m, n = concrete(out.known)
    floats = out.dtype.name in ("float32", "float64")
    return floats and prod(batch) >= MANY and 0 < m * n * concrete(a.known)[-1] <= SMALL


def _small(
    plan: Plan, a: tuple[Storage, TensorType], b: tuple[Storage, TensorType], out: tuple[Storage, TensorType]
) -> None:
    """One item for each matrix of many."""
    *batch, m, n = concrete(out[1].known)
    lanes = min(plan.style.lanes(out[1].dtype.itemsize), 1 << (n.bit_length() - 1))
    index, kind = index_type(max(prod(concrete(t.known)) for _, t in (a, b, out)))
    defines = names_of(out[1].dtype.name) | {
        "INDEX": index, "M": m, "K": concrete(a[1].known)[-1], "N": n, "RANK": len(batch), "W": lanes,
    }  # fmt: skip
    axes = table(kind, batch, *(batch_strides(concrete(t.known), len(batch)) for _, t in (a, b)))
    plan.launch(
        kernels.source("matmul_small", defines), "hetero_matmul_small", (prod(batch),), (GROUP,),
        reads=(a[0], b[0]), writes=(out[0],), numbers=[kind(prod(batch)), axes],
    )  # fmt: skip


def _tiled(
    plan: Plan, a: tuple[Storage, TensorType], b: tuple[Storage, TensorType], out: tuple[Storage, TensorType]
) -> None:
    shape = concrete(out[1].known)
    *batch, m, n = shape
    k = concrete(a[1].known)[-1]
    index, kind = index_type(max(prod(shape), prod(concrete(a[1].known)), prod(concrete(b[1].known))))
    defines = names_of(out[1].dtype.name) | {"INDEX": index, "TILE": TILE, "RANK": max(len(batch), 1)}
    text = kernels.source("matmul", defines)
    strides = [batch_strides(concrete(t.known), len(batch)) for _, t in (a, b)]
    numbers = scalars([m, n, k], kind)
    axes = table(kind, batch or [1], *(s or [0] for s in strides))
    plan.launch(
        text, "hetero_matmul", (-(-n // TILE) * TILE, -(-m // TILE) * TILE, prod(batch)), (TILE, TILE, 1),
        reads=(a[0], b[0]), writes=(out[0],), numbers=[*numbers, axes], exact=True,
    )  # fmt: skip
