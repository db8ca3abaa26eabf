"""Pools: one number for each window that slides over the spatial axes of (n, c, *s)."""

from __future__ import annotations

from math import prod

import numpy as np

from hetero import dtype as dt
from hetero.dim import concrete
from hetero.errors import AttributeValueError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops.elementwise import check_kinds
from hetero.ops.window import Ints, check_spatial, extent, out_sizes, padded, windows


def _pool_type(
    name: str, x: TensorType, kernel: Ints, strides: Ints, dilations: Ints, before: Ints, after: Ints, ceil: bool
) -> TensorType:
    check_spatial(
        name, x.rank - 2, {"sizes of the kernel": kernel, "strides": strides, "dilations": dilations},
        {"pads_before": before, "pads_after": after},
    )  # fmt: skip
    for k, d, b, a in zip(kernel, dilations, before, after, strict=True):
        if max(b, a) >= extent(k, d):
            raise AttributeValueError(f"{name}: pads of {before} and {after} leave windows without data")
    out = out_sizes(name, x, kernel, strides, dilations, before, after, ceil)
    return x.with_shape((*x.known[:2], *out))


def _overhang(x: Array, kernel: Ints, strides: Ints, dilations: Ints, before: Ints, after: Ints, ceil: bool) -> Ints:
    """Cells behind the padding that the last window covers, for each spatial axis."""
    out = concrete(out_sizes("pool", TensorType(x.shape, x.dtype), kernel, strides, dilations, before, after, ceil))
    ends = ((n - 1) * s + extent(k, d) for n, k, s, d in zip(out, kernel, strides, dilations, strict=True))
    each = zip(ends, x.shape[2:], before, after, strict=True)
    return tuple(max(end - (size + b + a), 0) for end, size, b, a in each)


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    out = int(outs[0].size)
    return Cost(out * prod(attrs["kernel"]), int(types[0].size), sum(int(t.size) for t in outs))


# -- max ----------------------------------------------------------------------------------------------------


def _max_infer(
    x: TensorType, *, kernel: Ints, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, ceil: bool
) -> TensorType:
    """(n, c, *s) -> (n, c, *out)"""
    check_kinds("max_pool", "iuf", (x,))
    return _pool_type("max_pool", x, kernel, strides, dilations, pads_before, pads_after, ceil)


def lowest(dtype: dt.DType) -> float | int:
    """What every element of `dtype` is at least."""
    return -np.inf if dt.is_float(dtype) else int(np.iinfo(dtype).min)


def _spans(
    x: Array, kernel: Ints, strides: Ints, dilations: Ints, before: Ints, after: Ints, ceil: bool, fill: float
) -> Array:
    """View (n, c, *out, *kernel) of x with `fill` around it."""
    over = _overhang(x, kernel, strides, dilations, before, after, ceil)
    wide = padded(x, before, tuple(a + o for a, o in zip(after, over, strict=True)), fill)
    return windows(wide, kernel, strides, dilations)


def _max_pool(
    x: Array, *, kernel: Ints, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, ceil: bool
) -> Array:
    view = _spans(x, kernel, strides, dilations, pads_before, pads_after, ceil, lowest(x.dtype))
    return view.max(axis=tuple(range(-len(kernel), 0)))


_SPATIAL = {k: REQUIRED for k in ("kernel", "strides", "dilations", "pads_before", "pads_after")}
_PLAIN = {"kernel": (2, 2), "strides": (1, 1), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0)}
_SAMPLES = (
    Sample((Arg((1, 1, 4, 4)),), _PLAIN),
    Sample((Arg((2, 3, 9, 7)),), _PLAIN | {"kernel": (3, 2), "strides": (2, 2), "pads_before": (1, 1)}),
    Sample((Arg((2, 3, 9, 7)),), _PLAIN | {"kernel": (3, 3), "strides": (2, 3), "pads_after": (2, 1), "ceil": True}),
    Sample((Arg((1, 2, 8, 8)),), _PLAIN | {"kernel": (3, 3), "dilations": (2, 1)}),
    Sample(
        (Arg((2, 3, 300)),),
        {"kernel": (5,), "strides": (2,), "dilations": (1,), "pads_before": (2,), "pads_after": (2,)},
    ),
    Sample(
        (Arg((1, 2, 5, 4, 6)),),
        {"kernel": (2, 3, 2), "strides": (1, 1, 2)} | {k: (1, 1, 1) for k in ("dilations", "pads_before")}
        | {"pads_after": (0, 0, 0)},
    ),
    Sample((Arg((0, 2, 4, 4)),), _PLAIN),
)  # fmt: skip

