"""Convolutions over (n, c, *s), one to any number of spatial axes; every spatial attribute is a tuple."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from hetero.dim import Size, concrete, show
from hetero.errors import DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.elementwise import check_kinds
from hetero.ops.window import Ints, check_spatial, columns, extent, out_sizes, padded


def _check(name: str, x: TensorType, w: TensorType, bias: tuple[TensorType, ...], channels: Size) -> None:
    check_kinds(name, "iuf", (x, w, *bias))
    if len({t.dtype for t in (x, w, *bias)}) > 1:
        raise DTypeError(f"{name} wants one dtype, got {x.dtype.name} and {w.dtype.name}", hint="cast one side")
    if x.rank < 3 or w.rank != x.rank:
        raise ShapeError(f"{name} wants x (n, c, *s) and w of the same rank, got {show(x.known)} and {show(w.known)}")
    if any(b.known != (channels,) for b in bias):
        raise ShapeError(f"{name} wants a bias of shape ({channels},), got {show(bias[0].known)}")


def _split(name: str, channels: Size, groups: int, each: Size, what: str) -> None:
    if groups < 1 or each * groups != channels:
        raise ShapeError(f"{name}: {what} in {groups} groups of {each} are not {channels}")


def _conv_infer(
    x: TensorType, w: TensorType, *bias: TensorType, strides: Ints, dilations: Ints, pads_before: Ints,
    pads_after: Ints, groups: int,
) -> TensorType:  # fmt: skip
    """(n, c, *s), (o, c / groups, *k), (o,) -> (n, o, *out)"""
    _check("conv", x, w, bias, w.known[0])
    kernel = concrete(w.known[2:], "the kernel of conv")
    check_spatial(
        "conv", x.rank - 2, {"sizes of the kernel": kernel, "strides": strides, "dilations": dilations},
        {"pads_before": pads_before, "pads_after": pads_after},
    )  # fmt: skip
    _split("conv", x.known[1], groups, w.known[1], "channels")
    _split("conv", w.known[0], groups, w.known[0] // max(groups, 1), "outputs")
    out = out_sizes("conv", x, kernel, strides, dilations, pads_before, pads_after)
    return x.with_shape((x.known[0], w.known[0], *out))


def _conv(
    x: Array, w: Array, *bias: Array, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, groups: int
) -> Array:
    """One matrix product for each sample: weights times the columns under the windows."""
    kernel = w.shape[2:]
    sized = zip(x.shape[2:], kernel, strides, dilations, pads_before, pads_after, strict=True)
    out = tuple((n + b + a - extent(k, d)) // s + 1 for n, k, s, d, b, a in sized)
    flat = w.reshape(groups, w.shape[0] // groups, -1)
    wide = padded(x, pads_before, pads_after, 0)
    y = np.empty((x.shape[0], groups, w.shape[0] // groups, prod(out)), x.dtype)
    for sample, made in zip(wide, y, strict=True):
        np.matmul(flat, columns(sample, kernel, strides, dilations, groups), out=made)
    y = y.reshape(x.shape[0], w.shape[0], *out)
    return y + bias[0].reshape(-1, *(1,) * len(kernel)) if bias else y


def _conv_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    w, out = types[1], int(outs[0].size)
    return Cost(2 * out * prod(concrete(w.known[1:])), sum(int(t.size) for t in types), out)


_PLAIN_2D = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0), "groups": 1}

conv = define(
    Op(
        name="conv", kind="compute", infer=_conv_infer, reference=_conv, cost=_conv_cost, dtypes="f", onnx="Conv",
        attrs={k: REQUIRED for k in ("strides", "dilations", "pads_before", "pads_after")} | {"groups": 1},
        samples=(
            Sample((Arg((1, 1, 5, 5)), Arg((1, 1, 3, 3))), _PLAIN_2D),
            Sample(
                (Arg((2, 3, 9, 7)), Arg((4, 3, 3, 2)), Arg((4,))),
                _PLAIN_2D | {"strides": (2, 1), "pads_before": (1, 0), "pads_after": (1, 1)},
            ),
            Sample((Arg((1, 4, 8, 8)), Arg((6, 2, 3, 3)), Arg((6,))), _PLAIN_2D | {"groups": 2, "dilations": (2, 1)}),
            Sample((Arg((2, 6, 6, 6)), Arg((6, 1, 3, 3))), _PLAIN_2D | {"groups": 6, "pads_before": (1, 1)}),
            Sample(
                (Arg((2, 3, 11)), Arg((5, 3, 4)), Arg((5,))),
                {"strides": (3,), "dilations": (1,), "pads_before": (2,), "pads_after": (0,)},
            ),
            Sample(
                (Arg((1, 2, 4, 5, 6)), Arg((3, 2, 2, 3, 2))),
                {k: (1, 1, 1) for k in ("strides", "dilations", "pads_before", "pads_after")},
            ),
            Sample((Arg((1, 17, 20, 19)), Arg((33, 17, 3, 3)), Arg((33,))), _PLAIN_2D | {"pads_before": (1, 1)}),
            Sample((Arg((0, 2, 5, 5)), Arg((3, 2, 3, 3))), _PLAIN_2D),
        ),
    )
)  # fmt: skip


# -- conv_transpose -----------------------------------------------------------------------------------------


def _transpose_out(
    sizes: Any, kernel: Ints, strides: Ints, dilations: Ints, before: Ints, after: Ints, extra: Ints
) -> tuple[Any, ...]:
    """stride * (n - 1) + extra + extent - pads"""
    each = zip(sizes, kernel, strides, dilations, before, after, extra, strict=True)
    return tuple((n - 1) * s + (e + extent(k, d) - b - a) for n, k, s, d, b, a, e in each)


def _transpose_infer(
    x: TensorType, w: TensorType, *bias: TensorType, strides: Ints, dilations: Ints, pads_before: Ints,
    pads_after: Ints, output_padding: Ints, groups: int,
) -> TensorType:  # fmt: skip
    """(n, c, *s), (c, o / groups, *k), (o,) -> (n, o, *out)"""
    _check("conv_transpose", x, w, bias, w.known[1] * groups)
    kernel = concrete(w.known[2:], "the kernel of conv_transpose")
    check_spatial(
        "conv_transpose", x.rank - 2, {"sizes of the kernel": kernel, "strides": strides, "dilations": dilations},
        {"pads_before": pads_before, "pads_after": pads_after, "output_padding": output_padding},
    )  # fmt: skip
    if w.known[0] != x.known[1]:
        raise ShapeError(f"conv_transpose: {x.known[1]} channels come in, the weights take {w.known[0]}")
    _split("conv_transpose", x.known[1], groups, x.known[1] // max(groups, 1), "channels")
    out = _transpose_out(x.known[2:], kernel, strides, dilations, pads_before, pads_after, output_padding)
    if any(isinstance(n, int) and n < 1 for n in out):
        raise ShapeError(f"conv_transpose of {show(x.known)} would give sizes {show(out)}")
    return x.with_shape((x.known[0], w.known[1] * groups, *out))


def _conv_transpose(
    x: Array, w: Array, *bias: Array, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints,
    output_padding: Ints, groups: int,
) -> Array:  # fmt: skip
    """Every element of x adds a copy of its weights to the output."""
    n, c, *sizes = x.shape
    each, kernel = w.shape[1], w.shape[2:]
    none = (0,) * len(kernel)
    full = _transpose_out(sizes, kernel, strides, dilations, none, none, output_padding)
    y = np.zeros((n, groups, each, *full), x.dtype)
    parts = x.reshape(n, groups, c // groups, -1)
    weights = w.reshape(groups, c // groups, each, *kernel)
    for at in product(*map(range, kernel)):
        made = np.matmul(weights[(..., *at)].swapaxes(1, 2), parts).reshape(n, groups, each, *sizes)
        steps = zip(at, dilations, strides, sizes, strict=True)
        y[(..., *(slice(i * d, i * d + (m - 1) * s + 1, s) for i, d, s, m in steps))] += made
    cut = tuple(slice(b, size - a) for b, a, size in zip(pads_before, pads_after, full, strict=True))
    y = y[(..., *cut)].reshape(n, groups * each, *(s.stop - s.start for s in cut))
    return y + bias[0].reshape(-1, *(1,) * len(kernel)) if bias else y


def _transpose_decompose(
    emit: Emit, x: Value, w: Value, *bias: Value, strides: Ints, dilations: Ints, pads_before: Ints,
    pads_after: Ints, output_padding: Ints, groups: int,
) -> Value:  # fmt: skip
    """conv of x with zeros between its elements, by the weights turned around"""
    (_, c, *sizes), (_, each, *kernel) = concrete(x.type.known), concrete(w.type.known)
    rank = len(kernel)
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True), 2):
        if stride > 1:
            x = _spread(emit, x, axis, size, stride)
    spans = [extent(k, d) - 1 for k, d in zip(kernel, dilations, strict=True)]
    before = [span - p for span, p in zip(spans, pads_before, strict=True)]
    after = [span - p + e for span, p, e in zip(spans, pads_after, output_padding, strict=True)]
    x = _fit(emit, x, (0, 0, *before), (0, 0, *after))
    w = emit("reshape", w, shape=(groups, c // groups, each, *kernel))
    w = emit("permute", w, axes=(0, 2, 1, *range(3, 3 + rank)))
    w = emit("reshape", w, shape=(groups * each, c // groups, *kernel))
    w = emit(
        "slice", w, starts=(0, 0, *(k - 1 for k in kernel)), stops=(groups * each, c // groups, *(-1,) * rank),
        steps=(1, 1, *(-1,) * rank),
    )  # fmt: skip
    none = (0,) * rank
    return emit(
        "conv", x, w, *bias, strides=(1,) * rank, dilations=dilations, pads_before=none, pads_after=none, groups=groups
    )


def _spread(emit: Emit, x: Value, axis: int, size: int, stride: int) -> Value:
    """`stride - 1` zeros behind each element along `axis`, none behind the last."""
    shape = concrete(x.type.known)
    wide = emit("reshape", x, shape=(*shape[: axis + 1], 1, *shape[axis + 1 :]))
    none = (0,) * len(shape)
    after = (*none[: axis + 1], stride - 1, *none[axis + 1 :])
    wide = emit("pad", wide, before=(*none, 0), after=after)
    flat = emit("reshape", wide, shape=(*shape[:axis], size * stride, *shape[axis + 1 :]))
    return _fit(emit, flat, none, (*none[:axis], 1 - stride, *none[axis + 1 :]))


def _fit(emit: Emit, x: Value, before: Ints, after: Ints) -> Value:
    """Zeros where a width is positive, a cut where it is negative."""
    shape = concrete(x.type.known)
    if min((*before, *after)) < 0:
        starts = tuple(max(-b, 0) for b in before)
        stops = tuple(n - max(-a, 0) for n, a in zip(shape, after, strict=True))
        x = emit("slice", x, starts=starts, stops=stops, steps=(1,) * len(shape))
    before, after = tuple(max(b, 0) for b in before), tuple(max(a, 0) for a in after)
    return emit("pad", x, before=before, after=after) if any((*before, *after)) else x


_PLAIN_T = _PLAIN_2D | {"output_padding": (0, 0)}

conv_transpose = define(
    Op(
        name="conv_transpose", kind="compute", infer=_transpose_infer, reference=_conv_transpose, cost=_conv_cost,
        dtypes="f", onnx="ConvTranspose", decompose=_transpose_decompose,
        attrs={k: REQUIRED for k in ("strides", "dilations", "pads_before", "pads_after", "output_padding")}
        | {"groups": 1},
        samples=(
            Sample((Arg((1, 1, 3, 3)), Arg((1, 2, 3, 3))), _PLAIN_T),
            Sample(
                (Arg((2, 3, 4, 5)), Arg((3, 2, 3, 2)), Arg((2,))),
                _PLAIN_T | {"strides": (3, 2), "output_padding": (1, 1), "pads_before": (1, 0)},
            ),
            Sample((Arg((1, 4, 5, 5)), Arg((4, 3, 2, 2)), Arg((6,))), _PLAIN_T | {"groups": 2, "dilations": (2, 1)}),
            Sample(
                (Arg((2, 3, 6)), Arg((3, 4, 3))),
                {"strides": (2,), "dilations": (1,), "pads_before": (2,), "pads_after": (2,), "output_padding": (0,)},
            ),
        ),
    )
)  # fmt: skip
