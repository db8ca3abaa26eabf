"""`hetero run --topology`: plans, runs the plan, and says of every number whether it was measured or simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetero.cli.common import console, print_json
from hetero.cli.outputs import describe_outputs, outputs_table, write_outputs
from hetero.cli.plan import weights
from hetero.errors import PlanError
from hetero.graph.ir import Graph
from hetero.op import Array

if TYPE_CHECKING:
    from hetero.scheduler.result import Result


def run_planned(
    graph: Graph, feed: dict[str, Array], topology: str, objective: str, backend: str | None, output: Path | None,
    trace: Path | None, json: bool,
) -> None:  # fmt: skip
    """Compiles with a first run; the second run is the one that is shown."""
    from hetero.graph.ir import bind_sizes
    from hetero.scheduler.planning import plan

    if backend is not None:
        raise PlanError("--backend does not go with --topology", hint="bind a node: device = 'opencl:0' in its TOML")
    sizes = bind_sizes(graph.input_types, {n: a.shape for n, a in feed.items()})
    made = plan(graph, topology, weights(objective), sizes={k: v for k, v in sizes.items() if k in graph.symbols})
    first = made.run(feed)
    result = first.plan.run(feed)
    written = write_outputs(result.outputs, output) if output else {}
    if trace is not None:
        from hetero.report.perfetto import write

        write(result, str(trace))
    if json:
        print_json(_report(result, [*map(str, first.events)], written))
        return
    out = console()
    out.print(outputs_table(result.outputs, written))
    out.print()
    out.print("\n".join([str(result), *(f"  event in the first run: {e}" for e in first.events)]), markup=False)
    if trace is not None:
        out.print(f"written: {trace} (open it in ui.perfetto.dev)", markup=False)


def _report(result: Result, before: list[str], written: dict[str, str]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "latency_s": result.latency_s,
        "latency_status": result.latency_status,
        "predicted_s": result.predicted_s,
        "energy_j": result.energy_j,
        "energy_status": "estimated",
        "outputs": describe_outputs(result.outputs, written),
        "steps": [asdict(s) for s in result.steps],
        "transfers": [asdict(m) for m in result.moved],
        "events": [*before, *map(str, result.events)],
        "placement": result.plan.placement,
    }
