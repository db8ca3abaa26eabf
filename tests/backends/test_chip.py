"""Backend chip: what a chip runs equals the ops' references, and what it cannot hold is refused with every reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero import registry
from hetero.auto import local_devices
from hetero.chip import chips, load_chip
from hetero.chip.chip import chip_dir
from hetero.compile import Program
from hetero.compile import compile as compile_graph
from hetero.errors import BackendError
from hetero.graph.ir import Graph
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network
from hetero.testing.spiking import random_loihi

pytestmark = pytest.mark.skipif("chip" not in registry.available(), reason="pip install -e . again: a new entry point")

Rng = np.random.Generator
CONV = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1), "groups": 1}


def device(name: str) -> str:
    return f"chip:{chips().index(name)}"


def lif(n: int | tuple[int, ...], du: int, dv: int, vth: int, bias: int = 0) -> Layer:
    full = {"du": du, "dv": dv, "vth": vth, "bias": bias}
    return Layer("", "loihi_lif", {k: np.full(n, v, np.int32) for k, v in full.items()})


def network(
    layers: dict[str, Layer], inputs: dict[str, tuple[int, ...]], edges: list[tuple[Any, ...]], dtype: Any = dt.int32
) -> Network:
    """Layers get their names; the output is y."""
    named = {n: Layer(n, x.op, x.parameters, x.attrs) for n, x in layers.items()}
    return Network(inputs, named, ("y",), tuple(Edge(*e) for e in edges), dtype).check()


def recurrent(rng: Rng, *, low: int = -120, high: int = 120, du: int = 400, dv: int = 60, bias: int = 0) -> Network:
    """Convolution, pool, dense, recurrence: all that Loihi's integers go through."""
    weights = [rng.integers(low, high, s).astype(np.int32) for s in ((4, 2, 3, 3), (10, 64), (10, 10))]
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads_before": (0, 0), "pads_after": (0, 0), "mean": False}
    layers = {
        "c": Layer("", "synapse_conv", {"weight": weights[0]}, CONV),
        "m": lif((4, 8, 8), du, dv, 200, bias),
        "p": Layer("", "sum_pool", {}, pool),
        "f": Layer("", "flatten", {}, {"rank": 3, "start": 0, "end": -1}),
        "d": Layer("", "synapse_dense", {"weight": weights[1]}),
        "n": lif(10, du, dv, 150, bias),
        "r": Layer("", "synapse_dense", {"weight": weights[2]}),
    }
    chain = [
        ("x", "c"),
        ("c", "m"),
        ("m", "p"),
        ("p", "f"),
        ("f", "d"),
        ("d", "n"),
        ("n", "r", True),
        ("r", "n"),
        ("n", "y"),
    ]
    return network(layers, {"x": (2, 8, 8)}, chain)


