"""List schedulers against the worked example of the papers, prices against the LP, bounds against everything."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.task_graphs import random_graphs, task_graph
from hetero.scheduler.algorithms import lists, ranks
from hetero.scheduler.algorithms.bounds import bound, load_s, path_s
from hetero.scheduler.algorithms.candidates import BASELINES, CANDIDATES
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.lists import Gaps, Rule
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import DeviceSpec, TaskGraph, connect_all

LATENCY = Objective.of("latency")
DAGBENCH = Path(__file__).parents[1] / "data" / "dagbench"


def topcuoglu() -> TaskGraph:
    """Figure 3 and table 1 of Topcuoglu, Hariri, Wu, IEEE TPDS 2002: 10 tasks, 3 processors, no contention."""
    seconds = [[14, 16, 9], [13, 19, 18], [11, 13, 19], [13, 8, 17], [12, 13, 10],
               [13, 16, 9], [7, 15, 11], [5, 11, 14], [18, 12, 20], [21, 7, 16]]  # fmt: skip
    edges = [(1, 2, 18), (1, 3, 12), (1, 4, 9), (1, 5, 11), (1, 6, 14), (2, 8, 19), (2, 9, 16), (3, 7, 23),
             (4, 8, 27), (4, 9, 23), (5, 9, 13), (6, 8, 15), (7, 10, 17), (8, 10, 11), (9, 10, 13)]  # fmt: skip
    return TaskGraph.of_edges(
        np.array(seconds, float), [(i - 1, j - 1, c) for i, j, c in edges], connect_all(3, 1.0, shared=False)
    )


@pytest.fixture(params=["1", "0"], ids=["compiled", "python"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HETERO_NATIVE", request.param)
    return request.param


@pytest.mark.parametrize(("name", "makespan"), [("heft", 80), ("cpop", 86)])
def test_the_worked_example_gives_the_makespan_of_the_paper(native: str, name: str, makespan: float) -> None:
    c = Context(topcuoglu(), LATENCY)
    (_, made), *_ = BASELINES[name](c, None)
    assert made is not None
    assert simulate(c.g, made.device, made.order).latency_s == makespan


def test_the_worked_example_has_the_ranks_of_the_paper() -> None:
    c = Context(topcuoglu(), LATENCY)
    assert c.upward == pytest.approx([108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667], abs=1e-3)
    assert ranks.downward(c.flat) == pytest.approx([0, 31, 25, 22, 24, 27, 62.333, 66.667, 63.667, 93.333], abs=1e-3)


def dagbench(name: str) -> TaskGraph:
    """A task graph of ANRGUSC/dagbench, with its network; related speeds, links that do not queue."""
    data: dict[str, Any] = json.loads((DAGBENCH / f"{name}.json").read_text())
    graph, network = data["task_graph"], data["network"]
    index = {t["name"]: i for i, t in enumerate(graph["tasks"])}
    nodes = {x["name"]: p for p, x in enumerate(network["nodes"])}
    cost = np.array([t["cost"] for t in graph["tasks"]])
    speed = np.array([x["speed"] for x in network["nodes"]])
    rate = {frozenset((nodes[e["source"]], nodes[e["target"]])): e["speed"] for e in network["edges"]}
    links = [
        link.__class__(link.name, link.source, link.target, rate[frozenset((link.source, link.target))])
        for link in connect_all(len(nodes), 1.0)
        if frozenset((link.source, link.target)) in rate
    ]
    edges = [(index[e["source"]], index[e["target"]], e["size"]) for e in graph["dependencies"]]
    return TaskGraph.of_edges(cost[:, None] / speed, edges, links, devices=[DeviceSpec(x) for x in nodes])


PUBLIC = ("cholesky_6", "face_analysis_pipeline", "fft_32", "gauss_elim_10", "lu_decomp_4")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_graphs_are_planned_no_worse_than_by_heft_and_no_better_than_the_bound(name: str) -> None:
    from hetero.scheduler.algorithms.portfolio import solve

    g = dagbench(name)
    found = solve(g, max_evaluations=500, exact=False)
    assert found.bound * (1 - 1e-9) <= found.value <= found.candidates["heft"] * (1 + 1e-12)


def test_every_candidate_keeps_masks_groups_and_routes() -> None:
    for seed, g in enumerate(random_graphs(60, largest=20)):
        rng = np.random.default_rng(seed)
        together = tuple(map(int, rng.choice(g.n, min(g.n, 3), replace=False)))
        feasible = np.isfinite(g.seconds[list(together)]).all(0).any()
        g = g.replace(colocate=(together,)) if feasible and g.n > 3 else g
        try:
            c = Context(g, LATENCY)
        except Exception as e:
            assert "nowhere to go" in str(e)
            continue
        for make in CANDIDATES.values():
            for _, made in make(c, None):
                if made is not None and c.flat.has_route.all():
                    simulate(g, made.device, made.order)  # refuses what is no schedule


def test_compiled_lists_decide_as_python_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, g in enumerate(random_graphs(40, largest=60)):
        cost = g.flat.seconds * (1 + np.random.default_rng(seed).random((g.n, 1)))
        for k in range(4):
            both = []
            for native in "10":
                monkeypatch.setenv("HETERO_NATIVE", native)
                order = ranks.by_ready(g.flat, ranks.upward(g.flat))
                made = lists.schedule(g.flat, order, Rule(cost, k < 2, contended=k % 2 == 0, sending=k * 0.7))
                both.append(made and (made.device.tolist(), made.order.tolist()))
            assert both[0] == both[1]


def test_compiled_tails_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    for g in random_graphs(40, largest=40):
        for mean in (False, True):
            both = []
            for native in "10":
                monkeypatch.setenv("HETERO_NATIVE", native)
                both.append(ranks.tails(g.flat, mean=mean).tolist())
            assert both[0] == both[1]


def test_gaps_are_used_and_never_overlap() -> None:
    gaps = Gaps(0.5)
    taken: list[tuple[float, float]] = []
    rng = np.random.default_rng(0)
    for _ in range(300):
        ready, length = float(rng.uniform(0, 500)), float(rng.uniform(0.5, 5))
        at = gaps.find(ready, length)
        gaps.take(at, length)
        assert at >= ready
        taken.append((at, at + length))
    assert all(a[1] <= b[0] for a, b in pairwise(sorted(taken)))
    assert max(b for _, b in taken) < sum(b - a for a, b in taken) + 500


def lp_bound(g: TaskGraph) -> float:
    """The same bound from scipy's LP solver: minimise the longest load of fractional placements."""
    from scipy.optimize import linprog

    seconds, (n, count) = g.seconds, g.seconds.shape
    allowed = np.isfinite(seconds)
    finite = np.where(allowed, seconds, 0.0)
    loads = np.zeros((count, n * count + 1))
    for p in range(count):
        loads[p, p : n * count : count] = finite[:, p]
    loads[:, -1] = -1
    ones = np.zeros((n, n * count + 1))
    for i in range(n):
        ones[i, i * count : (i + 1) * count] = 1
    bounds = [(0, 1 if a else 0) for a in allowed.ravel()] + [(0, None)]
    target = np.zeros(n * count + 1)
    target[-1] = 1
    return float(linprog(target, loads, np.zeros(count), ones, np.ones(n), bounds).fun)


