"""Products of bytes with sums in int32, exact: what a product of dequantised numbers is without its scales.

    matmul_integer:  y = (a - a_zero) (b - b_zero)          conv_integer:  y = conv of x - x_zero with w - w_zero

Sums are int32 and wrap around beyond it, which takes more than 33,000 products of the largest bytes. A device without
products of bytes sums them in float32, in parts so short that no sum reaches 2^24, up to where whole numbers are exact
there. `term` and `total` say how large one product and a whole sum of their sizes can be, as who made the graph knows;
0: as large as bytes allow. Source: ONNX, operators MatMulInteger and ConvInteger, version 10.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import concrete, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import OPS, REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.window import Ints

BYTES = (dt.int8, dt.uint8)
EXACT = 2**24  # whole numbers up to here are exact in float32
LARGEST = 255 * 255  # of one product of bytes without their zero points


def _check(name: str, a: TensorType, b: TensorType, a_zero: TensorType, b_zero: TensorType) -> None:
    if a.dtype not in BYTES or b.dtype not in BYTES or a_zero.dtype != a.dtype or b_zero.dtype != b.dtype:
        said = ", ".join(t.dtype.name for t in (a, b, a_zero, b_zero))
        raise DTypeError(f"{name} wants bytes, int8 or uint8, with zero points of the same; got {said}")
    if a_zero.known != () or b_zero.known != ():
        raise ShapeError(f"{name} wants zero points of shape (), got {show(a_zero.known)} and {show(b_zero.known)}")


def _check_bounds(name: str, term: Any, total: Any) -> None:
    if type(term) is not int or type(total) is not int or min(term, total) < 0:
        raise AttributeValueError(f"{name} wants whole numbers term and total, from 0 on; got {term!r} and {total!r}")


def _int32(total: Array) -> Array:
    """Whole numbers in double as int32, wrapped around."""
    return total.astype(np.int64).astype(np.int32)


def parts(length: int, each: int, term: int, total: int) -> int:
    """How many parts a sum of `length` times `each` products is cut into, along `length`, to be exact in float32."""
    term = term or LARGEST
    if (total or term * length * each) < EXACT:
        return 1
    fits = max((EXACT - 1) // (term * each), 1)
    return -(-length // fits)


def _cuts(length: int, count: int) -> list[tuple[int, int]]:
    step = -(-length // max(count, 1)) or 1
    return [(k, min(k + step, length)) for k in range(0, length, step)]


def _centred(emit: Emit, x: Value, zero: Value) -> Value:
    """x - zero in float32, where all of it is exact."""
    return emit("subtract", emit("cast", x, dtype="float32"), emit("cast", zero, dtype="float32"))


def _slice(emit: Emit, x: Value, axis: int, start: int, stop: int) -> Value:
    shape, rank = list(x.type.known), x.type.rank
    if (start, stop) == (0, shape[axis]):
        return x
    shape[axis] = stop
    starts = tuple(start if i == axis else 0 for i in range(rank))
    return emit("slice", x, starts=starts, stops=tuple(shape), steps=(1,) * rank)


def _summed(emit: Emit, each: list[Value]) -> Value:
    """Parts in float32 as one sum in int32"""
    whole = [emit("cast", part, dtype="int32") for part in each]
    out = whole[0]
    for more in whole[1:]:
        out = emit("add", out, more)
    return out


_BOUNDS = {"term": 0, "total": 0}

# -- matmul -------------------------------------------------------------------------------------------------


def _matmul_infer(
    a: TensorType, b: TensorType, a_zero: TensorType, b_zero: TensorType, *, term: int, total: int
) -> TensorType:
    """(..., m, k), (..., k, n), (), () -> int32 (..., m, n)"""
    _check("matmul_integer", a, b, a_zero, b_zero)
    _check_bounds("matmul_integer", term, total)
    (out,) = OPS["matmul"].infer_types((a.with_dtype(dt.int32), b.with_dtype(dt.int32)), {})
    concrete((a.known[-1],), "what matmul_integer sums over")
    return out


def _matmul(a: Array, b: Array, a_zero: Array, b_zero: Array, *, term: int, total: int) -> Array:
    return _int32(np.matmul(a.astype(np.float64) - a_zero, b.astype(np.float64) - b_zero))


def _matmul_decompose(emit: Emit, a: Value, b: Value, a_zero: Value, b_zero: Value, *, term: int, total: int) -> Value:
    left, right = _centred(emit, a, a_zero), _centred(emit, b, b_zero)
    (k,) = concrete((a.type.known[-1],), "what matmul_integer sums over")
    cuts = _cuts(k, parts(k, 1, term, total)) or [(0, 0)]
    ends = a.type.rank - 1, b.type.rank - 2
    return _summed(
        emit,
        [emit("matmul", _slice(emit, left, ends[0], *c), _slice(emit, right, ends[1], *c)) for c in cuts],
    )


def _matmul_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return OPS["matmul"].cost(types, outs, {})


def _bytes(shape: tuple[int, ...], dtype: str) -> Arg:
    return Arg(shape, *((-128, 128) if dtype == "int8" else (0, 256)), dtype)


matmul_integer = define(
    Op(
        name="matmul_integer", kind="compute", infer=_matmul_infer, reference=_matmul, decompose=_matmul_decompose,
        cost=_matmul_cost, dtypes="i", onnx="MatMulInteger", attrs=_BOUNDS,
        samples=(
            Sample((_bytes((3, 4), "uint8"), _bytes((4, 2), "int8"), _bytes((), "uint8"), _bytes((), "int8"))),
            Sample((_bytes((17, 33), "int8"), _bytes((33, 9), "int8"), _bytes((), "int8"), _bytes((), "int8"))),
            Sample((_bytes((2, 5, 33), "uint8"), _bytes((33, 9), "uint8"), _bytes((), "uint8"), _bytes((), "uint8"))),
            Sample((_bytes((3, 1, 8), "int8"), _bytes((3, 8, 4), "uint8"), _bytes((), "int8"), _bytes((), "uint8"))),
            Sample((_bytes((65, 1300), "uint8"), _bytes((1300, 70), "int8"), _bytes((), "uint8"), _bytes((), "int8"))),
        ),
    )
)  # fmt: skip

# -- conv ---------------------------------------------------------------------------------------------------

_SPATIAL = ("strides", "dilations", "pads_before", "pads_after")


def _conv_infer(
    x: TensorType, w: TensorType, x_zero: TensorType, w_zero: TensorType, *, strides: Ints, dilations: Ints,
    pads_before: Ints, pads_after: Ints, groups: int, term: int, total: int,
) -> TensorType:  # fmt: skip
    """(n, c, *s), (o, c / groups, *k), (), () -> int32 (n, o, *out)"""
    _check("conv_integer", x, w, x_zero, w_zero)
    _check_bounds("conv_integer", term, total)
    attrs = dict(zip(_SPATIAL, (strides, dilations, pads_before, pads_after), strict=True)) | {"groups": groups}
    (out,) = OPS["conv"].infer_types((x.with_dtype(dt.int32), w.with_dtype(dt.int32)), attrs)
    return out


def _conv(x: Array, w: Array, x_zero: Array, w_zero: Array, *, term: int, total: int, **attrs: Any) -> Array:
    return _int32(OPS["conv"].reference(x.astype(np.float64) - x_zero, w.astype(np.float64) - w_zero, **attrs))


def _conv_decompose(
    emit: Emit, x: Value, w: Value, x_zero: Value, w_zero: Value, *, term: int, total: int, **attrs: Any
) -> Value:
    left, right = _centred(emit, x, x_zero), _centred(emit, w, w_zero)
    channels, *kernel = concrete(w.type.known[1:], "the weights of conv_integer")
    each = prod(kernel)
    count = parts(channels, each, term, total)
    if count == 1:
        return _summed(emit, [emit("conv", left, right, **attrs)])
    if attrs["groups"] > 1:
        return _summed(emit, [emit("conv", left, _only(emit, right, *c), **attrs) for c in _cuts(channels, count)])
    pairs = [(_slice(emit, left, 1, *c), _slice(emit, right, 1, *c)) for c in _cuts(channels, count)]
    return _summed(emit, [emit("conv", *pair, **attrs) for pair in pairs])


def _only(emit: Emit, w: Value, start: int, stop: int) -> Value:
    """The weights of some channels of each group, the others 0."""
    kept = np.zeros((w.type.known[1], *(1,) * (w.type.rank - 2)), np.float32)
    kept[start:stop] = 1
    return emit("multiply", w, kept)


def _conv_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    return OPS["conv"].cost(types, outs, attrs)


def _conv_sample(x: Any, w: Any, a: str, b: str, **attrs: Any) -> Sample:
    rank = len(x) - 2
    plain = {"strides": (1,) * rank, "dilations": (1,) * rank, "pads_before": (0,) * rank, "pads_after": (0,) * rank}
    return Sample((_bytes(x, a), _bytes(w, b), _bytes((), a), _bytes((), b)), plain | attrs)


conv_integer = define(
    Op(
        name="conv_integer", kind="compute", infer=_conv_infer, reference=_conv, decompose=_conv_decompose,
        cost=_conv_cost, dtypes="i", onnx="ConvInteger",
        attrs={k: REQUIRED for k in _SPATIAL} | {"groups": 1} | _BOUNDS,
        samples=(
            _conv_sample((1, 1, 5, 5), (1, 1, 3, 3), "uint8", "int8"),
            _conv_sample((2, 3, 9, 7), (4, 3, 3, 2), "int8", "int8", strides=(2, 1), pads_before=(1, 0)),
            _conv_sample((1, 4, 8, 8), (6, 2, 3, 3), "uint8", "uint8", groups=2, dilations=(2, 1)),
            _conv_sample((2, 3, 11), (5, 3, 4), "uint8", "int8", strides=(3,), pads_before=(2,)),
            _conv_sample((1, 200, 6, 6), (3, 200, 3, 3), "uint8", "int8", pads_before=(1, 1), pads_after=(1, 1)),
            _conv_sample((1, 240, 6, 6), (4, 120, 3, 3), "uint8", "int8", groups=2),
        ),
    )
)  # fmt: skip

__all__ = ["BYTES", "EXACT", "LARGEST", "conv_integer", "matmul_integer", "parts"]
