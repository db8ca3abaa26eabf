"""Event-driven kernels against the same loop in NumPy, step by step: every sum here is exact, so all must be equal."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hetero_launch.spiking as event_driven
from hetero import registry
from hetero.compile import Program, compile
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.select import device_of
from hetero.spi import Device
from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network
from hetero.testing.spiking_delays import delayed_integers, delayed_network, halves
from hetero.testing.spiking_float import RULES, exact, neuron, random_network
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import ACCELERATOR


def run_on(backend: OpenCLBackend, graph: Graph, *arrays: Array) -> list[Array]:
    device: Device = backend.probe().devices[0]
    registry_name, registry.load = registry.load, lambda name: backend
    try:
        program: Program = compile(graph, device, "error")
    finally:
        registry.load = registry_name
    assert [s.ops for s in program.segments] == [{"scan": 1}] or all("scan" in s.ops for s in program.segments)
    outs = program(*(backend.from_host(a, device) for a in arrays))
    types = [graph.types[p.value] for p in graph.outputs]
    return [backend.to_host(o, t, device) for o, t in zip(outs, types, strict=True)]


def same_everywhere(net: Network, steps: int, batch: int | None, seed: int, backend: OpenCLBackend) -> int:
    """Every output and every state of every step; gives the number of spikes that were compared."""
    graph = build(net, steps=steps, batch=batch, record=True)
    rng = np.random.default_rng(seed)
    feed = {n: (rng.random(t.shape) < 0.3).astype(t.dtype) for n, t in graph.input_types.items()}
    want = graph.evaluate(*feed.values())
    got = run_on(backend, graph, *feed.values())
    for port, a, b in zip(graph.outputs, want, got, strict=True):
        assert np.array_equal(a, b), f"{port.name} differs first in step {np.argwhere(a != b)[0][0]}"
    return int(sum(a.sum() for port, a in zip(graph.outputs, want, strict=True) if port.name in ("l1", "l2")))


FORM = "HETERO_TEST_FORM"  # set in the process that runs this file again, in the form for accelerators


@pytest.fixture(scope="module")
def backend() -> OpenCLBackend:
    device_of("opencl")  # fails with the reason where there is none
    return OpenCLBackend(ACCELERATOR if os.environ.get(FORM) else None)


@pytest.mark.skipif(FORM in os.environ, reason="this is that process")
def test_the_form_for_accelerators_does_all_that_too() -> None:
    """Where there is AVX-512, PoCL 3.0 and 3.1 miscompile loops with barriers when they turn items into lanes; Intel's
    runtime and Oclgrind find nothing wrong with the text. How to do without is read when PoCL starts."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    env = os.environ | {FORM: "accelerator", "POCL_WORK_GROUP_METHOD": "loops"}
    made = subprocess.run(command, env=env, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert " passed" in made.stdout


@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(RULES),
    batch=st.sampled_from([None, 1, 3]),
    steps=st.integers(0, 12),
)
@settings(max_examples=3, deadline=None, derandomize=True)
def test_a_random_network_does_the_same_in_one_launch(
    backend: OpenCLBackend, seed: int, rule: Any, batch: int | None, steps: int
) -> None:
    same_everywhere(random_network(seed, rule), steps, batch, seed, backend)


@given(
    seed=st.integers(0, 10**6), rule=st.sampled_from(RULES), batch=st.sampled_from([None, 1]), steps=st.integers(0, 7)
)
@settings(max_examples=2, deadline=None, derandomize=True)
def test_a_random_network_does_the_same_in_slices(
    backend: OpenCLBackend, seed: int, rule: Any, batch: int | None, steps: int
) -> None:
    small, event_driven.SMALL = event_driven.SMALL, 0
    try:
        same_everywhere(random_network(seed, rule), steps, batch, seed, backend)
    finally:
        event_driven.SMALL = small


@pytest.mark.parametrize(("seed", "steps", "batch", "small"), [(1, 14, 3, True), (2, 13, None, False)])
def test_delays_do_the_same(backend: OpenCLBackend, seed: int, steps: int, batch: int | None, small: bool) -> None:
    """Of Loihi's integers, shifted either way, and of floats; lines at every step; in one launch and in slices."""
    most = event_driven.SMALL
    event_driven.SMALL = most if small else 0
    try:
        net = delayed_network(seed, RULES[seed % 3]) if small else delayed_integers(seed)
        same_everywhere(net, steps, batch, seed, backend)
    finally:
        event_driven.SMALL = most


def test_lines_that_begin_full_are_passed_on(backend: OpenCLBackend) -> None:
    for seed, steps in ((4, 0), (5, 12)):
        graph = halves(build(delayed_integers(seed), steps=steps, batch=2))
        rng = np.random.default_rng(seed)
        feed = [rng.integers(-3, 4, t.shape).astype(t.dtype) for t in graph.input_types.values()]  # pyright: ignore
        for port, a, b in zip(graph.outputs, graph.evaluate(*feed), run_on(backend, graph, *feed), strict=True):
            assert np.array_equal(a, b), port.name


def test_spikes_are_there_to_be_compared(backend: OpenCLBackend) -> None:
    net = random_network(3, ("euler", "value", True, 0))
    assert same_everywhere(net, 40, 2, 3, backend) > 50


