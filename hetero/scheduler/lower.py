"""A graph on a topology as a task graph: one task for each fused group, one for each input, one for each output.

Op sums ignore fusion, which is the largest error of cost models; so what is placed is the group that runs in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hetero import registry
from hetero.errors import BackendError, GraphError, PlanError
from hetero.graph.ir import Graph, Node
from hetero.graph.passes import primitive
from hetero.graph.passes.fuse import groups
from hetero.op import Types
from hetero.profile.quantity import Quantity
from hetero.profile.topology import Node as Place
from hetero.profile.topology import Topology, TopologyLink
from hetero.scheduler.activity import activities
from hetero.scheduler.cost import Estimate, Work, estimate, on_chip, refusal, resident_byte, work_of
from hetero.scheduler.request import Request, Resolver
from hetero.scheduler.starts import with_starts
from hetero.scheduler.taskgraph import INF, DeviceSpec, Floats, LinkSpec, TaskGraph

End = Literal["low", "high"]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """What one task runs: nodes of the optimised graph that are one pass over memory. None: an input or an output."""

    name: str
    nodes: tuple[Node, ...]
    work: Work | None = None
    fused: Node | None = None  # the same as one node of the fused graph

    @property
    def ops(self) -> str:
        """`conv`, or `add, maximum` of a fused region."""
        return ", ".join(dict.fromkeys(n.op.name for n in self.nodes))


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Times, energies and links at the low and the high end of their intervals."""

    seconds: tuple[Floats, Floats]  # (n, P) each
    joules: tuple[Floats, Floats]
    links: tuple[tuple[LinkSpec, ...], tuple[LinkSpec, ...]]  # the quick ones first

    def at(self, tasks: TaskGraph, end: End) -> TaskGraph:
        """The same tasks with everything at one end."""
        k = int(end == "high")
        return replace(tasks, seconds=self.seconds[k], joules=self.joules[k], links=self.links[k])


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A task graph and what its tasks and tensors stand for."""

    graph: Graph  # optimised and taken apart: what the groups' nodes belong to
    groups: tuple[Group, ...]  # by task
    values: tuple[int, ...]  # tensor -> value of the graph
    tasks: TaskGraph
    ends: Ends
    bound_by: tuple[tuple[str, ...], ...]  # (n, P) compute, memory, launch, ...: what decides the time


def planned_graph(graph: Graph) -> Graph:
    """Optimised and taken apart down to primitives; `release` stays, since it decides where things may go."""
    if not graph.static:
        late = [n.label for n in graph.nodes if n.op.kind == "late"][:3]
        why = f"dimensions without a value: {', '.join(sorted(graph.symbols))}" if graph.symbols else ""
        why = why or f"shapes that depend on values: {', '.join(late)}"
        raise GraphError(
            f"{graph.name} cannot be planned: {why}", hint="give its dimensions values: sizes={'batch': 1}"
        )
    return primitive(graph, _stays)


def _stays(node: Node, types: Types, outs: Types) -> bool:
    return node.op.name == "release"


def lower(graph: Graph, topology: Topology, request: Request) -> Lowered:
    """The task graph of `graph` on `topology` under all that was asked; a PlanError lists every mistake in it."""
    planned = planned_graph(graph)
    fused, members = groups(planned)
    made = _make_groups(planned, fused, members)
    known_as = {g.name: called(g) for g in made}
    resolver = Resolver(topology, known_as)
    pins = _pins(resolver, request, planned, made)
    private = _private(resolver, request, planned, topology)
    colocate = tuple(tuple(i for name in names for i in resolver.tasks("colocate", name)) for names in request.colocate)
    refused = {(i, p): why for (op, node), why in request.refused.items()
               for i in resolver.tasks("refused", op) for p in resolver.places("refused", node)}  # fmt: skip
    for i, activity in activities(resolver, request, [g.work for g in made]).items():
        node = made[i].fused
        assert node is not None
        made[i] = replace(made[i], work=work_of(fused, node, activity))
    resolver.done(f"the request does not fit {graph.name!r} on {topology.name!r}")
    table = _Table(len(made), topology)
    runs = _Runs(planned, fused)
    for i, group in enumerate(made):
        if group.work is not None:
            table.fill(i, group, runs, refused)
    producer, sizes, readers, values = _tensors(planned, made)
    money = table.money()
    tasks = TaskGraph(
        tasks=tuple(g.name for g in made),
        devices=tuple(_device(node) for node in topology.nodes),
        links=_links(topology, "mid"),
        seconds=table.seconds[1],
        joules=table.joules[1],
        money=money,
        resident_byte=table.resident,
        producer=np.array(producer, np.int64),
        tensor_byte=np.array(sizes, np.float64),
        consumer=np.array([i for r in readers for i in r], np.int64),
        consumer_start=np.cumsum([0, *map(len, readers)]),
        tensors=tuple(_value_name(planned, made, p, v) for p, v in zip(producer, values, strict=True)),
        release={i: str(g.nodes[0].attrs["how"]) for i, g in enumerate(made) if _releases(g)},
        pins=pins,
        colocate=colocate,
        private=private,
        barred=table.barred,
        limits=request.limits,
        name=graph.name,
    ).check()
    ends = Ends(
        (table.seconds[0], table.seconds[2]),
        (table.joules[0], table.joules[2]),
        (_links(topology, "high"), _links(topology, "low")),
    )
    return Lowered(planned, tuple(made), tuple(values), tasks, ends, tuple(map(tuple, table.bound_by)))


def regrouped(graph: Graph, tasks: TaskGraph) -> Lowered:
    """The groups of a graph for tasks that were lowered from it before: what a saved plan needs to run."""
    planned = planned_graph(graph)
    fused, members = groups(planned)
    made = _make_groups(planned, fused, members)
    if tuple(g.name for g in made) != tasks.tasks:
        raise PlanError("the plan's tasks are not those of the graph", hint="plan it anew: hetero groups ops otherwise")
    *_, values = _tensors(planned, made)
    exact = Ends((tasks.seconds, tasks.seconds), (tasks.joules, tasks.joules), (tasks.links, tasks.links))
    return Lowered(planned, tuple(made), tuple(values), tasks, exact, ())


# -- groups ---------------------------------------------------------------------------------------------------------


def _make_groups(planned: Graph, fused: Graph, members: list[list[Node]]) -> list[Group]:
    """Inputs, fused groups in order, outputs; each with a name of its own."""
    taken: dict[str, int] = {}
    made = [Group(_unique(f"input {p.name}", taken), ()) for p in planned.inputs]
    for node, nodes in with_starts(fused, members):
        made.append(Group(_unique(nodes[-1].label, taken), tuple(nodes), work_of(fused, node), node))
    return made + [Group(_unique(f"output {p.name}", taken), ()) for p in planned.outputs]


def _unique(name: str, taken: dict[str, int]) -> str:
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else _unique(f"{name} #{taken[name]}", taken)


def called(group: Group) -> list[str]:
    """What a person may call a group: its own name; name, label, place or op of any of its nodes."""
    each = (x for n in group.nodes for x in (n.name, n.label, n.where, n.op.name) if x)
    return list(dict.fromkeys([group.name, *each]))


def _releases(group: Group) -> bool:
    return bool(group.nodes) and group.nodes[0].op.name == "release"


def _tensors(planned: Graph, made: list[Group]) -> tuple[list[int], list[int], list[list[int]], list[int]]:
    """Producer, bytes, readers and value of each tensor that crosses between tasks."""
    home = {p.value: i for i, p in enumerate(planned.inputs)}
    for i, group in enumerate(made):
        home |= {v: i for n in group.nodes for v in n.outputs}
    readers: dict[int, dict[int, None]] = {v: {} for v in home}
    for i, group in enumerate(made):
        own = {v for n in group.nodes for v in n.outputs}  # starts of networks are made where they are read
        for v in (v for n in group.nodes for v in n.inputs):
            if v in home and home[v] != i and v not in own:
                readers[v][i] = None
    start = len(made) - len(planned.outputs)
    for k, port in enumerate(planned.outputs):
        if port.value in home:
            readers[port.value][start + k] = None
    crossing = [v for v, r in readers.items() if r]
    return (
        [home[v] for v in crossing],
        [planned.types[v].nbytes for v in crossing],
        [list(readers[v]) for v in crossing],
        crossing,
    )


def _value_name(planned: Graph, made: list[Group], producer: int, value: int) -> str:
    outs = [v for n in made[producer].nodes for v in n.outputs]
    named = next((p.name for p in (*planned.inputs, *planned.outputs) if p.value == value), "")
    if named:
        return named
    return made[producer].name if len(outs) <= 1 or value == outs[-1] else f"{made[producer].name}:{outs.index(value)}"


# -- constraints ----------------------------------------------------------------------------------------------------


def _pins(resolver: Resolver, request: Request, planned: Graph, made: list[Group]) -> dict[int, tuple[int, ...]]:
    """Of ops as asked; of inputs and outputs where they are or must arrive."""
    pins: dict[int, tuple[int, ...]] = {}
    for name, places in request.pins.items():
        where = resolver.places(f"pin of {name!r}", places)
        for i in resolver.tasks("pins", name):
            pins[i] = tuple(p for p in pins[i] if p in where) if i in pins else where
            if not pins[i] and where:
                resolver.problems.append(f"pins: {made[i].name!r} is pinned to different nodes; its ops are one group")
    start = len(made) - len(planned.outputs)
    ends = (("inputs", request.inputs, planned.inputs, 0), ("outputs", request.outputs, planned.outputs, start))
    for what, given, ports, offset in ends:
        resolver.names(what, given, [p.name for p in ports])
        for k, port in enumerate(ports):
            if port.name in given:
                pins[offset + k] = resolver.places(f"{what} {port.name!r}", given[port.name])
    return pins


def _private(resolver: Resolver, request: Request, planned: Graph, topology: Topology) -> dict[int, tuple[int, ...]]:
    """Task -> zone, of inputs by their names and of ops by theirs."""
    inputs = {p.name: i for i, p in enumerate(planned.inputs)}
    out: dict[int, tuple[int, ...]] = {}
    for name, places in request.private.items():
        zone = resolver.places(f"zone of {name!r}", places)
        for i in [inputs[name]] if name in inputs else resolver.tasks("private", name):
            out[i] = zone
    return out


def work_at(group: Group, place: Place) -> Work:
    """What a group does on a node: a spiking network on a chip has the events of that chip."""
    assert group.work is not None
    return group.work if group.fused is None else on_chip(group.work, group.fused, place.profile)


# -- numbers --------------------------------------------------------------------------------------------------------


class _Table:
    """The matrices, filled task by task. Estimates of equal work on equal profiles are made once."""

    def __init__(self, n: int, topology: Topology) -> None:
        self._topology = topology
        shape = (n, len(topology.nodes))
        self.seconds = np.zeros((3, *shape))
        self.joules = np.zeros((3, *shape))
        self.resident = np.zeros(shape)
        self.barred: dict[tuple[int, int], str] = {}
        self.bound_by = [[""] * shape[1] for _ in range(n)]

    def fill(self, i: int, group: Group, runs: _Runs, refused: Mapping[tuple[int, int], str]) -> None:
        assert group.work is not None
        for p, place in enumerate(self._topology.nodes):
            why = refused.get((i, p)) or runs.refusal(group, place)
            if why:
                self.barred[i, p] = why
                self.seconds[:, i, p] = INF
                continue
            if not _releases(group):
                self._put(i, p, estimate(work_at(group, place), place.profile, place.dtype), place)
            spiking = resident_byte(runs.fused, group.fused, place.profile) if group.fused is not None else None
            self.resident[i, p] = group.work.weight_byte * _shrink(place) if spiking is None else spiking

    def _put(self, i: int, p: int, e: Estimate, place: Place) -> None:
        self.seconds[:, i, p] = e.seconds.low, e.seconds.mid, e.seconds.high
        self.joules[:, i, p] = e.joules.low, e.joules.mid, e.joules.high
        if place.static == "busy" and place.profile.static_w is not None:
            self.joules[:, i, p] += place.profile.static_w.value * self.seconds[:, i, p]
        self.bound_by[i][p] = e.bound

    def money(self) -> Floats:
        """(n, P): the node's hire while it works, and the energy where that is paid for."""
        hire = np.array([_value(n.money_per_hour) for n in self._topology.nodes]) / 3600
        energy = np.array([_value(n.money_per_kwh) for n in self._topology.nodes]) / 3.6e6
        seconds = np.where(np.isfinite(self.seconds[1]), self.seconds[1], 0.0)
        return seconds * hire + self.joules[1] * energy


