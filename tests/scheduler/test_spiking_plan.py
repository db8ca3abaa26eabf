"""Spiking networks among other ops: the sensor-fusion example, prices by events, refusals, and what a run teaches."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.chip import load_chip, map_network
from hetero.chip.expect import expected
from hetero.errors import PlanError
from hetero.graph.build import FOLD_LIMIT
from hetero.graph.ir import Graph
from hetero.profile import load as load_profile
from hetero.profile.quantity import Interval, given
from hetero.profile.topology import Topology
from hetero.scheduler.cost import bill_of, estimate, on_chip, refusal, work_of
from hetero.scheduler.plan import Plan
from hetero.scheduler.spiking_text import spiking_rows
from hetero.scheduler.validate import validate
from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network
from hetero.spiking.work import layer_works, spiking_loop
from hetero.testing.spiking import random_loihi

EXAMPLE = Path(__file__).parents[2] / "examples" / "sensor_fusion.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("sensor_fusion", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sensor_fusion"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph(example: Any) -> Graph:
    return example.trace()


@pytest.fixture(scope="module")
def energy(example: Any, graph: Graph) -> Plan:
    return example.plan(graph, "energy", budget_s=0.2)


def placed(plan: Plan, op: str) -> set[str]:
    """The nodes of the groups that have such an op."""
    names = plan.tasks.device_names
    return {names[p] for p, ops in zip(plan.schedule.device.tolist(), plan.ops, strict=True) if op in ops.split(", ")}


# -- the example --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["energy", "latency"])
def test_the_encoder_is_on_the_jetson_and_the_network_on_loihi(example: Any, graph: Graph, objective: str) -> None:
    plan = example.plan(graph, objective, budget_s=0.2)
    assert placed(plan, "conv") == {"jetson"}
    assert placed(plan, "scan") == {"loihi"}
    assert plan.placement["senses"] == "loihi"
    assert not validate(plan.tasks, plan.schedule)


def test_nothing_private_leaves_the_edge(example: Any, graph: Graph) -> None:
    plan = example.plan(graph, "latency", budget_s=0.2)
    assert placed(plan, "matmul") == {"cloud"}
    released = {c.tensor: c.why for c in plan.audit() if "cloud" in (c.source, c.target)}
    assert len(released) == 1
    assert "release" in next(iter(released.values()))
    assert "residency" in str(plan.explain("senses"))  # why it may not be in the cloud


def test_a_slow_uplink_brings_the_fusion_to_the_jetson(example: Any, graph: Graph) -> None:
    fast = Topology.load(example.TOPOLOGY)
    links = tuple(replace(k, byte_per_s=given(100.0, "B/s")) if k.name == "uplink" else k for k in fast.links)
    plan = example.plan(graph, "latency", topology=replace(fast, links=links), budget_s=0.2)
    assert placed(plan, "matmul") == {"jetson"}
    assert placed(plan, "scan") == {"loihi"}
    assert any("cloud" in a.node for a in plan.explain("matmul").alternatives if a.planned > plan.solution.value)


def test_a_run_gives_what_the_graph_gives_and_its_times_are_simulated(example: Any, graph: Graph, energy: Plan) -> None:
    feed = example.senses()
    result = energy.run(feed)
    wanted = graph.evaluate(*(feed[p.name] for p in graph.inputs))[0]
    np.testing.assert_allclose(result["action"], wanted, rtol=1e-4, atol=1e-6)
    on = {s.node: (s.device, s.status) for s in result.steps}
    assert on["loihi"] == ("chip:0", "simulated")  # a device, yet its times are not its own
    assert on["jetson"] == ("numpy:0", "simulated")
    assert result.latency_status == "simulated"
    learned = energy.learn()
    assert "measured" in str(learned.explain("senses"))
    assert "estimated" in str(energy.explain("senses"))
    assert learned.placement["senses"] == "loihi"


def test_the_terms_of_energy_add_up(energy: Plan) -> None:
    g, s = energy.tasks, energy.schedule
    assert s.dynamic_j + s.transfer_j + s.static_j == pytest.approx(s.energy_j)
    assert s.dynamic_j == pytest.approx(sum(g.joules[i, p] for i, p in enumerate(s.device)))
    assert energy.energy_j.low < energy.energy_j.mid < energy.energy_j.high
    assert energy.model is not None
    i, p = g.task_index("senses"), g.device_names.index("loihi")
    group = energy.model.lowered.groups[i]
    assert group.work is not None
    assert group.fused is not None
    bill = bill_of(on_chip(group.work, group.fused, load_profile("loihi")), load_profile("loihi"))
    assert bill is not None
    assert set(bill.terms) == {"update", "spike", "hop", "synaptic"}
    assert sum(t.mid for t in bill.terms.values()) == pytest.approx(float(g.joules[i, p]))


def test_text_and_report_show_the_counts(energy: Plan, tmp_path: Path) -> None:
    energy.report(str(tmp_path / "fusion.html"))
    page = (tmp_path / "fusion.html").read_text("utf-8")
    for said in (str(energy), page, str(energy.explain("senses"))):
        assert "neuron updates" in said
        assert "synaptic events" in said
        assert "0.1 (0.01 to 0.19), estimated" in said


def test_the_example_prints_its_plan_and_writes_a_report(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example.main(["--report"])
    assert "senses runs on loihi" in capsys.readouterr().out
    assert (tmp_path / "fusion.html").stat().st_size > 10_000


# -- what a chip refuses ------------------------------------------------------------------------------------------


def dense(neurons: int, inputs: int, op: str = "loihi_lif") -> Network:
    """One layer behind a dense synapse, in integers or in floats."""
    dtype = np.dtype(np.int32 if op == "loihi_lif" else np.float32)
    names = {"loihi_lif": {"du": 4095, "dv": 128, "vth": 100, "bias": 0},
             "lif": {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}}[op]  # fmt: skip
    how: dict[str, Any] = {} if op == "loihi_lif" else {
        "dt": 1e-3, "rule": "euler", "reset": "value", "strict": True, "refractory": 0,
    }  # fmt: skip
    values = {k: np.full(neurons, v, dtype) for k, v in names.items()}
    w = np.ones((neurons, inputs), dtype)
    layers = {"w": Layer("w", "synapse_dense", {"weight": w}), "n": Layer("n", op, values, how)}
    edges = (Edge("x", "w"), Edge("w", "n", delayed=op == "loihi_lif"), Edge("n", "y"))
    return Network({"x": (inputs,)}, layers, ("y",), edges, dtype, "net").check()


def test_a_network_too_large_for_the_chip_is_refused_with_layer_limit_and_value() -> None:
    large = build(dense(4, 5000), steps=3)
    plan = ht.plan(large, "robot", "energy", budget_s=0.1)
    assert plan.placement["net"] != "loihi"
    said = str(plan.explain("net"))
    assert "axons_per_core: layer n: fan-in 5000 > 4096 axons of a core" in said
    with pytest.raises(PlanError, match="fan-in 5000 > 4096"):
        ht.plan(large, "robot", pins={"net": "loihi"}, budget_s=0.1)


def test_neurons_of_the_whole_chip_are_counted_before_it_is_mapped() -> None:
    node = build(dense(200_000, 1), steps=3)
    loop = next(n for n in node.nodes if n.op.name == "scan")
    assert "max_neurons: the network has 200,000 neurons > 131,072" in (
        refusal(node, loop, load_profile("loihi")) or ""
    )


def test_networks_share_the_cores_of_a_chip() -> None:
    """Two that take most of it do not fit together."""
    one, two = (replace(dense(n, 1), name=name) for name, n in (("one", 75_000), ("two", 75_001)))
    graph = ht.trace(lambda x: (ht.snn.call(one, x), ht.snn.call(two, x)), ht.spec((2, 1), "int32"))
    plan = ht.plan(graph, "robot", "energy", pins={"one": "loihi"}, budget_s=0.1)
    assert plan.placement["two"] != "loihi"
    assert 0.55 < plan.schedule.peak_byte[2] / plan.tasks.devices[2].memory_byte < 0.65  # 74 of 128 cores
    with pytest.raises(PlanError, match="memory"):
        ht.plan(graph, "robot", pins={"one": "loihi", "two": "loihi"}, budget_s=0.1)


def test_states_at_the_start_are_made_where_the_network_runs() -> None:
    """Large zeros are not folded, and two networks share them; none of them crosses a link."""
    one, two = (replace(dense(FOLD_LIMIT + 1, n), name=f"net{n}") for n in (1, 2))
    graph = ht.trace(lambda x, y: (ht.snn.call(one, x), ht.snn.call(two, y)),
                     ht.spec((4, 1), "int32"), ht.spec((4, 2), "int32"))  # fmt: skip
    assert any(n.op.name == "broadcast_to" for n in graph.nodes)
    plan = ht.plan(graph, "robot", "energy", pins={"net1": "loihi", "net2": "jetson"}, budget_s=0.1)
    assert [t for t in plan.tasks.tasks if t.startswith("net")] == ["net1", "net2"]
    assert {c.tensor for c in plan.audit() if "loihi" in (c.source, c.target)} == {"x"}
    feed = {"x": np.ones((4, 1), np.int32), "y": np.ones((4, 2), np.int32)}
    result = plan.run(feed)
    for name, wanted in zip(("out.0", "out.1"), graph.evaluate(*feed.values()), strict=True):
        assert np.array_equal(result[name], wanted)


def test_floats_run_on_processors_and_on_loihi_only_when_quantised() -> None:
    floats = build(dense(4, 6, "lif"), steps=3)
    plan = ht.plan(floats, "robot", "energy", budget_s=0.1)
    assert plan.placement["net"] == "jetson"
    assert "hetero.quantize_loihi" in str(plan.explain("net"))
    loop = next(n for n in floats.nodes if n.op.name == "scan")
    assert refusal(floats, loop, load_profile("spinnaker-2")) is None  # which computes in floats
    assert "integers" in (refusal(floats, loop, load_profile("hala-point")) or "")  # whose inside is not shipped


def test_other_ops_do_not_run_on_a_neuromorphic_chip() -> None:
    other = ht.trace(lambda x: ht.matmul(x, x), ht.spec((4, 4), "int8"))
    assert refusal(other, other.nodes[0], load_profile("loihi")) == "loihi does not run matmul"
    loop = ht.trace(lambda x: ht.scan(lambda s, y: (s + y, s), ht.zeros((4,)), x)[1], ht.spec((9, 4), "float32"))
    node = next(n for n in loop.nodes if n.op.name == "scan")
    assert spiking_loop(node) is None
    assert "does not run scan" in (refusal(loop, node, load_profile("loihi")) or "")


# -- events and activity ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_where_all_spike_the_events_are_all_synapses(seed: int) -> None:
    net, _ = random_loihi(seed)
    mapped = map_network(net, load_chip("loihi"))
    events = expected(mapped, 7, 1.0)
    assert events.synaptic == 7 * mapped.synapses
    assert events.updates == events.spikes == 7 * mapped.neurons
    assert expected(mapped, 7, 0.0).synaptic == 0
    assert sum(w.updates for w in layer_works(net, 0.3)) == mapped.neurons


def test_counts_of_layers_are_those_of_the_chip_where_nothing_lies_between() -> None:
    net = dense(30, 40)
    (w, n), mapped = layer_works(net, 0.25), map_network(net, load_chip("loihi"))
    chip = expected(mapped, 1000, 0.25)
    assert 1000 * w.events == pytest.approx(chip.synaptic)
    assert 1000 * n.idle == pytest.approx(chip.idle_updates, abs=1)
    assert 1000 * n.spikes == pytest.approx(chip.spikes)


def test_the_price_rises_with_the_activity_and_an_unknown_one_is_wide() -> None:
    graph = build(dense(64, 64), steps=100)
    mid = {a: ht.plan(graph, "robot", "energy", activity=a, budget_s=0.1) for a in (0.01, 0.5)}
    joules = [float(p.tasks.joules[p.tasks.task_index("net"), 2]) for p in mid.values()]
    assert joules[0] < joules[1]
    assert "0.5, given" in str(mid[0.5])
    node = next(n for n in graph.nodes if n.op.name == "scan")
    work = work_of(graph, node)
    assert isinstance(work.events, Interval)
    assert work.events.high > 10 * work.events.low
    for name in ("loihi", "loihi-2", "truenorth", "spinnaker-2", "akida-1", "hala-point", "h100", "server-cpu"):
        profile = load_profile(name)
        e = estimate(on_chip(work, node, profile), profile)
        assert 0 < e.seconds.low <= e.seconds.mid <= e.seconds.high, name
        assert 0 <= e.joules.low <= e.joules.mid <= e.joules.high, name
        assert e.joules.mid > 0, name


def test_a_wrong_activity_is_told_with_all_that_is_wrong() -> None:
    graph = build(dense(4, 4), steps=3)
    with pytest.raises(PlanError, match=r"activity of 'net' is 2\.0.*0 to 1") as e:
        ht.plan(graph, "robot", activity={"net": 2.0, "nett": 0.1})
    assert "nothing is called 'nett'" in str(e.value)


def test_a_saved_plan_keeps_its_activity(tmp_path: Path) -> None:
    graph = build(dense(4, 4), steps=3)
    plan = ht.plan(graph, "robot", "energy", activity={"net": 0.25}, budget_s=0.1)
    plan.save(str(tmp_path / "plan.json"))
    again = Plan.load(str(tmp_path / "plan.json"), graph)
    assert again.model is not None
    assert again.model.request.activity == {"net": 0.25}
    assert (again.tasks.joules == plan.tasks.joules).all()
    for loaded in (again, Plan.load(str(tmp_path / "plan.json"))):
        assert "0.25, given" in str(loaded)
        assert spiking_rows(loaded) == spiking_rows(plan)
        assert loaded.explain("net").spiking == plan.explain("net").spiking[:1]


def test_a_stand_in_teaches_the_activity_of_what_crosses() -> None:
    graph = build(dense(4, 4), steps=100)
    plan = ht.plan(graph, "robot", "energy", budget_s=0.1)
    plan.run({"x": np.zeros((100, 4), np.int32)})
    assert "activity 0, measured" in str(plan.learn().explain("net"))
