"""Running a plan: values, what is measured and what is simulated, and recovery from devices that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import PlanError
from hetero.graph.ir import Graph
from hetero.profile import load as load_profile
from hetero.profile.quantity import given
from hetero.profile.topology import Node, Topology, TopologyLink
from hetero.scheduler.plan import Plan
from hetero.testing.pretend import BreakingBackend, plugged


def network(x: Any, w: Any) -> Any:
    a = ht.tanh(ht.matmul(x, w))
    b = ht.exp(ht.matmul(x, w * 2) * 0.01)
    return ht.matmul(a, w) + ht.matmul(b, w)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return ht.trace(network, ht.spec((16, 16), "float32"), ht.spec((16, 16), "float32"))


@pytest.fixture(scope="module")
def feed() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal((16, 16)).astype("f4") for n in ("x", "w")}


def two(first: str | None, second: str | None) -> Topology:
    """Two equal nodes, bound to devices or not."""
    cpu = load_profile("server-cpu")
    nodes = (Node("one", cpu, "edge", device=first), Node("two", cpu, "edge", device=second))
    return Topology("pair", nodes, (TopologyLink("bus", ("one", "two"), given(1e9, "B/s"), given(1e-6, "s")),))


def split(graph: Graph, topology: Topology) -> Plan:
    """Half of the products on each node, so that tensors cross."""
    plan = ht.plan(graph, topology)
    products = [t for t, o in zip(plan.tasks.tasks, plan.ops, strict=True) if o == "matmul"]
    return ht.plan(graph, topology, pins={t: ("one", "two")[k % 2] for k, t in enumerate(products)})


def right(graph: Graph, feed: dict[str, Any]) -> Any:
    return graph.evaluate(*feed.values())[0]


def test_unbound_nodes_give_right_values_and_simulated_times(graph: Graph, feed: dict[str, Any]) -> None:
    plan = split(graph, two(None, None))
    result = plan.run(feed)
    np.testing.assert_allclose(result["out"], right(graph, feed), rtol=1e-4, atol=1e-5)
    assert result.latency_status == "simulated"
    assert result.latency_s == plan.schedule.latency_s
    assert {s.status for s in result.steps} == {"simulated"}
    assert {m.status for m in result.moved} == {"simulated"}
    assert "simulated" in str(result)


def test_bound_nodes_run_on_their_devices_and_are_measured(graph: Graph, feed: dict[str, Any]) -> None:
    with plugged(BreakingBackend()):
        ht.reset_stats()
        result = split(graph, two("numpy", "breaking")).run(feed)
        did = ht.stats()
    np.testing.assert_allclose(result["out"], right(graph, feed), rtol=1e-4, atol=1e-5)
    assert result.latency_status == "measured"
    assert {s.device for s in result.steps} == {"numpy:0", "breaking:0"}
    assert did.ops_on("numpy:0") > 0
    assert did.ops_on("breaking:0") > 0
    assert result.moved
    assert {m.status for m in result.moved} == {"measured"}
    assert not result.events


def test_one_stand_in_makes_the_whole_simulated_but_not_what_was_measured(graph: Graph, feed: dict[str, Any]) -> None:
    result = split(graph, two("numpy", None)).run(feed)
    assert result.latency_status == "simulated"
    assert {(s.node, s.status) for s in result.steps} == {("one", "measured"), ("two", "simulated")}


def test_an_op_that_does_not_compile_is_placed_elsewhere_and_reported(graph: Graph, feed: dict[str, Any]) -> None:
    with plugged(BreakingBackend(refuses_to_compile=frozenset({"tanh"}))):
        plan = _with_free_second_choice(ht.plan(graph, two("numpy", "breaking"), pins={"*": "two"}))
        result = plan.run(feed)
    np.testing.assert_allclose(result["out"], right(graph, feed), rtol=1e-4, atol=1e-5)
    (event,) = result.events
    assert event.what == "compile failed"
    assert event.reason == "RuntimeError: the pretend driver does not like tanh"
    assert len(event.tasks) == 1  # the one op that does not compile, not the part that it was in
    assert result.plan.placement[event.tasks[0]] == "one"
    assert event.reason in result.plan.explain(event.tasks[0]).alternatives[1].refused[0]


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_a_device_that_dies_in_the_middle_is_replaced(graph: Graph, feed: dict[str, Any], dies_after: int) -> None:
    with plugged(BreakingBackend(dies_after=dies_after)):
        plan = _crossing(graph, two("numpy", "breaking"))
        result = plan.run(feed)
    np.testing.assert_allclose(result["out"], right(graph, feed), rtol=1e-4, atol=1e-5)
    (event,) = result.events
    assert event.what == "device failed"
    assert event.node == "two"
    assert "the pretend device is gone" in event.reason
    assert [s.node for s in result.steps].count("two") == dies_after  # what it had done, and no more


def _crossing(graph: Graph, topology: Topology) -> Plan:
    """A plan whose node two runs at least three parts: it alternates with node one along the graph."""
    plan = ht.plan(graph, topology)
    order = [plan.tasks.tasks[i] for i in plan.schedule.order if plan.ops[i]]
    pins = {t: ("two", "one")[k % 2] for k, t in enumerate(order)}
    return _with_free_second_choice(ht.plan(graph, topology, pins=pins))


def _with_free_second_choice(plan: Plan) -> Plan:
    """The same schedule, but nothing pinned: what fails may go elsewhere."""
    from dataclasses import replace

    starts = {i: p for i, p in plan.tasks.pins.items() if not plan.ops[i]}
    return replace(plan, tasks=replace(plan.tasks, pins=starts))


def test_a_failure_that_nothing_can_replace_keeps_its_cause(graph: Graph, feed: dict[str, Any]) -> None:
    with plugged(BreakingBackend(dies_after=0)):
        plan = ht.plan(graph, two("numpy", "breaking"), pins={"matmul": "two"})
        with pytest.raises(PlanError, match="nothing can take its place") as caught:
            plan.run(feed)
    assert "pretend device is gone" in str(caught.value.__cause__)


def test_learning_puts_measured_times_in_place_of_the_models(graph: Graph, feed: dict[str, Any]) -> None:
    plan = split(graph, two("numpy", None))
    with pytest.raises(PlanError, match="nothing was measured yet"):
        plan.learn()
    plan.run(feed)
    learned = plan.learn()
    ran = [i for i, n in enumerate(plan.placement.values()) if n == "one" and plan.ops[i]]
    assert all(learned.tasks.seconds[i, 0] != plan.tasks.seconds[i, 0] for i in ran)
    assert np.array_equal(learned.tasks.seconds[:, 1], plan.tasks.seconds[:, 1])


def test_a_plan_for_other_shapes_refuses_the_feed(graph: Graph, feed: dict[str, Any]) -> None:
    open_graph = ht.trace(lambda x: x + 1, ht.spec(("n",), "float32"))
    plan = ht.plan(open_graph, two(None, None), sizes={"n": 3})
    assert plan.run({"x": np.zeros(3, "f4")})["out"].tolist() == [1, 1, 1]
    with pytest.raises(PlanError, match="for other shapes"):
        plan.run({"x": np.zeros(4, "f4")})


def test_parts_wait_for_what_they_take(graph: Graph, feed: dict[str, Any]) -> None:
    """Many runs at once on two threads: an order that were wrong would give wrong values or hang."""
    with plugged(BreakingBackend()):
        plan = _crossing(graph, two("numpy", "breaking"))
        for _ in range(30):
            np.testing.assert_allclose(plan.run(feed)["out"], right(graph, feed), rtol=1e-4, atol=1e-5)


def test_release_is_the_identity_and_stays_until_the_plan() -> None:
    release: Callable[..., Any] = ht.release
    x = ht.asarray([1.0, 2.0])
    assert ht.all(release(x, how="noise") == x)
    with pytest.raises(ht.AttributeValueError, match="nothing is released by 'magic'"):
        release(x, how="magic")
