"""Additive objectives: cuts and integer programs against every assignment there is."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import pytest

from hetero.scheduler import native
from hetero.scheduler.algorithms.additive import solve_additive, sums, value_of
from hetero.scheduler.algorithms.ilp import integer_program
from hetero.scheduler.algorithms.mincut import Arcs, minimum_cut
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import Bools, DeviceSpec, Floats, LinkSpec, TaskGraph

WEIGHTS = {"serial": 1.0, "energy": 0.3, "cost": 2.0}
CODES = "10" if native.library() is not None else "0"  # compiled, and by scipy


def random_tasks(seed: int, n: int, count: int, refused: float = 0.1, **more: Any) -> TaskGraph:
    """Tensors with one to three readers, some pairs unsupported, links of different prices."""
    rng = np.random.default_rng(seed)
    seconds = rng.random((n, count))
    seconds[rng.random((n, count)) < refused] = np.inf
    seconds[np.isinf(seconds).all(1), 0] = 0.5
    producer, size, readers = list[int](), list[float](), list[list[int]]()
    for i in range(n - 1):
        to = sorted(set(rng.integers(i + 1, min(n, i + 20), int(rng.integers(1, 4))).tolist()))
        producer, size, readers = [*producer, i], [*size, float(rng.random() * 100)], [*readers, to]
    links = [
        LinkSpec(f"{p}{q}", p, q, *(rng.random(4) + np.array([100, 0.1, 0, 0])).tolist(), queue=p)
        for p in range(count) for q in range(count) if p != q
    ]  # fmt: skip
    return TaskGraph(
        tasks=tuple(f"t{i}" for i in range(n)),
        devices=tuple(DeviceSpec(f"d{p}") for p in range(count)),
        links=tuple(links),
        seconds=seconds,
        **{f: rng.random((n, count)) for f in ("joules", "money")},
        resident_byte=np.zeros((n, count)),
        producer=np.array(producer, np.int64),
        tensor_byte=np.array(size),
        consumer=np.array([r for to in readers for r in to], np.int64),
        consumer_start=np.cumsum([0, *map(len, readers)]),
        **more,
    ).check()


def every_assignment(g: TaskGraph) -> float:
    """The least value by the simulator, over all of them that are allowed."""
    mask, group = g.allowed.mask, g.allowed.group
    best = np.inf
    for choice in product(range(len(g.devices)), repeat=g.n):
        device = np.array(choice)
        if mask[np.arange(g.n), device].all() and (device == device[group]).all():
            best = min(best, simulate(g, device, g.topological).value(Objective.of(WEIGHTS)))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_two_devices_by_a_cut_and_more_by_an_integer_program_are_optimal(seed: int) -> None:
    g = random_tasks(seed, 2 + seed % 5, 2 + seed % 2)
    found = solve_additive(g.flat, WEIGHTS, until=time.perf_counter() + 60)
    best = every_assignment(g)
    assert found.value == pytest.approx(best, rel=1e-9)
    assert found.proven
    assert found.bound <= best * (1 + 1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_groups_pins_and_zones_hold(count: int) -> None:
    for seed in range(12):
        g = random_tasks(seed, 5, count, 0.0, pins={1: (1,)}, colocate=((0, 3),), private={2: tuple(range(count))})
        found = solve_additive(g.flat, WEIGHTS, until=time.perf_counter() + 60)
        assert found.device[1] == 1
        assert found.device[0] == found.device[3]
        assert found.value == pytest.approx(every_assignment(g), rel=1e-9)


def test_the_value_is_the_simulators() -> None:
    for seed in range(20):
        g = random_tasks(seed, 30, 3)
        rng = np.random.default_rng(seed)
        device = np.array([rng.choice(np.flatnonzero(row)) for row in g.allowed.mask])
        said = value_of(g.flat, sums(g.flat, WEIGHTS), device)
        assert said == pytest.approx(simulate(g, device, g.topological).value(Objective.of(WEIGHTS)), rel=1e-12)


def test_a_large_cut_equals_the_integer_program() -> None:
    g = random_tasks(7, 600, 2)
    cut = solve_additive(g.flat, WEIGHTS)
    s = sums(g.flat, WEIGHTS)
    program = integer_program(g.flat, s.task, s.per_byte, s.per_send, 60)
    assert program is not None
    assert cut.value == pytest.approx(value_of(g.flat, s, program.device), rel=1e-8)
    assert cut.how == "min-cut"


def test_expansion_comes_near_the_optimum_where_no_program_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    g = random_tasks(3, 300, 4)
    best = solve_additive(g.flat, WEIGHTS, until=time.perf_counter() + 60)
    assert best.how == "integer program"
    monkeypatch.setattr("hetero.scheduler.algorithms.additive.ILP_TERMS", 0)
    near = solve_additive(g.flat, WEIGHTS)
    assert near.how == "alpha-expansion"
    assert best.value <= near.value <= best.value * 1.05
    assert near.bound <= best.value


def test_capacities_far_apart_are_cut_exactly() -> None:
    """One integer scale would round the small ones away."""
    arcs = Arcs(3)
    every = np.arange(3)
    arcs.unary(every, np.array([0.0, 1e-7, 1e6]), np.array([1e6, 2e-7, 0.0]))
    arcs.pair(np.array([0, 1]), np.array([1, 2]), np.array([3e-7, 0.5e-7]))
    cut = minimum_cut(arcs)
    assert cut.source_side.tolist() == [True, True, False]
    assert cut.bound == pytest.approx(1.5e-7, rel=1e-6)


class Drawn:
    """A network whose capacities are of many scales: zeros, inf, parallel arcs, parts that nothing reaches, no arcs."""

    def __init__(self, seed: int, most: int) -> None:
        rng = np.random.default_rng(seed)
        self.n = n = int(rng.integers(1, most + 1))
        m = 0 if seed % 20 == 0 else int(rng.integers(0, 4 * n))
        self.source, self.target = rng.integers(0, n, (2, m))
        self.forth, self.back = (self._sizes(rng, m, 0.15) for _ in range(2))
        self.at_source, self.at_sink = (self._sizes(rng, n, 0.1) for _ in range(2))
        self.at_sink[np.isinf(self.at_source)] = 0.0  # never both
        self.lonely = rng.random(n) < 0.3
        self.at_source[self.lonely] = self.at_sink[self.lonely] = 0.0

    def _sizes(self, rng: np.random.Generator, count: int, wide: float) -> Floats:
        drawn = 10.0 ** rng.uniform(-6, 3, count) * (rng.random(count) < 0.7)
        drawn[rng.random(count) < wide] = np.inf
        return drawn

    def arcs(self) -> Arcs:
        arcs = Arcs(self.n)
        arcs.unary(np.arange(self.n), self.at_source, self.at_sink)
        arcs.pair(self.source, self.target, self.forth, self.back)
        return arcs

    def value(self, side: Bools) -> float:
        """From its definition."""
        a, b = side[self.source], side[self.target]
        ends = np.where(side, self.at_source, self.at_sink).sum()
        return float(ends + self.forth[a & ~b].sum() + self.back[~a & b].sum())


@pytest.mark.parametrize("code", CODES)
def test_cuts_of_any_scale_are_those_of_least_value(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_NATIVE", code)
    possible = 0
    for seed in range(500):
        case = Drawn(seed, 6)
        best = min(case.value(np.array(side, bool)) for side in product((False, True), repeat=case.n))
        if np.isinf(best):
            continue
        possible += 1
        cut = minimum_cut(case.arcs())
        assert case.value(cut.source_side) == pytest.approx(best, rel=1e-9, abs=1e-15), seed
        assert best * (1 - 1e-9) - 1e-15 <= cut.bound <= best * (1 + 1e-15), seed
    assert possible > 300


def test_compiled_and_scipy_cuts_agree_where_nobody_can_try_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The side is a cut of the value that is said: nothing below it, and both say the same."""
    for seed in range(100):
        case, found = Drawn(1000 + seed, 300), list[float]()
        for code in CODES:
            monkeypatch.setenv("HETERO_NATIVE", code)
            cut = minimum_cut(case.arcs())
            value = case.value(cut.source_side)
            if np.isfinite(value):
                assert value * (1 - 1e-9) <= cut.bound <= value * (1 + 1e-15), seed
            found.append(value)
        assert found == pytest.approx([found[0]] * len(CODES), rel=1e-9), seed


