"""Lowerings of ops that make, move and reshape tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, Made, Wait, count, lowers
from hetero.convert.onnx_tensor import MAX_ELEMENTS, dtype_of
from hetero.dim import Dim, Shape, prod
from hetero.graph.build import Ref
from hetero.op import Array

Ints = tuple[int, ...]
WHOLE = 1_000_000_000  # exporters write an end such as this for "all of it"; no batch is larger

# -- shapes -------------------------------------------------------------------------------------------------


@lowers("Shape")
def _shape(n: Call, x: Ref, *, start: int = 0, end: int | None = None) -> Ref:
    """the sizes, as a constant, once they are known"""
    sizes = n.shape(x)[start:end]
    return n.constant(np.asarray(sizes, np.int64))


@lowers("Size")
def _size(n: Call, x: Ref) -> Ref:
    """the number of elements, as a constant, once it is known"""
    return n.constant(np.asarray(count(n.shape(x)), np.int64))


@lowers("Reshape")
def _reshape(n: Call, x: Ref, shape: Ref, *, allowzero: int = 0) -> Ref:
    """`reshape`, with -1 and 0 worked out"""
    return n.reshape(x, *target_shape(n, x, n.sizes(shape), bool(allowzero)))


def target_shape(n: Call, x: Ref, wanted: Shape, allowzero: bool) -> Shape:
    """Sizes where -1 stands for what is left over and 0 for the input's own."""
    own = x.type.known
    n.only(all(isinstance(s, Dim) or s >= -1 for s in wanted), f"the shape {wanted} has a size below -1")
    n.only(
        allowzero or all(s != 0 or i < len(own) for i, s in enumerate(wanted)), f"a 0 in {wanted} stands for no axis"
    )
    sizes = [own[i] if s == 0 and not allowzero else s for i, s in enumerate(wanted)]
    bounded(n, tuple(sizes))
    if -1 not in sizes:
        return tuple(sizes)
    n.only(sizes.count(-1) == 1, f"the shape {wanted} leaves more than one size open")
    rest = prod(tuple(s for s in sizes if s != -1))
    n.only(rest != 0, f"the shape {wanted} leaves the size of -1 open")
    sizes[sizes.index(-1)] = x.type.size // rest
    return tuple(sizes)


@lowers("Flatten")
def _flatten(n: Call, x: Ref, *, axis: int = 1) -> Ref:
    """`reshape` to a matrix, cut at `axis`"""
    rank = x.type.rank
    n.only(-rank <= axis <= rank, f"axis {axis} is not in a tensor of {rank} dimensions")
    at = axis + rank if axis < 0 else axis
    return n.reshape(x, prod(x.type.known[:at]), prod(x.type.known[at:]))


@lowers("Squeeze")
def _squeeze_1(n: Call, x: Ref, *, axes: Ints | None = None) -> Ref:
    """`reshape` without axes of size 1"""
    shape = x.type.known
    if axes is None:
        drop = [i for i, size in enumerate(n.shape(x)) if size == 1]
    else:
        drop = list(n.axes(axes, len(shape)))
    wrong = [i for i in drop if not isinstance(shape[i], Dim) and shape[i] != 1]
    n.only(not wrong, f"axis {wrong} of {shape} is not 1")
    if any(isinstance(shape[i], Dim) for i in drop):
        raise Wait
    return n.reshape(x, *(size for i, size in enumerate(shape) if i not in drop))


@lowers("Squeeze", since=13)
def _squeeze(n: Call, x: Ref, axes: Ref | None = None) -> Ref:
    """`reshape` without axes of size 1"""
    return _squeeze_1(n, x, axes=None if axes is None else n.ints(axes))


@lowers("Unsqueeze")
def _unsqueeze_1(n: Call, x: Ref, *, axes: Ints) -> Ref:
    """`reshape` with new axes of size 1"""
    rank = x.type.rank + len(axes)
    new = n.axes(axes, rank)
    own = iter(x.type.known)
    return n.reshape(x, *(1 if i in new else next(own) for i in range(rank)))


