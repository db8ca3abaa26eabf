"""Search after the first schedules: annealing from the best of them, and list scheduling with shaken prices and ranks.

What is done depends on the number of evaluations alone; the clock only ends it. So a number of evaluations gives the
same schedule wherever it is given time to finish, compiled or not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hetero.scheduler.algorithms import anneal, lists, ranks
from hetero.scheduler.algorithms.candidates import peft, peft_links, single_devices
from hetero.scheduler.algorithms.coarsen import Coarse, coarsened
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.judge import Judge, Score
from hetero.scheduler.algorithms.lists import Assigned, Rule

HOT = (0.5, 2.0, 1.0)  # first temperatures, in parts of the value for each task; the runs take turns
COLD = 0.05  # the last temperature, in parts of the first
HOTTER = (2.0, 1.0, 4.0)  # while a limit is broken: what keeps it may look quite different
WARM = 0.2  # the first temperature after a coarser level
STARTS = 2  # schedules of the coarsest level that are annealed
RUNS = 4  # of annealing, at most; each must have STEPS times as many steps as tasks
STEPS = 400  # as many as a run needs to settle
PENALTY = 5.0  # of being once above a limit, in parts of the value
ANNEALED = 3000  # tasks up to which single moves are worth simulating everything
SHAKEN = 1000  # tasks from which shaken lists come first
LIST_COST = 12  # evaluations that one list scheduling is counted as
SECOND = {True: 1.5e8, False: 5.0e5}  # tasks and readings simulated a second, compiled and not: turns time into steps


class Best(NamedTuple):
    """The best schedule so far and what found it."""

    made: Assigned
    score: Score
    method: str


def evaluations(c: Context, seconds: float, *, compiled: bool) -> int:
    """How many evaluations are planned for so many seconds."""
    return int(max(seconds, 0.0) * SECOND[compiled] / (c.flat.n + len(c.flat.consumer) + 1))


def search(
    c: Context, judge: Judge, elite: Sequence[Best], number: int, *, seed: int, seconds: float, good: float
) -> Best:
    """The best met in `number` evaluations or `seconds`, and not looked on below the value `good`."""
    stop_at = time.time() + seconds
    best, left = elite[0], number
    if c.flat.count < 2 or number < 1:
        return best
    if judge.timed and c.flat.n >= SHAKEN:
        share = left if c.flat.n > ANNEALED else left // 2
        best, used = _shaken(c, judge, best, share // LIST_COST, seed, stop_at)
        left -= used * LIST_COST
    if c.flat.n > ANNEALED:
        return best
    fits = best.score.excess == 0
    spread, used = _multilevel(c, left // 2, seed, stop_at) if fits else (None, 0)
    judge.evaluations += used
    if spread is not None:
        score = judge.score(spread)
        best = min(best, Best(spread, score, "levels"), key=_score)
        elite, left = [Best(spread, score, "levels"), *elite], left - used - 1
    runs = max(1, min(RUNS, left // (STEPS * c.flat.n)))
    for r in range(runs):
        if (best.score.excess == 0 and best.score.value <= good) or time.time() > stop_at:
            break
        start = best if c.flat.n >= SHAKEN or r >= len(elite) else elite[r]
        hot = (HOT if fits else HOTTER)[r % len(HOT)]
        found = _annealed(judge, start, left // runs, seed * RUNS + r, hot, stop_at)
        if found.score < best.score:
            best = found
    return best


def _score(best: Best) -> Score:
    return best.score


def _multilevel(c: Context, number: int, seed: int, stop_at: float) -> tuple[Assigned | None, int]:
    """A schedule found on smaller graphs that stand for this one, smallest first; and evaluations of this size."""
    levels: list[Coarse] = []
    while (smaller := coarsened(levels[-1].c if levels else c)) is not None:
        levels.append(smaller)
    if not levels:
        return None, 0
    made, used = None, 0.0
    for level in reversed(levels):
        judge = Judge(level.c)
        tried = _first(level.c, judge) if made is None else [made]
        size = level.c.flat.n / c.flat.n
        steps = int(number / len(levels) / size / len(tried))
        hot = HOT[0] if made is None else WARM
        found = [
            _annealed(judge, Best(m, judge.score(m), ""), steps, seed * RUNS + j, hot, stop_at)
            for j, m in enumerate(tried)
        ]
        used += steps * len(tried) * size
        made = level.expand(min(found, key=_score).made)
    return made, int(used)


def _first(c: Context, judge: Judge) -> list[Assigned]:
    """The best few schedules of quick candidates."""
    made = [m for make in (single_devices, peft, peft_links) for _, m in make(c, None) if m is not None]
    return sorted(made, key=judge.score)[:STARTS]


def _annealed(judge: Judge, start: Best, steps: int, seed: int, hot: float, stop_at: float) -> Best:
    value = start.score.value
    cool = COLD ** (1 / max(steps, 1))
    plan = anneal.Plan(steps, seed, hot * value / judge.flat.n, cool, PENALTY * value, stop_at)
    made, score, _ = anneal.anneal(judge, start.made, plan)
    return Best(made, score, f"annealing from {start.method.removeprefix('annealing from ')}")


def _shaken(c: Context, judge: Judge, best: Best, number: int, seed: int, stop_at: float) -> tuple[Best, int]:
    """List scheduling again and again, prices and ranks a little different each time."""
    rng = np.random.default_rng([seed, c.flat.n])
    flat, regret, rank = c.flat, c.prices.regret_s * c.flat.count, c.upward
    for k in range(number):
        alpha, contended = 10 ** rng.uniform(-0.3, 2.3), bool(rng.random() < 0.7)
        noise = 1 + rng.uniform(0, 0.1) * rng.standard_normal(flat.n)
        tails = c.tails * (rng.random() < 0.3) * rng.uniform(0.3, 1)
        order = list(ranks.by_ready(flat, rank * noise))
        cost = flat.seconds + alpha * regret + np.where(np.isfinite(tails), tails, 0.0)
        made = lists.schedule(flat, order, Rule(cost, insertion=True, contended=contended))
        if made is not None:
            score = judge.score(made, best.score.value if not best.score.excess else np.inf)
            if score < best.score:
                best = Best(made, score, f"shaken prices {alpha:.2g}")
        if time.time() > stop_at:
            return best, k + 1
    return best, number
