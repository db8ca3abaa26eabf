"""Elementwise ops as C expressions: op -> family of dtypes -> text.

In a text, {a} {b} {c} are the inputs, {T} is the scalar type of the result, {A} that of the first input, {U} the
unsigned one as wide as {T}. What a call such as `floor_divide_i32` needs stands in `arithmetic.ker` or in
`math_f32.ker` and `math_f64.ker`.
"""

from __future__ import annotations

from collections.abc import Mapping

# dtype -> (how it is stored, what it is computed in)
STORED: dict[str, tuple[str, str]] = {
    "bool": ("u8", "u8"),
    "int8": ("i8", "i8"), "int16": ("i16", "i16"), "int32": ("i32", "i32"), "int64": ("i64", "i64"),
    "uint8": ("u8", "u8"), "uint16": ("u16", "u16"), "uint32": ("u32", "u32"), "uint64": ("u64", "u64"),
    "float16": ("f16", "f32"), "bfloat16": ("bf16", "f32"), "float32": ("f32", "f32"), "float64": ("f64", "f64"),
}  # fmt: skip
UNSIGNED = {"i8": "u8", "i16": "u16", "i32": "u32", "i64": "u64"}


def family(dtype: str) -> str:
    """b bool, i signed, u unsigned, f float."""
    return {"bool": "b", "bfloat16": "f"}.get(dtype, dtype[0])


def _wrapped(operator: str) -> str:
    """Integer arithmetic modulo 2^bits: in unsigned, where C defines it."""
    return f"CONVERT({{T}}, CONVERT({{U}}, {{a}}) {operator} CONVERT({{U}}, {{b}}))"


def _arithmetic(operator: str, logical: str = "") -> dict[str, str]:
    table = {"f": f"{{a}} {operator} {{b}}", "u": f"CONVERT({{T}}, {{a}} {operator} {{b}})", "i": _wrapped(operator)}
    return table | ({"b": logical} if logical else {})


def _compared(operator: str) -> dict[str, str]:
    return {"biuf": f"CMP({{a}} {operator} {{b}})"}


def _called(*names: str) -> dict[str, dict[str, str]]:
    """Functions of our own, of one float."""
    return {name: {"f": f"{name}_{{T}}({{a}})"} for name in names}


_ZERO, _ONE, _A_ZERO = "SPLAT({T}, 0)", "SPLAT({T}, 1)", "SPLAT({A}, 0)"
_SIGN = f"PICK({{a}} > {_ZERO}, {_ONE}, PICK({{a}} < {_ZERO}, SPLAT({{T}}, -1), {{a}} + {_ZERO}))"  # -0 + 0 is 0
_OUTSIDE = f"({{b}} < {_ZERO}) | ({{b}} >= SPLAT({{T}}, 8 * sizeof({{T}})))"  # a shift by all bits or more
_LAST_BIT = "SPLAT({T}, 8 * sizeof({T}) - 1)"
_FLAG = {"1": "SPLAT(u8, 1)", "0": "SPLAT(u8, 0)"}

