"""The value of a schedule for search: what the simulator says, without the full record; broken limits as a penalty."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.costs import Costs, costs
from hetero.scheduler.limits import broken, static_w
from hetero.scheduler.memory import most_memory, peak_memory
from hetero.scheduler.native import bridge
from hetero.scheduler.simulate import Timeline, arrays, decode
from hetero.scheduler.solution import Send
from hetero.scheduler.taskgraph import INF, Floats, Ints


class Score(NamedTuple):
    """Scores compare as wanted: what breaks limits less comes first, then what costs less."""

    excess: float  # 0 when every limit holds; how far above the limits otherwise
    value: float


NONE = Score(INF, INF)


class Judge:
    """Scores assignments with an order, all for one objective. Counts what it scores."""

    def __init__(self, c: Context) -> None:
        g, weights = c.g, c.objective.weights
        self.c, self.g, self.flat, self.objective = c, g, c.flat, c.objective
        self.static_w = static_w(g)
        self.evaluations = 0
        limits, devices = g.limits, g.devices
        self.memory = any(d.memory_byte < INF for d in devices)
        self.average = limits.average_w < INF or any(d.average_w < INF for d in devices)
        self.limited = self.memory or self.average or limits.deadline_s < INF
        # The order matters to the makespan only, and that to latency, static energy and limits.
        self.per_second = weights.get("latency", 0.0) + weights.get("energy", 0.0) * self.static_w
        self.timed = self.per_second > 0 or self.limited
        self.summed = self.average or bool(weights.keys() - {"latency"})
        self.plain = not self.limited and not self.summed  # the makespan and nothing else
        self.native: Any = None  # the struct for C, kept

    @cached_property
    def tail(self) -> list[list[float]]:
        return self.c.tails.tolist()

    def score(self, made: Assigned, stop: float = INF) -> Score:
        """`stop`: a value from which the score no longer matters; NONE may then stand for it."""
        self.evaluations += 1
        kernels = bridge.kernels(self.flat)
        if kernels and len(made.order) == self.flat.n:
            return kernels.score(self, made, stop)
        return self.timed_score(made.device.tolist(), made.order.tolist(), stop)[0]

    def timed_score(self, device: list[int], order: list[int], stop: float) -> tuple[Score, Timeline | None]:
        """The score and the times behind it, where times matter."""
        array = np.array(device) if self.summed or self.memory else None
        cost = costs(self.flat, array) if array is not None and self.summed else None
        fixed = self._fixed(cost) if cost else 0.0
        if not self.timed:
            return Score(0.0, fixed), None
        sends: list[Send] | None = [] if self.memory else None
        stop_s = (stop - fixed) / self.per_second if self.per_second > 0 else INF
        times = decode(self.flat, device, order, sends, stop_s, self.tail)
        if times is None:
            return NONE, None
        value = fixed + self.per_second * times.makespan_s
        if not self.limited:
            return Score(0.0, value), times
        peak = self._memory(array, times.start_s, times.finish_s, sends or [])
        dynamic = cost.dynamic_j if cost else np.zeros(self.flat.count)
        excess = 0.0
        for each in broken(self.g, times.makespan_s, peak, dynamic, cost.transfer_j if cost else 0.0):
            excess += each.excess
        return Score(excess, value), times

    def _fixed(self, cost: Costs) -> float:
        """The part of the value that no order changes."""
        dynamic = 0.0
        for joules in cost.dynamic_j.tolist():
            dynamic += joules
        each = {
            "serial": cost.serial_s,
            "throughput": cost.period_s,
            "energy": dynamic + cost.transfer_j,
            "cost": cost.money,
        }
        total = 0.0
        for name, x in each.items():
            weight = self.objective.weights.get(name, 0.0)
            if weight:
                total += weight * x
        return total

    def _memory(self, device: Ints | None, start: list[float], finish: list[float], sends: list[Send]) -> Floats:
        """Peaks, or an upper bound of them that fits already."""
        if device is None or not self.memory:
            return np.zeros(self.flat.count)
        most = most_memory(self.flat, device)
        if all(m <= d.memory_byte for m, d in zip(most.tolist(), self.g.devices, strict=True)):
            return most
        return peak_memory(self.flat, device, np.array(start), np.array(finish), arrays(sends))
