"""Linear algebra: the array API's extension. The last two axes are a matrix, axes in front are a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from hetero import dtype as dt
from hetero.array_api.creation import asarray, eye
from hetero.array_api.elementwise import abs, multiply, sqrt
from hetero.array_api.manipulation import Axes, broadcast_arrays, broadcast_to, expand_dims, normal_axis, reshape
from hetero.array_api.manipulation import unstack as _unstack
from hetero.array_api.products import matmul, matrix_transpose, tensordot, vecdot
from hetero.array_api.statistical import max as _max
from hetero.array_api.statistical import min as _min
from hetero.array_api.statistical import sum as _sum
from hetero.dim import show
from hetero.dtype import DType
from hetero.errors import AttributeValueError, ShapeError
from hetero.ops.reduction import normal_axes
from hetero.tensor import Tensor, apply


class EighResult(NamedTuple):
    eigenvalues: Tensor  # ascending (..., n)
    eigenvectors: Tensor  # in columns (..., n, n)


class QRResult(NamedTuple):
    Q: Tensor  # orthonormal columns (..., m, k)
    R: Tensor  # upper triangular (..., k, n)


class SlogdetResult(NamedTuple):
    sign: Tensor  # (...)
    logabsdet: Tensor  # (...)


class SVDResult(NamedTuple):
    U: Tensor  # (..., m, m), or (..., m, k)
    S: Tensor  # descending (..., k)
    Vh: Tensor  # (..., n, n), or (..., k, n)


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangular factor l of a positive definite x = l @ l^H: (..., n, n) -> (..., n, n)"""
    return apply("cholesky", x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The vector at right angles to two of 3 elements: (..., 3), (..., 3) -> (..., 3)"""
    a, b = broadcast_arrays(x1, x2)
    at = normal_axis(axis, a.ndim)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ShapeError(f"cross wants size 3 along axis {axis}, got {show(x1.shape)} and {show(x2.shape)}")
    (a0, a1, a2), (b0, b1, b2) = _unstack(a, axis=at), _unstack(b, axis=at)
    parts = (a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0)
    return apply("concat", *(expand_dims(p, at) for p in parts), axis=at)


def det(x: Tensor, /) -> Tensor:
    """The determinant: (..., n, n) -> (...)"""
    return apply("det", x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The elements of one diagonal: (..., m, n) -> (..., k)"""
    return apply("diagonal", x, offset=offset)


def eigh(x: Tensor, /) -> EighResult:
    """Eigenvalues and eigenvectors of a symmetric or Hermitian matrix: (..., n, n) -> (..., n), (..., n, n)"""
    return EighResult(*apply("eigh", x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """Ascending eigenvalues of a symmetric or Hermitian matrix: (..., n, n) -> (..., n)"""
    return apply("eigvalsh", x)


def inv(x: Tensor, /) -> Tensor:
    """The inverse: (..., n, n) -> (..., n, n)"""
    return apply("inv", x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: float | Literal["fro", "nuc"] | None = "fro") -> Tensor:
    """The norm of each matrix: (..., m, n) -> (...)"""
    if ord not in _MATRIX_NORMS:
        raise AttributeValueError(f"matrix_norm has no order {ord!r}", hint="fro, nuc, 1, 2, inf, or their negatives")
    if x.ndim < 2:
        raise ShapeError(f"matrix_norm wants (..., m, n), got {show(x.shape)}")
    out = _MATRIX_NORMS[ord](x)
    return reshape(out, (*out.shape, 1, 1)) if keepdims else out


def _frobenius(x: Tensor) -> Tensor:
    return vector_norm(x, axis=(-2, -1))


def _by_sums(axis: int, pick: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """The largest or smallest sum of absolute values, over columns (axis -2) or rows (axis -1)."""
    return lambda x: pick(_sum(abs(x), axis=axis), axis=-1)


def _by_singular(pick: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: pick(svdvals(x), axis=-1)


_MATRIX_NORMS: dict[Any, Callable[[Tensor], Tensor]] = {
    "fro": _frobenius, None: _frobenius, "nuc": _by_singular(_sum), 1: _by_sums(-2, _max), -1: _by_sums(-2, _min),
    2: _by_singular(_max), -2: _by_singular(_min), math.inf: _by_sums(-1, _max), -math.inf: _by_sums(-1, _min),
}  # fmt: skip


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """x @ x @ ..., n times; of the inverse when n < 0: (..., m, m) -> (..., m, m)"""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power wants (..., n, n), got {show(x.shape)}")
    base = inv(x) if n < 0 else x
    out: Tensor | None = None
    for bit in reversed(bin(n if n >= 0 else -n)[2:]):  # by repeated squaring, lowest bit first
        if bit == "1":
            out = base if out is None else matmul(out, base)
        base = matmul(base, base)
    return broadcast_to(eye(x.shape[-1], dtype=x.dtype, device=x.device), x.shape) if out is None else out


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """How many singular values exceed rtol times the largest: (..., m, n) -> int64 (...)"""
    values = svdvals(x)
    if values.shape[-1] == 0:
        return _sum((values != 0).astype(dt.int64), axis=-1)
    limit = _max(values, axis=-1, keepdims=True) * _cutoff(x, rtol, trailing=1)
    return _sum((values > limit).astype(dt.int64), axis=-1)


def _cutoff(x: Tensor, rtol: float | Tensor | None, *, trailing: int) -> Any:
    """The relative cut-off for singular values, by default max(m, n) eps."""
    if rtol is None:
        import numpy as np

        return float(max(x.shape[-2:])) * float(np.finfo(x.dtype).eps)
    return reshape(rtol, rtol.shape + (1,) * trailing) if isinstance(rtol, Tensor) else float(rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Every product: (m,), (n,) -> (m, n)"""
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(f"outer wants (m,) and (n,), got {show(x1.shape)} and {show(x2.shape)}")
    return multiply(expand_dims(x1, 1), expand_dims(x2, 0))


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The pseudo-inverse, singular values up to rtol times the largest taken as 0: (..., m, n) -> (..., n, m)"""
    cut = _cutoff(x, rtol, trailing=0)
    limit = cut if isinstance(cut, Tensor) else asarray(cut, dtype=dt.real_of(x.dtype), device=x.device)
    return apply("pinv", x, limit)


def qr(x: Tensor, /, *, mode: Literal["reduced", "complete"] = "reduced") -> QRResult:
    """x = q @ r: (..., m, n) -> (..., m, k), (..., k, n)"""
    return QRResult(*apply("qr", x, mode=mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    """The sign and the logarithm of the size of the determinant: (..., n, n) -> (...), (...)"""
    return SlogdetResult(*apply("slogdet", x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The y of x1 @ y = x2: (..., n, n), (..., n, k) -> (..., n, k), or (n,) -> (..., n)"""
    if x2.ndim == 1:
        return reshape((out := apply("solve", x1, expand_dims(x2, 1))), out.shape[:-1])
    return apply("solve", x1, x2)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """x = u @ diag(s) @ v^H: (..., m, n) -> (..., m, m), (..., k), (..., n, n)"""
    return SVDResult(*apply("svd", x, full=full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """Descending singular values: (..., m, n) -> (..., min(m, n))"""
    return apply("svdvals", x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sum of a diagonal: (..., m, n) -> (...)"""
    return _sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def vector_norm(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """(sum of |x|^ord)^(1/ord); inf is the largest, 0 counts what is not zero: (..., n, ...) -> (...)"""
    axes = normal_axes(axis, x.ndim)
    size = abs(x)
    if ord in (math.inf, -math.inf):
        return (_max if ord > 0 else _min)(size, axis=axes, keepdims=keepdims)
    if ord == 0:
        return _sum((size != 0).astype(size.dtype), axis=axes, keepdims=keepdims)
    if ord == 1:
        return _sum(size, axis=axes, keepdims=keepdims)
    if ord == 2:
        return sqrt(_sum(size * size, axis=axes, keepdims=keepdims))
    return _sum(size ** float(ord), axis=axes, keepdims=keepdims) ** (1 / ord)


__all__ = [
    "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cross", "det", "diagonal", "eigh",
    "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv",
    "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip
