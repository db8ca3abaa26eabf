"""Repeated runs as CUDA graphs: neighbouring kernels and copies are recorded once, and handed over in one call from
then on.

CuPy allows no cuBLAS in a recording, so a product stands between two of them. A recording holds addresses. A run takes
its memory from the pool as ever, and most often gets what the run before it gave back: so a recording is kept for each
of the last few sets of addresses, made when a set comes the second time. Where sets hardly ever come again, nothing
more is recorded: a recording costs as much as some runs.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from hetero_launch import Mems, Run

KEPT = 8  # recordings of one stretch of steps
WORTH = 10  # replays for each recording, without which no more are made after the first few
SEEN = 64  # sets of addresses that are remembered without one
log = logging.getLogger("hetero.cupy")


class Recorded:
    """Steps of kernels and copies. Called with the device's lock held."""

    def __init__(
        self, cupy: Any, stream: Any, failure: tuple[type[Exception], ...], runs: Sequence[Run], storages: Sequence[int]
    ) -> None:
        self._cuda, self._stream, self._runs, self._storages = cupy.cuda, stream, runs, storages
        self._failure = (*failure, RuntimeError)  # CuPy refuses some calls during a recording by itself
        self._recordings: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._seen: OrderedDict[tuple[int, ...], None] = OrderedDict()
        self._may = True  # record more
        self.recorded = self.replayed = 0

    def __call__(self, mems: Mems) -> None:
        key = tuple([mems[n].ptr for n in self._storages])
        graph = self._recordings.get(key)
        if graph is not None:
            self.replayed += 1
        elif self._may and self._pays and key in self._seen:
            graph = self._record(key, mems)
        if graph is None:
            self._seen[key] = None
            if len(self._seen) > SEEN:
                self._seen.popitem(last=False)
            for run in self._runs:
                run(mems)
            return
        self._recordings.move_to_end(key)
        graph.launch(self._stream)

    @property
    def _pays(self) -> bool:
        """Whether recordings have been used often enough to make another."""
        return self.recorded < 2 * KEPT or self.replayed >= WORTH * self.recorded

    def _record(self, key: tuple[int, ...], mems: Mems) -> Any:
        """The graph; None where a command cannot be recorded. On a stream of its own: threads may give memory back
        meanwhile, which marks a place in the other."""
        stream = self._cuda.Stream(non_blocking=True)
        try:
            with stream:
                stream.begin_capture()
                try:
                    for run in self._runs:
                        run(mems)
                finally:
                    graph = stream.end_capture()
        except self._failure as e:
            self._may = False
            log.info("a graph is run command by command, since CUDA does not record it: %s", e)
            return None
        self.recorded += 1
        self._recordings[key] = graph
        if len(self._recordings) > KEPT:
            self._recordings.popitem(last=False)
        return graph
