"""Convolutions on a processor: panels of weights times windows where they lie, with what follows done on the way.

No columns are made. A kernel of several cells, strides or padding wants its input sorted into planes first, which is
one copy; then the elements that a weight meets lie side by side for neighbouring windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.build import Builder, Ref, replay
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType
from hetero_kernels import CHANNEL, Input, Region
from hetero_launch import regions
from hetero_launch.plan import Plan, Storage, index_type, names_of, scalars, table
from hetero_launch.windows import Ints, columns, geometry_of

FLOATS = frozenset({"float32", "float64"})
ROWS = 8  # outputs that an item computes at once, two vectors of each, on a processor with 32 registers of 64 bytes
WIDE_BYTES = 64  # with shorter ones it has 16, for half the rows
SIDE = 2  # vectors of a strip, as in the kernel
DEPTH = 128  # lines of a strip that are put side by side
MOST = 12  # panels of an item; with these lines less than the 32 KiB of local memory that every device has
KEPT_BYTES = 1 << 20  # of weights that a core keeps from one strip to the next
ITEMS = 4  # for each unit of the device, so that all end together


def fits(plan: Plan, conv: Node) -> bool:
    """Whether the weights are known, and a processor computes several channels of floats."""
    x, w = plan.graph.in_types(conv)[:2]
    if x.dtype.name not in FLOATS or plan.style.run == 1 or not plan.known(conv.inputs[1]):
        return False
    outputs, each = concrete(w.known)[:2]
    (out,) = plan.graph.out_types(conv)
    if each == 1 or out.size == 0 or outputs == conv.attrs["groups"]:
        return False
    kinds, size = _layout(geometry_of(conv, x, concrete(w.known[2:]), out))
    sorted_x = prod(concrete(x.known[:2])) * prod(kinds) * prod(size)
    return index_type(max(sorted_x, prod(concrete(x.known)), prod(concrete(out.known))))[0] == "i32"


def followers(plan: Plan) -> dict[int, Node]:
    """id of an elementwise node -> the convolution that does it too: the last that feeds it, and feeds nothing else."""
    graph = plan.graph
    shown = {p.value for p in graph.outputs}
    found: dict[int, Node] = {}
    for conv in graph.nodes:
        (value,) = conv.outputs[:1]
        users = graph.uses.get(value, ())
        if conv.op.name != "conv" or value in shown or plan.known(value) or len(users) != 1:
            continue
        (user,) = users
        if _can_follow(graph, user, value) and fits(plan, conv):
            found[id(user)] = conv
    return found


def _can_follow(graph: Graph, user: Node, value: int) -> bool:
    """One result of the convolution's shape, from inputs of it or of less, none with wider elements."""
    if not (user.op.elementwise or user.op.name == "fused") or user.inputs.count(value) != 1:
        return False
    body, pattern = regions.body_of(user, graph.in_types(user))
    conv = graph.types[value]
    if pattern != "map" or len(user.outputs) != 1 or graph.types[user.outputs[0]].known != conv.known:
        return False
    shapes = [body.types[p.value].known for p in body.inputs] + [a.shape for a in body.constants.values()]
    narrow = all(t.dtype.itemsize <= conv.dtype.itemsize and t.dtype.kind != "c" for t in body.types)
    return narrow and all(_row(concrete(shape), concrete(conv.known)) for shape in shapes)


def _row(shape: Ints, out: Ints) -> str:
    """How an input is stretched to (n, channels, ...): as `kernels.followed` calls it; nothing for other ways."""
    full = (1,) * (len(out) - len(shape)) + shape
    if prod(full) == 1:
        return "same"
    if full == out:
        return "each"
    return CHANNEL if full == (1, out[1], *(1,) * (len(out) - 2)) else ""


