"""What surrounds the kernels: the choice of a device, memory, the program cache, and what is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
import hetero_kernels
import hetero_opencl.device
from hetero import dtype as dt
from hetero.cache import Cache
from hetero.compile import FallbackWarning
from hetero.errors import BackendError, DeviceError, KernelError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import TensorType
from hetero.spi import Device
from hetero_launch.memory import Pool, size_class
from hetero_launch.plan import share
from hetero_opencl import OpenCLBackend
from hetero_opencl.device import Record, choose, find, pocl_version, warnings_of
from hetero_opencl.opened import OpenCLDriver, style_of
from hetero_opencl.programs import Programs

POCL = "Portable Computing Language"
OLD = Record(POCL, "OpenCL 3.0 PoCL 3.0-rc2  Linux, Release, LLVM 14.0.6", "pthread-AMD EPYC", "3.0-rc2")
NEW = Record(POCL, "OpenCL 3.0 PoCL 3.1+debian  Linux, LLVM 15.0.6", "pthread-AMD EPYC", "3.1+debian")
NEWEST = replace(NEW, version="OpenCL 3.0 PoCL 6.0  Linux", driver="6.0")
INTEL = Record("Intel(R) OpenCL", "OpenCL 3.1 LINUX", "AMD EPYC", "2026.22.10")
GPU = Record("NVIDIA CUDA", "OpenCL 3.0 CUDA 12.2", "RTX", "535.1", kind="gpu", shared=False)

HAVE = OpenCLBackend().probe()
on_device = pytest.mark.skipif(not HAVE.devices, reason=f"no OpenCL device: {HAVE.reason}")


# -- choice -------------------------------------------------------------------------------------------------


def test_devices_are_ordered_by_kind_and_version_not_by_name() -> None:
    assert choose([OLD, NEW, INTEL, GPU, NEWEST]) == [GPU, INTEL, NEWEST, NEW, OLD]


def test_exact_doubles_are_offered_once() -> None:
    assert choose([OLD, replace(OLD), NEW]) == [NEW, OLD]


def test_a_part_of_a_version_or_name_picks_a_device() -> None:
    assert choose([OLD, NEW, INTEL], "3.0-rc2") == [OLD]
    assert choose([OLD, NEW, INTEL], "intel") == [INTEL]


def test_the_version_of_pocl_is_read_from_the_platform() -> None:
    assert [pocl_version(r) for r in (OLD, NEW, NEWEST, INTEL)] == [(3, 0), (3, 1), (6, 0), None]


def test_only_an_old_pocl_is_warned_of() -> None:
    assert "AVX2" in warnings_of(OLD)[0]
    assert not warnings_of(NEW)
    assert not warnings_of(INTEL)


def test_vectors_are_as_wide_as_registers_but_doubles_not_on_pocl() -> None:
    def lanes(record: Record, floats: int) -> list[int]:
        style = style_of(replace(record, native_floats=floats))
        return [style.lanes(nbytes) for nbytes in (1, 4, 8)]

    assert [lanes(r, 16) for r in (OLD, NEW, INTEL, GPU)] == [[16, 16, 4], [16, 16, 4], [16, 16, 8], [1, 1, 1]]
    assert [lanes(r, 8) for r in (OLD, INTEL)] == [lanes(OLD, 1), lanes(INTEL, 4)] == [[8, 8, 4], [8, 8, 4]]


def test_kernels_use_the_local_memory_that_a_processor_has() -> None:
    assert style_of(NEW).local_bytes == 1 << 15
    assert style_of(replace(NEW, local_bytes=1 << 18)).local_bytes == 1 << 18


@on_device
def test_a_wish_that_fits_no_device_names_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_OPENCL_DEVICE", "no such thing")
    with pytest.raises(BackendError, match="fits no device; found"):
        find()
    assert OpenCLBackend().probe().reason


@pytest.mark.parametrize("module", [None, object()])
def test_without_pyopencl_the_probe_names_the_command(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed, and installed by half: an empty namespace."""
    monkeypatch.setitem(sys.modules, "pyopencl", module)  # pyright: ignore[reportArgumentType]
    probe = OpenCLBackend().probe()
    assert not probe.devices
    assert "pyopencl" in probe.reason
    assert "pip install" in probe.fix


def test_a_probe_survives_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("libOpenCL.so.1: file too short")

    monkeypatch.setattr(hetero_opencl.device, "driver", broken)
    assert "file too short" in OpenCLBackend().probe().reason


def test_importing_the_backend_touches_no_driver() -> None:
    code = "import sys, hetero_opencl; sys.exit('pyopencl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=_environment(), check=False).returncode == 0


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | more


# -- memory -------------------------------------------------------------------------------------------------


class FullError(Exception):
    """What the pretend driver raises."""


