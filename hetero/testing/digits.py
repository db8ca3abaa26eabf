"""A small network trained on scikit-learn's digits, for tests and benchmarks of what networks are made into."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType

EPOCHS = 50


@dataclass(frozen=True, eq=False)
class Digits:
    """Weights (k, m) and biases (m,) of each layer; x (n, 64) in 0 .. 1 with classes y, every fourth for the test."""

    weights: tuple[tuple[Array, Array], ...]
    x_train: Array
    y_train: Array
    x: Array
    y: Array

    @property
    def graph(self) -> Graph:
        return dense_graph(self.weights, "digits")


@cache
def digits() -> Digits:
    """An MLP of 64-64-64-10, seed 0. Wants scikit-learn."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    found: Any = load_digits()
    x, y = (found.data / 16).astype(np.float32), found.target
    test = np.arange(len(x)) % 4 == 0
    net = MLPClassifier((64, 64), random_state=0, max_iter=EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, which nobody needs here
        net.fit(x[~test], y[~test])
    pairs = zip(net.coefs_, net.intercepts_, strict=True)
    weights = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in pairs)
    return Digits(weights, x[~test], y[~test], x[test], y[test])


def dense_graph(weights: Sequence[tuple[Array, Array]], name: str = "net") -> Graph:
    """x (n, k) -> dense, ReLU, ..., dense: (n, m)"""
    builder = Builder(name, track=False)
    value = builder.input("x", TensorType((Dim.symbol("n"), weights[0][0].shape[0]), dt.float32))
    for k, (w, b) in enumerate(weights):
        value = builder("matmul", value, builder.constant(w.astype(np.float32)))
        value = builder("add", value, builder.constant(b.astype(np.float32)))
        value = builder("relu", value) if k < len(weights) - 1 else value
    return builder.build({"logits": value})


__all__ = ["Digits", "dense_graph", "digits"]
