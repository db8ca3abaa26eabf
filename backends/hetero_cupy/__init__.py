"""The CUDA backend: NVIDIA's GPUs through CuPy, matrix products by cuBLAS, all else by our kernels."""

from __future__ import annotations

from threading import RLock
from typing import Any

from hetero.errors import BackendError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import Buffer, Device, Probe, Support
from hetero_cupy.device import Record, find, library, unexpected, warnings_of
from hetero_cupy.lend import borrowed, lent
from hetero_cupy.opened import CupyDriver
from hetero_launch import LaunchExecutable, Runtime, compile_graph, support

__all__ = ["CupyBackend"]


class CupyBackend:
    """Every GPU of this machine, each with one stream for its work and one for copies from and to the host."""

    name = "cupy"

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._runtimes: dict[int, Runtime] = {}
        self._lock = RLock()

    def probe(self) -> Probe:
        try:
            records = self._find()
            version: str = library().__version__
        except BackendError as e:
            return Probe(reason=e.problem, fix=e.hint)
        except Exception as e:  # drivers fail in every way there is, and a probe never raises
            return unexpected(e)
        devices = tuple(Device(self.name, r.index, r.description, r.memory_bytes) for r in records)
        return Probe(devices, version=f"cupy {version}", warnings=warnings_of())

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return support(node, types, outs, device)

    def compile(self, graph: Graph, device: Device) -> LaunchExecutable:
        return compile_graph(self.runtime(device), graph, device)

    def from_host(self, array: Array, device: Device) -> Buffer:
        return self.runtime(device).upload(array)

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return self.runtime(device).download(buffer, type)

    def synchronize(self, device: Device) -> None:
        self.runtime(device).finish()

    def lend(self, buffer: Buffer, type: TensorType, device: Device) -> Any:
        """The buffer as a CuPy array of `type`, not copied; through it any library that speaks DLPack reads it."""
        return lent(self.runtime(device), buffer, type)

    def borrow(self, array: Any, device: Device) -> Buffer:
        """A buffer that is another library's array on the same GPU, by DLPack, copied only if it has gaps."""
        return borrowed(self.runtime(device), array)

    def runtime(self, device: Device) -> Runtime:
        """The device opened, once."""
        with self._lock:
            if device.index not in self._runtimes:
                records = self._find()
                if not 0 <= device.index < len(records):
                    raise BackendError(f"{device} is not there", hint=f"one of 0 to {len(records) - 1}")
                self._runtimes[device.index] = Runtime(CupyDriver(records[device.index]))
            return self._runtimes[device.index]

    def _find(self) -> list[Record]:
        with self._lock:
            if not self._records:
                self._records = find()
            return self._records
