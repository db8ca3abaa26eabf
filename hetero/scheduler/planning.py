"""`ht.plan`: from a graph, a topology and wishes to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hetero.errors import PlanError
from hetero.graph.ir import Graph
from hetero.profile.topology import Topology
from hetero.scheduler.activity import hints
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.lower import lower
from hetero.scheduler.plan import Model, Plan
from hetero.scheduler.request import Places, Request
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import Limits, TaskGraph

Wishes = Sequence[str] | Mapping[str, Places]


def plan(
    graph: Graph | TaskGraph,
    topology: Topology | str | Path | None = None,
    objective: str | Mapping[str, float] = "latency",
    *,
    deadline_s: float | None = None,
    peak_w: float | None = None,
    average_w: float | None = None,
    private: Wishes = (),
    pins: Mapping[str, Places] | None = None,
    colocate: Iterable[Sequence[str]] = (),
    inputs: Mapping[str, Places] | None = None,
    outputs: Mapping[str, Places] | None = None,
    sizes: Mapping[str, int] | None = None,
    activity: float | Mapping[str, float] | None = None,
    budget_s: float = 1.0,
    seed: int = 0,
) -> Plan:
    """Where each group of ops of `graph` should run on `topology`, when, for what, and why.

    topology   a Topology, the name of one (`robot`) or a TOML file; none for a TaskGraph, which has its own devices
    objective  latency, serial, throughput, energy or cost; or weights: {"latency": 1, "energy": 0.5} in s and J
    deadline_s, peak_w, average_w   hard limits: the makespan; the power of all nodes, at any time and on average
    private    names of inputs or ops whose data must not leave their zone: a list keeps each on the tier it starts on
               (an op: on the edge); {"camera": "jetson"} or {"camera": ["camera", "jetson"]} names nodes or tiers. All
               that is computed from them stays too, until `ht.release`
    pins       op -> node, several nodes, or a tier; the scheduler places the rest. An op is called by its name in the
               model, its file:line, its kind, or a pattern of these: "conv*"
    colocate   groups of ops that run on one node
    inputs     input -> the node where it starts; by default the first edge node, or the first node where none is edge
    outputs    output -> the node where it must arrive; by default it may stay where it is made
    sizes      values of named dimensions; those not given are 1
    activity   of spiking networks, the share of inputs and neurons that spike in a step: for all, or by name; if not
               given it is assumed, with a wide range, until `plan.learn()` has it from a run
    budget_s   seconds of search; the plan found is the same for the same seed as long as the search ends by itself

    Raises PlanError: the ops and the constraints that leave them nowhere to go, or every limit that no plan keeps.
    """
    limits = _limits(deadline_s, peak_w, average_w)
    if isinstance(graph, TaskGraph):
        return _plan_tasks(graph, objective, limits, budget_s, seed)
    if topology is None:
        raise PlanError("a graph is planned on a topology", hint="plan(graph, 'robot'); hetero profiles --topologies")
    place = topology if isinstance(topology, Topology) else Topology.load(topology)
    starts = _starts(graph, place, inputs or {})
    request = Request(
        objective=Objective.of(objective),
        limits=limits,
        pins=dict(pins or {}),
        colocate=tuple(map(tuple, colocate)),
        private=_zones(private, starts, place),
        inputs=starts,
        outputs=dict(outputs or {}),
        activity=hints(activity),
    )
    return planned(graph, place, request, dict(sizes or {}), budget_s, seed)


def planned(
    graph: Graph, topology: Topology, request: Request, sizes: Mapping[str, int], budget_s: float, seed: int
) -> Plan:
    """Lowered, solved, and kept together."""
    unknown = [s for s in sizes if s not in graph.symbols]
    if unknown:
        known = ", ".join(sorted(graph.symbols)) or "it has none"
        raise PlanError(f"{graph.name} has no dimension {', '.join(map(repr, unknown))}", hint=f"dimensions: {known}")
    full = {s: sizes.get(s, 1) for s in graph.symbols}
    lowered = lower(graph.specialize(full) if full or not graph.static else graph, topology, request)
    return Plan(
        lowered.tasks,
        solve(lowered.tasks, request.objective, budget_s=budget_s, seed=seed),
        tuple(g.ops for g in lowered.groups),
        lowered.bound_by,
        lowered.ends,
        {n.name: n.device for n in topology.nodes if n.device is not None},
        topology.currency,
        budget_s,
        seed,
        Model(graph, topology, request, full, lowered),
    )


def _plan_tasks(
    tasks: TaskGraph, objective: str | Mapping[str, float], limits: Limits, budget_s: float, seed: int
) -> Plan:
    """A task graph by itself; limits given here replace its own."""
    given = {k: v for k in Limits.__slots__ if (v := getattr(limits, k)) < float("inf")}
    if given:
        tasks = tasks.replace(limits=Limits(**{k: getattr(tasks.limits, k) for k in Limits.__slots__} | given))
    solution = solve(tasks, Objective.of(objective), budget_s=budget_s, seed=seed)
    blank = tuple("task" for _ in tasks.tasks)
    return Plan(tasks, solution, blank, (), budget_s=budget_s, seed=seed)


def _limits(deadline_s: float | None, peak_w: float | None, average_w: float | None) -> Limits:
    given = {"deadline_s": deadline_s, "peak_w": peak_w, "average_w": average_w}
    wrong = [f"{k} is {v}" for k, v in given.items() if v is not None and not 0 < v]
    if wrong:
        raise PlanError("; ".join(wrong), hint="limits are more than 0, in seconds and watts")
    return Limits(**{k: float(v) for k, v in given.items() if v is not None})


def _starts(graph: Graph, topology: Topology, given: Mapping[str, Places]) -> dict[str, Places]:
    """Where each input starts."""
    home = next((n.name for n in topology.nodes if n.tier == "edge"), topology.nodes[0].name)
    return {p.name: given.get(p.name, home) for p in graph.inputs} | dict(given)


def _zones(private: Wishes, starts: Mapping[str, Places], topology: Topology) -> dict[str, Places]:
    """Name -> zone; names alone stay on the tier where they start, and ops on the edge."""
    if isinstance(private, Mapping):
        return dict(private)
    tier = {n.name: n.tier for n in topology.nodes}
    return {name: tier.get(str(starts.get(name)), "edge") for name in private}
