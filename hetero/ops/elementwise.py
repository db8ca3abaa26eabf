"""Ops that treat every element alike. Inputs broadcast; the first line of each table entry is its whole truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import broadcast
from hetero.dtype import DType
from hetero.errors import DTypeError
from hetero.op import REQUIRED, Arg, Arithmetic, Array, Attrs, Cost, Op, Sample, TensorType, Types, define

_SHAPES = ((), (7,), (3, 5))
_PAIRS = (((7,), (7,)), ((3, 5), (5,)), ((4, 1, 3), (2, 1)), ((), (6,)))


def _cost(flop: int) -> Callable[[Types, Types, Attrs], Cost]:
    def cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
        n = sum(int(t.size) for t in outs)
        return Cost(flop=flop * n, read=sum(int(t.size) for t in types), write=n)

    return cost


def check_kinds(name: str, kinds: str, types: Types) -> None:
    """Refuse dtypes that the op is not defined for."""
    wrong = [t.dtype.name for t in types if dt.kind(t.dtype) not in kinds]
    if wrong:
        words = {"b": "bool", "i": "signed", "u": "unsigned", "f": "float", "c": "complex"}
        raise DTypeError(
            f"{name} wants {', '.join(words[k] for k in kinds)}, got {' and '.join(dict.fromkeys(wrong))}",
            hint=f"cast first: x.astype('{'float32' if 'f' in kinds else 'int64' if 'i' in kinds else 'bool'}')",
        )


def check_wide(name: str, types: Types) -> None:
    """Refuse floats of 16 bits, for which NumPy has no routine."""
    narrow = [t.dtype.name for t in types if dt.is_float(t.dtype) and t.dtype.itemsize < 4]
    if narrow:
        raise DTypeError(
            f"{name} wants floats of 32 or 64 bits, got {' and '.join(narrow)}", hint="cast first: x.astype('float32')"
        )


def _infer(name: str, kinds: str, result: Callable[[DType], DType]) -> Callable[..., TensorType]:
    def infer(*types: TensorType, **_: Any) -> TensorType:
        """(...), (...) -> broadcast(...)"""
        check_kinds(name, kinds, types)
        if len({t.dtype for t in types}) > 1:
            raise DTypeError(
                f"{name} wants one dtype, got {' and '.join(t.dtype.name for t in types)}", hint="cast one side"
            )
        return TensorType(broadcast(*(t.known for t in types)), result(types[0].dtype))

    return infer


def _same(dtype: DType) -> DType:
    return dtype


def _bool(_: DType) -> DType:
    return dt.bool_


def _unary(
    name: str,
    reference: Callable[..., Any],
    onnx: str = "",
    *,
    kinds: str = "fc",
    arithmetic: Arithmetic = "float",
    result: Callable[[DType], DType] = _same,
    flop: int = 1,
    low: float = -1.0,
    high: float = 1.0,
) -> Op:
    samples = tuple(Sample((Arg(s, low, high),)) for s in _SHAPES)
    return define(
        Op(
            name=name, kind="elementwise", infer=_infer(name, kinds, result), reference=reference,
            cost=_cost(flop), samples=samples, dtypes=kinds, arithmetic=arithmetic, onnx=onnx,
        )
    )  # fmt: skip


def _binary(
    name: str,
    reference: Callable[..., Any],
    onnx: str = "",
    *,
    kinds: str = "biufc",
    arithmetic: Arithmetic = "same",
    result: Callable[[DType], DType] = _same,
    flop: int = 1,
    low: float = -1.0,
    high: float = 1.0,
    right: tuple[float, float] | None = None,
) -> Op:
    span = right or (low, high)
    samples = tuple(Sample((Arg(a, low, high), Arg(b, *span))) for a, b in _PAIRS)
    return define(
        Op(
            name=name, kind="elementwise", infer=_infer(name, kinds, result), reference=reference,
            cost=_cost(flop), samples=samples, dtypes=kinds, arithmetic=arithmetic, onnx=onnx,
        )
    )  # fmt: skip


def _erf(x: Array) -> Array:
    """erf to the dtype's own precision: `math.erf` is exact to 1 ulp in double."""
    out: Array = _erf_double(np.asarray(x, np.float64))
    return np.asarray(out).astype(x.dtype)


def _erf_double(x: Array) -> Array:
    import math

    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


def _round(x: Array) -> Array:
    """To even at halves."""
    return np.round(x) if x.dtype.kind in "fcV" else x.copy()


def _sign(x: Array) -> Array:
    """0 at 0; of a complex number, x / |x|."""
    if x.dtype.kind != "c":
        return np.sign(x)
    size = np.abs(x)
    return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype)


def _rsqrt(x: Array) -> Array:
    return (1 / np.sqrt(x)).astype(x.dtype)


def _whole(ufunc: Callable[[Array], Any]) -> Callable[[Array], Array]:
    """Integers are their own floor, ceiling and truncation (NumPy before 2.1 gives floats)."""

    def reference(x: Array) -> Array:
        return x.copy() if x.dtype.kind in "biu" else ufunc(x)

    return reference


