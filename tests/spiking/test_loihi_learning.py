"""Learning in Loihi's integers: against a slow rule by rule simulation, on each backend, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from math import exp, floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import registry
from hetero.errors import AttributeValueError, BackendError, GraphError, ShapeError
from hetero.execute import run
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array
from hetero.ops.loihi_learning import SIGNS
from hetero.ops.loihi_rules import TRACES, scaled, text
from hetero.ops.products import parse
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.learning import plastic
from hetero.spiking.network import Edge, Network
from hetero.spiking.read import read
from hetero.spiking.stages import staged
from hetero.testing.plugin import required
from hetero.testing.spiking_learning import random_learning, random_rule

STDP = "2^-2*x1*y0 - 2^-2*x0*y1"


def lif(name: str, n: int) -> Layer:
    values = {"du": 400, "dv": 100, "vth": 60, "bias": 0}
    return Layer(name, "loihi_lif", {k: np.full(n, v, np.int32) for k, v in values.items()})


def synapse(weight: Any = None, **given: Any) -> Layer:
    rest: dict[str, Any] = {"sign": "excitatory", "post": "n", "seed": 3, "x1": (16.3, 10.5), "y1": (20.0, 5.0)} | given
    weight = np.random.default_rng(0).integers(0, 100, (2, 3)).astype(np.int32) if weight is None else weight
    return plastic("w", weight, rest.pop("rule", STDP), **rest)


EDGES = (Edge("x", "w"), Edge("w", "n", delayed=True), Edge("n", "out"))


def network(*layers: Layer, edges: tuple[Edge, ...] = EDGES, size: int = 3, dtype: str = "int32") -> Network:
    return Network({"x": (size,)}, {la.name: la for la in layers}, ("out",), edges, np.dtype(dtype), "net").check()


PLAIN = network(synapse(), lif("n", 2))
SPIKES = (np.random.default_rng(0).random((40, 3)) < 0.4).astype(np.int32)


def same(found: dict[str, Array], wanted: dict[str, Array], what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, f"{what}: {name}"
        np.testing.assert_array_equal(found[name], value, err_msg=f"{what}: {name}")


# -- the arithmetic -------------------------------------------------------------------------------------------


class ByHand:
    """One synapse, number by number: floats, and random numbers drawn one by one as Lava draws them."""

    def __init__(self, layer: Layer) -> None:
        self.a = layer.attrs
        seed = self.a["seed"]
        self.decay = {"x": np.random.default_rng(seed), "y": np.random.default_rng(seed + 2)}
        self.impulse = {"x": np.random.default_rng(seed + 1), "y": np.random.default_rng(seed + 3)}
        self.weights = np.random.default_rng(2)
        self.w = layer.start["weight"].astype(int).tolist()
        m, n = layer.start["weight"].shape
        self.traces: dict[str, list[int]] = {t: [0] * (n if t[0] == "x" else m) for t in TRACES}
        self._drawn()
        self.weights.random(1)

    def _drawn(self) -> dict[str, tuple[float, int]]:
        return {s: (float(self.decay[s].random(1)[0]), int(self.impulse[s].integers(0, 128, 1)[0])) for s in "xy"}

    def step(self, x: list[int], post: list[int]) -> None:
        self._drawn()
        drawn = self._drawn()
        r = float(self.weights.random(1)[0])
        for name, trace in self.traces.items():
            spikes = x if name[0] == "x" else post
            tau, impulse = self.a[f"{name}_tau"], self.a[f"{name}_impulse"]
            keep = exp(-1 / tau) if tau else 0.0
            decay, add = drawn[name[0]]
            for i, s in enumerate(spikes):
                value = trace[i] * keep
                trace[i] = floor(value) + (decay < value % 1)
                if s:
                    trace[i] = min(127, trace[i] + floor(impulse) + (add < round(impulse % 1 * 256)))
        self.w = [[self._weight(i, j, bool(x[j]), bool(post[i]), r) for j in range(len(x))] for i in range(len(post))]

    def _weight(self, i: int, j: int, x0: bool, y0: bool, r: float) -> int:
        old = self.w[i][j]
        value = {"x0": int(x0), "y0": int(y0), "w": old}
        value |= {t: self.traces[t][j if t[0] == "x" else i] for t in TRACES}
        total = old * 128
        for p in parse(self.a["rule"]):
            mantissa, exponent = p.mantissa, p.exponent
            while mantissa % 1:
                mantissa, exponent = mantissa * 2, exponent - 1
            while abs(mantissa) > 7 and mantissa % 2 == 0 and exponent < 8:
                mantissa, exponent = mantissa / 2, exponent + 1
            change, width = int(mantissa), 3  # the gate's own bit is not counted, the mantissa's four are
            for v in p.variables:
                change *= value[v]
                width += 9 if v == "w" else 1 if v[1] == "0" else 7
            change = change // 2 ** max(0, width - 15) * 2 ** (exponent + 7)
            total = max(-32769, min(32767, total + max(-32769, min(32767, change))))
        low, high = SIGNS[self.a["sign"]]
        total = max(total, 0) if low == 0 else min(total, 0) if high == 0 else total
        return max(low, min(high, floor(total / 128) + (r < total / 128 % 1)))


@pytest.mark.parametrize("seed", range(8))
def test_weights_and_traces_are_those_computed_one_by_one(seed: int) -> None:
    net, inputs = random_learning(seed)
    made = run(build(net, steps=len(inputs["spikes"]), record=True), inputs, "numpy")
    learning = [layer for layer in net.layers.values() if layer.kind.learns]
    assert learning
    for layer in learning:
        hand = ByHand(layer)
        (edge,) = net.into[layer.name]
        x = made[edge.source] if edge.source in made else inputs[edge.source]
        for t, post in enumerate(made[layer.post]):
            hand.step(x[t].tolist(), post.tolist())
            assert made[f"{layer.name}.weight"][t].tolist() == hand.w, (layer.name, t)
            assert {k: made[f"{layer.name}.{k}"][t].tolist() for k in TRACES} == hand.traces, (layer.name, t)


@pytest.mark.skipif(not registry.probe("opencl").devices and "opencl" not in required(), reason="no OpenCL")
@pytest.mark.parametrize("seed", [1, 2])
def test_opencl_gives_the_same_bits(seed: int) -> None:
    net, inputs = random_learning(seed)
    graph = build(net, steps=len(inputs["spikes"]), record=True)
    same(run(graph, inputs, "opencl"), run(graph, inputs, "numpy"), f"network {seed}")


def test_the_seed_decides() -> None:
    def weights(seed: int) -> Array:
        net = network(synapse(seed=seed), lif("n", 2))
        return run(build(net, steps=40, record=["w"]), {"x": SPIKES}, "numpy")["w.weight"]

    np.testing.assert_array_equal(weights(5), weights(5))
    assert (weights(5) != weights(6)).any()
    assert (weights(5)[0] != weights(5)[-1]).any()


def test_a_spike_before_another_strengthens_and_one_after_weakens() -> None:
    """With the numbers of STDP: x1 of 16 at y0 gives 4."""
    net = network(synapse(np.full((1, 2), 100, np.int32), x1=(16, 1e6), y1=(16, 1e6)), lif("n", 1), size=2)
    x = np.zeros((4, 2), np.int32)
    x[0, 0] = x[3, 1] = 1  # the neuron spikes in step 1
    made = run(build(net, steps=4, record=True), {"x": x}, "numpy")
    assert made["n"][:, 0].tolist() == [0, 1, 1, 1]
    up = made["w.weight"][:, 0, 0].tolist()
    assert up[0] == 100
    assert up[1] == 104
    assert made["w.weight"][3, 0, 1] < up[3]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("x0", "+1*2^0*x0"),
        ("-2*x1*y0", "-2*2^0*y0*x1"),
        ("2^-2*x1*y0 - 2^-2*x0*y1", "+1*2^-2*y0*x1-1*2^-2*x0*y1"),
        ("16*x0*y0*w", "+4*2^2*x0*y0*w"),
        ("0.75*x0 + 3*2^-2*x0", "+3*2^-2*x0+3*2^-2*x0"),
        ("2*2^-3*y0*2", "+4*2^-3*y0"),
    ],
)
def test_factors_become_mantissa_and_exponent(rule: str, wanted: str) -> None:
    assert text(rule) == wanted


@pytest.mark.parametrize("rule", ["0.1*x0", "9*x0", "2^9*x0", "2^-8*x0", "x0*w*w*w*w", "11*x0 + 0.3*y0"])
def test_factors_that_the_chip_has_not_are_refused(rule: str) -> None:
    with pytest.raises(AttributeValueError, match="not one of Loihi's"):
        scaled(rule)


def test_random_rules_use_every_variable() -> None:
    rules = [random_rule(np.random.default_rng(k)) for k in range(50)]
    assert all(v in " ".join(rules) for v in ("x0", "x1", "x2", "y0", "y1", "y2", "y3", "w"))


# -- the network and its graph --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_network_is_found_again_in_its_graph(seed: int, tmp_path: Path) -> None:
    net, inputs = random_learning(seed)
    steps = len(inputs["spikes"])
    graph = build(net, steps=steps, record=True)
    graph.check()
    path = str(tmp_path / "net.hetero")
    graph.save(path)
    loaded = ht.Graph.load(path)
    assert loaded == graph
    found = read(loaded)
    assert set(found.edges) == set(net.edges)
    for name, layer in net.layers.items():
        other = found.layers[name]
        assert (layer.op, layer.post, dict(layer.attrs)) == (other.op, other.post, dict(other.attrs))
        assert layer.start.keys() == other.start.keys()
        assert all(np.array_equal(v, other.start[k]) for k, v in layer.start.items())
    again = run(build(found, steps=steps, record=True), inputs, "numpy")
    same(again, run(graph, inputs, "numpy"), "found")


def test_weights_of_zero_are_found_too() -> None:
    found = read(build(network(synapse(np.zeros((2, 3), np.int32)), lif("n", 2)), steps=4))
    assert found.layers["w"].start["weight"].shape == (2, 3)


def other_table(graph: Graph, change: bool) -> Graph:
    """The graph with another table of rounding, or with one that is an input."""
    (loop,) = [n for n in graph.nodes if n.op.name == "scan"]
    table = loop.inputs[loop.attrs["carried"] + loop.attrs["scanned"] - 1]
    builder = Builder(graph.name, track=False)
    env = {p.value: builder.input(p.name, graph.types[p.value]) for p in graph.inputs}
    env |= {i: builder.constant(a) for i, a in graph.constants.items() if i != table}
    env[table] = builder.constant(graph.constants[table] ^ 1) if change else builder.input("t", graph.types[table])
    for n in graph.nodes:
        env |= zip(n.outputs, builder.emit(n.op, [env[i] for i in n.inputs], n.attrs), strict=True)
    return builder.build({p.name: env[p.value] for p in graph.outputs})


@pytest.mark.parametrize("change", [True, False])
def test_a_graph_that_rounds_otherwise_is_no_network(change: bool) -> None:
    graph = build(PLAIN, steps=4)
    read(graph)
    with pytest.raises(GraphError, match="does not round as its seed 3 says"):
        read(other_table(graph, change))


def test_it_has_no_event_driven_form_and_no_chip() -> None:
    graph = build(PLAIN, steps=40)
    (loop,) = [n for n in graph.nodes if n.op.name == "scan"]
    with pytest.raises(GraphError, match="w: loihi_learn_dense has no event-driven form"):
        staged(loop)
    with pytest.raises(BackendError, match="w learns, which only runs on numpy, opencl and lava"):
        run(graph, {"x": SPIKES}, "chip")


def test_a_plan_takes_it_as_a_loop() -> None:
    """On nodes that run it; chips do not."""
    graph = build(PLAIN, steps=40)
    made = ht.plan(graph, "robot").run({"x": SPIKES})["out"]
    np.testing.assert_array_equal(np.asarray(made), run(graph, {"x": SPIKES}, "numpy")["out"])


# -- what is refused ------------------------------------------------------------------------------------------


def test_everything_wrong_with_a_synapse_is_said_at_once() -> None:
    with pytest.raises(GraphError) as caught:
        plastic("w", np.ones((2, 3)), "3*x0*foo", sign="up", post="n", seed=-1, x1=(200, -1), exponent=40)
    for words in ("'foo' is neither", "sign is one of", "seed is 0 to", "impulse of x1 is 0 to 127, not 200",
                  "tau of x1 is 0 or more", "whole numbers, not float64", "exponent is -31 to 31"):  # fmt: skip
        assert words in caught.value.problem
    with pytest.raises(GraphError, match="excitatory weights are 0 to 255, not -1 to 300"):
        synapse(np.array([[-1, 300]]))
    with pytest.raises(GraphError, match="steps of 2"):
        synapse(np.array([[-1, 4]]), sign="mixed")


WRONG: dict[str, Any] = {
    "post names the neurons behind it, not 'k'; these are there: n": lambda: network(synapse(post="k"), lif("n", 2)),
    "w gives (2,), but its post neurons n are (5,)": lambda: network(synapse(), lif("n", 5)),
    "x is (4,), not (3,), for weights (2, 3)": lambda: network(synapse(), lif("n", 2), size=4),
    "wait for each other": lambda: network(synapse(), lif("n", 2), edges=(EDGES[0], Edge("w", "n"), EDGES[2])),
    "starts with a weight (targets, sources), not none": lambda: network(replace(synapse(), start={}), lif("n", 2)),
    "does not learn, so it has no post": lambda: network(synapse(), replace(lif("n", 2), post="n")),
    "it lacks exponent, seed, sign, x1_impulse": lambda: network(replace(synapse(), attrs={"rule": "x0"}), lif("n", 2)),
    "x1 starts at 0 to 200": lambda: network(
        replace(synapse(), start={**synapse().start, "x1": np.array([0, 1, 200], np.int32)}), lif("n", 2)),
    "wants int32, but x is float32": lambda: network(synapse(), lif("n", 2), dtype="float32"),
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG)
def test_a_network_that_cannot_learn_is_refused_with_the_layer(words: str) -> None:
    with pytest.raises(GraphError) as caught:
        WRONG[words]()
    assert words in str(caught.value)


def test_steps_must_be_a_number_and_there_is_no_batch() -> None:
    with pytest.raises(GraphError, match=r"(?s)w learns.*build\(network, steps=100\)"):
        build(PLAIN)
    with pytest.raises(GraphError, match="one sample at a time"):
        build(PLAIN, steps=4, batch=2)


@pytest.mark.parametrize("name", ["x1", "weight"])
def test_states_of_other_shapes_are_refused_by_the_op(name: str) -> None:
    op = OPS["loihi_learn_dense"]
    arrays = {n: np.zeros(2 if n[0] in "yp" else 3, np.int32) for n in ("x", "weight", *TRACES, "post")}
    arrays |= {"weight": np.zeros((2, 3), np.int32), "rounding": np.zeros(11, np.int32)}
    arrays[name] = np.zeros((2, 7), np.int32)
    builder = Builder("g", track=False)
    with pytest.raises(ShapeError, match="for weights"):
        builder.emit(op, [builder.constant(a) for a in arrays.values()], synapse().attrs)