def lower(plan: Plan, conv: Node, follower: Node | None = None) -> None:
    """The convolution, and the elementwise node that takes its result."""
    x, w = plan.graph.in_types(conv)[:2]
    (out,) = plan.graph.out_types(conv)
    planes = _planes(plan, conv, geometry_of(conv, x, concrete(w.known[2:]), out))
    then = _then(plan, conv, follower)
    lanes = plan.style.lanes(x.dtype.itemsize)
    rows = ROWS if lanes * x.dtype.itemsize == WIDE_BYTES else ROWS // 2
    weights = panels_of(plan.contents(conv.inputs[1]), conv.attrs["groups"], rows)
    groups, number, depth, _ = weights.shape
    samples, outputs = concrete(out.known)[:2]
    strips = -(-planes.span // (SIDE * lanes))
    wanted = number * strips * samples * groups // (ITEMS * plan.runtime.driver.units)
    most = min(max(wanted, 1), MOST, number, max(1, KEPT_BYTES // weights[0, 0].nbytes))
    some = -(-number // -(-number // most))  # parts of one size
    defines = names_of(x.dtype.name) | {
        "U": names_of(plan.graph.types[then.value].dtype.name)["T"], "W": lanes, "INDEX": "i32", "ROWS": rows,
        "PANELS": MOST, "DEPTH": DEPTH,
    }  # fmt: skip
    plan.launch(
        kernels.followed("conv_panels", defines, then.region), "hetero_conv_panels",
        (strips, -(-number // some), samples * groups), (1, 1, 1),
        reads=(planes.storage, plan.constant(weights), plan.constant(planes.offsets), *then.sources),
        writes=(plan.output(then.value),),
        numbers=[
            *scalars([groups, planes.elements, outputs // groups, depth, number, some], np.int32),
            table(np.int32, planes.windows, planes.size[1:]),
        ],
        exact=True,
    )  # fmt: skip


def panels_of(weights: Array, groups: int, rows: int) -> Array:
    """(o, each, *kernel) -> (groups, panels, each * cells, rows), zeros behind the last output of a group"""
    outputs = weights.shape[0] // groups
    number = -(-outputs // rows)
    flat = weights.reshape(groups, outputs, -1)
    padded = np.pad(flat, ((0, 0), (0, number * rows - outputs), (0, 0)))
    return np.ascontiguousarray(padded.reshape(groups, number, rows, -1).swapaxes(2, 3))


# -- where windows begin ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planes:
    """The input as the kernel wants it: of each channel as many planes as there are remainders of cells by strides."""

    storage: Storage
    size: Ints  # of a plane, three axes
    windows: Ints
    elements: int  # of a group of one sample
    offsets: Array  # of each weight: how far what it meets is behind where the window begins

    @property
    def span(self) -> int:
        """From the first window's beginning to behind that of the last."""
        (a, b, c), (_, y, z) = self.windows, self.size
        return ((a - 1) * y + b - 1) * z + c


def _planes(plan: Plan, conv: Node, geometry: tuple[Ints, ...]) -> Planes:
    """Sorted by strides and padded; the input itself where it is so."""
    x, w = plan.graph.in_types(conv)[:2]
    samples, channels = concrete(x.known[:2])
    each = concrete(w.known)[1]
    size, cells, windows, stride, dilation, before = geometry[:6]
    kinds, wanted = _layout(geometry)
    storage = plan.input(conv.inputs[0])
    if not (prod(kinds) == 1 and set(stride) == {1} and not any(before) and wanted == size):
        to = plan.storage(samples * channels * prod(kinds) * prod(wanted) * x.dtype.itemsize)
        columns(plan, storage, to, x, 0, samples * channels, (size, kinds, wanted, stride, (1, 1, 1), before))
        storage = to
    offsets = _offsets(each, cells, stride, dilation, kinds, wanted)
    return Planes(storage, wanted, windows, each * prod(kinds) * prod(wanted), offsets)


def _layout(geometry: tuple[Ints, ...]) -> tuple[Ints, Ints]:
    """How many planes there are along each axis, and the size of one."""
    _, cells, windows, stride, dilation = geometry[:5]
    kinds = tuple(min(c, s) if d == 1 else s for c, s, d in zip(cells, stride, dilation, strict=True))
    reach = ((c - 1) * d // s for c, s, d in zip(cells, stride, dilation, strict=True))
    return kinds, tuple(n + r for n, r in zip(windows, reach, strict=True))


def _offsets(each: int, cells: Ints, stride: Ints, dilation: Ints, kinds: Ints, size: Ints) -> Array:
    """int32 (each * cells): cell k of an axis reads plane k d % s, from k d // s on"""
    _, y, z = size
    inside: list[int] = []
    for cell in product(*map(range, cells)):
        moved = [k * d for k, d in zip(cell, dilation, strict=True)]
        kind = 0
        for m, s, n in zip(moved, stride, kinds, strict=True):
            kind = kind * n + m % s
        a, b, c = (m // s for m, s in zip(moved, stride, strict=True))
        inside.append(kind * prod(size) + (a * y + b) * z + c)
    channel = np.arange(each, dtype=np.int32) * (prod(kinds) * prod(size))
    return (channel[:, None] + np.array(inside, np.int32)).reshape(-1)


# -- what follows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Then:
    """What is done to a result before it is stored: the bias, then the follower's body."""

    value: int  # of the graph, that is stored
    region: Region
    sources: list[Any]  # of the region's inputs after the first, which is the result


def _then(plan: Plan, conv: Node, follower: Node | None) -> Then:
    graph, (value,) = plan.graph, conv.outputs
    type, builder = graph.types[value], Builder(track=False)
    sources: list[Any] = []

    def given(source: Storage, type: TensorType) -> Ref:
        sources.append(source)
        return builder.input(f"in{len(sources)}", type)

    made = builder.input("result", type)
    if len(conv.inputs) > 2:
        each = TensorType((concrete(type.known)[1], *(1,) * (type.rank - 2)), type.dtype)
        made = builder("add", made, given(plan.input(conv.inputs[2]), each))
    if follower is not None:
        body, _ = regions.body_of(follower, graph.in_types(follower))
        refs = [made if i == value else given(plan.input(i), graph.types[i]) for i in follower.inputs]
        (made,) = replay(body, builder, refs)
    whole = builder.build([made])
    sources += [regions.source(plan, array) for array in whole.constants.values()]
    steps, numbers = regions.steps_of(whole, None)
    types = [*whole.input_types.values(), *(TensorType(a.shape, a.dtype) for a in whole.constants.values())]
    inputs = [_input(t, s, type) for t, s in zip(types[1:], sources, strict=True)]
    region = Region((Input(type.dtype.name), *inputs), steps, (numbers[whole.outputs[0].value],))
    return Then(value if follower is None else follower.outputs[0], region, sources)


def _input(type: TensorType, source: Any, out: TensorType) -> Input:
    row = _row(concrete(type.known), concrete(out.known)) if isinstance(source, Storage) else "argument"
    return Input(type.dtype.name, row, row == "each")
