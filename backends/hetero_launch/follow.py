"""Elementwise nodes that a kernel does to its own results, before it stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from hetero.dim import concrete
from hetero.graph.build import Builder, Ref, replay
from hetero.graph.ir import Graph, Node
from hetero.op import TensorType
from hetero_kernels import Input, Region
from hetero_launch import regions
from hetero_launch.plan import Plan, Storage

Ints = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """An op whose kernel does what follows it too.

    `own` is how `kernels.followed` calls an input that has one number for each index of the result's axis `axis`.
    """

    fits: Callable[[Plan, Node], bool]
    lower: Callable[[Plan, Node, Node], None]  # the node, and the one that follows
    axis: int
    own: str


def followers(plan: Plan, heads: Mapping[str, Head]) -> dict[int, Node]:
    """id of an elementwise node -> the head that does it too: the last that feeds it, and feeds nothing else."""
    graph = plan.graph
    shown = {p.value for p in graph.outputs}
    found: dict[int, Node] = {}
    for node in graph.nodes:
        (value, *_), head = node.outputs, heads.get(node.op.name)
        users = graph.uses.get(value, ())
        if head is None or value in shown or plan.known(value) or len(users) != 1:
            continue
        (user,) = users
        if _can_follow(graph, user, value, head) and head.fits(plan, node):
            found[id(user)] = node
    return found


def _can_follow(graph: Graph, user: Node, value: int, head: Head) -> bool:
    """One result of the head's shape, from inputs of it or of less, none with wider elements."""
    if not (user.op.elementwise or user.op.name == "fused") or user.inputs.count(value) != 1:
        return False
    body, pattern = regions.body_of(user, graph.in_types(user))
    made = graph.types[value]
    if pattern != "map" or len(user.outputs) != 1 or graph.types[user.outputs[0]].known != made.known:
        return False
    shapes = [body.types[p.value].known for p in body.inputs] + [a.shape for a in body.constants.values()]
    narrow = all(t.dtype.itemsize <= made.dtype.itemsize and t.dtype.kind != "c" for t in body.types)
    return narrow and all(_row(concrete(shape), concrete(made.known), head) for shape in shapes)


def _row(shape: Ints, out: Ints, head: Head) -> str:
    """How an input is stretched to the result: as `kernels.followed` calls it; nothing for other ways."""
    full = (1,) * (len(out) - len(shape)) + shape
    if prod(full) == 1:
        return "same"
    if full == out:
        return "each"
    axis = range(len(out))[head.axis]
    return head.own if full == tuple(n if d == axis else 1 for d, n in enumerate(out)) else ""


@dataclass(frozen=True, slots=True)
class Then:
    """What is done to a result before it is stored: the bias, then the follower's body."""

    region: Region
    sources: list[Any]  # of the region's inputs after the first, which is the result


def nothing(type: TensorType) -> Then:
    """A result of `type` is stored as it is."""
    return Then(Region((Input(type.dtype.name),), (), (0,)), [])


def then(plan: Plan, node: Node, follower: Node | None, head: Head, bias: int | None = None) -> Then:
    """`bias`: a value of the graph, (axis,), that is added first."""
    graph, (value,) = plan.graph, node.outputs
    type, builder = graph.types[value], Builder(track=False)
    sources: list[Any] = []

    def given(source: Storage, type: TensorType) -> Ref:
        sources.append(source)
        return builder.input(f"in{len(sources)}", type)

    made = builder.input("result", type)
    if bias is not None:
        behind = range(type.rank)[head.axis] + 1
        each = TensorType((*graph.types[bias].known, *(1,) * (type.rank - behind)), type.dtype)
        made = builder("add", made, given(plan.input(bias), each))
    if follower is not None:
        body, _ = regions.body_of(follower, graph.in_types(follower))
        refs = [made if i == value else given(plan.input(i), graph.types[i]) for i in follower.inputs]
        (made,) = replay(body, builder, refs)
    whole = builder.build([made])
    sources += [regions.source(plan, array) for array in whole.constants.values()]
    steps, numbers = regions.steps_of(whole, None)
    types = [*whole.input_types.values(), *(TensorType(a.shape, a.dtype) for a in whole.constants.values())]
    inputs = [_input(t, s, type, head) for t, s in zip(types[1:], sources, strict=True)]
    region = Region((Input(type.dtype.name), *inputs), steps, (numbers[whole.outputs[0].value],))
    return Then(region, sources)


def _input(type: TensorType, source: Any, out: TensorType, head: Head) -> Input:
    row = _row(concrete(type.known), concrete(out.known), head) if isinstance(source, Storage) else "argument"
    return Input(type.dtype.name, row, row == "each")
