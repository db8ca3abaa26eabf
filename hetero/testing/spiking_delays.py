"""Random spiking networks full of delays whose sums are exact: floats without rounding, or integers that wrap.

Both kinds of delay occur, alike for all elements or not, of no steps or several, in a chain, side by side, in a loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spiking.network import Edge, Layer, Network
from hetero.testing.spiking_float import exact, neuron

_EDGES = (
    ("x", "first"), ("first", "w1"), ("w1", "l1"), ("l1", "w2"), ("w2", "l2"), ("w2", "sums"), ("back", "l1"),
    ("l2", "slow"), ("slow", "out"),
)  # fmt: skip
MOST = 7  # steps


def delayed_network(seed: int, rule: Any) -> Network:
    """Delays of floats; the synapse behind the input also gets the input itself."""
    rng = np.random.default_rng(seed)
    n, m, k = (int(v) for v in rng.integers(1, 30, 3))
    layers = [
        *_delays(rng, n, k),
        Layer("w1", "synapse_delayed", {"weight": exact(rng, m, n), "delay": _steps(rng, m, n)}),
        neuron(rng, "l1", "lif", (m,), rule),
        Layer("w2", "synapse_delayed", {"weight": exact(rng, k, m), "delay": _steps(rng, k, m)}),
        neuron(rng, "l2", str(rng.choice(["cuba_lif", "if"])), (k,), rule),
        Layer("back", "synapse_delayed", {"weight": exact(rng, m, k), "delay": _steps(rng, m, k)}),
    ]
    return _network(layers, n, np.float32)


def delayed_integers(seed: int) -> Network:
    """Loihi's: sums shifted to the left or to the right in each step, weights up to 32 bits."""
    rng = np.random.default_rng(seed)
    n, m, k = (int(v) for v in rng.integers(1, 30, 3))
    layers = [*_delays(rng, n, k), _loihi(rng, "l1", m), _loihi(rng, "l2", k)]
    for name, targets, sources in (("w1", m, n), ("w2", k, m), ("back", m, k)):
        most = 2 ** int(rng.integers(4, 31))
        weight = rng.integers(-most, most, (targets, sources)).astype(np.int32)
        attrs = {"exponent": int(rng.integers(-4, 8)), "saturate": int(rng.choice([0, 24]))}
        delay = _steps(rng, targets, sources)
        layers.append(Layer(name, "synapse_delayed", {"weight": weight, "delay": delay}, attrs))
    return _network(layers, n, np.int32)


def _steps(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(0, int(rng.integers(1, MOST + 1)), shape).astype(np.int32)


def _delays(rng: np.random.Generator, n: int, k: int) -> list[Layer]:
    alike = np.full((k,), int(rng.integers(0, MOST)), np.int32)
    slow = alike if rng.random() < 0.5 else _steps(rng, k)
    return [Layer("first", "delay", {"steps": _steps(rng, n)}), Layer("slow", "delay", {"steps": slow})]


def _loihi(rng: np.random.Generator, name: str, n: int) -> Layer:
    given = {"du": rng.integers(0, 4096, n), "dv": rng.integers(0, 4096, n), "vth": rng.integers(0, 2**12, n),
             "bias": rng.integers(-(2**12), 2**15, n)}  # fmt: skip
    return Layer(name, "loihi_lif", {k: v.astype(np.int32) for k, v in given.items()})


def _network(layers: list[Layer], n: int, dtype: Any) -> Network:
    edges = (*(Edge(a, b) for a, b in (*_EDGES, ("x", "w1"))), Edge("l2", "back", delayed=True))
    return Network({"x": (n,)}, {layer.name: layer for layer in layers}, ("out", "sums"), edges, np.dtype(dtype))


def halves(graph: Graph) -> Graph:
    """The loop of a graph with its first states as inputs behind x, and its last ones as outputs before the others."""
    loop = next(n for n in graph.nodes if n.op.name == "scan")
    builder = Builder("halves", track=False)
    x = builder.input("x", graph.input_types["x"])
    start = [builder.input(f"s{k}", graph.types[i]) for k, i in enumerate(loop.inputs[: loop.attrs["carried"]])]
    return builder.build(list(builder("scan", *start, x, **loop.attrs)))
