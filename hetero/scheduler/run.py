"""Runs a plan: each node's part on the device bound to it, at the same time where the plan says so.

A node without a device runs on a stand-in, the NumPy backend, which gives its values; its times then come from the cost
model and are called simulated. So are those of a virtual chip, from the events that it counted. While there is a
stand-in, parts run one after the other, so that it does not disturb what is measured; their overlap is simulated too.

What fails to compile or to run is refused for its node, with the reason; the rest is planned again, and the run
goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hetero import registry
from hetero.errors import HeteroError, PlanError
from hetero.execute import check_feed
from hetero.op import Array
from hetero.scheduler.concurrent import run_together
from hetero.scheduler.held import Held
from hetero.scheduler.parts import Part, PartError, computing, is_bound, is_measured, model_of, prepare
from hetero.scheduler.plan import Model, Plan
from hetero.scheduler.result import Event, Moved, Result, Status, Step
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Schedule
from hetero.scheduler.spikes import Counted, counted
from hetero.scheduler.taskgraph import TaskGraph


@dataclass(slots=True)
class _State:
    """What survives a new plan: values held, tasks done, times measured."""

    held: Held
    done: set[int] = field(default_factory=set[int])
    steps: list[Step] = field(default_factory=list[Step])
    measured: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])  # (task, node) -> s
    spikes: dict[tuple[int, int], Counted] = field(default_factory=dict[tuple[int, int], Counted])


def run(plan: Plan, feed: Mapping[str, Any]) -> Result:
    """The outputs of the planned graph for `feed`, and what happened on the way."""
    model = model_of(plan)
    arrays = check_feed(model.graph, feed)
    _check_sizes(model, arrays)
    state = _State(Held(model.lowered.graph.types))
    for port, i in zip(model.lowered.graph.inputs, range(len(arrays)), strict=True):
        state.held.put_host(port.value, int(plan.schedule.device[i]), arrays[port.name])
    events: list[Event] = []
    current, start = plan, time.perf_counter()
    while True:
        try:
            _run_parts(current, prepare(current), state, start)
            break
        except PartError as e:
            events.append(_event(current, e))
            current = _planned_again(current, e, state)
    wall = time.perf_counter() - start
    return _result(plan, current, state, events, wall)


def _check_sizes(model: Model, arrays: Mapping[str, Array]) -> None:
    """A plan is for one set of shapes."""
    types = model.lowered.graph.input_types
    wrong = [f"{n} is {a.shape}, planned for {types[n].shape}" for n, a in arrays.items() if types[n].shape != a.shape]
    if wrong:
        raise PlanError(f"the plan is for other shapes: {'; '.join(wrong)}", hint="plan(..., sizes={...}) for these")


# -- running --------------------------------------------------------------------------------------------------------


def _run_parts(plan: Plan, parts: Sequence[Part], state: _State, start: float) -> None:
    """All parts not done yet: at the same time when every node is real, else one after the other."""
    work = [p for p in parts if not state.done.issuperset(computing(plan, p))]
    if all(is_measured(plan, p.node) for p in work):
        run_together(work, lambda part: _run_part(plan, part, state, start))
        return
    for part in work:
        _run_part(plan, part, state, start)


def _run_part(plan: Plan, part: Part, state: _State, start: float) -> None:
    """One part: what it takes is brought to its node; its time is taken from there to its results."""
    backend = registry.load(part.device.backend)
    try:
        buffers = [state.held.bring(v, part.node, part.device) for v in part.takes]
        began = time.perf_counter()
        outs = part.program(*buffers)
        backend.synchronize(part.device)
        ended = time.perf_counter()
    except HeteroError as e:
        raise PartError(part.node, tuple(sorted(computing(plan, part))), "device failed", e) from e
    except Exception as e:  # device libraries fail in every way there is
        raise PartError(part.node, tuple(sorted(computing(plan, part))), "device failed", e) from e
    for value, buffer in zip(part.gives, outs, strict=True):
        state.held.put(value, part.node, part.device, buffer)
    tasks = sorted(computing(plan, part))
    state.done.update(tasks)
    bound, g = is_measured(plan, part.node), plan.tasks
    names = tuple(g.tasks[i] for i in tasks)
    status: Status = "measured" if bound else "simulated"
    node = g.devices[part.node].name
    state.steps.append(Step(node, part.device.name, names, began - start, ended - start, status))
    if bound:
        _share(g, part.node, tasks, ended - began, state)
    crossing = {*part.takes, *part.gives}
    for c in counted(plan, part, lambda v: state.held.on_host(v) if v in crossing else None):
        state.spikes[c.task, part.node] = c


def _share(g: TaskGraph, node: int, tasks: Sequence[int], seconds: float, state: _State) -> None:
    """A part's time, spread over its groups as the model has it."""
    model_s = g.seconds[list(tasks), node]
    total = float(model_s.sum())
    for i, s in zip(tasks, model_s.tolist(), strict=True):
        state.measured[i, node] = seconds * (s / total if total else 1 / len(tasks))


# -- after a failure ------------------------------------------------------------------------------------------------


def _event(plan: Plan, e: PartError) -> Event:
    reason = e.cause.problem if isinstance(e.cause, HeteroError) else f"{type(e.cause).__name__}: {e.cause}"
    return Event(plan.tasks.devices[e.node].name, tuple(plan.tasks.tasks[i] for i in e.tasks), e.what, reason)


