"""Runs a graph whose shapes depend on values: part by part, each as soon as its shapes are known.

A stage runs every node that is ready, on the device; what crosses to the rest becomes an input of the rest, or a
constant where a late node asked for its value. Then the rest is specialised again.
"""

from __future__ import annotations

from collections.abc import Mapping

from hetero import counters, registry
from hetero.compile import compile
from hetero.errors import BackendError, GraphError
from hetero.graph.build import compact
from hetero.graph.ir import Graph, Node, Port, bind_sizes
from hetero.graph.specialize import needs, specialize
from hetero.op import Array, TensorType
from hetero.spi import Device

LIMIT = 100_000  # stages: a loop in a model may take one each; more is taken for one that never ends


def run_in_stages(graph: Graph, feed: Mapping[str, Array], device: Device, policy: str) -> dict[str, Array]:
    """The outputs by name, as host arrays."""
    arrays = dict(feed)
    sizes = bind_sizes(graph.input_types, {n: a.shape for n, a in feed.items()})
    for stage in range(LIMIT):
        graph = specialize(graph, sizes, {})
        wanted = {i for values in needs(graph).values() for i in values}
        asked = {p.name: arrays[p.name] for p in graph.inputs if p.value in wanted}
        if asked:
            graph = specialize(graph, {}, asked)
            continue
        ready = _ready(graph)
        made = _run_part(graph, ready, arrays, device, policy)
        if len(ready) == len(graph.nodes):
            return _named_outputs(graph, arrays, made)
        dynamic = _run_dynamic(graph, arrays, made, device, policy)
        if not made and not dynamic:
            raise GraphError(f"{graph.name}: {_first_late(graph).label} waits for a value that nothing gives")
        ran = set(map(id, ready)) | {id(graph.producer[i]) for i in dynamic}
        rest = tuple(n for n in graph.nodes if id(n) not in ran)
        graph = _rest(graph, rest, made | dynamic, wanted, arrays, stage)
    raise GraphError(f"{graph.name} took {LIMIT} stages and had not ended", hint="does a loop in the model end?")


def _ready(graph: Graph) -> list[Node]:
    """Nodes with known shapes whose inputs come from such nodes alone."""
    have = {p.value for p in graph.inputs} | set(graph.constants)
    ready: list[Node] = []
    for node in graph.nodes:
        known = node.op.kind != "late" and all(t.static for t in (*graph.in_types(node), *graph.out_types(node)))
        if known and have.issuperset(node.inputs):
            ready.append(node)
            have.update(node.outputs)
    return ready


def _run_part(
    graph: Graph, nodes: list[Node], arrays: Mapping[str, Array], device: Device, policy: str
) -> dict[int, Array]:
    """Values made by `nodes` that someone else reads, or that are outputs."""
    members = set(map(id, nodes))
    outs = {p.value for p in graph.outputs}
    gives = [
        i for n in nodes for i in n.outputs if i in outs or any(id(u) not in members for u in graph.uses.get(i, ()))
    ]
    if not gives:
        return {}
    ports = tuple(Port(f"v{i}", i) for i in gives)
    part = compact(Graph(tuple(nodes), graph.types, graph.inputs, ports, graph.constants, graph.name))
    used = {i for n in part.nodes for i in n.inputs} | {p.value for p in part.outputs}
    part = Graph(
        part.nodes,
        part.types,
        tuple(p for p in part.inputs if p.value in used),
        part.outputs,
        part.constants,
        part.name,
    )
    backend = registry.load(device.backend)
    program = compile(part, device, policy)
    buffers = [_upload(arrays[p.name], device) for p in part.inputs]
    types = tuple(program.graph.output_types.values())
    out: dict[int, Array] = {}
    for i, buffer, type in zip(gives, program(*buffers), types, strict=True):
        out[i] = buffer if device.host else backend.to_host(buffer, type, device)
        if not device.host:
            counters.count_copy(device.name, "host", out[i].nbytes)
    return out


def _upload(array: Array, device: Device) -> object:
    if not device.host:
        counters.count_copy("host", device.name, array.nbytes)
    return registry.load(device.backend).from_host(array, device)


def _run_dynamic(
    graph: Graph, arrays: Mapping[str, Array], made: Mapping[int, Array], device: Device, policy: str
) -> dict[int, Array]:
    """Nodes whose output shape depends on values, by their reference on the host, where the inputs are there."""
    have = {p.value: arrays[p.name] for p in graph.inputs} | dict(graph.constants) | dict(made)
    out: dict[int, Array] = {}
    for node in graph.nodes:
        if node.op.kind == "late" or all(t.shape is not None for t in graph.out_types(node)):
            continue
        if not all(i in have for i in node.inputs):
            continue
        if not device.host:
            reason = "the shape of its result depends on the values"
            if policy == "error":
                raise BackendError(f"{device} cannot run {node.label}: {reason}", hint="HETERO_FALLBACK=allow")
            counters.count_fallback(counters.Fallback(node.op.name, device.name, "numpy:0", reason))
        counters.count(node.op.name, "numpy:0")
        out |= zip(node.outputs, node.op.evaluate(tuple(have[i] for i in node.inputs), node.attrs), strict=True)
    return out


def _rest(
    graph: Graph,
    nodes: tuple[Node, ...],
    made: Mapping[int, Array],
    wanted: set[int],
    arrays: dict[str, Array],
    stage: int,
) -> Graph:
    """`nodes`, with `made` as inputs, or as constants where their values are wanted."""
    used = {i for n in nodes for i in n.inputs} | {p.value for p in graph.outputs}
    types = list(graph.types)
    inputs = list(graph.inputs)
    constants = dict(graph.constants)
    for i, array in made.items():
        if i not in used:
            continue
        types[i] = TensorType(array.shape, types[i].dtype)
        if i in wanted:
            array.setflags(write=False)
            constants[i] = array
        else:
            name = f"stage{stage}.{i}"
            inputs.append(Port(name, i))
            arrays[name] = array
    return compact(Graph(nodes, tuple(types), tuple(inputs), graph.outputs, constants, graph.name))


def _named_outputs(graph: Graph, arrays: Mapping[str, Array], made: Mapping[int, Array]) -> dict[str, Array]:
    inputs = {p.value: arrays[p.name] for p in graph.inputs}
    everything = inputs | dict(graph.constants) | dict(made)
    return {p.name: everything[p.value] for p in graph.outputs}


def _first_late(graph: Graph) -> Node:
    return next(n for n in graph.nodes if n.op.kind == "late")
