"""Where elements are: largest, smallest, not zero, in order, or as a condition says."""

from __future__ import annotations

from typing import Literal

from hetero import dtype as dt
from hetero.array_api.creation import asarray
from hetero.array_api.dtypes import result_type
from hetero.array_api.indexing import take
from hetero.array_api.manipulation import Axes, normal_axis, reshape, unstack
from hetero.array_api.statistical import sum
from hetero.errors import DTypeError, ShapeError
from hetero.tensor import SCALARS, Operand, Tensor, apply


def _arg(op: str, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    if axis is None:
        flat = apply(op, reshape(x, (-1,)), axis=0, keepdims=False)
        return reshape(flat, (1,) * x.ndim) if keepdims else flat
    return apply(op, x, axis=normal_axis(axis, x.ndim), keepdims=keepdims)


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the first largest element is: int64 (..., n, ...) -> (...); without an axis, in row-major order"""
    return _arg("argmax", x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the first smallest element is: int64 (..., n, ...) -> (...); without an axis, in row-major order"""
    return _arg("argmin", x, axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """How many elements are not zero: (..., n, ...) -> int64 (...)"""
    there = x if x.dtype == dt.bool_ else x != 0
    return sum(there.astype(dt.int64), axis=axis, keepdims=keepdims)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of elements that are not zero, int64 (n,) for each axis; n depends on the data"""
    if not x.ndim:
        raise ShapeError("nonzero of a tensor of no dimensions", hint="reshape it to (1,)")
    return unstack(apply("nonzero", x), axis=0)


def searchsorted(
    x1: Tensor, x2: Tensor, /, *, side: Literal["left", "right"] = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where each of `x2` would go in the sorted `x1`, before or after equal ones: (n,), (...) -> int64 (...)"""
    return apply("searchsorted", x1 if sorter is None else take(x1, sorter), x2, side=side)


def where(condition: Tensor, x1: Operand, x2: Operand, /) -> Tensor:
    """x1 where the condition holds, else x2: bool (...), (...), (...) -> broadcast(...)"""
    if condition.dtype != dt.bool_:
        raise DTypeError(f"where wants a bool condition, got {condition.dtype.name}", hint="x != 0")
    if isinstance(x1, Tensor) and isinstance(x2, Tensor) and x1.dtype == x2.dtype:
        return apply("where", condition, x1, x2)
    if isinstance(x1, SCALARS) and isinstance(x2, SCALARS):
        to = asarray([x1, x2], device="numpy").dtype
    else:
        to = result_type(x1, x2)
    return apply("where", condition, *(_of(x, to, condition) for x in (x1, x2)))


def _of(x: Operand, to: dt.DType, like: Tensor) -> Tensor:
    return x.astype(to) if isinstance(x, Tensor) else asarray(x, dtype=to, device=like.device)


__all__ = ["argmax", "argmin", "count_nonzero", "nonzero", "searchsorted", "where"]
