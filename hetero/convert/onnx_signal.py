"""Lowerings of windows and Fourier transforms."""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, lowers
from hetero.convert.onnx_tensor import dtype_of
from hetero.graph.build import Ref

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
def _mel(n: Call, bins: Ref, length: Ref, rate: Ref, low: Ref, high: Ref, *, output_datatype: int = 1) -> Ref:
    """a constant"""
    count, size, hertz = (int(n.scalar(r, "an input")) for r in (bins, length, rate))
    edges = [float(n.scalar(r, "an edge")) for r in (low, high)]
    n.only(count >= 1 and size >= 1 and hertz >= 1 and min(edges) >= 0, "bins, length, rate or edges out of range")
    rows = size // 2 + 1
    n.room(rows * count * 8 + count * 8)
    first, last = (2595 * np.log10(1 + e / 700) for e in edges)
    mel = first + np.arange(count + 2) * (last - first) / (count + 2)  # so the standard's function steps
    centre = np.floor((size + 1) * (700 * (10 ** (mel / 2595) - 1)) / hertz).astype(np.int64)
    n.only(centre.max() < rows, f"an edge above half of the rate {hertz}")
    made = np.zeros((rows, count))
    for i, (low_bin, top, high_bin) in enumerate(zip(centre, centre[1:], centre[2:], strict=False)):
        made[low_bin:top, i] = (np.arange(low_bin, top) - low_bin) / max(top - low_bin, 1)
        made[top, i] = 1
        made[top:high_bin, i] = (high_bin - np.arange(top, high_bin)) / max(high_bin - top, 1)
    return n.constant(made.astype(dtype_of(output_datatype, "the result")))


# -- transforms ---------------------------------------------------------------------------------------------


def joined(n: Call, parts: list[Ref]) -> Ref:
    """Real and imaginary parts, or the first alone, as one complex tensor"""
    to = dt.complex128 if parts[0].type.dtype == dt.float64 else dt.complex64
    real = n.cast(parts[0], to)
    if len(parts) == 1:
        return real
    return n.emit("add", real, n.emit("multiply", n.cast(parts[1], to), n.constant(1j, to)))


def pairs(n: Call, x: Ref) -> Ref:
    """Complex (...) -> (..., 2)"""
    both = (n.emit(part, x) for part in ("real", "imag"))
    return n.emit("concat", *(n.reshape(p, *p.type.known, 1) for p in both), axis=x.type.rank)


def _parts(n: Call, x: Ref) -> list[Ref]:
    """(..., 1) -> real part; (..., 2) -> real and imaginary part"""
    shape = n.shape(x)
    last = shape[-1] if shape else 0
    n.only(len(shape) >= 2 and last in (1, 2), f"shape {shape} does not end in 1 (real) or 2 (complex)")
    return [n.reshape(n.cut(x, len(shape) - 1, i, i + 1), *shape[:-1]) for i in range(last)]


def _fit(n: Call, x: Ref, axis: int, size: int) -> Ref:
    """Cut or filled with zeros to `size`."""
    shape = n.shape(x)
    if size <= shape[axis]:
        return x if size == shape[axis] else n.cut(x, axis, 0, size)
    none = (0,) * len(shape)
    return n.emit("pad", x, before=none, after=(*none[:axis], size - shape[axis], *none[axis + 1 :]))


@lowers("DFT")
def _dft_17(n: Call, x: Ref, length: Ref | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0) -> Ref:
    """`fft`, `rfft` or `irfft`"""
    return _dft(n, x, length, axis, bool(inverse), bool(onesided))


@lowers("DFT", since=20)
def _dft_20(
    n: Call, x: Ref, length: Ref | None = None, axis: Ref | None = None, *, inverse: int = 0, onesided: int = 0
) -> Ref:
    """`fft`, `rfft` or `irfft`"""
    at = -2 if axis is None else int(n.scalar(axis, "the axis"))
    return _dft(n, x, length, at, bool(inverse), bool(onesided))


def _dft(n: Call, x: Ref, length: Ref | None, axis: int, inverse: bool, onesided: bool) -> Ref:
    rank = x.type.rank
    at = n.axis(axis, rank)
    n.only(at < rank - 1, f"axis {axis} is the one of real and imaginary parts")
    parts = _parts(n, x)
    size = n.shape(x)[at] if length is None else int(n.scalar(length, "the length"))
    n.only(size >= 1, f"length {size}")
    n.only(not onesided or len(parts) == 1 + inverse, "onesided wants a real input, or for the inverse a complex one")
    wide = dt.float64 if x.type.dtype == dt.float64 else dt.float32
    parts = [n.cast(p, wide) for p in parts]
    if inverse and onesided:
        size = 2 * (n.shape(x)[at] - 1) if length is None else size
        half = joined(n, [_fit(n, p, at, size // 2 + 1) for p in parts])
        signal = n.emit("irfft", half, axis=at, n=size)
        return n.cast(n.reshape(signal, *signal.type.known, 1), x.type.dtype)
    parts = [_fit(n, p, at, size) for p in parts]
    if onesided:
        return n.cast(pairs(n, n.emit("rfft", parts[0], axis=at)), x.type.dtype)
    return n.cast(pairs(n, n.emit("fft", joined(n, parts), axis=at, inverse=inverse)), x.type.dtype)


@lowers("STFT")
def _stft(
    n: Call, signal: Ref, step: Ref, window: Ref | None = None, length: Ref | None = None, *, onesided: int = 1
) -> Ref:
    """frames by `take`, times the window, then `rfft` or `fft`"""
    parts = _parts(n, signal if signal.type.rank == 3 else n.reshape(signal, *signal.type.known, 1))
    n.only(parts[0].type.rank == 2, f"a signal of {parts[0].type.rank + 1} dimensions")
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
    if onesided:
        return pairs(n, n.emit("rfft", data[0], axis=2))
    return pairs(n, n.emit("fft", joined(n, data), axis=2))
