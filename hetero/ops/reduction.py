"""Ops that fold axes away: `axes` is a tuple of them (sorted, not negative), `keepdims` leaves size 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Shape, concrete, prod
from hetero.dtype import DType
from hetero.errors import AxisError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.elementwise import check_kinds

Axes = tuple[int, ...]


def normal_axes(axes: int | Axes | None, rank: int) -> Axes:
    """Sorted axes in 0 .. rank-1; None means all. Doubles and strays are errors."""
    if axes is None:
        return tuple(range(rank))
    given = (axes,) if isinstance(axes, int) else axes
    stray = [a for a in given if not -rank <= a < rank]
    if stray:
        raise AxisError(f"axis {', '.join(map(str, stray))} is not in a tensor of {rank} dimensions")
    out = tuple(sorted(a % rank for a in given))
    if len(set(out)) < len(out):
        raise AxisError(f"an axis stands twice in {given}")
    return out


def reduced_shape(shape: Shape, axes: Axes, keepdims: bool) -> Shape:
    """(a, b, c) over axis 1 -> (a, c), or (a, 1, c)"""
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return Cost(flop=int(types[0].size), read=int(types[0].size), write=int(outs[0].size))


def _samples(low: float = -1.0, high: float = 1.0) -> tuple[Sample, ...]:
    cases: tuple[tuple[tuple[int, ...], Axes, bool], ...] = (
        ((7,), (0,), False), ((3, 40), (1,), True), ((3, 5), (0,), False), ((2, 3, 4), (0, 2), True),
        ((2, 3, 4), (0, 1, 2), False), ((600, 33), (1,), False), ((5, 1000), (0,), False), ((3, 4), (), False),
    )  # fmt: skip
    return tuple(Sample((Arg(s, low, high),), {"axes": a, "keepdims": k}) for s, a, k in cases)


def _reduce(
    name: str,
    call: Callable[..., Any],
    onnx: str = "",
    *,
    kinds: str = "iuf",
    result: DType | None = None,
    identity: bool = True,
    low: float = -1.0,
) -> Op:
    def infer(x: TensorType, *, axes: Axes, keepdims: bool) -> TensorType:
        """(..., n, ...) -> (..., 1 or nothing, ...)"""
        check_kinds(name, kinds, (x,))
        if axes != normal_axes(axes, x.rank):
            raise AxisError(f"{name} wants sorted axes within {x.rank} dimensions, got {axes}")
        if not identity and any(x.known[a] == 0 for a in axes):
            raise ShapeError(f"{name} of no elements has no value: shape {x.known}, axes {axes}")
        return TensorType(reduced_shape(x.known, axes, keepdims), result or x.dtype)

    def reference(x: Array, *, axes: Axes, keepdims: bool) -> Array:
        return np.asarray(call(x, axis=axes, keepdims=keepdims)).astype(result or x.dtype, copy=False)

    return define(
        Op(
            name=name, kind="reduction", infer=infer, reference=reference, cost=_cost, onnx=onnx, dtypes=kinds,
            samples=_samples(low), attrs={"axes": REQUIRED, "keepdims": False},
        )
    )  # fmt: skip


_reduce("sum", np.sum, "ReduceSum", kinds="iufc")
_reduce("prod", np.prod, "ReduceProd", kinds="iufc", low=0.8)
_reduce("max", np.max, "ReduceMax", kinds="biuf", identity=False)
_reduce("min", np.min, "ReduceMin", kinds="biuf", identity=False)
_reduce("any", np.any, kinds="b", result=dt.bool_)
_reduce("all", np.all, kinds="b", result=dt.bool_)


def _arg_infer(x: TensorType, *, axis: int, keepdims: bool, last: bool) -> TensorType:
    """(..., n, ...) -> int64 (..., 1 or nothing, ...)"""
    check_kinds("argmax and argmin", "biuf", (x,))
    (axis,) = normal_axes(axis, x.rank)
    if x.known[axis] == 0:
        raise ShapeError(f"argmax and argmin of no elements have no value: shape {x.known}, axis {axis}")
    return TensorType(reduced_shape(x.known, (axis,), keepdims), dt.int64)


def _arg(call: Callable[..., Any]) -> Callable[..., Array]:
    def reference(x: Array, *, axis: int, keepdims: bool, last: bool) -> Array:
        """The first of equal elements, or with `last` the last one."""
        if not last:
            return np.asarray(call(x, axis=axis, keepdims=keepdims)).astype(np.int64)
        back = np.asarray(call(np.flip(x, axis), axis=axis, keepdims=keepdims))
        return np.asarray(x.shape[axis] - 1 - back).astype(np.int64)

    return reference


for _name, _call, _onnx in (("argmax", np.argmax, "ArgMax"), ("argmin", np.argmin, "ArgMin")):
    define(
        Op(
            name=_name, kind="reduction", infer=_arg_infer, reference=_arg(_call), cost=_cost, onnx=_onnx,
            dtypes="iuf", attrs={"axis": REQUIRED, "keepdims": False, "last": False},
            samples=(
                Sample((Arg((7,)),), {"axis": 0}),
                Sample((Arg((3, 40)),), {"axis": 1, "keepdims": True}),
                Sample((Arg((4, 5, 6)),), {"axis": 1, "last": True}),
                Sample((Arg((50, 301)),), {"axis": 1}),
            ),
        )
    )  # fmt: skip


def mean_decompose(emit: Emit, x: Value, *, axes: Axes, keepdims: bool) -> Value:
    """sum / n"""
    count = prod(tuple(x.type.known[a] for a in axes))
    return emit("divide", emit("sum", x, axes=axes, keepdims=keepdims), count)


def _mean_infer(x: TensorType, *, axes: Axes, keepdims: bool) -> TensorType:
    """(..., n, ...) -> (..., 1 or nothing, ...)"""
    check_kinds("mean", "fc", (x,))
    return TensorType(reduced_shape(x.known, normal_axes(axes, x.rank), keepdims), x.dtype)


def _nothing(x: Array, axes: Axes, keepdims: bool) -> Array:
    """NaN, without the warning that NumPy gives."""
    return np.full(concrete(reduced_shape(x.shape, axes, keepdims)), np.nan, x.dtype)


def _mean(x: Array, *, axes: Axes, keepdims: bool) -> Array:
    if not all(x.shape[a] for a in axes):
        return _nothing(x, axes, keepdims)
    return np.asarray(np.mean(x, axis=axes, keepdims=keepdims)).astype(x.dtype, copy=False)


mean = define(
    Op(
        name="mean", kind="reduction", infer=_mean_infer, reference=_mean, cost=_cost, onnx="ReduceMean",
        dtypes="fc", samples=_samples(), attrs={"axes": REQUIRED, "keepdims": False}, decompose=mean_decompose,
    )
)  # fmt: skip


def _var_infer(x: TensorType, *, axes: Axes, keepdims: bool, correction: float) -> TensorType:
    """(..., n, ...) -> (..., 1 or nothing, ...)"""
    check_kinds("var", "f", (x,))
    return TensorType(reduced_shape(x.known, normal_axes(axes, x.rank), keepdims), x.dtype)


def _var(x: Array, *, axes: Axes, keepdims: bool, correction: float) -> Array:
    if not all(x.shape[a] for a in axes):
        return _nothing(x, axes, keepdims)
    return np.asarray(np.var(x, axis=axes, keepdims=keepdims, ddof=correction)).astype(x.dtype, copy=False)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _var_decompose(emit: Emit, x: Value, *, axes: Axes, keepdims: bool, correction: float) -> Value:
    """sum((x - mean)^2) / (n - correction), in two passes: one pass loses digits"""
    count = prod(tuple(x.type.known[a] for a in axes))
    off = emit("subtract", x, emit("mean", x, axes=axes, keepdims=True))
    total = emit("sum", emit("multiply", off, off), axes=axes, keepdims=keepdims)
    return emit("divide", total, max(int(count) - correction, 0.0))


var = define(
    Op(
        name="var", kind="reduction", infer=_var_infer, reference=_var, cost=_cost, dtypes="f",
        samples=_samples(), attrs={"axes": REQUIRED, "keepdims": False, "correction": 0.0}, decompose=_var_decompose,
    )
)  # fmt: skip
