"""Lowerings of ops that pick, place, sort and accumulate elements."""

from __future__ import annotations

from hetero.convert.onnx_call import Call, Made, Wait, lowers
from hetero.convert.onnx_late import postpone
from hetero.dim import Dim
from hetero.graph.build import Ref

_REDUCTIONS = ("none", "add", "mul", "max", "min")
INTERNAL = "hetero"  # the domain of nodes that lowerings leave behind, never found in a file


# -- gather -------------------------------------------------------------------------------------------------


@lowers("Gather")
def _gather(n: Call, x: Ref, indices: Ref, *, axis: int = 0) -> Ref:
    """`take`"""
    return n.emit("take", x, indices, axis=n.axis(axis, x.type.rank))


@lowers("GatherElements")
def _gather_elements(n: Call, x: Ref, indices: Ref, *, axis: int = 0) -> Ref:
    """`take_along_axis`, of x cut to the indices' sizes on the other axes"""
    rank = x.type.rank
    at = n.axis(axis, rank)
    n.only(indices.type.rank == rank, f"indices of {indices.type.rank} dimensions into {rank}")
    for i, (size, wanted) in enumerate(zip(x.type.known, indices.type.known, strict=True)):
        if i != at and size != wanted:
            if isinstance(size, Dim) or isinstance(wanted, Dim):
                raise Wait
            n.only(wanted < size, f"indices of size {wanted} on axis {i} of size {size}")
            x = n.cut(x, i, 0, wanted)
    return n.emit("take_along_axis", x, indices, axis=at)


@lowers("GatherND")
def _gather_nd(n: Call, x: Ref, indices: Ref, *, batch_dims: int = 0) -> Ref:
    """`gather_nd`"""
    return n.emit("gather_nd", x, indices, batch_dims=batch_dims)


@lowers("ArrayFeatureExtractor", domain="ai.onnx.ml")
def _feature(n: Call, x: Ref, indices: Ref) -> Ref:
    """`take` along the last axis"""
    flat = n.reshape(indices, indices.type.size)
    wide = x if x.type.rank > 1 else n.reshape(x, 1, x.type.size)
    return n.emit("take", wide, flat, axis=wide.type.rank - 1)


@lowers("Binarizer", domain="ai.onnx.ml")
def _binarizer(n: Call, x: Ref, *, threshold: float = 0.0) -> Ref:
    """1 where x exceeds the threshold, else 0"""
    return n.cast(n.emit("greater", n.through_float(x, small=False), threshold), x.type.dtype)


# -- scatter ------------------------------------------------------------------------------------------------


@lowers("Scatter", "ScatterElements")
def _scatter_elements(n: Call, x: Ref, indices: Ref, updates: Ref, *, axis: int = 0, reduction: str = "none") -> Ref:
    """`put_along_axis`"""
    n.only(reduction in _REDUCTIONS, f"reduction={reduction!r} is none of {', '.join(_REDUCTIONS)}")
    return n.emit("put_along_axis", x, indices, updates, axis=n.axis(axis, x.type.rank), reduction=reduction)


@lowers("ScatterND")
def _scatter_nd(n: Call, x: Ref, indices: Ref, updates: Ref, *, reduction: str = "none") -> Ref:
    """`scatter_nd`"""
    n.only(reduction in _REDUCTIONS, f"reduction={reduction!r} is none of {', '.join(_REDUCTIONS)}")
    return n.emit("scatter_nd", x, indices, updates, reduction=reduction)


@lowers("TensorScatter")
def _tensor_scatter(
    n: Call, cache: Ref, update: Ref, write: Ref | None = None, *, axis: int = -2, mode: str = "linear"
) -> Ref:
    """`put_along_axis` at write_indices + 0, 1, ...; circular ones are taken modulo the cache's size"""
    n.only(mode in ("linear", "circular"), f"mode={mode!r} is neither linear nor circular")
    shape, size = n.shape(update), n.shape(cache)
    at = n.axis(axis, len(shape))
    n.only(at > 0 and len(size) == len(shape), f"axis {axis} of {len(size)} dimensions")
    e = n.emit
    places = n.reshape(n.arange(shape[at]), *(shape[at] if i == at else 1 for i in range(len(shape))))
    if write is not None:
        places = e("add", places, n.reshape(write, shape[0], *(1,) * (len(shape) - 1)))
    if mode == "circular":
        places = e("remainder", places, size[at])
    return e("put_along_axis", cache, e("broadcast_to", places, shape=shape), update, axis=at)


