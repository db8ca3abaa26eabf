"""Objectives that are sums over tasks and transfers (energy, money, serial latency): solved exactly where possible.

Two devices: a minimum cut, exact for any size. More: an integer program over the local polytope, exact up to about a
thousand tasks; beyond that alpha-expansion, a cut for each device in turn, with no proof. A tensor counts once for each
device that it is sent to.

Source: E. Li et al., DADS, INFOCOM 2019 (the cut, with a node for each tensor and direction); Y. Boykov, O. Veksler and
R. Zabih, TPAMI 2001 (alpha-expansion).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hetero.scheduler.algorithms.bounds import latency
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.hooks import Seed
from hetero.scheduler.algorithms.ilp import integer_program
from hetero.scheduler.algorithms.mincut import Arcs, minimum_cut
from hetero.scheduler.flat import Flat
from hetero.scheduler.limits import static_w
from hetero.scheduler.taskgraph import INF, Bools, Floats, Ints

ILP_TERMS = 60_000  # readings times pairs of devices, up to which the integer program is solved
SEED_S = 1.0  # for an integer program, or expansion, on the way to a plan
ADDITIVE = {"latency", "serial", "energy", "cost"}  # objectives that a sum says something about
EXACTLY = {"serial", "energy", "cost"}  # those that are such sums
SWEEPS = 4  # of alpha-expansion over all devices, at most


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The objective as sums: what a task costs on each device, and what a tensor costs on each way."""

    task: Floats  # (n, P) inf where it may not run
    per_byte: Floats  # (Z, P, P) inf without a way; 0 on the diagonal
    per_send: Floats  # (Z, P, P)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Where each task runs, what that costs, and what no assignment is below."""

    device: Ints
    value: float
    bound: float
    how: str  # min-cut, integer program, alpha-expansion

    @property
    def proven(self) -> bool:
        return self.value <= self.bound * (1 + 1e-7) + 1e-300


def sums(flat: Flat, weights: Mapping[str, float]) -> Sums:
    """Weights of serial, energy and cost; latency counts as serial, whose overlap it cannot know."""
    w_s = weights.get("serial", 0.0) + weights.get("latency", 0.0)
    w_j, w_m = weights.get("energy", 0.0), weights.get("cost", 0.0)
    seconds = np.where(flat.mask, flat.seconds, 0.0)
    task = np.where(flat.mask, w_s * seconds + w_j * flat.joules + w_m * flat.money, INF)
    zones, count = flat.pair_latency_s.shape[0], flat.count
    per_link = w_s / flat.link_byte_per_s + w_j * flat.link_joule_per_byte + w_m * flat.link_money_per_byte
    route = np.repeat(np.arange(len(flat.has_route)), np.diff(flat.route_start))
    per_byte = np.bincount(route, per_link[flat.route_link], minlength=len(flat.has_route)) if len(route) else None
    whole = np.zeros(len(flat.has_route)) if per_byte is None else per_byte
    whole = np.where(flat.has_route, whole, INF).reshape(zones, count, count)
    return Sums(task, whole, w_s * np.where(np.isfinite(flat.pair_latency_s), flat.pair_latency_s, 0.0))


def value_of(flat: Flat, s: Sums, device: Ints) -> float:
    """The sum for one assignment."""
    total = float(s.task[np.arange(flat.n), device].sum())
    if not len(flat.consumer):
        return total
    read = np.zeros(len(flat.producer) * flat.count, bool)
    read[flat.reader_places(device)] = True  # each once, without sorting them
    place = np.flatnonzero(read)
    tensor, to = place // flat.count, place % flat.count
    home, zone = device[flat.producer[tensor]], flat.tensor_zone[tensor]
    away = home != to
    tensor, to, home, zone = tensor[away], to[away], home[away], zone[away]
    return total + float((flat.tensor_byte[tensor] * s.per_byte[zone, home, to] + s.per_send[zone, home, to]).sum())


