"""What is forbidden before any search: where each task may run, where each tensor may be, and by which way it goes.

Support, pins, co-location, memory of a single task and data residency all become one mask. Residency is a taint: what a
private task makes, and all that is computed from it, stays in its zone until a task that releases it; the releasing
task itself still runs inside.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.taskgraph import SHOWN, Bools, Ints, TaskGraph

Route = tuple[int, ...]  # numbers of links, in the order in which they are passed


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The mask and the routes that every schedule keeps."""

    mask: Bools  # (n, P) where a task may run
    group: Ints  # (n,) tasks with the same number run on one device
    tensor_zone: Ints  # (T,) number of the zone in which a tensor must stay; 0: anywhere
    zones: tuple[Bools, ...]  # (P,) each: the devices of a zone
    routes: tuple[tuple[tuple[Route | None, ...], ...], ...]  # [zone][from][to]; None: no way inside the zone


def constrain(g: TaskGraph) -> Allowed:
    """All constraints of `g` as masks; a PlanError names each task that has nowhere to go, and why."""
    rules, tensor_zone, zones = _rules(g)
    mask = np.logical_and.reduce(list(rules.values()))
    group = _groups(g)
    mask, together = _together(mask, group)
    if not mask.any(axis=1).all():
        raise _nowhere(g, rules, mask, group, together)
    return Allowed(mask, group, tensor_zone, zones, tuple(_routes(g, zone) for zone in zones))


def why_not(g: TaskGraph, task: int, device: int) -> list[str]:
    """The constraints that keep `task` off `device`, each with its reason; empty where it may run there."""
    rules, _, _ = _rules(g)
    group = _groups(g)
    said = [_told(g, name, task, device) for name, mask in rules.items() if not mask[task, device]]
    others = np.flatnonzero((group == group[task]) & ~np.logical_and.reduce(list(rules.values()))[:, device])
    return said + [f"co-location with {g.tasks[i]!r}, which may not run there" for i in others if i != task]


def _told(g: TaskGraph, rule: str, task: int, device: int) -> str:
    said = g.barred.get((task, device), "") if rule == "support" else ""
    return f"{rule}: {said}" if said else rule


def _rules(g: TaskGraph) -> tuple[dict[str, Bools], Ints, tuple[Bools, ...]]:
    """(n, P) where each kind of constraint lets a task run; (T,) zone of each tensor; the zones."""
    rules: dict[str, Bools] = {
        "support": np.isfinite(g.seconds),
        "memory": g.resident_byte <= np.array([d.memory_byte for d in g.devices]),
        "pin": _pinned(g, len(g.devices)),
    }
    zone_of_task, tensor_zone, zones = _taint(g)
    if len(zones) > 1:
        rules["residency"] = np.stack(zones)[zone_of_task]
    return rules, tensor_zone, zones


def _pinned(g: TaskGraph, count: int) -> Bools:
    mask = np.ones((g.n, count), bool)
    for task, devices in g.pins.items():
        mask[task] = False
        mask[task, list(devices)] = True
    return mask


def _taint(g: TaskGraph) -> tuple[Ints, Ints, tuple[Bools, ...]]:
    """(n,) zone in which a task must run, (T,) zone of a tensor, and the zones; number 0 is everywhere."""
    everywhere = (1 << len(g.devices)) - 1
    runs = [everywhere] * g.n if g.private else []
    if not g.private:
        zero = np.zeros(g.n, np.int64)
        return zero, np.zeros(len(g.producer), np.int64), (np.ones(len(g.devices), bool),)
    made = list(runs)  # zone of what each task makes
    start, inputs = (a.tolist() for a in g.inputs)
    producer = g.producer.tolist()
    for task in g.topological.tolist():
        zone = everywhere
        for tensor in inputs[start[task] : start[task + 1]]:
            zone &= made[producer[tensor]]
        own = sum(1 << p for p in set(g.private[task])) if task in g.private else everywhere
        runs[task] = zone & own
        made[task] = own if task in g.release else zone & own
    known: dict[int, int] = {everywhere: 0}
    task_zone = np.array([known.setdefault(z, len(known)) for z in runs], np.int64)
    tensor_zone = np.array([known.setdefault(made[i], len(known)) for i in producer], np.int64)
    zones = tuple(np.array([bool(z >> p & 1) for p in range(len(g.devices))]) for z in known)
    return task_zone, tensor_zone, zones


