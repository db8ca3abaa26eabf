"""Convolutions on a processor: panels of weights times windows where they lie, with what follows done on the way.

No columns are made. A kernel of several cells, strides or padding wants its input sorted into planes first, which is
one copy; then the elements that a weight meets lie side by side for neighbouring windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero.op import Array
from hetero_kernels import CHANNEL
from hetero_launch import follow, panels
from hetero_launch.follow import Head
from hetero_launch.plan import Plan, Storage, index_type, scalars, table
from hetero_launch.windows import Ints, columns, geometry_of

KEPT_BYTES = 1 << 20  # of weights that a core keeps from one strip to the next


def fits(plan: Plan, conv: Node) -> bool:
    """Whether the weights are known, and a processor computes several channels of floats."""
    x, w = plan.graph.in_types(conv)[:2]
    if x.dtype.name not in panels.FLOATS or plan.style.run == 1 or not plan.known(conv.inputs[1]):
        return False
    outputs, each = concrete(w.known)[:2]
    (out,) = plan.graph.out_types(conv)
    if each == 1 or out.size == 0 or outputs == conv.attrs["groups"]:
        return False
    kinds, size = _layout(geometry_of(conv, x, concrete(w.known[2:]), out))
    sorted_x = prod(concrete(x.known[:2])) * prod(kinds) * prod(size)
    return index_type(max(sorted_x, prod(concrete(x.known)), prod(concrete(out.known))))[0] == "i32"


def lower(plan: Plan, conv: Node, follower: Node | None = None) -> None:
    """The convolution, and the elementwise node that takes its result."""
    x, w = plan.graph.in_types(conv)[:2]
    (out,) = plan.graph.out_types(conv)
    planes = _planes(plan, conv, geometry_of(conv, x, concrete(w.known[2:]), out))
    (to,) = (follower or conv).outputs
    then = follow.then(plan, conv, follower, HEAD, *conv.inputs[2:])
    samples, outputs = concrete(out.known)[:2]
    cut = panels.cut(plan, x.dtype.itemsize)
    weights = panels_of(plan.contents(conv.inputs[1]), conv.attrs["groups"], cut.rows)
    groups, number, depth, _ = weights.shape
    strips = -(-planes.span // cut.strip)
    most = min(cut.most, KEPT_BYTES // weights[0, 0].nbytes)
    some = panels.of_a_part(plan, number, strips * samples * groups, most)
    pieces = strips * -(-number // some) * samples * groups
    defines = cut.names(x.dtype.name, plan.graph.types[to].dtype.name, "i32") | {"READY": 0}
    panels.launch(
        plan, kernels.followed("conv_panels", defines, then.region), "hetero_conv_panels", pieces,
        reads=(planes.storage, plan.constant(weights), plan.constant(planes.offsets), *then.sources),
        writes=plan.output(to),
        numbers=[
            *scalars([groups, planes.elements, outputs // groups, depth, number, some, pieces], np.int32),
            table(np.int32, planes.windows, planes.size[1:]),
        ],
    )  # fmt: skip


HEAD = Head(fits, lower, 1, CHANNEL)


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