def _fmod(a: Array, b: Array) -> Array:
    """The remainder with the sign of `a`, as in C."""
    return np.fmod(a, b)


def _power(a: Array, b: Array) -> Array:
    """Integers to negative integers give what the float power, cut to an integer, gives (ONNX, C)."""
    if a.dtype.kind == "i" and np.any(b < 0):
        with np.errstate(all="ignore"):
            return np.trunc(np.power(a.astype(np.float64), b.astype(np.float64))).astype(a.dtype)
    return np.power(a, b)


def _floor_divide(a: Array, b: Array) -> Array:
    """Beside an infinity what the quotient says, as the array API has it (NumPy: NaN, or -1 for 0 > a // inf)."""
    out = np.floor_divide(a, b)
    if a.dtype.kind != "f":
        return out
    endless = np.isinf(a) | np.isinf(b)
    if not endless.any():
        return out
    with np.errstate(all="ignore"):
        return np.where(endless, np.floor(a / b), out).astype(a.dtype, copy=False)


def _expm1(x: Array) -> Array:
    """Of a complex number that is 0 or not finite, exp(x) - 1, whose special cases are C99's."""
    out = np.expm1(x)
    if x.dtype.kind != "c":
        return out
    plain = np.isfinite(x) & (x != 0)
    with np.errstate(all="ignore"):
        return out if plain.all() else np.where(plain, out, np.exp(x) - x.dtype.type(1)).astype(x.dtype, copy=False)


def _tanh(x: Array) -> Array:
    """At an infinite real part 1 with a zero of the imaginary part's sign (C libraries differ in that sign)."""
    out = np.tanh(x)
    if x.dtype.kind != "c":
        return out
    real, imag = np.real(x), np.imag(x)
    end = np.copysign(1, real) + 1j * np.copysign(0, imag)
    return np.where(np.isinf(real) & np.isfinite(imag), end, out).astype(x.dtype, copy=False)


_unary("negative", np.negative, "Neg", kinds="iufc", arithmetic="same")
_unary("positive", np.positive, kinds="iufc", arithmetic="same")
_unary("abs", np.abs, "Abs", kinds="iufc", arithmetic="same", result=dt.real_of)
_unary("sign", _sign, "Sign", kinds="iufc", arithmetic="same")
_unary("square", np.square, kinds="iufc", arithmetic="same")
_unary("reciprocal", np.reciprocal, "Reciprocal", low=0.5, high=2)
_unary("sqrt", np.sqrt, "Sqrt", low=0.1, high=4, flop=4)
_unary("rsqrt", _rsqrt, kinds="f", low=0.1, high=4, flop=5)
_unary("exp", np.exp, "Exp", flop=10)
_unary("expm1", _expm1, flop=12)
_unary("log", np.log, "Log", low=0.1, high=4, flop=10)
_unary("log1p", np.log1p, low=-0.5, high=4, flop=12)
_unary("log2", np.log2, low=0.1, high=4, flop=10)
_unary("log10", np.log10, low=0.1, high=4, flop=10)
_unary("sin", np.sin, "Sin", low=-3, high=3, flop=12)
_unary("cos", np.cos, "Cos", low=-3, high=3, flop=12)
_unary("tan", np.tan, "Tan", flop=16)
_unary("asin", np.arcsin, "Asin", low=-0.9, high=0.9, flop=16)
_unary("acos", np.arccos, "Acos", low=-0.9, high=0.9, flop=16)
_unary("atan", np.arctan, "Atan", low=-3, high=3, flop=16)
_unary("sinh", np.sinh, "Sinh", flop=16)
_unary("cosh", np.cosh, "Cosh", flop=16)
_unary("tanh", _tanh, "Tanh", low=-3, high=3, flop=12)
_unary("asinh", np.arcsinh, "Asinh", low=-3, high=3, flop=16)
_unary("acosh", np.arccosh, "Acosh", low=1.1, high=4, flop=16)
_unary("atanh", np.arctanh, "Atanh", low=-0.9, high=0.9, flop=16)
_unary("erf", _erf, "Erf", kinds="f", low=-3, high=3, flop=16)
_unary("floor", _whole(np.floor), "Floor", kinds="iuf", arithmetic="same", low=-3, high=3)
_unary("ceil", _whole(np.ceil), "Ceil", kinds="iuf", arithmetic="same", low=-3, high=3)
_unary("trunc", _whole(np.trunc), kinds="iuf", arithmetic="same", low=-3, high=3)
_unary("round", _round, "Round", kinds="iufc", arithmetic="same", low=-3, high=3)
_unary("isnan", np.isnan, "IsNaN", kinds="iufc", arithmetic="same", result=_bool)
_unary("isinf", np.isinf, "IsInf", kinds="iufc", arithmetic="same", result=_bool)
_unary("isfinite", np.isfinite, kinds="iufc", arithmetic="same", result=_bool)
_unary("signbit", np.signbit, kinds="f", arithmetic="same", result=_bool)
_unary("logical_not", np.logical_not, "Not", kinds="b", arithmetic="same", result=_bool)
_unary("bitwise_invert", np.invert, "BitwiseNot", kinds="biu", arithmetic="same")
_unary("real", np.real, kinds="fc", arithmetic="same", result=dt.real_of)
_unary("imag", np.imag, kinds="fc", arithmetic="same", result=dt.real_of)
_unary("conj", np.conj, kinds="fc", arithmetic="same")

