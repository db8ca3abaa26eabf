"""One time step of synapses whose weights are one byte each, with one scale for each target.

    y = scale * (x times the weights) [+ bias]

x is float: spikes (0 and 1) or graded values. Of spikes every sum is an integer, and exact while it has no more bits
than a float of x's dtype: in float32 for up to 132,104 synapses a target (2^24 / 127). `quantize_synapses` makes them.
"""

from __future__ import annotations

from typing import Any

from hetero import dtype as dt
from hetero.dim import show
from hetero.errors import DTypeError, ShapeError
from hetero.op import OPS, REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.window import Ints

_PLAIN = {"exponent": 0, "saturate": 0}  # of the ops that these are made of


def _check(name: str, x: TensorType, weight: TensorType, scale: TensorType, targets: Any) -> TensorType:
    """The weights as the plain op takes them."""
    if not dt.is_float(x.dtype) or weight.dtype != dt.int8 or scale.dtype != x.dtype:
        said = f"{x.dtype.name}, {weight.dtype.name} and {scale.dtype.name}"
        raise DTypeError(f"{name} wants floats, int8 weights and scales as x is, got {said}")
    if scale.known != (targets,):
        raise ShapeError(f"{name} wants a scale of shape ({targets},), one for each target, got {show(scale.known)}")
    return weight.with_dtype(x.dtype)


def _cost(plain: str, given: Types, outs: Types, attrs: Attrs) -> Cost:
    """As the plain op's, and a product for each element that it gives."""
    one = OPS[plain].cost(given, outs, {**attrs, **_PLAIN})
    return Cost(one.flop + int(outs[0].size), one.read, one.write)


# -- dense ----------------------------------------------------------------------------------------------------


def _dense_infer(x: TensorType, weight: TensorType, scale: TensorType, *bias: TensorType) -> TensorType:
    """(..., n), int8 (m, n), (m,), (m,) -> (..., m)"""
    wide = _check("synapse_dense_int8", x, weight, scale, weight.known[0] if weight.rank else 0)
    return OPS["synapse_dense"].infer_types((x, wide, *bias), _PLAIN)[0]


def _dense(x: Array, weight: Array, scale: Array, *bias: Array) -> Array:
    y = OPS["synapse_dense"].reference(x, weight.astype(x.dtype), **_PLAIN) * scale
    return y + bias[0] if bias else y


def _dense_decompose(emit: Emit, x: Value, weight: Value, scale: Value, *bias: Value) -> Value:
    y = emit("synapse_dense", x, emit("cast", weight, dtype=x.type.dtype.name), **_PLAIN)
    y = emit("multiply", y, scale)
    return emit("add", y, bias[0]) if bias else y


def _dense_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return _cost("synapse_dense", types[:2], outs, attrs)


def _bytes(*shape: int) -> Arg:
    return Arg(shape, -127, 128, "int8")


dense = define(
    Op(
        name="synapse_dense_int8", kind="compute", infer=_dense_infer, reference=_dense, decompose=_dense_decompose,
        cost=_dense_cost, dtypes="f",
        samples=(
            Sample((Arg((5,)), _bytes(3, 5), Arg((3,)))),
            Sample((Arg((2, 17)), _bytes(33, 17), Arg((33,)), Arg((33,)))),
        ),
    )
)  # fmt: skip


# -- conv -----------------------------------------------------------------------------------------------------


def _conv_infer(
    x: TensorType, weight: TensorType, scale: TensorType, *bias: TensorType, strides: Ints,
    dilations: Ints, pads_before: Ints, pads_after: Ints, groups: int,
) -> TensorType:  # fmt: skip
    """(..., c, *s), int8 (o, c / groups, *k), (o,), (o,) -> (..., o, *out)"""
    wide = _check("synapse_conv_int8", x, weight, scale, weight.known[0] if weight.rank else 0)
    attrs = {"strides": strides, "dilations": dilations, "pads_before": pads_before, "pads_after": pads_after}
    return OPS["synapse_conv"].infer_types((x, wide, *bias), {**attrs, "groups": groups, **_PLAIN})[0]


def _conv(x: Array, weight: Array, scale: Array, *bias: Array, **attrs: Any) -> Array:
    y = OPS["synapse_conv"].reference(x, weight.astype(x.dtype), **attrs, **_PLAIN)
    channels = (-1, *(1,) * (weight.ndim - 2))
    y = y * scale.reshape(channels)
    return y + bias[0].reshape(channels) if bias else y


def _conv_decompose(emit: Emit, x: Value, weight: Value, scale: Value, *bias: Value, **attrs: Any) -> Value:
    y = emit("synapse_conv", x, emit("cast", weight, dtype=x.type.dtype.name), **attrs, **_PLAIN)
    channels = (weight.type.known[0], *(1,) * (weight.type.rank - 2))
    y = emit("multiply", y, emit("reshape", scale, shape=channels))
    return emit("add", y, emit("reshape", bias[0], shape=channels)) if bias else y


def _conv_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return _cost("synapse_conv", types[:2], outs, attrs)


_SPATIAL = {k: REQUIRED for k in ("strides", "dilations", "pads_before", "pads_after")}
_PLAIN_2D = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 0), "pads_after": (0, 1)}

conv = define(
    Op(
        name="synapse_conv_int8", kind="compute", infer=_conv_infer, reference=_conv, decompose=_conv_decompose,
        cost=_conv_cost, dtypes="f", attrs=_SPATIAL | {"groups": 1},
        samples=(
            Sample((Arg((2, 5, 6)), _bytes(3, 2, 3, 3), Arg((3,)), Arg((3,))), _PLAIN_2D),
            Sample((Arg((2, 4, 6, 6)), _bytes(6, 2, 3, 3), Arg((6,))), _PLAIN_2D | {"groups": 2}),
        ),
    )
)  # fmt: skip


# -- sparse ---------------------------------------------------------------------------------------------------


def _sparse_infer(
    x: TensorType, weight: TensorType, source: TensorType, target: TensorType, scale: TensorType, *, size: int
) -> TensorType:
    """(..., n), int8 (k,), int32 (k,), int32 (k,), (size,) -> (..., size)"""
    wide = _check("synapse_sparse_int8", x, weight, scale, size)
    return OPS["synapse_sparse"].infer_types((x, wide, source, target), {"size": size, **_PLAIN})[0]


def _sparse(x: Array, weight: Array, source: Array, target: Array, scale: Array, *, size: int) -> Array:
    return OPS["synapse_sparse"].reference(x, weight.astype(x.dtype), source, target, size=size, **_PLAIN) * scale


def _sparse_decompose(
    emit: Emit, x: Value, weight: Value, source: Value, target: Value, scale: Value, *, size: int
) -> Value:
    wide = emit("cast", weight, dtype=x.type.dtype.name)
    return emit("multiply", emit("synapse_sparse", x, wide, source, target, size=size, **_PLAIN), scale)


def _sparse_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return _cost("synapse_sparse", types[:4], outs, attrs)


_ENDS = (Arg((9,), 0, 5, "int32"), Arg((9,), 0, 4, "int32"))

sparse = define(
    Op(
        name="synapse_sparse_int8", kind="compute", infer=_sparse_infer, reference=_sparse,
        decompose=_sparse_decompose, cost=_sparse_cost, dtypes="f", attrs={"size": REQUIRED},
        samples=(
            Sample((Arg((5,)), _bytes(9), *_ENDS, Arg((4,))), {"size": 4}),
            Sample((Arg((2, 5)), _bytes(9), *_ENDS, Arg((6,))), {"size": 6}),
        ),
    )
)  # fmt: skip
