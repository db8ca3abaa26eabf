"""Priorities of list schedulers: how much work hangs below and above each task.

Sources: Topcuoglu, Hariri, Wu, IEEE TPDS 2002 (upward and downward rank); Arabnejad, Barbosa, IEEE TPDS 2014 (OCT).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import numpy as np

from hetero.scheduler.flat import Flat
from hetero.scheduler.native import bridge
from hetero.scheduler.taskgraph import Floats, Ints


def upward(flat: Flat) -> Floats:
    """(n,) mean seconds from the start of a task to the end of the graph."""
    _, target, _ = flat.edges
    rank = flat.mean_seconds.copy()
    for level in reversed(flat.levels):
        below = flat.mean_edge_seconds[level.edge] + rank[target[level.edge]]
        rank[level.source] += np.maximum.reduceat(below, level.first)
    return rank


def downward(flat: Flat) -> Floats:
    """(n,) mean seconds from the start of the graph to the start of a task."""
    source, target, _ = flat.edges
    rank = np.zeros(flat.n)
    for level in flat.levels:
        above = rank[source[level.edge]] + flat.mean_seconds[source[level.edge]] + flat.mean_edge_seconds[level.edge]
        np.maximum.at(rank, target[level.edge], above)
    return rank


def tails(flat: Flat, *, mean: bool = False) -> Floats:
    """(n, P) seconds that at least remain after a task finishes on a device, if nothing waits for anything.

    With the real seconds of each way it is a lower bound, even if tasks could be run twice; with the mean over all ways
    (`mean`) it is PEFT's optimistic cost table.
    """
    compiled = bridge.kernels(flat)
    if compiled:
        return compiled.tails(flat.mean_edge_seconds if mean else None)
    _, target, _ = flat.edges
    tail = np.zeros((flat.n, flat.count))
    away = 1.0 - np.eye(flat.count)
    for level in reversed(flat.levels):
        to = target[level.edge]
        way = flat.mean_edge_seconds[level.edge, None, None] * away if mean else flat.edge_seconds(level.edge)
        least = ((tail + flat.seconds)[to][:, None, :] + way).min(2)
        tail[level.source] = np.maximum.reduceat(least, level.first, axis=0)
    return tail


def by_rank(flat: Flat, rank: Floats) -> list[int]:
    """Tasks by falling rank, for ranks that never grow along an edge."""
    place = np.empty(flat.n, np.int64)
    place[flat.topological] = np.arange(flat.n)
    return np.lexsort((place, -rank)).tolist()


def by_ready(flat: Flat, priority: Floats) -> Iterable[int]:
    """Of the tasks whose inputs are decided the one of highest priority, again and again."""
    compiled = bridge.kernels(flat)
    return compiled.by_ready(priority) if compiled else _by_ready(flat, priority)


def _by_ready(flat: Flat, priority: Floats) -> Iterator[int]:
    least = (-priority).tolist()
    followers, waiting = flat.followers_of, np.diff(flat.in_start).tolist()
    heap = [(least[i], i) for i in range(flat.n) if not waiting[i]]
    heapq.heapify(heap)
    while heap:
        i = heapq.heappop(heap)[1]
        yield i
        for j in followers[i]:
            waiting[j] -= 1
            if not waiting[j]:
                heapq.heappush(heap, (least[j], j))


def followers(flat: Flat, task: int) -> list[int]:
    """The readers of one task's tensors."""
    start = flat.consumer_start
    tensors = flat.out_tensor[flat.out_start[task] : flat.out_start[task + 1]]
    return [j for t in tensors.tolist() for j in flat.consumer[start[t] : start[t + 1]].tolist()]


def by_start(flat: Flat, start_s: Floats) -> Ints:
    """Tasks by their start; at the same moment those that others read from first."""
    place = np.empty(flat.n, np.int64)
    place[flat.topological] = np.arange(flat.n)
    return np.lexsort((place, start_s))
