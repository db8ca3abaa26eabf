"""Ops of detection and alignment: what picks regions of pictures by coordinates that are data."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import show
from hetero.errors import AttributeValueError, AxisError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops.elementwise import check_kinds
from hetero.ops.window import Ints, check_spatial, out_sizes

# -- non_max_suppression: the result's size depends on the data, so it runs on the host ---------------------------


def _nms_infer(
    boxes: TensorType, scores: TensorType, *, keep: int, overlap: float, least: float | None, centred: bool
) -> TensorType:
    """(b, n, 4), (b, c, n) -> int64 (kept, 3): batch, class and box of each box kept"""
    check_kinds("non_max_suppression", "f", (boxes, scores))
    if boxes.rank != 3 or scores.rank != 3 or boxes.known[2] != 4 or boxes.known[0] != scores.known[0]:
        raise ShapeError(
            f"non_max_suppression wants boxes (b, n, 4) and scores (b, c, n), got {show(boxes.known)} and "
            f"{show(scores.known)}"
        )
    if boxes.known[1] != scores.known[2]:
        raise ShapeError(f"non_max_suppression: {boxes.known[1]} boxes, scores for {scores.known[2]}")
    if not 0 <= overlap <= 1:
        raise AttributeValueError(f"non_max_suppression wants an overlap in 0 .. 1, got {overlap}")
    return TensorType(None, dt.int64)


def _corners(boxes: Array, centred: bool) -> Array:
    """(n, 4) as low y, low x, high y, high x"""
    boxes = boxes.astype(np.float64)
    if centred:
        x, y, w, h = boxes.T
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], 1)
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box with each of the others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.where((sides > 0).all(1), sides.prod(1), 0)
    union = np.prod(box[2:] - box[:2]) + (others[:, 2:] - others[:, :2]).prod(1) - both
    return np.where(union > 0, both / np.where(union > 0, union, 1), 0)


def _nms(boxes: Array, scores: Array, *, keep: int, overlap: float, least: float | None, centred: bool) -> Array:
    """Best first; a box that overlaps a kept one by more than `overlap` is dropped. At most `keep` a class."""
    found: list[tuple[int, int, int]] = []
    for b, c in product(range(scores.shape[0]), range(scores.shape[1])):
        corners, score = _corners(boxes[b], centred), scores[b, c]
        order = np.argsort(-score, kind="stable")
        left = order if least is None else order[score[order] > least]
        kept = 0
        while left.size and kept < keep:
            best, left = left[0], left[1:]
            found.append((b, c, int(best)))
            kept += 1
            left = left[_overlaps(corners[best], corners[left]) <= overlap]
    return np.asarray(found, np.int64).reshape(-1, 3)


def _nms_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(types[1].size)
    return Cost(16 * n * min(attrs["keep"], n), int(types[0].size) + n, n)


non_max_suppression = define(
    Op(
        name="non_max_suppression", kind="indexing", infer=_nms_infer, reference=_nms, cost=_nms_cost, dtypes="f",
        onnx="NonMaxSuppression",
        attrs={"keep": REQUIRED, "overlap": 0.0, "least": None, "centred": False},
        samples=(
            Sample((Arg((1, 9, 4), 0, 1), Arg((1, 2, 9), 0, 1)), {"keep": 3, "overlap": 0.3}),
            Sample((Arg((2, 5, 4), 0.1, 1), Arg((2, 1, 5), 0, 1)), {"keep": 5, "least": 0.4, "centred": True}),
        ),
    )
)  # fmt: skip

# -- roi_align ----------------------------------------------------------------------------------------------


def _roi_infer(
    x: TensorType, rois: TensorType, batches: TensorType, *, size: Ints, ratio: int, scale: float, mode: str,
    half_pixel: bool,
) -> TensorType:  # fmt: skip
    """(n, c, h, w), (r, 4), integer (r,) -> (r, c, *size)"""
    check_kinds("roi_align", "f", (x, rois))
    if x.dtype != rois.dtype:
        raise DTypeError(f"roi_align wants one dtype, got {x.dtype.name} and {rois.dtype.name}", hint="cast one side")
    if x.rank != 4 or rois.rank != 2 or rois.known[1] != 4 or batches.known != (rois.known[0],):
        raise ShapeError(
            f"roi_align wants (n, c, h, w), (r, 4) and (r,), got {show(x.known)}, {show(rois.known)}, "
            f"{show(batches.known)}"
        )
    if mode not in ("avg", "max") or len(size) != 2 or min(size) < 1 or ratio < 0:
        raise AttributeValueError(f"roi_align: size {size}, ratio {ratio}, mode {mode!r}")
    return x.with_shape((rois.known[0], x.known[1], *size))


def _check_batches(name: str, batches: Array, count: int) -> None:
    wrong = batches[~((batches >= 0) & (batches < count))]
    if wrong.size:
        raise AxisError(f"{name}: a region is in picture {wrong.flat[0]}, there are {count}")


def _samples_along(start: float, length: float, bins: int, ratio: int) -> Array:
    """Where the samples lie along one axis: (bins, samples in each)"""
    count = ratio or max(int(np.ceil(length / bins)), 1)
    step = length / bins
    return start + np.arange(bins)[:, None] * step + (np.arange(count) + 0.5) * step / count


def _neighbours(at: Array, size: int) -> tuple[Array, Array, Array, Array]:
    """Lower and upper cell of each sample, the upper one's weight, and whether the sample counts at all."""
    inside = (at >= -1) & (at <= size)
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    return low, high, at - low, inside