def both(graph: Graph, feed: dict[str, np.ndarray], name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """On the chip, and on NumPy."""
    return graph.run(feed, device=device(name)), graph.run(feed, device="numpy")


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", ["loihi", "loihi2", "spinnaker2"])
def test_loihis_integers_are_numpys_bit_for_bit(name: str, batch: int | None) -> None:
    rng = np.random.default_rng(7)
    graph = build(recurrent(rng), steps=40, batch=batch, record=True)
    x = rng.integers(0, 2, (40, *(() if batch is None else (batch,)), 2, 8, 8)).astype(np.int32)
    mine, want = both(graph, {"x": x}, name)
    assert want["y"].any()
    for key, value in want.items():
        assert mine[key].dtype == value.dtype
        assert np.array_equal(mine[key], value), key


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_are_numpys_bit_for_bit(seed: int) -> None:
    net, spikes = random_loihi(seed)
    graph = build(net, steps=len(spikes["spikes"]), record=True)
    for name in ("loihi", "loihi2"):
        mine, want = both(graph, spikes, name)
        assert all(np.array_equal(mine[k], a) for k, a in want.items())


def program(graph: Graph, name: str) -> Program:
    return compile_graph(graph, registry.find(device(name)))


def last_run(made: Program) -> Any:
    return made.segments[0].executable.last_run  # pyright: ignore[reportAttributeAccessIssue]


def test_events_are_what_happened() -> None:
    rng = np.random.default_rng(1)
    weights = [rng.integers(-3, 9, s).astype(np.int32) for s in ((30, 20), (5, 30))]
    layers = {"a": Layer("", "synapse_dense", {"weight": weights[0]}), "m": lif(30, 4095, 100, 20),
              "b": Layer("", "synapse_dense", {"weight": weights[1]}), "n": lif(5, 4095, 100, 30)}  # fmt: skip
    net = network(layers, {"x": (20,)}, [("x", "a"), ("a", "m"), ("m", "b"), ("b", "n"), ("n", "y")])
    graph = build(net, steps=50, record=True)
    x = (rng.random((50, 20)) < 0.3).astype(np.int32)
    made = program(graph, "loihi")
    outs = dict(zip((p.name for p in graph.outputs), made(x), strict=True))
    run = last_run(made)
    fan_out = [np.count_nonzero(w, axis=0) for w in weights]
    events = run.events
    assert events.synaptic == int((x.sum(axis=0) * fan_out[0]).sum() + (outs["m"].sum(axis=0) * fan_out[1]).sum())
    assert events.spikes == int(outs["m"].sum() + outs["n"].sum())
    assert (events.ticks, events.updates) == (50, 50 * 35)
    reached = (x @ weights[0].T != 0).sum() + (outs["m"] @ weights[1].T != 0).sum()
    assert events.idle_updates == 50 * 35 - int(reached)
    assert run.label == "simulated"
    assert events.hops == int(run.spikes @ run.mapped.hops)
    assert run.bill.energy_j.low < run.bill.energy_j.mid


def truenorth_neuron(a: np.ndarray, leak: int, alpha: int) -> tuple[np.ndarray, int]:
    """V = V + sum + leak, in 20 bits; V >= alpha: spike and V = 0. Cassidy et al., IJCNN 2013, deterministic."""
    v, spikes, low = np.zeros(a.shape[1], np.int64), [], 0
    for now in a:
        v = np.clip(v + now + leak, -(2**19), 2**19 - 1)
        fired = v >= alpha
        v = np.where(fired, 0, v)
        low = min(low, int(v.min()))
        spikes.append(fired)
    return np.asarray(spikes, np.int32), low


def test_truenorths_neuron_is_loihis_without_decay() -> None:
    rng = np.random.default_rng(2)
    types = rng.integers(0, 4, 100)
    table = rng.integers(-255, 256, (60, 4))
    weight = (table[:, types] * (rng.random((60, 100)) < 0.5)).astype(np.int32)
    layers = {"a": Layer("", "synapse_dense", {"weight": weight}), "n": lif(60, 4095, 0, 499, bias=-3 * 64)}
    net = network(layers, {"x": (100,)}, [("x", "a"), ("a", "n"), ("n", "y")])
    x = (rng.random((30, 100)) < 0.2).astype(np.int32)
    mine, want = both(build(net, steps=30), {"x": x}, "truenorth")
    spikes, _ = truenorth_neuron(x @ weight.T, -3, 500)
    assert spikes.any()
    assert np.array_equal(mine["y"], spikes)
    assert np.array_equal(mine["y"], want["y"])


def test_truenorth_stops_where_the_two_chips_differ() -> None:
    layers = {"a": Layer("", "synapse_dense", {"weight": np.full((1, 256), -255, np.int32)}), "n": lif(1, 4095, 0, 5)}
    graph = build(network(layers, {"x": (256,)}, [("x", "a"), ("a", "n"), ("n", "y")]), steps=5)
    with pytest.raises(BackendError, match="reached the end of Loihi's range"):
        graph.run({"x": np.ones((5, 256), np.int32)}, device=device("truenorth"))
    graph.run({"x": np.ones((5, 256), np.int32)}, device=device("loihi2"))


def test_akidas_activation_of_one_bit() -> None:
    rng = np.random.default_rng(3)
    top = Layer("", "threshold", {"threshold": np.full((4, 6, 6), 3, np.int32)}, {"strict": True})
    kernel = rng.integers(-8, 8, (4, 2, 3, 3)).astype(np.int32)
    net = network({"c": Layer("", "synapse_conv", {"weight": kernel}, CONV), "n": top}, {"x": (2, 6, 6)},
                  [("x", "c"), ("c", "n"), ("n", "y")])  # fmt: skip
    x = rng.integers(0, 2, (4, 2, 6, 6)).astype(np.int32)
    for name in ("akida1", "akida2"):
        mine, want = both(build(net, steps=4), {"x": x}, name)
        assert np.array_equal(mine["y"], want["y"])


def test_a_refusal_has_every_reason() -> None:
    graph = build(recurrent(np.random.default_rng(0), high=500), steps=4)
    with pytest.raises(BackendError) as e:
        graph.run({"x": np.zeros((4, 2, 8, 8), np.int32)}, device=device("truenorth"))
    for said in ("layer m: weights of 10 bits > 9 bits", "current or voltage decays", "axons", "layer n:"):
        assert said in str(e.value)
    with pytest.raises(BackendError, match="neurons are loihi_lif, yet northpole has quantized_relu"):
        graph.run({"x": np.zeros((4, 2, 8, 8), np.int32)}, device=device("northpole"))


def test_what_is_no_spiking_network_is_refused() -> None:
    with ht.use("chip"), pytest.raises(BackendError, match="a chip runs spiking networks"):
        ht.exp(ht.asarray(np.ones(3, np.float32)))


def test_floats_run_on_spinnaker() -> None:
    rng = np.random.default_rng(4)
    full = {"tau": 1e-2, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0}
    how = {"dt": 1e-3, "rule": "euler", "reset": "value", "strict": True, "refractory": 2}
    neuron = Layer("", "lif", {k: np.full(6, v, np.float32) for k, v in full.items()}, how)
    weight = rng.random((6, 9)).astype(np.float32)
    net = network({"a": Layer("", "synapse_dense", {"weight": weight}), "n": neuron}, {"x": (9,)},
                  [("x", "a"), ("a", "n"), ("n", "y")], dtype=dt.float32)  # fmt: skip
    x = (rng.random((60, 9)) < 0.4).astype(np.float32)
    mine, want = both(build(net, steps=60), {"x": x}, "spinnaker2")
    assert want["y"].any()
    assert np.array_equal(mine["y"], want["y"])


def test_no_steps_is_a_run_too() -> None:
    made = program(build(recurrent(np.random.default_rng(0)), steps=0), "loihi")
    (y,) = made(np.zeros((0, 2, 8, 8), np.int32))
    assert y.shape == (0, 10)
    assert last_run(made).events.ticks == 0


# -- devices --------------------------------------------------------------------------------------------------


def test_there_is_a_device_for_each_chip_in_order() -> None:
    found = registry.probe("chip").devices
    assert [d.description for d in found] == [f"{load_chip(n).title}, simulated" for n in chips()]
    assert all(d.simulated and not d.host for d in found)


def test_no_simulated_device_is_ever_chosen() -> None:
    assert not any(d.backend == "chip" for d in local_devices())


@pytest.fixture
def fresh() -> Iterator[Callable[[], Any]]:
    """A backend of its own, which reads the environment again."""
    import hetero_chip

    hetero_chip.chip_of.cache_clear()
    yield hetero_chip.ChipBackend
    hetero_chip.chip_of.cache_clear()


def test_a_file_adds_a_chip(fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (chip_dir() / "loihi.toml").read_text("utf-8").replace('title = "Intel Loihi"', 'title = "Mine"')
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    monkeypatch.setenv("HETERO_CHIP", str(tmp_path / "mine.toml"))
    backend = fresh()
    assert backend.probe().devices[-1].description == "Mine, simulated"
    assert backend.probe().devices[-1].index == len(chips())


def test_a_file_that_lies_is_a_warning(fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("name = 3", "utf-8")
    monkeypatch.setenv("HETERO_CHIP", str(tmp_path / "mine.toml"))
    found = fresh().probe()
    assert len(found.devices) == len(chips())
    assert "name: wants a text" in found.warnings[0]


def test_graded_inputs_are_refused_where_spikes_are_bits() -> None:
    graph = build(recurrent(np.random.default_rng(0)), steps=3)
    x = np.full((3, 2, 8, 8), 2, np.int32)
    with pytest.raises(BackendError, match="its spikes are 0 and 1, yet in0 has other values"):
        graph.run({"x": x}, device=device("loihi"))
    mine, want = both(graph, {"x": x}, "loihi2")
    assert np.array_equal(mine["y"], want["y"])


def test_a_refused_network_runs_on_the_host_when_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = build(recurrent(np.random.default_rng(5)), steps=20)
    x = np.random.default_rng(6).integers(0, 2, (20, 2, 8, 8)).astype(np.int32)
    monkeypatch.setenv("HETERO_FALLBACK", "allow")
    mine, want = both(graph, {"x": x}, "northpole")
    assert want["y"].any()
    assert np.array_equal(mine["y"], want["y"])


def test_a_network_is_mapped_once_for_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import hetero_chip

    seen: list[object] = []
    plain = hetero_chip.map_network

    def counted(*args: Any) -> Any:
        seen.append(args)
        return plain(*args)

    monkeypatch.setattr(hetero_chip, "map_network", counted)
    graph = build(recurrent(np.random.default_rng(8)), steps=3)
    for _ in range(3):
        graph.run({"x": np.zeros((3, 2, 8, 8), np.int32)}, device=device("loihi"))
    assert len(seen) <= 2
