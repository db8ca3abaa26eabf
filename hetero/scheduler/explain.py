"""Questions to a plan: why an op is where it is, and what would have to change for the plan to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.constraints import why_not
from hetero.scheduler.lower import called
from hetero.scheduler.reasons import reasons
from hetero.scheduler.show import quantity, table
from hetero.scheduler.simulate import simulate
from hetero.scheduler.spiking_text import spiking_lines
from hetero.scheduler.taskgraph import Limits, LinkSpec, TaskGraph

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

BUDGET_S = 0.2  # for each re-planned alternative
RANGE = 1e4  # factor by which a bandwidth is varied, up and down
STEPS = 9  # bandwidths tried on each side before the place of the flip is narrowed down
TOLERANCE = 0.02  # relative, of the place of a flip


@dataclass(frozen=True, slots=True)
class Alternative:
    """One node for an op. Values are the objective's; inf where it cannot be."""

    node: str
    seconds: float  # of the op alone
    joules: float
    moved: float  # the plan with only this op moved there
    planned: float  # the best plan found with the op pinned there
    refused: tuple[str, ...]  # the constraints that rule it out

    def __str__(self) -> str:
        return f"{self.node}: {', '.join(self.refused) or quantity(self.seconds, 's')}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Why an op is where it is."""

    op: str
    node: str
    reason: str
    objective: str
    value: float
    alternatives: tuple[Alternative, ...]
    spiking: tuple[str, ...] = ()  # of a spiking network: what is counted, and what it takes on each chip

    def __str__(self) -> str:
        rows = [["node", "op alone", "energy", "moved alone", "best plan with it there", ""]]
        for a in self.alternatives:
            mark = "chosen" if a.node == self.node else "; ".join(a.refused)
            prices = map(self._price, (a.moved, a.planned))
            rows.append([a.node, quantity(a.seconds, "s"), quantity(a.joules, "J"), *prices, mark])
        lines = [f"{self.op} runs on {self.node}: {self.reason}", f"price in {self.objective} (estimated):"]
        return "\n".join([*lines, *table(rows), *self.spiking])

    def _price(self, value: float) -> str:
        """`+12.3 %` over the plan."""
        if value == float("inf"):
            return "cannot be"
        return f"{value / self.value - 1:+.2%}" if self.value else f"{value:.3g}"


def explain(plan: Plan, op: str) -> Choice:
    """The choice for the task, or the op in it, called `op`."""
    g, s = plan.tasks, plan.schedule
    i = _find(plan, op)
    at = int(s.device[i])
    return Choice(
        g.tasks[i],
        g.devices[at].name,
        reasons(g, s.device)[i],
        plan.objective.name,
        plan.solution.value,
        tuple(_alternative(plan, i, p) for p in range(len(g.devices))),
        spiking_lines(plan, i),
    )


def _find(plan: Plan, op: str) -> int:
    from difflib import get_close_matches

    if op in plan.tasks.tasks:
        return plan.tasks.task_index(op)
    if plan.model is not None:
        found = [i for i, group in enumerate(plan.model.lowered.groups) if op in called(group)]
        if found:
            return found[0]
    near = get_close_matches(op, plan.tasks.tasks, 3, 0.4)
    raise PlanError(f"the plan has no op {op!r}", hint=f"one of {', '.join(near or plan.tasks.tasks[:5])}")


def _alternative(plan: Plan, i: int, p: int) -> Alternative:
    g, s = plan.tasks, plan.schedule
    refused = tuple(why_not(g, i, p))
    if refused:
        return Alternative(g.devices[p].name, g.seconds[i, p], g.joules[i, p], np.inf, np.inf, refused)
    device = s.device.copy()
    device[g.allowed.group == g.allowed.group[i]] = p
    moved = simulate(g, device, s.order)
    value = np.inf if moved.violations else moved.value(plan.objective)
    if p == s.device[i]:
        return Alternative(g.devices[p].name, g.seconds[i, p], g.joules[i, p], value, plan.solution.value, ())
    try:
        pinned = plan.solved(replace(g, pins={**g.pins, i: (p,)}), budget_s=min(BUDGET_S, plan.budget_s))
        best = min(value, pinned.solution.value)
    except PlanError:
        best = value
    return Alternative(g.devices[p].name, g.seconds[i, p], g.joules[i, p], value, best, ())


# -- what would flip it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flip:
    """A value at which another placement becomes better than the plan's."""

    what: str  # `bandwidth of uplink`
    unit: str
    now: float
    at: float | None  # None: none in the range that was tried
    moves: tuple[str, ...]  # `conv3: jetson -> cloud`
    tried: tuple[float, float]

    def __str__(self) -> str:
        if self.at is None:
            low, high = (quantity(v, self.unit) for v in self.tried)
            return f"{self.what}: {quantity(self.now, self.unit)} now; the plan stays from {low} to {high}"
        more = f" and {len(self.moves) - 3} more" if len(self.moves) > 3 else ""
        way = "below" if self.at < self.now else "above"
        return (
            f"{self.what}: {quantity(self.now, self.unit)} now; {way} {quantity(self.at, self.unit)} another plan is "
            f"better: {', '.join(self.moves[:3])}{more}"
        )


