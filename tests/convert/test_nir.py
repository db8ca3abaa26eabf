"""NIR in: every type of node, files of older versions, what is refused, and what the equations give."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir as typed_nir
import numpy as np
import pytest

import hetero as ht
from hetero.convert.nir_in import network_from_nir
from hetero.errors import AttributeValueError, BackendError, HeteroError, ModelError
from hetero.spi import Device

DATA = Path(__file__).parent.parent / "data/nir"
DT = 1e-3
F = np.float32
nir: Any = typed_nir  # whose annotations do not allow what its functions take
rng = np.random.default_rng(0)


def full(n: int | tuple[int, ...], value: float) -> Any:
    return np.full(n, value, F)


def chain(node: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Any:
    nodes = {"in": nir.Input(np.array(before, int)), "node": node, "out": nir.Output(np.array(after, int))}
    return nir.NIRGraph(nodes, [("in", "node"), ("node", "out")], type_check=False)


def run_on(device: str, graph: ht.Graph, feed: dict[str, Any]) -> Any:
    """Outputs; a skip on a chip, whose numbers are integers. NumPy and OpenCL have no such excuse."""
    try:
        return graph.run(feed, device=device)
    except BackendError as e:
        if device.startswith(("numpy", "opencl")):
            raise
        pytest.skip(str(e).splitlines()[0])


def run(source: Any, x: Any, device: str = "numpy:0", rule: str = "euler", dt: float = DT, **more: Any) -> Any:
    return run_on(device, ht.from_nir(source, dt=dt, rule=rule, **more), {"in": x})["out"]


def spikes(*shape: int) -> Any:
    return rng.integers(0, 2, shape).astype(F)


def test_reset_and_strictness_can_be_said() -> None:
    node = nir.IF(full(1, 1), full(1, 2), full(1, 0))
    x = full((8, 1), 1.0)
    ways: dict[str, dict[str, Any]] = {"NIR": {}, "at": {"strict": False}, "less": {"reset": "subtract"}}
    made = {k: run(chain(node, (1,), (1,)), x, dt=1.0, **way)[:, 0].tolist() for k, way in ways.items()}
    assert made["NIR"] == [0, 0, 1, 0, 0, 1, 0, 0]
    assert made["at"] == [0, 1, 0, 1, 0, 1, 0, 1]
    assert made["less"] == [0, 0, 1, 0, 1, 0, 1, 0]


# -- what is between them -------------------------------------------------------------------------------------


def test_affine_linear_scale_threshold(device: Device) -> None:
    x, w, b = spikes(5, 4), rng.normal(size=(3, 4)).astype(F), rng.normal(size=3).astype(F)
    np.testing.assert_allclose(run(chain(nir.Affine(w, b), (4,), (3,)), x, device.name), x @ w.T + b, rtol=1e-5)
    np.testing.assert_allclose(run(chain(nir.Linear(w), (4,), (3,)), x, device.name), x @ w.T, rtol=1e-5, atol=1e-6)
    assert np.array_equal(run(chain(nir.Scale(w[0]), (4,), (4,)), x, device.name), x * w[0])
    y = run(chain(nir.Threshold(full(4, 1)), (4,), (4,)), x + np.arange(4, dtype=F) / 2, device.name)
    assert np.array_equal(y, x + np.arange(4) / 2 > 1)


def conv(x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
    """(t, c, *s) -> (t, o, *out), one output at a time"""
    t, o, rank = x.shape[0], w.shape[0], w.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *pad))
    sizes = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in
             zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)]  # fmt: skip
    y = np.zeros((t, o, *sizes))
    mine, each = w.shape[1], o // groups
    for c in range(o):
        first = c // each * mine
        for at in np.ndindex(*sizes):
            window = tuple(slice(a * s, a * s + d * (k - 1) + 1, d) for a, s, d, k in
                           zip(at, stride, dilation, w.shape[2:], strict=True))  # fmt: skip
            part = x[(slice(None), slice(first, first + mine), *window)]
            y[(slice(None), c, *at)] = (part * w[c]).sum(tuple(range(1, 2 + rank))) + b[c]
    return y


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "pads"),
    [
        (1, 0, 1, 1, ((0, 0), (0, 0))),
        ((2, 1), (1, 2), (1, 2), 2, ((1, 1), (2, 2))),
        (np.array([2, 2]), np.array([0, 1]), np.array([2, 1]), 1, ((0, 0), (1, 1))),
        (1, "same", (1, 2), 1, ((1, 1), (1, 2))),
        (2, "valid", 1, 4, ((0, 0), (0, 0))),
    ],
)
def test_conv2d(stride: Any, padding: Any, dilation: Any, groups: int, pads: Any, device: Device) -> None:
    x, b = spikes(2, 4, 6, 7), rng.normal(size=8).astype(F)
    w = rng.normal(size=(8, 4 // groups, 3, 3)).astype(F)
    if isinstance(padding, str) and padding == "same":  # an even size: one zero more behind
        w, pads = w[..., :2], ((1, 1), (1, 1))
    two = [tuple(np.broadcast_to(a, 2).tolist()) for a in (stride, dilation)]
    wanted = conv(x, w, b, two[0], pads, two[1], groups)
    node = nir.Conv2d(None, w, stride, padding, dilation, groups, b)
    made = run(chain(node, (4, 6, 7), wanted.shape[1:]), x, device.name)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


def test_conv1d(device: Device) -> None:
    x, w, b = spikes(3, 2, 9), rng.normal(size=(4, 2, 3)).astype(F), rng.normal(size=4).astype(F)
    wanted = conv(x, w, b, (2,), ((1, 1),), (2,), 1)
    node = nir.Conv1d(9, w, 2, 1, 2, 1, b)
    np.testing.assert_allclose(run(chain(node, (2, 9), wanted.shape[1:]), x, device.name), wanted, rtol=1e-4, atol=1e-5)


def test_pools_flatten(device: Device) -> None:
    x = spikes(3, 2, 4, 6)
    total = x.reshape(3, 2, 2, 2, 3, 2).sum((3, 5))
    two, none = np.array([2, 2]), np.array([0, 0])
    assert np.array_equal(run(chain(nir.SumPool2d(two, two, none), (2, 4, 6), (2, 2, 3)), x, device.name), total)
    assert np.array_equal(run(chain(nir.AvgPool2d(two, two, none), (2, 4, 6), (2, 2, 3)), x, device.name), total / 4)
    shape = {"input": np.array([2, 4, 6])}
    assert np.array_equal(run(chain(nir.Flatten(shape, 0, -1), (2, 4, 6), (48,)), x, device.name), x.reshape(3, 48))
    assert np.array_equal(run(chain(nir.Flatten(shape, 1, 2), (2, 4, 6), (2, 24)), x, device.name), x.reshape(3, 2, 24))


def test_a_delay_is_a_number_of_steps(device: Device) -> None:
    x = spikes(9, 3)
    y = run(chain(nir.Delay(np.array([0, 2e-3, 5e-3])), (3,), (3,)), x, device.name)
    for n, k in enumerate((0, 2, 5)):
        assert np.array_equal(y[:, n], np.concatenate((np.zeros(k), x[: 9 - k, n])))
    with pytest.raises(ModelError, match=r"no multiples of dt"):
        ht.from_nir(chain(nir.Delay(np.array([0, 2.5e-3])), (2,), (2,)), dt=DT, rule="euler")


def test_parameters_are_filled_up_to_the_shape_of_what_comes(device: Device) -> None:
    w = rng.normal(size=(3, 2, 3, 3)).astype(F)
    one = nir.LIF(full((3, 1, 1), 5e-3), full((3, 1, 1), 9), full((3, 1, 1), 0), full((3, 1, 1), 0.5))
    every = nir.LIF(full((3, 4, 4), 5e-3), full((3, 4, 4), 9), full((3, 4, 4), 0), full((3, 4, 4), 0.5))
    x, made = spikes(20, 2, 6, 6), list[Any]()
    for lif in (one, every):
        nodes = {"in": nir.Input(np.array([2, 6, 6])), "c": nir.Conv2d(None, w, 1, 0, 1, 1, full(3, 0)), "l": lif,
                 "out": nir.Output(np.array([3, 4, 4]))}  # fmt: skip
        graph = nir.NIRGraph(nodes, [("in", "c"), ("c", "l"), ("l", "out")], type_check=False)
        made.append(run(graph, x, device.name))
    assert 0 < made[0].mean() < 1
    assert np.array_equal(*made)


# -- graphs ---------------------------------------------------------------------------------------------------


def lif(n: int = 2, tau: float = 2e-3) -> Any:
    return nir.LIF(full(n, tau), full(n, 1), full(n, 0), full(n, 0.4))


def graph_of(nodes: dict[str, Any], *edges: str, size: int = 2) -> Any:
    """Edges as "a>b>c"."""
    port = np.array([size])
    pairs = [(a, b) for way in edges for a, b in pairwise(way.split(">"))]
    ports: dict[str, Any] = {"in": nir.Input(port), "out": nir.Output(port)}
    return nir.NIRGraph(ports | nodes, pairs, type_check=False)


def delayed(graph: Any, dt: float = DT) -> list[str]:
    return sorted(f"{e.source}>{e.target}" for e in network_from_nir(graph, dt=dt, rule="euler").edges if e.delayed)


def test_the_edge_that_closes_a_loop_is_delayed() -> None:
    w = nir.Linear(full((2, 2), 1))
    assert delayed(graph_of({"l": lif(), "w": w}, "in>l>out", "l>w>l")) == ["w>l"]
    assert delayed(graph_of({"l": lif()}, "in>l>out", "l>l")) == ["l>l"]
    two = {"a": lif(), "b": lif(), "w": w, "back": w}
    assert delayed(graph_of(two, "in>a>w>b>out", "b>back>a")) == ["back>a"]
    assert delayed(graph_of(two, "b>back>a", "b>out", "w>b", "a>w", "in>a")) == ["back>a"]


def test_a_delay_in_a_loop_is_as_long_as_it_says(device: Device) -> None:
    """A spike comes back after exactly the delay's steps."""
    nodes = {"l": lif(tau=DT), "d": nir.Delay(full(2, 3 * DT)), "w": nir.Linear(np.eye(2, dtype=F))}
    for way in ("l>d>w>l", "l>w>d>l", "l>d>l"):
        graph = graph_of({k: v for k, v in nodes.items() if k in way}, "in>l>out", way)
        x = np.zeros((10, 2), F)
        x[0] = 1
        assert np.flatnonzero(run(graph, x, device.name)[:, 0]).tolist() == [0, 3, 6, 9], way


