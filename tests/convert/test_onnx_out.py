"""Graphs written as ONNX: every op's samples, read back and on ONNX Runtime; open sizes, loops, branches, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.backend import test as backend_tests

import hetero as ht
from hetero import dtype as dt
from hetero.convert.onnx_in import from_onnx
from hetero.convert.onnx_out import to_onnx
from hetero.dim import Dim
from hetero.errors import HeteroError, ModelError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, Op, Sample, TensorType, arguments
from hetero.spiking.build import build
from hetero.testing.spiking import random_loihi

OPSETS = (13, 21)
DTYPES = (dt.float32, dt.float64, dt.int32, dt.int64, dt.uint8, dt.bool_)
NO_FORM = {
    "imag", "nextafter", "bitcast", "cumprod", "fft", "rfft", "irfft", "cholesky", "inv", "slogdet", "eigh", "eigvalsh",
    "solve", "qr", "svd", "svdvals", "pinv", "searchsorted", "philox", "random_bits", "uniform", "randint",
    "permutation", "normal",
}  # fmt: skip
COARSE = {"batch_norm", "group_norm"}  # epsilon is float32 in a file, and ONNX Runtime computes these in float32
RUNTIME = tuple(map(int, onnxruntime.__version__.split(".")[:2]))

onnxruntime.set_default_logger_severity(4)


def graph_of(op: Op, sample: Sample, dtype: Any) -> tuple[Graph, tuple[Array, ...]]:
    arrays = arguments(sample, dtype, 0)
    builder = Builder(op.name, track=False)
    given = [builder.input(f"x{k}", TensorType(a.shape, a.dtype)) for k, a in enumerate(arrays)]
    made = builder.emit(op, given, op.complete(sample.attrs))
    return builder.build({f"y{k}": m for k, m in enumerate(made)}), arrays


def cases(op: Op) -> list[tuple[Graph, tuple[Array, ...], tuple[Array, ...]]]:
    """Samples of an op in all dtypes that it takes, with what its reference gives."""
    found: list[Any] = []
    for sample in op.samples:
        for dtype in DTYPES:
            if dt.kind(dtype) not in op.dtypes:
                continue
            try:
                graph, arrays = graph_of(op, sample, dtype)
                found.append((graph, arrays, graph.evaluate(*arrays)))
            except HeteroError:  # the sample is not for this dtype
                continue
    return found


def same(a: Any, b: Array, coarse: bool = False) -> bool:
    a = np.asarray(a)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if b.dtype.kind in "iub":
        return bool(np.array_equal(a, b))
    loose = {"rtol": 2e-5, "atol": 2e-6} if b.dtype == np.float32 or coarse else {"rtol": 1e-9, "atol": 1e-12}
    with np.errstate(all="ignore"):
        return bool(np.allclose(a, b, equal_nan=True, **loose))


def on_runtime(model: Any, arrays: tuple[Array, ...]) -> list[Any] | None:
    """What ONNX Runtime gives; None where it has no kernel for these dtypes."""
    try:
        session: Any = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = {i.name for i in session.get_inputs()}
        return session.run(None, {f"x{k}": a for k, a in enumerate(arrays) if f"x{k}" in names})
    except Exception as e:
        if "NOT_IMPLEMENTED" in str(e):
            return None
        raise


def undecided(graph: Graph, arrays: tuple[Array, ...]) -> bool:
    """Whether ONNX leaves open what comes out: integers by zero, shifts by less than nothing, products that overflow.
    And ONNX Runtime 1.23, the last for Python 3.10, counts cells beyond the pads where a window is cut at the end, and
    gets some sums of unsigned bytes wrong where the processor has AMX."""
    node = graph.nodes[0]
    integer = arrays[0].dtype.kind in "iu"
    if node.op.name == "avg_pool":
        return RUNTIME <= (1, 23) and node.attrs["ceil"] and node.attrs["count_include_pad"]
    if node.op.name == "matmul_integer":
        return RUNTIME <= (1, 23)
    if node.op.name in ("floor_divide", "remainder", "fmod"):
        return integer and not arrays[1].all()
    return integer and (node.op.name == "prod" or ("shift" in node.op.name and bool((arrays[1] < 0).any())))


def written(graph: Graph, opset: int) -> tuple[Any, str]:
    """The model, or why there is none."""
    try:
        return to_onnx(graph, opset=opset), ""
    except ModelError as e:
        return None, str(e)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", sorted(set(OPS) - NO_FORM))
def test_an_op_says_the_same_in_onnx(name: str, opset: int) -> None:
    op = OPS[name]
    for graph, arrays, wanted in cases(op):
        model, refusal = written(graph, opset)
        if model is None:
            assert (opset < max(OPSETS) and "wants opset" in refusal) or "boxes of float64" in refusal, refusal
            continue
        ran = None if undecided(graph, arrays) else on_runtime(model, arrays)
        if ran is not None:
            assert all(same(a, w, name in COARSE) for a, w in zip(ran, wanted, strict=True)), (name, arrays[0].dtype)
        if any(t.shape is None for t in graph.output_types.values()):
            continue  # what depends on values is read back as a node that waits for them
        back = from_onnx(model.SerializeToString()).evaluate(*arrays)
        assert all(same(a, w, name in COARSE) for a, w in zip(back, wanted, strict=True)), (name, arrays[0].dtype)


@pytest.mark.parametrize("name", sorted(NO_FORM))
def test_what_has_no_form_is_refused(name: str) -> None:
    for graph, _, _ in cases(OPS[name])[:1]:
        with pytest.raises(ModelError, match=r"no form in ONNX|ONNX has no"):
            to_onnx(graph)


def test_most_ops_run_on_onnx_runtime() -> None:
    """Otherwise the comparison above would compare little."""
    ran = 0
    for name in sorted(set(OPS) - NO_FORM):
        graph, arrays, _ = (cases(OPS[name]) or [(None, (), ())])[0]
        ran += graph is not None and not undecided(graph, arrays) and on_runtime(to_onnx(graph), arrays) is not None
    assert ran > 120


def test_open_sizes_keep_their_names_and_hold_for_every_size() -> None:
    n, m = Dim.symbol("batch"), Dim.symbol("time")
    builder = Builder("open", track=False)
    x = builder.input("x", TensorType((n, m, 4), dt.float32))
    flat = builder("reshape", x, shape=(n * m, 4))
    wide = builder("broadcast_to", builder("sum", flat, axes=(0,), keepdims=True), shape=(n * m, 4))
    back = builder("reshape", builder("add", flat, wide), shape=(n, m * 4))
    cut = builder("slice", x, starts=(0, 0, 1), stops=(n, m, 4), steps=(1, 1, 2))
    graph = builder.build({"y": back, "z": cut})
    model = to_onnx(graph)
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", "time", 4]
    session: Any = onnxruntime.InferenceSession(model.SerializeToString())
    for shape in ((2, 3, 4), (1, 7, 4)):
        a = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        wanted = graph.specialize({"batch": shape[0], "time": shape[1]}).evaluate(a)
        assert all(same(g, w) for g, w in zip(session.run(None, {"x": a}), wanted, strict=True))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_and_a_branch(reverse: bool) -> None:
    def step(state: Any, x: Any) -> Any:
        state = state * 0.5 + x
        return state, ht.maximum(state, 0.25)

    def run(x: Any, flag: Any) -> Any:
        last, ys = ht.scan(step, ht.zeros((3,), dtype="float32"), x, reverse=reverse)
        return last, ht.cond(flag, lambda v: v + 1.0, lambda v: v * 2.0, ys)

    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    graph = ht.trace(run, ht.asarray(x), ht.asarray(np.array(True)))
    model = to_onnx(graph)
    assert {n.op_type for n in model.graph.node} >= {"Scan", "If"}
    session: Any = onnxruntime.InferenceSession(model.SerializeToString())
    for flag in (True, False):
        feed = dict(zip(graph.input_types, (x, np.array(flag)), strict=True))
        wanted = graph.evaluate(*feed.values())
        assert all(same(a, w) for a, w in zip(session.run(None, feed), wanted, strict=True))
        back = from_onnx(model.SerializeToString()).evaluate(*feed.values())
        assert all(same(a, w) for a, w in zip(back, wanted, strict=True))


def test_spiking_networks_in_integers_run_on_onnx_runtime_bit_for_bit() -> None:
    values = 0
    for seed in range(10):
        net, spikes = random_loihi(seed)
        graph = build(net, steps=len(next(iter(spikes.values()))), record=True)
        if any(layer.op == "synapse_conv" for layer in net.layers.values()):
            with pytest.raises(ModelError, match="ONNX's Conv takes no int32"):
                to_onnx(graph)
            continue
        session: Any = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString())
        wanted = graph.run(spikes, device="numpy")
        for name, made in zip(wanted, session.run(None, spikes), strict=True):
            assert np.array_equal(made, wanted[name]), (seed, name)
            values += made.size
    assert values > 10_000


@pytest.mark.parametrize("light", ["light_shufflenet", "light_densenet121"])
def test_a_network_goes_through_and_back(light: str) -> None:
    path = Path(backend_tests.__file__).parent / "data" / "light" / f"{light}.onnx"
    graph = from_onnx(path)
    (name,) = graph.input_types
    x = np.random.default_rng(2).normal(size=graph.input_types[name].known).astype(np.float32)
    model = to_onnx(graph)
    sessions: list[Any] = [onnxruntime.InferenceSession(m) for m in (str(path), model.SerializeToString())]
    before, after = (s.run(None, {name: x}) for s in sessions)
    assert all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(after, before, strict=True))
    assert from_onnx(model.SerializeToString()).output_types == graph.output_types


def test_everything_without_a_form_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    builder = Builder("mixed", track=False)
    x = builder.input("x", TensorType((4, 4), dt.float32))
    a, b = builder("inv", x), builder("cumprod", x, axis=0)
    graph = builder.build({"a": builder("add", a, a), "b": b})
    with pytest.raises(ModelError) as e:
        graph.to_onnx(str(tmp_path / "m.onnx"))
    assert "inv has no form" in str(e.value)
    assert "cumprod has no form" in str(e.value)
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_in_the_opset_that_is_asked_for(tmp_path: Path) -> None:
    graph = ht.trace(lambda x: ht.tanh(x) + 1, ht.zeros((2,), dtype="float32"))
    graph.to_onnx(str(tmp_path / "m.onnx"), opset=15)
    model = onnx.load(str(tmp_path / "m.onnx"))
    assert model.opset_import[0].version == 15
    assert [p.name for p in model.graph.output] == list(graph.output_types)
    with pytest.raises(ModelError, match="there is no opset 12"):
        to_onnx(graph, opset=12)
    with pytest.raises(ModelError, match="cannot write"):
        graph.to_onnx(str(tmp_path / "no" / "m.onnx"))


def test_equal_small_constants_are_written_once_and_names_stay_apart() -> None:
    builder = Builder("twice", track=False)
    x = builder.input("constant", TensorType((2,), dt.float32))
    one = [builder.constant(np.ones(2, np.float32)) for _ in range(2)]
    y = builder("add", builder("add", x, one[0]), one[1])
    model = to_onnx(builder.build({"y": y, "x": x}))
    assert len(model.graph.initializer) == 1
    onnx.checker.check_model(model, full_check=True)
    session: Any = onnxruntime.InferenceSession(model.SerializeToString())
    made, given = session.run(None, {"constant": np.zeros(2, "f")})
    assert made.tolist() == [2, 2]
    assert given.tolist() == [0, 0]
