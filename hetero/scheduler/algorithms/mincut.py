"""Minimum cuts with real capacities, by scipy's maximum flow, which knows int32 only.

Capacities are rounded down to integers and a flow is found; then the residual network is rounded on a finer scale and
the flow continued, until what rounding lost cannot change the cut's value by more than 1e-10.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hetero.scheduler.taskgraph import Bools, Floats, Ints

LARGEST = float(2**30)  # of an int32 capacity: flow and capacity may add up without overflow
ROUNDS = 4
EXACT = 1e-10  # relative


@dataclass(slots=True)
class Arcs:
    """A network under construction. Nodes 0 .. n-1 are choices: source side or sink side."""

    n: int
    source: list[Ints] = field(default_factory=list["Ints"])
    target: list[Ints] = field(default_factory=list["Ints"])
    capacity: list[Floats] = field(default_factory=list["Floats"])
    _unary: list[tuple[Ints, Floats, Floats]] = field(default_factory=list["tuple[Ints, Floats, Floats]"])

    def nodes(self, count: int) -> Ints:
        """New nodes beside the choices."""
        first, self.n = self.n, self.n + count
        return np.arange(first, self.n)

    def unary(self, node: Ints, at_source: Floats, at_sink: Floats) -> None:
        """What a node costs on either side; inf forbids it; a node may come up several times."""
        self._unary.append((node, at_source, at_sink))

    def pair(self, source: Ints, target: Ints, capacity: Floats) -> None:
        """Paid when `source` is on the source side and `target` on the sink side."""
        self.source.append(source)
        self.target.append(target)
        self.capacity.append(capacity)

    def finished(self) -> tuple[Ints, Ints, Floats, float]:
        """Arcs with the source n and the sink n + 1, infinite capacities made finite, and the constant part."""
        at_source, at_sink = np.zeros(self.n), np.zeros(self.n)
        for node, a, b in self._unary:
            np.add.at(at_source, node, a)
            np.add.at(at_sink, node, b)
        both = np.minimum(at_source, at_sink)  # paid on either side; what is left of one of the two is an arc
        every = np.arange(self.n)
        source = np.concatenate([*self.source, np.full(self.n, self.n), every])
        target = np.concatenate([*self.target, every, np.full(self.n, self.n + 1)])
        capacity = np.concatenate([*self.capacity, at_sink - both, at_source - both])
        finite = np.isfinite(capacity)
        most = float(capacity[finite].sum()) * 2 + 1.0
        return source, target, np.where(finite, capacity, most), float(both.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Which nodes are on the source side, and a value that no cut is below."""

    source_side: Bools
    bound: float


def minimum_cut(arcs: Arcs, rounds: int = ROUNDS) -> Cut:
    """The cut of least capacity between the source and the sink."""
    source, target, capacity, constant = arcs.finished()
    network = _Network(source, target, capacity, arcs.n)
    flowed, left, side = 0.0, network.most(), np.ones(arcs.n, bool)
    for _ in range(rounds):
        added, left, side = network.push(left)
        flowed += added
        if left <= EXACT * flowed:
            break
    return Cut(side, constant + flowed)


class _Network:
    """Residual capacities in float64, over a fixed sparse pattern that has every arc and its reverse."""

    def __init__(self, source: Ints, target: Ints, capacity: Floats, n: int) -> None:
        from scipy.sparse import coo_array

        self._from, self._to, self._shape = n, n + 1, (n + 2, n + 2)
        keep = (capacity > 0) & (source != target)
        s, t, c = source[keep], target[keep], capacity[keep]
        both = np.concatenate([s, t]), np.concatenate([t, s])
        whole = coo_array((np.concatenate([c, np.zeros(len(c))]), both), shape=self._shape).tocsr()
        whole.sort_indices()
        self._rest = whole.data
        self._column, self._start = whole.indices.astype(np.int32), whole.indptr.astype(np.int32)
        self._row = np.repeat(np.arange(n + 2), np.diff(self._start))

    def most(self) -> float:
        """No more can flow than leaves the source or enters the sink."""
        leaves, enters = self._rest[self._row == self._from], self._rest[self._column == self._to]
        return float(min(leaves.sum(), enters.sum()))

    def push(self, most: float) -> tuple[float, float, Bools]:
        """As much flow as integers show on the scale of `most`: its value, what may be possible beyond, and the cut."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_flow

        if not most:
            return 0.0, 0.0, self._side(self._rest > 0)
        unit = most / LARGEST
        whole = np.floor(np.minimum(self._rest, most) / unit).astype(np.int32)
        network = csr_array((whole, self._column, self._start), shape=self._shape)
        found = maximum_flow(network, self._from, self._to)
        flow = found.flow.data  # on the same pattern, since every arc has its reverse there
        side = self._side(whole - flow > 0)
        self._rest -= flow * unit
        np.maximum(self._rest, 0.0, out=self._rest)
        ends = np.append(side, (True, False))
        crosses = ends[self._row] & ~ends[self._column]
        return float(found.flow_value) * unit, float(self._rest[crosses].sum()), side

    def _side(self, open_arcs: Bools) -> Bools:
        """Which choices the source still reaches."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order

        arcs = (self._row[open_arcs], self._column[open_arcs])
        network = csr_array((np.ones(len(arcs[0]), np.int8), arcs), shape=self._shape)
        reached = breadth_first_order(network, self._from, return_predecessors=False)
        side = np.zeros(self._shape[0], bool)
        side[reached] = True
        return side[:-2]
