"""Writes one kernel for a region of a graph: elementwise ops, and reductions along rows, in one pass over memory.

A region is plain data. Its values are numbered: the inputs first, then each step's result. Three forms:

flat       every input as long as the region, or one number; the kernel sees no shape
broadcast  inputs stretched to the region, a grid of (rows, columns); rank and strides are arguments, not text
rows       as broadcast, with sums, products, maxima and minima of whole rows
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from hetero_kernels.templates import NEEDS, STORED, expression, family, identity
from hetero_kernels.text import prelude

BLOCK = 64  # vectors that are summed by themselves
ACCUMULATORS = ("", "b", "c", "d")  # names of those that work side by side

# Functions that take longer than a load from the nearest cache: a later sweep over the row reads what they gave.
LONG = frozenset({
    "exp", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "power", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """A value from outside.

    `row`: where its row r begins: "each" r times its width, "same" 0, "strided" by strides over the outer axes;
    "argument" is no buffer but a number given at the launch. `wide`: it has a column for each of the region's.
    """

    dtype: str
    row: str = "each"
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One op: inputs by number, the dtype of its result. `wide` is false for one number a row."""

    op: str
    inputs: tuple[int, ...]
    dtype: str
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Region:
    """What one kernel computes. `rank` counts the axes that rows are numbered by, for "strided" inputs."""

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    rank: int = 1

    def dtype(self, value: int) -> str:
        n = len(self.inputs)
        return self.inputs[value].dtype if value < n else self.steps[value - n].dtype

    def wide(self, value: int) -> bool:
        n = len(self.inputs)
        return self.inputs[value].wide if value < n else self.steps[value - n].wide


def takes_long(region: Region) -> bool:
    """Whether a vector's work is longer than its way from the nearest cache."""
    return any(step.op in LONG for step in region.steps)


def missing(region: Region) -> str:
    """Why there is no kernel for the region, or nothing."""
    for step in region.steps:
        dtypes = tuple(region.dtype(i) for i in step.inputs)
        if _is_reduction(step):
            if identity(step.op, step.dtype) is None:
                return f"{step.op} of {step.dtype} has no kernel text"
        elif expression(step.op, ("x",) * len(dtypes), dtypes, step.dtype) is None:
            return f"{step.op} of {', '.join(dtypes)} has no kernel text"
    return ""


def flat(region: Region, *, lanes: int, index: str = "i32", stream: bool = False) -> str:
    """Arguments: inputs in order, outputs, the number of elements. One item for each `lanes` elements."""
    body = [
        "    const INDEX at = GLOBAL_ID(0) * W;",
        "    if (at >= count)",
        "        return;",
        *(f"    {_load(region, i, 'at')}" for i in range(len(region.inputs))),
        *(f"    {compute(region, n)}" for n in range(len(region.steps))),
        *(f"    {_store(region, k, value, 'at')}" for k, value in enumerate(region.outputs)),
    ]
    return _kernel(region, _defines(lanes, index, stream), ["const INDEX count"], body)


def broadcast(region: Region, *, lanes: int, index: str = "i32", stream: bool = False) -> str:
    """Arguments: inputs, outputs, rows, columns, outer sizes, strides of each strided input.

    Launch: (columns / lanes, rows).
    """
    body = [
        "    const INDEX row = GLOBAL_ID(1);",
        "    const INDEX at = GLOBAL_ID(0) * W;",
        "    if (row >= rows || at >= columns)",
        "        return;",
        *_bases(region),
        *(f"    {_load(region, i, 'at')}" for i in range(len(region.inputs))),
        *(f"    {compute(region, n)}" for n in range(len(region.steps))),
        "    if (at + W <= columns) {",
        *(f"        {_store(region, k, value, 'row * columns + at')}" for k, value in enumerate(region.outputs)),
        "    } else {",
        *(f"        {_store_some(region, k, value)}" for k, value in enumerate(region.outputs)),
        "    }",
    ]
    return _kernel(region, _defines(lanes, index, stream), _grid(region), body)


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
        *_bases(region),
        *(f"    {_load(region, i, '0')}" for i, given in enumerate(region.inputs) if not given.wide),
        *_sweeps(region, team, ahead),
        *(
            f"    if (lane == 0) {{ {_store_one(region, k, value, 'row')} }}"
            for k, value in enumerate(region.outputs)
            if not region.wide(value)
        ),
    ]
    stream = stream and not _parked(region)  # what is read again should stay in the caches
    return _kernel(region, _defines(lanes, index, stream, team), _grid(region), body)


