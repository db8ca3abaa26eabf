"""Writes the kernels of a spiking network: one loop over time, with work in proportion to spikes.

A network is plain data. Its values are arrays of one step: the inputs first, then the output of each stage. A stage
adds up what synapses bring of the sources that are not zero, then runs one elementwise region over its elements:

whole    one group of items for each sample runs all steps of all stages: many samples, or small networks
stages   one launch for each stage and step, its targets cut in slices, one for each group: one large network

No two items write one element, so nothing is atomic, and sums run in the order of the sources: results do not depend
on the device. An item of a processor is a group by itself (TEAM 1) and works with vectors; an accelerator's share one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hetero_kernels.generate import Region, compute, groups
from hetero_kernels.templates import STORED
from hetero_kernels.text import prelude

ROWS = 4  # dense rows that are added in one pass over the sums


@dataclass(frozen=True, slots=True)
class Read:
    """A value that a stage reads: of this step, or (`late`) of the one before."""

    value: int
    late: bool


@dataclass(frozen=True, slots=True)
class Synapses:
    """All weights from one value to a stage. `weight` is how they are stored.

    dense: (sources, targets). sparse: the targets and weights of each source in each slice, between two `rows`.
    """

    source: Read
    sources: int  # elements of the source
    weight: str
    index: str = ""  # how sparse targets are stored; "": dense


@dataclass(frozen=True, slots=True)
class Stage:
    """`region` takes the sums of the synapses, then `direct` values, then states, then parameters; it gives the
    stage's output, then the states anew. `shown` lists (result of the region, y of the loop)."""

    size: int
    synapses: tuple[Synapses, ...]
    direct: tuple[Read, ...]
    states: int
    region: Region
    shown: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Net:
    """`inputs` are sizes of one step of a sample. `number` is how values are stored: f32, f64 or i32."""

    inputs: tuple[int, ...]
    stages: tuple[Stage, ...]
    number: str
    ys: int


def arguments(net: Net) -> list[str]:
    """Names of the kernels' arguments, in order; behind them come the batch, and the number of steps or the step."""
    return [name for name, _ in _buffers(net)]


def whole(net: Net, *, lanes: int, team: int) -> str:
    """Launch: one group of `team` items for each sample; arguments end with the batch and the number of steps."""
    body = ["    const i32 group = GROUP_ID(0), sample = group, slice = 0;", _LANE[team == 1]]
    body += ["    for (i32 t = 0; t < steps; ++t) {"]
    for k in range(len(net.stages)):
        body += [f"        {line}" for line in _stage(net, k, slices=1, team=team)]
        body += ["        BARRIER_ALL;"] * (team > 1)
    return _head(net, lanes, team, 1) + "\n" + _kernel(net, "hetero_spiking", "steps", [*body, "    }"])


def stages(net: Net, *, lanes: int, team: int, slices: int) -> str:
    """Kernels `hetero_stage0`, ... Launch: one group for each slice of each sample; arguments end with the step."""
    made: list[str] = []
    for k in range(len(net.stages)):
        body = [f"    const i32 group = GROUP_ID(0), sample = group / {slices}, slice = group % {slices};"]
        body += [_LANE[team == 1], *(f"    {line}" for line in _stage(net, k, slices=slices, team=team))]
        made.append(_kernel(net, f"hetero_stage{k}", "t", body))
    return "\n".join([_head(net, lanes, team, slices), *made])


_LANE = ("    LOCAL i32 counts_[TEAM + 1]; const i32 lane = LOCAL_ID(0);", "    const i32 lane = 0;")


# -- frame ----------------------------------------------------------------------------------------------------


def _buffers(net: Net) -> Iterator[tuple[str, str]]:
    """Each argument's name and declaration."""
    n = net.number
    for k in range(len(net.inputs)):
        yield f"x{k}", f"GLOBAL const {n} *x{k}"
    for k in range(net.ys):
        yield f"y{k}", f"GLOBAL {_stored_y(net, k)} *y{k}"
    for s, stage in enumerate(net.stages):
        yield f"out{s}", f"GLOBAL {n} *out{s}"
        for j in range(stage.states):
            yield f"state{s}_{j}", f"GLOBAL {_stored(stage, _first_state(stage) + j)} *state{s}_{j}"
        for j in range(_first_parameter(stage), len(stage.region.inputs)):
            number = stage.region.inputs[j].row == "argument"
            stored, computed = STORED[stage.region.dtype(j)]
            yield (
                f"given{s}_{j}",
                f"const {computed} given{s}_{j}" if number else f"GLOBAL const {stored} *given{s}_{j}",
            )
        for j, synapses in enumerate(stage.synapses):
            yield f"sum{s}_{j}", f"GLOBAL {n} *sum{s}_{j}"
            yield f"events{s}_{j}", f"GLOBAL i32 *events{s}_{j}"
            yield f"weight{s}_{j}", f"GLOBAL const {synapses.weight} *weight{s}_{j}"
            if synapses.index:
                yield f"target{s}_{j}", f"GLOBAL const {synapses.index} *target{s}_{j}"
                yield f"rows{s}_{j}", f"GLOBAL const i32 *rows{s}_{j}"


def _stored(stage: Stage, value: int) -> str:
    return STORED[stage.region.dtype(value)][0]


def _stored_y(net: Net, y: int) -> str:
    return next(
        STORED[st.region.dtype(st.region.outputs[r])][0] for st in net.stages for r, k in st.shown if k == y
    )  # fmt: skip


def _first_state(stage: Stage) -> int:
    return len(stage.synapses) + len(stage.direct)


def _first_parameter(stage: Stage) -> int:
    return _first_state(stage) + stage.states


