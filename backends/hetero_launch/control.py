"""Loops and branches: the bodies are executables of their own, the host only says which runs next.

Rows along axis 0 are contiguous, so a step's slice of an input and of an output is a copy of bytes on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetero.dim import concrete
from hetero.graph.ir import Node
from hetero_launch.plan import Hosted, Plan
from hetero_launch.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Memory of an enclosing executable, as a body takes it: a block that goes back to no pool."""

    mem: Any


def scan(plan: Plan, node: Node) -> None:
    """state..., xs (t, ...)..., constants... -> final state..., ys (t, ...)..."""
    carried, scanned = int(node.attrs["carried"]), int(node.attrs["scanned"])
    types = plan.graph.in_types(node)
    steps = concrete(types[carried].known)[0]
    inner = list(node.attrs["body"].output_types.values())[carried:]
    loop = Loop(
        body=plan.compile(node.attrs["body"]),
        carried=carried,
        row_bytes=tuple(t.nbytes // max(steps, 1) for t in types[carried : carried + scanned]),
        out_bytes=tuple(t.nbytes for t in inner),
        state_bytes=tuple(t.nbytes for t in types[:carried]),
        order=tuple(reversed(range(steps)) if node.attrs["reverse"] else range(steps)),
    )
    reads = tuple(plan.input(i) for i in node.inputs)
    writes = tuple(plan.output(i) for i in node.outputs)
    plan.steps.append(Hosted(loop, reads, writes))


@dataclass(frozen=True, slots=True)
class Loop:
    """What runs a scan: memory of the inputs and outputs in, commands on the queue out."""

    body: Callable[..., Sequence[Any]]
    carried: int
    row_bytes: tuple[int, ...]  # of one step of each x
    out_bytes: tuple[int, ...]  # of one step of each y
    state_bytes: tuple[int, ...]
    order: tuple[int, ...]

    def __call__(self, runtime: Runtime, reads: Sequence[Any], writes: Sequence[Any]) -> None:
        first_constant = self.carried + len(self.row_bytes)
        state: Sequence[Any] = [Borrowed(m) for m in reads[: self.carried]]
        xs, rest = reads[self.carried : first_constant], [Borrowed(m) for m in reads[first_constant:]]
        for t in self.order:
            # new blocks at each step: a body may hand one on as its state
            row = [_row(runtime, mem, n, t) for mem, n in zip(xs, self.row_bytes, strict=True)]
            outs = self.body(*state, *row, *rest)
            state = outs[: self.carried]
            for mem, block, n in zip(writes[self.carried :], outs[self.carried :], self.out_bytes, strict=True):
                _copy(runtime, mem, block.mem, n, to_byte=t * n)
        for mem, block, n in zip(writes[: self.carried], state, self.state_bytes, strict=True):
            _copy(runtime, mem, block.mem, n)


def cond(plan: Plan, node: Node) -> None:
    """bool (), inputs... -> outputs of the branch that the bool says"""
    branches = {taken: plan.compile(node.attrs[name]) for taken, name in ((True, "then"), (False, "otherwise"))}
    sizes = tuple(t.nbytes for t in plan.graph.out_types(node))
    reads = tuple(plan.input(i) for i in node.inputs)
    writes = tuple(plan.output(i) for i in node.outputs)

    def run(runtime: Runtime, reads: Sequence[Any], writes: Sequence[Any]) -> None:
        said = np.empty(1, np.bool_)
        runtime.driver.read(said, reads[0])  # waits: the host must know
        outs = branches[bool(said[0])](*(Borrowed(m) for m in reads[1:]))
        for mem, block, n in zip(writes, outs, sizes, strict=True):
            _copy(runtime, mem, block.mem, n)

    plan.steps.append(Hosted(run, reads, writes))


def _row(runtime: Runtime, mem: Any, nbytes: int, step: int) -> Any:
    block = runtime.pool.take(nbytes)
    _copy(runtime, block.mem, mem, nbytes, source_byte=step * nbytes)
    return block


def _copy(runtime: Runtime, to: Any, source: Any, nbytes: int, *, source_byte: int = 0, to_byte: int = 0) -> None:
    if nbytes and to is not source:
        runtime.driver.copy(to, source, nbytes, source_byte, to_byte)


__all__ = ["Loop", "cond", "scan"]
