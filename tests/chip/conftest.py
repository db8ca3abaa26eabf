"""Small networks in Loihi's integers, for the tests of chips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hetero import dtype as dt
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network

Chain = Callable[..., Network]


def _lif(name: str, shape: tuple[int, ...], du: int, dv: int, vth: int) -> Layer:
    full = {"du": du, "dv": dv, "vth": vth, "bias": 0}
    return Layer(name, "loihi_lif", {k: np.full(shape, v, np.int32) for k, v in full.items()})


def _chain(
    *weights: np.ndarray, du: int = 4095, dv: int = 0, vth: int = 2, recurrent: np.ndarray | None = None
) -> Network:
    """x -> f0 -> n0 -> f1 -> n1 ... -> y, each weight a dense layer with neurons behind it."""
    layers: dict[str, Layer] = {}
    edges: list[Edge] = []
    before = "x"
    for k, w in enumerate(weights):
        layers |= {f"f{k}": Layer(f"f{k}", "synapse_dense", {"weight": w.astype(np.int32)})}
        layers |= {f"n{k}": _lif(f"n{k}", (len(w),), du, dv, vth)}
        edges += [Edge(before, f"f{k}"), Edge(f"f{k}", f"n{k}")]
        before = f"n{k}"
    if recurrent is not None:
        layers["r"] = Layer("r", "synapse_dense", {"weight": recurrent.astype(np.int32)})
        edges += [Edge(before, "r", delayed=True), Edge("r", before)]
    edges.append(Edge(before, "y"))
    return Network({"x": (weights[0].shape[1],)}, layers, ("y",), tuple(edges), dt.int32).check()


@pytest.fixture(scope="session")
def chain() -> Chain:
    return _chain