def test_graphs_in_graphs_are_the_same_as_without(device: Device) -> None:
    w, back = rng.normal(size=(2, 2)).astype(F), rng.normal(size=(2, 2)).astype(F)
    core = graph_of({"l": lif(), "back": nir.Linear(back)}, "in>l>out", "l>back>l")
    outer = graph_of({"w": nir.Linear(w), "core": core}, "in>w>core>out")
    deep = graph_of({"outer": outer, "last": lif()}, "in>outer>last>out")
    flat = graph_of({"w": nir.Linear(w), "l": lif(), "back": nir.Linear(back), "last": lif()},
                    "in>w>l>last>out", "l>back>l")  # fmt: skip
    x = spikes(50, 2) * 2
    assert list(network_from_nir(deep, dt=DT, rule="euler").layers) == ["outer/w", "outer/core/l", "outer/core/back", "last"]  # fmt: skip # noqa: E501
    assert np.array_equal(run(deep, x, device.name), run(flat, x, device.name))


def test_several_edges_into_one_node_add_up(device: Device) -> None:
    graph = graph_of({"a": nir.Scale(full(2, 2)), "b": nir.Scale(full(2, 3))}, "in>a>out", "in>b>out", "in>out")
    x = spikes(5, 2)
    assert np.array_equal(run(graph, x, device.name), 6 * x)


