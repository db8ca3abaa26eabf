"""Layers: weights and what is computed with them. Fields are called as PyTorch calls them, and have its shapes.

Made with `key=`, a layer has random weights; without, weights that are still to be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hetero.nn import functional, init
from hetero.nn.module import Leaf, Module, have
from hetero.tensor import Tensor


@dataclass(init=False, eq=False, repr=False)
class Linear(Module):
    """(..., in) -> (..., out); x weight^T + bias, with weight (out, in)"""

    weight: Leaf
    bias: Leaf | None

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, key: Tensor | None = None, dtype: str = "float32",
        initial: init.Initialiser = init.fan_in,
    ) -> None:  # fmt: skip
        first, second = init.keys(key, 2)
        self.weight = init.weight(first, (outputs, inputs), dtype, initial)
        self.bias = init.weight(second, (outputs,), dtype, init.within(inputs**-0.5)) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, *have(self, *("weight", "bias")[: 1 if self.bias is None else 2]))


@dataclass(init=False, eq=False, repr=False)
class Embedding(Module):
    """integer (...) -> (..., d); rows of weight (n, d)"""

    weight: Leaf

    def __init__(
        self, number: int, width: int, *, key: Tensor | None = None, dtype: str = "float32",
        initial: init.Initialiser | None = None,
    ) -> None:  # fmt: skip
        self.weight = init.weight(key, (number, width), dtype, initial or init.normal(1.0))

    def __call__(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, *have(self, "weight"))


@dataclass(init=False, eq=False, repr=False)
class LayerNorm(Module):
    """(..., d) -> (..., d); mean 0 and variance 1, then times weight (d,), plus bias (d,)"""

    weight: Leaf
    bias: Leaf | None
    epsilon: float

    def __init__(
        self, width: int, *, epsilon: float = 1e-5, bias: bool = True, key: Tensor | None = None, dtype: str = "float32"
    ) -> None:
        self.weight = init.weight(key, (width,), dtype, init.ones)
        self.bias = init.weight(key, (width,), dtype, init.zeros) if bias else None
        self.epsilon = epsilon

    def __call__(self, x: Tensor) -> Tensor:
        given = have(self, *("weight", "bias")[: 1 if self.bias is None else 2])
        return functional.layer_norm(x, *given, epsilon=self.epsilon)


@dataclass(init=False, eq=False, repr=False)
class RMSNorm(Module):
    """(..., d) -> (..., d); a mean square of 1, then times weight (d,)"""

    weight: Leaf
    epsilon: float

    def __init__(self, width: int, *, epsilon: float = 1e-5, key: Tensor | None = None, dtype: str = "float32") -> None:
        self.weight = init.weight(key, (width,), dtype, init.ones)
        self.epsilon = epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, *have(self, "weight"), epsilon=self.epsilon)


@dataclass(init=False, eq=False, repr=False)
class BatchNorm(Module):
    """(n, c, *s) -> (n, c, *s); by the running mean and variance, each (c,), which nothing here updates"""

    weight: Leaf
    bias: Leaf
    running_mean: Leaf
    running_var: Leaf
    epsilon: float

    def __init__(
        self, channels: int, *, epsilon: float = 1e-5, key: Tensor | None = None, dtype: str = "float32"
    ) -> None:
        self.weight = init.weight(key, (channels,), dtype, init.ones)
        self.bias = init.weight(key, (channels,), dtype, init.zeros)
        self.running_mean = init.weight(key, (channels,), dtype, init.zeros)
        self.running_var = init.weight(key, (channels,), dtype, init.ones)
        self.epsilon = epsilon

    def __call__(self, x: Tensor) -> Tensor:
        given = have(self, "running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *given, epsilon=self.epsilon)


@dataclass(init=False, eq=False, repr=False)
class Conv2d(Module):
    """(n, in, h, w) -> (n, out, h', w'); weight (out, in / groups, *kernel), padding of zeros on both sides"""

    weight: Leaf
    bias: Leaf | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, key: Tensor | None = None, dtype: str = "float32",
        initial: init.Initialiser = init.fan_in,
    ) -> None:  # fmt: skip
        first, second = init.keys(key, 2)
        high, wide = functional.each(kernel, 2, "kernel")
        self.weight = init.weight(first, (outputs, inputs // groups, high, wide), dtype, initial)
        bound = (inputs // groups * high * wide) ** -0.5
        self.bias = init.weight(second, (outputs,), dtype, init.within(bound)) if bias else None
        self.stride = functional.each(stride, 2, "stride")
        self.padding = functional.each(padding, 2, "padding")
        self.dilation = functional.each(dilation, 2, "dilation")
        self.groups = groups

    def __call__(self, x: Tensor) -> Tensor:
        given = have(self, *("weight", "bias")[: 1 if self.bias is None else 2])
        return functional.conv(
            x, *given, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )


@dataclass(init=False, eq=False, repr=False)
class Dropout(Module):
    """(...) -> (...); x itself unless a key is given"""

    rate: float

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, x: Tensor, key: Tensor | None = None) -> Tensor:
        return functional.dropout(x, self.rate, key)


@dataclass(init=False, eq=False, repr=False)
class Sequential(Module):
    """One layer after another; a plain function of one tensor may stand among them"""

    layers: tuple[Callable[[Tensor], Tensor], ...]

    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        self.layers = layers

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


__all__ = ["BatchNorm", "Conv2d", "Dropout", "Embedding", "LayerNorm", "Linear", "RMSNorm", "Sequential"]
