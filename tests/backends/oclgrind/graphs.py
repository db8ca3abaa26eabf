"""What is launched under Oclgrind: small graphs whose sizes are no multiples of lanes, tiles or teams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

import convolutions
import hetero.ops
import hetero_launch.spiking as event_driven
import products as matrices
from hetero import dtype as dt
from hetero.dim import concrete
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, TensorType, arguments
from hetero.spi import Backend, Device
from hetero.spiking.build import build
from hetero.testing.agree import one_op
from hetero.testing.graphs import random_graph
from hetero.testing.spiking_delays import delayed_integers, delayed_network
from hetero.testing.spiking_float import RULES, random_network
from hetero_kernels.templates import STORED
from hetero_launch import held, matmul_panels, reduction

assert hetero.ops

Case: TypeAlias = "tuple[Graph, Sequence[Array]]"
SOME = ("float32", "int8", "float16", "int64", "float64")  # dtypes of one, two, four and eight bytes
MANY = 24  # ops of one kernel


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def values(shape: Sequence[int], name: str) -> Array:
    """Small numbers of the dtype, no two neighbours alike."""
    raw = _rng().integers(0, 2 if name == "bool" else 7, tuple(shape))
    return (raw / 4 if dt.is_float(dt.of(name)) else raw).astype(dt.of(name))


def one(op: str, *arrays: Array, **attrs: Any) -> Case:
    return one_op(OPS[op], [TensorType(a.shape, dt.check(a.dtype)) for a in arrays], attrs), arrays


# -- generated regions ------------------------------------------------------------------------------------------------


def elementwise(backend: Backend, device: Device) -> Iterator[Case]:
    """Every op in every dtype, many in a kernel."""
    for name in STORED:
        dtype = dt.of(name)
        ops = iter([o for o in OPS.values() if o.elementwise and not o.composite and dt.kind(dtype) in o.dtypes])
        while some := list(islice(ops, MANY)):
            builder = Builder(track=False)
            arrays: list[Array] = []
            outs: list[Ref] = []
            for k, op in enumerate(some):
                given = [np.resize(a, (67,)) for a in arguments(op.samples[0], dtype, k)]
                types = tuple(TensorType(a.shape, dt.check(a.dtype)) for a in given)
                graph = one_op(op, types, op.samples[0].attrs)
                (node,) = graph.nodes
                if backend.support(node, types, graph.out_types(node), device):
                    refs = [builder.input(f"i{len(arrays) + j}", t) for j, t in enumerate(types)]
                    outs += builder.emit(op, refs, op.samples[0].attrs)
                    arrays += given
            if outs:
                yield builder.build({f"o{k}": r for k, r in enumerate(outs)}), arrays
        yield casts(name)


def casts(name: str) -> Case:
    """To every dtype."""
    builder, x = Builder(track=False), values((67,), name)
    ref = builder.input("x", TensorType(x.shape, x.dtype))
    return builder.build({to: builder("cast", ref, dtype=to) for to in STORED if to != name}), [x]


def regions(backend: Backend, device: Device) -> Iterator[Case]:
    """Stretched inputs, rows of every length against lanes and teams, and what random graphs make of both."""
    for name in ("float32", "int16", "float64", "bfloat16"):
        for shapes in (
            ((5, 13), (13,)), ((5, 13), (5, 1)), ((3, 5, 7), (3, 1, 7)), ((2, 3, 5, 1), (3, 1, 9)), ((1,), (70, 3)),
        ):  # fmt: skip
            yield one("add", *(values(s, name) for s in shapes))
    for name in ("float32", "float64", "float16"):
        for shape in ((5, 3), (3, 37), (2, 64), (2, 3, 530)) if name == "float32" else ((3, 37),):
            yield rows(shape, name)
    for seed in range(12):
        yield random_graph(seed, dtype=dt.of(("float32", "float64")[seed % 2]))


def together(backend: Backend, device: Device) -> Iterator[Case]:
    """Enough like launches that they go over as one; sizes of less than a vector, and of some and a part."""
    held.SOON = 1
    for name in ("float32", "int16", "float64"):
        for n in (1, 5, 67):
            x, y = values((n,), name), values((n,), name)[::-1]
            for graph, arrays in (one("add", x, y), one("negative", x), one("where", y > 1, x, y)):
                executable: Any = backend.compile(graph, device)  # whose direct call the protocol does not name
                there = [backend.from_host(np.ascontiguousarray(a), device) for a in arrays]
                made = [executable.direct(*there) for _ in range(18)]
                (want,), (type,) = graph.evaluate(*arrays), graph.output_types.values()
                assert all(np.array_equal(backend.to_host(m, type, device), want) for m in made)
                yield graph, arrays


def rows(shape: tuple[int, ...], name: str) -> Case:
    """Softmax, layer norm with a scale a column, and a minimum a row."""
    builder, dtype, last = Builder(track=False), dt.of(name), len(shape) - 1
    x, scale = builder.input("x", TensorType(shape, dtype)), builder.input("scale", TensorType(shape[-1:], dtype))
    norm = builder("layer_norm", x, scale, scale, axis=last, epsilon=1e-2)
    low = builder("min", norm, axes=(last,), keepdims=True)
    return builder.build([builder("softmax", x, axis=last), norm, low]), [
        _rng().normal(size=s).astype(dtype) for s in (shape, shape[-1:])
    ]


# -- hand-written kernels ---------------------------------------------------------------------------------------------


def reductions(backend: Backend, device: Device) -> Iterator[Case]:
    """Rows and columns, whole and in parts, and the kernels along one axis."""
    for name in SOME:
        for op in ("sum", "max"):
            for shape, axes in (((5, 37), (1,)), ((37, 5), (0,)), ((2, 600), (0, 1))):
                yield one(op, values(shape, name), axes=axes, keepdims=False)
        yield one("argmax", values((5, 37), name), axis=1, last=False)
        yield one("argmin", values((5, 37), name), axis=1, last=True)
        yield one("argmax", values((5, 7, 3), name), axis=1, last=True)
        yield one("cumsum", values((5, 7, 3), name), axis=1, exclusive=True, reverse=True)
        yield one("cumprod", values((5, 17), name) // 1 % 2 + 1, axis=1, exclusive=False, reverse=False)
    for name, op in (("float32", "prod"), ("uint8", "min"), ("bool", "any"), ("bool", "all"), ("int32", "sum")):
        yield one(op, values((5, 37), name), axes=(1,), keepdims=True)
    reduction.PART = 100  # so that short axes are folded in parts
    # Partial results have eight bytes each, whatever their dtype: what overhangs those of four is never written.
    lanes = backend.runtime(device).style.vector_bytes  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("float64", "int64") if lanes else SOME:
        yield one("sum", values((1307,), name), axes=(0,), keepdims=False)
        yield one("max", values((99, 11), name), axes=(0,), keepdims=False)
        yield one("max", values((2, 333, 3), name), axes=(1,), keepdims=False)
        yield one("sum", values((3, 70, 11), name), axes=(0, 2), keepdims=False)


def orders(backend: Backend, device: Device) -> Iterator[Case]:
    for name in SOME:
        for shape, axis in (((3, 77), 1), ((2, 45, 3), 1), ((300,), 0), ((5,), 0)):
            yield one("sort", values(shape, name), axis=axis, descending=False)
            yield one("argsort", values(shape, name), axis=axis, descending=True)
        yield one("searchsorted", np.sort(values((9,), name)), values((13,), name), side="right")


def moving(backend: Backend, device: Device) -> Iterator[Case]:
    """Boxes with strides on both sides, padding, random words."""
    for name in ("uint8", "int16", "float32", "int64", "complex128"):
        x = values((3, 5, 19), name) if name != "complex128" else values((3, 5, 19), "float64") + 1j
        for axes in ((2, 1, 0), (0, 2, 1), (1, 0, 2)):
            yield one("permute", x, axes=axes)
        yield one("slice", x, starts=(0, 4, 18), stops=(3, -1, -1), steps=(2, -2, -3))
        yield one("slice", x, starts=(1, 1, 1), stops=(3, 4, 18), steps=(1, 1, 1))
        yield one("broadcast_to", x[:, :1], shape=(2, 3, 5, 19))
        yield one("concat", x, x[:, :, :3], axis=2)
        if name != "complex128":
            for mode in ("constant", "edge", "reflect", "wrap"):
                yield one("pad", x, before=(1, 2, 0), after=(0, 1, 18), mode=mode, value=0)
    for name in ("int8", "float32"):
        yield one("sum", values((3, 0), name), axes=(1,), keepdims=False)
    (sample, *_) = OPS["philox"].samples
    for k, sample in enumerate(OPS["philox"].samples):
        yield one("philox", *arguments(sample, dt.of("uint32"), k), **sample.attrs)


def indexing(backend: Backend, device: Device) -> Iterator[Case]:
    """Places in any order, some twice, some from the end."""
    for name in ("uint8", "float16", "float32", "int64"):
        x = values((5, 19), name)
        for kind in ("int32", "int64"):
            spots = np.array([4, 0, -1, 2, 0, -5, 3], kind)
            yield one("take", x, spots, axis=0)
            yield one("take", x, spots.reshape(7, 1), axis=1)
            yield one("take_along_axis", x, np.resize(spots, (5, 7)), axis=1)
            pairs = np.resize(spots, (7, 2))
            yield one("gather_nd", x, pairs, batch_dims=0)
            yield one("gather_nd", x, spots.reshape(7, 1), batch_dims=0)
            for how in ("none", "add", "max"):
                yield one("scatter_nd", x, pairs, values((7,), name), reduction=how)
                yield one("scatter_nd", x, spots.reshape(7, 1), values((7, 19), name), reduction=how)
                yield one("put_along_axis", x, np.resize(spots, (5, 7)), values((5, 7), name), axis=1, reduction=how)


def products(backend: Backend, device: Device) -> Iterator[Case]:
    for name in ("float32", "float64", "float16", "int32"):
        yield one("matmul", values((2, 19, 33), name), values((2, 33, 21), name))
        yield one("matmul", values((1, 35), name), values((35, 5), name))
    for name in ("float32", "float64"):
        for m, k, n in ((3, 5, 7), (2, 9, 13), (1, 1, 1), (5, 4, 8)):
            yield one("matmul", values((70, m, k), name), values((70, k, n), name))
        yield one("matmul", values((9, 8, 2, 3), name), values((8, 3, 11), name))
    for worth in (matmul_panels.WORTH_BYTES, 0):  # where operands lie, and put in order first
        matmul_panels.WORTH_BYTES = matmul_panels.MANY = worth
        for case in matrices.CASES.values():
            yield matrices.graph_of(case)
    for a, b in (("int8", "int8"), ("uint8", "int8")):
        for m, k, n, lead in ((5, 17, 11, ()), (1, 3, 9, (2,)), (7, 1031, 3, (1,))):
            pair = [values((*lead, m, k), a), values((*lead, k, n), b)]
            zeros = [np.asarray(3, a), np.asarray(-2, b)]
            yield one("matmul_integer", *pair, *zeros, **OPS["matmul_integer"].samples[0].attrs)


def windows(backend: Backend, device: Device) -> Iterator[Case]:
    """Strides, dilations, padding, groups, and axes of one element."""
    for name in ("float32", "float16"):
        for sides, groups, stride, dilation, pad in (
            ((5, 13), 1, 1, 1, 1), ((5, 13), 2, 2, 1, 0), ((5, 11), 4, 1, 2, 2), ((23,), 1, 3, 1, 1),
            ((3, 4, 5), 1, 2, 1, 1), ((21, 1), 1, 1, 1, 0),
        ):  # fmt: skip
            rank = len(sides)
            attrs: dict[str, Any] = {"strides": (stride,) * rank, "dilations": (dilation,) * rank,
                                     "pads_before": (pad,) * rank, "pads_after": (pad,) * rank}  # fmt: skip
            kernel = tuple(min(n, 3) for n in sides)
            x, w = values((2, 4, *sides), name), values((6 if groups < 4 else 8, 4 // groups, *kernel), name)
            yield one("conv", x, w, values(w.shape[:1], name), groups=groups, **attrs)
            yield one("max_pool", x, kernel=kernel, **attrs)
            yield one("avg_pool", x, kernel=kernel, count_include_pad=bool(stride - 1), **attrs)
    for name in ("padded", "strides, groups", "a line", "a volume", "few windows"):
        yield convolutions.graph_of(convolutions.CASES[name])


# -- spiking loops ----------------------------------------------------------------------------------------------------


def spiking(backend: Backend, device: Device) -> Iterator[Case]:
    """All steps in one launch."""
    for seed, rule in enumerate(RULES):
        yield loop(random_network(seed, rule), (None, 3, 1)[seed])
        yield loop(delayed_network(seed, rule), 2)
        yield loop(delayed_integers(seed), (3, None, 2)[seed])


def slices(backend: Backend, device: Device) -> Iterator[Case]:
    """A launch for each stage and step, targets cut in slices."""
    event_driven.SMALL = 0
    for seed, rule in enumerate(RULES):
        yield loop(random_network(seed, rule), None)
        yield loop(delayed_integers(seed), None)


def loop(net: Any, batch: int | None) -> Case:
    graph = build(net, steps=5, batch=batch, record=True)
    rng = np.random.default_rng(1)
    return graph, [(rng.random(concrete(t.known)) < 0.4).astype(t.dtype) for t in graph.input_types.values()]


GROUPS: dict[str, Callable[[Backend, Device], Iterator[Case]]] = {
    f.__name__: f
    for f in (elementwise, regions, together, reductions, orders, moving, indexing, products, windows, spiking, slices)
}
