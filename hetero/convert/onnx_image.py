"""Lowerings of resizing and sampling of pictures, and of detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, lowers
from hetero.convert.onnx_movement import bounded
from hetero.convert.onnx_nn import window
from hetero.convert.onnx_quantize import quantized
from hetero.graph.build import Ref
from hetero.op import Array

Ints = tuple[int, ...]
FEW = 4  # taps: up to so many are gathered and added up, more are a product with a matrix

# -- Resize -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """How Resize maps places of the result to places of the input, and weighs what is there."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis to resize. `scale` is exact where it was given, else the quotient of the sizes."""

    axis: int
    size: int
    to: int
    scale: float
    roi: tuple[float, float] | None = None


_COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                "tf_crop_and_resize")  # fmt: skip
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _places(rule: Rule, a: Axis) -> Array:
    """For each place of the result, where it lies in the input."""
    y = np.arange(a.to, dtype=np.float64)
    length = a.scale * a.size
    if rule.coordinates == "asymmetric":
        return y / a.scale
    if rule.coordinates == "align_corners":
        return np.zeros(a.to) if length == 1 else y * (a.size - 1) / (length - 1)
    if rule.coordinates == "tf_crop_and_resize":
        first, last = a.roi or (0.0, 1.0)
        if length == 1:
            return np.full(a.to, (last - first) * (a.size - 1) / 2 + first * (a.size - 1))
        return y * (last - first) * (a.size - 1) / (length - 1) + first * (a.size - 1)
    if rule.coordinates == "pytorch_half_pixel" and length == 1:
        return np.full(a.to, -0.5)
    shift = a.size / 2 * (1 - a.to / length) if rule.coordinates == "half_pixel_symmetric" else 0.0
    return shift + (y + 0.5) / a.scale - 0.5


def _nearest(rule: Rule, at: Array) -> Array:
    rounding = {
        "round_prefer_floor": np.ceil(at - 0.5), "round_prefer_ceil": np.floor(at + 0.5),
        "floor": np.floor(at), "ceil": np.ceil(at),
    }  # fmt: skip
    return rounding[rule.nearest].astype(np.int64)


def _linear(distance: Array) -> Array:
    return np.clip(1 - np.abs(distance), 0, 1)


def _cubic(distance: Array, a: float) -> Array:
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def taps(rule: Rule, a: Axis) -> tuple[Array, Array]:
    """Cells that each place reads and their weights, both (to, taps)."""
    at = _places(rule, a)
    if rule.mode == "nearest":
        return np.clip(_nearest(rule, at), 0, a.size - 1)[:, None], np.ones((a.to, 1))
    squeeze = min(a.scale, 1.0) if rule.antialias else 1.0
    reach = int(np.ceil((2 if rule.mode == "cubic" else 1) / squeeze))
    cells = np.floor(at).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)[None, :]
    distance = (cells - at[:, None]) * squeeze
    weights = _cubic(distance, rule.cubic) if rule.mode == "cubic" else _linear(distance)
    if rule.exclude_outside:
        weights = np.where((cells >= 0) & (cells < a.size), weights, 0)
    if rule.exclude_outside or rule.antialias:
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return np.clip(cells, 0, a.size - 1), weights


def resized(n: Call, x: Ref, rule: Rule, axes: Sequence[Axis]) -> Ref:
    """x with each axis in turn resized."""
    to = x.type.dtype
    data = x if rule.mode == "nearest" else n.through_float(x)
    for a in axes:
        n.only(a.size > 0, "an empty axis has nothing to resize")
        crop = rule.coordinates == "tf_crop_and_resize" and a.roi not in (None, (0.0, 1.0))
        if a.to != a.size or not np.isclose(a.scale, 1.0) or crop:
            data = _along(n, data, rule, a)
    if data.type.dtype == to:
        return data
    return quantized(n, data, None, to) if dt.is_integer(to) else n.cast(data, to)


def _along(n: Call, x: Ref, rule: Rule, a: Axis) -> Ref:
    bounded(n, (*(s for i, s in enumerate(x.type.known) if i != a.axis), a.to))
    n.room(a.to * 16)
    cells, weights = taps(rule, a)
    if rule.mode == "nearest":
        made = n.emit("take", x, n.constant(cells[:, 0]), axis=a.axis)
    elif cells.shape[1] <= FEW:
        made = _gathered(n, x, a.axis, cells, weights)
    else:
        made = _product(n, x, a, cells, weights)
    if rule.coordinates != "tf_crop_and_resize":
        return made
    at = _places(rule, a)
    outside = _column((at < 0) | (at > a.size - 1), a.axis, x.type.rank)
    fill = n.constant(np.asarray(rule.extrapolation).astype(made.type.dtype))
    return n.emit("where", n.constant(outside), fill, made) if outside.any() else made


