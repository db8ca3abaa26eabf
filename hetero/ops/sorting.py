"""Ops that put elements in order. Every order is stable: of equal elements the first in the input stays first.

NaN counts as larger than every number, as in NumPy: last when ascending, first when descending.
"""

from __future__ import annotations

import math

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.elementwise import check_kinds
from hetero.ops.indexing import check_axis


def _sort_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n, axis = int(types[0].size), attrs.get("axis")
    length = n if axis is None else int(types[0].known[axis])
    return Cost(flop=n * max(1, math.ceil(math.log2(length or 1))), read=n, write=sum(_size(t) for t in outs))


def _size(t: TensorType) -> int:
    return 0 if t.shape is None else int(t.size)


_CASES = (
    Sample((Arg((7,)),), {"axis": 0}),
    Sample((Arg((3, 5)),), {"axis": 0, "descending": True}),
    Sample((Arg((3, 300)),), {"axis": 1}),
    Sample((Arg((2, 40, 3), -3, 3),), {"axis": 1, "descending": True}),
    Sample((Arg((50,), 0, 4, "int64"),), {"axis": 0, "descending": True}),  # many equal elements
    Sample((Arg((3, 0)),), {"axis": 1}),
)


def _sort_infer(x: TensorType, *, axis: int, descending: bool) -> TensorType:
    """(..., n, ...) -> (..., n, ...)"""
    check_axis("sort", axis, x.rank)
    check_kinds("sort", "biuf", (x,))
    return x


def _sort(x: Array, *, axis: int, descending: bool) -> Array:
    if not descending:
        return np.sort(x, axis, kind="stable")
    return np.flip(np.sort(np.flip(x, axis), axis, kind="stable"), axis)


def _sort_decompose(emit: Emit, x: Value, *, axis: int, descending: bool) -> Value:
    """x at argsort(x)"""
    return emit("take_along_axis", x, emit("argsort", x, axis=axis, descending=descending), axis=axis)


def _argsort_infer(x: TensorType, *, axis: int, descending: bool) -> TensorType:
    """(..., n, ...) -> int64 (..., n, ...)"""
    check_axis("argsort", axis, x.rank)
    check_kinds("argsort", "biuf", (x,))
    return x.with_dtype(dt.int64)


