"""What a second on each device is worth: the duals of spreading all work over the devices as evenly as can be.

Every way to place the tasks has a most loaded device. Its load is at least the mean load under any weights that add up
to 1, and that mean is smallest when each task runs where its weighted seconds are least. So prices (weights) give a
lower bound, and the difference to the cheapest device tells what a placement costs everybody else. The best prices are
the duals of the LP of R||Cmax (Lenstra, Shmoys, Tardos, Math. Programming 1990), found here by exponentiated
subgradients (Arora, Hazan, Kale, Theory of Computing 2012).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import Floats

PASSES = 150
SAMPLE = 8_192  # tasks that set the prices of larger graphs, before a few passes over all


class Prices(NamedTuple):
    """Prices of devices, which add up to 1, the bound that they prove, and what leaving the cheapest device costs."""

    price: Floats  # (P,)
    bound_s: float  # no device-load of all placements is less
    regret_s: Floats  # (n, P) weighted seconds above the cheapest device; inf where a task must not run


def prices(flat: Flat) -> Prices:
    """The best prices found."""
    work = _work(flat)
    price = np.full(flat.count, 1.0 / flat.count)
    if len(work) > 2 * SAMPLE:
        price, _ = _improved(work[:: len(work) // SAMPLE], price, PASSES)
        price, bound = _improved(work, price, PASSES // 25, step=0.02)
    else:
        price, bound = _improved(work, price, PASSES)
    weighted = np.where(flat.mask, np.where(flat.mask, flat.seconds, 0.0) * price, np.inf)
    return Prices(price, bound, weighted - weighted.min(1, keepdims=True))


def _work(flat: Flat) -> Floats:
    """(groups, P) seconds of what must stay together; inf where it must not run."""
    if not flat.grouped:
        return flat.seconds
    total = np.zeros_like(flat.seconds)
    np.add.at(total, flat.group, flat.seconds)
    return total[np.unique(flat.group)]


def _improved(work: Floats, price: Floats, passes: int, step: float = 1.0) -> tuple[Floats, float]:
    """Prices with the best bound over some passes, and that bound. Steps shrink, and are relative to the load."""
    work = np.ascontiguousarray(work.T)  # device by device: what is added up and compared then lies together
    best, bound = price, -1.0
    for k in range(passes):
        least, to = work[0] * price[0], np.zeros(work.shape[1], np.int64)
        for p in range(1, len(price)):
            weighted = work[p] * price[p]
            to[weighted < least] = p
            np.minimum(least, weighted, out=least)
        here = float(least.sum())
        if here > bound:
            best, bound = price, here
        load = np.bincount(to, work[to, np.arange(work.shape[1])], minlength=len(price))
        top = load.max()
        if top <= 0:
            break
        price = np.maximum(price * np.exp(step / (1 + 0.2 * k) * load / top), 1e-12)
        price = price / price.sum()
    return best, max(bound, 0.0)