class Driver:
    """Gives numbered pieces of memory until `limit` bytes are out; gets back what nothing refers to."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.limit, self.out = limit, 0

    def __call__(self, nbytes: int) -> Any:
        driver = self
        if driver.out + nbytes > driver.limit:
            raise FullError

        class Piece:
            def __init__(self) -> None:
                driver.out += nbytes

            def __del__(self) -> None:
                driver.out -= nbytes

        return Piece()


def test_a_dropped_block_is_handed_out_again() -> None:
    pool = Pool(Driver(), FullError, 1 << 30)
    first = pool.take(1000)
    mem = first.mem
    del first
    assert pool.take(990).mem is mem
    assert pool.used_bytes == 0
    assert pool.peak_bytes == size_class(1000)


def test_size_classes_waste_a_sixteenth_at_most() -> None:
    for n in (10_000, 123_457, 1 << 20, 999_999_937):
        assert n + 64 <= size_class(n) <= (n + 64) * 17 / 16


def test_what_is_kept_is_bounded() -> None:
    driver = Driver()
    pool = Pool(driver, FullError, 10_000)
    blocks = [pool.take(4000) for _ in range(8)]
    blocks.clear()
    assert pool.kept_bytes == driver.out <= 10_000


def test_a_full_device_gets_back_what_is_only_kept() -> None:
    pool = Pool(Driver(limit=100_000), FullError, 1 << 30)
    del (block := [pool.take(60_000)])[0]
    assert not block
    assert pool.take(90_000).nbytes >= 90_000


def test_a_device_that_stays_full_is_an_error_with_the_numbers() -> None:
    pool = Pool(Driver(limit=100_000), FullError, 1 << 30)
    held = pool.take(60_000)
    with pytest.raises(DeviceError, match=f"beside the {held.nbytes} in use"):
        pool.take(90_000)


def test_storages_share_a_slot_when_they_do_not_live_at_once() -> None:
    chosen, sizes = share({0: 100, 1: 100, 2: 50}, {0: (0, 1), 1: (1, 2), 2: (2, 3)})
    assert chosen[0] != chosen[1]
    assert chosen[2] == chosen[0]
    assert sizes == [100, 100]


@on_device
def test_the_stated_peak_is_what_the_pool_counts() -> None:
    backend, n = OpenCLBackend(), 1 << 20
    (device, *_) = backend.probe().devices
    builder = Builder(track=False)
    x = builder.input("x", TensorType((1024, 1024), dt.float32))
    w = builder.constant(np.eye(1024, dtype=np.float32))
    y = x
    for _ in range(10):
        y = builder("matmul", builder("tanh", y), w)
    executable = backend.compile(builder.build([y]), device)
    given = backend.from_host(np.ones((1024, 1024), np.float32), device)
    pool = backend.runtime(device).pool
    before, pool.peak_bytes = pool.used_bytes, 0
    out = executable(given)
    assert out
    assert executable.peak_bytes == 3 * n * 4
    assert abs((pool.peak_bytes - before) / executable.peak_bytes - 1) < 0.1


# -- the program cache --------------------------------------------------------------------------------------


def _first_call(folder: Path) -> tuple[OpenCLBackend, float]:
    """A new backend that compiles one kernel with its cache in `folder`, and what the kernel gives for 3."""
    backend = OpenCLBackend()
    device = Device("opencl")
    builder = Builder(track=False)
    x = builder.input("x", TensorType((4,), dt.float32))
    graph = builder.build([builder("square", builder("square", x))])
    (out,) = backend.compile(graph, device)(backend.from_host(np.full(4, 3, np.float32), device))
    return backend, float(backend.to_host(out, TensorType((4,), dt.float32), device)[0])


def _programs(backend: OpenCLBackend) -> Programs:
    driver = backend.runtime(Device("opencl")).driver
    assert isinstance(driver, OpenCLDriver)
    return driver.programs


@on_device
def test_a_second_process_finds_the_kernel_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))
    counts: list[tuple[int, int]] = []
    for _ in range(2):
        backend, value = _first_call(tmp_path)
        kept = _programs(backend).cache
        counts.append((kept.hits, kept.misses))
        assert value == 81
    assert counts == [(0, 1), (1, 0)]


@on_device
@pytest.mark.parametrize("binary", [b"", b"rubbish that no driver takes"])
def test_a_binary_that_the_driver_refuses_is_built_again(
    binary: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole as a file (damaged files: tests/core/test_cache.py), and made by another driver."""
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))
    _first_call(tmp_path)
    get = Cache.get
    monkeypatch.setattr(Cache, "get", lambda self, *key: get(self, *key) and binary)
    backend, value = _first_call(tmp_path)
    assert (value, _programs(backend).cache.faults) == (81, 1)
    monkeypatch.undo()
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))
    assert _programs(_first_call(tmp_path)[0]).cache.hits == 1


@on_device
def test_a_folder_that_cannot_be_made_warns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="nothing is kept in") as said:
        _, value = _first_call(tmp_path)
    assert value == 81
    assert len(said) == 1


