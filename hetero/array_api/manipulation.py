"""The same elements in other shapes and orders. Nothing here computes."""

from __future__ import annotations

from collections.abc import Sequence

from hetero.dim import broadcast, show
from hetero.dtype import int64
from hetero.errors import AttributeValueError, AxisError, ShapeError
from hetero.ops.reduction import normal_axes
from hetero.subscript import fill_shape
from hetero.tensor import Tensor, apply

Axes = int | tuple[int, ...] | None


def normal_axis(axis: int, rank: int) -> int:
    """The axis in 0 .. rank - 1."""
    return axis % rank if -rank <= axis < rank else normal_axes(axis, rank)[0]


def cut(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Elements start .. stop - 1 along one axis."""
    starts, stops = [0] * x.ndim, list(x.shape)
    starts[axis], stops[axis] = start, stop
    return apply("slice", x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * x.ndim)


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """Every tensor in the one shape that all broadcast to."""
    shape = broadcast(*(a.shape for a in arrays))
    return [broadcast_to(a, shape) for a in arrays]  # pyright: ignore[reportArgumentType]


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """(...) -> shape, sizes of 1 stretched"""
    return x if x.shape == tuple(shape) else apply("broadcast_to", x, shape=tuple(shape))


def concat(arrays: tuple[Tensor, ...] | list[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """(a, n), (b, n) along 0 -> (a + b, n); without an axis, all elements in a row"""
    if not arrays:
        raise ShapeError("concat wants one tensor or more")
    if axis is None:
        arrays, axis = [reshape(a, (-1,)) for a in arrays], 0
    return apply("concat", *arrays, axis=normal_axis(axis, arrays[0].ndim))


def expand_dims(x: Tensor, /, axis: int) -> Tensor:
    """(a, b) at 1 -> (a, 1, b)"""
    at = normal_axis(axis, x.ndim + 1)
    return apply("reshape", x, shape=(*x.shape[:at], 1, *x.shape[at:]))


def flip(x: Tensor, /, *, axis: Axes = None) -> Tensor:
    """The elements in reverse order along `axis`, by default along all axes; (...) -> (...)"""
    axes = normal_axes(axis, x.ndim)
    if not axes:
        return x
    back = [i in axes and n for i, n in enumerate(x.shape)]  # an empty axis is its own reverse
    starts = tuple(n - 1 if b else 0 for n, b in zip(x.shape, back, strict=True))
    stops = tuple(-1 if b else n for n, b in zip(x.shape, back, strict=True))
    return apply("slice", x, starts=starts, stops=stops, steps=tuple(-1 if b else 1 for b in back))


def moveaxis(x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> Tensor:
    """(a, b, c) from 0 to 2 -> (b, c, a)"""
    froms, tos = (each_axis(a, x.ndim) for a in (source, destination))
    if len(froms) != len(tos):
        raise AxisError(f"moveaxis from {source} to {destination}: as many axes on both sides")
    order = [i for i in range(x.ndim) if i not in froms]
    for to, start in sorted(zip(tos, froms, strict=True)):
        order.insert(to, start)
    return permute_dims(x, tuple(order))


def each_axis(axes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Normal axes in the order given, none twice."""
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    normal_axes(given, rank)
    return tuple(a % rank for a in given)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """(a, b, c) by (2, 0, 1) -> (c, a, b)"""
    if len(axes) != x.ndim:
        raise AxisError(f"permute_dims wants each of the {x.ndim} axes once, got {axes}")
    return apply("permute", x, axes=each_axis(axes, x.ndim) if x.ndim else ())


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element `repeats` times in a row along `axis`, by default of all elements in a row; (n,) -> (m,)

    A tensor of repeats, one for each element or one for all, decides the result's size, so it must hold a value.
    """
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normal_axis(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(repeats, int):
        wide = expand_dims(x, axis + 1)
        shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
        return reshape(broadcast_to(wide, shape), (*x.shape[:axis], n * repeats, *x.shape[axis + 1 :]))
    counts = [int(c) for c in repeats.reshape(-1).tolist()]
    if len(counts) not in (1, n) or any(c < 0 for c in counts):
        raise ShapeError(f"repeat wants {n} counts of 0 or more, got {show(repeats.shape)}")
    if len(counts) == 1:
        return repeat(x, counts[0], axis=axis)
    from hetero.array_api.creation import asarray

    places = [i for i, c in enumerate(counts) for _ in range(c)]
    return apply("take", x, asarray(places, dtype=int64, device=x.device), axis=axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """The same elements in row-major order in `shape`, in which one size may be -1"""
    wanted = fill_shape(x.shape, tuple(shape))
    return x if wanted == x.shape and not copy else apply("reshape", x, shape=wanted)


def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: Axes = None) -> Tensor:
    """Elements moved `shift` places, those that fall off at the end come back in front; (...) -> (...)"""
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), shift, axis=0), x.shape)
    axes = (axis,) if isinstance(axis, int) else axis
    shifts = tuple(shift) if isinstance(shift, tuple | list) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise AttributeValueError(f"roll wants a shift for each axis, got {shift} and {axis}")
    for by, a in zip(shifts, axes, strict=True):
        x = _roll_one(x, by, normal_axis(a, x.ndim))
    return x


def _roll_one(x: Tensor, by: int, axis: int) -> Tensor:
    n = x.shape[axis]
    seam = n - by % n if n else 0
    if seam in (0, n):
        return x
    return apply("concat", cut(x, axis, seam, n), cut(x, axis, 0, seam), axis=axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """(a, 1, b) at 1 -> (a, b)"""
    axes = normal_axes(axis, x.ndim)
    wide = [a for a in axes if x.shape[a] != 1]
    if wide:
        raise ShapeError(f"squeeze of {show(x.shape)}: axis {wide[0]} has size {x.shape[wide[0]]}, not 1")
    return apply("reshape", x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def stack(arrays: tuple[Tensor, ...] | list[Tensor], /, *, axis: int = 0) -> Tensor:
    """(a, b), (a, b) at 0 -> (2, a, b)"""
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ShapeError(f"stack wants one shape, got {', '.join(show(a.shape) for a in arrays)}")
    return concat([expand_dims(a, axis) for a in arrays], axis=axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """(a, b) by (2, 3) -> (2a, 3b)"""
    rank = max(x.ndim, len(repetitions))
    sizes = (1,) * (rank - x.ndim) + x.shape
    times = (1,) * (rank - len(repetitions)) + tuple(repetitions)
    split = reshape(x, tuple(k for n in sizes for k in (1, n)))
    wide = broadcast_to(split, tuple(k for t, n in zip(times, sizes, strict=True) for k in (t, n)))
    return reshape(wide, tuple(t * n for t, n in zip(times, sizes, strict=True)))


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """(n, a, b) at 0 -> n tensors (a, b)"""
    axis = normal_axis(axis, x.ndim)
    return tuple(squeeze(cut(x, axis, i, i + 1), axis) for i in range(x.shape[axis]))


__all__ = [
    "broadcast_arrays", "broadcast_to", "concat", "cut", "each_axis", "expand_dims", "flip", "moveaxis", "normal_axis",
    "permute_dims", "repeat", "reshape", "roll", "squeeze", "stack", "tile", "unstack",
]  # fmt: skip
