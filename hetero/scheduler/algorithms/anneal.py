"""Simulated annealing over devices and order, by moves that fit task graphs. The compiled twin makes the same choices.

Moves: shift a task in the order, mostly before or behind another of its device; move one task, often to a neighbour's
device; move a connected segment (on networks single tasks are never worth the transfers, segments are); swap the
devices of two tasks; and now and then, order all tasks by what follows them. Half of the tasks are taken from the
critical chain: the task that ends last, what it waited for, and so on. No time and no library function decides
anything, so equal seeds and numbers of steps give equal results.

Source: Kirkpatrick, Gelatt, Vecchi, Science 1983.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from hetero.scheduler.algorithms.judge import Judge, Score
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.native import bridge
from hetero.scheduler.simulate import Timeline
from hetero.scheduler.taskgraph import INF, Ints

LOGS = [-math.log((k + 0.5) / 4096) for k in range(4096)]  # of evenly spaced numbers: what may be lost, in temperatures
SPAN = 50  # how far a task shifts in the order
SHIFT, MOVE, SEGMENT = 30, 65, 90  # per cent of the moves, added up; the rest swaps
RANKED = 10  # one in so many moves also ranks all tasks anew
CHECKED = 64  # steps between looks at the clock
_MASK = (1 << 64) - 1


class Plan(NamedTuple):
    """How to anneal: temperatures are in units of the value."""

    steps: int
    seed: int
    hot: float  # at the first step
    cool: float  # factor from step to step
    penalty: float  # value of being once above a limit
    stop_at: float = INF  # time.time() at which to end early


class Annealed(NamedTuple):
    """The best that was met."""

    made: Assigned
    score: Score
    steps: int


def anneal(judge: Judge, start: Assigned, plan: Plan) -> Annealed:
    """From one schedule to the best that was met; compiled when it can be."""
    kernels = bridge.kernels(judge.flat)
    found = kernels.anneal(judge, start, plan) if kernels else _Search(judge, start, plan).run()
    judge.evaluations += found.steps
    return found


def size_bits(n: int) -> int:
    """How many powers of two the sizes of segments are drawn from."""
    return max(1, n.bit_length() - 1)


class _Search:
    """The reference. Names and order of all steps are those of kernels.c."""

    def __init__(self, judge: Judge, start: Assigned, plan: Plan) -> None:
        flat = judge.flat
        self.judge, self.flat, self.plan = judge, flat, plan
        self.state = plan.seed & _MASK
        self.device, self.order = start.device.tolist(), start.order.tolist()
        self.place = [0] * flat.n
        for k, i in enumerate(self.order):
            self.place[i] = k
        self.near_start, self.near_split, self.near = (a.tolist() for a in flat.near)
        first, tasks = (a.tolist() for a in flat.members)
        group = flat.group.tolist()
        self.together = [tasks[first[group[i]] : first[group[i] + 1]] for i in range(flat.n)] if flat.grouped else []
        self.seconds = flat.lists.seconds
        self.bits = size_bits(flat.n)
        start_of, tensors = flat.out_start.tolist(), flat.out_tensor.tolist()
        self.outputs = [tensors[start_of[i] : start_of[i + 1]] for i in range(flat.n)]
        reading, consumer = flat.consumer_start.tolist(), flat.consumer.tolist()
        self.readers = [consumer[reading[t] : reading[t + 1]] for t in range(len(reading) - 1)]
        self.zone = flat.tensor_zone.tolist()
        self.rates, self.latencies = flat.pair_s_per_byte.tolist(), flat.pair_latency_s.tolist()
        self.saved: list[int] | None = None  # the order before a move that ranked all tasks
        self.undo: list[tuple[int, int]] = []
        self.shifts: list[tuple[int, int]] = []
        self.critical: list[int] = []
        self.dirty = True
        self.times: Timeline | None = None

    # -- the walk ------------------------------------------------------------------------------------------

    def run(self) -> Annealed:
        plan, judge = self.plan, self.judge
        best, self.times = judge.timed_score(self.device, self.order, INF)
        device, order = list(self.device), list(self.order)
        if best.excess == INF:
            return Annealed(_as_arrays(device, order), best, 0)
        at, heat, done = best.value + plan.penalty * best.excess, plan.hot, 0
        while done < plan.steps:
            if done % CHECKED == CHECKED - 1 and time.time() > plan.stop_at:
                break
            heat *= plan.cool
            done += 1
            if not self.step():
                continue
            stop = at + heat * LOGS[self.next() >> 52]
            found, times = judge.timed_score(self.device, self.order, stop)
            scalar = found.value + plan.penalty * found.excess
            if not scalar <= stop:
                self.revert()
                continue
            at, self.times, self.dirty = scalar, times, True
            if found < best:
                best, device, order = found, list(self.device), list(self.order)
        return Annealed(_as_arrays(device, order), best, done)

    def step(self) -> bool:
        """One move made; False when it changed nothing."""
        timed = self.judge.timed
        kind = self.below(100) if timed else SHIFT + self.below(100 - SHIFT)
        if timed and self.below(2):
            if self.dirty:
                self.find_critical()
            i = self.critical[self.below(len(self.critical))]
        else:
            i = self.below(self.flat.n)
        self.undo.clear()
        self.shifts.clear()
        self.saved = None
        moves = ((SHIFT, self.shift), (MOVE, self.move_one), (SEGMENT, self.move_segment), (100, self.swap))
        moved = next(move for most, move in moves if kind < most)(i)
        if moved and timed and self.below(RANKED) == 0:
            self.rank_all()
        return moved

    def find_critical(self) -> None:
        """The chain that ends last: each task with what it waited for."""
        assert self.times is not None
        finish, arrived = self.times.finish_s, self.times.arrived_s
        in_start, in_tensor, producer = self.flat.lists[:3]
        before, last = [-1] * self.flat.n, [-1] * self.flat.count
        for i in self.order:
            before[i] = last[self.device[i]]
            last[self.device[i]] = i
        at = finish.index(max(finish))
        self.critical = []
        while at >= 0:
            self.critical.append(at)
            p, cause = self.device[at], before[at]
            latest = finish[cause] if cause >= 0 else 0.0
            for t in in_tensor[in_start[at] : in_start[at + 1]]:
                source = producer[t]
                there = finish[source] if self.device[source] == p else arrived[t * self.flat.count + p]
                if there > latest:
                    latest, cause = there, source
            at = cause
        self.dirty = False

    # -- moves ---------------------------------------------------------------------------------------------

    def shift(self, i: int) -> bool:
        """Elsewhere in the order, between the last task that it reads from and the first that reads from it."""
        at, n, place, order, device = self.place[i], self.flat.n, self.place, self.order, self.device
        low, high = max(at - SPAN, 0), min(at + SPAN, n - 1)
        start, split, end = self.near_start[i], self.near_split[i], self.near_start[i + 1]
        low = max([low, *(place[j] + 1 for j in self.near[start:split])])
        high = min([high, *(place[j] - 1 for j in self.near[split:end])])
        if low == high:
            return False
        same = [k for k in range(low, high + 1) if k != at and device[order[k]] == device[i]]
        if same and self.below(4):
            to = same[self.below(len(same))]
        else:
            to = low + self.below(high - low)
            to += to >= at
        self.reorder(at, to)
        self.shifts.append((at, to))
        return True

    def move_one(self, i: int) -> bool:
        """To another device, half of the times with a shift."""
        p = self.target(i)
        if p < 0:
            return False
        self.put(i, p)
        if self.below(2):
            self.shift(i)
        return True

    def move_segment(self, i: int) -> bool:
        """A connected part of what runs on one device, around a task, behind it or before it, to another device."""
        device, come_from = self.device, self.device[i]
        p = self.target(i)
        if p < 0:
            return False
        way = self.below(3)
        most = 2 + self.below(2 << self.below(self.bits))
        front, seen, at = [i], {i}, 0
        while at < len(front) < most:
            j = front[at]
            at += 1
            first = self.near_split[j] if way == 1 else self.near_start[j]
            last = self.near_split[j] if way == 2 else self.near_start[j + 1]
            for other in self.near[first:last]:
                if len(front) >= most:
                    break
                if other not in seen and device[other] == come_from and self.seconds[other][p] < INF:
                    seen.add(other)
                    front.append(other)
        for j in front:
            self.put(j, p)
        return True

    def swap(self, i: int) -> bool:
        """Two tasks change devices."""
        j = self.below(self.flat.n)
        p, q = self.device[i], self.device[j]
        if p == q or self.seconds[i][q] == INF or self.seconds[j][p] == INF:
            return False
        self.put(i, q)
        self.put(j, p)
        return True

    def rank_all(self) -> None:
        """All tasks in order of what follows each of them, on the devices of now."""
        flat, device, size = self.flat, self.device, self.flat.lists.tensor_byte
        rank = [0.0] * flat.n
        for i in reversed(self.order):
            p, longest = device[i], 0.0
            for t in self.outputs[i]:
                rates, latencies = self.rates[self.zone[t]][p], self.latencies[self.zone[t]][p]
                for j in self.readers[t]:
                    q = device[j]
                    takes = 0.0 if p == q else size[t] * rates[q] + latencies[q]
                    longest = max(longest, rank[j] + takes)
            rank[i] = self.seconds[i][p] + longest
        self.saved = self.order
        self.order = sorted(self.order, key=lambda i: -rank[i])
        for k, i in enumerate(self.order):
            self.place[i] = k

    def target(self, i: int) -> int:
        """Another device for a task: a neighbour's, or any; -1: there is none."""
        here, start, size = self.device[i], self.near_start[i], self.near_start[i + 1] - self.near_start[i]
        if self.below(2) and size:
            p = self.device[self.near[start + self.below(size)]]
            if p != here and self.seconds[i][p] < INF:
                return p
        others = [p for p, s in enumerate(self.seconds[i]) if p != here and s < INF]
        return others[self.below(len(others))] if others else -1

    # -- state ---------------------------------------------------------------------------------------------

    def put(self, task: int, p: int) -> None:
        """A task, and all that it must stay with, on a device."""
        for i in self.together[task] if self.together else (task,):
            if self.device[i] != p:
                self.undo.append((i, self.device[i]))
                self.device[i] = p

    def reorder(self, come_from: int, to: int) -> None:
        self.order.insert(to, self.order.pop(come_from))
        low, high = min(come_from, to), max(come_from, to)
        for k in range(low, high + 1):
            self.place[self.order[k]] = k

    def revert(self) -> None:
        if self.saved is not None:
            self.order = self.saved
            for k, i in enumerate(self.order):
                self.place[i] = k
        for come_from, to in reversed(self.shifts):
            self.reorder(to, come_from)
        for i, p in reversed(self.undo):
            self.device[i] = p

    def next(self) -> int:
        """64 random bits. Source: splitmix64, Steele, Lea, Flood, OOPSLA 2014."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, k: int) -> int:
        """0 to k - 1."""
        return ((self.next() >> 32) * k) >> 32


def _as_arrays(device: list[int], order: list[int]) -> Assigned:
    import numpy as np

    return Assigned(np.array(device, np.int64), np.array(order, np.int64))


__all__ = ["Annealed", "Ints", "Plan", "anneal", "size_bits"]
