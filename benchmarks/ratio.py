"""Two calls timed turn by turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def _seconds(call: Callable[[], Any], number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def ratio(slow: Callable[[], Any], fast: Callable[[], Any], *, repeats: int = 9, number: int = 1) -> float:
    """How many times faster `fast` is than `slow`: the quotient of the medians of interleaved repeats."""
    slow()
    fast()
    pairs = [(_seconds(slow, number), _seconds(fast, number)) for _ in range(repeats)]
    return statistics.median(p[0] for p in pairs) / statistics.median(p[1] for p in pairs)
