"""A spiking loop by event-driven kernels: work in proportion to spikes, all steps of a sample in one launch where it
can be. What has no such form runs as any other loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hetero.dim import concrete
from hetero.errors import DeviceError, GraphError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, Node
from hetero.op import TensorType
from hetero.spiking.hoist import first_synapses, hoisted
from hetero.spiking.read import Loop
from hetero.spiking.stages import Kept, Stage, Stages, is_uniform, staged
from hetero.spiking.synapses import Read, Synapses, by_source, stored
from hetero_kernels import Input, Region, missing
from hetero_kernels import spiking as kernels
from hetero_kernels.templates import STORED
from hetero_launch.control import Borrowed
from hetero_launch.driver import Bound
from hetero_launch.executable import LaunchExecutable
from hetero_launch.plan import Copy, Hosted, Launch, Plan, Storage
from hetero_launch.regions import argument, steps_of
from hetero_launch.runtime import Runtime

SMALL = 1 << 22  # synapses of a stage up to which one group for each sample is enough
ROWS = 64  # steps of all samples from which a matrix product may be worth it
ACTIVE = 0.35  # share of inputs that are not zero from which it is: docs/backends/opencl.md
SAMPLE = 1 << 14  # elements that are looked at
RING = 1 << 30  # elements of a ring: kernels number them, and those of the turn after it, in 31 bits
NUMBERS = {"float32": "f32", "float64": "f64", "int32": "i32"}


def refusal(node: Node) -> str:
    """Why a loop has no event-driven form, or nothing."""
    try:
        stages = staged(node)[1]
    except GraphError as e:
        return str(e)
    if stages.dtype.name not in NUMBERS:
        return f"spikes of {stages.dtype.name} have no kernel"
    return next((why for s in stages.stages if (why := missing(_region(s)[0]))), "")


def _region(stage: Stage) -> tuple[Region, list[Any]]:
    """The body as a region; its constants as arrays, or as numbers where all elements are one."""
    steps, number = steps_of(stage.body, None)
    inputs = [Input(t.dtype.name) for t in stage.body.input_types.values()]
    given: list[Any] = []
    for array in stage.body.constants.values():
        if is_uniform(array):
            inputs.append(Input(array.dtype.name, "argument", False))
            given.append(argument(array.reshape(-1)[:1]))
        else:
            inputs.append(Input(array.dtype.name))
            given.append(np.ascontiguousarray(array))
    outputs = tuple(number[p.value] for p in stage.body.outputs)
    return Region(tuple(inputs), steps, outputs), given


def lower(plan: Plan, node: Node) -> None:
    """state..., xs (t, ...)... -> final state..., ys (t, ...)..."""
    loop, stages = staged(node)
    other = hoisted(node, plan.graph, loop) if plan.style.blas and stages.dtype.kind == "f" else None
    lowering = _Lowering(plan, node, loop, stages)
    if other is None or lowering.batch * lowering.steps < ROWS:
        lowering.run()
    else:
        _both(plan, node, other, loop, stages)


def _both(plan: Plan, node: Node, product: Graph, loop: Loop, stages: Stages) -> None:
    """By events, or by one matrix product for all steps: the share of inputs that are not zero decides at each run."""
    carried, types = int(node.attrs["carried"]), plan.graph.in_types(node)
    builder = Builder("events", track=False)
    given = [builder.input(f"i{k}", t) for k, t in enumerate(types)]
    events = builder.build(list(builder.emit(node.op, given, node.attrs)))
    part = Plan(plan.runtime, events, plan.compile)
    for port in events.inputs:
        part.output(port.value)
    _Lowering(part, events.nodes[0], loop, stages).run()
    names = list(stages.inputs)
    looked = tuple(carried + names.index(x) for x, _ in first_synapses(loop))
    sizes = tuple(t.nbytes for t in plan.graph.out_types(node))
    choice = _Choice(
        LaunchExecutable(part, events), plan.compile(product), looked, tuple(types[k] for k in looked), sizes
    )  # fmt: skip
    reads, writes = (tuple(f(i) for i in v) for f, v in ((plan.input, node.inputs), (plan.output, node.outputs)))
    plan.steps.append(Hosted(choice, reads, writes))


@dataclass(frozen=True, slots=True)
class _Choice:
    """Runs one of two executables of the same loop."""

    events: Any
    product: Any
    looked: tuple[int, ...]  # inputs whose share decides
    types: tuple[TensorType, ...]
    sizes: tuple[int, ...]  # bytes of the outputs

    def __call__(self, runtime: Runtime, reads: Sequence[Any], writes: Sequence[Any]) -> None:
        share = max(self._share(runtime, reads[k], t) for k, t in zip(self.looked, self.types, strict=True))
        chosen = self.product if share > ACTIVE else self.events
        outs = chosen(*(Borrowed(m) for m in reads))
        for mem, block, n in zip(writes, outs, self.sizes, strict=True):
            if n:
                runtime.driver.copy(mem, block.mem, n)

    def _share(self, runtime: Runtime, mem: Any, t: TensorType) -> float:
        """Of some elements in the middle, those that are not zero; the same for the same input. Waits for it."""
        count = min(t.nbytes // t.dtype.itemsize, SAMPLE)
        some = np.empty(count, t.dtype)
        first = (t.nbytes // t.dtype.itemsize - count) // 2
        runtime.driver.read(some, mem, first * t.dtype.itemsize)
        return np.count_nonzero(some) / max(count, 1)


@dataclass(frozen=True, slots=True)
class Cut:
    """How a network is cut: slices of targets, items of a group, lanes of a vector."""

    slices: int
    team: int
    lanes: int

    def chunk(self, size: int) -> int:
        """Targets of one slice: as in the kernels."""
        each = -(-size // self.slices)
        unit = self.lanes * self.team
        return -(-each // unit) * unit


@dataclass(frozen=True, slots=True)
class Ring:
    """`slots` steps of memory, of which `kept` are carried on. Before step t the first of them lies in slot
    `first` + t * `way`, modulo all slots, and the others behind it."""

    memory: Storage
    slot_bytes: int
    slots: int
    kept: int
    first: int
    way: int

    def filled(self, source: Storage) -> list[Copy]:
        """What is carried into the loop."""
        nbytes = self.kept * self.slot_bytes
        return [Copy(source, self.memory, nbytes, to_byte=self.first * self.slot_bytes)] if nbytes else []

    def read(self, to: Storage, steps: int) -> list[Copy]:
        """What is carried on after so many steps: up to the ring's end, then from its beginning."""
        first = (self.first + steps * self.way) % self.slots
        most = min(self.kept, self.slots - first)
        parts = ((first, most, 0), (0, self.kept - most, most))
        return [
            Copy(self.memory, to, n * self.slot_bytes, source * self.slot_bytes, at * self.slot_bytes)
            for source, n, at in parts
            if n * self.slot_bytes
        ]


