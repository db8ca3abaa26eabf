"""One formula for two readers: on arrays it is an op's reference, on values of a graph its decomposition.

Formulas are written with Python's operators and the few functions here, so the two cannot drift apart, down to the
order of roundings. What such a formula must equal is therefore tested from outside: other simulators, recorded traces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.op import Array, Emit, Value

Term: TypeAlias = Any  # an array, or a Symbol


class Symbol:
    """A value of a graph that is being built."""

    __slots__ = ("emit", "value")

    def __init__(self, emit: Emit, value: Value) -> None:
        self.emit, self.value = emit, value

    def apply(self, op: str, *others: Any, **attrs: Any) -> Symbol:
        given = [o.value if isinstance(o, Symbol) else o for o in others]
        return Symbol(self.emit, self.emit(op, self.value, *given, **attrs))

    def __add__(self, other: Any) -> Symbol:
        return self.apply("add", other)

    def __radd__(self, other: Any) -> Symbol:
        return self.apply("add", other)

    def __sub__(self, other: Any) -> Symbol:
        return self.apply("subtract", other)

    def __rsub__(self, other: Any) -> Symbol:
        return Symbol(self.emit, self.emit("subtract", other, self.value))

    def __mul__(self, other: Any) -> Symbol:
        return self.apply("multiply", other)

    def __rmul__(self, other: Any) -> Symbol:
        return self.apply("multiply", other)

    def __truediv__(self, other: Any) -> Symbol:
        return self.apply("divide", other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return Symbol(self.emit, self.emit("divide", other, self.value))

    def __floordiv__(self, other: Any) -> Symbol:
        return self.apply("floor_divide", other)

    def __neg__(self) -> Symbol:
        return self.apply("negative")

    def __gt__(self, other: Any) -> Symbol:
        return self.apply("greater", other)

    def __ge__(self, other: Any) -> Symbol:
        return self.apply("greater_equal", other)

    def __le__(self, other: Any) -> Symbol:
        return self.apply("less_equal", other)

    def __lt__(self, other: Any) -> Symbol:
        return self.apply("less", other)

    def __and__(self, other: Any) -> Symbol:
        return self.apply("bitwise_and", other)

    def __rshift__(self, other: Any) -> Symbol:
        return self.apply("right_shift", other)

    def __lshift__(self, other: Any) -> Symbol:
        return self.apply("left_shift", other)


def exp(x: Term) -> Term:
    return x.apply("exp") if isinstance(x, Symbol) else np.exp(x)


def expm1(x: Term) -> Term:
    return x.apply("expm1") if isinstance(x, Symbol) else np.expm1(x)


def absolute(x: Term) -> Term:
    return x.apply("abs") if isinstance(x, Symbol) else np.abs(x)


def where(condition: Term, yes: Term, no: Term) -> Term:
    """Element by element; a Python number takes the dtype of the other choice."""
    if isinstance(condition, Symbol):
        like = next(c.value.type.dtype for c in (yes, no) if isinstance(c, Symbol))
        return condition.apply("where", *(c if isinstance(c, Symbol) else np.asarray(c, like) for c in (yes, no)))
    like = next(c.dtype for c in (yes, no) if isinstance(c, np.ndarray | np.generic))
    return np.where(condition, np.asarray(yes, like), np.asarray(no, like))


def cast(x: Term, dtype: dt.DType) -> Term:
    return x.apply("cast", dtype=dtype.name) if isinstance(x, Symbol) else np.asarray(x).astype(dtype)


def reference(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula on arrays."""

    def run(*arrays: Array, **attrs: Any) -> Any:
        return formula(*map(np.asarray, arrays), **attrs)

    return run


def decomposition(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula on values of a graph."""

    def run(emit: Emit, *values: Value, **attrs: Any) -> Any:
        out = formula(*(Symbol(emit, v) for v in values), **attrs)
        return tuple(s.value for s in out) if isinstance(out, tuple) else out.value

    return run
