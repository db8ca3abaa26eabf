"""The pretended machine: devices, memory, streams that run late, events, graphs and launches."""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pretend_cuda.build import built

GUARD = 256  # bytes behind every piece of memory that nobody may touch
RUBBISH, FENCE = 0xCD, 0xA5
ONE_AT_A_TIME = threading.RLock()
Op = Callable[[], object]


class PretendError(AssertionError):
    """What a GPU would let pass or punish at random, and is wrong."""


class CudaError(RuntimeError):
    """cudaErrorSomething."""


class FullError(MemoryError):
    """cudaErrorMemoryAllocation."""


class Stream:
    """Commands in order. They run when somebody waits for them; at once where `eager`."""

    def __init__(self, device: int, eager: bool = False) -> None:
        self.device, self.eager = device, eager
        self.ops: list[Op] = []
        self.done = 0
        self.recording: list[Op] | None = None

    def put(self, op: Op) -> None:
        if self.recording is not None:
            self.recording.append(op)
            return
        with ONE_AT_A_TIME:
            self.ops.append(op)
            if self.eager:
                self.run()

    def run(self, upto: int | None = None) -> None:
        with ONE_AT_A_TIME:
            stop = len(self.ops) if upto is None else upto
            while self.done < stop:
                op, self.ops[self.done] = self.ops[self.done], _nothing
                self.done += 1
                op()

    def must_not_record(self, what: str) -> None:
        if self.recording is not None:
            raise CudaError(f"cudaErrorStreamCaptureUnsupported: {what}")


def _nothing() -> None: ...


@dataclass
class Mark:
    """A place in a stream."""

    stream: Stream | None = None
    position: int = 0

    def reach(self) -> None:
        if self.stream is not None:
            self.stream.run(self.position)


@dataclass(eq=False)
class Piece:
    """Memory of a device, with a guard behind it."""

    device: int
    nbytes: int
    cells: Any

    @property
    def ptr(self) -> int:
        return int(self.cells.ctypes.data)

    def check(self) -> None:
        if (self.cells[self.nbytes :] != FENCE).any():
            raise PretendError(f"a kernel wrote behind a piece of {self.nbytes} bytes")


@dataclass
class Machine:
    """What all parts share."""

    count: int
    memory: int
    eager: bool = False
    pieces: dict[int, Piece] = field(default_factory=dict[int, Piece])
    pinned: dict[int, Any] = field(default_factory=dict[int, Any])
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    texts: dict[str, None] = field(default_factory=dict[str, None])  # that were built, in order
    launches: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list[Any])  # name, grid, block
    local: threading.local = field(default_factory=threading.local)
    nulls: dict[int, Stream] = field(default_factory=dict[int, Stream])  # the default stream of each device
    streams: list[Stream] = field(default_factory=list[Stream])
    refuses_recording: bool = False
    no_blas: bool = False
    only_texts: bool = False  # nothing is built or run

    # -- devices and streams --------------------------------------------------------------------------------

    @property
    def device(self) -> int:
        """The current one of this thread."""
        return getattr(self.local, "device", 0)

    @device.setter
    def device(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise CudaError("cudaErrorInvalidDevice: invalid device ordinal")
        self.local.device = index

    @property
    def stream(self) -> Stream:
        """The current one of this thread and device."""
        return self.stream_of(self.device)

    def stream_of(self, device: int) -> Stream:
        """The current one of this thread on a device: the default stream, unless another was set."""
        return self._current.get(device) or self.nulls.setdefault(device, Stream(device))

    @property
    def _current(self) -> dict[int, Stream]:
        if not hasattr(self.local, "streams"):
            self.local.streams = {}
        return self.local.streams

    def set_stream(self, device: int, stream: Stream | None) -> Stream | None:
        """Gives the one before."""
        before = self._current.get(device)
        if stream is None:
            self._current.pop(device, None)
        else:
            self._current[device] = stream
        return before

    def new_stream(self) -> Stream:
        """The first of a device runs late."""
        first = not any(s.device == self.device for s in self.streams)
        self.streams.append(Stream(self.device, self.eager and not first))
        return self.streams[-1]

    # -- memory ---------------------------------------------------------------------------------------------

    def new_piece(self, nbytes: int) -> Piece:
        used = sum(p.nbytes for p in list(self.pieces.values()) if p.device == self.device)
        if used + nbytes > self.memory:
            raise FullError(f"Out of memory allocating {nbytes} bytes")
        cells = np.full(nbytes + GUARD, RUBBISH, np.uint8)
        cells[nbytes:] = FENCE
        piece = Piece(self.device, nbytes, cells)
        self.pieces[piece.ptr] = piece
        return piece

    def forget(self, piece: Piece) -> None:
        piece.check()
        self.pieces.pop(piece.ptr, None)

    def check(self) -> None:
        """Run all that is left, then look at every guard."""
        for stream in self.streams:
            stream.run()
        for piece in self.pieces.values():
            piece.check()

    def inside(self, ptr: int, nbytes: int = 1) -> Piece:
        """The piece that holds these bytes."""
        for piece in list(self.pieces.values()):
            if piece.ptr <= ptr and ptr + nbytes <= piece.ptr + piece.nbytes:
                return piece
        raise PretendError(f"{nbytes} bytes at {ptr:#x} are not in one piece of memory")

    # -- launches -------------------------------------------------------------------------------------------

    def launch(self, text: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any]) -> None:
        """`args`: pointers as ints, numbers as arrays of their bytes."""
        stream, library = self.stream, built(text)
        if stream.device != self.device:
            raise CudaError("cudaErrorInvalidResourceHandle: the stream is of another device")
        sizes = (ctypes.c_int * 256)()
        count = getattr(library, f"pretend_sizes_{name}")(sizes)
        given = [-8 if isinstance(a, int) else a.nbytes for a in args]
        if given != list(sizes[:count]):
            raise PretendError(f"{name} takes {list(sizes[:count])} (pointers negative), and is given {given}")
        for a in args:
            if isinstance(a, int) and self.inside(a).device != self.device:
                raise PretendError(f"{name} is given memory of another device")
        grid, block = [*grid, 1, 1][:3], [*block, 1, 1][:3]
        wrong = min(*grid, *block) < 1 or grid[0] >= 2**31 or max(grid[1:]) > 65535 or block[2] > 64
        if wrong or block[0] * block[1] * block[2] > 1024:
            raise CudaError(f"cudaErrorInvalidValue: {name} over {grid} blocks of {block}")
        self.counts["launches"] += 1
        self.launches.append((name, tuple(grid), tuple(block)))
        cells = [np.array([a], np.uint64).view(np.uint8) if isinstance(a, int) else a.copy() for a in args]
        pointers = (ctypes.c_void_p * len(cells))(*(c.ctypes.data for c in cells))
        call = getattr(library, f"pretend_launch_{name}")
        sides = (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block)

        def run() -> None:
            assert cells
            if stuck := call(pointers, *sides):
                raise PretendError(f"{name}: {stuck} of {np.prod(block)} threads wait at a barrier, the others ended")

        stream.put(run)
