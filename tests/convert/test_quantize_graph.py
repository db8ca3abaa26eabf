"""quantize: networks in integers, against ONNX Runtime on the same model, and against what they were before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import hetero as ht
from benchmarks.quantize_models import images, random_light
from hetero import dtype as dt
from hetero.convert.onnx_in import from_onnx
from hetero.convert.onnx_out import to_onnx
from hetero.convert.quantize_graph import Quantized, quantize
from hetero.convert.quantize_prepare import prepare
from hetero.convert.quantize_ranges import Seen, scale_of, weight_codes
from hetero.dim import Dim
from hetero.errors import GraphError
from hetero.graph.build import Builder, compact
from hetero.graph.ir import Graph, Port
from hetero.graph.passes.integers import integer_products
from hetero.op import OPS, Array, TensorType
from hetero.testing.digits import digits

onnxruntime.set_default_logger_severity(4)
PLAIN = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1)}
POOL = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0)}


def ops(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def residual(seed: int = 0) -> Graph:
    """Everything that codes go through: norms, relu, a pool, a residual sum, a concat, groups, a reshape, a product."""
    rng = np.random.default_rng(seed)
    builder = Builder("residual", track=False)

    def w(*shape: int) -> Any:
        return builder.constant(rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32))

    def v(n: int, low: float = -0.2, high: float = 0.2) -> Any:
        return builder.constant(rng.uniform(low, high, n).astype(np.float32))

    x = builder.input("x", TensorType((Dim.symbol("n"), 3, 12, 12), dt.float32))
    a = builder("batch_norm", builder("conv", x, w(8, 3, 3, 3), **PLAIN), v(8, 0.5, 2), v(8), v(8), v(8, 0.5, 2))
    a = builder("max_pool", builder("relu", a), **POOL, ceil=False)
    b = builder("relu", builder("conv", a, w(8, 2, 3, 3), v(8), **PLAIN, groups=4))
    c = builder("relu", builder("add", builder("conv", b, w(8, 8, 3, 3), v(8), **PLAIN), a))
    d = builder("conv", builder("concat", b, c, axis=1), w(4, 16, 3, 3), v(4), **PLAIN)
    flat = builder("reshape", builder("relu", d), shape=(x.type.known[0], 144))
    y = builder("add", builder("matmul", flat, w(144, 10)), v(10))
    return builder.build({"y": y})


def data(count: int = 24, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 12, 12)).astype(np.float32)


def on_runtime(graph: Graph, **feed: Array) -> list[Array]:
    """ONNX Runtime without the rewriting that makes int8 kernels of QDQ, which round in another order."""
    options: Any = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session: Any = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), options)
    return session.run(None, feed)


def sqnr(wanted: Array, found: Array) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def codes_of(graph: Graph) -> Graph:
    """The graph with every activation's codes as its outputs."""
    made = [n.outputs[0] for n in graph.nodes if n.op.name == "quantize_linear"]
    ports = tuple(Port(f"codes{k}", i) for k, i in enumerate(made))
    return compact(Graph(graph.nodes, graph.types, graph.inputs, ports, graph.constants, graph.name))


# -- against ONNX Runtime -----------------------------------------------------------------------------------


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_onnx_runtime_gives_the_same_codes_but_for_ties(activations: Any) -> None:
    made = codes_of(quantize(residual(), data(), activations=activations, device="numpy").graph)
    x = data(16, seed=2)
    ours, theirs = made.run({"x": x}, device="numpy"), on_runtime(made, x=x)
    off = np.concatenate([np.abs(a.astype(int) - b).ravel() for a, b in zip(ours.values(), theirs, strict=True)])
    assert len(theirs) == 5
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("activations", ["int8", None])
def test_onnx_runtime_with_all_its_optimisations_stays_as_near_to_the_original(weights: Any, activations: Any) -> None:
    graph, x = residual(), data(16, seed=2)
    made = quantize(graph, data(), weights=weights, activations=activations, test=x, device="numpy")
    session: Any = onnxruntime.InferenceSession(to_onnx(made.graph).SerializeToString())
    (found,) = session.run(None, {"x": x})
    wanted = graph.run({"x": x}, device="numpy")["y"]
    assert (
        sqnr(wanted, found) > made.report.outputs[0].sqnr_db - 3
    )  # its kernels for such weights round activations too