# -- the parts of a kernel ----------------------------------------------------------------------------------


def _defines(lanes: int, index: str, stream: bool, team: int = 1) -> dict[str, str | int]:
    return {"W": lanes, "INDEX": index, "TEAM": team} | ({"STREAM": 1} if stream else {})


def _kernel(region: Region, defines: dict[str, str | int], sizes: list[str], body: list[str]) -> str:
    reads = [
        f"const {STORED[given.dtype][1]} in{i}"
        if given.row == "argument"
        else f"GLOBAL const {STORED[given.dtype][0]} *in{i}"
        for i, given in enumerate(region.inputs)
    ]
    writes = [f"GLOBAL {STORED[region.dtype(value)][0]} *out{k}" for k, value in enumerate(region.outputs)]
    computed = {STORED[region.dtype(i)][1] for i in range(len(region.inputs) + len(region.steps))}
    functions = ["arithmetic", "math_f32", *(["math_f64"] if "f64" in computed else [])]
    head = prelude(defines | ({"HAS_F64": 1} if "f64" in computed else {}), functions=tuple(functions))
    arguments = ", ".join([*reads, *writes, *sizes])
    return "\n".join([head, *groups(region), f"KERNEL hetero_region({arguments})", "{", *body, "}", ""])


def groups(region: Region) -> list[str]:
    """The function groups of arithmetic.ker that the steps call."""
    wanted: dict[str, None] = {}
    for step in region.steps:
        computed = STORED[step.dtype][1]
        if _is_reduction(step):
            wanted[f"COMBINERS({computed})"] = None
        group = NEEDS.get(step.op, {}).get(family(step.dtype))
        if group:
            wanted[f"{group}({computed})"] = None
    return list(wanted)


def _grid(region: Region) -> list[str]:
    sizes = [f"const INDEX size{d}" for d in range(region.rank)] if _strided(region) else []
    strides = [f"const INDEX stride{i}_{d}" for i in _strided(region) for d in range(region.rank)]
    return ["const INDEX rows", "const INDEX columns", *sizes, *strides]


def _strided(region: Region) -> list[int]:
    return [i for i, given in enumerate(region.inputs) if given.row == "strided"]


def _bases(region: Region) -> list[str]:
    """Where the row begins in each input."""
    lines: list[str] = []
    if strided := _strided(region):
        lines.append("    INDEX rest = row;")
        lines += [f"    INDEX base{i} = 0;" for i in strided]
        for d in reversed(range(region.rank)):
            lines.append(f"    const INDEX index{d} = rest % size{d}; rest /= size{d};")
            lines += [f"    base{i} += index{d} * stride{i}_{d};" for i in strided]
    for i, given in enumerate(region.inputs):
        if given.row == "each":
            lines.append(f"    const INDEX base{i} = row{' * columns' if given.wide else ''};")
        elif given.row == "same":
            lines.append(f"    const INDEX base{i} = 0;")
    return lines


def _load(region: Region, i: int, at: str) -> str:
    """The vector `v<i>` of an input; flat kernels have no bases."""
    given = region.inputs[i]
    stored, computed = STORED[given.dtype]
    if given.row == "argument":
        return f"const {computed}v v{i} = SPLAT({computed}, in{i});"
    base = f"base{i}" if region.rank else "0"
    if given.wide:
        return f"const {computed}v v{i} = LOAD({stored}, in{i}, {base} + {at});"
    return f"const {computed}v v{i} = LOAD_ONE({stored}, in{i}, {base});"


