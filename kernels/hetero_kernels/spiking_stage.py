"""One stage of a spiking network in one step: the sums of what spikes, then the elementwise region.

Memory of time is rings of steps, one after the other in slots of batch * size elements. A stage's outputs are written
slot by slot downward, so that what was d steps ago lies d slots further. Sums lie upward: what arrives in d steps lies
d slots further. Either has a slot for this step beside those that a delay can reach.
"""

from __future__ import annotations

from collections.abc import Sequence

from hetero_kernels.parts import compute
from hetero_kernels.spiking_net import Net, Read, Stage, Synapses, first_state
from hetero_kernels.templates import STORED

ROWS = 4  # dense rows that are added in one pass over the sums


def one_stage(net: Net, k: int, *, slices: int, team: int) -> list[str]:
    """The step `t` of a stage for one slice of one sample."""
    stage = net.stages[k]
    lines = [
        "{",
        f"    const i32 chunk = ((({stage.size} + {slices} - 1) / {slices}) + W * TEAM - 1) / (W * TEAM) * W * TEAM;",
        "    const i32 low = slice * chunk;",
        f"    const i32 high = low + chunk < {stage.size} ? low + chunk : {stage.size};",
    ]
    for j, synapses in enumerate(stage.synapses):
        lines += [f"    {line}" for line in _gather(net, k, j, synapses, team)]
    for d, read in enumerate(stage.direct):
        lines += [f"    {line}" for line in _then(net, k, d, read, team)] if read.each else []
    lines += [f"    {line}" for line in _region(net, k, stage)]
    for j, y in stage.lines:
        lines += [f"    {line}" for line in _line(net, k, j, y)]
    return [*lines, "}"]


def _value(net: Net, read: Read) -> str:
    """Where a value's step begins for this sample."""
    if read.value < len(net.inputs):
        assert not read.late, "a late input is a stage of its own"
        return f"x{read.value} + ((i64)t * batch + sample) * {net.inputs[read.value]}"
    s = read.value - len(net.inputs)
    return f"out{s} + {_at(net.stages[s], _past(net.stages[s], str(read.late)))}"


def _at(stage: Stage, slot: str) -> str:
    """Where a slot of a ring begins for this sample."""
    return f"((i64)({slot}) * batch + sample) * {stage.size}"


def _past(stage: Stage, late: str) -> str:
    """The slot of what a stage gave some steps before."""
    ring = stage.depth + 1
    return f"({ring} - t % {ring} + {late}) % {ring}"


def _coming(synapses: Synapses, later: str) -> str:
    """The slot of what arrives in some steps."""
    return f"(t + {later}) % {synapses.depth + 1}"


def _gather(net: Net, k: int, j: int, synapses: Synapses, team: int) -> list[str]:
    """The sums of one kind of synapses: a row for each source that is not zero, added to what is there; that is zero
    in the slot of the longest delay, which began anew."""
    n, stage, depth = net.number, net.stages[k], synapses.depth
    barrier = ["    BARRIER_ALL;"] * (team > 1)
    own = synapses.shift > 0
    lines = [
        "{",
        f"    GLOBAL {n} *RESTRICT sum = {'set' if own else 'sum'}{k}_{j} + (i64)sample * {stage.size};",
        f"    GLOBAL const {n} *from = {_value(net, synapses.source)};",
        f"    GLOBAL i32 *events = events{k}_{j} + (i64)group * {synapses.sources};",
        *_zeros(n, f"sum{k}_{j} + {_at(stage, _coming(synapses, str(depth)))}"),
    ]
    for d in range(depth + 1) if own else ():
        lines += _zeros(n, f"set{k}_{j} + {_at(stage, str(d))}")
    lines += ["    BARRIER_ALL;  // without it PoCL 3.0 loses some of the zeros"] * (team > 1)
    lines += [f"    EVENTS({n}, from, {synapses.sources}, events, count)"]
    lines += _sparse(k, j, n, stage, synapses) if synapses.index else _dense(k, j, synapses, n, stage.size)
    lines += barrier
    if own:
        lines += [*_set_out(k, j, n, stage, synapses), *barrier]
    return [*lines, "}"]


