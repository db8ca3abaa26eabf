"""What only the NumPy backend has: blocks, threads, functions that NumPy lacks."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

from hetero import dtype as dt
from hetero.compile import compile
from hetero.errors import AxisError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.graph.passes import optimize
from hetero.op import OPS, TensorType, arguments
from hetero.registry import find
from hetero.testing import assert_agrees, random_graph
from hetero_numpy import executable, region, threads
from hetero_numpy.into import into
from hetero_numpy.special import erf


def test_erf_is_exact_to_the_last_digits() -> None:
    x = np.concatenate([np.linspace(-7, 7, 4001), [0.0, np.inf, -np.inf, 0.46875, 4.0, -4.0]])
    want = np.array([math.erf(v) for v in x])
    assert np.max(np.abs(erf(x) - want)) < 3e-16
    single = x.astype("float32")
    assert np.max(np.abs(erf(single) - np.array([math.erf(v) for v in single]))) < 6e-8
    assert np.isnan(erf(np.array([np.nan]))[0])
    assert np.signbit(erf(np.array([-0.0]))[0])


@pytest.mark.parametrize("shape", [(), (1,), (100_000,), (3, 70_000), (70_000, 3), (5, 300, 400), (2, 3, 4, 5), (1, 1)])
@pytest.mark.parametrize("rows", [False, True])
def test_blocks_tile_the_region_once(shape: tuple[int, ...], rows: bool) -> None:
    if rows and not shape:
        return
    seen = np.zeros(shape, int)
    for block in region._blocks(shape, rows):
        seen[block] += 1
        cut = math.prod(s.stop - s.start for s in block)
        assert cut <= max(region.BLOCK, math.prod(shape[-1:]) if rows else 1)
        if rows:
            assert block[-1] == slice(0, shape[-1])
    assert np.all(seen == 1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few elements and threads for everything: what large arrays meet."""
    monkeypatch.setattr(executable, "SMALL", 0)
    monkeypatch.setattr(region, "BLOCK", 8)
    monkeypatch.setattr(region, "PARALLEL", 1)
    monkeypatch.setattr(threads, "COUNT", 3)
    region._blocks.cache_clear()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_in_many_blocks_and_threads(seed: int) -> None:
    graph, arrays = random_graph(seed, nodes=25)
    assert_agrees(graph, arrays, find("numpy"))
    region._blocks.cache_clear()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("shapes", list(product([(6, 10), (1, 10), (6, 1), (10,), (1,), ()], repeat=2)))
def test_inputs_stretch_within_blocks(shapes: tuple[tuple[int, ...], ...]) -> None:
    builder = Builder("stretch")
    refs = [builder.input(f"x{i}", TensorType(s, dt.float32)) for i, s in enumerate((*shapes, (6, 10)))]
    y = builder("multiply", builder("add", builder("tanh", refs[0]), refs[1]), refs[2])
    rng = np.random.default_rng(0)
    assert_agrees(builder.build({"y": y}), [rng.random(s, "float32") for s in (*shapes, (6, 10))], find("numpy"))
    region._blocks.cache_clear()


def test_where_does_not_overwrite_what_it_still_reads() -> None:
    """Its output may not take the buffer of a dying input: the values would already be gone."""
    builder = Builder("where")
    x = builder.input("x", TensorType((1000,), dt.float32))
    a, b = builder("exp", x), builder("tanh", x)
    y = builder("add", builder("where", builder("less", x, 0.0), a, b), 1.0)
    assert_agrees(builder.build({"y": y}), (np.linspace(-1, 1, 1000, dtype="float32"),), find("numpy"))