def peer_model(graph: Graph, folder: Path) -> Any:
    """ONNX Runtime's own quantiser on the same model and data."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        left = iter([{"x": data()}])

        def get_next(self) -> Any:
            return next(self.left, None)

    graph.to_onnx(str(folder / "a.onnx"))
    quantize_static(
        str(folder / "a.onnx"), str(folder / "b.onnx"), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return onnxruntime.InferenceSession(str(folder / "b.onnx"))


def test_as_near_to_the_original_as_onnx_runtimes_quantiser(tmp_path: Path) -> None:
    graph, x = residual(), data(64, seed=2)
    wanted = graph.run({"x": x}, device="numpy")["y"]
    (theirs,) = peer_model(graph, tmp_path).run(None, {"x": x})
    for calibration in ("minmax", "mse"):
        made = quantize(graph, data(), activations="uint8", calibration=calibration, device="numpy").graph
        assert sqnr(wanted, made.run({"x": x}, device="numpy")["y"]) >= sqnr(wanted, theirs), calibration


# -- what comes out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "activations", "least_db", "saved"),
    [("int8", "int8", 30, 0.7), ("int8", "uint8", 30, 0.7), ("int8", None, 35, 0.7), ("int4", None, 15, 0.8),
     ("int4", "int8", 15, 0.8), ("bfloat16", "bfloat16", 40, 0.49)],
)  # fmt: skip
def test_digits_keep_their_accuracy(weights: Any, activations: Any, least_db: float, saved: float) -> None:
    found = digits()
    (name,) = found.graph.input_types
    made = quantize(
        found.graph, found.x_train[:250], weights=weights, activations=activations, test=found.x, device="numpy"
    )
    right = [
        (g.run({name: found.x}, device="numpy")["logits"].argmax(1) == found.y).mean()
        for g in (found.graph, made.graph)
    ]
    assert right[1] >= right[0] - 0.01
    (output,) = made.report.outputs
    assert output.sqnr_db > least_db
    assert made.report.saved > saved


@pytest.mark.parametrize("name", ["squeezenet"])
def test_a_light_network_with_random_weights(name: str) -> None:
    graph = from_onnx(random_light(name).SerializeToString())
    first, second = images((1, 3, 224, 224), 2)
    made = quantize(graph, [first], test=[second], device="numpy")
    (output,) = made.report.outputs
    assert output.sqnr_db > 20
    assert made.report.saved > 0.7
    assert len(made.report.layers) == 26


def test_the_report_says_what_a_run_gives() -> None:
    graph, x = residual(), data(20, seed=3)
    made = quantize(graph, data(), test=x, device="numpy")
    wanted, found = (g.run({"x": x}, device="numpy")["y"] for g in (graph, made.graph))
    (output,) = made.report.outputs
    assert output.sqnr_db == pytest.approx(sqnr(wanted, found), abs=1e-3)  # norms are folded before
    assert output.max_error == pytest.approx(np.abs(wanted - found).max(), abs=1e-5)
    assert output.agreement == (wanted.argmax(1) == found.argmax(1)).mean()
    assert [a.op for a in made.report.layers] == ["conv"] * 4 + ["matmul"]
    assert made.report.layers[-1].sqnr_db == pytest.approx(output.sqnr_db, abs=1e-6)
    sizes = [sum(a.nbytes for a in g.constants.values()) for g in (prepare(graph), made.graph)]
    assert [made.report.before_byte, made.report.after_byte] == sizes
    assert "SQNR" in str(made)


def test_weights_alone_leave_activations_as_they_are() -> None:
    made = quantize(residual(), data(), weights="int4", activations=None, device="numpy")
    assert "quantize_linear" not in ops(made.graph)
    assert ops(made.graph).count("dequantize_linear") == 5
    assert {a.dtype.name for a in made.graph.constants.values()} == {"int4", "float32"}


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_the_bytes_of_the_layers_are_all_there_are(weights: Any) -> None:
    report = quantize(residual(), data(), weights=weights, activations=None, device="numpy").report
    assert sum(a.before_byte for a in report.layers) == report.before_byte
    assert sum(a.after_byte for a in report.layers) == report.after_byte


def test_weights_in_bfloat16_are_summed_in_float32() -> None:
    graph = residual()
    made = quantize(graph, data(), weights="bfloat16", activations="bfloat16", device="numpy").graph
    products = [n for n in made.nodes if n.op.name in ("conv", "matmul")]
    assert {made.types[n.outputs[0]].dtype for n in products} == {np.dtype("float32")}
    (node,) = [n for n in made.nodes if n.op.name == "matmul"]
    behind = [made.producer[i] for i in node.inputs]
    assert [made.types[n.inputs[0]].dtype.name for n in behind] == ["bfloat16"] * 2


def test_a_batch_norm_is_in_the_conv_before_it() -> None:
    graph = residual()
    folded = prepare(graph)
    assert "batch_norm" not in ops(folded)
    made, wanted = (g.specialize({"n": 8}).evaluate(data(8))[0] for g in (folded, graph))
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)


def test_a_conv_that_others_read_keeps_its_batch_norm() -> None:
    builder = Builder(track=False)
    x = builder.input("x", TensorType((1, 2, 4, 4), dt.float32))
    ones = [builder.constant(np.full(2, 2, np.float32)) for _ in range(4)]
    y = builder("conv", x, builder.constant(np.ones((2, 2, 3, 3), np.float32)), **PLAIN)
    graph = builder.build({"a": builder("batch_norm", y, *ones), "b": y})
    assert "batch_norm" in ops(prepare(graph))


def test_layers_to_skip_stay_in_floats() -> None:
    found = digits()
    made = quantize(found.graph, found.x_train[:64], skip=["matmul #2"], device="numpy")
    assert [a.name for a in made.report.layers] == ["matmul #1", "matmul #3"]
    assert made.report.left == ("matmul #2: asked for",)


def test_a_bias_far_larger_than_its_weights_fits_int32() -> None:
    builder = Builder(track=False)
    x = builder.input("x", TensorType((4, 8), dt.float32))
    w = np.full((8, 2), 1e-9, np.float32)
    w[:, 1] = 1
    graph = builder.build(
        {"y": builder("add", builder("matmul", x, builder.constant(w)), builder.constant([1000.0, 1.0], dt.float32))}
    )
    made = quantize(graph, np.ones((4, 8), np.float32), device="numpy").graph
    np.testing.assert_allclose(made.evaluate(np.ones((4, 8), np.float32))[0][0], [1000, 9], rtol=1e-2)


# -- ranges -------------------------------------------------------------------------------------------------


def test_a_histogram_that_grew_is_the_one_of_all_numbers() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, s, 5000) for s in (0.01, 3, 0.5, 40)]
    seen = Seen()
    for part in parts:
        seen.add(part.astype(np.float32))
    whole = np.concatenate(parts).astype(np.float32)
    assert (seen.low, seen.high) == (whole.min(), whole.max())
    half = len(seen.counts) // 2
    wanted, _ = np.histogram(whole, 2 * half, (-seen.reach, seen.reach))
    assert np.abs(np.cumsum(seen.counts) - np.cumsum(wanted)).max() <= 2  # numbers on an edge of a bin
    assert seen.counts.sum() == whole.size


def loss(x: Array, low: float, high: float) -> float:
    """Mean square of what int8 from low to high loses."""
    scale = (high - low) / 255
    zero = np.rint(-128 - low / scale)
    return float(np.mean((np.clip(np.rint(x / scale) + zero, -128, 127) * scale - zero * scale - x) ** 2))


@pytest.mark.parametrize("kind", ["normal", "relu", "tail"])
def test_mse_is_as_good_as_any_range_found_by_trying_all(kind: str) -> None:
    x = np.random.default_rng(0).normal(0, 1, 20000)
    x = {"normal": x, "relu": np.maximum(x, 0), "tail": np.sign(x) * np.abs(x) ** 4}[kind].astype(np.float32)
    seen = Seen()
    seen.add(x)
    found = scale_of(seen, dt.int8, "mse", 0)
    mine = float(np.mean((found.coded(x) - x) ** 2))
    tries = [(a * seen.low, b * seen.high) for a in np.linspace(0.1, 1, 40) for b in np.linspace(0.1, 1, 40)]
    assert mine <= 1.03 * min(loss(x, low, high) for low, high in tries if high > low)
    assert mine <= loss(x, seen.low, seen.high) * 1.001


def test_a_percentile_cuts_so_many_numbers() -> None:
    x = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    seen = Seen()
    seen.add(x)
    found = scale_of(seen, dt.int8, "percentile", 99.0)
    low, high = (float(found.scale) * (q - found.zero) for q in (-128, 127))
    np.testing.assert_allclose([low, high], np.percentile(x, [0.5, 99.5]), atol=0.02)


@pytest.mark.parametrize("way", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("numbers", [[0.0, 0.0], [5.0, 6.0], [-3.0, -2.0], [-1e-42, 0.0], [1e30, -1e30]])
def test_zero_always_has_a_code_of_its_own(way: str, numbers: list[float]) -> None:
    seen = Seen()
    seen.add(np.array(numbers, np.float32))
    found = scale_of(seen, dt.uint8, way, 99.9)
    assert found.coded(np.zeros(1))[0] == 0
    assert np.isfinite(found.coded(np.array(numbers))).all()
    assert 0 <= found.zero <= 255


def test_blocks_have_scales_of_their_own() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (70, 5)).astype(np.float32)
    weight[32:64] *= 100
    made = weight_codes(weight, 0, dt.of("int4"), block=32, clip=False)
    assert made.scale.shape == (3, 5)
    for k in range(3):
        rows = weight[32 * k : 32 * k + 32]
        np.testing.assert_allclose(made.scale[k], np.abs(rows).max(0) / 7, rtol=1e-6)
        assert np.abs(made.numbers[32 * k : 32 * k + 32] - rows).max() <= made.scale[k].max() / 2 * 1.001


def test_clipping_is_as_good_as_any_scale_found_by_trying_many() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (64, 3)).astype(np.float32)
    made, wide = (weight_codes(weight, 1, dt.of("int4"), block=0, clip=c) for c in (True, False))
    for k in range(3):
        column = weight[:, k]
        tries = wide.scale[k] * np.linspace(0.3, 1.1, 200)
        best = min(np.square(np.clip(np.rint(column / t), -8, 7) * t - column).sum() for t in tries)
        lost = [np.square(c.numbers[:, k] - column).sum() for c in (made, wide)]
        assert best * 0.999 <= lost[0] <= min(best * 1.1, lost[1])


# -- products of codes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activations", ["int8", "uint8"])
@pytest.mark.parametrize("place", ["numpy", "opencl"])
def test_products_of_codes_are_within_the_bound(activations: Any, place: str) -> None:
    made = quantize(residual(), data(), activations=activations, device="numpy")
    whole = made.integers
    assert ops(whole).count("conv_integer") == 4
    assert ops(whole).count("matmul_integer") == 1
    assert not {"conv", "matmul"} & set(ops(whole))
    x = data(16, seed=2)
    try:
        found = whole.run({"x": x}, device=place)["y"]
    except ht.BackendError as e:
        pytest.skip(str(e))
    exact = whole.specialize({"n": 16}).evaluate(x)[0]
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    plain = made.graph.specialize({"n": 16}).evaluate(x)[0]
    step = max(made.report.layers[-1].scales)
    assert np.abs(found - plain).max() <= 8 * step, "a code may come out one off where a sum was on its edge"


def product(k: int, seed: int = 0) -> tuple[Graph, Array]:
    """One product of dequantised bytes, all of them at their ends, and the bound of the pass's text."""
    rng = np.random.default_rng(seed)
    builder = Builder(track=False)
    a = builder.input("a", TensorType((6, k), dt.uint8))
    scales = rng.uniform(0.01, 0.1, 7).astype(np.float32)
    b = builder.constant(rng.choice([-127, 127], (k, 7)).astype(np.int8))
    left = builder("dequantize_linear", a, builder.constant(np.float32(0.03)), builder.constant(3, dt.uint8))
    right = builder("dequantize_linear", b, builder.constant(scales), axis=1)
    return builder.build({"y": builder("matmul", left, right)}), rng.choice([0, 255], (6, k)).astype(np.uint8)


