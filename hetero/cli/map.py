"""`hetero map`: a spiking network on a virtual chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from hetero.chip import Bill, Mapped, Run, load_chip, map_network, run_graph
from hetero.chip.chip import SHIPPED
from hetero.chip.mapping import Placed
from hetero.cli.arithmetic import Arithmetic, fitting, in_arithmetic, rebuilt
from hetero.cli.common import (
    Dt,
    Inputs,
    Json,
    Rule,
    Seed,
    Sizes,
    console,
    gather_inputs,
    load_model,
    print_json,
)
from hetero.cli.profiles import text
from hetero.execute import check_feed
from hetero.graph.ir import Graph, bind_sizes
from hetero.profile.quantity import Interval, given
from hetero.spiking.read import read

Net = Annotated[Path, typer.Argument(help="A .nir network, or a graph that graph.save wrote.", metavar="NET")]
OnChip = Annotated[
    str, typer.Option("--chip", metavar="NAME|FILE.toml", help=f"The chip: {', '.join(SHIPPED)}, or a file.")
]

RATE = 0.1  # of random spikes, in each step


def map(
    net: Net,
    chip: OnChip,
    input: Inputs = None,
    random: Seed = None,
    size: Sizes = None,
    dt: Dt = None,
    rule: Rule = None,
    arithmetic: Arithmetic = None,
    json: Json = False,
) -> None:
    """Put a spiking network on a virtual chip: cores, how full they are, and every limit that it breaks.

    With an input it runs, simulated, and shows the events and what they cost. Exit code 1: it does not fit.

    Example: hetero map net.hetero --chip loihi --input x=spikes.npy
    """
    given = load_model(net, dt, rule)
    network, said = in_arithmetic(read(given), [], arithmetic)
    graph = rebuilt(network, given)
    mapped = map_network(network, load_chip(chip))
    asked = bool(input) or random is not None
    run = _run(graph, mapped, _feed(graph, input, random, size)) if asked and mapped.fits else None
    if json:
        print_json(_report(mapped, run) | {"arithmetic": said})
    else:
        console().print(said, markup=False)
        _show(mapped, run, asked)
    if not mapped.fits:
        raise typer.Exit(1)


def _feed(graph: Graph, files: list[str] | None, seed: int | None, sizes: list[str] | None) -> dict[str, Any]:
    """Arrays from files, and random spikes for the rest: one in ten steps has one."""
    arrays = gather_inputs(graph, files, seed, sizes)
    alone = len(arrays) == 1 and bool(files)  # its name may have been left out
    named = set(arrays) if alone else {f.partition("=")[0] for f in files or []}
    rng = np.random.default_rng(seed)
    feed = {n: a if n in named else (rng.random(a.shape) < RATE).astype(a.dtype) for n, a in arrays.items()}
    return fitting(feed, graph.input_types)


def _run(graph: Graph, mapped: Mapped, feed: dict[str, Any]) -> Run | None:
    """The network on its chip, for these inputs."""
    arrays = check_feed(graph, feed)
    sizes = bind_sizes(graph.input_types, {n: a.shape for n, a in arrays.items()})
    static = graph.specialize(sizes) if sizes or not graph.static else graph
    loops = {n.outputs: mapped for n in static.nodes if n.op.name == "scan"}
    return run_graph(static, loops, list(arrays.values()))[1]


# -- numbers --------------------------------------------------------------------------------------------------


def _use(used: int, cores: int, each: int | None) -> float | None:
    """The part of what so many cores have; None where nobody published it."""
    return used / (cores * each) if each and cores else None


def _row(p: Placed, m: Mapped) -> dict[str, Any]:
    parts, chip = p.parts, m.chip
    cores, bits = parts.cores, int(parts.bits.sum())
    far = None if m.hops is None else m.hops[m.of[p.name]]
    return {
        "layer": p.name,
        "neuron": p.population.layer.op,
        "neurons": p.population.size,
        "cores": cores,
        "synapses": len(p.population.source),
        "axons": int(parts.axons.sum()),
        "neuron_use": _use(len(parts.neuron), cores, chip.limit("neurons_per_core")),
        "axon_use": _use(int(parts.axons.sum()), cores, chip.limit("axons_per_core")),
        "memory_use": _use(bits, cores, chip.memory_bits),
        "hops_per_spike": None if far is None or not far.size else float(np.mean(far)),
    }


def _interval(i: Interval | None) -> dict[str, float] | None:
    return None if i is None else {"low": i.low, "mid": i.mid, "high": i.high}


def _cost(b: Bill) -> dict[str, Any]:
    return {
        "label": "simulated",
        "events": {k: getattr(b.events, k) for k in ("ticks", "updates", "idle_updates", "spikes", "synaptic", "hops")},
        "energy_j": _interval(b.energy_j),
        "seconds": _interval(b.seconds),
        "terms_j": {k: _interval(v) for k, v in b.terms.items()},
        "not_published": b.missing,
    }


def _report(m: Mapped, run: Run | None) -> dict[str, Any]:
    return {
        "network": m.net.name,
        "chip": m.chip.name,
        "fits": m.fits,
        "cores": m.cores,
        "cores_of_chip": m.chip.limit("cores"),
        "neurons": m.neurons,
        "synapses": m.synapses,
        "layers": [_row(p, m) for p in m.layers],
        "violations": [
            {"limit": v.limit, "layer": v.layer, "value": v.value, "allowed": v.allowed, "fix": v.fix}
            for v in m.violations
        ],
        "not_checked": m.unchecked,
        "run": None if run is None else _cost(run.bill),
    }


# -- text -----------------------------------------------------------------------------------------------------


def _show(m: Mapped, run: Run | None, asked: bool) -> None:
    out = console()
    out.print(_title(m))
    table = Table("layer", "neurons", "cores", "neurons used", "axons used", "synapses", "memory used", "hops a spike",
                  box=None, pad_edge=False)  # fmt: skip
    for row in (_row(p, m) for p in m.layers):
        hops = "-" if row["hops_per_spike"] is None else f"{row['hops_per_spike']:.3g}"
        table.add_row(
            Text(row["layer"]), f"{row['neurons']:,}", str(row["cores"]), _percent(row["neuron_use"]),
            _percent(row["axon_use"]), f"{row['synapses']:,}", _percent(row["memory_use"]), hops,
        )  # fmt: skip
    out.print(table)
    for v in m.violations:
        out.print(Text(f"{v.limit}: {v}", "red"))
    if m.unchecked:
        out.print(f"not checked, since nobody published it: {', '.join(m.unchecked)}")
    if run is not None:
        _show_cost(run.bill)
    elif asked and not m.fits:
        out.print("not run: it does not fit")


def _title(m: Mapped) -> Text:
    of = m.chip.limit("cores")
    cores = f"{m.cores} of {of} cores" if of is not None else f"{m.cores} cores"
    says = Text("fits", "green") if m.fits else Text(f"does not fit: {len(m.violations)} limits broken", "red")
    return Text(f"{m.net.name} on {m.chip.title}: {cores}, ").append_text(says)


def _show_cost(b: Bill) -> None:
    out, e = console(), b.events
    out.print(
        f"simulated: {e.ticks:,} ticks, {e.updates:,} neuron updates, {e.spikes:,} spikes, "
        f"{e.synaptic:,} synaptic events, {e.hops:,} hops"
    )
    if b.seconds is not None:
        out.print(f"time {_range(b.seconds, 's')}")
    if b.energy_j is None:
        out.print("energy: nobody published that of a synaptic event")
        return
    terms = ", ".join(f"{k} {text(given(v.mid, 'J'))}" for k, v in b.terms.items())
    less = f"; without {', '.join(b.missing)}, which nobody published" if b.missing else ""
    out.print(f"energy {_range(b.energy_j, 'J')}: {terms}{less}")


def _range(i: Interval, unit: str) -> str:
    low, mid, high = (text(given(v, unit)) for v in (i.low, i.mid, i.high))
    return f"{mid} ({low} to {high})"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part * 100:.3g} %"
