"""Ops that move elements and compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero.dim import Dim, Shape, broadcast, concrete, prod, show
from hetero.errors import AxisError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops.reduction import normal_axes

Ints = tuple[int, ...]


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = sum(int(t.size) for t in outs)
    return Cost(flop=0, read=n, write=n)


def _view_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return Cost(flop=0, read=0, write=0)


def _reshape_infer(x: TensorType, *, shape: Shape) -> TensorType:
    """(...) -> shape; the number of elements stays"""
    if any(not isinstance(n, Dim) and n < 0 for n in shape):
        raise ShapeError(f"reshape wants sizes of 0 or more, got {show(shape)}", hint="work -1 out before the op")
    if prod(x.known) != prod(shape):
        raise ShapeError(
            f"reshape from {show(x.known)} to {show(shape)} would change the number of elements, "
            f"{prod(x.known)} to {prod(shape)}"
        )
    return x.with_shape(tuple(shape))


def _reshape(x: Array, *, shape: Ints) -> Array:
    return x.reshape(shape)


reshape = define(
    Op(
        name="reshape", kind="movement", infer=_reshape_infer, reference=_reshape, cost=_view_cost, onnx="Reshape",
        attrs={"shape": REQUIRED},
        samples=(
            Sample((Arg((6,)),), {"shape": (2, 3)}),
            Sample((Arg((2, 3, 4)),), {"shape": (4, 6)}),
            Sample((Arg(()),), {"shape": (1, 1)}),
        ),
    )
)  # fmt: skip


def _permute_infer(x: TensorType, *, axes: Ints) -> TensorType:
    """(a, b, c) by (2, 0, 1) -> (c, a, b)"""
    if sorted(axes) != list(range(x.rank)):
        raise AxisError(f"permute wants each of the {x.rank} axes once, got {tuple(axes)}")
    return x.with_shape(tuple(x.known[a] for a in axes))


def _permute(x: Array, *, axes: Ints) -> Array:
    return np.transpose(x, axes)


permute = define(
    Op(
        name="permute", kind="movement", infer=_permute_infer, reference=_permute, cost=_cost, onnx="Transpose",
        attrs={"axes": REQUIRED},
        samples=(
            Sample((Arg((3, 5)),), {"axes": (1, 0)}),
            Sample((Arg((2, 3, 4)),), {"axes": (2, 0, 1)}),
            Sample((Arg((7,)),), {"axes": (0,)}),
        ),
    )
)  # fmt: skip


def _broadcast_infer(x: TensorType, *, shape: Shape) -> TensorType:
    """(...) -> shape, sizes of 1 stretched"""
    if broadcast(x.known, shape) != tuple(shape):
        raise ShapeError(f"{show(x.known)} does not broadcast to {show(shape)}")
    return x.with_shape(tuple(shape))


def _broadcast(x: Array, *, shape: Ints) -> Array:
    return np.broadcast_to(x, shape)


broadcast_to = define(
    Op(
        name="broadcast_to", kind="movement", infer=_broadcast_infer, reference=_broadcast, cost=_cost,
        onnx="Expand", attrs={"shape": REQUIRED},
        samples=(
            Sample((Arg((5,)),), {"shape": (3, 5)}),
            Sample((Arg((2, 1, 4)),), {"shape": (2, 3, 4)}),
            Sample((Arg(()),), {"shape": (2,)}),
        ),
    )
)  # fmt: skip


def _concat_infer(first: TensorType, *rest: TensorType, axis: int) -> TensorType:
    """(a, n), (b, n) along 0 -> (a + b, n)"""
    (axis,) = normal_axes(axis, first.rank)
    for t in rest:
        if t.dtype != first.dtype:
            raise DTypeError(f"concat wants one dtype, got {first.dtype.name} and {t.dtype.name}", hint="cast one")
        same = t.rank == first.rank and all(
            a == b for i, (a, b) in enumerate(zip(t.known, first.known, strict=True)) if i != axis
        )
        if not same:
            raise ShapeError(f"concat along axis {axis}: {show(first.known)} and {show(t.known)} differ elsewhere")
    total = sum((t.known[axis] for t in rest), first.known[axis])
    return first.with_shape((*first.known[:axis], total, *first.known[axis + 1 :]))


def _concat(*arrays: Array, axis: int) -> Array:
    return np.concatenate(arrays, axis)


concat = define(
    Op(
        name="concat", kind="movement", infer=_concat_infer, reference=_concat, cost=_cost, onnx="Concat",
        attrs={"axis": REQUIRED}, arithmetic="same",
        samples=(
            Sample((Arg((3,)), Arg((4,))), {"axis": 0}),
            Sample((Arg((2, 3)), Arg((2, 1)), Arg((2, 5))), {"axis": 1}),
            Sample((Arg((2, 3, 2)),), {"axis": 2}),
        ),
    )
)  # fmt: skip


def slice_length(size: int, start: int, stop: int, step: int) -> int:
    """How many indices `range(start, stop, step)` has."""
    return len(range(start, stop, step))


def _slice_infer(x: TensorType, *, starts: Ints, stops: Ints, steps: Ints) -> TensorType:
    """(n, ...) -> (len(range(start, stop, step)), ...), every axis given, indices not wrapped

    A stop of -1 with a negative step runs through index 0. An axis with a named dimension is taken whole, as
    start 0, stop that dimension, step 1.
    """
    if not len(starts) == len(stops) == len(steps) == x.rank:
        raise AxisError(f"slice wants a start, stop and step for each of {x.rank} axes")
    out: list[Any] = []
    for size, start, stop, step in zip(x.known, starts, stops, steps, strict=True):
        if isinstance(size, Dim):
            if (start, stop, step) != (0, size, 1):
                raise ShapeError(f"slice of the open dimension {size}", hint="give the dimension a value first")
            out.append(size)
            continue
        length = slice_length(size, start, stop, step) if step else -1
        last = start + (length - 1) * step
        if length < 0 or (length and not (0 <= start < size and 0 <= last < size)):
            raise AxisError(f"slice {start}:{stop}:{step} leaves an axis of size {size}")
        out.append(length)
    return x.with_shape(tuple(out))


def _slice(x: Array, *, starts: Ints, stops: Ints, steps: Ints) -> Array:
    return x[tuple(map(_cut, starts, stops, steps))]


def _cut(start: int, stop: int, step: int) -> slice:
    """The elements of `range(start, stop, step)`: unlike in Python's slices, nothing counts from the end."""
    if not range(start, stop, step):
        return slice(0, 0)
    return slice(start, None if stop < 0 else stop, step)