def _column(values: Array, axis: int, rank: int) -> Array:
    """(n,) shaped to stand along one axis."""
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def _gathered(n: Call, x: Ref, axis: int, cells: Array, weights: Array) -> Ref:
    total: Ref | None = None
    for cell, weight in zip(cells.T, weights.T, strict=True):
        if not weight.any():
            continue
        factor = n.constant(_column(weight, axis, x.type.rank).astype(x.type.dtype))
        part = n.emit("multiply", n.emit("take", x, n.constant(cell), axis=axis), factor)
        total = part if total is None else n.emit("add", total, part)
    return n.emit("multiply", n.emit("take", x, n.constant(cells[:, 0]), axis=axis), 0.0) if total is None else total


def _product(n: Call, x: Ref, a: Axis, cells: Array, weights: Array) -> Ref:
    n.room(a.size * a.to * 8)
    matrix = np.zeros((a.size, a.to))
    np.add.at(matrix, (cells, np.arange(a.to)[:, None]), weights)
    rank = x.type.rank
    order = [i for i in range(rank) if i != a.axis] + [a.axis]
    made = n.emit("matmul", n.permute(x, *order), n.constant(matrix.astype(x.type.dtype)))
    return n.permute(made, *(order.index(i) for i in range(rank)))


@lowers("Upsample")
def _upsample_7(n: Call, x: Ref, *, scales: tuple[float, ...], mode: str = "nearest") -> Ref:
    """`take` for each axis"""
    return _scaled(n, x, scales, mode)


@lowers("Upsample", since=9)
def _upsample(n: Call, x: Ref, scales: Ref, *, mode: str = "nearest") -> Ref:
    """`take` for each axis"""
    return _scaled(n, x, tuple(float(s) for s in n.value(scales).ravel()), mode)


@lowers("Resize", since=10)
def _resize_10(n: Call, x: Ref, scales: Ref, *, mode: str = "nearest") -> Ref:
    """`take` for each axis; linear: two of them, weighed"""
    return _scaled(n, x, tuple(float(s) for s in n.value(scales).ravel()), mode)


def _scaled(n: Call, x: Ref, scales: tuple[float, ...], mode: str) -> Ref:
    n.only(mode in ("nearest", "linear"), f"mode={mode!r} is neither nearest nor linear")
    rule = Rule(mode=mode, coordinates="asymmetric", nearest="floor")
    return resized(n, x, rule, _axes(n, x, range(x.type.rank), scales, (), None, "stretch"))


@lowers("Resize", since=11)
def _resize(
    n: Call, x: Ref, roi: Ref | None = None, scales: Ref | None = None, sizes: Ref | None = None, *,
    antialias: int = 0, axes: Ints | None = None, coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest", nearest_mode: str = "round_prefer_floor",
) -> Ref:  # fmt: skip
    """`take` for each axis, weighed and added up; many taps: a `matmul`"""
    how, nearest, policy = coordinate_transformation_mode, nearest_mode, keep_aspect_ratio_policy
    if how == "tf_half_pixel_for_nn":
        n.refuse("coordinate_transformation_mode='tf_half_pixel_for_nn' is not covered")
    n.only(how in _COORDINATES, f"coordinate_transformation_mode={how!r} is not covered")
    n.only(mode in ("nearest", "linear", "cubic") and nearest in _NEAREST, f"mode={mode!r}, nearest_mode={nearest!r}")
    n.only(policy in ("stretch", "not_larger", "not_smaller"), f"keep_aspect_ratio_policy={policy!r}")
    n.only(not (antialias and mode == "nearest"), "antialias with mode='nearest'")
    rank = x.type.rank
    at = n.axes(axes, rank) if axes is not None else tuple(range(rank))
    factors = () if scales is None else tuple(float(s) for s in n.value(scales).ravel())
    wanted = () if sizes is None else n.ints(sizes)
    n.only(bool(factors) != bool(wanted), "one of scales and sizes is wanted")
    box = None
    if how == "tf_crop_and_resize":
        n.only(roi is not None, "tf_crop_and_resize wants a roi")
        box = tuple(float(v) for v in n.value(roi).ravel()) if roi is not None else ()
        n.only(len(box) == 2 * len(at), f"a roi of {len(box)} numbers for {len(at)} axes")
    rule = Rule(mode, how, nearest, cubic_coeff_a, bool(exclude_outside), bool(antialias), extrapolation_value)
    return resized(n, x, rule, _axes(n, x, at, factors, wanted, box, policy))


