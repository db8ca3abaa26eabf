"""What the OpenCL backend computes, against the NumPy reference of each op."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hetero.ops
from hetero import dtype as dt
from hetero.errors import AxisError, BackendError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.graph.passes.decompose import decompose
from hetero.op import OPS, Array, Op, TensorType, arguments
from hetero.spi import Backend, Device
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import ACCELERATOR

assert hetero.ops

BACKEND = OpenCLBackend()
FOUND = BACKEND.probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("opencl")
pytestmark = pytest.mark.skipif(not FOUND.devices, reason=f"no OpenCL device: {FOUND.reason}")
REAL = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
        "float64", "bfloat16")  # fmt: skip
TOLERANCE = {"float64": 1e-11, "float32": 3e-6, "float16": 5e-3, "bfloat16": 3e-2}


def run(graph: Graph, arrays: Sequence[Array], backend: Backend = BACKEND) -> list[Array]:
    """The graph's outputs, decomposed where the backend asks for it."""
    whole = decompose(graph, lambda node, types, outs: bool(backend.support(node, types, outs, DEVICE)))
    executable = backend.compile(whole, DEVICE)
    outs = executable(*(backend.from_host(a, DEVICE) for a in arrays))
    return [backend.to_host(b, t, DEVICE) for b, t in zip(outs, graph.output_types.values(), strict=True)]


def one(op: Op, arrays: Sequence[Array], attrs: Any) -> Graph:
    builder = Builder(track=False)
    refs = [builder.input(f"i{k}", TensorType(a.shape, dt.check(a.dtype))) for k, a in enumerate(arrays)]
    return builder.build(builder.emit(op, refs, attrs))


def assert_close(got: Array, want: Array) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if dt.is_float(want.dtype) and want.size:
        tolerance = TOLERANCE[want.dtype.name]
        size = np.abs(want.astype(np.float64))
        scale = size.max(initial=1e-30, where=np.isfinite(size))
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), tolerance, tolerance * scale)
    else:
        np.testing.assert_array_equal(got, want)


def agree(graph: Graph, arrays: Sequence[Array], backend: Backend = BACKEND) -> None:
    with np.errstate(all="ignore"):
        wanted = graph.evaluate(*arrays)
    for got, want in zip(run(graph, arrays, backend), wanted, strict=True):
        assert_close(got, want)


def refused(graph: Graph) -> str:
    said = (BACKEND.support(n, graph.in_types(n), graph.out_types(n), DEVICE) for n in graph.nodes)
    return next((s.reason for s in said if not s), "")


def cases(names: Sequence[str]) -> Iterator[Any]:
    """Every sample of every op but the elementwise ones, its dtype in turn one of `names`."""
    for op in OPS.values():
        fitting = [n for n in names if dt.kind(dt.of(n)) in op.dtypes]
        if op.kind != "late" and not op.elementwise and fitting:
            for i in range(len(op.samples)):
                name = fitting[i % len(fitting)]
                yield pytest.param(op, name, i, id=f"{op.name}-{name}-{i}")


@pytest.mark.parametrize(("op", "name", "i"), list(cases(["float32"])))
def test_float32_samples_agree_with_the_reference(op: Op, name: str, i: int) -> None:
    agree_on_sample(op, name, i)


@pytest.mark.parametrize(("op", "name", "i"), list(cases(["int32", "float64", "uint8", "bool", "int8"])))
def test_samples_of_other_dtypes_agree_with_the_reference(op: Op, name: str, i: int) -> None:
    agree_on_sample(op, name, i)


def agree_on_sample(op: Op, name: str, i: int, backend: Backend = BACKEND) -> None:
    arrays = arguments(op.samples[i], dt.of(name), i)
    outs = op.infer_types(tuple(TensorType(a.shape, a.dtype) for a in arrays), op.complete(op.samples[i].attrs))
    if any(t.shape is None for t in outs):
        return  # the shape depends on values: never compiled
    graph = one(op, arrays, op.samples[i].attrs)
    whole = decompose(graph, lambda node, types, outs: bool(BACKEND.support(node, types, outs, DEVICE)))
    if refused(whole):
        return  # said so, with the reason, which is what is asked of it
    agree(graph, arrays, backend)


