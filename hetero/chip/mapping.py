"""A network on a chip: which core has which neurons, how full cores are, how far spikes go, what does not fit.

A core holds neurons of one layer. Spikes go from core to core one by one, along rows and then columns. Inputs come
from outside: they take axons, and no hops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hetero.chip import check
from hetero.chip.chip import Chip
from hetero.chip.limits import Violation
from hetero.chip.partition import Parts, partition
from hetero.chip.route import Matrix, hops, place
from hetero.chip.synapses import Population, populations
from hetero.op import Array
from hetero.spiking.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A layer of neurons on its cores, which are first_core, first_core + 1, ..."""

    population: Population
    parts: Parts
    first_core: int

    @property
    def name(self) -> str:
        return self.population.layer.name

    @property
    def cores(self) -> Array:
        """The core of each piece of a neuron."""
        return self.parts.core + self.first_core


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """What came of it. Inputs and neurons are numbered together: those of `name` are the slice `of[name]`.

    `reach` counts synapses of each of them in each core, `hops` links that one of its spikes passes, to all cores.
    `tiles` has row and column of each core; None where there are more cores than the chip has: then hops are unknown.
    """

    chip: Chip
    net: Network
    layers: tuple[Placed, ...]
    violations: tuple[Violation, ...]
    of: Mapping[str, slice]
    reach: Matrix
    hops: Array | None = None
    tiles: Array | None = None

    @property
    def fits(self) -> bool:
        return not self.violations

    @property
    def cores(self) -> int:
        return sum(p.parts.cores for p in self.layers)

    @property
    def neurons(self) -> int:
        return sum(p.population.size for p in self.layers)

    @property
    def synapses(self) -> int:
        return sum(len(p.population.source) for p in self.layers)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Limits that nobody published, so that nothing can be said about them."""
        return tuple(k for k in self.chip.checked if self.chip.quantity(k) is None)


def map_network(net: Network, chip: Chip, activity: Mapping[str, Array] | None = None) -> Mapped:
    """`net` on `chip`. `activity` says how often each neuron of a layer spikes, for its place; else all alike."""
    firsts, found = populations(net, crossbar=chip.limit("axon_types") is not None, sums=chip.sums_out)
    layers: list[Placed] = []
    for p in found:
        before = layers[-1] if layers else None
        first = before.first_core + before.parts.cores if before else 0
        layers.append(Placed(p, partition(p, chip), first))
    sizes = {n: int(np.prod(s)) for n, s in net.inputs.items()} | {p.layer.name: p.size for p in found}
    of = {n: slice(firsts[n], firsts[n] + k) for n, k in sizes.items()}
    reach = _reach(layers, sum(sizes.values()))
    homes = _homes(layers, reach.shape[0])
    violations = tuple(check.every(net, chip, layers, reach, homes))
    most = chip.limit("cores")
    if most is not None and reach.shape[1] > most:
        return Mapped(chip, net, tuple(layers), violations, of, reach)
    rate = np.ones(reach.shape[0])
    for name, often in (activity or {}).items():
        rate[of[name]] = np.ravel(often)
    tiles = place(_traffic(reach, homes, rate), chip.shape)
    return Mapped(chip, net, tuple(layers), violations, of, reach, _hops(reach, homes, tiles), tiles)


def _reach(layers: list[Placed], sources: int) -> Matrix:
    """Synapses of each source (inputs and neurons) in each core."""
    from scipy.sparse import csr_array  # late: who only looks which devices there are loads this module too

    rows = [p.population.source for p in layers]
    columns = [p.parts.core_of_synapse() + p.first_core for p in layers]
    cores = sum(p.parts.cores for p in layers)
    row, column = np.concatenate(rows or [[]]).astype(np.int64), np.concatenate(columns or [[]]).astype(np.int64)
    return csr_array((np.ones(len(row)), (row, column)), shape=(sources, cores))


def _homes(layers: list[Placed], sources: int) -> Array:
    """The core that each source spikes from; -1 for inputs."""
    home = np.full(sources, -1, np.int64)
    for p in layers:
        home[p.population.first : p.population.first + p.population.size] = p.parts.home() + p.first_core
    return home


def _traffic(reach: Matrix, homes: Array, rate: Array) -> Matrix:
    """Spikes from core to core: one for each neuron and core that it reaches, times its rate."""
    from scipy.sparse import csr_array

    row, column = reach.nonzero()
    mine = homes[row] >= 0
    n = reach.shape[1]
    return csr_array((rate[row[mine]], (homes[row[mine]], column[mine])), shape=(n, n))


def _hops(reach: Matrix, homes: Array, tiles: Array) -> Array:
    """Links that one spike of each source passes, over all the cores that it goes to."""
    row, column = reach.nonzero()
    mine = homes[row] >= 0
    far = hops(tiles[homes[row[mine]]], tiles[column[mine]])
    return np.bincount(row[mine], far, minlength=reach.shape[0]).astype(np.int64)
