"""One device, opened: its context, its queue, its memory and its programs."""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np

from hetero.errors import AxisError, DeviceError
from hetero.op import Array, TensorType
from hetero_opencl.device import Record, driver
from hetero_opencl.memory import Block, Pool
from hetero_opencl.programs import Programs


@dataclass(frozen=True, slots=True)
class Style:
    """How kernels are cut for a kind of device."""

    vector_bytes: int  # a vector of lanes; 0: an item is a lane
    team: int  # items that fold one row together
    run: int  # neighbours that an item moves one after the other
    blas: bool  # matrix products by the host's BLAS on mapped buffers

    def lanes(self, widest: int) -> int:
        """Lanes of a kernel whose widest element has `widest` bytes; W of portable.h."""
        return min(self.vector_bytes // max(widest, 4), 8) if self.vector_bytes else 1


# 256 bits: AVX2, and as much as the compiler of PoCL 3.0 takes (512-bit vectors of 64-bit elements abort it).
PROCESSOR = Style(vector_bytes=32, team=1, run=16, blas=True)
ACCELERATOR = Style(vector_bytes=0, team=64, run=1, blas=False)


class Runtime:
    """The driver's objects for one device. `lock` is held while commands are handed to the queue."""

    def __init__(self, record: Record, style: Style | None = None) -> None:
        self.cl: Any = driver()
        self.record = record
        self.style = style or (PROCESSOR if record.shared else ACCELERATOR)
        self.lock = RLock()
        cl = self.cl
        try:
            self.context = cl.Context([record.handle])
            self.queue = cl.CommandQueue(self.context)
        except cl.Error as e:
            raise DeviceError(f"{record.description} does not open: {e}", hint="hetero doctor") from e
        keep = max(record.memory_bytes // 4, 1 << 28)
        self.pool = Pool(self._allocate, cl.Error, keep)
        options = ("-w", *(("-cl-fp32-correctly-rounded-divide-sqrt",) if record.correct_division else ()))
        self.programs = Programs(cl, self.context, record.handle, record.description, options)
        self._flags: Block | None = None
        self.labels: list[str] = []  # who may set the flag, by number

    def _allocate(self, nbytes: int) -> Any:
        return self.cl.Buffer(self.context, self.cl.mem_flags.READ_WRITE, nbytes)

    def upload(self, array: Array) -> Block:
        """A block with a copy of `array`."""
        block = self.pool.take(array.nbytes)
        if array.nbytes:
            self._guarded(self.cl.enqueue_copy, self.queue, block.mem, np.ascontiguousarray(array))
        return block

    def download(self, block: Block, type: TensorType) -> Array:
        """The value as an array of its own; waits."""
        out = np.empty(type.known, type.dtype)  # pyright: ignore[reportArgumentType, reportCallIssue]
        if out.nbytes:
            self._guarded(self.cl.enqueue_copy, self.queue, out.reshape(-1).view(np.uint8), block.mem)
        self.check_flags()
        return out

    def finish(self) -> None:
        self._guarded(self.queue.finish)
        self.check_flags()

    # -- errors that kernels report -------------------------------------------------------------------------

    @property
    def flags(self) -> Block:
        """Two int32 that a kernel sets when it meets an index outside: its number, and the index."""
        if self._flags is None:
            self._flags = self.upload(np.zeros(2, np.int32))
        return self._flags

    def flag_number(self, label: str) -> int:
        """The number under which kernels of `label` report; 0 means nothing is wrong."""
        self.labels.append(label)
        return len(self.labels)

    def check_flags(self) -> None:
        """Raise what a kernel reported since the last look. Nothing is read unless a kernel can report."""
        if self._flags is None:
            return
        found = np.zeros(2, np.int32)
        self._guarded(self.cl.enqueue_copy, self.queue, found, self._flags.mem)
        if found[0]:
            self._guarded(self.cl.enqueue_copy, self.queue, self._flags.mem, np.zeros(2, np.int32))
            raise AxisError(
                f"{self.labels[found[0] - 1]}: index {found[1]} is outside the axis",
                hint="indices run from -n to n - 1 for an axis of size n",
            )

    def _guarded(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except self.cl.Error as e:
            raise DeviceError(f"{self.record.device} failed: {e}", hint="hetero doctor") from e
