"""Arithmetic in ONNX: what its operators of one element leave out, written with those that it has."""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_write import Rule, Site


def _is_float(s: Site, k: int = 0) -> bool:
    return dt.is_float(s.types[k].dtype)


def same(s: Site) -> str:
    return s("Identity", s.ins[0])


def _square(s: Site) -> str:
    return s("Mul", s.ins[0], s.ins[0])


def _rsqrt(s: Site) -> str:
    return s("Reciprocal", s("Sqrt", s.ins[0]))


def _log_by(base: float) -> Rule:
    def rule(s: Site) -> str:
        return s("Mul", s("Log", s.ins[0]), s.like(1 / np.log(base)))

    return rule


def _log1p(s: Site) -> str:
    """log(1 + x) x / ((1 + x) - 1): what rounding takes from 1 + x goes out again. Source: Higham, Accuracy and
    Stability of Numerical Algorithms, section 1.14.1."""
    (x,), one, zero = s.ins, s.like(1), s.like(0)
    u = s("Add", x, one)
    away, log = s("Sub", u, one), s("Log", u)
    none = s("Equal", away, zero)
    exact = s("Div", s("Mul", log, x), away)
    far = s("Equal", s("Abs", x), s.like(np.inf))
    return s("Where", none, x, s("Where", far, log, exact))


def _expm1(s: Site) -> str:
    """2 t / (1 - t) with t = tanh(x / 2) near 0, exp(x) - 1 elsewhere"""
    (x,), one = s.ins, s.like(1)
    t = s("Tanh", s("Mul", x, s.like(0.5)))
    near = s("Div", s("Add", t, t), s("Sub", one, t))
    return s("Where", s("Less", s("Abs", x), s.like(0.5)), near, s("Sub", s("Exp", x), one))


def _trunc(s: Site) -> str:
    return s("Mul", _unit(s, 0), s("Floor", s("Abs", s.ins[0]))) if _is_float(s) else same(s)


def _rounding(name: str) -> Rule:
    def rule(s: Site) -> str:
        return s(name, s.ins[0]) if _is_float(s) else same(s)

    return rule


def _never(s: Site) -> str:
    return s("Not", s("Equal", s.ins[0], s.ins[0]))


def _nan(s: Site) -> str:
    return s("IsNaN", s.ins[0]) if _is_float(s) else _never(s)


def _infinite(s: Site) -> str:
    return s("Equal", s("Abs", s.ins[0]), s.like(np.inf)) if _is_float(s) else _never(s)


def _isfinite(s: Site) -> str:
    return s("Less", s("Abs", s.ins[0]), s.like(np.inf)) if _is_float(s) else s("Equal", s.ins[0], s.ins[0])


def _negative_sign(s: Site, k: int) -> str:
    """Below 0, or -0: the sign of 1 / x tells"""
    x, zero = s.ins[k], s.like(0, k)
    below = s("Less", x, zero)
    return s("Or", below, s("Less", s("Reciprocal", x), zero)) if _is_float(s, k) else below


def _signbit(s: Site) -> str:
    return _negative_sign(s, 0)


def _unit(s: Site, k: int) -> str:
    """1 with the sign of input k, zeros' own signs included; NaN of NaN. A Where may lose the sign of a zero"""
    x = s.ins[k]
    return s("Sign", s("Add", s("Sign", x), s("Sign", s("Reciprocal", x))))


def _copysign(s: Site) -> str:
    one = s.like(1)
    unit = s("Where", s("IsNaN", s.ins[1]), one, _unit(s, 1))
    return s("Mul", s("Abs", s.ins[0]), unit)


def _not_equal(s: Site) -> str:
    return s("Not", s("Equal", *s.ins))


def _remainder(s: Site) -> str:
    """The sign of the divisor, as Python has it; ONNX has that for integers only"""
    x, y = s.ins
    if not _is_float(s):
        return s("Mod", x, y)
    r = s("Mod", x, y, fmod=1)
    other = s("Xor", s("Less", r, s.like(0)), s("Less", y, s.like(0)))
    wrong = s("And", other, s("Not", s("Equal", r, s.like(0))))
    return s("Where", wrong, s("Add", r, y), r)


def _fmod(s: Site) -> str:
    """Of 64-bit integers from the other remainder: ONNX Runtime before 1.24 takes them through float64"""
    x, y = s.ins
    if s.types[0].dtype != dt.int64:
        return s("Mod", x, y, fmod=1)
    r = s("Mod", x, y)
    return s("Where", _rounded_down(s, r), s("Sub", r, y), r)