slice_ = define(
    Op(
        name="slice", kind="movement", infer=_slice_infer, reference=_slice, cost=_cost, onnx="Slice",
        attrs={"starts": REQUIRED, "stops": REQUIRED, "steps": REQUIRED},
        samples=(
            Sample((Arg((7,)),), {"starts": (1,), "stops": (6,), "steps": (2,)}),
            Sample((Arg((4, 5)),), {"starts": (3, 0), "stops": (-1, 5), "steps": (-1, 1)}),
            Sample((Arg((3, 4)),), {"starts": (0, 2), "stops": (3, 2), "steps": (1, 1)}),
        ),
    )
)  # fmt: skip

PAD_MODES = ("constant", "edge", "reflect", "wrap")


def _pad_infer(x: TensorType, *, before: Ints, after: Ints, mode: str, value: float) -> TensorType:
    """(n, ...) -> (before + n + after, ...)"""
    if not len(before) == len(after) == x.rank:
        raise AxisError(f"pad wants a width before and after each of {x.rank} axes")
    if mode not in PAD_MODES:
        raise ShapeError(f"pad has no mode {mode!r}", hint=f"one of {', '.join(PAD_MODES)}")
    if min((*before, *after), default=0) < 0:
        raise ShapeError(f"pad wants widths of 0 or more, got {before} and {after}", hint="cut with slice first")
    if mode != "constant":
        for n, b, a in zip(concrete(x.known, "pad"), before, after, strict=True):
            if n == 0 and b + a:
                raise ShapeError(f"pad with mode {mode!r} of an empty axis has nothing to repeat")
    return x.with_shape(tuple(b + n + a for n, b, a in zip(x.known, before, after, strict=True)))


def _pad(x: Array, *, before: Ints, after: Ints, mode: str, value: float) -> Array:
    width = list(zip(before, after, strict=True))
    if mode == "constant":
        return np.pad(x, width, constant_values=np.asarray(value).astype(x.dtype))
    return np.pad(x, width, mode)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]


pad = define(
    Op(
        name="pad", kind="movement", infer=_pad_infer, reference=_pad, cost=_cost, onnx="Pad",
        attrs={"before": REQUIRED, "after": REQUIRED, "mode": "constant", "value": 0.0},
        samples=(
            Sample((Arg((5,)),), {"before": (2,), "after": (1,), "value": 3.0}),
            Sample((Arg((3, 4)),), {"before": (1, 0), "after": (0, 2), "mode": "edge"}),
            Sample((Arg((3, 4)),), {"before": (2, 1), "after": (1, 3), "mode": "reflect"}),
            Sample((Arg((3, 4)),), {"before": (2, 1), "after": (1, 3), "mode": "wrap"}),
        ),
    )
)  # fmt: skip
