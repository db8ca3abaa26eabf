"""Lowerings of convolutions, pools and normalisations."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, Made, Wait, lowers
from hetero.dim import Dim, concrete
from hetero.dim import prod as dim_prod
from hetero.graph.build import Ref
from hetero.ops.window import extent

Ints = tuple[int, ...]
AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True, slots=True)
class Window:
    """The spatial attributes of a convolution or pool, complete."""

    kernel: Ints
    strides: Ints
    dilations: Ints
    before: Ints
    after: Ints

    def attrs(self) -> dict[str, Ints]:
        return {
            "strides": self.strides,
            "dilations": self.dilations,
            "pads_before": self.before,
            "pads_after": self.after,
        }


def window(
    n: Call, x: Ref, kernel: Ints, strides: Ints | None, dilations: Ints | None, pads: Ints | None, auto_pad: str
) -> Window:
    """Defaults filled in, and `auto_pad` worked out."""
    rank = x.type.rank - 2
    n.only(rank >= 1, f"x has {x.type.rank} dimensions, at least 3 are wanted")
    n.only(auto_pad in AUTO, f"auto_pad={auto_pad!r} is none of {', '.join(AUTO)}")
    n.only(auto_pad in ("NOTSET", "VALID") or not any(pads or ()), "both pads and auto_pad are given")
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = (0,) * (2 * rank) if pads is None or auto_pad != "NOTSET" else pads
    ok = len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank
    n.only(ok, f"kernel, strides, dilations or pads do not have {rank} dimensions")
    n.only(min((*kernel, *strides, *dilations)) >= 1, "a kernel, stride or dilation below 1")
    n.only(min(pads) >= 0, f"negative pads {pads} are not covered")
    n.only(max((*kernel, *strides, *dilations, *pads)) < 1 << 31, "an absurd kernel, stride, dilation or pad")
    before, after = pads[:rank], pads[rank:]
    if auto_pad.startswith("SAME"):
        before, after = _same(n, x, kernel, strides, dilations, auto_pad)
    return Window(kernel, strides, dilations, before, after)


def _same(n: Call, x: Ref, kernel: Ints, strides: Ints, dilations: Ints, auto_pad: str) -> tuple[Ints, Ints]:
    """Pads that give ceil(size / stride) windows; the odd one goes to the end for SAME_UPPER."""
    if any(isinstance(size, Dim) for size in x.type.known[2:]):
        raise Wait
    each = zip(concrete(x.type.known[2:]), kernel, strides, dilations, strict=True)
    total = [max((-(-size // s) - 1) * s + extent(k, d) - size, 0) for size, k, s, d in each]
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


# -- convolutions -------------------------------------------------------------------------------------------


@lowers("Conv")
def _conv(
    n: Call, x: Ref, w: Ref, b: Ref | None = None, *, auto_pad: str = "NOTSET", dilations: Ints | None = None,
    group: int = 1, kernel_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`conv`"""
    kernel = _kernel(n, w, kernel_shape)
    at = window(n, x, kernel, strides, dilations, pads, auto_pad)
    return n.emit("conv", x, w, *(() if b is None else (b,)), **at.attrs(), groups=group)


def _kernel(n: Call, w: Ref, kernel_shape: Ints | None) -> Ints:
    kernel = n.shape(w)[2:]
    n.only(kernel_shape is None or kernel_shape == kernel, f"kernel_shape={kernel_shape}, the weights have {kernel}")
    return kernel