class _Lowering:
    def __init__(self, plan: Plan, node: Node, loop: Loop, staged: Stages) -> None:
        self.plan, self.node, self.staged = plan, node, staged
        self.carried: int = node.attrs["carried"]
        types = plan.graph.in_types(node)
        first = concrete(types[self.carried].known)
        self.steps, self.batch = first[0], prod(first[1 : 1 + loop.lead])
        self.item = staged.dtype.itemsize
        self.number = {n: k for k, n in enumerate((*staged.inputs, *(s.name for s in staged.stages)))}
        self.stage = {s.name: s for s in staged.stages}
        self.regions = [_region(s) for s in staged.stages]
        self.cut = self._cut(plan.runtime)
        self.memory: dict[str, Any] = {}

    def _cut(self, runtime: Runtime) -> Cut:
        kinds = {STORED[r.dtype(v)][1] for r, _ in self.regions for v in range(len(r.inputs) + len(r.steps))}
        lanes = runtime.style.lanes(8 if kinds & {"f64", "i64", "u64"} else 4)
        team = 1 if lanes > 1 else runtime.style.team
        units = runtime.driver.units
        most = max((s.weight.size for st in self.staged.stages for s in st.synapses), default=0)
        whole = self.batch >= units or most <= SMALL
        return Cut(1 if whole else -(-units // self.batch), team, lanes)

    def run(self) -> None:
        plan, node, carried = self.plan, self.node, self.staged.carried
        out = [plan.output(i) for i in node.outputs]
        before = [plan.input(i) for i in node.inputs[: self.carried]]
        types = plan.graph.in_types(node)
        for k, kept in enumerate(carried):
            if kept.part == "state" or not self.steps:
                plan.steps += [Copy(before[k], out[k], types[k].nbytes)] if types[k].nbytes else []
                self.memory.setdefault(f"state{self._index(kept.stage)}_{kept.index}", out[k])
        if not self.steps or not self.batch:
            return
        net = self._net()
        for k, s in enumerate(self.staged.stages):
            self.memory[f"out{k}"] = plan.storage(self._ring(s.size, s.depth))
        rings = [self._ring_of(kept) for kept in carried]
        for k, ring in enumerate(rings):
            plan.steps += ring.filled(before[k]) if ring else ()
        for k, i in enumerate(node.inputs[self.carried :]):
            self.memory[f"x{k}"] = plan.input(i)
        for k in range(len(self.staged.shown)):
            self.memory[f"y{k}"] = out[self.carried + k]
        self._launch(net)
        for k, ring in enumerate(rings):
            plan.steps += ring.read(out[k], self.steps) if ring else ()

    def _ring(self, size: int, depth: int) -> int:
        """Bytes of a ring of steps."""
        elements = (depth + 1) * self.batch * size
        if elements > RING:
            raise DeviceError(
                f"a delay of {depth} steps of {self.batch * size} elements is more than kernels can number",
                hint="run it with a smaller batch, or on numpy",
            )
        return elements * self.item

    def _ring_of(self, kept: Kept) -> Ring | None:
        """Where what a loop carries lies while it runs; None: at one place, in which it is replaced."""
        if kept.part == "state":
            return None
        stage, depth = self.staged.by_name[kept.stage], self.staged.depth(kept)
        k, slot = self._index(kept.stage), self.batch * stage.size * self.item
        if kept.part == "coming":
            assert depth is not None
            return Ring(self.memory[f"sum{k}_{kept.index}"], slot, depth + 1, depth, 0, 1)
        return Ring(self.memory[f"out{k}"], slot, stage.depth + 1, 1 if depth is None else depth, 1, -1)

    def _index(self, stage: str) -> int:
        return self.number[stage] - len(self.staged.inputs)

    def _net(self) -> kernels.Net:
        """The kernels' form; what the stages are given lies on the device after it."""
        made: list[kernels.Stage] = []
        for k, (stage, (region, given)) in enumerate(zip(self.staged.stages, self.regions, strict=True)):
            synapses = tuple(self._synapses(k, j, s, stage.size) for j, s in enumerate(stage.synapses))
            first = len(region.inputs) - len(given)
            for j, value in enumerate(given):
                self.memory[f"given{k}_{first + j}"] = (
                    self.plan.constant(value) if isinstance(value, np.ndarray) else value
                )
            direct = tuple(self._direct(k, d, r, stage.size) for d, r in enumerate(stage.direct))
            made.append(
                kernels.Stage(
                    stage.size, synapses, direct, len(stage.states), region, self._shown(stage), stage.depth,
                    self._lines(stage),
                )
            )  # fmt: skip
        number = NUMBERS[self.staged.dtype.name]
        return kernels.Net(tuple(self.staged.inputs.values()), tuple(made), number, len(self.staged.shown))

    def _shown(self, stage: Stage) -> tuple[tuple[int, int], ...]:
        """(result of the body, y)"""
        mine = [(y, kept) for y, kept in enumerate(self.staged.shown) if kept.stage == stage.name]
        return tuple((0 if k.part == "out" else 1 + k.index, y) for y, k in mine if k.part in ("out", "state"))

    def _lines(self, stage: Stage) -> tuple[tuple[int, int], ...]:
        """(synapses, or -1 for the stage's own past, y)"""
        mine = [(y, kept) for y, kept in enumerate(self.staged.shown) if kept.stage == stage.name]
        return tuple((-1 if k.part == "past" else k.index, y) for y, k in mine if k.part in ("past", "coming"))

    def _read(self, read: Read) -> kernels.Read:
        assert isinstance(read.late, int)
        return kernels.Read(self.number[read.name], read.late)

    def _direct(self, k: int, d: int, read: Read, size: int) -> kernels.Read:
        if isinstance(read.late, int):
            return self._read(read)
        self.memory[f"late{k}_{d}"] = self.plan.constant(read.late)
        self.memory[f"then{k}_{d}"] = self.plan.storage(self.batch * size * self.item)
        return kernels.Read(self.number[read.name], 0, each=True)

    def _synapses(self, k: int, j: int, s: Synapses, size: int) -> kernels.Synapses:
        plan, cut = self.plan, self.cut
        ring = self._ring(size, s.depth)
        self.memory[f"sum{k}_{j}"] = plan.storage(ring)
        if s.shift:
            self.memory[f"set{k}_{j}"] = plan.storage(ring)
        self.memory[f"events{k}_{j}"] = plan.storage(self.batch * cut.slices * s.sources * 4)
        read = self._read(s.read)
        if s.source is None:
            weight = stored(np.ascontiguousarray(s.weight.T))
            self.memory[f"weight{k}_{j}"] = plan.constant(weight)
            return kernels.Synapses(read, s.sources, STORED[weight.dtype.name][0])
        chunk, step = cut.chunk(size), self.batch * size
        rows, target, weight = by_source(s, size, cut.slices, cut.team, chunk, step)
        weight, index = stored(weight), np.uint16 if chunk + s.depth * step <= 1 << 16 else np.int32
        arrays = {"weight": weight, "target": target.astype(index), "rows": rows}
        self.memory |= {f"{name}{k}_{j}": plan.constant(array) for name, array in arrays.items()}
        kinds = STORED[weight.dtype.name][0], STORED[index.__name__][0]
        return kernels.Synapses(read, s.sources, *kinds, s.depth, s.shift)

    # -- launches ---------------------------------------------------------------------------------------------

    def _launch(self, net: kernels.Net) -> None:
        cut, given = self.cut, [self.memory[name] for name in kernels.arguments(net)]
        used = tuple(dict.fromkeys(a for a in given if isinstance(a, Storage)))
        numbers = (np.int32(self.batch), np.int32(self.steps))
        if cut.slices == 1:
            text = kernels.whole(net, lanes=cut.lanes, team=cut.team)
            size = (self.batch * cut.team,)
            step = Launch(text, "hetero_spiking", size, (cut.team,), (*given, *numbers), used, self._written())
            self.plan.steps.append(step)
            return
        text = kernels.stages(net, lanes=cut.lanes, team=cut.team, slices=cut.slices)
        driver, size = self.plan.runtime.driver, (self.batch * cut.slices * cut.team,)
        built = [driver.kernel(text, f"hetero_stage{k}", size, (cut.team,)) for k in range(len(net.stages))]
        places = [used.index(a) if isinstance(a, Storage) else -1 for a in given]
        run = _Sliced(tuple(built), tuple(given), tuple(places), self.batch, self.steps)
        self.plan.steps.append(Hosted(run, used, self._written()))

    def _written(self) -> tuple[Storage, ...]:
        names = ("y", "out", "state", "sum", "set", "then", "events")
        return tuple(dict.fromkeys(m for n, m in self.memory.items() if n.startswith(names)))


@dataclass(frozen=True, slots=True)
class _Sliced:
    """One launch for each stage of each step."""

    kernels: tuple[Bound, ...]
    given: tuple[Any, ...]
    places: tuple[int, ...]  # of each argument among the memory that is read; -1: a number
    batch: int
    steps: int

    def __call__(self, runtime: Runtime, reads: Sequence[Any], writes: Sequence[Any]) -> None:
        arguments = [a if p < 0 else reads[p] for a, p in zip(self.given, self.places, strict=True)]
        last = len(arguments) + 1
        for kernel in self.kernels:
            for position, value in enumerate((*arguments, np.int32(self.batch), np.int32(0))):
                kernel.bind(position, value)
        for t in range(self.steps):
            for kernel in self.kernels:
                kernel.bind(last, np.int32(t))
                kernel.launch()