def solve_additive(
    flat: Flat, weights: Mapping[str, float], start: Ints | None = None, until: float = INF
) -> Assignment:
    """The best assignment that its size allows to find; `until`: the time.perf_counter() at which to stop improving."""
    s = sums(flat, weights)
    used = np.flatnonzero(flat.mask.any(0))
    if len(used) == 1:
        device = np.full(flat.n, used[0])
        value = value_of(flat, s, device)
        return Assignment(device, value, value, "min-cut")
    if len(used) == 2:
        return _two(flat, s, int(used[0]), int(used[1]))
    if len(flat.consumer) * len(used) ** 2 <= ILP_TERMS and until - time.perf_counter() > 0:
        found = integer_program(flat, s.task, s.per_byte, s.per_send, until - time.perf_counter())
        if found is not None:
            return Assignment(found.device, value_of(flat, s, found.device), found.bound, "integer program")
    return _expanded(flat, s, start, until)


def seeds(c: Context) -> Iterator[Seed]:
    """For the portfolio: the best assignment of the objective, and with latency in it, of its serial time.

    The bound holds where the objective is such a sum; static energy comes on top, for as long as any schedule lasts.
    """
    flat, weights = c.flat, c.objective.weights
    if not weights.keys() & ADDITIVE:
        return
    if weights.keys() <= EXACTLY:
        found = solve_additive(flat, weights, until=time.perf_counter() + SEED_S)
        still = weights.get("energy", 0.0) * static_w(c.g)
        yield Seed(found.how, found.device, found.bound + (still * latency(c) if still else 0.0))
        return
    s = sums(flat, weights)  # only a place to start from: overlap is not in it, so one cut each will do
    yield Seed("cut", _expanded(flat, s, None, time.perf_counter() + SEED_S).device)


# -- two devices ----------------------------------------------------------------------------------------------------


def _two(flat: Flat, s: Sums, p: int, q: int) -> Assignment:
    """The cut between p (source side) and q: exact."""
    arcs = Arcs(flat.n)
    arcs.unary(np.arange(flat.n), s.task[:, p], s.task[:, q])
    forth, back = (_way(flat, s, a, b) for a, b in ((p, q), (q, p)))
    single = np.diff(flat.consumer_start) == 1
    _add_single(arcs, flat, single, forth, back)
    _add_shared(arcs, flat, np.flatnonzero(~single & (np.diff(flat.consumer_start) > 0)), forth, back)
    _add_groups(arcs, flat)
    cut = minimum_cut(arcs)
    device = np.where(cut.source_side[: flat.n], p, q)
    value = value_of(flat, s, device)
    return Assignment(device, value, min(cut.bound, value), "min-cut")


def _way(flat: Flat, s: Sums, a: int, b: int) -> Floats:
    """(T,) what each tensor costs from device a to b; inf where it has no way."""
    zone = flat.tensor_zone
    with np.errstate(invalid="ignore"):
        per_byte = s.per_byte[zone, a, b]
        return (
            np.where(np.isinf(per_byte), INF, flat.tensor_byte * np.where(np.isinf(per_byte), 0, per_byte))
            + (s.per_send[zone, a, b])
        )


def _add_single(arcs: Arcs, flat: Flat, single: Bools, forth: Floats, back: Floats) -> None:
    """A tensor with one reader is an arc each way."""
    tensor = np.flatnonzero(single)
    reader = flat.consumer[flat.consumer_start[tensor]]
    arcs.pair(flat.producer[tensor], reader, forth[tensor], back[tensor])


def _add_shared(arcs: Arcs, flat: Flat, tensor: Ints, forth: Floats, back: Floats) -> None:
    """With several readers, a node for each direction: it is paid for once, when any reader is on the other side."""
    if not len(tensor):
        return
    there, back_again = arcs.nodes(len(tensor)), arcs.nodes(len(tensor))
    arcs.pair(flat.producer[tensor], there, forth[tensor])
    arcs.pair(back_again, flat.producer[tensor], back[tensor])
    number = np.diff(flat.consumer_start)[tensor]
    which = np.repeat(np.arange(len(tensor)), number)
    first = np.repeat(flat.consumer_start[tensor] - np.concatenate(([0], np.cumsum(number)[:-1])), number)
    readers = flat.consumer[first + np.arange(int(number.sum()))]
    free = np.full(len(readers), INF)
    arcs.pair(there[which], readers, free)
    arcs.pair(readers, back_again[which], free)


