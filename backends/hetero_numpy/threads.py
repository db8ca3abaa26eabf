"""A few threads for work that leaves Python's lock: NumPy does inside its loops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def _count() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


COUNT = _count()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """One for each process: threads do not survive a fork."""
    return ThreadPoolExecutor(COUNT, thread_name_prefix="hetero-numpy")


def run(parts: Sequence[Callable[[], None]]) -> None:
    """Every part, at once; the first on the calling thread. The first error is raised when all have ended."""
    pending = [_pool(os.getpid()).submit(part) for part in parts[1:]]
    try:
        parts[0]()
    finally:
        errors = [f.exception() for f in pending]
    for error in errors:
        if error is not None:
            raise error
