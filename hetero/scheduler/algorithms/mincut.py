"""Minimum cuts with real capacities: compiled, or by scipy's maximum flow, which knows int32 only.

For scipy capacities are rounded down to integers and a flow is found; then the residual network is rounded on a finer
scale and the flow continued, until what rounding lost cannot change the cut's value by more than 1e-10. Little is left
to flow after the first time, so that most arcs are too wide to be cut: what they join is one node from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hetero.scheduler import native
from hetero.scheduler.native import address, contiguous
from hetero.scheduler.taskgraph import Bools, Floats, Ints

if TYPE_CHECKING:
    from ctypes import CDLL

LARGEST = float(2**30)  # of an int32 capacity: flow and capacity may add up without overflow
ROUNDS = 4
EXACT = 1e-10  # relative
ROUNDING = 1e-10  # relative, of the flow: a sum over paths, each of which may lose 1.1e-16, so for 900,000 of them


@dataclass(slots=True)
class Arcs:
    """A network under construction. Nodes 0 .. n-1 are choices: source side or sink side."""

    n: int
    source: list[Ints] = field(default_factory=list["Ints"])
    target: list[Ints] = field(default_factory=list["Ints"])
    capacity: list[Floats] = field(default_factory=list["Floats"])
    back: list[Floats] = field(default_factory=list["Floats"])
    _unary: list[tuple[Ints, Floats, Floats]] = field(default_factory=list["tuple[Ints, Floats, Floats]"])

    def nodes(self, count: int) -> Ints:
        """New nodes beside the choices."""
        first, self.n = self.n, self.n + count
        return np.arange(first, self.n)

    def unary(self, node: Ints, at_source: Floats, at_sink: Floats) -> None:
        """What a node costs on either side; inf forbids it; a node may come up several times."""
        self._unary.append((node, at_source, at_sink))

    def pair(self, source: Ints, target: Ints, capacity: Floats, back: Floats | None = None) -> None:
        """Paid when `source` is on the source side and `target` on the sink side; `back`: the other way round."""
        self.source.append(source)
        self.target.append(target)
        self.capacity.append(capacity)
        self.back.append(np.zeros(len(source)) if back is None else back)

    def finished(self) -> Network:
        """The whole, infinite capacities made finite."""
        at_source, at_sink = np.zeros(self.n), np.zeros(self.n)
        for node, a, b in self._unary:
            at_source += np.bincount(node, a, minlength=self.n)
            at_sink += np.bincount(node, b, minlength=self.n)
        both = np.minimum(at_source, at_sink)  # paid on either side; what is left of one of the two is an arc
        nothing = np.zeros(0)
        source, target = (np.concatenate([np.zeros(0, np.int64), *x]) for x in (self.source, self.target))
        forth, back = (np.concatenate([nothing, *x]) for x in (self.capacity, self.back))
        keep = (source != target) & ((forth > 0) | (back > 0))
        source, target, forth, back = source[keep], target[keep], forth[keep], back[keep]
        end = at_sink - at_source
        most = 1.0 + 2 * sum(float(x[np.isfinite(x)].sum()) for x in (forth, back, np.abs(end)))
        end = np.clip(end, -most, most)
        return Network(self.n, source, target, np.minimum(forth, most), np.minimum(back, most), end, float(both.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Arcs between nodes, with capacities both ways; `end`: of the arc from the source, or if negative to the sink."""

    n: int
    source: Ints
    target: Ints
    forth: Floats
    back: Floats
    end: Floats
    constant: float  # paid whatever the cut


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Which nodes are on the source side, and a value that no cut is below."""

    source_side: Bools
    bound: float


def minimum_cut(arcs: Arcs, rounds: int = ROUNDS) -> Cut:
    """The cut of least capacity between the source and the sink; `rounds` of refinement where it is not compiled."""
    network = arcs.finished()
    library = native.library()
    return _compiled(library, network) if library is not None else _by_integers(network, rounds)


def _compiled(library: CDLL, network: Network) -> Cut:
    ends = [contiguous(x, np.int64) for x in (network.source, network.target)]
    capacities = [contiguous(x, np.float64) for x in (network.forth, network.back)]
    end = network.end.copy()
    side = np.zeros(max(network.n, 1), np.uint8)
    given = [address(x) for x in (*ends, *capacities, end, side)]
    flow = library.hetero_cut(network.n, len(network.source), *given)
    if flow < 0:
        raise MemoryError
    return Cut(side[: network.n].astype(bool), network.constant + flow * (1 - ROUNDING))


def _by_integers(network: Network, rounds: int) -> Cut:
    rest = _Residual(network)
    flowed, left = 0.0, rest.most()
    for _ in range(rounds):
        rest.merge(left)
        added, left = rest.push(left)
        flowed += added
        if left <= EXACT * flowed:
            break
    return Cut(rest.side(), network.constant + flowed * (1 - ROUNDING))


class _Residual:
    """Residual capacities in float64, over a sparse pattern that has every arc and its reverse.

    Nodes of the network may be one node here: `number` says which.
    """

    def __init__(self, network: Network) -> None:
        n = network.n
        self._from, self._to = n, n + 1
        first, last = np.flatnonzero(network.end > 0), np.flatnonzero(network.end < 0)
        s = np.concatenate([network.source, np.full(len(first), n), last])
        t = np.concatenate([network.target, first, np.full(len(last), n + 1)])
        forth = np.concatenate([network.forth, network.end[first], -network.end[last]])
        back = np.concatenate([network.back, np.zeros(len(first) + len(last))])
        self._number = np.arange(n + 2)
        self._reached = np.arange(n + 2) == n
        self._lay(np.concatenate([s, t]), np.concatenate([t, s]), np.concatenate([forth, back]))

    def _lay(self, row: Ints, column: Ints, rest: Floats) -> None:
        """The pattern; parallel arcs become one."""
        from scipy.sparse import coo_array

        self._shape = (len(self._reached),) * 2
        whole = coo_array((rest, (row, column)), shape=self._shape).tocsr()
        whole.sort_indices()
        self._rest = np.asarray(whole.data, np.float64)
        self._column, self._start = whole.indices.astype(np.int32), whole.indptr.astype(np.int32)
        self._row = np.repeat(np.arange(self._shape[0]), np.diff(self._start))

    def most(self) -> float:
        """No more can flow than leaves the source or enters the sink."""
        leaves, enters = self._rest[self._row == self._from], self._rest[self._column == self._to]
        return float(min(leaves.sum(), enters.sum()))

    def merge(self, most: float) -> None:
        """Makes one node of nodes that no cut of at most `most` parts. No more flows, so that stays so.

        An arc wider than that leads from no source side to a sink side. So what the source reaches over wide arcs is
        with it, what reaches the sink is with that, and nodes on a circle are on one side: in terms of strongly
        connected components, as if every node led to the source, and the sink to every node.
        """
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        wide = self._rest > most
        if not wide.any():
            return
        every = np.arange(self._shape[0])
        row = np.concatenate([self._row[wide], every, np.full(len(every), self._to)])
        column = np.concatenate([self._column[wide], np.full(len(every), self._from), every])
        joined = csr_array((np.ones(len(row), np.int8), (row, column)), shape=self._shape)
        count, number = connected_components(joined, connection="strong")
        self._number = number[self._number]
        self._from, self._to = int(number[self._from]), int(number[self._to])
        self._reached = np.arange(count) == self._from
        a, b = number[self._row], number[self._column]
        apart = a != b
        self._lay(a[apart], b[apart], self._rest[apart])

    def push(self, most: float) -> tuple[float, float]:
        """As much flow as integers show of at most `most`: its value, and what may be possible beyond."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_flow

        widest = self._widest(most)
        if not widest:  # nothing flows
            self._reached = self._reach(self._rest > 0)
            return 0.0, 0.0
        unit = 2 * widest / LARGEST  # twice, so that no arc that is cut down to the scale is ever full
        whole = np.floor(np.minimum(self._rest, 2 * widest) / unit).astype(np.int32)
        network = csr_array((whole, self._column, self._start), shape=self._shape)
        found = maximum_flow(network, self._from, self._to)
        flow = found.flow.data  # on the same pattern, since every arc has its reverse there
        self._reached = self._reach(whole - flow > 0)
        self._rest -= flow * unit
        np.maximum(self._rest, 0.0, out=self._rest)
        crosses = self._reached[self._row] & ~self._reached[self._column]
        return float(found.flow_value) * unit, float(self._rest[crosses].sum())

    def _widest(self, most: float) -> float:
        """The most that any arc can carry: no more than enters where it begins, nor than leaves where it ends.

        So arcs without a limit of their own do not make the scale coarse for all others.
        """
        room = np.minimum(self._rest, most)
        enters = np.bincount(self._column, room, minlength=self._shape[0])
        leaves = np.bincount(self._row, room, minlength=self._shape[0])
        enters[self._from] = leaves[self._to] = most
        return float(np.minimum(room, np.minimum(enters[self._row], leaves[self._column])).max(initial=0.0))

    def _reach(self, open_arcs: Bools) -> Bools:
        """Which nodes the source still reaches."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order

        arcs = (self._row[open_arcs], self._column[open_arcs])
        network = csr_array((np.ones(len(arcs[0]), np.int8), arcs), shape=self._shape)
        reached = np.zeros(self._shape[0], bool)
        reached[breadth_first_order(network, self._from, return_predecessors=False)] = True
        return reached

    def side(self) -> Bools:
        """Which choices are on the source side after the last push."""
        return self._reached[self._number][:-2]
