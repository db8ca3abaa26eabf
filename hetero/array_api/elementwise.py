"""Functions of each element. Inputs broadcast and promote; of two, one may be a Python scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from hetero import counters
from hetero import dtype as dt
from hetero.array_api.dtypes import result_type
from hetero.eager import HOST, HostTensor
from hetero.errors import DTypeError
from hetero.op import OPS
from hetero.tensor import SCALARS, Operand, Tensor, apply

Unary: TypeAlias = "Callable[[Tensor], Tensor]"
Binary: TypeAlias = "Callable[[Operand, Operand], Tensor]"

_OP_OF = {"pow": "power", "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift"}


def _unary(name: str, gives: str) -> Unary:
    op = OPS[name]
    reference, kinds, count = op.reference, op.dtypes, counters.OPS[HOST]

    def function(x: Tensor, /) -> Tensor:
        if x.__class__ is HostTensor and x._array.dtype.kind in kinds:  # nothing to promote: straight to NumPy
            count[name] += 1
            return HostTensor.of(reference(x._array))
        return apply(op, x)

    return _dress(function, name, f"{gives}; (...) -> (...)")


def _binary(name: str, gives: str) -> Binary:
    op = OPS[name]
    reference, kinds, count = op.reference, op.dtypes, counters.OPS[HOST]

    def function(x1: Operand, x2: Operand, /) -> Tensor:
        if x1.__class__ is HostTensor and x2.__class__ is HostTensor:
            a, b = x1._array, x2._array  # pyright: ignore
            if a.dtype == b.dtype and a.dtype.kind in kinds:
                try:
                    out = HostTensor.of(reference(a, b))
                    count[name] += 1
                    return out
                except ValueError:  # shapes that do not fit: the long way says which
                    pass
        return apply(op, x1, x2)

    return _dress(function, name, f"{gives}; (...), (...) -> broadcast(...)")


def _operator(name: str, gives: str, dunder: str) -> Binary:
    """A function that is an operator: it takes the operator's short way."""
    forward, op = f"__{dunder}__", _OP_OF.get(name, name)

    def function(x1: Operand, x2: Operand, /) -> Tensor:
        if isinstance(x1, Tensor):
            made = getattr(x1, forward)(x2)
            if made is not NotImplemented:
                return made
        return apply(op, x1, x2)

    return _dress(function, name, f"{gives}; (...), (...) -> broadcast(...)")


def _dress(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


abs = _unary("abs", "|x|")
acos = _unary("acos", "the angle whose cosine is x")
acosh = _unary("acosh", "the inverse of cosh")
asin = _unary("asin", "the angle whose sine is x")
asinh = _unary("asinh", "the inverse of sinh")
atan = _unary("atan", "the angle whose tangent is x")
atanh = _unary("atanh", "the inverse of tanh")
bitwise_invert = _unary("bitwise_invert", "~x")
ceil = _unary("ceil", "the smallest whole number >= x")
cos = _unary("cos", "the cosine of x")
cosh = _unary("cosh", "(e^x + e^-x) / 2")
exp = _unary("exp", "e^x")
expm1 = _unary("expm1", "e^x - 1, exact near 0")
floor = _unary("floor", "the largest whole number <= x")
isfinite = _unary("isfinite", "whether x is neither infinite nor NaN")
isinf = _unary("isinf", "whether x is infinite")
isnan = _unary("isnan", "whether x is NaN")
log = _unary("log", "the natural logarithm")
log10 = _unary("log10", "the logarithm to base 10")
log1p = _unary("log1p", "log(1 + x), exact near 0")
log2 = _unary("log2", "the logarithm to base 2")
logical_not = _unary("logical_not", "whether x is false")
negative = _unary("negative", "-x")
positive = _unary("positive", "+x")
reciprocal = _unary("reciprocal", "1 / x")
round = _unary("round", "the nearest whole number, halves to even")
sign = _unary("sign", "-1, 0 or 1; of a complex number x / |x|")
signbit = _unary("signbit", "whether the sign bit is set, so for -0.0 too")
sin = _unary("sin", "the sine of x")
sinh = _unary("sinh", "(e^x - e^-x) / 2")
sqrt = _unary("sqrt", "the square root")
square = _unary("square", "x * x")
tan = _unary("tan", "the tangent of x")
tanh = _unary("tanh", "sinh(x) / cosh(x)")
trunc = _unary("trunc", "x without its fraction")

add = _operator("add", "x1 + x2", "add")
atan2 = _binary("atan2", "the angle of the point (x2, x1)")
bitwise_and = _operator("bitwise_and", "x1 & x2", "and")
bitwise_left_shift = _operator("bitwise_left_shift", "x1 << x2", "lshift")
bitwise_or = _operator("bitwise_or", "x1 | x2", "or")
bitwise_right_shift = _operator("bitwise_right_shift", "x1 >> x2", "rshift")
bitwise_xor = _operator("bitwise_xor", "x1 ^ x2", "xor")
copysign = _binary("copysign", "|x1| with the sign of x2")
divide = _operator("divide", "x1 / x2", "truediv")
equal = _operator("equal", "x1 == x2", "eq")
floor_divide = _operator("floor_divide", "the largest whole number <= x1 / x2", "floordiv")
greater = _operator("greater", "x1 > x2", "gt")
greater_equal = _operator("greater_equal", "x1 >= x2", "ge")
hypot = _binary("hypot", "sqrt(x1^2 + x2^2) without overflow on the way")
less = _operator("less", "x1 < x2", "lt")
less_equal = _operator("less_equal", "x1 <= x2", "le")
logaddexp = _binary("logaddexp", "log(e^x1 + e^x2) without overflow on the way")
logical_and = _binary("logical_and", "x1 and x2")
logical_or = _binary("logical_or", "x1 or x2")
logical_xor = _binary("logical_xor", "one of x1 and x2, not both")
maximum = _binary("maximum", "the larger one; NaN if one is")
minimum = _binary("minimum", "the smaller one; NaN if one is")
multiply = _operator("multiply", "x1 * x2", "mul")
nextafter = _binary("nextafter", "the next float after x1 towards x2")
not_equal = _operator("not_equal", "x1 != x2", "ne")
pow = _operator("pow", "x1 to the power x2", "pow")
remainder = _operator("remainder", "x1 - x2 * floor(x1 / x2), with the sign of x2", "mod")
subtract = _operator("subtract", "x1 - x2", "sub")


def real(x: Tensor, /) -> Tensor:
    """the real part; (...) -> (...)"""
    return apply("real", x) if dt.kind(x.dtype) == "c" else x


def imag(x: Tensor, /) -> Tensor:
    """the imaginary part; (...) -> (...)"""
    return apply("imag", x)


def conj(x: Tensor, /) -> Tensor:
    """the complex conjugate; (...) -> (...)"""
    return apply("conj", x) if dt.kind(x.dtype) == "c" else x


def clip(x: Tensor, /, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x, but `min` where it is less and `max` where it is more; NaN stays; (...) -> broadcast(...)

    The dtype is that of `x`, whatever the bounds are.
    """
    for bound in (min, max):
        if isinstance(bound, float) and dt.is_integer(x.dtype):
            raise DTypeError(f"clip of {x.dtype.name} to {bound!r}", hint="give whole bounds, or cast x to a float")
    out = x
    for op, bound in (("maximum", min), ("minimum", max)):
        if bound is not None:
            out = apply(op, out, bound if isinstance(bound, SCALARS) else bound.astype(result_type(x, bound)))
    return out.astype(x.dtype)


__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]  # fmt: skip