@pytest.mark.parametrize("name", [op.name for op in OPS.values() if op.samples])
def test_writing_in_place_is_the_reference(name: str) -> None:
    """Every entry of the table `into`, for every dtype kind of the op."""
    op = OPS[name]
    for letter, sample in product(op.dtypes, op.samples):
        dtype = dt.of({"f": "float32", "i": "int32", "u": "uint8", "b": "bool", "c": "complex64"}[letter])
        arrays, attrs = arguments(sample, dtype, 3), op.complete(sample.attrs)
        run = into(name, attrs)
        if run is None:
            return
        with np.errstate(all="ignore"):
            (want,) = op.evaluate(arrays, attrs)
            out = np.empty(want.shape, want.dtype)
            run(*arrays, out=out)
        assert np.allclose(out, want, rtol=1e-6, atol=1e-6, equal_nan=True), f"{name} {dtype}"


def gelu(shape: tuple[int, ...]) -> Graph:
    builder = Builder("gelu")
    x = builder.input("x", TensorType(shape, dt.float32))
    inner = builder("multiply", builder("add", x, builder("multiply", builder("multiply", x, x), x)), 0.8)
    return builder.build(
        {"y": builder("multiply", builder("multiply", x, 0.5), builder("add", builder("tanh", inner), 1.0))}
    )


def test_gelu_is_one_region_with_two_buffers() -> None:
    """More buffers than values that live at once would fall out of the cache."""
    program = compile(gelu((100_000,)), find("numpy"))
    (segment,) = program.segments
    assert [n.op.name for n in segment.executable.graph.nodes] == ["fused"]
    made = region.Region(optimize(gelu((100_000,))), "map")
    assert len(made._buffers) == 2


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    done: list[int] = []
    with pytest.raises(ZeroDivisionError):
        threads.run([lambda: done.append(1), fail, lambda: done.append(2)])
    assert sorted(done) == [1, 2]


def test_a_non_contiguous_input_is_taken() -> None:
    program = compile(gelu((4, 6)), find("numpy"))
    x = np.random.default_rng(0).random((6, 4), "float32").T
    assert np.allclose(program(x)[0], gelu((4, 6)).evaluate(x)[0])


def test_calls_share_no_memory_though_they_use_one_arena() -> None:
    """Outputs of an earlier call stay as they were, and threads that run at once each have an arena."""
    builder = Builder("again")
    x = builder.input("x", TensorType((64, 64), dt.float32))
    y = builder("tanh", builder("matmul", builder("exp", x), x))
    graph = builder.build(
        {"y": y, "z": builder("reshape", y, shape=(4096,)), "x": builder("reshape", x, shape=(4096,))}
    )
    run = executable.NumpyExecutable(graph)
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, (64, 64)).astype("float32") for _ in range(24)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(run, arrays))
    for array, outs in zip(arrays, made, strict=True):
        for got, want in zip(outs, graph.evaluate(array), strict=True):
            assert np.allclose(got, want, atol=1e-5)
    assert not np.shares_memory(made[0][2], arrays[0])


def test_a_call_that_failed_leaves_nothing_behind() -> None:
    """Neither its inputs, nor an arena with half of its values."""
    builder = Builder("fails")
    x, i = builder.input("x", TensorType((3,), dt.float32)), builder.input("i", TensorType((1,), dt.int64))
    run = executable.NumpyExecutable(builder.build({"y": builder("take", builder("exp", x), i, axis=0)}))
    with pytest.raises(AxisError, match="index 9 is out of bounds"):
        run(np.zeros(3, "float32"), np.array([9]))
    assert run._frames == []
    (y,) = run(np.zeros(3, "float32"), np.array([2]))
    assert y == 1


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (0, 4, 5), (3, 0, 5), (3, 4, 0)], ids=str)
def test_many_matrices_by_one_are_one_product(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(shape, "float32"), rng.random((shape[-1], 6), "float32")
    builder = Builder("rows")
    x, y = (builder.input(n, TensorType(v.shape, v.dtype)) for n, v in (("x", a), ("y", b)))
    assert_agrees(builder.build({"z": builder("matmul", builder("exp", x), y)}), (a, b), find("numpy"))
    turned = builder("permute", x, axes=(*range(1, len(shape) - 1), 0, len(shape) - 1))  # no longer in one piece
    assert_agrees(builder.build({"z": builder("matmul", turned, y)}), (a, b), find("numpy"))
