"""Matrix products with what may follow them: what a kernel of panels computes in one go."""

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
class Product:
    """`known`: the right side is a constant. `after` names what follows."""

    a: Ints
    b: Ints
    known: bool = True
    after: str = ""
    dtype: str = "float32"


CASES: Mapping[str, Product] = {
    "whole strips": Product((16, 20), (20, 64), after="bias"),
    "neither whole rows nor whole strips": Product((19, 7), (7, 45), after="bias"),
    "few rows": Product((3, 40), (40, 70), after="residual"),
    "one row": Product((1, 300), (300, 33), after="bias"),
    "one column": Product((40, 30), (30, 1)),
    "one column less than a vector": Product((9, 5), (5, 15), after="sign"),
    "deep": Product((30, 700), (700, 40), after="bias"),
    "rows of a batch": Product((2, 3, 5, 8), (8, 33), after="bias"),
    "one of a batch": Product((2, 3, 5, 8), (1, 1, 8, 33), after="bias"),
    "not known": Product((19, 7), (7, 45), known=False, after="residual"),
    "not known, deep": Product((12, 260), (260, 50), known=False),
    "many": Product((3, 2, 20, 30), (3, 2, 30, 40), known=False, after="bias"),
    "left stretched": Product((20, 30), (3, 2, 30, 40), known=False, after="residual"),
    "both stretched": Product((3, 1, 20, 30), (1, 2, 30, 40), known=False),
    "many that are known": Product((2, 20, 30), (2, 30, 40), after="bias"),
    # where PoCL's doubles have half a register: by BLAS, then a kernel for what follows
    "doubles": Product((19, 7), (7, 45), after="bias", dtype="float64"),
}


def graph_of(case: Product) -> tuple[Graph, list[Array]]:
    """a, b where it is not known, and what else the follower takes -> y"""
    rng, builder = np.random.default_rng(0), Builder(track=False)

    def drawn(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(case.dtype)

    feed = [drawn(*case.a)]
    a = builder.input("a", TensorType(case.a, np.dtype(case.dtype)))
    right = drawn(*case.b) / np.sqrt(case.b[-2]).astype(case.dtype)
    if not case.known:
        feed.append(right)
    b = builder.constant(right) if case.known else builder.input("b", TensorType(case.b, np.dtype(case.dtype)))
    y = builder("matmul", a, b)
    if case.after == "residual":
        feed.append(drawn(*concrete(y.type.known)))
        y = builder("multiply", builder("add", builder.input("other", y.type), y), builder.constant(drawn(case.b[-1])))
    if case.after == "bias":
        y = builder("tanh", builder("add", y, builder.constant(drawn(case.b[-1]))))
    if case.after == "sign":
        y = builder("greater", y, builder.constant(np.zeros((), case.dtype)))
    return builder.build({"y": y}), feed