def _value(quantity: Quantity | None) -> float:
    """The value, or 0 of what nobody gave."""
    return 0.0 if quantity is None else quantity.value


def _shrink(place: Place) -> float:
    """Bytes of a weight as this node keeps it, over its bytes in the graph."""
    return {None: 1.0, "int8": 0.25, "float16": 0.5, "bfloat16": 0.5}.get(place.dtype, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """Says whether a node of the topology runs a group: by its profile, and by the device that it is bound to."""

    planned: Graph
    fused: Graph

    def refusal(self, group: Group, place: Place) -> str:
        """The reason against it; empty: it runs."""
        if _releases(group) or group.fused is None:
            return ""
        said = refusal(self.fused, group.fused, place.profile, place.dtype)
        return said or (self._device(group, place, place.device) if place.device is not None else "")

    def _device(self, group: Group, place: Place, name: str) -> str:
        try:
            device = registry.find(name)
            backend = registry.load(device.backend)
        except BackendError as e:
            raise PlanError(f"node {place.name!r} is bound to {name!r}: {e.problem}", hint=e.hint) from e
        for node in group.nodes:
            support = backend.support(node, self.planned.in_types(node), self.planned.out_types(node), device)
            if not support:
                return f"{device}: {node.label}: {support.reason}"
        return ""


def _device(place: Place) -> DeviceSpec:
    profile = place.profile
    static = profile.static_w.value if profile.static_w is not None and place.static == "always" else 0.0
    memory = profile.memory_byte.value if profile.memory_byte is not None else INF
    return DeviceSpec(place.name, place.tier, memory, static)


def _links(topology: Topology, end: Literal["low", "mid", "high"]) -> tuple[LinkSpec, ...]:
    """Both directions of each link. `low` is the worst: least bandwidth, most latency and energy."""
    index = {node.name: p for p, node in enumerate(topology.nodes)}
    out: list[LinkSpec] = []
    queue = 0
    for link in topology.links:
        a, b = (index[name] for name in link.between)
        for source, target in [(a, b)] if link.duplex == "simplex" else [(a, b), (b, a)]:
            own = queue if link.shared else -1
            out.append(_one_way(topology, link, source, target, own, end))
            queue += link.shared and link.duplex == "full"
        queue += link.shared and link.duplex != "full"
    return tuple(out)


def _one_way(
    topology: Topology, link: TopologyLink, source: int, target: int, queue: int, end: Literal["low", "mid", "high"]
) -> LinkSpec:
    """One direction, with the conversion at its border where one end keeps another dtype.

    Conversion counts with the link: it takes bytes / convert_byte_per_s more and makes fewer bytes to send.
    """
    worse = {"low": "high", "mid": "value", "high": "low"}[end]
    bandwidth = getattr(link.byte_per_s, "value" if end == "mid" else end)
    per_byte = 1.0 / bandwidth
    joule = getattr(link.joule_per_byte, worse) if link.joule_per_byte is not None else 0.0
    ends = topology.nodes[source], topology.nodes[target]
    if ends[0].dtype != ends[1].dtype:
        per_byte *= min(map(_shrink, ends))
        joule *= min(map(_shrink, ends))
        rates = [n.profile.convert_byte_per_s or n.profile.memory_byte_per_s for n in ends if n.dtype is not None]
        per_byte += sum(1.0 / r.value for r in rates if r is not None)
    latency = getattr(link.latency_s, worse)
    return LinkSpec(link.name, source, target, 1.0 / per_byte, latency, joule, _value(link.money_per_gb) / 1e9, queue)