def test_a_batch_and_recorded_layers(device: Device) -> None:
    graph = ht.from_nir(graph_of({"l": lif()}, "in>l>out"), dt=DT, rule="euler", batch="n", record=["l"])
    made = run_on(device.name, graph, {"in": spikes(7, 3, 2)})
    assert {k: a.shape for k, a in made.items()} == {"out": (7, 3, 2), "l": (7, 3, 2), "l.v": (7, 3, 2)}


# -- files ----------------------------------------------------------------------------------------------------


def test_a_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    """No v_reset, no w_in, no metadata, no shapes of a convolution, no Input and no Output."""
    text = h5py.string_dtype()
    with h5py.File(tmp_path / "old.nir", "w") as f:
        node = f.create_group("node")
        node.create_dataset("type", data="NIRGraph", dtype=text)
        node.create_dataset("edges", data=[("a", "b")], dtype=text)
        for name, kind, fields in (
            ("a", "Linear", {"weight": np.eye(2)}),
            ("b", "CubaLIF", {k: np.ones(2) for k in ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold")}),
        ):
            group = node.create_group(f"nodes/{name}")
            group.create_dataset("type", data=kind, dtype=text)
            for k, v in fields.items():
                group.create_dataset(k, data=v)
    net = network_from_nir(tmp_path / "old.nir", dt=DT, rule="euler")
    assert (dict(net.inputs), net.outputs) == ({"input_a": (2,)}, ("output_b",))
    assert np.array_equal(net.layers["b"].parameters["w_in"], [1, 1])
    assert np.array_equal(net.layers["b"].parameters["v_reset"], [0, 0])
    assert net.layers["b"].parameters["tau_mem"].dtype == F


def test_everything_wrong_is_told_at_once() -> None:
    nodes = {"a": nir.Linear(full((3, 2), np.nan)), "b": lif(4), "c": nir.Scale(full(5, 1))}
    nodes["b"].tau = full(4, 0)
    with pytest.raises(ModelError) as e:
        ht.from_nir(graph_of(nodes, "in>a>out", "in>b>out", "in>c>out"), dt=DT, rule="euler")
    for part in (
        "a (Linear): weight holds what is not finite",
        "b (LIF): tau holds what is not more than 0",
        "b (LIF): v_threshold has shape (4,), which does not fill (2,)",
        "c (Scale): scale has shape (5,)",
    ):
        assert part in str(e.value)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (graph_of({"w": nir.Linear(full((2, 2), 1))}, "in>w>out", "w>w"), "loop without a neuron"),
        (graph_of({"l": lif()}, "in>l>out", "l>gone"), "there is no gone"),
        (graph_of({"l": lif()}, "in>l>out", "in>l"), "stands twice"),
        (graph_of({"a/b": lif()}, "in>a/b>out"), "has no /"),
        (graph_of({"l": lif()}, "in>out>l"), "leaves an output"),
        (graph_of({"l": lif()}, "in>l>out", size=3), "does not fill"),
        (nir.NIRGraph({}, [], type_check=False), "has no nodes"),
    ],
)
def test_what_is_no_network_is_refused(graph: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        ht.from_nir(graph, dt=DT, rule="euler")


def test_dt_and_rule_are_asked_for() -> None:
    graph = graph_of({"l": lif()}, "in>l>out")
    for wrong in ({}, {"dt": DT}, {"rule": "euler"}):
        with pytest.raises(TypeError):
            ht.from_nir(graph, **wrong)  # pyright: ignore[reportCallIssue, reportArgumentType]
    for dt in (0, -1.0, float("nan"), float("inf"), "1"):
        with pytest.raises(AttributeValueError, match="dt, in seconds"):
            ht.from_nir(graph, dt=dt, rule="euler")  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeValueError, match="one of euler, exact"):
        ht.from_nir(graph, dt=DT, rule="midpoint")


def test_a_missing_package_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of({"l": lif()}, "in>l>out")
    made = ht.from_nir(graph, dt=DT, rule="euler")
    for name in ("nir", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: ht.from_nir(graph, dt=DT, rule="euler"), lambda: ht.to_nir(made),
                 lambda: ht.from_nir(DATA / "lif_norse.nir", dt=DT, rule="euler")):  # fmt: skip
        with pytest.raises(HeteroError, match=r"pip install 'hetero\[nir\]'"):
            call()


def test_importing_hetero_imports_no_nir() -> None:
    code = "import sys, hetero; hetero.from_nir; assert 'nir' not in sys.modules and 'h5py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
