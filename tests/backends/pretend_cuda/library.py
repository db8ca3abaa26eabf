"""The module `cupy` as far as the backend uses it; `test_cupy_surface.py` holds it to the real one."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from pretend_cuda.build import built
from pretend_cuda.end import at_the_end
from pretend_cuda.machine import RUBBISH, CudaError, FullError, Machine, Mark, Piece, PretendError


class CompileException(Exception):  # noqa: N818
    """What NVRTC refuses."""


def module(machine: Machine) -> ModuleType:
    """A new module on a machine."""
    cupy = ModuleType("cupy")
    surface: Any = cupy
    surface.__version__ = "14.0.0"
    parts = {c.__name__: type(c.__name__, (c,), {"machine": machine}) for c in (Device, Stream, Event, Graph)}
    parts["Stream"].graph = parts["Graph"]
    pool = Pool(machine)

    def alloc(nbytes: int) -> MemoryPointer:
        return getattr(machine.local, "allocator", pool.malloc)(nbytes)

    @contextmanager
    def using_allocator(allocator: Any):
        machine.local.allocator = allocator
        try:
            yield
        finally:
            del machine.local.allocator

    def get_current_stream(device_id: int = -1) -> Any:
        device = machine.device if device_id < 0 else device_id
        return parts["Stream"](of=machine.stream_of(device))

    unowned = type("UnownedMemory", (UnownedMemory,), {"pool": pool})
    surface.cuda = Cuda(
        **parts, alloc=alloc, using_allocator=using_allocator, get_current_stream=get_current_stream,
        MemoryPool=lambda: Pool(machine), MemoryPointer=MemoryPointer, UnownedMemory=unowned,
        alloc_pinned_memory=lambda n: _pinned(machine, n),  # pyright: ignore[reportUnknownLambdaType]
        runtime=SimpleNamespace(
            CUDARuntimeError=CudaError, is_hip=False, getDeviceCount=lambda: machine.count,
            driverGetVersion=lambda: 12040, getDeviceProperties=lambda i: _properties(machine, i),  # pyright: ignore[reportUnknownLambdaType]
        ),
        driver=SimpleNamespace(CUDADriverError=type("CUDADriverError", (RuntimeError,), {})),
        memory=SimpleNamespace(OutOfMemoryError=FullError),
        compiler=SimpleNamespace(CompileException=CompileException),
        nvrtc=SimpleNamespace(NVRTCError=type("NVRTCError", (RuntimeError,), {})),
        machine=machine,
    )  # fmt: skip
    surface.RawModule = type("RawModule", (RawModule,), {"machine": machine})
    surface.ndarray = Array
    surface.matmul = lambda a, b, out: _matmul(machine, alloc, a, b, out)
    surface.from_dlpack = surface.ascontiguousarray = lambda a: a
    return cupy


class Cuda(SimpleNamespace):
    machine: Machine

    @property
    def cublas(self) -> Any:
        if self.machine.no_blas:
            raise ImportError("libcublas.so.12: cannot open shared object file")
        return SimpleNamespace(CUBLASError=CublasError)


class CublasError(RuntimeError): ...


def _properties(machine: Machine, index: int) -> dict[str, Any]:
    return {
        "name": f"Pretended {index}".encode(), "major": 9, "minor": 0, "totalGlobalMem": machine.memory,
        "multiProcessorCount": 4,
    }  # fmt: skip


class Device:
    machine: Machine

    def __init__(self, index: int) -> None:
        self.id = index
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(self.machine.device)
        self.machine.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.device = self._before.pop()


class Event:
    machine: Machine

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.device, self.mark = self.machine.device, Mark()

    def record(self, stream: Stream) -> Event:
        if stream.of.device != self.device:
            raise CudaError("cudaErrorInvalidResourceHandle: event and stream are of two devices")
        stream.of.must_not_record("an event")
        self.mark = Mark(stream.of, len(stream.of.ops))
        return self

    def synchronize(self) -> None:
        self.mark.reach()


class Stream:
    machine: Machine
    graph: Any

    def __init__(self, null: bool = False, non_blocking: bool = False, of: Any = None) -> None:
        self.of = of or self.machine.new_stream()
        self._before: list[Any] = []

    def __enter__(self) -> Stream:
        if self.of.device != self.machine.device:
            raise RuntimeError("the stream is not of the current device")
        self._before.append(self.machine.set_stream(self.of.device, self.of))
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.set_stream(self.of.device, self._before.pop())

    def record(self, event: Event) -> Event:
        return event.record(self)

    def wait_event(self, event: Event) -> None:
        self.of.must_not_record("waiting for an event")
        mark = event.mark  # as it was recorded last
        self.of.put(mark.reach)

    def synchronize(self) -> None:
        self.of.must_not_record("synchronize")
        self.of.run()

    def begin_capture(self, mode: int | None = None) -> None:
        if self.machine.refuses_recording:
            raise CudaError("cudaErrorStreamCaptureUnsupported")
        self.of.recording = []

    def end_capture(self) -> Any:
        ops, self.of.recording = self.of.recording, None
        if ops is None:
            raise CudaError("cudaErrorIllegalState")
        return self.graph(ops)


class Graph:
    machine: Machine

    def __init__(self, ops: Sequence[Any]) -> None:
        self._ops = ops

    def launch(self, stream: Stream) -> None:
        self.machine.counts["graphs"] += 1
        for op in self._ops:
            stream.of.put(op)


class Pool:
    """CuPy's: freed memory goes to those who ask on the same stream, at once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.free: defaultdict[tuple[int, int, int], list[Piece]] = defaultdict(list)

    def __del__(self) -> None:
        for pieces in self.free.values():
            for piece in pieces:
                self.machine.pieces.pop(piece.ptr, None)

    def malloc(self, nbytes: int) -> MemoryPointer:
        stream, size = self.machine.stream, -(-nbytes // 512) * 512
        key = (self.machine.device, id(stream), size)
        if self.free[key]:
            piece = self.free[key].pop()
            if stream.recording is None:
                stream.put(lambda: piece.cells[: piece.nbytes].fill(RUBBISH))
        else:
            piece = self.machine.new_piece(size)
        return MemoryPointer(Memory(self, key, piece), 0)


class Memory:
    """Back in its pool when nothing refers to it."""

    def __init__(self, pool: Pool, key: tuple[int, int, int], piece: Piece) -> None:
        self.pool, self._end = pool, at_the_end(lambda: pool.free[key].append(piece))
        self.ptr, self.size, self.device_id = piece.ptr, piece.nbytes, piece.device


class UnownedMemory:
    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id


class MemoryPointer:
    __slots__ = ("mem", "ptr")

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    @property
    def machine(self) -> Machine:
        return self.mem.pool.machine

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Stream | None = None) -> None:
        self._copy(self.ptr, src.ptr, size, stream, (self.ptr, src.ptr))

    def copy_from_host_async(self, mem: int, size: int, stream: Stream | None = None) -> None:
        self._pinned(mem, size)
        self._copy(self.ptr, mem, size, stream, (self.ptr,))

    def copy_to_host_async(self, mem: int, size: int, stream: Stream | None = None) -> None:
        self._pinned(mem, size)
        self._copy(mem, self.ptr, size, stream, (self.ptr,))

    def _copy(self, to: int, source: int, size: int, stream: Stream | None, ours: tuple[int, ...]) -> None:
        for ptr in ours:
            self.machine.inside(ptr, size)
        of = self.machine.stream if stream is None else stream.of
        of.put(lambda: ctypes.memmove(to, source, size) and None)

    def _pinned(self, mem: int, size: int) -> None:
        held = self.machine.pinned.items()
        if not any(ptr <= mem and mem + size <= ptr + len(cells) for ptr, cells in held):
            raise PretendError("an asynchronous copy of memory that is not pinned")


