"""Small launches of one kernel, held back until several can be handed over as one.

To hand a kernel over costs more than a small one computes. So launches of the same kernel that do not depend on each
other wait, with all memory that they touch, until `Style.together` of them are there, or until anything else is wanted
of the device (`Runtime.hand_over`). In any order that they may run in, each sees what it would have seen alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hetero.errors import DeviceError, HeteroError, KernelError
from hetero_launch.driver import Bound
from hetero_launch.memory import Block

if TYPE_CHECKING:
    from hetero_launch.runtime import Runtime

SOON = 128  # times that enough launches came together: then it pays to build the kernel that does them at once
log = logging.getLogger("hetero.launch")

Row: TypeAlias = tuple[Block, ...]  # what one launch touches: its inputs, and last its output


class Held:
    """The launches of one kernel that wait."""

    def __init__(
        self,
        runtime: Runtime,
        one: Bound,
        places: Sequence[tuple[int, int]],
        build: Callable[[], Bound],
        size: int,
        failed: Callable[[Exception], HeteroError],
    ) -> None:
        """`places` are the positions of arguments in memory and which of a row each is; `size` is that of the output's
        block; `build` gives the kernel that does many together."""
        self._runtime, self._pool, self._build, self._size = runtime, runtime.pool, build, size
        self._bind, self._launch = one.bind, one.launch
        self._failed, self._failure = failed, (DeviceError, *runtime.failure)
        self._places = list(places)
        self._most = runtime.style.together
        self._spread = [
            (call * len(places) + k, call, which) for call in range(self._most) for k, (_, which) in enumerate(places)
        ]
        self._together: Bound | None = None
        self._full = 0  # times that enough were there
        self._rows: list[Row] = []
        self._made: set[Block] = set()

    def call(self, *blocks: Block) -> Block:
        """The output of one more launch on `blocks`: held back where the last command was a launch of this kernel too,
        and nothing that waits makes one of `blocks`."""
        runtime, pool, rows = self._runtime, self._pool, self._rows
        with runtime.lock, pool.lock:
            try:
                out = pool.take_class(self._size)
                last = runtime.held
                if last is self and self._made.isdisjoint(blocks):
                    self._made.add(out)
                    rows.append((*blocks, out))
                    if len(rows) == self._most:
                        self.hand_over()
                    return out
                if last is not None and last._rows:
                    last.hand_over()
                runtime.held = self
                self._alone((*blocks, out))
            except self._failure as e:
                raise self._failed(e) from e
        return out

    def hand_over(self) -> None:
        """Give the driver what waits. The caller holds the runtime's lock."""
        rows = self._rows.copy()
        self._rows.clear()
        self._made.clear()
        if len(rows) == self._most:
            self._full += 1
            if self._full == SOON:
                self._together = self._built()
            if self._together is not None:
                return self._at_once(self._together, rows)
        for row in rows:
            self._alone(row)

    def _alone(self, row: Row) -> None:
        bind = self._bind
        for position, which in self._places:
            bind(position, row[which].mem)
        self._launch()

    def _at_once(self, together: Bound, rows: list[Row]) -> None:
        bind = together.bind
        for position, call, which in self._spread:
            bind(position, rows[call][which].mem)
        together.launch()

    def _built(self) -> Bound | None:
        """The kernel that does many together; None on a driver that does not build it, which costs time only."""
        try:
            return self._build()
        except KernelError as e:
            log.warning("small launches are handed over one by one: %s", e.problem)
            return None
