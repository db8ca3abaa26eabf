"""A graph compiled for a device: its steps in order, with all kernels built and all fixed arguments set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hetero.errors import DeviceError
from hetero.graph.ir import Graph
from hetero_opencl.memory import Block
from hetero_opencl.plan import Copy, Hosted, Launch, Mapped, Plan, Storage, lifetimes, share

Run = Callable[[list[Any]], None]


class OpenCLExecutable:
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
        self.peak_bytes = sum(self._slots) + sum(n for _, n in self._made)
        self._blocks: list[Block | None] = [known.get(n) for n in range(len(plan.sizes))]
        self._mems: list[Any] = [b.mem if b else None for b in self._blocks]
        self._steps: list[Run] = [self._prepare(step) for step in plan.steps]
        self.kernels = sum(isinstance(step, Launch) for step in plan.steps)

    def __call__(self, *inputs: Block) -> tuple[Block, ...]:
        runtime = self._runtime
        blocks, mems = self._blocks.copy(), self._mems.copy()
        for number, block in zip(self._inputs, inputs, strict=True):
            blocks[number], mems[number] = block, block.mem
        with runtime.lock:
            for number, nbytes in self._made:
                blocks[number] = block = runtime.pool.take(nbytes)
                mems[number] = block.mem
            slots = [runtime.pool.take(n) for n in self._slots]
            for number, slot in self._home:
                mems[number] = slots[slot].mem
            try:
                for step in self._steps:
                    step(mems)
            except runtime.cl.Error as e:
                raise DeviceError(f"{runtime.record.device} failed: {e}", hint="hetero doctor") from e
        return tuple(blocks[n] for n in self._outputs)  # pyright: ignore[reportReturnType]

    def _prepare(self, step: Launch | Copy | Mapped | Hosted) -> Run:
        if isinstance(step, Launch):
            return self._kernel(step)
        if isinstance(step, Copy):
            return self._copy(step)
        return self._hosted(step) if isinstance(step, Hosted) else self._mapped(step)

    def _hosted(self, step: Hosted) -> Run:
        """Loops and branches."""

        def run(mems: list[Any]) -> None:
            step.call(self._runtime, [mems[s.number] for s in step.reads], [mems[s.number] for s in step.writes])

        return run

    def _kernel(self, step: Launch) -> Run:
        """Constants and numbers are set now, other memory at each call."""
        kernel = self._runtime.programs.kernel(step.text, step.kernel)
        later: list[tuple[int, int]] = []
        for position, argument in enumerate(step.arguments):
            if not isinstance(argument, Storage):
                kernel.set_arg(position, argument)
            elif self._mems[argument.number] is not None:
                kernel.set_arg(position, self._mems[argument.number])
            else:
                later.append((position, argument.number))
        enqueue, queue, set_arg = self._runtime.cl.enqueue_nd_range_kernel, self._runtime.queue, kernel.set_arg
        size, group = step.size, step.group

        def run(mems: list[Any]) -> None:
            for position, number in later:
                set_arg(position, mems[number])
            enqueue(queue, kernel, size, group)

        return run

    def _copy(self, step: Copy) -> Run:
        enqueue, queue = self._runtime.cl.enqueue_copy, self._runtime.queue
        source, to = step.source.number, step.to.number
        where = {"byte_count": step.nbytes, "src_offset": step.source_byte, "dst_offset": step.to_byte}

        def run(mems: list[Any]) -> None:
            enqueue(queue, mems[to], mems[source], **where)

        return run

    def _mapped(self, step: Mapped) -> Run:
        """Waits for what is queued, then computes where the data lies."""
        cl, queue = self._runtime.cl, self._runtime.queue
        storages = (*step.reads, *step.writes)
        read, write = (cl.map_flags.READ, 0), (cl.map_flags.WRITE, step.byte)
        ways = [read] * len(step.reads) + [write] * len(step.writes)
        last = [False] * (len(storages) - 1) + [True]  # the queue runs in order: to wait for the last is enough
        used = [
            (storage.number, flag, byte, type.known, type.dtype, waits)
            for storage, type, (flag, byte), waits in zip(storages, step.types, ways, last, strict=True)
        ]

        def run(mems: list[Any]) -> None:
            arrays: list[Any] = []
            try:
                for number, flag, byte, shape, dtype, waits in used:
                    array, _ = cl.enqueue_map_buffer(queue, mems[number], flag, byte, shape, dtype, is_blocking=waits)
                    arrays.append(array)
                step.call(*arrays)
            finally:
                for array in arrays:
                    array.base.release(queue)

        return run
