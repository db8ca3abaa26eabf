"""Spiking networks against the simulators of others, in the same run: ratios, and events a second.

    python -m benchmarks.bench_spiking            the table of docs/performance.md
    python -m benchmarks.bench_spiking --own      weights of one byte over float32, delays by events over step by step

The peers run in environments of their own, since they want other versions: HETERO_PEERS_PYTHON (torch, snntorch),
HETERO_BRIAN_PYTHON (brian2, numpy<2, g++), HETERO_LAVA_PYTHON (lava-nc on Python 3.10). A peer without one is left out,
and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ratio import at_most
from hetero import registry
from hetero.compile import compile
from hetero.dim import concrete
from hetero.graph.build import Builder, replay
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, TensorType
from hetero.select import device_of
from hetero.spiking.build import build
from hetero.spiking.int8 import quantize_synapses
from hetero.spiking.network import Edge, Layer, Network

PEERS = Path(__file__).parent / "peers"
REPEATS = 7


def lif(name: str, n: int, decay: float, gain: float) -> Layer:
    """Voltages that lose `decay` in a step and gain `gain` times their input; threshold 1, reset to 0."""
    dt = 1e-3
    given = {"tau": dt / decay, "r": gain / decay, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    parameters = {k: np.full((n,), v, "float32") for k, v in given.items()}
    return Layer(name, "lif", parameters, {"dt": dt, "rule": "euler", "reset": "zero", "strict": True, "refractory": 0})


def chain(shape: tuple[int, ...], *layers: Layer, late: bool = False, dtype: Any = np.float32) -> Network:
    names = ["x", *(layer.name for layer in layers), "out"]
    edges = tuple(Edge(a, b, late and b == "l1") for a, b in pairwise(names))
    return Network({"x": shape}, {layer.name: layer for layer in layers}, ("out",), edges, np.dtype(dtype))


def seconds(graph: Graph, x: Array, device_name: str) -> tuple[float, Array]:
    """The best of several runs on data that is there, and the output."""
    device = device_of(device_name)
    backend = registry.load(device.backend)
    program = compile(graph, device, "error")
    buffer = backend.from_host(x, device)
    best = float("inf")
    out: Any = ()
    for _ in range(at_most(REPEATS)):
        start = time.perf_counter()
        out = program(buffer)
        backend.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best, backend.to_host(out[0], graph.types[graph.outputs[0].value], device)


def peer(variable: str, program: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """What another simulator did; None where it has no interpreter here."""
    python = os.environ.get(variable)
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", **given)
        command = [python, str(PEERS / program), f"{folder}/in.npz", f"{folder}/out.json"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr[-2000:]}")
        return json.loads(Path(f"{folder}/out.json").read_text("utf-8"))


def sparse_network(n: int, fan_in: int, steps: int) -> tuple[Network, Array]:
    """n inputs, 2 % active in a step, to n neurons with `fan_in` synapses each."""
    rng = np.random.default_rng(0)
    source = np.concatenate([rng.choice(n, fan_in, replace=False) for _ in range(n)]).astype(np.int32)
    target = np.repeat(np.arange(n, dtype=np.int32), fan_in)
    weight = rng.uniform(0, 0.02, n * fan_in).astype(np.float32)
    x = (rng.random((steps, n)) < 0.02).astype(np.float32)
    given = {"weight": weight, "source": source, "target": target}
    return chain((n,), Layer("w", "synapse_sparse", given, {"size": n}), lif("l1", n, 0.1, 1.0)), x


def sparse(device: str = "opencl", n: int = 10_000, fan_in: int = 1_000, steps: int = 200) -> dict[str, Any]:
    """Against Brian2, whose synapses are in the order that it likes best."""
    net, x = sparse_network(n, fan_in, steps)
    source, target, weight = (net.layers["w"].parameters[k] for k in ("source", "target", "weight"))
    mine, out = seconds(build(net, steps=steps), x, device)
    step, index = np.nonzero(x)
    by = np.argsort(
        source, kind="stable"
    )  # in this order Brian2 reads what a spike needs in one piece: five times quicker
    given = {"sources": n, "targets": n, "steps": steps, "source": source[by], "target": target[by],
             "weight": weight[by], "index": index, "step": step}  # fmt: skip
    other = peer("HETERO_BRIAN_PYTHON", "brian_sparse.py", given)
    events = len(index) * fan_in
    name, theirs = f"10,000 to 10,000 LIF, fan-in 1,000, 2 %, {device}", "Brian2 C++ standalone, 1 thread"
    return _row(name, mine, int(out.sum()), theirs, other, events)


def mlp_network(steps: int, batch: int) -> tuple[Network, Array]:
    """784-512-10, 5 % of the inputs active."""
    rng = np.random.default_rng(0)
    w1 = rng.normal(0.02, 0.1, (512, 784)).astype(np.float32)
    w2 = rng.normal(0.02, 0.1, (10, 512)).astype(np.float32)
    x = (rng.random((steps, batch, 784)) < 0.05).astype(np.float32)
    net = chain((784,), Layer("w1", "synapse_dense", {"weight": w1}), lif("l1", 512, 0.1, 1.0),
                Layer("w2", "synapse_dense", {"weight": w2}), lif("l2", 10, 0.1, 1.0))  # fmt: skip
    return net, x


def mlp(device: str = "opencl", steps: int = 100, batch: int = 64) -> dict[str, Any]:
    """Against snnTorch."""
    net, x = mlp_network(steps, batch)
    w1, w2 = (net.layers[k].parameters["weight"] for k in ("w1", "w2"))
    mine, out = seconds(build(net, steps=steps, batch=batch), x, device)
    other = peer("HETERO_PEERS_PYTHON", "snntorch_mlp.py", {"x": x, "w1": w1, "w2": w2, "beta": 0.9})
    return _row(f"784-512-10, 100 steps, batch 64, 5 %, {device}", mine, int(out.sum()), "snnTorch, 1 thread", other, 0)


def loihi(device: str = "opencl", n: int = 1_000, steps: int = 1_000) -> dict[str, Any]:
    """1,000 to 1,000 dense in Loihi's arithmetic, a tenth of the inputs active; every spike as in Lava."""
    rng = np.random.default_rng(0)
    weight = (rng.integers(-120, 121, (n, n)) // 2 * 2).astype(np.int32)
    given = {"du": 400, "dv": 163, "vth": 2_000, "bias": 0}
    neurons = Layer("l1", "loihi_lif", {k: np.full((n,), v, np.int32) for k, v in given.items()})
    net = chain((n,), Layer("w", "synapse_dense", {"weight": weight}), neurons, late=True, dtype=np.int32)
    x = (rng.random((steps, n)) < 0.1).astype(np.int32)
    graph = build(net, steps=steps)
    mine, out = seconds(graph, x, device)
    other = None
    if os.environ.get("HETERO_LAVA_PYTHON"):
        lava = device_of("lava")
        start = time.perf_counter()
        theirs = graph.run({"x": x}, device=lava.name)["out"]
        first = time.perf_counter() - start
        start = time.perf_counter()
        graph.run({"x": x}, device=lava.name)
        again = min(first, time.perf_counter() - start)
        assert np.array_equal(theirs, out), "spikes differ from Lava's"
        other = {"seconds": again, "spikes": int(theirs.sum()), "version": registry.load("lava").probe().version}
    name = f"1,000 to 1,000 dense, loihi arithmetic, {device}"
    return _row(name, mine, int(out.sum()), "Lava, its built network used again", other, 0)


# -- without a peer: two of our own ways, turn by turn ---------------------------------------------------------


def turns(first: Graph, second: Graph, x: Array, device: str, rounds: int = 3) -> tuple[float, float, float, float]:
    """Seconds of two graphs in one run, the best of some turns, and the spikes of each."""
    each = [[seconds(graph, x, device) for graph in (first, second)] for _ in range(at_most(rounds))]
    best = [min(pair[k][0] for pair in each) for k in (0, 1)]
    return best[0], best[1], float(each[0][0][1].sum()), float(each[0][1][1].sum())


def int8(name: str, device: str, n: int = 10_000, fan_in: int = 1_000, steps: int = 0) -> dict[str, Any]:
    """The sparse network or the MLP with weights of one byte, over itself in float32."""
    if name == "sparse":
        net, x = sparse_network(n, fan_in, steps or (200 if device == "opencl" else 50))
        graph, size = build(net, steps=len(x)), (len(x), None)
    else:
        net, x = mlp_network(steps or 100, 64)
        graph, size = build(net, steps=len(x), batch=64), (len(x), 64)
    made = quantize_synapses(net, steps=size[0], batch=size[1])
    plain, small, spikes, others = turns(graph, made.graph, x, device)
    return {"what": f"{name} in int8, {device}", "ratio": plain / small, "seconds": small, "other_seconds": plain,
            "spikes": others, "other_spikes": spikes, "errors": str(made)}  # fmt: skip


def delays(device: str = "opencl", n: int = 500, steps: int = 50, depth: int = 16) -> dict[str, Any]:
    """n to n LIF, dense with a delay of 0 to `depth` - 1 steps each, 2 % active: by events, over step by step."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(0, 20 / n, (n, n)).astype(np.float32)
    delay = rng.integers(0, depth, (n, n)).astype(np.int32)
    net = chain((n,), Layer("w", "synapse_delayed", {"weight": weight, "delay": delay}), lif("l1", n, 0.1, 1.0))
    x = (rng.random((steps, n)) < 0.02).astype(np.float32)
    graph = build(net, steps=steps)
    slow, fast, spikes, others = turns(by_step(graph), graph, x, device, rounds=1)
    return {"what": f"{n} to {n}, delays below {depth} steps, {device}", "ratio": slow / fast, "seconds": fast,
            "other_seconds": slow, "spikes": others, "other_spikes": spikes}  # fmt: skip


def by_step(graph: Graph) -> Graph:
    """The loop of a network that no event-driven form is known of: it also counts its steps."""
    loop = next(node for node in graph.nodes if node.op.name == "scan")
    body: Graph = loop.attrs["body"]
    inner, outer = Builder("counted", track=False), Builder("by step", track=False)
    count = inner.input("count", TensorType((), np.dtype(np.float32)))
    outs = replay(body, inner, [inner.input(n, t) for n, t in body.input_types.items()])
    carried = int(loop.attrs["carried"])
    kinds = [body.types[p.value] for p in body.inputs[:carried]]
    zeros = [outer.constant(np.zeros(concrete(t.known), t.dtype)) for t in (count.type, *kinds)]
    whole = {**loop.attrs, "body": inner.build([inner("add", count, np.float32(1)), *outs]), "carried": carried + 1}
    made = outer.emit(OPS["scan"], (*zeros, outer.input("x", graph.input_types["x"])), whole)
    return outer.build(list(made[carried + 1 :]))


def _row(what: str, mine: float, spikes: int, name: str, other: dict[str, Any] | None, events: int) -> dict[str, Any]:
    return {"what": what, "seconds": mine, "spikes": spikes, "peer": name, "events_per_s": events / mine,
            "peer_seconds": other and other["seconds"], "peer_spikes": other and other["spikes"],
            "peer_version": other and other["version"], "ratio": other and other["seconds"] / mine}  # fmt: skip


ROWS: tuple[Callable[[], dict[str, Any]], ...] = (
    sparse, mlp, loihi, lambda: mlp("numpy"), lambda: loihi("numpy"), lambda: sparse("numpy", steps=50)
)  # fmt: skip

OWN: tuple[Callable[[], dict[str, Any]], ...] = (
    lambda: int8("sparse", "opencl"), lambda: int8("mlp", "opencl"), lambda: int8("sparse", "numpy"),
    lambda: int8("mlp", "numpy"), delays, lambda: delays("numpy"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--own", action="store_true", help="two of our own ways, turn by turn")
    asked = parser.parse_args()
    if asked.own:
        print(json.dumps([make() for make in OWN], indent=1))
        return
    rows = [make() for make in ROWS]
    if asked.json:
        print(json.dumps(rows))
        return
    table = Table("network", "hetero", "peer", "its time", "ratio", "spikes", "its spikes", box=None)
    for r in rows:
        ratio = f"{r['ratio']:.1f}" if r["ratio"] else "-"
        theirs = f"{r['peer_seconds'] * 1e3:.1f} ms" if r["ratio"] else "not here"
        table.add_row(
            r["what"], f"{r['seconds'] * 1e3:.1f} ms", r["peer"], theirs, ratio, str(r["spikes"]), str(r["peer_spikes"])
        )
    out = Console()
    out.print(table)
    rate = rows[0]["events_per_s"]
    out.print(
        f"sparse: {rate / 1e6:.0f} million synaptic events a second. All measured, best of {REPEATS}; one process each."
    )


class _Peer:
    """A ratio to a peer; left out where the variable names no interpreter."""

    timeout = 600.0
    variable = ""

    def setup(self) -> None:
        if not os.environ.get(self.variable):
            raise NotImplementedError(f"{self.variable} names no interpreter")


class SpikingBrian(_Peer):
    variable = "HETERO_BRIAN_PYTHON"
    unit = "times Brian2"

    def track_sparse(self) -> float:
        return sparse()["ratio"]


class SpikingTorch(_Peer):
    variable = "HETERO_PEERS_PYTHON"
    unit = "times snnTorch"

    def track_mlp(self) -> float:
        return mlp()["ratio"]


class SpikingLava(_Peer):
    variable = "HETERO_LAVA_PYTHON"
    unit = "times Lava"

    def track_loihi(self) -> float:
        return loihi()["ratio"]


class SpikingOwn:
    """Weights of one byte over float32; delays by events over step by step."""

    timeout = 300.0
    unit = "times"

    def track_int8_sparse(self) -> float:
        return int8("sparse", "opencl", n=2_000, fan_in=500, steps=100)["ratio"]

    def track_int8_mlp(self) -> float:
        return int8("mlp", "opencl")["ratio"]

    def track_delays(self) -> float:
        return delays()["ratio"]

    def track_delays_numpy(self) -> float:
        return delays("numpy")["ratio"]


class SpikingHere:
    """The same without a peer: over a NumPy sort of a million numbers in the same run."""

    timeout = 300.0
    unit = "NumPy sorts"

    def track_sparse(self) -> float:
        return _over_sort(lambda: sparse(n=2_000, fan_in=500, steps=100))

    def track_mlp(self) -> float:
        return _over_sort(mlp)

    def track_loihi(self) -> float:
        return _over_sort(lambda: loihi(steps=200))


def _over_sort(make: Callable[[], dict[str, Any]]) -> float:
    mine = make()["seconds"]
    values = np.random.default_rng(0).random(1_000_000)
    start = time.perf_counter()
    np.sort(values)
    return mine / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