def _argsort(x: Array, *, axis: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(x, axis, kind="stable")
    back = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    return x.shape[axis] - 1 - back


sort = define(
    Op(
        name="sort", kind="compute", infer=_sort_infer, reference=_sort, cost=_sort_cost, dtypes="iuf",
        attrs={"axis": REQUIRED, "descending": False}, samples=_CASES, decompose=_sort_decompose,
    )
)  # fmt: skip
argsort = define(
    Op(
        name="argsort", kind="compute", infer=_argsort_infer, reference=_argsort, cost=_sort_cost, dtypes="iuf",
        attrs={"axis": REQUIRED, "descending": False}, samples=_CASES,
    )
)  # fmt: skip


def _topk_infer(x: TensorType, *, k: int, axis: int, largest: bool, sorted: bool) -> Types:
    """(..., n, ...) -> (..., k, ...), int64 (..., k, ...)"""
    check_axis("topk", axis, x.rank)
    check_kinds("topk", "iuf", (x,))
    n = x.known[axis]
    if k < 0 or (not isinstance(n, Dim) and k > n):
        raise ShapeError(f"topk wants 0 to {n} elements along axis {axis} of {show(x.known)}, got {k}")
    out = x.with_shape((*x.known[:axis], k, *x.known[axis + 1 :]))
    return out, out.with_dtype(dt.int64)


def _topk(x: Array, *, k: int, axis: int, largest: bool, sorted: bool) -> tuple[Array, Array]:
    """In order whether asked or not: an order is one of the answers that "not sorted" allows."""
    order = _argsort(x, axis=axis, descending=largest)
    where = np.take(order, np.arange(k), axis)
    return np.take_along_axis(x, where, axis), where


def _topk_decompose(emit: Emit, x: Value, *, k: int, axis: int, largest: bool, sorted: bool) -> tuple[Value, Value]:
    """the first k of argsort"""
    order = emit("argsort", x, axis=axis, descending=largest)
    shape = x.type.known
    stops = (*shape[:axis], k, *shape[axis + 1 :])
    where = emit("slice", order, starts=(0,) * len(shape), stops=stops, steps=(1,) * len(shape))
    return emit("take_along_axis", x, where, axis=axis), where


topk = define(
    Op(
        name="topk", kind="compute", infer=_topk_infer, reference=_topk, cost=_sort_cost, dtypes="iuf", onnx="TopK",
        attrs={"k": REQUIRED, "axis": REQUIRED, "largest": True, "sorted": True}, decompose=_topk_decompose,
        samples=(
            Sample((Arg((7,)),), {"k": 3, "axis": 0}),
            Sample((Arg((3, 40)),), {"k": 5, "axis": 1, "largest": False}),
            Sample((Arg((300, 2)),), {"k": 300, "axis": 0}),
            Sample((Arg((5,)),), {"k": 0, "axis": 0}),
        ),
    )
)  # fmt: skip


def _search_infer(a: TensorType, v: TensorType, *, side: str) -> TensorType:
    """ascending (n,), (s...) -> int64 (s...): where each of v would go in a"""
    check_kinds("searchsorted", "biuf", (a, v))
    if side not in ("left", "right"):
        raise AttributeValueError(f"searchsorted has no side {side!r}", hint="left or right")
    if a.rank != 1:
        raise ShapeError(f"searchsorted wants a sorted (n,), got {show(a.known)}")
    if a.dtype != v.dtype:
        raise DTypeError(f"searchsorted wants one dtype, got {a.dtype.name} and {v.dtype.name}", hint="cast one")
    return v.with_dtype(dt.int64)


def _search(a: Array, v: Array, *, side: str) -> Array:
    return np.asarray(np.searchsorted(a, v, side="left" if side == "left" else "right")).astype(np.int64, copy=False)


searchsorted = define(
    Op(
        name="searchsorted", kind="compute", infer=_search_infer, reference=_search, cost=_sort_cost, dtypes="f",
        attrs={"side": "left"}, arithmetic="same",
        samples=(
            Sample((Arg((300,), 0.25, 0.25), Arg((7,)))),  # equal elements are sorted whatever the seed
            Sample((Arg((4,), 0.25, 0.25), Arg((3, 5), 0.25, 0.25)), {"side": "right"}),
            Sample((Arg((0,)), Arg(()))),
        ),
    )
)  # fmt: skip


def _unique_infer(x: TensorType, *, axis: int | None) -> Types:
    """(s...) -> values (n,), first places int64 (n,), inverse int64 (s...), counts int64 (n,); slices with an axis"""
    if axis is not None:
        check_axis("unique", axis, x.rank)
    open_index = TensorType(None, dt.int64)
    inverse = TensorType(x.shape if axis is None else (x.known[axis],), dt.int64)
    return TensorType(None, x.dtype), open_index, inverse, open_index


def _unique(x: Array, *, axis: int | None) -> tuple[Array, Array, Array, Array]:
    """Values ascending; every NaN is a value of its own."""
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    return values, first, inverse.reshape(x.shape if axis is None else (x.shape[axis],)), counts


unique = define(
    Op(
        name="unique", kind="compute", infer=_unique_infer, reference=_unique, cost=_sort_cost, onnx="Unique",
        attrs={"axis": None},
        samples=(
            Sample((Arg((40,), 0, 6, "int64"),)),
            Sample((Arg((3, 5)),)),
            Sample((Arg((9, 2), 0, 2, "int64"),), {"axis": 0}),
        ),
    )
)  # fmt: skip