def sensitivity(plan: Plan) -> list[Flip]:
    """For each link the nearest lower and higher bandwidth that flips the plan; the same for deadline and sizes."""
    found: list[Flip] = []
    for name in dict.fromkeys(link.name for link in plan.tasks.links):
        now = next(link.byte_per_s for link in plan.tasks.links if link.name == name)

        def tasks_at(value: float, name: str = name, now: float = now) -> TaskGraph:
            return replace(plan.tasks, links=_scaled(plan, name, value / now))

        found += _both_ways(plan, f"bandwidth of {name}", "B/s", now, tasks_at)
    if plan.tasks.limits.deadline_s < np.inf:
        found += _both_ways(plan, "deadline", "s", plan.tasks.limits.deadline_s, lambda v: _with_deadline(plan, v))
    return found + _sizes(plan)


def _scaled(plan: Plan, name: str, factor: float) -> tuple[LinkSpec, ...]:
    return tuple(replace(k, byte_per_s=k.byte_per_s * factor) if k.name == name else k for k in plan.tasks.links)


def _with_deadline(plan: Plan, deadline_s: float) -> TaskGraph:
    old = plan.tasks.limits
    return replace(plan.tasks, limits=Limits(deadline_s, old.peak_w, old.average_w))


def _both_ways(plan: Plan, what: str, unit: str, now: float, tasks_at: Callable[[float], TaskGraph]) -> list[Flip]:
    """The nearest flip below and above; one entry when there is none."""
    flips = [f for f in (_search(plan, what, unit, now, tasks_at, way) for way in (1 / RANGE, RANGE)) if f]
    return flips or [Flip(what, unit, now, None, (), (now / RANGE, now * RANGE))]


def _search(
    plan: Plan, what: str, unit: str, now: float, tasks_at: Callable[[float], TaskGraph], way: float
) -> Flip | None:
    """Outwards in steps until the plan flips, then narrowed down by halving."""
    near, far, moves = now, None, ()
    for k in range(1, STEPS + 1):
        value = now * way ** (k / STEPS)
        moves = _moves(plan, tasks_at(value))
        if moves:
            far = value
            break
        near = value
    if far is None:
        return None
    while abs(np.log(far / near)) > TOLERANCE:
        middle = float(np.sqrt(near * far))
        now_moves = _moves(plan, tasks_at(middle))
        if now_moves:
            far, moves = middle, now_moves
        else:
            near = middle
    return Flip(what, unit, now, far, moves, (min(now, far), max(now, far)))


def _moves(plan: Plan, tasks: TaskGraph) -> tuple[str, ...]:
    """What moves when a plan for `tasks` is clearly better than this one there; empty when this one still stands."""
    mine = simulate(tasks, plan.schedule.device, plan.schedule.decisions)
    try:
        other = plan.solved(tasks, budget_s=min(BUDGET_S, plan.budget_s))
    except PlanError:
        return ("no plan meets the limits",)
    value = np.inf if mine.violations else mine.value(plan.objective)
    if not other.solution.value < value * (1 - 1e-3):
        return ()
    return moved(plan, other)


def moved(before: Plan, after: Plan) -> tuple[str, ...]:
    """`task: from -> to` of each task that changed its node."""
    names = before.tasks.device_names
    a, b = before.schedule.device, after.schedule.device
    return tuple(f"{before.tasks.tasks[i]}: {names[a[i]]} -> {names[b[i]]}" for i in np.flatnonzero(a != b))


def _sizes(plan: Plan) -> list[Flip]:
    """Open dimensions of the graph, a batch for one: the first doubling at which tasks move."""
    if plan.model is None or plan.model.topology is None:
        return []
    from hetero.scheduler.variants import with_sizes

    found: list[Flip] = []
    for name in sorted(plan.model.graph.symbols):
        now = plan.model.sizes.get(name, 1)
        flip: Flip | None = None
        for k in range(1, 11):
            other = with_sizes(plan, {name: now << k})
            moves = _by_name(plan, other)
            if moves:
                flip = Flip(f"size of {name}", "", now, float(now << k), moves, (now, now << k))
                break
        found.append(flip or Flip(f"size of {name}", "", now, None, (), (now, now << 10)))
    return found


def _by_name(before: Plan, after: Plan) -> tuple[str, ...]:
    """As `moved`, for task graphs whose tasks may differ."""
    a, b = before.placement, after.placement
    return tuple(f"{t}: {a[t]} -> {b[t]}" for t in a if t in b and a[t] != b[t])
