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

from hetero_kernels.parts import groups
from hetero_kernels.spiking_net import Net, Read, Stage, Synapses, first_parameter, first_state
from hetero_kernels.spiking_stage import one_stage
from hetero_kernels.templates import STORED
from hetero_kernels.text import ROUNDED, prelude

__all__ = ["Net", "Read", "Stage", "Synapses", "arguments", "stages", "whole"]


def arguments(net: Net) -> list[str]:
    """Names of the kernels' arguments, in order; behind them come the batch, and the number of steps or the step."""
    return [name for name, _ in _buffers(net)]


def whole(net: Net, *, lanes: int, team: int) -> str:
    """Launch: one group of `team` items for each sample; arguments end with the batch and the number of steps."""
    body = ["    const i32 group = GROUP_ID(0), sample = group, slice = 0;", _LANE[team == 1]]
    body += ["    for (i32 t = 0; t < steps; ++t) {"]
    for k in range(len(net.stages)):
        body += [f"        {line}" for line in one_stage(net, k, slices=1, team=team)]
        body += ["        BARRIER_ALL;"] * (team > 1)
    return _head(net, lanes, team, 1) + "\n" + _kernel(net, "hetero_spiking", "steps", [*body, "    }"])


def stages(net: Net, *, lanes: int, team: int, slices: int) -> str:
    """Kernels `hetero_stage0`, ... Launch: one group for each slice of each sample; arguments end with the step."""
    made: list[str] = []
    for k in range(len(net.stages)):
        body = [f"    const i32 group = GROUP_ID(0), sample = group / {slices}, slice = group % {slices};"]
        body += [_LANE[team == 1], *(f"    {line}" for line in one_stage(net, k, slices=slices, team=team))]
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
            yield f"state{s}_{j}", f"GLOBAL {_stored(stage, first_state(stage) + j)} *state{s}_{j}"
        for j in range(first_parameter(stage), len(stage.region.inputs)):
            number = stage.region.inputs[j].row == "argument"
            stored, computed = STORED[stage.region.dtype(j)]
            yield (
                f"given{s}_{j}",
                f"const {computed} given{s}_{j}" if number else f"GLOBAL const {stored} *given{s}_{j}",
            )
        for j, read in enumerate(stage.direct):
            if read.each:
                yield f"late{s}_{j}", f"GLOBAL const i32 *late{s}_{j}"
                yield f"then{s}_{j}", f"GLOBAL {n} *then{s}_{j}"
        for j, synapses in enumerate(stage.synapses):
            yield f"sum{s}_{j}", f"GLOBAL {n} *sum{s}_{j}"
            if synapses.shift:
                yield f"set{s}_{j}", f"GLOBAL {n} *set{s}_{j}"
            yield f"events{s}_{j}", f"GLOBAL i32 *events{s}_{j}"
            yield f"weight{s}_{j}", f"GLOBAL const {synapses.weight} *weight{s}_{j}"
            if synapses.index:
                yield f"target{s}_{j}", f"GLOBAL const {synapses.index} *target{s}_{j}"
                yield f"rows{s}_{j}", f"GLOBAL const i32 *rows{s}_{j}"


def _stored(stage: Stage, value: int) -> str:
    return STORED[stage.region.dtype(value)][0]


def _stored_y(net: Net, y: int) -> str:
    shown = (STORED[st.region.dtype(st.region.outputs[r])][0] for st in net.stages for r, k in st.shown if k == y)
    return next(shown, net.number)


def _head(net: Net, lanes: int, team: int, slices: int) -> str:
    computed = {STORED[s.region.dtype(v)][1] for s in net.stages for v in range(_values(s))} | {net.number}
    wide = {"HAS_F64": 1} if "f64" in computed else {}
    functions = ("arithmetic", "math_f32", *(["math_f64"] if wide else []), "spiking_events")
    defines = {"W": lanes, "TEAM": team, "SLICES": slices, "INDEX": "i32", ROUNDED: 1, **wide}
    head = prelude(defines, functions=functions)
    called = dict.fromkeys(g for s in net.stages for g in groups(s.region))
    return "\n".join([head, *called])


def _values(stage: Stage) -> int:
    return len(stage.region.inputs) + len(stage.region.steps)


def _kernel(net: Net, name: str, last: str, body: Sequence[str]) -> str:
    given = ", ".join([*(text for _, text in _buffers(net)), "const i32 batch", f"const i32 {last}"])
    return "\n".join([f"KERNEL {name}({given})", "{", *body, "}", ""])