def _axes(
    n: Call,
    x: Ref,
    at: Sequence[int],
    scales: tuple[float, ...],
    wanted: Ints,
    roi: tuple[float, ...] | None,
    policy: str,
) -> list[Axis]:
    own = n.shape(x)
    n.only(len(scales or wanted) == len(at), f"{len(scales or wanted)} scales or sizes for {len(at)} axes")
    if wanted:
        n.only(min(wanted) >= 0 and all(own[a] for a in at), f"sizes {wanted} of {own}")
        scales = tuple(max(to, 1) / own[a] for to, a in zip(wanted, at, strict=True))
        if policy != "stretch":
            one = min(scales) if policy == "not_larger" else max(scales)
            scales, wanted = (one,) * len(at), tuple(int(one * own[a] + 0.5) for a in at)
    else:
        n.only(all(np.isfinite(s) and s > 0 for s in scales), f"scales {scales}")
        wanted = tuple(int(s * own[a]) for s, a in zip(scales, at, strict=True))
    bounded(n, wanted)
    boxes: Any = [None] * len(at) if roi is None else list(zip(roi, roi[len(at) :], strict=False))
    return [Axis(a, own[a], to, s, b) for a, to, s, b in zip(at, wanted, scales, boxes, strict=True)]


# -- GridSample ---------------------------------------------------------------------------------------------

_MODES = {"bilinear": "linear", "linear": "linear", "bicubic": "cubic", "cubic": "cubic", "nearest": "nearest"}