@pytest.mark.parametrize("k", [1, 100, 600, 5000])
def test_sums_are_exact_however_long(k: int) -> None:
    graph, a = product(k)
    whole = integer_products(graph)
    (node,) = [n for n in whole.nodes if n.op.name == "matmul_integer"]
    weights = whole.constants[node.inputs[1]].astype(object)
    wanted = (a.astype(object) - 3) @ weights  # Python's own integers
    inner = compact(Graph(whole.nodes, whole.types, whole.inputs, (Port("s", node.outputs[0]),), whole.constants))
    np.testing.assert_array_equal(inner.run({"a": a}, device="numpy")["s"], wanted.astype(np.int64))
    sizes = np.abs(a.astype(float) - 3) @ np.abs(weights.astype(float))
    scale = 0.03 * np.asarray(next(v for v in graph.constants.values() if v.shape == (7,)), float)
    off = np.abs(whole.run({"a": a}, device="numpy")["y"].astype(float) - graph.evaluate(a)[0])
    assert (off <= (k + 3) * 2.0**-24 * sizes * scale).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_sums_of_a_conv_are_exact_without_any_bound_from_outside(groups: int) -> None:
    rng = np.random.default_rng(0)
    builder = Builder(track=False)
    x = builder.input("x", TensorType((1, 128 * groups, 3, 3), dt.uint8))
    w = builder.input("w", TensorType((2, 128, 3, 3), dt.int8))
    zeros = builder.constant(255, dt.uint8), builder.constant(127, dt.int8)
    graph = builder.build({"y": builder("conv_integer", x, w, *zeros, **PLAIN, groups=groups)})
    given = np.zeros((1, 128 * groups, 3, 3), np.uint8), np.full((2, 128, 3, 3), -128, np.int8)
    given[0][:, :7] = rng.integers(0, 256, (1, 7, 3, 3))
    wide = OPS["conv"].reference(
        *(g.astype(np.int64) - z for g, z in zip(given, (255, 127), strict=True)), **PLAIN, groups=groups
    )
    assert np.abs(wide).max() > 2**24
    np.testing.assert_array_equal(graph.run(dict(zip("xw", given, strict=True)), device="numpy")["y"], wide)


