"""Whether all or any hold; differences of neighbours."""

from __future__ import annotations

from hetero import dtype as dt
from hetero.array_api.manipulation import Axes, concat, cut, normal_axis
from hetero.errors import AttributeValueError
from hetero.ops.reduction import normal_axes
from hetero.tensor import Tensor, apply


def _true(x: Tensor) -> Tensor:
    return x if x.dtype == dt.bool_ else x != 0


def all(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether every element is not zero: (..., n, ...) -> bool (...)"""
    return apply("all", _true(x), axes=normal_axes(axis, x.ndim), keepdims=bool(keepdims))


def any(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether some element is not zero: (..., n, ...) -> bool (...)"""
    return apply("any", _true(x), axes=normal_axes(axis, x.ndim), keepdims=bool(keepdims))


def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Each element less the one before it, `n` times over: (..., m, ...) -> (..., m - n, ...)"""
    if n < 0:
        raise AttributeValueError(f"diff wants to be taken 0 times or more, got {n}")
    axis = normal_axis(axis, x.ndim)
    parts = [part for part in (prepend, x, append) if part is not None]
    out = concat(parts, axis=axis) if len(parts) > 1 else x
    for _ in range(n):
        m = out.shape[axis]
        late, early = cut(out, axis, min(1, m), m), cut(out, axis, 0, max(m - 1, 0))
        out = late != early if out.dtype == dt.bool_ else late - early
    return out


__all__ = ["all", "any", "diff"]
