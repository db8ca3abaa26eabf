"""The backend that is always there: NumPy on the host, the reference for all others."""

from __future__ import annotations

import numpy as np

from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import YES, Buffer, Device, Probe, Support, host_memory_bytes
from hetero_numpy.executable import NumpyExecutable
from hetero_numpy.spiking import staged_or_none

WHOLE = frozenset({"stdp", "stdp_triplet"})  # composites whose references touch only what spikes


class NumpyBackend:
    """One host device. Buffers are NumPy arrays, which hetero never writes to once they are made."""

    name = "numpy"

    def probe(self) -> Probe:
        device = Device("numpy", 0, f"NumPy {np.__version__} on the host", host_memory_bytes(), host=True)
        return Probe((device,), version=np.__version__)

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        """Every primitive op by its reference; composites are taken apart, so that their parts can be fused."""
        if node.op.composite and node.op.name not in WHOLE:
            return Support(False, f"{node.op.name} is run as its parts")
        if node.op.kind == "late":
            return Support(False, "a late node has no meaning before the graph is specialised")
        if node.op.name == "scan" and staged_or_none(node):
            return Support(True, whole=True)
        return YES

    def compile(self, graph: Graph, device: Device) -> NumpyExecutable:
        return NumpyExecutable(graph)

    def from_host(self, array: Array, device: Device) -> Buffer:
        """The array itself when it is read-only, else a copy."""
        return array.copy() if array.flags.writeable else array

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way: NumPy has finished when it returns."""