def _planned_again(plan: Plan, e: PartError, state: _State) -> Plan:
    """What failed is refused on its node (everything, where the device died); what is done stays where it is held."""
    g = plan.tasks
    groups = model_of(plan).lowered.groups
    if not is_bound(plan, e.node):
        raise e.cause  # the stand-in is NumPy itself: nothing else would do better
    lost = e.tasks if e.what == "compile failed" else tuple(i for i in range(g.n) if groups[i].nodes)
    if e.what == "device failed":
        state.held.forget(e.node)
    seconds, barred, pins = g.seconds.copy(), dict(g.barred), dict(g.pins)
    for i in lost:
        seconds[i, e.node] = np.inf
        barred[i, e.node] = f"{e.what}: {_event(plan, e).reason}"
    for i in sorted(state.done):
        node = state.held.where([v for n in groups[i].nodes for v in n.outputs if _crosses(plan, v)])
        if node is None:
            state.done.discard(i)
        else:
            seconds[i], seconds[i, node], pins[i] = np.inf, 0.0, (node,)
    state.done &= _still_whole(plan, state)
    try:
        return plan.solved(replace(g, seconds=seconds, barred=barred, pins=pins))
    except PlanError as wrong:
        said = f"{_event(plan, e).node} failed and nothing can take its place: {wrong.problem}"
        raise PlanError(said, hint=str(e.cause)) from e.cause


def _crosses(plan: Plan, value: int) -> bool:
    return value in model_of(plan).lowered.values


def _still_whole(plan: Plan, state: _State) -> set[int]:
    """Done tasks whose results are all held at one place."""
    groups = model_of(plan).lowered.groups
    keep = set[int]()
    for i in state.done:
        values = [v for n in groups[i].nodes for v in n.outputs if _crosses(plan, v)]
        if state.held.where(values) is not None:
            keep.add(i)
    return keep


# -- the result -----------------------------------------------------------------------------------------------------


def _result(asked: Plan, plan: Plan, state: _State, events: Sequence[Event], wall: float) -> Result:
    """Outputs on the host; times measured where every node was real, else replayed through the simulator."""
    model = model_of(plan)
    outputs = {p.name: _output(model, state, p.value) for p in model.lowered.graph.outputs}
    learned: dict[tuple[int, int], list[float]] = asked.__dict__.setdefault("_measured", {})
    for key, seconds in state.measured.items():
        learned.setdefault(key, []).append(seconds)
    shares: dict[str, list[float]] = asked.__dict__.setdefault("_activity", {})
    for c in state.spikes.values():
        shares.setdefault(plan.tasks.tasks[c.task], []).append(c.activity)
    real = all(is_measured(plan, int(p)) for p in plan.schedule.device)
    replayed = replay(plan, state.measured, state.spikes)
    steps, moved = (tuple(state.steps), state.held.moves(plan)) if real else _replayed(plan, replayed)
    latency = wall if real else replayed.latency_s
    return Result(
        outputs, latency, "measured" if real else "simulated", asked.schedule.latency_s, replayed.energy_j, steps,
        moved, tuple(events), plan,
    )  # fmt: skip


def _output(model: Model, state: _State, value: int) -> Array:
    if value in model.lowered.graph.constants:
        return model.lowered.graph.constants[value]
    return state.held.on_host(value)


def replay(
    plan: Plan, measured: Mapping[tuple[int, int], float], spikes: Mapping[tuple[int, int], Counted] | None = None
) -> Schedule:
    """The schedule with measured times where there are any, those of counted events, and the model's elsewhere."""
    seconds, joules = plan.tasks.seconds.copy(), plan.tasks.joules.copy()
    for (i, p), s in measured.items():
        if np.isfinite(seconds[i, p]) and seconds[i, p] > 0:
            seconds[i, p] = s
    for (i, p), c in (spikes or {}).items():
        if np.isfinite(seconds[i, p]):
            seconds[i, p] = seconds[i, p] if c.seconds is None else c.seconds
            joules[i, p] = joules[i, p] if c.dynamic_j is None else c.dynamic_j
    tasks = replace(plan.tasks, seconds=seconds, joules=joules)
    return simulate(tasks, plan.schedule.device, plan.schedule.decisions)


def _replayed(plan: Plan, s: Schedule) -> tuple[tuple[Step, ...], tuple[Moved, ...]]:
    """Steps and transfers on the simulated clock."""
    g = plan.tasks
    steps: list[Step] = []
    for part in prepare(plan):
        tasks = sorted(computing(plan, part))
        status: Status = "measured" if is_measured(plan, part.node) else "simulated"
        began, ended = float(s.start_s[tasks].min()), float(s.finish_s[tasks].max())
        node = g.devices[part.node].name
        steps.append(Step(node, part.device.name, tuple(g.tasks[i] for i in tasks), began, ended, status))
    names = g.device_names
    moved = tuple(
        Moved(g.tensor_name(x.tensor), names[g.links[x.link].source], names[g.links[x.link].target],
              int(g.tensor_byte[x.tensor]), x.start_s, x.arrival_s, "simulated")
        for x in s.sends
    )  # fmt: skip
    return tuple(steps), moved
