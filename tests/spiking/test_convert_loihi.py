"""ReLU networks in Loihi's integers: as right as before, pools in the weights, spikes in and out, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero.chip import load_chip, map_network
from hetero.convert.snn import to_snn
from hetero.convert.snn_loihi import HEADROOM, encode, fold_pools
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network
from hetero.spiking.quantize import quantize_loihi
from hetero.spiking.read import read
from hetero.testing.digits import dense_graph
from hetero.testing.digits import digits as trained

STEPS = 128


def digits() -> tuple[Graph, Array, Array, Array]:
    """The network, data for calibration from its training, and those of the test with classes."""
    found = trained()
    return found.graph, found.x_train[:300], found.x, found.y


def test_digits_are_as_right_within_two_per_cent_in_integers() -> None:
    graph, calibration, x, y = digits()
    made = to_snn(graph, calibration, steps=STEPS, loihi=True)
    before = np.mean(made.original(x).argmax(1) == y)
    after = np.mean(made.run(x).values[-1].argmax(1) == y)
    assert before > 0.95
    assert after >= before - 0.02
    assert {a.op for a in made.network.layers.values()} == {"synapse_dense", "loihi_lif"}
    assert made.loihi is not None
    assert all(e.bias_error < 0.01 and e.reach <= 1 for e in made.loihi.errors)


def test_the_network_fits_the_chip_and_runs_there_as_on_numpy_and_opencl(tmp_path: Path) -> None:
    graph, calibration, x, _ = digits()
    made = to_snn(graph, calibration, steps=16, loihi=True)
    assert map_network(made.network, load_chip("loihi")).fits
    made.build().save(str(tmp_path / "net.hetero"))
    loaded = ht.Graph.load(str(tmp_path / "net.hetero"))
    spikes = made.feed(made.prepare(x[:3]), 16)
    wanted = loaded.run({"x": spikes}, device="numpy:0")["out"]
    for device in ("opencl:0", "chip:0"):
        assert np.array_equal(loaded.run({"x": spikes}, device=device)["out"], wanted)
    assert wanted.any()


def test_a_rate_is_what_resets_to_zero_give() -> None:
    """A neuron with input x and threshold th spikes in every floor(th / x) + 1 steps, since a spike is v > th."""
    for x in (0.2, 0.5, 1.0, 1.7):
        graph = dense_graph([(np.eye(1), np.zeros(1))] * 2)
        made = to_snn(graph, np.array([[1.7]], np.float32), steps=400, percentile=100, loihi=True)
        counts = made.run(np.array([[x]], np.float32)).counts["relu"]
        every = np.floor(HEADROOM * 1.7 / 1.7 + 1e-9) + 1  # an input spike brings 1.7, whatever the rate
        assert counts[0, 0] == pytest.approx(400 * (x / 1.7) / every, abs=1.01)


def test_inputs_become_evenly_spread_spikes() -> None:
    x = np.array([[0.0, 0.1, 0.25, 1.0, 3.0]])
    made = encode(x, 1.0, 40)
    assert made.sum(axis=0).tolist() == [[0, 4, 10, 40, 40]]
    assert (np.diff(np.flatnonzero(made[:, 0, 2])) == 4).all()


def pooled(kernel: int, side: int, after: str, pads: int = 0, mean: bool = True) -> Network:
    """if -> pool -> conv or flatten, dense -> if"""
    rng = np.random.default_rng(kernel * 10 + side)
    attrs = {"dt": 1.0, "rule": "exact", "reset": "zero", "strict": True, "refractory": 0}
    small = side // kernel

    def neurons(name: str, *shape: int) -> Layer:
        given = {"r": 1.0, "v_threshold": 0.7, "v_reset": 0.0}
        return Layer(name, "if", {k: np.full(shape, v, np.float32) for k, v in given.items()}, attrs)

    pool = {"kernel": (kernel, kernel), "strides": (kernel, kernel), "pads_before": (0, 0), "pads_after": (0, 0)}
    one = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0), "groups": 1}
    layers = {
        "in": Layer("in", "synapse_conv", {"weight": np.ones((2, 2, 1, 1), np.float32)}, one),
        "n": neurons("n", 2, side, side), "pool": Layer("pool", "sum_pool", {}, pool | {"mean": mean}),
    }  # fmt: skip
    edges = [Edge("x", "in"), Edge("in", "n"), Edge("n", "pool")]
    if after == "conv":
        padded = {"pads_before": (pads, pads), "pads_after": (pads, pads)}
        weight = rng.normal(size=(3, 2, 2, 2)).astype(np.float32)
        layers["w"] = Layer("w", "synapse_conv", {"weight": weight}, one | padded)
        out = small - 1 + 2 * pads
        layers["m"] = neurons("m", 3, out, out)
        edges += [Edge("pool", "w"), Edge("w", "m"), Edge("m", "out")]
    else:
        layers["flat"] = Layer("flat", "flatten", {}, {"rank": 3, "start": 0, "end": -1})
        weight = rng.normal(size=(4, 2 * small * small)).astype(np.float32)
        layers["w"] = Layer("w", "synapse_dense", {"weight": weight, "bias": np.ones(4, np.float32)})
        layers["m"] = neurons("m", 4)
        edges += [Edge("pool", "flat"), Edge("flat", "w"), Edge("w", "m"), Edge("m", "out")]
    return Network({"x": (2, side, side)}, layers, ("out",), tuple(edges)).check()


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize(("kernel", "side", "after", "pads"), [
    (2, 6, "conv", 0), (2, 6, "conv", 1), (3, 7, "conv", 0), (2, 5, "dense", 0), (3, 9, "dense", 0), (2, 4, "conv", 1),
])  # fmt: skip
def test_pools_in_the_weights_give_the_same_sums(kernel: int, side: int, after: str, pads: int, mean: bool) -> None:
    net = pooled(kernel, side, after, pads, mean)
    folded = fold_pools(net)
    assert "pool" not in folded.layers
    x = (np.random.default_rng(0).random((12, 2, side, side)) < 0.6).astype(np.float32)
    a, b = (build(n, record=["w"]).run({"x": x}, device="numpy:0")["w"] for n in (net, folded))
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert np.abs(a).max() > 0.5


def test_pools_that_do_not_fold_are_refused_with_the_reason() -> None:
    with pytest.raises(GraphError, match="pool: cells at the border that no window takes, before w"):
        fold_pools(pooled(2, 5, "conv", 1))
    net = pooled(2, 6, "conv")
    layers = dict(net.layers)
    layers["pool"] = Layer("pool", "sum_pool", {}, {**layers["pool"].attrs, "strides": (1, 1)})
    layers["m"] = Layer("m", "if", {k: np.zeros((3, 4, 4), np.float32) + v[:1, :1, :1]
                                    for k, v in layers["m"].parameters.items()}, layers["m"].attrs)  # fmt: skip
    with pytest.raises(GraphError, match="pool: its windows overlap"):
        fold_pools(Network(net.inputs, {n: Layer(n, a.op, a.parameters, a.attrs) for n, a in layers.items()},
                           net.outputs, net.edges))  # fmt: skip


def test_inputs_below_zero_are_refused() -> None:
    graph, calibration, _, _ = digits()
    with pytest.raises(GraphError, match="cannot be spikes of 0 and 1"):
        to_snn(graph, calibration - 0.5, loihi=True)


def test_a_large_bias_lowers_the_threshold_instead_of_being_cut() -> None:
    attrs = {"dt": 1.0, "rule": "exact", "reset": "zero", "strict": True, "refractory": 0}
    given = {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0}
    for bias in (0.3, -5.0, 40.0):
        layers = {
            "w": Layer("w", "synapse_dense", {"weight": np.eye(3, dtype=np.float32) * np.float32(0.01),
                                              "bias": np.full(3, bias, np.float32)}),
            "n": Layer("n", "if", {k: np.full(3, v, np.float32) for k, v in given.items()}, attrs),
        }  # fmt: skip
        net = Network({"x": (3,)}, layers, ("out",), (Edge("x", "w"), Edge("w", "n"), Edge("n", "out")))
        made = quantize_loihi(net)
        assert made.layers[0].bias_error < 0.01
        each = made.network.layers["n"].parameters
        assert each["bias"][0] / (each["vth"][0] * 64) == pytest.approx(bias, rel=0.01)


def test_the_command_makes_a_network_in_integers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hetero.cli.app import app

    graph, _, x, y = digits()
    graph.save(str(tmp_path / "net.hetero"))
    np.savez(tmp_path / "calib.npz", x=x, y=y)
    files = [str(tmp_path / "net.hetero"), "--data", str(tmp_path / "calib.npz")]
    app(
        ["convert", *files, "--to", "loihi", "--steps", "32", "--output", str(tmp_path / "out.hetero")],
        standalone_mode=False,
    )
    said = capsys.readouterr().out
    assert "weights times 2^" in said
    assert "given as numbers" not in said
    net = read(ht.Graph.load(str(tmp_path / "out.hetero")))
    assert net.dtype == dt.int32
