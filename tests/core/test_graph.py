"""The graph: what it says of itself, and what a valid one is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero.dim import Dim
from hetero.errors import AttributeValueError, DTypeError, GraphError, ShapeError
from hetero.graph.build import Builder
from hetero.graph.check import RULES
from hetero.graph.ir import Graph, Node, Port
from hetero.op import OPS, TensorType

F = TensorType((Dim.symbol("batch"), 3), dt.float32)


def small() -> Graph:
    builder = Builder("small")
    x = builder.input("x", F)
    w = builder.constant(np.ones((3, 4), "float32"))
    with builder.at("", "layer1"):
        y = builder("matmul", x, w)
    return builder.build({"y": builder("tanh", builder("add", y, 1.5))})


def test_a_graph_prints_as_assembly_with_types_and_places() -> None:
    text = str(small())
    assert text.startswith("graph small(%x: float32(batch, 3)) {")
    assert "matmul(%x, %c1)  # layer1" in text
    assert "# test_graph.py:" in text
    assert text.endswith("return y = %5\n}")


def test_an_error_carries_the_line_that_made_it() -> None:
    builder = Builder()
    x = builder.input("x", F)
    with pytest.raises(ShapeError) as e:
        builder("matmul", x, x)
    assert "matmul wants (..., m, k) and (..., k, n), got (batch, 3) and (batch, 3)" in str(e.value)
    assert e.value.where.startswith("test_graph.py:")
    with pytest.raises(ShapeError) as e, builder.at("", "conv_7"):
        builder("matmul", x, x)
    assert e.value.where == "conv_7"


def test_scalars_are_weak_and_mixed_dtypes_promote() -> None:
    builder = Builder()
    f, i = builder.input("f", TensorType((2,), dt.float32)), builder.input("i", TensorType((2,), dt.int32))
    assert builder("add", f, 1.5).type.dtype == dt.float32
    assert builder("add", i, 1.5).type.dtype == dt.float64
    assert builder("add", f, i).type.dtype == dt.float64
    assert builder("exp", i).type.dtype == dt.float64
    with pytest.raises(DTypeError, match="300 does not fit int8"):
        builder("add", builder("cast", i, dtype="int8"), 300)


def test_attributes_are_checked_all_at_once() -> None:
    builder = Builder()
    x = builder.input("x", F)
    with pytest.raises(AttributeValueError, match="sum: unknown axis, dims; missing axes"):
        builder("sum", x, axis=1, dims=2)


def test_a_graph_is_hashed_by_content() -> None:
    assert small() == small()
    assert hash(small()) == hash(small())
    builder = Builder("small")
    other = builder.build({"y": builder("tanh", builder.input("x", F))})
    assert small() != other


def test_what_no_output_needs_is_left_out() -> None:
    builder = Builder()
    x = builder.input("x", F)
    builder("exp", x)
    assert [n.op.name for n in builder.build({"y": builder("tanh", x)}).nodes] == ["tanh"]


def test_specializing_fills_in_named_dimensions_everywhere() -> None:
    builder = Builder()
    x = builder.input("x", F)
    graph = builder.build({"y": builder("reshape", x, shape=(Dim.symbol("batch") * 3,))})
    assert graph.symbols == {"batch"}
    special = graph.specialize({"batch": 5})
    assert special.static
    assert special.output_types["y"].shape == (15,)


def test_a_valid_graph_passes_its_check() -> None:
    assert small().check() == small()


X, Y = TensorType((2,), dt.float32), TensorType((2,), dt.float64)
TANH = Node(OPS["tanh"], (0,), (1,))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (Graph((Node(OPS["tanh"], (1,), (1,)),), (X, X), (Port("x", 0),), (Port("y", 1),)), "before it is made"),
        (Graph((TANH, TANH), (X, X), (Port("x", 0),), (Port("y", 1),)), "a second time"),
        (Graph((), (X,), (Port("x", 0),), (Port("y", 7),)), "which nothing makes"),
        (Graph((TANH,), (X, Y), (Port("x", 0),), (Port("y", 1),)), "gives float32(2,), not float64(2,)"),
        (
            Graph((dataclasses.replace(TANH, attrs={"axis": 1}),), (X, X), (Port("x", 0),), (Port("y", 1),)),
            "attributes",
        ),
        (Graph((TANH,), (X, X, X), (Port("x", 0), Port("x", 2)), (Port("y", 1),)), "two inputs are called 'x'"),
        (Graph((), (X,), (), (Port("y", 0),), {0: np.ones(3, "float32")}), "constant 0 is float32(3,)"),
        (Graph((), (TensorType((-1,), dt.float32),), (Port("x", 0),), (Port("y", 0),)), "negative size"),
        (Graph((), (TensorType((2**50,), dt.float32),), (Port("x", 0),), (Port("y", 0),)), "would take"),
    ],
)
def test_a_broken_graph_is_told_why(graph: Graph, said: str) -> None:
    with pytest.raises(GraphError) as e:
        graph.check()
    assert said in str(e.value)


def test_every_violation_is_reported_at_once() -> None:
    graph = Graph((TANH,), (X, Y, X), (Port("x", 0), Port("x", 2)), (Port("y", 1),))
    with pytest.raises(GraphError) as e:
        graph.check()
    assert "two inputs" in str(e.value)
    assert "not float64" in str(e.value)
    assert len(RULES) == 6


def test_feeding_reports_every_misfit_at_once() -> None:
    builder = Builder("two")
    a, b = builder.input("a", X), builder.input("b", X)
    graph = builder.build({"y": builder("add", a, b)})
    with pytest.raises(GraphError, match="missing 'a', 'b'; unknown 'c'"):
        graph.run({"c": np.ones(2)})
    with pytest.raises(DTypeError, match="'a' wants float32, got float64; 'b' wants float32, got int64"):
        graph.run({"a": np.ones(2), "b": np.ones(2, "int64")})
    with pytest.raises(ShapeError, match=r"input 'a' wants shape \(2,\), got \(3,\); input 'b'"):
        graph.run({"a": np.ones(3, "float32"), "b": np.ones((2, 2), "float32")})
    assert graph.run({"a": [1, 2], "b": [3.0, 4.0]})["y"].tolist() == [4.0, 6.0]


def test_an_open_dimension_takes_its_value_from_the_array_and_must_be_one() -> None:
    builder = Builder("open")
    x, y = builder.input("x", F), builder.input("y", F)
    graph = builder.build({"z": builder("add", x, y)})
    ones = np.ones((4, 3), "float32")
    assert graph.run({"x": ones, "y": ones})["z"].shape == (4, 3)
    with pytest.raises(ShapeError, match="with batch=4"):
        graph.run({"x": ones, "y": np.ones((5, 3), "float32")})


def test_results_are_the_callers_own() -> None:
    builder = Builder("own")
    x = builder.input("x", X)
    graph = builder.build({"same": x, "flat": builder("reshape", x, shape=(2, 1)), "c": builder.constant(np.ones(2))})
    given = np.array([1, 2], "float32")
    outs = graph.run({"x": given})
    for array in outs.values():
        array[...] = 9
    assert given.tolist() == [1, 2]
    assert graph.run({"x": given})["c"].tolist() == [1, 1]


def test_hetero_graph_is_public() -> None:
    assert ht.Graph is Graph
