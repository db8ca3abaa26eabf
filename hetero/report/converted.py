"""How well a converted network does: accuracy against time steps, layer by layer, and what an inference costs.

Counts of spikes and synaptic events are of a run. Energies are estimated: events with the energy that was published for
a chip, and the original with the cost model that plans are made by. Nothing of them is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hetero.chip import Chip, Events, Mapped, bill, load_chip, map_network
from hetero.convert.snn import Converted, Progress, Ran, of_batch
from hetero.errors import GraphError
from hetero.files import write_whole
from hetero.graph.ir import Graph
from hetero.graph.passes.fuse import groups
from hetero.op import Array
from hetero.profile import Interval, Profile, load
from hetero.scheduler.cost import estimate, refusal, static_w, work_of
from hetero.scheduler.lower import planned_graph

CHIP, PROFILE = "loihi", "server-cpu"


@dataclass(frozen=True, slots=True)
class LayerFit:
    """A layer of neurons after the last step. `error`: the mean distance of rate times threshold to the activation, in
    its unit; `activation`: the mean of that. `saturated`: the share of neurons that spike in every step, over samples;
    `rate`: spikes of a neuron in a step; `events`: synaptic events that its spikes set off, for each inference."""

    name: str
    node: str
    neurons: int
    threshold: tuple[float, float]  # the least and the largest
    error: float
    activation: float
    saturated: float
    rate: float
    events: float

    @property
    def relative(self) -> float:
        """The error as a part of the mean activation."""
        return self.error / self.activation if self.activation else 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What an inference takes on a device, estimated; `static_j` is the part of the energy that it draws just by being
    on. `notes` say what is missing or assumed."""

    device: str
    energy_j: Interval | None
    static_j: Interval | None
    seconds: Interval | None
    notes: tuple[str, ...] = ()
    label: str = "estimated"


@dataclass(frozen=True, slots=True)
class Report:
    """`accuracy` (share of right answers, or without labels: of answers equal to the original's) after some steps.
    Events and updates are of one inference on average; those that the input sets off are `input_events`."""

    name: str
    samples: int
    calibrated: int
    steps: int
    labelled: bool
    original: float  # accuracy of the original; 1 without labels
    accuracy: tuple[tuple[int, float], ...]
    agreement: float  # with the original's answers after the last step
    layers: tuple[LayerFit, ...]
    input_events: float
    updates: int
    spikes: float
    op: float  # of the original for one inference
    byte: float
    chip: Cost
    device: Cost

    @property
    def events(self) -> float:
        """Synaptic events of an inference."""
        return self.input_events + sum(f.events for f in self.layers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"synaptic_events": self.events}

    def __str__(self) -> str:
        from hetero.report.converted_page import words

        return words(self)

    def save(self, path: str | Path) -> None:
        """One HTML file that loads nothing from anywhere."""
        from hetero.report.converted_page import whole

        try:
            write_whole(path, whole(self))
        except OSError as e:
            problem = f"cannot write the report to {path}: {e}"
            raise GraphError(problem, hint="choose a folder that can be written to") from e


def report(
    converted: Converted, data: Array, labels: Array | None = None, *, steps: int | None = None,
    chip: str | Chip = CHIP, profile: str | Profile = PROFILE, device: str | None = None,
    progress: Progress | None = None,
) -> Report:  # fmt: skip
    """The report for samples (n, ...) and, if given, their classes (n,); `device` is what both networks are run on."""
    _check(data, labels)
    found = load_chip(chip) if isinstance(chip, str) else chip
    ran = converted.run(data, steps=steps, device=device, progress=progress)
    answers = classes(converted.original(data, device))
    right = answers if labels is None else np.asarray(labels).reshape(-1)
    curve = [(t, float((classes(ran.values[t - 1]) == right).mean())) for t in _powers(len(ran.values))]
    mapped = map_network(converted.network, found)
    x = converted.prepare(data, device)
    (given,) = converted.network.inputs
    fan_out = np.asarray(mapped.reach.sum(axis=1)).reshape(-1)  # synapses that a spike reaches, through linear layers
    spikes = _spikes(converted, mapped, ran, x)
    each = {n: float(spikes[of] @ fan_out[of]) / len(x) for n, of in mapped.of.items()}
    layers = _layers(converted, ran, data, each, device)
    per, single = of_batch(converted.source, np.asarray(data), 1)
    op, byte, cost = _original(single, load(profile) if isinstance(profile, str) else profile, per)
    return Report(
        converted.source.name, len(x), converted.calibrated, len(ran.values), labels is not None,
        float((answers == right).mean()), tuple(curve), float((classes(ran.values[-1]) == answers).mean()), layers,
        each[given],
        len(ran.values) * mapped.neurons, sum(f.rate * f.neurons for f in layers) * len(ran.values), op, byte,
        _on_chip(mapped, spikes, len(ran.values), len(x), values=converted.loihi is None), cost,
    )  # fmt: skip


def _check(data: Array, labels: Array | None) -> None:
    if not len(np.shape(data)) or not len(data):
        raise GraphError(f"a report wants at least one sample, got {np.shape(data)}")
    if labels is not None and np.size(labels) != len(data):
        raise GraphError(f"a report wants a class for each of {len(data)} samples, got {np.shape(labels)}")


def classes(values: Array) -> Array:
    """(n, *k) -> (n,): the largest; of one value, whether it is above 0"""
    flat = values.reshape(len(values), -1)
    return flat.argmax(axis=1) if flat.shape[1] > 1 else (flat[:, 0] > 0).astype(np.int64)


