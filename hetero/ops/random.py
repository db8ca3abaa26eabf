"""Random numbers from counters: Philox-4x32-10, so equal keys give equal bits on every backend.

A key is uint32 (4,): words 0 and 1 are Philox's key, words 2 and 3 the upper half of its counter; the lower
half counts blocks of four words. Only `philox` is primitive. What follows from it uses integers, and floats
only where every step is exact, so that no rounding mode or fused multiply-add of a device can show.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Shape, concrete
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # of words 0 and 2, each round
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key after each round: golden ratio, sqrt(3) - 1
ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_BLOCKS = 1 << 12  # counters at a time: the eight work arrays stay in the cache

_KEY = Arg((4,), 0, 2**32, "uint32")


def check_key(name: str, key: TensorType) -> None:
    if key.dtype != dt.uint32 or key.known != (4,):
        raise ShapeError(f"{name} wants a key of uint32 (4,), got {key}", hint="make one with hetero.random.key(seed)")


def draw_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = sum(int(t.size) for t in outs)
    return Cost(flop=10 * ROUNDS * n // 4, read=4, write=n)


def draws(*attrs: Attrs) -> tuple[Sample, ...]:
    return tuple(Sample((_KEY,), a) for a in attrs)


def _philox_infer(key: TensorType, *, shape: Shape) -> TensorType:
    """uint32 (4,) -> uint32 shape: word i is word i % 4 of block i // 4"""
    check_key("philox", key)
    return TensorType(tuple(shape), dt.uint32)