_RAW: dict[str, dict[str, str]] = {
    **_called("exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
              "cosh", "tanh", "asinh", "acosh", "atanh", "erf"),
    "negative": {"f": "-{a}", "iu": "CONVERT({T}, SPLAT({U}, 0) - CONVERT({U}, {a}))"},
    "positive": {"iuf": "{a}"},
    "abs": {"f": "abs_{T}({a})", "u": "{a}",
            "i": f"PICK({{a}} < {_ZERO}, CONVERT({{T}}, SPLAT({{U}}, 0) - CONVERT({{U}}, {{a}})), {{a}})"},
    "sign": {"if": _SIGN, "u": f"PICK({{a}} > {_ZERO}, {_ONE}, {{a}})"},
    "square": {"f": "{a} * {a}", "u": "CONVERT({T}, {a} * {a})",
               "i": "CONVERT({T}, CONVERT({U}, {a}) * CONVERT({U}, {a}))"},
    "reciprocal": {"f": f"{_ONE} / {{a}}"},
    "sqrt": {"f": "sqrt({a})"},
    "rsqrt": {"f": f"{_ONE} / sqrt({{a}})"},
    "floor": {"f": "floor({a})", "iu": "{a}"},
    "ceil": {"f": "ceil({a})", "iu": "{a}"},
    "trunc": {"f": "trunc({a})", "iu": "{a}"},
    "round": {"f": "rint({a})", "iu": "{a}"},
    "isnan": {"f": "CMP({a} != {a})", "iu": _FLAG["0"]},
    "isinf": {"f": "CMP(abs_{A}({a}) == INF({A}))", "iu": _FLAG["0"]},
    "isfinite": {"f": "CMP(abs_{A}({a}) < INF({A}))", "iu": _FLAG["1"]},
    "signbit": {"f": "CMP(BITS({A}, {a}) < 0)"},
    "logical_not": {"b": "{a} ^ SPLAT(u8, 1)"},
    "bitwise_invert": {"b": "{a} ^ SPLAT(u8, 1)", "iu": "~{a}"},
    "real": {"f": "{a}"},
    "imag": {"f": _ZERO},
    "conj": {"f": "{a}"},
    "add": _arithmetic("+", "{a} | {b}"),
    "subtract": _arithmetic("-"),
    "multiply": _arithmetic("*", "{a} & {b}"),
    "divide": {"f": "{a} / {b}"},
    "floor_divide": {"iuf": "floor_divide_{T}({a}, {b})"},
    "remainder": {"iuf": "remainder_{T}({a}, {b})"},
    "fmod": {"iu": "fmod_{T}({a}, {b})", "f": "fmod({a}, {b})"},
    "power": {"iu": "power_{T}({a}, {b})", "f": "pow({a}, {b})"},
    "atan2": {"f": "atan2_{T}({a}, {b})"},
    "hypot": {"f": "hypot({a}, {b})"},
    "logaddexp": {"f": "logaddexp_{T}({a}, {b})"},
    "maximum": {"iu": "PICK({a} > {b}, {a}, {b})", "f": "PICK(({a} > {b}) | ({a} != {a}), {a}, {b})"},
    "minimum": {"iu": "PICK({a} < {b}, {a}, {b})", "f": "PICK(({a} < {b}) | ({a} != {a}), {a}, {b})"},
    "copysign": {"f": "copysign({a}, {b})"},
    "nextafter": {"f": "nextafter({a}, {b})"},
    "equal": _compared("=="),
    "not_equal": _compared("!="),
    "less": _compared("<"),
    "less_equal": _compared("<="),
    "greater": _compared(">"),
    "greater_equal": _compared(">="),
    "logical_and": {"b": "{a} & {b}"},
    "logical_or": {"b": "{a} | {b}"},
    "logical_xor": {"b": "{a} ^ {b}"},
    "bitwise_and": {"biu": "{a} & {b}"},
    "bitwise_or": {"biu": "{a} | {b}"},
    "bitwise_xor": {"biu": "{a} ^ {b}"},
    "left_shift": {"iu": f"PICK({_OUTSIDE}, {_ZERO}, CONVERT({{T}}, {{a}} << ({{b}} & {_LAST_BIT})))"},
    "right_shift": {"i": f"CONVERT({{T}}, {{a}} >> PICK({_OUTSIDE}, {_LAST_BIT}, {{b}}))",
                    "u": f"PICK({_OUTSIDE}, {_ZERO}, CONVERT({{T}}, {{a}} >> ({{b}} & {_LAST_BIT})))"},
    "where": {"b": "SELECT({T}, {a}, {b}, {c})"},
}  # fmt: skip

TEMPLATES: Mapping[str, Mapping[str, str]] = {
    op: {one: text for kinds, text in table.items() for one in kinds} for op, table in _RAW.items()
}

