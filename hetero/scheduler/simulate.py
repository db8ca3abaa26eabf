"""What happens when tasks run where they are put, in the order given: the one judge of every schedule.

Tasks are decided one by one. Each input that is not yet on the task's device is sent hop by hop along its route (store
and forward). On a link with a queue a transfer takes the earliest idle gap that is long enough, not before it is ready,
so it may pass transfers that were decided before it; 0 bytes never wait. The link is free again when the last byte has
left, and the tensor arrives a latency later. A tensor is sent once to each device that reads it; passing through a
device on the way to another does not make it available there. Then the task starts when its device is free and all
inputs are there, and, where the peak power of all devices is limited, when the power suffices.

A tensor is sent when the first task that reads it there is decided, or earlier where the order says so: the number
n + tensor * P + device in an order of n tasks books that sending then. So an order can put any transfer before another.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.costs import costs, in_order
from hetero.scheduler.flat import Flat
from hetero.scheduler.limits import static_w, violations
from hetero.scheduler.memory import peak_memory
from hetero.scheduler.native import bridge
from hetero.scheduler.solution import Schedule, Send, SendArrays, Sends
from hetero.scheduler.taskgraph import INF, SHOWN, Floats, Ints, TaskGraph

BLOCK = 64  # gaps that are passed over at once


class Timeline(NamedTuple):
    """When each task starts and finishes."""

    makespan_s: float
    start_s: list[float]
    finish_s: list[float]
    arrived_s: dict[int, float]  # tensor * P + device that it was sent to -> when it is there


class Times(NamedTuple):
    """When everything happens, as arrays."""

    makespan_s: float
    start_s: Floats
    finish_s: Floats
    sends: SendArrays


class Block:
    """Some idle gaps that follow each other."""

    __slots__ = ("ends", "longest", "starts")

    def __init__(self, starts: list[float], ends: list[float]) -> None:
        self.starts, self.ends = starts, ends
        self.longest = max(e - s for s, e in zip(starts, ends, strict=True))  # or more, once gaps are taken


class Queue:
    """The transfers of one link queue: its idle gaps in order, and when it falls idle for good.

    Gaps lie in blocks that know their longest, so that a transfer passes over thousands that are too short at once.
    """

    __slots__ = ("blocks", "free", "tops")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.tops: list[float] = []  # end of the last gap of each block
        self.free = 0.0

    def find(self, ready: float, length: float) -> float:
        """The earliest start of a transfer, without taking it."""
        return ready if ready >= self.free else self._first(ready, length)[0]

    def take(self, ready: float, length: float) -> float:
        """The earliest start of a transfer, which then occupies the link."""
        if ready >= self.free:
            if ready > self.free:
                self._append(self.free, ready)
            self.free = ready + length
            return ready
        at, b, k = self._first(ready, length)
        if b < 0:
            self.free = at + length
        else:
            self._cut(b, k, at, at + length)
        return at

    def _first(self, ready: float, length: float) -> tuple[float, int, int]:
        """Where a transfer fits first: its start, the block and the gap; block -1: behind all."""
        enough = length - 1e-14 * self.free  # room for rounding: the exact comparison follows
        begin = bisect_left(self.tops, ready + length)
        for b in range(begin, len(self.blocks)):
            block = self.blocks[b]
            if block.longest < enough:
                continue
            starts, ends = block.starts, block.ends
            for k in range(bisect_left(ends, ready + length) if b == begin else 0, len(ends)):
                at = starts[k] if starts[k] > ready else ready
                if at + length <= ends[k]:
                    return at, b, k
            if b > begin:
                block.longest = max(e - s for s, e in zip(starts, ends, strict=True))
        return self.free, -1, -1

    def _append(self, start: float, end: float) -> None:
        if self.blocks and len(self.blocks[-1].ends) < BLOCK:
            block = self.blocks[-1]
            block.starts.append(start)
            block.ends.append(end)
            block.longest = max(block.longest, end - start)
            self.tops[-1] = end
        else:
            self.blocks.append(Block([start], [end]))
            self.tops.append(end)

    def _cut(self, b: int, k: int, at: float, end: float) -> None:
        """Take [at, end) out of gap `k` of block `b`."""
        block = self.blocks[b]
        starts, ends = block.starts, block.ends
        before, after = at > starts[k], end < ends[k]
        if before and after:
            starts.insert(k + 1, end)
            ends.insert(k, at)
        elif before:
            ends[k] = at
        elif after:
            starts[k] = end
        else:
            del starts[k], ends[k]
        if not ends:
            del self.blocks[b], self.tops[b]
        elif len(ends) > 2 * BLOCK:
            self.blocks[b : b + 1] = [Block(starts[:BLOCK], ends[:BLOCK]), Block(starts[BLOCK:], ends[BLOCK:])]
            self.tops[b : b + 1] = [ends[BLOCK - 1], ends[-1]]
        else:
            self.tops[b] = ends[-1]


class Power:
    """What the running tasks draw together, as a step function of time."""

    __slots__ = ("limit", "times", "watts")

    def __init__(self, limit: float) -> None:
        self.limit = limit * (1 + 1e-12)  # room for the rounding of sums
        self.times: list[float] = [0.0]
        self.watts: list[float] = [0.0]  # from each of the times to the next

    def take(self, ready: float, length: float, watts: float) -> float:
        """The earliest start at which the power suffices to the end; a task that never fits starts at once."""
        if watts <= 0 or length <= 0:
            return ready
        at, k = ready, bisect_right(self.times, ready) - 1
        while k < len(self.times) and self.times[k] < at + length:
            if self.watts[k] + watts > self.limit >= watts:
                at = self.times[k + 1]  # the last step is 0, so there is a next one
            k += 1
        first, last = self._step(at), self._step(at + length)
        for k in range(first, last):
            self.watts[k] += watts
        return at

    def _step(self, time: float) -> int:
        """The number of the step that begins at `time`, made if need be."""
        k = bisect_left(self.times, time)
        if k == len(self.times) or self.times[k] != time:
            self.times.insert(k, time)
            self.watts.insert(k, self.watts[k - 1])
        return k


def decode(
    flat: Flat,
    device: Sequence[int],
    order: Sequence[int],
    sends: list[Send] | None = None,
    stop_s: float = INF,
    tail: list[list[float]] | None = None,
) -> Timeline | None:
    """The times of one schedule; None where a tensor has no way, or once a task finishes after `stop_s`.

    `sends` collects the transfers. `tail` is what at least follows each task on each device: a task that finishes with
    its tail after `stop_s` ends the simulation too. This is the fast evaluator and the full one: Python has no other.
    """
    in_start, in_tensor, producer, size, base, hops, seconds, watts = flat.lists
    count = flat.count
    start, finish = [0.0] * flat.n, [0.0] * flat.n
    free = [0.0] * count
    queues = [Queue() for _ in range(flat.queues)]
    power = Power(flat.power_w) if flat.power_w < INF else None
    arrived: dict[int, float] = {}
    makespan = 0.0
    n = flat.n

    def send(t: int, p: int) -> float:
        """When tensor t is on device p; -1 where it has no way."""
        route = hops[base[t] + device[producer[t]] * count + p]
        if route is None:
            return -1.0
        there = finish[producer[t]]
        for link, q, rate, latency in route:
            length = size[t] / rate
            begin = queues[q].take(there, length) if q >= 0 and length > 0 else there
            there = begin + length + latency
            if sends is not None:
                sends.append(Send(t, link, begin, begin + length, there, p))
        arrived[t * count + p] = there
        return there

    for i in order:
        if i >= n:
            t, p = divmod(i - n, count)
            if device[producer[t]] != p and t * count + p not in arrived and send(t, p) < 0:
                return None
            continue
        p = device[i]
        at = free[p]
        for t in in_tensor[in_start[i] : in_start[i + 1]]:
            source = producer[t]
            if device[source] == p:
                there = finish[source]
            else:
                there = arrived.get(t * count + p, -1.0)
                if there < 0 and (there := send(t, p)) < 0:
                    return None
            if there > at:
                at = there
        length = seconds[i][p]
        if power is not None:
            at = power.take(at, length, watts[i][p])
        start[i] = at
        finish[i] = free[p] = at = at + length
        if at > makespan:
            makespan = at
        if (at + tail[i][p] if tail else at) > stop_s:
            return None
    return Timeline(makespan, start, finish, arrived)


def simulate(g: TaskGraph, device: Ints, order: Ints, known: Times | None = None) -> Schedule:
    """The full record of a schedule; a PlanError where it puts a task or a tensor where it must not be.

    `known`: what `timed` gave for the same devices and order, so that it is not done twice.
    """
    flat = g.flat
    device, order = np.asarray(device, np.int64), np.asarray(order, np.int64)
    _refuse(g, flat, device, order)
    makespan, start, finish, sends = known or timed(flat, device, order)
    cost = costs(flat, device)
    schedule = Schedule(
        device=device,
        order=order[order < flat.n],
        start_s=start,
        finish_s=finish,
        sends=Sends(sends),
        latency_s=makespan,
        serial_s=cost.serial_s,
        period_s=cost.period_s,
        dynamic_j=in_order(cost.dynamic_j),
        transfer_j=cost.transfer_j,
        static_j=static_w(g) * makespan,
        money=cost.money,
        peak_byte=peak_memory(flat, device, start, finish, sends),
        peak_w=static_w(g) + _peak(start, finish, flat.watts[np.arange(flat.n), device]),
    )
    booked = order if len(order) > flat.n else schedule.booked
    return replace(schedule, violations=tuple(violations(g, schedule, cost.dynamic_j)), booked=booked)


def has_ways(flat: Flat, device: Ints) -> bool:
    """Whether every tensor can get to all its readers."""
    return bool(flat.has_route[_routes(flat, device)].all())


def _routes(flat: Flat, device: Ints) -> Ints:
    """(E,) number of the route of each reading."""
    source, target, tensor = flat.edges
    return (flat.tensor_zone[tensor] * flat.count + device[source]) * flat.count + device[target]


def timed(flat: Flat, device: Ints, order: Ints) -> Times:
    """When everything happens; compiled when it can be. Every tensor must have a way."""
    kernels = bridge.kernels(flat)
    if kernels and len(order) == flat.n:  # sends with a place of their own are for Python: they are few
        found = kernels.decode(device, order)
        assert found is not None, "every way was checked"
        return Times(*found)
    sends: list[Send] = []
    times = decode(flat, device.tolist(), order.tolist(), sends)
    assert times is not None, "every way was checked"
    return Times(times.makespan_s, np.array(times.start_s), np.array(times.finish_s), arrays(sends))


def _refuse(g: TaskGraph, flat: Flat, device: Ints, order: Ints) -> None:
    """A PlanError for what is not a schedule at all."""
    n = flat.n
    if device.shape != (n,) or device.min(initial=0) < 0 or device.max(initial=0) >= flat.count:
        raise PlanError(f"device wants {n} numbers of devices below {flat.count}, got {device!r}")
    place, tasks = np.full(n, -1, np.int64), order[order < n]
    if tasks.shape != (n,) or not np.array_equal(np.sort(tasks), np.arange(n)):
        raise PlanError(f"order wants each of the {n} tasks once")
    place[tasks] = np.flatnonzero(order < n)
    _refuse_sends(g, flat, order, place)
    source, target, tensor = flat.edges
    early = np.flatnonzero(place[source] > place[target])
    mask = g.allowed.mask
    wrong = np.flatnonzero(~mask[np.arange(n), device])
    apart = np.flatnonzero(device != device[flat.group])
    cut = np.flatnonzero(~flat.has_route[_routes(flat, device)])
    name = g.device_names
    problems = [
        *(f"{g.tasks[target[e]]!r} comes before {g.tasks[source[e]]!r}, which it reads from" for e in early),
        *(f"{g.tasks[i]!r} may not run on {name[device[i]]}" for i in wrong),
        *(f"{g.tasks[i]!r} must run with {g.tasks[flat.group[i]]!r}" for i in apart),
        *(
            f"{g.tensor_name(tensor[e])!r} has no way from {name[device[source[e]]]} to {name[device[target[e]]]}"
            for e in cut
        ),
    ]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise PlanError("not a schedule\n" + "\n".join(f"  - {p}" for p in [*problems[:SHOWN], *more]))


def _refuse_sends(g: TaskGraph, flat: Flat, order: Ints, place: Ints) -> None:
    """A PlanError for sends in an order that are of nothing, to where nobody reads it, or before it is made."""
    booked = np.flatnonzero(order >= flat.n)
    tensor = (order[booked] - flat.n) // flat.count
    if (tensor >= len(flat.producer)).any():
        raise PlanError(f"order books the sending of a tensor that is not there: there are {len(flat.producer)}")
    early = np.flatnonzero(place[flat.producer[tensor]] > booked)
    if len(early):
        names = ", ".join(repr(g.tensor_name(int(tensor[k]))) for k in early[:SHOWN])
        raise PlanError(f"order books the sending of {names} before it is made")


def arrays(sends: Sequence[Send]) -> SendArrays:
    """Sends field by field."""
    columns: Any = zip(*sends, strict=True) if sends else ((),) * 6
    kinds = (np.int64, np.int64, np.float64, np.float64, np.float64, np.int64)
    made: Any = [np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)]
    return SendArrays(*made)


def _peak(start: Floats, finish: Floats, watts: Floats) -> float:
    """The most that tasks draw together; one that ends when another starts does not meet it."""
    time = np.concatenate((finish, start))
    change = np.concatenate((-watts, watts))
    return max(0.0, float(np.cumsum(change[np.lexsort((change, time))]).max(initial=0.0)))
