"""The spiking networks of a plan in words: steps, updates, events, and what each of them takes on a chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hetero.profile.quantity import Interval, interval
from hetero.profile.topology import Node
from hetero.scheduler.cost import Work, bill_of
from hetero.scheduler.lower import work_at
from hetero.scheduler.show import quantity, span

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

HEAD = ("spiking network", "node", "steps", "neuron updates", "synaptic events", "spikes", "activity")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a spiking network does in one run of the plan, on its node. All of it is estimated."""

    task: str
    node: str
    steps: float
    neuron_updates: float
    events: Interval
    spikes: Interval
    activity: str  # with its interval and where it comes from

    def to_dict(self) -> dict[str, Any]:
        """In JSON; an interval is [low, mid, high]."""
        return {
            "task": self.task, "node": self.node, "steps": self.steps, "neuron_updates": self.neuron_updates,
            "synaptic_events": _ends(self.events), "spikes": _ends(self.spikes), "activity": self.activity,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Counts:
        events, spikes = (Interval(*map(float, row[k])) for k in ("synaptic_events", "spikes"))
        return cls(
            str(row["task"]), str(row["node"]), float(row["steps"]), float(row["neuron_updates"]), events, spikes,
            str(row["activity"]),
        )  # fmt: skip

    @property
    def cells(self) -> list[str]:
        return [
            f"{self.steps:,.0f}", f"{self.neuron_updates:,.0f}", _ranged(self.events), _ranged(self.spikes),
            self.activity,
        ]  # fmt: skip


def _ends(value: Interval) -> list[float]:
    return [value.low, value.mid, value.high]


def spiking_counts(plan: Plan) -> tuple[Counts, ...]:
    """One for each spiking network; of a plan from a file those that were written with it."""
    if plan.spiking is not None:
        return plan.spiking
    return tuple(_counts(plan, i, int(plan.schedule.device[i])) for i in _networks(plan))


def spiking_rows(plan: Plan) -> list[list[str]]:
    """A row for each spiking network, as it is on its node."""
    return [[c.task, c.node, *c.cells] for c in spiking_counts(plan)]


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


def _counts(plan: Plan, i: int, p: int) -> Counts:
    work = _on(plan, i, p)
    return Counts(
        plan.tasks.tasks[i], plan.tasks.device_names[p], float(work.steps), float(work.neuron_updates),
        interval(work.events), interval(work.spikes), str(work.activity),
    )  # fmt: skip


def _ranged(value: Interval) -> str:
    """`2,215 (222 to 4,208)`"""
    return f"{value.mid:,.0f}{f' ({value.low:,.0f} to {value.high:,.0f})' * (value.low < value.high)}"


def spiking_lines(plan: Plan, i: int) -> tuple[str, ...]:
    """Of one task: what is counted, and the terms of time and energy on each chip that takes it (not of a plan from a
    file, which has the sums only); empty for others."""
    found = next((c for c in spiking_counts(plan) if c.task == plan.tasks.tasks[i]), None)
    if found is None:
        return ()
    steps, updates, events, spikes, activity = found.cells
    lines = [f"{steps} steps: {updates} neuron updates, {events} synaptic events, {spikes} spikes; activity {activity}"]
    return (*lines, *(_on_chips(plan, i) if i in _networks(plan) else ()))


def _on_chips(plan: Plan, i: int) -> Iterator[str]:
    for p, name in enumerate(plan.tasks.device_names):
        bill = None if (i, p) in plan.tasks.barred else bill_of(_on(plan, i, p), _node(plan, p).profile)
        if bill is None:
            continue
        terms = " + ".join(f"{quantity(t.mid, 'J')} {k}" for k, t in bill.terms.items()) or "nothing published"
        missing = f"; {name} does not publish {', '.join(bill.assumed)}" if bill.assumed else ""
        ticks = quantity(bill.seconds.mid / max(_on(plan, i, p).steps, 1.0), "s")
        yield f"on {name}: {span(bill.seconds, 's')} in ticks of {ticks}; {span(bill.joules, 'J')} = {terms}{missing}"
