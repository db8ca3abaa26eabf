"""What candidates share: ranks, prices and bounds of one task graph, each computed when first asked for."""

from __future__ import annotations

from functools import cached_property

from hetero.scheduler.algorithms import ranks
from hetero.scheduler.algorithms.prices import Prices, prices
from hetero.scheduler.flat import Flat
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import Floats, TaskGraph


class Context:
    """One task graph and what is wanted of it."""

    def __init__(self, g: TaskGraph, objective: Objective) -> None:
        self.g, self.objective = g, objective
        self.flat: Flat = g.flat

    @cached_property
    def upward(self) -> Floats:
        return ranks.upward(self.flat)

    @cached_property
    def tails(self) -> Floats:
        return ranks.tails(self.flat)

    @cached_property
    def mean_tails(self) -> Floats:
        return ranks.tails(self.flat, mean=True)

    @cached_property
    def prices(self) -> Prices:
        return prices(self.flat)

    @cached_property
    def heft_order(self) -> list[int]:
        return ranks.by_rank(self.flat, self.upward)
