"""Two calls timed turn by turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

LOOK_S = 0.005  # for so long it is watched whether any thread works
MOST = "HETERO_BENCH_TURNS"  # the most turns of any comparison; a figure of one turn only says that it runs


def at_most(wanted: int) -> int:
    """As many, but no more than the environment allows."""
    return min(wanted, int(os.environ.get(MOST) or wanted))


def quiet() -> None:
    """Wait until no thread of this process works any more, or half a second.

    OpenBLAS's threads go on for 0.2 s behind a product, others for some milliseconds, in case there is more to do: on
    the cores that the other side of a comparison needs.
    """
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until:
        before = time.process_time()
        time.sleep(LOOK_S)
        if time.process_time() - before < LOOK_S / 5:
            return


def _seconds(call: Callable[[], Any], number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def ratio(slow: Callable[[], Any], fast: Callable[[], Any], *, repeats: int = 9, number: int = 1) -> float:
    """How many times faster `fast` is than `slow`: the quotient of the medians of interleaved repeats."""

    def turn(call: Callable[[], Any]) -> float:
        quiet()
        return _seconds(call, number)

    slow()
    fast()
    pairs = [(turn(slow), turn(fast)) for _ in range(at_most(repeats))]
    return statistics.median(p[0] for p in pairs) / statistics.median(p[1] for p in pairs)
