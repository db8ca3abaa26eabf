"""Writes hetero/ops/normal.npz, the tables of the op `normal`: `python kernels/fit_normal.py` (seconds).

Row 32 (n - 1) + s holds the polynomial that is the normal quantile of q / 2^(bits + 1), in the upper tail, for odd
q from 2^(n-1) (1 + s/32) to 2^(n-1) (1 + (s+1)/32): integers, lowest order first, to be divided by 2^scale. It is
the interpolation on Chebyshev points, computed with 60 digits, so that only the rounding of a coefficient and the
degree (error below 2^-33 and 2^-51) show.
"""

from __future__ import annotations

import math
from decimal import Decimal, getcontext
from pathlib import Path
from statistics import NormalDist

import numpy as np

getcontext().prec = 60
SEGMENTS = 32
TABLES = {"float32": (32, 3, 40), "float64": (64, 6, 56)}  # bits of q, degree, scale
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


def density(z: Decimal) -> Decimal:
    return (-z * z / 2).exp() / (2 * PI).sqrt()


def tail(z: Decimal) -> Decimal:
    """The probability above z >= 0: 1/2 - density * (z + z^3/3 + z^5/15 + ...)"""
    term, total, k = z, z, 1
    while term > Decimal("1e-58"):
        k += 2
        term *= z * z / k
        total += term
    return Decimal(1) / 2 - density(z) * total


def quantile(p: Decimal) -> Decimal:
    """The z with p above it: the double nearest to it, and one step of Newton's method."""
    z = Decimal(-NormalDist().inv_cdf(float(p)))
    return z + (tail(z) - p) / density(z)


def polynomial(nodes: list[Decimal], values: list[Decimal]) -> list[Decimal]:
    """Coefficients through the points: Newton's divided differences, multiplied out."""
    count = len(nodes)
    table = list(values)
    for level in range(1, count):
        for i in range(count - 1, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - level])
    out = [Decimal(0)] * count
    for i in range(count - 1, -1, -1):  # out = out * (t - nodes[i]) + table[i]
        shifted = [Decimal(0), *out[:-1]]
        out = [s - nodes[i] * o for s, o in zip(shifted, out, strict=True)]
        out[0] += table[i]
    return out


def rows(bits: int, degree: int, scale: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    count = degree + 1
    nodes = [Decimal((1 - math.cos((2 * i + 1) * math.pi / (2 * count))) / 2) for i in range(count)]
    out = np.empty((bits * SEGMENTS, count), np.int64)
    for n in range(bits):
        for s in range(SEGMENTS):
            at = [Decimal(2) ** n * (1 + (s + t) / SEGMENTS) / Decimal(2) ** (bits + 1) for t in nodes]
            fitted = polynomial(nodes, [quantile(p) for p in at])
            out[n * SEGMENTS + s] = [int((c * Decimal(2) ** scale).to_integral_value()) for c in fitted]
    return out


if __name__ == "__main__":
    to = Path(__file__).parent.parent / "hetero" / "ops" / "normal.npz"
    np.savez_compressed(to, allow_pickle=False, **{name: rows(*how) for name, how in TABLES.items()})
    print(f"{to}: {to.stat().st_size} bytes")
