"""Plans: never worse than any baseline, close to the best there is, within limits, and the same for the same seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest

from benchmarks.task_graphs import edge_network, random_graphs, task_graph
from hetero.errors import PlanError
from hetero.scheduler import native
from hetero.scheduler.algorithms import portfolio
from hetero.scheduler.algorithms.candidates import BASELINES
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.hooks import Answer, Asked, Seed
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Objective, Solution
from hetero.scheduler.taskgraph import DeviceSpec, Limits, TaskGraph, connect_all
from hetero.scheduler.validate import validate

EXAMPLES = int(os.environ.get("HETERO_PROPERTY_EXAMPLES", "300"))
OBJECTIVES = ("latency", "latency", "throughput", "energy", {"latency": 1.0, "energy": 0.2, "cost": 1.0})


def quick(g: TaskGraph, objective: object = "latency", number: int = 60, seed: int = 0) -> Solution:
    return solve(g, objective, max_evaluations=number, seed=seed, exact=False)  # pyright: ignore[reportArgumentType]


def test_no_plan_is_worse_than_any_baseline() -> None:
    """On every family of graphs, with unsupported pairs, routes of several hops, shared and half-duplex queues."""
    compared = 0
    for seed, g in enumerate(random_graphs(EXAMPLES)):
        objective = Objective.of(OBJECTIVES[seed % len(OBJECTIVES)])
        try:
            found = quick(g, objective)
        except PlanError as e:
            assert "nowhere to go" in str(e)
            continue
        assert validate(g, found.schedule) == []
        assert found.bound <= found.value
        for make in BASELINES.values():
            for _, made in make(Context(g, objective), None):
                try:
                    s = simulate(g, made.device, made.order) if made else None
                except PlanError:  # it puts a tensor where no link leads
                    continue
                if s is not None:
                    assert found.value <= s.value(objective) * (1 + 1e-12)
                    compared += 1
    assert compared > 5 * EXAMPLES


def orders(g: TaskGraph) -> Iterator[tuple[int, ...]]:
    source, target, _ = g.edges
    pairs = list(zip(source.tolist(), target.tolist(), strict=True))
    for order in permutations(range(g.n)):
        place = {i: k for k, i in enumerate(order)}
        if all(place[i] < place[j] for i, j in pairs):
            yield order


def best_of_all(g: TaskGraph, objective: Objective) -> float:
    """Every assignment in every order, simulated."""
    best = float("inf")
    each = [np.flatnonzero(row).tolist() for row in g.allowed.mask]
    some = list(orders(g))
    for device in product(*each):
        for order in some:
            try:
                s = simulate(g, np.array(device), np.array(order))
            except PlanError:
                break
            if not s.violations:
                best = min(best, s.value(objective))
    return best


def test_small_graphs_get_the_best_of_all_schedules() -> None:
    best_found = 0
    cases = [
        (seed, family, links)
        for seed, family, links in zip(
            range(16),
            ["layered", "fork-join", "network", "in-tree"] * 4,
            ["full", "bus", "line", "star", "full"] * 4,
            strict=False,
        )
    ]
    for seed, family, links in cases:
        g = task_graph(
            seed, family=family, n=5, count=2 + seed % 2, links=links, ccr=0.5, unsupported=0.2, static_w=0.1
        )
        objective = Objective.of(OBJECTIVES[seed % len(OBJECTIVES)])
        exact = best_of_all(g, objective)
        found = quick(g, objective, 2000)
        assert exact * (1 - 1e-9) <= found.value <= exact * 1.05
        assert found.bound <= exact * (1 + 1e-9)
        best_found += found.value <= exact * (1 + 1e-9)
    assert best_found >= len(cases) - 1


@pytest.mark.parametrize("compiled", ["1", "0"])
def test_the_same_seed_and_number_of_evaluations_give_the_same_plan(
    compiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HETERO_NATIVE", compiled)
    for seed in range(5):
        g = task_graph(seed, n=25, count=3)
        first, second = quick(g, number=200, seed=seed), quick(g, number=200, seed=seed)
        assert first.value == second.value
        assert first.schedule.device.tolist() == second.schedule.device.tolist()
        assert first.schedule.order.tolist() == second.schedule.order.tolist()
        assert first.candidates == second.candidates


@pytest.mark.skipif(not native.status().startswith("compiled"), reason="no compiled kernels here")
def test_compiled_and_python_give_the_same_plan_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, g in enumerate(random_graphs(60, first=500)):
        if seed % 3 == 1:
            mean = float(np.mean(g.seconds[np.isfinite(g.seconds)]))
            memory = float(g.tensor_byte.sum()) * 0.5 + 1
            devices = tuple(DeviceSpec(d.name, memory_byte=memory, static_w=0.1, average_w=9.0) for d in g.devices)
            g = g.replace(devices=devices, limits=Limits(deadline_s=mean * g.n, average_w=20.0))
        objective = OBJECTIVES[seed % len(OBJECTIVES)]
        both: list[object] = []
        for compiled in "10":
            monkeypatch.setenv("HETERO_NATIVE", compiled)
            try:
                found = quick(g, objective, 120, seed)
                both.append((found.value, found.candidates, found.schedule.device.tolist(),
                             found.schedule.order.tolist(), list(found.schedule.sends)))  # fmt: skip
            except PlanError as e:
                both.append(str(e))
        assert both[0] == both[1]


def test_more_evaluations_are_never_worse_and_as_many_as_asked() -> None:
    g = task_graph(3, n=40, count=4, ccr=2.0)
    values = []
    for number in (0, 400, 4000, 40_000):
        found = quick(g, number=number)
        values.append(found.value)
        if number:
            tried = next(n for n in found.notes if n.startswith("search: "))
            assert int(tried.split()[1]) <= number
    assert values[-1] <= values[0]
    assert values[-1] < values[1] * 1.0001


def test_without_time_the_candidates_still_compete() -> None:
    g = task_graph(3, n=40, count=4)
    found = solve(g, budget_s=0.0, exact=False)
    assert "search" not in found.candidates
    assert found.value == min(found.candidates.values())


def test_segments_move_networks_to_where_single_tasks_would_not_go() -> None:
    """Each task alone is quicker beside its neighbours; all together are quicker elsewhere."""
    n = 30
    seconds = np.tile([1.0, 0.5], (n, 1))
    g = TaskGraph.of_edges(seconds, [(i, i + 1, 5.0) for i in range(n - 1)], connect_all(2, 1.0), pins={0: (0,)})
    assert quick(g, number=2000).value == 1.0 + 5.0 + 0.5 * (n - 1)


def test_limits_that_can_be_kept_are_kept() -> None:
    """The limits are what some random schedule needs, so there is at least one that keeps them."""
    kept = 0
    for seed in range(25):
        g = task_graph(seed, n=20, count=3, unsupported=0.0, ccr=0.3)
        some = simulate(g, np.random.default_rng(seed).integers(0, 3, g.n), g.topological)
        devices = tuple(DeviceSpec(f"d{p}", memory_byte=float(b)) for p, b in enumerate(some.peak_byte))
        limited = g.replace(devices=devices, limits=Limits(deadline_s=some.latency_s))
        try:
            found = quick(limited, number=5000)
        except PlanError:
            continue
        kept += 1
        assert found.schedule.violations == ()
        assert (found.schedule.peak_byte <= some.peak_byte * (1 + 1e-9)).all()
        assert found.schedule.latency_s <= some.latency_s * (1 + 1e-9)
    assert kept >= 24


def test_energy_is_saved_as_far_as_the_deadline_allows() -> None:
    """The quick device costs 10 J a task, the slow one 1 J: a deadline decides how many tasks it gets."""
    seconds, joules = np.tile([1.0, 3.0], (10, 1)), np.tile([10.0, 1.0], (10, 1))
    g = TaskGraph.of_edges(seconds, [(i, i + 1, 0.0) for i in range(9)], connect_all(2, 1.0), joules=joules)
    assert quick(g, "energy", 3000).value == 10
    assert quick(g.replace(limits=Limits(deadline_s=20.0)), "energy", 3000).value == 10 * 5 + 1 * 5


def test_what_cannot_be_kept_is_told_with_every_limit_and_proof() -> None:
    g = task_graph(0, n=12, count=2, unsupported=0.0)
    small = tuple(DeviceSpec(d.name, memory_byte=1.0) for d in g.devices)
    with pytest.raises(PlanError) as told:
        quick(g.replace(devices=small, limits=Limits(deadline_s=0.1, average_w=0.01)), number=200)
    text = str(told.value)
    for part in (
        "deadline: at most 0.1 s wanted",
        "average power of all devices",
        "memory of",
        "impossible: no schedule",
    ):
        assert part in text


def test_power_peaks_are_kept_by_waiting() -> None:
    g = task_graph(4, n=20, count=4, unsupported=0.0)
    free = quick(g, number=200).schedule
    limited = g.replace(limits=Limits(peak_w=free.peak_w * 0.6))
    found = quick(limited, number=200)
    assert found.schedule.peak_w <= free.peak_w * 0.6 * (1 + 1e-9)
    assert found.schedule.violations == ()


def test_seeds_and_proof_of_other_solvers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    g = task_graph(0, n=10, count=2, unsupported=0.0)
    best = quick(g, number=5000)

    def seeds(c: Context) -> Iterator[Seed]:
        yield Seed("mine", best.schedule.device, bound=best.value * 0.9)

    def proof(asked: Asked) -> Answer:
        assert asked.seconds > 0
        return Answer(None, asked.value, "proved by hand")

    monkeypatch.setattr(portfolio, "SEEDS", {"mine": seeds})
    found = solve(g, max_evaluations=0, exact=False)
    assert "mine" in found.candidates
    assert found.bound >= best.value * 0.9
    proved = solve(g, max_evaluations=0, exact=proof)
    assert proved.proven
    assert "proved by hand" in proved.notes


def test_a_graph_whose_parts_no_link_joins_is_refused_by_name() -> None:
    seconds = np.array([[1.0, np.inf], [np.inf, 1.0]])
    with pytest.raises(PlanError, match="'t0' has nowhere to go"):
        quick(TaskGraph.of_edges(seconds, [(0, 1, 1.0)], []))


def test_big_graphs_stop_baselines_only_with_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "BIG", 100)
    stopped = 0
    for seed in range(6):
        g = task_graph(seed, n=400, count=4, related=seed % 3 == 0)
        found = solve(g, max_evaluations=0, exact=False)
        stopped += sum("stopped" in n for n in found.notes)
        for make in BASELINES.values():
            for _, made in make(Context(g, Objective.of("latency")), None):
                assert made is not None
                assert found.value <= simulate(g, made.device, made.order).latency_s * (1 + 1e-12)
    assert stopped > 0


def test_what_runs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_NATIVE", "0")
    assert native.status() == "pure Python: HETERO_NATIVE=0"
    assert "search in pure Python code" in quick(task_graph(0, n=5)).notes


def test_networks_over_an_uplink_are_planned_in_every_direction() -> None:
    for seed in range(3):
        g = edge_network(seed, n=40, copies=1 + seed)
        assert validate(g, quick(g, number=300).schedule) == []
