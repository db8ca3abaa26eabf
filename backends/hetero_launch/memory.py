"""Device memory: blocks of a few sizes, kept when they are dropped and handed out again.

The queue runs in order, so a block may be given to the next command while the last one still reads it.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from threading import RLock
from typing import Any

from hetero.errors import DeviceError

OVERHANG = 64  # bytes that a vector may read or write past the end, see portable.h
LEAST = 256


def size_class(nbytes: int) -> int:
    """What a block of `nbytes` really takes: at most a sixteenth more, so that few sizes serve many."""
    wanted = max(nbytes + OVERHANG, LEAST)
    step = max(1 << (wanted.bit_length() - 5), OVERHANG)
    return -(-wanted // step) * step


class Block:
    """A piece of device memory; back in the pool when nothing refers to it."""

    __slots__ = ("_pool", "mem", "nbytes")

    def __init__(self, pool: Pool, mem: Any, nbytes: int) -> None:
        self._pool, self.mem, self.nbytes = pool, mem, nbytes

    def __del__(self) -> None:
        self._pool.give(self.mem, self.nbytes)


class Pool:
    """Blocks that are free, and counts of those that are not. `keep_bytes` bounds what is kept."""

    def __init__(
        self, allocate: Any, failure: type[Exception] | tuple[type[Exception], ...], keep_bytes: int, *,
        address: Any = None, idle: Any = None,
    ) -> None:  # fmt: skip
        """`address` of memory as a number: the lowest that is free is handed out first, so that a run that comes again
        gets the same; without it, the last that was given back. `idle` is called with memory that is given back."""
        self._allocate, self._failure, self.keep_bytes = allocate, failure, keep_bytes
        self._address, self._idle = address, idle
        self._beside: Pool | None = None
        self._free: defaultdict[int, list[Any]] = defaultdict(list)
        self.lock = RLock()
        self.used_bytes = self.kept_bytes = self.peak_bytes = 0

    def share(self, other: Pool) -> None:
        """The two hold memory of one device: each gives up what it keeps before the other calls it full."""
        self._beside, other._beside, other.lock = other, self, self.lock

    def take(self, nbytes: int) -> Block:
        """A block for `nbytes`; on a full device after everything that is only kept was let go."""
        size = size_class(nbytes)
        with self.lock:
            return self.take_class(size)

    def take_class(self, size: int) -> Block:
        """A block of a size that `size_class` gave; the caller holds the lock."""
        free = self._free[size]
        if free:
            mem = free.pop() if self._address is None else heappop(free)[1]
            self.kept_bytes -= size
        else:
            mem = self._new(size)
        self.used_bytes += size
        if self.used_bytes > self.peak_bytes:
            self.peak_bytes = self.used_bytes
        return Block(self, mem, size)

    def give(self, mem: Any, size: int) -> None:
        """Called by a block that dies."""
        if self._idle is not None:
            self._idle(mem)
        with self.lock:
            self.used_bytes -= size
            if self.kept_bytes + size <= self.keep_bytes:
                if self._address is None:
                    self._free[size].append(mem)
                else:
                    heappush(self._free[size], (self._address(mem), mem))
                self.kept_bytes += size

    def trim(self) -> None:
        """Let go of everything that is only kept."""
        with self.lock:
            self._free.clear()
            self.kept_bytes = 0

    def _new(self, size: int) -> Any:
        try:
            return self._allocate(size)
        except self._failure:
            self.trim()
            if self._beside is not None:
                self._beside.trim()
        try:
            return self._allocate(size)
        except self._failure as e:
            raise DeviceError(
                f"no room on the device for {size} bytes beside the {self.used_bytes} in use: {e}",
                hint="drop tensors, or run with smaller batches",
            ) from e