def _rounded_down(s: Site, r: str) -> str:
    """Whether something remains and the signs of integers x and y differ: floor and the quotient towards 0 part"""
    x, y = s.ins
    other = s("Xor", s("Less", x, s.like(0)), s("Less", y, s.like(0)))
    return s("And", other, s("Not", s("Equal", r, s.like(0))))


def _floor_divide(s: Site) -> str:
    """Of floats from the remainder too: the quotient itself is rounded, and may round up to the next whole number"""
    x, y = s.ins
    if not _is_float(s):
        return _floor_divide_integers(s)
    whole = s("Div", s("Sub", x, _remainder(s)), y)
    bad = s("Equal", y, s.like(0))
    return s("Where", bad, s("Div", x, y), s("Round", whole))


def _floor_divide_integers(s: Site) -> str:
    """ONNX's quotient is rounded towards 0"""
    whole = s("Div", *s.ins)
    if s.types[0].dtype.kind == "u":
        return whole
    return s("Sub", whole, s.cast(_rounded_down(s, s("Mod", *s.ins)), s.types[0].dtype))


def _left_shift(s: Site) -> str:
    if s.types[0].dtype.kind == "u":
        return s("BitShift", *s.ins, direction="LEFT")
    return s("Mul", s.ins[0], s("Pow", s.like(2), s.ins[1]))


def _right_shift(s: Site) -> str:
    """Rounded down, as the bits of a negative number go"""
    x, y = s.ins
    if s.types[0].dtype.kind == "u":
        return s("BitShift", x, y, direction="RIGHT")
    by = s("Pow", s.like(2), y)
    return s("Div", s("Sub", x, s("Mod", x, by)), by)


def _hypot(s: Site) -> str:
    """large sqrt(1 + (small / large)^2), which does not overflow"""
    a, b = (s("Abs", x) for x in s.ins)
    large, small = s("Max", a, b), s("Min", a, b)
    share = s("Where", s("Greater", large, s.like(0)), s("Div", small, large), s.like(0))
    return s("Mul", large, s("Sqrt", s("Add", s.like(1), s("Mul", share, share))))


def _logaddexp(s: Site) -> str:
    """max + softplus(min - max)"""
    large, small = s("Max", *s.ins), s("Min", *s.ins)
    off = s("Where", s("Equal", large, small), s.like(0), s("Sub", small, large))
    return s("Add", large, s("Softplus", off))


def _atan2(s: Site) -> str:
    """The angle of the smaller to the larger, which overflows nowhere, turned into the quadrant"""
    y, x = s.ins
    zero, pi = s.like(0), s.like(np.pi)
    ay, ax = s("Abs", y), s("Abs", x)
    steep = s("Greater", ay, ax)
    large, small = s("Where", steep, ay, ax), s("Where", steep, ax, ay)
    both = s("Equal", small, large)  # infinity by infinity, and 0 by 0, are no numbers
    share = s("Where", both, s("Where", s("Equal", large, zero), zero, s.like(1)), s("Div", small, large))
    angle = s("Atan", share)
    angle = s("Where", steep, s("Sub", s.like(np.pi / 2), angle), angle)
    angle = s("Where", _negative_sign(s, 1), s("Sub", pi, angle), angle)
    angle = s("Where", _negative_sign(s, 0), s("Neg", angle), angle)
    missing = s("Or", s("IsNaN", x), s("IsNaN", y))
    return s("Where", missing, s("Add", x, y), angle)


def _cast(s: Site) -> str:
    return s.cast(s.ins[0], s.outs[0].dtype)


MATH: dict[str, Rule] = {
    "positive": same, "conj": same, "real": same, "release": same, "square": _square, "rsqrt": _rsqrt,
    "log2": _log_by(2), "log10": _log_by(10), "log1p": _log1p, "expm1": _expm1, "trunc": _trunc,
    "floor": _rounding("Floor"), "ceil": _rounding("Ceil"), "round": _rounding("Round"), "isnan": _nan,
    "isinf": _infinite, "isfinite": _isfinite, "signbit": _signbit, "copysign": _copysign, "not_equal": _not_equal,
    "remainder": _remainder, "fmod": _fmod, "floor_divide": _floor_divide, "left_shift": _left_shift,
    "right_shift": _right_shift, "hypot": _hypot, "logaddexp": _logaddexp, "atan2": _atan2, "cast": _cast,
}  # fmt: skip
