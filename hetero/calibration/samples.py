"""Graphs to measure: ops and fused groups of the shapes that real networks have, drawn at random by family.

None is taken from a network: sizes are drawn log-uniformly between what is small and what is large for its kind, so
that what is fitted on one draw can be judged on another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, TypeAlias, TypeVar

import numpy as np

from hetero import dtype as dt
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import TensorType

Rng: TypeAlias = np.random.Generator
T = TypeVar("T")
Ints = tuple[int, ...]

MOST_OP = 3e9  # of one case: a second on a slow core
LARGE = 1 << 29  # for families whose cases are only moved: weights of hundreds of megabytes are turned over


@dataclass(frozen=True, slots=True)
class Case:
    """One graph to time."""

    family: str
    graph: Graph


@dataclass(frozen=True, slots=True)
class Draw:
    """How the cases of a family are made: `make` draws one, or None where the draw came out too large."""

    make: Callable[[Rng, str], Graph]
    quick: int  # cases in a quick calibration
    full: int
    most_byte: int = 1 << 27  # of one case


def cases(
    seed: int, *, quick: bool, dtype: str = "float32", share: float = 1.0, families: Sequence[str] = ()
) -> Iterator[Case]:
    """The cases of every family, or of those named; `share` of the number that the table gives."""
    for number, (family, draw) in enumerate(FAMILIES.items()):
        if families and family not in families:
            continue
        rng = np.random.default_rng([seed, number])
        made = 0
        wanted = max(1, round((draw.quick if quick else draw.full) * share))
        most_op, most_byte = (MOST_OP / 20, draw.most_byte >> 2) if quick else (MOST_OP, draw.most_byte)
        while made < wanted:
            graph = draw.make(rng, dtype)
            if _fits(graph, most_op, most_byte):
                made += 1
                yield Case(family, graph)


def _fits(graph: Graph, most_op: float, most_byte: int) -> bool:
    """Not too much to compute, nor to hold."""
    flop = sum(n.op.cost(graph.in_types(n), graph.out_types(n), n.attrs).flop for n in graph.nodes)
    return flop <= most_op and sum(t.nbytes for t in graph.types) <= most_byte


# -- drawing ------------------------------------------------------------------------------------------------


def _of(rng: Rng, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _size(rng: Rng, low: int, high: int) -> int:
    """Log-uniform; more often than not a round number, as sizes of layers are: a multiple of 4 or 16, or of a quarter
    of the power of two below it (caches dislike strides that are large powers of two)."""
    n = round(exp(rng.uniform(log(low), log(high))))
    quarter = max(1 << n.bit_length() - 3, 1) if n >= 8 else 1
    step = _of(rng, (1, 4, 16, quarter, quarter) if n >= 32 else (1, 2, 4))
    return min(max(n // step * step, low), high)


def _input(builder: Builder, name: str, shape: Ints, dtype: str) -> Ref:
    return builder.input(name, TensorType(shape, dt.of(dtype)))


def _plane(rng: Rng, low: int = 5, high: int = 200) -> tuple[int, int]:
    """Height and width: mostly square."""
    h = _size(rng, low, high)
    return (h, h) if rng.random() < 0.8 else (h, _size(rng, low, high))


# -- products -----------------------------------------------------------------------------------------------


def _matmul(rng: Rng, dtype: str) -> Graph:
    """(m, k) by (k, n): square ones, thin ones, vectors."""
    m, k, n = (_size(rng, 8, 1500) for _ in range(3))
    thin = rng.random()
    if thin < 0.3:
        m = _of(rng, (1, 1, 2, 4, 8))
        k, n = _size(rng, 64, 16000), _size(rng, 16, 8000)
    elif thin < 0.4:
        n = _of(rng, (1, 2, 4, 8))
    b = Builder("matmul", track=False)
    return b.build([b("matmul", _input(b, "a", (m, k), dtype), _input(b, "b", (k, n), dtype))])


def _batched(rng: Rng, dtype: str) -> Graph:
    """(batch, m, k) by (batch, k, n): heads of an attention, groups of a convolution."""
    batch, m, k, n = _size(rng, 2, 64), _size(rng, 4, 300), _size(rng, 4, 200), _size(rng, 4, 300)
    b = Builder("matmul", track=False)
    right = (batch, k, n) if rng.random() < 0.7 else (k, n)
    return b.build([b("matmul", _input(b, "a", (batch, m, k), dtype), _input(b, "b", right, dtype))])


def _conv(
    rng: Rng, dtype: str, kernel: Ints, channels: int, outputs: int, groups: int, plane: Ints, stride: int
) -> Graph:
    before = tuple(k // 2 if rng.random() < 0.8 else 0 for k in kernel)
    stride = stride if min(plane) > 2 * max(kernel) else 1
    b = Builder("conv", track=False)
    x = _input(b, "x", (1, channels, *plane), dtype)
    w = _input(b, "w", (outputs, channels // groups, *kernel), dtype)
    bias = [_input(b, "b", (outputs,), dtype)] if rng.random() < 0.6 else []
    y = b(
        "conv", x, w, *bias, strides=(stride,) * len(kernel), dilations=(1,) * len(kernel), pads_before=before,
        pads_after=before, groups=groups,
    )  # fmt: skip
    return b.build([y])


def _conv_dense(rng: Rng, dtype: str) -> Graph:
    k = _of(rng, (3, 3, 3, 5, 7))
    first = rng.random() < 0.15
    channels = _of(rng, (1, 3, 4)) if first else _size(rng, 8, 500)
    plane = _plane(rng, 50, 220) if first else _plane(rng, max(5, k), 120)
    return _conv(rng, dtype, (k, k), channels, _size(rng, 8, 500), 1, plane, _of(rng, (1, 1, 1, 2)))


def _conv_pointwise(rng: Rng, dtype: str) -> Graph:
    stride = _of(rng, (1, 1, 1, 1, 2))
    return _conv(rng, dtype, (1, 1), _size(rng, 8, 2000), _size(rng, 8, 2000), 1, _plane(rng, 5, 120), stride)


def _conv_depthwise(rng: Rng, dtype: str) -> Graph:
    c, k = _size(rng, 8, 1000), _of(rng, (3, 3, 3, 5))
    return _conv(rng, dtype, (k, k), c, c, c, _plane(rng, k, 120), _of(rng, (1, 1, 2)))


def _conv_grouped(rng: Rng, dtype: str) -> Graph:
    groups, k = _of(rng, (2, 3, 4, 8)), _of(rng, (1, 1, 3, 5))
    each, out = _size(rng, 4, 160), _size(rng, 4, 160)
    return _conv(rng, dtype, (k, k), each * groups, out * groups, groups, _plane(rng, max(5, k), 70), 1)


def _conv_line(rng: Rng, dtype: str) -> Graph:
    """Over one axis: sound, text, time series."""
    k = _of(rng, (3, 5, 7, 9))
    return _conv(rng, dtype, (k,), _size(rng, 8, 300), _size(rng, 8, 300), 1, (_size(rng, 50, 3000),), 1)


# -- windows, reductions ------------------------------------------------------------------------------------


def _pool(rng: Rng, dtype: str) -> Graph:
    k = _of(rng, (2, 3, 3, 3, 5, 7))
    plane = _plane(rng, k + 1, 150)
    pad = k // 2 if rng.random() < 0.4 else 0
    op = _of(rng, ("max_pool", "max_pool", "avg_pool"))
    b = Builder("pool", track=False)
    x = _input(b, "x", (1, _size(rng, 8, 700), *plane), dtype)
    y = b(
        op, x, kernel=(k, k), strides=(_of(rng, (1, 2, 2)),) * 2, dilations=(1, 1), pads_before=(pad,) * 2,
        pads_after=(pad,) * 2, ceil=False,
    )  # fmt: skip
    return b.build([y])


def _pool_line(rng: Rng, dtype: str) -> Graph:
    """Along the last axis of (n, 1, length), stride 1: sums over neighbours, as in a response normalisation."""
    k = _of(rng, (3, 5, 5, 7))
    pad = k // 2
    b = Builder("pool", track=False)
    x = _input(b, "x", (_size(rng, 4, 5000), 1, _size(rng, 8, 400)), dtype)
    y = b(
        _of(rng, ("max_pool", "avg_pool")), x, kernel=(k,), strides=(1,), dilations=(1,), pads_before=(pad,),
        pads_after=(pad,), ceil=False,
    )  # fmt: skip
    return b.build([y])


def _pool_whole(rng: Rng, dtype: str) -> Graph:
    plane = _plane(rng, 4, 20)
    op = _of(rng, ("avg_pool", "max_pool"))
    none = (0, 0)
    b = Builder("pool", track=False)
    x = _input(b, "x", (1, _size(rng, 32, 2000), *plane), dtype)
    y = b(op, x, kernel=plane, strides=(1, 1), dilations=(1, 1), pads_before=none, pads_after=none, ceil=False)
    return b.build([y])


def _reduce(rng: Rng, dtype: str) -> Graph:
    shape = tuple(_size(rng, 2, 300) for _ in range(int(rng.integers(2, 4))))
    first = int(rng.integers(len(shape)))
    last = int(rng.integers(first, len(shape)))
    b = Builder("reduce", track=False)
    op = _of(rng, ("sum", "sum", "max", "min", "prod"))
    return b.build([b(op, _input(b, "x", shape, dtype), axes=tuple(range(first, last + 1)), keepdims=True)])


# -- elementwise --------------------------------------------------------------------------------------------

_CHEAP = ("add", "subtract", "multiply", "maximum", "minimum", "abs", "negative", "square")
_DEAR = ("divide", "sqrt", "rsqrt", "reciprocal")
_FUNCTIONS = ("exp", "tanh", "log", "erf", "sin", "cos", "expm1", "log1p", "atan", "power")
_BINARY = frozenset({"add", "subtract", "multiply", "maximum", "minimum", "divide", "power"})


def _shape(rng: Rng) -> Ints:
    """(1, c, h, w) of a picture, or rows."""
    if rng.random() < 0.6:
        return (1, _size(rng, 8, 800), *_plane(rng, 5, 120))
    return (_size(rng, 1, 2000), _size(rng, 16, 4000))


def _other(rng: Rng, b: Builder, name: str, shape: Ints, dtype: str) -> Ref | float:
    """The second input of a binary op: as large, one a channel, or a number."""
    kind = rng.random()
    if kind < 0.4:
        return _input(b, name, shape, dtype)
    if kind < 0.7:
        return 1.5
    return _input(b, name, (shape[1], *(1,) * (len(shape) - 2)) if len(shape) == 4 else shape[-1:], dtype)


def _single(ops: Sequence[str]) -> Callable[[Rng, str], Graph]:
    def make(rng: Rng, dtype: str) -> Graph:
        op, shape = _of(rng, ops), _shape(rng)
        b = Builder(op, track=False)
        x = _input(b, "x", shape, dtype)
        return b.build([b(op, x, *([_other(rng, b, "y", shape, dtype)] if op in _BINARY else []))])

    return make


def _region(rng: Rng, dtype: str) -> Graph:
    """A chain of elementwise ops that fuses into one pass."""
    shape = _shape(rng)
    b = Builder("region", track=False)
    x = value = _input(b, "x", shape, dtype)
    side: list[Ref] = [x]
    for i in range(int(rng.integers(2, 9))):
        ops = _CHEAP if rng.random() < 0.75 else _DEAR if rng.random() < 0.5 else _FUNCTIONS
        op = _of(rng, ops)
        more: list[Any] = []
        if op in _BINARY:
            more = [_of(rng, side) if rng.random() < 0.3 else _other(rng, b, f"y{i}", shape, dtype)]
            if op == "power":
                more = [1.5]
        value = b(op, value, *more)
        side.append(value)
    return b.build([value])


def _region_of(functions: Sequence[str]) -> Callable[[Rng, str], Graph]:
    """A function between cheap ops: functions are too rare in random chains to tell their rates from those."""

    def make(rng: Rng, dtype: str) -> Graph:
        op, shape = _of(rng, functions), _shape(rng)
        b = Builder("function", track=False)
        x = _input(b, "x", shape, dtype)
        value = b(op, b("abs", b("multiply", x, 0.9)), *([1.3] if op in _BINARY else []))
        return b.build([b("add", value, x if rng.random() < 0.5 else 1.0)])

    return make


def _affine(rng: Rng, dtype: str) -> Graph:
    """What follows a convolution: scale and shift of each channel, perhaps a second tensor, perhaps a lower bound."""
    shape = (1, _size(rng, 8, 2000), *_plane(rng, 5, 120))
    b = Builder("affine", track=False)
    value = _input(b, "x", shape, dtype)
    for i in range(int(rng.integers(1, 4))):
        value = b(_of(rng, ("multiply", "add", "subtract")), value, _input(b, f"c{i}", (shape[1], 1, 1), dtype))
    if rng.random() < 0.3:
        value = b("add", value, _input(b, "y", shape, dtype))
    return b.build([b("maximum", value, 0.0)])


def _rows(rng: Rng, dtype: str) -> Graph:
    """Softmax, layer norm and their kin."""
    shape = (_size(rng, 1, 3000), _size(rng, 16, 2000))
    b = Builder("rows", track=False)
    x = _input(b, "x", shape, dtype)
    scale, bias = (_input(b, n, shape[-1:], dtype) for n in ("scale", "bias"))
    made = {
        "softmax": lambda: b("softmax", x, axis=1),
        "log_softmax": lambda: b("log_softmax", x, axis=1),
        "layer_norm": lambda: b("layer_norm", x, scale, bias, axis=1),
        "rms_norm": lambda: b("rms_norm", x, scale, axis=1),
    }
    return b.build([made[_of(rng, list(made))]()])


# -- movement -----------------------------------------------------------------------------------------------


def _permute(rng: Rng, dtype: str) -> Graph:
    """Matrices turned over, and axes of pictures changed around."""
    b = Builder("permute", track=False)
    if rng.random() < 0.5:
        shape = (_size(rng, 16, 12000), _size(rng, 16, 8000))
        if rng.random() < 0.2:  # the weights of a large layer
            shape = (_size(rng, 1500, 12000), _size(rng, 1500, 8000))
        if rng.random() < 0.4:
            shape = shape[0], max(1 << shape[1].bit_length() - 1, 64)
        return b.build([b("permute", _input(b, "x", shape, dtype), axes=(1, 0))])
    shape = (_size(rng, 1, 8), _size(rng, 2, 200), _size(rng, 4, 120), _size(rng, 4, 120))
    axes = _of(rng, ((0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3), (2, 0, 1, 3), (1, 0, 2, 3)))
    return b.build([b("permute", _input(b, "x", shape, dtype), axes=axes)])


def _concat(rng: Rng, dtype: str) -> Graph:
    b = Builder("concat", track=False)
    plane = _plane(rng, 5, 100)
    xs = [_input(b, f"x{i}", (1, _size(rng, 8, 400), *plane), dtype) for i in range(int(rng.integers(2, 5)))]
    return b.build([b("concat", *xs, axis=1)])


def _slice(rng: Rng, dtype: str) -> Graph:
    shape = (_size(rng, 1, 8), _size(rng, 8, 400), *_plane(rng, 8, 100))
    axis = int(rng.integers(1, 4))
    starts = tuple(n // 4 if i == axis else 0 for i, n in enumerate(shape))
    steps = tuple(2 if i == axis and rng.random() < 0.3 else 1 for i in range(4))
    b = Builder("slice", track=False)
    return b.build([b("slice", _input(b, "x", shape, dtype), starts=starts, stops=shape, steps=steps)])


def _pad(rng: Rng, dtype: str) -> Graph:
    shape = (1, _size(rng, 8, 400), *_plane(rng, 8, 100))
    width = (0, 0, *(int(rng.integers(1, 4)) for _ in range(2)))
    b = Builder("pad", track=False)
    return b.build([b("pad", _input(b, "x", shape, dtype), before=width, after=width)])


def _fill(rng: Rng, dtype: str) -> Graph:
    """One number, or one a channel, for a whole tensor."""
    whole = rng.random() < 0.7
    shape = (_size(rng, 4, 12000), _size(rng, 4, 8000))
    if rng.random() < 0.2:  # the weights of a large layer
        shape = (_size(rng, 1500, 12000), _size(rng, 1500, 8000))
    b = Builder("fill", track=False)
    return b.build([b("broadcast_to", _input(b, "x", () if whole else (shape[0], 1), dtype), shape=shape)])


def _gather(rng: Rng, dtype: str) -> Graph:
    """Rows of a table, as an embedding takes them."""
    b = Builder("take", track=False)
    x = _input(b, "x", (_size(rng, 100, 20000), _size(rng, 8, 600)), dtype)
    return b.build([b("take", x, _input(b, "i", (_size(rng, 1, 2000),), "int32"), axis=0)])


def _sort(rng: Rng, dtype: str) -> Graph:
    b = Builder("sort", track=False)
    x = _input(b, "x", (_size(rng, 1, 100), _size(rng, 16, 20000)), dtype)
    return b.build([b("argsort", x, axis=1, descending=False)])


def _cumulative(rng: Rng, dtype: str) -> Graph:
    b = Builder("cumsum", track=False)
    x = _input(b, "x", (_size(rng, 1, 500), _size(rng, 16, 4000)), dtype)
    return b.build([b("cumsum", x, axis=int(rng.integers(2)), exclusive=False, reverse=False)])


FAMILIES: Mapping[str, Draw] = {
    "matmul": Draw(_matmul, 24, 80, LARGE),
    "matmul of batches": Draw(_batched, 6, 24),
    "conv": Draw(_conv_dense, 24, 80),
    "conv 1x1": Draw(_conv_pointwise, 14, 48),
    "conv depthwise": Draw(_conv_depthwise, 8, 36),
    "conv in groups": Draw(_conv_grouped, 8, 24),
    "conv 1d": Draw(_conv_line, 4, 12),
    "pool": Draw(_pool, 16, 54),
    "pool 1d": Draw(_pool_line, 8, 24),
    "pool all": Draw(_pool_whole, 5, 16),
    "reduce": Draw(_reduce, 12, 44),
    "cheap elementwise": Draw(_single(_CHEAP), 16, 48),
    "dear elementwise": Draw(_single(_DEAR), 8, 28),
    "function": Draw(_single(_FUNCTIONS), 12, 40),
    "region": Draw(_region, 14, 48),
    "region of a function": Draw(_region_of((*_FUNCTIONS, *_DEAR)), 20, 60),
    "affine": Draw(_affine, 10, 36),
    "rows": Draw(_rows, 8, 24),
    "permute": Draw(_permute, 20, 84, LARGE),
    "concat": Draw(_concat, 5, 14),
    "slice": Draw(_slice, 5, 14),
    "pad": Draw(_pad, 3, 10),
    "fill": Draw(_fill, 8, 28, LARGE),
    "gather": Draw(_gather, 4, 14),
    "sort": Draw(_sort, 6, 16),
    "cumulative": Draw(_cumulative, 4, 12),
}
