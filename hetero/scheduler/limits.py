"""Limits of a whole schedule, as one table: what was found and what was allowed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hetero.scheduler.solution import Schedule
from hetero.scheduler.taskgraph import INF, Floats, TaskGraph

SLACK = 1e-9  # of a limit: rounding


class Broken(NamedTuple):
    """A limit that a schedule does not keep."""

    what: str
    unit: str
    wanted: float
    found: float

    def __str__(self) -> str:
        return f"{self.what}: at most {self.wanted:.6g} {self.unit} wanted, {self.found:.6g} {self.unit} found"

    @property
    def excess(self) -> float:
        """0.1: a tenth above the limit."""
        return self.found / self.wanted - 1 if self.wanted > 0 else self.found


def static_w(g: TaskGraph) -> float:
    """Static power of all devices."""
    total = 0.0
    for d in g.devices:
        total += d.static_w
    return total


def broken(g: TaskGraph, latency_s: float, peak_byte: Floats, dynamic_j: Floats, transfer_j: float) -> Iterator[Broken]:
    """The limits that do not hold but for the peak power, which the simulator keeps by waiting. `dynamic_j` (P,)."""
    for what, unit, wanted, found in _table(g, latency_s, peak_byte, dynamic_j, transfer_j):
        if found > wanted * (1 + SLACK):
            yield Broken(what, unit, wanted, found)


def _table(
    g: TaskGraph, latency_s: float, peak_byte: Floats, dynamic_j: Floats, transfer_j: float
) -> Iterator[tuple[str, str, float, float]]:
    """(what, unit, wanted, found) of every limit that is set."""
    if g.limits.deadline_s < INF:
        yield "deadline", "s", g.limits.deadline_s, latency_s
    if g.limits.average_w < INF:
        total = transfer_j
        for joules in dynamic_j.tolist():
            total += joules
        yield "average power of all devices", "W", g.limits.average_w, _average(g, total, latency_s)
    for p, d in enumerate(g.devices):
        if d.memory_byte < INF:
            yield f"memory of {d.name!r}", "B", d.memory_byte, float(peak_byte[p])
        if d.average_w < INF:
            drawn = float(dynamic_j[p]) / latency_s if latency_s > 0 else 0.0
            yield f"average power of {d.name!r}", "W", d.average_w, d.static_w + drawn


def _average(g: TaskGraph, joules: float, latency_s: float) -> float:
    return static_w(g) + (joules / latency_s if latency_s > 0 else 0.0)


def violations(g: TaskGraph, schedule: Schedule, dynamic_j: Floats) -> Iterator[str]:
    """Every limit that the schedule breaks, as text."""
    found = broken(g, schedule.latency_s, schedule.peak_byte, dynamic_j, schedule.transfer_j)
    yield from map(str, found)
    if schedule.peak_w > g.limits.peak_w * (1 + SLACK):
        yield str(Broken("peak power of all devices", "W", g.limits.peak_w, schedule.peak_w))
    for p, d in enumerate(g.devices):
        peak = d.static_w + _peak_on(g, schedule, p)
        if peak > d.peak_w * (1 + SLACK):
            yield str(Broken(f"peak power of {d.name!r}", "W", d.peak_w, peak))


def _peak_on(g: TaskGraph, schedule: Schedule, p: int) -> float:
    watts = g.flat.watts[schedule.device == p, p]
    return float(watts.max(initial=0.0))
