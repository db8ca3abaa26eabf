"""The plan: where each group of ops runs, when, what it costs, and why; printed, explained, saved and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hetero.graph.ir import Graph
from hetero.profile.quantity import Interval
from hetero.profile.topology import Topology
from hetero.scheduler.lower import Ends, Lowered
from hetero.scheduler.request import Request
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective, Schedule, Solution
from hetero.scheduler.taskgraph import LinkSpec, TaskGraph

if TYPE_CHECKING:
    from hetero.scheduler.explain import Choice, Flip
    from hetero.scheduler.pareto import Front
    from hetero.scheduler.result import Result
    from hetero.scheduler.spiking_text import Counts
    from hetero.scheduler.validate import Crossing


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What was planned, as given: enough to lower it again."""

    graph: Graph  # as the person gave it, dimensions open
    topology: Topology | None  # None: loaded, so only the task graph can be planned again
    request: Request
    sizes: Mapping[str, int]
    lowered: Lowered


@dataclass(frozen=True, eq=False)
class Plan:
    """A schedule of a task graph, with everything needed to read it. Numbers are estimates of the cost model."""

    tasks: TaskGraph
    solution: Solution
    ops: tuple[str, ...]  # by task: the ops of its group; empty for an input or output
    bound_by: tuple[tuple[str, ...], ...]  # (n, P) what decides the time: compute, memory, launch, ...
    ends: Ends | None = None  # None: the times are exact as given
    devices: Mapping[str, str] | None = None  # node -> real device that it is bound to
    currency: str = ""
    budget_s: float = 1.0
    seed: int = 0
    model: Model | None = None  # None: made from tasks alone, or loaded without its graph
    spiking: tuple[Counts, ...] | None = None  # as the file has them; None: not loaded from one

    # -- what it says -------------------------------------------------------------------------------------

    @property
    def schedule(self) -> Schedule:
        return self.solution.schedule

    @property
    def objective(self) -> Objective:
        return self.solution.objective

    @property
    def placement(self) -> dict[str, str]:
        """Task -> node."""
        names = self.tasks.device_names
        return {t: names[p] for t, p in zip(self.tasks.tasks, self.schedule.device.tolist(), strict=True)}

    @property
    def latency_s(self) -> Interval:
        """Makespan, with the cost model's uncertainty carried through."""
        return self._interval("latency_s")

    @property
    def energy_j(self) -> Interval:
        return self._interval("energy_j")

    @property
    def money(self) -> float:
        """In the topology's currency."""
        return self.schedule.money

    def _interval(self, name: str) -> Interval:
        mid = getattr(self.schedule, name)
        if self.ends is None:
            return Interval(mid, mid, mid)
        low, high = (
            getattr(simulate(self.ends.at(self.tasks, end), self.schedule.device, self.schedule.decisions), name)
            for end in ("low", "high")
        )
        return Interval(min(low, mid), mid, max(high, mid))

    def __str__(self) -> str:
        from hetero.scheduler.text import text

        return text(self)

    # -- questions ----------------------------------------------------------------------------------------

    def explain(self, op: str) -> Choice:
        """Why `op` is where it is: each alternative and its price. Print it."""
        from hetero.scheduler.explain import explain

        return explain(self, op)

    def sensitivity(self) -> list[Flip]:
        """For each link the bandwidth at which another placement wins; for open dimensions the size; the deadline."""
        from hetero.scheduler.explain import sensitivity

        return sensitivity(self)

    def pareto(self, points: int = 9) -> Front:
        """Plans of which none is better than another in latency, energy and cost at once."""
        from hetero.scheduler.pareto import pareto

        return pareto(self, points)

    def audit(self) -> list[Crossing]:
        """Every tensor that crosses a link: what it carries, between which nodes, and why it may."""
        from hetero.scheduler.validate import audit

        return audit(self.tasks, self.schedule)

    # -- variants -----------------------------------------------------------------------------------------

    def solved(self, tasks: TaskGraph, objective: Objective | None = None, budget_s: float | None = None) -> Plan:
        """Other tasks, or another objective, planned with the same seed."""
        from hetero.scheduler.algorithms.portfolio import solve

        budget = self.budget_s if budget_s is None else budget_s
        solution = solve(tasks, objective or self.objective, budget_s=budget, seed=self.seed)
        return replace(self, tasks=tasks, solution=solution, spiking=None)

    def without(self, name: str) -> Plan:
        """Plan B: the same work with the link or node `name` lost, compiled ahead on the devices that are here."""
        from hetero.scheduler.variants import without

        return without(self, name)

    def with_links(self, links: tuple[LinkSpec, ...]) -> TaskGraph:
        """The tasks over other links."""
        return replace(self.tasks, links=links)

    def learn(self) -> Plan:
        """The plan again, with the times that runs of this one measured instead of the model's."""
        return import_module("hetero.scheduler.learn").learn(self)

    # -- running and keeping ------------------------------------------------------------------------------

    def run(self, feed: Mapping[str, Any]) -> Result:
        """Outputs by name, and what happened: measured on bound devices, simulated elsewhere, and said so."""
        return import_module("hetero.scheduler.run").run(self, feed)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (docs/plan.md)."""
        from hetero.scheduler.store import to_dict

        return to_dict(self)

    def save(self, path: str) -> None:
        """Write the JSON form to `path`."""
        from hetero.scheduler.store import save

        save(self, path)

    @staticmethod
    def load(path: str, graph: Graph | None = None) -> Plan:
        """The plan that `save` wrote; with its graph it runs again."""
        from hetero.scheduler.store import load

        return load(path, graph)

    def report(self, path: str) -> None:
        """One HTML file with timeline, placement, reasons and Pareto front."""
        import_module("hetero.report.html").write(self, path)
