"""Learning on Lava: random numbers known beforehand, so spikes, weights and traces have the same bits everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetero import registry
from hetero.errors import AttributeValueError, DeviceError
from hetero.execute import run
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array
from hetero.ops.loihi_learning import STATES
from hetero.ops.loihi_rules import TRACES, scaled
from hetero.spi import Device
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.learning import plastic
from hetero.spiking.network import Edge, Network
from hetero.testing.plugin import required
from hetero.testing.spiking_learning import random_learning, random_rule
from hetero_lava import LavaBackend

EXAMPLES = int(os.environ.get("HETERO_LAVA_EXAMPLES", "10"))
ON_OPENCL = 4  # of them also on OpenCL, where each takes seconds to compile
FOUND = LavaBackend().probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("lava", host=True)

pytestmark = pytest.mark.skipif(
    not FOUND.devices and "lava" not in required(), reason=f"no Lava: {FOUND.reason}; try: {FOUND.fix}"
)


def same(found: dict[str, Array], wanted: dict[str, Array], what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, f"{what}: {name}"
        np.testing.assert_array_equal(found[name], value, err_msg=f"{what}: {name}")


def network(seed: int = 3, rule: str = "2^-2*x1*y0 - 2^-2*x0*y1") -> Network:
    """x -> w -> n -> out, and n -> back -> n; both learn, `back` of both signs."""
    rng = np.random.default_rng(0)
    traces: dict[str, Any] = {"x1": (16.3, 10.5), "y1": (20.7, 5.0), "y2": (40, 1.5), "x2": (3, 0)}
    lif = {"du": 400, "dv": 100, "vth": 60, "bias": 0}
    layers = (
        plastic("w", rng.integers(0, 100, (2, 3)), rule, sign="excitatory", post="n", seed=seed, **traces),
        plastic("back", rng.integers(-50, 50, (2, 2)) * 2, rule, sign="mixed", post="n", seed=seed + 1, **traces),
        Layer("n", "loihi_lif", {k: np.full(2, v, np.int32) for k, v in lif.items()}),
    )
    edges = (Edge("x", "w"), Edge("w", "n", delayed=True), Edge("n", "back"), Edge("back", "n", delayed=True),
             Edge("n", "out"))  # fmt: skip
    return Network({"x": (3,)}, {la.name: la for la in layers}, ("out",), edges, np.dtype("int32")).check()


SPIKES = (np.random.default_rng(0).random((40, 3)) < 0.4).astype(np.int32)


def with_states(graph: Graph) -> Graph:
    """The loop of `graph` with its states as inputs `sK`, and as outputs `sK'`; what is constant stays."""
    (loop,) = [n for n in graph.nodes if n.op.name == "scan"]
    builder = Builder(graph.name, track=False)
    types, count = graph.in_types(loop), loop.attrs["carried"]
    refs = [builder.input(f"s{k}", t) for k, t in enumerate(types[:count])]
    ports = {p.value: p.name for p in graph.inputs}
    refs += [builder.input(ports[i], graph.types[i]) if i in ports else builder.constant(graph.constants[i])
             for i in loop.inputs[count:]]  # fmt: skip
    outs = builder.emit(OPS["scan"], refs, loop.attrs)
    named = {f"s{k}'": r for k, r in enumerate(outs[:count])}
    return builder.build(named | {p.name: outs[loop.outputs.index(p.value)] for p in graph.outputs})


# -- the same bits --------------------------------------------------------------------------------------------


def test_random_networks_learn_the_same_bits_everywhere() -> None:
    """Spikes, currents, voltages, weights and traces of every step; some weights reach the end of their range."""
    opencl = bool(registry.probe("opencl").devices) or "opencl" in required()
    values = changes = ends = spikes = 0
    began = time.monotonic()
    for seed in range(EXAMPLES):
        net, inputs = random_learning(seed)
        graph = build(net, steps=len(inputs["spikes"]), record=True)
        wanted = run(graph, inputs, "numpy")
        for device in ("lava", *["opencl"] * (opencl and seed < ON_OPENCL)):
            same(run(graph, inputs, device), wanted, f"network {seed} on {device}")
        weights = [a for n, a in wanted.items() if n.endswith(".weight")]
        values += sum(a.size for a in wanted.values())
        changes += sum(int((np.diff(a, axis=0) != 0).sum()) for a in weights)
        ends += sum(int(np.isin(a, (-256, -255, 255)).sum()) for a in weights)
        spikes += sum(int(a.sum()) for n, a in wanted.items() if n.startswith("out_"))
    said = f"{values} values, {changes} changes of weights, {ends} at the end, {spikes} spikes"
    print(f"{EXAMPLES} networks that learn: {said}, {time.monotonic() - began:.0f} s", flush=True)
    assert min(changes, ends, spikes) > 0


def test_a_run_begins_with_the_seed_and_the_weights_again() -> None:
    """A network that stays built between two runs, with other inputs in between."""
    graph = build(network(), steps=40, record=True)
    step = LavaBackend().compile(graph, DEVICE)
    first, between, again = step(SPIKES), step(SPIKES[::-1].copy()), step(SPIKES)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, between, strict=True))
    same(dict(zip(graph.output_types, again, strict=True)), run(graph, {"x": SPIKES}, "numpy"), "again")


def test_the_seed_decides() -> None:
    made = [run(build(network(k), steps=40, record=["w"]), {"x": SPIKES}, "lava")["w.weight"] for k in (5, 5, 6)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()


def test_learned_weights_go_into_the_next_run() -> None:
    """Also odd ones of mixed signs, which no network starts with by itself."""
    graph = with_states(build(network(), steps=20, record=True))
    states = {n: np.zeros(t.known, t.dtype) for n, t in graph.input_types.items() if n != "x"}  # pyright: ignore[reportArgumentType, reportCallIssue]
    states = {n: a + (a.ndim == 2) * np.int32(37) for n, a in states.items()}
    for k in range(3):
        given = {**states, "x": SPIKES[10 * k : 10 * k + 20]}
        made = run(graph, given, "lava")
        same(made, run(graph, given, "numpy"), f"run {k}")
        states = {n.removesuffix("'"): a for n, a in made.items() if n.endswith("'")}
        assert any((a % 2).any() for a in states.values() if a.ndim == 2)


# -- Lava itself, without anything of ours ----------------------------------------------------------------------

PLAIN = """
import json, sys
import numpy as np
from lava.magma.core.learning.learning_rule import Loihi2FLearningRule
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import LearningDense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIF
from lava.utils.weightutils import SignMode
given = json.loads(sys.argv[1])
x, weight = np.array(given["x"]), np.array(given["weight"])
rule = Loihi2FLearningRule(dw=given["rule"], rng_seed=given["seed"], t_epoch=1, **given["times"])
source = RingBuffer(data=x.T)
dense = LearningDense(weights=weight, learning_rule=rule, sign_mode=SignMode[given["sign"]], weight_exp=1)
neurons = LIF(shape=(len(weight),), du=400, dv=100, vth=60, bias_mant=4000)
source.s_out.connect(dense.s_in)
dense.a_out.connect(neurons.a_in)
neurons.s_out.connect(dense.s_in_bap)
weights = []
for _ in x:
    dense.run(condition=RunSteps(num_steps=1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    weights.append(dense.weights.get().astype(int).tolist())
traces = {n: getattr(dense, n).get().astype(int).tolist() for n in ("x1", "x2", "y1", "y2", "y3")}
dense.stop()
print("MADE" + json.dumps({"weights": weights, "traces": traces}))
"""

PARSED = """
import json, sys
from lava.magma.core.learning.learning_rule import Loihi2FLearningRule
made = []
for rule in json.load(sys.stdin):
    products = Loihi2FLearningRule(dw=rule, rng_seed=0).dw.products
    made.append([[p.s_mantissa, p.s_exp, p.dependency, [f.state_var for f in p.factors]] for p in products])
print("MADE" + json.dumps(made))
"""


def ask(code: str, *arguments: str, given: str = "") -> Any:
    """What a script on Lava's Python says."""
    python = LavaBackend().client().interpreter.path  # pyright: ignore[reportAttributeAccessIssue]
    done = subprocess.run(
        [python, "-I", "-c", code, *arguments], input=given, check=True, timeout=120, capture_output=True, text=True,
        cwd=Path(python).parent,
    )  # fmt: skip
    return json.loads(done.stdout.partition("MADE")[2].splitlines()[0])


@pytest.mark.parametrize(("sign", "seed"), [("excitatory", 0), ("inhibitory", 123), ("mixed", 7)])
def test_lavas_own_script_gives_these_weights(sign: str, seed: int) -> None:
    rule = "2^-3*x1*y0 - 3*2^-2*x0*y1 + 2^-5*x0*y2*x2 + 2^-4*x0*w*y3"
    traces: dict[str, Any] = {"x1": (16.3, 10.5), "x2": (90, 3), "y1": (20.7, 5), "y2": (7.9, 0), "y3": (127, 2.5)}
    weight = np.random.default_rng(seed).integers(1, 20, (2, 3)) * (-1 if sign == "inhibitory" else 2)
    w = plastic("w", weight, rule, sign=sign, post="n", seed=seed, exponent=1, **traces)
    lif = {"du": 400, "dv": 100, "vth": 60, "bias": 4000}  # so that they spike behind weights below zero too
    n = Layer("n", "loihi_lif", {k: np.full(2, v, np.int32) for k, v in lif.items()})
    edges = (Edge("x", "w"), Edge("w", "n", delayed=True), Edge("n", "out"))
    net = Network({"x": (3,)}, {"w": w, "n": n}, ("out",), edges, np.dtype("int32"))
    made = run(build(net, steps=30, record=True), {"x": SPIKES[:30]}, "numpy")
    times = {k: v for k, v in w.attrs.items() if k[0] in "xy"}
    given = {"x": SPIKES[:30].tolist(), "weight": weight.tolist(), "rule": rule, "seed": seed, "times": times,
             "sign": sign.upper()}  # fmt: skip
    found = ask(PLAIN, json.dumps(given))
    assert found["weights"] == made["w.weight"].tolist()
    assert found["traces"] == {t: made[f"w.{t}"][-1].tolist() for t in TRACES}
    assert (made["w.weight"][0] != made["w.weight"][-1]).any()


def test_lava_reads_rules_as_hetero_does() -> None:
    """Mantissa, exponent, gate and factors of the text as it was written; what is refused here, Lava refuses too."""
    rules = [r for k in range(300) if "0.75" not in (r := random_rule(np.random.default_rng(k)))]
    found = ask(PARSED, given=json.dumps(rules))
    assert len(rules) > 100
    for rule, products in zip(rules, found, strict=True):
        assert [[p.mantissa, p.left, p.gate, list(p.factors)] for p in scaled(rule)] == products, rule
    for rule in ("9*x0", "2^9*x0", "2^-8*x0", "11*2^2*y0"):
        with pytest.raises(AttributeValueError):
            scaled(rule)
        with pytest.raises(subprocess.CalledProcessError):
            ask(PARSED, given=json.dumps([rule]))


# -- what is refused ------------------------------------------------------------------------------------------


def test_states_beyond_the_chip_are_refused_before_the_run() -> None:
    graph = with_states(build(network(), steps=4))
    states = {n: np.zeros(t.known, t.dtype) for n, t in graph.input_types.items() if n != "x"}  # pyright: ignore[reportArgumentType, reportCallIssue]
    wide = {n: a + np.int32(300) * (a.ndim == 2) for n, a in states.items()}
    with pytest.raises(DeviceError, match=r"starts with weight of 300 to 300; Loihi has"):
        run(graph, {**wide, "x": SPIKES[:4]}, "lava")
    first = next(p.name for p in graph.inputs if graph.input_types[p.name].known == (3,))
    with pytest.raises(DeviceError, match=r"starts with x1 of 0 to 128"):
        run(graph, {**states, first: np.array([0, 1, 128], np.int32), "x": SPIKES[:4]}, "lava")


def test_another_table_of_rounding_is_refused() -> None:
    graph = build(network(), steps=4)
    builder = Builder(graph.name, track=False)
    env = {p.value: builder.input(p.name, graph.types[p.value]) for p in graph.inputs}
    env |= {i: builder.constant(a ^ (a.shape == (4, 11))) for i, a in graph.constants.items()}
    for n in graph.nodes:
        env |= zip(n.outputs, builder.emit(n.op, [env[i] for i in n.inputs], n.attrs), strict=True)
    other = builder.build({p.name: env[p.value] for p in graph.outputs})
    run(other, {"x": SPIKES[:4]}, "numpy")
    with pytest.raises(DeviceError, match="does not round as its seed"):
        run(other, {"x": SPIKES[:4]}, "lava")


def test_every_state_can_be_recorded_and_none_must() -> None:
    graph = build(network(), steps=10)
    same(run(graph, {"x": SPIKES[:10]}, "lava"), run(graph, {"x": SPIKES[:10]}, "numpy"), "nothing recorded")
    made = run(build(network(), steps=10, record=["w"]), {"x": SPIKES[:10]}, "lava")
    assert set(made) == {"out", "w", *(f"w.{s}" for s in STATES)}
    nothing = run(build(network(), steps=0, record=True), {"x": SPIKES[:0]}, "lava")
    assert nothing["w.weight"].shape == (0, 2, 3)
