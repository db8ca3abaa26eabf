"""Dtypes are NumPy's own `np.dtype` objects; this names those that hetero knows and how they promote."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from hetero.errors import DTypeError

DType: TypeAlias = "np.dtype[Any]"

bool_: DType = np.dtype("bool")
int8: DType = np.dtype("int8")
int16: DType = np.dtype("int16")
int32: DType = np.dtype("int32")
int64: DType = np.dtype("int64")
uint8: DType = np.dtype("uint8")
uint16: DType = np.dtype("uint16")
uint32: DType = np.dtype("uint32")
uint64: DType = np.dtype("uint64")
float16: DType = np.dtype("float16")
float32: DType = np.dtype("float32")
float64: DType = np.dtype("float64")
complex64: DType = np.dtype("complex64")
complex128: DType = np.dtype("complex128")

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGER = (*SIGNED, *UNSIGNED)
REAL_FLOAT = (float32, float64)
COMPLEX = (complex64, complex128)
STANDARD = (bool_, *INTEGER, *REAL_FLOAT, *COMPLEX)

# Small floats of ml_dtypes, loaded when first named: half a millisecond that a plain import need not pay.
EXTENDED = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
            "int4", "uint4", "int2", "uint2", "float4_e2m1fn")  # fmt: skip
_BY_NAME: dict[str, DType] = {d.name: d for d in (*STANDARD, float16)}

_NAME_OF: dict[DType, str] = {d: n for n, d in _BY_NAME.items()}


def name_of(dtype: DType) -> str:
    """`dtype.name`, which NumPy makes anew each time."""
    return _NAME_OF.get(dtype) or dtype.name


def of(name: str | DType | type[Any]) -> DType:
    """The dtype called `name`; a dtype or a NumPy or Python scalar type is taken as well."""
    if isinstance(name, str):
        if name in _BY_NAME:
            return _BY_NAME[name]
        if name in EXTENDED:
            return _extended(name)
        raise DTypeError(f"no dtype is called {name!r}", hint=f"one of {', '.join([*_BY_NAME, *EXTENDED])}")
    try:
        found: DType = np.dtype(name)
    except TypeError as e:
        raise DTypeError(f"{name!r} is not a dtype", hint=f"one of {', '.join(_BY_NAME)}") from e
    return check(found)


def check(dtype: DType) -> DType:
    """`dtype` itself, if it is one that tensors can have (strings, objects and dates are not)."""
    known = _BY_NAME.get(name_of(dtype))
    if known is not None:
        return known  # native byte order
    if dtype.name in EXTENDED:
        return dtype
    raise DTypeError(f"a tensor cannot hold {dtype.name!r}", hint=f"one of {', '.join([*_BY_NAME, *EXTENDED])}")


def _extended(name: str) -> DType:
    import ml_dtypes  # late, see EXTENDED

    dtype: DType = np.dtype(getattr(ml_dtypes, name))
    _BY_NAME[name] = dtype
    return dtype


def kind(dtype: DType) -> str:
    """One letter: b bool, i signed, u unsigned, f float (the small ones too), c complex."""
    letter = dtype.kind
    if letter != "V":  # `dtype.name` is slow, so it is asked for last
        return letter
    name = dtype.name  # ml_dtypes register as void
    return "i" if name.startswith("int") else "u" if name.startswith("uint") else "f"


def is_float(dtype: DType) -> bool:
    return kind(dtype) == "f"


def is_integer(dtype: DType) -> bool:
    return kind(dtype) in "iu"


def promote(*dtypes: DType) -> DType:
    """The dtype that holds all of them, by NumPy's table; values never matter."""
    out = dtypes[0]
    for other in dtypes[1:]:
        if other != out:
            out = _promote_two(out, other)
    return out


def _promote_two(a: DType, b: DType) -> DType:
    try:
        return np.promote_types(a, b)
    except TypeError:  # ml_dtypes know few partners
        for one, two in ((a, b), (b, a)):
            if kind(one) == "f" and kind(two) in "biu":
                return one
        return float32 if "c" not in kind(a) + kind(b) else complex64


def to_float(dtype: DType) -> DType:
    """What a function such as `exp` computes in: floats and complex stay, integers become float64."""
    return dtype if kind(dtype) in "fc" else float64


def real_of(dtype: DType) -> DType:
    """float32 of complex64, float64 of complex128; others stay."""
    return {"complex64": float32, "complex128": float64}.get(dtype.name, dtype)


def weak(scalar: Any, like: DType | None) -> DType | None:
    """The dtype a Python scalar takes beside a tensor of dtype `like` (the array API's rule, floats beside
    integers become float64 as in NumPy)."""
    if like is None or not isinstance(scalar, bool | int | float | complex):
        return None
    letter = kind(like)
    if isinstance(scalar, bool):
        return bool_ if letter == "b" else like
    if isinstance(scalar, int):
        if letter == "b":
            return int64
        if letter in "iu" and not np.iinfo(like).min <= scalar <= np.iinfo(like).max:
            raise DTypeError(f"{scalar} does not fit {like.name}", hint="cast the tensor to a wider dtype first")
        return like
    if isinstance(scalar, float):
        return like if letter in "fc" else float64
    return like if letter == "c" else complex64 if like == float32 else complex128
