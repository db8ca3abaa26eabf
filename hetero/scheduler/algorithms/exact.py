"""The least makespan by constraint programming (CP-SAT of ortools, extra `exact`), for small task graphs, with a bound.

Two searches at once. One, without linear relaxation, looks for anything better than the best schedule known, again and
again; when there is nothing, that one is optimal. The other asks whether much less is possible, with the relaxation,
which sees loads: what is refused is a bound, for graphs on which the first does not come to an end. Only what the
first one finds is kept where it ends, so that the result does not depend on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hetero.scheduler.algorithms.exact_model import Model
from hetero.scheduler.algorithms.heads import Ends, ends
from hetero.scheduler.algorithms.hooks import Answer, Asked
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective, Schedule
from hetero.scheduler.taskgraph import TaskGraph

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

BETTER = 5e-7  # relative: what is not so much better is not looked for
SHARE = 0.3  # of the way from the bound to the best that the other search asks for first
PATIENCE = 0.3  # of the time left that it spends on one question
LEAST_S = 0.05  # no question is worth asking for less time
MISSING = "not proven: pip install 'hetero[exact]' brings the exact solver"


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What was found: a better schedule, or None; a bound in seconds; whether the search ended by itself."""

    made: Assigned | None
    bound_s: float
    ended: bool


def installed() -> bool:
    """Whether ortools is there; it is imported when it is first used."""
    return find_spec("ortools") is not None


def applies(objective: Objective) -> bool:
    """Whether there is anything that `prove` can do for it here."""
    return set(objective.weights) == {"latency"} and installed()


def prove(asked: Asked) -> Answer:
    """The least makespan, from the best schedule and the best bound so far; other objectives are left alone."""
    weight = asked.objective.weights.get("latency", 0.0)
    if set(asked.objective.weights) != {"latency"} or asked.value <= 0:
        return Answer(None)
    if not installed():
        return Answer(None, note=MISSING)
    known = simulate(asked.g, asked.start.device, asked.start.order)
    proof = least_makespan(asked.g, known, asked.bound / weight, asked.seconds, asked.seed)
    note = "exact: searched to the end" if proof.ended else f"exact: stopped after {asked.seconds:.2g} s"
    return Answer(proof.made, proof.bound_s * weight, note)


def least_makespan(g: TaskGraph, known: Schedule, bound_s: float, budget_s: float, seed: int) -> Proof:
    """What CP-SAT finds within its time."""
    race = _Race(g, known, bound_s, time.perf_counter() + max(budget_s, 0.01), seed)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(race.ask)
        try:
            race.improve()
        finally:
            race.end()
        asking.result()
    return race.proof()


class _Race:
    """The two searches, and what they found."""

    def __init__(self, g: TaskGraph, known: Schedule, bound_s: float, until: float, seed: int) -> None:
        self._g, self._until, self._seed = g, until, seed
        self._ends: Ends = ends(g.flat)
        self._bound_s = max(bound_s, self._ends.bound_s(g.flat))
        self._best_s = known.latency_s
        self._made: Assigned | None = None
        self._other: tuple[float, Assigned] | None = None  # the best of the other search
        self._ended = self._bound_s >= self._best_s * (1 - BETTER)
        self._stop: Callable[[], None] | None = None
        self._over = False

    def improve(self) -> None:
        """Better schedules, until there is none."""
        from ortools.sat.python import cp_model

        while not self._ended and self._left() > 0:
            model = Model(self._g.flat, self._ends, self._best_s, 1 - BETTER)
            model.cp.minimize(model.makespan)
            solver = self._solver(relaxation=0)
            status = solver.solve(model.cp)
            self._ended = status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)
            if status == cp_model.INFEASIBLE:
                self._bound_s = self._best_s * (1 - BETTER)
            if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                return
            low = solver.best_objective_bound * model.tick_s
            self._bound_s = max(self._bound_s, low)
            value, made = self._read(model, solver)
            if value >= self._best_s:
                return
            self._best_s, self._made = value, made

    def ask(self) -> None:
        """Whether a makespan between the bound and the best is possible, nearer to the bound after each silence."""
        from ortools.sat.python import cp_model

        share = SHARE
        while not self._ended and not self._over and self._left() > LEAST_S:
            best_s, low = min(self._best_s, self._other[0] if self._other else self._best_s), self._bound_s
            if low >= best_s * (1 - BETTER):
                return
            target = low + share * (best_s - low)
            model = Model(self._g.flat, self._ends, best_s, target / best_s)
            solver = self._solver(relaxation=2)
            solver.parameters.max_time_in_seconds = PATIENCE * self._left()
            self._stop = solver.stop_search
            status = cp_model.UNKNOWN if self._over else solver.solve(model.cp)
            self._stop = None
            if status == cp_model.INFEASIBLE:
                self._bound_s = max(self._bound_s, target)
            elif status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                found = self._read(model, solver)
                self._other = found if self._other is None or found[0] < self._other[0] else self._other
            else:
                share /= 2

    def end(self) -> None:
        """Stops the other search."""
        self._over = True
        stop = self._stop
        if stop:
            stop()

    def proof(self) -> Proof:
        made = self._made
        if not self._ended and self._other is not None and self._other[0] < self._best_s:
            self._best_s, made = self._other
        return Proof(made, min(self._bound_s, self._best_s), self._ended)

    def _left(self) -> float:
        return self._until - time.perf_counter()

    def _solver(self, relaxation: int) -> cp_model.CpSolver:
        from ortools.sat.python import cp_model

        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = max(self._left(), 0.01)
        solver.parameters.num_workers = 1
        solver.parameters.linearization_level = relaxation
        solver.parameters.random_seed = self._seed % 2**31
        return solver

    def _read(self, model: Model, solver: cp_model.CpSolver) -> tuple[float, Assigned]:
        """The quickest schedule that the solution stands for."""
        tries = [(simulate(self._g, a.device, a.order).latency_s, a) for a in model.read(solver)]
        return min(tries, key=lambda found: found[0])
