"""The trade between latency, energy and cost: plans of which none is better than another in all three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.show import quantity, table
from hetero.scheduler.solution import Objective, Schedule
from hetero.scheduler.taskgraph import Limits

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

AXES = ("latency", "energy", "cost")
BUDGET_S = 0.3  # for each point


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Plans from the quickest to the slowest, none dominated by another that was found."""

    plans: tuple[Plan, ...]

    def __str__(self) -> str:
        rows = [["latency", "energy", "cost", "node: groups"]]
        for plan in self.plans:
            counts = np.bincount(plan.schedule.device, minlength=len(plan.tasks.devices))
            where = ", ".join(f"{d}: {n}" for d, n in zip(plan.tasks.device_names, counts, strict=True) if n)
            s = plan.schedule
            cost = f"{s.money:.3g} {plan.currency}".rstrip()
            rows.append([quantity(s.latency_s, "s"), quantity(s.energy_j, "J"), cost, where])
        return "\n".join(["Pareto front (estimated):", *table(rows)])


def pareto(plan: Plan, points: int = 9) -> Front:
    """The front around a plan: each objective alone, then weights and deadlines between the extremes."""
    found = [plan, *(p for axis in AXES if (p := _solved(plan, Objective.of(axis))))]
    low, high = np.min([_costs(p.schedule) for p in found], 0), np.max([_costs(p.schedule) for p in found], 0)
    for k in range(1, points):
        share = k / points
        found += [p for second in ("energy", "cost") if (p := _solved(plan, _mixed(second, share, low, high)))]
        found += [p for p in [_within(plan, float(low[0] * (high[0] / low[0]) ** share) if low[0] > 0 else 0.0)] if p]
    return Front(tuple(_undominated(found)))


def _costs(s: Schedule) -> tuple[float, float, float]:
    return s.latency_s, s.energy_j, s.money


def _mixed(second: str, share: float, low: Sequence[float], high: Sequence[float]) -> Objective:
    """Latency and one other, each counted in parts of its own range."""
    k = AXES.index(second)
    span = [max(high[i] - low[i], 1e-30) for i in (0, k)]
    return Objective.of({"latency": (1 - share) / span[0], second: share / span[1]})


def _solved(plan: Plan, objective: Objective) -> Plan | None:
    try:
        return plan.solved(plan.tasks, objective, min(BUDGET_S, plan.budget_s))
    except PlanError:
        return None


def _within(plan: Plan, deadline_s: float) -> Plan | None:
    """The least energy within a deadline: finds points that no weights find."""
    old = plan.tasks.limits
    if not 0 < deadline_s < old.deadline_s:
        return None
    tasks = replace(plan.tasks, limits=Limits(deadline_s, old.peak_w, old.average_w))
    try:
        found = plan.solved(tasks, Objective.of("energy"), min(BUDGET_S, plan.budget_s))
    except PlanError:
        return None
    return replace(found, tasks=plan.tasks)


def _undominated(plans: Sequence[Plan]) -> list[Plan]:
    """Without those that another one beats or equals everywhere, by latency."""
    kept: list[Plan] = []
    for plan in sorted(plans, key=lambda p: _costs(p.schedule)):
        mine = _costs(plan.schedule)
        if not any(all(a <= b * (1 + 1e-9) for a, b in zip(_costs(k.schedule), mine, strict=True)) for k in kept):
            kept.append(plan)
    return kept
