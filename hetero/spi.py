"""What a backend must be. Backends import this; nothing here imports a backend.

A backend can say what is there (`probe`), what it can do (`support`), and do it (`compile`, buffers).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from hetero.graph.ir import Graph, Node
    from hetero.op import Array, TensorType, Types

Buffer: TypeAlias = Any  # a backend's own handle to data on its device; an ndarray on host backends


@dataclass(frozen=True, slots=True)
class Device:
    """One executable target on this machine: `numpy`, `opencl:0`."""

    backend: str
    index: int = 0
    description: str = ""  # vendor, model, driver version: for people and for cache keys
    memory_bytes: int = 0  # 0: not known
    host: bool = False  # its buffers are NumPy arrays
    missing_dtypes: frozenset[str] = frozenset()  # dtype names that it cannot hold
    simulated: bool = False  # stands for hardware that is not here: used when asked for, never chosen

    @property
    def name(self) -> str:
        return f"{self.backend}:{self.index}"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Probe:
    """What a backend found: devices, or the reason there are none and the command that fixes it."""

    devices: tuple[Device, ...] = ()
    version: str = ""
    reason: str = ""
    fix: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a device runs a node; a no has a reason. `whole`: a loop's body is wanted as it was written."""

    ok: bool
    reason: str = ""
    whole: bool = False

    def __bool__(self) -> bool:
        return self.ok


YES = Support(True)


@runtime_checkable
class Executable(Protocol):
    """A graph compiled for a device."""

    graph: Graph  # as it runs: decomposed and fused
    peak_bytes: int  # intermediates and outputs at once, known before the run

    def __call__(self, *inputs: Buffer) -> tuple[Buffer, ...]:
        """Outputs in the graph's order; inputs are buffers of the device and are not changed."""
        ...


@runtime_checkable
class Backend(Protocol):
    """One family of devices."""

    name: str

    def probe(self) -> Probe:
        """What is there. Never raises; the first to touch a driver."""
        ...

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        """Whether `device` runs `node` with inputs of `types` and outputs of `outs` as one op of its own.

        A no for a composite op asks for its decomposition; for a primitive one, for another device.
        """
        ...

    def compile(self, graph: Graph, device: Device) -> Executable:
        """A static graph of supported nodes, ready to run."""
        ...

    def from_host(self, array: Array, device: Device) -> Buffer:
        """A buffer with a copy of `array`; a host device may share read-only memory."""
        ...

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        """The buffer's value as an array of `type`; waits for work under way."""
        ...

    def synchronize(self, device: Device) -> None:
        """Wait until all work handed to `device` is done."""
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """An op of a graph that a device does not run, with the reason."""

    node: Node
    reason: str


def unsupported(backend: Backend, graph: Graph, device: Device) -> Sequence[Missing]:
    """Every node that `device` refuses, all at once."""
    said = ((n, backend.support(n, graph.in_types(n), graph.out_types(n), device)) for n in graph.nodes)
    return [Missing(n, s.reason) for n, s in said if not s]


def host_memory_bytes() -> int:
    """Physical memory of this machine, for devices that have it as theirs; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
