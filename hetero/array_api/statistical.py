"""Axes folded away: `axis` is one, several, or None for all; `keepdims` leaves size 1."""

from __future__ import annotations

from typing import Any

from hetero import dtype as dt
from hetero.array_api.manipulation import Axes, concat, normal_axis
from hetero.dtype import DType
from hetero.errors import AxisError
from hetero.ops.reduction import normal_axes
from hetero.tensor import Tensor, apply

_WIDE = {"b": dt.int64, "i": dt.int64, "u": dt.uint64}  # small integers are added up in these


def _fold(op: str, x: Tensor, axis: Axes, keepdims: bool, **attrs: Any) -> Tensor:
    return apply(op, x, axes=normal_axes(axis, x.ndim), keepdims=bool(keepdims), **attrs)


def _widened(x: Tensor, dtype: DType | None) -> Tensor:
    """`x` in the dtype that a sum or product of it is computed and given in."""
    return x.astype(_WIDE.get(dt.kind(x.dtype), x.dtype) if dtype is None else dtype)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Each partial sum: (..., n, ...) -> (..., n, ...), or n + 1 with the 0 in front"""
    return _cumulative("cumsum", x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Each partial product: (..., n, ...) -> (..., n, ...), or n + 1 with the 1 in front"""
    return _cumulative("cumprod", x, axis, dtype, include_initial)


def _cumulative(op: str, x: Tensor, axis: int | None, dtype: DType | None, include_initial: bool) -> Tensor:
    if axis is None:
        if x.ndim != 1:
            raise AxisError(f"{op} along {x.ndim} dimensions wants an axis")
        axis = 0
    axis = normal_axis(axis, x.ndim)
    out = apply(op, _widened(x, dtype), axis=axis)
    if not include_initial:
        return out
    from hetero.array_api.creation import full

    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    first = full(shape, 0 if op == "cumsum" else 1, dtype=out.dtype, device=x.device)
    return concat([first, out], axis=axis)


def max(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest element: (..., n, ...) -> (...)"""
    return _fold("max", x, axis, keepdims)


def mean(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean: (..., n, ...) -> (...)"""
    return _fold("mean", x, axis, keepdims)


def min(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest element: (..., n, ...) -> (...)"""
    return _fold("min", x, axis, keepdims)


def prod(x: Tensor, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The product: (..., n, ...) -> (...); small integers become 64 bits wide"""
    return _fold("prod", _widened(x, dtype), axis, keepdims)


def std(x: Tensor, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation, the square root of `var`: (..., n, ...) -> (...)"""
    return apply("sqrt", var(x, axis=axis, correction=correction, keepdims=keepdims))


def sum(x: Tensor, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The sum: (..., n, ...) -> (...); small integers become 64 bits wide"""
    return _fold("sum", _widened(x, dtype), axis, keepdims)


def var(x: Tensor, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The sum of squares about the mean over n - correction: (..., n, ...) -> (...)"""
    return _fold("var", x, axis, keepdims, correction=float(correction))


__all__ = ["cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "std", "sum", "var"]