def _groups(g: TaskGraph) -> Ints:
    """(n,) the smallest task of each task's co-location group; groups that share a task are one."""
    root = list(range(g.n))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for members in g.colocate:
        for other in members[1:]:
            a, b = find(members[0]), find(other)
            root[max(a, b)] = min(a, b)
    return np.array([find(i) for i in range(g.n)], np.int64) if g.colocate else np.arange(g.n)


def _together(mask: Bools, group: Ints) -> tuple[Bools, Bools]:
    """The mask in which a whole group may only run where each of its tasks may, and that rule by itself."""
    common = np.ones_like(mask)
    np.logical_and.at(common, group, mask)
    return mask & common[group], common[group]


def _nowhere(g: TaskGraph, rules: Mapping[str, Bools], mask: Bools, group: Ints, together: Bools) -> PlanError:
    """Every task without a device, with what each constraint takes away from it."""
    lost = np.flatnonzero(~mask.any(axis=1)).tolist()
    lines = ["\n".join([f"  - {g.tasks[i]!r} has nowhere to go", *_reasons(g, rules, i, group)]) for i in lost[:SHOWN]]
    more = [f"  - and {len(lost) - SHOWN} more"] if len(lost) > SHOWN else []
    hint = "loosen one of the constraints named, or add a node that meets them all"
    return PlanError(f"no plan for {g.name!r}\n" + "\n".join([*lines, *more]), hint=hint)


def _reasons(g: TaskGraph, rules: Mapping[str, Bools], task: int, group: Ints) -> Iterable[str]:
    for name, mask in rules.items():
        without = [p for p in range(len(g.devices)) if not mask[task, p]]
        if without:
            yield f"      {name} rules out " + ", ".join(_why(g, name, task, p) for p in without)
    others = [g.tasks[i] for i in np.flatnonzero(group == group[task]) if i != task]
    if others:
        yield f"      co-location wants it with {', '.join(map(repr, others[:5]))}"


def _why(g: TaskGraph, rule: str, task: int, device: int) -> str:
    said = g.barred.get((task, device), "") if rule == "support" else ""
    return g.devices[device].name + (f" ({said})" if said else "")


def _routes(g: TaskGraph, zone: Bools) -> tuple[tuple[Route | None, ...], ...]:
    """The quickest way between every two devices for a tensor of mean size, through devices of the zone only."""
    size = float(g.tensor_byte.mean()) if len(g.tensor_byte) else 0.0
    leaving: dict[int, list[tuple[float, int, int]]] = {p: [] for p in range(len(g.devices))}
    for i, link in enumerate(g.links):
        if zone[link.source] and zone[link.target]:
            leaving[link.source].append((link.latency_s + size / link.byte_per_s, i, link.target))
    return tuple(_ways_from(p, leaving, len(g.devices)) for p in range(len(g.devices)))


def _ways_from(start: int, leaving: Mapping[int, list[tuple[float, int, int]]], count: int) -> tuple[Route | None, ...]:
    """Dijkstra; equal ways: fewer links, then smaller link numbers, so that the choice is always the same."""
    best: list[tuple[float, int, Route] | None] = [None] * count
    heap: list[tuple[float, int, Route, int]] = [(0.0, 0, (), start)]
    while heap:
        cost, hops, route, at = heapq.heappop(heap)
        if best[at] is not None:
            continue
        best[at] = (cost, hops, route)
        for more, link, to in leaving[at]:
            if best[to] is None:
                heapq.heappush(heap, (cost + more, hops + 1, (*route, link), to))
    return tuple(None if b is None else b[2] for b in best)
