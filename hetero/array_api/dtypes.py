"""What dtypes are, how they mix and what they can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dtype import DType, weak
from hetero.errors import AttributeValueError, DTypeError
from hetero.spi import Device
from hetero.tensor import SCALARS, Tensor

_KINDS: dict[str, str] = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
    "complex floating": "c", "numeric": "iufc",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FInfo:
    """Limits of a float dtype, or of the parts of a complex one."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True, slots=True)
class IInfo:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(x: Any) -> DType:
    return x.dtype if isinstance(x, Tensor) else dt.of(x)


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Device | str | None = None) -> Tensor:
    """The values of `x` converted to `dtype`, on `device` if given; (...) -> (...)

    Buffers are never written to, so a tensor that is what was asked for is shared unless `copy`.
    """
    out = x if device is None else x.to_device(device)
    if dt.of(dtype) != out.dtype:
        return out.astype(dtype)
    return copied(out) if copy and out is x else out


def copied(x: Tensor) -> Tensor:
    """A tensor of its own with the value of `x`. Buffers are immutable, so a new handle is all it takes."""
    return x.reshape(x.shape)


def can_cast(from_: DType | Tensor, to: DType, /) -> bool:
    """Whether promotion alone may turn `from_` into `to`."""
    to = dt.of(to)
    return dt.promote(_dtype_of(from_), to) == to


def finfo(type: DType | Tensor, /) -> FInfo:
    """Limits of a float or complex dtype."""
    dtype = _dtype_of(type)
    if dt.kind(dtype) not in "fc":
        raise DTypeError(f"finfo wants a float or complex dtype, got {dtype.name}", hint="iinfo is for integers")
    if dtype.name in dt.EXTENDED:
        import ml_dtypes

        found: Any = ml_dtypes.finfo(dtype)
    else:
        found = np.finfo(dtype)
    low, high = float(found.min), float(found.max)
    return FInfo(int(found.bits), float(found.eps), high, low, float(found.smallest_normal), dt.real_of(dtype))


def iinfo(type: DType | Tensor, /) -> IInfo:
    """Limits of an integer dtype."""
    dtype = _dtype_of(type)
    if not dt.is_integer(dtype):
        raise DTypeError(f"iinfo wants an integer dtype, got {dtype.name}", hint="finfo is for floats")
    if dtype.name in dt.EXTENDED:
        import ml_dtypes

        found: Any = ml_dtypes.iinfo(dtype)
    else:
        found = np.iinfo(dtype)
    return IInfo(int(found.bits), int(found.max), int(found.min), dtype)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> bool:
    """Whether `dtype` is `kind`: a dtype, the name of a kind ("integral", "numeric", ...), or one of several."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise AttributeValueError(f"no kind of dtype is called {kind!r}", hint=f"one of {', '.join(_KINDS)}")
        return dt.kind(dt.of(dtype)) in _KINDS[kind]
    return dt.of(dtype) == dt.of(kind)


def result_type(*arrays_and_dtypes: Tensor | bool | int | float | complex | DType) -> DType:
    """The dtype of a result that mixes them. Python scalars are weak: they decide the kind at most."""
    strong = [_dtype_of(x) for x in arrays_and_dtypes if not isinstance(x, SCALARS)]
    if not strong:
        raise DTypeError("result_type wants a tensor or a dtype beside Python scalars")
    like = dt.promote(*strong)
    scalars = [weak(x, like) for x in arrays_and_dtypes if isinstance(x, SCALARS)]
    return dt.promote(like, *(d for d in scalars if d is not None))


__all__ = ["FInfo", "IInfo", "astype", "can_cast", "copied", "finfo", "iinfo", "isdtype", "result_type"]
