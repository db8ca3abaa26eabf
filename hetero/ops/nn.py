"""Composites of neural networks: each keeps its name in the graph and carries its decomposition.

A backend that has one natively takes it whole; the others run the decomposition, mostly as one fused region.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np

from hetero.dim import Size, concrete, prod, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import OPS, REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.elementwise import check_kinds
from hetero.ops.reduction import normal_axes


def _cost(flop: int) -> Callable[[Types, Types, Attrs], Cost]:
    def cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
        n = int(outs[0].size)
        return Cost(flop * n, sum(int(t.size) for t in types), n)

    return cost


# -- activations --------------------------------------------------------------------------------------------


def _activation_infer(x: TensorType, **_: Any) -> TensorType:
    """(...) -> (...)"""
    check_kinds("an activation", "f", (x,))
    return x


_ACTIVATION_SAMPLES = tuple(Sample((Arg(s, -4, 4),)) for s in ((), (7,), (3, 5), (2, 301)))


def _activation(
    name: str, reference: Callable[..., Any], decompose: Callable[..., Value], onnx: str, flop: int, **attrs: Any
) -> Op:
    return define(
        Op(
            name=name, kind="elementwise", infer=_activation_infer, reference=reference, decompose=decompose,
            cost=_cost(flop), onnx=onnx, dtypes="f", arithmetic="float", samples=_ACTIVATION_SAMPLES, attrs=attrs,
        )
    )  # fmt: skip


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that exp never overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def _sigmoid_decompose(emit: Emit, x: Value) -> Value:
    """1 / (1 + exp(-x)): an infinite exp gives 0, as it should"""
    return emit("reciprocal", emit("add", emit("exp", emit("negative", x)), 1.0))


def _relu(x: Array) -> Array:
    return np.maximum(x, np.zeros((), x.dtype))


def _relu_decompose(emit: Emit, x: Value) -> Value:
    return emit("maximum", x, 0.0)


def _softplus(x: Array) -> Array:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))"""
    return (np.maximum(x, np.zeros((), x.dtype)) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


def _softplus_decompose(emit: Emit, x: Value) -> Value:
    small = emit("log1p", emit("exp", emit("negative", emit("abs", x))))
    return emit("add", emit("maximum", x, 0.0), small)


def _silu(x: Array) -> Array:
    return x * _sigmoid(x)


def _silu_decompose(emit: Emit, x: Value) -> Value:
    return emit("multiply", x, emit("sigmoid", x))


def _gelu(x: Array, *, approximate: str) -> Array:
    """x times the normal distribution's cumulative probability; "tanh" is Hendrycks and Gimpel's approximation."""
    wide = x.astype(np.float64)
    if _check_gelu(approximate) == "tanh":
        inner = np.tanh(sqrt(2 / pi) * (wide + 0.044715 * wide**3))
    else:
        inner = OPS["erf"].reference(wide / sqrt(2))
    return (0.5 * wide * (1 + inner)).astype(x.dtype)


def _gelu_decompose(emit: Emit, x: Value, *, approximate: str) -> Value:
    if _check_gelu(approximate) == "tanh":
        cube = emit("multiply", emit("multiply", x, x), x)
        inner = emit("tanh", emit("multiply", emit("add", x, emit("multiply", cube, 0.044715)), sqrt(2 / pi)))
    else:
        inner = emit("erf", emit("multiply", x, sqrt(0.5)))
    return emit("multiply", emit("multiply", x, 0.5), emit("add", inner, 1.0))


def _check_gelu(approximate: str) -> str:
    if approximate not in ("none", "tanh"):
        raise AttributeValueError(f"gelu has no approximation {approximate!r}", hint="none or tanh")
    return approximate


_activation("relu", _relu, _relu_decompose, "Relu", 1)
_activation("sigmoid", _sigmoid, _sigmoid_decompose, "Sigmoid", 12)
_activation("softplus", _softplus, _softplus_decompose, "Softplus", 24)
_activation("silu", _silu, _silu_decompose, "", 13)
_activation("gelu", _gelu, _gelu_decompose, "Gelu", 20, approximate="none")


# -- softmax ------------------------------------------------------------------------------------------------


def _softmax_infer(x: TensorType, *, axis: int) -> TensorType:
    """(..., n, ...) -> (..., n, ...)"""
    check_kinds("softmax", "f", (x,))
    if normal_axes(axis, x.rank) != (axis,):
        raise AttributeValueError(f"softmax wants an axis in 0 .. {x.rank - 1}, got {axis}")
    return x


def _centred(x: Array, axis: int) -> Array:
    return x - x.max(axis, keepdims=True) if x.shape[axis] else x


def _softmax(x: Array, *, axis: int) -> Array:
    e = np.exp(_centred(x, axis))
    return e / e.sum(axis, keepdims=True)


def _log_softmax(x: Array, *, axis: int) -> Array:
    off = _centred(x, axis)
    return off - np.log(np.exp(off).sum(axis, keepdims=True))


def _centre(emit: Emit, x: Value, axis: int) -> Value:
    """x - max(x); an axis without elements has no maximum, and needs none."""
    if x.type.known[axis] == 0:
        return x
    return emit("subtract", x, emit("max", x, axes=(axis,), keepdims=True))


def _softmax_decompose(emit: Emit, x: Value, *, axis: int) -> Value:
    """exp(x - max) / sum"""
    e = emit("exp", _centre(emit, x, axis))
    return emit("divide", e, emit("sum", e, axes=(axis,), keepdims=True))


def _log_softmax_decompose(emit: Emit, x: Value, *, axis: int) -> Value:
    """x - max - log(sum(exp(x - max)))"""
    off = _centre(emit, x, axis)
    total = emit("sum", emit("exp", off), axes=(axis,), keepdims=True)
    return emit("subtract", off, emit("log", total))


for _name, _call, _parts, _onnx in (
    ("softmax", _softmax, _softmax_decompose, "Softmax"),
    ("log_softmax", _log_softmax, _log_softmax_decompose, "LogSoftmax"),
):
    define(
        Op(
            name=_name, kind="compute", infer=_softmax_infer, reference=_call, decompose=_parts, cost=_cost(14),
            onnx=_onnx, dtypes="f", arithmetic="float", attrs={"axis": REQUIRED},
            samples=(
                Sample((Arg((7,), -4, 4),), {"axis": 0}),
                Sample((Arg((3, 40), -4, 4),), {"axis": 1}),
                Sample((Arg((3, 5, 2), -4, 4),), {"axis": 1}),
                Sample((Arg((17, 1000), -4, 4),), {"axis": 1}),
                Sample((Arg((0, 4)),), {"axis": 1}),
            ),
        )
    )  # fmt: skip


# -- normalisation ------------------------------------------------------------------------------------------


def _norm_infer(x: TensorType, *affine: TensorType, axis: int, epsilon: float) -> TensorType:
    """(*outer, *inner), inner, inner -> (*outer, *inner); `axis` is the first of inner"""
    _one_dtype("a normalisation", (x, *affine))
    if not 0 <= axis < x.rank:
        raise AttributeValueError(f"a normalisation wants an axis in 0 .. {x.rank - 1}, got {axis}")
    for t in affine:
        if t.known != x.known[axis:]:
            raise ShapeError(f"a normalisation over {show(x.known[axis:])} has factors of shape {show(t.known)}")
    return x


def _one_dtype(name: str, types: Types) -> None:
    check_kinds(name, "f", types)
    if len({t.dtype for t in types}) > 1:
        raise DTypeError(f"{name} wants one dtype, got {' and '.join(t.dtype.name for t in types)}", hint="cast one")


def _inner(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(range(axis, rank))


def _layer_norm(x: Array, scale: Array, *bias: Array, axis: int, epsilon: float) -> Array:
    axes = _inner(x.ndim, axis)
    off = x - x.mean(axes, keepdims=True)
    y = off / np.sqrt(np.square(off).mean(axes, keepdims=True) + np.asarray(epsilon, x.dtype)) * scale
    return y + bias[0] if bias else y


def _rms_norm(x: Array, scale: Array, *, axis: int, epsilon: float) -> Array:
    square = np.square(x).mean(_inner(x.ndim, axis), keepdims=True)
    return x / np.sqrt(square + np.asarray(epsilon, x.dtype)) * scale


def _scaled(emit: Emit, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """x / sqrt(mean(x^2) + epsilon)"""
    square = emit("mean", emit("multiply", x, x), axes=axes, keepdims=True)
    return emit("multiply", x, emit("rsqrt", emit("add", square, float(epsilon))))


def _layer_norm_decompose(emit: Emit, x: Value, scale: Value, *bias: Value, axis: int, epsilon: float) -> Value:
    """(x - mean) / sqrt(var + epsilon) * scale + bias"""
    axes = _inner(x.type.rank, axis)
    off = emit("subtract", x, emit("mean", x, axes=axes, keepdims=True))
    y = emit("multiply", _scaled(emit, off, axes, epsilon), scale)
    return emit("add", y, bias[0]) if bias else y


def _rms_norm_decompose(emit: Emit, x: Value, scale: Value, *, axis: int, epsilon: float) -> Value:
    """x / sqrt(mean(x^2) + epsilon) * scale"""
    return emit("multiply", _scaled(emit, x, _inner(x.type.rank, axis), epsilon), scale)


_POSITIVE = (0.5, 2.0)


def _norm_samples(affine: int) -> tuple[Sample, ...]:
    shapes: tuple[tuple[tuple[int, ...], int], ...] = (((3, 7), 1), ((2, 3, 4), 1), ((5,), 0), ((17, 1000), 1))
    return tuple(
        Sample((Arg(s), *(Arg(s[axis:], *_POSITIVE) for _ in range(affine))), {"axis": axis, "epsilon": 1e-5})
        for s, axis in shapes
    )


layer_norm = define(
    Op(
        name="layer_norm", kind="compute", infer=_norm_infer, reference=_layer_norm, decompose=_layer_norm_decompose,
        cost=_cost(8), onnx="LayerNormalization", dtypes="f", attrs={"axis": REQUIRED, "epsilon": 1e-5},
        samples=(*_norm_samples(2), *_norm_samples(1)[:2]),
    )
)  # fmt: skip

rms_norm = define(
    Op(
        name="rms_norm", kind="compute", infer=_norm_infer, reference=_rms_norm, decompose=_rms_norm_decompose,
        cost=_cost(5), onnx="RMSNormalization", dtypes="f", attrs={"axis": REQUIRED, "epsilon": 1e-5},
        samples=_norm_samples(1),
    )
)  # fmt: skip


def _per_channel(emit: Emit, value: Value, rank: int) -> Value:
    """(c,) -> (c, 1, ...), to stand beside (n, c, *s)"""
    return emit("reshape", value, shape=(value.type.known[0], *(1,) * (rank - 2)))


def _batch_norm_infer(x: TensorType, *given: TensorType, epsilon: float) -> TensorType:
    """(n, c, *s), (c,), (c,), (c,), (c,) -> (n, c, *s)"""
    _one_dtype("batch_norm", (x, *given))
    if x.rank < 2 or len(given) != 4 or any(t.known != (x.known[1],) for t in given):
        raise ShapeError(
            f"batch_norm wants x (n, c, *s) and a scale, bias, mean and variance of (c,), got {show(x.known)} and "
            f"{', '.join(show(t.known) for t in given)}"
        )
    return x


def _batch_norm(x: Array, scale: Array, bias: Array, mean: Array, var: Array, *, epsilon: float) -> Array:
    shape = (-1, *(1,) * (x.ndim - 2))
    factor = scale / np.sqrt(var + np.asarray(epsilon, x.dtype))
    return (x - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)


def _batch_norm_decompose(
    emit: Emit, x: Value, scale: Value, bias: Value, mean: Value, var: Value, *, epsilon: float
) -> Value:
    """(x - mean) * (scale / sqrt(var + epsilon)) + bias"""
    factor = emit("multiply", scale, emit("rsqrt", emit("add", var, float(epsilon))))
    rank = x.type.rank
    y = emit("multiply", emit("subtract", x, _per_channel(emit, mean, rank)), _per_channel(emit, factor, rank))
    return emit("add", y, _per_channel(emit, bias, rank))


batch_norm = define(
    Op(
        name="batch_norm", kind="compute", infer=_batch_norm_infer, reference=_batch_norm, cost=_cost(4),
        decompose=_batch_norm_decompose, onnx="BatchNormalization", dtypes="f", attrs={"epsilon": 1e-5},
        samples=tuple(
            Sample((Arg(s), *(Arg((s[1],), *_POSITIVE) for _ in range(4))), {"epsilon": 1e-3})
            for s in ((2, 3), (2, 3, 5), (1, 4, 3, 3), (2, 17, 20, 19))
        ),
    )
)  # fmt: skip


def _group_norm_infer(x: TensorType, scale: TensorType, bias: TensorType, *, groups: int, epsilon: float) -> TensorType:
    """(n, c, *s), (c,), (c,) -> (n, c, *s); groups = c is instance norm"""
    _one_dtype("group_norm", (x, scale, bias))
    if x.rank < 2 or scale.known != (x.known[1],) or bias.known != (x.known[1],):
        raise ShapeError(
            f"group_norm wants x (n, c, *s) and two factors (c,), got {show(x.known)}, {show(scale.known)}"
        )
    (channels,) = concrete((x.known[1],), "the channels of group_norm")
    if groups < 1 or channels % groups:
        raise AttributeValueError(f"group_norm: {channels} channels do not split into {groups} groups")
    return x


def _group_norm(x: Array, scale: Array, bias: Array, *, groups: int, epsilon: float) -> Array:
    parts = x.reshape(x.shape[0], groups, -1)
    off = parts - parts.mean(2, keepdims=True)
    y = off / np.sqrt(np.square(off).mean(2, keepdims=True) + np.asarray(epsilon, x.dtype))
    shape = (-1, *(1,) * (x.ndim - 2))
    return y.reshape(x.shape) * scale.reshape(shape) + bias.reshape(shape)


def _group_norm_decompose(emit: Emit, x: Value, scale: Value, bias: Value, *, groups: int, epsilon: float) -> Value:
    """each group of channels to mean 0 and variance 1, then * scale + bias for each channel"""
    shape = x.type.known
    inner: Size = prod(shape[1:]) // groups
    parts = emit("reshape", x, shape=(shape[0], groups, inner))
    off = emit("subtract", parts, emit("mean", parts, axes=(2,), keepdims=True))
    y = emit("reshape", _scaled(emit, off, (2,), epsilon), shape=shape)
    rank = x.type.rank
    return emit("add", emit("multiply", y, _per_channel(emit, scale, rank)), _per_channel(emit, bias, rank))


group_norm = define(
    Op(
        name="group_norm", kind="compute", infer=_group_norm_infer, reference=_group_norm, cost=_cost(8),
        decompose=_group_norm_decompose, onnx="GroupNormalization", dtypes="f",
        attrs={"groups": REQUIRED, "epsilon": 1e-5},
        samples=tuple(
            Sample((Arg(s), Arg((s[1],), *_POSITIVE), Arg((s[1],))), {"groups": g, "epsilon": 1e-4})
            for s, g in (((2, 4, 5), 2), ((1, 6, 3, 3), 6), ((3, 4), 1), ((2, 16, 20, 19), 4))
        ),
    )
)  # fmt: skip
