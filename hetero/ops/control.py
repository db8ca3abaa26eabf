"""Ops that hold a graph of their own: loops over time, branches, and regions that run as one kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Size, concrete, show
from hetero.errors import DTypeError, GraphError, ShapeError
from hetero.op import REQUIRED, Array, Attrs, Cost, Op, TensorType, Types, define


def body_cost(body: Any) -> Cost:
    """The sum over a body's nodes."""
    parts = [n.op.cost(body.in_types(n), body.out_types(n), n.attrs) for n in body.nodes]
    return Cost(sum(c.flop for c in parts), sum(c.read for c in parts), sum(c.write for c in parts))


# -- fused --------------------------------------------------------------------------------------------------


def _fused_infer(*types: TensorType, body: Any, pattern: str) -> Types:
    """as `body`"""
    _check_inputs("fused", body, types)
    return tuple(body.output_types.values())


def _fused(*arrays: Array, body: Any, pattern: str) -> tuple[Array, ...]:
    return body.evaluate(*arrays)


def _fused_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    """All the arithmetic, but memory is touched at the region's border only."""
    inside = body_cost(attrs["body"])
    return Cost(inside.flop, sum(int(t.size) for t in types), sum(int(t.size) for t in outs))


fused = define(
    Op(
        name="fused", kind="control", infer=_fused_infer, reference=_fused, cost=_fused_cost,
        attrs={"body": REQUIRED, "pattern": "map"},
    )
)  # fmt: skip


def _check_inputs(name: str, body: Any, types: Types) -> None:
    wanted = tuple(body.input_types.values())
    if len(wanted) != len(types):
        raise GraphError(f"{name}: the body takes {len(wanted)} inputs, got {len(types)}")
    for i, (want, got) in enumerate(zip(wanted, types, strict=True)):
        if want.dtype != got.dtype or want.shape != got.shape:
            raise ShapeError(f"{name}: input {i} of the body is {want}, got {got}")


# -- scan ---------------------------------------------------------------------------------------------------


def _scan_infer(*types: TensorType, body: Any, carried: int, scanned: int, reverse: bool) -> Types:
    """state..., xs (t, ...)..., constants... -> final state..., ys (t, ...)...

    The body maps state..., one step of each xs..., constants... to new state..., one step of each ys....
    """
    length = scan_length(types[carried : carried + scanned])
    steps = tuple(t.with_shape(t.known[1:]) for t in types[carried : carried + scanned])
    _check_inputs("scan", body, (*types[:carried], *steps, *types[carried + scanned :]))
    outs = tuple(body.output_types.values())
    for i, (before, after) in enumerate(zip(types[:carried], outs[:carried], strict=True)):
        if before != after:
            raise ShapeError(
                f"scan: state {i} goes in as {before} and comes out as {after}", hint="keep its shape and dtype"
            )
    return (*outs[:carried], *(t.with_shape((length, *t.known)) for t in outs[carried:]))


def scan_length(xs: Types) -> Size:
    """The number of steps: the first size of every xs."""
    sizes = {t.known[0] for t in xs if t.rank}
    if len(sizes) != 1 or not all(t.rank for t in xs):
        raise ShapeError(
            f"scan wants xs of one length along axis 0, got {', '.join(show(t.known) for t in xs) or 'none'}"
        )
    return sizes.pop()


def _scan(*arrays: Array, body: Any, carried: int, scanned: int, reverse: bool) -> tuple[Array, ...]:
    state, xs, rest = arrays[:carried], arrays[carried : carried + scanned], arrays[carried + scanned :]
    ys: list[tuple[Array, ...]] = []
    steps = range(xs[0].shape[0])
    for i in reversed(steps) if reverse else steps:
        out = body.evaluate(*state, *(x[i] for x in xs), *rest)
        state = out[:carried]
        ys.append(out[carried:])
    if reverse:
        ys.reverse()
    kinds = tuple(body.output_types.values())[carried:]
    empty = [np.empty((0, *concrete(t.known)), t.dtype) for t in kinds]
    stacked = [np.stack(column) for column in zip(*ys, strict=True)] if ys else empty
    return (*state, *stacked)


def _scan_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    one = body_cost(attrs["body"])
    n = int(types[attrs["carried"]].known[0])
    return Cost(one.flop * n, one.read * n, one.write * n)


scan = define(
    Op(
        name="scan", kind="control", infer=_scan_infer, reference=_scan, cost=_scan_cost, onnx="Scan",
        attrs={"body": REQUIRED, "carried": REQUIRED, "scanned": REQUIRED, "reverse": False},
    )
)  # fmt: skip

# -- cond ---------------------------------------------------------------------------------------------------


def _cond_infer(predicate: TensorType, *types: TensorType, then: Any, otherwise: Any) -> Types:
    """bool (), inputs... -> outputs of both branches, which must agree"""
    if predicate.dtype != dt.bool_ or predicate.shape != ():
        raise DTypeError(f"cond wants a bool of shape () to decide, got {predicate}")
    _check_inputs("cond, then", then, types)
    _check_inputs("cond, otherwise", otherwise, types)
    outs = tuple(then.output_types.values())
    if outs != tuple(otherwise.output_types.values()):
        raise ShapeError(
            f"cond: one branch gives {', '.join(map(str, outs))}, the other "
            f"{', '.join(map(str, otherwise.output_types.values()))}"
        )
    return outs


def _cond(predicate: Array, *arrays: Array, then: Any, otherwise: Any) -> tuple[Array, ...]:
    return (then if bool(predicate) else otherwise).evaluate(*arrays)


def _cond_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    """The dearer branch."""
    return max((body_cost(attrs["then"]), body_cost(attrs["otherwise"])), key=_flop)


def _flop(cost: Cost) -> int:
    return cost.flop


cond = define(
    Op(
        name="cond", kind="control", infer=_cond_infer, reference=_cond, cost=_cond_cost, onnx="If",
        attrs={"then": REQUIRED, "otherwise": REQUIRED},
    )
)  # fmt: skip
