"""When a task can start at the earliest, and what must still follow it: by the longest path and by load.

All that a task reads from, however far back, must be done before it starts, and that is work for the devices: they are
busy with it for at least the load that prices prove (see `prices`). What depends on it follows in the same way. For
small graphs; `windows` says the same of many tasks at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hetero.scheduler.algorithms.prices import PASSES
from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import Bools, Floats, Ints

CUTS = 12  # heads, and tails, at which windows begin and end


class Ends(NamedTuple):
    """Seconds (n, P) before a task can start on a device, and seconds that follow it there; inf: not allowed there."""

    head: Floats
    tail: Floats

    def bound_s(self, flat: Flat) -> float:
        """What no makespan is below."""
        return float((self.head + flat.seconds + self.tail).min(1).max())


class Window(NamedTuple):
    """Tasks of which those on one device start no earlier than `head_s` and have `tail_s` behind them."""

    device: int
    tasks: Ints
    head_s: float
    tail_s: float


def ends(flat: Flat) -> Ends:
    """Heads and tails of all tasks."""
    before = _ancestors(flat)
    head = np.repeat(_loads(flat, before)[:, None], flat.count, 1)
    tail = np.repeat(_loads(flat, before.T)[:, None], flat.count, 1)
    source, target, _ = flat.edges
    ways = flat.edge_seconds(np.arange(len(source)))
    for e in np.argsort(flat.level[target], kind="stable").tolist():
        i, j = source[e], target[e]
        head[j] = np.maximum(head[j], ((head[i] + flat.seconds[i])[:, None] + ways[e]).min(0))
    for e in np.argsort(-flat.level[source], kind="stable").tolist():
        i, j = source[e], target[e]
        tail[i] = np.maximum(tail[i], ((tail[j] + flat.seconds[j])[None, :] + ways[e]).min(1))
    return Ends(head, tail)


def windows(flat: Flat, given: Ends) -> Iterator[Window]:
    """Sets of tasks that must run one after the other between a head and a tail, for those that share a device."""
    for p in range(flat.count):
        here = np.flatnonzero(flat.mask[:, p] & (flat.seconds[:, p] > 0))
        if not len(here):
            continue
        head, tail = given.head[here, p], given.tail[here, p]
        seen: set[bytes] = set()
        for h in _cuts(head):
            for t in _cuts(tail):
                inside = (head >= h) & (tail >= t)
                if inside.sum() > 1 and inside.tobytes() not in seen:
                    seen.add(inside.tobytes())
                    yield Window(p, here[inside], float(h), float(t))


def _cuts(values: Floats) -> Floats:
    """Some of the values, evenly spaced among them."""
    finite = values[np.isfinite(values)]
    return np.unique(np.quantile(finite, np.linspace(0, 1, CUTS), method="lower")) if len(finite) else finite


def _ancestors(flat: Flat) -> Bools:
    """(n, n) whether the column's task is done before the row's can start."""
    before = np.zeros((flat.n, flat.n), bool)
    source, target, _ = flat.edges
    for e in np.argsort(flat.level[target], kind="stable").tolist():
        before[target[e]] |= before[source[e]]
        before[target[e], source[e]] = True
    return before


def _loads(flat: Flat, sets: Bools) -> Floats:
    """(k,) for each set of tasks (k, n), seconds that its most loaded device is busy at least."""
    price = np.full((len(sets), flat.count), 1.0 / flat.count)
    best = np.zeros(len(sets))
    seconds = np.where(flat.mask, flat.seconds, np.inf)
    for k in range(PASSES):
        weighted = seconds * price[:, None, :]
        to = weighted.argmin(2)
        best = np.maximum(best, np.where(sets, weighted.min(2), 0.0).sum(1))
        taken = np.where(sets, seconds[np.arange(flat.n), to], 0.0)
        load = np.stack([np.where(to == p, taken, 0.0).sum(1) for p in range(flat.count)], 1)
        top = np.maximum(load.max(1, keepdims=True), 1e-300)
        price = np.maximum(price * np.exp(load / top / (1 + 0.2 * k)), 1e-12)
        price /= price.sum(1, keepdims=True)
    return best
