"""Rewrites that keep ONNX Runtime from what its kernels leave undefined, integers by zero and shifts by too much, and
from what those of some versions get wrong.

Its kernels divide as the processor does, which may end the process at a divisor of 0, and at -1 where the dividend is
the least integer. hetero's meaning is NumPy's: x // 0 is 0, and so is what remains; what is shifted too far is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node
from hetero_onnxruntime.device import version

Guard = Callable[[Builder, Node, "tuple[Ref, ...]"], "Sequence[Ref] | None"]


def guarded(graph: Graph) -> Graph:
    """The graph with its guards, in the bodies of loops and branches too."""
    return rewrite(graph, _rule)


def _rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
    bodies = {k: guarded(v) for k, v in node.attrs.items() if isinstance(v, Graph)}
    if bodies:
        return builder.emit(node.op, refs, dict(node.attrs) | bodies)
    guard = GUARDS.get(node.op.name)
    return guard(builder, node, refs) if guard else None


def _division(b: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
    """By 1 instead of 0 and -1, and then what those give is put in the place of it."""
    x, y = refs
    if y.type.dtype.kind not in "iu":
        return None
    zero, one = (b.constant(np.array(v, y.type.dtype)) for v in (0, 1))
    none = b("equal", y, zero)
    if y.type.dtype.kind == "u":
        (made,) = b.emit(node.op, (x, b("where", none, one, y)), node.attrs)
        return (b("where", none, zero, made),)
    minus = b("equal", y, b.constant(np.array(-1, y.type.dtype)))
    (made,) = b.emit(node.op, (x, b("where", b("logical_or", none, minus), one, y)), node.attrs)
    by_minus = b("negative", x) if node.op.name == "floor_divide" else zero
    return (b("where", none, zero, b("where", minus, by_minus, made)),)


def _erf(b: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
    """Before 1.24 erf of NaN is 1."""
    if version() >= (1, 24):
        return None
    (x,) = refs
    return (b("where", b("isnan", x), x, b("erf", x)),)


def _bytes(b: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
    """Before 1.24 some sums of unsigned bytes are wrong where there is AMX: then as a product of 32-bit integers."""
    if version() >= (1, 24):
        return None
    x, y, x_zero, y_zero = (b("cast", r, dtype="int32") for r in refs)
    return (b("matmul", b("subtract", x, x_zero), b("subtract", y, y_zero)),)


def _left(b: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref]:
    """In two steps, since 2 to the highest bit is no signed integer; nothing where all bits go."""
    x, y, far, zero = _shift(b, refs)
    steps = y.type.dtype.itemsize * 8 - 2
    first = b("minimum", y, b.constant(np.array(steps, y.type.dtype)))
    made = b("left_shift", b("left_shift", x, first), b("subtract", y, first))
    return (b("where", far, zero, made),)


def _right(b: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref]:
    """In two steps; the sign stays where all bits go."""
    x, y, far, zero = _shift(b, refs)
    steps = y.type.dtype.itemsize * 8 - 2
    first = b("minimum", y, b.constant(np.array(steps, y.type.dtype)))
    made = b("right_shift", b("right_shift", x, first), b("subtract", y, first))
    sign = zero
    if x.type.dtype.kind == "i":
        sign = b("where", b("less", x, zero), b.constant(np.array(-1, x.type.dtype)), zero)
    return (b("where", far, sign, made),)


def _shift(b: Builder, refs: tuple[Ref, ...]) -> tuple[Ref, Ref, Ref, Ref]:
    """x, a shift that is in range, where it was not, and 0"""
    x, y = refs
    zero, bits = (b.constant(np.array(v, y.type.dtype)) for v in (0, y.type.dtype.itemsize * 8))
    far = b("greater_equal", y, bits)
    if y.type.dtype.kind == "i":
        far = b("logical_or", far, b("less", y, zero))
    return x, b("where", far, zero, y), far, zero


GUARDS: Mapping[str, Guard] = {
    "erf": _erf, "floor_divide": _division, "remainder": _division, "fmod": _division, "left_shift": _left,
    "right_shift": _right, "matmul_integer": _bytes,
}  # fmt: skip
