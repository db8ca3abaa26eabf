"""Which numbers a tensor holds, seen run by run, and the scale and zero point that stand for them best.

A `Seen` is a histogram that grows: when a number falls outside, neighbouring bins are joined until it fits, so that one
run over the data is enough. Three ways from it to a range, by name:

    minmax      the least and the greatest number seen
    percentile  without the outermost (100 - percentile) % of them, half at each end
    mse         the part of that range for which the mean square of what rounding and clamping lose is least

Every range has 0 in it, so that 0, of padding and of relu, has a code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hetero import dtype as dt
from hetero.op import Array
from hetero.ops.quantize import SHORT, bounds, spread

WAYS = ("minmax", "percentile", "mse")
HALF = 2048  # bins on each side of 0
STEPS = 48  # parts of a range that are tried
LEAST = 0.2  # the smallest of them


@dataclass(frozen=True, slots=True)
class Scale:
    """x = (q - zero) * scale"""

    scale: np.float32
    zero: int
    dtype: dt.DType

    def coded(self, x: Array) -> Array:
        """x as what its codes stand for, float64."""
        whole = np.clip(np.rint(x / np.float64(self.scale)) + self.zero, *bounds(self.dtype))
        return (whole - self.zero) * np.float64(self.scale)


class Seen:
    """The numbers of one tensor so far."""

    def __init__(self) -> None:
        self.low, self.high, self.reach = 0.0, 0.0, 0.0
        self.counts = np.zeros(2 * HALF, np.int64)
        self.finite = True

    def add(self, x: Array) -> None:
        if not x.size:
            return
        low, high = float(x.min()), float(x.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            self.finite = False
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach(max(-low, high))
        if self.reach:
            at = (x.astype(np.float32).ravel() * np.float32(HALF / self.reach)).astype(np.int32) + HALF
            at[x.ravel() < 0] -= 1  # truncation goes to 0 from both sides
            self.counts += np.bincount(np.clip(at, 0, 2 * HALF - 1), minlength=2 * HALF)

    def _reach(self, wanted: float) -> None:
        """Bins from -reach to reach, a power of two, for numbers up to `wanted`."""
        if wanted <= self.reach:
            return
        reach = float(2.0 ** np.ceil(np.log2(max(wanted, 1e-30))))
        while self.reach and self.reach < reach:
            pairs = self.counts.reshape(2, HALF // 2, 2).sum(2)
            self.counts = np.concatenate([np.zeros(HALF // 2, np.int64), *pairs, np.zeros(HALF // 2, np.int64)])
            self.reach *= 2
        self.reach = reach

    def places(self) -> tuple[Array, Array]:
        """The middle of each bin that holds anything, and how much it holds."""
        middle = (np.arange(2 * HALF) - HALF + 0.5) * (self.reach / HALF)
        some = self.counts > 0
        return np.clip(middle[some], self.low, self.high), self.counts[some]


def scale_of(seen: Seen, dtype: dt.DType, way: str, percentile: float) -> Scale:
    """Scale and zero point for codes of `dtype`."""
    low, high = seen.low, seen.high
    if way == "minmax" or not seen.counts.any():
        return _asymmetric(low, high, dtype)
    at, counts = seen.places()
    if way == "percentile":
        share = np.cumsum(counts) / counts.sum()
        out = (1 - percentile / 100) / 2
        first, last = np.searchsorted(share, [out, 1 - out])
        return _asymmetric(min(float(at[first]), 0.0), max(float(at[min(last, len(at) - 1)]), 0.0), dtype)
    return _least_lost(at, counts, low, high, dtype)


def _asymmetric(low: float, high: float, dtype: dt.DType) -> Scale:
    least, most = bounds(dtype)
    scale = np.float32(max((high - low) / (most - least), float(np.finfo(np.float32).tiny)))
    if high == low:
        scale = np.float32(1)
    return Scale(scale, int(np.clip(np.rint(least - low / float(scale)), least, most)), dtype)


def _least_lost(at: Array, counts: Array, low: float, high: float, dtype: dt.DType) -> Scale:
    """Both ends drawn in together, then one after the other."""

    def lost(found: Scale) -> float:
        return float(np.sum(counts * (found.coded(at) - at) ** 2))

    parts = np.linspace(LEAST, 1, STEPS)
    best = (lost(_asymmetric(low, high, dtype)), 1.0, 1.0)
    for moves_low, moves_high in ((True, True), (True, False), (False, True)):
        _, low_part, high_part = best
        for part in parts:
            a, b = float(part if moves_low else low_part), float(part if moves_high else high_part)
            now = lost(_asymmetric(low * a, high * b, dtype))
            if now < best[0]:
                best = (now, a, b)
    return _asymmetric(low * best[1], high * best[2], dtype)


# -- weights ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Codes:
    """Weights as whole numbers, symmetric: w = codes * scale, one for each channel of `axis`, or for each block."""

    codes: Array
    scale: Array  # float32
    axis: int
    block: int

    @property
    def nbytes(self) -> int:
        return stored(self.codes) + self.scale.nbytes

    @property
    def numbers(self) -> Array:
        """What the codes stand for, float32."""
        return self.codes.astype(np.float32) * spread(self.scale, self.codes.shape, self.axis, self.block)


def stored(array: Array) -> int:
    """Bytes of an array in a file: numbers of 4 bits are packed."""
    return (array.size + 1) // 2 if array.dtype.name in ("int4", "uint4") else array.nbytes


def weight_codes(
    weight: Array, axis: int, dtype: dt.DType, *, block: int, clip: bool, least: Array | None = None
) -> Codes:
    """`weight` with one scale for each channel of `axis`, not below `least`; or along `axis` for each block. With
    `clip` it is the one that loses least, of codes of less than a byte; else the largest weight is the largest code."""
    whole = np.moveaxis(weight, axis, -1 if block else 0)
    if block:
        count = -(-whole.shape[-1] // block)
        padded = np.zeros((*whole.shape[:-1], count * block), np.float32)
        padded[..., : whole.shape[-1]] = whole
        rows = padded.reshape(-1, block)
    else:
        count, rows = 0, whole.reshape(whole.shape[0], -1)
    scale = _scales(rows, dtype, clip and dtype.name in SHORT)
    scale = scale if least is None else np.maximum(scale, least.astype(np.float32))
    codes = _rounded(rows, scale, dtype)
    if not block:
        return Codes(np.moveaxis(codes.reshape(whole.shape), 0, axis).astype(dtype), scale, axis, 0)
    codes = codes.reshape(*whole.shape[:-1], count * block)[..., : whole.shape[-1]]
    scales = scale.reshape(*whole.shape[:-1], count)
    return Codes(
        np.moveaxis(codes, -1, axis).astype(dtype), np.ascontiguousarray(np.moveaxis(scales, -1, axis)), axis, block
    )


def _rounded(rows: Array, scale: Array, dtype: dt.DType) -> Array:
    """Codes of rows (r, n), int8; -128 is left out, so that no product of two bytes is 2^14."""
    low, high = bounds(dtype)
    return np.clip(np.rint(rows / scale[:, None]), max(low, -127), high).astype(np.int8)


def _scales(rows: Array, dtype: dt.DType, clip: bool) -> Array:
    """float32 (r,)"""
    top = bounds(dtype)[1]
    largest = np.abs(rows).max(1, initial=0)
    full = np.where(largest > 0, largest / top, 1).astype(np.float32)
    full = np.maximum(full, np.finfo(np.float32).tiny)
    if not clip:
        return full
    best, kept = np.full(len(rows), np.inf), full
    for part in np.linspace(0.5, 1, 26):
        scale = (full * np.float32(part)).astype(np.float32)
        lost = np.square(_rounded(rows, scale, dtype) * scale[:, None] - rows).sum(1)
        kept, best = np.where(lost < best, scale, kept), np.minimum(lost, best)
    return kept


__all__ = ["WAYS", "Codes", "Scale", "Seen", "scale_of", "stored", "weight_codes"]