def _philox(key: Array, *, shape: tuple[int, ...]) -> Array:
    count = int(np.prod(shape, dtype=np.int64))
    blocks = -(-count // 4)
    out = np.empty((blocks, 4), np.uint32)
    for start in range(0, blocks, _BLOCKS):
        philox_blocks(key, start, out[start : start + _BLOCKS])
    return out.reshape(-1)[:count].reshape(shape)


def philox_blocks(key: Array, start: int, out: Array) -> None:
    """Fill `out`, uint32 (n, 4), with the blocks of counters start .. start + n - 1."""
    k0, k1, c2, c3 = (int(word) for word in key)
    index = np.arange(start, start + len(out), dtype=np.uint64)
    x0, x1 = index & _LOW, index >> _HALF
    x2, x3 = np.full_like(index, c2), np.full_like(index, c3)
    y0, y2 = np.empty_like(index), np.empty_like(index)
    for _ in range(ROUNDS):
        np.multiply(x0, np.uint64(MULTIPLIERS[0]), out=y0)
        np.multiply(x2, np.uint64(MULTIPLIERS[1]), out=y2)
        np.right_shift(y2, _HALF, out=x0)
        x0 ^= x1
        x0 ^= np.uint64(k0)
        np.bitwise_and(y2, _LOW, out=x1)
        np.right_shift(y0, _HALF, out=x2)
        x2 ^= x3
        x2 ^= np.uint64(k1)
        np.bitwise_and(y0, _LOW, out=x3)
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    for column, word in enumerate((x0, x1, x2, x3)):
        out[:, column] = word


philox = define(
    Op(
        name="philox", kind="random", infer=_philox_infer, reference=_philox, cost=draw_cost, dtypes="u",
        attrs={"shape": REQUIRED},
        samples=draws({"shape": ()}, {"shape": (7,)}, {"shape": (3, 301)}, {"shape": (0,)}),
    )
)  # fmt: skip

# -- bits of other widths ---------------------------------------------------------------------------------------


def _words(emit: Emit, key: Value, shape: Shape) -> tuple[Value, Value]:
    """Two words for each element: philox of (2, *shape), cut."""
    rank = len(shape)
    both = emit("philox", key, shape=(2, *shape))
    parts: list[Any] = []
    for i in range(2):
        part = emit("slice", both, starts=(i, *[0] * rank), stops=(i + 1, *shape), steps=(1,) * (rank + 1))
        parts.append(emit("reshape", part, shape=tuple(shape)))
    return parts[0], parts[1]


def _two(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    both = _philox(key, shape=(2, *shape))
    return both[0], both[1]


_BITS = ("uint8", "uint16", "uint32", "uint64")


def _bits_infer(key: TensorType, *, shape: Shape, dtype: str) -> TensorType:
    """uint32 (4,) -> unsigned dtype of shape, every value equally likely"""
    check_key("random_bits", key)
    if dtype not in _BITS:
        raise DTypeError(f"random_bits gives {', '.join(_BITS)}, not {dtype}", hint="cast the result")
    return TensorType(tuple(shape), dt.of(dtype))


def bits_of(key: Array, *, shape: tuple[int, ...], dtype: str) -> Array:
    if dtype != "uint64":
        return _philox(key, shape=shape).astype(dtype, copy=False)
    low, high = _two(key, shape)
    return low.astype(np.uint64) | (high.astype(np.uint64) << _HALF)


def _bits_decompose(emit: Emit, key: Value, *, shape: Shape, dtype: str) -> Value:
    """one word, cut to its lower bits; or low | high << 32"""
    if dtype != "uint64":
        word = emit("philox", key, shape=tuple(shape))
        return word if dtype == "uint32" else emit("cast", word, dtype=dtype)
    low, high = (emit("cast", w, dtype="uint64") for w in _words(emit, key, shape))
    return emit("bitwise_or", low, emit("left_shift", high, 32))


random_bits = define(
    Op(
        name="random_bits", kind="random", infer=_bits_infer, reference=bits_of, cost=draw_cost, dtypes="u",
        attrs={"shape": REQUIRED, "dtype": "uint32"}, decompose=_bits_decompose,
        samples=draws({"shape": (7,), "dtype": "uint8"}, {"shape": (3, 5)}, {"shape": (301,), "dtype": "uint64"}),
    )
)  # fmt: skip

# -- uniform ------------------------------------------------------------------------------------------------------


def check_float(name: str, dtype: str) -> None:
    if dtype not in ("float32", "float64"):
        raise DTypeError(f"{name} gives float32 or float64, not {dtype}", hint="cast the result")


def _uniform_infer(key: TensorType, *, shape: Shape, dtype: str) -> TensorType:
    """uint32 (4,) -> dtype of shape, in [0, 1)"""
    check_key("uniform", key)
    check_float("uniform", dtype)
    return TensorType(tuple(shape), dt.of(dtype))


def _uniform(key: Array, *, shape: tuple[int, ...], dtype: str) -> Array:
    """A multiple of 2^-24, or 2^-53, each equally likely: integer, conversion and scaling are all exact."""
    if dtype == "float32":
        word = _philox(key, shape=shape) >> np.uint32(8)
        return word.astype(np.float32) * np.float32(2.0**-24)
    low, high = _two(key, shape)
    whole = (high >> np.uint32(5)).astype(np.float64) * 2.0**26 + (low >> np.uint32(6)).astype(np.float64)
    return whole * 2.0**-53


def _uniform_decompose(emit: Emit, key: Value, *, shape: Shape, dtype: str) -> Value:
    """(word >> 8) / 2^24, or 53 bits of two words / 2^53"""
    if dtype == "float32":
        word = emit("right_shift", emit("philox", key, shape=tuple(shape)), 8)
        return emit("multiply", emit("cast", word, dtype=dtype), 2.0**-24)
    low, high = _words(emit, key, shape)
    top = emit("multiply", emit("cast", emit("right_shift", high, 5), dtype=dtype), 2.0**26)
    whole = emit("add", top, emit("cast", emit("right_shift", low, 6), dtype=dtype))
    return emit("multiply", whole, 2.0**-53)


uniform = define(
    Op(
        name="uniform", kind="random", infer=_uniform_infer, reference=_uniform, cost=draw_cost, dtypes="u",
        attrs={"shape": REQUIRED, "dtype": "float32"}, decompose=_uniform_decompose,
        samples=draws({"shape": (7,)}, {"shape": (3, 301)}, {"shape": (5, 3), "dtype": "float64"}),
    )
)  # fmt: skip

# -- randint ------------------------------------------------------------------------------------------------------


def _randint_infer(key: TensorType, *, shape: Shape, low: int, high: int, dtype: str) -> TensorType:
    """uint32 (4,) -> integer dtype of shape, in [low, high)"""
    check_key("randint", key)
    to = dt.of(dtype)
    if not dt.is_integer(to):
        raise DTypeError(f"randint gives integers, not {dtype}")
    span, limit = high - low, np.iinfo(to)
    if not 0 < span <= 1 << 32 or low < limit.min or high - 1 > limit.max:
        raise AttributeValueError(
            f"randint from {low} to {high} in {dtype}: wants 1 to 2^32 values that the dtype holds",
            hint="hetero.random.bits gives all 64-bit values",
        )
    return TensorType(tuple(shape), to)


def _randint(key: Array, *, shape: tuple[int, ...], low: int, high: int, dtype: str) -> Array:
    """floor(w * span / 2^64) of a 64-bit w: no value is more than span / 2^64 likelier than another."""
    first, second = (w.astype(np.uint64) for w in _two(key, shape))
    span = np.uint64(high - low)
    picked = (second * span + ((first * span) >> _HALF)) >> _HALF
    return (picked.astype(np.int64) + np.int64(low)).astype(dtype) if low else picked.astype(dtype)


def _randint_decompose(emit: Emit, key: Value, *, shape: Shape, low: int, high: int, dtype: str) -> Value:
    """(w1 * span + (w0 * span >> 32)) >> 32, + low"""
    first, second = (emit("cast", w, dtype="uint64") for w in _words(emit, key, shape))
    carried = emit("right_shift", emit("multiply", first, high - low), 32)
    picked = emit("right_shift", emit("add", emit("multiply", second, high - low), carried), 32)
    if low:
        picked = emit("add", emit("cast", picked, dtype="int64"), low)
    return emit("cast", picked, dtype=dtype)


randint = define(
    Op(
        name="randint", kind="random", infer=_randint_infer, reference=_randint, cost=draw_cost, dtypes="u",
        attrs={"shape": REQUIRED, "low": REQUIRED, "high": REQUIRED, "dtype": "int64"}, decompose=_randint_decompose,
        samples=draws(
            {"shape": (7,), "low": -3, "high": 9}, {"shape": (3, 301), "low": 0, "high": 1 << 32},
            {"shape": (5,), "low": 0, "high": 200, "dtype": "uint8"},
        ),
    )
)  # fmt: skip

# -- permutation --------------------------------------------------------------------------------------------------


def _permutation_infer(key: TensorType, *, n: int) -> TensorType:
    """uint32 (4,) -> int64 (n,): 0 .. n - 1 in random order"""
    check_key("permutation", key)
    concrete((n,), "permutation")
    return TensorType((n,), dt.int64)


def _permutation(key: Array, *, n: int) -> Array:
    return np.argsort(bits_of(key, shape=(n,), dtype="uint64"), kind="stable")


def _permutation_decompose(emit: Emit, key: Value, *, n: int) -> Value:
    """the order of n 64-bit words"""
    return emit("argsort", emit("random_bits", key, shape=(n,), dtype="uint64"), axis=0)


permutation = define(
    Op(
        name="permutation", kind="random", infer=_permutation_infer, reference=_permutation, cost=draw_cost, dtypes="u",
        attrs={"n": REQUIRED}, decompose=_permutation_decompose, samples=draws({"n": 7}, {"n": 301}, {"n": 0}),
    )
)  # fmt: skip
