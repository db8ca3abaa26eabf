"""Products of vectors and matrices that stand in the main namespace."""

from __future__ import annotations

from collections.abc import Sequence

from hetero import dtype as dt
from hetero.array_api.elementwise import conj
from hetero.array_api.manipulation import broadcast_arrays, each_axis, normal_axis, permute_dims, reshape
from hetero.dim import prod, show
from hetero.errors import AxisError, ShapeError
from hetero.tensor import Tensor, apply, matmul


def matrix_transpose(x: Tensor, /) -> Tensor:
    """(..., m, n) -> (..., n, m)"""
    return x.mT


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The sum of products over pairs of axes: (a..., k...), (k..., b...) -> (a..., b...)"""
    if isinstance(axes, int):
        if not 0 <= axes <= min(x1.ndim, x2.ndim):
            raise AxisError(f"tensordot over {axes} axes of {show(x1.shape)} and {show(x2.shape)}")
        left, right = tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    else:
        left, right = (each_axis(given, x.ndim) for x, given in zip((x1, x2), axes, strict=True))
    shared = tuple(x1.shape[a] for a in left)
    if shared != tuple(x2.shape[a] for a in right):
        raise ShapeError(f"tensordot over axes {left} of {show(x1.shape)} and {right} of {show(x2.shape)}")
    rest1 = tuple(a for a in range(x1.ndim) if a not in left)
    rest2 = tuple(a for a in range(x2.ndim) if a not in right)
    shape1, shape2 = tuple(x1.shape[a] for a in rest1), tuple(x2.shape[a] for a in rest2)
    k, m, n = (int(prod(s)) for s in (shared, shape1, shape2))
    a = reshape(permute_dims(x1, (*rest1, *left)), (m, k))
    b = reshape(permute_dims(x2, (*right, *rest2)), (k, n))
    return reshape(matmul(a, b), (*shape1, *shape2))


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The sum of conj(x1) * x2 along `axis`: (..., n), (..., n) -> (...)"""
    rank = min(x1.ndim, x2.ndim)
    if not -rank <= axis < 0 and not (x1.ndim == x2.ndim and 0 <= axis < rank):
        raise AxisError(f"vecdot: axis {axis} is not in {show(x1.shape)} and {show(x2.shape)}", hint="-1 is the last")
    if x1.shape[axis] != x2.shape[axis]:
        raise ShapeError(f"vecdot along axis {axis}: {show(x1.shape)} and {show(x2.shape)} differ in size there")
    to = dt.promote(x1.dtype, x2.dtype)
    a, b = broadcast_arrays(x1.astype(to), x2.astype(to))
    last = normal_axis(axis, a.ndim)
    return apply("sum", conj(a) * b, axes=(last,))


__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]
