"""Loops over a row, for regions that fold rows: what is summed in which, and what waits between two of them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from hetero_kernels.parts import compute, load, store, store_some
from hetero_kernels.region import LONG, Region, is_reduction
from hetero_kernels.templates import STORED, identity

BLOCK = 64  # vectors that are summed by themselves
ACCUMULATORS = ("", "b", "c", "d")  # names of those that work side by side


def _stages(region: Region) -> list[int]:
    """How many sweeps over the row must have ended before each value is known."""
    stages = [0] * len(region.inputs)
    for step in region.steps:
        stage = max((stages[i] for i in step.inputs), default=0)
        stages.append(stage + (is_reduction(step) and region.wide(step.inputs[0])))
    return stages


def parked(region: Region) -> dict[int, int]:
    """Values that wait in the memory of an output, between the sweep that first makes them and the one that stores it.

    value -> output. Both are of one float dtype, so that storing rounds nothing.
    """
    stages, first = _stages(region), len(region.inputs)
    found: dict[int, int] = {}
    for k, out in enumerate(region.outputs):
        if not region.wide(out) or region.dtype(out) not in ("float32", "float64"):
            continue
        for n, step in enumerate(region.steps):
            value = first + n
            fits = step.op in LONG and step.wide and step.dtype == region.dtype(out) and stages[value] < stages[out]
            folds = [s.inputs[0] for s in region.steps if is_reduction(s) and stages[s.inputs[0]] == stages[value]]
            if fits and value in _cone(region, [out]) and value in _cone(region, folds):
                found = {v: at for v, at in found.items() if at != k} | {value: k}  # the last one has most behind it
    return found


def sweeps(region: Region, team: int, ahead: bool) -> list[str]:
    """The loops over a row, and before each what is one number a row and known by then."""
    stages, first = _stages(region), len(region.inputs)
    waiting = parked(region)
    lines: list[str] = []
    count = 0
    for stage in range(max(stages, default=0) + 1):
        folded: list[int] = []
        for n, step in enumerate(region.steps):
            over_wide = is_reduction(step) and region.wide(step.inputs[0])
            if over_wide and stages[first + n] == stage + 1:
                folded.append(n)
            elif not over_wide and not step.wide and stages[first + n] == stage:
                lines.append(f"    {_narrow(region, n)}")
        stored = [k for k, value in enumerate(region.outputs) if region.wide(value) and stages[value] == stage]
        if folded or stored:
            parks = {v: k for v, k in waiting.items() if stages[v] == stage}
            waits = {v: k for v, k in waiting.items() if stages[v] < stage <= stages[region.outputs[k]]}
            fetched = _ahead(region) if ahead and count == 1 else []  # the first sweep waits for memory as it is
            lines += _sweep(region, team, folded, stored, parks, waits, fetched)
            count += 1
    return lines


def _ahead(region: Region) -> list[str]:
    """The same place of the next row, of every input that has one."""
    inputs = [i for i, given in enumerate(region.inputs) if given.row == "each" and given.wide]
    return [f"FETCH(in{i} + base{i} + columns + at);" for i in inputs]


def _narrow(region: Region, n: int) -> str:
    """A step on numbers of the row; a reduction of one number is that number."""
    step = region.steps[n]
    if is_reduction(step):
        return f"const {STORED[step.dtype][1]}v v{len(region.inputs) + n} = v{step.inputs[0]};"
    return compute(region, n)


def _sweep(
    region: Region,
    team: int,
    folded: Sequence[int],
    stored: Sequence[int],
    parks: Mapping[int, int],
    waits: Mapping[int, int],
    fetched: Sequence[str],
) -> list[str]:
    """One loop over the row: folds the inputs of some reductions, stores some outputs.

    `parks` are values that it leaves in outputs, `waits` those that it finds there. The end of a row, which is no whole
    vector, is computed anew: a vector there would read what another item writes.

    Floats are summed in blocks, so that the error grows with the number of blocks and not of elements.
    """
    values = [region.steps[n].inputs[0] for n in folded] + [region.outputs[k] for k in stored]
    wanted, anew = ([f"            {t}" for t in _wide_parts(region, values, w)] for w in (waits, {}))
    kept = [(k, v) for v, k in parks.items()] + [(k, region.outputs[k]) for k in stored]
    several = ACCUMULATORS if folded and not _takes_long(region, values, waits) else ACCUMULATORS[:1]
    each = {
        letter: [
            *(f"            {line}" for line in fetched),
            *wanted,
            *(f"            {_combine(region, n, f'part{letter}', f'v{region.steps[n].inputs[0]}')}" for n in folded),
            *(f"            {store(region, k, v, 'row * columns + at')}" for k, v in kept),
        ]
        for letter in several
    }
    lines = [
        *(f"    {_begin(region, n, 'fold')}" for n in folded),
        f"    for (INDEX block = lane * W; block < columns; block += {BLOCK} * TEAM * W) {{",
        f"        const INDEX stop = columns - block < {BLOCK} * TEAM * W",
        f"                               ? columns : block + {BLOCK} * TEAM * W;",
        *(f"        {_begin(region, n, f'part{letter}')}" for n in folded for letter in several),
        "        INDEX at = block;",
        *(_at_once(each) if len(several) > 1 else ()),
        "        for (; at + W <= stop; at += TEAM * W) {",
        *each[""],
        "        }",
        "#if W > 1",
        "        if (at < stop) {",
        "            const u8v inside = CMP(LANES_FROM(i32, 0) < (i32)(columns - at));",
        *anew,
        *(f"            {_combine(region, n, 'part', _kept(region, n))}" for n in folded),
        *(f"            {store_some(region, k, region.outputs[k])}" for k in stored),
        "        }",
        "#endif",
        *(f"        {_combine(region, n, 'fold', f'part{letter}{n}')}" for n in folded for letter in several),
        "    }",
    ]
    for n in folded:
        lines += _gather(region, n, team)
    return lines


def _takes_long(region: Region, values: Sequence[int], waits: Container[int]) -> bool:
    """Whether a vector's work is longer than a sum has to wait for the last one."""
    first = len(region.inputs)
    cone = _cone(region, values, waits)
    return any(region.steps[v - first].op in LONG for v in cone if v >= first and v not in waits)


