"""Ops that write where they are told: op name -> a function of (inputs, attributes) that fills `out`.

Every entry gives what the op's reference gives; an op that is not here runs by its reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from hetero.op import OPS, Array, Attrs, Types
from hetero_numpy.special import erf

Into: TypeAlias = Callable[..., Any]  # (*arrays, out=array)


def _rsqrt(x: Array, out: Array) -> None:
    np.sqrt(x, out=out)
    np.divide(1, out, out=out)


def _cast(x: Array, out: Array) -> None:
    with np.errstate(all="ignore"):
        np.copyto(out, np.real(x) if x.dtype.kind == "c" and out.dtype.kind not in "cb" else x, casting="unsafe")


def _where(condition: Array, x: Array, y: Array, out: Array) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


def _round(x: Array, out: Array) -> None:
    np.rint(x, out=out) if x.dtype.kind in "fc" else np.copyto(out, x)


def _erf(x: Array, out: Array) -> None:
    erf(x, out)


def _for_floats(ufunc: np.ufunc, name: str) -> Into:
    """The ufunc where the reference differs from it for other dtypes only."""
    otherwise = _by_reference(name)

    def run(*arrays: Array, out: Array) -> None:
        if all(a.dtype.kind == "f" for a in arrays):
            ufunc(*arrays, out=out)
        else:
            otherwise(*arrays, out=out)

    return run


def _by_reference(name: str) -> Into:
    """Right, with a copy: for elementwise ops that have nothing better."""
    reference = OPS[name].reference

    def run(*arrays: Array, out: Array) -> None:
        np.copyto(out, reference(*arrays))

    return run


_FLOATS: dict[str, np.ufunc] = {
    "tanh": np.tanh, "expm1": np.expm1, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "power": np.power,
    "sign": np.sign, "fmod": np.fmod,
}  # fmt: skip

# An op whose reference is the ufunc itself needs no entry: `into` takes the ufunc.
_SPECIAL: dict[str, Into] = {
    "matmul": np.matmul,
    "rsqrt": _rsqrt,
    "cast": _cast,
    "where": _where,
    "round": _round,
    "erf": _erf,
}
_REDUCE: dict[str, np.ufunc] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "any": np.logical_or, "all": np.logical_and,
}  # fmt: skip


def _rows_matmul(a: Array, b: Array, out: Array) -> None:
    """(..., m, k), (k, n) -> (..., m, n): one product of all rows, not one for each matrix"""
    rows = math.prod(a.shape[:-1])
    np.matmul(a.reshape(rows, a.shape[-1]), b, out=out.reshape(rows, out.shape[-1]))


def into(name: str, attrs: Attrs, types: Types = ()) -> Into | None:
    """The function that runs op `name` into `out=`, or None; a quicker one where the inputs' types are known."""
    if types and name in _FLOATS and all(t.dtype.kind == "f" for t in types):
        return _FLOATS[name]
    if types and name == "matmul" and types[0].rank > types[1].rank == 2:
        return _rows_matmul
    if name in _SPECIAL:
        return _SPECIAL[name]
    if name in _REDUCE:
        return _reduction(_REDUCE[name], attrs)
    if name in _MOVES:
        return _MOVES[name](attrs)
    op = OPS[name]
    if isinstance(op.reference, np.ufunc):
        return op.reference
    if name in _FLOATS:
        return _for_floats(_FLOATS[name], name)
    return _by_reference(name) if op.elementwise and not attrs else None


def _reduction(ufunc: np.ufunc, attrs: Attrs) -> Into:
    axes, keepdims = tuple(attrs["axes"]), bool(attrs["keepdims"])

    def run(x: Array, out: Array) -> None:
        ufunc.reduce(x, axis=axes, keepdims=keepdims, out=out, dtype=out.dtype)

    return run


def _view_copy(name: str) -> Callable[[Attrs], Into]:
    """A movement that NumPy does as a view: the view, then one copy."""

    def make(attrs: Attrs) -> Into:
        reference = OPS[name].reference

        def run(x: Array, out: Array) -> None:
            np.copyto(out, reference(x, **attrs))

        return run

    return make


def _concat(attrs: Attrs) -> Into:
    axis = int(attrs["axis"])

    def run(*arrays: Array, out: Array) -> None:
        np.concatenate(arrays, axis, out=out)

    return run


_MOVES: Mapping[str, Callable[[Attrs], Into]] = {
    "permute": _view_copy("permute"),
    "broadcast_to": _view_copy("broadcast_to"),
    "slice": _view_copy("slice"),
    "concat": _concat,
}
