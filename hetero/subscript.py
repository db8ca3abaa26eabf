"""`x[key]` and `x[key] = v` written in ops: slice, reshape, take, gather_nd, scatter_nd.

A key is ints, slices, None, `...`, integer tensors and bool masks. Masks become index tensors by `nonzero`, whose
size depends on the data. Where the picked axes go follows NumPy: together, in the place of the first; else in front.
`emit` is `hetero.tensor.apply`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Shape, Size, broadcast, prod, show
from hetero.dtype import DType
from hetero.errors import AttributeValueError, AxisError, DTypeError, ShapeError
from hetero.op import Emit


def fill_shape(shape: Shape, wanted: Sequence[Size]) -> Shape:
    """`wanted` with the one -1 worked out, so that it has as many elements as `shape`."""
    holes = [i for i, n in enumerate(wanted) if not isinstance(n, Dim) and n == -1]
    if not holes:
        return tuple(wanted)
    rest = prod(tuple(n for i, n in enumerate(wanted) if i != holes[0]))
    if len(holes) > 1 or rest == 0 or (not isinstance(rest, Dim) and rest < 0):
        raise ShapeError(f"reshape to {show(tuple(wanted))} leaves open what -1 is", hint="at most one -1")
    total = prod(shape)
    if not isinstance(total, Dim) and not isinstance(rest, Dim) and total % rest:
        raise ShapeError(f"reshape from {show(shape)} to {show(tuple(wanted))}: {total} is no multiple of {rest}")
    return (*(total // rest if i == holes[0] else n for i, n in enumerate(wanted)),)


def is_tensor(item: Any) -> bool:
    return hasattr(item, "_rank")


def spell_out(key: Any, rank: int) -> list[Any]:
    """The key as one list in which `...` stands for the right number of full slices; it stays where that is none, since
    it parts the indices beside it all the same."""
    items = list(key) if isinstance(key, tuple) else [key]  # pyright: ignore[reportUnknownArgumentType]
    used = sum(_axes_of(item) for item in items)
    if used > rank:
        raise AxisError(f"{used} indices into a tensor of {rank} dimensions")
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise AxisError("a key holds one `...` at most")
    at = dots[0] if dots else len(items)
    return items[:at] + ([slice(None)] * (rank - used) or items[at : at + 1]) + items[at + 1 :]


def _axes_of(item: Any) -> int:
    """How many axes an item of a key consumes."""
    if item is None or item is Ellipsis or isinstance(item, bool | np.bool_):
        return 0
    if is_tensor(item):
        return item.ndim if item.dtype == dt.bool_ else 1
    if isinstance(item, slice) or hasattr(item, "__index__"):
        return 1
    raise AxisError(
        f"{type(item).__name__} is no index", hint="ints, slices, None, `...`, integer tensors and bool masks are"
    )


@dataclass(slots=True)
class _Plan:
    """A slice of every axis, a reshape, then index tensors on some of the axes that are left."""

    starts: list[int] = field(default_factory=list[int])
    stops: list[Size] = field(default_factory=list[Size])
    steps: list[int] = field(default_factory=list[int])
    shape: list[Size] = field(default_factory=list[Size])  # after the reshape
    picks: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])  # axis of `shape`, index tensor
    advanced: list[int] = field(default_factory=list[int])  # positions of ints and tensors in the key

    def cut(self, start: int, stop: Size, step: int) -> None:
        self.starts.append(start)
        self.stops.append(stop)
        self.steps.append(step)


def _plan(emit: Emit, shape: Shape, items: list[Any]) -> _Plan:
    plan = _Plan()
    for position, item in enumerate(items):
        axis = len(plan.starts)
        if item is Ellipsis:
            continue
        if item is None:
            plan.shape.append(1)
        elif isinstance(item, bool | np.bool_):
            raise AxisError("a plain bool is no index here", hint="use a bool tensor of shape ()")
        elif isinstance(item, slice):
            _plan_slice(plan, shape[axis], item)
        elif is_tensor(item):
            plan.advanced.append(position)
            _plan_tensor(plan, emit, shape, item)
        else:
            plan.advanced.append(position)
            _plan_int(plan, shape[axis], int(item.__index__()), axis)
    return plan


def _plan_slice(plan: _Plan, size: Size, item: slice) -> None:
    if isinstance(size, Dim):
        if item not in (slice(None), slice(0, None), slice(None, None, 1)):
            raise ShapeError(f"a slice of the open dimension {size}", hint="give the dimension a value first")
        plan.cut(0, size, 1)
        plan.shape.append(size)
        return
    try:
        start, stop, step = item.indices(size)
    except (TypeError, ValueError) as e:
        raise AxisError(f"{item} is no slice: {e}") from None
    length = len(range(start, stop, step))
    plan.cut(start if length else 0, stop if length else 0, step if length else 1)
    plan.shape.append(length)


def _plan_int(plan: _Plan, size: Size, index: int, axis: int) -> None:
    if isinstance(size, Dim) or not -size <= index < size:
        raise AxisError(f"index {index} is outside axis {axis} of size {size}")
    start = index % size
    plan.cut(start, start + 1, 1)


def _plan_tensor(plan: _Plan, emit: Emit, shape: Shape, item: Any) -> None:
    axis = len(plan.starts)
    if item.dtype != dt.bool_:
        if not dt.is_integer(item.dtype):
            raise DTypeError(f"an index tensor holds integers or bools, not {item.dtype.name}")
        _plan_full(plan, shape[axis])
        plan.picks.append((len(plan.shape) - 1, item))
        return
    if item.ndim == 0:  # a new axis that is there once or not at all
        plan.shape.append(1)
        item = emit("reshape", item, shape=(1,))
    else:
        if item.shape != shape[axis : axis + item.ndim]:
            raise ShapeError(f"a mask of shape {show(item.shape)} on axes of sizes {show(shape[axis:][: item.ndim])}")
        for size in item.shape:
            _plan_full(plan, size)
    rows = emit("nonzero", item)
    rank, count = rows.shape
    for i in range(rank):
        row = emit("slice", rows, starts=(i, 0), stops=(i + 1, count), steps=(1, 1))
        plan.picks.append((len(plan.shape) - rank + i, emit("reshape", row, shape=(count,))))


def _plan_full(plan: _Plan, size: Size) -> None:
    plan.cut(0, size, 1)
    plan.shape.append(size)


def get(emit: Emit, x: Any, key: Any) -> Any:
    """`x[key]`"""
    plan = _plan(emit, x.shape, spell_out(key, x.ndim))
    out = x
    if any(s != 0 for s in plan.starts) or tuple(plan.stops) != x.shape or any(s != 1 for s in plan.steps):
        out = emit("slice", out, starts=tuple(plan.starts), stops=tuple(plan.stops), steps=tuple(plan.steps))
    if tuple(plan.shape) != out.shape:
        out = emit("reshape", out, shape=tuple(plan.shape))
    return _pick(emit, out, plan) if plan.picks else out


def _pick(emit: Emit, x: Any, plan: _Plan) -> Any:
    """The index tensors of `plan` applied to `x`, and the axes they make put where NumPy has them."""
    axes = [a for a, _ in plan.picks]
    shape = broadcast(*(i.shape for _, i in plan.picks))
    if len(axes) == 1:
        out, now = emit("take", x, plan.picks[0][1], axis=axes[0]), axes[0]
    else:
        rest = [a for a in range(x.ndim) if a not in axes]
        front = emit("permute", x, axes=(*axes, *rest)) if [*axes, *rest] != list(range(x.ndim)) else x
        columns = [emit("reshape", _stretch(emit, _int64(emit, i), shape), shape=(*shape, 1)) for _, i in plan.picks]
        out, now = emit("gather_nd", front, emit("concat", *columns, axis=len(shape))), 0
    together = plan.advanced[-1] - plan.advanced[0] == len(plan.advanced) - 1
    wanted = axes[0] if together else 0
    if now == wanted or not shape:
        return out
    made = list(range(now, now + len(shape)))
    others = [a for a in range(out.ndim) if a not in made]
    return emit("permute", out, axes=(*others[:wanted], *made, *others[wanted:]))


def _int64(emit: Emit, index: Any) -> Any:
    return index if index.dtype == dt.int64 else emit("cast", index, dtype="int64")


def _stretch(emit: Emit, x: Any, shape: Shape) -> Any:
    return x if x.shape == shape else emit("broadcast_to", x, shape=shape)


def put(emit: Emit, x: Any, key: Any, value: Any) -> Any:
    """`x` with `value`, a tensor of its dtype, at `key`"""
    only: Any = key[0] if isinstance(key, tuple) and len(key) == 1 else key  # pyright: ignore[reportUnknownArgumentType]
    if is_tensor(only) and only.dtype == dt.bool_ and value.ndim == 0 and only.shape == x.shape[: only.ndim]:
        mask = emit("reshape", only, shape=(*only.shape, *(1,) * (x.ndim - only.ndim)))
        return emit("where", mask, value, x)
    places = get(emit, _positions(x), key)
    if not _fits(value.shape, places.shape):
        raise ShapeError(f"a value of shape {show(value.shape)} does not go where {show(places.shape)} is picked")
    extra = value.ndim - places.ndim
    value = emit("reshape", value, shape=value.shape[extra:]) if extra > 0 else value
    rows = emit("reshape", places, shape=(prod(places.shape), 1))
    updates = emit("reshape", _stretch(emit, value, places.shape), shape=(prod(places.shape),))
    flat = emit("scatter_nd", emit("reshape", x, shape=(prod(x.shape),)), rows, updates)
    return emit("reshape", flat, shape=x.shape)


def _positions(x: Any) -> Any:
    """int64 of the shape of `x`: each element's place in row-major order."""
    from hetero.eager import place

    if any(isinstance(n, Dim) for n in x.shape):
        raise ShapeError(f"setting elements of a tensor with the open shape {show(x.shape)}")
    return place(np.arange(math.prod(x.shape)).reshape(x.shape), x.device)


