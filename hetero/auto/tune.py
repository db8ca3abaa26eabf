"""Trying every candidate of a graph at once, so that later runs, of other processes too, take the quickest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hetero.auto.choice import Auto, tuning
from hetero.errors import GraphError
from hetero.graph.ir import Graph


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate as measured: its best seconds, or why it is out."""

    name: str
    seconds: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What `tune` found for one graph, or for one part of a graph that runs in stages."""

    graph: str
    chosen: str
    trials: tuple[Trial, ...]
    settled: bool  # false: the time was over before every candidate had its runs

    def __str__(self) -> str:
        each = ", ".join(f"{t.name} {t.refused or f'{t.seconds * 1e3:.3g} ms'}" for t in self.trials)
        return f"{self.graph}: {self.chosen} (measured: {each})"


def tune(
    graph: Graph,
    feed: Mapping[str, Any],
    *,
    seconds: float = 30.0,
    told: Callable[[Auto], None] | None = None,
) -> list[Tuned]:
    """Run `graph` on every local device, several times each, until the quickest is known or `seconds` are over.

    What is found is kept on disk, for graphs of the same form on the same devices and versions. `told` is called after
    each run. A GraphError where `seconds` is no positive number.
    """
    if not seconds > 0:
        raise GraphError(f"tuning takes more than {seconds!r} seconds", hint="seconds=30.0")
    until = time.monotonic() + seconds
    met: dict[int, Auto] = {}
    begun = False
    while not met or (time.monotonic() < until and not all(a.settled() for a in met.values())):
        called: list[Auto] = []
        token = tuning.set(called)
        try:
            graph.run(feed, device="auto")
        finally:
            tuning.reset(token)
        new = [a for a in called if id(a) not in met]
        met |= {id(a): a for a in new}
        if not begun:
            for auto in new:
                auto.forget()
            begun = True
        if not called:
            break  # a graph without nodes
        if told is not None:
            for auto in called:
                told(auto)
    return [_tuned(a) for a in met.values()]


def _tuned(auto: Auto) -> Tuned:
    trials = tuple(Trial(c.name, c.best, c.refused) for c in auto.candidates)
    best = auto.chosen or min(auto.candidates, key=lambda c: c.best)
    return Tuned(auto.name, best.name, trials, auto.settled())
