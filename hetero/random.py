"""Random tensors from keys: the same key gives the same bits on every backend.

    key = ht.random.key(0)
    first, second = ht.random.split(key)
    x = ht.random.normal(first, (3, 4))

A key is a tensor, uint32 (4,). Nothing is hidden: no function changes a key, so use each one once and make more
by `split` or `fold_in`. What is drawn is on the key's device.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.array_api.creation import Kind, Where, asarray
from hetero.array_api.indexing import take
from hetero.array_api.manipulation import normal_axis, reshape
from hetero.array_api.statistical import cumulative_sum
from hetero.dim import prod, show
from hetero.eager import place
from hetero.errors import AttributeValueError, ShapeError
from hetero.select import device_of
from hetero.tensor import Operand, Tensor, apply

Sizes: TypeAlias = "int | tuple[int, ...]"
_SPLIT, _FOLD = 0x5B1D7A2F, 0xC3E96A51  # set apart the words that become keys from those that are drawn


def _shape(shape: Sizes) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def key(seed: int, *, device: Where = None) -> Tensor:
    """The key of a seed from 0 to 2^128 - 1: uint32 (4,), its words from the lowest"""
    if not 0 <= seed < 1 << 128:
        raise AttributeValueError(f"a seed is 0 to 2^128 - 1, got {seed}")
    words = [seed >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)]
    return place(np.array(words, np.uint32), device_of(device))


def _tagged(key: Tensor, tag: int, low: int = 0, high: int = 0) -> Tensor:
    """The key with a tag on its second word, and two words of data on the upper half of its counter."""
    return key ^ place(np.array([0, tag, low, high], np.uint32), key.device)


def split(key: Tensor, num: int = 2) -> tuple[Tensor, ...]:
    """`num` keys, each uint32 (4,), all different"""
    words = apply("philox", _tagged(key, _SPLIT), shape=(num, 4))
    return tuple(words[i] for i in range(num))


def fold_in(key: Tensor, data: int) -> Tensor:
    """The key of `key` and a number from 0 to 2^64 - 1, such as a step or a worker; another for each number"""
    if not 0 <= data < 1 << 64:
        raise AttributeValueError(f"fold_in takes 0 to 2^64 - 1, got {data}")
    return apply("philox", _tagged(key, _FOLD, data & 0xFFFFFFFF, data >> 32), shape=(4,))


def bits(key: Tensor, shape: Sizes = (), dtype: Kind = None) -> Tensor:
    """Unsigned integers of all values, uint32 by default"""
    return apply("random_bits", key, shape=_shape(shape), dtype=dt.of(dtype or "uint32").name)


def uniform(key: Tensor, shape: Sizes = (), dtype: Kind = None, low: Operand = 0.0, high: Operand = 1.0) -> Tensor:
    """Floats from low up to, but not, high; float32 by default, multiples of 2^-24 (of 2^-53 in float64)

    Other bounds than 0 and 1 scale and round afterwards, which may give `high` itself.
    """
    unit = apply("uniform", key, shape=_shape(shape), dtype=dt.of(dtype or "float32").name)
    if isinstance(low, float | int) and isinstance(high, float | int) and (low, high) == (0, 1):
        return unit
    return unit * (high - low) + low


def normal(key: Tensor, shape: Sizes = (), dtype: Kind = None) -> Tensor:
    """Floats of the standard normal distribution, float32 by default"""
    return apply("normal", key, shape=_shape(shape), dtype=dt.of(dtype or "float32").name)


def randint(key: Tensor, shape: Sizes, low: int, high: int, dtype: Kind = None) -> Tensor:
    """Integers from low to high - 1, at most 2^32 of them; int64 by default"""
    return apply("randint", key, shape=_shape(shape), low=int(low), high=int(high), dtype=dt.of(dtype or "int64").name)


def bernoulli(key: Tensor, p: Operand = 0.5, shape: Sizes | None = None) -> Tensor:
    """True with probability p; of the shape of p unless given"""
    wanted = _shape(shape) if shape is not None else p.shape if isinstance(p, Tensor) else ()
    dtype = p.dtype.name if isinstance(p, Tensor) else "float32"
    return apply("uniform", key, shape=wanted, dtype=dtype) < p


def permutation(key: Tensor, x: int | Tensor, *, axis: int = 0) -> Tensor:
    """0 .. x - 1, or the slices of a tensor along `axis`, in random order"""
    if isinstance(x, int):
        return apply("permutation", key, n=x)
    axis = normal_axis(axis, x.ndim)
    return take(x, apply("permutation", key, n=x.shape[axis]), axis=axis)


def choice(
    key: Tensor, x: int | Tensor, shape: Sizes = (), *, replace: bool = True, p: Any = None, axis: int = 0
) -> Tensor:
    """Numbers below x, or slices of a tensor along `axis`, drawn with or without putting back

    `p`, a probability for each, wants `replace`; its running sum is rounded as the device adds, so a draw right at a
    border may differ between backends. Without `p` draws are the same everywhere.
    """
    wanted, n = _shape(shape), x if isinstance(x, int) else x.shape[normal_axis(axis, x.ndim)]
    count = int(prod(wanted))
    if p is not None:
        if not replace:
            raise AttributeValueError("choice with p puts back", hint="leave out p, or replace=True")
        places = _weighted(key, p, n, count)
    elif replace:
        places = randint(key, (count,), 0, n)
    elif count > n:
        raise ShapeError(f"choice of {count} of {n} without putting back", hint="replace=True")
    else:
        places = apply("permutation", key, n=n)[:count]
    if isinstance(x, int):
        return reshape(places, wanted)
    axis = normal_axis(axis, x.ndim)
    return reshape(take(x, places, axis=axis), (*x.shape[:axis], *wanted, *x.shape[axis + 1 :]))


def _weighted(key: Tensor, p: Any, n: int, count: int) -> Tensor:
    """Where uniform draws fall in the running sum of `p`."""
    weights = (p if isinstance(p, Tensor) else asarray(p, device=key.device)).astype(dt.float64)
    if weights.shape != (n,):
        raise ShapeError(f"choice among {n} wants p of shape ({n},), got {show(weights.shape)}")
    edges = cumulative_sum(weights)
    drawn = apply("uniform", key, shape=(count,), dtype="float64") * edges[-1]
    return apply("minimum", apply("searchsorted", edges, drawn, side="right"), n - 1)


__all__ = [
    "bernoulli", "bits", "choice", "fold_in", "key", "normal", "permutation", "randint", "split", "uniform",
]  # fmt: skip
