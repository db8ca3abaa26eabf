"""ONNX Runtime: whole graphs on its execution providers, so that vendors' own runtimes are reached through it."""

from __future__ import annotations

import numpy as np

from hetero.errors import BackendError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import Buffer, Device, Probe, Support
from hetero_onnxruntime import rules
from hetero_onnxruntime.device import FIX, Found, Provider, driver, find
from hetero_onnxruntime.executable import OnnxRuntimeExecutable

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend:
    """One device for each execution provider that opens here, the processor first. Buffers are NumPy arrays."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self._found: Found | None = None

    def probe(self) -> Probe:
        try:
            ort = driver()
            found = self._find()
        except BackendError as e:
            return Probe(reason=e.problem, fix=e.hint)
        except Exception as e:  # vendors' libraries fail in every way there is, and a probe never raises
            return Probe(reason=f"onnxruntime fails: {e!r}", fix=FIX)
        devices = tuple(p.device(k) for k, p in enumerate(found.usable))
        return Probe(devices, version=f"onnxruntime {ort.__version__}", warnings=tuple(found.warnings))

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return rules.support(node, types, outs, self._provider(device))

    def compile(self, graph: Graph, device: Device) -> OnnxRuntimeExecutable:
        return OnnxRuntimeExecutable(graph, self._provider(device))

    def from_host(self, array: Array, device: Device) -> Buffer:
        """The array itself when it is read-only and in one piece, else a copy."""
        return np.array(array, order="C") if array.flags.writeable else np.ascontiguousarray(array)

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way: a session has finished when it returns."""

    def _find(self) -> Found:
        if self._found is None:
            self._found = find()
        return self._found

    def _provider(self, device: Device) -> Provider:
        usable = self._find().usable
        if not 0 <= device.index < len(usable):
            raise BackendError(f"{device} is not there", hint=f"one of 0 to {len(usable) - 1}")
        return usable[device.index]