def test_convolutions_and_pools_do_the_same(backend: OpenCLBackend) -> None:
    rng = np.random.default_rng(1)
    rule = ("euler", "subtract", True, 0)
    conv = {"strides": (1, 2), "dilations": (1, 1), "pads_before": (1, 0), "pads_after": (1, 1), "groups": 2}
    pool = {"kernel": (2, 2), "strides": (2, 1), "pads_before": (0, 1), "pads_after": (0, 0)}
    layers = [
        Layer("c", "synapse_conv", {"weight": exact(rng, 4, 1, 3, 3), "bias": exact(rng, 4)}, conv),
        neuron(rng, "l1", "lif", (4, 6, 3), rule),
        Layer("p", "sum_pool", {}, {**pool, "mean": True}),
        Layer("flat", "flatten", {}, {"rank": 3, "start": 0, "end": -1}),
        Layer("w", "synapse_dense", {"weight": exact(rng, 5, 36)}),
        neuron(rng, "l2", "if", (5,), rule),
    ]
    names = ["x", *(layer.name for layer in layers), "out"]
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    net = Network({"x": (2, 6, 6)}, {layer.name: layer for layer in layers}, ("out",), edges)
    for batch in (None, 3):
        assert same_everywhere(net, 9, batch, 2, backend) > 20


def test_integers_do_the_same_at_their_limits(backend: OpenCLBackend) -> None:
    """Currents wrap and voltages saturate; weights are kept in one, two and four bytes."""
    rng = np.random.default_rng(5)
    for most, exponent in ((100, 7), (255, 6), (2**20, 0)):
        n = 50
        given = {"du": rng.integers(0, 4096, n), "dv": rng.integers(0, 4096, n), "vth": rng.integers(0, 2**17, n),
                 "bias": rng.integers(-(2**19), 2**19, n)}  # fmt: skip
        weight = rng.integers(-most, most + 1, (n, n)).astype("int32")
        layers = {
            "w": Layer("w", "synapse_dense", {"weight": weight}, {"exponent": exponent, "saturate": 24}),
            "l1": Layer("l1", "loihi_lif", {k: v.astype("int32") for k, v in given.items()}),
        }
        edges = (Edge("x", "w"), Edge("w", "l1", delayed=True), Edge("l1", "out"), Edge("l1", "w", delayed=True))
        net = Network({"x": (n,)}, layers, ("out",), edges, np.dtype("int32"))
        assert same_everywhere(net, 60, None, most, backend) > 100


def test_the_first_state_counts_and_the_last_is_given(backend: OpenCLBackend) -> None:
    """Two halves of a run, the second from the state that the first leaves, are the whole run."""
    net = random_network(11, ("euler", "zero", True, 2))
    whole = build(net, steps=10)
    loop = next(n for n in whole.nodes if n.op.name == "scan")
    graph = halves(whole)
    start = loop.inputs[: loop.attrs["carried"]]
    rng = np.random.default_rng(0)
    states = [np.zeros(whole.types[i].shape, whole.types[i].dtype) for i in loop.inputs[: len(start)]]  # pyright: ignore
    xs = (rng.random((2, *whole.input_types["x"].known)) < 0.3).astype("float32")  # pyright: ignore
    want_state, got_state = states, states
    for half in xs:
        want, got = graph.evaluate(half, *want_state), run_on(backend, graph, half, *got_state)
        assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))
        want_state, got_state = list(want[: len(start)]), list(got[: len(start)])


@pytest.mark.parametrize(("share", "wanted"), [(0.05, "events"), (0.9, "product")])
def test_many_active_inputs_are_a_matrix_product(monkeypatch: pytest.MonkeyPatch, share: float, wanted: str) -> None:
    """The share of inputs that are not zero decides at each run; both ways give the same."""
    rng = np.random.default_rng(4)
    rule = ("euler", "zero", True, 0)
    layers = [
        Layer("w1", "synapse_dense", {"weight": exact(rng, 30, 40), "bias": exact(rng, 30)}),
        neuron(rng, "l1", "lif", (30,), rule),
        Layer("w2", "synapse_dense", {"weight": exact(rng, 5, 30)}),
        neuron(rng, "l2", "lif", (5,), rule),
    ]
    names = ["x", *(layer.name for layer in layers), "out"]
    edges = (*(Edge(a, b) for a, b in pairwise(names)), Edge("l1", "w2", delayed=True))
    net = Network({"x": (40,)}, {layer.name: layer for layer in layers}, ("out",), edges)
    graph = build(net, steps=30, batch=4, record=["l1", "l2"])
    x = (rng.random((30, 4, 40)) < share).astype("float32")
    ran: list[str] = []
    original = event_driven._Choice.__call__

    def watched(self: event_driven._Choice, runtime: Any, reads: Any, writes: Any) -> None:
        found = self._share(runtime, reads[self.looked[0]], self.types[0])
        ran.append("product" if found > event_driven.ACTIVE else "events")
        original(self, runtime, reads, writes)

    monkeypatch.setattr(event_driven._Choice, "__call__", watched)
    for a, b in zip(graph.evaluate(x), run_on(OpenCLBackend(), graph, x), strict=True):
        assert np.array_equal(a, b)
    assert ran == [wanted]
