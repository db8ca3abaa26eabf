"""The array API on an OpenCL device with no fallback allowed: elementwise, reductions, products, indexing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import registry
from hetero.compile import compile
from hetero.graph.build import Builder
from hetero.op import TensorType
from hetero.testing import assert_close
from hetero.testing.plugin import required

UNARY = (
    "abs acos asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf isnan log1p negative positive "
    "reciprocal round sign signbit sin sinh square tan tanh trunc"
).split()
BINARY = (
    "add atan2 copysign divide equal greater greater_equal hypot less less_equal logaddexp maximum minimum multiply "
    "nextafter not_equal subtract"
).split()
WHOLE = "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor floor_divide remainder".split()
ROOTS = "log log10 log2 sqrt".split()


def whole(x: ht.Tensor) -> ht.Tensor:
    """Small integers made of `x`."""
    return ht.astype(x * 4, ht.int32)


def places(x: ht.Tensor) -> ht.Tensor:
    return ht.asarray([2, 0, -1], device=x.device)


def assign(x: ht.Tensor) -> ht.Tensor:
    y = x + 0.0
    y[1:3, 0] = 7.0
    y[0] = y[1]
    return y


def function(name: str, operands: Callable[[ht.Tensor], Any]) -> Callable[[ht.Tensor], Any]:
    """The function called `name` on what `operands` makes of x."""
    return lambda x: getattr(ht, name)(*operands(x))


CALLS: dict[str, Callable[[ht.Tensor], Any]] = {
    **{name: function(name, lambda x: (x,)) for name in UNARY},
    **{name: function(name, lambda x: (x, x[::-1] * 0.5)) for name in BINARY},
    **{name: function(name, lambda x: (ht.abs(x) + 0.5,)) for name in ROOTS},
    **{name: function(name, lambda x: (whole(x) + 6, whole(x[::-1]) % 3 + 1)) for name in WHOLE},
    "pow": lambda x: (ht.abs(x) + 0.5) ** x,
    "acosh": lambda x: ht.acosh(ht.abs(x) + 1.0),
    "logical": lambda x: ht.logical_not(ht.logical_and(x > 0, ht.logical_or(x < 0.5, ht.logical_xor(x > 0, x > 0.2)))),
    "invert": lambda x: ~whole(x),
    "where and clip": lambda x: ht.clip(ht.where(x > 0, x, x * 2.0), -0.5, 0.7),
    "sum": lambda x: [ht.sum(x), ht.sum(x, axis=0), ht.sum(whole(x), axis=-1)],
    "mean, var and std": lambda x: [ht.mean(x, axis=0), ht.var(x, axis=1), ht.std(x, keepdims=True)],
    "max, min and prod": lambda x: [ht.max(x, axis=0), ht.min(x), ht.prod(x, axis=1)],
    "any, all and counts": lambda x: [ht.any(x > 0, axis=0), ht.all(x > -9), ht.count_nonzero(x > 0)],
    "argmax and argmin": lambda x: [ht.argmax(x, axis=1), ht.argmin(x)],
    "cumulative": lambda x: [ht.cumulative_sum(x, axis=0), ht.cumulative_prod(x, axis=1)],
    "matmul": lambda x: [x @ x.mT, x[0] @ x[1], x @ x[0], ht.matmul(x[None], x.mT)],
    "tensordot and vecdot": lambda x: [ht.tensordot(x, x, axes=2), ht.vecdot(x, x)],
    "indexing": lambda x: [x[1], x[-1, ::2], x[..., None, 1], x[:, 1:1], x[::-1]],
    "integer indexing": lambda x: [x[places(x)], x[places(x), places(x)], ht.take(x, places(x), axis=1)],
    "take along": lambda x: ht.take_along_axis(x, ht.argsort(x, axis=1), axis=1),
    "assignment": assign,
    "sort": lambda x: [ht.sort(x, axis=0), ht.argsort(x, descending=True)],
    "movement": lambda x: [ht.concat([x, x]), ht.stack([x, x]), ht.roll(x, 2), ht.flip(x), ht.tile(x, (2, 1))],
    "shape": lambda x: [ht.reshape(x, (-1,)), ht.permute_dims(x, (1, 0)), ht.broadcast_to(x[0], (3, x.shape[1]))],
    "triangles": lambda x: [ht.tril(x), ht.triu(x, k=1)],
    "casts": lambda x: [ht.astype(x * 9, ht.int32), ht.astype(x, ht.float64), ht.astype(x > 0, ht.float32)],
}


@pytest.fixture(scope="module")
def there() -> Iterator[str]:
    try:
        yield registry.find("opencl").name
    except ht.BackendError as e:
        if "opencl" in required():
            raise
        pytest.skip(str(e))


def parts(value: Any) -> list[ht.Tensor]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", list(CALLS))
def test_a_function_runs_there_and_gives_what_the_host_gives(
    name: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HETERO_FALLBACK", "error")
    x = np.random.default_rng(0).uniform(-0.9, 0.9, (5, 6)).astype("float32")
    ht.reset_stats()
    got = parts(CALLS[name](ht.asarray(x, device=there)))
    assert all(t.device.name == there for t in got)
    found = ht.stats()
    assert found.fallback_count == 0
    assert found.ops_on("numpy:0") == 0
    for g, w in zip(got, parts(CALLS[name](ht.asarray(x, device="numpy"))), strict=True):
        assert_close(np.asarray(g), np.asarray(w), name)


def test_the_memory_of_a_chain_is_what_the_graph_predicted(there: str) -> None:
    """50 layers of product and tanh: the pool's own peak is within 10 % of `graph.peak_bytes`."""
    builder = Builder("deep", track=False)
    value = builder.input("x", TensorType((512, 512), ht.float32))
    weights = builder.constant(np.full((512, 512), 1 / 512, "float32"))
    for _ in range(50):
        value = builder("tanh", builder("matmul", value, weights))
    graph = builder.build({"y": value})
    backend, device = registry.load("opencl"), registry.find(there)
    program = compile(graph, device, "error")
    x = backend.from_host(np.ones((512, 512), "float32"), device)
    program(x)
    pool = backend.runtime(device).pool  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    before = pool.peak_bytes = pool.used_bytes
    program(x)
    backend.synchronize(device)
    assert pool.peak_bytes - before == pytest.approx(graph.peak_bytes, rel=0.1)
    assert pool.peak_bytes - before < 4 * 512 * 512 * 4  # 50 layers, three buffers
