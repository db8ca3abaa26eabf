"""NIR out: what was read goes out as it came in, and what NIR cannot say is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir as typed_nir
import numpy as np
import pytest

import hetero as ht
from hetero.convert.nir_in import network_from_nir
from hetero.convert.nir_out import nir_of_network, write
from hetero.errors import GraphError
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network

nir: Any = typed_nir  # whose annotations do not allow what its functions take
DT = 1e-3
F = np.float32
rng = np.random.default_rng(1)


def normal(*shape: int) -> Any:
    return rng.normal(size=shape).astype(F)


def positive(*shape: int) -> Any:
    return rng.uniform(0.1, 1, shape).astype(F)


def port(kind: str, *shape: int) -> Any:
    return getattr(nir, kind)(np.array(shape, int))


def graph_of(nodes: dict[str, Any], *ways: str) -> Any:
    pairs = [(a, b) for way in ways for a, b in pairwise(way.split(">"))]
    return nir.NIRGraph(nodes, pairs, type_check=False)


def plain(value: Any) -> Any:
    """A graph as nested values that compare; arrays with their dtype and bytes."""
    if isinstance(value, nir.NIRGraph):
        return {"nodes": {k: plain(v) for k, v in value.nodes.items()}, "edges": sorted(value.edges)}
    if isinstance(value, nir.NIRNode):
        fields = {k: plain(v) for k, v in vars(value).items() if k not in ("metadata", "input_type", "output_type")}
        if isinstance(value, nir.Input | nir.Output | nir.Flatten):
            fields["shape"] = plain(value.input_type["input"])
        return type(value).__name__, fields
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, value.tobytes()
    return tuple(value) if isinstance(value, list | tuple) else value


def again(graph: Any) -> Any:
    return ht.to_nir(ht.from_nir(graph, dt=DT, rule="euler"), dt=DT)


def lif(*shape: int) -> Any:
    return nir.LIF(positive(*shape), normal(*shape), normal(*shape), normal(*shape), normal(*shape))


def cuba(*shape: int) -> Any:
    return nir.CubaLIF(*(positive(*shape) for _ in range(2)), *(normal(*shape) for _ in range(5)))


def chain(node: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Any:
    return graph_of({"x": port("Input", *before), "it": node, "y": port("Output", *after)}, "x>it>y")


def conv2d(padding: Any, kernel: int = 3) -> Any:
    return nir.Conv2d((6, 7), normal(4, 2, kernel, kernel), (1, 1), padding, (1, 2), 2, normal(4))


PAIR = {"input": np.array([2, 3, 4])}
NODES = {
    "Affine": (nir.Affine(normal(3, 4), normal(3)), (4,), (3,)),
    "Linear": (nir.Linear(normal(3, 4)), (4,), (3,)),
    "Scale": (nir.Scale(normal(4, 2)), (4, 2), (4, 2)),
    "Conv1d": (nir.Conv1d(9, normal(4, 2, 3), 2, 1, 1, 1, normal(4)), (2, 9), (4, 5)),
    "Conv2d": (conv2d((1, 2)), (4, 6, 7), (4, 6, 7)),
    "Conv2d same": (conv2d("same", 2), (4, 6, 7), (4, 6, 7)),
    "SumPool2d": (nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([0, 1])), (2, 4, 6), (2, 2, 6)),
    "AvgPool2d": (nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), (2, 4, 6), (2, 2, 3)),
    "Flatten": (nir.Flatten(PAIR, 0, -1), (2, 3, 4), (24,)),
    "Flatten some": (nir.Flatten(PAIR, 1, 2), (2, 3, 4), (2, 12)),
    "Delay": (nir.Delay(np.array([0, 3e-3, 17e-3], F)), (3,), (3,)),
    "Threshold": (nir.Threshold(normal(4)), (4,), (4,)),
    "I": (nir.I(normal(4)), (4,), (4,)),
    "IF": (nir.IF(normal(4), normal(4), normal(4)), (4,), (4,)),
    "LI": (nir.LI(positive(4), normal(4), normal(4)), (4,), (4,)),
    "LIF": (lif(4), (4,), (4,)),
    "CubaLI": (nir.CubaLI(positive(4), positive(4), normal(4), normal(4), normal(4)), (4,), (4,)),
    "CubaLIF": (cuba(2, 3, 4), (2, 3, 4), (2, 3, 4)),
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    """By the object, and by a file that nir itself reads and checks."""
    graph = chain(*NODES[name])
    assert plain(again(graph)) == plain(graph)
    write(tmp_path / "net.nir", ht.from_nir(graph, dt=DT, rule="euler"), dt=DT)
    checked = name not in ("Conv2d", "Conv2d same")  # nir 1.0.8 refuses groups, and kernels that are not square
    assert plain(again(nir.read(tmp_path / "net.nir", type_check=checked))) == plain(graph)
    assert plain(again(tmp_path / "net.nir")) == plain(graph)


def test_every_type_of_node_is_there() -> None:
    assert {type(n).__name__ for n, _, _ in NODES.values()} | {"Input", "Output"} == {
        k for k, v in vars(nir.ir).items() if isinstance(v, type) and issubclass(v, nir.NIRNode)
    } - {"NIRNode", "NIRGraph"}


def nested() -> Any:
    """Three graphs, one in another, loops in two of them and over all."""
    ports = {"input": port("Input", 4), "output": port("Output", 4)}
    core = graph_of(ports | {"l": cuba(4), "w": nir.Affine(normal(4, 4), normal(4))}, "input>l>output", "l>w>l")
    middle = graph_of(ports | {"core": core, "s": nir.Scale(normal(4))}, "input>s>core>output")
    nodes = {"x": port("Input", 3), "z": port("Input", 4), "fc": nir.Linear(normal(4, 3)), "middle": middle}
    nodes |= {"end": lif(4), "back": nir.Linear(normal(4, 4)), "y": port("Output", 4), "y2": port("Output", 4)}
    return graph_of(nodes, "x>fc>middle>end>y", "z>middle>y2", "end>back>middle")


def test_graphs_in_graphs_come_back(tmp_path: Path) -> None:
    graph = nested()
    assert plain(again(graph)) == plain(graph)
    write(tmp_path / "net.nir", ht.from_nir(graph, dt=DT, rule="euler"), dt=DT)
    assert plain(again(tmp_path / "net.nir")) == plain(graph)


def test_what_comes_back_runs_the_same() -> None:
    graph = nested()
    x = {"x": rng.integers(0, 2, (40, 3)).astype(F), "z": rng.integers(0, 2, (40, 4)).astype(F)}
    one, two = (ht.from_nir(g, dt=0.05, rule="exact").run(x, device="numpy:0") for g in (graph, again(graph)))
    assert 0 < one["y2"].mean() < 1
    assert all(np.array_equal(one[k], two[k]) for k in one)


def test_random_networks_come_back() -> None:
    """Layers in layers, feedback anywhere: 100 of them, nodes and delayed edges alike."""
    for seed in range(100):
        r = np.random.default_rng(seed)
        kinds = [lambda: lif(3), lambda: cuba(3), lambda: nir.Linear(normal(3, 3)), lambda: nir.Scale(normal(3)),
                 lambda: nir.Delay(np.array([1e-3, 2e-3, 5e-3], F))]  # fmt: skip
        names = [f"n{k}" for k in range(r.integers(2, 8))]
        nodes = {"x": port("Input", 3)} | {n: kinds[r.integers(5)]() for n in names} | {"y": port("Output", 3)}
        neurons = [n for n in names if isinstance(nodes[n], nir.LIF | nir.CubaLIF)]
        ways = {">".join(("x", *names, "y"))}
        for n in neurons:
            ways |= {f"{n}>{b}" for b in r.choice(names, 2) if names.index(b) != names.index(n) + 1}
        graph = graph_of(nodes, *sorted(ways))
        net, made = network_from_nir(graph, dt=DT, rule="euler"), again(graph)
        assert plain(made) == plain(graph)
        assert set(network_from_nir(made, dt=DT, rule="euler").edges) == set(net.edges)


# -- what is refused ------------------------------------------------------------------------------------------


def layer(op: str, name: str = "l", **changed: Any) -> Layer:
    attrs = {"dt": DT, "rule": "euler", "reset": "value", "strict": True, "refractory": 0} | changed
    parameters = {p: np.ones(2, F) for p in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    return Layer(name, op, parameters, attrs)


def network(*layers: Layer, edges: tuple[Edge, ...] = ()) -> Network:
    ways = [Edge("x", layers[0].name), *(Edge(a.name, b.name) for a, b in pairwise(layers))]
    inner = {layer.name: layer for layer in layers}
    return Network({"x": (2,)}, inner, ("y",), (*ways, Edge(layers[-1].name, "y"), *edges))


def test_all_that_nir_cannot_say_is_told_at_once() -> None:
    one, zero = np.ones((2, 2), F), np.zeros((2, 2), np.int32)
    net = network(
        layer("lif", "a", refractory=3),
        layer("lif", "b", reset="subtract", strict=False, dt=2 * DT),
        Layer("c", "synapse_delayed", {"weight": one, "delay": zero}, {"exponent": 0, "saturate": 0}),
        Layer("d/e", "synapse_scale", {"scale": np.ones(2, F)}),
        layer("lif", "d"),
        edges=(Edge("a", "c", delayed=True), Edge("b", "y"), Edge("b", "y")),
    )
    with pytest.raises(GraphError) as e:
        nir_of_network(net)
    for part in ("a: NIR has no refractory=3", "b: NIR has no reset='subtract'", "b: NIR has no strict=False",
                 "c: NIR has no synapse_delayed", "d is a layer and, by the names of others, a graph",
                 "the edge from a to c is delayed", "the edge from b to y stands twice", "steps of 0.001, 0.002 s"):  # fmt: skip # noqa: E501
        assert part in str(e.value)


def test_a_reset_to_zero_is_a_v_reset_of_zero() -> None:
    made: Any = nir_of_network(network(layer("lif", reset="zero")))
    assert np.array_equal(made.nodes["l"].v_reset, [0, 0])
    assert np.array_equal(made.nodes["l"].v_leak, [1, 1])


def test_a_delay_without_neurons_wants_a_step() -> None:
    net = network(Layer("d", "delay", {"steps": np.array([0, 4], np.int32)}))
    with pytest.raises(GraphError, match=r"nothing says how long a step is"):
        nir_of_network(net)
    made: Any = nir_of_network(net, dt=0.25)
    assert made.nodes["d"].delay.tolist() == [0, 1]


def test_a_graph_that_is_no_network_is_refused() -> None:
    with pytest.raises(GraphError, match="no spiking network"):
        ht.to_nir(ht.trace(lambda x: x + 1, ht.spec((3,))))


def test_a_graph_inside_with_two_inputs_is_refused() -> None:
    net = network(layer("lif", "g/a"), layer("lif", "h"), layer("lif", "g/b"))
    with pytest.raises(GraphError, match="g would want several ports for what come in from h, x"):
        nir_of_network(net)
