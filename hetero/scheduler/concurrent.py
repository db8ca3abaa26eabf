"""Parts of a plan at the same time: one thread a device, each in the plan's order, each part as its inputs come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetero.scheduler.parts import Part


def run_together(parts: Sequence[Part], do: Callable[[Part], None]) -> None:
    """Every part by `do`; the first exception stops what has not started, and is raised when all threads are idle.

    Each device takes its parts in the order given. A part waits for the parts that make what it takes; since that order
    is topological, no wait is for ever.
    """
    makers = {value: k for k, part in enumerate(parts) for value in part.gives}
    waits = [{makers[v] for v in part.takes if v in makers} for part in parts]
    lanes: dict[str, list[int]] = {}
    for k, part in enumerate(parts):
        lanes.setdefault(part.device.name, []).append(k)
    board = _Board()
    with ThreadPoolExecutor(max(1, len(lanes)), "hetero-plan") as pool:
        for lane in lanes.values():
            pool.submit(_lane, [(k, waits[k], parts[k]) for k in lane], do, board)
    if board.failed is not None:
        raise board.failed


class _Board:
    """Which parts are done, and whether one has failed."""

    def __init__(self) -> None:
        self._done: set[int] = set()
        self._changed = Condition()
        self.failed: BaseException | None = None

    def wait_for(self, parts: set[int]) -> bool:
        """True when all are done, False when the run has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self.failed is not None or self._done >= parts)
            return self.failed is None

    def done(self, part: int) -> None:
        with self._changed:
            self._done.add(part)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self.failed = self.failed or error
            self._changed.notify_all()


def _lane(work: list[tuple[int, set[int], Part]], do: Callable[[Part], None], board: _Board) -> None:
    for k, waits, part in work:
        if not board.wait_for(waits):
            return
        try:
            do(part)
        except BaseException as e:  # raised again by run_together, in the caller's thread
            board.fail(e)
            return
        board.done(k)
