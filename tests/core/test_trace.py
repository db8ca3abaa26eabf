"""Functions become graphs; what runs is what the function would have given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import DTypeError, GraphError, ShapeError
from hetero.spi import Device


def t(value: Any, device: Any = "numpy") -> ht.Tensor:
    return ht.asarray(np.asarray(value), device=device)


def layer(x: ht.Tensor, w: ht.Tensor) -> ht.Tensor:
    return ht.tanh(x @ w + 1.0)


def test_a_trace_names_its_inputs_like_the_parameters() -> None:
    graph = ht.trace(layer, ht.spec(("batch", 3)), ht.spec((3, 4)))
    assert [str(v) for v in graph.input_types.values()] == ["float32(batch, 3)", "float32(3, 4)"]
    assert list(graph.input_types) == ["x", "w"]
    assert [n.op.name for n in graph.nodes] == ["matmul", "add", "tanh"]
    assert graph.nodes[0].where.startswith("test_trace.py:")
    x, w = np.ones((2, 3), "float32"), np.ones((3, 4), "float32")
    assert np.allclose(graph.run({"x": x, "w": w})["out"], np.tanh(x @ w + 1))


def test_nested_arguments_and_results_keep_their_nesting() -> None:
    def f(params: dict[str, Any], x: ht.Tensor) -> dict[str, Any]:
        return {"y": x * params["w"] + params["b"][0], "both": (x, params["w"])}

    args = ({"w": t([2.0]), "b": [t([1.0])]}, t([1.0, 2.0]))
    out = ht.jit(f)(*args)
    assert out["y"].tolist() == [3.0, 5.0]
    assert out["both"][1].tolist() == [2.0]
    graph = ht.trace(f, *args)
    assert list(graph.input_types) == ["params.b.0", "params.w", "x"]
    assert list(graph.output_types) == ["both.0", "both.1", "y"]


def test_jit_gives_what_the_function_gives(tensor_device: Device) -> None:
    rng = np.random.default_rng(0)
    x, w = (t(rng.uniform(-1, 1, s).astype("float32"), tensor_device) for s in ((5, 3), (3, 4)))
    fast = ht.jit(layer)
    assert fast(x, w).device == tensor_device
    assert np.allclose(np.asarray(fast(x, w)), np.asarray(layer(x, w)), atol=1e-6)


def test_jit_traces_once_for_each_shape_dtype_and_static_value() -> None:
    calls: list[str] = []

    def f(x: ht.Tensor, power: int, name: str = "a") -> ht.Tensor:
        calls.append(name)
        return x**power

    fast = ht.jit(f)
    for _ in range(3):
        fast(t([1.0, 2.0]), 2)
    assert len(calls) == 1
    fast(t([1.0, 2.0, 3.0]), 2)
    fast(t(np.ones(2, "float32")), 2)
    fast(t([1.0, 2.0]), 3)
    fast(t([1.0, 2.0]), 2, name="b")
    assert len(calls) == 5
    assert fast(t([2.0, 3.0]), 3).tolist() == [8.0, 27.0]
    assert len(calls) == 5


def test_the_number_of_traces_is_bounded() -> None:
    calls: list[int] = []

    def f(x: ht.Tensor) -> ht.Tensor:
        calls.append(x.shape[0])
        return x + 1.0

    fast = ht.jit(f, max_traces=2)
    ht.reset_stats()
    for n in (1, 2, 3, 1):
        fast(t(np.ones(n)))
    assert calls == [1, 2, 3, 1]
    assert ht.stats().events["trace dropped"] == 2


def test_numpy_arrays_are_taken_and_not_changed() -> None:
    x = np.ones(3)
    y = ht.jit(lambda v: v)(x)  # pyright: ignore
    x[:] = 5
    assert y.tolist() == [1, 1, 1]  # pyright: ignore


def test_what_is_closed_over_is_a_constant() -> None:
    w = t([1.0, 2.0])
    graph = ht.trace(lambda x: x * w * w, ht.spec((2,), "float64"))  # pyright: ignore
    assert len(graph.constants) == 1
    assert graph.run({"x": np.ones(2)})["out"].tolist() == [1.0, 4.0]


def test_a_decision_on_a_value_is_refused_with_the_way_out() -> None:
    with pytest.raises(GraphError, match=r"no value yet\n.*hetero\.where, hetero\.cond"):
        ht.jit(lambda x: x if x[0] > 0 else -x)(t([1.0]))  # pyright: ignore


def test_a_leaked_tensor_is_refused() -> None:
    kept: list[ht.Tensor] = []
    ht.jit(lambda x: kept.append(x) or x)(t([1.0]))  # pyright: ignore
    with pytest.raises(GraphError, match="after its trace has ended"):
        _ = kept[0] + 1.0


def test_returning_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(GraphError, match="is a str"):
        ht.trace(lambda x: "text", ht.spec((1,)))  # pyright: ignore
    with pytest.raises(DTypeError, match="no hash"):
        ht.jit(lambda x, y: x)(t([1.0]), {1, 2})  # pyright: ignore


def test_data_on_two_devices_is_refused() -> None:
    from hetero.testing import DoNothingBackend, plugged

    with plugged(DoNothingBackend()), pytest.raises(GraphError, match="nothing:0 and numpy:0"):
        ht.jit(layer)(t(np.ones((2, 3))), t(np.ones((3, 4)), "nothing"))


def decay(state: ht.Tensor, x: ht.Tensor) -> tuple[ht.Tensor, ht.Tensor]:
    after = state * 0.5 + x
    return after, after - 1.0


def by_hand(xs: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    state, ys = np.zeros_like(xs[0]), []
    for x in xs:
        state = state * np.float32(0.5) + x
        ys.append(state - 1)
    return state, np.stack(ys)


def test_scan_is_a_loop(tensor_device: Device) -> None:
    xs = np.random.default_rng(0).random((6, 3), "float32")
    state, ys = by_hand(xs)
    zero = t(np.zeros(3, "float32"), tensor_device)
    for run in (ht.scan, ht.jit(lambda b, s, x: ht.scan(decay, s, x)) and ht.scan):
        got_state, got_ys = run(decay, zero, t(xs, tensor_device))
        assert np.allclose(np.asarray(got_state), state)
        assert np.allclose(np.asarray(got_ys), ys)


def test_a_traced_scan_is_one_node_and_sees_what_is_around_it() -> None:
    xs = np.random.default_rng(0).random((6, 3), "float32")

    def f(xs: ht.Tensor, k: ht.Tensor) -> Any:
        return ht.scan(lambda s, x: (s * k + x, {"state": s}), ht.zeros(3, dtype=ht.float32), xs)

    graph = ht.trace(f, t(xs), t(np.float32(0.5)))
    assert [n.op.name for n in graph.nodes].count("scan") == 1
    state, ys = ht.jit(f)(t(xs), t(np.float32(0.5)))
    assert np.allclose(np.asarray(state), by_hand(xs)[0])
    assert ys["state"].shape == (6, 3)


def test_scans_nest() -> None:
    def inner(row: ht.Tensor) -> ht.Tensor:
        return ht.scan(lambda s, x: (s + x, s), ht.asarray(0.0), row)[0]

    def f(grid: ht.Tensor, scale: ht.Tensor) -> ht.Tensor:
        return ht.scan(lambda s, row: (s + inner(row * scale), s), ht.asarray(0.0), grid)[0]

    grid = np.arange(12.0).reshape(3, 4)
    assert float(ht.jit(f)(t(grid), t(2.0))) == 2 * grid.sum()


def test_a_scan_backwards() -> None:
    xs = np.arange(3.0)
    _, ys = ht.scan(lambda s, x: (s + x, s + x), ht.asarray(0.0), t(xs), reverse=True)
    assert ys.tolist() == [3.0, 3.0, 2.0]


def test_a_state_that_changes_its_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match="state 0 goes in as float64"):
        ht.scan(lambda s, x: (ht.concat([s, s]), x), t([0.0]), t([1.0, 2.0]))
    with pytest.raises(ShapeError, match="scan wants"):
        ht.scan(lambda s, x: (s, x), t([0.0]), ())


def test_cond_takes_the_branch_that_the_value_says(tensor_device: Device) -> None:
    f = ht.jit(lambda p, x: ht.cond(p, lambda v: v + x, lambda v: v * 2.0, x))  # pyright: ignore
    x = t(np.array([1.0, 3.0], "float32"), tensor_device)
    assert f(t(np.array(True), tensor_device), x).tolist() == [2.0, 6.0]  # pyright: ignore
    assert f(t(np.array(False), tensor_device), x).tolist() == [2.0, 6.0]  # pyright: ignore
    g = ht.jit(lambda p, x: ht.cond(p, lambda v: v, lambda v: -v, x))  # pyright: ignore
    assert g(t(np.array(False), tensor_device), x).tolist() == [-1.0, -3.0]  # pyright: ignore


def test_branches_must_agree() -> None:
    with pytest.raises(ShapeError, match="one branch gives"):
        ht.cond(t(np.array(True)), lambda v: v, lambda v: ht.concat([v, v]), t([1.0]))


def test_in_place_operators_rebind_the_handle_in_a_trace_too() -> None:
    def f(x: ht.Tensor) -> ht.Tensor:
        y = x
        y += 1.0
        return y

    assert ht.jit(f)(t([1.0])).tolist() == [2.0]


def test_values_stretched_to_an_open_shape_follow_it() -> None:
    def f(x: ht.Tensor) -> ht.Tensor:
        return x + ht.ones_like(x) * ht.full_like(x, 3) + ht.zeros_like(x, dtype="float32") + ht.empty_like(x) * 0

    graph = ht.trace(f, ht.spec(("batch", 3), "float32"))
    for n in (1, 4):
        x = np.random.default_rng(n).random((n, 3), "float32")
        assert np.allclose(graph.run({"x": x})["out"], x + 3)