def _roi_align(
    x: Array, rois: Array, batches: Array, *, size: Ints, ratio: int, scale: float, mode: str, half_pixel: bool
) -> Array:
    """Each bin is the mean of bilinear samples, or the greatest weighted cell that they touch."""
    _check_batches("roi_align", batches, len(x))
    out = np.zeros((len(rois), x.shape[1], *size), x.dtype)
    shift = 0.5 if half_pixel else 0.0
    for i, (roi, batch) in enumerate(zip(rois.astype(np.float64), batches, strict=True)):
        left, top, right, bottom = roi * scale - shift
        width, height = right - left, bottom - top
        if not half_pixel:
            width, height = max(width, 1.0), max(height, 1.0)
        ys = _neighbours(_samples_along(top, height, size[0], ratio), x.shape[2])
        xs = _neighbours(_samples_along(left, width, size[1], ratio), x.shape[3])
        out[i] = _bins(x[int(batch)].astype(np.float64), ys, xs, mode)
    return out


def _bins(picture: Array, ys: Any, xs: Any, mode: str) -> Array:
    """(c, h, w) at the samples of every bin -> (c, bins of y, bins of x)"""
    inside = ys[3][:, :, None, None] & xs[3][None, None]
    corners: list[Array] = []
    for y, x in product((0, 1), (0, 1)):
        weight_y = ys[2] if y else 1 - ys[2]
        weight_x = xs[2] if x else 1 - xs[2]
        weight = weight_y[:, :, None, None] * weight_x[None, None] * inside
        corners.append(picture[:, ys[y][:, :, None, None], xs[x][None, None]] * weight)
    if mode == "avg":
        return sum(corners).mean(axis=(2, 4))  # pyright: ignore[reportAttributeAccessIssue, reportReturnType]
    return np.max(np.stack(corners), axis=0).max(axis=(2, 4))


def _roi_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size) * max(attrs["ratio"], 1) ** 2
    return Cost(11 * n, 4 * n, int(outs[0].size))


roi_align = define(
    Op(
        name="roi_align", kind="indexing", infer=_roi_infer, reference=_roi_align, cost=_roi_cost, dtypes="f",
        onnx="RoiAlign",
        attrs={"size": REQUIRED, "ratio": 0, "scale": 1.0, "mode": "avg", "half_pixel": True},
        samples=(
            Sample(
                (Arg((2, 3, 8, 8)), Arg((3, 4), 0, 8), Arg((3,), 0, 2, "int64")), {"size": (3, 2), "ratio": 2}
            ),
            Sample(
                (Arg((1, 2, 8, 8)), Arg((2, 4), 0, 16), Arg((2,), 0, 1, "int64")),
                {"size": (2, 2), "scale": 0.5, "mode": "max", "half_pixel": False},
            ),
        ),
    )
)  # fmt: skip

