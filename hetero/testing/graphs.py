"""Random graphs: small, valid, of ops that meet in real models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hetero.dim import concrete
from hetero.dtype import DType, float32
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType

# Bounded functions, so that a chain of any length neither overflows nor loses its digits.
_UNARY = ("tanh", "sin", "negative", "abs", "atan", "cos", "erf")
_BINARY = ("add", "subtract", "multiply", "maximum", "minimum")


def random_graph(seed: int, nodes: int = 12, dtype: DType = float32) -> tuple[Graph, tuple[Array, ...]]:
    """A graph and arrays for it, the same for the same seed."""
    rng = np.random.default_rng(seed)
    builder = Builder(f"random{seed}", track=False)
    shape = tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 4)))
    shapes = [shape, shape, shape[-1:], (*shape[:-1], 1)]
    values = [builder.input(f"x{i}", TensorType(s, dtype)) for i, s in enumerate(shapes)]
    for _ in range(nodes):
        step = _STEPS[int(rng.integers(len(_STEPS)))]
        made = step(builder, rng, values)
        if made is not None:
            values.append(made)
    count = int(rng.integers(1, 4))
    graph = builder.build({f"y{i}": r for i, r in enumerate(values[-count:])})
    return graph, tuple(rng.uniform(-1, 1, s).astype(dtype) for s in shapes)


def _pick(rng: np.random.Generator, values: list[Ref]) -> Ref:
    """Later values rather than earlier ones, so that chains grow."""
    return values[-1 - min(int(rng.exponential(2.0)), len(values) - 1)]


def _unary(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    return builder(_UNARY[int(rng.integers(len(_UNARY)))], _pick(rng, values))


def _binary(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    fits = [v for v in values if _broadcasts(a, v)]
    return builder(_BINARY[int(rng.integers(len(_BINARY)))], a, fits[int(rng.integers(len(fits)))])


def _broadcasts(a: Ref, b: Ref) -> bool:
    try:
        np.broadcast_shapes(concrete(a.type.known), concrete(b.type.known))
    except ValueError:
        return False
    return True


def _scale(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    return builder("multiply", _pick(rng, values), float(rng.uniform(-1, 1)))


def _where(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    return builder("where", builder("less", a, 0.1), a, builder("multiply", a, 0.5))


def _reduce(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    if not a.type.rank:
        return None
    axis = int(rng.integers(a.type.rank))
    name = ("sum", "max", "min", "mean")[int(rng.integers(4))]
    made = builder(name, a, axes=(axis,), keepdims=bool(rng.integers(4)))
    return builder("tanh", made) if name == "sum" else made


def _softmax(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    if not a.type.rank:
        return None
    axes = (a.type.rank - 1,)
    e = builder("exp", builder("subtract", a, builder("max", a, axes=axes, keepdims=True)))
    return builder("divide", e, builder("sum", e, axes=axes, keepdims=True))


def _flatten(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    return builder("reshape", a, shape=(a.type.size,))


def _turn(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    return builder("permute", a, axes=tuple(int(i) for i in rng.permutation(a.type.rank)))


def _cut(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    sizes = concrete(a.type.known)
    if not sizes:
        return None
    starts = tuple(int(rng.integers(n)) if n else 0 for n in sizes)
    return builder("slice", a, starts=starts, stops=sizes, steps=(1,) * len(sizes))


def _matmul(builder: Builder, rng: np.random.Generator, values: list[Ref]) -> Ref | None:
    a = _pick(rng, values)
    if a.type.rank < 2:
        return None
    inner, width = concrete(a.type.known)[-1], int(rng.integers(1, 7))
    weights = rng.uniform(-0.5, 0.5, (inner, width)).astype(a.type.dtype)
    return builder("tanh", builder("matmul", a, builder.constant(weights)))


_STEPS: tuple[Callable[[Builder, np.random.Generator, list[Ref]], Ref | None], ...] = (
    _unary, _unary, _binary, _binary, _binary, _scale, _where, _reduce, _softmax, _flatten, _turn, _cut, _matmul,
)  # fmt: skip
