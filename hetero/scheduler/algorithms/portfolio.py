"""All candidates, judged by the one simulator; then search; then proof. The best found is the plan.

By construction no plan is worse than any single device, priority-greedy, HEFT, CPOP or PEFT: all are candidates.
For large graphs prices may prove that a baseline would be worse than what is there already; it is then not finished.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler import native
from hetero.scheduler.algorithms.additive import seeds
from hetero.scheduler.algorithms.booking import pushed
from hetero.scheduler.algorithms.bounds import BOUNDS, bound
from hetero.scheduler.algorithms.candidates import BASELINES, CANDIDATES, Maker, assigned, large
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.exact import applies, prove
from hetero.scheduler.algorithms.hooks import Asked, Exact, Seeder
from hetero.scheduler.algorithms.judge import NONE, Judge, Score
from hetero.scheduler.algorithms.lists import Assigned, Stop
from hetero.scheduler.algorithms.search import Best, evaluations, search
from hetero.scheduler.native import bridge
from hetero.scheduler.simulate import Times, has_ways, simulate, timed
from hetero.scheduler.solution import Objective, Solution
from hetero.scheduler.taskgraph import INF, TaskGraph
from hetero.scheduler.validate import check

SEEDS: Mapping[str, Seeder] = {"additive": seeds}  # name -> assignments of other solvers
EXACT: Exact = prove  # proves small schedules best
EXACT_TASKS = 60  # graphs up to this size are given to it
BIG = 20_000  # tasks from which only what is needed is tried
NEAR = 0.1  # relative: how far from the bound big graphs are left as they are
ELITE = 4  # different schedules that the search starts from
SEARCH_SHARE = 0.2  # of the time left, where an exact solver follows
SAME = 1e-9  # relative: a value so close to its bound is optimal


@dataclass
class _Race:
    """Candidates so far."""

    c: Context
    judge: Judge
    values: dict[str, float] = field(default_factory=dict[str, float])
    found: list[Best] = field(default_factory=list[Best])
    bound: float = -INF
    notes: list[str] = field(default_factory=list[str])
    kept: tuple[Assigned, Times] | None = None

    @property
    def best(self) -> Best:
        return min(self.found, key=lambda b: b.score)

    def enter(self, name: str, made: Assigned | None) -> None:
        """Judge a candidate; None: it found no way."""
        if made is None:
            stopped = self.stop() is not None
            self.values[name] = self.best.score.value if stopped else INF
            self.notes += [f"{name}: stopped, prices prove it no better than {self.best.method}"] * stopped
            return
        worst = self.surely_worse(made)
        if worst is not None:
            self.values[name] = worst
            return
        score = self._score(made)
        self.values[name] = INF if score.excess else score.value
        if score.excess < INF:
            self.found.append(Best(made, score, name))

    def _score(self, made: Assigned) -> Score:
        """Of big graphs the times are kept, for the record at the end."""
        if self.c.flat.n < BIG or not self.judge.plain:
            return self.judge.score(made)
        times = timed(self.c.flat, made.device, made.order) if has_ways(self.c.flat, made.device) else None
        if times is None:
            return NONE
        score = Score(0.0, times.makespan_s * self.judge.per_second)
        if not self.found or score < self.best.score:
            self.kept = (made, times)
        return score

    def surely_worse(self, made: Assigned) -> float | None:
        """For large graphs: the load of the busiest device where that alone is more than the best value."""
        flat = self.c.flat
        if flat.n < BIG or not self.judge.plain or not self.found:
            return None
        load = np.bincount(made.device, flat.seconds[np.arange(flat.n), made.device])
        value = float(load.max()) * self.judge.per_second
        return value if value > self.best.score.value else None

    def stop(self) -> Stop | None:
        """Ends list schedulers of large graphs early, once prices prove them worse than the best."""
        if self.c.flat.n < BIG or not self.judge.plain or not self.found:
            return None
        prices = self.c.prices
        return Stop(prices.regret_s, self.best.score.value / self.judge.per_second - prices.bound_s)

    def near(self) -> bool:
        """Of a big graph, when nothing but its order counts: so near the bound that seeds are not worth their time."""
        big = self.c.flat.n >= BIG and self.judge.plain and bool(self.found)
        return big and self.best.score.value <= self.bound * (1 + NEAR)

    def elite(self) -> list[Best]:
        """The best schedules of different value, the best first."""
        by_value: dict[tuple[float, float], Best] = {}
        for each in sorted(self.found, key=lambda b: b.score):
            by_value.setdefault((round(each.score.excess, 9), float(f"{each.score.value:.9g}")), each)
        return list(by_value.values())[:ELITE]

    def optimal(self) -> bool:
        return bool(self.found) and not self.best.score.excess and self.best.score.value <= self.bound * (1 + SAME)


def solve(
    g: TaskGraph,
    objective: str | Mapping[str, float] | Objective = "latency",
    *,
    budget_s: float = 1.0,
    seed: int = 0,
    exact: Exact | bool | None = None,
    max_evaluations: int | None = None,
) -> Solution:
    """The best schedule found in about `budget_s`, its bound, and every candidate's value.

    Candidates always run to the end, since no plan may be worse than they are; the search takes what is left of the
    budget, and is the same for the same seed as long as it is not cut short. `max_evaluations` fixes the number of
    schedules that it tries, whatever the time. `exact`: False for none, a function for another one than the default.
    """
    with _no_collector() if g.n >= BIG else nullcontext():
        return _solved(Context(g, Objective.of(objective)), budget_s, seed, exact, max_evaluations)


@contextmanager
def _no_collector() -> Generator[None]:
    """Python's cyclic garbage collector paused: what is made has no cycles, and looking for some took a fifth."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _solved(c: Context, budget_s: float, seed: int, exact: Exact | bool | None, most: int | None) -> Solution:
    """What `solve` gives."""
    began = time.perf_counter()
    race = _Race(c, Judge(c))
    for make in _makers(c):
        for name, made in make(c, race.stop()):
            race.enter(name, made)
    race.bound = bound(c)
    for name, seeder in SEEDS.items():
        if race.near():
            race.notes.append(f"{name}: not tried, within {NEAR:.0%} of the bound already")
            continue
        for given in seeder(c):
            race.enter(given.name, assigned(c, given.device))
            race.bound = max(race.bound, given.bound)
    if not race.found:
        raise PlanError(f"no schedule of {c.g.name!r}: every candidate needs a link that is not there")
    prover = EXACT if exact in (None, True) else exact or None
    prover = prover if callable(prover) and c.flat.n <= EXACT_TASKS else None
    share = SEARCH_SHARE if prover and (prover is not prove or applies(c.objective)) else 1.0
    best = _searched(race, seed, began, budget_s, most, share)
    race.found.append(best)
    best = _rebooked(race)
    if prover and not race.optimal():
        best = _proved(race, prover, budget_s - (time.perf_counter() - began), seed)
    return _solution(race, best, began)


