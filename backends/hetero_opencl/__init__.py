"""The OpenCL backend: any device with an OpenCL driver, PoCL on the processor where there is no other."""

from __future__ import annotations

from threading import RLock

from hetero.errors import BackendError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import Buffer, Device, Probe, Support
from hetero_launch import LaunchExecutable, Runtime, Style, compile_graph, support
from hetero_opencl.device import FIX, Record, driver, find, warnings_of
from hetero_opencl.opened import OpenCLDriver

__all__ = ["OpenCLBackend"]


class OpenCLBackend:
    """Every OpenCL device of this machine, each with one in-order queue. Buffers are blocks of a pool."""

    name = "opencl"

    def __init__(self, style: Style | None = None) -> None:
        """`style` overrides how kernels are cut; tests run the form for accelerators on a processor by it."""
        self._style = style
        self._records: list[Record] = []
        self._runtimes: dict[int, Runtime] = {}
        self._lock = RLock()

    def probe(self) -> Probe:
        try:
            records = self._find()
            version: str = driver().VERSION_TEXT
        except BackendError as e:
            return Probe(reason=e.problem, fix=e.hint)
        except Exception as e:  # drivers fail in every way there is, and a probe never raises
            return Probe(reason=f"the OpenCL driver fails: {e!r}", fix=FIX)
        devices = tuple(_device(i, record) for i, record in enumerate(records))
        return Probe(devices, version=f"pyopencl {version}", warnings=warnings_of(records[0]))

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

    def runtime(self, device: Device) -> Runtime:
        """The device opened, once."""
        with self._lock:
            if device.index not in self._runtimes:
                records = self._find()
                if not 0 <= device.index < len(records):
                    raise BackendError(f"{device} is not there", hint=f"one of 0 to {len(records) - 1}")
                self._runtimes[device.index] = Runtime(OpenCLDriver(records[device.index], self._style))
            return self._runtimes[device.index]

    def _find(self) -> list[Record]:
        with self._lock:
            if not self._records:
                self._records = find()
            return self._records


def _device(index: int, record: Record) -> Device:
    missing = frozenset[str]() if record.doubles else frozenset({"float64"})
    return Device("opencl", index, record.description, record.memory_bytes, missing_dtypes=missing)
