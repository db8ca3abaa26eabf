"""A network becomes a graph and is found in it again; what is no network is refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hetero as ht
from hetero.errors import GraphError
from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network
from hetero.spiking.read import loop_of, read
from hetero.testing.spiking_float import RULES, exact, random_network


def same(a: Network, b: Network) -> None:
    assert dict(a.inputs) == dict(b.inputs)
    assert a.outputs == b.outputs
    assert set(a.edges) == set(b.edges)
    assert set(a.layers) == set(b.layers)
    for name, layer in a.layers.items():
        other = b.layers[name]
        assert (layer.op, dict(layer.attrs)) == (other.op, dict(other.attrs))
        assert all(np.array_equal(v, other.parameters[k]) for k, v in layer.parameters.items())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch", [None, 3, "batch"])
def test_a_network_is_found_again_in_its_graph(rule: tuple[str, str, bool, int], batch: int | str | None) -> None:
    for seed in range(5):
        net = random_network(seed, rule).check()
        graph = build(net, batch=batch)
        graph.check()
        full = {name: {**ht.OPS[la.op].complete(la.attrs)} for name, la in net.layers.items()}
        complete = replace(net, layers={n: replace(la, attrs=full[n]) for n, la in net.layers.items()})
        same(complete, read(graph))
        same(complete, read(build(net, batch=batch, record=True)))


def test_a_saved_network_is_the_same_network(tmp_path: object) -> None:
    graph = build(random_network(1, RULES[0]))
    path = f"{tmp_path}/net.hetero"
    graph.save(path)
    assert ht.Graph.load(path) == graph


def test_a_loop_knows_what_it_carries_and_shows() -> None:
    net = random_network(2, RULES[2])
    (node,) = [n for n in build(net, record=["l1"]).nodes if n.op.name == "scan"]
    loop = loop_of(node)
    assert ("l2", "") in loop.carried  # the recurrent edge
    assert ("l1", "wait") in loop.carried
    assert ("l1", "") in loop.shown
    assert loop.lead == 0


def test_everything_wrong_with_a_network_is_said_at_once() -> None:
    layers = {"w": Layer("w", "synapse_dense", {"bias": np.zeros(3, "float32")}), "x": Layer("x", "no_op", {})}
    net = Network({"x": (4,)}, layers, ("out", "w"), (Edge("x", "nowhere"), Edge("ghost", "w")))
    with pytest.raises(GraphError) as caught:
        net.check()
    for part in ("x is both an input and a layer", "no_op is no layer", "ghost, which is not there", "nowhere",
                 "w: synapse_dense takes weight, bias", "nothing comes to output out"):  # fmt: skip
        assert part in caught.value.problem


def test_a_loop_of_edges_needs_a_delay() -> None:
    rng = np.random.default_rng(0)
    layers = {n: Layer(n, "synapse_dense", {"weight": exact(rng, 3, 3)}) for n in "ab"}
    net = Network({"x": (3,)}, layers, ("out",), (Edge("x", "a"), Edge("a", "b"), Edge("b", "a"), Edge("b", "out")))
    with pytest.raises(GraphError, match="a and b wait for each other"):
        net.check()


def test_another_loop_is_no_network() -> None:
    def step(s: ht.Tensor, x: ht.Tensor) -> tuple[ht.Tensor, ht.Tensor]:
        return ht.tanh(s + x), s * x

    graph = ht.trace(lambda s, xs: ht.scan(step, s, xs)[1], ht.spec((3,)), ht.spec((5, 3)))
    with pytest.raises(GraphError, match="no spiking network: a step has"):
        read(graph)


@pytest.mark.parametrize("batch", [None, 3, "batch"])
def test_states_that_do_not_start_at_zero_are_found_again(batch: int | str | None) -> None:
    start = {"v": np.array([0.5, 0.0, -1.0], "float32")}
    one = np.ones(3, "float32")
    attrs = {"dt": 1.0, "rule": "euler", "reset": "subtract", "strict": False, "refractory": 0}
    layer = Layer("n", "if", {"r": one, "v_threshold": one, "v_reset": one}, attrs, start=start)
    net = Network({"x": (3,)}, {"n": layer}, ("out",), (Edge("x", "n"), Edge("n", "out"))).check()
    graph = build(net, steps=4, batch=batch)
    assert np.array_equal(read(graph).layers["n"].start["v"], start["v"])
    shape = (4, 3) if batch is None else (4, 3, 3)
    (spikes,) = graph.run({"x": np.full(shape, 0.25, "float32")}).values()
    assert spikes.reshape(4, -1, 3)[:, 0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_start_that_no_layer_keeps_is_refused() -> None:
    wrong = {"u": np.ones(3, "float32"), "v": np.ones((2, 3), "float32")}
    one = np.ones(3, "float32")
    attrs = {"dt": 1.0, "rule": "euler", "reset": "subtract", "strict": False, "refractory": 0}
    layer = Layer("n", "if", {"r": one, "v_threshold": one, "v_reset": one}, attrs, start=wrong)
    net = Network({"x": (3,)}, {"n": layer}, ("out",), (Edge("x", "n"), Edge("n", "out")))
    with pytest.raises(GraphError) as caught:
        net.check()
    assert "u cannot start at a value; these can: v" in str(caught.value)
    assert "v starts as (2, 3) beside (3,)" in str(caught.value)