def _powers(steps: int) -> list[int]:
    """1, 2, 4, ... and the last step."""
    return [*(1 << k for k in range((steps - 1).bit_length())), steps]


# -- the spiking network ----------------------------------------------------------------------------------------


def _spikes(converted: Converted, mapped: Mapped, ran: Ran, x: Array) -> Array:
    """How often each input (where it is not 0) and each neuron sends in the whole run, numbered as in `mapped.of`."""
    (given,) = converted.network.inputs
    sent = np.zeros(mapped.reach.shape[0])
    sent[mapped.of[given]] = converted.sent(x, len(ran.values)).reshape(len(x), -1).sum(axis=0)
    for name, counts in ran.counts.items():
        sent[mapped.of[name]] = counts.reshape(len(counts), -1).sum(axis=0, dtype=np.float64)
    return sent


def _layers(
    converted: Converted, ran: Ran, data: Array, events: Mapping[str, float], device: str | None
) -> tuple[LayerFit, ...]:
    steps = len(ran.values)
    wanted = converted.activations(data, device)
    made: list[LayerFit] = []
    for r in converted.layers:
        counts, threshold = ran.counts[r.name], converted.worth[r.name]
        made.append(
            LayerFit(
                r.name, r.node, threshold.size, (float(threshold.min()), float(threshold.max())),
                float(np.abs(counts / steps * threshold - wanted[r.name]).mean(dtype=np.float64)),
                float(wanted[r.name].mean(dtype=np.float64)),
                float((counts == steps).mean()), float(counts.mean(dtype=np.float64)) / steps,
                events[r.name],
            )
        )  # fmt: skip
    return tuple(made)


def _on_chip(mapped: Mapped, spikes: Array, steps: int, samples: int, *, values: bool) -> Cost:
    """The events of all samples as the chip bills them, for one inference. Biases reach each neuron in each step, so
    that no update is idle."""
    chip, ticks = mapped.chip, steps * samples
    mine = np.ones(len(spikes), bool)
    for name in mapped.net.inputs:
        mine[mapped.of[name]] = False
    hops = 0.0 if mapped.hops is None else float(mapped.hops @ spikes)
    per_core = np.asarray(spikes @ mapped.reach).reshape(-1)
    events = Events(
        ticks, ticks * mapped.neurons, 0, round(float(spikes[mine].sum())), round(float(per_core.sum())), round(hops),
        _busiest(mapped, per_core, ticks),
    )  # fmt: skip
    paid = bill(chip, events)
    notes = [_scope(chip.profile)] * ("static" in paid.terms)
    notes += [f"nobody published the energy of {', '.join(paid.missing)}, which is left out"] * bool(paid.missing)
    notes += ["it has more cores than the chip, so that hops are not counted"] * (mapped.hops is None)
    notes += ["its spikes are 0 and 1, and the input is given as numbers"] * (values and chip.limit("spike_bits") == 1)
    notes += [f"as it is it does not fit: {v}" for v in mapped.violations]
    each = (paid.energy_j, paid.terms.get("static"), paid.seconds)
    energy, static, seconds = (None if v is None else v.scale(1 / samples) for v in each)
    return Cost(chip.title, energy, static, seconds, tuple(notes))


def _scope(profile: Profile) -> str:
    """What static power is of: the powers of a chip and of a whole server are not alike."""
    scope = profile.static_w.scope if profile.static_w is not None else ""
    return f"static power is that of the {scope}" if scope else "nobody says what all draws the static power"


def _busiest(mapped: Mapped, per_core: Array, ticks: int) -> tuple[int, int]:
    """Synaptic events and updates of the core with most to do over all steps."""
    if not per_core.size:
        return 0, 0
    updates = np.concatenate([np.asarray(p.parts.neurons) for p in mapped.layers]) * ticks
    s = mapped.chip.spiking
    each = [0.0 if q is None else q.value for q in (s.second_per_synaptic_event, s.second_per_neuron_update)]
    core = int(np.argmax(per_core * each[0] + updates * each[1]))
    return round(float(per_core[core])), int(updates[core])


# -- the original -----------------------------------------------------------------------------------------------


def _original(graph: Graph, profile: Profile, samples: int) -> tuple[float, float, Cost]:
    """Operations, bytes and cost of one inference, fused group after fused group; static power all the while."""
    fused, _ = groups(planned_graph(graph))
    works = [work_of(fused, n) for n in fused.nodes]
    total = [estimate(w, profile) for w in works]
    seconds = energy = Interval(0.0, 0.0, 0.0)
    for e in total:
        seconds, energy = seconds + e.seconds, energy + e.joules
    static, each = static_w(profile) * seconds, 1 / samples
    assumed = dict.fromkeys(a for e in total for a in e.assumed)
    refused = dict.fromkeys(why for n in fused.nodes if (why := refusal(fused, n, profile)) is not None)
    notes = (
        _scope(profile),
        *(f"it does not run the original as it is: {why}" for why in refused),
        *(f"the profile lacks {a}, which is assumed by kind of device" for a in assumed),
    )
    byte = sum(w.read_byte + w.write_byte + w.weight_byte for w in works) * each
    cost = Cost(profile.title, (energy + static).scale(each), static.scale(each), seconds.scale(each), notes)
    return sum(w.op for w in works) * each, byte, cost
