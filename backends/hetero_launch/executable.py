"""A graph compiled for a device: its steps in order, with all kernels built and all fixed arguments set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from hetero.dim import concrete
from hetero.errors import DeviceError, HeteroError
from hetero.graph.ir import Graph
from hetero_launch.driver import Bound, Driver, Mems, Place, Run
from hetero_launch.held import Held
from hetero_launch.memory import Block, size_class
from hetero_launch.plan import Copy, Hosted, Launch, Mapped, Plan, Storage, lifetimes, share

SHOWN = 8  # of what a graph holds, when there is no room for it


class LaunchExecutable:
    """Callable on blocks. Intermediates share slots, which go back to the pool when the call has been queued."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.graph = graph
        self._runtime = plan.runtime
        self._inputs = [plan.input(p.value).number for p in graph.inputs]
        outputs = [plan.input(p.value).number for p in graph.outputs]
        self._outputs = outputs
        known = {n: plan.runtime.upload(a) for n, a in plan.constants.items()} | plan.fixed
        made = [n for n in dict.fromkeys(outputs) if n not in self._inputs and n not in known]
        self._made = [(n, plan.sizes[n]) for n in made]
        lives = lifetimes(plan.steps)
        inner = {n: plan.sizes[n] for n in lives if n not in known and n not in self._inputs and n not in made}
        chosen, self._slots = share(inner, lives)
        self._home = list(chosen.items())
        numbers = {plan.of[i].number: n.label for n in graph.nodes for i in n.outputs if i in plan.of}
        self._labels = {n: numbers.get(n, "scratch") for n in (*inner, *made)}
        self.peak_bytes = sum(self._slots) + sum(n for _, n in self._made)
        self._blocks: list[Block | None] = [known.get(n) for n in range(len(plan.sizes))]
        self._mems: list[Any] = [b.mem if b else None for b in self._blocks]
        self.direct: Callable[..., Block] | None = None
        one = plan.steps[0] if len(plan.steps) == 1 and not self._slots and len(made) == 1 and outputs == made else None
        if isinstance(one, Launch):
            bound = self._bound(one)
            self._steps, self.direct = [_run(*bound)], self._straight(one, *bound)
        else:
            self._steps = self._prepared(plan)
        self.kernels = sum(isinstance(step, Launch) for step in plan.steps)

    def __call__(self, *inputs: Block) -> tuple[Block, ...]:
        runtime = self._runtime
        blocks, mems = self._blocks.copy(), self._mems.copy()
        for number, block in zip(self._inputs, inputs, strict=True):
            blocks[number], mems[number] = block, block.mem
        with runtime.lock:
            runtime.hand_over()
            try:
                for number, nbytes in self._made:
                    blocks[number] = block = runtime.pool.take(nbytes)
                    mems[number] = block.mem
                slots = [runtime.pool.take(n) for n in self._slots]
            except DeviceError as e:
                raise self._full(e) from e.__cause__
            for number, slot in self._home:
                mems[number] = slots[slot].mem
            try:
                for step in self._steps:
                    step(mems)
            except runtime.failure as e:
                raise runtime.failed(e) from e
        return tuple(blocks[n] for n in self._outputs)  # pyright: ignore[reportReturnType]

    def _straight(self, step: Launch, bound: Bound, later: Sequence[tuple[int, int]]) -> Callable[..., Block]:
        """A graph of one kernel and one output as one call: blocks in, a block out."""
        runtime = self._runtime
        ((result, nbytes),) = self._made
        size = size_class(nbytes)
        places = [(p, -1 if n == result else self._inputs.index(n)) for p, n in later]
        if step.together is not None and len(later) == sum(isinstance(a, Storage) for a in step.arguments):
            build = partial(_together, runtime.driver, step, len(later))
            return Held(runtime, bound, places, build, size, self._failed).call
        bind, launch, pool, lock = bound.bind, bound.launch, runtime.pool, runtime.lock
        take, failure = pool.take_class, (DeviceError, *runtime.failure)

        def straight(*blocks: Block) -> Block:
            with lock, pool.lock:
                try:
                    if runtime.held is not None:
                        runtime.hand_over()
                    out = take(size)
                    row = (*blocks, out)
                    for position, which in places:
                        bind(position, row[which].mem)
                    launch()
                except failure as e:
                    raise self._failed(e) from e
            return out

        return straight

    def _failed(self, error: Exception) -> HeteroError:
        return self._full(error) if isinstance(error, DeviceError) else self._runtime.failed(error)

    def _full(self, error: DeviceError) -> DeviceError:
        """The error with what the graph wants to hold at once, the largest first, by the nodes that make it."""
        wanted = [(n, f"output of {self._labels[k]}") for k, n in self._made]
        held: dict[int, list[str]] = {}
        for number, slot in self._home:
            held.setdefault(slot, []).append(self._labels[number])
        for slot, labels in held.items():
            others = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
            wanted.append((self._slots[slot], ", ".join(labels[:3]) + others))
        wanted.sort(key=lambda w: -w[0])
        lines = "".join(f"\n  {nbytes} bytes: {what}" for nbytes, what in wanted[:SHOWN])
        rest = sum(nbytes for nbytes, _ in wanted[SHOWN:])
        more = f"\n  {rest} bytes: {len(wanted) - SHOWN} smaller ones" if rest else ""
        problem = f"{error.problem}\n{self.graph.name} holds {self.peak_bytes} bytes at once:{lines}{more}"
        return DeviceError(problem, hint=error.hint)

    def _prepared(self, plan: Plan) -> list[Run]:
        """Every step; stretches of kernels and copies as the driver likes to repeat them."""
        runs: list[Run] = []
        for ours, some in groupby(plan.steps, lambda step: isinstance(step, (Launch, Copy))):
            steps = list(some)
            made = [self._prepare(step) for step in steps]
            touched = sorted({s.number for step in steps for s in (*step.reads, *step.writes)})
            runs += plan.runtime.driver.repeated(made, touched) if ours else made
        return runs

    def _prepare(self, step: Launch | Copy | Mapped | Hosted) -> Run:
        if isinstance(step, Launch):
            return _run(*self._bound(step))
        if isinstance(step, Copy):
            return self._copy(step)
        return self._hosted(step) if isinstance(step, Hosted) else self._mapped(step)

    def _hosted(self, step: Hosted) -> Run:
        """Loops and branches."""

        def run(mems: Mems) -> None:
            step.call(self._runtime, [mems[s.number] for s in step.reads], [mems[s.number] for s in step.writes])

        return run

    def _bound(self, step: Launch) -> tuple[Bound, list[tuple[int, int]]]:
        """The kernel with its constants and numbers set, and which memory goes to which other positions."""
        kernel = self._runtime.driver.kernel(step.text, step.kernel, step.size, step.group)
        later: list[tuple[int, int]] = []
        for position, argument in enumerate(step.arguments):
            if not isinstance(argument, Storage):
                kernel.bind(position, argument)
            elif self._mems[argument.number] is not None:
                kernel.bind(position, self._mems[argument.number])
            else:
                later.append((position, argument.number))
        return kernel, later

    def _copy(self, step: Copy) -> Run:
        copy, source, to = self._runtime.driver.copy, step.source.number, step.to.number
        nbytes, source_byte, to_byte = step.nbytes, step.source_byte, step.to_byte

        def run(mems: Mems) -> None:
            copy(mems[to], mems[source], nbytes, source_byte, to_byte)

        return run

    def _mapped(self, step: Mapped) -> Run:
        count = len(step.reads)
        places = [
            Place(storage.number, step.byte if k >= count else 0, concrete(type.known), type.dtype, k >= count)
            for k, (storage, type) in enumerate(zip((*step.reads, *step.writes), step.types, strict=True))
        ]
        return self._runtime.driver.arrays(step.call, places)


def _run(kernel: Bound, later: Sequence[tuple[int, int]]) -> Run:
    """A kernel as a step: the memory at `later`, (position, storage), is set at each call."""
    bind, launch = kernel.bind, kernel.launch

    def run(mems: Mems) -> None:
        for position, number in later:
            bind(position, mems[number])
        launch()

    return run


def _together(driver: Driver, step: Launch, memories: int) -> Bound:
    """The kernel for several launches of `step` that touch as many memories each; its numbers are set."""
    assert step.together is not None
    one = step.together()
    kernel = driver.kernel(one.text, one.kernel, one.size, one.group)
    numbers = [a for a in step.arguments if not isinstance(a, Storage)]
    for position, number in enumerate(numbers, driver.style.together * memories):
        kernel.bind(position, number)
    return kernel
