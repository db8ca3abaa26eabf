"""Lowerings of ops that treat every element alike, and of the activations."""

from __future__ import annotations

from typing import Any

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, Made, lowers, refuses
from hetero.convert.onnx_tensor import dtype_of
from hetero.graph.build import Ref
from hetero.op import OPS

# ONNX operators that are one hetero op on the same inputs, without attributes.
DIRECT = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Add": "add", "And": "logical_and", "Asin": "asin",
    "Asinh": "asinh", "Atan": "atan", "Atanh": "atanh", "BitwiseAnd": "bitwise_and", "BitwiseNot": "bitwise_invert",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh",
    "Equal": "equal", "Erf": "erf", "Exp": "exp", "Floor": "floor", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "IsNaN": "isnan", "Less": "less", "LessOrEqual": "less_equal", "Log": "log",
    "Mul": "multiply", "Neg": "negative", "Not": "logical_not", "Or": "logical_or", "Reciprocal": "reciprocal",
    "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus",
    "Sqrt": "sqrt", "Sub": "subtract", "Tan": "tan", "Tanh": "tanh", "Where": "where", "Xor": "logical_xor",
}  # fmt: skip


def _direct(onnx: str, name: str) -> None:
    def lower(n: Call, *xs: Ref) -> Made:
        return n.emit(OPS[name], *xs)

    lower.__doc__ = f"`{name}`"
    lowers(onnx)(lower)


for _onnx, _name in DIRECT.items():
    _direct(_onnx, _name)


# -- arithmetic ---------------------------------------------------------------------------------------------


@lowers("Div")
def _div(n: Call, a: Ref, b: Ref) -> Ref:
    """`divide`; integers are cut towards zero"""
    e = n.emit
    kind = dt.kind(a.type.dtype)
    if kind == "f":
        return e("divide", a, b)
    floor = e("floor_divide", a, b)
    if kind == "u":
        return floor
    rest = e("subtract", a, e("multiply", floor, b))
    up = e("logical_and", e("not_equal", rest, 0), e("less", floor, 0))
    return e("where", up, e("add", floor, 1), floor)


@lowers("Mod")
def _mod(n: Call, a: Ref, b: Ref, *, fmod: int = 0) -> Ref:
    """`remainder` (sign of the divisor), or with fmod=1 `fmod` (sign of the dividend)"""
    n.only(fmod in (0, 1), f"fmod={fmod} is neither 0 nor 1")
    n.only(bool(fmod) or n.opset >= 28 or dt.is_integer(a.type.dtype), "floats want fmod=1 before opset 28")
    return n.emit("fmod" if fmod else "remainder", a, b)


@lowers("Pow")
def _pow(n: Call, x: Ref, y: Ref) -> Ref:
    """`power`; the result has the dtype of the base"""
    to = x.type.dtype
    wide = to if dt.is_float(to) else dt.promote(to, y.type.dtype)
    return n.cast(n.emit("power", n.cast(x, wide), n.cast(y, wide)), to)


@lowers("BitShift")
def _bit_shift(n: Call, x: Ref, y: Ref, *, direction: str) -> Ref:
    """`left_shift` or `right_shift`; a distance past the width leaves 0, or the sign"""
    n.only(direction in ("LEFT", "RIGHT"), f"direction={direction!r} is neither LEFT nor RIGHT")
    e, bits = n.emit, x.type.dtype.itemsize * 8
    op = "left_shift" if direction == "LEFT" else "right_shift"
    inside = e("less", y, bits)
    if dt.kind(y.type.dtype) == "i":
        inside = e("logical_and", inside, e("greater_equal", y, 0))
    moved = e(op, x, e("where", inside, y, n.constant(0, y.type.dtype)))
    if op == "right_shift" and dt.kind(x.type.dtype) == "i":
        return e("where", inside, moved, e("right_shift", x, n.constant(bits - 1, x.type.dtype)))
    return e("where", inside, moved, n.constant(0, x.type.dtype))


def _chain(onnx: str, name: str) -> None:
    def lower(n: Call, *xs: Ref) -> Made:
        out = xs[0]
        for x in xs[1:]:
            out = n.emit(name, out, x)
        return out

    lower.__doc__ = f"`{name}`, pair by pair"
    lowers(onnx)(lower)


for _onnx, _name in (("Max", "maximum"), ("Min", "minimum"), ("Sum", "add")):
    _chain(_onnx, _name)


@lowers("Mean")
def _mean(n: Call, *xs: Ref) -> Ref:
    """the sum of all inputs over their number"""
    out = xs[0]
    for x in xs[1:]:
        out = n.emit("add", out, x)
    return n.emit("divide", out, float(len(xs)))


@lowers("Clip")
def _clip_6(n: Call, x: Ref, *, min: float = -3.4028234663852886e38, max: float = 3.4028234663852886e38) -> Ref:
    """`maximum`, then `minimum`"""
    low, high = (n.cast(n.constant(bound, dt.float64), x.type.dtype) for bound in (min, max))
    return n.emit("minimum", n.emit("maximum", x, low), high)


