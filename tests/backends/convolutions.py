"""Convolutions whose weights are constants, with what may follow them: what panels are computed for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from hetero.dim import concrete
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType

Ints: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True, slots=True)
class Conv:
    """A geometry; `after` names what follows."""

    x: Ints  # samples, channels, size...
    outputs: int
    kernel: Ints
    strides: Ints
    before: Ints
    after_pads: Ints
    dilations: Ints = ()
    groups: int = 1
    bias: bool = True
    after: str = ""
    dtype: str = "float32"


CASES: Mapping[str, Conv] = {
    "plain": Conv((1, 3, 10, 10), 8, (1, 1), (1, 1), (0, 0), (0, 0), after="relu"),
    "padded": Conv((2, 4, 7, 19), 9, (3, 3), (1, 1), (1, 1), (1, 1), after="relu"),
    "nothing follows": Conv((1, 2, 6, 5), 4, (2, 2), (1, 1), (0, 0), (0, 0), bias=False),
    "strides, groups": Conv((2, 6, 11, 13), 10, (3, 3), (2, 2), (1, 1), (0, 1), groups=2, after="residual"),
    "strides over one cell": Conv(
        (1, 4, 17, 9), 12, (1, 1), (2, 3), (0, 0), (0, 0), groups=2, bias=False, after="relu"
    ),
    "dilated strides": Conv((1, 70, 8, 9), 12, (3, 2), (1, 2), (2, 1), (2, 1), (2, 3), after="residual"),
    "a line": Conv((1, 4, 50), 9, (5,), (3,), (4,), (1,), (2,), after="sign"),
    "a volume": Conv((2, 4, 5, 6, 7), 9, (2, 3, 2), (1, 2, 1), (0, 1, 1), (1, 1, 1), (1, 1, 2), after="residual"),
    "doubles": Conv((1, 4, 9, 9), 5, (3, 3), (1, 1), (1, 1), (1, 1), after="residual", dtype="float64"),
    "few windows": Conv((1, 5, 3, 3), 7, (3, 3), (1, 1), (0, 0), (0, 0), after="relu"),
    "deep": Conv((1, 300, 7, 7), 300, (3, 3), (1, 1), (1, 1), (1, 1), after="relu"),
}


def graph_of(case: Conv) -> tuple[Graph, list[Array]]:
    """x, and what else the follower takes -> y"""
    rng, builder = np.random.default_rng(0), Builder(track=False)

    def drawn(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(case.dtype)

    feed = [drawn(*case.x)]
    x = builder.input("x", TensorType(case.x, np.dtype(case.dtype)))
    each = case.x[1] // case.groups
    weights = drawn(case.outputs, each, *case.kernel) / np.sqrt(each * np.prod(case.kernel)).astype(case.dtype)
    given = [x, builder.constant(weights)] + ([builder.constant(drawn(case.outputs))] if case.bias else [])
    y = builder(
        "conv", *given, strides=case.strides, dilations=case.dilations or (1,) * len(case.kernel),
        pads_before=case.before, pads_after=case.after_pads, groups=case.groups,
    )  # fmt: skip
    if case.after == "residual":
        feed.append(drawn(*concrete(y.type.known)))
        other = builder.input("other", y.type)
        scale = builder.constant(drawn(case.outputs, *(1,) * len(case.kernel)))
        y = builder("multiply", builder("add", other, y), scale)
    if case.after:
        y = builder(AFTER[case.after], y, builder.constant(np.zeros((), case.dtype)))
    return builder.build({"y": y}), feed


AFTER = {"relu": "maximum", "residual": "maximum", "sign": "greater"}  # with zero
