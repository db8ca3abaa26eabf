"""A task graph as flat arrays with all constraints put in: what the simulator, lists and compiled kernels read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.taskgraph import INF, SHOWN, Bools, Floats, Ints, TaskGraph

Hop = tuple[int, int, float, float]  # link, its queue (-1: none), byte/s, latency


class Lists(NamedTuple):
    """The arrays as Python lists, which a plain loop reads several times faster."""

    in_start: list[int]
    in_tensor: list[int]
    producer: list[int]
    tensor_byte: list[float]
    base: list[int]  # (T,) where the routes of the tensor's zone begin in `hops`
    hops: list[tuple[Hop, ...] | None]  # (Z * P * P,) the way from one device to another; None: there is none
    seconds: list[list[float]]  # (n, P) inf where forbidden
    watts: list[list[float]]


class Near(NamedTuple):
    """Neighbours of tasks."""

    start: Ints  # (n + 1,)
    split: Ints  # (n,) where those begin that read from it
    task: Ints  # (2 E,)


class Level(NamedTuple):
    """Readings whose producers have the same level, sorted by producer."""

    edge: Ints  # numbers in `Flat.edges`
    source: Ints  # each producer once
    first: Ints  # where each producer's readings begin in `edge`


@dataclass(frozen=True, eq=False)
class Flat:
    """`n` tasks, `count` devices. Routes are numbered zone * P * P + from * P + to."""

    n: int
    count: int
    queues: int
    mask: Bools  # (n, P) where a task may run and all its neighbours can be reached
    group: Ints  # (n,)
    grouped: bool  # whether any two tasks must stay together
    seconds: Floats  # (n, P) inf outside the mask
    joules: Floats
    money: Floats
    resident_byte: Floats
    watts: Floats  # (n, P) joules over seconds; 0 for tasks that take no time
    producer: Ints
    tensor_byte: Floats
    tensor_zone: Ints
    in_start: Ints
    in_tensor: Ints
    consumer_start: Ints
    consumer: Ints
    out_start: Ints
    out_tensor: Ints
    topological: Ints
    level: Ints  # (n,)
    route_start: Ints  # (Z * P * P + 1,)
    route_link: Ints
    has_route: Bools  # (Z * P * P,)
    pair_s_per_byte: Floats  # (Z, P, P) of a tensor over the whole route; 0 without one and on the diagonal
    pair_latency_s: Floats  # (Z, P, P) inf without a route; 0 on the diagonal
    link_source: Ints
    link_target: Ints
    link_queue: Ints
    link_byte_per_s: Floats
    link_latency_s: Floats
    link_joule_per_byte: Floats
    link_money_per_byte: Floats
    power_w: float  # what running tasks together may draw, beside all static power; inf: no limit

    @cached_property
    def lists(self) -> Lists:
        queue, rate, latency = (a.tolist() for a in (self.link_queue, self.link_byte_per_s, self.link_latency_s))
        start, links, ok = (a.tolist() for a in (self.route_start, self.route_link, self.has_route))
        hops = [
            tuple((k, queue[k], rate[k], latency[k]) for k in links[start[i] : start[i + 1]]) if ok[i] else None
            for i in range(len(ok))
        ]
        base = self.tensor_zone * (self.count * self.count)
        return Lists(
            self.in_start.tolist(),
            self.in_tensor.tolist(),
            self.producer.tolist(),
            self.tensor_byte.tolist(),
            base.tolist(),
            hops,
            self.seconds.tolist(),
            self.watts.tolist(),
        )

    @cached_property
    def edges(self) -> tuple[Ints, Ints, Ints]:
        """(E,) each: producer, consumer and tensor of every reading."""
        tensor = np.repeat(np.arange(len(self.producer)), np.diff(self.consumer_start))
        return self.producer[tensor], self.consumer, tensor

    def producer_places(self, device: Ints) -> Ints:
        """(T,) tensor * P + device of its producer."""
        return np.arange(len(self.producer)) * self.count + device[self.producer]

    def reader_places(self, device: Ints) -> Ints:
        """(E,) tensor * P + device of each reader."""
        return self.edges[2] * self.count + device[self.consumer]

    def edge_seconds(self, edge: Ints) -> Floats:
        """(k, P, P) seconds of the tensors of `edge` between devices, without waiting; inf where there is no way."""
        tensor = self.edges[2][edge]
        zone = self.tensor_zone[tensor]
        return self.tensor_byte[tensor, None, None] * self.pair_s_per_byte[zone] + self.pair_latency_s[zone]

    @cached_property
    def outputs_of(self) -> list[list[int]]:
        """The tensors that each task makes."""
        return _split(self.out_tensor, self.out_start)

    @cached_property
    def followers_of(self) -> list[list[int]]:
        """The readers of each task's tensors, one entry for each reading."""
        source, target, _ = self.edges
        by = np.argsort(source, kind="stable")
        return _split(target[by], np.searchsorted(source[by], np.arange(self.n + 1)))

    @cached_property
    def near(self) -> Near:
        """Each task's neighbours: the tasks that it reads from, and then those that read from it."""
        source, target, _ = self.edges
        task, other = np.concatenate((target, source)), np.concatenate((source, target))
        after = np.repeat([0, 1], len(source))
        by = np.lexsort((np.arange(len(task)), after, task))
        start = np.searchsorted(task[by], np.arange(self.n + 1))
        return Near(start, start[:-1] + np.diff(self.in_start), other[by])

    @cached_property
    def members(self) -> tuple[Ints, Ints]:
        """(n + 1,), (n,): where the tasks of each group begin, a group numbered by its smallest task, and the tasks."""
        by = np.argsort(self.group, kind="stable")
        return np.searchsorted(self.group[by], np.arange(self.n + 1)), by

    @cached_property
    def shortest(self) -> Floats:
        """(P,) seconds of the shortest task that each device may run."""
        return self.seconds.min(0)

    @cached_property
    def mean_edge_seconds(self) -> Floats:
        """(E,) seconds of each reading, averaged over the pairs of different devices that have a way."""
        _, _, tensor = self.edges
        zone = self.tensor_zone[tensor]
        away = ~np.eye(self.count, dtype=bool) & np.isfinite(self.pair_latency_s)
        pairs = np.maximum(away.sum((1, 2)), 1)
        per_byte = np.where(away, self.pair_s_per_byte, 0.0).sum((1, 2)) / pairs
        latency = np.where(away, self.pair_latency_s, 0.0).sum((1, 2)) / pairs
        return self.tensor_byte[tensor] * per_byte[zone] + latency[zone]

    @cached_property
    def mean_seconds(self) -> Floats:
        """(n,) of each task over the devices that it may run on."""
        return np.where(self.mask, self.seconds, 0.0).sum(1) / self.mask.sum(1)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Readings by the level of their producer, sources first."""
        source = self.edges[0]
        level = self.level[source]
        by = np.lexsort((source, level))
        cuts = np.flatnonzero(np.diff(level[by])) + 1
        return tuple(_as_level(edge, source[edge]) for edge in np.split(by, cuts)) if len(by) else ()


def _split(values: Ints, start: Ints) -> list[list[int]]:
    """Groups that begin at `start`, as lists."""
    flat, cut = values.tolist(), start.tolist()
    return [flat[a:b] for a, b in pairwise(cut)]


def _as_level(edge: Ints, source: Ints) -> Level:
    first = np.flatnonzero(np.diff(source, prepend=-1))
    return Level(edge, source[first], first)


def flatten(g: TaskGraph) -> Flat:
    """The arrays of `g`; a PlanError where a task has nowhere to go."""
    allowed, count = g.allowed, len(g.devices)
    in_start, in_tensor = g.inputs
    ways = [way for zone in allowed.routes for row in zone for way in row]
    has_route = np.array([way is not None for way in ways], bool)
    start = np.zeros(len(ways) + 1, np.int64)
    np.cumsum([len(way or ()) for way in ways], out=start[1:])
    route_link = np.array([k for way in ways for k in way or ()], np.int64)
    rate, latency, joule, money = (
        np.array([getattr(link, f) for link in g.links], np.float64)
        for f in ("byte_per_s", "latency_s", "joule_per_byte", "money_per_byte")
    )
    shape = (len(allowed.zones), count, count)
    watts = np.divide(g.joules, g.seconds, out=np.zeros_like(g.joules), where=(g.seconds > 0) & np.isfinite(g.seconds))
    static = sum(d.static_w for d in g.devices)
    flat = Flat(
        n=g.n,
        count=count,
        queues=g.queues,
        mask=allowed.mask,
        group=allowed.group,
        grouped=bool(g.colocate),
        seconds=np.where(allowed.mask, g.seconds, INF),
        joules=g.joules,
        money=g.money,
        resident_byte=g.resident_byte,
        watts=watts,
        producer=g.producer,
        tensor_byte=g.tensor_byte,
        tensor_zone=allowed.tensor_zone,
        in_start=in_start,
        in_tensor=in_tensor,
        consumer_start=g.consumer_start,
        consumer=g.consumer,
        out_start=g.outputs[0],
        out_tensor=g.outputs[1],
        topological=g.topological,
        level=g.level,
        route_start=start,
        route_link=route_link,
        has_route=has_route,
        pair_s_per_byte=_over_routes(1 / rate, start, route_link, has_route, 0.0).reshape(shape),
        pair_latency_s=_over_routes(latency, start, route_link, has_route, INF).reshape(shape),
        link_source=np.array([link.source for link in g.links], np.int64),
        link_target=np.array([link.target for link in g.links], np.int64),
        link_queue=np.array([link.queue for link in g.links], np.int64),
        link_byte_per_s=rate,
        link_latency_s=latency,
        link_joule_per_byte=joule,
        link_money_per_byte=money,
        power_w=g.limits.peak_w - static,
    )
    return flat if has_route.all() else _reachable(g, flat)


def _over_routes(value: Floats, start: Ints, link: Ints, ok: Bools, missing: float) -> Floats:
    """The sum of `value` over the links of each route; `missing` where there is no route."""
    route = np.repeat(np.arange(len(ok)), np.diff(start))
    total = np.bincount(route, value[link], minlength=len(ok)) if len(link) else np.zeros(len(ok))
    return np.where(ok, total, missing)


def _reachable(g: TaskGraph, flat: Flat) -> Flat:
    """The same without devices from which some neighbour of the task could not be reached."""
    mask = narrowed(flat, flat.mask)
    if not mask.any(1).all():
        lost = np.flatnonzero(~mask.any(1)).tolist()
        lines = [f"  - {g.tasks[i]!r} has nowhere to go: {_cut_off(g, flat, i)}" for i in lost[:SHOWN]]
        more = [f"  - and {len(lost) - SHOWN} more"] if len(lost) > SHOWN else []
        hint = "add a link, or loosen a pin or what is private"
        raise PlanError(f"no plan for {g.name!r}\n" + "\n".join([*lines, *more]), hint=hint)
    return replace(flat, mask=mask, seconds=np.where(mask, flat.seconds, INF))


def _cut_off(g: TaskGraph, flat: Flat, task: int) -> str:
    may = ", ".join(g.devices[p].name for p in np.flatnonzero(flat.mask[task]))
    return f"it may run on {may}, with no way to or from where its neighbours may run"


def narrowed(flat: Flat, mask: Bools) -> Bools:
    """The mask without pairs that no choice for a neighbour fits; a task may lose all its devices."""
    source, target, tensor = flat.edges
    ways = flat.has_route.reshape(-1, flat.count, flat.count)[flat.tensor_zone[tensor]]
    mask = mask.copy()
    while True:
        before = mask.copy()
        forward = (ways & mask[source][:, :, None]).any(1)  # (E, q) some device of the producer reaches q
        np.logical_and.at(mask, target, forward)
        backward = (ways & mask[target][:, None, :]).any(2)
        np.logical_and.at(mask, source, backward)
        if flat.grouped:
            common = np.ones_like(mask)
            np.logical_and.at(common, flat.group, mask)
            mask &= common[flat.group]
        if (mask == before).all():
            return mask
