"""The standard normal distribution, bit-identical on every backend because it is computed in integers.

A random word q, made odd, stands for the probability q / 2^(bits + 1), below one half; its lowest bit, before
that, is the sign. The size is the normal quantile of that probability: a polynomial for each of 32 segments of each
power of two, in fixed point, by Horner's rule. No division, no libm, no rounding of floats up to the last step,
an exact conversion and scaling: a device's fused multiply-add or fast mathematics has nothing to change.

float32 uses 32 bits, degree 3 and reaches 6.3; float64 64 bits, degree 6 and 9.1. The quantile is right to
2^-33 and 2^-51. The tables are made by kernels/fit_normal.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Shape
from hetero.op import REQUIRED, Array, Emit, Op, TensorType, Value, define
from hetero.ops.random import bits_of, check_float, check_key, draw_cost, draws

SCALE = {"float32": 40, "float64": 56}  # the coefficients' fixed point
_BLOCK = 1 << 13  # elements at a time: the work arrays stay in the cache
_EXACT = np.uint64(1 << 53)  # above this the lowest 11 bits are dropped, so that a double holds q
_DROP = np.uint64(0xFFFFFFFFFFFFF800)


@cache
def tables(dtype: str) -> tuple[Array, ...]:
    """One int64 array (32 * bits,) for each coefficient, lowest order first."""
    from importlib.resources import files  # late: 10 ms that a plain import need not pay
    from io import BytesIO

    with np.load(BytesIO(files("hetero.ops").joinpath("normal.npz").read_bytes()), allow_pickle=False) as found:
        columns = tuple(np.ascontiguousarray(column) for column in found[dtype].T)
    for column in columns:
        column.flags.writeable = False
    return columns


def _normal_infer(key: TensorType, *, shape: Shape, dtype: str) -> TensorType:
    """uint32 (4,) -> dtype of shape"""
    check_key("normal", key)
    check_float("normal", dtype)
    return TensorType(tuple(shape), dt.of(dtype))


def _normal(key: Array, *, shape: tuple[int, ...], dtype: str) -> Array:
    words = bits_of(key, shape=shape, dtype="uint32" if dtype == "float32" else "uint64").reshape(-1)
    out = np.empty(words.shape, dtype)
    for start in range(0, words.size, _BLOCK):
        out[start : start + _BLOCK] = quantiles(words[start : start + _BLOCK], dtype)
    return out.reshape(shape)


def quantiles(words: Array, dtype: str) -> Array:
    """The normal number of each word, uint32 or uint64 (n,)

    An odd q as a double holds its power of two and its segment in the top bits, and the place in the segment below.
    """
    q = words | words.dtype.type(1)
    if dtype == "float64":
        q = np.where(q >= _EXACT, q & _DROP, q)
    pattern = q.astype(np.float64).view(np.int64)
    segment = (pattern >> 47) - (1023 << 5)
    coefficients = tables(dtype)
    size = coefficients[-1][segment]
    if dtype == "float32":
        place = pattern >> 21 & (1 << 26) - 1
        for column in coefficients[-2::-1]:
            size = column[segment] + (size * place >> 26)
    else:
        high, low = pattern >> 23 & (1 << 24) - 1, pattern & (1 << 23) - 1
        for column in coefficients[-2::-1]:
            size = column[segment] + _product(size, high, low)
    sign = 1 - 2 * (words & words.dtype.type(1)).astype(np.int64)
    to = np.dtype(dtype).type
    return (size * sign).astype(dtype) * to(2.0 ** -SCALE[dtype])


def _product(size: Any, high: Any, low: Any) -> Any:
    """size * (high * 2^23 + low) >> 47 for |size| < 2^52, in four products that fit 64 bits"""
    upper, lower = size >> 26, size & (1 << 26) - 1
    middle = upper * low * 8 + lower * high + (lower * low >> 23)
    return upper * high * 4 + (middle >> 24)


# -- the same in ops ------------------------------------------------------------------------------------------------


def _normal_decompose(emit: Emit, key: Value, *, shape: Shape, dtype: str) -> Value:
    """the polynomial of the word's segment, by Horner's rule, with the sign of the lowest bit"""
    narrow = dtype == "float32"
    words = emit("random_bits", key, shape=tuple(shape), dtype="uint32" if narrow else "uint64")
    words = emit("cast", words, dtype="uint64")
    q = emit("bitwise_or", words, 1)
    if not narrow:
        q = emit("where", emit("greater_equal", q, 1 << 53), emit("bitwise_and", q, int(_DROP)), q)
    octave, mantissa = _split(emit, q, 32 if narrow else 64)
    segment = emit("add", emit("left_shift", octave, 5), emit("right_shift", mantissa, 47))
    columns = [emit("take", column, segment, axis=0) for column in tables(dtype)]
    high = emit("bitwise_and", emit("right_shift", mantissa, 21 if narrow else 23), (1 << (26 if narrow else 24)) - 1)
    low = None if narrow else emit("bitwise_and", mantissa, (1 << 23) - 1)
    size = columns[-1]
    for column in columns[-2::-1]:
        size = emit("add", column, _emit_product(emit, size, high, low))
    sign = emit("subtract", 1, emit("left_shift", emit("cast", emit("bitwise_and", words, 1), dtype="int64"), 1))
    value = emit("cast", emit("multiply", size, sign), dtype=dtype)
    return emit("multiply", value, 2.0 ** -SCALE[dtype])


def _split(emit: Emit, q: Value, bits: int) -> tuple[Value, Value]:
    """Of q >= 1, uint64: the place of its highest bit, and the 52 bits below that one, both int64.

    The highest bit is found by halves: whether it is in the upper half of what is left.
    """
    octave: Any = None
    rest = q
    half = bits // 2
    while half:
        upper = emit("cast", emit("greater_equal", rest, 1 << half), dtype="uint64")
        step = emit("multiply", upper, half)
        rest = emit("right_shift", rest, step)
        octave = step if octave is None else emit("add", octave, step)
        half //= 2
    top = emit("left_shift", emit("left_shift", q, emit("subtract", 63, octave)), 1)  # without the highest bit
    mantissa = emit("cast", emit("right_shift", top, 12), dtype="int64")
    return emit("cast", octave, dtype="int64"), mantissa


def _emit_product(emit: Emit, size: Value, high: Value, low: Value | None) -> Value:
    """As `_product`, or in float32 size * high >> 26."""
    if low is None:
        return emit("right_shift", emit("multiply", size, high), 26)
    upper, lower = emit("right_shift", size, 26), emit("bitwise_and", size, (1 << 26) - 1)
    crossed = emit("add", emit("left_shift", emit("multiply", upper, low), 3), emit("multiply", lower, high))
    middle = emit("add", crossed, emit("right_shift", emit("multiply", lower, low), 23))
    whole = emit("left_shift", emit("multiply", upper, high), 2)
    return emit("add", whole, emit("right_shift", middle, 24))


normal = define(
    Op(
        name="normal", kind="random", infer=_normal_infer, reference=_normal, cost=draw_cost, dtypes="u",
        attrs={"shape": REQUIRED, "dtype": "float32"}, decompose=_normal_decompose,
        samples=draws({"shape": (7,)}, {"shape": (3, 301)}, {"shape": (5, 3), "dtype": "float64"}),
    )
)  # fmt: skip
