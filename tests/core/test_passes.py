"""Passes change no result, and do what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetero import dtype as dt
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.graph.passes import dedup, fold, optimize, simplify
from hetero.graph.passes.decompose import decompose, nothing_whole
from hetero.graph.passes.fuse import fuse
from hetero.graph.passes.memory import plan_memory
from hetero.op import OPS, TensorType, arguments
from hetero.testing import assert_close, random_graph
from hetero.testing.agree import one_op

PASSES = [fold, dedup, simplify, optimize, fuse, lambda g: fuse(optimize(g)), lambda g: decompose(g, nothing_whole)]  # pyright: ignore
F = TensorType((4, 6), dt.float32)


@pytest.mark.parametrize("number", range(len(PASSES)))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_pass_keeps_the_graph_valid_and_its_results(number: int, seed: int) -> None:
    graph, arrays = random_graph(seed, nodes=20)
    changed: Graph = PASSES[number](graph)
    changed.check()
    assert list(changed.input_types) == list(graph.input_types)
    for want, got in zip(graph.evaluate(*arrays), changed.evaluate(*arrays), strict=True):
        assert_close(got, want, f"seed {seed}")


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.composite], ids=lambda op: op.name)
def test_a_composite_is_what_it_is_made_of(op: object) -> None:
    from hetero.op import Op

    assert isinstance(op, Op)
    for seed, sample in enumerate(op.samples):
        letter = op.dtypes[0]
        arrays = arguments(
            sample, dt.of({"f": "float64", "i": "int32", "u": "uint8", "b": "bool", "c": "complex128"}[letter]), seed
        )
        graph = one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], sample.attrs)
        parts = decompose(graph, nothing_whole)
        assert not any(n.op.composite for n in parts.nodes)
        for want, got in zip(graph.evaluate(*arrays), parts.evaluate(*arrays), strict=True):
            assert_close(got, want, op.name)


def names(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def chain(*steps: tuple[str, dict[str, object]], type: TensorType = F) -> Graph:
    builder = Builder()
    value = builder.input("x", type)
    for op, attrs in steps:
        value = builder(op, value, **attrs)
    return builder.build({"y": value})


def with_scalar(op: str, scalar: float, *, left: bool = False) -> Graph:
    builder = Builder()
    x = builder.input("x", F)
    return builder.build({"y": builder(op, scalar, x) if left else builder(op, x, scalar)})


def test_neutral_elements_go() -> None:
    for op, scalar in (("multiply", 1.0), ("divide", 1.0), ("subtract", 0.0), ("power", 1.0), ("add", -0.0)):
        assert names(simplify(with_scalar(op, scalar))) == [], op
    assert names(simplify(with_scalar("multiply", 1.0, left=True))) == []


def test_adding_zero_stays_since_it_turns_minus_zero_around() -> None:
    assert names(simplify(with_scalar("add", 0.0))) == ["add"]


def test_movements_that_do_nothing_or_undo_each_other_go() -> None:
    assert names(optimize(chain(("permute", {"axes": (1, 0)}), ("permute", {"axes": (1, 0)})))) == []
    assert names(optimize(chain(("reshape", {"shape": (24,)}), ("reshape", {"shape": (4, 6)})))) == []
    assert names(optimize(chain(("cast", {"dtype": "float32"})))) == []
    assert names(optimize(chain(("slice", {"starts": (0, 0), "stops": (4, 6), "steps": (1, 1)})))) == []
    assert names(optimize(chain(("negative", {}), ("negative", {})))) == []


def test_a_slice_that_reverses_stays() -> None:
    reverse = chain(("slice", {"starts": (3, 0), "stops": (-1, 6), "steps": (-1, 1)}))
    assert names(optimize(reverse)) == ["slice"]


def test_constants_are_folded_but_large_ones_are_not() -> None:
    builder = Builder()
    x = builder.input("x", F)
    c = builder("exp", builder("add", builder.constant(np.ones(6, "float32")), 1.0))
    assert names(fold(builder.build({"y": builder("add", x, c)}))) == ["add"]
    big = builder("broadcast_to", builder.constant(np.float32(1)), shape=(1 << 10, 1 << 10))
    assert "broadcast_to" in names(fold(builder.build({"y": big})))


def test_equal_nodes_become_one() -> None:
    builder = Builder()
    x = builder.input("x", F)
    y = builder("add", builder("exp", builder("multiply", x, 2.0)), builder("exp", builder("multiply", x, 2.0)))
    assert names(dedup(dedup(builder.build({"y": y})))) == ["multiply", "exp", "add"]


def layer_norm(builder: Builder, x: Ref, *, keepdims: bool) -> Ref:
    """As exporters write it: a mean without its axis, put back by a reshape."""
    rows = x.type.known[0]

    def mean(v: Ref) -> Ref:
        total = builder("divide", builder("sum", v, axes=(1,), keepdims=keepdims), 6.0)
        return (
            total if keepdims else builder("broadcast_to", builder("reshape", total, shape=(rows, 1)), shape=(rows, 6))
        )

    off = builder("subtract", x, mean(x))
    return builder("divide", off, builder("sqrt", builder("add", mean(builder("multiply", off, off)), 1e-5)))


@pytest.mark.parametrize("keepdims", [True, False])
def test_layer_norm_is_one_region_however_it_is_written(keepdims: bool) -> None:
    builder = Builder()
    graph = builder.build({"y": layer_norm(builder, builder.input("x", F), keepdims=keepdims)})
    fused = fuse(optimize(graph))
    assert names(fused) == ["fused"]
    assert fused.nodes[0].attrs["pattern"] == "rows"


def test_an_elementwise_chain_is_one_region_with_its_side_branch() -> None:
    builder = Builder()
    x = builder.input("x", F)
    y = builder("multiply", builder("multiply", x, 0.5), builder("add", builder("tanh", x), 1.0))
    fused = fuse(builder.build({"y": y}))
    assert names(fused) == ["fused"]
    assert len(fused.inputs) == 1


def test_a_region_never_waits_for_itself() -> None:
    """exp -> matmul -> add(exp, matmul): exp and add must not be one region."""
    builder = Builder()
    x = builder.input("x", TensorType((4, 4), dt.float32))
    e = builder("tanh", builder("exp", x))
    m = builder("matmul", e, e)
    fused = fuse(builder.build({"y": builder("negative", builder("add", m, e))}))
    fused.check()
    assert names(fused) == ["fused", "matmul", "fused"]


def test_values_alive_together_never_share_memory() -> None:
    for seed in range(40):
        graph, _ = random_graph(seed, nodes=30)
        plan = plan_memory(graph)
        spans = _spans(graph, plan.alias)
        for i, at in plan.offsets.items():
            for j, other in plan.offsets.items():
                if i < j and spans[i][0] <= spans[j][1] and spans[j][0] <= spans[i][1]:
                    apart = at + graph.types[i].nbytes <= other or other + graph.types[j].nbytes <= at
                    assert apart, f"seed {seed}: values {i} and {j}"


def _spans(graph: Graph, alias: object) -> dict[int, tuple[int, int]]:
    """First and last step of each value, its views' included: worked out apart from the plan."""
    assert isinstance(alias, dict)
    owner = {i: i for i in range(len(graph.types))}
    for node in graph.nodes:
        if node.op.name == "reshape":
            owner[node.outputs[0]] = owner[node.inputs[0]]
    spans: dict[int, tuple[int, int]] = {}
    for step, node in enumerate(graph.nodes):
        for i in node.outputs:
            spans.setdefault(owner[i], (step, step))
        for i in node.inputs:
            if owner[i] in spans:
                spans[owner[i]] = (spans[owner[i]][0], step)
    return spans


def test_a_chain_needs_two_buffers_however_long_it_is() -> None:
    builder = Builder()
    x = builder.input("x", TensorType((256, 256), dt.float32))
    w = builder.constant(np.zeros((256, 256), "float32"))
    for _ in range(50):
        x = builder("tanh", builder("matmul", x, w))
    graph = builder.build({"y": x})
    assert graph.peak_bytes == 3 * 256 * 256 * 4  # two in turn, and the output