# -- max_roi_pool -------------------------------------------------------------------------------------------


def _max_roi_infer(x: TensorType, rois: TensorType, *, size: Ints, scale: float) -> TensorType:
    """(n, c, h, w), (r, 5) -> (r, c, *size); a roi is batch, x1, y1, x2, y2"""
    check_kinds("max_roi_pool", "f", (x, rois))
    if x.rank != 4 or rois.rank != 2 or rois.known[1] != 5:
        raise ShapeError(f"max_roi_pool wants (n, c, h, w) and (r, 5), got {show(x.known)} and {show(rois.known)}")
    if len(size) != 2 or min(size) < 1:
        raise AttributeValueError(f"max_roi_pool: size {size}")
    return x.with_shape((rois.known[0], x.known[1], *size))


def _max_roi_pool(x: Array, rois: Array, *, size: Ints, scale: float) -> Array:
    """The greatest element of each bin; 0 where a bin is empty."""
    _check_batches("max_roi_pool", rois[:, 0], len(x))
    out = np.zeros((len(rois), x.shape[1], *size), x.dtype)
    for i, roi in enumerate(rois.astype(np.float64)):
        batch, edges = int(roi[0]), np.floor(roi[1:] * scale + 0.5).astype(int)
        spans = [_bin_edges(edges[1 - a], edges[3 - a], size[a], x.shape[2 + a]) for a in range(2)]
        for (p, (y0, y1)), (q, (x0, x1)) in product(*(enumerate(s) for s in spans)):
            part = x[batch, :, y0:y1, x0:x1]
            out[i, :, p, q] = part.max((1, 2)) if part.size else 0
    return out


def _bin_edges(first: int, last: int, bins: int, size: int) -> list[tuple[int, int]]:
    """First cell and the one behind the last, of each bin, cut to the picture."""
    step = max(last - first + 1, 1) / bins
    starts = (int(np.floor(i * step)) + first for i in range(bins))
    stops = (int(np.ceil((i + 1) * step)) + first for i in range(bins))
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in zip(starts, stops, strict=True)]


def _max_roi_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return Cost(int(types[0].size), int(types[0].size), int(outs[0].size))


max_roi_pool = define(
    Op(
        name="max_roi_pool", kind="indexing", infer=_max_roi_infer, reference=_max_roi_pool, cost=_max_roi_cost,
        dtypes="f", onnx="MaxRoiPool", attrs={"size": REQUIRED, "scale": 1.0},
        samples=(Sample((Arg((1, 3, 8, 8)), Arg((2, 5), 0, 0.99)), {"size": (2, 3), "scale": 8.0}),),
    )
)  # fmt: skip

# -- deform_conv --------------------------------------------------------------------------------------------


def _deform_infer(
    x: TensorType, w: TensorType, offset: TensorType, mask: TensorType, *, strides: Ints, dilations: Ints,
    pads_before: Ints, pads_after: Ints, groups: int, offset_groups: int,
) -> TensorType:  # fmt: skip
    """(n, c, h, w), (o, c / groups, kh, kw), (n, 2 g kh kw, *out), (n, g kh kw, *out) -> (n, o, *out)"""
    check_kinds("deform_conv", "f", (x, w, offset, mask))
    if x.rank != 4 or w.rank != 4 or offset.rank != 4 or mask.rank != 4:
        raise ShapeError("deform_conv wants 4 dimensions everywhere")
    kernel: Any = w.known[2:]
    check_spatial(
        "deform_conv", 2, {"strides": strides, "dilations": dilations},
        {"pads_before": pads_before, "pads_after": pads_after},
    )  # fmt: skip
    out = out_sizes("deform_conv", x, kernel, strides, dilations, pads_before, pads_after)
    cells = offset_groups * kernel[0] * kernel[1]
    wanted = ((x.known[0], 2 * cells, *out), (x.known[0], cells, *out))
    channels = x.known[1] == w.known[1] * groups and w.known[0] == w.known[0] // groups * groups
    if (offset.known, mask.known) != wanted or not channels:
        raise ShapeError(
            f"deform_conv: offset {show(offset.known)} and mask {show(mask.known)} where {show(wanted[0])} and "
            f"{show(wanted[1])} are wanted, x {show(x.known)}, w {show(w.known)}, {groups} groups"
        )
    if offset_groups < 1 or x.known[1] != x.known[1] // offset_groups * offset_groups:
        raise AttributeValueError(f"deform_conv: {x.known[1]} channels in {offset_groups} groups of offsets")
    return x.with_shape((x.known[0], w.known[0], *out))