def test_compiled_and_scipy_assignments_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tasks with pins and groups, on two devices by a cut and on four by expansion."""
    monkeypatch.setattr("hetero.scheduler.algorithms.additive.ILP_TERMS", 0)
    for seed in range(12):
        more: dict[str, Any] = {"pins": {1: (1,)}, "colocate": ((0, 3), (3, 40), (50, 90), (90, 110))}
        g = random_tasks(seed, 120, 2 + 2 * (seed % 2), 0.0, **more)
        found = list[float]()
        for code in CODES:
            monkeypatch.setenv("HETERO_NATIVE", code)
            one = solve_additive(g.flat, WEIGHTS)
            assert (one.device == one.device[g.allowed.group]).all()
            assert one.value == pytest.approx(value_of(g.flat, sums(g.flat, WEIGHTS), one.device), rel=1e-12)
            assert one.bound <= one.value
            assert one.proven or one.how == "alpha-expansion"
            found.append(one.value)
        assert found == pytest.approx([found[0]] * len(CODES), rel=1e-9 if seed % 2 == 0 else 0.02)


@pytest.mark.parametrize("code", CODES)
def test_arcs_without_a_limit_do_not_make_the_scale_coarse(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of them, round in a circle too, beside capacities that add up to much more than goes through it."""
    monkeypatch.setenv("HETERO_NATIVE", code)
    arcs = Arcs(200)
    every, wide = np.arange(200), np.full(99, np.inf)
    at_source, at_sink = np.where(every < 100, 0.0, 5e6), np.where(every < 100, 0.0, 7e6)
    at_source[99], at_sink[0] = 1e-3, 3e-3
    arcs.unary(every, at_source, at_sink)
    arcs.pair(every[:99], every[1:100], wide, wide)
    cut = minimum_cut(arcs)
    assert cut.source_side[:100].all()
    assert cut.bound == pytest.approx(100 * 5e6 + 1e-3, rel=1e-15)
