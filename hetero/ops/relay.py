"""One time step of what lies between neurons and has no weights: pools, flattening, delays."""

from __future__ import annotations

from math import prod

import numpy as np

from hetero import dtype as dt
from hetero.dim import Shape, concrete, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import OPS, REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.synapse import check_delay, check_kinds, rows, sample_axes, size_of
from hetero.ops.window import Ints, check_spatial, out_size

# -- sum_pool -------------------------------------------------------------------------------------------------


def _pool_infer(
    x: TensorType, *, kernel: Ints, strides: Ints, pads_before: Ints, pads_after: Ints, mean: bool
) -> TensorType:
    """(..., *s) -> (..., *out): the sum of each window, zeros around; with `mean` divided by the window's size"""
    check_kinds("sum_pool", (x,))
    check_spatial(
        "sum_pool", len(kernel), {"sizes of the kernel": kernel, "strides": strides},
        {"pads_before": pads_before, "pads_after": pads_after},
    )  # fmt: skip
    if mean and not dt.is_float(x.dtype):
        raise AttributeValueError(f"sum_pool: a mean is for floats, not {x.dtype.name}", hint="mean=False")
    inner = sample_axes("sum_pool", x, len(kernel) + 1, f"x (..., c, *s) with {len(kernel)} axes s")
    each = zip(inner[1:], kernel, strides, pads_before, pads_after, strict=True)
    out = tuple(out_size(n, k, s, 1, b, a) for n, k, s, b, a in each)
    if any(isinstance(n, int) and n < 1 for n in out):
        raise ShapeError(f"sum_pool: a window of {kernel} does not fit {show(x.known)}")
    return x.with_shape((*x.known[: x.rank - len(kernel)], *out))


def _pool(x: Array, *, kernel: Ints, strides: Ints, pads_before: Ints, pads_after: Ints, mean: bool) -> Array:
    """As `conv` with a weight of 1 everywhere, each channel alone."""
    flat = x.reshape(-1, 1, *x.shape[x.ndim - len(kernel) :])
    one = np.ones((1, 1, *kernel), x.dtype)
    attrs = {"strides": strides, "dilations": (1,) * len(kernel), "pads_before": pads_before, "pads_after": pads_after}
    y = OPS["conv"].reference(flat, one, groups=1, **attrs)
    y = y.reshape(*x.shape[: x.ndim - len(kernel)], *y.shape[2:])
    return y * np.asarray(1 / prod(kernel), x.dtype) if mean else y


def _pool_decompose(
    emit: Emit, x: Value, *, kernel: Ints, strides: Ints, pads_before: Ints, pads_after: Ints, mean: bool
) -> Value:
    known = x.type.known
    lead = known[: len(known) - len(kernel)]
    flat = emit("reshape", x, shape=(size_of(lead), 1, *known[len(lead) :]))
    one = np.ones((1, 1, *kernel), x.type.dtype)
    y = emit(
        "conv", flat, one, strides=strides, dilations=(1,) * len(kernel), pads_before=pads_before,
        pads_after=pads_after, groups=1,
    )  # fmt: skip
    y = emit("reshape", y, shape=(*lead, *y.type.known[2:]))
    return emit("multiply", y, 1 / prod(kernel)) if mean else y


def _pool_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    out = int(outs[0].size)
    return Cost(out * prod(attrs["kernel"]), int(types[0].size), out)


_POOL = {"kernel": (2, 2), "strides": (2, 2), "pads_before": (0, 0), "pads_after": (0, 0)}

sum_pool = define(
    Op(
        name="sum_pool", kind="compute", infer=_pool_infer, reference=_pool, decompose=_pool_decompose,
        cost=_pool_cost, dtypes="f",
        attrs={k: REQUIRED for k in ("kernel", "strides", "pads_before", "pads_after", "mean")},
        samples=(
            Sample((Arg((3, 6, 6)),), _POOL | {"mean": False}),
            Sample((Arg((2, 3, 5, 7)),), _POOL | {"mean": True, "pads_before": (1, 0), "pads_after": (1, 1)}),
        ),
    )
)  # fmt: skip


# -- flatten --------------------------------------------------------------------------------------------------


