"""Plans for changed circumstances: a lost link or node, other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from hetero.errors import PlanError
from hetero.scheduler.taskgraph import TaskGraph

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan


def without(plan: Plan, name: str) -> Plan:
    """Plan B with the link or node `name` lost; compiled ahead where it can run."""
    links = {link.name for link in plan.tasks.links}
    nodes = plan.tasks.device_names
    if name not in links and name not in nodes:
        raise PlanError(f"the plan has no link or node {name!r}", hint=f"one of {', '.join([*sorted(links), *nodes])}")
    tasks = without_node(plan.tasks, nodes.index(name), "lost") if name in nodes else _without_link(plan, name)
    other = plan.solved(tasks)
    if plan.model is not None:
        import_module("hetero.scheduler.parts").prepare(other)
    return other


def _without_link(plan: Plan, name: str) -> TaskGraph:
    kept = [i for i, link in enumerate(plan.tasks.links) if link.name != name]
    return replace(plan.tasks, links=tuple(plan.tasks.links[i] for i in kept))


def without_node(tasks: TaskGraph, node: int, why: str) -> TaskGraph:
    """Nothing runs on, or passes through, the node."""
    seconds = tasks.seconds.copy()
    seconds[:, node] = float("inf")
    barred = {**tasks.barred, **{(i, node): why for i in range(tasks.n)}}
    links = tuple(k for k in tasks.links if node not in (k.source, k.target))
    return replace(tasks, seconds=seconds, barred=barred, links=links)


def with_sizes(plan: Plan, sizes: Mapping[str, int]) -> Plan:
    """The same request for other values of the graph's named dimensions."""
    from hetero.scheduler.planning import planned

    assert plan.model is not None
    m = plan.model
    assert m.topology is not None
    return planned(m.graph, m.topology, m.request, {**m.sizes, **sizes}, plan.budget_s, plan.seed)
