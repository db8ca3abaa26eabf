"""The validator finds everything that can be wrong with a schedule, and nothing in those that are right."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.task_graphs import random_graphs, task_graph
from hetero.errors import PlanError
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Schedule
from hetero.scheduler.taskgraph import DeviceSpec, Limits, LinkSpec, TaskGraph
from hetero.scheduler.validate import InvalidScheduleError, audit, check, validate

EXAMPLES = int(os.environ.get("HETERO_PROPERTY_EXAMPLES", "300"))


def line() -> TaskGraph:
    """a - b - c in a row of three devices 0 - 1 - 2, and d beside them; a sends to b, c and d."""
    links = [
        LinkSpec(f"{p}-{q}", p, q, 10.0, 1.0, 0.1, 0.01, queue=k)
        for k, (p, q) in enumerate([(0, 1), (1, 2), (1, 0), (2, 1)])
    ]
    edges = [(0, 1, 10.0), (0, 2, 20.0), (0, 3, 10.0), (1, 2, 10.0)]
    devices = [DeviceSpec(f"d{p}", static_w=1.0, memory_byte=1000.0, peak_w=100.0, average_w=90.0) for p in range(3)]
    ones = np.ones((4, 3))
    return TaskGraph.of_edges(
        ones * 2.0, edges, links, devices=devices, joules=ones, money=ones, resident_byte=ones * 10.0
    )


def good() -> tuple[TaskGraph, Schedule]:
    g = line()
    return g, simulate(g, np.array([0, 1, 2, 0]), np.arange(4))


def changed(array: np.ndarray, at: int, value: float) -> np.ndarray:
    out = array.copy()
    out[at] = value
    return out


def sends(s: Schedule, change: Callable[[list[Any]], object]) -> Schedule:
    each = list(s.sends)
    change(each)
    return replace(s, sends=tuple(each))


def edit(k: int, **fields: Any) -> Callable[[Schedule], Schedule]:
    def change(each: list[Any]) -> None:
        each[k] = each[k]._replace(**fields)

    return lambda s: sends(s, change)


def drop(k: int) -> Callable[[Schedule], Schedule]:
    return lambda s: sends(s, lambda each: each.pop(k))


def twice(k: int) -> Callable[[Schedule], Schedule]:
    return lambda s: sends(s, lambda each: each.append(each[k]._replace(start_s=50.0, end_s=51.0, arrival_s=52.0)))


def field(name: str, value: Any) -> Callable[[Schedule], Schedule]:
    return lambda s: replace(s, **{name: value})


BROKEN: dict[str, tuple[str, Callable[[Schedule], Schedule]]] = {
    "a task too short": ("support", lambda s: replace(s, finish_s=changed(s.finish_s, 2, s.start_s[2] + 1))),
    "a task before time 0": (
        "support",
        lambda s: replace(s, start_s=changed(s.start_s, 0, -1.0), finish_s=changed(s.finish_s, 0, 1.0)),
    ),
    "two tasks at once": (
        "overlap",
        lambda s: replace(s, start_s=changed(s.start_s, 3, 1.0), finish_s=changed(s.finish_s, 3, 3.0)),
    ),
    "a task before its input": (
        "precedence",
        lambda s: replace(s, start_s=changed(s.start_s, 2, 2.0), finish_s=changed(s.finish_s, 2, 4.0)),
    ),
    "an order against the edges": ("precedence", field("order", np.array([1, 0, 2, 3]))),
    "a send left out": ("precedence", drop(0)),
    "a hop left out": ("transfer", drop(2)),
    "a send before its tensor": ("transfer", edit(0, start_s=0.0, end_s=1.0, arrival_s=2.0)),
    "a send too quick": ("transfer", edit(1, end_s=4.5, arrival_s=5.5)),
    "a send without latency": ("transfer", edit(0, arrival_s=3.0)),
    "a send from elsewhere": ("transfer", edit(0, link=1)),
    "a send twice": ("transfer", twice(0)),
    "a send for nobody": ("transfer", edit(0, tensor=2)),
    "a send to the wrong place": ("transfer", edit(0, destination=2)),
    "two sends at once": ("overlap", edit(1, start_s=2.0, end_s=4.0, arrival_s=5.0)),
    "less memory told": ("memory", field("peak_byte", np.zeros(3))),
    "less latency told": ("figures", field("latency_s", 1.0)),
    "less energy told": ("figures", field("transfer_j", 0.0)),
    "less money told": ("figures", field("money", 1.0)),
    "a shorter period told": ("figures", field("period_s", 0.1)),
    "a device that is not there": ("shape", lambda s: replace(s, device=changed(s.device, 0, 7))),
    "a task twice in the order": ("shape", field("order", np.array([0, 0, 2, 3]))),
    "a link that is not there": ("shape", edit(0, link=9)),
}


def test_a_right_schedule_has_no_violation() -> None:
    g, s = good()
    assert validate(g, s) == []
    assert check(g, s) is s


@pytest.mark.parametrize("name", BROKEN)
def test_a_schedule_broken_by(name: str) -> None:
    g, s = good()
    kind, change = BROKEN[name]
    found = validate(g, change(s))
    assert kind in {v.kind for v in found}
    with pytest.raises(InvalidScheduleError, match="report it"):
        check(g, change(s))


FORBIDDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "support": ("support", {"seconds": np.where(np.arange(3) == 2, np.inf, np.full((4, 3), 2.0))}),
    "pins": ("pin", {"pins": {2: (0, 1)}}),
    "co-location": ("co-location", {"colocate": ((0, 1),)}),
    "private data on a device outside": ("residency", {"private": {1: (0, 1)}}),
    "private data by way of a device outside": ("residency", {"private": {0: (0, 2)}, "release": {1: "user"}}),
    "memory": ("memory", {"devices": tuple(DeviceSpec(f"d{p}", memory_byte=30.0, static_w=1.0) for p in range(3))}),
    "peak power of a device": (
        "power",
        {"devices": tuple(DeviceSpec(f"d{p}", static_w=1.0, peak_w=1.2) for p in range(3))},
    ),
    "average power of a device": (
        "power",
        {"devices": tuple(DeviceSpec(f"d{p}", static_w=1.0, average_w=1.05) for p in range(3))},
    ),
    "peak power": ("power", {"limits": Limits(peak_w=3.4)}),
    "average power": ("power", {"limits": Limits(average_w=3.1)}),
    "deadline": ("figures", {"limits": Limits(deadline_s=5.0)}),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_other_constraints_forbid(name: str) -> None:
    """The same schedule, judged by a graph that does not allow it."""
    g, s = good()
    kind, change = FORBIDDEN[name]
    assert kind in {v.kind for v in validate(g.replace(**change), s)}


def with_privacy(g: TaskGraph, seed: int) -> TaskGraph:
    """Random private tasks, zones and releases."""
    rng = np.random.default_rng([seed, 7])
    count = len(g.devices)
    private = {
        int(i): tuple(sorted(rng.choice(count, int(rng.integers(1, count + 1)), replace=False).tolist()))
        for i in rng.choice(g.n, min(g.n, int(rng.integers(1, 4))), replace=False)
    }
    release = {int(i): "aggregate" for i in rng.choice(g.n, min(g.n, int(rng.integers(0, 4))), replace=False)}
    return g.replace(private=private, release=release)


def inside(g: TaskGraph, s: Schedule) -> None:
    """Follows every private value by hand: where it is computed on, and every device that it passes."""
    for root, zone in g.private.items():
        seen, front = set[int](), [root]
        while front:
            i = front.pop()
            if i in seen:
                continue
            seen.add(i)
            assert int(s.device[i]) in zone
            if i in g.release and i != root:
                continue
            for t in np.flatnonzero(g.producer == i).tolist():
                for x in s.sends:
                    if x.tensor == t:
                        assert {g.links[x.link].source, g.links[x.link].target} <= set(zone)
                front += g.consumer[g.consumer_start[t] : g.consumer_start[t + 1]].tolist()


def test_fuzz_no_plan_lets_private_data_out() -> None:
    solved = refused = 0
    for seed, public in enumerate(random_graphs(EXAMPLES, first=10_000, largest=25)):
        g = with_privacy(public, seed)
        try:
            s = solve(g, max_evaluations=100, exact=False).schedule
        except PlanError as e:
            assert "nowhere to go" in str(e) or "link that is not there" in str(e)
            refused += 1
            continue
        assert validate(g, s) == []
        inside(g, s)
        assert not [c for c in audit(g, s) if "NOT ALLOWED" in c.why]
        solved += 1
    assert solved > EXAMPLES // 3
    assert refused > 0


def test_the_audit_tells_what_crosses_and_why_it_may() -> None:
    g = line().replace(private={0: (0, 1)}, release={1: "noise"}, colocate=())
    s = simulate(g.replace(pins={2: (1, 2)}), np.array([0, 1, 1, 0]), np.arange(4))
    told = {(c.tensor, c.source, c.target): c for c in audit(g, s)}
    assert told["t0", "d0", "d1"].private_to == ("d0", "d1")
    assert told["t0", "d0", "d1"].why == "private; both ends are among d0, d1"
    row = TaskGraph.of_edges(np.ones((3, 3)), [(0, 1, 10.0), (1, 2, 10.0)], line().links)
    row = row.replace(private={0: (0,)}, release={1: "aggregate"})
    crossing = audit(row, simulate(row, np.array([0, 0, 1]), np.arange(3)))[0]
    assert str(crossing).endswith(f" over {crossing.link} from {crossing.source} to {crossing.target}; {crossing.why}")
    assert (crossing.released_by, crossing.byte) == ((("t1", "aggregate"),), 10.0)
    assert crossing.why == "public: released by t1 (aggregate)"
    g, s = good()
    assert {c.why for c in audit(g, s)} == {"public: it comes from nothing private"}
    assert len(audit(g, s)) == len(s.sends)


def test_schedules_of_random_graphs_are_valid_for_random_decisions() -> None:
    """The simulator alone, without any search, on every kind of link."""
    for seed in range(60):
        g = task_graph(seed, n=30, count=4, unsupported=0.0, links=["full", "bus", "star", "line", "free"][seed % 5])
        device = np.random.default_rng(seed).integers(0, 4, g.n)
        assert validate(g, simulate(g, device, g.topological)) == []
