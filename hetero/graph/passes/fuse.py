"""Fusion regions: elementwise ops, and reductions along rows, that a device can run in one pass over memory.

A region becomes one `fused` node whose body is a graph. Patterns: "map", every node elementwise with outputs of
one shape; "rows", reductions over the last axis as well, so that a value is either full, (..., n), or one number
a row, (..., 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hetero.dim import Shape, broadcast
from hetero.graph.build import Builder, Ref, compact
from hetero.graph.ir import Graph, Node
from hetero.op import OPS

ROW_REDUCTIONS = frozenset({"sum", "prod", "max", "min"})
MAX_NODES = 64  # of a region: keeps generated kernels readable and compilers quick
MAX_PORTS = 24  # inputs plus outputs: devices promise few kernel arguments


@dataclass(slots=True)
class Region:
    """Nodes (by position) that run together. `before` has a bit for each region that must have run."""

    shape: Shape
    rows: bool
    nodes: list[int] = field(default_factory=list[int])
    before: int = 0


def fuse(graph: Graph, *, least: int = 2, rows: bool = True, limit: int = MAX_NODES) -> Graph:
    """Regions of at least `least` nodes as `fused` nodes; `rows` allows reductions in them."""
    graph = compact(graph)
    regions, home = _grow(graph, rows, limit)
    return compact(_rebuild(graph, regions, home, least))


def groups(graph: Graph) -> tuple[Graph, list[list[Node]]]:
    """The fused graph, and for each of its nodes in order the nodes of `graph` that it stands for.

    No node of `graph` is dead: it comes from a pass that leaves none.
    """
    regions, home = _grow(graph, True, MAX_NODES)
    members = [[graph.nodes[p] for p in regions[r].nodes] for r in _in_order(regions) if regions[r].nodes]
    return _rebuild(graph, regions, home, 2), members


def _in_order(regions: list[Region]) -> list[int]:
    """Each after all that must run before it."""
    return sorted(range(len(regions)), key=lambda r: (bin(regions[r].before).count("1"), r))


def row_shape(shape: Shape) -> Shape:
    """(..., n) -> (..., 1)"""
    return (*shape[:-1], 1)


# -- finding regions ----------------------------------------------------------------------------------------


def _grow(graph: Graph, rows: bool, limit: int) -> tuple[list[Region], dict[int, int]]:
    """Every node in a region (of its own at least), in an order without cycles between regions."""
    regions: list[Region] = []
    home: dict[int, int] = {}  # value -> region that makes it
    for position, node in enumerate(graph.nodes):
        makers = sorted({home[i] for i in node.inputs if i in home}, reverse=True)
        before = 0
        for m in makers:
            before |= regions[m].before | 1 << m
        chosen = next((m for m in makers if _joins(graph, position, m, regions, makers, rows, limit)), None)
        if chosen is None:
            regions.append(Region(graph.types[node.outputs[0]].shape or (), False, [], before))
            chosen = len(regions) - 1
        else:
            _put_after(regions, chosen, before & ~(1 << chosen))
        region = regions[chosen]
        region.nodes.append(position)
        if rows and node.op.name in ROW_REDUCTIONS and _reduces_rows(graph, node):
            region.shape, region.rows = graph.types[node.inputs[0]].known, True
        home |= dict.fromkeys(node.outputs, chosen)
        for other in makers:
            if other != chosen and _merges(graph, regions, chosen, other, limit):
                _merge(regions, home, chosen, other)
    return regions, home


def _merges(graph: Graph, regions: list[Region], into: int, other: int, limit: int) -> bool:
    """Whether two regions can be one: of one shape, small enough, and no third one between them."""
    a, b = regions[into], regions[other]
    fits = a.shape == b.shape or (a.rows and row_shape(a.shape) == b.shape)
    if not fits or len(a.nodes) + len(b.nodes) > limit:
        return False
    if not all(_fusable(graph, graph.nodes[r.nodes[0]]) for r in (a, b)):
        return False
    between = (_passes(regions, into, other), _passes(regions, other, into))
    return not any(between) and _ports(graph, [*a.nodes, *b.nodes]) <= MAX_PORTS


def _passes(regions: list[Region], first: int, last: int) -> bool:
    """Whether a third region must run after `first` and before `last`."""
    before = regions[last].before & ~(1 << first)
    return any(before >> k & 1 and regions[k].before >> first & 1 for k in range(len(regions)))


def _merge(regions: list[Region], home: dict[int, int], into: int, other: int) -> None:
    """`other` becomes empty, and whoever waited for it waits for `into`."""
    kept, gone = regions[into], regions[other]
    kept.nodes = sorted([*kept.nodes, *gone.nodes])
    kept.rows |= gone.rows
    kept.before = (kept.before | gone.before) & ~(1 << into | 1 << other)
    gone.nodes = []
    home |= {value: into for value, region in home.items() if region == other}
    for region in regions:
        if region.before >> other & 1:
            region.before = region.before & ~(1 << other) | 1 << into
        if region.before >> into & 1:
            region.before |= kept.before


def _put_after(regions: list[Region], chosen: int, before: int) -> None:
    """`chosen` now waits for `before` too, and so does everything that waits for `chosen`."""
    regions[chosen].before |= before
    for region in regions:
        if region.before >> chosen & 1:
            region.before |= before


def _joins(
    graph: Graph, position: int, chosen: int, regions: list[Region], makers: list[int], rows: bool, limit: int
) -> bool:
    region, node = regions[chosen], graph.nodes[position]
    if any(regions[m].before >> chosen & 1 for m in makers if m != chosen):
        return False  # a way out of the region and back in
    if len(region.nodes) >= limit or not _fusable(graph, graph.nodes[region.nodes[0]]):
        return False
    if _ports(graph, [*region.nodes, position]) > MAX_PORTS:
        return False
    if node.op.elementwise:
        return _fits(graph, node, region)
    if not rows or node.op.name not in ROW_REDUCTIONS or not _reduces_rows(graph, node):
        return False
    return graph.types[node.inputs[0]].shape == region.shape


def _fits(graph: Graph, node: Node, region: Region) -> bool:
    """The node's result is full, or one number a row, and its inputs are too or stretch to it."""
    shape = graph.types[node.outputs[0]].known
    if shape == region.shape:
        return True
    return region.rows and shape == row_shape(region.shape)