@lowers("Unsqueeze", since=13)
def _unsqueeze(n: Call, x: Ref, axes: Ref) -> Ref:
    """`reshape` with new axes of size 1"""
    return _unsqueeze_1(n, x, axes=n.ints(axes))


@lowers("Transpose")
def _transpose(n: Call, x: Ref, *, perm: Ints | None = None) -> Ref:
    """`permute`"""
    rank = x.type.rank
    return n.permute(x, *(n.axes(perm, rank) if perm is not None else range(rank - 1, -1, -1)))


@lowers("Expand")
def _expand(n: Call, x: Ref, shape: Ref) -> Ref:
    """`broadcast_to`; a 1 in the shape keeps the input's size"""
    wanted, own = list(n.sizes(shape)), list(x.type.known)
    n.only(all(isinstance(s, Dim) or s >= 0 for s in wanted), f"the shape {tuple(wanted)} has a negative size")
    rank = max(len(wanted), len(own))
    wanted = [1] * (rank - len(wanted)) + wanted
    own = [1] * (rank - len(own)) + own
    full = tuple(b if a == 1 else a for a, b in zip(wanted, own, strict=True))
    bounded(n, full)
    return x if full == x.type.known else n.emit("broadcast_to", x, shape=full)


def bounded(n: Call, shape: Shape) -> None:
    """Refuse a result that no machine holds."""
    known = count([size for size in shape if not isinstance(size, Dim) and size > 0])
    n.only(known <= MAX_ELEMENTS, f"the result would have the absurd shape {shape}")


@lowers("Tile")
def _tile(n: Call, x: Ref, repeats: Ref) -> Ref:
    """`broadcast_to` along new axes, then `reshape`"""
    own, times = x.type.known, n.sizes(repeats)
    n.only(len(own) == len(times), f"{len(times)} repeats for {len(own)} dimensions")
    n.only(all(isinstance(t, Dim) or t >= 0 for t in times), f"negative repeats {times}")
    full = tuple(a * b for a, b in zip(times, own, strict=True))
    bounded(n, full)
    split = n.reshape(x, *(s for size in own for s in (1, size)))
    wide: Any = tuple(s for pair in zip(times, own, strict=True) for s in pair)
    return n.reshape(n.emit("broadcast_to", split, shape=wide), *full)


@lowers("DepthToSpace")
def _depth_to_space(n: Call, x: Ref, *, blocksize: int, mode: str = "DCR") -> Ref:
    """`reshape`, `permute`, `reshape`"""
    n.only(mode in ("DCR", "CRD") and x.type.rank == 4, f"mode={mode!r} of a tensor of {x.type.rank} dimensions")
    b, c, h, w = x.type.known
    k, depth = blocksize, channels(n, c, blocksize * blocksize)
    if mode == "DCR":
        parts = n.permute(n.reshape(x, b, k, k, depth, h, w), 0, 3, 4, 1, 5, 2)
    else:
        parts = n.permute(n.reshape(x, b, depth, k, k, h, w), 0, 1, 4, 2, 5, 3)
    return n.reshape(parts, b, depth, h * k, w * k)


@lowers("SpaceToDepth")
def _space_to_depth(n: Call, x: Ref, *, blocksize: int, mode: str = "DCR") -> Ref:
    """`reshape`, `permute`, `reshape`"""
    n.only(mode in ("DCR", "CRD") and x.type.rank == 4, f"mode={mode!r} of a tensor of {x.type.rank} dimensions")
    b, c, h, w = x.type.known
    k = blocksize
    high, wide = channels(n, h, k), channels(n, w, k)
    parts = n.reshape(x, b, c, high, k, wide, k)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return n.reshape(n.permute(parts, *order), b, c * (k * k), high, wide)


def channels(n: Call, size: Any, parts: int) -> Any:
    """`size` cut into so many equal parts."""
    n.only(parts > 0 and (isinstance(size, Dim) or size % parts == 0), f"{size} does not split into {parts} parts")
    return size // parts


# -- cutting and joining ------------------------------------------------------------------------------------


@lowers("Concat")
def _concat(n: Call, *xs: Ref, axis: int) -> Ref:
    """`concat`"""
    return n.emit("concat", *xs, axis=n.axis(axis, xs[0].type.rank))


