"""Real networks to plan: ONNX's nine light models on four devices, over three uplinks; and how near the search comes.

    python -m benchmarks.networks                  the table: a short search against the best known
    python -m benchmarks.networks --best 120       looks for the best known again, 120 s a case (an hour on two cores)

The best known values stand in data/best-known.json. A plan that beats one is printed: the file then wants a new run.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console
from rich.progress import track
from rich.table import Table

import hetero as ht
from benchmarks.known import known, remember
from hetero.profile import load
from hetero.profile.quantity import given
from hetero.profile.topology import Node, Topology, TopologyLink
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.lower import lower
from hetero.scheduler.request import Request
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import TaskGraph

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
UPLINKS = {"0.1 Gb/s": 1.25e7, "1 Gb/s": 1.25e8, "10 Gb/s": 1.25e9}
BUDGET_S = 0.5


def networks() -> list[str]:
    return sorted(p.stem.removeprefix("light_") for p in LIGHT.glob("light_*.onnx"))


def topology(byte_per_s: float) -> Topology:
    """A Raspberry Pi with the input, a Jetson beside it, and a server processor and an H100 behind one uplink."""
    nodes = (
        Node("pi", load("raspberry-pi-5"), "edge"),
        Node("jetson", load("jetson-orin-nano"), "edge"),
        Node("server", load("server-cpu"), "central"),
        Node("h100", load("h100"), "central"),
    )
    links = (
        TopologyLink("lan", ("pi", "jetson"), given(1.25e8, "B/s"), given(2e-4, "s")),
        TopologyLink("uplink", ("jetson", "server"), given(byte_per_s, "B/s"), given(5e-3, "s")),
        TopologyLink("pcie", ("server", "h100"), given(2.5e10, "B/s"), given(1e-5, "s")),
    )
    return Topology("four", nodes, links)


def tasks_of(name: str, byte_per_s: float) -> TaskGraph:
    """A network as a task graph: it starts at the Pi, and its result goes back there."""
    graph = ht.from_onnx(LIGHT / f"light_{name}.onnx")
    request = Request(
        objective=Objective.of("latency"),
        inputs={p.name: "pi" for p in graph.inputs},
        outputs={p.name: "pi" for p in graph.outputs},
    )
    return lower(graph, topology(byte_per_s), request).tasks


def _value(case: tuple[str, str, float, int]) -> tuple[str, str, float, float]:
    """(network, uplink, latency, bound) of one search."""
    name, uplink, budget_s, seed = case
    found = solve(tasks_of(name, UPLINKS[uplink]), "latency", budget_s=budget_s, seed=seed)
    return name, uplink, found.value, found.bound


def search(budget_s: float, jobs: int, seed: int = 0) -> dict[str, dict[str, tuple[float, float]]]:
    """Network -> uplink -> (latency, bound)."""
    cases = [(n, u, budget_s, seed) for n in networks() for u in UPLINKS]
    out: dict[str, dict[str, tuple[float, float]]] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for name, uplink, value, bound in track(
            pool.map(_value, cases), "planning", total=len(cases), console=Console(stderr=True)
        ):
            out.setdefault(name, {})[uplink] = (value, bound)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds of search a case")
    parser.add_argument("--best", type=float, help="look for the best known with this many seconds a case")
    parser.add_argument("--jobs", type=int, default=1, help="cases at once; more than 1 disturbs short searches")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.best:
        found = search(asked.best, asked.jobs, seed=1)
        remember({n: {u: value for u, (value, _) in each.items()} for n, each in found.items()})
        return
    rows = _rows(search(asked.budget, asked.jobs))
    if asked.json:
        print(json.dumps(rows))
        return
    _show(rows, asked.budget)


def _rows(found: dict[str, dict[str, tuple[float, float]]]) -> list[dict[str, Any]]:
    best = known()
    return [
        {"network": n, "uplink": u, "latency_s": v, "bound_s": b, "best_known_s": best.get(n, {}).get(u),
         "gap": v / best[n][u] - 1 if n in best else None}
        for n, each in found.items() for u, (v, b) in each.items()
    ]  # fmt: skip


def _show(rows: list[dict[str, Any]], budget_s: float) -> None:
    table = Table("network", "uplink", "latency", "bound", "best known", "gap to best known", box=None)
    for r in rows:
        gap = "-" if r["gap"] is None else f"{r['gap']:+.2%}"
        best = "-" if r["best_known_s"] is None else f"{r['best_known_s'] * 1e3:.4g} ms"
        table.add_row(
            r["network"], r["uplink"], f"{r['latency_s'] * 1e3:.4g} ms", f"{r['bound_s'] * 1e3:.4g} ms", best, gap
        )
    out = Console()
    out.print(table)
    gaps = [r["gap"] for r in rows if r["gap"] is not None]
    if gaps:
        mean = sum(gaps) / len(gaps)
        out.print(
            f"{len(gaps)} cases, {budget_s} s each: mean gap {mean:.3%}, worst {max(gaps):.2%} (latencies: estimates)"
        )


if __name__ == "__main__":
    main()
