"""The activation of a few bits: as plain loops say, at every end, and in event-driven loops whose spikes are graded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hetero as ht
from hetero import dtype as dt
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, TensorType
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network
from hetero.spiking.read import read

OP = OPS["quantized_relu"]
INT32 = st.integers(-(2**31), 2**31 - 1)
CONV = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1), "groups": 1}
POOL = {"kernel": (2, 2), "strides": (2, 2), "pads_before": (0, 0), "pads_after": (0, 0), "mean": False}


def relu(x: Any, threshold: Any, step: Any, bits: int) -> np.ndarray:
    """One element after the other, counting intervals, in Python's integers."""
    out = np.zeros(np.shape(x), np.int32)
    for at in np.ndindex(out.shape):
        over, size = int(x[at]) - int(threshold[at]), max(int(step[at]), 1)
        out[at] = 0 if over <= 0 else min((over - 1) // size + 1, 2**bits - 1)
    return out


@given(INT32, INT32, INT32, st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_it_counts_the_intervals_that_have_begun(x: int, threshold: int, step: int, bits: int) -> None:
    a, b, c = (np.asarray([v], np.int32) for v in (x, threshold, step))
    (y,) = OP.evaluate((a, b, c), {"bits": bits})
    assert np.array_equal(y, relu(a, b, c, bits))
    assert y.dtype == np.int32


def test_the_steps_of_two_bits() -> None:
    x = np.arange(3, 15, dtype=np.int32)
    (y,) = OP.evaluate((x, np.asarray(5, np.int32), np.asarray(3, np.int32)), {"bits": 2})
    assert y.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_threshold_0_and_step_1_hand_values_on() -> None:
    """What BrainChip's documentation has as an identity."""
    x = np.arange(16, dtype=np.int32)
    assert np.array_equal(OP.evaluate((x, np.asarray(0, np.int32), np.asarray(1, np.int32)), {"bits": 4})[0], x)


def test_one_bit_is_a_strict_threshold() -> None:
    x = np.arange(-5, 6, dtype=np.int32)
    level = np.full(11, 2, np.int32)
    (spikes,) = OPS["threshold"].evaluate((x, level), {"strict": True})
    assert np.array_equal(OP.evaluate((x, level, level), {"bits": 1})[0], spikes)


@pytest.mark.parametrize("place", ["numpy", "opencl"])
def test_a_device_is_the_reference_up_to_the_ends_of_32_bits(place: str) -> None:
    ends = np.asarray([-(2**31), -(2**31) + 1, -1, 0, 1, 255, 2**31 - 1], np.int32)
    grid = np.meshgrid(ends, ends, np.asarray([-(2**31), 0, 1, 7, 2**31 - 1], np.int32), indexing="ij")
    x, threshold, step = (np.ascontiguousarray(g.ravel()) for g in grid)
    for bits in (1, 4, 8):
        builder = Builder("one", track=False)
        refs = [builder.input(n, TensorType(x.shape, dt.int32)) for n in ("x", "threshold", "step")]
        graph = builder.build({"y": builder.emit(OP, refs, {"bits": bits})[0]})
        y = graph.run({"x": x, "threshold": threshold, "step": step}, device=place)["y"]
        assert np.array_equal(y, relu(x, threshold, step, bits))


@pytest.mark.parametrize("bits", [0, 9, True, 2.0])
def test_other_bits_are_refused(bits: Any) -> None:
    one = TensorType((3,), dt.int32)
    with pytest.raises(AttributeValueError, match=r"bits in 1 \.\. 8"):
        OP.infer_types((one, one, one), {"bits": bits})


def test_floats_and_wider_parameters_are_refused() -> None:
    one, wide = TensorType((3,), dt.int32), TensorType((2, 3), dt.int32)
    with pytest.raises(DTypeError, match="x is float32, step is float32"):
        OP.infer_types((TensorType((3,), dt.float32), one, TensorType((3,), dt.float32)), {"bits": 4})
    with pytest.raises(ShapeError, match="step is"):
        OP.infer_types((one, one, wide), {"bits": 4})


# -- in a network: sums of weights times graded values --------------------------------------------------------


def relu_layer(rng: np.random.Generator, name: str, shape: tuple[int, ...], bits: int) -> Layer:
    given_ = {"threshold": rng.integers(-40, 60, shape), "step": rng.integers(1, 30, shape)}
    return Layer(name, "quantized_relu", {k: v.astype(np.int32) for k, v in given_.items()}, {"bits": bits})


def image_network(rng: np.random.Generator, bits: int) -> Network:
    """x -> conv -> n -> pool -> flat -> dense -> m -> sparse -> y, and m reads itself a step later."""
    kernel, dense, back = (rng.integers(-7, 8, s).astype(np.int32) for s in ((3, 2, 3, 3), (9, 27), (9, 9)))
    target, source = (a.astype(np.int32) for a in np.nonzero(rng.random((4, 9)) < 0.6))
    sparse = {"weight": rng.integers(-9, 9, len(target)).astype(np.int32), "source": source, "target": target}
    layers = [
        Layer("c", "synapse_conv", {"weight": kernel}, CONV), relu_layer(rng, "n", (3, 6, 6), bits),
        Layer("p", "sum_pool", {}, POOL), Layer("f", "flatten", {}, {"rank": 3, "start": 0, "end": -1}),
        Layer("d", "synapse_dense", {"weight": dense, "bias": rng.integers(-90, 90, 9).astype(np.int32)}),
        relu_layer(rng, "m", (9,), bits), Layer("r", "synapse_dense", {"weight": back}),
        Layer("s", "synapse_sparse", sparse, {"size": 4}),
    ]  # fmt: skip
    way = [("x", "c"), ("c", "n"), ("n", "p"), ("p", "f"), ("f", "d"), ("d", "m"), ("m", "s"), ("s", "y")]
    edges = (*(Edge(*e) for e in way), Edge("m", "r", delayed=True), Edge("r", "m"))
    return Network({"x": (2, 6, 6)}, {a.name: a for a in layers}, ("y",), edges, dt.int32).check()


def by_loops(net: Network, x: np.ndarray, bits: int) -> dict[str, np.ndarray]:
    """The same network, one product after the other; x (steps, 2, 6, 6)"""
    p = {n: {k: v.astype(np.int64) for k, v in a.parameters.items()} for n, a in net.layers.items()}
    found: dict[str, list[np.ndarray]] = {"n": [], "m": [], "y": []}
    before = np.zeros(9, np.int64)
    for image in x.astype(np.int64):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        sums = np.zeros((3, 6, 6), np.int64)
        for o, i, j in np.ndindex(3, 6, 6):
            sums[o, i, j] = (p["c"]["weight"][o] * padded[:, i : i + 3, j : j + 3]).sum()
        n = relu(sums, p["n"]["threshold"], p["n"]["step"], bits)
        pooled = n.reshape(3, 3, 2, 3, 2).sum(axis=(2, 4), dtype=np.int64).ravel()
        total = p["d"]["weight"] @ pooled + p["d"]["bias"] + p["r"]["weight"] @ before
        m = relu(total, p["m"]["threshold"], p["m"]["step"], bits)
        y = np.zeros(4, np.int64)
        for w, a, b in zip(p["s"]["weight"], p["s"]["source"], p["s"]["target"], strict=True):
            y[b] += w * m[a]
        before = m.astype(np.int64)
        for name, value in (("n", n), ("m", m), ("y", y)):
            found[name].append(value)
    return {k: np.stack(v) for k, v in found.items()}


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("place", ["numpy", "opencl"])
def test_graded_values_are_summed_right(place: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    net = image_network(rng, bits)
    x = rng.integers(0, 2**bits, (5, 2, 6, 6)).astype(np.int32) * (rng.random((5, 2, 6, 6)) < 0.7)
    made = build(net, steps=5, record=["n", "m"]).run({"x": x.astype(np.int32)}, device=place)
    want = by_loops(net, x, bits)
    assert len(np.unique(want["n"])) > min(2**bits, 8) - 1
    assert want["m"].any()
    for key, value in want.items():
        assert np.array_equal(made[key], value), key


def test_such_a_network_is_event_driven_on_both() -> None:
    """Else the test above would only show that the op's decomposition is right."""
    from hetero.spiking.stages import staged

    graph = build(image_network(np.random.default_rng(0), 4), steps=3)
    _, stages = staged(next(n for n in graph.nodes if n.op.name == "scan"))
    assert [s.name for s in stages.stages if s.name in ("n", "m")] == ["n", "m"]
    assert ht.OPS["quantized_relu"].composite


def test_a_graph_gives_the_layers_again() -> None:
    net = image_network(np.random.default_rng(1), 4)
    again = read(build(net, steps=3, batch=2))
    assert {n: (a.op, dict(a.attrs).get("bits")) for n, a in again.layers.items() if a.op == "quantized_relu"} == {
        "n": ("quantized_relu", 4), "m": ("quantized_relu", 4),
    }  # fmt: skip


def test_a_batch_is_its_samples() -> None:
    rng = np.random.default_rng(2)
    net = image_network(rng, 4)
    x = rng.integers(0, 16, (3, 4, 2, 6, 6)).astype(np.int32)

    def run(graph: Graph, data: np.ndarray) -> np.ndarray:
        return graph.run({"x": data}, device="numpy")["y"]

    whole = run(build(net, steps=3, batch=4), x)
    for k in range(4):
        assert np.array_equal(whole[:, k], run(build(net, steps=3), np.ascontiguousarray(x[:, k])))