def fused(body: Graph, pattern: str) -> Graph:
    builder = Builder(track=False)
    refs = [builder.input(p.name, body.types[p.value]) for p in body.inputs]
    return builder.build(builder.emit(OPS["fused"], refs, {"body": body, "pattern": pattern}))


@pytest.mark.parametrize("name", REAL)
def test_every_elementwise_op_agrees_in_every_dtype(name: str) -> None:
    """Many ops a kernel, since a compiler is slow and the ops are many."""
    dtype = dt.of(name)
    ops = iter([op for op in OPS.values() if op.elementwise and not op.composite and dt.kind(dtype) in op.dtypes])
    while some := list(islice(ops, 10)):
        builder = Builder(track=False)
        arrays: list[Array] = []
        outs: list[Ref] = []
        for k, op in enumerate(some):
            sample = op.samples[0]
            given = [np.resize(a, (67,)) for a in arguments(sample, dtype, k)]
            types = [TensorType(a.shape, dt.check(a.dtype)) for a in given]
            if any(t.dtype != dtype for t in types) and op.name == "bitcast":
                continue
            refs = [builder.input(f"i{len(arrays) + j}", t) for j, t in enumerate(types)]
            made = builder.emit(op, refs, sample.attrs)
            (node,) = [n for n in builder.nodes if n.outputs[0] == made[0].index]
            if BACKEND.support(node, tuple(types), tuple(r.type for r in made), DEVICE):
                outs += made
                arrays += given
            else:
                arrays += given
        if outs:
            body = builder.build({f"o{k}": r for k, r in enumerate(outs)})
            agree(fused(body, "map"), arrays)


UNARY = ("tanh", "exp", "sin", "negative", "square", "abs", "floor")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum")


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_random_elementwise_graphs_agree(data: st.DataObject) -> None:
    """Fused or not, broadcast in any way."""
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    builder = Builder(track=False)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays: list[Array] = []
    for k in range(data.draw(st.integers(1, 3))):
        stretched = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
        arrays.append(rng.uniform(-1, 1, stretched).astype(np.float32))
        builder.input(f"i{k}", TensorType(stretched, dt.float32))
    refs = [Ref(builder, p.value) for p in builder.inputs]
    for _ in range(data.draw(st.integers(1, 6))):
        a, b = data.draw(st.sampled_from(refs)), data.draw(st.sampled_from(refs))
        if data.draw(st.booleans()):
            refs.append(builder(data.draw(st.sampled_from(UNARY)), a))
        else:
            refs.append(builder(data.draw(st.sampled_from(BINARY)), a, b))
    agree(builder.build([refs[-1]], prune=False), arrays)


def softmax_and_norm(shape: tuple[int, ...], dtype: dt.DType) -> Graph:
    """Both on one input, with a scale a column: two rows regions and what is between."""
    builder = Builder(track=False)
    x, scale = builder.input("x", TensorType(shape, dtype)), builder.input("scale", TensorType(shape[-1:], dtype))
    soft = builder("softmax", x, axis=len(shape) - 1)
    norm = builder("layer_norm", x, scale, scale, axis=len(shape) - 1, epsilon=1e-5)
    low = builder("min", norm, axes=(len(shape) - 1,), keepdims=True)
    return builder.build([soft, norm, low])


@pytest.mark.parametrize(
    ("shape", "name"),
    [*product([(5, 3), (33, 1000), (2, 3, 8), (1, 70001), (700, 2)], ["float32", "float64"]), ((33, 1000), "float16")],
)
def test_rows_are_fused_and_agree(shape: tuple[int, ...], name: str) -> None:
    rng = np.random.default_rng(1)
    dtype = dt.of(name)
    graph = softmax_and_norm(shape, dtype)
    arrays = [rng.normal(size=shape).astype(dtype), rng.normal(size=shape[-1:]).astype(dtype)]
    agree(graph, arrays)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["sum", "max"])
