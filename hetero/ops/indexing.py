"""Ops that pick elements by index, and their inverses. Indices are integers; negative ones count from the end.

An index outside the tensor is an AxisError on the host; a device that cannot raise says in its docs what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Shape, Size, broadcast, show
from hetero.errors import AttributeValueError, AxisError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops.elementwise import check_kinds

REDUCTIONS = ("none", "add", "mul", "max", "min")
_AT: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def check_axis(name: str, axis: int, rank: int) -> None:
    """Refuse an axis that is not in 0 .. rank - 1."""
    if not 0 <= axis < rank:
        raise AxisError(f"{name}: axis {axis} is not in a tensor of {rank} dimensions")


def _gather_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size)
    return Cost(flop=0, read=n + int(types[1].size), write=n)


def _scatter_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(types[2].size)
    return Cost(flop=n, read=int(types[0].size) + int(types[1].size) + n, write=int(outs[0].size) + n)


def _checked(name: str, call: Callable[[], Any]) -> Any:
    """`call()`, with NumPy's IndexError made ours."""
    try:
        return call()
    except IndexError as e:
        raise AxisError(f"{name}: {e}", hint="indices run from -n to n - 1 for an axis of size n") from None


def _ints(low: int, high: int, *shape: int) -> Arg:
    return Arg(shape, low, high, "int64")


# -- take ---------------------------------------------------------------------------------------------------


