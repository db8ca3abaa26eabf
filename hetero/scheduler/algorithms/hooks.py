"""What other solvers plug in: assignments to start from, and proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import INF, Ints, TaskGraph


class Seed(NamedTuple):
    """Devices of all tasks that some other solver likes; the portfolio finds an order and judges them."""

    name: str
    device: Ints
    bound: float = -INF  # a lower bound of the whole objective, if the solver has one


class Asked(NamedTuple):
    """What an exact solver gets: the best schedule so far, the best bound so far, and how long it may take."""

    g: TaskGraph
    objective: Objective
    start: Assigned
    value: float
    bound: float
    seconds: float
    seed: int


class Answer(NamedTuple):
    """What it gives back: a better schedule if it found one, a bound (-inf: none), and what to tell people."""

    made: Assigned | None
    bound: float = -INF
    note: str = ""


Seeder = Callable[[Context], Iterable[Seed]]
Exact = Callable[[Asked], Answer]
