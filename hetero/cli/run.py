"""`hetero run`: a model on a device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hetero.cli.arithmetic import Arithmetic, fitting, in_arithmetic, rebuilt
from hetero.cli.common import (
    Dt,
    Inputs,
    Json,
    Model,
    Rule,
    Seed,
    Sizes,
    console,
    gather_inputs,
    load_model,
    print_json,
    seconds_text,
)  # fmt: skip
from hetero.cli.outputs import describe_outputs, outputs_table, write_outputs
from hetero.cli.planned import run_planned
from hetero.counters import Stats, reset_stats, stats
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.select import device_of
from hetero.spiking.read import read

Backend = Annotated[
    str | None, typer.Option("--backend", help="Device to run on (default: HETERO_BACKEND, else numpy).")
]


def run(
    model: Model,
    input: Inputs = None,
    random: Seed = None,
    size: Sizes = None,
    dt: Dt = None,
    rule: Rule = None,
    backend: Backend = None,
    arithmetic: Arithmetic = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the outputs, one .npy each.")] = None,
    topology: Annotated[
        str | None,
        typer.Option("--topology", metavar="NAME|FILE.toml", help="Plan it on these nodes; run the plan."),
    ] = None,
    objective: Annotated[str, typer.Option(help="With --topology: as for hetero plan.")] = "latency",
    trace: Annotated[
        Path | None, typer.Option(help="With --topology: a trace for Perfetto.", metavar="FILE.json")
    ] = None,
    json: Json = False,
) -> None:
    """Run a model and show its outputs, where the ops ran and what was copied.

    With a topology, the plan runs: on the devices that its nodes are bound to; the rest is simulated, and says so.

    Example: hetero run model.onnx --random 0 --backend opencl --output results
    """
    graph = load_model(model, dt, rule)
    graph, said = _spiking(graph, backend, arithmetic)
    feed = gather_inputs(graph, input, random, size)
    if said:
        feed = fitting(feed, graph.input_types)
    if topology is not None:
        run_planned(graph, feed, topology, objective, backend, output, trace, json)
        return
    if trace is not None:
        raise GraphError("--trace wants --topology", hint="hetero run MODEL --random 0 --topology robot --trace t.json")
    device = device_of(backend)
    graph.run(feed, device=device.name)  # compiles; the second run is the one that is timed
    reset_stats()
    start = time.perf_counter()
    outs = graph.run(feed, device=device.name)
    seconds = time.perf_counter() - start
    did = stats()
    written = write_outputs(outs, output) if output else {}
    if json:
        print_json(_report(device.name, seconds, outs, did, written) | ({"arithmetic": said} if said else {}))
        return
    if said:
        console().print(said, markup=False)
    _show(device.name, seconds, outs, did, written)


def _spiking(graph: Graph, backend: str | None, arithmetic: str | None) -> tuple[Graph, str]:
    """A spiking network in the arithmetic that is asked for, or that Lava wants, and a word on it; else the graph."""
    if arithmetic is None and device_of(backend).backend != "lava":
        return graph, ""
    net, said = in_arithmetic(read(graph), [device_of(backend).name], arithmetic)
    return rebuilt(net, graph), said


def _report(device: str, seconds: float, outs: dict[str, Array], did: Stats, written: dict[str, str]) -> dict[str, Any]:
    return {
        "device": device,
        "seconds": seconds,
        "seconds_status": "measured, second run",
        "outputs": describe_outputs(outs, written),
        "ops": did.ops,
        "fallbacks": [{"op": f.op, "wanted": f.wanted, "ran_on": f.ran_on, "reason": f.reason, "times": n}
                      for f, n in did.fallbacks.items()],
        "copies": did.copies,
        "copied_bytes": did.copied_bytes,
    }  # fmt: skip


def _show(device: str, seconds: float, outs: dict[str, Array], did: Stats, written: dict[str, str]) -> None:
    out = console()
    out.print(outputs_table(outs, written))
    out.print(f"\n{device}: {seconds_text(seconds)} (measured, second run)")
    out.print(str(did), markup=False)