def test_moves_and_pools_between_two_products_are_of_bytes() -> None:
    whole = quantize(residual(), data(), device="numpy").integers
    kinds = {n.op.name: whole.types[n.outputs[0]].dtype.name for n in whole.nodes if n.op.name in ("concat", "reshape")}
    assert kinds == {"concat": "int8", "reshape": "int8"}


def test_moving_codes_is_exact() -> None:
    builder = Builder(track=False)
    x = builder.input("x", TensorType((2, 3, 6, 6), dt.float32))
    y = builder("max_pool", builder("relu", x), **POOL, ceil=False)
    y = builder("permute", builder("concat", y, y, axis=1), axes=(0, 2, 3, 1))
    scale = builder.constant(np.float32(0.07))
    for zero in (-128, 11):
        graph = builder.build({"y": builder("quantize_linear", y, scale, builder.constant(zero, dt.int8))})
        moved = integer_products(graph)
        assert "relu" not in ops(moved)
        assert ops(moved)[0] == "quantize_linear"
        given = np.random.default_rng(0).normal(0, 9, (2, 3, 6, 6)).astype(np.float32)
        np.testing.assert_array_equal(moved.evaluate(given)[0], graph.evaluate(given)[0])


def test_what_others_read_is_made_once() -> None:
    builder = Builder(track=False)
    y = builder("relu", builder.input("x", TensorType((2, 3), dt.float32)))
    codes = builder("quantize_linear", y, builder.constant(np.float32(0.1)), builder.constant(-128, dt.int8))
    graph = builder.build({"y": codes, "float": y})
    assert ops(integer_products(graph)) == ["relu", "quantize_linear"]
    assert "relu" in ops(graph)


