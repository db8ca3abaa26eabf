"""Copies between host and GPU: through pinned memory, on a stream of their own, while kernels run on the other.

A copy to the GPU waits only for the commands that were under way when its memory was last given up, and only the
commands that are handed over after it wait for the copy. A copy to the host waits for all commands before it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from hetero.op import Array

CHUNK = 1 << 24  # bytes of a pinned buffer; there are two, so that the host fills one while the other is copied


def incoming_class(pointer: Any) -> Any:
    """CuPy's pointer to memory, which takes no attributes, as a class that does."""
    return type("Incoming", (pointer,), {"__doc__": "Memory for what comes from the host."})


class Transfers:
    """The copy stream of one GPU."""

    def __init__(self, cupy: Any, stream: Any, lock: AbstractContextManager[Any, Any]) -> None:
        """Called with the GPU as the current one. `stream` runs the kernels."""
        self._cuda = cupy.cuda
        self._work, self._lock = stream, lock
        self._copies = cupy.cuda.Stream(non_blocking=True)
        self._pinned: list[tuple[Any, Any]] = []  # memory, and the event after which it is free
        self._incoming = incoming_class(cupy.cuda.MemoryPointer)

    def incoming(self, mem: Any) -> Any:
        """The memory with an event of its own. Called with the lock held."""
        made = self._incoming(mem.mem, mem.ptr - mem.mem.ptr)
        made.event, made.given_up = self._event(), False
        return made

    def write(self, mem: Any, array: Array) -> None:
        """Copy a contiguous array; returns when it has been read, not when it is there."""
        source = array.reshape(-1).view(np.uint8)
        with self._lock:
            if getattr(mem, "given_up", False):
                mem.given_up = False
                self._copies.wait_event(mem.event)
            else:
                self._copies.wait_event(self._work.record(self._event()))
            for begin in range(0, source.nbytes, CHUNK):
                part = source[begin : begin + CHUNK]
                pinned, free = self._buffer(begin)
                free.synchronize()
                np.frombuffer(pinned, np.uint8, part.nbytes)[:] = part
                (mem + begin).copy_from_host_async(pinned.ptr, part.nbytes, self._copies)
                free.record(self._copies)
            there = self._event()
            there.record(self._copies)
            self._work.wait_event(there)

    def read(self, array: Array, mem: Any) -> None:
        """Copy into a contiguous array; returns when all is there. Others may hand over commands meanwhile."""
        to = array.reshape(-1).view(np.uint8)
        with self._lock:
            done = self._work.record(self._event())
        done.synchronize()
        with self._lock:
            under_way: list[tuple[int, int, Any, Any]] = []
            for begin in range(0, to.nbytes, CHUNK):
                count = min(CHUNK, to.nbytes - begin)
                pinned, free = self._buffer(begin)
                (mem + begin).copy_to_host_async(pinned.ptr, count, self._copies)
                free.record(self._copies)
                under_way.append((begin, count, pinned, free))
                if len(under_way) == 2:
                    _land(to, *under_way.pop(0))
            for part in under_way:
                _land(to, *part)

    def idle(self, mem: Any) -> None:
        """The memory is given up: what was handed over so far may still read it. Called by whoever drops it last."""
        mem.event.record(self._work)
        mem.given_up = True

    def _event(self) -> Any:
        return self._cuda.Event(disable_timing=True)

    def _buffer(self, begin: int) -> tuple[Any, Any]:
        """The pinned buffer of a part, by turns."""
        turn = begin // CHUNK % 2
        while len(self._pinned) <= turn:
            self._pinned.append((self._cuda.alloc_pinned_memory(CHUNK), self._event()))
        return self._pinned[turn]


def _land(to: Array, begin: int, count: int, pinned: Any, there: Any) -> None:
    there.synchronize()
    to[begin : begin + count] = np.frombuffer(pinned, np.uint8, count)
