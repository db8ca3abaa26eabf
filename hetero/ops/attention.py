"""Scaled dot-product attention: every query takes the mean of the values, weighted by how well their keys fit.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.1.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Shape, Size, show
from hetero.dtype import DType
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.elementwise import check_kinds


def _infer(
    q: TensorType, k: TensorType, v: TensorType, *mask: TensorType, causal: bool, scale: float | None
) -> TensorType:
    """(*b, n, d), (*b, m, d), (*b, m, e), mask (..., n, m) -> (*b, n, e); a mask is stretched to (*b, n, m)

    A bool mask is true where a query may look; one of floats is added to the scores.
    """
    check_kinds("attention", "f", (q, k, v))
    if len({t.dtype for t in (q, k, v)}) > 1:
        raise DTypeError(f"attention wants one dtype, got {q.dtype.name}, {k.dtype.name} and {v.dtype.name}")
    fits = q.rank == k.rank == v.rank >= 2 and q.known[:-2] == k.known[:-2] == v.known[:-2]
    if not fits or q.known[-1] != k.known[-1] or k.known[-2] != v.known[-2]:
        raise ShapeError(
            f"attention wants q (*b, n, d), k (*b, m, d) and v (*b, m, e), got {show(q.known)}, {show(k.known)} and "
            f"{show(v.known)}",
            hint="heads go before the positions: (batch, heads, n, d)",
        )
    if scale is None and (isinstance(q.known[-1], Dim) or not q.known[-1]):
        raise AttributeValueError(f"attention over {show(q.known)} has no scale of its own", hint="scale=1.0")
    if len(mask) > 1:
        raise ShapeError(f"attention takes one mask, got {len(mask)}", hint="combine them: a & b")
    for t in mask:
        _check_mask(t, q.dtype, _scores(q, k))
    return q.with_shape((*q.known[:-1], v.known[-1]))


def _scores(q: TensorType, k: TensorType) -> Shape:
    """(*b, n, m)"""
    return (*q.known[:-1], k.known[-2])


def _check_mask(mask: TensorType, dtype: DType, scores: Shape) -> None:
    if mask.dtype not in (dt.bool_, dtype):
        raise DTypeError(f"attention of {dtype.name} has a mask of {mask.dtype.name}", hint="bool, or the same dtype")
    behind = scores[len(scores) - mask.rank :]
    if mask.rank > len(scores) or any(m not in (1, n) for m, n in zip(mask.known, behind, strict=True)):
        raise ShapeError(f"a mask of {show(mask.known)} does not stretch to the scores {show(scores)}")


def _factor(scale: float | None, width: Any) -> float:
    return float(1 / sqrt(width)) if scale is None else float(scale)


def _lowest(dtype: DType) -> Array:
    """What stands for a score that may not be seen. It is finite, so that a row which sees nothing is no NaN."""
    import ml_dtypes

    return np.asarray(ml_dtypes.finfo(dtype).min, dtype)


def _attention(q: Array, k: Array, v: Array, *mask: Array, causal: bool, scale: float | None) -> Array:
    """softmax(scale q k^T, masked) v; `scale` is 1 / sqrt(d) unless given, `causal` lets query i see keys 0 .. i

    Where a bool mask leaves a query no key, it gets the plain mean of all values.
    """
    dtype = q.dtype
    scores = np.matmul(q * np.asarray(_factor(scale, q.shape[-1]), dtype), np.swapaxes(k, -1, -2)).astype(dtype)
    if causal:
        seen = np.arange(k.shape[-2]) <= np.arange(q.shape[-2])[:, None]
        scores = np.where(seen, scores, _lowest(dtype))
    for m in mask:
        scores = np.where(m, scores, _lowest(dtype)) if m.dtype == np.bool_ else scores + m
    if not k.shape[-2]:
        return np.zeros((*q.shape[:-1], v.shape[-1]), dtype)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return np.matmul(e / e.sum(-1, keepdims=True), v).astype(dtype)


def _decompose(emit: Emit, q: Value, k: Value, v: Value, *mask: Value, causal: bool, scale: float | None) -> Value:
    """matmul, masks, softmax, matmul; the scale goes to the queries, which are the smaller tensor"""
    rank, dtype = q.type.rank, q.type.dtype
    scores = _products(emit, emit("multiply", q, _factor(scale, q.type.known[-1])), k)
    if causal:
        n, m = q.type.known[-2], k.type.known[-2]
        seen = emit("less_equal", _count(emit, m), emit("reshape", _count(emit, n), shape=(n, 1)))
        scores = emit("where", seen, scores, _lowest(dtype))
    for m in mask:
        seen = m.type.dtype == dt.bool_
        scores = emit("where", m, scores, _lowest(dtype)) if seen else emit("add", scores, m)
    return emit("matmul", emit("softmax", scores, axis=rank - 1), v)


def _products(emit: Emit, q: Value, k: Value) -> Value:
    """q k^T; one query, as when a token is decoded, stands on the right, so that no keys are moved"""
    *lead, n, width = q.type.known
    if n == 1:
        column = emit("matmul", k, emit("reshape", q, shape=(*lead, width, 1)))
        return emit("reshape", column, shape=(*lead, 1, k.type.known[-2]))
    axes = (*range(len(lead)), len(lead) + 1, len(lead))
    return emit("matmul", q, emit("permute", k, axes=axes))


def _count(emit: Emit, n: Size) -> Value:
    """0 .. n - 1; a constant as soon as n is a number"""
    one = np.asarray(1, np.int64)
    return emit("cumsum", emit("broadcast_to", one, shape=(n,)), axis=0, exclusive=True, reverse=False)


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    """Two products, and a softmax of the scores, which need not reach memory."""
    q, k, v = (t.known for t in types[:3])
    scores = int(types[0].size) // max(int(q[-1]), 1) * int(k[-2])
    flop = scores * (2 * int(q[-1]) + 2 * int(v[-1]) + 14)
    return Cost(flop, sum(int(t.size) for t in types), int(outs[0].size))


def _sample(lead: tuple[int, ...], n: int, m: int, d: int, *mask: Arg, causal: bool = False) -> Sample:
    qkv = (Arg((*lead, n, d), -2, 2), Arg((*lead, m, d), -2, 2), Arg((*lead, m, d)))
    return Sample((*qkv, *mask), {"causal": causal, "scale": 0.3 if causal else None})


attention = define(
    Op(
        name="attention", kind="compute", infer=_infer, reference=_attention, decompose=_decompose, cost=_cost,
        onnx="Attention", dtypes="f", attrs={"causal": False, "scale": None},
        samples=(
            _sample((), 3, 5, 4),
            _sample((2, 3), 7, 7, 8, causal=True),
            _sample((2, 3), 1, 9, 4, Arg((2, 1, 1, 9), 0, 2, "bool")),
            _sample((2,), 6, 5, 4, Arg((6, 5), -2, 2)),
            _sample((1, 4), 33, 33, 16, Arg((33, 33), 0, 2, "bool"), causal=True),
            _sample((2,), 0, 4, 3),
            _sample((2,), 3, 0, 3),
        ),
    )
)  # fmt: skip