def _zeros(n: str, to: str) -> list[str]:
    return [
        "    {",
        f"        GLOBAL {n} *none = {to};",
        "        for (i32 at = low + lane * W; at < high; at += TEAM * W) {",
        "            if (at + W <= high) {",
        f"                STORE_PLAIN({n}, none, at, SPLAT({n}, 0));",
        "            } else {",
        f"                STORE_SOME({n}, none, at, SPLAT({n}, 0), high - at);",
        "            }",
        "        }",
        "    }",
    ]


def _set_out(k: int, j: int, n: str, stage: Stage, synapses: Synapses) -> list[str]:
    """What this step brings, shifted, to what is on its way."""
    return [
        f"    for (i32 later = 0; later <= {synapses.depth}; ++later) {{",
        f"        GLOBAL {n} *to = sum{k}_{j} + {_at(stage, _coming(synapses, 'later'))};",
        f"        GLOBAL const {n} *set = set{k}_{j} + {_at(stage, 'later')};",
        "        for (i32 at = low + lane; at < high; at += TEAM)",
        f"            to[at] += set[at] >> {synapses.shift};",
        "    }",
    ]


def _then(net: Net, k: int, d: int, read: Read, team: int) -> list[str]:
    """Of a value each element as it was some steps before. PoCL 3.0 loses some of them without the barrier."""
    stage = net.stages[read.value - len(net.inputs)]
    return [
        "for (i32 at = low + lane * W; at < high; at += TEAM * W)",
        "    for (i32 one = at; one < at + W && one < high; ++one)",
        f"        then{k}_{d}[(i64)sample * {stage.size} + one] = "
        f"out{read.value - len(net.inputs)}[{_at(stage, _past(stage, f'late{k}_{d}[one]'))} + one];",
        *["BARRIER_ALL;"] * (team > 1),
    ]


def _line(net: Net, k: int, j: int, y: int) -> list[str]:
    """What is on its way, or was, as a y of the loop: (steps of it, batch, size)."""
    stage = net.stages[k]
    depth = stage.depth if j < 0 else stage.synapses[j].depth
    slot = _past(stage, "row") if j < 0 else _coming(stage.synapses[j], "1 + row")
    return [
        f"for (i32 row = 0; row < {depth}; ++row) {{",
        f"    GLOBAL const {net.number} *line = {f'out{k}' if j < 0 else f'sum{k}_{j}'} + {_at(stage, slot)};",
        f"    GLOBAL {net.number} *to = y{y} + {_at(stage, f'(i64)t * {depth} + row')};",
        "    for (i32 at = low + lane; at < high; at += TEAM)",
        "        to[at] = line[at];",
        "}",
    ]


def _dense(k: int, j: int, synapses: Synapses, n: str, size: int) -> list[str]:
    def row(e: str, name: str) -> list[str]:
        return [
            f"        const i32 i{name} = events[{e}];",
            f"        const {n} s{name} = from[i{name}];",
            f"        GLOBAL const {synapses.weight} *RESTRICT w{name} = weight{k}_{j} + (i64)i{name} * {size};",
        ]

    def passed(names: Sequence[str]) -> list[str]:
        added = "".join(f" + s{name} * ({n})w{name}[at]" for name in names)
        return [
            "        for (i32 at = low + lane; at < high; at += TEAM)",
            f"            sum[at] = sum[at]{added};",
        ]

    several = [str(r) for r in range(ROWS)]
    return [
        "    i32 e = 0;",
        f"    for (; e + {ROWS} <= count; e += {ROWS}) {{",
        *(line for name in several for line in row(f"e + {name}", name)),
        *passed(several),
        "    }",
        "    for (; e < count; ++e) {",
        *row("e", "0"),
        *passed(["0"]),
        "    }",
    ]