@lowers("Clip", since=11)
def _clip(n: Call, x: Ref, low: Ref | None = None, high: Ref | None = None) -> Ref:
    """`maximum`, then `minimum`: the upper bound wins"""
    out = x if low is None else n.emit("maximum", x, n.reshape(low))
    return out if high is None else n.emit("minimum", out, n.reshape(high))


@lowers("IsInf")
def _is_inf(n: Call, x: Ref, *, detect_negative: int = 1, detect_positive: int = 1) -> Ref:
    """`isinf`, of one sign if asked"""
    found = n.emit("isinf", x)
    if detect_negative and detect_positive:
        return found
    if not detect_negative and not detect_positive:
        return n.filled(x.type.known, False, dt.bool_)
    return n.emit("logical_and", found, n.emit("greater" if detect_positive else "less", x, 0.0))


# -- dtypes -------------------------------------------------------------------------------------------------


@lowers("Cast")
def _cast(n: Call, x: Ref, *, to: int, saturate: int = 1, round_mode: str = "up") -> Ref:
    """`cast`; to the 8-bit floats with the standard's saturation"""
    return convert(n, x, dtype_of(to, "the result"), bool(saturate), round_mode)


@lowers("CastLike")
def _cast_like(n: Call, x: Ref, like: Ref, *, saturate: int = 1, round_mode: str = "up") -> Ref:
    """`cast` to the dtype of the second input"""
    return convert(n, x, like.type.dtype, bool(saturate), round_mode)


def convert(n: Call, x: Ref, to: dt.DType, saturate: bool = True, round_mode: str = "up") -> Ref:
    """`x` in dtype `to`, by ONNX's rules."""
    if x.type.dtype == to:
        return x
    if to.name == "float8_e8m0fnu":
        n.refuse("casts to float8_e8m0fnu are not covered")
    if to.name in ("float4_e2m1fn", *FLOAT8):
        return _saturated(n, x, to, saturate or to.name == "float4_e2m1fn")
    if to.name in ("int4", "uint4", "int2", "uint2"):
        return _to_few_bits(n, x, to)
    return n.cast(x, to)


FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def largest(dtype: dt.DType) -> float:
    """The largest finite number of a float dtype of ml_dtypes."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)


def _saturated(n: Call, x: Ref, to: dt.DType, saturate: bool) -> Ref:
    """Through float32: clamped to the largest number, NaN kept; else overflow becomes what ml_dtypes makes of it.

    The dtypes with infinities and without, "fn" and "fnuz", agree on saturation; infinities saturate too.
    """
    e = n.emit
    wide = n.cast(x, dt.float32)
    top = largest(to)
    if saturate:
        clamped = e("minimum", e("maximum", wide, -top), top)
        return n.cast(clamped, to)
    return n.cast(wide, to)


def _to_few_bits(n: Call, x: Ref, to: dt.DType) -> Ref:
    """Through int32; what does not fit wraps, as in C."""
    bits = 4 if to.name.endswith("4") else 2
    e = n.emit
    whole = n.cast(x, dt.int32)
    low = e("bitwise_and", whole, (1 << bits) - 1)
    if to.name.startswith("int"):
        sign = 1 << (bits - 1)
        low = e("subtract", e("bitwise_xor", low, sign), sign)
    return n.cast(n.cast(low, dt.int8), to)


# -- activations --------------------------------------------------------------------------------------------


@lowers("Relu")
def _relu(n: Call, x: Ref) -> Ref:
    """`relu`; of integers the maximum with 0"""
    return n.emit("relu", x) if dt.is_float(x.type.dtype) else n.emit("maximum", x, 0)


@lowers("LeakyRelu")
def _leaky_relu(n: Call, x: Ref, *, alpha: float = 0.01) -> Ref:
    """x, or alpha * x where it is negative"""
    return n.emit("where", n.emit("less", x, 0.0), n.emit("multiply", x, alpha), x)


@lowers("PRelu")
def _prelu(n: Call, x: Ref, slope: Ref) -> Ref:
    """x, or slope * x where it is negative"""
    zero = n.constant(0, x.type.dtype)
    return n.emit("where", n.emit("less", x, zero), n.emit("multiply", x, slope), x)


@lowers("Elu")
def _elu(n: Call, x: Ref, *, alpha: float = 1.0) -> Ref:
    """x, or alpha * (exp(x) - 1) where it is negative"""
    e = n.emit
    return e("where", e("less", x, 0.0), e("multiply", e("expm1", x), alpha), x)


@lowers("Celu")
def _celu(n: Call, x: Ref, *, alpha: float = 1.0) -> Ref:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))"""
    e = n.emit
    low = e("multiply", e("expm1", e("divide", x, alpha)), alpha)
    return e("add", e("maximum", x, 0.0), e("minimum", low, 0.0))