def _flatten_shape(x: Shape, rank: int, start: int, end: int) -> Shape:
    lead, inner = x[: len(x) - rank], x[len(x) - rank :]
    start, end = start % rank, end % rank
    return (*lead, *inner[:start], size_of(inner[start : end + 1]), *inner[end + 1 :])


def _flatten_infer(x: TensorType, *, rank: int, start: int, end: int) -> TensorType:
    """(..., *s) -> (..., *t): the axes `start` to `end` of a sample of `rank` axes as one"""
    if not 0 < rank <= x.rank or not all(-rank <= a < rank for a in (start, end)) or start % rank > end % rank:
        raise AttributeValueError(
            f"flatten wants start and end among the {rank} axes of a sample, in order, got {start} and {end} for "
            f"{show(x.known)}"
        )
    return x.with_shape(_flatten_shape(x.known, rank, start, end))


def _flatten(x: Array, *, rank: int, start: int, end: int) -> Array:
    return x.reshape(concrete(_flatten_shape(x.shape, rank, start, end)))


def _flatten_decompose(emit: Emit, x: Value, *, rank: int, start: int, end: int) -> Value:
    return emit("reshape", x, shape=_flatten_shape(x.type.known, rank, start, end))


def _no_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return Cost(0, 0, 0)


flatten = define(
    Op(
        name="flatten", kind="movement", infer=_flatten_infer, reference=_flatten, decompose=_flatten_decompose,
        cost=_no_cost, attrs={"rank": REQUIRED, "start": REQUIRED, "end": REQUIRED},
        samples=(
            Sample((Arg((2, 3, 4)),), {"rank": 3, "start": 0, "end": -1}),
            Sample((Arg((5, 2, 3, 4)),), {"rank": 3, "start": 1, "end": 2}),
        ),
    )
)  # fmt: skip


# -- delay ----------------------------------------------------------------------------------------------------


def _delay_infer(x: TensorType, line: TensorType, steps: TensorType) -> Types:
    """(..., *s), (d, ..., *s), int32 (*s) in 0 .. d -> (..., *s), (d, ..., *s)"""
    if steps.dtype != dt.int32 or line.dtype != x.dtype:
        raise DTypeError(f"delay wants int32 steps and a line of {x.dtype.name}, got {steps.dtype.name} and {line}")
    if line.rank != x.rank + 1 or line.known[1:] != x.known:
        raise ShapeError(f"delay wants a line (d, {show(x.known)[1:]} of earlier steps, got {line}")
    if sample_axes("delay", x, steps.rank, f"x (..., {show(steps.known)[1:]}") != steps.known:
        raise ShapeError(f"delay wants steps for each of {show(x.known)}, got {show(steps.known)}")
    return x, line


def _delay(x: Array, line: Array, steps: Array) -> tuple[Array, Array]:
    """Each element as it was some steps ago (before the first step: 0), and the line with this step at its front."""
    check_delay(steps, line.shape[0])
    whole = np.concatenate((x[None], line))
    chosen = np.broadcast_to(steps, x.shape)[None]
    return np.take_along_axis(whole, chosen, 0)[0], whole[: line.shape[0]]


def _delay_decompose(emit: Emit, x: Value, line: Value, steps: Value) -> tuple[Value, Value]:
    known = x.type.known
    whole = emit("concat", emit("reshape", x, shape=(1, *known)), line, axis=0)
    chosen = emit("broadcast_to", steps, shape=(1, *known))
    out = emit("reshape", emit("take_along_axis", whole, chosen, axis=0), shape=known)
    return out, rows(emit, whole, 0, concrete(line.type.known[:1])[0], x.type.rank + 1)


def _delay_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n, line = int(types[0].size), int(types[1].size)
    return Cost(0, 2 * n + line, n + line)


delay = define(
    Op(
        name="delay", kind="indexing", infer=_delay_infer, reference=_delay, decompose=_delay_decompose,
        cost=_delay_cost, dtypes="f",
        samples=(
            Sample((Arg((4,)), Arg((3, 4)), Arg((4,), 0, 4, "int32"))),
            Sample((Arg((2, 4)), Arg((2, 2, 4)), Arg((4,), 0, 3, "int32"))),
            Sample((Arg((4,)), Arg((0, 4)), Arg((4,), 0, 1, "int32"))),
        ),
    )
)  # fmt: skip
