"""The parts of a plan: what each node runs in one go, compiled for the device bound to it or for the stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hetero import registry
from hetero.compile import Program, compile
from hetero.errors import PlanError
from hetero.graph.build import extract
from hetero.graph.ir import Node
from hetero.scheduler.plan import Model, Plan
from hetero.scheduler.result import What
from hetero.scheduler.solution import Schedule
from hetero.scheduler.taskgraph import TaskGraph
from hetero.spi import Device

STAND_IN = "numpy"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Tasks that one node runs in one go: it receives before the first and sends after the last."""

    node: int
    tasks: tuple[int, ...]
    device: Device
    program: Program
    takes: tuple[int, ...]  # values
    gives: tuple[int, ...]


class PartError(Exception):
    """A part that did not compile or run."""

    def __init__(self, node: int, tasks: tuple[int, ...], what: What, cause: Exception) -> None:
        super().__init__(str(cause))
        self.node, self.tasks, self.cause = node, tasks, cause
        self.what: What = what


def prepare(plan: Plan) -> tuple[Part, ...]:
    """Every part compiled, in the order in which they start; kept with the plan."""
    kept: dict[str, Any] = plan.__dict__
    if "_parts" not in kept:
        each = (_part(plan, node, tasks) for node, tasks in cut(plan.tasks, plan.schedule))
        kept["_parts"] = tuple(part for part in each if part is not None)
    return kept["_parts"]


def cut(g: TaskGraph, schedule: Schedule) -> list[tuple[int, list[int]]]:
    """(node, tasks) in order: a part begins where its node must receive, and ends where it must send."""
    device = schedule.device
    source, target, _ = g.edges
    crosses = device[source] != device[target]
    receives, sends = set(target[crosses].tolist()), set(source[crosses].tolist())
    parts: list[tuple[int, list[int]]] = []
    open_part: dict[int, list[int]] = {}
    for i in schedule.order.tolist():
        p = int(device[i])
        if p not in open_part or i in receives:
            open_part[p] = []
            parts.append((p, open_part[p]))
        open_part[p].append(i)
        if i in sends:
            del open_part[p]
    return parts


def _part(plan: Plan, node: int, tasks: Sequence[int]) -> Part | None:
    """Compiled on the node's device, or on the stand-in; None for inputs and outputs alone."""
    model = model_of(plan)
    position = _positions(model)
    every = {id(n): n for i in tasks for n in model.lowered.groups[i].nodes}
    nodes = sorted(every.values(), key=lambda n: position[id(n)])
    if not nodes:
        return None
    device = device_of_node(plan, node)
    graph, takes, gives = extract(model.lowered.graph, nodes)
    try:
        program = compile(graph, device, "error")
    except Exception as e:  # any failure of a device library is a reason to place the ops elsewhere
        raise PartError(node, _culprits(plan, tasks, device), "compile failed", e) from e
    return Part(node, tuple(tasks), device, program, takes, gives)


def _positions(model: Model) -> dict[int, int]:
    return {id(n): k for k, n in enumerate(model.lowered.graph.nodes)}


def _culprits(plan: Plan, tasks: Sequence[int], device: Device) -> tuple[int, ...]:
    """The tasks that do not compile by themselves; all, where each one does."""
    model = model_of(plan)
    bad = [
        i
        for i in tasks
        if model.lowered.groups[i].nodes and not _compiles(model, model.lowered.groups[i].nodes, device)
    ]
    return tuple(bad or [i for i in tasks if model.lowered.groups[i].nodes])


def _compiles(model: Model, nodes: tuple[Node, ...], device: Device) -> bool:
    try:
        compile(extract(model.lowered.graph, nodes)[0], device, "error")
    except Exception:  # the same as above: the reason is reported with the part
        return False
    return True


def device_of_node(plan: Plan, node: int) -> Device:
    """The real device of a node, or the stand-in."""
    return registry.find((plan.devices or {}).get(plan.tasks.devices[node].name) or STAND_IN)


def is_bound(plan: Plan, node: int) -> bool:
    """Whether a node has a device here."""
    return (plan.devices or {}).get(plan.tasks.devices[node].name) is not None


def is_measured(plan: Plan, node: int) -> bool:
    """Whether a node's times are measured: those of a device that is simulated itself are not its own."""
    return is_bound(plan, node) and not device_of_node(plan, node).simulated


def model_of(plan: Plan) -> Model:
    if plan.model is None:
        raise PlanError("this plan has no graph to run", hint="Plan.load(path, graph=...) gives it one")
    return plan.model


def computing(plan: Plan, part: Part) -> set[int]:
    return {i for i in part.tasks if model_of(plan).lowered.groups[i].nodes}