# Casts: (family from, family to). A float becomes a small integer by way of a wide one, so that what does not fit
# keeps its low bits, as on the processors that NumPy runs on.
CASTS: Mapping[str, str] = {
    **{f"{a}b": "CMP({a} != SPLAT({A}, 0))" for a in "iuf"},
    **{f"{a}{b}": "CONVERT({T}, {a})" for a in "biu" for b in "iuf"},
    "bb": "{a}", "ff": "CONVERT({T}, {a})",
    "fi": "CONVERT({T}, {a})", "fu": "CONVERT({T}, {a})",
}  # fmt: skip
BY_WAY_OF = {"i8": "i32", "i16": "i32", "u8": "i32", "u16": "i32", "u32": "i64"}
ROUNDED = {"float16": "round_f16", "bfloat16": "round_bf16"}

# Groups of functions of arithmetic.ker that an op needs, by family of its dtype
NEEDS: Mapping[str, Mapping[str, str]] = {
    **{op: {"i": "SIGNED_DIVISION", "u": "UNSIGNED_DIVISION", "f": "FLOAT_DIVISION"}
       for op in ("floor_divide", "remainder")},
    "fmod": {"i": "SIGNED_DIVISION", "u": "UNSIGNED_DIVISION"},
    "power": {"i": "INTEGER_POWER", "u": "INTEGER_POWER"},
}  # fmt: skip

# Reductions of rows: op -> family -> the element that changes nothing
IDENTITY: Mapping[str, Mapping[str, str]] = {
    "sum": {"iuf": "0"},
    "prod": {"iuf": "1"},
    "max": {"f": "-INFINITY", "b": "0", "u": "0", "i": "LEAST({T})"},
    "min": {"f": "INFINITY", "b": "1", "u": "MOST({T})", "i": "MOST({T})"},
    "any": {"b": "0"},
    "all": {"b": "1"},
}


def identity(op: str, dtype: str) -> str | None:
    """C for what `op` starts from, or None where it has no meaning for `dtype`."""
    for kinds, text in IDENTITY.get(op, {}).items():
        if family(dtype) in kinds:
            return text.format(T=STORED[dtype][1])
    return None


def expression(op: str, inputs: tuple[str, ...], dtypes: tuple[str, ...], result: str) -> str | None:
    """C for `op` on the names `inputs` of `dtypes`, or None where there is no text for them."""
    if result not in STORED or any(d not in STORED for d in dtypes):
        return None
    if op == "cast":
        return _cast(inputs[0], dtypes[0], result)
    if op == "bitcast":
        return _bitcast(inputs[0], dtypes[0], result)
    text = TEMPLATES.get(op, {}).get(family(dtypes[0]))
    return None if text is None else text.format(**_names(inputs, dtypes[0], result))


def _names(inputs: tuple[str, ...], first: str, result: str) -> dict[str, str]:
    computed = STORED[result][1]
    named = dict(zip("abc", inputs, strict=False))
    return named | {"T": computed, "A": STORED[first][1], "U": UNSIGNED.get(computed, computed)}


def _cast(value: str, dtype: str, to: str) -> str:
    computed = STORED[to][1]
    if family(dtype) == "f" and family(to) in "iu" and computed in BY_WAY_OF:
        value = f"CONVERT({BY_WAY_OF[computed]}, {value})"
    text = CASTS[family(dtype) + family(to)].format(**_names((value,), dtype, to))
    return f"{ROUNDED[to]}({text})" if to in ROUNDED and to != dtype else text


def _bitcast(value: str, dtype: str, to: str) -> str | None:
    """The same bits; 16-bit floats have none while they are computed with."""
    first, then = STORED[dtype][1], STORED[to][1]
    if dtype == to:
        return value
    if "bool" in (dtype, to) or {dtype, to} & ROUNDED.keys():
        return None
    return f"AS({then}, {value})" if {first[0], then[0]} != {"i", "u"} else f"CONVERT({then}, {value})"
