"""Learning rules as sums of products, as Loihi's learning engine takes them: "2^-2*x1*y0 - 2^-2*x0*y1".

Variables: x0 spike before the synapse, x1 and x2 its traces; y0 spike behind it, y1, y2 and y3 its traces; w the
weight. A term is a number, or a power of two such as 2^-3, times variables; each needs x0 or y0, the spike at which it
applies. Source: Davies et al., IEEE Micro 38 (2018). Here in floats, without the chip's random rounding.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from hetero import dtype as dt
from hetero.dim import show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.formula import Symbol, Term, where

SOURCES, TARGETS = ("x0", "x1", "x2"), ("y0", "y1", "y2", "y3")
VARIABLES = (*SOURCES, *TARGETS, "w")
_NUMBER = re.compile(r"(?:2\^(?P<power>[+-]?\d{1,2})|(?P<plain>\d{1,9}(?:\.\d{1,9})?(?:e[+-]?\d{1,2})?))")


class Product(NamedTuple):
    """One term: mantissa 2^exponent, as it was written, and its variables."""

    mantissa: float
    exponent: int
    variables: tuple[str, ...]

    @property
    def factor(self) -> float:
        return self.mantissa * 2.0**self.exponent


@cache
def parse(rule: str) -> tuple[Product, ...]:
    """The terms of a rule; an AttributeValueError lists everything that is wrong with it."""
    text = rule.replace(" ", "")
    pieces = re.findall(r"([+-]?)((?:[^+\-^e]|\^[+-]?|e[+-]?(?=\d))+)", text)
    wrong: list[str] = []
    if not text or "".join(sign + body for sign, body in pieces) != text:
        wrong.append("it is no sum of products")
    made = [_product(sign, body, wrong) for sign, body in pieces]
    if wrong:
        raise AttributeValueError(
            f"the learning rule {rule!r} cannot be read: {'; '.join(dict.fromkeys(wrong))}",
            hint="such as 2^-2*x1*y0 - 2^-2*x0*y1",
        )
    return tuple(made)


def _product(sign: str, body: str, wrong: list[str]) -> Product:
    variables: list[str] = []
    mantissa, exponent = -1.0 if sign == "-" else 1.0, 0
    for part in body.split("*"):
        found = _NUMBER.fullmatch(part)
        if part in VARIABLES:
            variables.append(part)
        elif found and found["power"]:
            exponent += int(found["power"])
        elif found:
            mantissa *= float(found["plain"])
        else:
            wrong.append(
                f"{part!r} is neither a number nor one of {', '.join(VARIABLES)}" if part else "a factor is missing"
            )
    if "x0" not in variables and "y0" not in variables:
        wrong.append(f"{body} has neither x0 nor y0, so it never applies")
    return Product(mantissa, exponent, tuple(variables))


def _learned(w: Term, x: list[Term], y: list[Term], rule: str, low: float, high: float) -> Term:
    value = {"w": w, **dict(zip(SOURCES, x, strict=True)), **dict(zip(TARGETS, y, strict=True))}
    total = w
    for product in parse(rule):
        term = value[product.variables[0]] * product.factor
        for v in product.variables[1:]:
            term = term * value[v]
        total = total + term
    total = where(total > high, high, total)
    return where(total < low, low, total)


def _reference(w: Array, x: Array, y: Array, *, rule: str, w_min: float, w_max: float) -> Array:
    """w + the sum of the products, within w_min and w_max"""
    return _learned(w, [v[None, :] for v in x], [v[:, None] for v in y], rule, w_min, w_max)


def _decompose(emit: Emit, w: Value, x: Value, y: Value, *, rule: str, w_min: float, w_max: float) -> Value:
    m, n = w.type.known
    across = [_row(emit, x, k, (1, n)) for k in range(len(SOURCES))]
    down = [_row(emit, y, k, (m, 1)) for k in range(len(TARGETS))]
    return _learned(Symbol(emit, w), across, down, rule, w_min, w_max).value


def _row(emit: Emit, x: Value, k: int, shape: Any) -> Symbol:
    size = x.type.known[1]
    return Symbol(
        emit, emit("reshape", emit("slice", x, starts=(k, 0), stops=(k + 1, size), steps=(1, 1)), shape=shape)
    )


def _infer(w: TensorType, x: TensorType, y: TensorType, *, rule: str, w_min: float, w_max: float) -> TensorType:
    """(m, n), (3, n) of x0 x1 x2, (4, m) of y0 y1 y2 y3 -> (m, n)"""
    parse(rule)
    if not w_min < w_max:
        raise AttributeValueError(f"learn_products: w_min {w_min!r} is not below w_max {w_max!r}")
    if not dt.is_float(w.dtype) or w.dtype.itemsize < 4 or not w.dtype == x.dtype == y.dtype:
        raise DTypeError(
            f"learn_products wants float32 or float64 throughout, got {w.dtype.name}, {x.dtype.name}, {y.dtype.name}"
        )
    if w.rank != 2 or x.known != (len(SOURCES), w.known[1]) or y.known != (len(TARGETS), w.known[0]):
        raise ShapeError(
            f"learn_products wants w (m, n), x (3, n), y (4, m), got {show(w.known)}, {show(x.known)}, {show(y.known)}"
        )
    return w


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    terms = parse(attrs["rule"])
    size = int(types[0].size)
    return Cost(size * sum(len(t.variables) + 1 for t in terms), sum(int(t.size) for t in types), size)


def _sample(rule: str, m: int, n: int) -> Sample:
    return Sample((Arg((m, n)), Arg((3, n), 0, 1), Arg((4, m), 0, 1)), {"rule": rule, "w_min": -1.0, "w_max": 1.0})


learn_products = define(
    Op(
        name="learn_products", kind="compute", infer=_infer, reference=_reference, decompose=_decompose, cost=_cost,
        dtypes="f", attrs={"rule": REQUIRED, "w_min": REQUIRED, "w_max": REQUIRED},
        samples=(
            _sample("2^-2*x1*y0 - 2^-2*x0*y1", 3, 5),
            _sample("0.5*x0*y3*w - 2^-3*x0 + y0*x2*x1", 17, 9),
        ),
    )
)  # fmt: skip

__all__ = ["Product", "learn_products", "parse"]
