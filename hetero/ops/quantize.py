"""Numbers as integers of few bits and back, with a scale and a zero point: for a tensor, a channel, or a block.

    quantize_linear:    q = clamp(round(x / scale) + zero)      rounded to even, clamped to the dtype of the zero point
    dequantize_linear:  x = (q - zero) * scale                  without a zero point it is 0

Scale and zero point have the same shape: () for one of each; (n,) for one at each place of `axis`, of size n; with
`block`, x's own shape but for ceil(size / block) along `axis`, one for so many places in a row. Source: ONNX, operators
QuantizeLinear and DequantizeLinear, version 21. A NaN has no code: what comes out of one is left open.

Gradients go straight through the rounding (Bengio et al., arXiv:1308.3432) where nothing is clamped; those of both ops
one after the other are, for the scale, the learned step size's (Esser et al., arXiv:1902.08153, section 2.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Size, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import Arg, Array, Attrs, Cost, Emit, Op, Sample, Shape, TensorType, Types, Value, define

SHORT = ("int4", "uint4", "int2", "uint2")  # less than a byte each, and one byte in memory
CODES = ("int8", "uint8", "int16", "uint16", *SHORT)


def bounds(dtype: dt.DType) -> tuple[int, int]:
    """Least and greatest value of an integer dtype, the narrow ones too."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return int(info.min), int(info.max)
    bits = int(dtype.name[-1])
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype.name[0] == "i" else (0, (1 << bits) - 1)


# -- granularity --------------------------------------------------------------------------------------------


def _check_scale(
    name: str, x: TensorType, scale: TensorType, zero: tuple[TensorType, ...], axis: int, block: int
) -> None:
    if not dt.is_float(scale.dtype) or scale.dtype.itemsize < 2:
        raise DTypeError(f"{name} wants a float scale of 16 bits or more, got {scale.dtype.name}")
    if zero and zero[0].shape != scale.shape:
        raise ShapeError(f"{name}: a zero point of shape {show(zero[0].known)} for a scale of {show(scale.known)}")
    if type(axis) is not int or type(block) is not int or block < 0:
        raise AttributeValueError(f"{name} wants whole numbers axis and block, from 0 on; got {axis!r} and {block!r}")
    if scale.known == () and not block:
        return
    if not 0 <= axis < x.rank:
        raise AttributeValueError(f"{name} wants an axis in 0 .. {x.rank - 1}, got {axis}")
    wanted = _shape_of_scale(x.known, axis, block)
    if scale.known != wanted:
        of = f"in blocks of {block} along axis {axis}" if block else f"along axis {axis}"
        raise ShapeError(f"{name} of {show(x.known)} {of} wants a scale of {show(wanted)}, got {show(scale.known)}")