def _add_groups(arcs: Arcs, flat: Flat) -> None:
    """Tasks of one group are on one side."""
    if flat.grouped:
        other = np.flatnonzero(flat.group != np.arange(flat.n))
        free = np.full(len(other), INF)
        arcs.pair(other, flat.group[other], free, free)


# -- many devices ---------------------------------------------------------------------------------------------------


def _expanded(flat: Flat, s: Sums, start: Ints | None, until: float) -> Assignment:
    """Alpha-expansion from `start`: each device in turn may take any set of tasks, the best set by a cut."""
    device = _start(flat, s) if start is None else start.copy()
    value = value_of(flat, s, device)
    for _ in range(SWEEPS):
        before = value
        for p in np.flatnonzero(flat.mask.any(0)).tolist():
            if time.perf_counter() > until:
                return Assignment(device, value, _floor(s), "alpha-expansion")
            for shared in (True, False):
                moved = _expansion(flat, s, device, p, shared)
                found = value_of(flat, s, moved)
                if found < value:
                    device, value = moved, found
        if value >= before * (1 - 1e-9):
            break
    return Assignment(device, value, _floor(s), "alpha-expansion")


def _start(flat: Flat, s: Sums) -> Ints:
    """The best of: all on one device as far as may be; each task where it is cheapest."""
    cheapest = np.where(flat.mask, s.task, INF).argmin(1)
    tries = [cheapest[flat.group], *(np.where(flat.mask[:, p], p, cheapest)[flat.group] for p in range(flat.count))]
    return min(tries, key=lambda device: value_of(flat, s, device))


def _floor(s: Sums) -> float:
    """A bound: every task where it is cheapest, nothing sent."""
    return float(s.task.min(1).sum())


def _expansion(flat: Flat, s: Sums, device: Ints, p: int, shared: bool) -> Ints:
    """The best set of tasks to move to p. Source side: stays.

    The cut cannot know who shares a transfer afterwards. `shared`: readers that share one now split its price, and
    readers that come to p all come; else each pays in full. Whatever it says, the caller goes by the true value.
    """
    every = np.arange(flat.n)
    arcs = Arcs(flat.n)
    arcs.unary(every, s.task[every, device], np.where(device == p, s.task[every, device], s.task[:, p]))
    source, target, tensor = flat.edges
    zone, byte = flat.tensor_zone[tensor], flat.tensor_byte[tensor]
    a, b = device[source], device[target]
    place = flat.reader_places(device)
    here = 1.0 / np.bincount(place)[place] if shared else np.ones(len(tensor))
    there = 1.0 / np.diff(flat.consumer_start)[tensor] if shared else here

    def way(x: Ints | int, y: Ints | int) -> Floats:
        per_byte = s.per_byte[zone, x, y]
        whole = np.where(np.isinf(per_byte), INF, byte * np.where(np.isinf(per_byte), 0.0, per_byte))
        return np.where(np.asarray(x) == np.asarray(y), 0.0, whole + s.per_send[zone, x, y])

    same = way(a, b) * here
    first, second = way(p, b) * here, way(a, p) * there
    # Both stay: same. The producer moves: first. The reader moves: second. Both move: 0. Written as what the producer
    # pays to move, what the reader pays to stay, and an arc for the rest, cut off at 0 where no triangle holds.
    none = np.zeros(len(tensor))
    least = np.minimum(same, first)
    arcs.unary(target, least, none)
    arcs.pair(target, source, first - least)
    arcs.unary(source, same - least, none)
    arcs.pair(source, target, np.maximum(second - (same - least), 0.0))
    _add_groups(arcs, flat)
    cut = minimum_cut(arcs, rounds=1)
    moved = np.where(cut.source_side[: flat.n], device, p)
    return moved if np.isfinite(s.task[every, moved]).all() else device
