"""One OpenCL device, opened: its context, its in-order queue and its programs, as the launches want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as np

from hetero.errors import DeviceError
from hetero.op import Array
from hetero_launch import Bound, Mems, Place, Run, Style
from hetero_opencl.device import Record, driver, pocl_version
from hetero_opencl.programs import Programs

PROCESSOR = Style(vector_bytes=32, team=1, run=16, blas=frozenset({"float32", "float64"}))
WIDE = replace(PROCESSOR, vector_bytes=64)
# 512-bit vectors of doubles abort the compiler of PoCL 3.0, and fmod and pow of them are wrong in PoCL 3.1.
WIDE_BUT_DOUBLES = replace(WIDE, double_bytes=32)
ACCELERATOR = Style(vector_bytes=0, team=64, run=1, blas=frozenset())


def style_of(record: Record) -> Style:
    """How kernels are cut for the device: on processors to the width of its registers, 256 bits at the least."""
    if not record.shared:
        return ACCELERATOR
    wide = WIDE_BUT_DOUBLES if pocl_version(record) else WIDE
    return replace(PROCESSOR if record.native_floats < 16 else wide, local_bytes=record.local_bytes)


class OpenCLDriver:
    """The vendor's objects for one device."""

    def __init__(self, record: Record, style: Style | None = None) -> None:
        self.cl: Any = driver()
        self.record = record
        self.name = record.device
        self.style = style or style_of(record)
        self.units = int(record.handle.max_compute_units)
        self.keep_bytes = max(record.memory_bytes // 4, 1 << 28)
        self.keep_incoming_bytes = 0
        self.address: Callable[[Any], int] | None = None
        self.lock = RLock()
        cl = self.cl
        self.failure: tuple[type[Exception], ...] = (cl.Error,)
        try:
            self.context = cl.Context([record.handle])
            self.queue = cl.CommandQueue(self.context)
            for late in ("invoker", "characterize"):  # else the first kernel object waits for their import
                import_module(f"pyopencl.{late}")
        except cl.Error as e:
            raise DeviceError(f"{record.description} does not open: {e}", hint="hetero doctor") from e
        options = ("-w", *(("-cl-fp32-correctly-rounded-divide-sqrt",) if record.correct_division else ()))
        self.programs = Programs(cl, self.context, record.handle, record.description, options)

    def allocate(self, nbytes: int) -> Any:
        return self.cl.Buffer(self.context, self.cl.mem_flags.READ_WRITE, nbytes)

    def incoming(self, nbytes: int) -> Any:
        return self.allocate(nbytes)

    def idle(self, mem: Any) -> None:
        """The queue runs in order: nothing to wait for."""

    def write(self, mem: Any, array: Array) -> None:
        self.cl.enqueue_copy(self.queue, mem, array)

    def read(self, array: Array, mem: Any, byte: int = 0) -> None:
        self.cl.enqueue_copy(self.queue, array, mem, src_offset=byte)

    def copy(self, to: Any, source: Any, nbytes: int, source_byte: int = 0, to_byte: int = 0) -> None:
        self.cl.enqueue_copy(
            self.queue, to, source, byte_count=nbytes, src_offset=source_byte, dst_offset=to_byte
        )  # fmt: skip

    def finish(self) -> None:
        self.queue.finish()

    def kernel(self, text: str, name: str, size: tuple[int, ...], group: tuple[int, ...]) -> Bound:
        kernel = self.programs.kernel(text, name)
        return Bound(kernel.set_arg, partial(self.cl.enqueue_nd_range_kernel, self.queue, kernel, size, group))

    def arrays(self, call: Callable[..., None], places: Sequence[Place]) -> Run:
        """Waits for what is queued, then computes where the data lies, by NumPy."""
        cl, queue = self.cl, self.queue
        flags = {False: cl.map_flags.READ, True: cl.map_flags.WRITE}
        last = [False] * (len(places) - 1) + [True]  # the queue runs in order: to wait for the last is enough
        used = [
            (p.number, flags[p.written], p.byte, p.shape, p.dtype, waits) for p, waits in zip(places, last, strict=True)
        ]

        def run(mems: Mems) -> None:
            arrays: list[Any] = []
            try:
                for number, flag, byte, shape, dtype, waits in used:
                    array, _ = cl.enqueue_map_buffer(queue, mems[number], flag, byte, shape, dtype, is_blocking=waits)
                    arrays.append(array)
                call(np, *arrays)
            finally:
                for array in arrays:
                    array.base.release(queue)

        return run

    def repeated(self, runs: list[Run], storages: Sequence[int]) -> list[Run]:
        """As they are: OpenCL records no commands."""
        return runs
