"""The backend `cupy` on a real GPU, where there is one: `pytest -m gpu`. No machine of the developers or of CI has one.

The conformance suite runs there by itself (`pytest --pyargs hetero.testing --hetero-backend=cupy`); this is the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import test_cupy
import test_cupy_host
from hetero import dtype as dt
from hetero import registry
from hetero.op import OPS, Op, Sample, TensorType
from hetero.spi import Device
from hetero.testing import test_conformance as suite
from hetero.testing.agree import assert_agrees, one_op
from hetero_cupy import CupyBackend
from hetero_cupy.opened import TALLEST

FOUND = CupyBackend().probe()
REQUIRED = "cupy" in os.environ.get("HETERO_REQUIRE", "").split(",")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not FOUND.devices and not REQUIRED, reason=f"no GPU: {FOUND.reason}"),
]
HERE = bool(FOUND.devices)


@pytest.fixture(scope="module")
def gpu() -> Device:
    return registry.find("cupy")


@pytest.fixture
def asked(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    test_cupy.turn_to(registry.load("cupy"), gpu, monkeypatch)


@pytest.mark.parametrize(("op", "sample", "name"), suite.CASES if HERE else [])
def test_an_op_gives_what_its_reference_gives(gpu: Device, op: Op, sample: Sample, name: str) -> None:
    suite.test_an_op_gives_what_its_reference_gives(gpu, op, sample, name)


@pytest.mark.parametrize("call", [*test_cupy.ONES, *test_cupy.MANY] if HERE else [], ids=lambda c: c.__name__)
def test_what_every_backend_must_do(gpu: Device, call: Callable[..., None]) -> None:
    call(device=gpu)


@pytest.mark.parametrize(("call", "given"), test_cupy.ASKED + test_cupy.IN_FULL if HERE else [])
def test_what_opencl_is_asked(asked: None, call: Callable[..., None], given: dict[str, Any]) -> None:
    call(**given)


@pytest.mark.parametrize(("call", "given"), test_cupy.SPIKING if HERE else [])
def test_what_opencl_is_asked_of_spiking_networks(gpu: Device, call: Any, given: dict[str, Any]) -> None:
    call(backend=registry.load("cupy"), **given)


def test_repeated_runs_are_recorded_and_right(gpu: Device) -> None:
    backend = CupyBackend()
    executable = backend.compile(test_cupy_host.network(), gpu)
    for k in range(50):
        x = test_cupy_host.X * k
        np.testing.assert_allclose(test_cupy_host.ran(backend, executable, x, gpu), test_cupy_host.wanted(x), rtol=1e-4)
    assert test_cupy_host.recorded_of(executable).replayed > 30


def test_more_groups_than_a_grid_takes(gpu: Device) -> None:
    rng = np.random.default_rng(0)
    pair = [rng.integers(-9, 9, (TALLEST + 2, *s)).astype(np.int32) for s in ((2, 3), (3, 2))]
    assert_agrees(one_op(OPS["matmul"], [TensorType(a.shape, a.dtype) for a in pair], {}), pair, gpu)
    turned = rng.random((TALLEST + 2, 3, 2)).astype(np.float32)
    attrs = {"axes": (0, 2, 1)}
    assert_agrees(one_op(OPS["permute"], [TensorType(turned.shape, dt.float32)], attrs), [turned], gpu)


def test_large_arrays_come_back(gpu: Device) -> None:
    backend = registry.load("cupy")
    array = np.random.default_rng(0).integers(0, 255, 100_000_001).astype(np.uint8)
    back = backend.to_host(backend.from_host(array, gpu), TensorType(array.shape, array.dtype), gpu)
    assert np.array_equal(back, array)


def test_memory_is_lent_to_cupy_and_borrowed_from_it(gpu: Device) -> None:
    import cupy  # pyright: ignore[reportMissingImports]

    backend = CupyBackend()
    x = test_cupy_host.X
    with cupy.cuda.Device(gpu.index):
        array = backend.lend(backend.from_host(x, gpu), TensorType(x.shape, dt.float32), gpu)
        twice = backend.borrow(array * 2, gpu)
        assert np.array_equal(cupy.asnumpy(cupy.from_dlpack(array)), x)
    assert np.array_equal(backend.to_host(twice, TensorType(x.shape, dt.float32), gpu), x * 2)
