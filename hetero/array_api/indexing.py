"""Elements picked by a tensor of indices; negative ones count from the end."""

from __future__ import annotations

from hetero.array_api.manipulation import normal_axis
from hetero.errors import AxisError
from hetero.tensor import Tensor, apply


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """(a, n, b), integer (i...) along axis 1 -> (a, i..., b)"""
    if axis is None:
        if x.ndim != 1:
            raise AxisError(f"take from {x.ndim} dimensions wants an axis")
        axis = 0
    return apply("take", x, indices, axis=normal_axis(axis, x.ndim))


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """(a, n), integer (a, m) along axis 1 -> (a, m)"""
    return apply("take_along_axis", x, indices, axis=normal_axis(axis, x.ndim))


__all__ = ["take", "take_along_axis"]
