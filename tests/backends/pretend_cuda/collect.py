"""Every kernel text that the backend asks for, in every form that can be told apart: from graphs that are compiled and
not run. Nothing is built by g++ for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import hetero_kernels as hk
import hetero_launch.spiking as event_driven
from hetero import dtype as dt
from hetero.compile import compile as compiled
from hetero.compile import lower
from hetero.errors import HeteroError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Sample, TensorType, arguments
from hetero.spi import Backend, Device, unsupported
from hetero.spiking.build import build
from hetero.testing import test_conformance as suite
from hetero.testing.agree import one_op
from hetero.testing.graphs import random_graph
from hetero.testing.spiking_delays import delayed_integers, delayed_network
from hetero.testing.spiking_float import RULES, random_network
from hetero_kernels.templates import STORED

REAL = [n for n in STORED if n != "bool"]
LARGE = 1 << 17  # a side; three of them are more than 2^31 elements, two more groups than an axis of a grid has


def graphs() -> Iterator[Graph]:
    """Each op, sample and dtype of the conformance suite; every dtype for ops that move; large ones; random ones."""
    for case in suite.CASES:
        op, sample, name = case.values
        assert isinstance(sample, Sample)
        arrays = arguments(sample, dt.of(str(name)), seed=7)
        yield one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], sample.attrs)  # pyright: ignore[reportArgumentType]
    for name in STORED:
        yield from of_dtype(dt.of(name))
    yield from large()
    for seed in range(40):
        yield random_graph(seed, dtype=dt.of(("float32", "float64")[seed % 2]))[0]
    for seed, rule in enumerate(RULES):
        yield build(random_network(seed, rule), steps=5, batch=(None, 3)[seed % 2], record=True)
        yield build(delayed_network(seed, rule), steps=5, batch=2, record=True)
        yield build(delayed_integers(seed), steps=5, batch=2, record=True)


def made(op: str, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], **attrs: Any) -> Graph:
    return one_op(OPS[op], [TensorType(s, dt.check(d)) for s, d in zip(shapes, dtypes, strict=True)], attrs)


def of_dtype(dtype: Any) -> Iterator[Graph]:
    """What a dtype goes through that the suite's samples do not have in it."""
    kind, f = dt.kind(dtype), np.dtype("int64")
    for op in OPS.values():
        if op.elementwise and not op.composite and kind in op.dtypes and op.samples and op.name != "bitcast":
            arrays = arguments(op.samples[0], dtype, 0)
            yield one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], op.samples[0].attrs)
    for to in STORED:
        yield made("cast", [(5, 7)], [dtype], dtype=to)
    for name in ("sum", "prod", "max", "min") if kind != "b" else ("any", "all"):
        for shape, axes in (((3, 4), (1,)), ((3, 4), (0,)), ((4096, 70), (0,)), ((9, 70000), (0, 1))):
            yield made(name, [shape], [dtype], axes=axes, keepdims=False)
    if kind == "b":
        return
    for name in ("cumsum", "cumprod"):
        yield made(name, [(3, 4)], [dtype], axis=1, exclusive=True, reverse=True)
    for name in ("argmax", "argmin"):
        yield made(name, [(3, 4)], [dtype], axis=0, last=True)
    for name in ("sort", "argsort"):
        yield made(name, [(3, 100)], [dtype], axis=1, descending=True)
        yield made(name, [(100, 3)], [dtype], axis=0, descending=False)
    yield made("searchsorted", [(9,), (4,)], [dtype, dtype], side="right")
    yield made("matmul", [(2, 3, 4), (2, 4, 5)], [dtype, dtype])
    yield made("matmul", [(9, 999, 3, 4), (999, 4, 5)], [dtype, dtype])
    for i in (np.dtype("int32"), f):
        for reduction in ("none", "add", "mul", "max", "min"):
            yield made("scatter_nd", [(5, 6), (3, 1), (3, 6)], [dtype, i, dtype], reduction=reduction)
            yield made("put_along_axis", [(5, 6), (5, 2), (5, 2)], [dtype, i, dtype], axis=1, reduction=reduction)
        yield made("take", [(5, 6), (3,)], [dtype, i], axis=1)
        yield made("take_along_axis", [(5, 6), (5, 2)], [dtype, i], axis=1)
        yield made("gather_nd", [(5, 6), (3, 2)], [dtype, i], batch_dims=0)
    for mode in ("constant", "edge", "reflect", "wrap"):
        yield made("pad", [(4, 5)], [dtype], before=(1, 2), after=(0, 1), mode=mode, value=0)
    if kind == "f":
        yield norm((33, 70), dtype)


