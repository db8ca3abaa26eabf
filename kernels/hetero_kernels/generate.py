"""Writes one kernel for a region of a graph: elementwise ops, and reductions along rows, in one pass over memory.

flat       every input as long as the region, or one number; the kernel sees no shape
together   several flat regions at once, each with memory of its own
broadcast  inputs stretched to the region, a grid of (rows, columns); rank and strides are arguments, not text
rows       as broadcast, with sums, products, maxima and minima of whole rows
"""

from __future__ import annotations

from hetero_kernels.parts import (
    bases,
    compute,
    defines,
    grid,
    kernel,
    load,
    program,
    reads,
    store,
    store_one,
    store_some,
    writes,
)
from hetero_kernels.region import Region
from hetero_kernels.sweeps import parked, sweeps


def flat(region: Region, *, lanes: int, index: str = "i32", stream: bool = False) -> str:
    """Arguments: inputs in order, outputs, the number of elements. One item for each `lanes` elements."""
    return kernel(region, defines(lanes, index, stream), ["const INDEX count"], _flat(region))


def together(region: Region, *, lanes: int, times: int) -> str:
    """`times` calls of the flat kernel on as many elements each.

    Arguments: of each call its inputs in memory and its outputs; then the inputs that are numbers, and the number of
    elements, which they share. Launch: (items of one call, times).
    """
    given, made, count = reads(region), writes(region), "const INDEX count"
    numbers = [g for i, g in enumerate(given) if region.inputs[i].row == "argument"]
    own = [a for a in (*given, *made) if a not in numbers]
    names = [a.split()[-1].lstrip("*") for a in (*given, *made, count)]
    shared = {a.split()[-1] for a in (*numbers, count)}
    cases = [
        f"    case {call}: one({', '.join(n if n in shared else f'{n}_{call}' for n in names)}); break;"
        for call in range(times)
    ]
    arguments = [f"{a}_{call}" for call in range(times) for a in own]
    lines = [
        f"INLINE void one({', '.join([*given, *made, count])})", "{", *_flat(region), "}", "",
        f"KERNEL hetero_together({', '.join([*arguments, *numbers, count])})", "{",
        "    switch (GLOBAL_ID(1)) {", *cases, "    }", "}",
    ]  # fmt: skip
    return program(region, defines(lanes, "i32", stream=False), lines)


def _flat(region: Region) -> list[str]:
    return [
        "    const INDEX at = GLOBAL_ID(0) * W;",
        "    if (at >= count)",
        "        return;",
        *(f"    {load(region, i, 'at')}" for i in range(len(region.inputs))),
        *(f"    {compute(region, n)}" for n in range(len(region.steps))),
        *(f"    {store(region, k, value, 'at')}" for k, value in enumerate(region.outputs)),
    ]


def broadcast(region: Region, *, lanes: int, index: str = "i32", stream: bool = False) -> str:
    """Arguments: inputs, outputs, rows, columns, outer sizes, strides of each strided input.

    Launch: (columns / lanes, rows).
    """
    body = [
        "    const INDEX row = GLOBAL_ID(1);",
        "    const INDEX at = GLOBAL_ID(0) * W;",
        "    if (row >= rows || at >= columns)",
        "        return;",
        *bases(region),
        *(f"    {load(region, i, 'at')}" for i in range(len(region.inputs))),
        *(f"    {compute(region, n)}" for n in range(len(region.steps))),
        "    if (at + W <= columns) {",
        *(f"        {store(region, k, value, 'row * columns + at')}" for k, value in enumerate(region.outputs)),
        "    } else {",
        *(f"        {store_some(region, k, value)}" for k, value in enumerate(region.outputs)),
        "    }",
    ]
    return kernel(region, defines(lanes, index, stream), grid(region), body)


def rows(
    region: Region, *, lanes: int, team: int = 1, index: str = "i32", stream: bool = False, ahead: bool = False
) -> str:
    """Arguments as `broadcast`. Launch: `team` items for each row, one group; or one item a row where team is 1.

    `ahead`: rows are short enough that the next one may be fetched while this one is computed.
    """
    body = [
        f"    const INDEX row = {'GLOBAL_ID(0)' if team == 1 else 'GROUP_ID(0)'};",
        f"    const INDEX lane = {'0' if team == 1 else 'LOCAL_ID(0)'};",
        "    if (row >= rows)",
        "        return;",
        *bases(region),
        *(f"    {load(region, i, '0')}" for i, given in enumerate(region.inputs) if not given.wide),
        *sweeps(region, team, ahead),
        *(
            f"    if (lane == 0) {{ {store_one(region, k, value, 'row')} }}"
            for k, value in enumerate(region.outputs)
            if not region.wide(value)
        ),
    ]
    stream = stream and not parked(region)  # what is read again should stay in the caches
    return kernel(region, defines(lanes, index, stream, team), grid(region), body)
