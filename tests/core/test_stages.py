"""Runs in stages: shapes that depend on values, and what an equal run uses again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero import stages
from hetero.dim import Dim
from hetero.errors import GraphError, ShapeError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import OPS, TensorType
from hetero.ops.late import RULES, Need

# -- rules of late nodes, as an importer has them --------------------------------------------------------------


def _reshape(builder: Builder, refs: Sequence[Ref]) -> Any:
    x, shape = refs
    return Need((1,)) if shape.known is None else [builder("reshape", x, shape=tuple(map(int, shape.known)))]


def _halve(builder: Builder, refs: Sequence[Ref]) -> Any:
    """while go: x, go = x / 2, sum(x / 2) > 1"""
    x, go = refs
    if go.known is None:
        return Need((1,))
    if not go.known:
        return [x]
    half = builder("multiply", x, 0.5)
    return [late(builder, "halve", half, builder("greater", builder("sum", half, axes=(0,)), 1.0))]


def _floats(builder: Builder, refs: Sequence[Ref]) -> Any:
    return [builder("cast", refs[0], dtype="float32")]


def _never(builder: Builder, refs: Sequence[Ref]) -> Any:
    return Need(())


LOWER: dict[str, Callable[[Builder, Sequence[Ref]], Any]] = {
    "reshape": _reshape, "halve": _halve, "floats": _floats, "never": _never,
}  # fmt: skip


def lower(builder: Builder, payload: Any, refs: Sequence[Ref]) -> Any:
    return LOWER[payload["kind"]](builder, refs)


@pytest.fixture(autouse=True)
def a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "test", f"{__name__}:lower")


def late(builder: Builder, kind: str, *refs: Ref) -> Ref:
    (out,) = builder.emit(OPS["late"], refs, {"rule": "test", "payload": {"kind": kind}, "dtypes": ("float32",)})
    return out


def inputs(**types: tuple[tuple[Any, ...] | None, str]) -> tuple[Builder, list[Ref]]:
    builder = Builder("staged")
    return builder, [builder.input(n, TensorType(shape, dt.of(name))) for n, (shape, name) in types.items()]


def to_a_given_shape() -> Graph:
    builder, (x, shape) = inputs(x=((6,), "float32"), shape=((2,), "int64"))
    return builder.build({"y": late(builder, "reshape", builder("multiply", x, 2.0), shape)})


def to_a_computed_shape() -> Graph:
    builder, (x, shape) = inputs(x=((Dim.symbol("n"),), "float32"), shape=((2,), "int64"))
    y = late(builder, "reshape", builder("multiply", x, 2.0), builder("add", shape, 1))
    return builder.build({"y": y, "shape": builder("add", shape, 1)})


def places() -> Graph:
    builder, (x,) = inputs(x=((5,), "float32"))
    found = builder("nonzero", builder("greater", x, 0.0))
    return builder.build({"found": found, "floats": late(builder, "floats", found)})


def loop() -> Graph:
    builder, (x,) = inputs(x=((3,), "float32"))
    go = builder("greater", builder("sum", x, axes=(0,)), 1.0)
    return builder.build({"y": late(builder, "halve", x, go)})


def compiled(graph: Graph, **feed: Any) -> tuple[dict[str, Any], int]:
    """What the graph gives, and how often something was compiled for it."""
    before = ht.stats().events.get("compile", 0)
    out = graph.run(feed, device="numpy:0")
    return out, ht.stats().events.get("compile", 0) - before


def halved(x: Any) -> Any:
    while x.sum() > 1:
        x = x * np.float32(0.5)
    return x


X = np.arange(6, dtype="float32")
CASES: list[tuple[Callable[[], Graph], list[dict[str, Any]], Callable[..., dict[str, Any]]]] = [
    (to_a_given_shape, [{"x": X, "shape": np.array(s)} for s in ((2, 3), (6, 1))],
     lambda x, shape: {"y": (x * 2).reshape(shape)}),
    (to_a_computed_shape, [{"x": X, "shape": np.array([1, 2])}, {"x": X[:4], "shape": np.array([1, 1])}],
     lambda x, shape: {"y": (x * 2).reshape(shape + 1), "shape": shape + 1}),
    (places, [{"x": np.array(v, "float32")} for v in ([1, 0, 2, -1, 3], [0, 0, 0, 0, 1], [0] * 5)],
     lambda x: {"found": np.stack(np.nonzero(x > 0)), "floats": np.stack(np.nonzero(x > 0)).astype("float32")}),
    (loop, [{"x": np.array(v, "float32")} for v in ([1, 2, 3], [0, 0, 1], [100, 50, 2])],
     lambda x: {"y": halved(x)}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "feeds", "expected"), CASES, ids=[c[0].__name__ for c in CASES])
def test_staged_runs_are_right_and_an_equal_one_compiles_nothing(
    make: Callable[[], Graph], feeds: list[dict[str, Any]], expected: Callable[..., dict[str, Any]]
) -> None:
    graph = make()
    for feed in (*feeds, *feeds):
        out, _ = compiled(graph, **feed)
        for name, want in expected(**feed).items():
            assert out[name].shape == want.shape
            assert np.array_equal(out[name], want), name
    for feed in feeds:
        assert compiled(graph, **feed)[1] == 0


def test_other_values_where_no_late_node_looks_compile_nothing() -> None:
    graph = to_a_computed_shape()
    assert compiled(graph, x=X, shape=np.array([1, 2]))[1] > 0
    out, times = compiled(graph, x=-X, shape=np.array([1, 2]))
    assert times == 0
    assert np.array_equal(out["y"], -2 * X.reshape(2, 3))


def test_what_a_run_gives_is_the_callers_own() -> None:
    builder, (x, shape) = inputs(x=((6,), "float32"), shape=((2,), "int64"))
    target = builder("add", shape, 1)
    graph = builder.build({"y": late(builder, "reshape", x, target), "shape": target, "x": x, "given": shape})
    feed = {"x": X.copy(), "shape": np.array([1, 2])}
    for _ in range(3):
        out = graph.run(feed, device="numpy:0")
        assert out["shape"].tolist() == [2, 3]
        for array in out.values():
            array[...] = 7
        assert np.array_equal(feed["x"], X)
        assert feed["shape"].tolist() == [1, 2]


def test_no_more_stages_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "STAGES", 3)
    graph = loop()
    for size in (1.0, 3.0, 700.0):
        x = np.full(3, size, "float32")
        assert np.array_equal(graph.run({"x": x}, device="numpy:0")["y"], halved(x))
    assert len(graph.__dict__["_stages"]) == 3


def test_threads_may_run_one_graph_at_once() -> None:
    graph = loop()
    feeds = [np.full(3, 1.0 + k % 5, "float32") for k in range(40)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda x: graph.run({"x": x}, device="numpy:0")["y"], feeds))
    for x, y in zip(feeds, made, strict=True):
        assert np.array_equal(y, halved(x))


def test_a_late_node_that_never_gets_its_value_is_an_error() -> None:
    builder, (x,) = inputs(x=((6,), "float32"))
    graph = builder.build({"y": late(builder, "never", builder("tanh", x))})
    for _ in range(2):
        with pytest.raises(GraphError, match="waits for a value"):
            graph.run({"x": X}, device="numpy:0")


def test_a_size_that_nothing_gives_is_an_error() -> None:
    builder, (x,) = inputs(x=((Dim.symbol("n") * 2,), "float32"))
    n = Dim.symbol("n")
    graph = builder.build({"y": builder("reshape", x, shape=(2, n))})
    with pytest.raises(ShapeError, match="n"):
        graph.run({"x": X}, device="numpy:0")


def test_a_computed_size_of_an_input_is_held_to() -> None:
    n = Dim.symbol("n")
    builder, (x, y) = inputs(x=((n,), "float32"), y=((n * 2,), "float32"))
    graph = builder.build({"x": builder("tanh", x), "y": builder("tanh", y)})
    assert graph.run({"x": X[:3], "y": X}, device="numpy:0")["y"].shape == (6,)
    with pytest.raises(ShapeError, match=r"'y' wants shape \(2\*n,\), got \(6,\) with n=2"):
        graph.run({"x": X[:2], "y": X}, device="numpy:0")


def test_inputs_of_unknown_rank_take_that_of_their_arrays() -> None:
    builder, (x,) = inputs(x=(None, "float32"))
    try:
        graph = builder.build({"y": late(builder, "reshape", x, builder.constant([2, 3]))})
    except GraphError:
        pytest.skip("a builder refuses such inputs")
    assert graph.run({"x": X}, device="numpy:0")["y"].shape == (2, 3)
    assert compiled(graph, x=X)[1] == 0
