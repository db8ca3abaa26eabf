"""Whether a backend gives what the references give, and by how much it is off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hetero import dtype as dt
from hetero import registry
from hetero.compile import compile
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, Attrs, Op, TensorType
from hetero.spi import Device

# Times the largest |value| of the reference. Sums of some hundred terms, in any order, stay within it.
RTOL = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-12, "complex64": 1e-5, "complex128": 1e-12}


def one_op(op: Op, types: Sequence[TensorType], attrs: Attrs) -> Graph:
    """A graph of a single node."""
    builder = Builder(op.name, track=False)
    refs = [builder.input(f"in{i}", t) for i, t in enumerate(types)]
    return builder.build(builder.emit(op, refs, attrs))


def run_graph(graph: Graph, arrays: Sequence[Array], device: Device) -> tuple[Array, ...]:
    """The outputs of a static graph on `device`, on the host; no fallback is allowed."""
    backend = registry.load(device.backend)
    program = compile(graph, device, "error")
    outs = program(*[backend.from_host(a, device) for a in arrays])
    types = program.graph.output_types.values()
    return tuple(backend.to_host(b, t, device) for b, t in zip(outs, types, strict=True))


def assert_agrees(graph: Graph, arrays: Sequence[Array], device: Device) -> None:
    """`device` gives what the graph's references give, to rounding, and leaves its inputs alone."""
    before = [a.copy() for a in arrays]
    got = run_graph(graph, arrays, device)
    for kept, array in zip(before, arrays, strict=True):
        assert np.array_equal(kept, array, equal_nan=kept.dtype.kind in "fc"), f"{device} changed an input"
    with np.errstate(all="ignore"):
        want = graph.evaluate(*before)
    for name, w, g in zip(graph.output_types, want, got, strict=True):
        assert_close(g, w, f"{device} {graph.name} {name}")


def assert_close(got: Array, want: Array, what: str) -> None:
    """Shape and dtype equal; integers and booleans equal; floats within RTOL of the largest magnitude."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, not {want.dtype}"
    if dt.kind(want.dtype) in "biu":
        wrong = int(np.sum(got != want))
        assert not wrong, f"{what}: {wrong} of {want.size} elements differ"
        return
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    g, w = got.astype(wide), want.astype(wide)
    special = ~np.isfinite(w)
    assert np.array_equal(g[special], w[special], equal_nan=True), f"{what}: inf or nan in other places"
    assert np.all(np.isfinite(g[~special])), f"{what}: inf or nan where the reference has numbers"
    off = float(np.max(np.abs(g[~special] - w[~special]), initial=0.0))
    bound = RTOL[want.dtype.name] * float(np.max(np.abs(w[~special]), initial=1.0))
    assert off <= bound, f"{what}: off by {off:.3g}, more than {bound:.3g}"