def _fits(value: Shape, target: Shape) -> bool:
    """Whether a value may be stretched to the target; NumPy ignores ones in front."""
    while len(value) > len(target) and value[0] == 1:
        value = value[1:]
    try:
        return broadcast(value, target) == target
    except ShapeError:
        return False


def check_fits(dtype: DType, value: Any) -> None:
    """Refuse a value that a tensor of `dtype` would not hold by the rules of promotion."""
    if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic):
        if dt.weak(value, dtype) != dtype:
            raise DTypeError(f"setting {value!r} in a {dtype.name} tensor", hint="cast the tensor first: x.astype(...)")
    elif is_tensor(value) or isinstance(value, np.generic):
        if value.dtype != dtype and dt.promote(dtype, value.dtype) != dtype:
            raise DTypeError(
                f"setting {value.dtype.name} elements of a {dtype.name} tensor", hint=f"v.astype('{dtype.name}')"
            )
    else:
        raise AttributeValueError(
            f"elements are set to a tensor or a scalar, not {type(value).__name__}", hint="hetero.asarray(v)"
        )


def fitting(x: Any, value: Any) -> Any:
    """`value` as a tensor of the dtype of `x`, on its device if it is a scalar."""
    from hetero.eager import place

    check_fits(x.dtype, value)
    return value.astype(x.dtype) if is_tensor(value) else place(np.asarray(value, x.dtype), x.device)
