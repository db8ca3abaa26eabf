"""What a run costs on a chip: energy and time as intervals, from the events that happened and the chip's profile.

energy = static power x time + updates x e_update + spikes x e_spike + synaptic events x e_event + hops x e_hop

A term that nobody published is missing and named. A term that the energy of an event holds already (`Chip.holds`) is
not added again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from hetero.chip.chip import Chip
from hetero.profile.quantity import Interval, Quantity, interval


@dataclass(frozen=True, slots=True)
class Events:
    """What happened in a run. `idle_updates` are those of the updates whose neuron got nothing in the step; `busiest`
    has synaptic events and updates of the core with most to do."""

    ticks: int
    updates: int = 0
    idle_updates: int = 0
    spikes: int = 0
    synaptic: int = 0
    hops: int = 0
    busiest: tuple[int, int] = (0, 0)

    def __add__(self, other: Events) -> Events:
        """Both runs, one after the other."""
        mine = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "busiest"}
        a, b = self.busiest, other.busiest
        return Events(**mine, busiest=(a[0] + b[0], a[1] + b[1]))


@dataclass(frozen=True, slots=True)
class Bill:
    """Energy and time of a run; simulated, as all events are. `missing` names terms that nobody published.

    `energy_j` is None where not even synaptic events have an energy. With something missing it is a lower bound.
    """

    chip: str
    events: Events
    terms: Mapping[str, Interval]
    missing: tuple[str, ...]
    seconds: Interval | None

    @property
    def energy_j(self) -> Interval | None:
        if "synaptic" in self.missing:
            return None
        total = Interval(0.0, 0.0, 0.0)
        for term in self.terms.values():
            total = total + term
        return total

    @property
    def watt(self) -> Interval | None:
        """Mean power."""
        energy = self.energy_j
        return None if energy is None or self.seconds is None else energy / self.seconds


def bill(chip: Chip, events: Events, tick_s: Quantity | float | None = None) -> Bill:
    """What these events cost. `tick_s` replaces the chip's own step."""
    s = chip.spiking
    seconds = duration(chip, events, tick_s)
    idle = s.joule_per_idle_update or s.joule_per_neuron_update
    found: dict[str, Interval | None] = {
        "static": _times(chip.profile.static_w, seconds),
        "update": _times(s.joule_per_neuron_update, events.updates - events.idle_updates),
        "spike": _times(s.joule_per_spike, events.spikes),
        "hop": _times(s.joule_per_hop, events.hops),
        "synaptic": _times(s.joule_per_synaptic_event, events.synaptic),
    }
    update, rest = found["update"], _times(idle, events.idle_updates)
    if update is not None and rest is not None:
        found["update"] = update + rest
    found = {k: v for k, v in found.items() if k not in chip.holds}
    missing = tuple(k for k, v in found.items() if v is None)
    return Bill(chip.name, events, {k: v for k, v in found.items() if v is not None}, missing, seconds)


def duration(chip: Chip, events: Events, tick_s: Quantity | float | None = None) -> Interval | None:
    """Ticks of the chip's step; where times of events are published, the busiest core's work on top of it."""
    tick = tick_s if tick_s is not None else chip.spiking.step_s
    if tick is None:
        return None
    total = interval(tick) * events.ticks
    if tick_s is not None:
        return total
    synaptic, updates = events.busiest
    work = (chip.spiking.second_per_synaptic_event, synaptic), (chip.spiking.second_per_neuron_update, updates)
    for each, count in work:
        total = total if each is None else total + interval(each) * count
    return total


def _times(each: Quantity | None, count: Interval | float | None) -> Interval | None:
    return None if each is None or count is None else interval(each) * count