def _take_infer(x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
    """(a, n, b), integer (i...) along 1 -> (a, i..., b)"""
    check_axis("take", axis, x.rank)
    check_kinds("take's second input", "iu", (indices,))
    return x.with_shape((*x.known[:axis], *indices.known, *x.known[axis + 1 :]))


def _take(x: Array, indices: Array, *, axis: int) -> Array:
    return _checked("take", lambda: np.take(x, indices.astype(np.int64, copy=False), axis))


take = define(
    Op(
        name="take", kind="indexing", infer=_take_infer, reference=_take, cost=_gather_cost, onnx="Gather",
        attrs={"axis": REQUIRED},
        samples=(
            Sample((Arg((5,)), _ints(-5, 5, 3)), {"axis": 0}),
            Sample((Arg((3, 4)), _ints(0, 4)), {"axis": 1}),
            Sample((Arg((2, 5, 3)), _ints(-5, 5, 2, 4)), {"axis": 1}),
            Sample((Arg((4, 300)), Arg((7,), 0, 4, "int32")), {"axis": 0}),
            Sample((Arg((4, 3)), _ints(0, 4, 0)), {"axis": 0}),
        ),
    )
)  # fmt: skip

# -- take_along_axis, put_along_axis --------------------------------------------------------------------------


def _along_infer(x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
    """(a, n), integer (a, m) along 1 -> (a, m); the other axes broadcast"""
    check_axis("take_along_axis", axis, x.rank)
    check_kinds("take_along_axis' second input", "iu", (indices,))
    if indices.rank != x.rank:
        raise ShapeError(f"take_along_axis wants indices of {x.rank} dimensions, got {show(indices.known)}")
    ones = (*x.known[:axis], 1, *x.known[axis + 1 :])
    return x.with_shape(broadcast(ones, indices.known))


def _take_along(x: Array, indices: Array, *, axis: int) -> Array:
    return _checked("take_along_axis", lambda: np.take_along_axis(x, indices.astype(np.int64, copy=False), axis))


take_along_axis = define(
    Op(
        name="take_along_axis", kind="indexing", infer=_along_infer, reference=_take_along, cost=_gather_cost,
        onnx="GatherElements", attrs={"axis": REQUIRED},
        samples=(
            Sample((Arg((5,)), _ints(-5, 5, 3)), {"axis": 0}),
            Sample((Arg((3, 4)), _ints(0, 4, 3, 6)), {"axis": 1}),
            Sample((Arg((2, 5, 3)), _ints(-5, 5, 2, 4, 3)), {"axis": 1}),
            Sample((Arg((3, 1)), _ints(0, 3, 300, 5)), {"axis": 0}),
        ),
    )
)  # fmt: skip


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise AttributeValueError(f"{name} has no reduction {reduction!r}", hint=f"one of {', '.join(REDUCTIONS)}")


def _check_updates(name: str, x: TensorType, updates: TensorType, shape: Shape) -> None:
    if updates.dtype != x.dtype:
        raise DTypeError(f"{name} wants one dtype, got {x.dtype.name} and {updates.dtype.name}", hint="cast one")
    if updates.known != shape:
        raise ShapeError(f"{name} wants updates of shape {show(shape)}, got {show(updates.known)}")


def _put(name: str, x: Array, where: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    """A copy of `x` with `updates` at `where`; of equal places the last one counts, or all are folded."""
    out = x.copy()
    if reduction == "none":
        _checked(name, lambda: out.__setitem__(where, updates))
    else:
        _checked(name, lambda: _AT[reduction].at(out, where, updates))
    return out


def _put_along_infer(
    x: TensorType, indices: TensorType, updates: TensorType, *, axis: int, reduction: str
) -> TensorType:
    """(a, n), integer (b, m), (b, m) along 1 -> (a, n), where b <= a"""
    name = "put_along_axis"
    check_axis(name, axis, x.rank)
    check_kinds("put_along_axis' second input", "iu", (indices,))
    _check_reduction(name, reduction)
    if indices.rank != x.rank or not all(
        i == axis or _fits(a, b) for i, (a, b) in enumerate(zip(indices.known, x.known, strict=True))
    ):
        raise ShapeError(f"{name} wants indices no larger than {show(x.known)} but on axis {axis}, got {indices}")
    _check_updates(name, x, updates, indices.known)
    return x


def _fits(small: Size, large: Size) -> bool:
    return small == large or (not isinstance(small, Dim) and not isinstance(large, Dim) and small < large)


def _put_along(x: Array, indices: Array, updates: Array, *, axis: int, reduction: str) -> Array:
    where: list[Array] = list(np.indices(indices.shape, sparse=True))
    where[axis] = indices.astype(np.int64, copy=False)
    return _put("put_along_axis", x, tuple(where), updates, reduction)


put_along_axis = define(
    Op(
        name="put_along_axis", kind="indexing", infer=_put_along_infer, reference=_put_along, cost=_scatter_cost,
        onnx="ScatterElements", dtypes="iuf", attrs={"axis": REQUIRED, "reduction": "none"},
        samples=(
            Sample((Arg((5,)), _ints(2, 3, 1), Arg((1,))), {"axis": 0}),
            Sample((Arg((3, 4)), _ints(-4, -3, 2, 1), Arg((2, 1))), {"axis": 1}),
            Sample((Arg((3, 4)), _ints(-4, 4, 3, 6), Arg((3, 6))), {"axis": 1, "reduction": "add"}),
            Sample((Arg((300, 2)), _ints(0, 300, 5, 2), Arg((5, 2))), {"axis": 0, "reduction": "max"}),
            Sample((Arg((7, 2)), _ints(0, 7, 5, 2), Arg((5, 2))), {"axis": 0, "reduction": "min"}),
            Sample((Arg((7,)), _ints(0, 7, 4), Arg((4,))), {"axis": 0, "reduction": "mul"}),
        ),
    )
)  # fmt: skip

# -- gather_nd, scatter_nd --------------------------------------------------------------------------------------


def _index_width(name: str, x: TensorType, indices: TensorType, batch_dims: int) -> int:
    """How many axes one row of `indices` picks on: its last size."""
    check_kinds(f"{name}'s second input", "iu", (indices,))
    if not 0 <= batch_dims < max(indices.rank, 1) or batch_dims > x.rank:
        raise AxisError(f"{name}: batch_dims {batch_dims} of {show(x.known)} and {show(indices.known)}")
    if indices.rank == 0 or isinstance(indices.known[-1], Dim):
        raise ShapeError(f"{name} wants indices (..., k) with k known, got {show(indices.known)}")
    width = indices.known[-1]
    if width > x.rank - batch_dims:
        raise ShapeError(f"{name}: rows of {width} indices into {show(x.known)} after {batch_dims} batch axes")
    if x.known[:batch_dims] != indices.known[:batch_dims]:
        raise ShapeError(f"{name}: batch axes differ, {show(x.known)} and {show(indices.known)}")
    return width


def _gather_infer(x: TensorType, indices: TensorType, *, batch_dims: int) -> TensorType:
    """(b..., s...), integer (b..., q..., k) -> (b..., q..., s[k:])"""
    width = _index_width("gather_nd", x, indices, batch_dims)
    return x.with_shape((*indices.known[:-1], *x.known[batch_dims + width :]))


def _columns(indices: Array, batch_dims: int = 0) -> tuple[Array, ...]:
    """Rows of indices as one index array an axis, after an arange for each batch axis."""
    rank = indices.ndim - 1
    batch = np.indices(indices.shape[:batch_dims], sparse=True) if batch_dims else ()
    opened = tuple(b.reshape(b.shape + (1,) * (rank - batch_dims)) for b in batch)
    return (*opened, *np.moveaxis(indices.astype(np.int64, copy=False), -1, 0))


def _gather(x: Array, indices: Array, *, batch_dims: int) -> Array:
    where = _columns(indices, batch_dims)
    if not where:
        return np.broadcast_to(x, indices.shape[:-1] + x.shape).copy()
    return _checked("gather_nd", lambda: x[where])


gather_nd = define(
    Op(
        name="gather_nd", kind="indexing", infer=_gather_infer, reference=_gather, cost=_gather_cost,
        onnx="GatherND", attrs={"batch_dims": 0},
        samples=(
            Sample((Arg((5,)), _ints(-5, 5, 3, 1))),
            Sample((Arg((3, 4)), _ints(-3, 3, 5, 2))),
            Sample((Arg((3, 4, 5)), _ints(0, 3, 2, 7, 2))),
            Sample((Arg((3, 4, 300)), _ints(0, 4, 3, 6, 1)), {"batch_dims": 1}),
        ),
    )
)  # fmt: skip


def _scatter_infer(x: TensorType, indices: TensorType, updates: TensorType, *, reduction: str) -> TensorType:
    """(s...), integer (q..., k), (q..., s[k:]) -> (s...)"""
    width = _index_width("scatter_nd", x, indices, 0)
    _check_reduction("scatter_nd", reduction)
    _check_updates("scatter_nd", x, updates, (*indices.known[:-1], *x.known[width:]))
    return x


def _scatter(x: Array, indices: Array, updates: Array, *, reduction: str) -> Array:
    return _put("scatter_nd", x, _columns(indices), updates, reduction)


scatter_nd = define(
    Op(
        name="scatter_nd", kind="indexing", infer=_scatter_infer, reference=_scatter, cost=_scatter_cost,
        onnx="ScatterND", dtypes="iuf", attrs={"reduction": "none"},
        samples=(
            Sample((Arg((5,)), _ints(-2, -1, 1, 1), Arg((1,)))),
            Sample((Arg((3, 4)), _ints(1, 2, 1, 1), Arg((1, 4)))),
            Sample((Arg((3, 4)), _ints(-3, 3, 6, 2), Arg((6,))), {"reduction": "add"}),
            Sample((Arg((300, 2)), _ints(0, 300, 5, 1), Arg((5, 2))), {"reduction": "max"}),
            Sample((Arg((3, 4)), _ints(0, 3, 2, 3, 1), Arg((2, 3, 4))), {"reduction": "min"}),
        ),
    )
)  # fmt: skip

# -- nonzero, compress: the result's size depends on the data, so these run on the host -----------------------------


def _scan_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(types[0].size)
    return Cost(flop=n, read=n, write=n)


def _nonzero_infer(x: TensorType) -> TensorType:
    """(s...) -> int64 (rank, number of elements that are not zero), in row-major order"""
    return TensorType(None, dt.int64)


def _nonzero(x: Array) -> Array:
    found = np.nonzero(np.atleast_1d(x))
    return np.stack(found[: x.ndim]) if x.ndim else np.empty((0, len(found[0])), np.int64)


nonzero = define(
    Op(
        name="nonzero", kind="indexing", infer=_nonzero_infer, reference=_nonzero, cost=_scan_cost, onnx="NonZero",
        samples=(Sample((Arg((7,), 0, 2, "int64"),)), Sample((Arg((3, 5), 0, 2, "bool"),)), Sample((Arg((0, 3)),))),
    )
)  # fmt: skip


def _compress_infer(x: TensorType, condition: TensorType, *, axis: int | None) -> TensorType:
    """(a, n, b), bool (n or fewer,) along 1 -> (a, number of true, b); of all elements in order without an axis"""
    if axis is not None:
        check_axis("compress", axis, x.rank)
    if condition.rank != 1 or condition.dtype != dt.bool_:
        raise DTypeError(f"compress wants a condition of bool (n,), got {condition}")
    return TensorType(None, x.dtype)


def _compress(x: Array, condition: Array, *, axis: int | None) -> Array:
    return _checked("compress", lambda: np.compress(condition, x, axis))


compress = define(
    Op(
        name="compress", kind="indexing", infer=_compress_infer, reference=_compress, cost=_scan_cost,
        onnx="Compress", attrs={"axis": None},
        samples=(
            Sample((Arg((7,)), Arg((7,), 0, 2, "bool")), {"axis": 0}),
            Sample((Arg((3, 5)), Arg((5,), 0, 2, "bool")), {"axis": 1}),
            Sample((Arg((3, 5)), Arg((9,), 0, 2, "bool"))),
        ),
    )
)  # fmt: skip
