"""Measured times in place of the model's, after runs of a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.plan import Plan


def learn(plan: Plan) -> Plan:
    """The plan again: groups that ran on a bound node have the median of their measured times, and the other groups
    of that node are scaled by the median ratio of measured to modelled."""
    measured: dict[tuple[int, int], list[float]] = plan.__dict__.get("_measured", {})
    if not measured:
        raise PlanError("nothing was measured yet", hint="plan.run(...) on a topology with a node bound to a device")
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
