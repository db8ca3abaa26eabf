"""Attention of several heads, over what stands beside it or over a cache of what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hetero.array_api.manipulation import concat, expand_dims
from hetero.eager import place
from hetero.errors import AttributeValueError, ShapeError
from hetero.nn import functional, init
from hetero.nn.layers import Linear
from hetero.nn.module import Module
from hetero.select import current_device
from hetero.tensor import Tensor, apply

Position: TypeAlias = "int | Tensor"


class Cache(NamedTuple):
    """Keys and values of the positions so far, each (batch, heads, length, d); the rows behind them are zero."""

    keys: Tensor
    values: Tensor


def empty_cache(batch: int, heads: int, length: int, width: int, dtype: str = "float32", device: Any = None) -> Cache:
    """A cache without positions; `width` is that of one head."""
    nothing = place(np.zeros((batch, heads, length, width), dtype), device or current_device())
    return Cache(nothing, nothing)


@dataclass(init=False, eq=False, repr=False)
class MultiHeadAttention(Module):
    """(batch, n, width) -> (batch, n, width); heads that each look with width / heads numbers

    `kv_heads` fewer heads of keys and values, each for several of the queries; `rotary` turns queries and keys by
    their positions.
    """

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    heads: int
    kv_heads: int
    rotary: bool

    def __init__(
        self, width: int, heads: int, *, kv_heads: int | None = None, bias: bool = True, rotary: bool = False,
        key: Tensor | None = None, dtype: str = "float32",
    ) -> None:  # fmt: skip
        less = heads if kv_heads is None else kv_heads
        if heads < 1 or less < 1 or width % heads or heads % less:
            raise AttributeValueError(
                f"{heads} heads, {less} of them for keys and values, do not share a width of {width}",
                hint="heads divide the width, kv_heads divide heads",
            )
        inner = width // heads * less
        keys = init.keys(key, 4)
        self.query = Linear(width, width, bias=bias, key=keys[0], dtype=dtype)
        self.key = Linear(width, inner, bias=bias, key=keys[1], dtype=dtype)
        self.value = Linear(width, inner, bias=bias, key=keys[2], dtype=dtype)
        self.output = Linear(width, width, bias=bias, key=keys[3], dtype=dtype)
        self.heads, self.kv_heads, self.rotary = heads, less, rotary

    def __call__(
        self, x: Tensor, *, context: Tensor | None = None, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """(batch, n, width), context (batch, m, width), mask (..., n, m) -> (batch, n, width)

        Keys and values are those of `context`, or of x itself. A bool mask is true where a query may look.
        """
        other = x if context is None else context
        q, k, v = self.query(x), self.key(other), self.value(other)
        q, k, v = split(q, self.heads), split(k, self.kv_heads), split(v, self.kv_heads)
        if self.rotary:
            q = functional.rotary(q, functional.count(q.shape[-2], x))
            k = functional.rotary(k, functional.count(k.shape[-2], x))
        return self._seen(q, k, v, mask, causal)

    def step(self, x: Tensor, cache: Cache, position: Position) -> tuple[Tensor, Cache]:
        """(batch, n, width), a cache of `position` positions -> (batch, n, width), the cache with n more

        Each of the n sees itself and all before it. `position` is a number or an int64 (); with a tensor nobody can
        check that the cache has room, and what is beyond its end is lost.
        """
        n, length = x.shape[1], cache.keys.shape[2]
        if isinstance(position, int) and not 0 <= position <= length - n:
            raise ShapeError(
                f"{n} positions from {position} do not fit a cache of {length}", hint="a longer cache, or a new one"
            )
        q, k, v = (
            split(layer(x), heads)
            for layer, heads in ((self.query, self.heads), (self.key, self.kv_heads), (self.value, self.kv_heads))
        )
        places = functional.count(n, x) + position
        if self.rotary:
            q, k = functional.rotary(q, places), functional.rotary(k, places)
        cache = Cache(put(cache.keys, k, position), put(cache.values, v, position))
        seen = functional.count(length, x) <= expand_dims(places, axis=1)
        return self._seen(q, cache.keys, cache.values, seen, False), cache

    def _seen(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """The mean of values for each query, heads side by side again, through the last layer."""
        if self.heads != self.kv_heads:
            k, v = (repeated(t, self.heads // self.kv_heads) for t in (k, v))
        return self.output(join(functional.attention(q, k, v, mask, causal=causal)))


def split(x: Tensor, heads: int) -> Tensor:
    """(batch, n, heads * d) -> (batch, heads, n, d)"""
    batch, n, width = x.shape
    apart = apply("reshape", x, shape=(batch, n, heads, width // heads))
    return apply("permute", apart, axes=(0, 2, 1, 3))


def join(x: Tensor) -> Tensor:
    """(batch, heads, n, d) -> (batch, n, heads * d)"""
    batch, heads, n, width = x.shape
    return apply("reshape", apply("permute", x, axes=(0, 2, 1, 3)), shape=(batch, n, heads * width))


def repeated(x: Tensor, times: int) -> Tensor:
    """(batch, h, n, d) -> (batch, h * times, n, d); each head several times in a row"""
    batch, heads, n, width = x.shape
    wide = apply("broadcast_to", expand_dims(x, axis=2), shape=(batch, heads, times, n, width))
    return apply("reshape", wide, shape=(batch, heads * times, n, width))


def put(rows: Tensor, new: Tensor, position: Position) -> Tensor:
    """(batch, heads, length, d), (batch, heads, n, d) -> (batch, heads, length, d); `new` from `position` on"""
    n, length = new.shape[2], rows.shape[2]
    if isinstance(position, int):
        return concat([rows[:, :, :position], new, rows[:, :, position + n :]], axis=2)
    at = functional.count(length, rows) - position  # which of the new rows stands here
    fresh = (at >= 0) & (at < n)
    if n > 1:
        zero = place(np.zeros((), np.int64), rows.device)
        new = apply("take", new, apply("where", fresh, at, zero), axis=2)
    return apply("where", expand_dims(fresh, axis=1), new, rows)


__all__ = ["Cache", "MultiHeadAttention", "empty_cache", "join", "put", "repeated", "split"]