@lowers("ReverseSequence")
def _reverse_sequence(n: Call, x: Ref, lengths: Ref, *, batch_axis: int = 1, time_axis: int = 0) -> Ref:
    """`take_along_axis` at length - 1 - t inside the sequence, at t behind it"""
    shape = n.shape(x)
    n.only({batch_axis, time_axis} == {0, 1} and len(shape) >= 2, f"axes {batch_axis} and {time_axis}")
    e, rank = n.emit, len(shape)
    steps = n.reshape(n.arange(shape[time_axis]), *(shape[i] if i == time_axis else 1 for i in range(rank)))
    length = n.reshape(lengths, *(shape[i] if i == batch_axis else 1 for i in range(rank)))
    back = e("subtract", e("subtract", length, 1), steps)
    places = e("where", e("less", steps, length), back, steps)
    return e("take_along_axis", x, e("broadcast_to", places, shape=shape), axis=time_axis)


# -- results whose size depends on the data -----------------------------------------------------------------


@lowers("NonZero")
def _nonzero(n: Call, x: Ref) -> Ref:
    """`nonzero`"""
    return n.emit("nonzero", x)


@lowers("Compress")
def _compress(n: Call, x: Ref, condition: Ref, *, axis: int | None = None) -> Ref:
    """`compress`"""
    return n.emit("compress", x, condition, axis=None if axis is None else n.axis(axis, x.type.rank))


@lowers("Unique")
def _unique(n: Call, x: Ref, *, axis: int | None = None, sorted: int = 1) -> Made:
    """`unique`"""
    made = n.emit("unique", x, axis=None if axis is None else n.axis(axis, x.type.rank))
    if sorted:
        return made
    again = Call(n.emit, "UniqueInOrder", INTERNAL, 1, tuple(made), (True,) * 4, {"axis": axis}, name=n.name)
    return postpone(again, (x.type.dtype.name, "int64", "int64", "int64"))


@lowers("UniqueInOrder", domain=INTERNAL)
def _unique_in_order(n: Call, values: Ref, first: Ref, inverse: Ref, counts: Ref, *, axis: int | None) -> Made:
    """what `unique` gives, by first appearance"""
    e = n.emit
    order = e("argsort", first, axis=0)
    back = e("argsort", order, axis=0)  # where each value went
    at = 0 if axis is None else n.axis(axis, values.type.rank)
    return (e("take", values, order, axis=at), e("take", first, order, axis=0), e("take", back, inverse, axis=0),
            e("take", counts, order, axis=0))  # fmt: skip


# -- order and running sums ---------------------------------------------------------------------------------


@lowers("TopK", since=10)
def _topk(n: Call, x: Ref, k: Ref, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Made:
    """`topk`"""
    at = n.axis(axis, x.type.rank)
    return n.emit("topk", x, k=int(n.scalar(k, "k")), axis=at, largest=bool(largest), sorted=bool(sorted))


@lowers("TopK")
def _topk_1(n: Call, x: Ref, *, axis: int = -1, k: int) -> Made:
    """`topk`"""
    return n.emit("topk", x, k=k, axis=n.axis(axis, x.type.rank), largest=True, sorted=True)


def _running(onnx: str, name: str) -> None:
    def lower(n: Call, x: Ref, axis: Ref, *, exclusive: int = 0, reverse: int = 0) -> Made:
        at = n.axis(int(n.scalar(axis, "the axis")), x.type.rank)
        return n.emit(name, x, axis=at, exclusive=bool(exclusive), reverse=bool(reverse))

    lower.__doc__ = f"`{name}`"
    lowers(onnx)(lower)


for _onnx, _name in (("CumSum", "cumsum"), ("CumProd", "cumprod")):
    _running(_onnx, _name)


@lowers("Det")
def _det(n: Call, x: Ref) -> Ref:
    """`det`"""
    return n.emit("det", x)
