"""Minimum cuts, compiled and by integers, against every cut of small networks and against each other on larger ones."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hetero.scheduler import native
from hetero.scheduler.algorithms.mincut import Arcs, minimum_cut
from hetero.scheduler.taskgraph import Bools, Floats, Ints

INF = float("inf")
Drawn = tuple[int, Floats, Floats, Ints, Ints, Floats, Floats]


@pytest.fixture(params=["1", "0"], ids=["compiled", "integers"])
def code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HETERO_NATIVE", request.param)
    if request.param == "1" and native.library() is None:
        pytest.skip("not built: there was no C compiler")
    return request.param


def drawn(seed: int, most: int = 8) -> Drawn:
    """Nodes with costs on either side, and arcs both ways: zeros, inf, parallel arcs, arcs to oneself, lonely nodes."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, most)), int(rng.integers(0, 3 * most))
    costs = rng.integers(0, 6, (2, n)) * rng.choice([1.0, 0.1, 1 / 3])
    costs[rng.integers(0, 2), rng.random(n) < 0.1] = INF  # one side forbidden, never both
    source, target = rng.integers(0, n, (2, m))
    capacity = rng.random((2, m)) * (rng.random((2, m)) < 0.6) * 3
    capacity[rng.random((2, m)) < 0.05] = INF
    return n, costs[0], costs[1], source, target, capacity[0], capacity[1]


def arcs_of(case: Drawn) -> Arcs:
    n, at_source, at_sink, source, target, forth, back = case
    arcs = Arcs(n)
    arcs.unary(np.arange(n), at_source, at_sink)
    arcs.pair(source, target, forth, back)
    return arcs


def value(case: Drawn, side: Bools) -> float:
    """What a cut costs, from its definition."""
    _, at_source, at_sink, source, target, forth, back = case
    a, b = side[source], side[target]
    return float(np.where(side, at_source, at_sink).sum() + forth[a & ~b].sum() + back[~a & b].sum())


def test_no_cut_of_a_small_network_is_better(code: str) -> None:
    for seed in range(400):
        case = drawn(seed)
        best = min(value(case, np.array(s, bool)) for s in product((False, True), repeat=case[0]))
        if best == INF:
            continue
        cut = minimum_cut(arcs_of(case))
        assert value(case, cut.source_side) == pytest.approx(best, rel=1e-9, abs=1e-9)
        assert best * (1 - 1e-8) - 1e-9 <= cut.bound <= best * (1 + 1e-12) + 1e-12


def test_both_ways_cut_the_same_on_networks_of_hundreds_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n = 300
        arcs = Arcs(n)
        arcs.unary(np.arange(n), rng.random(n) * (rng.random(n) < 0.4), rng.random(n) * (rng.random(n) < 0.4))
        source = rng.integers(0, n, 900)
        target = (source + rng.integers(1, 20, 900)) % n
        arcs.pair(source, target, rng.random(900) * 0.4, rng.random(900) * (rng.random(900) < 0.5) * 0.4)
        found: list[float] = []
        for native_code in "10":
            monkeypatch.setenv("HETERO_NATIVE", native_code)
            found.append(minimum_cut(arcs).bound)
        assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_a_chain_is_cut_at_its_weakest_arc(code: str) -> None:
    arcs = Arcs(5)
    arcs.unary(np.array([0, 4]), np.array([0.0, INF]), np.array([INF, 0.0]))
    arcs.pair(np.arange(4), np.arange(1, 5), np.array([3.0, 2.0, 0.5, 4.0]))
    cut = minimum_cut(arcs)
    assert cut.source_side.tolist() == [True, True, True, False, False]
    assert cut.bound == pytest.approx(0.5)


def test_nothing_to_cut(code: str) -> None:
    cut = minimum_cut(Arcs(3))
    assert cut.bound == 0.0
    assert cut.source_side.shape == (3,)
