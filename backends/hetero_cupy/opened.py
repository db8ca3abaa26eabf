"""One GPU, opened: its stream, its memory and its kernels, as the launches want them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from operator import attrgetter
from threading import RLock
from typing import Any

import numpy as np

from hetero.errors import DeviceError, KernelError
from hetero.op import Array
from hetero_cupy.device import Record, blas, library
from hetero_cupy.recorded import Recorded
from hetero_cupy.transfers import Transfers
from hetero_kernels import for_large_grids, is_rounded
from hetero_launch import Bound, Mems, Place, Run, Style

GRAPHS = "HETERO_CUPY_GRAPHS"  # 0: nothing is recorded
TALLEST = 65535  # groups along the second and the third axis of a grid
MOST = 2**31 - 1  # groups along the first
FLOATS = frozenset({"float16", "float32", "float64"})  # what cuBLAS multiplies


class Current:
    """A lock; who holds it has the GPU and its stream as CuPy's current ones. May be taken again inside."""

    def __init__(self, device: Any, stream: Any) -> None:
        self._device, self._stream = device, stream
        self._lock = RLock()
        self._depth = 0
        self._stack = ExitStack()

    def __enter__(self) -> Current:
        self._lock.acquire()
        if self._depth == 0:
            try:
                self._stack.enter_context(self._device)
                self._stack.enter_context(self._stream)
            except BaseException:
                self._stack.close()
                self._lock.release()
                raise
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                self._stack.close()
        finally:
            self._lock.release()


class CupyDriver:
    """CuPy's objects for one GPU. Memory comes from CuPy's own pool; some of it is kept, so that a graph that runs
    again finds its addresses again."""

    keep_incoming_bytes = 1 << 28

    def __init__(self, record: Record) -> None:
        self.cupy: Any = library()
        self.record = record
        self.name = record.name
        self.units = record.units
        self.keep_bytes = record.memory_bytes // 4
        self.address: Callable[[Any], int] | None = attrgetter("ptr")
        cuda = self.cupy.cuda
        self.failure: tuple[type[Exception], ...] = (
            cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError, cuda.memory.OutOfMemoryError,
            cuda.compiler.CompileException, cuda.nvrtc.NVRTCError,
        )  # fmt: skip
        floats = FLOATS
        if blas():
            floats = frozenset[str]()
        else:
            self.failure += (cuda.cublas.CUBLASError,)
        self.style = Style(vector_bytes=0, team=128, run=1, blas=floats, crowd=128)
        device = cuda.Device(record.index)
        try:
            with device:
                self.stream = cuda.Stream(non_blocking=True)
                self.lock = Current(device, self.stream)
                self.transfers = Transfers(self.cupy, self.stream, self.lock)
        except self.failure as e:
            raise DeviceError(f"{record.description} does not open: {e}", hint="hetero doctor") from e
        self.records = os.environ.get(GRAPHS, "1") != "0"
        self._modules: dict[str, Any] = {}

    def allocate(self, nbytes: int) -> Any:
        with self.lock:
            return self.cupy.cuda.alloc(nbytes)

    # -- data -----------------------------------------------------------------------------------------------

    def write(self, mem: Any, array: Array) -> None:
        self.transfers.write(mem, array)

    def read(self, array: Array, mem: Any, byte: int = 0) -> None:
        self.transfers.read(array, mem + byte if byte else mem)

    def incoming(self, nbytes: int) -> Any:
        with self.lock:
            return self.transfers.incoming(self.cupy.cuda.alloc(nbytes))

    def idle(self, mem: Any) -> None:
        self.transfers.idle(mem)

    def copy(self, to: Any, source: Any, nbytes: int, source_byte: int = 0, to_byte: int = 0) -> None:
        if to_byte:
            to = to + to_byte
        to.copy_from_device_async(source + source_byte if source_byte else source, nbytes)

    def finish(self) -> None:
        with self.lock:
            self.stream.synchronize()

    # -- commands -------------------------------------------------------------------------------------------

    def kernel(self, text: str, name: str, size: tuple[int, ...], group: tuple[int, ...]) -> Bound:
        grid = tuple(n // g for n, g in zip(size, group, strict=True))
        first: list[Any] = []
        if any(n > TALLEST for n in grid[1:]):
            text = for_large_grids(text)
            first = [packed(np.array([grid[0], grid[1]], np.uint32))]
            grid = (int(np.prod(grid, dtype=object)),)
        if grid[0] > MOST:
            raise DeviceError(
                f"{name} would run in {grid[0]} groups, and a GPU takes {MOST}", hint="run it with a smaller batch"
            )
        try:
            with self.lock:
                function = self._module(text).get_function(name)
        except Exception as e:  # NVRTC, the driver and CuPy's cache each have errors of their own
            raise KernelError(
                f"CUDA refuses the kernel {name}: {e}", hint="please report it; HETERO_FALLBACK=allow"
            ) from e
        arguments: list[Any] = []
        shift = len(first)
        arguments += first

        def bind(position: int, value: Any) -> None:
            position += shift
            if position >= len(arguments):
                arguments.extend([None] * (position + 1 - len(arguments)))
            arguments[position] = packed(value) if isinstance(value, (np.ndarray, np.generic)) else value

        def launch() -> None:
            function(grid, group, tuple(arguments))

        return Bound(bind, launch)

    def _module(self, text: str) -> Any:
        """The program, compiled by NVRTC or found in CuPy's cache."""
        if text not in self._modules:
            self._modules[text] = self.cupy.RawModule(code=text, options=options(text))
        return self._modules[text]

    def arrays(self, call: Callable[..., None], places: Sequence[Place]) -> Run:
        cupy = self.cupy
        used = [(p.number, p.byte, p.shape, p.dtype) for p in places]

        def run(mems: Mems) -> None:
            call(cupy, *(cupy.ndarray(shape, dtype, mems[n] + byte) for n, byte, shape, dtype in used))

        return run

    def repeated(self, runs: list[Run], storages: Sequence[int]) -> list[Run]:
        """One kernel is launched as quickly as a recording of it."""
        if not self.records or len(runs) == 1:
            return runs
        return [Recorded(self.cupy, self.stream, self.failure, runs, storages)]


OPTIONS = ("--std=c++17",)


def options(text: str) -> tuple[str, ...]:
    """For NVRTC, which joins products and sums unless it is told not to."""
    return (*OPTIONS, "--fmad=false") if is_rounded(text) else OPTIONS


def packed(value: Any) -> Any:
    """A number or a struct of numbers by its bits, as an array of one element: so CuPy passes it by value."""
    array = np.ascontiguousarray(value)
    return array.reshape(-1).view(np.dtype((np.void, array.nbytes)))