_binary("add", np.add, "Add")
_binary("subtract", np.subtract, "Sub", kinds="iufc")
_binary("multiply", np.multiply, "Mul")
_binary("divide", np.true_divide, "Div", kinds="fc", arithmetic="float", flop=4, right=(0.5, 2))
_binary("floor_divide", _floor_divide, kinds="iuf", flop=4, low=1, high=9, right=(1, 4))
_binary("remainder", np.remainder, "Mod", kinds="iuf", flop=4, low=1, high=9, right=(1, 4))
_binary("fmod", _fmod, kinds="iuf", flop=4, low=1, high=9, right=(1, 4))
_binary("power", _power, "Pow", kinds="iufc", flop=20, low=0.5, high=2, right=(0.5, 3))
_binary("atan2", np.arctan2, kinds="f", arithmetic="float", flop=20)
_binary("hypot", np.hypot, kinds="f", arithmetic="float", flop=8)
_binary("logaddexp", np.logaddexp, kinds="f", arithmetic="float", flop=24)
_binary("maximum", np.maximum, "Max", kinds="iuf")
_binary("minimum", np.minimum, "Min", kinds="iuf")
_binary("copysign", np.copysign, kinds="f", arithmetic="float")
_binary("nextafter", np.nextafter, kinds="f", arithmetic="float")
_binary("equal", np.equal, "Equal", result=_bool)
_binary("not_equal", np.not_equal, result=_bool)
_binary("less", np.less, "Less", kinds="biuf", result=_bool)
_binary("less_equal", np.less_equal, "LessOrEqual", kinds="biuf", result=_bool)
_binary("greater", np.greater, "Greater", kinds="biuf", result=_bool)
_binary("greater_equal", np.greater_equal, "GreaterOrEqual", kinds="biuf", result=_bool)
_binary("logical_and", np.logical_and, "And", kinds="b", result=_bool)
_binary("logical_or", np.logical_or, "Or", kinds="b", result=_bool)
_binary("logical_xor", np.logical_xor, "Xor", kinds="b", result=_bool)
_binary("bitwise_and", np.bitwise_and, "BitwiseAnd", kinds="biu")
_binary("bitwise_or", np.bitwise_or, "BitwiseOr", kinds="biu")
_binary("bitwise_xor", np.bitwise_xor, "BitwiseXor", kinds="biu")
_binary("left_shift", np.left_shift, kinds="iu", low=0, high=6, right=(0, 4))
_binary("right_shift", np.right_shift, kinds="iu", low=0, high=6, right=(0, 4))


def _where_infer(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    """bool (...), (...), (...) -> broadcast(...)"""
    check_kinds("the condition of where", "b", (condition,))
    if x.dtype != y.dtype:
        raise DTypeError(f"where wants one dtype, got {x.dtype.name} and {y.dtype.name}", hint="cast one side")
    return TensorType(broadcast(condition.known, x.known, y.known), x.dtype)


where = define(
    Op(
        name="where", kind="elementwise", infer=_where_infer, reference=np.where, cost=_cost(1), onnx="Where",
        samples=(
            Sample((Arg((7,), 0, 2, "bool"), Arg((7,)), Arg((7,)))),
            Sample((Arg((3, 1), 0, 2, "bool"), Arg((5,)), Arg((3, 5)))),
            Sample((Arg((), 0, 2, "bool"), Arg((4, 2)), Arg((1,)))),
        ),
    )
)  # fmt: skip


def _cast_infer(x: TensorType, *, dtype: str) -> TensorType:
    """(...) -> (...) of `dtype`"""
    return x.with_dtype(dt.of(dtype))


def _cast(x: Array, *, dtype: str) -> Array:
    """C's conversion: towards zero from float to integer; the imaginary part is dropped from complex."""
    to = dt.of(dtype)
    with np.errstate(all="ignore"):
        if x.dtype.kind == "c" and dt.kind(to) not in "cb":
            x = np.real(x)
        return x.astype(to)


cast = define(
    Op(
        name="cast", kind="elementwise", infer=_cast_infer, reference=_cast, cost=_cost(1), onnx="Cast",
        attrs={"dtype": REQUIRED},
        samples=tuple(
            Sample((Arg((5, 3), 0, 9),), {"dtype": name})
            for name in ("float32", "float64", "int8", "int32", "int64", "uint8", "bool", "float16")
        ),
    )
)  # fmt: skip
