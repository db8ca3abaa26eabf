"""The spiking networks of a plan in words: steps, updates, events, and what each of them takes on a chip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hetero.profile.quantity import Interval, interval
from hetero.profile.topology import Node
from hetero.scheduler.cost import Work, bill_of
from hetero.scheduler.lower import work_at
from hetero.scheduler.show import quantity, span

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

HEAD = ("spiking network", "node", "steps", "neuron updates", "synaptic events", "spikes", "activity")


def spiking_rows(plan: Plan) -> list[list[str]]:
    """A row for each spiking network, as it is on its node; none of a plan that was loaded."""
    names = plan.tasks.device_names
    return [
        [plan.tasks.tasks[i], names[int(plan.schedule.device[i])], *_counts(_on(plan, i, int(plan.schedule.device[i])))]
        for i in _networks(plan)
    ]


def _networks(plan: Plan) -> Iterator[int]:
    if plan.model is None or plan.model.topology is None:
        return
    for i, group in enumerate(plan.model.lowered.groups):
        if group.work is not None and group.work.spiking:
            yield i


def _on(plan: Plan, i: int, p: int) -> Work:
    assert plan.model is not None
    return work_at(plan.model.lowered.groups[i], _node(plan, p))


def _node(plan: Plan, p: int) -> Node:
    assert plan.model is not None
    assert plan.model.topology is not None
    return plan.model.topology.nodes[p]


def _counts(work: Work) -> list[str]:
    return [
        f"{work.steps:,.0f}", f"{work.neuron_updates:,.0f}", _ranged(interval(work.events)),
        _ranged(interval(work.spikes)), str(work.activity),
    ]  # fmt: skip


def _ranged(value: Interval) -> str:
    """`2,215 (222 to 4,208)`"""
    return f"{value.mid:,.0f}{f' ({value.low:,.0f} to {value.high:,.0f})' * (value.low < value.high)}"


def spiking_lines(plan: Plan, i: int) -> tuple[str, ...]:
    """Of one task: what is counted, and the terms of time and energy on each chip that takes it; empty for others."""
    if i not in _networks(plan):
        return ()
    at = int(plan.schedule.device[i])
    steps, updates, events, spikes, activity = _counts(_on(plan, i, at))
    lines = [f"{steps} steps: {updates} neuron updates, {events} synaptic events, {spikes} spikes; activity {activity}"]
    for p, name in enumerate(plan.tasks.device_names):
        bill = None if (i, p) in plan.tasks.barred else bill_of(_on(plan, i, p), _node(plan, p).profile)
        if bill is None:
            continue
        terms = " + ".join(f"{quantity(t.mid, 'J')} {k}" for k, t in bill.terms.items()) or "nothing published"
        missing = f"; {name} does not publish {', '.join(bill.assumed)}" if bill.assumed else ""
        ticks = quantity(bill.seconds.mid / max(_on(plan, i, p).steps, 1.0), "s")
        lines.append(
            f"on {name}: {span(bill.seconds, 's')} in ticks of {ticks}; {span(bill.joules, 'J')} = {terms}{missing}"
        )
    return tuple(lines)
