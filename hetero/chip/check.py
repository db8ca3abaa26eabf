"""A mapping against the limits of its chip, one rule for each limit; all that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hetero.chip import limits, widths
from hetero.chip.chip import Chip
from hetero.chip.limits import Violation, axon_types
from hetero.chip.partition import axon_ids
from hetero.chip.route import Matrix
from hetero.op import Array
from hetero.spiking.network import Network

if TYPE_CHECKING:
    from hetero.chip.mapping import Placed


def every(net: Network, chip: Chip, layers: list[Placed], reach: Matrix, homes: Array) -> Iterator[Violation]:
    """Of the network, of each layer in order, of the whole."""
    yield from limits.kinds(net, chip)
    images = widths.input_layers(net, chip)
    for p in layers:
        yield from limits.weights(p.population, chip, image=p.name in images)
        yield from _activation(p, chip)
        yield from limits.neuron_bits(p.population, chip)
        yield from _inputs(p, chip)
        yield from _types(p, chip)
        yield from _memory(p, chip)
    yield from _outputs(chip, layers, reach, homes)
    yield from _whole(chip, reach.shape[1])


def _activation(p: Placed, chip: Chip) -> Iterator[Violation]:
    wrong = widths.activation(p.population.layer, chip)
    if wrong is not None:
        value, allowed, fix, over = wrong
        yield Violation("activation_bits", p.name, value, allowed, fix, over)


def _inputs(p: Placed, chip: Chip) -> Iterator[Violation]:
    """Inputs of one neuron: its own limit, or the axons of a core."""
    if chip.splits_neurons:
        return
    name = p.name
    own, axons = chip.limit("fan_in"), chip.limit("axons_per_core")
    widest = int(np.diff(p.population.start).max(initial=0))
    most = min((n for n in (own, axons) if n is not None), default=None)
    if most is not None and (widest > most or int(p.parts.axons.max(initial=0)) > most):
        which = "fan_in" if own is not None and own <= (axons or own) else "axons_per_core"
        what = "axons of a core" if axons == most else "inputs of a neuron"
        yield Violation(
            which, name, f"fan-in {max(widest, int(p.parts.axons.max(initial=0)))}", f"{most} {what}",
            f"split the layer into groups of {most} inputs{_instead('axons_per_core', widest, chip)}",
        )  # fmt: skip


def _instead(limit: str, wanted: int, chip: Chip) -> str:
    """A shipped chip on which so many fit, as a remedy."""
    from hetero.chip.chip import load_chip  # late: only a violation asks for the others

    other = load_chip("loihi")
    room = other.limit(limit)
    return ", or use loihi" if chip.name != "loihi" and room is not None and room >= wanted else ""


def _types(p: Placed, chip: Chip) -> Iterator[Violation]:
    """Different weights of the inputs of a core, where axons have a few types."""
    most = chip.limit("axon_types")
    if most is None or not len(p.population.source):
        return
    ids, core, target = axon_ids(p.population, chip), p.parts.core_of_synapse(), p.population.target
    order = np.argsort(core, kind="stable")
    cores = np.split(order, np.flatnonzero(np.diff(core[order])) + 1)
    if any(axon_types(target[at], ids[at], p.population.weight[at], most) > most for at in cores):
        yield Violation(
            "axon_types", p.name, f"weights need more than {most} types of axons in a core", f"{chip.name} has {most}",
            f"let each neuron have {most} different weights, and inputs of one type the same one, or use loihi",
            over=False,
        )  # fmt: skip


def _memory(p: Placed, chip: Chip) -> Iterator[Violation]:
    """One neuron with more synapses than a core holds; others were given a core that has room."""
    room, most = p.parts.room, int(p.parts.synapses.max(initial=0))
    if most > room.synapses:
        yield Violation(
            "synapses_per_core", p.name, f"a neuron with {most} synapses", f"{room.synapses} of a core",
            "give it fewer inputs",
        )  # fmt: skip
    bits = int(p.parts.bits.max(initial=0))
    if bits > room.bits:
        limit = "synapse_byte_per_core" if chip.quantity("synapse_byte_per_core") else "local_byte"
        yield Violation(
            limit, p.name, f"synapses of {bits // 8} bytes in a core", f"{room.bits // 8} bytes",
            "give neurons fewer inputs, or weights fewer bits",
        )  # fmt: skip


def _outputs(chip: Chip, layers: list[Placed], reach: Matrix, homes: Array) -> Iterator[Violation]:
    """Cores that one neuron sends to, and all neurons of a core together."""
    sends = np.diff(reach.indptr)  # cores that each source goes to
    each, together = chip.limit("fan_out"), chip.limit("output_axons_per_core")
    mine = homes >= 0
    by_core = np.bincount(homes[mine], sends[mine], minlength=reach.shape[1])
    for p in layers:
        k = p.population
        most = int(sends[k.first : k.first + k.size].max(initial=0))
        if each is not None and most > each:
            yield Violation(
                "fan_out", p.name, f"a neuron that sends to {most} cores", f"{each}",
                "make what reads it narrower, or copy its spikes with neurons in between",
            )  # fmt: skip
        all_of = int(by_core[p.first_core : p.first_core + p.parts.cores].max(initial=0))
        if together is not None and all_of > together:
            yield Violation(
                "output_axons_per_core", p.name, f"{all_of} output axons of a core", f"{together}",
                "spread the layer over more cores, or make what reads it narrower",
            )  # fmt: skip


def _whole(chip: Chip, cores: int) -> Iterator[Violation]:
    most = chip.limit("cores")
    if most is not None and cores > most:
        yield Violation("cores", "", f"{cores} cores", f"{most} of a chip", "make the network smaller")
