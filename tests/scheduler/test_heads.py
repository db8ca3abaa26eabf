"""Heads, tails and windows hold for every schedule: checked on random ones, and against the best of small graphs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.task_graphs import random_graphs
from hetero.errors import PlanError
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.heads import ends, windows
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.algorithms.ranks import tails
from hetero.scheduler.simulate import has_ways, simulate
from hetero.scheduler.solution import Schedule
from hetero.scheduler.taskgraph import TaskGraph, connect_all


def schedules(number: int) -> list[tuple[TaskGraph, Schedule]]:
    """Random devices in a random topological order, and good schedules, of random graphs."""
    found: list[tuple[TaskGraph, Schedule]] = []
    for seed, g in enumerate(random_graphs(number, largest=25)):
        try:
            flat = g.flat
        except PlanError:
            continue
        rng = np.random.default_rng(seed)
        device = np.array([int(rng.choice(np.flatnonzero(flat.mask[i]))) for i in range(g.n)])
        order = np.lexsort((rng.random(g.n), g.level))
        if has_ways(flat, device):
            found.append((g, simulate(g, device, order)))
        found.append((g, solve(g, budget_s=0.0, exact=False).schedule))
    return found


def test_no_schedule_starts_a_task_before_its_head_or_ends_before_its_tail() -> None:
    cases = schedules(120)
    assert len(cases) > 150
    for g, s in cases:
        given, every = ends(g.flat), np.arange(g.n)
        room = 1e-9 * s.latency_s
        assert (given.head[every, s.device] <= s.start_s + room).all()
        assert (s.finish_s + given.tail[every, s.device] <= s.latency_s + room).all()
        assert given.bound_s(g.flat) <= s.latency_s + room


def test_tasks_of_a_window_fit_between_its_head_and_its_tail() -> None:
    seen = 0
    for g, s in schedules(120):
        for w in windows(g.flat, ends(g.flat)):
            mine = w.tasks[s.device[w.tasks] == w.device]
            if len(mine):
                seen += 1
                busy = float(g.seconds[mine, w.device].sum())
                assert w.head_s + busy + w.tail_s <= s.latency_s * (1 + 1e-9)
    assert seen > 1000


def test_load_before_a_task_counts_where_paths_are_short() -> None:
    """Six tasks of one second on two devices come before the last: it cannot start before three seconds."""
    seconds = np.ones((7, 2))
    g = TaskGraph.of_edges(seconds, [(i, 6, 0.0) for i in range(6)], connect_all(2, 1.0))
    given = ends(g.flat)
    assert given.head[6].min() == pytest.approx(3.0)
    assert given.tail[:6].max() == pytest.approx(1.0)
    assert given.bound_s(g.flat) == pytest.approx(4.0)


def test_heads_and_tails_are_no_weaker_than_paths() -> None:
    for g, _ in schedules(30):
        c = Context(g, solve(g, budget_s=0.0, exact=False).objective)
        assert (ends(g.flat).tail >= tails(c.flat) - 1e-12)[g.flat.mask].all()
