"""One line for each task: why it is where it is, read off the task graph and the schedule."""

from __future__ import annotations

import numpy as np

from hetero.scheduler.constraints import why_not
from hetero.scheduler.show import quantity
from hetero.scheduler.taskgraph import Ints, TaskGraph


def reasons(tasks: TaskGraph, device: Ints) -> list[str]:
    """By task; cheap enough for every task of a large plan."""
    allowed = tasks.allowed.mask
    return [_reason(tasks, device, i, np.flatnonzero(allowed[i]).tolist()) for i in range(tasks.n)]


def _reason(g: TaskGraph, device: Ints, i: int, places: list[int]) -> str:
    at = int(device[i])
    if len(places) == 1:
        return _forced(g, i, at)
    others = [p for p in places if p != at]
    mine, rest = g.seconds[i, at], [g.seconds[i, p] for p in others]
    best = others[int(np.argmin(rest))]
    if mine <= min(rest):
        if mine == min(rest) == 0.0:
            return "costs nothing anywhere" if not _beside(g, device, i, at) else "beside what it exchanges data with"
        return f"fastest here: {quantity(mine, 's')}, on {g.devices[best].name} {quantity(min(rest), 's')}"
    beside = _beside(g, device, i, at)
    if beside:
        return f"beside {beside}: {quantity(min(rest), 's')} on {g.devices[best].name}, and the way there"
    return f"spreads the load: {quantity(mine, 's')} here while {g.devices[best].name} works"


def _forced(g: TaskGraph, i: int, at: int) -> str:
    """The constraints that leave one place."""
    rules = {said.split(":")[0] for p in range(len(g.devices)) if p != at for said in why_not(g, i, p)}
    return f"only place left by {', '.join(sorted(rules))}" if rules else "the only node"


def _beside(g: TaskGraph, device: Ints, i: int, at: int) -> str:
    """The neighbour on the same node that shares the largest tensor with the task."""
    start, inputs = g.inputs
    near = {int(g.producer[t]): g.tensor_byte[t] for t in inputs[start[i] : start[i + 1]]}
    first, outputs = g.outputs
    for t in outputs[first[i] : first[i + 1]]:
        for reader in g.consumer[g.consumer_start[t] : g.consumer_start[t + 1]]:
            near[int(reader)] = g.tensor_byte[t]
    here = [j for j in near if device[j] == at]
    return repr(g.tasks[max(here, key=near.__getitem__)]) if here else ""
