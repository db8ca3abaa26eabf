"""The events of a run that has not been: what a mapped network does on its chip where each source spikes equally often.

The same counts as `hetero.chip.simulate` makes step by step, as expectations: `bill` prices both.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from hetero.chip.chip import Chip, chips, load_chip
from hetero.chip.energy import Events
from hetero.chip.mapping import Mapped


@cache
def chip_of_profile(name: str) -> Chip | None:
    """The shipped chip whose rates and energies are those of a profile."""
    return next((chip for chip in map(load_chip, chips()) if chip.profile.name == name), None)


def expected(mapped: Mapped, ticks: int, activity: float) -> Events:
    """Events in so many ticks, where inputs and neurons spike with this share, independently of each other."""
    of_source = np.asarray(mapped.reach.sum(axis=1)).ravel()
    of_core = np.asarray(mapped.reach.sum(axis=0)).ravel()
    neurons = np.zeros(len(of_core))
    idle = 0.0
    for p in mapped.layers:
        neurons[p.first_core : p.first_core + p.parts.cores] = p.parts.neurons
        idle += float(((1.0 - activity) ** np.diff(p.population.start)).sum())
    hops = 0.0 if mapped.hops is None else float(mapped.hops.sum())
    s = mapped.chip.spiking
    each = [q.value if q is not None else 0.0 for q in (s.second_per_synaptic_event, s.second_per_neuron_update)]
    weights = each if s.second_per_synaptic_event is not None else [1.0, 0.0]
    most = int(np.argmax(of_core * activity * weights[0] + neurons * weights[1])) if len(of_core) else None
    busiest = (0.0, 0.0) if most is None else (float(of_core[most]) * activity, float(neurons[most]))

    def whole(of_tick: float) -> int:
        return round(of_tick * ticks)

    return Events(
        ticks, whole(mapped.neurons), whole(idle), whole(mapped.neurons * activity),
        whole(float(of_source.sum()) * activity), whole(hops * activity), (whole(busiest[0]), whole(busiest[1])),
    )  # fmt: skip