def _head(net: Net, lanes: int, team: int, slices: int) -> str:
    computed = {STORED[s.region.dtype(v)][1] for s in net.stages for v in range(_values(s))} | {net.number}
    wide = {"HAS_F64": 1} if "f64" in computed else {}
    functions = ("arithmetic", "math_f32", *(["math_f64"] if wide else []), "spiking_events")
    head = prelude({"W": lanes, "TEAM": team, "SLICES": slices, "INDEX": "i32", **wide}, functions=functions)
    called = dict.fromkeys(g for s in net.stages for g in groups(s.region))
    return "\n".join([head, *called])


def _values(stage: Stage) -> int:
    return len(stage.region.inputs) + len(stage.region.steps)


def _kernel(net: Net, name: str, last: str, body: Sequence[str]) -> str:
    given = ", ".join([*(text for _, text in _buffers(net)), "const i32 batch", f"const i32 {last}"])
    return "\n".join([f"KERNEL {name}({given})", "{", *body, "}", ""])


# -- one stage ------------------------------------------------------------------------------------------------


def _stage(net: Net, k: int, *, slices: int, team: int) -> list[str]:
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
    lines += [f"    {line}" for line in _region(net, k, stage)]
    return [*lines, "}"]


def _value(net: Net, read: Read) -> str:
    """Where a value's step begins for this sample."""
    if read.value < len(net.inputs):
        assert not read.late, "a late input is a stage of its own"
        return f"x{read.value} + ((i64)t * batch + sample) * {net.inputs[read.value]}"
    s = read.value - len(net.inputs)
    side = "1 - (t & 1)" if read.late else "(t & 1)"
    return f"out{s} + ((i64)({side}) * batch + sample) * {net.stages[s].size}"


def _padded(size: int) -> str:
    """Elements between the sums of two samples: room for the last vector."""
    return f"(({size} + W - 1) / W * W)"


def _gather(net: Net, k: int, j: int, synapses: Synapses, team: int) -> list[str]:
    """The sums of one kind of synapses: zeros, then a row for each source that is not zero."""
    n, stage = net.number, net.stages[k]
    lines = [
        "{",
        f"    GLOBAL {n} *RESTRICT sum = sum{k}_{j} + (i64)sample * {_padded(stage.size)};",
        f"    GLOBAL const {n} *from = {_value(net, synapses.source)};",
        f"    GLOBAL i32 *events = events{k}_{j} + (i64)group * {synapses.sources};",
        "    for (i32 at = low + lane * W; at < high; at += TEAM * W)",
        f"        STORE_PLAIN({n}, sum, at, SPLAT({n}, 0));",
        *["    BARRIER_ALL;  // without it PoCL 3.0 loses some of the zeros"] * (team > 1),
        f"    EVENTS({n}, from, {synapses.sources}, events, count)",
    ]
    lines += _sparse(k, j, n) if synapses.index else _dense(k, j, synapses, n, stage.size)
    return [*lines, *["    BARRIER_ALL;"] * (team > 1), "}"]


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


def _sparse(k: int, j: int, n: str) -> list[str]:
    """Each item has targets of its own."""
    return [
        f"    SPARSE({n}, from, events, count, rows{k}_{j}, target{k}_{j}, weight{k}_{j}, sum + low)",
    ]


def _region(net: Net, k: int, stage: Stage) -> list[str]:
    """The elementwise part over the slice; the last vector of a sample is stored lane by lane."""
    region, n = stage.region, net.number
    first = _first_state(stage)
    lines = ["{"]
    for d, read in enumerate(stage.direct):
        lines.append(f"    GLOBAL const {n} *direct{d} = {_value(net, read)};")
    writes = _writes(net, k, stage)
    lines += [f"    GLOBAL {kind} *to{w} = {place};" for w, (_, kind, place) in enumerate(writes)]
    loads: list[str] = []
    for i, given in enumerate(region.inputs):
        stored, computed = STORED[given.dtype]
        if given.row == "argument":
            loads.append(f"        const {computed}v v{i} = SPLAT({computed}, given{k}_{i});")
            continue
        if i < len(stage.synapses):
            where = f"sum{k}_{i} + (i64)sample * {_padded(stage.size)}"
        elif i < first:
            where = f"direct{i - len(stage.synapses)}"
        elif i < first + stage.states:
            where = f"state{k}_{i - first} + (i64)sample * {stage.size}"
        else:
            where = f"given{k}_{i}"
        lines.append(f"    GLOBAL const {stored} *in{i} = {where};")
        loads.append(f"        const {computed}v v{i} = LOAD({stored}, in{i}, at);")
    lines += ["    for (i32 at = low + lane * W; at < high; at += TEAM * W) {", *loads]
    lines += [f"        {compute(region, step)}" for step in range(len(region.steps))]
    lines.append("        if (at + W <= high) {")
    lines += [f"            STORE({kind}, to{w}, at, v{v});" for w, (v, kind, _) in enumerate(writes)]
    lines.append("        } else {")
    lines += [f"            STORE_SOME({kind}, to{w}, at, v{v}, high - at);" for w, (v, kind, _) in enumerate(writes)]
    return [*lines, "        }", "    }", "}"]


def _writes(net: Net, k: int, stage: Stage) -> list[tuple[int, str, str]]:
    """(value of the region, how it is stored, where) of all that a stage leaves."""
    region = stage.region
    made = [(region.outputs[0], f"out{k} + ((i64)(t & 1) * batch + sample) * {stage.size}")]
    made += [(region.outputs[1 + j], f"state{k}_{j} + (i64)sample * {stage.size}") for j in range(stage.states)]
    made += [(region.outputs[r], f"y{y} + ((i64)t * batch + sample) * {stage.size}") for r, y in stage.shown]
    return [(value, STORED[region.dtype(value)][0], place) for value, place in made]
