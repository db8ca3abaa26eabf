"""What surrounds the kernels of the backend `cupy`: devices, streams, graphs, memory, errors; on a pretended CUDA."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hetero_cupy.device
import hetero_cupy.opened
import hetero_cupy.transfers
import hetero_launch.held
from hetero import dtype as dt
from hetero.errors import BackendError, DeviceError, DTypeError, KernelError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, TensorType
from hetero.spi import Device
from hetero.testing.agree import one_op
from hetero_cupy import CupyBackend
from hetero_cupy.opened import CupyDriver, packed
from hetero_cupy.recorded import KEPT, Recorded
from hetero_launch import LaunchExecutable, Pool, Style
from pretend_cuda import PretendError, pretended
from pretend_cuda.build import COMPILER
from pretend_cuda.machine import CudaError

with_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ on this machine")
X = np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32)
W = np.arange(20, dtype=np.float32).reshape(4, 5)


def network() -> Graph:
    """tanh(x) @ w, its lines added up, its rows summed, turned around: a kernel, cuBLAS, three kernels"""
    builder = Builder(track=False)
    x, w = builder.input("x", TensorType((3, 4), dt.float32)), builder.constant(W)
    lines = builder("cumsum", builder("matmul", builder("tanh", x), w), axis=1, exclusive=False, reverse=False)
    return builder.build([builder("negative", builder("sum", lines, axes=(1,), keepdims=False))])


def wanted(x: Array) -> Array:
    return -np.cumsum(np.tanh(x.astype(np.float64)) @ W, axis=1).sum(axis=1)


def recorded_of(executable: LaunchExecutable) -> Recorded:
    (found,) = [step for step in executable._steps if isinstance(step, Recorded)]
    return found


def ran(backend: CupyBackend, executable: LaunchExecutable, x: Array, device: Device) -> Array:
    (out,) = executable(backend.from_host(x, device))
    return backend.to_host(out, TensorType((3,), dt.float32), device)


def driver_of(backend: CupyBackend, device: Device) -> CupyDriver:
    driver = backend.runtime(device).driver
    assert isinstance(driver, CupyDriver)
    return driver


# -- what is there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("newest", "command"), [(0, "cuda12"), (12040, "cuda12"), (13000, "cuda13")])
def test_without_cupy_the_probe_names_the_command_that_fits_the_driver(
    monkeypatch: pytest.MonkeyPatch, newest: int, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(hetero_cupy.device, "newest_cuda", lambda: newest)
    probe = CupyBackend().probe()
    assert not probe.devices
    assert "cupy does not import" in probe.reason
    assert ("no NVIDIA driver" in probe.reason) == (newest == 0)
    assert f"pip install 'hetero[{command}]'" in probe.fix


def test_without_a_driver_the_probe_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hetero_cupy.device, "newest_cuda", lambda: 0)
    with pretended() as machine:
        cupy: Any = sys.modules["cupy"]

        def count() -> int:
            raise CudaError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

        cupy.cuda.runtime.getDeviceCount = count
        probe = CupyBackend().probe()
        assert (probe.devices, probe.reason) == ((), "no NVIDIA driver on this machine")
        assert "nvidia-smi" in probe.fix
        machine.count = 0
        cupy.cuda.runtime.getDeviceCount = lambda: 0
        assert "offers no GPU" in CupyBackend().probe().reason


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (object(), "only partly installed"),
        (SimpleNamespace(RawModule=1, __version__="12.3.0"), "cupy 12.3.0 is older than 13"),
        (SimpleNamespace(RawModule=1, __version__="13.0.0", cuda=SimpleNamespace(runtime=SimpleNamespace(is_hip=True))),
         "AMD"),
        (SimpleNamespace(RawModule=1, __version__="nonsense"), "CUDA fails: ValueError"),
    ],
)  # fmt: skip
def test_a_cupy_that_does_not_serve_is_named(monkeypatch: pytest.MonkeyPatch, module: Any, said: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", module)
    probe = CupyBackend().probe()
    assert not probe.devices
    assert said in probe.reason
    assert probe.fix


def test_importing_the_backend_imports_no_cupy() -> None:
    code = "import sys, hetero_cupy; sys.exit('cupy' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_every_gpu_is_a_device() -> None:
    with pretended(devices=3):
        found = CupyBackend().probe()
        assert [d.name for d in found.devices] == ["cupy:0", "cupy:1", "cupy:2"]
        assert found.devices[1].description == "Pretended 1, sm_90, driver for CUDA 12.4, cupy 14.0.0"
        assert found.devices[1].memory_bytes == 1 << 30
        assert found.warnings == ()
        with pytest.raises(BackendError, match="cupy:7 is not there"):
            CupyBackend().synchronize(Device("cupy", 7))


@with_compiler
def test_two_gpus_work_beside_each_other() -> None:
    """The pretended machine refuses memory, streams and events of another device than the current one."""
    with pretended() as machine:
        backend = CupyBackend()
        for device in backend.probe().devices * 2:
            got = ran(backend, backend.compile(network(), device), X, device)
            np.testing.assert_allclose(got, wanted(X), rtol=1e-5)
        machine.check()
        assert {p.device for p in machine.pieces.values()} == {0, 1}


@with_compiler
def test_without_cublas_products_run_by_our_kernel_and_the_probe_warns() -> None:
    with pretended() as machine:
        machine.no_blas = True
        backend = CupyBackend()
        found = backend.probe()
        assert "cuBLAS is not there" in found.warnings[0]
        assert "pip install" in found.warnings[0]
        device = found.devices[0]
        np.testing.assert_allclose(ran(backend, backend.compile(network(), device), X, device), wanted(X), rtol=1e-5)
        assert not machine.counts["matmul"]
        assert "hetero_matmul" in [name for name, _, _ in machine.launches]


# -- graphs ---------------------------------------------------------------------------------------------------


@with_compiler
def test_a_run_that_comes_again_is_recorded_and_replayed() -> None:
    """Inputs and outputs lie elsewhere from time to time: each replay must read and write where this run's are. What
    lies in memory that is in use meanwhile is not touched."""
    with pretended() as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        executable = backend.compile(network(), device)
        for k in range(20):
            np.testing.assert_allclose(ran(backend, executable, X * k, device), wanted(X * k), rtol=1e-5)
        recorded = recorded_of(executable)
        assert recorded.replayed > 10 > recorded.recorded
        assert machine.counts["graphs"] == recorded.replayed + recorded.recorded
        assert machine.counts["matmul"] == 20  # none in a recording, where CuPy refuses it
        held: list[tuple[Array, Any]] = []
        for k in range(400):
            (out,) = executable(backend.from_host(X * k, device))
            if k % 5 == 0:
                held.append((X * k, out))
        for x, out in held:
            np.testing.assert_allclose(_sum(backend, out, device), wanted(x), rtol=1e-5)
        assert len(recorded._recordings) <= KEPT
        assert recorded.recorded < 40, "addresses that do not come again are not recorded for ever"
        machine.check()


def _sum(backend: CupyBackend, out: Any, device: Device) -> Array:
    return backend.to_host(out, TensorType((3,), dt.float32), device)


@with_compiler
def test_what_cuda_does_not_record_is_run_command_by_command(caplog: pytest.LogCaptureFixture) -> None:
    with pretended() as machine, caplog.at_level("INFO", "hetero.cupy"):
        machine.refuses_recording = True
        backend = CupyBackend()
        device = backend.probe().devices[0]
        executable = backend.compile(network(), device)
        for _ in range(6):
            np.testing.assert_allclose(ran(backend, executable, X, device), wanted(X), rtol=1e-5)
        assert machine.counts["graphs"] == 0
        assert [r.message for r in caplog.records if "command by command" in r.message] == [caplog.records[0].message]


@with_compiler
def test_recording_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_CUPY_GRAPHS", "0")
    with pretended() as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        executable = backend.compile(network(), device)
        for _ in range(6):
            ran(backend, executable, X, device)
        assert machine.counts["graphs"] == 0


@with_compiler
@pytest.mark.parametrize("eager", [False, True], ids=["late", "early"])
def test_small_launches_that_go_over_together_keep_their_order_with_copies(
    eager: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits holds its memory: what is dropped meanwhile is not the room of the next copy."""
    monkeypatch.setattr(hetero_launch.held, "SOON", 1)
    with pretended(eager=eager) as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        three = TensorType((3,), dt.float32)
        graph = one_op(OPS["add"], [three, three], {})
        add: Any = backend.compile(graph, device).direct
        one = backend.from_host(np.ones(3, np.float32), device)
        made: list[Any] = []
        for k in range(60):
            x = backend.from_host(np.full(3, k, np.float32), device) if k % 20 == 0 else one
            made += [add(x, one)]
            del x
        got = [backend.to_host(m, three, device).tolist() for m in made]
        assert got == [[1.0 + (k if k % 20 == 0 else 1)] * 3 for k in range(60)]
        names = [name for name, _, _ in machine.launches]
        assert names.count("hetero_together") == 3
        assert names.count("hetero_region") == 60 - 3 * 16
        machine.check()