@lowers("Selu")
def _selu(
    n: Call, x: Ref, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Ref:
    """gamma * x, or gamma * alpha * (exp(x) - 1) where it is not positive"""
    e = n.emit
    low = e("multiply", e("expm1", x), alpha)
    return e("multiply", e("where", e("greater", x, 0.0), x, low), gamma)


@lowers("HardSigmoid")
def _hard_sigmoid(n: Call, x: Ref, *, alpha: float = 0.2, beta: float = 0.5) -> Ref:
    """max(0, min(1, alpha * x + beta))"""
    e = n.emit
    return e("maximum", e("minimum", e("add", e("multiply", x, alpha), beta), 1.0), 0.0)


@lowers("HardSwish")
def _hard_swish(n: Call, x: Ref) -> Ref:
    """x * max(0, min(1, x / 6 + 1 / 2))"""
    return n.emit("multiply", x, _hard_sigmoid(n, x, alpha=1 / 6, beta=0.5))


@lowers("Mish")
def _mish(n: Call, x: Ref) -> Ref:
    """x * tanh(softplus(x))"""
    return n.emit("multiply", x, n.emit("tanh", n.emit("softplus", x)))


@lowers("Swish")
def _swish(n: Call, x: Ref, *, alpha: float = 1.0) -> Ref:
    """x * sigmoid(alpha * x)"""
    if alpha == 1.0:
        return n.emit("silu", x)
    return n.emit("multiply", x, n.emit("sigmoid", n.emit("multiply", x, alpha)))


@lowers("Gelu")
def _gelu(n: Call, x: Ref, *, approximate: str = "none") -> Ref:
    """`gelu`"""
    return n.emit("gelu", x, approximate=approximate)


@lowers("Softsign")
def _softsign(n: Call, x: Ref) -> Ref:
    """x / (1 + |x|)"""
    return n.emit("divide", x, n.emit("add", n.emit("abs", x), 1.0))


@lowers("ThresholdedRelu")
def _thresholded_relu(n: Call, x: Ref, *, alpha: float = 1.0) -> Ref:
    """x where it exceeds alpha, else 0"""
    return n.emit("where", n.emit("greater", x, alpha), x, n.constant(0, x.type.dtype))


@lowers("Shrink")
def _shrink(n: Call, x: Ref, *, bias: float = 0.0, lambd: float = 0.5) -> Ref:
    """x moved towards 0 by bias outside [-lambd, lambd], 0 inside"""
    e, wide = n.emit, n.through_float(x, small=False)
    inner = e("where", e("greater", wide, lambd), e("subtract", wide, bias), n.constant(0, wide.type.dtype))
    return n.cast(e("where", e("less", wide, -lambd), e("add", wide, bias), inner), x.type.dtype)


# -- softmax and its kin ------------------------------------------------------------------------------------


def _flattened(n: Call, x: Ref, axis: int) -> tuple[Ref, int]:
    """Before opset 13 all axes from `axis` on count as one."""
    at = n.axis(axis, x.type.rank) if axis != x.type.rank else axis
    outer: Any = 1
    inner: Any = 1
    for i, size in enumerate(x.type.known):
        outer, inner = (outer * size, inner) if i < at else (outer, inner * size)
    return n.reshape(x, outer, inner), 1


def _softmaxes(onnx: str, name: str) -> None:
    def old(n: Call, x: Ref, *, axis: int = 1) -> Made:
        flat, at = _flattened(n, x, axis)
        return n.reshape(n.emit(name, flat, axis=at), *x.type.known)

    def new(n: Call, x: Ref, *, axis: int = -1) -> Made:
        return n.emit(name, x, axis=n.axis(axis, x.type.rank))

    old.__doc__ = f"`{name}` over the axes from `axis` on, as one"
    new.__doc__ = f"`{name}`"
    lowers(onnx)(old)
    lowers(onnx, since=13)(new)


for _onnx, _name in (("Softmax", "softmax"), ("LogSoftmax", "log_softmax")):
    _softmaxes(_onnx, _name)


@lowers("Hardmax")
def _hardmax_1(n: Call, x: Ref, *, axis: int = 1) -> Ref:
    """1 at the first maximum over the axes from `axis` on, as one, else 0"""
    flat, at = _flattened(n, x, axis)
    return n.reshape(_hardmax(n, flat, axis=at), *x.type.known)


@lowers("Hardmax", since=13)
def _hardmax(n: Call, x: Ref, *, axis: int = -1) -> Ref:
    """1 at the first maximum, else 0"""
    at, rank = n.axis(axis, x.type.rank), x.type.rank
    best = n.emit("argmax", x, axis=at, keepdims=True)
    places = n.arange(n.size(x, at))
    places = n.reshape(places, *(places.type.known[0] if i == at else 1 for i in range(rank)))
    return n.cast(n.emit("equal", best, places), x.type.dtype)


@lowers("SwiGLU", since=28)
def _swiglu(n: Call, gate: Ref, x: Ref, *, alpha: float = 1.0) -> Ref:
    """gate * sigmoid(alpha * gate) * x"""
    return n.emit("multiply", _swish(n, gate, alpha=alpha), x)


refuses("strings are not tensors in hetero", "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch",
        "TfIdfVectorizer")  # fmt: skip
