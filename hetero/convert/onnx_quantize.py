"""Lowerings of quantisation: to few bits and back, and the integer products between."""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, lowers
from hetero.convert.onnx_math import FLOAT8, convert
from hetero.convert.onnx_nn import window
from hetero.convert.onnx_tensor import dtype_of
from hetero.graph.build import Ref
from hetero.ops.quantize import CODES, bounds
from hetero.ops.quantize_products import BYTES

Ints = tuple[int, ...]


# -- granularity --------------------------------------------------------------------------------------------


def spread(n: Call, factor: Ref, x: Ref, axis: int, block: int) -> Ref:
    """A scale or zero point shaped to broadcast with x: one, one for each place on an axis, or one for each block."""
    found = granularity(n, factor, x, axis, block)
    shape, rank, at = n.shape(factor), x.type.rank, found["axis"]
    if not shape or shape == (1,):
        return n.reshape(factor)
    if not found["block"]:
        return n.reshape(factor, *(shape[0] if i == at else 1 for i in range(rank)))
    sizes = n.shape(x)
    wide = n.reshape(factor, *shape[: at + 1], 1, *shape[at + 1 :])
    wide = n.emit("broadcast_to", wide, shape=(*shape[: at + 1], block, *shape[at + 1 :]))
    flat = n.reshape(wide, *shape[:at], shape[at] * block, *shape[at + 1 :])
    return n.cut(flat, at, 0, sizes[at])