def _pinned(machine: Machine, nbytes: int) -> Any:
    """Pinned memory: an object with a buffer and an address."""
    made: Any = type("Pinned", (ctypes.c_uint8 * nbytes,), {})()
    made.ptr = ctypes.addressof(made)
    machine.pinned[made.ptr] = made
    return made


class RawModule:
    machine: Machine

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        self._code = code
        self.machine.texts.setdefault(code)

    def get_function(self, name: str) -> Any:
        if self.machine.only_texts:
            return None
        try:
            getattr(built(self._code), f"pretend_launch_{name}")
        except ValueError as e:
            raise CompileException(str(e)) from e

        def call(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            self.machine.launch(self._code, name, grid, block, [_argument(a) for a in args])

        return call


def _argument(value: Any) -> Any:
    """As CuPy's `_pointer` takes them: memory by its address, an array of one element by its bytes."""
    if isinstance(value, MemoryPointer):
        return value.ptr
    if isinstance(value, np.ndarray) and value.size == 1:
        return np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    raise TypeError(f"a kernel is given {value!r}")


class Array:
    """cupy.ndarray, row-major."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, memptr: MemoryPointer) -> None:
        self.shape, self.dtype, self.data = shape, np.dtype(dtype), memptr
        self.nbytes = int(np.prod(shape, dtype=object)) * self.dtype.itemsize
        self.device = Device(memptr.mem.device_id)

    def host(self) -> Any:
        """The memory itself, as a NumPy array."""
        cells: Any = (ctypes.c_uint8 * self.nbytes).from_address(self.data.ptr)
        return np.frombuffer(cells, self.dtype).reshape(self.shape)


def _matmul(machine: Machine, alloc: Any, a: Array, b: Array, out: Array) -> None:
    """By way of memory of its own, as the real one does for some forms; it is given back before the commands run."""
    if machine.stream.recording is not None:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    machine.counts["matmul"] += 1
    between = Array(out.shape, out.dtype, alloc(out.nbytes))
    to, ptr = between.host(), between.data.ptr
    machine.stream.put(lambda: machine.inside(ptr, out.nbytes) and np.matmul(a.host(), b.host(), out=to))
    machine.stream.put(lambda: ctypes.memmove(out.data.ptr, ptr, out.nbytes))
