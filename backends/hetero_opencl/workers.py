"""PoCL's threads, one for each processor: each is kept on its own.

They sleep between kernels. Where the scheduler wakes both on the processor that was used last, one waits for the other,
for milliseconds: a product of 1024 x 1024 then takes 1.4 times as long.
"""

from __future__ import annotations

import os

PINNED = "POCL_AFFINITY"  # read by PoCL's threads when they start
FEWER = ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT", "POCL_MAX_COMPUTE_UNITS")  # somebody wants fewer threads


def pin() -> None:
    """Ask PoCL for it, before the first device is looked for.

    PoCL counts processors from 0 on, whichever the process may use. So where it may not use all, or there are fewer
    threads, or somebody has set POCL_AFFINITY=0, threads go where the system likes.
    """
    if not hasattr(os, "sched_getaffinity") or any(name in os.environ for name in FEWER):
        return
    if os.sched_getaffinity(0) == set(range(os.cpu_count() or 0)):
        os.environ.setdefault(PINNED, "1")
