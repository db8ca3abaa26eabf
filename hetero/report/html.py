"""A plan as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hetero.errors import PlanError
from hetero.files import write_whole
from hetero.profile.quantity import Interval
from hetero.report.charts import candidates, matrix, pareto
from hetero.report.page import cell, number, page, section, table, text
from hetero.report.placement import placement
from hetero.report.timeline import timeline
from hetero.scheduler.explain import Flip
from hetero.scheduler.pareto import Front
from hetero.scheduler.plan import Plan
from hetero.scheduler.reasons import reasons
from hetero.scheduler.show import quantity
from hetero.scheduler.spiking_text import HEAD, spiking_rows

if TYPE_CHECKING:
    from hetero.scheduler.result import Result

POINTS = 5  # of the Pareto front, where none is given: each is a plan of its own
ROWS = 5000  # of a table


def write(
    plan: Plan,
    path: str | Path,
    result: Result | None = None,
    *,
    front: Front | None = None,
    flips: Sequence[Flip] | None = None,
) -> None:
    """Write the report of `plan`, and of a run of it, to `path`: all of it or nothing.

    front, flips   what plan.pareto() and plan.sensitivity() gave; the front is computed where it is not given
    """
    whole = page(f"plan of {plan.tasks.name}", _body(plan, result, front or plan.pareto(POINTS), flips))
    try:
        write_whole(path, whole)
    except OSError as e:
        raise PlanError(f"cannot write the report to {path}: {e}", hint="choose a folder that can be written to") from e


def _body(plan: Plan, result: Result | None, front: Front, flips: Sequence[Flip] | None) -> Iterator[str]:
    yield from _head(plan)
    if result is not None:
        yield section("What a run gave", *_run(result))
    yield section(
        "Timeline", '<p class="soft">Estimated by the cost model; hover for names and reasons.</p>', timeline(plan)
    )
    yield section("Placement", placement(plan))
    yield section("Each group of ops, and why it is there", _groups(plan))
    networks = spiking_rows(plan)
    if networks:
        yield section("Spiking networks", _spiking(networks))
    yield section("What crosses a link, and why it may", _crossings(plan))
    yield section(
        "Latency, energy and cost",
        '<p class="soft">Plans of which none is better in all three; the ring is this one; size is cost.</p>',
        pareto(plan, front),
    )
    yield section("Training and inference, central and edge", matrix(plan))
    yield section(f"What was tried, by {plan.objective.name}", candidates(plan), *_notes(plan))
    if flips is not None:
        said = "".join(f"<li>{text(flip, 600)}</li>" for flip in flips)
        yield section("What would flip it", f"<ul>{said}</ul>")
    yield '<p class="soft">Made by hetero. Numbers are estimated by the cost model unless they are called measured.</p>'


def _head(plan: Plan) -> Iterator[str]:
    s, solution = plan.schedule, plan.solution
    where = f" on {plan.model.topology.name}" if plan.model and plan.model.topology else ""
    yield f"<h1>Plan of {text(plan.tasks.name)}{text(where)}</h1>"
    proof = "proven optimal for the model" if solution.proven else f"at most {solution.gap:.2%} above the best possible"
    yield f'<p class="soft">Objective {text(plan.objective.name)}: {proof}; found by {text(solution.method)}.</p>'
    facts = [
        ("latency, estimated", *_ranged(plan.latency_s, "s")),
        ("energy, estimated", *_ranged(plan.energy_j, "J")),
        ("cost, estimated", f"{s.money:.3g} {plan.currency}" if s.money else "none given", ""),
        ("a full pipeline, estimated", f"{1 / s.period_s:.3g} results/s" if s.period_s else "-", ""),
    ]
    limit = plan.tasks.limits.deadline_s
    if limit < float("inf"):
        facts.append(("deadline", f"{quantity(limit, 's')}, kept", ""))
    yield (
        '<div class="facts">'
        + "".join(
            f'<div class="fact">{text(k)}<b>{text(v)}</b><span class="soft">{text(more)}</span></div>'
            for k, v, more in facts
        )
        + "</div>"
    )
    split = [(s.dynamic_j, "dynamic"), (s.transfer_j, "transfer"), (s.static_j, "static")]
    said = ", ".join(f"{quantity(joules, 'J')} {kind}" for joules, kind in split)
    yield f'<p class="soft">The energy is {text(said)} (estimated).</p>'


def _ranged(value: Interval, unit: str) -> tuple[str, str]:
    """The value, and its range where it has one."""
    exact = value.low == value.high
    return quantity(value.mid, unit), "" if exact else f"{quantity(value.low, unit)} to {quantity(value.high, unit)}"


def _run(result: Result) -> Iterator[str]:
    yield (
        f"<p>Latency {text(quantity(result.latency_s, 's'))} ({result.latency_status}), predicted "
        f"{text(quantity(result.predicted_s, 's'))}.</p>"
    )
    rows = [
        (cell(s.node), cell(s.device), cell(", ".join(s.tasks)), number(s.start_s, quantity(s.start_s, "s")),
         number(s.finish_s - s.start_s, quantity(s.finish_s - s.start_s, "s")), cell(s.status))
        for s in result.steps
    ]  # fmt: skip
    yield table("steps", ("node", "device", "groups", "start", "took", "status"), rows, "Steps of the run")
    if result.events:
        yield "<ul>" + "".join(f"<li>{text(e, 600)}</li>" for e in result.events) + "</ul>"


def _spiking(rows: list[list[str]]) -> str:
    return table("spiking", HEAD, [tuple(map(cell, row)) for row in rows], "Counts of a run, estimated")


def _groups(plan: Plan) -> str:
    g, s = plan.tasks, plan.schedule
    why = reasons(g, s.device)
    rows = [
        (cell(g.tasks[i]), cell(plan.ops[i] or "-"), cell(g.device_names[p]),
         number(s.start_s[i], quantity(s.start_s[i], "s")), number(g.seconds[i, p], quantity(g.seconds[i, p], "s")),
         number(g.joules[i, p], quantity(g.joules[i, p], "J")), cell(_bound(plan, i, p)), cell(why[i]))
        for i in sorted(range(g.n), key=lambda i: (s.start_s[i], i))[:ROWS] for p in (int(s.device[i]),)
    ]  # fmt: skip
    head = ("group", "ops", "node", "starts", "takes", "energy", "bound by", "reason")
    more = f" ({g.n - ROWS} more are not listed)" if g.n > ROWS else ""
    return table("groups", head, rows, f"{g.n} tasks, all numbers estimated{more}")


def _bound(plan: Plan, i: int, p: int) -> str:
    return plan.bound_by[i][p] if plan.bound_by else ""


def _crossings(plan: Plan) -> str:
    found = plan.audit()
    if not found:
        return "<p>Nothing crosses a link.</p>"
    rows = [
        (
            cell(c.tensor),
            cell(c.link),
            cell(c.source),
            cell(c.target),
            number(c.byte, quantity(c.byte, "B")),
            cell(c.why),
        )
        for c in found[:ROWS]
    ]
    return table("crossings", ("tensor", "link", "from", "to", "bytes", "why it may"), rows, "The audit of the plan")


def _notes(plan: Plan) -> Iterator[str]:
    if plan.solution.notes:
        yield "<ul>" + "".join(f"<li>{text(n, 600)}</li>" for n in plan.solution.notes) + "</ul>"