def _shape_of_scale(shape: Shape, axis: int, block: int) -> Shape:
    """Of a scale that is not one number."""
    size = shape[axis]
    if not block:
        return (size,)
    if isinstance(size, Dim):
        raise ShapeError(f"blocks along an axis of the open size {size}", hint="give the dimension a value first")
    return (*shape[:axis], -(-size // block), *shape[axis + 1 :])


def _beside(shape: Shape, rank: int, axis: int) -> Shape:
    """The shape in which one number for each place of an axis broadcasts."""
    return tuple(shape[0] if i == axis else 1 for i in range(rank))


def spread(factor: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    """A scale or zero point as an array that broadcasts with x of `shape`."""
    if not factor.ndim:
        return factor
    if not block:
        return factor.reshape(_beside(factor.shape, len(shape), axis))  # pyright: ignore[reportArgumentType]
    return np.take(np.repeat(factor, block, axis), np.arange(shape[axis]), axis)


def _spread(emit: Emit, factor: Value, x: Value, axis: int, block: int) -> Value:
    """`spread` in ops."""
    shape = factor.type.known
    if not shape:
        return factor
    if not block:
        return emit("reshape", factor, shape=_beside(shape, x.type.rank, axis))
    size = x.type.known[axis]
    wide = emit("reshape", factor, shape=(*shape[: axis + 1], 1, *shape[axis + 1 :]))
    wide = emit("broadcast_to", wide, shape=(*shape[: axis + 1], block, *shape[axis + 1 :]))
    full: tuple[Size, ...] = (*shape[:axis], shape[axis] * block, *shape[axis + 1 :])
    flat = emit("reshape", wide, shape=full)
    if full[axis] == size:
        return flat
    none, ones = (0,) * len(full), (1,) * len(full)
    return emit("slice", flat, starts=none, stops=x.type.known, steps=ones)


def _gather(emit: Emit, g: Value, factor: Value, axis: int, block: int) -> Value:
    """The sum of what a factor was spread to: the cotangent of `_spread`."""
    shape, rank = factor.type.known, g.type.rank
    if not block:
        axes = tuple(i for i in range(rank) if not shape or i != axis)
        return emit("sum", g, axes=axes, keepdims=False) if axes else g
    size, count = g.type.known[axis], shape[axis]
    assert isinstance(size, int)
    assert isinstance(count, int)
    none = (0,) * rank
    after = tuple(count * block - size if i == axis else 0 for i in range(rank))
    whole = emit("pad", g, before=none, after=after, value=0.0, mode="constant") if any(after) else g
    parts = emit("reshape", whole, shape=(*shape[: axis + 1], block, *shape[axis + 1 :]))
    return emit("sum", parts, axes=(axis + 1,), keepdims=False)


# -- quantize_linear ----------------------------------------------------------------------------------------


def _quantize_infer(x: TensorType, scale: TensorType, zero: TensorType, *, axis: int, block: int) -> TensorType:
    """(...), scale, zero -> (...) in the dtype of zero"""
    if x.dtype != scale.dtype:
        raise DTypeError(f"quantize_linear wants x as its scale is, got {x.dtype.name} and {scale.dtype.name}")
    if zero.dtype.name not in CODES:
        raise DTypeError(f"quantize_linear gives {', '.join(CODES)}, not {zero.dtype.name}")
    _check_scale("quantize_linear", x, scale, (zero,), axis, block)
    return x.with_dtype(zero.dtype)


def _quantize(x: Array, scale: Array, zero: Array, *, axis: int, block: int) -> Array:
    wide = np.float64 if x.dtype.itemsize == 8 else np.float32
    whole = np.rint(x / spread(scale, x.shape, axis, block)).astype(wide)
    whole = whole + spread(zero, x.shape, axis, block).astype(wide)
    return np.clip(whole, *bounds(zero.dtype)).astype(np.int32).astype(zero.dtype)


def _codes(emit: Emit, x: Value, scale: Value, zero: Value, axis: int, block: int) -> Value:
    """round(x / scale) + zero in floats, before it is clamped"""
    wide = "float64" if x.type.dtype.itemsize == 8 else "float32"
    ratio = emit("round", emit("divide", x, _spread(emit, scale, x, axis, block)))
    offset = emit("cast", _spread(emit, _plain(emit, zero), x, axis, block), dtype=wide)
    return emit("add", emit("cast", ratio, dtype=wide), offset)


def _plain(emit: Emit, codes: Value) -> Value:
    """Codes in a dtype that every device has."""
    kind = "uint8" if codes.type.dtype.name.startswith("u") else "int8"
    return emit("cast", codes, dtype=kind) if codes.type.dtype.name in SHORT else codes


def _quantize_decompose(emit: Emit, x: Value, scale: Value, zero: Value, *, axis: int, block: int) -> Value:
    low, high = bounds(zero.type.dtype)
    whole = _codes(emit, x, scale, zero, axis, block)
    cut = emit("minimum", emit("maximum", whole, float(low)), float(high))
    return emit("cast", emit("cast", cut, dtype="int32"), dtype=zero.type.dtype.name)


def _quantize_vjp(
    emit: Emit, g: Value, x: Value, scale: Value, zero: Value, *, axis: int, block: int
) -> tuple[Value, Value, Value]:
    """g, a float for each code -> g / scale, -g x / scale^2 and g, each 0 where it was clamped"""
    low, high = bounds(zero.type.dtype)
    whole, factor = _codes(emit, x, scale, zero, axis, block), _spread(emit, scale, x, axis, block)
    inside = emit("logical_and", emit("greater_equal", whole, float(low)), emit("less_equal", whole, float(high)))
    kept = emit("where", inside, g, np.zeros((), g.type.dtype))
    dx = emit("divide", kept, factor)
    dscale = emit("negative", emit("divide", emit("multiply", dx, x), factor))
    return dx, _gather(emit, dscale, scale, axis, block), _gather(emit, kept, zero, axis, block)


def _cost(flop: int) -> Any:
    def cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
        n = int(outs[0].size)
        return Cost(flop * n, sum(int(t.size) for t in types), n)

    return cost


def _samples(x: tuple[float, float, str]) -> tuple[Sample, ...]:
    """One scale, one a channel, one a block; `x` is how its values are drawn."""
    return tuple(
        Sample(
            (Arg(shape, *x), Arg(scales, 0.02, 0.2, "float32"), Arg(scales, low, high, code)),
            {"axis": axis, "block": block},
        )
        for shape, scales, axis, block, (low, high, code) in (
            ((), (), 0, 0, (-5, 6, "int8")),
            ((2, 301), (), 0, 0, (100, 140, "uint8")),
            ((3, 5, 4), (5,), 1, 0, (-9, 9, "int8")),
            ((2, 3, 4, 5), (5,), 3, 0, (0, 9, "uint8")),
            ((70, 3), (3, 3), 0, 32, (-9, 9, "int8")),
            ((2, 8, 3), (2, 4, 3), 1, 2, (0, 9, "uint8")),
        )
    )  # fmt: skip


quantize_linear = define(
    Op(
        name="quantize_linear", kind="compute", infer=_quantize_infer, reference=_quantize,
        decompose=_quantize_decompose, vjp=_quantize_vjp, cost=_cost(5), dtypes="f", onnx="QuantizeLinear",
        attrs={"axis": 0, "block": 0}, samples=_samples((-20, 20, "float32")),
    )
)  # fmt: skip


# -- dequantize_linear --------------------------------------------------------------------------------------


def _dequantize_infer(x: TensorType, scale: TensorType, *zero: TensorType, axis: int, block: int) -> TensorType:
    """(...), scale, zero in the dtype of x -> (...) in the dtype of the scale"""
    if x.dtype.name not in (*CODES, "int32") or any(z.dtype != x.dtype for z in zero):
        said = " and ".join(t.dtype.name for t in (x, *zero))
        raise DTypeError(
            f"dequantize_linear wants codes ({', '.join(CODES)}, int32) and a zero point of them, got {said}"
        )
    if len(zero) > 1:
        raise ShapeError(f"dequantize_linear wants one zero point, got {len(zero)}")
    _check_scale("dequantize_linear", x, scale, zero, axis, block)
    return x.with_dtype(scale.dtype)


def _dequantize(x: Array, scale: Array, *zero: Array, axis: int, block: int) -> Array:
    wide = np.float64 if scale.dtype.itemsize == 8 else np.float32
    off = x.astype(np.int32)
    for z in zero:
        off = off - spread(z, x.shape, axis, block).astype(np.int32)
    return (off.astype(wide) * spread(scale, x.shape, axis, block).astype(wide)).astype(scale.dtype)


def _centred(emit: Emit, x: Value, zero: tuple[Value, ...], axis: int, block: int) -> Value:
    """x - zero, int32"""
    off = emit("cast", _plain(emit, x), dtype="int32")
    for z in zero:
        off = emit("subtract", off, emit("cast", _spread(emit, _plain(emit, z), x, axis, block), dtype="int32"))
    return off


def _dequantize_decompose(emit: Emit, x: Value, scale: Value, *zero: Value, axis: int, block: int) -> Value:
    to = scale.type.dtype
    wide = "float64" if to.itemsize == 8 else "float32"
    off = emit("cast", _centred(emit, x, zero, axis, block), dtype=wide)
    factor = emit("cast", _spread(emit, scale, x, axis, block), dtype=wide)
    return emit("cast", emit("multiply", off, factor), dtype=to.name)


def _dequantize_vjp(
    emit: Emit, g: Value, x: Value, scale: Value, *zero: Value, axis: int, block: int
) -> tuple[Value, ...]:
    """g -> g scale for each code, g (x - zero), and -g scale"""
    dx = emit("multiply", g, _spread(emit, scale, x, axis, block))
    off = emit("cast", _centred(emit, x, zero, axis, block), dtype=g.type.dtype.name)
    dscale = _gather(emit, emit("multiply", g, off), scale, axis, block)
    return (dx, dscale, *(_gather(emit, emit("negative", dx), z, axis, block) for z in zero))


_CODED = tuple(
    Sample((Arg(s.args[0].shape, -60 if s.args[2].dtype[0] == "i" else 0, 120, s.args[2].dtype), *s.args[1:]), s.attrs)
    for s in _samples((0, 1, ""))
)
_BIAS = Sample((Arg((6, 5), -(2**28), 2**28, "int32"), Arg((5,), 1e-6, 1e-5, "float32")), {"axis": 1, "block": 0})

dequantize_linear = define(
    Op(
        name="dequantize_linear", kind="compute", infer=_dequantize_infer, reference=_dequantize,
        decompose=_dequantize_decompose, vjp=_dequantize_vjp, cost=_cost(3), dtypes="f", onnx="DequantizeLinear",
        attrs={"axis": 0, "block": 0}, samples=(*_CODED, _BIAS),
    )
)  # fmt: skip

__all__ = ["CODES", "SHORT", "bounds", "dequantize_linear", "quantize_linear", "spread"]
