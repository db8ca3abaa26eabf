"""NIR networks against what others made of them: a published trace, snnTorch, Norse, and loops in plain Python."""

from __future__ import annotations

import sys
from math import exp
from pathlib import Path
from typing import Any

import nir as typed_nir
import numpy as np
import pytest

import hetero as ht
from hetero.convert.nir_in import network_from_nir
from hetero.errors import BackendError
from hetero.spi import Device

DATA = Path(__file__).parent.parent / "data/nir"
DT = 1e-3
F = np.float32
nir: Any = typed_nir  # whose annotations do not allow what its functions take
rng = np.random.default_rng(0)


def run_on(device: str, graph: ht.Graph, feed: dict[str, Any]) -> Any:
    """Outputs; a skip on a chip, whose numbers are integers. NumPy and OpenCL have no such excuse."""
    try:
        return graph.run(feed, device=device)
    except BackendError as e:
        if device.startswith(("numpy", "opencl")):
            raise
        pytest.skip(str(e).splitlines()[0])


# -- recorded and made by others ------------------------------------------------------------------------------


def test_the_published_trace_is_met_exactly(device: Device) -> None:
    """Spikes at 460, 510, 710, 760, as the exact solution of the paper's example has them."""
    x = np.loadtxt(DATA / "lif_lava_loihi_fixed.csv", delimiter=",", dtype=F)[:, :1]
    wanted = np.loadtxt(DATA / "lif_exact.csv", delimiter=",")[:, 2]
    made = run_on(device.name, ht.from_nir(DATA / "lif_norse.nir", dt=1e-4, rule="exact"), {"input": x})
    assert np.flatnonzero(wanted).tolist() == [460, 510, 710, 760]
    assert np.array_equal(made["output"][:, 0] != 0, wanted != 0)


def peers() -> dict[str, dict[str, Any]]:
    """Network -> its file, input, output of the peer and dt; see tests/data/nir/make_peers.py."""
    found: dict[str, dict[str, Any]] = {}
    with np.load(DATA / "peers.npz") as stored:
        for key in stored:
            name, _, what = key.partition("/")
            found.setdefault(name, {})[what] = stored[key]
    return found


PEERS = peers()


def test_there_are_many_networks_of_peers() -> None:
    assert len(PEERS) == 32
    assert sum(p["y"].size for p in PEERS.values()) == 58_200
    assert all(0.02 < p["y"].mean() < 0.9 for p in PEERS.values())


@pytest.mark.parametrize("name", PEERS)
def test_snntorch_and_norse_give_the_same_spikes(name: str, device: Device, tmp_path: Path) -> None:
    peer = PEERS[name]
    (tmp_path / "net.nir").write_bytes(peer["nir"].tobytes())
    graph = ht.from_nir(tmp_path / "net.nir", dt=float(peer["dt"]), rule="euler")
    made = run_on(device.name, graph, {"input": peer["x"].astype(F)})["output"]
    assert np.count_nonzero(made != peer["y"]) == 0


def test_a_trained_network_of_norse_is_read() -> None:
    """It is LGPL and so not copied here; where the peers are installed it is taken from them."""
    found = sorted(Path(sys.prefix).parent.glob("*/lib/python*/site-packages/norse/torch/utils/test/braille.nir"))
    if not found:
        pytest.skip("norse is not installed")
    net = network_from_nir(found[0], dt=1e-4, rule="euler")
    assert [(e.source, e.target) for e in net.edges if e.delayed] == [("lif1.w_rec", "lif1.lif")]
    assert net.layers["lif1.lif"].shape == (38,)


# -- neurons: loops in plain Python ---------------------------------------------------------------------------


STEPS = 100  # smaller ones, in which the current hardly changes


def loop(node: Any, x: Any, rule: str, dt: float) -> Any:
    """What a neuron gives, from its equations, in double precision and one number at a time."""
    p = {k: np.asarray(v, float) for k, v in vars(node).items() if isinstance(v, np.ndarray)}
    y = np.zeros(x.shape)
    for n in range(x.shape[1]):
        i = v = 0.0
        q = {k: float(a[n]) for k, a in p.items()}
        for t in range(x.shape[0]):
            s = float(x[t, n])
            if "tau_syn" in q:
                before, to = i, q["w_in"] * s
                if rule == "euler":
                    i = i + dt / q["tau_syn"] * (to - i)
                    v = v + dt / q["tau_mem"] * (q["v_leak"] - v + q["r"] * i)
                else:  # in many small steps, which is another way to the solution
                    h = dt / STEPS
                    for _ in range(STEPS):
                        middle = to + (i - to) * exp(-h / 2 / q["tau_syn"])
                        end = q["v_leak"] + q["r"] * middle
                        v, i = end + (v - end) * exp(-h / q["tau_mem"]), to + (i - to) * exp(-h / q["tau_syn"])
                    assert abs(i - (to + (before - to) * exp(-dt / q["tau_syn"]))) < 1e-12
            elif "tau" in q:
                end = q["v_leak"] + q["r"] * s
                v = v + dt / q["tau"] * (end - v) if rule == "euler" else end + (v - end) * exp(-dt / q["tau"])
            else:
                v = v + dt * q["r"] * s
            if "v_threshold" in q:
                fired = v > q["v_threshold"]
                y[t, n] = fired
                v = q["v_reset"] if fired else v
            else:
                y[t, n] = v
    return y


N = 6


def between(low: float, high: float) -> Any:
    return rng.uniform(low, high, N).astype(F)


def neurons() -> dict[str, Any]:
    tau, syn, r = between(5e-3, 2e-2), between(2e-3, 6e-3), between(0.7, 1.5)
    leak, reset, th = between(-0.05, 0.05), between(-0.1, 0.1), between(0.15, 0.4)
    return {
        "LIF": nir.LIF(tau, r, leak, th, reset),
        "CubaLIF": nir.CubaLIF(syn, tau, r, leak, th, reset, between(0.8, 2)),
        "IF": nir.IF(100 * r, th, reset),
        "LI": nir.LI(tau, r, leak),
        "CubaLI": nir.CubaLI(syn, tau, r, leak, between(0.8, 2)),
        "I": nir.I(r),
    }


def run(node: Any, x: Any, device: str, rule: str) -> Any:
    graph = nir.NIRGraph.from_list(nir.Input(np.array([N])), node, nir.Output(np.array([N])))
    return run_on(device, ht.from_nir(graph, dt=DT, rule=rule), {"input": x})["output"]


@pytest.mark.parametrize("rule", ["euler", "exact"])
@pytest.mark.parametrize("kind", neurons())
def test_a_neuron_does_what_its_equations_say(kind: str, rule: str, device: Device) -> None:
    node, x = neurons()[kind], rng.integers(0, 2, (60, N)).astype(F)
    wanted, made = loop(node, x, rule, DT), run(node, x, device.name, rule)
    if "LIF" in kind or kind == "IF":
        assert 0.02 < wanted.mean() < 0.9
        assert np.array_equal(made, wanted)
    else:
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-6)
