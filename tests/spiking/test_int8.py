"""Weights of one byte: what they are, what is said of them, and that loops of events add them exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.chip import load_chip, map_network
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.spiking.build import build
from hetero.spiking.int8 import in_floats
from hetero.spiking.network import Edge, Layer, Network
from hetero.spiking.read import read
from hetero.spiking.stages import staged
from hetero.spiking.synapses import stored
from hetero.testing.spiking_float import RULES, exact, neuron, random_network


def convolved(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    spatial = {"strides": (1, 2), "dilations": (1, 1), "pads_before": (1, 0), "pads_after": (1, 1), "groups": 2}
    layers = [
        Layer("c", "synapse_conv", {"weight": exact(rng, 4, 1, 3, 3), "bias": exact(rng, 4)}, spatial),
        neuron(rng, "l1", "lif", (4, 6, 3), RULES[0]),
    ]
    edges = (Edge("x", "c"), Edge("c", "l1"), Edge("l1", "spikes"))
    return Network({"x": (2, 6, 6)}, {layer.name: layer for layer in layers}, ("spikes",), edges)


def spikes_for(graph: Graph, seed: int, share: float = 0.3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {n: (rng.random(t.shape) < share).astype(t.dtype) for n, t in graph.input_types.items()}  # pyright: ignore


@pytest.mark.parametrize("on", ["numpy", "opencl"])
@pytest.mark.parametrize(("seed", "steps", "batch"), [(0, 9, 3), (1, 12, None), (2, 1, 1), (3, 0, 2)])
def test_events_do_what_the_references_do(on: str, seed: int, steps: int, batch: int | None) -> None:
    """Sums of integers are exact in any order, so that every bit is the same."""
    for net in (random_network(seed, RULES[seed % 3]), convolved(seed)):
        graph = ht.quantize_synapses(net, steps=steps, batch=batch, record=True).graph
        staged(next(n for n in graph.nodes if n.op.name == "scan"))  # an error if there were no events
        feed = spikes_for(graph, seed)
        got = graph.run(feed, device=on)
        for port, want in zip(graph.outputs, graph.evaluate(*feed.values()), strict=True):
            assert np.array_equal(want, got[port.name]), port.name


@pytest.mark.parametrize("op", ["synapse_dense", "synapse_sparse", "synapse_conv"])
def test_a_weight_is_half_a_scale_off_at_most(op: str) -> None:
    net = convolved(3) if op == "synapse_conv" else random_network(3, RULES[0])
    made = ht.quantize_synapses(net)
    for name, layer in net.layers.items():
        if layer.op != op:
            continue
        small = made.network.layers[name].parameters
        assert small["weight"].dtype == np.int8
        assert abs(small["weight"]).max() == 127
        row = small["target"] if op == "synapse_sparse" else np.indices(small["weight"].shape)[0]
        lost = np.abs(small["weight"] * small["scale"][row].astype(np.float64) - layer.parameters["weight"])
        assert (lost <= 0.5001 * small["scale"][row]).all()
        said = next(e for e in made.layers if e.layer == name)
        assert said.rms == pytest.approx(np.sqrt(np.mean(lost**2)) / np.abs(layer.parameters["weight"]).max())
        assert said.after_byte < said.before_byte or said.before_byte < 100
        assert f"{name}: weights' error" in str(made)


def test_what_one_source_sends_twice_is_more_than_a_byte() -> None:
    """Two synapses of 127 between the same two elements are one of 254."""
    n = 3
    ends = {"source": np.array([0, 0, 1], "int32"), "target": np.array([2, 2, 0], "int32")}
    weights = {"weight": np.ones(3, "float32"), **ends}
    layers = {"w": Layer("w", "synapse_sparse", weights, {"size": n})}
    graph = ht.quantize_synapses(
        Network({"x": (n,)}, layers, ("out",), (Edge("x", "w"), Edge("w", "out"))), steps=2
    ).graph  # fmt: skip
    x = np.ones((2, n), "float32")
    for on in ("numpy", "opencl"):
        assert np.allclose(graph.run({"x": x}, device=on)["out"], [[1, 0, 2]] * 2)


def test_targets_without_weight_and_layers_that_are_not_named_stay() -> None:
    weight = np.array([[0, 0], [1, -2]], "float32")
    layers = {n: Layer(n, "synapse_dense", {"weight": weight}) for n in ("a", "b")}
    edges = (Edge("x", "a"), Edge("a", "b"), Edge("b", "out"))
    net = Network({"x": (2,)}, layers, ("out",), edges)
    made = ht.quantize_synapses(net, layers=["a"])
    assert [e.layer for e in made.layers] == ["a"]
    assert made.network.layers["b"].op == "synapse_dense"
    assert made.network.layers["a"].parameters["weight"].tolist() == [[0, 0], [64, -127]]
    assert np.isfinite(made.network.layers["a"].parameters["scale"]).all()


def test_a_graph_is_read_and_small_networks_are_read_again() -> None:
    graph = build(random_network(5, RULES[0]), steps=4)
    made = ht.quantize_synapses(graph, steps=4)
    again = read(made.graph)
    assert {layer.op for layer in again.layers.values()} >= {"synapse_dense_int8", "synapse_sparse_int8"}


def test_what_has_no_weights_of_a_byte_is_refused() -> None:
    net = random_network(0, RULES[0])
    with pytest.raises(GraphError, match="l1 is no synapse_dense"):
        ht.quantize_synapses(net, layers=["l1"])
    broken = Layer("w1", "synapse_dense", {"weight": np.full((2, 2), np.inf, "float32")})
    edges = (Edge("x", "w1"), Edge("w1", "out"))
    with pytest.raises(GraphError, match="w1 has weights that are not finite"):
        ht.quantize_synapses(Network({"x": (2,)}, {"w1": broken}, ("out",), edges))


def test_kernels_keep_weights_in_one_byte() -> None:
    rng = np.random.default_rng(0)
    assert stored(rng.integers(-127, 128, 50).astype(np.int32)).dtype == np.int8


def test_chips_take_weights_of_one_byte_by_what_they_stand_for() -> None:
    made = ht.quantize_synapses(convolved(5)).network
    plain = replace(made, layers={n: in_floats(layer) for n, layer in made.layers.items()}).check()
    small, large = (map_network(n, load_chip("spinnaker2")) for n in (made, plain))
    assert small.synapses == large.synapses > 0
    assert (small.reach != large.reach).nnz == 0
    weights = zip(small.layers, large.layers, strict=True)
    assert all(np.array_equal(a.population.weight, b.population.weight) for a, b in weights)
