"""Lowerings of random numbers, which follow from the node's seed: the same ones on every backend, in every run."""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, lowers
from hetero.convert.onnx_movement import bounded
from hetero.convert.onnx_tensor import dtype_of, sizes_of
from hetero.dim import Shape
from hetero.graph.build import Ref

Ints = tuple[int, ...]


def key(n: Call, seed: float | None) -> Ref:
    """The Philox key of a seed: its bits as float32, then zeros."""
    if seed is None:
        n.refuse("without a seed it would draw other numbers in each run; give the node a seed")
    return n.constant(np.asarray([np.float32(seed).view(np.uint32), 0, 0, 0], np.uint32))


def draw(n: Call, name: str, seed: float | None, shape: Shape, to: dt.DType, factor: float, shift: float) -> Ref:
    """`name` (uniform or normal) times factor plus shift, in dtype `to`."""
    n.only(dt.is_float(to), f"random numbers of {to.name}")
    n.only(bool(np.isfinite(factor) and np.isfinite(shift)), f"a range of {factor} from {shift}")
    bounded(n, shape)
    wide = dt.float64 if to == dt.float64 else dt.float32
    x = n.emit(name, key(n, seed), shape=tuple(shape), dtype=wide.name)
    return n.cast(n.emit("add", n.emit("multiply", x, float(factor)), float(shift)), to)


def _like(x: Ref, dtype: int | None) -> dt.DType:
    return x.type.dtype if dtype is None else dtype_of(dtype, "the result")


@lowers("RandomUniform")
def _uniform(
    n: Call, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Ints
) -> Ref:
    """`uniform`"""
    return draw(n, "uniform", seed, sizes_of(shape, "the result"), dtype_of(dtype, "the result"), high - low, low)


@lowers("RandomUniformLike")
def _uniform_like(
    n: Call, x: Ref, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Ref:
    """`uniform`"""
    return draw(n, "uniform", seed, x.type.known, _like(x, dtype), high - low, low)


@lowers("RandomNormal")
def _normal(
    n: Call, *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Ints
) -> Ref:
    """`normal`"""
    return draw(n, "normal", seed, sizes_of(shape, "the result"), dtype_of(dtype, "the result"), scale, mean)


@lowers("RandomNormalLike")
def _normal_like(
    n: Call, x: Ref, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Ref:
    """`normal`"""
    return draw(n, "normal", seed, x.type.known, _like(x, dtype), scale, mean)


@lowers("Bernoulli")
def _bernoulli(n: Call, x: Ref, *, dtype: int | None = None, seed: float | None = None) -> Ref:
    """1 where `uniform` is below x, else 0"""
    wide = n.through_float(x)
    drawn = draw(n, "uniform", seed, x.type.known, wide.type.dtype, 1.0, 0.0)
    return n.cast(n.emit("less", drawn, wide), _like(x, dtype))


@lowers("Multinomial")
def _multinomial(n: Call, x: Ref, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Ref:
    """`argmax` of log-probabilities plus Gumbel noise, -log(-log(`uniform`))"""
    rows, classes = n.shape(x) if x.type.rank == 2 else n.refuse(f"{x.type.rank} dimensions, 2 are wanted")
    n.only(sample_size >= 1 and classes >= 1, f"{sample_size} samples of {classes} classes")
    wide, e = n.through_float(x), n.emit
    tiny = float(np.finfo(np.float32).tiny)
    drawn = draw(n, "uniform", seed, (rows, sample_size, classes), wide.type.dtype, 1 - tiny, tiny)
    noise = e("negative", e("log", e("negative", e("log", drawn))))
    best = e("argmax", e("add", n.reshape(wide, rows, 1, classes), noise), axis=2, keepdims=False)
    return n.cast(best, dtype_of(dtype, "the result"))
