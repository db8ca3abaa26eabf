"""Shapes as values while dimensions have names: `Shape -> Gather -> Concat -> Reshape` without numbers.

Exporters compute target shapes with ordinary nodes. Each rule here gives a node's output as an object array of
ints and `Dim`s, so that the Reshape at the end is lowered at import, for every batch size at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, Wait
from hetero.dim import Dim
from hetero.errors import HeteroError
from hetero.graph.build import Ref
from hetero.op import Array

LIMIT = 4096  # elements; a shape is short

Rule: TypeAlias = Callable[..., Any]


class _Unknown(Exception):  # noqa: N818 - an answer, not an error
    """Nothing can be said about the output."""


def note(call: Call, outs: tuple[Ref, ...]) -> None:
    """Remember the output's elements, if the node computes with shapes and all of its inputs are known."""
    rule = RULES.get(call.op) if call.domain == "" else None
    if rule is None or len(outs) != 1 or outs[0].known is not None:
        return
    try:
        made = rule(call, *call.inputs, **call.attrs)
    except (_Unknown, Wait, HeteroError, ValueError, IndexError, TypeError, OverflowError):
        return  # only a shortcut: the node itself says what is wrong
    if made is not None and made.size <= LIMIT:
        call.symbolic[outs[0].index] = made


def _elements(call: Call, x: Ref | None) -> Array:
    if x is None:
        raise _Unknown
    if x.known is not None:
        if dt.kind(x.known.dtype) not in "iub" or x.known.size > LIMIT:
            raise _Unknown
        return x.known.astype(object)
    if x.index not in call.symbolic:
        raise _Unknown
    return call.symbolic[x.index]


def _objects(values: Any, shape: tuple[int, ...] | None = None) -> Array:
    """An object array; NumPy must not look inside a Dim."""
    flat = list(values)
    out = np.empty(len(flat), object)
    for i, v in enumerate(flat):
        out[i] = v
    return out if shape is None else out.reshape(shape)


def _shape(call: Call, x: Ref, *, start: int = 0, end: int | None = None) -> Array:
    return _objects(x.type.known[start:end])


def _size(call: Call, x: Ref) -> Array:
    return _objects([x.type.size], ())


def _same(call: Call, x: Ref, *_: Ref, **__: Any) -> Array:
    return _elements(call, x)


def _cast(call: Call, x: Ref, *, to: int, **_: Any) -> Array:
    if to not in (6, 7):  # int32, int64
        raise _Unknown
    return _elements(call, x)


def _gather(call: Call, x: Ref, indices: Ref, *, axis: int = 0) -> Array:
    if indices.known is None:
        raise _Unknown
    taken = np.take(_elements(call, x), indices.known.astype(np.int64), axis)
    return _objects(np.ravel(taken), np.shape(taken)) if np.ndim(taken) else _objects([taken], ())


def _slice(call: Call, x: Ref, *rest: Ref | None, **attrs: Any) -> Array:
    data = _elements(call, x)
    if data.ndim != 1 or attrs or len(rest) < 2:
        raise _Unknown
    start, stop, _, step = [None if r is None else call.ints(r)[0] for r in (*rest, None, None)][:4]
    return data[slice(start, stop, step)]


def _concat(call: Call, *xs: Ref, axis: int) -> Array:
    return np.concatenate([_elements(call, x) for x in xs], axis)


def _unsqueeze(call: Call, x: Ref, axes_in: Ref | None = None, *, axes: tuple[int, ...] = ()) -> Array:
    return np.expand_dims(_elements(call, x), tuple(call.ints(axes_in)) if axes_in is not None else tuple(axes))


def _squeeze(call: Call, x: Ref, axes_in: Ref | None = None, *, axes: tuple[int, ...] = ()) -> Array:
    given = tuple(call.ints(axes_in)) if axes_in is not None else tuple(axes)
    return np.squeeze(_elements(call, x), given or None)


def _reshape(call: Call, x: Ref, shape: Ref, *, allowzero: int = 0) -> Array:
    return _elements(call, x).reshape(call.ints(shape))


def _pairs(call: Call, a: Ref, b: Ref) -> tuple[Array, Array]:
    left, right = np.broadcast_arrays(_elements(call, a), _elements(call, b))
    return left, right


def _arithmetic(apply: Callable[[Any, Any], Any]) -> Rule:
    def rule(call: Call, a: Ref, b: Ref) -> Array:
        left, right = _pairs(call, a, b)
        return _objects(map(apply, left.ravel(), right.ravel()), left.shape)

    return rule


def _add(a: Any, b: Any) -> Any:
    return a + b


def _subtract(a: Any, b: Any) -> Any:
    return a - b


def _multiply(a: Any, b: Any) -> Any:
    return a * b


def _divide(a: Any, b: Any) -> Any:
    """Exact, or between plain numbers that are not negative."""
    if isinstance(a, int) and isinstance(b, int) and (a < 0 or b <= 0):
        raise _Unknown
    return a // b


def _equal(a: Any, b: Any) -> Any:
    """A named dimension is never negative; more is not known of it."""
    if isinstance(a, Dim) and isinstance(b, Dim):
        if a == b:
            return True
        raise _Unknown
    if isinstance(a, Dim) or isinstance(b, Dim):
        name, number = (a, b) if isinstance(a, Dim) else (b, a)
        if number < 0 and all(c > 0 for c in name.terms.values()):
            return False
        raise _Unknown
    return bool(a == b)


def _where(call: Call, condition: Ref, a: Ref, b: Ref) -> Array:
    test = _elements(call, condition)
    test, left, right = np.broadcast_arrays(test, _elements(call, a), _elements(call, b))
    chosen = (x if c else y for c, x, y in zip(test.ravel(), left.ravel(), right.ravel(), strict=True))
    return _objects(chosen, test.shape)


def _product(call: Call, x: Ref, axes_in: Ref | None = None, *, keepdims: int = 1, **_: Any) -> Array:
    data = _elements(call, x)
    if data.ndim != 1:
        raise _Unknown
    total: Any = 1
    for n in data:
        total = total * n
    return _objects([total], (1,) if keepdims else ())


def _constant_of_shape(call: Call, shape: Ref, *, value: Array | None = None) -> Array:
    if value is None or dt.kind(value.dtype) not in "iu":
        raise _Unknown
    sizes = call.ints(shape)
    if any(not 0 <= n <= LIMIT for n in sizes) or len(sizes) > 1:
        raise _Unknown
    return _objects([int(value.ravel()[0])] * (sizes[0] if sizes else 1), sizes)


RULES: dict[str, Rule] = {
    "Shape": _shape, "Size": _size, "Identity": _same, "Cast": _cast, "Gather": _gather, "Slice": _slice,
    "Concat": _concat, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Reshape": _reshape,
    "Add": _arithmetic(_add), "Sub": _arithmetic(_subtract), "Mul": _arithmetic(_multiply),
    "Div": _arithmetic(_divide), "Equal": _arithmetic(_equal), "Where": _where, "ReduceProd": _product,
    "ConstantOfShape": _constant_of_shape,
}  # fmt: skip
