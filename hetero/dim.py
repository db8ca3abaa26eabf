"""A dimension that has no value yet: `batch`, `2*batch + 1`.

Shapes are tuples of `int | Dim`. A `Dim` is a polynomial with integer coefficients over named symbols, so
that shape rules written with `+ - * //` hold for both. What needs a number (`range`, an ordering) says so
with a `ShapeError` that names the symbol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeAlias

from hetero.errors import ShapeError

Monomial: TypeAlias = tuple[str, ...]  # sorted symbol names, a name twice is its square


class Dim:
    """A polynomial over named symbols; equal when the polynomials are."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms: dict[Monomial, int] = {m: c for m, c in sorted(terms.items()) if c}
        self._hash = hash(tuple(self.terms.items()))

    @staticmethod
    def symbol(name: str) -> Dim:
        """The dimension called `name`."""
        return Dim({(name,): 1})

    @property
    def symbols(self) -> frozenset[str]:
        """The names that stand in it."""
        return frozenset(name for m in self.terms for name in m)

    def bind(self, values: Mapping[str, Size]) -> Size:
        """With each symbol that `values` knows replaced."""
        total: Size = 0
        for monomial, coefficient in self.terms.items():
            term: Size = coefficient
            for name in monomial:
                term = term * values.get(name, Dim.symbol(name))
            total = total + term
        return total

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __add__(self, other: Size) -> Size:
        terms = dict(self.terms)
        for m, c in _terms(other).items():
            terms[m] = terms.get(m, 0) + c
        return _lower(terms)

    def __mul__(self, other: Size) -> Size:
        terms: dict[Monomial, int] = {}
        for m, c in self.terms.items():
            for n, d in _terms(other).items():
                key = tuple(sorted(m + n))
                terms[key] = terms.get(key, 0) + c * d
        return _lower(terms)

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: Size) -> Size:
        return self * -1 + other

    def __neg__(self) -> Size:
        return self * -1

    def __floordiv__(self, other: Size) -> Size:
        """Exact division only: `6*batch // 3`, `batch*seq // seq`."""
        by = _terms(other)
        if len(by) == 1:
            ((divisor, coefficient),) = by.items()
            out: dict[Monomial, int] = {}
            for m, c in self.terms.items():
                rest = _without(m, divisor)
                if rest is None or coefficient == 0 or c % coefficient:
                    break
                out[rest] = c // coefficient
            else:
                return _lower(out)
        raise ShapeError(f"{self} is not known to be a multiple of {other}", hint=_HINT)

    def __rfloordiv__(self, other: int) -> Size:
        if other == 0:
            return 0
        raise ShapeError(f"{other} is not known to be a multiple of {self}", hint=_HINT)

    __radd__ = __add__
    __rmul__ = __mul__

    def _no_value(self, *_: object) -> NoReturn:
        raise ShapeError(f"the dimension {self} has no value yet", hint=_HINT)

    __index__ = __int__ = __bool__ = __mod__ = __rmod__ = _no_value
    __lt__ = __le__ = __gt__ = __ge__ = _no_value

    def __str__(self) -> str:
        parts: list[str] = []
        for monomial, coefficient in sorted(self.terms.items(), key=_by_degree):
            names = "*".join(monomial)
            body = names if coefficient == 1 and names else f"{coefficient}*{names}" if names else f"{coefficient}"
            parts.append(body)
        return " + ".join(parts).replace("+ -", "- ")

    __repr__ = __str__


Size: TypeAlias = "int | Dim"
Shape: TypeAlias = tuple[Size, ...]

_HINT = "give the dimension a value first: graph.specialize({'name': 8}), or run the graph on an array"


def _by_degree(item: tuple[Monomial, int]) -> tuple[int, Monomial]:
    return -len(item[0]), item[0]


def _terms(value: Size) -> Mapping[Monomial, int]:
    return value.terms if isinstance(value, Dim) else {(): value}


def _lower(terms: Mapping[Monomial, int]) -> Size:
    """An int when no symbol is left."""
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Dim(kept)


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    rest = list(monomial)
    for name in divisor:
        if name not in rest:
            return None
        rest.remove(name)
    return tuple(rest)


def prod(sizes: Shape) -> Size:
    """The product of all sizes; 1 of none."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def concrete(shape: Shape, what: str = "this") -> tuple[int, ...]:
    """`shape` as plain ints, or a ShapeError that names what is open."""
    out: list[int] = []
    for size in shape:
        if isinstance(size, Dim):
            raise ShapeError(f"{what} wants plain numbers, got {show(shape)}", hint=_HINT)
        out.append(size)
    return tuple(out)


def show(shape: Shape | None) -> str:
    """`(batch, 3, 224)`; `?` when nothing is known."""
    if shape is None:
        return "?"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's rule: align on the right, 1 stretches."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[Size] = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size == 1 or size == out[i]:
                continue
            if out[i] != 1:
                raise ShapeError(
                    f"shapes {' and '.join(map(show, shapes))} do not broadcast: {out[i]} and {size} differ",
                    hint="sizes must be equal or 1, counted from the last axis",
                )
            out[i] = size
    return tuple(out)