# -- copies ---------------------------------------------------------------------------------------------------


@with_compiler
@pytest.mark.parametrize("eager", [False, True], ids=["late", "early"])
def test_copies_keep_their_order_with_kernels(eager: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a copy stream that runs as late as it may and as early as it may; in parts, through two pinned buffers."""
    monkeypatch.setattr(hetero_cupy.transfers, "CHUNK", 16)
    with pretended(eager=eager) as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        executable = backend.compile(network(), device)
        outs: list[tuple[Array, Any]] = []
        for k in range(12):
            x = X * k
            (out,) = executable(backend.from_host(x, device))
            outs.append((x.copy(), out))
            x[:] = 99  # the array may change once the call is over
        for x, out in outs:
            np.testing.assert_allclose(_sum(backend, out, device), wanted(x), rtol=1e-5)
        machine.check()


@with_compiler
def test_a_copy_waits_for_no_kernel_but_those_before_its_memory_was_given_up() -> None:
    with pretended(eager=True) as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        executable = backend.compile(network(), device)
        held = backend.from_host(X, device)
        executable(backend.from_host(X, device))
        (work, *_) = machine.streams
        before = len(work.ops)
        for _ in range(3):
            executable(held)
        backend.from_host(X, device)  # in the memory of the first input
        assert work.done <= before
        assert len(work.ops) > before


def test_arrays_of_any_size_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hetero_cupy.transfers, "CHUNK", 1000)
    with pretended():
        backend = CupyBackend()
        device = backend.probe().devices[0]
        for n in (0, 1, 999, 1000, 1001, 2000, 7777):
            array = np.random.default_rng(n).integers(0, 256, n).astype(np.uint8)
            back = backend.to_host(backend.from_host(array, device), TensorType((n,), array.dtype), device)
            assert np.array_equal(back, array)


@with_compiler
def test_threads_share_a_device() -> None:
    with pretended():
        backend = CupyBackend()
        devices = backend.probe().devices
        executables = [backend.compile(network(), d) for d in devices]

        def work(k: int) -> None:
            for _ in range(15):
                x = X * k
                got = ran(backend, executables[k % 2], x, devices[k % 2])
                np.testing.assert_allclose(got, wanted(x), rtol=1e-5)

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, k) for k in range(4)]:
                done.result(timeout=60)


# -- memory and errors ----------------------------------------------------------------------------------------


def test_a_full_gpu_is_an_error_with_the_numbers() -> None:
    with pretended(memory=100_000):
        backend = CupyBackend()
        device = backend.probe().devices[0]
        held = backend.from_host(np.zeros(60_000, np.uint8), device)
        with pytest.raises(DeviceError, match="no room on the device"):
            backend.from_host(np.zeros(90_000, np.uint8), device)
        assert held.nbytes >= 60_000


@with_compiler
def test_what_is_only_kept_for_copies_is_given_up_before_a_gpu_is_full() -> None:
    with pretended(memory=200_000):
        backend = CupyBackend()
        device = backend.probe().devices[0]
        backend.from_host(np.zeros(90_000, np.uint8), device)
        runtime = backend.runtime(device)
        assert runtime.incoming.kept_bytes >= 90_000
        assert runtime.pool.take(90_000).nbytes >= 90_000


@with_compiler
def test_a_command_that_cuda_refuses_is_an_error_with_the_name_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended() as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        executable = backend.compile(network(), device)

        def launch(*_: Any) -> None:
            raise CudaError("cudaErrorLaunchOutOfResources")

        monkeypatch.setattr(machine, "launch", launch)
        with pytest.raises(DeviceError, match=r"Pretended 0 failed: cudaErrorLaunchOutOfResources"):
            ran(backend, executable, X, device)


@with_compiler
def test_a_kernel_that_does_not_compile_is_an_error() -> None:
    with pretended():
        backend = CupyBackend()
        driver = driver_of(backend, backend.probe().devices[0])
        with pytest.raises(KernelError, match="CUDA refuses the kernel broken"):
            driver.kernel("KERNEL broken(int) { this is no C }", "broken", (1,), (1,))


def test_memory_with_addresses_is_handed_out_from_the_lowest() -> None:
    numbers = iter([30, 10, 20])

    def allocate(nbytes: int) -> int:
        return next(numbers)

    pool = Pool(allocate, MemoryError, 1 << 20, address=int)
    blocks = [pool.take(1) for _ in range(3)]
    assert [b.mem for b in blocks] == [30, 10, 20]
    blocks.pop(1)
    blocks.clear()
    again = [pool.take(1) for _ in range(3)]
    assert [b.mem for b in again] == [10, 20, 30]


# -- launches -------------------------------------------------------------------------------------------------


def test_groups_grow_to_a_crowd_along_axes_that_have_items() -> None:
    style = Style(vector_bytes=0, team=128, run=1, blas=frozenset(), crowd=128)
    assert style.group((1000, 1000), (16, 1)) == (128, 1)
    assert style.group((20, 1000), (16, 1)) == (32, 4)
    assert style.group((3, 5, 900), (1, 8, 1)) == (4, 8, 1)  # the third axis is never rounded up
    assert style.group((1000,), (256,)) == (256,)
    assert Style(32, 1, 16, frozenset()).group((1000, 1000), (16, 1)) == (16, 1)


def test_numbers_and_structs_are_passed_by_their_bits() -> None:
    """As CuPy takes them: arrays of one element."""
    for value in (np.float32(1.5), np.uint8(1), np.arange(5, dtype=np.int32), np.arange(6, dtype=np.int64)):
        array = packed(value)
        assert array.size == 1
        assert array.tobytes() == np.asarray(value).tobytes()


LARGE = [
    ("add", [(40, 7, 3), (40, 1, 3)], "float32", {}),
    ("permute", [(9, 40, 3)], "float32", {"axes": (1, 0, 2)}),
    ("matmul", [(9, 40, 3), (9, 3, 20)], "int32", {}),
    ("cumsum", [(30, 5)], "int32", {"axis": 1, "exclusive": False, "reverse": False}),
    ("sort", [(90, 40)], "int32", {"axis": 1, "descending": False}),
]


@with_compiler
@pytest.mark.parametrize(("name", "shapes", "dtype", "attrs"), LARGE, ids=[c[0] for c in LARGE])
def test_grids_that_cuda_has_no_room_for_are_launched_as_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, shapes: Any, dtype: str, attrs: Any
) -> None:
    monkeypatch.setattr(hetero_cupy.opened, "TALLEST", 0)
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-9, 9, s).astype(dtype) for s in shapes]
    graph = one_op(OPS[name], [TensorType(a.shape, dt.check(a.dtype)) for a in arrays], attrs)
    with pretended() as machine:
        backend = CupyBackend()
        device = backend.probe().devices[0]
        (out,) = backend.compile(graph, device)(*(backend.from_host(a, device) for a in arrays))
        (type,) = graph.output_types.values()
        assert np.array_equal(backend.to_host(out, type, device), graph.evaluate(*arrays)[0])
        machine.check()
        assert any(text.startswith("#define LARGE_GRID") for text in machine.texts)
        assert all(grid[1:] == (1, 1) for _, grid, _ in machine.launches)


# -- lending and borrowing ------------------------------------------------------------------------------------


@with_compiler
def test_a_buffer_is_lent_and_borrowed_without_a_copy() -> None:
    with pretended():
        backend = CupyBackend()
        device = backend.probe().devices[0]
        type = TensorType(X.shape, dt.float32)
        buffer = backend.from_host(X, device)
        array = backend.lend(buffer, type, device)
        assert (array.data.ptr, array.shape, array.dtype) == (buffer.mem.ptr, X.shape, X.dtype)
        again = backend.borrow(array, device)
        del buffer, array
        got = ran(backend, backend.compile(network(), device), X, device)
        (out,) = backend.compile(network(), device)(again)
        np.testing.assert_array_equal(_sum(backend, out, device), got)
        assert np.array_equal(backend.to_host(again, type, device), X)


def test_what_cupy_has_no_name_for_is_not_lent() -> None:
    with pretended():
        backend = CupyBackend()
        device = backend.probe().devices[0]
        buffer = backend.from_host(np.zeros(3, dt.of("bfloat16")), device)
        with pytest.raises(DTypeError, match="bfloat16"):
            backend.lend(buffer, TensorType((3,), dt.of("bfloat16")), device)


# -- the pretended CUDA itself --------------------------------------------------------------------------------

WRONG = """
KERNEL stuck(GLOBAL int *out) { if (threadIdx.x == 0) __syncthreads(); out[threadIdx.x] = 1; }
KERNEL behind(GLOBAL int *out) { out[threadIdx.x + 128] = 1; }
KERNEL race(GLOBAL int *out)
{
    __shared__ int cells[8];
    cells[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = cells[7 - threadIdx.x];
}
"""


@with_compiler
@pytest.mark.parametrize("name", ["stuck", "behind", "race"])
def test_a_wrong_kernel_shows(name: str) -> None:
    text = '#define KERNEL extern "C" __global__ void\n#define GLOBAL\n' + WRONG
    with pretended() as machine:
        driver = driver_of(CupyBackend(), Device("cupy"))
        mem = driver.allocate(256)
        driver.write(mem, np.zeros(64, np.int32))
        kernel = driver.kernel(text, name, (8,), (8,))
        with driver.lock:
            kernel.bind(0, mem)
            kernel.launch()
        out = np.zeros(8, np.int32)
        if name == "race":
            driver.read(out, mem)
            assert out.tolist() != [7, 6, 5, 4, 3, 2, 1, 0]
            return
        with pytest.raises(PretendError, match="barrier" if name == "stuck" else "behind"):
            machine.check()


@with_compiler
def test_an_argument_of_another_size_shows() -> None:
    with pretended():
        driver = driver_of(CupyBackend(), Device("cupy"))
        kernel = driver.kernel('#define KERNEL extern "C" __global__ void\nKERNEL f(long long n) {}', "f", (1,), (1,))
        kernel.bind(0, np.int32(1))
        with driver.lock, pytest.raises(PretendError, match="is given"):
            kernel.launch()