@lowers("GridSample")
def _grid_sample(
    n: Call, x: Ref, grid: Ref, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Ref:
    """`gather_nd` of every cell around a place, weighed and added up"""
    shape, out = n.shape(x), n.shape(grid)
    rank = len(shape) - 2
    n.only(mode in _MODES and padding_mode in ("zeros", "border", "reflection"), f"{mode!r}, {padding_mode!r}")
    n.only(rank >= 1 and len(out) == rank + 2 and out[-1] == rank and out[0] == shape[0], f"grid {out} for {shape}")
    n.only(min(shape[2:]) > 0, f"an empty picture {shape}")
    e, how = n.emit, _MODES[mode]
    points = int(np.prod(out[1:-1]))
    wide = dt.float64 if x.type.dtype == dt.float64 else dt.float32
    places = n.cast(n.reshape(grid, out[0], points, rank), wide)
    flat = n.reshape(n.cast(x, wide), *shape[:2], int(np.prod(shape[2:])))
    cells = n.permute(flat, 0, 2, 1)
    each = [_cells(n, n.cut(places, 2, rank - 1 - a, rank - a), shape[2 + a], how, padding_mode, bool(align_corners))
            for a in range(rank)]  # fmt: skip
    total: Ref | None = None
    for corner in product(*each):
        index = n.constant(np.int64(0))
        weight: Ref | None = None
        for (cell, factor), size in zip(corner, shape[2:], strict=True):
            index = e("add", e("multiply", index, size), cell)
            weight = factor if weight is None else e("multiply", weight, factor)
        assert weight is not None
        part = e("multiply", e("gather_nd", cells, index, batch_dims=1), weight)
        total = part if total is None else e("add", total, part)
    assert total is not None
    return n.cast(n.reshape(n.permute(total, 0, 2, 1), *shape[:2], *out[1:-1]), x.type.dtype)


def _cells(n: Call, at: Ref, size: int, how: str, padding: str, corners: bool) -> list[tuple[Ref, Ref]]:
    """Along one axis: the cells that places (n, points, 1) in -1 .. 1 read, and their weights."""
    e = n.emit
    if corners:
        x = e("multiply", e("add", at, 1.0), (size - 1) / 2)
    else:
        x = e("subtract", e("multiply", e("add", at, 1.0), size / 2), 0.5)
    if how == "nearest":
        x = e("round", x)
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    if padding == "border":
        x = _clamped(n, x, size)
    elif padding == "reflection":
        x = _reflected(n, x, low, high)
    if how == "nearest":
        return [_cell(n, x, size, padding, low, high, None)]
    floor = e("floor", x)
    off = e("subtract", x, floor)
    steps = (0, 1) if how == "linear" else (-1, 0, 1, 2)
    return [
        _cell(n, e("add", floor, float(s)), size, padding, low, high, _weight(n, how, e("subtract", off, float(s))))
        for s in steps
    ]


def _weight(n: Call, how: str, distance: Ref) -> Ref:
    """The share of a cell at this distance."""
    e = n.emit
    d = e("abs", distance)
    if how == "linear":
        return e("subtract", 1.0, d)
    a = -0.75
    near = e("add", e("multiply", e("multiply", e("subtract", e("multiply", d, a + 2), a + 3), d), d), 1.0)
    far = e("multiply", e("subtract", e("multiply", d, a), 5 * a), d)
    far = e("subtract", e("multiply", e("add", far, 8 * a), d), 4 * a)
    return e("where", e("less_equal", d, 1.0), near, far)


def _cell(n: Call, x: Ref, size: int, padding: str, low: float, high: float, weight: Ref | None) -> tuple[Ref, Ref]:
    """A whole x as an index inside, with its weight; outside a picture padded with zeros it weighs nothing."""
    e = n.emit
    one = n.constant(np.ones((), x.type.dtype))
    share = one if weight is None else weight
    if padding == "zeros":
        inside = e("logical_and", e("greater_equal", x, 0.0), e("less_equal", x, size - 1.0))
        share = e("where", inside, share, n.constant(np.zeros((), x.type.dtype)))
    elif padding == "reflection":
        x = _reflected(n, x, low, high)
    return n.cast(_clamped(n, x, size), dt.int64), share


def _clamped(n: Call, x: Ref, size: int) -> Ref:
    return n.emit("minimum", n.emit("maximum", x, 0.0), size - 1.0)


def _reflected(n: Call, x: Ref, low: float, high: float) -> Ref:
    """x mirrored at both borders until it lies between: a triangle wave."""
    span = high - low
    if span == 0:
        return n.emit("multiply", x, 0.0)
    e = n.emit
    wave = e("remainder", e("subtract", x, low), 2 * span)
    return e("add", e("subtract", span, e("abs", e("subtract", wave, span))), low)


# -- detection ----------------------------------------------------------------------------------------------


@lowers("NonMaxSuppression")
def _nms(
    n: Call, boxes: Ref, scores: Ref, keep: Ref | None = None, overlap: Ref | None = None, least: Ref | None = None,
    *, center_point_box: int = 0,
) -> Ref:  # fmt: skip
    """`non_max_suppression`"""
    most, share, bar = (None if r is None else n.scalar(r, "a bound") for r in (keep, overlap, least))
    return n.emit(
        "non_max_suppression", boxes, scores, keep=max(int(most or 0), 0), overlap=float(share or 0.0),
        least=None if bar is None else float(bar), centred=bool(center_point_box),
    )  # fmt: skip


@lowers("RoiAlign")
def _roi_align_10(
    n: Call, x: Ref, rois: Ref, batches: Ref, *, mode: str = "avg", output_height: int = 1, output_width: int = 1,
    sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Ref:  # fmt: skip
    """`roi_align`"""
    return n.emit(
        "roi_align", x, rois, batches, size=(output_height, output_width), ratio=sampling_ratio,
        scale=spatial_scale, mode=mode, half_pixel=False,
    )  # fmt: skip


@lowers("RoiAlign", since=16)
def _roi_align(
    n: Call, x: Ref, rois: Ref, batches: Ref, *, coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg", output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Ref:  # fmt: skip
    """`roi_align`"""
    how = coordinate_transformation_mode
    n.only(how in ("half_pixel", "output_half_pixel"), f"coordinate_transformation_mode={how!r}")
    return n.emit(
        "roi_align", x, rois, batches, size=(output_height, output_width), ratio=sampling_ratio,
        scale=spatial_scale, mode=mode, half_pixel=how == "half_pixel",
    )  # fmt: skip


@lowers("MaxRoiPool")
def _max_roi_pool(n: Call, x: Ref, rois: Ref, *, pooled_shape: Ints, spatial_scale: float = 1.0) -> Ref:
    """`max_roi_pool`"""
    return n.emit("max_roi_pool", x, rois, size=pooled_shape, scale=spatial_scale)


@lowers("DeformConv")
def _deform_conv(
    n: Call, x: Ref, w: Ref, offset: Ref, b: Ref | None = None, mask: Ref | None = None, *,
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None, offset_group: int = 1,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`deform_conv`"""
    kernel, places = n.shape(w)[2:], n.shape(offset)
    n.only(x.type.rank == len(places) == 4, f"{x.type.rank - 2} spatial axes are not covered")
    n.only(kernel_shape in (None, kernel), f"kernel_shape={kernel_shape}, the weights have {kernel}")
    at = window(n, x, kernel, strides, dilations, pads, "NOTSET")
    if mask is None:
        mask = n.filled((places[0], places[1] // 2, *places[2:]), 1, x.type.dtype)
    made = n.emit("deform_conv", x, w, offset, mask, **at.attrs(), groups=group, offset_groups=offset_group)
    return made if b is None else n.emit("add", made, n.reshape(b, b.type.size, 1, 1))
