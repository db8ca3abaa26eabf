"""All candidates, judged by the one simulator; then search; then proof. The best found is the plan."""

from __future__ import annotations

import time
from collections.abc import Mapping

from hetero.errors import PlanError
from hetero.scheduler.algorithms.bounds import bound
from hetero.scheduler.algorithms.candidates import CANDIDATES
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.judge import NONE, Judge, Score
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective, Solution
from hetero.scheduler.taskgraph import INF, TaskGraph


def solve(
    g: TaskGraph,
    objective: str | Mapping[str, float] | Objective = "latency",
    *,
    budget_s: float = 1.0,
    seed: int = 0,
    exact: object = None,
    max_evaluations: int | None = None,
) -> Solution:
    """The best schedule found within `budget_s`, with a bound."""
    began = time.perf_counter()
    c = Context(g, Objective.of(objective))
    judge = Judge(c)
    best, score, method = None, NONE, ""
    tried: dict[str, float] = {}
    for make in CANDIDATES.values():
        for name, made in make(c, None):
            found = judge.score(made) if made else NONE
            tried[name] = found.value if not found.excess else INF
            if made and (best is None or found < score):
                best, score, method = made, found, name
    if best is None:
        raise PlanError(f"no schedule of {g.name!r} was found")
    return _solution(c, best, score, method, tried, time.perf_counter() - began)


def _solution(c: Context, best: Assigned, score: Score, method: str, tried: dict[str, float], spent: float) -> Solution:
    schedule = simulate(c.g, best.device, best.order)
    if schedule.violations:
        raise PlanError("\n".join(schedule.violations))
    return Solution(schedule, c.objective, schedule.value(c.objective), bound(c), method, tried, spent)
