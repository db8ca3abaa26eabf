"""Additive objectives: cuts and integer programs against every assignment there is."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import pytest

from hetero.scheduler.algorithms.additive import solve_additive, sums, value_of
from hetero.scheduler.algorithms.ilp import integer_program
from hetero.scheduler.algorithms.mincut import Arcs, minimum_cut
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import DeviceSpec, LinkSpec, TaskGraph

WEIGHTS = {"serial": 1.0, "energy": 0.3, "cost": 2.0}


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
