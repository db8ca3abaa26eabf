"""HETERO_BACKEND=auto against the best single backend, in the same run.

python -m benchmarks.bench_auto              the demo's network and the nine light ones
python -m benchmarks.bench_auto resnet50     one of them
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import hetero as ht
from benchmarks.ratio import at_most
from hetero.auto import local_devices, tune
from hetero.calibration.networks import installed
from hetero.graph.ir import Graph

ROUNDS = 6
TURN = 4  # runs in a row: the first ones meet threads of the runtime before, which wait in loops for a while


def compared(graph: Graph) -> dict[str, float]:
    """Device -> seconds: the best of rounds in which they take turns, after auto has settled."""
    rng = np.random.default_rng(0)
    feed: dict[str, Any] = {
        n: rng.standard_normal(t.known).astype(t.dtype) if t.dtype.kind == "f" else np.zeros(t.known, t.dtype)
        for n, t in graph.input_types.items()
    }
    devices = [*(d.name for d in local_devices()), "auto"]
    tune(graph, feed)
    seconds: dict[str, list[float]] = {d: [] for d in devices}
    for _ in range(at_most(ROUNDS)):
        for device in rng.permutation(devices).tolist():  # whoever runs before disturbs: nobody has always the same one
            for _ in range(TURN):
                start = time.perf_counter()
                graph.run(feed, device=device)
                seconds[device].append(time.perf_counter() - start)
    return {d: min(s) for d, s in seconds.items()}


class Auto:
    """Above the best single backend, on one light network."""

    timeout = 300.0  # seconds

    def track_above_best(self) -> float:
        graph = next(g for n, g in installed() if n == "squeezenet")
        found = compared(graph)
        return (found["auto"] / min(s for d, s in found.items() if d != "auto") - 1) * 100

    track_above_best.unit = "%"  # pyright: ignore[reportFunctionMemberAccess]


def main() -> None:
    table = Table("network", *(d.name for d in local_devices()), "auto", "above the best", box=None)
    some = [(n, g) for n, g in installed() if n in sys.argv[1:] or len(sys.argv) < 2]
    for name, graph in track(some, "running", console=Console(stderr=True)):
        ht.reset_stats()
        found = compared(graph)
        best = min(s for d, s in found.items() if d != "auto")
        times = (f"{s * 1e3:.3g} ms" for s in found.values())
        table.add_row(name, *times, f"{found['auto'] / best - 1:+.1%}")
    Console().print(table, "best of rounds, measured")


if __name__ == "__main__":
    main()
