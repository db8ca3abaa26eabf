"""The event-driven loop of the NumPy backend against the references of the ops, on sums that are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hetero_numpy.spiking as event_driven
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType
from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network
from hetero.testing.spiking_delays import delayed_integers, delayed_network, halves
from hetero.testing.spiking_float import RULES, exact, neuron, random_network


def run(graph: Graph, feed: dict[str, Array]) -> tuple[Array, ...]:
    outs = graph.run(feed, device="numpy:0")
    return tuple(outs[p.name] for p in graph.outputs)


@given(
    seed=st.integers(0, 10**6), rule=st.sampled_from(RULES), batch=st.sampled_from([None, 1, 3]),
    steps=st.integers(0, 12), share=st.sampled_from([0.02, 0.3, 1.0]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_random_network_does_the_same(seed: int, rule: Any, batch: int | None, steps: int, share: float) -> None:
    graph = build(random_network(seed, rule), steps=steps, batch=batch, record=True)
    rng = np.random.default_rng(seed)
    feed = {n: (rng.random(t.shape) < share).astype(t.dtype) for n, t in graph.input_types.items()}  # pyright: ignore
    for port, a, b in zip(graph.outputs, graph.evaluate(*feed.values()), run(graph, feed), strict=True):
        assert np.array_equal(a, b), port.name


@given(
    seed=st.integers(0, 10**6), kind=st.sampled_from([*RULES, None]), batch=st.sampled_from([None, 1, 3]),
    steps=st.integers(0, 14), record=st.booleans(), block=st.sampled_from([1, 100, 1 << 20]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_delays_do_the_same(
    seed: int, kind: Any, batch: int | None, steps: int, record: bool, block: int
) -> None:  # fmt: skip
    """Of floats and of Loihi's integers (None), lines included, sums of inputs made for any number of steps at once."""
    net = delayed_network(seed, kind) if kind else delayed_integers(seed)
    graph = build(net, steps=steps, batch=batch, record=record)
    assert event_driven.staged_or_none(next(n for n in graph.nodes if n.op.name == "scan"))
    rng = np.random.default_rng(seed)
    feed = {n: (rng.random(t.shape) < 0.3).astype(t.dtype) for n, t in graph.input_types.items()}  # pyright: ignore
    whole, event_driven.BLOCK = event_driven.BLOCK, block
    try:
        got = run(graph, feed)
    finally:
        event_driven.BLOCK = whole
    for port, a, b in zip(graph.outputs, graph.evaluate(*feed.values()), got, strict=True):
        assert np.array_equal(a, b), port.name


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("steps", [0, 1, 3, 12])
def test_lines_that_begin_full_are_passed_on(seed: int, steps: int) -> None:
    """Any first state, and the last one: as the ops' references have them."""
    net = delayed_network(seed, RULES[seed % 3]) if seed % 2 else delayed_integers(seed)
    graph = halves(build(net, steps=steps, batch=2))
    rng = np.random.default_rng(seed)
    feed = {n: rng.integers(-3, 4, t.shape).astype(t.dtype) for n, t in graph.input_types.items()}  # pyright: ignore
    for port, a, b in zip(graph.outputs, graph.evaluate(*feed.values()), run(graph, feed), strict=True):
        assert np.array_equal(a, b), port.name


def test_a_line_longer_than_its_delays_is_no_stage() -> None:
    """The op allows it; such a loop runs step by step."""
    builder = Builder("body", track=False)
    number = np.dtype("float32")
    line, x = builder.input("line", TensorType((3, 4), number)), builder.input("x", TensorType((4,), number))
    out, kept = builder("delay", x, line, builder.constant(np.array([0, 1, 1, 0], "int32")))
    whole = Builder("whole", track=False)
    start = whole.input("start", line.type)
    xs = whole.input("xs", TensorType((5, 4), number))
    made = whole("scan", start, xs, body=builder.build([kept, out]), carried=1, scanned=1, reverse=False)
    graph = whole.build(list(made))
    assert event_driven.staged_or_none(graph.nodes[0]) is None
    rng = np.random.default_rng(0)
    feed = {n: rng.random(t.shape).astype("float32") for n, t in graph.input_types.items()}  # pyright: ignore
    for a, b in zip(graph.evaluate(*feed.values()), run(graph, feed), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("most", [100, 2**20, 2**30])
def test_integer_sums_of_any_size_are_exact(most: int) -> None:
    """Small ones by a product of floats, large ones by integers, which wrap as int32 does."""
    rng = np.random.default_rng(most)
    weight = rng.integers(-most, most + 1, (30, 40)).astype("int32")
    layers = {"w": Layer("w", "synapse_dense", {"weight": weight}, {"exponent": 0, "saturate": 0})}
    graph = build(
        Network({"x": (40,)}, layers, ("out",), (Edge("x", "w"), Edge("w", "out")), np.dtype("int32")), steps=9
    )
    for share in (0.1, 0.9):
        x = (rng.random((9, 40)) < share).astype("int32")
        assert np.array_equal(run(graph, {"x": x})[0], graph.evaluate(x)[0])


def test_the_loop_is_run_by_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests here compare is the event-driven code, not the loop over the body."""
    calls: list[int] = []
    original = event_driven._Run._stage

    def counted(self: Any, *given: Any) -> None:
        calls.append(1)
        original(self, *given)

    monkeypatch.setattr(event_driven._Run, "_stage", counted)
    rng = np.random.default_rng(0)
    layers = [Layer("w", "synapse_dense", {"weight": exact(rng, 5, 7)}), neuron(rng, "l", "lif", (5,), RULES[0])]
    edges = (Edge("x", "w"), Edge("w", "l"), Edge("l", "out"))
    graph = build(Network({"x": (7,)}, {n.name: n for n in layers}, ("out",), edges), steps=4)
    run(graph, {"x": np.ones((4, 7), "float32")})
    assert len(calls) == 4  # one stage
