"""Two calls timed turn by turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

MOST = "HETERO_BENCH_TURNS"  # the most turns of any comparison; a figure of one turn only says that it runs


def at_most(wanted: int) -> int:
    """As many, but no more than the environment allows."""
    return min(wanted, int(os.environ.get(MOST) or wanted))


def _seconds(call: Callable[[], Any], number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def ratio(slow: Callable[[], Any], fast: Callable[[], Any], *, repeats: int = 9, number: int = 1) -> float:
    """How many times faster `fast` is than `slow`: the quotient of the medians of interleaved repeats."""
    slow()
    fast()
    pairs = [(_seconds(slow, number), _seconds(fast, number)) for _ in range(at_most(repeats))]
    return statistics.median(p[0] for p in pairs) / statistics.median(p[1] for p in pairs)
