"""List scheduling: tasks by priority, each to the device where a key is smallest. One loop, many schedulers.

HEFT and CPOP: Topcuoglu, Hariri, Wu, IEEE TPDS 2002. PEFT: Arabnejad, Barbosa, IEEE TPDS 2014. The price-guided key
adds what a choice costs all other tasks (see `prices`): adapted from rounding the LP of R||Cmax.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from operator import add
from typing import NamedTuple

import numpy as np

from hetero.scheduler.algorithms.ranks import by_start
from hetero.scheduler.flat import Flat
from hetero.scheduler.native import bridge
from hetero.scheduler.simulate import Queue
from hetero.scheduler.taskgraph import INF, Floats, Ints

GAPS = 512  # idle times that each device remembers, the latest ones


class Assigned(NamedTuple):
    """What a scheduler decides; the simulator makes times of it."""

    device: Ints
    order: Ints


@dataclass(frozen=True, slots=True)
class Rule:
    """How a list scheduler chooses.

    cost       (n, P) added to the start of a task on a device; the smallest sum wins: seconds for HEFT
    insertion  tasks may start in idle time before tasks that were placed earlier
    contended  transfers wait for each other in link queues
    sending    what a second that a transfer of its own keeps a queue busy adds to the sum, where contended: others wait
    """

    cost: Floats
    insertion: bool = True
    contended: bool = False
    sending: float = 0.0


class Stop(NamedTuple):
    """Gives up when prices prove that the result would be worse than one that is there."""

    regret_s: Floats  # (n, P)
    room_s: float  # between the bound and the best value


class Rows:
    """The rows of a matrix as lists, made by the hundred when first asked for: a scheduler may stop early."""

    __slots__ = ("_lists", "_matrix")

    def __init__(self, matrix: Floats) -> None:
        self._matrix = matrix
        self._lists: list[list[list[float]] | None] = [None] * (len(matrix) // 256 + 1)

    def __getitem__(self, i: int) -> list[float]:
        k = i >> 8
        rows = self._lists[k]
        if rows is None:
            rows = self._lists[k] = self._matrix[k << 8 : (k + 1) << 8].tolist()
        return rows[i & 255]


class Gaps:
    """Idle times of one device, the latest `GAPS` of those that its shortest task fits in."""

    __slots__ = ("ends", "free", "least", "starts")

    def __init__(self, least: float) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []
        self.free = 0.0
        self.least = least

    def find(self, ready: float, length: float) -> float:
        """The earliest start of a task."""
        free = self.free
        if ready >= free:
            return ready
        starts, ends = self.starts, self.ends
        for k in range(bisect_left(ends, ready + length), len(ends)):
            at = starts[k] if starts[k] > ready else ready
            if at + length <= ends[k]:
                return at
        return free

    def take(self, at: float, length: float) -> None:
        """Occupy what `find` gave."""
        if at >= self.free:
            self._keep(len(self.ends), self.free, at)
            self.free = at + length
            return
        k = bisect_left(self.ends, at + length)
        start, end = self.starts.pop(k), self.ends.pop(k)
        self._keep(k, at + length, end)
        self._keep(k, start, at)

    def _keep(self, k: int, start: float, end: float) -> None:
        if end - start < self.least or end <= start:
            return
        self.starts.insert(k, start)
        self.ends.insert(k, end)
        if len(self.ends) > GAPS:
            del self.starts[0], self.ends[0]


def schedule(flat: Flat, order: Iterable[int], rule: Rule, stop: Stop | None = None) -> Assigned | None:
    """Devices and order; None when a task has no device left that its inputs can reach, or when `stop` says so."""
    compiled = bridge.kernels(flat)
    if compiled:
        decided = np.fromiter(order, np.int64, flat.n) if not isinstance(order, np.ndarray) else order
        found = compiled.schedule(decided, rule, stop)
        return Assigned(found[0], by_start(flat, found[1]) if rule.insertion else decided) if found else None
    scheduler = _contended if rule.contended else _free
    return scheduler(flat, order, rule, stop)


def _free(flat: Flat, order: Iterable[int], rule: Rule, stop: Stop | None) -> Assigned | None:
    """Transfers never wait."""
    in_start, in_tensor, producer, size, _, _, seconds, _ = flat.lists
    cost, regret = Rows(rule.cost), Rows(stop.regret_s) if stop else None
    room = stop.room_s if stop else INF
    out = flat.outputs_of
    zone = flat.tensor_zone.tolist()
    ways = [
        [list(zip(a, b, strict=True)) for a, b in zip(*z, strict=True)]
        for z in zip(flat.pair_s_per_byte.tolist(), flat.pair_latency_s.tolist(), strict=True)
    ]
    gaps, devices = _gaps(flat), range(flat.count)
    nowhere = [0.0] * flat.count
    there: list[list[float]] = [nowhere] * len(producer)  # arrival of each tensor on each device
    device, start = [-1] * flat.n, [0.0] * flat.n
    decided: list[int] = []
    forced = _Together(flat)
    for i in order:
        inputs = in_tensor[in_start[i] : in_start[i + 1]]
        rows = [there[t] for t in inputs]
        ready = nowhere if not rows else rows[0] if len(rows) == 1 else list(map(max, *rows))
        mine, length = cost[i], seconds[i]
        if rule.insertion:
            at = [gaps[p].find(ready[p], length[p]) for p in devices]
        else:
            at = list(map(max, ready, [g.free for g in gaps]))
        key = list(map(add, at, forced.cost(i, mine)))
        least = min(key)
        if least == INF:
            return None
        p = key.index(least)
        forced.chosen(i, p)
        if regret is not None:
            room -= regret[i][p]
            if room < 0:
                return None
        device[i], start[i] = p, at[p]
        decided.append(i)
        if rule.insertion:
            gaps[p].take(at[p], length[p])
        else:
            gaps[p].free = at[p] + length[p]
        finish = at[p] + length[p]
        for t in out[i]:
            b = size[t]
            there[t] = [finish + (b * rate + latency) for rate, latency in ways[zone[t]][p]]
    return _assigned(flat, device, start, decided, rule)


def _assigned(flat: Flat, device: list[int], start: list[float], decided: list[int], rule: Rule) -> Assigned:
    order = by_start(flat, np.array(start)) if rule.insertion else np.array(decided, np.int64)
    return Assigned(np.array(device, np.int64), order)


def _contended(flat: Flat, order: Iterable[int], rule: Rule, stop: Stop | None) -> Assigned | None:
    """Transfers take turns on link queues, as the simulator has it."""
    in_start, in_tensor, producer, size, base, hops, seconds, _ = flat.lists
    cost, regret = Rows(rule.cost), Rows(stop.regret_s) if stop else None
    room = stop.room_s if stop else INF
    gaps, count, devices = _gaps(flat), flat.count, range(flat.count)
    queues = [Queue() for _ in range(flat.queues)]
    device, start, finish = [-1] * flat.n, [0.0] * flat.n, [0.0] * flat.n
    arrived: dict[int, float] = {}
    decided: list[int] = []
    forced = _Together(flat)

    def arrival(t: int, home: int, p: int, after: list[float], busy: float) -> tuple[float, float]:
        """When a tensor could be there, behind those that this task has asked for already; seconds of queues so far."""
        route = hops[base[t] + home * count + p]
        if route is None:
            return INF, busy
        at = finish[producer[t]]
        for _, q, rate, latency in route:
            length = size[t] / rate
            if q >= 0 and length > 0:
                at = queues[q].find(at if at > after[q] else after[q], length)
                after[q] = at + length
                busy = busy + length
            at = at + length + latency
        return at, busy

    def send(t: int, home: int, p: int) -> float:
        at = finish[producer[t]]
        for _, q, rate, latency in hops[base[t] + home * count + p] or ():
            length = size[t] / rate
            at = (queues[q].take(at, length) if q >= 0 and length > 0 else at) + length + latency
        arrived[t * count + p] = at
        return at

    for i in order:
        inputs = [(t, device[producer[t]]) for t in in_tensor[in_start[i] : in_start[i + 1]]]
        mine, length = forced.cost(i, cost[i]), seconds[i]
        best, least = -1, INF
        made = max([finish[producer[t]] for t, _ in inputs], default=0.0)  # no start is earlier
        for p in sorted(devices, key=mine.__getitem__):
            if mine[p] == INF or made + mine[p] > least:
                break
            ready, busy, after = 0.0, 0.0, [0.0] * flat.queues
            for t, home in inputs:
                at = finish[producer[t]] if home == p else arrived.get(t * count + p, -1.0)
                if at < 0:
                    at, busy = arrival(t, home, p, after, busy)
                if at > ready:
                    ready = at
            more = mine[p] + rule.sending * busy
            if ready == INF or ready + more > least:
                continue
            at = gaps[p].find(ready, length[p]) if rule.insertion else max(ready, gaps[p].free)
            key = at + more
            if key < least or (key == least and p < best):
                best, least = p, key
        if best < 0:
            return None
        p = best
        forced.chosen(i, p)
        if regret is not None:
            room -= regret[i][p]
            if room < 0:
                return None
        ready = 0.0
        for t, home in inputs:
            at = finish[producer[t]] if home == p else arrived.get(t * count + p, -1.0)
            if at < 0:
                at = send(t, home, p)
            if at > ready:
                ready = at
        at = gaps[p].find(ready, length[p]) if rule.insertion else max(ready, gaps[p].free)
        device[i], start[i], finish[i] = p, at, at + length[p]
        decided.append(i)
        if rule.insertion:
            gaps[p].take(at, length[p])
        else:
            gaps[p].free = finish[i]
    return _assigned(flat, device, start, decided, rule)


class _Together:
    """Keeps tasks of one group on the device of the first."""

    def __init__(self, flat: Flat) -> None:
        self._group = flat.group.tolist() if flat.grouped else None
        self._device: dict[int, int] = {}

    def cost(self, task: int, cost: list[float]) -> list[float]:
        if self._group is None:
            return cost
        p = self._device.get(self._group[task])
        return cost if p is None else [c if q == p else INF for q, c in enumerate(cost)]

    def chosen(self, task: int, device: int) -> None:
        if self._group is not None:
            self._device.setdefault(self._group[task], device)


def _gaps(flat: Flat) -> list[Gaps]:
    return [Gaps(least) for least in flat.shortest.tolist()]
