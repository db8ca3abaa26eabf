"""The bounds that math_f32.ker states, in units in the last place of the float64 result."""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hetero.ops
from hetero import dtype as dt
from hetero.graph.build import Builder
from hetero.op import TensorType
from hetero_opencl import OpenCLBackend

assert hetero.ops

BACKEND = OpenCLBackend()
FOUND = BACKEND.probe()
pytestmark = pytest.mark.skipif(not FOUND.devices, reason=f"no OpenCL device: {FOUND.reason}")

EVERY = (-np.inf, np.inf)
POSITIVE = (0.0, np.inf)
BOUNDS: list[tuple[str, Any, tuple[float, float], float]] = [
    ("exp", np.exp, (-87.0, 88.7), 2), ("expm1", np.expm1, (-1e30, 88.7), 2), ("log", np.log, POSITIVE, 2),
    ("log1p", np.log1p, (-1.0, np.inf), 3), ("log2", np.log2, POSITIVE, 2), ("log10", np.log10, POSITIVE, 2),
    ("sin", np.sin, EVERY, 3), ("cos", np.cos, EVERY, 3), ("tan", np.tan, EVERY, 4),
    ("asin", np.arcsin, (-1.0, 1.0), 3), ("acos", np.arccos, (-1.0, 1.0), 3), ("atan", np.arctan, EVERY, 3),
    ("sinh", np.sinh, (-89.0, 89.0), 3), ("cosh", np.cosh, (-89.0, 89.0), 3), ("tanh", np.tanh, EVERY, 6),
    ("asinh", np.arcsinh, EVERY, 4), ("acosh", np.arccosh, (1.0, np.inf), 4), ("atanh", np.arctanh, (-1.0, 1.0), 4),
    ("erf", np.vectorize(erf, otypes=[np.float64]), EVERY, 3),
]  # fmt: skip
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30, -1e-30], np.float32)


def points(low: float, high: float) -> NDArray[np.float32]:
    """Magnitudes of every size, and a dense grid where functions turn; normal numbers only."""
    sizes = np.logspace(-37.9, 38.5, 60_001)
    x = np.concatenate([sizes, -sizes, np.linspace(-10, 10, 60_001), np.linspace(-100, 100, 40_001), 1 + sizes[:9000]])
    x = x[(x > low) & (x < high)].astype(np.float32)
    return x[(np.abs(x) >= np.finfo(np.float32).tiny) & (x > low) & (x < high)]


def computed(name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    builder = Builder(track=False)
    graph = builder.build([builder(name, builder.input("x", TensorType(x.shape, dt.float32)))])
    (device, *_) = FOUND.devices
    (out,) = BACKEND.compile(graph, device)(BACKEND.from_host(x, device))
    return BACKEND.to_host(out, TensorType(x.shape, dt.float32), device)


@pytest.mark.parametrize(("name", "reference", "span", "bound"), BOUNDS, ids=[b[0] for b in BOUNDS])
def test_the_error_is_within_the_stated_bound(
    name: str, reference: Any, span: tuple[float, float], bound: float
) -> None:
    x = points(*span)
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
        unit = np.maximum(np.spacing(np.abs(want.astype(np.float32))).astype(np.float64), 2.0**-149)
    normal = np.abs(want) >= np.finfo(np.float32).tiny
    error = np.abs(computed(name, x).astype(np.float64) - want)[normal] / unit[normal]
    worst = int(error.argmax())
    assert error[worst] <= bound, f"{name}({x[normal][worst]!r}) is off by {error[worst]:.2f} ulp"


@pytest.mark.parametrize(("name", "reference"), [b[:2] for b in BOUNDS], ids=[b[0] for b in BOUNDS])
def test_infinities_nan_and_zeros_are_as_in_c99(name: str, reference: Any) -> None:
    with np.errstate(all="ignore"):
        want = reference(SPECIAL.astype(np.float64)).astype(np.float32)
    got = computed(name, SPECIAL)
    plain = np.isfinite(want) & (np.abs(SPECIAL) < 1e38)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got[np.isinf(want)], want[np.isinf(want)])
    np.testing.assert_allclose(got[plain], want[plain], rtol=1e-6)
    zero = (SPECIAL == 0) & ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
