"""Lowerings of windows and Fourier transforms: a transform is a product with a constant matrix of waves."""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, lowers
from hetero.convert.onnx_tensor import dtype_of
from hetero.graph.build import Ref
from hetero.op import Array

Ints = tuple[int, ...]

# -- windows ------------------------------------------------------------------------------------------------

_WINDOWS: dict[str, tuple[float, ...]] = {  # sums of cosines: a0 - a1 cos(t) + a2 cos(2 t)
    "HannWindow": (0.5, 0.5), "HammingWindow": (25 / 46, 21 / 46), "BlackmanWindow": (0.42, 0.5, 0.08),
}  # fmt: skip


def _window(onnx: str, factors: tuple[float, ...]) -> None:
    def lower(n: Call, size: Ref, *, output_datatype: int = 1, periodic: int = 1) -> Ref:
        """a constant"""
        length = int(n.scalar(size, "the size"))
        to = dtype_of(output_datatype, "the result")
        n.only(length >= 0, f"size {length}")
        n.room(length * 8)
        angle = 2 * np.pi * np.arange(length) / max(length if periodic else length - 1, 1)
        made = sum((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(factors))
        return n.constant(np.asarray(made).astype(to))

    lowers(onnx)(lower)


for _onnx, _factors in _WINDOWS.items():
    _window(_onnx, _factors)


@lowers("MelWeightMatrix")
def _mel(
    n: Call, bins: Ref, length: Ref, rate: Ref, low: Ref, high: Ref, *, output_datatype: int = 1
) -> Ref:
    """a constant"""
    count, size, hertz = (int(n.scalar(r, "an input")) for r in (bins, length, rate))
    edges = [float(n.scalar(r, "an edge")) for r in (low, high)]
    n.only(count >= 1 and size >= 1 and hertz >= 1 and min(edges) >= 0, "bins, length, rate or edges out of range")
    rows = size // 2 + 1
    n.room(rows * count * 8 + count * 8)
    mel = np.linspace(*(2595 * np.log10(1 + e / 700) for e in edges), count + 2)
    centre = np.floor((size + 1) * (700 * (10 ** (mel / 2595) - 1)) / hertz).astype(np.int64)
    made = np.zeros((rows, count))
    for i, (first, top, last) in enumerate(zip(centre, centre[1:], centre[2:], strict=False)):
        n.only(0 <= first and last <= rows, f"an edge above half of the rate {hertz}")
        if first == top:
            made[top, i] = 1
        made[first:top, i] = (np.arange(first, top) - first) / max(top - first, 1)
        made[top:last, i] = (last - np.arange(top, last)) / max(last - top, 1)
    return n.constant(made.astype(dtype_of(output_datatype, "the result")))


# -- transforms ---------------------------------------------------------------------------------------------


def waves(n: Call, size: int, rows: int, sign: int) -> tuple[Array, Array]:
    """cos and sin of 2 pi j k / size, (size, rows); the angle is reduced in integers, so that it stays exact."""
    n.room(size * rows * 16)
    turns = np.outer(np.arange(size), np.arange(rows)) % size
    angle = 2 * np.pi * turns / size
    return np.cos(angle), sign * np.sin(angle)


def transform(n: Call, parts: list[Ref], sign: int, rows: int) -> tuple[Ref, Ref]:
    """Real and imaginary parts (..., size), the latter if there is one -> (..., rows) each"""
    x, e = parts[0], n.emit
    to = x.type.dtype
    cos, sin = (n.constant(w.astype(to)) for w in waves(n, n.shape(x)[-1], rows, sign))
    real, imag = e("matmul", x, cos), e("matmul", x, sin)
    if len(parts) > 1:
        real = e("subtract", real, e("matmul", parts[1], sin))
        imag = e("add", imag, e("matmul", parts[1], cos))
    return real, imag


def _parts(n: Call, x: Ref) -> list[Ref]:
    """(..., 1) -> real part; (..., 2) -> real and imaginary part"""
    shape = n.shape(x)
    n.only(len(shape) >= 2 and shape[-1] in (1, 2), f"shape {shape} does not end in 1 (real) or 2 (complex)")
    return [n.reshape(n.cut(x, len(shape) - 1, i, i + 1), *shape[:-1]) for i in range(shape[-1])]


def _fit(n: Call, x: Ref, axis: int, size: int) -> Ref:
    """Cut or filled with zeros to `size`."""
    shape = n.shape(x)
    if size <= shape[axis]:
        return x if size == shape[axis] else n.cut(x, axis, 0, size)
    none = (0,) * len(shape)
    return n.emit("pad", x, before=none, after=(*none[:axis], size - shape[axis], *none[axis + 1 :]))


@lowers("DFT")
def _dft_17(n: Call, x: Ref, length: Ref | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0) -> Ref:
    """`matmul` with a matrix of cosines and one of sines"""
    return _dft(n, x, length, axis, bool(inverse), bool(onesided))


@lowers("DFT", since=20)
def _dft_20(
    n: Call, x: Ref, length: Ref | None = None, axis: Ref | None = None, *, inverse: int = 0, onesided: int = 0
) -> Ref:
    """`matmul` with a matrix of cosines and one of sines"""
    at = -2 if axis is None else int(n.scalar(axis, "the axis"))
    return _dft(n, x, length, at, bool(inverse), bool(onesided))


def _dft(n: Call, x: Ref, length: Ref | None, axis: int, inverse: bool, onesided: bool) -> Ref:
    rank = x.type.rank
    at = n.axis(axis, rank)
    n.only(at < rank - 1, f"axis {axis} is the one of real and imaginary parts")
    parts = _parts(n, x)
    size = n.shape(x)[at] if length is None else int(n.scalar(length, "the length"))
    n.only(size >= 1, f"length {size}")
    wide = dt.float64 if x.type.dtype == dt.float64 else dt.float32
    order = [i for i in range(rank - 1) if i != at] + [at]
    back = [order.index(i) for i in range(rank - 1)]
    parts = [n.cast(p, wide) for p in parts]
    if inverse and onesided:
        return n.cast(_real_inverse(n, parts, at, order, back, size, length is None), x.type.dtype)
    n.only(not (onesided and len(parts) > 1), "onesided wants a real input")
    data = [n.permute(_fit(n, p, at, size), *order) for p in parts]
    made = transform(n, data, 1 if inverse else -1, size // 2 + 1 if onesided else size)
    if inverse:
        made = tuple(n.emit("divide", p, float(size)) for p in made)
    out = [n.reshape(p, *p.type.known, 1) for p in (n.permute(p, *back) for p in made)]
    return n.cast(n.emit("concat", *out, axis=rank - 1), x.type.dtype)


def _real_inverse(n: Call, parts: list[Ref], at: int, order: list[int], back: list[int], size: int, own: bool) -> Ref:
    """Half of a spectrum -> the real signal: each bin but the first, and the middle one, counts twice."""
    n.only(len(parts) == 2, "the inverse of one side wants a complex input")
    half = n.shape(parts[0])[at]
    size = 2 * (half - 1) if own else size
    n.only(size >= 1, f"length {size}")
    rows = size // 2 + 1
    cos, sin = (w.T for w in waves(n, size, rows, 1))
    twice = np.full((rows, 1), 2.0)
    twice[0] = 1
    if size % 2 == 0:
        twice[-1] = 1
    real, imag = (n.permute(_fit(n, p, at, rows), *order) for p in parts)
    to = real.type.dtype
    e = n.emit
    total = e("subtract", e("matmul", real, n.constant((cos * twice / size).astype(to))),
              e("matmul", imag, n.constant((sin * twice / size).astype(to))))  # fmt: skip
    signal = n.permute(total, *back)
    return n.reshape(signal, *signal.type.known, 1)


@lowers("STFT")
def _stft(
    n: Call, signal: Ref, step: Ref, window: Ref | None = None, length: Ref | None = None, *, onesided: int = 1
) -> Ref:
    """frames by `take`, times the window, then as DFT"""
    parts = _parts(n, signal if signal.type.rank == 3 else n.reshape(signal, *signal.type.known, 1))
    samples = n.shape(parts[0])[1]
    hop = int(n.scalar(step, "frame_step"))
    whole = samples if window is None else n.shape(window)[0]
    size = whole if length is None else int(n.scalar(length, "frame_length"))
    n.only(hop >= 1 and 1 <= size <= samples, f"frames of {size} every {hop} in {samples} samples")
    n.only(window is None or n.shape(window) == (size,), "the window is not as long as a frame")
    n.only(not (onesided and len(parts) > 1), "onesided wants a real signal")
    frames = (samples - size) // hop + 1
    n.room(frames * size * 8)
    places = n.constant(np.arange(frames)[:, None] * hop + np.arange(size)[None, :])
    data = [n.emit("take", p, places, axis=1) for p in parts]
    if window is not None:
        data = [n.emit("multiply", p, window) for p in data]
    made = transform(n, data, -1, size // 2 + 1 if onesided else size)
    return n.emit("concat", *(n.reshape(p, *p.type.known, 1) for p in made), axis=3)


