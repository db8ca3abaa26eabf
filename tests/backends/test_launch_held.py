"""Small launches that wait for each other: what comes out is what each would have given alone."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from operator import add
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import execute, operators_device, registry
from hetero.errors import DeviceError, KernelError
from hetero.spi import Device
from hetero_launch import Bound, Runtime, held
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import OpenCLDriver
from launching import ABSENT

pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)


class Watched:
    """The backend, whose launches are counted by kernel."""

    def __init__(self) -> None:
        backend = registry.load("opencl")
        assert isinstance(backend, OpenCLBackend)
        self.backend = backend
        self.launches: list[str] = []
        self.refused = ""  # a kernel that the driver does not build
        self.failing = ""  # a kernel whose launch fails

    @property
    def runtime(self) -> Runtime:
        return self.backend.runtime(Device("opencl"))

    def count(self, name: str) -> int:
        return self.launches.count(name)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(held, "SOON", 1)
    found, plain = Watched(), OpenCLDriver.kernel

    def kernel(self: OpenCLDriver, text: str, name: str, size: Any, group: Any) -> Bound:
        if name == found.refused:
            raise KernelError("the compiler says no")
        bound = plain(self, text, name, size, group)

        def launch() -> None:
            if name == found.failing:
                raise self.failure[0]("the queue is lost")
            found.launches.append(name)
            bound.launch()

        return Bound(bound.bind, launch)

    monkeypatch.setattr(OpenCLDriver, "kernel", kernel)
    forget()
    yield found
    found.failing = ""
    found.runtime.hand_over()
    forget()


def forget() -> None:
    """Programs of ops, whose kernels are counted, or not."""
    execute._programs.clear()
    operators_device.forget()


def tensor(*values: float, dtype: str = "float32") -> Any:
    return ht.asarray(np.array(values, dtype), device="opencl")


def test_like_launches_go_over_together(watched: Watched) -> None:
    a, made = tensor(1, 2, 3), []
    for k in range(33):
        made.append(a + tensor(k, k, k))  # an upload comes between: each is alone
    assert watched.launches == ["hetero_region"] * 33
    watched.launches.clear()
    others = [tensor(k, k, k) for k in range(33)]
    again = [a + b for b in others]
    assert watched.launches == ["hetero_region", "hetero_together", "hetero_together"]
    for k, (x, y) in enumerate(zip(made, again, strict=True)):
        assert np.asarray(x).tolist() == np.asarray(y).tolist() == [1 + k, 2 + k, 3 + k]


def test_what_waits_is_there_when_it_is_read(watched: Watched) -> None:
    a, b = tensor(1, 2), tensor(3, 4)
    made = [a + b for _ in range(5)]
    assert watched.launches == ["hetero_region"] * 2  # by the long way, where an op is first met; and the first after
    assert [np.asarray(m).tolist() for m in made] == [[4, 6]] * 5
    assert watched.runtime.held is None


def test_who_reads_what_waits_has_it_computed_before(watched: Watched) -> None:
    total, one = tensor(0, 0), tensor(1, 2)
    for _ in range(40):
        total = total + one
    assert np.asarray(total).tolist() == [40, 80]
    assert watched.count("hetero_together") == 0


def test_graphs_and_larger_ops_run_behind_what_waits(watched: Watched) -> None:
    a, many = tensor(1), ht.asarray(np.zeros(5000, np.float32), device="opencl")
    double = ht.jit(lambda x: x * 2 + ht.sum(x))
    for run in (double, lambda x: many + x):
        run(a)
        run(a)  # all that is compiled or put on the device once is there
        b = [a + a for _ in range(4)][-1]
        assert np.asarray(run(b)).ravel()[-1] == (6 if run is double else 2)


def test_large_ones_do_not_wait(watched: Watched) -> None:
    a = ht.asarray(np.ones(5000, np.float32), device="opencl")
    for _ in range(3):
        add(a, a)
    assert watched.launches == ["hetero_region"] * 3


@pytest.mark.parametrize("dtype", ["float32", "int32", "int8", "float16", "int64", "bool"])
@pytest.mark.parametrize("n", [1, 16, 33, 4096])
def test_at_once_they_give_what_they_give_alone(watched: Watched, dtype: str, n: int) -> None:
    rng = np.random.default_rng(n)
    arrays = [rng.integers(0, 2 if dtype == "bool" else 9, n).astype(dtype) for _ in range(18)]
    tensors = [ht.asarray(a, device="opencl") for a in arrays]
    made = [x != y for x in tensors for y in tensors[:2]]
    assert watched.count("hetero_together") == 2
    for k, m in enumerate(made):
        assert np.array_equal(np.asarray(m), arrays[k // 2] != arrays[k % 2])


@pytest.mark.parametrize("seed", range(12))
def test_any_program_gives_what_numpy_gives(watched: Watched, seed: int) -> None:
    """Ops in runs, on what was made before and on what was made just now; much is dropped while it waits."""
    rng = random.Random(seed)
    ops = [lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - y, lambda x, y: -x, lambda x, y: abs(y)]
    host = [np.arange(k, k + 7, dtype=np.int32) for k in range(40)]
    there = [ht.asarray(a, device="opencl") for a in host]
    for _ in range(40):
        op = rng.choice(ops)
        for _ in range(rng.choice((1, 2, 5, 40))):
            i, j, to = rng.randrange(30), rng.randrange(31), rng.randrange(30, 40)  # one in 31 reads what is made
            host[to], there[to] = op(host[i], host[j]), op(there[i], there[j])
        if rng.random() < 0.2:
            k = rng.randrange(40)
            host[k % 30], there[k % 30] = host[k], there[k]
            assert np.array_equal(np.asarray(there[k]), host[k])
    assert watched.count("hetero_together") > 0
    for x, y in zip(there, host, strict=True):
        assert np.array_equal(np.asarray(x), y)


def test_a_driver_that_does_not_build_the_kernel_for_many_is_named(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.refused = "hetero_together"
    a, b = tensor(1, 2), tensor(3, 4)
    with caplog.at_level(logging.WARNING, "hetero"):
        made = [a + b for _ in range(70)]
    assert [np.asarray(m).tolist() for m in made] == [[4, 6]] * 70
    assert [r.message for r in caplog.records] == ["small launches are handed over one by one: the compiler says no"]


def test_a_launch_that_fails_is_an_error_and_nothing_is_left_over(watched: Watched) -> None:
    a, b = tensor(1, 2), tensor(3, 4)
    for _ in range(4):
        add(a, b)
    watched.failing = "hetero_region"
    with pytest.raises(DeviceError, match="the queue is lost"):
        watched.backend.synchronize(Device("opencl"))
    watched.failing = ""
    assert np.asarray(a + b).tolist() == [4, 6]
    assert watched.runtime.held is None


def test_memory_goes_back_when_what_waits_is_handed_over(watched: Watched) -> None:
    a, b = tensor(1, 2), tensor(3, 4)
    used = watched.runtime.pool.used_bytes
    for _ in range(6):
        add(a, b)
    assert watched.runtime.pool.used_bytes > used
    watched.runtime.hand_over()
    assert watched.runtime.pool.used_bytes == used


def test_threads_may_run_ops_of_one_kernel_side_by_side(watched: Watched) -> None:
    wrong: list[Any] = []

    def work(k: int) -> None:
        a = tensor(k, k)
        made = [a + tensor(n, 1) for n in range(20)] + [a + a for _ in range(200)]
        got = [np.asarray(m).tolist() for m in made]
        if got != [[k + n, k + 1] for n in range(20)] + [[2 * k, 2 * k]] * 200:
            wrong.append((k, got))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
