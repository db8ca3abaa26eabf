"""First values of weights. Each is `(key, shape, dtype) -> tensor`; the same key gives the same bits on every backend.

The fan of a weight (out, in, *window) is how many numbers meet in one output: in times the window.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import Any, TypeAlias

import numpy as np

from hetero import random
from hetero.eager import place
from hetero.errors import ShapeError
from hetero.nn.module import Leaf
from hetero.tensor import Tensor
from hetero.tracing import spec

Shape: TypeAlias = "tuple[int, ...]"
Initialiser: TypeAlias = "Callable[[Tensor, Shape, str], Tensor]"


def _fans(shape: Shape) -> tuple[int, int]:
    """(out, in, *window) -> numbers that meet in one output, numbers that one input reaches"""
    if len(shape) < 2:
        raise ShapeError(f"a weight of shape {shape} has no fan", hint="init.normal or init.zeros, for vectors")
    window = prod(shape[2:])
    return shape[1] * window, shape[0] * window


def zeros(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
    """0"""
    return place(np.zeros(shape, dtype), key.device)


def ones(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
    """1"""
    return place(np.ones(shape, dtype), key.device)


def within(bound: float) -> Initialiser:
    """Uniform in [-bound, bound]"""

    def made(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
        return random.uniform(key, shape, dtype, -bound, bound)

    return made


def normal(deviation: float) -> Initialiser:
    """Normal around 0"""

    def made(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
        return random.normal(key, shape, dtype) * deviation

    return made


def fan_in(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
    """Uniform within 1 / sqrt(fan in), the default of PyTorch's linear and convolution layers"""
    return within(1 / sqrt(_fans(shape)[0]))(key, shape, dtype)


def glorot(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
    """Uniform within sqrt(6 / (fan in + fan out)). Source: Glorot and Bengio, AISTATS 2010, equation 16."""
    return within(sqrt(6 / sum(_fans(shape))))(key, shape, dtype)


def he(key: Tensor, shape: Shape, dtype: str = "float32") -> Tensor:
    """Normal with deviation sqrt(2 / fan in). Source: He et al., ICCV 2015, equation 10."""
    return normal(sqrt(2 / _fans(shape)[0]))(key, shape, dtype)


def weight(key: Tensor | None, shape: Shape, dtype: str, how: Initialiser) -> Leaf:
    """A weight of these values, or one that is still to come where there is no key."""
    return spec(shape, dtype) if key is None else how(key, shape, dtype)


def keys(key: Tensor | None, number: int) -> tuple[Any, ...]:
    """That many keys of one; none of none."""
    return (None,) * number if key is None else random.split(key, number)


__all__ = ["Initialiser", "fan_in", "glorot", "he", "keys", "normal", "ones", "weight", "within", "zeros"]
