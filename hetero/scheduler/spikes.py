"""What a run says of the spiking networks in it: how much they spiked, and what a virtual chip counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hetero.chip import Run
from hetero.graph.ir import Node
from hetero.op import Array
from hetero.scheduler.parts import Part, model_of
from hetero.scheduler.plan import Plan
from hetero.spiking.read import Loop
from hetero.spiking.work import gives_spikes, spiking_loop


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one task: the share of sources that spiked in a step; time and energy where the chip's events tell them."""

    task: int
    activity: float
    seconds: float | None = None
    dynamic_j: float | None = None


def counted(plan: Plan, part: Part, on_host: Callable[[int], Array | None]) -> list[Counted]:
    """The spiking networks of a part that has run. `on_host` gives a value that crosses its border, None of others.

    A chip counts every neuron; elsewhere the spikes that go in and come out are looked at.
    """
    groups = model_of(plan).lowered.groups
    loops = [
        (i, node, loop) for i in part.tasks for node in groups[i].nodes if (loop := spiking_loop(node)) is not None
    ]
    run = next(
        (r for s in part.program.segments if isinstance(r := getattr(s.executable, "last_run", None), Run)), None
    )
    if run is not None and len(loops) == 1 and run.events.ticks:
        return [_of_chip(loops[0][0], run)]
    found = ((i, _crossing(node, loop, on_host)) for i, node, loop in loops)
    return [Counted(i, share) for i, share in found if share is not None]


def _of_chip(task: int, run: Run) -> Counted:
    share = float(run.spikes.sum()) / (run.events.ticks * max(run.spikes.size, 1))
    seconds, energy, static = run.bill.seconds, run.bill.energy_j, run.bill.terms.get("static")
    dynamic = None if energy is None else energy.mid - (static.mid if static is not None else 0.0)
    return Counted(task, share, None if seconds is None else seconds.mid, dynamic)


def _crossing(node: Node, loop: Loop, on_host: Callable[[int], Array | None]) -> float | None:
    """The share of elements that are not 0, of inputs and of outputs that are spikes."""
    carried, scanned = int(node.attrs["carried"]), int(node.attrs["scanned"])
    values = list(node.inputs[carried : carried + scanned])
    layers = loop.network.layers
    shown = zip(node.outputs[carried:], loop.shown, strict=True)
    values += [v for v, (name, state) in shown if not state and name in layers and gives_spikes(layers[name])]
    arrays = [a for v in dict.fromkeys(values) if (a := on_host(v)) is not None]
    size = sum(a.size for a in arrays)
    return sum(int(np.count_nonzero(a)) for a in arrays) / size if size else None