def compute(region: Region, n: int) -> str:
    """The vector of step `n`."""
    step = region.steps[n]
    text = expression(
        step.op, tuple(f"v{i}" for i in step.inputs), tuple(region.dtype(i) for i in step.inputs), step.dtype
    )
    assert text is not None
    return f"const {STORED[step.dtype][1]}v v{len(region.inputs) + n} = {text};"


def _store(region: Region, k: int, value: int, at: str) -> str:
    return f"STORE({STORED[region.dtype(value)][0]}, out{k}, {at}, v{value});"


def _store_some(region: Region, k: int, value: int) -> str:
    return f"STORE_SOME({STORED[region.dtype(value)][0]}, out{k}, row * columns + at, v{value}, columns - at);"


def _store_one(region: Region, k: int, value: int, at: str) -> str:
    """One number, from the first lane of a row value."""
    return f"STORE_ONE({STORED[region.dtype(value)][0]}, out{k}, {at}, v{value});"


# -- reductions ---------------------------------------------------------------------------------------------


def _is_reduction(step: Step) -> bool:
    return step.op in ("sum", "prod", "max", "min", "any", "all")


def _stages(region: Region) -> list[int]:
    """How many sweeps over the row must have ended before each value is known."""
    stages = [0] * len(region.inputs)
    for step in region.steps:
        stage = max((stages[i] for i in step.inputs), default=0)
        stages.append(stage + (_is_reduction(step) and region.wide(step.inputs[0])))
    return stages


def _parked(region: Region) -> dict[int, int]:
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
            folds = [s.inputs[0] for s in region.steps if _is_reduction(s) and stages[s.inputs[0]] == stages[value]]
            if fits and value in _cone(region, [out]) and value in _cone(region, folds):
                found = {v: at for v, at in found.items() if at != k} | {value: k}  # the last one has most behind it
    return found


def _sweeps(region: Region, team: int, ahead: bool) -> list[str]:
    """The loops over a row, and before each what is one number a row and known by then."""
    stages, first = _stages(region), len(region.inputs)
    parked = _parked(region)
    lines: list[str] = []
    sweeps = 0
    for stage in range(max(stages, default=0) + 1):
        folded: list[int] = []
        for n, step in enumerate(region.steps):
            over_wide = _is_reduction(step) and region.wide(step.inputs[0])
            if over_wide and stages[first + n] == stage + 1:
                folded.append(n)
            elif not over_wide and not step.wide and stages[first + n] == stage:
                lines.append(f"    {_narrow(region, n)}")
        stored = [k for k, value in enumerate(region.outputs) if region.wide(value) and stages[value] == stage]
        if folded or stored:
            parks = {v: k for v, k in parked.items() if stages[v] == stage}
            waits = {v: k for v, k in parked.items() if stages[v] < stage <= stages[region.outputs[k]]}
            fetched = _ahead(region) if ahead and sweeps == 1 else []  # the first sweep waits for memory as it is
            lines += _sweep(region, team, folded, stored, parks, waits, fetched)
            sweeps += 1
    return lines


def _ahead(region: Region) -> list[str]:
    """The same place of the next row, of every input that has one."""
    inputs = [i for i, given in enumerate(region.inputs) if given.row == "each" and given.wide]
    return [f"FETCH(in{i} + base{i} + columns + at);" for i in inputs]


def _narrow(region: Region, n: int) -> str:
    """A step on numbers of the row; a reduction of one number is that number."""
    step = region.steps[n]
    if _is_reduction(step):
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
            *(f"            {_store(region, k, v, 'row * columns + at')}" for k, v in kept),
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
        *(f"            {_store_some(region, k, region.outputs[k])}" for k in stored),
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
            lines.append(_load(region, v, "at") if v < first else compute(region, v - first))
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
