"""A pytest plugin that adds backends to the suite: one that is right, and one that is wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetero import registry
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import Buffer, Device, Executable, Probe, Support


class Wrapped:
    """NumPy under another name, its results put through `change`."""

    def __init__(self, name: str, change: Callable[[Array], Array]) -> None:
        self.name, self._change = name, change
        self._inner, self._host = registry.load("numpy"), registry.find("numpy")

    def probe(self) -> Probe:
        return Probe((Device(self.name, 0, "NumPy in disguise"),), version="1")

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return self._inner.support(node, types, outs, self._host)

    def compile(self, graph: Graph, device: Device) -> Executable:
        return Changed(self._inner.compile(graph, self._host), self._change)

    def from_host(self, array: Array, device: Device) -> Buffer:
        return array.copy()

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer.copy()

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way."""


class Changed:
    def __init__(self, inner: Executable, change: Callable[[Array], Array]) -> None:
        self.graph, self.peak_bytes = inner.graph, inner.peak_bytes
        self._inner, self._change = inner, change

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return tuple(self._change(a) for a in self._inner(*inputs))


def slightly_off(a: Array) -> Array:
    """One part in a thousand: what a careless kernel does."""
    return a * a.dtype.type(1.001) if a.dtype.kind == "f" else a


def same(a: Array) -> Array:
    return np.array(a)


class Away(Wrapped):
    """Its device is not on this machine."""

    def probe(self) -> Probe:
        return Probe(reason="it is far away", fix="bring it")


def pytest_configure() -> None:
    registry.add(Wrapped("right", same))
    registry.add(Wrapped("off", slightly_off))
    registry.add(Away("away", same))
