"""Prints the polynomial coefficients of hetero_kernels/math_f32.ker: `python kernels/fit_math.py` (wants SciPy).

Each row is a core function on its reduced interval. The fit is least squares in relative error on Chebyshev
points, reweighted towards the worst points until the error is level (Lawson, 1961), in float64; the coefficients
are then rounded to float32, lowest order first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def fit(
    core: Callable[[Array], Array], weight: Callable[[Array], Array], low: float, high: float, degree: int
) -> tuple[Array, float]:
    """The polynomial p of `degree` with max |weight * (p - core)| on [low, high] about least, and that maximum."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(0, np.pi, 4001))
    y, w = core(x), weight(x)
    lawson = np.ones_like(x)
    best: Any = None
    least = np.inf
    scaled = (2 * x - low - high) / (high - low)
    basis = np.polynomial.chebyshev.chebvander(scaled, degree)
    for _ in range(60):
        root = np.sqrt(lawson) * w
        coefficients = np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)[0]
        error = np.abs(w * (basis @ coefficients - y))
        if error.max() < least:
            least, best = float(error.max()), coefficients
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.mean()
    series = np.polynomial.Chebyshev(best, domain=[low, high])
    return np.asarray(series.convert(kind=np.polynomial.Polynomial).coef, np.float64), least


def fit_ratio(core: Callable[[Array], Array], high: float, top: int, bottom: int) -> tuple[Array, Array, float]:
    """P of degree `top` and Q of `bottom`, Q(0) = 1, with max |P / Q / core - 1| on [0, high] about least.

    Linear least squares in P - core Q over the last Q (Sanathanan and Koerner, 1963), reweighted as in `fit`.
    """
    x = high / 2 * (1 + np.cos(np.linspace(0, np.pi, 4001)))
    y, scaled = core(x), x / high
    powers, lower = np.vander(scaled, top + 1, increasing=True), np.vander(scaled, bottom + 1, increasing=True)
    lawson, q = np.ones_like(x), np.ones_like(x)
    best: Any = None
    least = np.inf
    for _ in range(200):
        root = np.sqrt(lawson) / (q * y)
        system = np.hstack([powers, -y[:, None] * lower[:, 1:]]) * root[:, None]
        size = np.linalg.norm(system, axis=0)
        found = np.linalg.lstsq(system / size, y * root, rcond=None)[0] / size
        p, below = found[: top + 1], np.concatenate([[1.0], found[top + 1 :]])
        q = lower @ below
        error = np.abs(powers @ p / q / y - 1)
        if error.max() < least:
            least, best = float(error.max()), (p, below)
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.mean()
    return best[0] / high ** np.arange(top + 1), best[1] / high ** np.arange(bottom + 1), least


def _exp(r: Array) -> Array:
    """(e^r - 1 - r) / r^2, by its series near 0"""
    near = 0.5 + r / 6 + r**2 / 24 + r**3 / 120
    return np.where(np.abs(r) < 1e-3, near, (np.expm1(r) - r) / np.where(r == 0, 1, r) ** 2)


def _log(f: Array) -> Array:
    """(log(1 + f) - f + f^2 / 2) / f^3, by its series near 0"""
    near = 1 / 3 - f / 4 + f**2 / 5 - f**3 / 6 + f**4 / 7
    return np.where(np.abs(f) < 1e-2, near, (np.log1p(f) - f + f * f / 2) / np.where(f == 0, 1, f) ** 3)


def _odd(call: Callable[[Array], Array], series: tuple[float, float, float]) -> Callable[[Array], Array]:
    """z = x^2 -> (f(x) - x) / x^3, by its series near 0"""

    def core(z: Array) -> Array:
        x = np.sqrt(np.abs(z))
        near = series[0] + series[1] * z + series[2] * z * z
        return np.where(z < 1e-3, near, (call(x) - x) / np.where(x == 0, 1, x) ** 3)

    return core


def _cos(z: Array) -> Array:
    near = 1 / 24 - z / 720 + z * z / 40320
    return np.where(z < 1e-2, near, (np.cos(np.sqrt(np.abs(z))) - 1 + z / 2) / np.where(z == 0, 1, z) ** 2)


def _erf_near(z: Array) -> Array:
    x = np.sqrt(np.abs(z))
    c = 2 / np.sqrt(np.pi)
    return np.where(x < 1e-2, c * (1 - z / 3 + z * z / 10), special.erf(x) / np.where(x == 0, 1, x))


def _erf_far(x: Array) -> Array:
    """log(erfc(x)): erf(x) = 1 - exp of it"""
    return np.log(special.erfcx(x)) - x * x


def _tanh(z: Array) -> Array:
    """z = x^2 -> tanh(x) / x"""
    x = np.sqrt(z)
    return np.where(z < 1e-6, 1 - z / 3, np.tanh(x) / np.where(x == 0, 1, x))


def _one(x: Array) -> Array:
    return np.ones_like(x)


def _cube(r: Array) -> Array:
    return np.abs(r) ** 2


def _near_erfc(x: Array) -> Array:
    return special.erfc(x) / special.erf(x)


FITS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], float, float, int]] = {
    "exp": (_exp, _cube, -0.3468, 0.3468, 4),
    "log": (_log, _cube, np.sqrt(0.5) - 1, np.sqrt(2) - 1, 7),
    "sin": (_odd(np.sin, (-1 / 6, 1 / 120, -1 / 5040)), np.abs, 0.0, 0.62, 2),
    "cos": (_cos, _cube, 0.0, 0.62, 2),
    "atan": (_odd(np.arctan, (-1 / 3, 1 / 5, -1 / 7)), np.abs, 0.0, 0.172, 3),
    "asin": (_odd(np.arcsin, (1 / 6, 3 / 40, 15 / 336)), np.abs, 0.0, 0.25, 4),
    "erf_near": (_erf_near, _one, 0.0, 1.0, 6),
    "erf_far": (_erf_far, _near_erfc, 1.0, 4.0, 7),
}


def main() -> None:
    for name, (core, weight, low, high, degree) in FITS.items():
        coefficients, error = fit(core, weight, low, high, degree)
        print(f"{name:9} [{low:.4f}, {high:.4f}] error {error:.1e}: {_text(coefficients)}")
    top, bottom, error = fit_ratio(_tanh, 81.0, 5, 3)
    print(f"{'tanh':9} [0.0000, 81.0000] error {error:.1e}: ({_text(top)}) / ({_text(bottom)})")


def _text(coefficients: Array) -> str:
    return ", ".join(f"{float(np.float32(c)):.9g}f" for c in coefficients)


if __name__ == "__main__":
    main()