@on_device
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hetero.files.os.replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        _, value = _first_call(tmp_path)
    assert value == 81
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@on_device
def test_a_home_that_cannot_be_written_is_no_hindrance() -> None:
    """PoCL and pyopencl both fail there when left alone."""
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import numpy as np, hetero.ops\nfrom hetero_opencl import OpenCLBackend\n"
        "from hetero.spi import Device\nfrom hetero.graph.build import Builder\n"
        "from hetero.op import TensorType\nfrom hetero import dtype as dt\n"
        "t = TensorType((4,), dt.float32)\nb = Builder(track=False)\ng = b.build([b('square', b.input('x', t))])\n"
        "k, d = OpenCLBackend(), Device('opencl')\n"
        "print(k.to_host(k.compile(g, d)(k.from_host(np.full(4, 3, np.float32), d))[0], t, d)[0])\n"
    )
    without = {k: v for k, v in _environment(HOME="/proc/none").items() if k not in _FOLDERS}
    made = subprocess.run([sys.executable, "-c", code], env=without, capture_output=True, text=True, check=False)
    assert made.stdout.strip() == "9.0", made.stderr


_FOLDERS = frozenset({"HETERO_CACHE_DIR", "POCL_CACHE_DIR", "XDG_CACHE_HOME"})


# -- faults ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bad_cumsum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A driver that does not build one of the kernels."""
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))
    source = hetero_kernels.source

    def broken(name: str, *args: Any) -> str:
        text = source(name, *args)
        return text + "\nthis is no C\n" if name == "cumulative" else text

    monkeypatch.setattr(hetero_kernels, "source", broken)


def _summed() -> Graph:
    builder = Builder("summed", track=False)
    x = builder.input("x", TensorType((4, 5), dt.float32))
    total = builder("cumsum", builder("exp", x), axis=1, exclusive=False, reverse=False)
    return builder.build({"y": builder("tanh", total)})


@on_device
@pytest.mark.usefixtures("bad_cumsum")
def test_a_kernel_that_the_driver_refuses_falls_back_by_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = {"x": np.linspace(-1, 0, 20, dtype="float32").reshape(4, 5)}
    with pytest.raises(KernelError, match="the OpenCL compiler refuses a kernel of ours"):
        _summed().run(feed, device="opencl")
    monkeypatch.setenv("HETERO_FALLBACK", "allow")
    ht.reset_stats()
    (got,) = _summed().run(feed, device="opencl").values()
    assert np.allclose(got, np.tanh(np.cumsum(np.exp(feed["x"]), axis=1)), atol=1e-6)
    (fallback,) = ht.stats().fallbacks
    assert (fallback.op, fallback.ran_on) == ("cumsum", "numpy:0"), "the others ran where they should"
    assert "the OpenCL compiler refuses" in fallback.reason
    monkeypatch.setenv("HETERO_FALLBACK", "warn")
    with pytest.warns(FallbackWarning, match="cumsum runs on numpy:0"):
        _summed().run(feed, device="opencl")


@on_device
def test_a_full_device_tells_what_a_graph_would_hold() -> None:
    backend = OpenCLBackend()
    (device, *_) = backend.probe().devices
    builder = Builder("wide", track=False)
    x = builder.input("x", TensorType((512, 512), dt.float32))
    value = x
    for _ in range(3):
        value = builder("matmul", value, builder("tanh", value))
    run = backend.compile(builder.build({"y": value}), device)
    given = backend.from_host(np.ones((512, 512), np.float32), device)
    pool = backend.runtime(device).pool
    held = pool.used_bytes

    def full(nbytes: int) -> Any:
        if pool.used_bytes + nbytes > held + (3 << 20):
            raise pool._failure[0]("CL_MEM_OBJECT_ALLOCATION_FAILURE")  # pyright: ignore
        return allocate(nbytes)

    pool.trim()
    allocate, pool._allocate = pool._allocate, full
    with pytest.raises(DeviceError) as e:
        run(given)
    assert "no room on the device for" in e.value.problem
    assert f"wide holds {run.peak_bytes} bytes at once:" in e.value.problem
    assert "1048576 bytes: output of matmul" in e.value.problem
    assert e.value.problem.count("1048576 bytes: ") == len(run._slots) + 1
    pool._allocate = allocate
    run(given)


@on_device
def test_what_a_steered_compiler_made_is_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that holds Intel's compiler to AVX2 must not slow down every run that follows."""
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))
    text = "__kernel void f(__global int *x) { x[0] = 1; }"
    record = find()[0]

    def misses() -> int:
        programs = OpenCLDriver(record).programs
        programs.kernel(text, "f")
        return programs.cache.misses

    assert [misses(), misses()] == [1, 0]
    monkeypatch.setenv("CL_CONFIG_HETERO_TEST", "1")
    assert [misses(), misses()] == [1, 0]