def _deform_conv(
    x: Array, w: Array, offset: Array, mask: Array, *, strides: Ints, dilations: Ints, pads_before: Ints,
    pads_after: Ints, groups: int, offset_groups: int,
) -> Array:  # fmt: skip
    """A convolution whose windows read at shifted places, between cells, and weigh what they read."""
    n, c = x.shape[:2]
    kernel, out = w.shape[2:], offset.shape[2:]
    cells = kernel[0] * kernel[1]
    shifts = offset.reshape(n, offset_groups, cells, 2, *out)
    grid = [
        (np.arange(out[a]) * strides[a] - pads_before[a])[None, :] + (np.arange(kernel[a]) * dilations[a])[:, None]
        for a in range(2)
    ]
    base_y = np.repeat(grid[0], kernel[1], 0)[:, :, None]
    base_x = np.tile(grid[1], (kernel[0], 1))[:, None, :]
    ys, xs = base_y + shifts[:, :, :, 0], base_x + shifts[:, :, :, 1]
    parts = x.reshape(n, offset_groups, c // offset_groups, *x.shape[2:])
    weighed = _between(parts, ys, xs) * mask.reshape(n, offset_groups, 1, cells, *out)
    columns = weighed.reshape(n, groups, c // groups * cells, out[0] * out[1])
    flat = w.reshape(groups, w.shape[0] // groups, -1)
    return np.matmul(flat, columns).reshape(n, w.shape[0], *out).astype(x.dtype)


def _between(x: Array, ys: Array, xs: Array) -> Array:
    """x (n, g, c, h, w) at ys, xs (n, g, k, *out), bilinear, 0 outside -> (n, g, c, k, *out)"""
    n, g = (
        np.arange(size).reshape(shape) for size, shape in ((len(x), (-1, 1, 1, 1, 1)), (x.shape[1], (1, -1, 1, 1, 1)))
    )
    low_y, low_x = np.floor(ys).astype(np.int64), np.floor(xs).astype(np.int64)
    total = np.zeros((*x.shape[:3], *ys.shape[2:]), x.dtype)
    for dy, dx in product((0, 1), (0, 1)):
        y, z = low_y + dy, low_x + dx
        weight = (1 - np.abs(ys - y)) * (1 - np.abs(xs - z))
        inside = (y >= 0) & (y < x.shape[3]) & (z >= 0) & (z < x.shape[4])
        cell = x[n, g, :, np.clip(y, 0, x.shape[3] - 1), np.clip(z, 0, x.shape[4] - 1)]
        total += np.moveaxis(cell, -1, 2) * (weight * inside)[:, :, None]
    return total


def _deform_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    columns = int(types[3].size) * int(types[1].known[1]) * attrs["groups"]
    return Cost(
        2 * int(outs[0].size) * int(types[1].size) // max(int(types[1].known[0]), 1) + 12 * columns,
        4 * columns, int(outs[0].size),
    )  # fmt: skip


_PLAIN = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0)}

deform_conv = define(
    Op(
        name="deform_conv", kind="compute", infer=_deform_infer, reference=_deform_conv, cost=_deform_cost,
        dtypes="f", onnx="DeformConv", attrs={k: REQUIRED for k in _PLAIN} | {"groups": 1, "offset_groups": 1},
        samples=(
            Sample((Arg((1, 1, 4, 4)), Arg((2, 1, 2, 2)), Arg((1, 8, 3, 3)), Arg((1, 4, 3, 3), 0, 1)), _PLAIN),
            Sample(
                (Arg((2, 4, 5, 6)), Arg((2, 2, 2, 3)), Arg((2, 24, 3, 6)), Arg((2, 12, 3, 6), 0, 1)),
                {"strides": (2, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (0, 1), "groups": 2,
                 "offset_groups": 2},
            ),
        ),
    )
)  # fmt: skip