def granularity(n: Call, scale: Ref, x: Ref, axis: int, block: int) -> dict[str, int]:
    """`axis` and `block` as the ops have them; a scale that fits nothing is refused, as `spread` would."""
    shape, rank = n.shape(scale), x.type.rank
    if not shape or shape == (1,):
        return {"axis": 0, "block": 0}
    at = n.axis(axis, rank)
    if len(shape) == 1 and not block:
        size = n.size(x, at)
        n.only(shape[0] == size, f"{shape[0]} scales for axis {axis} of size {size}")
        return {"axis": at, "block": 0}
    sizes = n.shape(x)
    n.only(len(shape) == rank and block > 0, f"scales of shape {shape} without a block_size")
    fits = all(
        s == (-(-size // block) if i == at else size) for i, (s, size) in enumerate(zip(shape, sizes, strict=True))
    )
    n.only(fits, f"scales of shape {shape} for {sizes} in blocks of {block} along axis {at}")
    return {"axis": at, "block": block}


def _shaped(n: Call, factor: Ref) -> Ref:
    """A scale or zero point as the ops take it: of one number without an axis."""
    return n.reshape(factor) if n.shape(factor) == (1,) else factor


# -- to and from few bits -----------------------------------------------------------------------------------


@lowers("QuantizeLinear")
def _quantize(
    n: Call, x: Ref, scale: Ref, zero: Ref | None = None, *, axis: int = 1, block_size: int = 0,
    output_dtype: int = 0, precision: int = 0, saturate: int = 1,
) -> Ref:  # fmt: skip
    """`quantize_linear`: x / scale in its dtype or `precision`, rounded to even, plus the zero point, clamped"""
    to = zero.type.dtype if zero is not None else dtype_of(output_dtype or 2, "the result")
    n.only(not output_dtype or dtype_of(output_dtype, "the result") == to, "output_dtype differs from the zero point")
    wide = dtype_of(precision, "precision") if precision else scale.type.dtype
    wide = dt.float32 if not dt.is_float(wide) or wide.itemsize < 2 else wide
    if to.name in CODES:
        at = granularity(n, scale, x, axis, block_size)
        factor = n.cast(_shaped(n, scale), wide)
        offset = n.constant(np.zeros(n.shape(factor), to)) if zero is None else _shaped(n, zero)
        return n.emit("quantize_linear", n.cast(x, wide), factor, offset, **at)
    ratio = n.emit("divide", n.cast(x, wide), n.cast(spread(n, scale, x, axis, block_size), wide))
    offset = None if zero is None else spread(n, zero, x, axis, block_size)
    return quantized(n, ratio, offset, to, bool(saturate))


def quantized(n: Call, ratio: Ref, zero: Ref | None, to: dt.DType, saturate: bool = True) -> Ref:
    """A quotient as `to`: rounded and clamped for integers, cast for small floats."""
    e = n.emit
    if to.name in FLOAT8 or to.name == "float4_e2m1fn":
        wide = n.cast(ratio, dt.float32)
        wide = wide if zero is None else e("add", wide, n.cast(zero, dt.float32))
        return convert(n, wide, to, saturate)
    n.only(dt.is_integer(to), f"quantising to {to.name} is not covered")
    low, high = bounds(to)
    whole = n.cast(e("round", ratio), dt.float32 if ratio.type.dtype.itemsize < 8 else dt.float64)
    if zero is not None:
        whole = e("add", whole, n.cast(n.cast(zero, dt.int32), whole.type.dtype))
    return n.cast(n.cast(e("minimum", e("maximum", whole, float(low)), float(high)), dt.int32), to)


@lowers("DequantizeLinear")
def _dequantize(
    n: Call, x: Ref, scale: Ref, zero: Ref | None = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0
) -> Ref:
    """`dequantize_linear`: (x - zero point) * scale, in float32"""
    to = dtype_of(output_dtype, "the result") if output_dtype else scale.type.dtype
    wide = dt.float64 if to == dt.float64 else dt.float32
    own = scale.type.dtype == to and dt.is_float(to) and to.itemsize >= 2
    if x.type.dtype.name in (*CODES, "int32") and (own or dt.is_float(scale.type.dtype)):
        at = granularity(n, scale, x, axis, block_size)
        factor = _shaped(n, scale if own else n.cast(scale, wide))
        zeros = () if zero is None else (_shaped(n, zero),)
        return n.cast(n.emit("dequantize_linear", x, factor, *zeros, **at), to)
    off = centred(n, x, None if zero is None else spread(n, zero, x, axis, block_size))
    factor = n.cast(spread(n, scale, x, axis, block_size), wide)
    return n.cast(n.emit("multiply", n.cast(off, wide), factor), to)


def centred(n: Call, x: Ref, zero: Ref | None) -> Ref:
    """x - zero point, in int32, or in float32 for small floats."""
    wide = dt.int32 if dt.is_integer(x.type.dtype) else dt.float32
    left = n.cast(x, wide)
    return left if zero is None else n.emit("subtract", left, n.cast(zero, wide))


# -- products -----------------------------------------------------------------------------------------------


def _rows(n: Call, factor: Ref, x: Ref) -> Ref:
    """One number, or one for each row of the left matrix."""
    shape = n.shape(factor)
    return n.reshape(factor, shape[0], 1) if len(shape) == 1 and shape[0] > 1 and x.type.rank >= 2 else _one(n, factor)


def _one(n: Call, factor: Ref) -> Ref:
    return n.reshape(factor) if factor.type.size == 1 else factor


def _zeros(n: Call, *each: tuple[Ref, Ref | None]) -> list[Ref]:
    """One zero point for each operand, 0 where it is left out; nothing where there are several, or no bytes."""
    if any(x.type.dtype not in BYTES or (zero is not None and zero.type.size != 1) for x, zero in each):
        return []
    return [n.constant(0, x.type.dtype) if zero is None else n.reshape(zero) for x, zero in each]


@lowers("MatMulInteger")
def _matmul_integer(n: Call, a: Ref, b: Ref, a_zero: Ref | None = None, b_zero: Ref | None = None) -> Ref:
    """`matmul_integer`, or with zero points for rows or columns `matmul` in int32"""
    n.only(a.type.rank >= 2 and b.type.rank >= 2, "vectors are not covered")
    zeros = _zeros(n, (a, a_zero), (b, b_zero))
    if zeros and isinstance(a.type.known[-1], int):
        return n.emit("matmul_integer", a, b, *zeros)
    left = centred(n, a, None if a_zero is None else _rows(n, a_zero, a))
    return n.emit("matmul", left, centred(n, b, None if b_zero is None else _one(n, b_zero)))


@lowers("QLinearMatMul")
def _qlinear_matmul(
    n: Call, a: Ref, a_scale: Ref, a_zero: Ref, b: Ref, b_scale: Ref, b_zero: Ref, y_scale: Ref, y_zero: Ref
) -> Ref:
    """`matmul` in int32, scaled and quantised again"""
    n.only(all(dt.is_integer(x.type.dtype) for x in (a, b, y_zero)), "products of small floats are not covered")
    n.only(a.type.rank >= 2 and b.type.rank >= 2, "vectors are not covered")
    e = n.emit
    total = e("matmul", centred(n, a, _rows(n, a_zero, a)), centred(n, b, _one(n, b_zero)))
    scale = e("multiply", n.cast(_rows(n, a_scale, a), dt.float32), n.cast(_one(n, b_scale), dt.float32))
    scale = e("divide", scale, n.cast(_rows(n, y_scale, a), dt.float32))
    made = e("multiply", n.cast(total, dt.float32), scale)
    return quantized(n, made, _rows(n, y_zero, a), y_zero.type.dtype)


@lowers("ConvInteger")
def _conv_integer(
    n: Call, x: Ref, w: Ref, x_zero: Ref | None = None, w_zero: Ref | None = None, *, auto_pad: str = "NOTSET",
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`conv_integer`, or with zero points for channels `conv` in int32"""
    if (zeros := _zeros(n, (x, x_zero), (w, w_zero))) and kernel_shape in (None, n.shape(w)[2:]):
        at = window(n, x, n.shape(w)[2:], strides, dilations, pads, auto_pad)
        return n.emit("conv_integer", x, w, *zeros, **at.attrs(), groups=group)
    return _int_conv(n, x, w, x_zero, w_zero, None, auto_pad, dilations, group, kernel_shape, pads, strides)


def _int_conv(
    n: Call, x: Ref, w: Ref, x_zero: Ref | None, w_zero: Ref | None, bias: Ref | None, auto_pad: str,
    dilations: Ints | None, group: int, kernel_shape: Ints | None, pads: Ints | None, strides: Ints | None,
) -> Ref:  # fmt: skip
    kernel = n.shape(w)[2:]
    n.only(kernel_shape in (None, kernel), f"kernel_shape={kernel_shape}, the weights have {kernel}")
    left = centred(n, x, None if x_zero is None else _one(n, x_zero))
    right = centred(n, w, None if w_zero is None else _outputs(n, w_zero, w.type.rank))
    at = window(n, x, kernel, strides, dilations, pads, auto_pad)
    return n.emit("conv", left, right, *(() if bias is None else (bias,)), **at.attrs(), groups=group)


def _outputs(n: Call, factor: Ref, rank: int) -> Ref:
    """One number, or one for each output channel of the weights."""
    shape = n.shape(factor)
    return n.reshape(factor, shape[0], *(1,) * (rank - 1)) if len(shape) == 1 and shape[0] > 1 else _one(n, factor)


@lowers("QLinearConv")
def _qlinear_conv(
    n: Call, x: Ref, x_scale: Ref, x_zero: Ref, w: Ref, w_scale: Ref, w_zero: Ref, y_scale: Ref, y_zero: Ref,
    b: Ref | None = None, *, auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1,
    kernel_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> Ref:  # fmt: skip
    """`conv` in int32, scaled and quantised again"""
    e = n.emit
    total = _int_conv(n, x, w, x_zero, w_zero, b, auto_pad, dilations, group, kernel_shape, pads, strides)
    weights = n.cast(w_scale, dt.float32)
    if weights.type.size != 1:
        weights = n.reshape(weights, n.shape(weights)[0], *(1,) * (x.type.rank - 2))
    scale = e("divide", e("multiply", n.cast(_one(n, x_scale), dt.float32), _one(n, weights)), _one(n, y_scale))
    return quantized(n, e("multiply", n.cast(total, dt.float32), scale), _one(n, y_zero), y_zero.type.dtype)
