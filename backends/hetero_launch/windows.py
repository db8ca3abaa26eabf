"""Windows that slide: convolutions as matrix products of columns, or directly, and pools."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.build import Builder
from hetero.graph.ir import Node
from hetero.op import TensorType, Types
from hetero_launch import matmul, regions
from hetero_launch.plan import CELLS, Plan, Storage, index_type, names_of, scalars, table

Ints = tuple[int, ...]
UNIT = (1, 1, 1, 1, 1, 0, 0)  # an axis of one element, in the order of `geometry_of`
LINE = 64  # elements of a line of columns that one item of a processor copies: where it begins takes divisions
COLUMNS_BYTES = 1 << 26  # of columns at once: a few samples of a large layer, a whole batch of a small one


def refuse(node: Node, types: Types, outs: Types) -> str:
    rank = types[0].rank - 2
    return "" if rank <= 3 else f"{node.op.name} over {rank} spatial axes has no kernel"


def geometry_of(node: Node, x: TensorType, kernel: Ints, out: TensorType) -> tuple[Ints, ...]:
    """size, kernel, windows, stride, dilation, before, after: the struct Axes of the kernels, for three axes

    Axes of one element seen once go first, so that neighbours in memory lie along the last axis, where items move
    many: a line as (n, 1) is one of (1, 1, n), a plane (1, h, w).
    """
    attrs = node.attrs
    lists = (
        concrete(x.known[2:]), kernel, concrete(out.known[2:]), attrs["strides"], attrs["dilations"],
        attrs["pads_before"], attrs["pads_after"],
    )  # fmt: skip
    axes = [axis for axis in zip(*lists, strict=True) if axis[:3] != (1, 1, 1) or axis[5]]
    return tuple(zip(*[UNIT] * (3 - len(axes)), *axes, strict=True))


def conv(plan: Plan, node: Node) -> None:
    x, w, *bias = plan.graph.in_types(node)
    (out,) = plan.graph.out_types(node)
    to = plan.output(node.outputs[0])
    if out.size == 0:
        return
    geometry = geometry_of(node, x, concrete(w.known[2:]), out)
    source, weight = plan.input(node.inputs[0]), plan.input(node.inputs[1])
    by_product = x.dtype.name in plan.style.blas and int(w.known[1]) > 1  # pyright: ignore[reportArgumentType]
    made = plan.storage(out.nbytes) if bias else to
    (_by_columns if by_product else _directly)(plan, node, source, weight, made, geometry)
    if bias:
        _add_bias(plan, plan.input(node.inputs[2]), bias[0], made, to, out)


def _group(size: Ints) -> Ints:
    """Eight items that lie apart: along the lines of a plane, or along planes of one line."""
    return (1, 8, 1) if size[1] > 1 else (1, 1, 8)


def _directly(plan: Plan, node: Node, x: Storage, w: Storage, to: Storage, geometry: tuple[Ints, ...]) -> None:
    (out,) = plan.graph.out_types(node)
    samples, channels = concrete(plan.graph.in_types(node)[0].known[:2])
    outputs = concrete(out.known)[1]
    index, kind = index_type(max(prod(concrete(t.known)) for t in (*plan.graph.in_types(node), out)))
    lanes = plan.style.lanes(out.dtype.itemsize)
    text = kernels.source("conv", names_of(out.dtype.name) | {"W": lanes, "INDEX": index})
    windows = geometry[2]
    size = (-(-windows[2] // lanes), windows[0] * windows[1], samples * outputs)
    plan.launch(
        text, "hetero_conv", size, _group(size), reads=(x, w), writes=(to,),
        numbers=[*scalars([samples, channels, outputs, node.attrs["groups"]], kind), table(kind, *geometry[:6])],
    )  # fmt: skip


def _by_columns(plan: Plan, node: Node, x: Storage, w: Storage, to: Storage, geometry: tuple[Ints, ...]) -> None:
    """Weights (g, o / g, k) times columns (samples, g, k, windows), some samples at a time."""
    xt, wt = plan.graph.in_types(node)[:2]
    samples, channels = concrete(xt.known[:2])
    outputs, each, *kernel = concrete(wt.known)
    groups, windows = node.attrs["groups"], prod(geometry[2])
    depth = each * prod(kernel)
    weights = TensorType((groups, outputs // groups, depth), xt.dtype)
    plain = prod(kernel) == 1 and set(geometry[3]) == {1} and not any(geometry[5]) and geometry[0] == geometry[2]
    some = samples if plain else max(1, min(samples, COLUMNS_BYTES // (groups * depth * windows * xt.dtype.itemsize)))
    for first in range(0, samples, some):
        count = min(some, samples - first)
        beside, held = x, TensorType((count, groups, depth, windows), xt.dtype)
        if not plain:
            beside = plan.storage(held.nbytes)
            columns(plan, x, beside, xt, first, count * channels, geometry)
        made = TensorType((count, groups, outputs // groups, windows), xt.dtype)
        offset = first * outputs * windows * xt.dtype.itemsize
        matmul.product(plan, (w, weights), (beside, held), (to, made), offset)


def columns(
    plan: Plan, x: Storage, to: Storage, type: TensorType, first: int, planes: int, geometry: tuple[Ints, ...]
) -> None:
    cells, windows = prod(geometry[1]), geometry[2]
    elements = planes * cells * prod(windows)
    index, kind = index_type(max(elements, prod(concrete(type.known))))
    run = LINE if plan.style.run > 1 else 1
    text = kernels.source("window_columns", {"T": CELLS[type.dtype.itemsize], "RUN": run, "INDEX": index})
    size = (-(-windows[2] // run), windows[0] * windows[1], planes * cells)
    begin = first * prod(concrete(type.known[1:]))
    plan.launch(
        text, "hetero_window_columns", size, _group(size), reads=(x,), writes=(to,),
        numbers=[*scalars([begin, planes], kind), table(kind, *geometry[:6])],
    )  # fmt: skip


def _add_bias(plan: Plan, bias: Storage, type: TensorType, y: Storage, to: Storage, out: TensorType) -> None:
    """(o,) onto (n, o, *s). Not in place: vectors overhang a line, and would read what others write."""
    shape = (concrete(type.known)[0], *(1,) * (out.rank - 2))
    body = Builder(track=False)
    made = body("add", body.input("y", out), body.input("b", TensorType(shape, out.dtype)))
    full = concrete(out.known)
    regions.lower_region(plan, body.build([made]), False, full, [y, bias], [full, shape], [to])


# -- pools --------------------------------------------------------------------------------------------------


def pool(plan: Plan, node: Node) -> None:
    """max_pool and avg_pool"""
    (x,), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    to = plan.output(node.outputs[0])
    if out.size == 0:
        return
    mean = node.op.name == "avg_pool"
    run = LINE if plan.style.run > 1 else 1
    geometry = geometry_of(node, x, node.attrs["kernel"], out)
    planes, windows = prod(concrete(x.known[:2])), geometry[2]
    index, kind = index_type(prod(concrete(x.known)))
    least = "-INFINITY" if x.dtype.kind not in "iu" else str(np.iinfo(x.dtype).min)
    defines: dict[str, Any] = names_of(x.dtype.name) | {
        "MEAN": int(mean), "START": "0" if mean else f"({least})", "INDEX": index,
        "COUNT_PAD": int(mean and node.attrs["count_include_pad"]), "RUN": run,
    }  # fmt: skip
    size = (-(-windows[2] // run), windows[0] * windows[1], planes)
    group = _group(size) if run > 1 else (8, 1, 1)
    plan.launch(
        kernels.source("pool", defines), "hetero_pool", size, group, reads=(plan.input(node.inputs[0]),),
        writes=(to,), numbers=[kind(planes), table(kind, *geometry)],
    )  # fmt: skip
