"""Lowerings of ops that fold axes away, and of matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, Made, Wait, lowers
from hetero.dim import Dim, Size, prod
from hetero.graph.build import Ref
from hetero.ops.reduction import reduced_shape

Ints = tuple[int, ...]
Fold: TypeAlias = Callable[[Call, Ref, Ints, bool], Ref]


def _plain(name: str) -> Fold:
    def fold(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
        return n.emit(name, x, axes=axes, keepdims=keep)

    fold.__doc__ = f"`{name}`"
    return fold


_sum, _prod = _plain("sum"), _plain("prod")


def _empty(n: Call, x: Ref, axes: Ints) -> bool:
    """Whether nothing is left to fold; a named dimension is taken to have elements."""
    return any(x.type.known[a] == 0 for a in axes)


def _extreme(name: str, sign: int) -> Fold:
    def fold(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
        if not _empty(n, x, axes):
            return n.emit(name, x, axes=axes, keepdims=keep)
        dtype = x.type.dtype
        kind = dt.kind(dtype)
        if kind == "f":
            least = -np.inf * sign
        elif kind == "b":
            least = sign < 0
        else:
            least = np.iinfo(dtype).min if sign > 0 else np.iinfo(dtype).max
        return n.filled(reduced_shape(x.type.known, axes, keep), least, dtype)

    fold.__doc__ = f"`{name}`"
    return fold


def _count(x: Ref, axes: Ints) -> Size:
    return prod(tuple(x.type.known[a] for a in axes))


def _mean(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
    """`mean`; of integers in float64"""
    if dt.is_float(x.type.dtype):
        return n.emit("mean", x, axes=axes, keepdims=keep)
    total = n.emit("sum", n.cast(x, dt.float64), axes=axes, keepdims=keep)
    size = _count(x, axes)
    if isinstance(size, Dim):
        raise Wait
    return n.cast(n.emit("divide", total, float(size)), x.type.dtype)


def _l1(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
    """the sum of |x|"""
    return _sum(n, x if dt.kind(x.type.dtype) == "u" else n.emit("abs", x), axes, keep)


def _sum_square(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
    """the sum of x * x"""
    return _sum(n, n.emit("multiply", x, x), axes, keep)


def _l2(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
    """the root of the sum of x * x"""
    wide = n.through_float(x)
    return n.cast(n.emit("sqrt", _sum_square(n, wide, axes, keep)), x.type.dtype)


def _log_sum(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
    """the logarithm of the sum"""
    wide = n.through_float(x)
    return n.cast(n.emit("log", _sum(n, wide, axes, keep)), x.type.dtype)


def _log_sum_exp(n: Call, x: Ref, axes: Ints, keep: bool) -> Ref:
    """m + log(sum(exp(x - m))), where m is the maximum, or 0 if that is infinite"""
    e, wide = n.emit, n.through_float(x)
    if _empty(n, x, axes):
        return n.cast(e("log", _sum(n, wide, axes, keep)), x.type.dtype)
    top = e("max", wide, axes=axes, keepdims=True)
    top = e("where", e("isfinite", top), top, n.constant(0, wide.type.dtype))
    total = e("log", _sum(n, e("exp", e("subtract", wide, top)), axes, True))
    out = e("add", total, top)
    return n.cast(n.reshape(out, *reduced_shape(x.type.known, axes, keep)), x.type.dtype)


FOLDS: dict[str, tuple[Fold, int]] = {  # operator -> rule, and the opset in which `axes` became an input
    "ReduceSum": (_sum, 13), "ReduceProd": (_prod, 18), "ReduceMax": (_extreme("max", 1), 18),
    "ReduceMin": (_extreme("min", -1), 18), "ReduceMean": (_mean, 18), "ReduceL1": (_l1, 18), "ReduceL2": (_l2, 18),
    "ReduceSumSquare": (_sum_square, 18), "ReduceLogSum": (_log_sum, 18), "ReduceLogSumExp": (_log_sum_exp, 18),
}  # fmt: skip


def _enter(onnx: str, fold: Fold, since: int) -> None:
    def old(n: Call, x: Ref, *, axes: Ints | None = None, keepdims: int = 1) -> Made:
        rank = x.type.rank
        at = range(rank) if axes is None else n.axes(axes, rank)
        return fold(n, x, tuple(sorted(at)), bool(keepdims))

    def new(n: Call, x: Ref, axes: Ref | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Made:
        given = () if axes is None else n.ints(axes)
        if not given and noop_with_empty_axes:
            return fold(n, x, (), True) if onnx not in ("ReduceMean",) else x
        return old(n, x, axes=given or None, keepdims=keepdims)

    old.__doc__ = new.__doc__ = fold.__doc__
    lowers(onnx)(old)
    lowers(onnx, since=since)(new)


for _onnx, (_fold, _since) in FOLDS.items():
    _enter(_onnx, _fold, _since)


def _enter_arg(onnx: str, name: str) -> None:
    def lower(n: Call, x: Ref, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Made:
        at = n.axis(axis, x.type.rank)
        return n.emit(name, x, axis=at, keepdims=bool(keepdims), last=bool(select_last_index))

    lower.__doc__ = f"`{name}`"
    lowers(onnx)(lower)


for _onnx, _name in (("ArgMax", "argmax"), ("ArgMin", "argmin")):
    _enter_arg(_onnx, _name)


@lowers("LpNormalization")
def _lp_normalization(n: Call, x: Ref, *, axis: int = -1, p: int = 2) -> Ref:
    """x over its norm along an axis; 0 where the norm is 0"""
    n.only(p in (1, 2), f"p={p} is neither 1 nor 2")
    at = (n.axis(axis, x.type.rank),)
    norm = (_l1 if p == 1 else _l2)(n, x, at, True)
    e, zero = n.emit, n.constant(0, x.type.dtype)
    none = e("equal", norm, zero)
    return e("where", none, zero, e("divide", x, e("where", none, n.constant(1, x.type.dtype), norm)))


@lowers("MeanVarianceNormalization")
def _mean_variance(n: Call, x: Ref, *, axes: Ints = (0, 2, 3)) -> Ref:
    """(x - mean) / (deviation + 1e-9)"""
    at = tuple(sorted(n.axes(axes, x.type.rank)))
    e = n.emit
    mean = e("mean", x, axes=at, keepdims=True)
    square = e("mean", e("multiply", x, x), axes=at, keepdims=True)
    deviation = e("sqrt", e("subtract", square, e("multiply", mean, mean)))
    return e("divide", e("subtract", x, mean), e("add", deviation, 1e-9))


# -- products -----------------------------------------------------------------------------------------------


@lowers("MatMul")
def _matmul(n: Call, a: Ref, b: Ref) -> Ref:
    """`matmul`; a vector is a row on the left, a column on the right"""
    n.only(a.type.rank > 0 and b.type.rank > 0, "a product with a scalar")
    left = n.reshape(a, 1, *a.type.known) if a.type.rank == 1 else a
    right = n.reshape(b, *b.type.known, 1) if b.type.rank == 1 else b
    out = n.emit("matmul", left, right)
    shape = out.type.known
    if a.type.rank == 1:
        shape = (*shape[:-2], shape[-1])
    return n.reshape(out, *(shape[:-1] if b.type.rank == 1 else shape))


@lowers("Gemm")
def _gemm(
    n: Call, a: Ref, b: Ref, c: Ref | None = None, *, alpha: float = 1.0, beta: float = 1.0,
    transA: int = 0, transB: int = 0,  # noqa: N803 - ONNX's names
) -> Ref:  # fmt: skip
    """`matmul`, times alpha, plus beta * c"""
    n.only(a.type.rank == b.type.rank == 2, "a and b are not matrices")
    out = n.emit("matmul", n.permute(a, 1, 0) if transA else a, n.permute(b, 1, 0) if transB else b)
    out = _scaled(n, out, alpha)
    if c is None or beta == 0:
        return out
    n.only(c.type.rank <= 2, f"c has {c.type.rank} dimensions")
    made = n.emit("add", out, _scaled(n, c, beta))
    n.only(made.type.shape == out.type.shape, f"c of shape {c.type.shape} does not broadcast to {out.type.shape}")
    return made


def _scaled(n: Call, x: Ref, by: float) -> Ref:
    if by == 1:
        return x
    if not dt.is_float(x.type.dtype):
        n.only(float(by).is_integer() and by >= 0, f"a factor of {by} for integers")
        return n.emit("multiply", x, int(by))
    return n.emit("multiply", x, float(by))