def test_long_reductions_are_split_and_agree(axes: tuple[int, ...], name: str) -> None:
    x = np.random.default_rng(2).normal(size=(70, 301, 45)).astype(np.float32)
    graph = one(OPS[name], [x], {"axes": axes, "keepdims": False})
    if name == "sum":
        want = x.astype(np.float64).sum(axis=axes)
        np.testing.assert_allclose(run(graph, [x])[0], want, rtol=1e-5, atol=1e-3)
    else:
        agree(graph, [x])


def test_a_sum_of_many_floats_keeps_its_digits() -> None:
    x = np.full(10_000_000, 0.1, np.float32)
    (got,) = run(one(OPS["sum"], [x], {"axes": (0,)}), [x])
    assert abs(float(got) / (float(x[0]) * x.size) - 1) < 1e-6


def test_nan_wins_maxima_and_sorts_last() -> None:
    x = np.array([3, np.nan, -1, np.inf, -np.inf, 0, np.nan, 2], np.float32)
    for name, attrs in (("max", {"axes": (0,)}), ("min", {"axes": (0,)}), ("argmax", {"axis": 0}),
                        ("argmin", {"axis": 0, "last": True}), ("sort", {"axis": 0}),
                        ("argsort", {"axis": 0, "descending": True})):  # fmt: skip
        agree(one(OPS[name], [x], attrs), [x])
    agree(one(OPS["maximum"], [x, x[::-1].copy()], {}), [x, x[::-1].copy()])


@pytest.mark.parametrize("name", ["int8", "int32", "int64", "uint8", "uint64"])
def test_integer_division_never_traps(name: str) -> None:
    """By zero, and the least integer by -1: both kill a process that divides plainly."""
    dtype = dt.of(name)
    info = np.iinfo(dtype)
    values = np.array([info.min, info.max, 0, 1, 7, info.max - 1, info.min + 1], dtype)
    by = np.array([0, info.max, 1, info.min, 3, 2], dtype) if info.min == 0 else np.array([0, -1, 1, -3, 3], dtype)
    a, b = (m.ravel().copy() for m in np.meshgrid(values, by))
    for op in ("floor_divide", "remainder"):
        agree(one(OPS[op], [a, b], {}), [a, b])


