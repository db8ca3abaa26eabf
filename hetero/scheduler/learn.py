"""Measured times in place of the model's, after runs of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.plan import Plan
from hetero.scheduler.planning import planned


def learn(plan: Plan) -> Plan:
    """The plan again: groups that ran on a measured node have the median of their measured times, and the other groups
    of that node are scaled by the median ratio of measured to modelled. Spiking networks: the activity of the runs."""
    measured: dict[tuple[int, int], list[float]] = plan.__dict__.get("_measured", {})
    shares: dict[str, list[float]] = plan.__dict__.get("_activity", {})
    if not measured and not shares:
        raise PlanError("nothing was measured yet", hint="plan.run(...) on a topology with a node bound to a device")
    if shares:
        plan = _with_activity(plan, {task: float(np.median(each)) for task, each in shares.items()})
    return _with_times(plan, measured) if measured else plan


def _with_activity(plan: Plan, shares: Mapping[str, float]) -> Plan:
    """Lowered and planned anew; as it is where it was loaded from a file, without its topology."""
    m = plan.model
    if m is None or m.topology is None:
        return plan
    request = replace(m.request, measured={**m.request.measured, **shares})
    return planned(m.graph, m.topology, request, m.sizes, plan.budget_s, plan.seed)


def _with_times(plan: Plan, measured: Mapping[tuple[int, int], list[float]]) -> Plan:
    g = plan.tasks
    seconds, joules = g.seconds.copy(), g.joules.copy()
    for p in sorted({p for _, p in measured}):
        known = {i: float(np.median(s)) for (i, q), s in measured.items() if q == p}
        ratios = [s / g.seconds[i, p] for i, s in known.items() if 0 < g.seconds[i, p] < np.inf]
        ratio = float(np.median(ratios)) if ratios else 1.0
        factor = np.full(g.n, ratio)
        for i, s in known.items():
            if 0 < g.seconds[i, p] < np.inf:
                factor[i] = s / g.seconds[i, p]
        seconds[:, p] *= factor
        joules[:, p] *= factor  # energy is power times busy time
    again = plan.solved(replace(g, seconds=seconds, joules=joules))
    return replace(again, ends=None)