@lowers("ConvTranspose")
def _conv_transpose(
    n: Call, x: Ref, w: Ref, b: Ref | None = None, *, auto_pad: str = "NOTSET", dilations: Ints | None = None,
    group: int = 1, kernel_shape: Ints | None = None, output_padding: Ints | None = None,
    output_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`conv_transpose`"""
    kernel = _kernel(n, w, kernel_shape)
    rank = len(kernel)
    at = window(n, x, kernel, strides, dilations, None if auto_pad != "NOTSET" else pads, "NOTSET")
    n.only(auto_pad in AUTO, f"auto_pad={auto_pad!r} is none of {', '.join(AUTO)}")
    extra = output_padding or (0,) * rank
    n.only(len(extra) == rank and min(extra) >= 0, f"output_padding={output_padding}")
    before, after = at.before, at.after
    if output_shape is not None or auto_pad.startswith("SAME"):
        before, after, extra = _transposed_pads(n, x, at, extra, output_shape, auto_pad)
    attrs = at.attrs() | {"pads_before": before, "pads_after": after, "output_padding": extra}
    return n.emit("conv_transpose", x, w, *(() if b is None else (b,)), **attrs, groups=group)


def _transposed_pads(
    n: Call, x: Ref, at: Window, extra: Ints, output_shape: Ints | None, auto_pad: str
) -> tuple[Ints, Ints, Ints]:
    """Pads that give the wanted sizes; where they would be negative, more output padding."""
    sizes = n.shape(x)[2:]
    wanted = output_shape or tuple(s * size for s, size in zip(at.strides, sizes, strict=True))
    wanted = wanted[-len(sizes) :]
    n.only(len(wanted) == len(sizes), f"output_shape={output_shape} for {len(sizes)} spatial axes")
    each = zip(sizes, at.kernel, at.strides, at.dilations, extra, wanted, strict=True)
    total = [s * (size - 1) + e + extent(k, d) - to for size, k, s, d, e, to in each]
    extra = tuple(e + max(-t, 0) for e, t in zip(extra, total, strict=True))
    total = [max(t, 0) for t in total]
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    return before, after, extra


@lowers("Col2Im")
def _col2im(
    n: Call, x: Ref, image_shape: Ref, block_shape: Ref, *, dilations: Ints | None = None, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`conv_transpose` with the identity as weights: every column adds itself where its window lies"""
    image, block = n.ints(image_shape), n.ints(block_shape)
    rank, cells = len(block), prod(block)
    n.only(min((*image, *block), default=0) >= 1 and len(image) == rank, f"image {image}, block {block}")
    n.only(x.type.rank == 3, f"an input of {x.type.rank} dimensions, 3 are wanted")
    batch, flat, count = n.shape(x)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = pads or (0,) * (2 * rank)
    n.only(len(strides) == len(dilations) == rank and len(pads) == 2 * rank, f"attributes not for {rank} dimensions")
    n.only(flat % cells == 0, f"{flat} rows do not split into blocks of {block}")
    each = zip(image, block, strides, dilations, pads[:rank], pads[rank:], strict=True)
    grid = tuple((size + b + a - extent(k, d)) // s + 1 for size, k, s, d, b, a in each)
    n.only(prod(grid) == count, f"{count} columns for a grid of {grid}")
    n.room(cells * cells * x.type.dtype.itemsize)
    depth = flat // cells
    columns = n.reshape(x, batch * depth, cells, *grid)
    weights = n.constant(np.eye(cells).reshape(cells, 1, *block).astype(x.type.dtype))
    each = zip(image, grid, block, strides, dilations, pads[:rank], pads[rank:], strict=True)
    extra = tuple(size - ((g - 1) * s + extent(k, d) - b - a) for size, g, k, s, d, b, a in each)
    made = n.emit(
        "conv_transpose", columns, weights, strides=strides, dilations=dilations, pads_before=pads[:rank],
        pads_after=pads[rank:], output_padding=extra, groups=1,
    )  # fmt: skip
    return n.reshape(made, batch, depth, *image)


# -- pools --------------------------------------------------------------------------------------------------


def _pool_window(
    n: Call, x: Ref, kernel: Ints, strides: Ints | None, dilations: Ints | None, pads: Ints | None, auto_pad: str
) -> dict[str, Ints]:
    at = window(n, x, kernel, strides, dilations, pads, auto_pad)
    return {"kernel": kernel, **at.attrs()}


@lowers("MaxPool")
def _max_pool(
    n: Call, x: Ref, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Ints | None = None,
    kernel_shape: Ints, pads: Ints | None = None, storage_order: int = 0, strides: Ints | None = None,
) -> Made:  # fmt: skip
    """`max_pool`, or `max_pool_indices` where the places are read"""
    attrs = _pool_window(n, x, kernel_shape, strides, dilations, pads, auto_pad)
    # A row of SAME padding is worked out for whole windows: there is nothing left to round up.
    ceil = bool(ceil_mode) and not auto_pad.startswith("SAME")
    if n.wants(1):
        return n.emit("max_pool_indices", x, **attrs, ceil=ceil, column_major=bool(storage_order))
    return n.emit("max_pool", x, **attrs, ceil=ceil)


@lowers("AveragePool")
def _average_pool(
    n: Call, x: Ref, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
    dilations: Ints | None = None, kernel_shape: Ints, pads: Ints | None = None, strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`avg_pool`"""
    attrs = _pool_window(n, x, kernel_shape, strides, dilations, pads, auto_pad)
    ceil = bool(ceil_mode) and not auto_pad.startswith("SAME")
    return n.emit("avg_pool", x, **attrs, ceil=ceil, count_include_pad=bool(count_include_pad))


@lowers("LpPool")
def _lp_pool(
    n: Call, x: Ref, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Ints | None = None,
    kernel_shape: Ints, p: int = 2, pads: Ints | None = None, strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """(sum |x|^p)^(1/p): `avg_pool` times the cells of a window"""
    n.only(p >= 1, f"p={p}")
    attrs = _pool_window(n, x, kernel_shape, strides, dilations, pads, auto_pad)
    ceil = bool(ceil_mode) and not auto_pad.startswith("SAME")
    n.only(not ceil, "ceil_mode is not covered")
    mean = n.emit("avg_pool", _powered(n, x, p), **attrs, count_include_pad=True)
    return _rooted(n, n.emit("multiply", mean, float(prod(kernel_shape))), p)


def _powered(n: Call, x: Ref, p: int) -> Ref:
    if p == 2:
        return n.emit("multiply", x, x)
    size = n.emit("abs", x)
    return size if p == 1 else n.emit("power", size, float(p))


def _rooted(n: Call, x: Ref, p: int) -> Ref:
    return x if p == 1 else n.emit("sqrt", x) if p == 2 else n.emit("power", x, 1 / p)


def _spatial(n: Call, x: Ref) -> Ints:
    n.only(x.type.rank >= 2, f"x has {x.type.rank} dimensions, at least 2 are wanted")
    return tuple(range(2, x.type.rank))


@lowers("GlobalMaxPool")
def _global_max(n: Call, x: Ref) -> Ref:
    """`max` over the spatial axes"""
    return n.emit("max", x, axes=_spatial(n, x), keepdims=True)


@lowers("GlobalAveragePool")
def _global_average(n: Call, x: Ref) -> Ref:
    """`mean` over the spatial axes"""
    return n.emit("mean", x, axes=_spatial(n, x), keepdims=True)


@lowers("GlobalLpPool")
def _global_lp(n: Call, x: Ref, *, p: int = 2) -> Ref:
    """(sum |x|^p)^(1/p) over the spatial axes"""
    return _rooted(n, n.emit("sum", _powered(n, x, p), axes=_spatial(n, x), keepdims=True), p)


@lowers("MaxUnpool")
def _max_unpool(
    n: Call, x: Ref, indices: Ref, output_shape: Ref | None = None, *, kernel_shape: Ints, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`put_along_axis` into zeros"""
    shape = n.shape(x)
    at = window(n, x, kernel_shape, strides, None, pads, "NOTSET")
    each = zip(shape[2:], at.kernel, at.strides, at.before, at.after, strict=True)
    natural = (*shape[:2], *((size - 1) * s - b - a + k for size, k, s, b, a in each))
    full = natural if output_shape is None else n.ints(output_shape)
    n.only(len(full) == len(shape) and min(full) >= 0, f"output_shape {full}")
    n.room(prod(natural) * x.type.dtype.itemsize)
    # The indices count in the flat tensor of natural size, which a larger output_shape then surrounds.
    flat = n.filled((prod(natural),), 0, x.type.dtype)
    put = n.emit("put_along_axis", flat, n.reshape(indices, prod(shape)), n.reshape(x, prod(shape)), axis=0)
    return _surround(n, n.reshape(put, *natural), natural, full)


def _surround(n: Call, x: Ref, natural: Ints, full: Ints) -> Ref:
    n.only(all(f >= m for f, m in zip(full, natural, strict=True)), f"output_shape {full} is smaller than {natural}")
    after = tuple(f - m for f, m in zip(full, natural, strict=True))
    return n.emit("pad", x, before=(0,) * len(full), after=after) if any(after) else x


# -- normalisation ------------------------------------------------------------------------------------------


@lowers("BatchNormalization")
def _batch_norm(
    n: Call, x: Ref, scale: Ref, bias: Ref, mean: Ref, var: Ref, *, epsilon: float = 1e-5, momentum: float = 0.9,
    spatial: int = 1, training_mode: int = 0,
) -> Made:  # fmt: skip
    """`batch_norm`; in training mode with the batch's own mean and variance, and new running ones"""
    n.only(spatial == 1, "spatial=0 is not covered")
    if n.opset < 14:
        n.only(not any(n.outputs[1:]), "the outputs of training are not covered before opset 14")
    to = x.type.dtype
    if not training_mode:
        n.only(not any(n.outputs[1:]), "running mean and variance without training_mode")
        return _batch_normed(n, x, scale, bias, mean, var, epsilon)
    e = n.emit
    axes = tuple(i for i in range(x.type.rank) if i != 1)
    wide = n.through_float(x)
    now = e("mean", wide, axes=axes, keepdims=False)
    spread = e("var", wide, axes=axes, keepdims=False)
    y = _batch_normed(n, x, scale, bias, n.cast(now, to), n.cast(spread, to), epsilon)
    return y, _running(n, mean, now, momentum), _running(n, var, spread, momentum)


def _batch_normed(n: Call, x: Ref, scale: Ref, bias: Ref, mean: Ref, var: Ref, epsilon: float) -> Ref:
    to = x.type.dtype
    wide = dt.promote(*(r.type.dtype for r in (x, scale, mean)))
    wide = wide if wide.itemsize >= 4 else dt.float32
    return n.cast(n.emit("batch_norm", *(n.cast(r, wide) for r in (x, scale, bias, mean, var)), epsilon=epsilon), to)


def _running(n: Call, before: Ref, now: Ref, momentum: float) -> Ref:
    e = n.emit
    now = n.cast(now, before.type.dtype)
    return e("add", e("multiply", before, momentum), e("multiply", now, 1 - momentum))


@lowers("InstanceNormalization")
def _instance_norm(n: Call, x: Ref, scale: Ref, bias: Ref, *, epsilon: float = 1e-5) -> Ref:
    """`group_norm` with a group for each channel"""
    n.only(x.type.rank >= 2, f"x has {x.type.rank} dimensions, at least 2 are wanted")
    channels = x.type.known[1]
    if isinstance(channels, Dim):
        raise Wait
    wide = (n.through_float(r) for r in (x, scale, bias))
    return n.cast(n.emit("group_norm", *wide, groups=channels, epsilon=epsilon), x.type.dtype)


@lowers("GroupNormalization", since=18)
def _group_norm_18(n: Call, x: Ref, scale: Ref, bias: Ref, *, epsilon: float = 1e-5, num_groups: int) -> Ref:
    """`group_norm`, with factors for each group"""
    channels = n.size(x, 1)
    n.only(num_groups >= 1 and channels % num_groups == 0, f"{channels} channels in {num_groups} groups")
    each = channels // num_groups
    wide = (n.reshape(n.emit("broadcast_to", n.reshape(r, num_groups, 1), shape=(num_groups, each)), channels)
            for r in (scale, bias))  # fmt: skip
    return n.emit("group_norm", x, *wide, groups=num_groups, epsilon=epsilon)


@lowers("GroupNormalization", since=21)
def _group_norm(
    n: Call, x: Ref, scale: Ref, bias: Ref, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Ref:
    """`group_norm`"""
    wide = _stash(n, x, stash_type)
    parts = (n.cast(r, wide) for r in (x, scale, bias))
    return n.cast(n.emit("group_norm", *parts, groups=num_groups, epsilon=epsilon), x.type.dtype)


def _stash(n: Call, x: Ref, stash_type: int) -> dt.DType:
    """The dtype to compute in: float32, or for float64 inputs no less."""
    n.only(stash_type == 1, f"stash_type={stash_type} is not covered")
    return dt.float64 if x.type.dtype == dt.float64 else dt.float32


@lowers("LayerNormalization")
def _layer_norm(
    n: Call, x: Ref, scale: Ref, bias: Ref | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Made:
    """`layer_norm`; mean and 1 / deviation where they are read"""
    wide = _stash(n, x, stash_type)
    at, rank = n.axis(axis, x.type.rank), x.type.rank
    inner = x.type.known[at:]
    factors = [_stretched(n, n.cast(r, wide), inner) for r in (scale, bias) if r is not None]
    data = n.cast(x, wide)
    y = n.cast(n.emit("layer_norm", data, *factors, axis=at, epsilon=epsilon), x.type.dtype)
    if not (n.wants(1) or n.wants(2)):
        return y
    axes, e = tuple(range(at, rank)), n.emit
    mean = e("mean", data, axes=axes, keepdims=True)
    off = e("subtract", data, mean)
    var = e("mean", e("multiply", off, off), axes=axes, keepdims=True)
    return y, n.cast(mean, dt.float32), n.cast(e("rsqrt", e("add", var, epsilon)), dt.float32)


def _stretched(n: Call, x: Ref, shape: tuple[int | Dim, ...]) -> Ref:
    return x if x.type.known == shape else n.emit("broadcast_to", x, shape=shape)


@lowers("RMSNormalization")
def _rms_norm(n: Call, x: Ref, scale: Ref, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Ref:
    """`rms_norm`"""
    wide = _stash(n, x, stash_type)
    at = n.axis(axis, x.type.rank)
    factor = _stretched(n, n.cast(scale, wide), x.type.known[at:])
    return n.cast(n.emit("rms_norm", n.cast(x, wide), factor, axis=at, epsilon=epsilon), scale.type.dtype)


@lowers("LRN")
def _lrn(n: Call, x: Ref, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Ref:
    """x / (bias + alpha / size * sum of squares of near channels)^beta: the sum is an `avg_pool` over channels"""
    n.only(size >= 1 and x.type.rank >= 3, f"size={size}, {x.type.rank} dimensions")
    e, shape = n.emit, x.type.known
    rank = x.type.rank
    last = n.permute(e("multiply", x, x), 0, *range(2, rank), 1)  # channels last: a spatial axis of a pool
    flat = n.reshape(last, dim_prod(last.type.known[:-1]), 1, last.type.known[-1])
    before, after = (size - 1) // 2, size // 2
    mean = e("avg_pool", flat, kernel=(size,), strides=(1,), dilations=(1,), pads_before=(before,),
             pads_after=(after,), count_include_pad=True)  # fmt: skip
    square = n.permute(n.reshape(mean, *last.type.known), 0, rank - 1, *range(1, rank - 1))
    factor = e("power", e("add", e("multiply", square, alpha), bias), beta)
    assert factor.type.known == shape
    return e("divide", x, factor)


@lowers("Dropout")
def _dropout_1(n: Call, x: Ref, *, ratio: float = 0.5) -> Made:
    """the input itself"""
    return x, n.filled(x.type.known, True, x.type.dtype if n.opset < 10 else dt.bool_)


@lowers("Dropout", since=12)
def _dropout(
    n: Call, x: Ref, ratio: Ref | None = None, training: Ref | None = None, *, seed: int | None = None
) -> Made:
    """the input itself; in training mode only with ratio 0"""
    if training is not None and bool(n.scalar(training, "training_mode")):
        share = 0.5 if ratio is None else float(n.scalar(ratio, "ratio"))
        n.only(share == 0, "training mode draws random numbers; give the model for inference")
    return x, n.filled(x.type.known, True, dt.bool_)
