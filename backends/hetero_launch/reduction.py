"""Reductions over any axes: one group of neighbouring axes at a time, each as (outer, n, inner)."""

from __future__ import annotations

from math import prod
from typing import Any

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero.op import Types
from hetero_kernels.templates import STORED, identity
from hetero_launch.movement import fill
from hetero_launch.plan import Plan, Storage, index_type, names_of, scalars

LOGICAL = {"any": "max", "all": "min"}  # of bools
BUSY = 1024  # items that keep a device of any size busy; and sums of sums lose fewer digits than long ones
PART = 1 << 14  # elements that are worth an item of their own
BETTER = {"argmax": ">", "argmin": "<"}


def refuse(node: Node, types: Types, outs: Types) -> str:
    dtype = types[0].dtype.name
    return "" if identity(node.op.name, dtype) is not None else f"{node.op.name} of {dtype} has no kernel text"


def groups(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Steps (outer, n, inner) that fold `axes` away, the innermost first."""
    sizes = list(shape)
    out: list[tuple[int, int, int]] = []
    axis = len(sizes) - 1
    while axis >= 0:
        if axis not in axes:
            axis -= 1
            continue
        last = axis
        while axis - 1 in axes:
            axis -= 1
        n = prod(sizes[axis : last + 1])
        if n != 1:
            out.append((prod(sizes[:axis]), n, prod(sizes[last + 1 :])))
        sizes[axis : last + 1] = [1] * (last + 1 - axis)
        axis -= 1
    return out


def lower(plan: Plan, node: Node) -> None:
    (x,), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    dtype, shape = x.dtype.name, concrete(x.known)
    if out.size == 0:
        plan.output(node.outputs[0])
        return
    if x.size == 0:
        start = identity(node.op.name, dtype)
        fill(plan, plan.output(node.outputs[0]), 1 if start == "1" else 0, out)
        return
    steps = [piece for one in groups(shape, node.attrs["axes"]) for piece in _pieces(plan, one)]
    if not steps:
        plan.alias(node.outputs[0], node.inputs[0])
        return
    here, held = plan.input(node.inputs[0]), dtype
    for i, (outer, n, inner, parts) in enumerate(steps):
        last = i == len(steps) - 1
        then = dtype if last else _wide(dtype)
        to = plan.output(node.outputs[0]) if last else plan.storage(outer * parts * inner * 8)
        _fold(plan, LOGICAL.get(node.op.name, node.op.name), here, held, to, then, (outer, n, inner, parts))
        here, held = to, then


def _wide(dtype: str) -> str:
    """What partial results are stored in: small floats as float32."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _pieces(plan: Plan, step: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """(outer, n, inner, parts): a long axis with few others beside it is folded in parts, then the parts."""
    outer, n, inner = step
    lines = outer * (inner if plan.style.vector_bytes == 0 else -(-inner // 8))
    parts = min(BUSY // max(lines, 1), n * inner // PART) if lines < BUSY else 1
    if parts < 2:
        return [(outer, n, inner, 1)]
    length = -(-n // parts)
    parts = -(-n // length)
    return [(outer, n, inner, parts), (outer, parts, inner, 1)]


def _fold(
    plan: Plan, fold: str, x: Storage, dtype: str, to: Storage, then: str, sizes: tuple[int, int, int, int]
) -> None:
    outer, n, inner, parts = sizes
    index, kind = index_type(outer * n * inner)
    lanes = plan.style.lanes(8 if STORED[dtype][1] in ("i64", "u64", "f64") else 4)
    team = plan.style.team if inner == 1 else 1
    start = identity(fold, dtype)
    assert start is not None
    defines: dict[str, Any] = names_of(dtype) | {
        "U": STORED[then][0], "FOLD_WITH": f"{fold}_", "START": f"({start})", "TEAM": team, "W": lanes, "INDEX": index,
    }  # fmt: skip
    name = "reduce_rows" if inner == 1 else "reduce_columns"
    text = kernels.source(name, defines, functions=("arithmetic",))
    length = -(-n // parts)
    if inner == 1:
        size, group = (outer * parts * team,), (team if team > 1 else 16,)
        numbers = scalars([outer, n, parts, length], kind)
    else:
        vectors = -(-inner // lanes)
        size, group = (vectors, outer * parts), ((16, 1) if vectors > 1 else (1, 16))
        numbers = scalars([outer, n, inner, parts, length], kind)
    plan.launch(text, f"hetero_{name}", size, group, reads=(x,), writes=(to,), numbers=numbers, exact=team > 1)


# -- along one axis -----------------------------------------------------------------------------------------


def sides(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """(outer, n, inner) around `axis`"""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def _along(plan: Plan, node: Node, name: str, defines: dict[str, Any]) -> None:
    """A kernel in which one item runs along an axis."""
    (x,) = plan.graph.in_types(node)
    outer, n, inner = sides(concrete(x.known), node.attrs["axis"])
    index, kind = index_type(outer * n * inner)
    text = kernels.source(name, names_of(x.dtype.name) | defines | {"INDEX": index})
    to = plan.output(node.outputs[0])
    if n == 0:
        return
    group = (64, 1) if inner >= 64 else (1, 16)
    plan.launch(
        text, f"hetero_{name}", (inner, outer), group, reads=(plan.input(node.inputs[0]),), writes=(to,),
        numbers=scalars([outer, n, inner], kind),
    )  # fmt: skip


def arg(plan: Plan, node: Node) -> None:
    """argmax and argmin"""
    (x,) = plan.graph.in_types(node)
    outer, n, inner = sides(concrete(x.known), node.attrs["axis"])
    if inner == 1 and plan.style.vector_bytes:
        return _arg_rows(plan, node, outer, n)
    _along(plan, node, "arg_reduce", {"BETTER": BETTER[node.op.name], "LAST": int(node.attrs["last"])})


def _arg_rows(plan: Plan, node: Node, outer: int, n: int) -> None:
    """Along the last axis, on a processor: whole vectors are compared."""
    (x,) = plan.graph.in_types(node)
    fold, dtype = node.op.name.removeprefix("arg"), x.dtype.name
    index, kind = index_type(outer * n)
    defines: dict[str, Any] = names_of(dtype) | {
        "FOLD_WITH": f"{fold}_", "START": f"({identity(fold, dtype)})", "LAST": int(node.attrs["last"]),
        "W": plan.style.lanes(8 if STORED[dtype][1] in ("i64", "u64", "f64") else 4), "INDEX": index,
    }  # fmt: skip
    plan.launch(
        kernels.source("arg_rows", defines, functions=("arithmetic",)), "hetero_arg_rows", (outer,), (16,),
        reads=(plan.input(node.inputs[0]),), writes=(plan.output(node.outputs[0]),), numbers=scalars([outer, n], kind),
    )  # fmt: skip


CUMULATIVE = {"cumsum": ("+", 0), "cumprod": ("*", 1)}


def cumulative(plan: Plan, node: Node) -> None:
    operator, start = CUMULATIVE[node.op.name]
    flags = {"EXCLUSIVE": int(node.attrs["exclusive"]), "REVERSE": int(node.attrs["reverse"])}
    _along(plan, node, "cumulative", {"OPERATOR": operator, "START": start, **flags})
