"""Proofs by CP-SAT: never below what is possible, never above what was found, and right on small graphs."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from hetero.scheduler.algorithms import exact
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.simulate import simulate
from hetero.scheduler.taskgraph import LinkSpec, TaskGraph, connect_all

pytest.importorskip("ortools", reason="the extra `exact` is not installed")


def small(seed: int, *, shared: bool) -> TaskGraph:
    """Up to five tasks on two or three devices."""
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(2, 6)), int(rng.integers(2, 4))
    seconds = rng.random((n, count)) + 0.1
    seconds[rng.random((n, count)) < 0.15] = np.inf
    seconds[np.isinf(seconds).all(1), 0] = 0.5
    edges = [(i, j, float(rng.random())) for j in range(n) for i in range(j) if rng.random() < 0.5]
    return TaskGraph.of_edges(seconds, edges, connect_all(count, 2.0, 0.05, shared=shared))


def best_of_all(g: TaskGraph) -> float:
    """The least makespan over every assignment and every topological order."""
    source, target, _ = g.edges
    orders = [
        np.array(o) for o in permutations(range(g.n))
        if all(o.index(a) < o.index(b) for a, b in zip(source.tolist(), target.tolist(), strict=True))
    ]  # fmt: skip
    best = np.inf
    for choice in product(range(len(g.devices)), repeat=g.n):
        device = np.array(choice)
        if g.allowed.mask[np.arange(g.n), device].all():
            best = min(best, *(simulate(g, device, o).latency_s for o in orders))
    return best


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_small_graphs_are_proven_optimal(seed: int, shared: bool) -> None:
    g = small(seed, shared=shared)
    found = solve(g, "latency", budget_s=5.0)
    best = best_of_all(g)
    assert found.proven
    assert found.value <= best * (1 + 1e-9)  # sends in an order of their own may even beat every order of tasks
    assert found.bound <= found.value


@pytest.mark.parametrize("seed", range(6))
def test_a_bound_is_never_above_what_another_search_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 14
    edges = [(int(rng.integers(max(0, j - 4), j)), j, float(rng.random() * 3)) for j in range(1, n) for _ in range(2)]
    g = TaskGraph.of_edges(rng.random((n, 3)) + 0.1, edges, connect_all(3, 2.0, 0.01))
    start = solve(g, "latency", budget_s=0.0, exact=False).schedule
    proof = exact.least_makespan(g, start, 0.0, 2.0, seed)
    best = solve(g, "latency", budget_s=2.0, exact=False).value
    assert proof.bound_s <= best * (1 + 1e-9)


def test_routes_over_several_links_and_one_queue_for_both_ways() -> None:
    half = [LinkSpec("a", 0, 1, 1.0, 0.1, queue=0), LinkSpec("a", 1, 0, 1.0, 0.1, queue=0)]
    more = [LinkSpec("b", 1, 2, 2.0, 0.1, queue=1), LinkSpec("b", 2, 1, 2.0, 0.1, queue=2)]
    seconds = np.array([[1.0, np.inf, np.inf], [np.inf, np.inf, 1.0], [np.inf, np.inf, 1.0], [1.0, np.inf, np.inf]])
    g = TaskGraph.of_edges(seconds, [(0, 1, 1.0), (0, 2, 2.0), (1, 3, 1.0)], [*half, *more])
    found = solve(g, "latency", budget_s=5.0)
    assert found.proven
    # t0 1 s; 1 B: 1.1 s and 0.6 s; t1 1 s; back 0.6 s, and 1.1 s on the link that 2 B may hold from 2 to 4 s; t3 1 s.
    assert found.value == pytest.approx(1 + 1.1 + 0.6 + 1 + 0.6 + 1.1 + 1, abs=0.21)


def test_without_ortools_the_plan_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "installed", lambda: False)
    g = small(3, shared=True)
    solution = solve(g, "latency", budget_s=0.1)
    assert solution.proven or exact.MISSING in solution.notes
