"""Discrete Fourier transforms along one axis: y[k] = sum over j of x[j] exp(-2 pi i j k / n).

`norm` says where the factor 1/n goes: "backward" in the inverse, "forward" in the transform, "ortho" its root in
each. float32 gives complex64, float64 complex128. Transforms over several axes are these one after the other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import concrete
from hetero.dtype import DType
from hetero.errors import AttributeValueError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops.elementwise import check_kinds, check_wide
from hetero.ops.indexing import check_axis

NORMS = ("backward", "ortho", "forward")


def complex_of(dtype: DType) -> DType:
    """complex64 of float32, complex128 of float64; others stay."""
    return {"float32": dt.complex64, "float64": dt.complex128}.get(dtype.name, dtype)


def _check(name: str, x: TensorType, axis: int, norm: str, kinds: str) -> int:
    """The size along `axis`, which must be 1 or more."""
    check_kinds(name, kinds, (x,))
    check_axis(name, axis, x.rank)
    if norm not in NORMS:
        raise AttributeValueError(f"{name} has no norm {norm!r}", hint=f"one of {', '.join(NORMS)}")
    (n,) = concrete((x.known[axis],), name)
    if n < 1:
        raise ShapeError(f"{name} along an axis of no elements: axis {axis} of {x}")
    return n


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    """5 n log2(n) for each line of n"""
    n = max(int(t.known[attrs["axis"]]) for t in (types[0], outs[0]))
    size = max(int(types[0].size), int(outs[0].size))
    return Cost(flop=5 * size * max(1, math.ceil(math.log2(n or 1))), read=int(types[0].size), write=int(outs[0].size))


_NUMPY: Any = np.fft  # its stubs want one of three literals for `norm`, which `_check` has seen to


def _fft_infer(x: TensorType, *, axis: int, norm: str, inverse: bool) -> TensorType:
    """complex (..., n, ...) -> (..., n, ...)"""
    _check("fft", x, axis, norm, "c")
    return x


def _fft(x: Array, *, axis: int, norm: str, inverse: bool) -> Array:
    call = _NUMPY.ifft if inverse else _NUMPY.fft
    return call(x, axis=axis, norm=norm).astype(x.dtype, copy=False)


def _rfft_infer(x: TensorType, *, axis: int, norm: str) -> TensorType:
    """float (..., n, ...) -> complex (..., n // 2 + 1, ...), the half that the other follows from"""
    check_wide("rfft", (x,))
    n = _check("rfft", x, axis, norm, "f")
    return TensorType((*x.known[:axis], n // 2 + 1, *x.known[axis + 1 :]), complex_of(x.dtype))


def _rfft(x: Array, *, axis: int, norm: str) -> Array:
    return _NUMPY.rfft(x, axis=axis, norm=norm).astype(complex_of(x.dtype), copy=False)


def _irfft_infer(x: TensorType, *, axis: int, n: int, norm: str) -> TensorType:
    """complex (..., n // 2 + 1, ...) -> float (..., n, ...)"""
    half = _check("irfft", x, axis, norm, "c")
    if n < 1 or half != n // 2 + 1:
        raise ShapeError(f"irfft to {n} elements wants {n // 2 + 1} along axis {axis}, got {half}")
    return TensorType((*x.known[:axis], n, *x.known[axis + 1 :]), dt.real_of(x.dtype))


def _irfft(x: Array, *, axis: int, n: int, norm: str) -> Array:
    return _NUMPY.irfft(x, n, axis=axis, norm=norm).astype(dt.real_of(x.dtype), copy=False)


fft = define(
    Op(
        name="fft", kind="compute", infer=_fft_infer, reference=_fft, cost=_cost, dtypes="c",
        attrs={"axis": REQUIRED, "norm": "backward", "inverse": False},
        samples=(
            Sample((Arg((1,)),), {"axis": 0}),
            Sample((Arg((3, 7)),), {"axis": 1, "inverse": True}),
            Sample((Arg((8, 2)),), {"axis": 0, "norm": "ortho"}),
            Sample((Arg((300,)),), {"axis": 0, "norm": "forward"}),
        ),
    )
)  # fmt: skip
rfft = define(
    Op(
        name="rfft", kind="compute", infer=_rfft_infer, reference=_rfft, cost=_cost, dtypes="f",
        attrs={"axis": REQUIRED, "norm": "backward"},
        samples=(
            Sample((Arg((1,)),), {"axis": 0}),
            Sample((Arg((3, 7)),), {"axis": 1}),
            Sample((Arg((300, 2)),), {"axis": 0, "norm": "ortho"}),
        ),
    )
)  # fmt: skip
irfft = define(
    Op(
        name="irfft", kind="compute", infer=_irfft_infer, reference=_irfft, cost=_cost, dtypes="c",
        attrs={"axis": REQUIRED, "n": REQUIRED, "norm": "backward"},
        samples=(
            Sample((Arg((1,)),), {"axis": 0, "n": 1}),
            Sample((Arg((3, 4)),), {"axis": 1, "n": 7}),
            Sample((Arg((151, 2)),), {"axis": 0, "n": 300, "norm": "forward"}),
        ),
    )
)  # fmt: skip