@pytest.mark.parametrize("shape", [(1000, 777), (37, 5, 611), (3, 64, 65)])
def test_transposes_of_any_size_agree(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    axes = tuple(reversed(range(len(shape))))
    agree(one(OPS["permute"], [x], {"axes": axes}), [x])


@pytest.mark.parametrize("groups", [1, 4], ids=["columns", "depthwise"])
@pytest.mark.parametrize("sides", [(150, 1), (1, 150), (9, 150, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_over_axes_of_one_element_agree(sides: tuple[int, ...], stride: int, groups: int) -> None:
    """Such axes are moved aside, unless the kernel or the padding sees more of them. Batches are of two samples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, *sides)).astype(np.float32)
    for kernel, pad in ((tuple(min(n, 3) for n in sides), False), ((3,) * len(sides), True)):
        w = rng.normal(size=(8, 4 // groups, *kernel)).astype(np.float32)
        pads = tuple(int(pad or n > 1) for n in sides)
        attrs = {"strides": (stride,) * len(sides), "dilations": (1,) * len(sides), "pads_before": pads,
                 "pads_after": pads}  # fmt: skip
        agree(one(OPS["conv"], [x, w], attrs | {"groups": groups}), [x, w])
        attrs |= {"kernel": kernel}
        agree(one(OPS["max_pool"], [x], attrs), [x])
        agree(one(OPS["avg_pool"], [x], attrs | {"count_include_pad": True}), [x])
        agree(one(OPS["avg_pool"], [x], attrs | {"count_include_pad": False}), [x])


@pytest.mark.parametrize("rows", [(3, 2, 5), (2, 0, 5), (1, 7)], ids=str)
@pytest.mark.parametrize("lead", [(), (1,), (1, 1)], ids=str)
def test_many_rows_times_one_matrix_agree(rows: tuple[int, ...], lead: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    pair = [rng.normal(size=(*rows, 6)).astype(np.float32), rng.normal(size=(*lead, 6, 4)).astype(np.float32)]
    for backend in (BACKEND, OpenCLBackend(ACCELERATOR)):
        agree(one(OPS["matmul"], pair, {}), pair, backend)


@pytest.mark.parametrize(
    ("sizes", "dtype"), [((8, 8, 8), "float32"), ((3, 5, 7), "float64"), ((5, 1, 17), "float32")], ids=str
)
def test_many_small_products(sizes: tuple[int, int, int], dtype: str) -> None:
    """Leading axes of one, stretched or not, and rows that are no whole vectors."""
    m, k, n = sizes
    rng = np.random.default_rng(0)
    for backend in (BACKEND, OpenCLBackend(ACCELERATOR)):
        for left, right in (((70,), (70,)), ((10, 7), (1, 7)), ((10, 7), (7,)), ((1,), (80,)), ((65, 1), (3,))):
            pair = [rng.uniform(-1, 1, s).astype(dtype) for s in ((*left, m, k), (*right, k, n))]
            agree(one(OPS["matmul"], pair, {}), pair, backend)


def test_sorting_many_elements_is_stable() -> None:
    x = np.random.default_rng(0).integers(0, 50, (2, 40_000, 2)).astype(np.int16)
    agree(one(OPS["argsort"], [x], {"axis": 1}), [x])
    agree(one(OPS["argsort"], [x], {"axis": 1, "descending": True}), [x])


def test_complex_matrices_are_refused_with_the_reason() -> None:
    x = np.ones((2, 2), np.complex64)
    assert "complex64" in refused(one(OPS["matmul"], [x, x], {}))
    assert not refused(one(OPS["permute"], [x], {"axes": (1, 0)}))  # moving needs no arithmetic


def test_an_index_outside_is_reported_when_the_host_waits() -> None:
    x, i = np.arange(5, dtype=np.float32), np.array([1, 9])
    with pytest.raises(AxisError, match="index 9 is outside"):
        run(one(OPS["take"], [x, i], {"axis": 0}), [x, i])
    agree(one(OPS["take"], [x, i - 3], {"axis": 0}), [x, np.array([-2, 4])])  # and only once


def test_outputs_may_be_inputs_constants_and_views() -> None:
    builder = Builder(track=False)
    x = builder.input("x", TensorType((2, 3), dt.float32))
    graph = builder.build([x, builder("reshape", x, shape=(6,)), builder.constant(np.arange(4)), builder("exp", x)])
    agree(graph, [np.ones((2, 3), np.float32)])


def test_the_form_for_accelerators_agrees_too() -> None:
    """One lane an item, teams for rows, tiled products: run on the processor."""
    backend = OpenCLBackend(ACCELERATOR)
    for name in ("matmul", "sum", "exp", "cumsum", "argsort", "conv", "take", "permute", "where"):
        for i in range(len(OPS[name].samples)):
            agree_on_sample(OPS[name], "float32", i, backend)
    rng = np.random.default_rng(1)
    x, scale = rng.normal(size=(33, 1000)).astype(np.float32), rng.normal(size=1000).astype(np.float32)
    agree(softmax_and_norm(x.shape, dt.float32), [x, scale], backend)
    ints = rng.integers(-9, 9, (3, 70, 45)).astype(np.int64)
    pair = [ints, ints.swapaxes(1, 2).copy()]
    agree(one(OPS["matmul"], pair, {}), pair, backend)


def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BackendError, match="opencl:99"):
        BACKEND.synchronize(Device("opencl", 99))