def test_prices_prove_what_the_lp_proves() -> None:
    for seed in range(12):
        g = task_graph(seed, n=60, count=2 + seed % 4, unsupported=0.2)
        proved = load_s(Context(g, LATENCY))
        best = lp_bound(g)
        assert proved <= best * (1 + 1e-9)
        assert proved >= best * 0.995


def test_the_longest_path_counts_transfers_where_they_cannot_be_avoided() -> None:
    seconds = np.array([[1.0, np.inf], [np.inf, 2.0]])
    g = TaskGraph.of_edges(seconds, [(0, 1, 30.0)], connect_all(2, 10.0, 0.5))
    assert path_s(Context(g, LATENCY)) == 6.5


def test_no_random_schedule_is_better_than_the_bound() -> None:
    wanted = [Objective.of(o) for o in ("latency", "serial", "throughput", "energy", {"latency": 1, "energy": 0.1})]
    for seed in range(60):
        g = task_graph(seed, n=12, count=3, unsupported=0.0, static_w=1.0, ccr=0.1)
        limits = [bound(Context(g, o)) for o in wanted]
        rng = np.random.default_rng(seed)
        for _ in range(20):
            s = simulate(g, rng.integers(0, 3, g.n), g.topological)
            assert all(s.value(o) >= low for o, low in zip(wanted, limits, strict=True))
