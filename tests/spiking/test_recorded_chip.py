"""The trace of a real Loihi chip, step by step, in the arithmetic that hetero calls loihi."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hetero.spiking.build import build
from hetero.spiking.network import Edge, Layer, Network

DATA = Path(__file__).parent.parent / "data" / "nir"


@pytest.mark.parametrize("where", ["numpy:0", "opencl:0"])
def test_the_chip_s_spikes_and_voltages(where: str) -> None:
    """Every spike at its step; the voltage equal in 990 of 1,000 steps or more, with the parameters as stated."""
    spikes, voltage, wanted = np.loadtxt(DATA / "lif_lava_loihi_fixed.csv", delimiter=",").T
    stated = {"du": 4095, "dv": int(1e-4 / 2.5e-3 * 4095), "vth": int(0.1 * 131071) >> 9, "bias": 0}
    layers = {
        "w": Layer("w", "synapse_dense", {"weight": np.full((1, 1), 10, np.int32)}),
        "lif": Layer("lif", "loihi_lif", {k: np.full(1, v, np.int32) for k, v in stated.items()}),
    }
    edges = (Edge("x", "w"), Edge("w", "lif", delayed=True), Edge("lif", "out"))
    graph = build(Network({"x": (1,)}, layers, ("out",), edges, np.dtype("int32")), record=["lif"])
    found = graph.run({"x": spikes[:, None].astype("int32")}, device=where)
    assert np.flatnonzero(found["out"]).tolist() == np.flatnonzero(wanted).tolist() == [461, 511, 711, 761]
    assert np.count_nonzero(found["lif.v"][:, 0] == voltage) >= 990