def _fusable(graph: Graph, node: Node) -> bool:
    return node.op.elementwise or (node.op.name in ROW_REDUCTIONS and _reduces_rows(graph, node))


def _reduces_rows(graph: Graph, node: Node) -> bool:
    """Over the last axis, which stays as 1. Rows of one element are no rows."""
    shape = graph.types[node.inputs[0]].known
    last = (len(shape) - 1,)
    return bool(shape) and shape[-1] not in (0, 1) and node.attrs["axes"] == last and bool(node.attrs["keepdims"])


def _ports(graph: Graph, positions: list[int]) -> int:
    """Inputs from outside plus values used outside."""
    inside = [graph.nodes[p] for p in positions]
    members = set(map(id, inside))
    made = {i for n in inside for i in n.outputs}
    taken = {i for n in inside for i in n.inputs} - made
    kept = {i for i in made if any(id(use) not in members for use in graph.uses.get(i, ()))}
    return len(taken) + len(kept)


# -- writing them -------------------------------------------------------------------------------------------


def _rebuild(graph: Graph, regions: list[Region], home: Mapping[int, int], least: int) -> Graph:
    """Regions in an order that respects `before`; small ones are left as plain nodes."""
    builder = Builder(graph.name, track=False)
    env: dict[int, Ref] = {}
    for port in graph.inputs:
        env[port.value] = builder.input(port.name, graph.types[port.value])
    env |= {i: builder.share(a) for i, a in graph.constants.items()}
    for index in _in_order(regions):
        region = regions[index]
        if not region.nodes:
            continue  # merged into another
        nodes = [graph.nodes[p] for p in region.nodes]
        if len(nodes) >= least and _fusable(graph, nodes[0]):
            _emit_region(graph, builder, env, nodes, "rows" if region.rows else "map")
            continue
        for node in nodes:
            with builder.at(node.where, node.name):
                outs = builder.emit(node.op, [env[i] for i in node.inputs], node.attrs)
            env |= zip(node.outputs, outs, strict=True)
    return builder.build({p.name: env[p.value] for p in graph.outputs})


def _emit_region(graph: Graph, builder: Builder, env: dict[int, Ref], nodes: list[Node], pattern: str) -> None:
    body = Builder("region", track=False)
    made = {i for n in nodes for i in n.outputs}
    inner: dict[int, Ref] = {}
    taken: list[int] = []
    for i in dict.fromkeys(i for n in nodes for i in n.inputs if i not in made):
        array = graph.constants.get(i)
        if array is not None and array.size == 1:
            inner[i] = body.share(array)
        else:
            inner[i] = body.input(f"in{len(taken)}", graph.types[i])
            taken.append(i)
    for node in nodes:
        with body.at(node.where, node.name):
            inner |= zip(node.outputs, body.emit(node.op, [inner[i] for i in node.inputs], node.attrs), strict=True)
    wanted = {p.value for p in graph.outputs}
    outside = set(map(id, nodes))
    kept = [i for i in made if i in wanted or any(id(use) not in outside for use in graph.uses.get(i, ()))]
    kept.sort()
    region = body.build({f"out{k}": inner[i] for k, i in enumerate(kept)})
    with builder.at(nodes[-1].where, nodes[-1].name):
        outs = builder.emit(OPS["fused"], [env[i] for i in taken], {"body": region, "pattern": pattern})
    env |= zip(kept, outs, strict=True)


def full_shape(body: Graph, pattern: str) -> Shape:
    """The shape that a region runs over: (..., n) of its rows, or the shape of its outputs."""
    if pattern == "map":
        return broadcast(*(t.known for t in body.output_types.values()))
    return broadcast(*(body.types[i].known for n in body.nodes for i in (*n.inputs, *n.outputs)))
