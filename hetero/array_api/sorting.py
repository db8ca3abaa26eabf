"""Elements in order. Always stable, so `stable=False` asks for nothing else. NaN is larger than all numbers."""

from __future__ import annotations

from hetero.array_api.manipulation import normal_axis
from hetero.tensor import Tensor, apply


def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along `axis`: (..., n, ...) -> int64 (..., n, ...)"""
    return apply("argsort", x, axis=normal_axis(axis, x.ndim), descending=descending)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along `axis`: (..., n, ...) -> (..., n, ...)"""
    return apply("sort", x, axis=normal_axis(axis, x.ndim), descending=descending)


__all__ = ["argsort", "sort"]