def test_codes_that_come_back_to_the_same_scale_stay() -> None:
    builder = Builder(track=False)
    q = builder.input("q", TensorType((256,), dt.int8))
    scale, zero = builder.constant(np.float32(0.3)), builder.constant(-7, dt.int8)
    same = builder("quantize_linear", builder("dequantize_linear", q, scale, zero), scale, zero)
    graph = builder.build({"y": same})
    assert ops(integer_products(graph)) == []
    given = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(graph.evaluate(given)[0], given)
    for other in ((np.float32(0.3), 5), (np.float32(0.2), -7)):
        target = builder.constant(other[0]), builder.constant(other[1], dt.int8)
        moved = builder.build({"y": builder("quantize_linear", builder("dequantize_linear", q, scale, zero), *target)})
        np.testing.assert_array_equal(integer_products(moved).evaluate(given)[0], moved.evaluate(given)[0])


# -- refusals -----------------------------------------------------------------------------------------------


def test_wrong_arguments_are_all_said_at_once() -> None:
    options: Any = {"weights": "int3", "calibration": "guess", "percentile": 10, "block": -1}
    with pytest.raises(GraphError) as e:
        quantize(residual(), data(), **options)
    assert all(word in str(e.value) for word in ("int3", "guess", "percentile=10", "block=-1"))


