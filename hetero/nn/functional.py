"""Layers as functions of their weights: one call is one op of the table, so a backend may take it whole."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from hetero import random
from hetero.array_api.indexing import take
from hetero.array_api.manipulation import concat, normal_axis
from hetero.eager import HostTensor, place
from hetero.errors import AttributeValueError, ShapeError
from hetero.tensor import Tensor, apply, matmul
from hetero.tracing import Traced, _active

# -- activations ------------------------------------------------------------------------------------------------


def relu(x: Tensor) -> Tensor:
    """(...) -> (...); max(x, 0)"""
    return apply("relu", x)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """(...) -> (...); x times the normal distribution's cumulative probability, or its "tanh" approximation"""
    return apply("gelu", x, approximate=approximate)


def sigmoid(x: Tensor) -> Tensor:
    """(...) -> (...); 1 / (1 + exp(-x))"""
    return apply("sigmoid", x)


def silu(x: Tensor) -> Tensor:
    """(...) -> (...); x sigmoid(x)"""
    return apply("silu", x)


def softplus(x: Tensor) -> Tensor:
    """(...) -> (...); log(1 + exp(x))"""
    return apply("softplus", x)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """(..., n, ...) -> (..., n, ...); exp(x) over its sum along `axis`"""
    return apply("softmax", x, axis=normal_axis(axis, x.ndim))


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """(..., n, ...) -> (..., n, ...); the logarithm of `softmax`"""
    return apply("log_softmax", x, axis=normal_axis(axis, x.ndim))


# -- layers -----------------------------------------------------------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., in), (out, in), (out,) -> (..., out)"""
    y = matmul(x, weight.T)
    return y if bias is None else y + bias


def embedding(indices: Tensor, weight: Tensor) -> Tensor:
    """integer (...), (n, d) -> (..., d); an index from n on is an error"""
    return take(weight, indices, axis=0)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """(..., *s), (*s), (*s) -> (..., *s); mean 0 and variance 1 over *s, then times weight, plus bias"""
    given = (weight,) if bias is None else (weight, bias)
    return apply("layer_norm", x, *given, axis=x.ndim - weight.ndim, epsilon=epsilon)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float = 1e-5) -> Tensor:
    """(..., *s), (*s) -> (..., *s); a mean square of 1 over *s, then times weight"""
    return apply("rms_norm", x, weight, axis=x.ndim - weight.ndim, epsilon=epsilon)


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, epsilon: float = 1e-5
) -> Tensor:
    """(n, c, *s) and four of (c,) -> (n, c, *s); by a mean and variance that are given, as at inference"""
    return apply("batch_norm", x, weight, bias, mean, variance, epsilon=epsilon)


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """(n, c, *s), (out, c / groups, *window), (out,) -> (n, out, *s'); padding is zeros on both sides"""
    rank = x.ndim - 2
    around = each(padding, rank, "padding")
    return apply(
        "conv", x, weight, *(() if bias is None else (bias,)), strides=each(stride, rank, "stride"),
        dilations=each(dilation, rank, "dilation"), pads_before=around, pads_after=around, groups=groups,
    )  # fmt: skip


def each(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """One number for every spatial axis."""
    found = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(found) != rank:
        raise AttributeValueError(f"{name} has {len(found)} numbers for {rank} axes", hint="one, or one for each axis")
    return found


def dropout(x: Tensor, rate: float, key: Tensor | None = None) -> Tensor:
    """(...) -> (...); x itself without a key, else zero with probability `rate` and x / (1 - rate) otherwise"""
    if not 0 <= rate < 1:
        raise AttributeValueError(f"dropout wants a rate from 0 up to, but not, 1, got {rate}")
    if key is None or rate == 0:
        return x
    keep = random.uniform(key, x.shape) >= rate
    zero = place(np.zeros((), x.dtype), x.device)
    return apply("where", keep, x / (1 - rate), zero)


# -- attention --------------------------------------------------------------------------------------------------


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, causal: bool = False, scale: float | None = None
) -> Tensor:
    """(*b, n, d), (*b, m, d), (*b, m, e), mask (..., n, m) -> (*b, n, e)

    softmax(scale q k^T) v, where `scale` is 1 / sqrt(d) unless given. A bool mask is true where a query may look; one
    of floats is added to the scores. `causal` lets query i see keys 0 .. i.
    """
    return apply("attention", q, k, v, *(() if mask is None else (mask,)), causal=causal, scale=scale)


def rotary(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """(..., n, d), integer (n,) -> (..., n, d); pairs (i, i + d/2) turned by position * base^(-2i/d)

    Source: Su et al., "RoFormer", 2021, section 3.2; pairs are halves apart, as in GPT-NeoX.
    """
    width: Any = x.shape[-1]
    if not isinstance(width, int) or width % 2:
        raise ShapeError(f"rotary positions want an even width, got {width}")
    half = width // 2
    turns = place((base ** (-np.arange(half) / half)).astype(x.dtype), x.device)
    angle = positions.astype(x.dtype)[:, None] * turns  # (n, half)
    cos, sin = apply("cos", angle), apply("sin", angle)
    left, right = x[..., :half], x[..., half:]
    return concat([left * cos - right * sin, right * cos + left * sin], axis=-1)


def count(n: Any, beside: Tensor) -> Tensor:
    """0 .. n - 1, int64 (n,), on the device of `beside`. An open dimension's is a constant once that has a value"""
    if isinstance(n, int):
        return _host_count(n) if isinstance(beside, Traced) else place(np.arange(n), beside.device)
    one = Traced(_active.get()[-1].builder.constant(np.asarray(1, np.int64)))  # open: so there is a trace
    return apply("cumsum", apply("broadcast_to", one, shape=(n,)), axis=0, exclusive=True, reverse=False)


@lru_cache(maxsize=64)
def _host_count(n: int) -> Tensor:
    """One tensor for each n: in a graph they are one constant, and what is made of it in each layer is made once."""
    return HostTensor.of(np.arange(n))


__all__ = [
    "attention", "batch_norm", "conv", "count", "dropout", "each", "embedding", "gelu", "layer_norm", "linear",
    "log_softmax", "relu", "rms_norm", "rotary", "sigmoid", "silu", "softmax", "softplus",
]  # fmt: skip
