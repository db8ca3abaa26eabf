"""`hetero verify`: one spiking network on several devices, step by step."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hetero.cli.arithmetic import Arithmetic, fitting, in_arithmetic, rebuilt
from hetero.cli.common import Dt, Inputs, Json, Model, Rule, console, gather_inputs, load_model, print_json
from hetero.dim import concrete
from hetero.errors import GraphError, HeteroError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.select import device_of
from hetero.spiking.network import Network
from hetero.spiking.read import read
from hetero.spiking.verify import Verdict, compare


def verify(
    model: Model,
    on: Annotated[str, typer.Option("--on", help="Devices, the first one counts as right.", metavar="D1,D2,...")],
    input: Inputs = None,
    random: Annotated[int | None, typer.Option("--random", metavar="SEED", help="Random spikes.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the random spikes.")] = 100,
    activity: Annotated[float, typer.Option(help="Share of the random inputs that spike in a step.")] = 0.1,
    dt: Dt = None,
    rule: Rule = None,
    arithmetic: Arithmetic = None,
    json: Json = False,
) -> None:
    """Run a spiking network on several devices; say the first step, neuron and cause of a difference, or: identical.

    Exit code 1 if a spike differs, or anything at all in integer arithmetic.

    Example: hetero verify net.nir --dt 1e-4 --rule euler --random 0 --on numpy,opencl,lava
    """
    names = [n.strip() for n in on.split(",") if n.strip()]
    if len(names) < 2:
        raise GraphError(f"--on {on} names one device", hint="--on numpy,opencl compares two")
    graph = load_model(model, dt, rule)
    net, said = in_arithmetic(read(graph), names, arithmetic)
    recorded = rebuilt(net, graph, record=True)
    feed = _feed(recorded, input, random, steps, activity)
    verdicts, failed = _verdicts(net, recorded, feed, names)
    if json:
        print_json(_report(net, said, names, verdicts, failed))
    else:
        _show(net, said, names, verdicts, failed)
    if failed or any(v.divergence for v in verdicts):
        raise typer.Exit(1)


def _feed(graph: Graph, given: list[str] | None, seed: int | None, steps: int, activity: float) -> dict[str, Array]:
    """Spikes from files, cast where that loses nothing; or random ones."""
    if given or seed is None:
        return fitting(gather_inputs(graph, given, None, None), graph.input_types)
    rng = np.random.default_rng(seed)
    first = {n: t.known[0] for n, t in graph.input_types.items()}
    counts = {n: k if isinstance(k, int) else steps for n, k in first.items()}  # a network that learns has its own
    shapes = {n: (counts[n], *concrete(t.known[1:], n)) for n, t in graph.input_types.items()}
    return {n: (rng.random(s) < activity).astype(graph.input_types[n].dtype) for n, s in shapes.items()}


def _verdicts(
    net: Network, graph: Graph, feed: dict[str, Array], names: list[str]
) -> tuple[list[Verdict], dict[str, str]]:
    """Each device against the first; what could not run, with the reason."""
    failed: dict[str, str] = {}
    runs: dict[str, dict[str, Array]] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in progress.track(names, description="running"):
            try:
                runs[name] = graph.run(feed, device=device_of(name).name)
            except HeteroError as e:
                if name == names[0]:
                    raise
                failed[name] = str(e)
    first = runs[names[0]]
    return [compare(net, n, first, runs[n]) for n in names[1:] if n in runs], failed


def _report(
    net: Network, said: str, names: list[str], verdicts: list[Verdict], failed: dict[str, str]
) -> dict[str, Any]:
    return {
        "network": net.name,
        "arithmetic": "loihi" if net.dtype.kind == "i" else "float32",
        "note": said,
        "reference": names[0],
        "devices": {v.device: {"identical": v.identical, **asdict(v)} for v in verdicts},
        "failed": failed,
    }


def _show(net: Network, said: str, names: list[str], verdicts: list[Verdict], failed: dict[str, str]) -> None:
    out = console()
    out.print(said, markup=False)
    table = Table("device", f"against {names[0]}", box=None)
    for v in verdicts:
        table.add_row(v.device, _words(v))
    for name, why in failed.items():
        table.add_row(name, f"did not run: {why}")
    out.print(table, markup=False)


def _words(v: Verdict) -> str:
    if v.divergence:
        return str(v.divergence)
    if v.off:
        return f"every spike the same ({v.spikes}); states within {v.off:.1e} of their largest value"
    return f"identical: every spike ({v.spikes}) and every state"
