"""The neurons of a layer over cores: filled in order, a core is closed when the next neuron does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hetero.chip.chip import Chip
from hetero.chip.limits import bits_of
from hetero.chip.synapses import Population
from hetero.chip.widths import stored
from hetero.op import Array

_NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Room:
    """What one core has for one layer; bits are of synapses, `fixed_bits` those of shared kernels."""

    neurons: int
    axons: int
    synapses: int
    bits: int
    bits_each: int
    fixed_bits: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Pieces of neurons in cores: a piece holds the synapses start to stop of its neuron. Most have one."""

    room: Room
    neuron: Array
    start: Array
    stop: Array
    core: Array  # numbered from 0 in the layer
    axons: Array  # of each core

    @property
    def cores(self) -> int:
        return len(self.axons)

    @property
    def neurons(self) -> Array:
        """Pieces of neurons in each core."""
        return np.bincount(self.core, minlength=self.cores)

    @property
    def synapses(self) -> Array:
        return np.bincount(self.core, self.stop - self.start, minlength=self.cores).astype(np.int64)

    @property
    def bits(self) -> Array:
        return self.synapses * self.room.bits_each + self.room.fixed_bits

    def core_of_synapse(self) -> Array:
        """The core of each synapse of the layer."""
        order = np.argsort(self.start, kind="stable")
        order = order[self.stop[order] > self.start[order]]
        return np.repeat(self.core[order], self.stop[order] - self.start[order])

    def home(self) -> Array:
        """The core that each neuron spikes from: that of its first piece."""
        home = np.zeros(int(self.neuron.max(initial=-1)) + 1, np.int64)
        home[self.neuron[::-1]] = self.core[::-1]
        return home


def room_for(p: Population, chip: Chip) -> Room:
    """What a core of the chip has for this layer."""
    limits = {k: chip.limit(k) for k in ("neurons_per_core", "axons_per_core", "synapses_per_core", "fan_in")}
    number = {k: _NO_LIMIT if v is None else v for k, v in limits.items()}
    bits = chip.memory_bits
    whole, overhead = chip.limit("synapse_bits"), chip.limit("overhead_bits") or 0
    weight = stored(bits_of(p, chip) or chip.limit("weight_bits") or 32, chip.weight_widths)
    shared = chip.shared_kernels and p.kernels >= 0
    return Room(
        neurons=number["neurons_per_core"],
        axons=min(number["axons_per_core"], number["fan_in"]) if chip.splits_neurons else number["axons_per_core"],
        synapses=number["synapses_per_core"],
        bits=_NO_LIMIT if bits is None else bits,
        bits_each=0 if bits is None or shared else whole if whole is not None else weight + overhead,
        fixed_bits=weight * p.kernels if shared and bits is not None else 0,
    )


def axon_ids(p: Population, chip: Chip) -> Array:
    """The axon of each synapse. Where axons have types, a delay is the axon's; elsewhere it is the synapse's."""
    if chip.limit("axon_types") is None:
        return p.source
    return p.source * (int(p.delay.max(initial=0)) + 1) + p.delay


def partition(p: Population, chip: Chip) -> Parts:
    """The layer over as few cores as filling in order gives: in the order of its elements, or channels last."""
    room = room_for(p, chip)
    ids = axon_ids(p, chip)
    orders = [np.arange(p.size)]
    if len(p.layer.shape) > 1:
        orders.append(np.moveaxis(np.arange(p.size).reshape(p.layer.shape), 0, -1).ravel())
    made = [_fill(p, ids, order, room, split=chip.splits_neurons) for order in orders]
    return min(made, key=lambda m: (m.cores, int(m.axons.sum())))


def _fill(p: Population, ids: Array, order: Array, room: Room, *, split: bool) -> Parts:
    neuron, start, stop = _pieces(p, ids, order, room, split)
    _, dense_ids = np.unique(ids, return_inverse=True)
    seen = np.full(int(dense_ids.max(initial=-1)) + 1, -1, np.int64)
    twice = _has_twice(p, ids)
    core = np.zeros(len(neuron), np.int64)
    axons: list[int] = []
    now, n, a, s = -1, 0, 0, 0
    for k, (first, last) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        mine = dense_ids[first:last]
        if twice:
            mine = np.unique(mine)
        new = int(np.count_nonzero(seen[mine] != now)) if now >= 0 else len(mine)
        more = s + last - first
        full = n >= room.neurons or a + new > room.axons or more > room.synapses
        if full or now < 0 or more * room.bits_each + room.fixed_bits > room.bits:
            now, n, a, s = now + 1, 0, 0, 0  # an empty core takes whatever comes: what is too much is told later
            axons.append(0)
            new = len(mine)
        seen[mine] = now
        core[k], n, a, s = now, n + 1, a + new, s + last - first
        axons[now] = a
    return Parts(room, neuron, start, stop, core, np.asarray(axons, np.int64))


def _has_twice(p: Population, ids: Array) -> bool:
    """Whether an axon reaches a neuron more than once (with different delays)."""
    same = ids[1:] == ids[:-1]
    same[p.start[1:-1][(p.start[1:-1] > 0) & (p.start[1:-1] < len(ids))] - 1] = False
    return bool(same.any())


def _pieces(p: Population, ids: Array, order: Array, room: Room, split: bool) -> tuple[Array, Array, Array]:
    """Neurons in their order; where allowed, one with more inputs than a core takes is cut."""
    start, stop = p.start[order], p.start[order + 1]
    fits = min(room.axons, room.synapses)
    if room.bits_each:
        fits = min(fits, (room.bits - room.fixed_bits) // room.bits_each)
    if not split or fits < 1 or (stop - start).max(initial=0) <= fits:
        return order, start, stop
    count = np.maximum(1, -(-(stop - start) // fits))
    neuron = np.repeat(order, count)
    begin = np.repeat(start, count) + fits * (np.arange(len(neuron)) - np.repeat(np.cumsum(count) - count, count))
    return neuron, begin, np.minimum(begin + fits, np.repeat(stop, count))