def _pieces(n: Call, x: Ref, axis: int, sizes: Ints) -> list[Ref]:
    total = n.size(x, axis)
    n.only(sum(sizes) == total and min(sizes, default=0) >= 0, f"parts {sizes} of an axis of size {total}")
    n.only(len(sizes) == len(n.outputs), f"{len(sizes)} parts for {len(n.outputs)} outputs")
    ends = np.cumsum(sizes).tolist()
    return [n.cut(x, axis, end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _even(n: Call, x: Ref, axis: int, parts: int) -> Ints:
    """Equal parts, a smaller one at the end."""
    size = n.size(x, axis)
    each = -(-size // parts)
    return tuple(max(min(each, size - i * each), 0) for i in range(parts))


@lowers("Split")
def _split_1(n: Call, x: Ref, *, axis: int = 0, split: Ints | None = None) -> Made:
    """a `slice` for each part"""
    at = n.axis(axis, x.type.rank)
    if split is None:
        n.only(n.size(x, at) % len(n.outputs) == 0, f"{n.size(x, at)} does not split into {len(n.outputs)} parts")
    return _pieces(n, x, at, _even(n, x, at, len(n.outputs)) if split is None else split)


@lowers("Split", since=13)
def _split(n: Call, x: Ref, split: Ref | None = None, *, axis: int = 0, num_outputs: int | None = None) -> Made:
    """a `slice` for each part"""
    at = n.axis(axis, x.type.rank)
    n.only(split is None or num_outputs is None, "both split and num_outputs are given")
    n.only(num_outputs in (None, len(n.outputs)), f"num_outputs={num_outputs} for {len(n.outputs)} outputs")
    return _pieces(n, x, at, _even(n, x, at, len(n.outputs)) if split is None else n.ints(split))


@lowers("Slice")
def _slice_1(n: Call, x: Ref, *, starts: Ints, ends: Ints, axes: Ints | None = None) -> Ref:
    """`slice`"""
    return _cut(n, x, starts, ends, axes, None)


@lowers("Slice", since=10)
def _slice(n: Call, x: Ref, starts: Ref, ends: Ref, axes: Ref | None = None, steps: Ref | None = None) -> Ref:
    """`slice`, with negative and overlong indices worked out"""
    given = (None if r is None else n.ints(r) for r in (axes, steps))
    return _cut(n, x, n.ints(starts), n.ints(ends), *given)


def _cut(n: Call, x: Ref, starts: Ints, ends: Ints, axes: Ints | None, steps: Ints | None) -> Ref:
    rank, sizes = x.type.rank, x.type.known
    axes = n.axes(axes, rank) if axes is not None else tuple(range(len(starts)))
    steps = steps or (1,) * len(starts)
    n.only(len(starts) == len(ends) == len(axes) == len(steps) <= rank, "starts, ends, axes, steps differ in length")
    n.only(0 not in steps, "a step of 0")
    first: list[Any] = [0] * rank
    last: list[Any] = list(sizes)
    step = [1] * rank
    for axis, start, end, by in zip(axes, starts, ends, steps, strict=True):
        size = sizes[axis]
        if isinstance(size, Dim):
            if (start, by) == (0, 1) and end >= WHOLE:
                continue
            raise Wait
        first[axis], last[axis], step[axis] = cut_range(size, start, end, by)
    if (first, last, step) == ([0] * rank, list(sizes), [1] * rank):
        return x
    return n.emit("slice", x, starts=tuple(first), stops=tuple(last), steps=tuple(step))


def cut_range(size: int, start: int, end: int, step: int) -> tuple[int, int, int]:
    """Python's rule for x[start:end:step], as hetero's `slice` wants it: nothing wraps, nothing overhangs."""
    first, last, step = slice(start, end if step > 0 or end >= -size else None, step).indices(size)
    if not len(range(first, last, step)):
        return 0, 0, 1
    return first, last, step


@lowers("CenterCropPad")
def _center_crop_pad(n: Call, x: Ref, shape: Ref, *, axes: Ints | None = None) -> Ref:
    """`slice` where the target is smaller, `pad` where it is larger"""
    own, wanted = n.shape(x), n.ints(shape)
    at = n.axes(axes, len(own)) if axes is not None else tuple(range(len(own)))
    n.only(len(at) == len(wanted), f"{len(wanted)} sizes for {len(at)} axes")
    before, after = [0] * len(own), [0] * len(own)
    for axis, size in zip(at, wanted, strict=True):
        n.only(size >= 0, f"negative size {size}")
        bounded(n, (size,))
        if size < own[axis]:
            start = (own[axis] - size) // 2
            x = n.cut(x, axis, start, start + size)
        else:
            before[axis] = (size - own[axis]) // 2
            after[axis] = size - own[axis] - before[axis]
    return n.emit("pad", x, before=tuple(before), after=tuple(after)) if any(before + after) else x


@lowers("Pad")
def _pad_2(n: Call, x: Ref, *, pads: Ints, mode: str = "constant", value: float = 0.0) -> Ref:
    """`pad`; negative widths are a `slice`"""
    return _pad_by(n, x, pads, mode, value)


@lowers("Pad", since=11)
def _pad(
    n: Call, x: Ref, pads: Ref, fill: Ref | None = None, axes: Ref | None = None, *, mode: str = "constant"
) -> Ref:
    """`pad`; negative widths are a `slice`"""
    rank, widths = x.type.rank, n.ints(pads)
    value = n.scalar(fill, "the fill value") if fill is not None else 0
    if axes is not None:
        at = n.axes(n.ints(axes), rank)
        n.only(len(widths) == 2 * len(at), f"{len(widths)} pads for {len(at)} axes")
        spread = [0] * (2 * rank)
        for i, axis in enumerate(at):
            spread[axis], spread[rank + axis] = widths[i], widths[len(at) + i]
        widths = tuple(spread)
    return _pad_by(n, x, widths, mode, value)


def _pad_by(n: Call, x: Ref, widths: Ints, mode: str, value: Any) -> Ref:
    rank = x.type.rank
    n.only(mode in ("constant", "edge", "reflect", "wrap"), f"mode={mode!r} is not covered")
    n.only(len(widths) == 2 * rank, f"{len(widths)} pads for {rank} dimensions")
    before, after = widths[:rank], widths[rank:]
    bounded(n, tuple(max(b, 0) + max(a, 0) for b, a in zip(before, after, strict=True)))
    if min(widths, default=0) < 0:
        n.only(mode == "constant", f"negative pads with mode {mode!r} are not covered")
        sizes = n.shape(x)
        n.only(all(max(-b, 0) + max(-a, 0) <= s for b, a, s in zip(before, after, sizes, strict=True)), "pads cut all")
        for axis, (b, a, size) in enumerate(zip(before, after, sizes, strict=True)):
            x = n.cut(x, axis, max(-b, 0), size - max(-a, 0)) if min(a, b) < 0 else x
        before, after = tuple(max(b, 0) for b in before), tuple(max(a, 0) for a in after)
    if not any((*before, *after)):
        return x
    return _pad_plain(n, x, before, after, mode, value)


def _pad_plain(n: Call, x: Ref, before: Ints, after: Ints, mode: str, value: Any) -> Ref:
    dtype = x.type.dtype
    if (mode == "constant" and dt.kind(dtype) in "iu" and abs(int(value)) > 1 << 53) or dt.kind(dtype) == "c":
        n.refuse("a fill value of this dtype is not covered")
    fill = {"value": float(value)} if mode == "constant" else {}
    return n.emit("pad", x, before=before, after=after, mode=mode, **fill)


# -- making -------------------------------------------------------------------------------------------------


@lowers("Identity")
def _identity(n: Call, x: Ref) -> Ref:
    """the input itself"""
    return x


@lowers("Constant")
def _constant(
    n: Call, *, value: Array | None = None, value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None, value_int: int | None = None, value_ints: Ints | None = None,
) -> Ref:  # fmt: skip
    """a constant"""
    given = [
        (value, None), (value_float, dt.float32), (value_floats, dt.float32), (value_int, dt.int64),
        (value_ints, dt.int64),
    ]  # fmt: skip
    there = [(v, d) for v, d in given if v is not None]
    n.only(len(there) == 1, f"{len(there)} values where one is wanted")
    return n.constant(*there[0])


@lowers("ConstantOfShape")
def _constant_of_shape(n: Call, shape: Ref, *, value: Array | None = None) -> Ref:
    """`broadcast_to` of one element"""
    fill = np.zeros(1, np.float32) if value is None else value
    n.only(fill.size == 1, f"the value has {fill.size} elements")
    sizes = n.sizes(shape)
    n.only(all(isinstance(s, Dim) or s >= 0 for s in sizes), f"the shape {sizes} has a negative size")
    bounded(n, sizes)
    return n.filled(sizes, fill.ravel()[0], fill.dtype)


@lowers("Range")
def _range(n: Call, start: Ref, limit: Ref, delta: Ref) -> Ref:
    """a constant, from the values of its inputs"""
    first, stop, step = (n.scalar(r, "a bound of Range") for r in (start, limit, delta))
    n.only(step != 0 and all(np.isfinite(v) for v in (first, stop, step)), f"range({first}, {stop}, {step})")
    length = max(int(np.ceil((stop - first) / step)), 0)
    n.room(length * start.type.dtype.itemsize)
    wide = np.int64 if dt.is_integer(start.type.dtype) else np.float64
    made = np.asarray(first, wide) + np.arange(length, dtype=wide) * np.asarray(step, wide)
    return n.constant(made.astype(start.type.dtype))


@lowers("EyeLike")
def _eye_like(n: Call, x: Ref, *, dtype: int | None = None, k: int = 0) -> Ref:
    """a constant"""
    sizes = n.shape(x)
    n.only(len(sizes) == 2, f"a tensor of {len(sizes)} dimensions")
    to = x.type.dtype if dtype is None else dtype_of(dtype, "the result")
    n.room(count(sizes) * to.itemsize)
    return n.constant(np.eye(sizes[0], sizes[1], min(max(k, -sizes[0]), sizes[1])).astype(to))


@lowers("OneHot")
def _one_hot(n: Call, indices: Ref, depth: Ref, values: Ref, *, axis: int = -1) -> Ref:
    """`equal` with 0, 1, ..., then `where`"""
    size = int(n.scalar(depth, "depth"))
    n.only(size > 0, f"depth {size}")
    rank = indices.type.rank + 1
    at = n.axis(axis, rank)
    whole = n.cast(indices, dt.int64)
    e = n.emit
    whole = e("where", e("less", whole, 0), e("add", whole, size), whole)
    shape = indices.type.known
    whole = n.reshape(whole, *shape[:at], 1, *shape[at:])
    places = n.reshape(n.arange(size), *(size if i == at else 1 for i in range(rank)))
    off, on = (n.reshape(n.cut(n.reshape(values, 2), 0, i, i + 1)) for i in range(2))
    return e("where", e("equal", whole, places), on, off)


@lowers("Trilu")
def _trilu(n: Call, x: Ref, k: Ref | None = None, *, upper: int = 1) -> Ref:
    """`where` with a constant triangle"""
    n.only(x.type.rank >= 2, "a tensor of fewer than 2 dimensions")
    rows, columns = n.size(x, -2), n.size(x, -1)
    shift = int(n.scalar(k, "k")) if k is not None else 0
    n.room(rows * columns * 8)
    shift = min(max(shift, -rows - 1), columns + 1)
    distance = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    keep = n.constant(distance >= shift if upper else distance <= shift)
    return n.emit("where", keep, x, n.constant(np.zeros((), x.type.dtype)))


@lowers("BitCast")
def _bit_cast(n: Call, x: Ref, *, to: int) -> Ref:
    """`bitcast`"""
    dtype = dtype_of(to, "the result")
    n.only(dtype.itemsize == x.type.dtype.itemsize, f"{x.type.dtype.name} and {dtype.name} differ in width")
    return n.emit("bitcast", x, dtype=dtype.name)
