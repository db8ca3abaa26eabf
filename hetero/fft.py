"""Fourier transforms: the array API's extension.

`n` or `s` first cuts or zero-pads; `norm` says where the factor 1/n goes: "backward", "ortho" or "forward".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.array_api.creation import Kind, Where
from hetero.array_api.elementwise import conj
from hetero.array_api.manipulation import Axes, normal_axis, roll
from hetero.dtype import DType
from hetero.eager import place
from hetero.errors import AttributeValueError, AxisError, DTypeError
from hetero.ops.fft import complex_of
from hetero.select import device_of
from hetero.tensor import Tensor, apply

Norm: TypeAlias = Literal["backward", "ortho", "forward"]
_SWAPPED: dict[str, Norm] = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _resized(x: Tensor, n: int | None, axis: int) -> Tensor:
    """Cut or zero-padded at the end to `n` elements."""
    size = x.shape[axis]
    if n is None or n == size:
        return x
    if n < 1:
        raise AttributeValueError(f"a transform of {n} elements", hint="1 or more")
    if n < size:
        stops = (*x.shape[:axis], n, *x.shape[axis + 1 :])
        return apply("slice", x, starts=(0,) * x.ndim, stops=stops, steps=(1,) * x.ndim)
    after = tuple(n - size if i == axis else 0 for i in range(x.ndim))
    return apply("pad", x, before=(0,) * x.ndim, after=after)


def _complex(x: Tensor) -> Tensor:
    if dt.kind(x.dtype) not in "fc":
        raise DTypeError(f"a Fourier transform wants float or complex, got {x.dtype.name}", hint="x.astype('float64')")
    return x.astype(complex_of(x.dtype))


def _one(x: Tensor, n: int | None, axis: int, norm: str, inverse: bool) -> Tensor:
    axis = normal_axis(axis, x.ndim)
    return apply("fft", _resized(_complex(x), n, axis), axis=axis, norm=norm, inverse=inverse)


def _axes(x: Tensor, s: Sequence[int] | None, axes: Sequence[int] | None) -> list[tuple[int, int | None]]:
    """Axis and size for each transform of several."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    sizes: Sequence[int | None] = s if s is not None else [None] * len(axes)
    if len(sizes) != len(axes):
        raise AxisError(f"sizes {s} for axes {axes}: as many of both")
    return [(normal_axis(a, x.ndim), n) for a, n in zip(axes, sizes, strict=True)]


def fft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The transform along one axis: (..., n, ...) -> complex (..., n, ...)"""
    return _one(x, n, axis, norm, False)


def ifft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `fft`: (..., n, ...) -> complex (..., n, ...)"""
    return _one(x, n, axis, norm, True)


def fftn(
    x: Tensor, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """The transform along several axes, by default all: (...) -> complex (...)"""
    for axis, n in _axes(x, s, axes):
        x = _one(x, n, axis, norm, False)
    return _complex(x)


def ifftn(
    x: Tensor, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """The inverse of `fftn`: (...) -> complex (...)"""
    for axis, n in _axes(x, s, axes):
        x = _one(x, n, axis, norm, True)
    return _complex(x)


def rfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The transform of real numbers, one half of it: (..., n, ...) -> complex (..., n // 2 + 1, ...)"""
    axis = normal_axis(axis, x.ndim)
    return apply("rfft", _resized(x, n, axis), axis=axis, norm=norm)


def irfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `rfft` to n elements, by default 2 (m - 1): complex (..., m, ...) -> (..., n, ...)"""
    axis = normal_axis(axis, x.ndim)
    n = 2 * (x.shape[axis] - 1) if n is None else n
    if n < 1:
        raise AttributeValueError(f"irfft to {n} elements", hint="give n: 1 or more")
    return apply("irfft", _resized(_complex(x), n // 2 + 1, axis), axis=axis, n=n, norm=norm)


def rfftn(
    x: Tensor, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """`rfft` along the last of the axes, then `fft` along the others: (..., n) -> complex (..., n // 2 + 1)"""
    *rest, (last, n) = _axes(x, s, axes)
    out = rfft(x, n=n, axis=last, norm=norm)
    for axis, n in rest:
        out = _one(out, n, axis, norm, False)
    return out


def irfftn(
    x: Tensor, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """The inverse of `rfftn`: complex (..., m) -> (..., n), by default 2 (m - 1)"""
    *rest, (last, n) = _axes(x, s, axes)
    for axis, size in rest:
        x = _one(x, size, axis, norm, True)
    return irfft(x, n=n, axis=last, norm=norm)


def hfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The real transform of one half of a Hermitian sequence: complex (..., m, ...) -> (..., n, ...)"""
    return irfft(conj(_complex(x)), n=n, axis=axis, norm=_swapped(norm))


def ihfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `hfft`: (..., n, ...) -> complex (..., n // 2 + 1, ...)"""
    return conj(rfft(x, n=n, axis=axis, norm=_swapped(norm)))


def _swapped(norm: str) -> Norm:
    if norm not in _SWAPPED:
        raise AttributeValueError(f"a transform has no norm {norm!r}", hint=f"one of {', '.join(_SWAPPED)}")
    return _SWAPPED[norm]


def _float(dtype: Kind) -> DType:
    to = dt.float64 if dtype is None else dt.of(dtype)
    if dt.kind(to) != "f":
        raise DTypeError(f"frequencies are real floats, not {to.name}")
    return to


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Kind = None, device: Where = None) -> Tensor:
    """The frequency of each element that `fft` gives, for samples `d` apart; (n,)"""
    return place(np.fft.fftfreq(n, d).astype(_float(dtype)), device_of(device))


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Kind = None, device: Where = None) -> Tensor:
    """The frequency of each element that `rfft` gives, for samples `d` apart; (n // 2 + 1,)"""
    return place(np.fft.rfftfreq(n, d).astype(_float(dtype)), device_of(device))


def _shift(x: Tensor, axes: Axes | Sequence[int], sign: int) -> Tensor:
    given = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
    each = tuple(normal_axis(a, x.ndim) for a in given)
    by = tuple(x.shape[a] // 2 if sign > 0 else -(x.shape[a] // 2) for a in each)
    return roll(x, by, axis=each)


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Frequency 0 moved to the middle; (...) -> (...)"""
    return _shift(x, axes, 1)


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Frequency 0 moved back to the front; (...) -> (...)"""
    return _shift(x, axes, -1)


__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip
