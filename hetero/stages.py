"""Runs a graph whose shapes depend on values: part by part, each as soon as its shapes are known.

A stage runs every node that is ready, on the device; what crosses to the rest becomes an input of the rest, or a
constant where a late node asked for its value. Then the rest is specialised again.

What a stage is depends on the one before it, on the shapes that cross, and on the values that were asked for, and on
nothing else. So stages are kept under these with their compiled programs: an equal run compiles nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeAlias

from hetero import counters
from hetero.compile import Program, compile
from hetero.errors import BackendError, GraphError
from hetero.graph.build import compact
from hetero.graph.ir import Graph, Node, Port, bind_sizes, canonical
from hetero.graph.specialize import needs, specialize
from hetero.op import Array, TensorType
from hetero.select import on_host
from hetero.spi import Device
from hetero.transfer import download, upload

LIMIT = 100_000  # stages: a loop in a model may take one each; more is taken for one that never ends
STAGES = 128  # kept for each graph, the last used ones; a run with more stages than that is not helped by them

Key: TypeAlias = "tuple[Hashable, ...]"  # the stage before (None at the start), then what decided on the next
_lock = Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What is known at one point of a run: the rest of the graph, and the part of it that runs now. Equal to itself."""

    graph: Graph
    number: int
    wanted: frozenset[int]  # values that late nodes must see
    asked: tuple[str, ...]  # inputs among them: the next stage is this one with their values, nothing runs here
    ready: tuple[Node, ...]
    gives: tuple[int, ...]  # values of `ready` that others read
    takes: tuple[str, ...]  # inputs that `program` takes
    program: Program | None  # runs `ready`; None where that gives nothing

    @property
    def last(self) -> bool:
        return not self.asked and len(self.ready) == len(self.graph.nodes)


def run_in_stages(graph: Graph, feed: Mapping[str, Array], device: Device, policy: str) -> dict[str, Array]:
    """The outputs by name, as host arrays."""
    kept: OrderedDict[Key, Stage] = graph.__dict__.setdefault("_stages", OrderedDict())
    arrays = dict(feed)
    shapes = tuple((n, a.shape) for n, a in feed.items())
    stage = _kept(kept, (None, shapes, device, policy), lambda: _first(graph, dict(shapes), device, policy))
    for _ in range(LIMIT):
        if stage.asked:
            stage = _with_asked(kept, stage, arrays, device, policy)
            continue
        made = _run_part(stage, arrays, device)
        if stage.last:
            return _named_outputs(stage.graph, arrays, made)
        dynamic = _run_dynamic(stage, arrays, made, device, policy)
        if not made and not dynamic:
            raise GraphError(
                f"{graph.name}: {_first_stuck(stage).label} waits for a value or a shape that nothing gives",
                hint="give its dimensions values first: graph.specialize({'name': 8})",
            )
        stage = _next(kept, stage, made | dynamic, arrays, device, policy)
    raise GraphError(f"{graph.name} took {LIMIT} stages and had not ended", hint="does a loop in the model end?")


# -- stages, kept -------------------------------------------------------------------------------------------


def _kept(kept: OrderedDict[Key, Stage], key: Key, make: Callable[[], Stage]) -> Stage:
    """The stage under `key`, made where it is not there."""
    with _lock:
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
    stage = make()
    with _lock:
        kept[key] = stage
        while len(kept) > STAGES:
            kept.popitem(last=False)
    return stage


def _first(graph: Graph, shapes: Mapping[str, tuple[int, ...]], device: Device, policy: str) -> Stage:
    """The whole graph, its inputs of these shapes: one of unknown rank gets its own here."""
    types = list(graph.types)
    sizes = bind_sizes(graph.input_types, shapes)
    for port in graph.inputs:
        types[port.value] = types[port.value].with_shape(shapes[port.name])
    return _stage(specialize(replace(graph, types=tuple(types)), sizes, {}), 0, device, policy)


def _with_asked(
    kept: OrderedDict[Key, Stage], stage: Stage, arrays: Mapping[str, Array], device: Device, policy: str
) -> Stage:
    values = {n: arrays[n] for n in stage.asked}

    def make() -> Stage:
        return _stage(specialize(stage.graph, {}, values), stage.number, device, policy)

    return _kept(kept, (stage, *map(canonical, values.values())), make)


def _next(
    kept: OrderedDict[Key, Stage], stage: Stage, made: Mapping[int, Array], arrays: dict[str, Array], device: Device,
    policy: str,
) -> Stage:  # fmt: skip
    """What is left, with `made` as inputs, or as constants where their values are wanted."""
    ran = set(map(id, stage.ready)) | {id(stage.graph.producer[i]) for i in made}
    rest = tuple(n for n in stage.graph.nodes if id(n) not in ran)
    used = {i for n in rest for i in n.inputs} | {p.value for p in stage.graph.outputs}
    constants = {i: a for i, a in made.items() if i in used & stage.wanted}
    crossing = {i: a for i, a in made.items() if i in used - stage.wanted}
    arrays |= {_crossing_name(stage, i): a for i, a in crossing.items()}

    def make() -> Stage:
        return _stage(specialize(_rest(stage, rest, constants, crossing), {}, {}), stage.number + 1, device, policy)

    shapes = tuple(a.shape for a in crossing.values())
    return _kept(kept, (stage, shapes, *map(canonical, constants.values())), make)


def _crossing_name(stage: Stage, value: int) -> str:
    return f"stage{stage.number}.{value}"


def _rest(stage: Stage, nodes: tuple[Node, ...], known: Mapping[int, Array], crossing: Mapping[int, Array]) -> Graph:
    graph = stage.graph
    types = list(graph.types)
    for i, array in (*known.items(), *crossing.items()):
        types[i] = TensorType(array.shape, types[i].dtype)
    constants = dict(graph.constants)
    for i, array in known.items():
        constants[i] = array.copy()  # kept for later runs: the array itself may be an output, which is the person's
        constants[i].setflags(write=False)
    inputs = (*graph.inputs, *(Port(_crossing_name(stage, i), i) for i in crossing))
    return compact(Graph(nodes, tuple(types), inputs, graph.outputs, constants, graph.name))


def _stage(graph: Graph, number: int, device: Device, policy: str) -> Stage:
    """What can be done with a graph that was specialised as far as it goes."""
    wanted = frozenset(i for values in needs(graph).values() for i in values)
    asked = tuple(p.name for p in graph.inputs if p.value in wanted)
    if asked:
        return Stage(graph, number, wanted, asked, (), (), (), None)
    ready = _ready(graph)
    gives = _gives(graph, ready)
    if not gives:
        return Stage(graph, number, wanted, (), ready, (), (), None)
    part = _part(graph, ready, gives)
    return Stage(graph, number, wanted, (), ready, gives, tuple(part.input_types), compile(part, device, policy))


def _ready(graph: Graph) -> tuple[Node, ...]:
    """Nodes with known shapes whose inputs come from such nodes alone."""
    have = {p.value for p in graph.inputs} | set(graph.constants)
    ready: list[Node] = []
    for node in graph.nodes:
        known = node.op.kind != "late" and all(t.static for t in (*graph.in_types(node), *graph.out_types(node)))
        if known and have.issuperset(node.inputs):
            ready.append(node)
            have.update(node.outputs)
    return tuple(ready)


def _gives(graph: Graph, nodes: tuple[Node, ...]) -> tuple[int, ...]:
    """Values made by `nodes` that someone else reads, or that are outputs."""
    members = set(map(id, nodes))
    outs = {p.value for p in graph.outputs}
    return tuple(
        i for n in nodes for i in n.outputs if i in outs or any(id(u) not in members for u in graph.uses.get(i, ()))
    )


def _part(graph: Graph, nodes: tuple[Node, ...], gives: tuple[int, ...]) -> Graph:
    """`nodes` as a graph of their own, with the inputs that they read."""
    read = {i for n in nodes for i in n.inputs}
    inputs = tuple(p for p in graph.inputs if p.value in read)
    ports = tuple(Port(f"v{i}", i) for i in gives)
    return compact(Graph(nodes, graph.types, inputs, ports, graph.constants, graph.name))


# -- a run --------------------------------------------------------------------------------------------------


def _run_part(stage: Stage, arrays: Mapping[str, Array], device: Device) -> dict[int, Array]:
    """The values that the stage gives, on the host."""
    if stage.program is None:
        return {}
    buffers = stage.program(*[upload(arrays[n], device) for n in stage.takes])
    types = stage.program.graph.output_types.values()
    return {i: download(b, t, device) for i, b, t in zip(stage.gives, buffers, types, strict=True)}


def _run_dynamic(
    stage: Stage, arrays: Mapping[str, Array], made: Mapping[int, Array], device: Device, policy: str
) -> dict[int, Array]:
    """Nodes whose output shape depends on values, by their reference on the host, where the inputs are there."""
    graph = stage.graph
    have = {p.value: arrays[p.name] for p in graph.inputs} | dict(graph.constants) | dict(made)
    out: dict[int, Array] = {}
    for node in graph.nodes:
        if node.op.kind == "late" or all(t.shape is not None for t in graph.out_types(node)):
            continue
        if not all(i in have for i in node.inputs):
            continue
        if not on_host(device):
            reason = "the shape of its result depends on the values"
            if policy == "error":
                raise BackendError(f"{device} cannot run {node.label}: {reason}", hint="HETERO_FALLBACK=allow")
            counters.count_fallback(counters.Fallback(node.op.name, device.name, "numpy:0", reason))
        counters.count(node.op.name, "numpy:0")
        out |= zip(node.outputs, node.op.evaluate(tuple(have[i] for i in node.inputs), node.attrs), strict=True)
    return out


def _named_outputs(graph: Graph, arrays: Mapping[str, Array], made: Mapping[int, Array]) -> dict[str, Array]:
    """Outputs own their memory: one that is an input or a constant is a copy."""
    inputs = {p.value: arrays[p.name] for p in graph.inputs}
    borrowed = inputs | dict(graph.constants)
    return {p.name: made[p.value] if p.value in made else borrowed[p.value].copy() for p in graph.outputs}


def _first_stuck(stage: Stage) -> Node:
    """The node that holds up the rest: a late one, or one with an open shape."""
    ran = set(map(id, stage.ready))
    waiting = [n for n in stage.graph.nodes if id(n) not in ran]
    return next((n for n in waiting if n.op.kind == "late"), waiting[0])
