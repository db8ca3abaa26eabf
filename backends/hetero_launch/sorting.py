"""Orders: sort and argsort by merging runs, searchsorted by bisection."""

from __future__ import annotations

from math import prod
from typing import Any

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero_launch.movement import copy_box, dense
from hetero_launch.plan import Plan, Storage, index_type, names_of, scalars
from hetero_launch.reduction import sides

RUN = 32  # elements that one item sorts by insertion
BLOCK = 256  # elements of a merged run that one item writes


def sort(plan: Plan, node: Node) -> None:
    """sort, or argsort with the places carried along"""
    (x,), (out,) = plan.graph.in_types(node), plan.graph.out_types(node)
    places = node.op.name == "argsort"
    outer, n, inner = sides(concrete(x.known), node.attrs["axis"])
    to = plan.output(node.outputs[0])
    if out.size == 0:
        return
    lines = outer * inner
    index, kind = index_type(lines * n)
    defines: dict[str, Any] = names_of(x.dtype.name) | {
        "PLACES": int(places), "DESCENDING": int(node.attrs["descending"]), "RUN": RUN, "INDEX": index,
    }  # fmt: skip
    widths = [RUN << i for i in range(max(n - 1, 0).bit_length()) if RUN << i < n]
    keys = [plan.storage(lines * n * x.dtype.itemsize) for _ in range(2)]
    spots = [plan.storage(lines * n * 8) for _ in range(2)] if places else []
    result = to if inner == 1 else (spots if places else keys)[len(widths) % 2]
    (spots if places else keys)[len(widths) % 2] = result

    def both(i: int) -> list[Storage]:
        return [keys[i], spots[i]] if places else [keys[i]]

    size = (-(-n // RUN), lines)
    plan.launch(
        kernels.source("sort_runs", defines), "hetero_sort_runs", size, _group(size),
        reads=(plan.input(node.inputs[0]),), writes=both(0), numbers=scalars([outer, n, inner], kind),
    )  # fmt: skip
    text = kernels.source("sort_merge", defines)
    for i, width in enumerate(widths):
        block = min(BLOCK, 2 * width)
        size = (-(-n // block), lines)
        plan.launch(
            text, "hetero_sort_merge", size, _group(size), reads=both(i % 2), writes=both((i + 1) % 2),
            numbers=scalars([lines, n, width, block], kind),
        )  # fmt: skip
    if inner != 1:
        shape = (outer, n, inner)
        copy_box(plan, result, to, out.dtype.itemsize, shape, (n * inner, 1, n), dense(shape))


def _group(size: tuple[int, int]) -> tuple[int, int]:
    return (4, 4) if size[0] > 1 else (1, 16)


def searchsorted(plan: Plan, node: Node) -> None:
    a, v = plan.graph.in_types(node)
    n, count = prod(concrete(a.known)), prod(concrete(v.known))
    index, kind = index_type(max(n, count))
    defines = names_of(a.dtype.name) | {"RIGHT": int(node.attrs["side"] == "right"), "INDEX": index}
    plan.launch(
        kernels.source("search_sorted", defines), "hetero_search_sorted", (count,), (64,),
        reads=(plan.input(node.inputs[0]), plan.input(node.inputs[1])), writes=(plan.output(node.outputs[0]),),
        numbers=scalars([n, count], kind),
    )  # fmt: skip
