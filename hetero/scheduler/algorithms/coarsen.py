"""Smaller task graphs that stand for a larger one: tasks that would hardly be parted become one.

An edge is contracted when its reader reads from nobody else or its producer is read by nobody else, which never makes a
cycle; the dearest transfers first. Search on the small graph moves whole branches at once; its schedule is then spread
out and improved (multilevel search: Karypis and Kumar, SIAM J. Sci. Comput. 1998, for partitioning).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import INF, Floats, Ints, TaskGraph

LEAST = 16  # tasks below which nothing is contracted
HEAVY = 3.0  # times the mean work that one task may stand for when half of the tasks are left


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """A smaller graph, and which of its tasks each task of the larger one belongs to."""

    c: Context
    cluster: Ints  # (n,)
    place: Ints  # (n,) in a topological order of the larger graph

    def expand(self, made: Assigned) -> Assigned:
        """The schedule of the small graph for the large one: members of a cluster follow each other."""
        rank = np.empty(self.c.flat.n, np.int64)
        rank[made.order] = np.arange(self.c.flat.n)
        return Assigned(made.device[self.cluster], np.lexsort((self.place, rank[self.cluster])))


def coarsened(c: Context) -> Coarse | None:
    """The graph with about half of its tasks; None where little can be contracted."""
    flat = c.flat
    if flat.n <= LEAST or flat.grouped:
        return None
    cluster = _matched(flat)
    count = int(cluster.max()) + 1
    if count > 0.9 * flat.n:
        return None
    place = np.empty(flat.n, np.int64)
    place[flat.topological] = np.arange(flat.n)
    return Coarse(_context(c, cluster, count), cluster, place)


def _matched(flat: Flat) -> Ints:
    """(n,) number of the cluster of each task: pairs at most."""
    source, target, _ = flat.edges
    way: dict[tuple[int, int], float] = {}
    for i, j, s in zip(source.tolist(), target.tolist(), flat.mean_edge_seconds.tolist(), strict=True):
        way[i, j] = way.get((i, j), 0.0) + s
    readers, sources = np.zeros(flat.n, np.int64), np.zeros(flat.n, np.int64)
    for i, j in way:
        readers[i] += 1
        sources[j] += 1
    work = flat.seconds.min(1)
    most = HEAVY * 2 * float(work.sum()) / flat.n
    partner = np.full(flat.n, -1, np.int64)
    for (i, j), _ in sorted(way.items(), key=_dearest):
        if partner[i] >= 0 or partner[j] >= 0 or (readers[i] > 1 and sources[j] > 1):
            continue
        if work[i] + work[j] > most or not (flat.mask[i] & flat.mask[j]).any():
            continue
        partner[i], partner[j] = j, i
    lead = np.where(partner >= 0, np.minimum(np.arange(flat.n), partner), np.arange(flat.n))
    return np.unique(lead, return_inverse=True)[1].reshape(-1)


def _dearest(item: tuple[tuple[int, int], float]) -> tuple[float, tuple[int, int]]:
    return -item[1], item[0]


def _context(c: Context, cluster: Ints, count: int) -> Context:
    """The context of the small graph. Masks and zones are those of the large one: nothing is worked out anew."""
    flat = c.flat
    seconds = _summed(flat.seconds, cluster, count)
    joules, money, resident = (_summed(x, cluster, count) for x in (flat.joules, flat.money, flat.resident_byte))
    keep, readers = _tensors(flat, cluster)
    g = replace(
        c.g,
        tasks=tuple(map(str, range(count))),
        seconds=seconds, joules=joules, money=money, resident_byte=resident,
        producer=cluster[flat.producer[keep]],
        tensor_byte=flat.tensor_byte[keep],
        consumer=np.array([j for each in readers for j in each], np.int64),
        consumer_start=np.cumsum([0, *map(len, readers)]),
        tensors=(), pins={}, private={}, release={}, colocate=(), barred={},
    )  # fmt: skip
    small = Context(g, c.objective)
    small.flat = _flat(flat, g, flat.tensor_zone[keep])
    return small


def _summed(table: Floats, cluster: Ints, count: int) -> Floats:
    total = np.zeros((count, table.shape[1]))
    np.add.at(total, cluster, table)
    return total


def _tensors(flat: Flat, cluster: Ints) -> tuple[Ints, list[list[int]]]:
    """The tensors that leave their cluster, and the clusters that read them."""
    keep, readers = list[int](), list[list[int]]()
    start, consumer = flat.consumer_start.tolist(), cluster[flat.consumer].tolist()
    for t, home in enumerate(cluster[flat.producer].tolist()):
        others = sorted(set(consumer[start[t] : start[t + 1]]) - {home})
        if others:
            keep.append(t)
            readers.append(others)
    return np.array(keep, np.int64), readers


def _flat(flat: Flat, g: TaskGraph, zone: Ints) -> Flat:
    mask = np.isfinite(g.seconds)
    watts = np.divide(g.joules, g.seconds, out=np.zeros_like(g.joules), where=(g.seconds > 0) & mask)
    return replace(
        flat,
        n=g.n, mask=mask, group=np.arange(g.n), grouped=False,
        seconds=np.where(mask, g.seconds, INF), joules=g.joules, money=g.money,
        resident_byte=g.resident_byte, watts=watts,
        producer=g.producer, tensor_byte=g.tensor_byte, tensor_zone=zone,
        in_start=g.inputs[0], in_tensor=g.inputs[1], consumer_start=g.consumer_start, consumer=g.consumer,
        out_start=g.outputs[0], out_tensor=g.outputs[1], topological=g.topological, level=g.level,
    )  # fmt: skip
