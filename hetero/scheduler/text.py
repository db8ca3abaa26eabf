"""A plan as text: what it costs, how good it is, and a line for each node and each group of ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hetero import registry
from hetero.errors import BackendError
from hetero.scheduler.reasons import reasons
from hetero.scheduler.show import quantity, span, table
from hetero.scheduler.spiking_text import HEAD, spiking_rows

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

ROWS = 200  # groups printed; a larger plan has its report


def text(plan: Plan) -> str:
    """Head, nodes, groups, notes."""
    return "\n".join(
        [*head(plan), "", *table(node_rows(plan)), "", *table(op_rows(plan)), *_spiking(plan), *_notes(plan)]
    )


def head(plan: Plan) -> list[str]:
    """What it costs and how far from the best it may be. Every number is an estimate of the cost model."""
    s, solution = plan.schedule, plan.solution
    gap = "proven optimal for the model" if solution.proven else f"at most {solution.gap:.2%} above the best possible"
    money = f", {s.money:.3g} {plan.currency}" if s.money else ""
    return [
        f"plan of {plan.tasks.name}: latency {span(plan.latency_s, 's')}, energy {span(plan.energy_j, 'J')}{money}"
        f" (estimated{', with the range of the cost model' if plan.ends else ''})",
        f"objective {plan.objective.name}: {gap}; found by {solution.method} in {solution.seconds:.2f} s",
        f"energy: {quantity(s.dynamic_j, 'J')} dynamic + {quantity(s.transfer_j, 'J')} transfer + "
        f"{quantity(s.static_j, 'J')} static; a full pipeline gives {1 / s.period_s:.3g} results/s"
        if s.period_s
        else "nothing takes time",
    ]


def node_rows(plan: Plan) -> list[list[str]]:
    """A row for each node."""
    g, s = plan.tasks, plan.schedule
    rows = [["node", "tier", "runs on", "groups", "busy", "peak memory"]]
    for p, device in enumerate(g.devices):
        mine = s.device == p
        real = runs_on(plan, device.name)
        runs = sum(bool(plan.ops[i]) for i in range(g.n) if mine[i])
        busy = float((s.finish_s - s.start_s)[mine].sum())
        rows.append([device.name, device.tier, real, str(runs), quantity(busy, "s"), quantity(s.peak_byte[p], "B")])
    return rows


def runs_on(plan: Plan, node: str) -> str:
    """The device that a node is bound to, and whether its times are its own."""
    name = (plan.devices or {}).get(node)
    if name is None:
        return "simulated"
    try:
        return f"{name}, simulated" if registry.find(name).simulated else name
    except BackendError:  # of a plan that was made on another machine
        return name


def op_rows(plan: Plan) -> list[list[str]]:
    """A row for each group, in the order in which they run."""
    g, s = plan.tasks, plan.schedule
    why = reasons(g, s.device)
    first, outputs = g.outputs
    rows = [["op", "ops", "node", "starts", "takes", "energy", "gives", "reason"]]
    for i in sorted(range(g.n), key=lambda i: (s.start_s[i], i))[:ROWS]:
        p = int(s.device[i])
        given = float(g.tensor_byte[outputs[first[i] : first[i + 1]]].sum())
        took, energy = g.seconds[i, p], g.joules[i, p]
        limit = f" ({plan.bound_by[i][p]}-bound)" if plan.bound_by and plan.bound_by[i][p] else ""
        rows.append(
            [
                _short(g.tasks[i]), _short(plan.ops[i]), g.devices[p].name, quantity(s.start_s[i], "s"),
                quantity(took, "s"), quantity(energy, "J"), quantity(given, "B"), why[i] + limit,
            ]
        )  # fmt: skip
    return rows


def _spiking(plan: Plan) -> list[str]:
    rows = spiking_rows(plan)
    return ["", *table([list(HEAD), *rows])] if rows else []


def _notes(plan: Plan) -> list[str]:
    left = plan.tasks.n - ROWS
    more = [f"and {left} more: plan.report('plan.html') shows all"] if left > 0 else []
    return ["", *more, *(f"note: {n}" for n in plan.solution.notes)] if more or plan.solution.notes else []


def _short(name: str, most: int = 36) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"
