"""PoCL's threads, one for each processor: each is kept on its own.

They sleep between kernels. Where the scheduler wakes both on the processor that was used last, one waits for the other,
for milliseconds: a product of 1024 x 1024 then takes 1.4 times as long.
"""

from __future__ import annotations

import os

PINNED = "POCL_AFFINITY"  # read by PoCL's threads when they start
OURS = "HETERO_POCL_AFFINITY"  # set beside it: not a person's choice, so that processes that inherit it choose anew
FEWER = ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT", "POCL_MAX_COMPUTE_UNITS")  # somebody wants fewer threads


def pin() -> None:
    """Ask PoCL for it, before the first device is looked for.

    PoCL counts processors from 0 on, whichever the process may use. So where it may not use all, or there are fewer
    threads, or somebody has set POCL_AFFINITY, threads go where the system or that person likes.
    """
    env = os.environ
    if PINNED in env and OURS not in env:
        return
    every = hasattr(os, "sched_getaffinity") and os.sched_getaffinity(0) == set(range(os.cpu_count() or 0))
    if every and not any(name in env for name in FEWER):
        env[PINNED] = env[OURS] = "1"
    elif env.pop(OURS, ""):
        env.pop(PINNED, "")
