"""The scheduler itself: planning time, plan quality, and the rows of its bar.

python -m benchmarks.bench_schedule              optimality, scale, two tiers: the table of docs/scheduler.md
python -m benchmarks.bench_schedule --best 60    looks for the best known of the layered graphs again, 60 s a case
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.known import known, remember
from benchmarks.networks import UPLINKS, tasks_of
from benchmarks.task_graphs import random_graphs
from hetero.scheduler import native
from hetero.scheduler.algorithms.additive import solve_additive, sums, value_of
from hetero.scheduler.algorithms.ilp import integer_program
from hetero.scheduler.algorithms.portfolio import solve
from hetero.scheduler.taskgraph import TaskGraph, connect_all

LARGE = 100_000


def layered(seed: int, n: int, count: int, ccr: float, *, shared: bool) -> TaskGraph:
    """Layers of five tasks, each reading one or two of the layer before; a tenth of the pairs cannot run.

    ccr: seconds of a mean transfer over seconds of a mean task. shared: each link has a queue for each direction.
    """
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0.1, 1, (n, count))
    seconds[rng.random((n, count)) < 0.1] = np.inf
    seconds[np.isinf(seconds).all(1), 0] = 0.5
    layer = np.arange(n) // 5
    edges: list[tuple[int, int, float]] = []
    for j in range(5, n):
        before = np.flatnonzero(layer == layer[j] - 1)
        for i in rng.choice(before, size=int(rng.integers(1, 3)), replace=False):
            edges.append((int(i), j, float(rng.uniform(0.5, 1.5) * ccr * 0.55)))
    return TaskGraph.of_edges(seconds, edges, connect_all(count, 1.0, shared=shared))


def large(ccr: float, count: int = 4, n: int = LARGE, *, shared: bool = True, seed: int = 0) -> TaskGraph:
    """A wide random graph: two readings a task, from the two hundred tasks before it."""
    rng = np.random.default_rng(seed)
    target = np.repeat(np.arange(1, n), 2)
    source = np.maximum(0, target - rng.integers(1, 200, len(target)))
    keep = np.unique(source * n + target)
    size = rng.uniform(0.5, 1.5, len(keep)) * ccr * 0.55
    edges = zip((keep // n).tolist(), (keep % n).tolist(), size.tolist(), strict=True)
    return TaskGraph.of_edges(rng.uniform(0.1, 1, (n, count)), edges, connect_all(count, 1.0, shared=shared))


def optimality(budget_s: float = 2.0, seeds: int = 36) -> Iterator[dict[str, Any]]:
    """Random layered graphs of 20 to 40 tasks on 3 or 4 devices, with and without queues on the links."""
    for shared in (False, True):
        for seed in track(range(seeds), f"layered, queues {shared}", console=Console(stderr=True)):
            n, count, ccr = (20, 30, 40)[seed % 3], 3 + seed % 2, (0.2, 1.0, 5.0)[seed // 3 % 3]
            found = solve(layered(seed, n, count, ccr, shared=shared), "latency", budget_s=budget_s)
            yield {"shared": shared, "seed": seed, "n": n, "devices": count, "ccr": ccr, "value": found.value,
                   "gap": found.gap, "proven": found.proven}  # fmt: skip


def known_case(row: dict[str, Any]) -> tuple[str, str]:
    """Where the best known value of a layered graph stands."""
    return f"layered{', queues' if row['shared'] else ''}", str(row["seed"])


def above_known(rows: list[dict[str, Any]]) -> float:
    """The mean of how far plans are above the best known."""
    best = known()
    ratios = [r["value"] / best[case][seed] - 1 for r in rows for case, seed in [known_case(r)]]
    return float(np.mean(ratios))


def scale() -> Iterator[dict[str, Any]]:
    """100,000 tasks on four devices, compiled and in pure Python; a NumPy control beside it."""
    for code in ("1", "0"):
        os.environ["HETERO_NATIVE"] = code
        for ccr, shared in ((0.2, True), (1.0, False), (1.0, True)):
            g = large(ccr, shared=shared)
            start = time.perf_counter()
            found = solve(g, "latency", budget_s=0.0)
            seconds = time.perf_counter() - start
            yield {"code": native.status().partition(":")[0], "ccr": ccr, "queues": shared, "seconds": seconds,
                   "gap": found.gap, "control_s": control()}  # fmt: skip
    del os.environ["HETERO_NATIVE"]


def two_tiers() -> dict[str, Any]:
    """A minimum cut of 100,000 tasks; and of 600, against the integer program."""
    g = large(1.0, 2)
    _ = g.flat  # the arrays are there
    start = time.perf_counter()
    cut = solve_additive(g.flat, {"serial": 1.0})
    seconds = time.perf_counter() - start
    small = large(1.0, 2, 600)
    s = sums(small.flat, {"serial": 1.0})
    program = integer_program(small.flat, s.task, s.per_byte, s.per_send, 60)
    assert program is not None
    same = solve_additive(small.flat, {"serial": 1.0}).value / value_of(small.flat, s, program.device) - 1
    return {"seconds": seconds, "gap": cut.value / cut.bound - 1, "against_program": same, "control_s": control()}


def control() -> float:
    """Seconds of a NumPy sort, which uses none of our code: tells a noisy machine."""
    values = np.random.default_rng(0).random(1_000_000)
    start = time.perf_counter()
    np.sort(values)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--best", type=float, help="look for the best known with this many seconds a case")
    asked = parser.parse_args()
    if asked.best:
        found: dict[str, dict[str, float]] = {}
        for r in optimality(asked.best):
            case, seed = known_case(r)
            found.setdefault(case, {})[seed] = r["value"]
        remember(found)
        return
    layers, sizes, cut = list(optimality()), list(scale()), two_tiers()
    if asked.json:
        print(json.dumps({"optimality": layers, "scale": sizes, "two_tiers": cut}))
        return
    out = Console()
    for shared in (False, True):
        mine = [r for r in layers if r["shared"] == shared]
        gaps = [r["gap"] for r in mine]
        out.print(
            f"layered, 20 to 40 tasks, 2 s, {'one queue a link' if shared else 'links without queues'}: "
            f"{sum(r['proven'] for r in mine)} of {len(mine)} proven optimal, "
            f"mean gap to the bound {np.mean(gaps):.3%}, to the best known {above_known(mine):.3%}"
        )
    table = Table("code", "ccr", "queues", "seconds", "gap to the bound", "NumPy sort", box=None)
    for r in sizes:
        row = (f"{r['seconds']:.2f}", f"{r['gap']:.2%}", f"{r['control_s'] * 1e3:.0f} ms")
        table.add_row(r["code"], f"{r['ccr']:g}", str(r["queues"]), *row)
    out.print(f"{LARGE} tasks, 4 devices:", table)
    out.print(
        f"two tiers, {LARGE} tasks: {cut['seconds']:.2f} s, {cut['gap']:.1e} above its bound; 600 tasks: "
        f"{cut['against_program']:.1e} from the integer program"
    )


class Planning:
    """Seconds of a whole plan by size, and how near its bound it is."""

    params = ([1_000, 10_000],)
    param_names = ("tasks",)
    timeout = 120.0  # seconds

    def setup(self, n: int) -> None:
        self.g = large(0.2, n=n)
        _ = self.g.flat

    def track_ratio(self, n: int) -> float:
        """Candidates alone, over a NumPy sort of a million numbers in the same run."""
        start = time.perf_counter()
        solve(self.g, "latency", budget_s=0.0)
        return (time.perf_counter() - start) / control()

    def track_gap(self, n: int) -> float:
        return solve(self.g, "latency", budget_s=0.0).gap * 100

    track_ratio.unit = "NumPy sorts"  # pyright: ignore[reportFunctionMemberAccess]
    track_gap.unit = "% above the bound"  # pyright: ignore[reportFunctionMemberAccess]


class Quality:
    """Gaps that a short search leaves."""

    timeout = 120.0

    def track_layered(self) -> float:
        """Mean gap to the bound of six layered graphs with queues."""
        cases = [layered(s, 20, 3, (0.2, 1.0, 5.0)[s % 3], shared=True) for s in range(6)]
        return float(np.mean([solve(g, budget_s=1.0).gap for g in cases])) * 100

    def track_network(self) -> float:
        """inception_v1 over 1 Gb/s: above the best known."""
        value = solve(tasks_of("inception_v1", UPLINKS["1 Gb/s"]), budget_s=0.5).value
        return (value / known()["inception_v1"]["1 Gb/s"] - 1) * 100

    def track_random(self) -> float:
        """Of ten random graphs of every family: candidates alone, above what half a second of search finds."""
        cases = list(random_graphs(10))
        ratios = [solve(g, budget_s=0.0, exact=False).value / solve(g, budget_s=0.5, exact=False).value for g in cases]
        return (float(np.mean(ratios)) - 1) * 100

    track_layered.unit = "% above the bound"  # pyright: ignore[reportFunctionMemberAccess]
    track_network.unit = "% above the best known"  # pyright: ignore[reportFunctionMemberAccess]
    track_random.unit = "% above searched"  # pyright: ignore[reportFunctionMemberAccess]


if __name__ == "__main__":
    main()
