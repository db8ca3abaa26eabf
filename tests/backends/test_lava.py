"""Lava against the references, bit for bit, and what it refuses. Its worker: test_lava_worker.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero
from hetero import registry
from hetero.compile import compile
from hetero.errors import BackendError, DeviceError
from hetero.execute import run
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array
from hetero.ops.loihi import effective_weights
from hetero.spi import Device
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network
from hetero.testing.plugin import required
from hetero.testing.spiking import count_limits, random_loihi
from hetero_lava import LavaBackend

EXAMPLES = int(os.environ.get("HETERO_LAVA_EXAMPLES", "10"))
FOUND = LavaBackend().probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("lava", host=True)

needs_lava = pytest.mark.skipif(
    not FOUND.devices and "lava" not in required(), reason=f"no Lava: {FOUND.reason}; try: {FOUND.fix}"
)


def int32(*values: Any) -> Array:
    return np.array(values[0] if len(values) == 1 else values, np.int32)


def lif(name: str, n: int, **given: int) -> Layer:
    values = {"du": 400, "dv": 100, "vth": 60, "bias": 0} | given
    return Layer(name, "loihi_lif", {k: np.full(n, v, np.int32) for k, v in values.items()})


def dense(name: str, weight: Array, **attrs: int) -> Layer:
    return Layer(name, "synapse_dense", {"weight": weight}, {"exponent": 0, "saturate": 0} | attrs)


def network(*layers: Layer, delayed: bool = True, size: int = 3, dtype: str = "int32") -> Network:
    """x -> synapse -> neurons -> out, or what else stands in a row"""
    names = ["x", *(layer.name for layer in layers), "out"]
    synapses = {layer.name for layer in layers if layer.op.startswith("synapse")}
    edges = tuple(Edge(a, b, delayed and a in synapses and b != "out") for a, b in pairwise(names))
    return Network({"x": (size,)}, {layer.name: layer for layer in layers}, ("out",), edges, np.dtype(dtype)).check()


WEIGHT = int32([[64, -30, 12], [-8, 100, 254]])
PLAIN = network(dense("w", WEIGHT), lif("n", 2))
SPIKES = np.random.default_rng(0).integers(0, 2, (20, 3)).astype(np.int32)


def same(found: dict[str, Array], wanted: dict[str, Array], what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, f"{what}: {name}"
        np.testing.assert_array_equal(found[name], value, err_msg=f"{what}: {name}")


# -- the arithmetic -------------------------------------------------------------------------------------------


@needs_lava
def test_random_networks_give_the_same_bits_everywhere() -> None:
    """Spikes, currents and voltages of every step; some currents wrap and some voltages saturate."""
    others = [d for d in ("opencl", "lava") if registry.probe(d).devices or d in required()]
    wraps = clips = spikes = 0
    began = time.monotonic()
    for seed in range(EXAMPLES):
        net, inputs = random_loihi(seed)
        graph = build(net, steps=len(inputs["spikes"]), record=True)
        wanted = run(graph, inputs, "numpy")
        for device in others:
            same(run(graph, inputs, device), wanted, f"network {seed} on {device}")
        more = count_limits(net, wanted)
        wraps, clips = wraps + more[0], clips + more[1]
        spikes += sum(int(v.sum()) for k, v in wanted.items() if k.startswith("out_"))
        if seed % 25 == 24 or seed == EXAMPLES - 1:
            said = f"{wraps} wraps, {clips} clips, {spikes} spikes, {time.monotonic() - began:.0f} s"
            print(f"{seed + 1} of {EXAMPLES} networks on numpy, {', '.join(others)}: {said}", flush=True)
    assert min(wraps, clips, spikes) > 0


LAVA_WEIGHTS = """
import numpy as np, sys
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
given = np.load(sys.argv[1])
made = {}
for name in given.files:
    mode, bits = determine_sign_mode(given[name]), int(name.split("_")[1])
    made[name] = truncate_weights(clip_weights(given[name], mode, num_bits=8), mode, bits)