max_pool = define(
    Op(
        name="max_pool", kind="compute", infer=_max_infer, reference=_max_pool, cost=_cost, dtypes="f",
        onnx="MaxPool", attrs=_SPATIAL | {"ceil": False}, samples=_SAMPLES,
    )
)  # fmt: skip


def _indices_infer(
    x: TensorType, *, kernel: Ints, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, ceil: bool,
    column_major: bool,
) -> Types:  # fmt: skip
    """(n, c, *s) -> (n, c, *out), int64 (n, c, *out): the maximum and where in the flat x it stands"""
    check_kinds("max_pool_indices", "iuf", (x,))
    y = _pool_type("max_pool_indices", x, kernel, strides, dilations, pads_before, pads_after, ceil)
    return y, y.with_dtype(dt.int64)


def _max_pool_indices(
    x: Array, *, kernel: Ints, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, ceil: bool,
    column_major: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Ties go to the first; with `column_major` the spatial part of an index counts down columns."""
    args = (kernel, strides, dilations, pads_before, pads_after, ceil)
    spatial = x.shape[2:]
    order = "F" if column_major else "C"
    here = np.arange(prod(spatial)).reshape(spatial, order=order)[None, None]
    values = _spans(x, *args, lowest(x.dtype))
    cells = prod(kernel)  # -1 would not do where there are no elements
    flat = values.reshape(*values.shape[: -len(kernel)], cells)
    places = _spans(here, *args, -1)
    places = np.broadcast_to(places.reshape(*places.shape[: -len(kernel)], cells), flat.shape)
    best = np.where(places < 0, lowest(x.dtype), flat).argmax(-1)[..., None] if flat.size else flat[..., :1].astype(int)
    y = np.take_along_axis(flat, best, -1)[..., 0]
    index = np.take_along_axis(places, best, -1)[..., 0]
    base = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2] + (1,) * len(spatial)) * prod(spatial)
    return y, (index + base).astype(np.int64)


max_pool_indices = define(
    Op(
        name="max_pool_indices", kind="compute", infer=_indices_infer, reference=_max_pool_indices, cost=_cost,
        dtypes="f", attrs=_SPATIAL | {"ceil": False, "column_major": False},
        samples=(*_SAMPLES[:4], Sample((Arg((2, 2, 5, 4)),), _PLAIN | {"column_major": True})),
    )
)  # fmt: skip

# -- average ------------------------------------------------------------------------------------------------


def _avg_infer(
    x: TensorType, *, kernel: Ints, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, ceil: bool,
    count_include_pad: bool,
) -> TensorType:  # fmt: skip
    """(n, c, *s) -> (n, c, *out)"""
    check_kinds("avg_pool", "f", (x,))
    return _pool_type("avg_pool", x, kernel, strides, dilations, pads_before, pads_after, ceil)


def _avg_pool(
    x: Array, *, kernel: Ints, strides: Ints, dilations: Ints, pads_before: Ints, pads_after: Ints, ceil: bool,
    count_include_pad: bool,
) -> Array:  # fmt: skip
    """The sum of a window over the cells that count: data, and padding if asked; never what hangs over."""
    args = (kernel, strides, dilations, pads_before, pads_after, ceil)
    axes = tuple(range(-len(kernel), 0))
    total = _spans(x, *args, 0).sum(axis=axes, dtype=np.result_type(x.dtype, np.float32))
    cells = np.ones((1, 1, *x.shape[2:]))
    if count_include_pad:
        cells = padded(cells, pads_before, pads_after, 1)
        over = _overhang(x, *args)
        count = windows(padded(cells, (0,) * len(over), over, 0), kernel, strides, dilations).sum(axis=axes)
    else:
        count = _spans(cells, *args, 0).sum(axis=axes)
    return (total / count).astype(x.dtype)


avg_pool = define(
    Op(
        name="avg_pool", kind="compute", infer=_avg_infer, reference=_avg_pool, cost=_cost, dtypes="f",
        onnx="AveragePool", attrs=_SPATIAL | {"ceil": False, "count_include_pad": False},
        samples=(*_SAMPLES, *(Sample(s.args, {**s.attrs, "count_include_pad": True}) for s in _SAMPLES[1:4])),
    )
)  # fmt: skip
