"""Networks and what other simulators make of them: python make_peers.py, with torch, snntorch, norse and nir installed.

Writes peers.npz beside itself: for each network its .nir file (bytes), input spikes and the peer's output spikes, both
(steps, n), with the step in seconds. Within what both can import: thresholds alike in a layer, no leak, reset to 0;
snnTorch steps by 1e-4 s, wants r = tau / dt where a layer is recurrent or has a synaptic current, and recurrence as a
graph within the graph; Norse ignores r of a LIF. Made with torch 2.14.1, snntorch 1.0.0, norse 1.1.0, nir 1.0.8.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nir
import norse.torch
import numpy as np
import torch
from snntorch.import_nir import import_from_nir

STEPS = 300
COUNT = 4  # networks of each kind
F = np.float32


def neuron(kind: str, n: int, dt: float, recurrent: bool, peer: str, rng: np.random.Generator) -> nir.NIRNode:
    tau, syn = (np.full(n, rng.uniform(5, 40) * dt, F) for _ in range(2))
    free = np.ones(n, F)
    r = tau / F(dt) if peer == "snntorch" and (recurrent or kind == "CubaLIF") else free
    threshold = np.full(n, rng.uniform(0.5, 1.5) * (1 if r is not free else 0.15), F)
    if kind == "LIF":
        return nir.LIF(tau, r, 0 * free, threshold)
    w_in = syn / F(dt) if peer == "snntorch" else free * F(4)
    return nir.CubaLIF(syn, tau, r, 0 * free, threshold * (8 if peer == "snntorch" else 1), None, w_in)


def affine(m: int, n: int, scale: float, rng: np.random.Generator) -> nir.NIRNode:
    return nir.Affine((rng.normal(0.3, 1, (m, n)) * scale).astype(F), (rng.normal(0.1, 0.1, m) * scale).astype(F))


def network(kind: str, recurrent: bool, dt: float, peer: str, rng: np.random.Generator) -> nir.NIRGraph:
    sizes = [5, *rng.integers(4, 9, rng.integers(1, 4))]
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array([5]))}
    edges: list[tuple[str, str]] = []
    last = "input"
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        fc, lif = f"fc{k}", f"lif{k}"
        weak = kind == "LIF" and not (recurrent and peer == "snntorch")  # a spike moves v by dt / tau only
        scale = 0.4 if not weak else 3.0 if k else 0.8
        nodes[fc], cell = affine(m, n, scale, rng), neuron(kind, m, dt, recurrent, peer, rng)
        edges += [(last, fc), (fc, lif)]
        back = affine(m, m, 0.75 * scale, rng)
        if not recurrent:
            nodes[lif] = cell
        elif peer == "norse":
            nodes |= {lif: cell, f"back{k}": back}
            edges += [(lif, f"back{k}"), (f"back{k}", lif)]
        else:
            port = np.array([m])
            inner = {"input": nir.Input(port), "lif": cell, "w_rec": back, "output": nir.Output(port)}
            ways = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
            nodes[lif] = nir.NIRGraph(inner, ways)
        last = lif
    nodes["output"] = nir.Output(np.array([sizes[-1]]))
    return nir.NIRGraph(nodes, [*edges, (last, "output")])


def run(graph: nir.NIRGraph, peer: str, dt: float, x: np.ndarray) -> np.ndarray:
    out: list[np.ndarray] = []
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        if peer == "norse":
            net, state = norse.torch.from_nir(graph, dt=dt, ignore_warnings=True), None
        else:
            net, state = import_from_nir(graph), None
        for row in torch.from_numpy(x):
            y, state = net(row[None], state)
            out.append(np.asarray((y[0] if isinstance(y, tuple) else y).reshape(-1)))
    return np.stack(out)


def main() -> None:
    made: dict[str, Any] = {}
    here = Path(__file__).parent
    for peer, dts in (("snntorch", [1e-4]), ("norse", [1e-3, 1e-4])):
        for kind in ("LIF", "CubaLIF"):
            for recurrent in (False, True):
                for k in range(COUNT):
                    seed = len(made)
                    rng, dt = np.random.default_rng(seed), dts[k % len(dts)]
                    graph = network(kind, recurrent, dt, peer, rng)
                    x = (rng.random((STEPS, 5)) < rng.uniform(0.2, 0.6)).astype(F)
                    with tempfile.TemporaryDirectory() as folder:
                        nir.write(f"{folder}/net.nir", graph)
                        data = np.frombuffer(Path(folder, "net.nir").read_bytes(), np.uint8)
                    y = run(graph, peer, dt, x)
                    name = f"{peer}_{kind}_{'recurrent' if recurrent else 'forward'}_{k}"
                    made |= {f"{name}/nir": data, f"{name}/x": x.astype(np.uint8), f"{name}/y": y.astype(np.uint8),
                             f"{name}/dt": np.float64(dt)}  # fmt: skip
                    print(f"{name}: {y.mean():.3f} of {y.size} fire")
    np.savez_compressed(here / "peers.npz", **made)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