def _sparse(k: int, j: int, n: str, stage: Stage, synapses: Synapses) -> list[str]:
    """Each item has targets of its own."""
    given = f"{n}, from, events, count, rows{k}_{j}, target{k}_{j}, weight{k}_{j}, sum + low"
    if not synapses.depth or synapses.shift:
        return [f"    SPARSE({given}, NOW)"]
    slot, slots = _coming(synapses, "0"), synapses.depth + 1
    return [
        f"    const i32 first_ = ({slot}) * batch * {stage.size}, ring_ = {slots} * batch * {stage.size};",
        f"    SPARSE({given}, LATER)",
    ]


def _region(net: Net, k: int, stage: Stage) -> list[str]:
    """The elementwise part over the slice; the last vector of a sample is stored lane by lane."""
    region, n = stage.region, net.number
    first = first_state(stage)
    lines = ["{"]
    for d, read in enumerate(stage.direct):
        value = f"then{k}_{d} + (i64)sample * {stage.size}" if read.each else _value(net, read)
        lines.append(f"    GLOBAL const {n} *direct{d} = {value};")
    writes = _writes(net, k, stage)
    lines += [f"    GLOBAL {kind} *to{w} = {place};" for w, (_, kind, place) in enumerate(writes)]
    loads: list[str] = []
    rest: list[str] = []  # the same for the last lanes: a vector there would read what another sample's item writes
    for i, given in enumerate(region.inputs):
        stored, computed = STORED[given.dtype]
        if given.row == "argument":
            loads.append(f"        const {computed}v v{i} = SPLAT({computed}, given{k}_{i});")
            rest.append(loads[-1])
            continue
        if i < len(stage.synapses):
            where = f"sum{k}_{i} + {_at(stage, _coming(stage.synapses[i], '0'))}"
        elif i < first:
            where = f"direct{i - len(stage.synapses)}"
        elif i < first + stage.states:
            where = f"state{k}_{i - first} + (i64)sample * {stage.size}"
        else:
            where = f"given{k}_{i}"
        lines.append(f"    GLOBAL const {stored} *in{i} = {where};")
        loads.append(f"        const {computed}v v{i} = LOAD({stored}, in{i}, at);")
        rest += [
            f"        {stored} cells{i}[W];",
            "        for (i32 lane_ = 0; lane_ < W; ++lane_)",
            f"            cells{i}[lane_] = in{i}[at + lane_ < high ? at + lane_ : at];",
            f"        const {computed}v v{i} = DECODE({stored}, KEPT({stored}, cells{i}));",
        ]
    steps = [f"        {compute(region, step)}" for step in range(len(region.steps))]
    stores = [f"        STORE({kind}, to{w}, at, v{v});" for w, (v, kind, _) in enumerate(writes)]
    some = [f"        STORE_SOME({kind}, to{w}, at, v{v}, high - at);" for w, (v, kind, _) in enumerate(writes)]
    return [
        *lines,
        "    i32 at = low + lane * W;",
        "    for (; at + W <= high; at += TEAM * W) {",
        *loads, *steps, *stores,
        "    }",
        "#if W > 1",
        "    if (at < high) {",
        *rest, *steps, *some,
        "    }",
        "#endif",
        "}",
    ]  # fmt: skip


def _writes(net: Net, k: int, stage: Stage) -> list[tuple[int, str, str]]:
    """(value of the region, how it is stored, where) of all that a stage leaves."""
    region = stage.region
    made = [(region.outputs[0], f"out{k} + {_at(stage, _past(stage, '0'))}")]
    made += [(region.outputs[1 + j], f"state{k}_{j} + (i64)sample * {stage.size}") for j in range(stage.states)]
    made += [(region.outputs[r], f"y{y} + ((i64)t * batch + sample) * {stage.size}") for r, y in stage.shown]
    return [(value, STORED[region.dtype(value)][0], place) for value, place in made]
