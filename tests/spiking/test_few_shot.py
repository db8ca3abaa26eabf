"""A last layer learns from a few examples; its weights are bits, and run as a layer of a network."""

from __future__ import annotations

import numpy as np
import pytest

from hetero.errors import HeteroError
from hetero.op import Array
from hetero.spiking.build import build
from hetero.spiking.few_shot import FewShot
from hetero.spiking.network import Edge, Network


def examples(classes: int, each: int, inputs: int = 200, seed: int = 0) -> tuple[Array, Array]:
    """Patterns of 40 spikes a class, a fifth of which is elsewhere in each example."""
    rng = np.random.default_rng(0)
    patterns = [rng.choice(inputs, 40, replace=False) for _ in range(classes)]
    rng = np.random.default_rng(seed)
    x, y = np.zeros((classes * each, inputs), np.int32), np.repeat(np.arange(classes), each)
    for row, label in zip(x, y, strict=True):
        row[rng.choice(patterns[label], 32, replace=False)] = 1
        row[rng.choice(inputs, 8, replace=False)] = 1
    return x, y


def test_three_examples_of_each_class_are_enough() -> None:
    layer = FewShot(200, classes=10, neurons=2, connections=40)
    for x, label in zip(*examples(10, 3), strict=True):
        layer.learn(x, int(label))
    x, y = examples(10, 50, seed=1)
    assert np.mean(layer.read(x) == y) > 0.98


def test_a_class_of_two_kinds_takes_two_neurons() -> None:
    x, _ = examples(2, 10)
    layer = FewShot(200, classes=1, neurons=2, connections=40)
    taken = [layer.learn(row, 0) for row in x]
    assert set(taken[:10]) == {0}
    assert set(taken[10:]) == {1}


def test_a_new_class_leaves_the_others_as_they_are() -> None:
    x, y = examples(3, 5)
    layer = FewShot(200, classes=3, neurons=2, connections=40)
    for row, label in zip(x[:10], y[:10], strict=True):
        layer.learn(row, int(label))
    before = layer.weights[:4].copy()
    for row in x[10:]:
        layer.learn(row, 2)
    assert np.array_equal(layer.weights[:4], before)
    assert (layer.read(x) == y).all()


def test_weights_are_bits_and_a_neuron_has_so_many() -> None:
    layer = FewShot(200, classes=2, neurons=1, connections=30)
    for row, label in zip(*examples(2, 5), strict=True):
        layer.learn(row, int(label))
    assert set(np.unique(layer.weights)) == {0, 1}
    assert layer.weights.sum(1).tolist() == [30, 30]


@pytest.mark.parametrize("where", ["numpy:0", "opencl:0"])
def test_the_learned_layer_runs_in_a_network(where: str) -> None:
    learned = FewShot(200, classes=2, neurons=1, connections=30)
    x, y = examples(2, 5)
    for row, label in zip(x, y, strict=True):
        learned.learn(row, int(label))
    layer = learned.layer("last")
    net = Network(
        {"x": (200,)}, {"last": layer}, ("sums",), (Edge("x", "last"), Edge("last", "sums")), np.dtype("int32")
    )
    sums = build(net).run({"x": x}, device=where)["sums"]
    assert np.array_equal(sums, x @ learned.weights.T)
    assert np.array_equal(sums.argmax(1), learned.read(x))


def test_sizes_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(HeteroError, match=r"classes is 0.*9 connections are more than 3 inputs.*fits"):
        FewShot(3, classes=0, neurons=1, connections=9, fits=2.0)
    layer = FewShot(4, classes=2, neurons=1, connections=2)
    for call in (lambda: layer.learn([1, 0], 0), lambda: layer.learn([1, 0, 1, 0], 5), lambda: layer.read(1)):
        with pytest.raises(HeteroError):
            call()
