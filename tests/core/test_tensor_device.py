"""Tensors on another device: NumPy behind the interface of one that is not the host."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import counters
from hetero.errors import BackendError
from hetero.spi import Device
from hetero.testing.pretend import SmallMemoryBackend, plugged


@pytest.fixture(scope="module")
def small() -> Iterator[Device]:
    with plugged(SmallMemoryBackend(1 << 30)) as there:
        yield there


@pytest.fixture(autouse=True)
def _fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_FALLBACK", "error")


def _np(x: Any) -> Any:
    return np.asarray(x)


KEY = ht.random.key(5)

CALLS: dict[str, Callable[[ht.Tensor], Any]] = {
    "operators": lambda x: (x + 1) * 2.5 - x / (x * x + 1) ** 0.5,
    "reversed": lambda x: 1 - 2 * x,
    "floor": lambda x: (x // 0.3, x % 0.3),
    "bits": lambda x: ((x > 0) & (x < 1), ~(x > 0)),
    "matmul": lambda x: (x @ x.mT, x[0] @ x[1], x @ x[0]),
    "promotion": lambda x: x + ht.ones(5, dtype=ht.int64, device=x.device),
    "weak": lambda x: (ht.astype(x, ht.int8) + 1, ht.astype(x, ht.int8) + 1.5),
    "minus zero": lambda x: (ht.copysign(x, 0.0), ht.copysign(x, -0.0)),
    "reductions": lambda x: (ht.sum(x), ht.max(x, axis=0), ht.mean(x, axis=-1, keepdims=True), ht.std(x)),
    "movement": lambda x: (ht.flip(x), ht.roll(x, 2), ht.tile(x, (2, 1)), ht.concat([x, x]), ht.repeat(x, 2, axis=0)),
    "slices": lambda x: (x[1:, ::-2], x[..., None, 0], x[-1], x[:, 1:1]),
    "arrays": lambda x: (x[ht.asarray([2, 0], device=x.device)], x[:, ht.asarray([[1], [-1]], device=x.device)]),
    "pairs": lambda x: x[ht.asarray([2, 0], device=x.device), ht.asarray([1, 4], device=x.device)],
    "sorting": lambda x: (ht.sort(x, axis=0, descending=True), ht.argsort(x), ht.cumulative_sum(x, axis=1)),
    "linalg": lambda x: (ht.linalg.inv(x[:3, :3]), ht.linalg.vector_norm(x, axis=0), ht.linalg.matrix_norm(x)),
    "fft": lambda x: (ht.fft.rfft(x), ht.fft.fftn(x, s=(4, 4)), ht.fft.fftshift(x)),
    "where": lambda x: (ht.where(x > 0, x, 0.0), ht.clip(x, -0.5, 0.5)),
    "creation": lambda x: (ht.zeros_like(x), ht.full_like(x, 2), ht.tril(x), *ht.meshgrid(x[0], x[1])),
    "random": lambda x: (
        ht.random.bits(KEY.to_device(x.device), 9, "uint64"),
        ht.random.normal(KEY.to_device(x.device), (3, 3)),
        ht.random.normal(KEY.to_device(x.device), (3, 3), "float64"),
        ht.random.permutation(KEY.to_device(x.device), 20),
        ht.random.randint(KEY.to_device(x.device), (9,), -5, 5),
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_device_gives_what_the_host_gives(call: Callable[[ht.Tensor], Any], small: Device) -> None:
    a = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    got, want = call(ht.asarray(a, device=small)), call(ht.asarray(a))
    for g, w in zip(*((x if isinstance(x, tuple) else (x,)) for x in (got, want)), strict=True):  # pyright: ignore
        assert g.device == small
        assert g.dtype == w.dtype
        np.testing.assert_allclose(_np(g), _np(w), rtol=1e-5, atol=1e-6)


def test_random_bits_are_the_same_on_a_device(small: Device) -> None:
    there = KEY.to_device(small)
    for draw in (ht.random.uniform, ht.random.normal):
        for dtype in ("float32", "float64"):
            assert _np(draw(KEY, (501,), dtype)).tobytes() == _np(draw(there, (501,), dtype)).tobytes()


def test_elements_are_set_on_a_device(small: Device) -> None:
    a = np.arange(12.0).reshape(3, 4)
    x = ht.asarray(a, device=small)
    part = x[1]
    for key in (0, (slice(None), 1), (..., slice(None, None, 2)), (2, 3)):
        a[key] = -1
        x[key] = -1
    a[[0, 2]] = [1, 2, 3, 4]
    x[ht.asarray([0, 2], device=small)] = ht.asarray([1.0, 2, 3, 4], device=small)
    a[a > 3] = 0
    x[x > 3] = 0
    np.testing.assert_array_equal(_np(x), a)
    assert part.tolist() == [4, 5, 6, 7]
    same = x
    x += 1
    assert same is x
    np.testing.assert_array_equal(_np(x), a + 1)


def test_what_depends_on_values_is_a_fallback(small: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    x = ht.asarray([3.0, 0.0, 1.0], device=small)
    with pytest.raises(BackendError, match="HETERO_FALLBACK=allow"):
        _ = x[x > 0]
    monkeypatch.setenv("HETERO_FALLBACK", "allow")
    counters.reset_stats()
    assert x[x > 0].tolist() == [3, 1]
    assert [f.op for f in counters.stats().fallbacks] == ["nonzero"]
    assert ht.unique_values(x).device == small


def test_devices_do_not_mix_by_themselves(small: Device) -> None:
    x, y = ht.ones(3), ht.ones(3, device=small)
    for mix in (lambda: x + y, lambda: y + x, lambda: ht.concat([x, y]), lambda: ht.atan2(y, x), lambda: x @ y):
        with pytest.raises(BackendError, match="numpy:0 and small:0"):
            mix()
    assert (x.to_device(y.device) + y).tolist() == [2, 2, 2]


def test_every_copy_is_counted(small: Device) -> None:
    counters.reset_stats()
    x = ht.asarray(np.ones(10, np.float32), device=small)
    assert x.to_device(small) is x
    back = x.to_device("numpy")
    _ = np.asarray(x)
    assert counters.stats().copied_bytes == {"host -> small:0": 40, "small:0 -> host": 80}
    assert back.device.host


def test_device_memory_is_not_lent(small: Device) -> None:
    x = ht.ones(3, device=small)
    assert x.__dlpack_device__()[0] != 1
    with pytest.raises(BufferError, match=r"to_device\('numpy'\)"):
        x.__dlpack__()
    with pytest.raises(BufferError, match="does not lend"):
        x.__dlpack__(dl_device=(1, 0), copy=False)
    assert ht.from_dlpack(x) is x
    assert ht.from_dlpack(np.ones(3), device=small).device == small
    with pytest.raises(BackendError, match="copy=False"):
        ht.from_dlpack(np.ones(3), device=small, copy=False)
    with pytest.raises(ValueError, match="copy"):
        x.__array__(copy=False)


def test_a_device_in_use_takes_what_is_made(small: Device) -> None:
    with ht.use(small):
        made = (ht.zeros(2), ht.asarray([1]), ht.arange(3), ht.random.key(0), ht.fft.fftfreq(4), ht.eye(2))
    assert {str(x.device) for x in made} == {"small:0"}


def test_a_device_tensor_is_pickled_and_shown(small: Device) -> None:
    x = ht.asarray([1.5, 2.0], device=small)
    assert repr(x) == "tensor([1.5, 2. ], dtype=float64, device=small:0)"
    again = pickle.loads(pickle.dumps(x))
    assert again.device == small
    assert again.tolist() == [1.5, 2.0]
    assert float(x[0]) == 1.5


def test_an_operator_that_was_met_counts_and_gives_the_same(tensor_device: Device) -> None:
    """The short way of device tensors: the second call of the same types looks nothing up."""
    x, y = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3), np.array([[1], [2]], "float32")
    a, b = (ht.asarray(v, device=tensor_device) for v in (x, y))
    first = a * b
    ht.reset_stats()
    again = a * b
    other = ht.asarray(x + 1, device=tensor_device) * b  # of equal types: met as well
    assert ht.stats().ops_on(tensor_device.name if tensor_device.backend != "auto" else "numpy:0") == 2
    assert again.dtype == first.dtype
    assert again.shape == (2, 3)
    assert np.array_equal(np.asarray(again), x * y)
    assert np.array_equal(np.asarray(other), (x + 1) * y)
    assert np.array_equal(np.asarray(a * a), x * x)
    assert np.array_equal(np.asarray(-a), -x)
    assert np.array_equal(np.asarray(a * 2), x * 2)
    assert np.array_equal(np.asarray(2 * a), x * 2)


def test_operands_of_other_dtypes_and_devices_go_the_long_way(tensor_device: Device) -> None:
    a = ht.asarray(np.ones(3, "float32"), device=tensor_device)
    whole = ht.asarray(np.arange(3, dtype="int32"), device=tensor_device)
    for _ in range(3):
        assert (a + a).dtype == np.float32
        assert (whole + whole).dtype == np.int32
        assert (a + whole).dtype == np.float64
    if tensor_device.name != "numpy:0":
        host = ht.asarray(np.ones(3, "float32"), device="numpy")
        for _ in range(2):
            with pytest.raises(BackendError, match="wants tensors of one device"):
                _ = a + host
