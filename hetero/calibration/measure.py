"""Times of graphs on a device: data stays there, a call ends when the device has finished, the best of several counts.

The best is what repeats: whatever else runs on the machine only ever adds. Graphs are timed round after round, not one
after the other, so that a busy second spoils one round of many graphs and not every round of one. Before each timed
run a product of matrices runs, as it does in a network: the caches hold other data then, and threads of its library
may still spin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from time import perf_counter

import numpy as np

from hetero import registry
from hetero.compile import lower
from hetero.dim import concrete
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType
from hetero.spi import Backend, Buffer, Device, Executable

Clock = Callable[[], float]
Progress = Callable[[str, float], None]  # what is being done, and how much of the whole is


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: rounds over all graphs, and in each round runs of a graph for about `budget_s`."""

    rounds: int
    budget_s: float
    least: int = 2
    most: int = 40


COMPANY = 384  # rows and columns of the product before each run: 1.8 MB in all
LONG = 10  # budgets: a run of so many is not repeated within a round,
ENOUGH = 2  # and is left out of rounds beyond these
QUICK, FULL = Effort(5, 0.008, least=3, most=80), Effort(5, 0.014, least=3, most=80)


@dataclass
class Timed:
    """A graph that is ready to run, with the best time of each round so far."""

    executable: Executable
    types: tuple[TensorType, ...]
    seconds: list[float] = field(default_factory=list[float])

    @property
    def graph(self) -> Graph:
        """As it runs: lowered and fused."""
        return self.executable.graph

    @property
    def best(self) -> float:
        return min(self.seconds)


@dataclass(frozen=True, slots=True)
class Copying:
    """A copy between the host and the device."""

    latency_s: float
    byte_per_s: float

    @staticmethod
    def through(points: Sequence[tuple[int, float]]) -> Copying:
        """From the smallest and the largest of (bytes, seconds)."""
        (small, quick), (large, slow) = min(points), max(points)
        rate = (large - small) / max(slow - quick, 1e-12)
        return Copying(max(quick - small / rate, 0.0), rate)


class Bench:
    """One device with a clock; tests give a clock of their own."""

    def __init__(self, device: Device, clock: Clock = perf_counter) -> None:
        self.device, self.clock = device, clock
        self.backend: Backend = registry.load(device.backend)
        self._rng = np.random.default_rng(0)
        self._pool: dict[np.dtype[np.generic], Array] = {}
        self._company: tuple[Timed, list[Buffer]] | None = None

    def prepare(self, graph: Graph) -> Timed:
        """Compiled; nothing has run yet."""
        executable = self.backend.compile(lower(graph, self.backend, self.device), self.device)
        return Timed(executable, tuple(graph.input_types.values()))

    def inputs(self, types: Sequence[TensorType]) -> list[Buffer]:
        """Data on the device. Numbers near one: none is so small that it slows a processor down, and long sums stay
        finite. No two inputs share memory, which would make the caches look larger than they are."""
        taken: dict[np.dtype[np.generic], int] = {}
        total: dict[np.dtype[np.generic], int] = {}
        for t in types:
            total[t.dtype] = total.get(t.dtype, 0) + prod(concrete(t.known))
        out: list[Buffer] = []
        for t in types:
            shape, at = concrete(t.known), taken.get(t.dtype, 0)
            size = prod(shape)
            array = self._values(t.dtype, total[t.dtype])[at : at + size].reshape(shape)
            out.append(self.backend.from_host(array, self.device))
            taken[t.dtype] = at + size
        return out

    def _values(self, dtype: np.dtype[np.generic], size: int) -> Array:
        """Read-only numbers of a pool: drawing anew would take longer than most runs."""
        pool = self._pool.get(dtype)
        if pool is None or pool.size < size:
            pool = self._pool[dtype] = self._drawn(dtype, max(size, 1 << 16))
        return pool

    def _drawn(self, dtype: np.dtype[np.generic], size: int) -> Array:
        kind = dtype.kind
        drawn = self._rng.integers(0, 2 if kind == "b" else 50, size) if kind in "iub" else self._rng.random(size) + 0.5
        out = drawn.astype(dtype)
        out.setflags(write=False)
        return out

    def once(self, timed: Timed, buffers: Sequence[Buffer]) -> float:
        """Seconds of one run, in company."""
        self._accompany()
        start = self.clock()
        out = timed.executable(*buffers)
        self.backend.synchronize(self.device)
        spent = self.clock() - start
        del out
        return spent

    def _accompany(self) -> None:
        """Run what a network may have run before."""
        if self._company is None:
            side = TensorType((COMPANY, COMPANY), np.dtype(np.float32))
            b = Builder("company", track=False)
            timed = self.prepare(b.build([b("matmul", b.input("a", side), b.input("b", side))]))
            self._company = timed, self.inputs(timed.types)
        timed, buffers = self._company
        timed.executable(*buffers)
        self.backend.synchronize(self.device)

    def round(self, timed: Timed, effort: Effort) -> None:
        """One round: a run to warm up, then runs until the budget is spent. What takes very long needs no warming."""
        long = LONG * effort.budget_s
        if len(timed.seconds) >= ENOUGH and timed.best > long > 0:
            return
        buffers = self.inputs(timed.types)
        start, best = self.clock(), self.once(timed, buffers)
        if best > long > 0:
            timed.seconds.append(best)
            return
        best = float("inf")
        for run in range(effort.most):
            best = min(best, self.once(timed, buffers))
            if run + 1 >= effort.least and self.clock() - start >= effort.budget_s:
                break
        timed.seconds.append(best)

    def measure(self, graphs: Sequence[Graph], effort: Effort, progress: Progress | None = None) -> list[Timed]:
        """All graphs, round after round."""
        made: list[Timed] = []
        for k, graph in enumerate(graphs):
            made.append(self.prepare(graph))
            _tell(progress, "compile", k + 1, len(graphs))
        for r in range(effort.rounds):
            for k, timed in enumerate(made):
                self.round(timed, effort)
                _tell(progress, f"measure, round {r + 1} of {effort.rounds}", k + 1, len(made))
        return made

    def more(self, timed: Sequence[Timed], effort: Effort, progress: Progress | None = None) -> None:
        """More rounds of some: for times that look spoilt."""
        for k, one in enumerate(timed):
            for _ in range(effort.rounds):
                self.round(one, effort)
            _tell(progress, "measure again", k + 1, len(timed))

    def copying(self) -> Copying:
        """Copies of several sizes to the device and back, the best of a few each."""
        sizes = (1 << 10, 1 << 16, 1 << 20, 1 << 24)
        return Copying.through([(n, self._copy_s(n)) for n in sizes])

    def _copy_s(self, nbytes: int, turns: int = 5) -> float:
        """There and back, halved."""
        type = TensorType((nbytes // 4,), np.dtype(np.float32))
        array = self._values(type.dtype, nbytes // 4)[: nbytes // 4]
        best = float("inf")
        for _ in range(turns):
            start = self.clock()
            buffer = self.backend.from_host(array, self.device)
            self.backend.synchronize(self.device)
            self.backend.to_host(buffer, type, self.device)
            best = min(best, (self.clock() - start) / 2)
        return best


def _tell(progress: Progress | None, what: str, done: int, of: int) -> None:
    if progress is not None:
        progress(what, done / of)