def _at_once(each: Mapping[str, Sequence[str]]) -> list[str]:
    """Several vectors in a turn, each with accumulators of its own: an addition has to be waited for."""
    n = len(each)
    lines = [f"        for (; at + {n - 1} * TEAM * W + W <= stop; at += {n} * TEAM * W) {{"]
    for k, (letter, body) in enumerate(each.items()):
        place = [f"            const INDEX at{letter} = at + {k} * TEAM * W;"] if letter else []
        lines += [
            *place,
            "            {",
            *([f"            const INDEX at = at{letter};"] if letter else []),
            *body,
            "            }",
        ]
    return [*lines, "        }"]


def _begin(region: Region, n: int, name: str) -> str:
    """An accumulator of reduction `n` that holds nothing yet."""
    step = region.steps[n]
    computed = STORED[step.dtype][1]
    return f"{computed}v {name}{n} = SPLAT({computed}, {identity(step.op, step.dtype)});"


def _combine(region: Region, n: int, name: str, value: str) -> str:
    step = region.steps[n]
    return f"{name}{n} = {step.op}_{STORED[step.dtype][1]}v({name}{n}, {value});"


def _kept(region: Region, n: int) -> str:
    """What reduction `n` folds at the end of a row: lanes behind it count nothing."""
    step = region.steps[n]
    computed = STORED[step.dtype][1]
    return f"SELECT({computed}, inside, v{step.inputs[0]}, SPLAT({computed}, {identity(step.op, step.dtype)}))"


def _wide_parts(region: Region, values: Sequence[int], waits: Mapping[int, int]) -> list[str]:
    """Loads and steps that the wide `values` are made of, in order."""
    first = len(region.inputs)
    lines: list[str] = []
    for v in sorted(_cone(region, values, waits)):
        if v in waits:
            stored, computed = STORED[region.dtype(v)]
            lines.append(f"const {computed}v v{v} = LOAD({stored}, out{waits[v]}, row * columns + at);")
        else:
            lines.append(load(region, v, "at") if v < first else compute(region, v - first))
    return lines


def _cone(region: Region, values: Sequence[int], given: Container[int] = ()) -> set[int]:
    """The wide values among `values` and behind them, no further than those that are `given`."""
    first = len(region.inputs)
    found: set[int] = set()
    stack = [v for v in values if region.wide(v)]
    while stack:
        value = stack.pop()
        if value in found:
            continue
        found.add(value)
        if value >= first and value not in given:
            stack += [i for i in region.steps[value - first].inputs if region.wide(i)]
    return found


def _gather(region: Region, n: int, team: int) -> list[str]:
    """The lanes of a vector, then the items of a team, folded into one number."""
    step = region.steps[n]
    computed = STORED[step.dtype][1]
    call = f"{step.op}_{computed}"
    name = f"v{len(region.inputs) + n}"
    if team == 1:
        return [f"    const {computed}v {name} = SPLAT({computed}, FOLD({call}, fold{n}));"]
    return [
        f"    LOCAL {computed} shared{n}[TEAM];",
        f"    shared{n}[lane] = FOLD({call}, fold{n});",
        "    BARRIER;",
        "    for (int half_team = TEAM / 2; half_team > 0; half_team /= 2) {",
        "        if (lane < half_team)",
        f"            shared{n}[lane] = {call}(shared{n}[lane], shared{n}[lane + half_team]);",
        "        BARRIER;",
        "    }",
        f"    const {computed}v {name} = SPLAT({computed}, shared{n}[0]);",
    ]
