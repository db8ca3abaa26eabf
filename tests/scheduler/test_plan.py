"""Plans of graphs: lowering, wishes, reasons, questions, and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import GraphError, PlanError
from hetero.graph.ir import Graph
from hetero.profile import load as load_profile
from hetero.profile.quantity import given
from hetero.profile.topology import Node, Topology, TopologyLink
from hetero.scheduler.plan import Plan


def network(x: Any, w: Any, v: Any) -> Any:
    h = ht.tanh(ht.matmul(x, w) + 1)
    mean = ht.release(ht.mean(h, axis=1, keepdims=True), how="aggregate")
    return ht.matmul(h, v), mean * 2


@pytest.fixture(scope="module")
def graph() -> Graph:
    return ht.trace(network, *(ht.spec(s, "float32") for s in ((32, 64), (64, 128), (128, 8))))


def edge_and_cloud(byte_per_s: float = 1e6, **node: Any) -> Topology:
    """A Raspberry Pi and an H100 over one link."""
    nodes = (
        Node("pi", load_profile("raspberry-pi-5"), "edge", **node),
        Node("cloud", load_profile("h100"), "central", static="busy", money_per_hour=given(3.0, "USD/h")),
    )
    link = TopologyLink("up", ("pi", "cloud"), given(byte_per_s, "B/s"), given(0.005, "s"), given(1e-7, "J/B"))
    return Topology("two", nodes, (link,), currency="USD")


def test_groups_are_what_runs_in_one_pass(graph: Graph) -> None:
    plan = ht.plan(graph, edge_and_cloud())
    fused = next(t for t, ops in zip(plan.tasks.tasks, plan.ops, strict=True) if "tanh" in ops)
    assert plan.ops[plan.tasks.task_index(fused)].startswith("add, tanh")
    assert [t for t in plan.tasks.tasks if t.startswith(("input", "output"))] == [
        "input x", "input w", "input v", "output out.0", "output out.1",
    ]  # fmt: skip


def test_every_group_is_placed_and_the_numbers_are_called_estimates(graph: Graph) -> None:
    plan = ht.plan(graph, edge_and_cloud())
    assert set(plan.placement.values()) <= {"pi", "cloud"}
    assert plan.latency_s.low < plan.latency_s.mid < plan.latency_s.high
    assert plan.solution.bound <= plan.solution.value
    text = str(plan)
    assert "estimated" in text
    assert all(task[-30:] in text for task in plan.tasks.tasks)


def test_a_slow_link_keeps_work_on_the_edge_and_a_fast_one_does_not() -> None:
    def heavy(x: Any, w: Any) -> Any:
        for _ in range(6):
            x = ht.matmul(x, w)
        return x

    big = ht.trace(heavy, ht.spec((1024, 1024), "float32"), ht.spec((1024, 1024), "float32"))
    slow, fast = (ht.plan(big, edge_and_cloud(b)) for b in (1e3, 1e10))
    of_ops = [t for t in slow.tasks.tasks if t.startswith("matmul")]
    assert {slow.placement[t] for t in of_ops} == {"pi"}
    assert {fast.placement[t] for t in of_ops} == {"cloud"}


def test_private_inputs_stay_on_their_tier_until_released(graph: Graph) -> None:
    plan = ht.plan(graph, edge_and_cloud(1e12), private=["x"])
    after = {t: n for t, n in plan.placement.items() if t.startswith("multiply")}
    before = {t: n for t, n in plan.placement.items() if t.startswith(("matmul", "release"))}
    assert set(before.values()) == {"pi"}
    assert len(after) == 1
    with pytest.raises(PlanError, match="residency rules out cloud"):
        ht.plan(graph, edge_and_cloud(), private=["x"], pins={"matmul": "cloud"})


def test_pins_places_and_colocation_are_kept(graph: Graph) -> None:
    plan = ht.plan(graph, edge_and_cloud(), pins={"tanh": "cloud"}, outputs={"out.1": "pi"}, inputs={"v": "cloud"})
    assert plan.placement[next(t for t, o in zip(plan.tasks.tasks, plan.ops, strict=True) if "tanh" in o)] == "cloud"
    assert plan.placement["output out.1"] == "pi"
    assert plan.placement["input v"] == "cloud"
    together = ht.plan(graph, edge_and_cloud(), colocate=[("matmul", "tanh")])
    assert len({together.placement[t] for t, o in zip(together.tasks.tasks, together.ops, strict=True)
                if o == "matmul" or "tanh" in o}) == 1  # fmt: skip


def test_every_mistake_in_the_wishes_is_told_at_once(graph: Graph) -> None:
    with pytest.raises(PlanError) as caught:
        ht.plan(graph, edge_and_cloud(), pins={"matmull": "pi", "tanh": "moon"}, private={"xx": "edge"},
                inputs={"q": "pi"}, outputs={"out.9": "cloud"})  # fmt: skip
    text = str(caught.value)
    for part in ("'matmull' (near: matmul", "'moon'", "'xx'", "'q'", "'out.9' (near: out.1, out.0"):
        assert part in text, part


def test_open_dimensions_are_one_unless_given() -> None:
    def double(x: Any) -> Any:
        return x * 2 + 1

    open_graph = ht.trace(double, ht.spec(("batch", 4), "float32"))
    small, large = (ht.plan(open_graph, edge_and_cloud(), sizes=s) for s in ({}, {"batch": 512}))
    assert small.tasks.tensor_byte[0] == 16
    assert large.tasks.tensor_byte[0] == 512 * 16
    with pytest.raises(PlanError, match="no dimension 'bach'"):
        ht.plan(open_graph, edge_and_cloud(), sizes={"bach": 2})


def test_an_unreachable_deadline_is_an_error_with_what_was_found(graph: Graph) -> None:
    with pytest.raises(PlanError, match="deadline"):
        ht.plan(graph, edge_and_cloud(), deadline_s=1e-9)
    with pytest.raises(PlanError, match=r"deadline_s is -1.*peak_w is 0"):
        ht.plan(graph, edge_and_cloud(), deadline_s=-1, peak_w=0)


def test_explain_names_each_alternative_and_its_price(graph: Graph) -> None:
    plan = ht.plan(graph, edge_and_cloud(1e4))
    choice = plan.explain("tanh")
    assert {a.node for a in choice.alternatives} == {"pi", "cloud"}
    chosen = next(a for a in choice.alternatives if a.node == choice.node)
    other = next(a for a in choice.alternatives if a.node != choice.node)
    assert chosen.planned == plan.solution.value <= other.planned <= other.moved
    assert choice.reason in str(choice)
    with pytest.raises(PlanError, match="no op 'tan'"):
        plan.explain("tan")


def test_sensitivity_finds_the_bandwidth_at_which_the_plan_flips() -> None:
    def heavy(x: Any, w: Any) -> Any:
        for _ in range(6):
            x = ht.matmul(x, w)
        return x

    big = ht.trace(heavy, ht.spec((512, 512), "float32"), ht.spec((512, 512), "float32"))
    plan = ht.plan(big, edge_and_cloud(1e6), outputs={"out": "pi"})
    flip = next(f for f in plan.sensitivity() if f.what == "bandwidth of up")
    assert flip.at is not None
    assert flip.at > flip.now
    for factor, flips in ((0.9, False), (1.1, True)):
        there = ht.plan(big, edge_and_cloud(flip.at * factor), outputs={"out": "pi"})
        assert (there.placement != plan.placement) == flips


def test_the_pareto_front_holds_no_plan_that_another_beats(graph: Graph) -> None:
    front = ht.plan(graph, edge_and_cloud(1e8)).pareto(5)
    costs = [(p.schedule.latency_s, p.schedule.energy_j, p.schedule.money) for p in front.plans]
    assert costs == sorted(costs)
    for a in costs:
        assert not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in costs)


def test_plan_b_does_without_a_lost_link_or_node(graph: Graph) -> None:
    plan = ht.plan(graph, edge_and_cloud(1e12), pins={})
    for lost in ("up", "cloud"):
        assert set(plan.without(lost).placement.values()) == {"pi"}
    with pytest.raises(PlanError, match="no link or node 'moon'"):
        plan.without("moon")


def test_a_plan_reads_back_as_itself_and_refuses_another_graph(graph: Graph, tmp_path: Path) -> None:
    plan = ht.plan(graph, edge_and_cloud(), private=["x"], deadline_s=10.0)
    path = str(tmp_path / "plan.json")
    plan.save(path)
    again = Plan.load(path, graph)
    assert str(again) == str(plan)
    assert again.to_dict() == plan.to_dict()
    other = ht.trace(lambda x: x + 1, ht.spec((3,), "float32"))
    with pytest.raises(PlanError, match="another graph"):
        Plan.load(path, other)


@pytest.mark.parametrize("damage", ["cut", "order", "device", "format", "version", "tasks"])
def test_damaged_plans_are_refused(graph: Graph, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "plan.json"
    ht.plan(graph, edge_and_cloud()).save(str(path))
    data = json.loads(path.read_text())
    if damage == "cut":
        path.write_text(path.read_text()[:100])
    else:
        data |= {"order": {"order": data["order"][::-1]}, "device": {"schedule": data["schedule"][1:]},
                 "format": {"format": "x"}, "version": {"version": 99}, "tasks": {"tasks": {}}}[damage]  # fmt: skip
        path.write_text(json.dumps(data))
    with pytest.raises(PlanError):
        Plan.load(str(path))


def test_a_graph_that_waits_for_values_says_so() -> None:
    with pytest.raises(PlanError, match="planned on a topology"):
        ht.plan(ht.trace(lambda x: x + 1, ht.spec((3,), "float32")))


def test_a_quantised_node_sends_fewer_bytes_and_says_what_it_refuses(graph: Graph) -> None:
    plain, int8 = (ht.plan(graph, edge_and_cloud(1e5, dtype=d)) for d in (None, "int8"))
    assert int8.tasks.links[0].byte_per_s > 2 * plain.tasks.links[0].byte_per_s
    assert np.isfinite(int8.tasks.seconds).any(axis=1).all()


def test_planned_graphs_have_shapes() -> None:
    from hetero.scheduler.lower import planned_graph

    with pytest.raises(GraphError, match="dimensions without a value: n"):
        planned_graph(ht.trace(lambda x: x + 1, ht.spec(("n",), "float32")))
