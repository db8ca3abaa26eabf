"""Repeated runs as CUDA graphs: the commands of a run are recorded once and handed over in one call from then on.

A recording holds addresses. A run takes its memory from the pool as ever, and most often gets what the run before it
gave back: so a recording is kept for each of the last few sets of addresses, made when a set comes the second time.
Where sets hardly ever come again, nothing more is recorded: a recording costs as much as some runs.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

from hetero_launch import Mems, Run

KEPT = 8  # recordings of one executable
SEEN = 64  # sets of addresses that are remembered without one
log = logging.getLogger("hetero.cupy")


class Recorded:
    """A run that needs nothing from the host on its way. Called with the device's lock held."""

    def __init__(self, cupy: Any, stream: Any, failure: tuple[type[Exception], ...], run: Run) -> None:
        self._cupy, self._stream, self._run = cupy, stream, run
        self._failure = (*failure, RuntimeError)  # CuPy refuses some calls during a recording by itself
        self._recordings: OrderedDict[tuple[int, ...], tuple[Any, Any]] = OrderedDict()
        self._seen: OrderedDict[tuple[int, ...], None] = OrderedDict()
        self._may = True  # record more
        self.recorded = self.replayed = 0

    def __call__(self, mems: Mems) -> None:
        key = tuple([mem.ptr for mem in mems if mem is not None])
        known = self._recordings.get(key)
        if known is not None:
            self.replayed += 1
        elif self._may and key in self._seen:
            known = self._record(key, mems)
        if known is None:
            self._seen[key] = None
            if len(self._seen) > SEEN:
                self._seen.popitem(last=False)
            self._run(mems)
            return
        self._recordings.move_to_end(key)
        known[0].launch(self._stream)

    def _record(self, key: tuple[int, ...], mems: Mems) -> tuple[Any, Any] | None:
        """The graph and the memory that its commands use beside ours; None where a command cannot be recorded.

        What a library allocates on its way is written again at each replay, so nobody else may get it: it comes from
        a pool that lives as long as the graph.
        """
        cuda = self._cupy.cuda
        pool = cuda.MemoryPool()
        stream = cuda.Stream(non_blocking=True)
        try:
            with stream, cuda.using_allocator(pool.malloc):
                stream.begin_capture()
                try:
                    self._run(mems)
                finally:
                    graph = stream.end_capture()
        except self._failure as e:
            self._may = False
            log.info("a graph is run command by command, since CUDA does not record it: %s", e)
            return None
        self.recorded += 1
        self._may = self.recorded < 2 * KEPT or self.replayed >= self.recorded
        self._recordings[key] = graph, pool
        if len(self._recordings) > KEPT:
            self._recordings.popitem(last=False)
        return self._recordings[key]
