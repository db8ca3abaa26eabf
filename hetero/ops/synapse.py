"""One time step of what lies between neurons and has weights. Axes before the sample's own are batches.

A synapse takes spikes (0 and 1, or graded values) in a float dtype, or as int32 with integer weights. `exponent` then
shifts the integer sum to the left, or to the right where it is negative (rounding down); `saturate` cuts it to so many
bits, sign included (0: not at all). Both are how Loihi computes; see `hetero.ops.loihi`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Shape, concrete, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import OPS, REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.window import Ints

_BITS = 32  # of the integer sums


# -- types ----------------------------------------------------------------------------------------------------


def check_kinds(name: str, types: tuple[TensorType, ...], exponent: int = 0, saturate: int = 0) -> None:
    """Floats of one dtype, or int32, which alone may be shifted and cut."""
    dtype = types[0].dtype
    if any(t.dtype != dtype for t in types) or not (dt.is_float(dtype) or dtype == dt.int32):
        said = " and ".join(dict.fromkeys(t.dtype.name for t in types))
        raise DTypeError(f"{name} wants floats of one dtype, or int32, got {said}", hint="cast one side")
    for what, value, least, most in (("exponent", exponent, -_BITS + 1, _BITS - 1), ("saturate", saturate, 0, _BITS)):
        if not least <= value <= most:
            raise AttributeValueError(f"{name} wants {what} in {least} .. {most}, got {value!r}")
        if value and dtype != dt.int32:
            raise AttributeValueError(f"{name}: {what} is for int32, not {dtype.name}", hint=f"{what}=0")


def sample_axes(name: str, x: TensorType, count: int, what: str) -> Shape:
    if x.rank < count:
        raise ShapeError(f"{name} wants {what}, got {show(x.known)}")
    return x.known[x.rank - count :]


# -- integers -------------------------------------------------------------------------------------------------


def _shifted(a: Array, exponent: int, saturate: int) -> Array:
    if exponent:
        a = a << exponent if exponent > 0 else a >> -exponent
    if saturate:
        most = 2 ** (saturate - 1) - 1
        a = np.clip(a, -most, most)
    return a.astype(np.int32) if a.dtype.kind == "i" else a


def _emit_shifted(emit: Emit, a: Value, exponent: int, saturate: int) -> Value:
    if exponent:
        a = emit("left_shift" if exponent > 0 else "right_shift", a, abs(exponent))
    if saturate:
        most = 2 ** (saturate - 1) - 1
        a = emit("maximum", emit("minimum", a, most), -most)
    return a


# -- dense ----------------------------------------------------------------------------------------------------


def _dense_infer(
    x: TensorType, weight: TensorType, *bias: TensorType, exponent: int, saturate: int
) -> TensorType:  # fmt: skip
    """(..., n), (m, n), (m,) -> (..., m)"""
    name = "synapse_dense"
    check_kinds(name, (x, weight, *bias), exponent, saturate)
    if weight.rank != 2 or not x.rank or x.known[-1:] != weight.known[1:] or len(bias) > 1:
        raise ShapeError(f"{name} wants x (..., n) and weights (m, n), got {show(x.known)} and {show(weight.known)}")
    if bias and bias[0].known != weight.known[:1]:
        raise ShapeError(f"{name} wants a bias of shape ({weight.known[0]},), got {show(bias[0].known)}")
    return x.with_shape((*x.known[:-1], weight.known[0]))


def _dense(x: Array, weight: Array, *bias: Array, exponent: int, saturate: int) -> Array:
    """x times the transposed weights"""
    y = _shifted(np.asarray(np.matmul(x, weight.T)), exponent, saturate)
    return y + bias[0] if bias else y


def _dense_decompose(emit: Emit, x: Value, weight: Value, *bias: Value, exponent: int, saturate: int) -> Value:
    y = _emit_shifted(emit, _product(emit, x, weight), exponent, saturate)
    return emit("add", y, bias[0]) if bias else y


def _product(emit: Emit, x: Value, weight: Value) -> Value:
    """(..., n), (m, n) -> (..., m)"""
    lead, m, n = x.type.known[:-1], *weight.type.known
    flat = emit("reshape", x, shape=(size_of(lead), n))
    return emit("reshape", emit("matmul", flat, emit("permute", weight, axes=(1, 0))), shape=(*lead, m))


def size_of(shape: Shape) -> Any:
    total: Any = 1
    for n in shape:
        total = total * n
    return total


def _dense_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    x, weight = types[0], int(types[1].size)
    batch = int(x.size) // max(int(x.known[-1]), 1)
    return Cost(2 * batch * weight, int(x.size) + weight, int(outs[0].size))


_PLAIN = {"exponent": 0, "saturate": 0}

dense = define(
    Op(
        name="synapse_dense", kind="compute", infer=_dense_infer, reference=_dense, decompose=_dense_decompose,
        cost=_dense_cost, dtypes="f", attrs=_PLAIN,
        samples=(
            Sample((Arg((5,)), Arg((3, 5)))),
            Sample((Arg((2, 17)), Arg((33, 17)), Arg((33,)))),
            Sample((Arg((2, 3, 4)), Arg((6, 4)))),
            Sample((Arg((9,), 0, 2, "int32"), Arg((4, 9), -255, 256, "int32")), {"exponent": 3, "saturate": 0}),
            Sample((Arg((9,), 0, 2, "int32"), Arg((4, 9), -255, 256, "int32")), {"exponent": -2, "saturate": 8}),
        ),
    )
)  # fmt: skip


# -- delayed --------------------------------------------------------------------------------------------------


def _delayed_infer(
    x: TensorType, line: TensorType, weight: TensorType, delay: TensorType, *, exponent: int, saturate: int
) -> Types:
    """(..., n), (d, ..., m), (m, n), int32 (m, n) in 0 .. d -> (..., m), (d, ..., m)"""
    name = "synapse_delayed"
    check_kinds(name, (x, line, weight), exponent, saturate)
    out = _dense_infer(x, weight, exponent=exponent, saturate=saturate)
    if delay.dtype != dt.int32 or delay.known != weight.known:
        raise ShapeError(f"{name} wants a delay int32{show(weight.known)} for each weight, got {delay}")
    if line.rank != out.rank + 1 or line.known[1:] != out.known:
        raise ShapeError(f"{name} wants a line (d, {show(out.known)[1:]} of what is still to come, got {line}")
    return out, line


def _delayed(
    x: Array, line: Array, weight: Array, delay: Array, *, exponent: int, saturate: int
) -> tuple[Array, Array]:
    """What arrives now, and what is on its way; a spike passes a weight of delay k in k steps."""
    steps = line.shape[0]
    check_delay(delay, steps)
    coming = np.concatenate((line, np.zeros_like(line[:1]) if steps else np.zeros((1, *line.shape[1:]), line.dtype)))
    for k in range(steps + 1):
        chosen = np.where(delay == k, weight, np.zeros((), weight.dtype))
        coming[k] += _shifted(np.asarray(np.matmul(x, chosen.T)), exponent, 0)
    return _shifted(coming[0], 0, saturate), coming[1:]


def check_delay(delay: Array, steps: int) -> None:
    if delay.size and (delay.min() < 0 or delay.max() > steps):
        raise AttributeValueError(
            f"delays of {delay.min()} to {delay.max()} steps do not fit a line of {steps}",
            hint="make the line as long as the longest delay",
        )


def _delayed_decompose(
    emit: Emit, x: Value, line: Value, weight: Value, delay: Value, *, exponent: int, saturate: int
) -> tuple[Value, Value]:
    steps = concrete(line.type.known, "the line of synapse_delayed")[:1][0]
    zero = np.zeros((), weight.type.dtype)
    parts: list[Value] = []
    for k in range(steps + 1):
        chosen = emit("where", emit("equal", delay, k), weight, zero)
        made = _emit_shifted(emit, _product(emit, x, chosen), exponent, 0)
        parts.append(emit("reshape", made, shape=(1, *made.type.known)))
    now = emit("reshape", parts[0], shape=parts[0].type.known[1:])
    if steps:
        rank = line.type.rank
        late = emit("add", line, emit("concat", *parts[:-1], axis=0))
        now = emit("reshape", rows(emit, late, 0, 1, rank), shape=now.type.known)
        line = emit("concat", rows(emit, late, 1, steps, rank), parts[-1], axis=0)
    return _emit_shifted(emit, now, 0, saturate), line


def rows(emit: Emit, x: Value, start: int, stop: int, rank: int) -> Value:
    return emit("slice", x, starts=(start,) + (0,) * (rank - 1), stops=(stop, *x.type.known[1:]), steps=(1,) * rank)


def _delayed_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    one, line = _dense_cost((types[0], types[2]), outs, attrs), int(types[1].size)
    return Cost(one.flop + line, one.read + line, one.write + line)


def _line(*shape: int) -> Arg:
    return Arg(shape, -40, 40, "int32")


delayed = define(
    Op(
        name="synapse_delayed", kind="compute", infer=_delayed_infer, reference=_delayed,
        decompose=_delayed_decompose, cost=_delayed_cost, dtypes="f", attrs=_PLAIN,
        samples=(
            Sample((Arg((5,)), Arg((3, 4)), Arg((4, 5)), Arg((4, 5), 0, 4, "int32"))),
            Sample((Arg((2, 5)), Arg((1, 2, 4)), Arg((4, 5)), Arg((4, 5), 0, 2, "int32"))),
            Sample((Arg((5,)), Arg((0, 4)), Arg((4, 5)), Arg((4, 5), 0, 1, "int32"))),
            Sample(
                (Arg((5,), 0, 2, "int32"), _line(3, 4), Arg((4, 5), -255, 256, "int32"), Arg((4, 5), 0, 4, "int32")),
                {"exponent": 2, "saturate": 12},
            ),
        ),
    )
)  # fmt: skip


# -- conv -----------------------------------------------------------------------------------------------------


def _conv_infer(
    x: TensorType, weight: TensorType, *bias: TensorType, strides: Ints, dilations: Ints, pads_before: Ints,
    pads_after: Ints, groups: int, exponent: int, saturate: int,
) -> TensorType:  # fmt: skip
    """(..., c, *s), (o, c / groups, *k), (o,) -> (..., o, *out): the correlation of `conv`, batches anywhere before"""
    name = "synapse_conv"
    check_kinds(name, (x, weight, *bias), exponent, saturate)
    if weight.rank < 3:
        raise ShapeError(f"{name} wants weights (o, c, *k), got {show(weight.known)}")
    inner = sample_axes(name, x, weight.rank - 1, f"x (..., c, *s) for weights {show(weight.known)}")
    plain = {"strides": strides, "dilations": dilations, "pads_before": pads_before, "pads_after": pads_after,
             "groups": groups}  # fmt: skip
    (made,) = OPS["conv"].infer_types((x.with_shape((1, *inner)), weight, *bias), plain)
    return x.with_shape((*x.known[: x.rank - len(inner)], *made.known[1:]))


def _conv(x: Array, weight: Array, *bias: Array, exponent: int, saturate: int, **attrs: Any) -> Array:
    lead = x.shape[: x.ndim - weight.ndim + 1]
    flat = x.reshape(-1, *x.shape[len(lead) :])
    y = OPS["conv"].reference(flat, weight, **attrs)
    y = _shifted(y.reshape(*lead, *y.shape[1:]), exponent, saturate)
    return y + bias[0].reshape(-1, *(1,) * (weight.ndim - 2)) if bias else y


def _conv_decompose(
    emit: Emit, x: Value, weight: Value, *bias: Value, exponent: int, saturate: int, **attrs: Any
) -> Value:
    known = x.type.known
    lead = known[: len(known) - weight.type.rank + 1]
    flat = emit("reshape", x, shape=(size_of(lead), *known[len(lead) :]))
    y = emit("conv", flat, weight, **attrs)
    y = _emit_shifted(emit, emit("reshape", y, shape=(*lead, *y.type.known[1:])), exponent, saturate)
    if not bias:
        return y
    return emit("add", y, emit("reshape", bias[0], shape=(weight.type.known[0], *(1,) * (weight.type.rank - 2))))


def _conv_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    out = int(outs[0].size)
    return Cost(2 * out * prod(concrete(types[1].known[1:])), sum(int(t.size) for t in types), out)


_SPATIAL = {k: REQUIRED for k in ("strides", "dilations", "pads_before", "pads_after")}
_PLAIN_2D = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0)}

conv = define(
    Op(
        name="synapse_conv", kind="compute", infer=_conv_infer, reference=_conv, decompose=_conv_decompose,
        cost=_conv_cost, dtypes="f", attrs=_SPATIAL | {"groups": 1} | _PLAIN,
        samples=(
            Sample((Arg((2, 5, 6)), Arg((3, 2, 3, 3)), Arg((3,))), _PLAIN_2D),
            Sample((Arg((2, 3, 2, 7)), Arg((4, 2, 3))), {"strides": (2,), "dilations": (1,), "pads_before": (1,),
                                                         "pads_after": (1,)}),
            Sample((Arg((4, 4, 6, 6)), Arg((6, 2, 3, 3))), _PLAIN_2D | {"groups": 2, "pads_before": (1, 1)}),
        ),
    )
)  # fmt: skip


# -- sparse ---------------------------------------------------------------------------------------------------


def _sparse_infer(
    x: TensorType, weight: TensorType, source: TensorType, target: TensorType, *, size: int, exponent: int,
    saturate: int,
) -> TensorType:  # fmt: skip
    """(..., n), (k,), int32 (k,) in 0 .. n - 1, int32 (k,) in 0 .. size - 1 -> (..., size): one weight a synapse"""
    name = "synapse_sparse"
    check_kinds(name, (x, weight), exponent, saturate)
    if not x.rank or weight.rank != 1 or source.known != weight.known or target.known != weight.known:
        said = ", ".join(show(t.known) for t in (x, weight, source, target))
        raise ShapeError(f"{name} wants x (..., n) and weight, source and target of one length, got {said}")
    if any(t.dtype != dt.int32 for t in (source, target)):
        raise DTypeError(f"{name} wants int32 sources and targets, got {source.dtype.name} and {target.dtype.name}")
    if size < 0:
        raise AttributeValueError(f"{name} wants the number of targets as size, got {size!r}")
    return x.with_shape((*x.known[:-1], size))


def _sparse(x: Array, weight: Array, source: Array, target: Array, *, size: int, exponent: int, saturate: int) -> Array:
    """The sum, for each target, of its weights times what their sources send."""
    for what, index, most in (("source", source, x.shape[-1]), ("target", target, size)):
        if index.size and (index.min() < 0 or index.max() >= most):
            raise AttributeValueError(f"synapse_sparse: a {what} outside 0 .. {most - 1}")
    y = np.zeros((size, *x.shape[:-1]), x.dtype)
    np.add.at(y, target, np.moveaxis(x[..., source] * weight, -1, 0))
    return _shifted(np.moveaxis(y, 0, -1), exponent, saturate)


def _sparse_decompose(
    emit: Emit, x: Value, weight: Value, source: Value, target: Value, *, size: int, exponent: int, saturate: int
) -> Value:
    lead, k = x.type.known[:-1], weight.type.known[0]
    flat = emit("reshape", x, shape=(size_of(lead), x.type.known[-1]))
    sent = emit("multiply", emit("take", flat, source, axis=1), weight)
    to = emit("broadcast_to", target, shape=(size_of(lead), k))
    none = emit("broadcast_to", np.zeros((), x.type.dtype), shape=(size_of(lead), size))
    y = emit("put_along_axis", none, to, sent, axis=1, reduction="add")
    return _emit_shifted(emit, emit("reshape", y, shape=(*lead, size)), exponent, saturate)


def _sparse_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    x, k = types[0], int(types[1].size)
    batch = int(x.size) // max(int(x.known[-1]), 1)
    return Cost(2 * batch * k, int(x.size) + 3 * k, int(outs[0].size))


sparse = define(
    Op(
        name="synapse_sparse", kind="compute", infer=_sparse_infer, reference=_sparse, decompose=_sparse_decompose,
        cost=_sparse_cost, dtypes="f", attrs={"size": REQUIRED} | _PLAIN,
        samples=(
            Sample((Arg((5,)), Arg((9,)), Arg((9,), 0, 5, "int32"), Arg((9,), 0, 4, "int32")), {"size": 4}),
            Sample((Arg((2, 5)), Arg((9,)), Arg((9,), 0, 5, "int32"), Arg((9,), 0, 4, "int32")), {"size": 6}),
        ),
    )
)  # fmt: skip


# -- scale ----------------------------------------------------------------------------------------------------


def _scale_infer(x: TensorType, scale: TensorType) -> TensorType:
    """(..., *s), (*s) -> (..., *s)"""
    check_kinds("synapse_scale", (x, scale))
    if sample_axes("synapse_scale", x, scale.rank, f"x (..., {show(scale.known)[1:]}") != scale.known:
        raise ShapeError(f"synapse_scale wants x (..., {show(scale.known)[1:]}, got {show(x.known)}")
    return x


def _scale(x: Array, scale: Array) -> Array:
    return x * scale


def _scale_decompose(emit: Emit, x: Value, scale: Value) -> Value:
    return emit("multiply", x, scale)


def _scale_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size)
    return Cost(n, n + int(types[1].size), n)


scale = define(
    Op(
        name="synapse_scale", kind="compute", infer=_scale_infer, reference=_scale, decompose=_scale_decompose,
        cost=_scale_cost, dtypes="f", samples=(Sample((Arg((7,)), Arg((7,)))), Sample((Arg((2, 3, 5)), Arg((3, 5))))),
    )
)  # fmt: skip
