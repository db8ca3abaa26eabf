"""A whole network called on tensors, and within a trace."""

from __future__ import annotations

import numpy as np
import pytest

import hetero as ht
from hetero.errors import ShapeError
from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network
from hetero.testing.spiking import random_loihi


@pytest.mark.parametrize("seed", range(4))
def test_a_network_is_called_on_tensors_and_in_a_trace(seed: int) -> None:
    net, feed = random_loihi(seed)
    x = feed["spikes"]
    wanted = build(net, steps=len(x)).evaluate(x)
    made = ht.snn.call(net, ht.asarray(x))
    traced = ht.trace(lambda spikes: ht.snn.call(net, spikes), ht.spec(x.shape, "uint8"))
    eager = made if isinstance(made, tuple) else (made,)
    for a, b, c in zip(wanted, eager, traced.evaluate(x.astype("u1")), strict=True):
        assert np.array_equal(a, np.asarray(b))
        assert np.array_equal(a, c)
    assert [n.name for n in traced.nodes if n.op.name == "scan"] == [net.name]


def test_a_batch_is_the_second_axis() -> None:
    net = scaled(5)
    x = np.random.default_rng(0).random((9, 3, 5), np.float32)
    made = np.asarray(ht.snn.call(net, ht.asarray(x)))
    assert made.shape == (9, 3, 5)
    for k in range(3):
        assert np.array_equal(made[:, k], np.asarray(ht.snn.call(net, ht.asarray(x[:, k]))))


def scaled(n: int) -> Network:
    """Neurons that spike where their input is over 0.5."""
    layers = {"n": Layer("n", "threshold", {"threshold": np.full(n, 0.5, np.float32)}, {"strict": True})}
    return Network({"x": (n,)}, layers, ("y",), (Edge("x", "n"), Edge("n", "y")), name="net").check()


def test_a_network_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"net takes x \(steps, \[batch,\] 6\); got \(9, 5\)"):
        ht.snn.call(scaled(6), ht.zeros((9, 5)))
    with pytest.raises(ShapeError, match="net takes x, got 2 tensors"):
        ht.snn.call(scaled(6), ht.zeros((9, 6)), ht.zeros((9, 6)))
