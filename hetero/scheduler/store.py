"""Plans on disk: JSON, described in docs/plan.md. Nothing in a file is executed, and a damaged one is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero.errors import HeteroError, PlanError
from hetero.files import write_whole
from hetero.graph.ir import Graph
from hetero.scheduler.lower import Ends
from hetero.scheduler.reasons import reasons
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective, Solution
from hetero.scheduler.spiking_text import Counts, spiking_counts
from hetero.scheduler.taskgraph import TaskGraph

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

FORMAT, VERSION = "hetero.plan", 1


def to_dict(plan: Plan) -> dict[str, Any]:
    """The whole plan; every predicted number stands under a key that says it is an estimate."""
    g, s = plan.tasks, plan.schedule
    why = reasons(g, s.device)
    latency, energy = plan.latency_s, plan.energy_j
    return {
        "format": FORMAT,
        "version": VERSION,
        "graph": None if plan.model is None else plan.model.graph.key,
        "objective": dict(plan.objective.weights),
        "estimated": {
            "latency_s": [latency.low, latency.mid, latency.high],
            "energy_j": [energy.low, energy.mid, energy.high],
            "serial_s": s.serial_s,
            "period_s": s.period_s,
            "dynamic_j": s.dynamic_j,
            "transfer_j": s.transfer_j,
            "static_j": s.static_j,
            "money": s.money,
            "peak_byte": dict(zip(g.device_names, s.peak_byte.tolist(), strict=True)),
            "peak_w": s.peak_w,
            "spiking": [c.to_dict() for c in spiking_counts(plan)],
        },
        "value": plan.solution.value,
        "bound": plan.solution.bound,
        "gap": plan.solution.gap,
        "proven": plan.solution.proven,
        "method": plan.solution.method,
        "candidates": dict(plan.solution.candidates),
        "seconds": plan.solution.seconds,
        "notes": list(plan.solution.notes),
        "order": s.decisions.tolist(),
        "schedule": [
            {"task": g.tasks[i], "node": g.devices[p].name, "ops": plan.ops[i], "start_s": s.start_s[i],
             "finish_s": s.finish_s[i], "energy_j": g.joules[i, p], "reason": why[i]}
            for i, p in enumerate(s.device.tolist())
        ],
        "transfers": [
            {"tensor": g.tensor_name(x.tensor), "bytes": g.tensor_byte[x.tensor], "link": g.links[x.link].name,
             "from": g.device_names[g.links[x.link].source], "to": g.device_names[g.links[x.link].target],
             "start_s": x.start_s, "arrival_s": x.arrival_s}
            for x in s.sends
        ],
        "currency": plan.currency,
        "budget_s": plan.budget_s,
        "seed": plan.seed,
        "devices": dict(plan.devices or {}),
        "bound_by": [list(row) for row in plan.bound_by],
        "ends": _ends(plan),
        "request": None if plan.model is None else plan.model.request.to_dict(),
        "sizes": {} if plan.model is None else dict(plan.model.sizes),
        "tasks": g.to_dict(),
    }  # fmt: skip


def _ends(plan: Plan) -> dict[str, Any] | None:
    """The task graph at both ends of its intervals: the times and energies, and the links."""
    if plan.ends is None:
        return None
    each = {end: plan.ends.at(plan.tasks, end).to_dict() for end in ("low", "high")}
    return {end: {k: d.get(k, []) for k in ("tasks", "links")} for end, d in each.items()}


def save(plan: Plan, path: str | Path) -> None:
    """All or nothing: a reader never sees half a file."""
    text = json.dumps(finite(to_dict(plan)), indent=1, default=_plain, allow_nan=False)
    try:
        write_whole(path, text)
    except OSError as e:
        raise PlanError(f"cannot write the plan to {path}: {e}", hint="choose a folder that can be written to") from e


def load(path: str | Path, graph: Graph | None = None) -> Plan:
    """The plan in a file; a PlanError for anything else. Its schedule is simulated anew, never believed."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
        return from_dict(data, graph)
    except PlanError:
        raise
    except HeteroError as e:
        raise PlanError(f"{path} holds no plan: {e.problem}", hint=e.hint) from e
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError) as e:
        raise PlanError(f"cannot read a plan from {path}: {type(e).__name__}: {e}", hint="docs/plan.md") from e


def from_dict(data: Any, graph: Graph | None = None) -> Plan:
    """The plan that `to_dict` wrote."""
    from hetero.scheduler.plan import Plan
    from hetero.scheduler.validate import validate

    if data.get("format") != FORMAT or data.get("version") != VERSION:
        raise PlanError(f"this is no {FORMAT} of version {VERSION}")
    tasks = TaskGraph.from_dict(data["tasks"])
    index = {d: p for p, d in enumerate(tasks.device_names)}
    node_of = {row["task"]: index[row["node"]] for row in data["schedule"]}
    device = np.array([node_of[t] for t in tasks.tasks], np.int64)
    order = np.array(data["order"], np.int64)
    schedule = simulate(tasks, device, order)
    wrong = validate(tasks, schedule)
    if wrong:
        raise PlanError("its schedule breaks rules:\n" + "\n".join(f"  - {w}" for w in wrong))
    objective = Objective.of(data["objective"])
    value = schedule.value(objective)
    candidates = {str(k): float("inf") if v is None else float(v) for k, v in data["candidates"].items()}
    solution = Solution(
        schedule, objective, value, min(float(data["bound"]), value), str(data["method"]), candidates,
        float(data["seconds"]), tuple(map(str, data["notes"])),
    )  # fmt: skip
    ops = {row["task"]: str(row["ops"]) for row in data["schedule"]}
    plan = Plan(
        tasks,
        solution,
        tuple(ops[t] for t in tasks.tasks),
        tuple(tuple(map(str, row)) for row in data["bound_by"]),
        _read_ends(data, tasks),
        {str(k): str(v) for k, v in data["devices"].items()},
        str(data["currency"]),
        float(data["budget_s"]),
        int(data["seed"]),
        spiking=tuple(Counts.from_dict(row) for row in data["estimated"].get("spiking", ())),
    )
    return plan if graph is None else _with_graph(plan, data, graph)


def _read_ends(data: Any, tasks: TaskGraph) -> Ends | None:
    if data["ends"] is None:
        return None
    low, high = (TaskGraph.from_dict({**data["tasks"], **data["ends"][end]}) for end in ("low", "high"))
    if low.tasks != tasks.tasks or high.tasks != tasks.tasks:
        raise PlanError("the ends of its intervals are of other tasks")
    return Ends((low.seconds, high.seconds), (low.joules, high.joules), (low.links, high.links))


def _with_graph(plan: Plan, data: Any, graph: Graph) -> Plan:
    """Ready to run: the graph must be the one that was planned."""
    from hetero.scheduler.lower import regrouped
    from hetero.scheduler.plan import Model
    from hetero.scheduler.request import Request

    if data["graph"] != graph.key:
        raise PlanError("the plan was made for another graph", hint="give the graph that was planned, or plan anew")
    sizes = {str(k): int(v) for k, v in data["sizes"].items()}
    lowered = regrouped(graph.specialize(sizes) if sizes else graph, plan.tasks)
    return replace(plan, model=Model(graph, None, Request.from_dict(data["request"]), sizes, lowered))


def finite(value: Any) -> Any:
    """JSON has no infinity: null stands for it."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