@pytest.mark.parametrize(
    ("given", "said"),
    [(np.zeros((4, 3, 12, 11), np.float32), "not"), ({"z": data()}, "no x; z is no input"), ([], "no sample"),
     (np.full((1, 3, 12, 12), np.nan, np.float32), "not finite"),
     ([data(), {"x": data().astype(complex)}], r"data\[1\]"), (7, "data is a int")],
)  # fmt: skip
def test_data_that_is_no_run_of_the_graph_is_refused(given: Any, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        quantize(residual(), given, device="numpy")


def test_what_cannot_be_quantised_is_said() -> None:
    builder = Builder("tiny", track=False)
    x = builder.input("x", TensorType((2, 2), dt.float64))
    graph = builder.build({"y": builder("matmul", x, builder.constant(np.eye(2)))})
    with pytest.raises(GraphError, match="it is of float64"):
        quantize(graph, np.ones((2, 2)), device="numpy")


def test_calibration_that_overflows_is_refused() -> None:
    builder = Builder("wild", track=False)
    x = builder.input("x", TensorType((2, 2), dt.float32))
    graph = builder.build({"y": builder("matmul", builder("exp", x), builder.constant(np.eye(2, dtype=np.float32)))})
    with pytest.raises(GraphError, match="not finite on the calibration data"):
        quantize(graph, np.full((2, 2), 1e4, np.float32), device="numpy")


def test_a_quantised_graph_is_saved_and_comes_back(tmp_path: Path) -> None:
    made: Quantized = quantize(residual(), data(), weights="int4", device="numpy")
    for graph in (made.graph, made.integers):
        graph.save(str(tmp_path / "q.hetero"))
        assert Graph.load(str(tmp_path / "q.hetero")) == graph