np.savez(sys.argv[2], **made)
"""


@needs_lava
def test_effective_weights_are_those_that_lava_keeps(tmp_path: Path) -> None:
    """Excitatory, inhibitory and mixed ones, of every number of bits, within the range and beyond."""
    rng = np.random.default_rng(0)
    ranges = ((0, 256), (-255, 1), (-255, 256), (-400, 400), (-400, -2), (0, 1))
    given = {f"{k}_{bits}": rng.integers(*r, (7, 9)).astype(np.int32)
             for k, r in enumerate(ranges) for bits in range(1, 9)}  # fmt: skip
    np.savez(tmp_path / "given.npz", **given)  # pyright: ignore[reportArgumentType]
    python = LavaBackend().client().interpreter.path  # pyright: ignore[reportAttributeAccessIssue]
    command = [python, "-I", "-c", LAVA_WEIGHTS, tmp_path / "given.npz", tmp_path / "made.npz"]
    subprocess.run(command, check=True, timeout=120)
    made = np.load(tmp_path / "made.npz")
    for name, weight in given.items():
        np.testing.assert_array_equal(effective_weights(weight, int(name.split("_")[1])), made[name], err_msg=name)


@needs_lava
@pytest.mark.parametrize("seed", range(3))
def test_states_come_in_and_go_out(seed: int) -> None:
    """A run in two halves, the second from the states that the first one left, is the run in one piece."""
    net, inputs = random_loihi(seed)
    steps = len(inputs["spikes"])
    cut = steps // 2
    whole = run(build(net, steps=steps, record=True), inputs, "numpy")
    halves: list[dict[str, Array]] = []
    states: dict[str, Array] = {}
    for part in (slice(0, cut), slice(cut, steps)):
        graph = with_states(build(net, steps=part.stop - part.start, record=True))
        states = states or {n: np.zeros(t.known, t.dtype) for n, t in graph.input_types.items() if n != "spikes"}  # pyright: ignore[reportArgumentType, reportCallIssue]
        made = run(graph, {**states, "spikes": inputs["spikes"][part]}, "lava")
        states = {n.removesuffix("'"): a for n, a in made.items() if n.endswith("'")}
        halves.append({n: a for n, a in made.items() if not n.endswith("'")})
    same({n: np.concatenate([h[n] for h in halves]) for n in whole}, whole, f"network {seed} in halves")


def with_states(graph: Graph) -> Graph:
    """The loop of `graph` with its states as inputs `sK`, and as outputs `sK'`."""
    (loop,) = [n for n in graph.nodes if n.op.name == "scan"]
    builder = Builder(graph.name, track=False)
    types, count = graph.in_types(loop), loop.attrs["carried"]
    refs = [builder.input(f"s{k}", t) for k, t in enumerate(types[:count])]
    refs += [builder.input(p.name, graph.types[p.value]) for p in graph.inputs]
    outs = builder.emit(OPS["scan"], refs, loop.attrs)
    named = {f"s{k}'": r for k, r in enumerate(outs[:count])}
    shown = {p.name: outs[loop.outputs.index(p.value)] for p in graph.outputs}
    return builder.build(named | shown)


@needs_lava
def test_graded_spikes_are_multiplied() -> None:
    graph = build(PLAIN, steps=20, record=True)
    inputs = {"x": np.random.default_rng(1).integers(-5, 6, (20, 3)).astype(np.int32)}
    same(run(graph, inputs, "lava"), run(graph, inputs, "numpy"), "graded")
    same(run(graph, {"x": SPIKES}, "lava"), run(graph, {"x": SPIKES}, "numpy"), "binary, after graded")


@needs_lava
def test_no_steps_give_nothing() -> None:
    made = run(build(PLAIN, steps=0, record=True), {"x": SPIKES[:0]}, "lava")
    assert {n: a.shape for n, a in made.items()}["n.u"] == (0, 2)


@needs_lava
def test_parts_that_do_not_hang_together() -> None:
    layers = {"w": dense("w", WEIGHT), "n": lif("n", 2), "alone": lif("alone", 4, bias=900)}
    edges = (Edge("x", "w"), Edge("w", "n", delayed=True), Edge("n", "a"), Edge("alone", "b"))
    graph = build(Network({"x": (3,)}, layers, ("a", "b"), edges, np.dtype("int32")), steps=20)
    made = run(graph, {"x": SPIKES}, "lava")
    assert made["b"].any()
    same(made, run(graph, {"x": SPIKES}, "numpy"), "two parts")


# -- what is refused ------------------------------------------------------------------------------------------

EYE = np.eye(2, dtype=np.int32)
REFUSED = {
    "this network is float32: hetero.quantize_loihi makes one": network(
        Layer("w", "synapse_dense", {"weight": np.ones((2, 3), np.float32)}),
        Layer("n", "lif", {k: np.ones(2, np.float32) for k in ("tau", "r", "v_leak", "v_threshold", "v_reset")},
              {"dt": 1e-3, "rule": "euler", "reset": "zero", "strict": True, "refractory": 0}),
        dtype="float32"),
    "n: the edge from w is not delayed": network(dense("w", WEIGHT), lif("n", 2), delayed=False),
    "w: weights of -255 to 100": network(dense("w", int32([[-255, 1, 2], [100, 0, 0]])), lif("n", 2)),
    "n: vth of 131072": network(dense("w", WEIGHT), lif("n", 2, vth=2**17)),
    "n: du of 4096": network(dense("w", WEIGHT), lif("n", 2, du=4096)),
    "n: a bias of 4097 is no": network(dense("w", WEIGHT), lif("n", 2, bias=4097)),
    "do not saturate at 8 bits": network(dense("w", WEIGHT, saturate=8), lif("n", 2)),
    "beyond the 32 bits": network(dense("w", WEIGHT, exponent=18), lif("n", 2)),
    "v: a synapse in front of synapse_dense": network(dense("w", WEIGHT), dense("v", EYE), lif("n", 2)),
    "lava has no synapse_scale": network(Layer("s", "synapse_scale", {"scale": int32(1, 2, 3)}), dense("w", WEIGHT),
                                         lif("n", 2), delayed=False),
    "w: lava's synapses have no bias": network(
        Layer("w", "synapse_dense", {"weight": WEIGHT, "bias": int32(1, 2)}), lif("n", 2)),
}  # fmt: skip


@needs_lava
@pytest.mark.parametrize("words", REFUSED)
def test_what_lava_lacks_is_refused_with_the_layer(words: str) -> None:
    with pytest.raises(BackendError) as caught:
        compile(build(REFUSED[words], steps=20), DEVICE, "error")
    assert words in caught.value.problem


@needs_lava
def test_a_batch_is_refused() -> None:
    with pytest.raises(BackendError, match="one sample at a time"):
        compile(build(PLAIN, steps=20, batch=2), DEVICE, "error")


@needs_lava
def test_other_ops_are_refused() -> None:
    with pytest.raises(BackendError, match="lava runs loops of spiking layers, not add"), hetero.use("lava"):
        _ = hetero.asarray([1.0]) + 1.0


@needs_lava
def test_values_beyond_the_chip_are_refused_before_the_run() -> None:
    with pytest.raises(DeviceError, match="graded spike of 16777216"):
        run(build(PLAIN, steps=20), {"x": SPIKES << 24}, "lava")
    graph = with_states(build(PLAIN, steps=20))
    states = {n: np.full(t.known, 2**24, np.int32) for n, t in graph.input_types.items() if n != "x"}  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(DeviceError, match=r"24 bits"):
        run(graph, {**states, "x": SPIKES}, "lava")


# -- what is here ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere/python", sys.executable + "-not"])
def test_without_lava_the_probe_says_what_to_do(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("HETERO_LAVA_PYTHON", path)
    found = LavaBackend().probe()
    assert not found.devices
    assert path in found.reason
    assert "lava-nc" in found.fix


@needs_lava
def test_the_probe_names_the_version() -> None:
    assert FOUND.devices, FOUND.reason
    assert FOUND.version.startswith("lava-nc 0.")
    assert "Python 3.10" in DEVICE.description