def norm(shape: tuple[int, ...], dtype: Any) -> Graph:
    """Rows: softmax and layer norm with a scale a column."""
    builder = Builder(track=False)
    x, scale = builder.input("x", TensorType(shape, dtype)), builder.input("scale", TensorType(shape[-1:], dtype))
    soft = builder("softmax", x, axis=len(shape) - 1)
    return builder.build([soft, builder("layer_norm", soft, scale, scale, axis=len(shape) - 1, epsilon=1e-5)])


def small_ones() -> Iterator[Graph]:
    """One, two and three inputs in memory, in every dtype: many such launches go over as one."""
    for name in STORED:
        dtype = dt.of(name)
        yield made("equal", [(5,), (5,)], [dtype, dtype])
        yield made("cast", [(5,)], [dtype], dtype="float32" if name != "float32" else "float16")
        yield made("where", [(5,), (5,), (5,)], [np.dtype(bool), dtype, dtype])


def large() -> Iterator[Graph]:
    """Sizes that take 64-bit numbers, and grids that take one line of groups."""
    f, i = np.dtype("float32"), np.dtype("int64")
    n = LARGE
    yield made("tanh", [(n, n)], [f])
    yield made("add", [(n, n), (n,)], [f, f])
    yield made("add", [(3, n, 5), (3, 1, 5)], [f, f])
    yield norm((n, n), f)
    yield made("sum", [(n, n)], [f], axes=(1,), keepdims=False)
    yield made("sum", [(n, n)], [f], axes=(0,), keepdims=False)
    yield made("permute", [(n, n)], [f], axes=(1, 0))
    yield made("permute", [(n, 4, 3)], [f], axes=(0, 2, 1))
    yield made("permute", [(3, n, 40)], [f], axes=(1, 0, 2))
    yield made("slice", [(n, n)], [f], starts=(0, 0), stops=(n, n), steps=(2, 2))
    yield made("pad", [(n, n)], [f], before=(1, 2), after=(0, 1), mode="edge", value=0)
    yield made("cumsum", [(n, n)], [f], axis=1, exclusive=False, reverse=False)
    yield made("argmax", [(n, n)], [f], axis=1, last=False)
    yield made("sort", [(n, n)], [f], axis=1, descending=False)
    yield made("argsort", [(n, n)], [f], axis=0, descending=False)
    yield made("take", [(n, n), (n,)], [f, i], axis=0)
    yield made("take", [(n, 9, 2), (3,)], [f, i], axis=1)
    yield made("take_along_axis", [(n, n), (n, 2)], [f, i], axis=1)
    yield made("gather_nd", [(n, n), (n, 1)], [f, i], batch_dims=0)
    yield made("scatter_nd", [(n, n), (3, 1), (3, n)], [f, i, f], reduction="add")
    yield made("put_along_axis", [(n, n), (n, 2), (n, 2)], [f, i, f], axis=1, reduction="add")
    yield made("matmul", [(n, n, 3), (n, 3, 4)], [np.dtype("int32")] * 2)
    windows = {"strides": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1), "dilations": (1, 1)}
    for groups in (1, 8):
        yield made("conv", [(n, 8, 64, 64), (8, 8 // groups, 3, 3)], [f, f], groups=groups, **windows)
    yield made("max_pool", [(n, 8, 64, 64)], [f], kernel=(3, 3), **windows)
    yield made("avg_pool", [(n, 8, 64, 64)], [f], kernel=(3, 3), count_include_pad=False, **windows)


def collect(backend: Backend, device: Device) -> None:
    """Compile every graph that the device takes; the machine keeps the texts."""
    for graph in graphs():
        try:
            lowered = lower(graph, backend, device)
        except HeteroError:
            continue
        if not unsupported(backend, lowered, device):
            backend.compile(lowered, device)
    for graph in small_ones():
        executable: Any = backend.compile(graph, device)  # whose direct call the protocol does not name
        executable.direct.__self__._build()
    small, event_driven.SMALL = event_driven.SMALL, 0
    try:
        for seed, rule in enumerate(RULES):
            compiled(build(random_network(seed, rule), steps=5, record=True), device, "error")
            compiled(build(delayed_integers(seed), steps=5, record=True), device, "error")
    finally:
        event_driven.SMALL = small


def with_large_grids(texts: Sequence[str]) -> list[str]:
    """The texts, and of each kernel also the form for large grids."""
    firsts: dict[str, str] = {}
    for text in texts:
        firsts.setdefault(text[text.rindex("KERNEL ") :].split("(")[0], text)
    return list(dict.fromkeys([*texts, *map(hk.for_large_grids, firsts.values())]))
