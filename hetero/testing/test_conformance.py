"""What every backend must do: the suite of `pytest --pyargs hetero.testing`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetero import dtype as dt
from hetero import registry
from hetero.compile import compile, lower
from hetero.errors import HeteroError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, Op, Sample, TensorType, arguments
from hetero.spi import Backend, Device, Executable, unsupported
from hetero.testing.agree import assert_agrees, assert_close, one_op, run_graph
from hetero.testing.graphs import random_graph

# The first dtype of each kind is met in every run, the others under --hetero-full.
DTYPES = {
    "f": ("float32", "float64"), "i": ("int32", "int64", "int8"), "u": ("uint8", "uint32"), "b": ("bool",),
    "c": ("complex64",),
}  # fmt: skip


def first_dtype(op: Op) -> str:
    return DTYPES[op.dtypes[0]][0]


def compiled(op: Op) -> bool:
    """Whether backends compile the op; what it gives may have a shape that depends on values, and they do not."""
    if not op.samples:
        return False
    arrays = arguments(op.samples[0], dt.of(first_dtype(op)), 0)
    return one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], op.samples[0].attrs).static


CASES = [
    pytest.param(
        op, sample, name, id=f"{op.name}-{k}-{name}", marks=() if name == DTYPES[letter][0] else pytest.mark.hetero_full
    )
    for op in OPS.values()
    if compiled(op)
    for k, sample in enumerate(op.samples)
    for letter in op.dtypes
    for name in DTYPES[letter]
]


def refusals(graph: Graph, device: Device) -> list[str]:
    """Why the device does not run the graph, taken apart as far as it goes."""
    backend = registry.load(device.backend)
    return [m.reason for m in unsupported(backend, lower(graph, backend, device), device)]


def agrees_or_refuses(graph: Graph, arrays: Sequence[Array], device: Device) -> None:
    """A device for one kind of network may refuse all else, with its reasons."""
    if not (reasons := refusals(graph, device)):
        assert_agrees(graph, arrays, device)
    else:
        assert all(reasons)


@pytest.mark.parametrize(("op", "sample", "name"), CASES)
def test_an_op_gives_what_its_reference_gives(device: Device, op: Op, sample: Sample, name: str) -> None:
    arrays = arguments(sample, dt.of(name), seed=7)
    graph = one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], sample.attrs)
    reasons = refusals(graph, device)
    if reasons:
        assert all(reasons), f"{device} refuses {op.name} without a reason"
        pytest.skip("; ".join(dict.fromkeys(reasons)))
    assert_agrees(graph, arrays, device)


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["float32", "float64"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_random_graph_gives_what_its_references_give(device: Device, seed: int, name: str) -> None:
    graph, arrays = random_graph(seed, dtype=dt.of(name))
    if not refusals(graph, device):
        assert_agrees(graph, arrays, device)


@given(m=st.integers(0, 40), k=st.integers(0, 40), n=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_matrix_product_of_any_size(device: Device, m: int, k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, (m, k)).astype("float32"), rng.uniform(-1, 1, (k, n)).astype("float32")
    agrees_or_refuses(one_op(OPS["matmul"], [TensorType(x.shape, x.dtype) for x in (a, b)], {}), (a, b), device)


@given(
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple),
    name=st.sampled_from(["sum", "max", "argmax"]),
    data=st.data(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_reduction_over_any_axis(device: Device, shape: tuple[int, ...], name: str, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    if shape[axis] == 0 and name != "sum":
        return
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    attrs = {"axis": axis} if name == "argmax" else {"axes": (axis,), "keepdims": data.draw(st.booleans())}
    agrees_or_refuses(one_op(OPS[name], [TensorType(x.shape, x.dtype)], attrs), (x,), device)


@pytest.mark.parametrize("dtype", [d.name for d in (*dt.STANDARD, dt.float16)])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7, 3), (2, 0, 3)])
def test_a_buffer_comes_back_as_it_went(device: Device, dtype: str, shape: tuple[int, ...]) -> None:
    if dtype in device.missing_dtypes:
        pytest.skip(f"{device} says that it has no {dtype}")
    backend = registry.load(device.backend)
    (array,) = arguments(Sample(one_arg(shape)), dt.of(dtype), seed=1)
    back = backend.to_host(backend.from_host(array, device), TensorType(shape, array.dtype), device)
    assert_close(back, array, f"{device} {dtype}{shape}")


def one_arg(shape: tuple[int, ...]):
    from hetero.op import Arg

    return (Arg(shape),)


def test_a_buffer_is_a_copy(device: Device) -> None:
    backend = registry.load(device.backend)
    array = np.arange(6.0)
    buffer = backend.from_host(array, device)
    array[:] = 0
    assert_close(backend.to_host(buffer, TensorType((6,), array.dtype), device), np.arange(6.0), str(device))


def test_the_same_run_twice_gives_the_same_bits(device: Device) -> None:
    graph, arrays = random_graph(3)
    if refusals(graph, device):
        pytest.skip(f"{device} refuses the graph")
    first, second = run_graph(graph, arrays, device), run_graph(graph, arrays, device)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_special_values_go_through(device: Device) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-30, -1e30, 88.0, -104.0], "float32")
    for name in ("exp", "tanh", "abs", "negative", "floor", "sqrt", "log", "isnan", "sign", "erf", "sin"):
        agrees_or_refuses(one_op(OPS[name], [TensorType(x.shape, x.dtype)], {}), (x,), device)
    for name in ("add", "multiply", "maximum", "minimum", "less", "equal", "power"):
        a, b = (np.ascontiguousarray(v) for v in np.broadcast_arrays(x[:, None], x))
        agrees_or_refuses(one_op(OPS[name], [TensorType(a.shape, a.dtype)] * 2, {}), (a, b), device)


def test_zeros_keep_their_signs(device: Device) -> None:
    x = np.array([0.0, -0.0, 0.3, -0.3, -0.5], "float32")
    for name in ("abs", "negative", "sign", "floor", "ceil", "trunc", "round", "sqrt", "tanh", "sin", "square"):
        graph = one_op(OPS[name], [TensorType(x.shape, x.dtype)], {})
        if refusals(graph, device):
            continue
        with np.errstate(invalid="ignore"):
            (want,) = graph.evaluate(x)
        (got,) = run_graph(graph, (x,), device)
        zero = want == 0
        assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero])), f"{device} {name}: {got}, not {want}"


def test_an_output_may_be_an_input_a_constant_or_twice_the_same(device: Device) -> None:
    builder = Builder("ports", track=False)
    x = builder.input("x", TensorType((4,), dt.float32))
    y = builder("tanh", x)
    graph = builder.build({"a": x, "b": builder.constant(np.ones(3, "float32")), "c": y, "d": y})
    agrees_or_refuses(graph, (np.linspace(-1, 1, 4).astype("float32"),), device)


def test_a_loop_carries_its_state(device: Device) -> None:
    body = Builder("body", track=False)
    s, x = (body.input(n, TensorType((3,), dt.float32)) for n in "sx")
    after = body("add", body("multiply", s, 0.9), x)
    inner = body.build({"s": after, "y": body("tanh", after)})
    builder = Builder("loop", track=False)
    state, xs = builder.input("s", TensorType((3,), dt.float32)), builder.input("xs", TensorType((5, 3), dt.float32))
    outs = builder("scan", state, xs, body=inner, carried=1, scanned=1)
    graph = builder.build({"state": outs[0], "ys": outs[1]})
    agrees_or_refuses(graph, (np.zeros(3, "float32"), np.random.default_rng(0).random((5, 3), "float32")), device)


def test_a_branch_is_taken(device: Device) -> None:
    def branch(op: str) -> Graph:
        body = Builder(op, track=False)
        return body.build({"y": body(op, body.input("x", TensorType((4,), dt.float32)))})

    builder = Builder("branch", track=False)
    p, x = builder.input("p", TensorType((), dt.bool_)), builder.input("x", TensorType((4,), dt.float32))
    graph = builder.build({"y": builder("cond", p, x, then=branch("tanh"), otherwise=branch("negative"))})
    for taken in (True, False):
        agrees_or_refuses(graph, (np.array(taken), np.linspace(-1, 1, 4).astype("float32")), device)


def test_the_backend_is_what_it_must_be(device: Device) -> None:
    backend = registry.load(device.backend)
    assert isinstance(backend, Backend)
    assert backend.name == device.backend
    found = backend.probe()
    assert device in found.devices
    assert found.version


def test_an_executable_knows_its_peak_before_it_runs(device: Device) -> None:
    graph, _ = random_graph(5)
    if refusals(graph, device):
        pytest.skip(f"{device} refuses the graph")
    for segment in compile(graph, device, "error").segments:
        assert isinstance(segment.executable, Executable)
        assert segment.executable.peak_bytes >= 0


def test_a_refusal_has_a_reason(device: Device) -> None:
    backend = registry.load(device.backend)
    for op in OPS.values():
        for sample in op.samples[:1]:
            arrays = arguments(sample, dt.of(first_dtype(op)), 0)
            try:
                graph = one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], sample.attrs)
            except HeteroError:
                continue
            for node in graph.nodes:
                said = backend.support(node, graph.in_types(node), graph.out_types(node), device)
                assert said or said.reason, f"{device} refuses {op.name} without a reason"
