"""Pretend devices: placement and its rules are tested without hardware."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hetero import registry
from hetero.dim import concrete
from hetero.errors import DeviceError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import YES, Backend, Buffer, Device, Executable, Probe, Support


@contextmanager
def plugged(backend: Backend) -> Generator[Device, None, None]:
    """`backend` beside the installed ones, inside the block; gives its first device."""
    registry.add(backend)
    try:
        yield registry.find(backend.name)
    finally:
        registry.remove(backend.name)


@dataclass
class _Zeros:
    """An executable that computes nothing."""

    graph: Graph
    peak_bytes: int

    def __call__(self, *inputs: Buffer) -> tuple[Buffer, ...]:
        return tuple(np.zeros(concrete(t.known), t.dtype) for t in self.graph.output_types.values())


class DoNothingBackend:
    """Takes every op and gives zeros: for tests of placement, where values do not matter."""

    name = "nothing"

    def __init__(self, refused: frozenset[str] = frozenset()) -> None:
        self.refused = refused  # ops it says no to

    def probe(self) -> Probe:
        return Probe((Device(self.name, 0, "computes nothing"),), version="1")

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return Support(False, f"told to refuse {node.op.name}") if node.op.name in self.refused else YES

    def compile(self, graph: Graph, device: Device) -> Executable:
        return _Zeros(graph, graph.peak_bytes)

    def from_host(self, array: Array, device: Device) -> Buffer:
        return array.copy()

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer.copy()

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way."""


class SmallMemoryBackend:
    """NumPy on a device of `memory_bytes`: what would not fit is refused before it runs."""

    name = "small"

    def __init__(self, memory_bytes: int) -> None:
        self._inner = registry.load("numpy")
        self._host = registry.find("numpy")
        self._memory_bytes = memory_bytes

    def probe(self) -> Probe:
        return Probe((Device(self.name, 0, "NumPy with little memory", self._memory_bytes),), version="1")

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return self._inner.support(node, types, outs, self._host)

    def compile(self, graph: Graph, device: Device) -> Executable:
        made = self._inner.compile(graph, self._host)
        held = sum(t.nbytes for t in graph.input_types.values()) + sum(a.nbytes for a in graph.constants.values())
        if made.peak_bytes + held > device.memory_bytes:
            raise DeviceError(
                f"{graph.name} needs {made.peak_bytes + held} bytes at its peak, {device} has {device.memory_bytes}",
                hint="run it with a smaller batch, or on a larger device",
            )
        return made

    def from_host(self, array: Array, device: Device) -> Buffer:
        if array.nbytes > device.memory_bytes:
            raise DeviceError(
                f"a buffer of {array.nbytes} bytes does not fit {device}, which has {device.memory_bytes}"
            )
        return array.copy()

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer.copy()

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way."""


class BreakingBackend:
    """NumPy on a device that fails: on compiling some ops, and for good after some runs. Tests of recovery use it."""

    name = "breaking"

    def __init__(self, refuses_to_compile: frozenset[str] = frozenset(), dies_after: int | None = None) -> None:
        self._inner = registry.load("numpy")
        self._host = registry.find("numpy")
        self._refuses = refuses_to_compile
        self._left = dies_after  # runs until it dies; None: never

    def probe(self) -> Probe:
        return Probe((Device(self.name, 0, "NumPy that breaks"),), version="1")

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return self._inner.support(node, types, outs, self._host)

    def compile(self, graph: Graph, device: Device) -> Executable:
        bad = sorted({n.op.name for n in graph.nodes} & self._refuses)
        if bad:
            raise RuntimeError(f"the pretend driver does not like {', '.join(bad)}")
        return _Breaking(self, self._inner.compile(graph, self._host))

    def spend(self) -> None:
        """One run; a dead device stays dead."""
        if self._left is not None:
            if self._left == 0:
                raise RuntimeError("the pretend device is gone")
            self._left -= 1

    def from_host(self, array: Array, device: Device) -> Buffer:
        return array.copy()

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer.copy()

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way."""


class _Breaking:
    """Runs as long as its device lives."""

    def __init__(self, backend: BreakingBackend, inner: Executable) -> None:
        self._backend, self._inner = backend, inner
        self.graph, self.peak_bytes = inner.graph, inner.peak_bytes

    def __call__(self, *inputs: Buffer) -> tuple[Buffer, ...]:
        self._backend.spend()
        return self._inner(*inputs)
