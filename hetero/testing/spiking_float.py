"""Random spiking networks in floats whose sums have no rounding, so that every order of adding gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero.op import Array
from hetero.ops.neuron import NEURONS
from hetero.spiking.network import Edge, Layer, Network

# (integration rule, reset, strictness, refractory steps)
RULES = (("euler", "value", True, 0), ("exact", "subtract", False, 0), ("euler", "zero", True, 2))


def exact(rng: np.random.Generator, *shape: int) -> Array:
    """Weights whose sums have no rounding, in any order."""
    return (rng.integers(-16, 24, shape) / 32).astype("float32")


def neuron(rng: np.random.Generator, name: str, op: str, n: tuple[int, ...], rule: Any) -> Layer:
    ranges = {"tau": (2e-3, 2e-2), "tau_syn": (2e-3, 8e-3), "tau_mem": (5e-3, 2e-2), "r": (5, 20), "w_in": (0.5, 2),
              "v_leak": (-0.1, 0.1), "v_threshold": (0.05, 0.2), "v_reset": (-0.1, 0.1)}  # fmt: skip
    kind = NEURONS[op]
    parameters = {p: rng.uniform(*ranges[p], n).astype("float32") for p in kind.parameters}
    attrs: dict[str, Any] = {"dt": 1e-3, "rule": rule[0]}
    if kind.spikes:
        attrs |= {"reset": rule[1], "strict": rule[2], "refractory": rule[3]}
    return Layer(name, op, parameters, attrs)


def random_network(seed: int, rule: Any) -> Network:
    """Two or three populations with dense and sparse synapses, a recurrent edge, and a reading neuron."""
    rng = np.random.default_rng(seed)
    n, m, k = (int(rng.integers(1, 40)) for _ in range(3))
    pairs = int(rng.integers(1, 60))
    sparse = {"weight": exact(rng, pairs), "source": rng.integers(0, m, pairs).astype("int32"),
              "target": rng.integers(0, k, pairs).astype("int32")}  # fmt: skip
    layers = [
        Layer("w1", "synapse_dense", {"weight": exact(rng, m, n), "bias": exact(rng, m)}),
        neuron(rng, "l1", str(rng.choice(["lif", "cuba_lif", "if"])), (m,), rule),
        Layer("w2", "synapse_sparse", sparse, {"size": k}),
        neuron(rng, "l2", str(rng.choice(["lif", "cuba_lif"])), (k,), rule),
        Layer("back", "synapse_dense", {"weight": exact(rng, m, k)}),
        neuron(rng, "read", str(rng.choice(["li", "cuba_li", "i"])), (k,), rule),
        Layer("scaled", "synapse_scale", {"scale": exact(rng, k)}),
        Layer("over", "threshold", {"threshold": exact(rng, k)}, {"strict": bool(rng.integers(2))}),
    ]
    edges = [("x", "w1"), ("w1", "l1"), ("l1", "w2"), ("w2", "l2"), ("back", "l1"), ("l2", "read"), ("l2", "scaled"),
             ("scaled", "over"), ("over", "spikes"), ("read", "voltage"), ("l2", "both"), ("over", "both")]  # fmt: skip
    wired = (*(Edge(a, b) for a, b in edges), Edge("l2", "back", delayed=True))
    return Network({"x": (n,)}, {layer.name: layer for layer in layers}, ("spikes", "voltage", "both"), wired)