def _makers(c: Context) -> Iterator[Maker]:
    """For big graphs a good candidate first, so that it can stop the others, and then the baselines only."""
    if c.flat.n < BIG:
        yield from CANDIDATES.values()
    else:
        yield from (large, *BASELINES.values())


def _searched(race: _Race, seed: int, began: float, budget_s: float, most: int | None, share: float) -> Best:
    """The best after search."""
    if race.optimal():
        return race.best
    c = race.c
    compiled = bridge.kernels(c.flat) is not None
    left = (budget_s - (time.perf_counter() - began) - _ending_s(c)) * share
    number = evaluations(c, budget_s * share, compiled=compiled) if most is None else most
    seconds = INF if most is not None else left
    if seconds <= 0:
        return race.best
    before = race.judge.evaluations
    best = search(c, race.judge, race.elite(), number, seed=seed, seconds=seconds, good=race.bound * (1 + SAME))
    race.values["search"] = INF if best.score.excess else best.score.value
    race.notes.append(f"search: {race.judge.evaluations - before} schedules tried")
    return best


def _ending_s(c: Context) -> float:
    """Seconds that the record and its validation will take, about."""
    return 4e-6 * (c.flat.n + len(c.flat.consumer))


def _rebooked(race: _Race) -> Best:
    """The best after its transfers were booked in other orders."""
    c, best = race.c, race.best
    if not race.judge.timed or c.flat.n >= BIG or not c.flat.queues:
        return best
    times = timed(c.flat, best.made.device, best.made.order)
    for name, made in pushed(c.flat, best.made, times.start_s, times.finish_s):
        race.enter(name, made)
    return race.best


def _proved(race: _Race, prover: Exact, seconds: float, seed: int) -> Best:
    """The best after an exact solver, whose bound is kept."""
    best = race.best
    answer = prover(Asked(race.c.g, race.c.objective, best.made, best.score.value, race.bound, max(seconds, 0.0), seed))
    race.bound = max(race.bound, answer.bound)
    race.notes += [answer.note] * bool(answer.note)
    race.enter("exact", answer.made) if answer.made else None
    return race.best


def _solution(race: _Race, best: Best, began: float) -> Solution:
    """The full record of the best, validated; a PlanError when it breaks a limit."""
    c = race.c
    known = race.kept[1] if race.kept and race.kept[0] is best.made else None
    schedule = simulate(c.g, best.made.device, best.made.order, known)
    if schedule.violations:
        raise _impossible(c, schedule.violations)
    check(c.g, schedule)
    value = schedule.value(c.objective)
    notes, seconds = (*race.notes, f"search in {native.status().partition(':')[0]} code"), time.perf_counter() - began
    return Solution(schedule, c.objective, value, min(race.bound, value), best.method, race.values, seconds, notes)


def _impossible(c: Context, violations: tuple[str, ...]) -> PlanError:
    """Every limit that the best attempt breaks, and what no schedule at all can keep."""
    lines = [f"  - {v}" for v in violations]
    shortest = BOUNDS["latency"](c)
    if shortest > c.g.limits.deadline_s:
        lines.append(f"  - impossible: no schedule takes less than {shortest:.6g} s")
    room = sum(d.memory_byte for d in c.g.devices)
    least = float(np.where(c.flat.mask, c.flat.resident_byte, np.inf).min(1).sum())
    if least > room:
        lines.append(f"  - impossible: the tasks keep at least {least:.6g} B, all devices have {room:.6g} B")
    hint = "loosen a limit, or give the search more time (budget_s)"
    return PlanError(
        f"no plan for {c.g.name!r} keeps every limit; the best found breaks\n" + "\n".join(lines), hint=hint
    )


__all__ = ["EXACT", "SEEDS", "Score", "solve"]
