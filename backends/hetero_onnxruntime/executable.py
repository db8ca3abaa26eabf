"""A graph as one session of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hetero.convert.onnx_out import to_onnx_apart
from hetero.errors import DeviceError, GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero_onnxruntime.device import Provider, driver
from hetero_onnxruntime.guards import guarded
from hetero_onnxruntime.rules import OPSET

ONE_THREAD = 100_000  # flops and elements of a graph below which threads cost more than they give


class OnnxRuntimeExecutable:
    """Runs a graph. Safe to call from several threads. `peak_bytes` is the graph's: the session has its own plan."""

    def __init__(self, graph: Graph, provider: Provider) -> None:
        self.graph = graph
        self.peak_bytes = graph.peak_bytes
        self._taken, self._given = _ports(graph)
        self._session: Any = None
        if not graph.nodes:
            return
        ports = {"inputs": [graph.inputs[k] for k in self._taken], "outputs": [graph.outputs[k] for k in self._given]}
        model, weights = to_onnx_apart(guarded(replace(graph, **{k: tuple(v) for k, v in ports.items()})), opset=OPSET)
        # The session refers to the arrays of the graph: their memory is there once, and held as long as the session.
        self._weights = {n: _value(a) for n, a in weights.items()}
        self._inputs = [i.name for i in model.graph.input]
        how: dict[str, Any] = {"threads": 1 if _work(graph) < ONE_THREAD else 0, "level": _level(graph)}
        try:
            self._session = provider.session(model.SerializeToString(), self._weights, **how)
        except Exception as e:  # ONNX Runtime has a type of its own for each of its errors
            raise DeviceError(
                f"{provider.name} does not take {graph.name}: {' '.join(str(e).split())[:400]}",
                hint="HETERO_FALLBACK=allow, or another device",
            ) from e

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Outputs own their memory: one that is an input or a constant is a copy."""
        if len(self._given) == len(self.graph.outputs):
            return self._made(inputs)
        made = iter(self._made(inputs) if self._session else ())
        held = dict(self.graph.constants) | {p.value: a for p, a in zip(self.graph.inputs, inputs, strict=True)}
        return tuple(np.array(held[p.value]) if p.value in held else next(made) for p in self.graph.outputs)

    def _made(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        given = [inputs[k] for k in self._taken]
        try:
            return tuple(self._session.run(None, dict(zip(self._inputs, given, strict=True))))
        except Exception as e:  # ONNX Runtime has a type of its own for each of its errors
            raise _error(self.graph.name, e) from e


def _ports(graph: Graph) -> tuple[list[int], list[int]]:
    """Which inputs some node reads, and which outputs some node makes: the others never meet the session."""
    read = {i for n in graph.nodes for i in n.inputs}
    made = set(graph.producer)
    taken = [k for k, p in enumerate(graph.inputs) if p.value in read]
    return taken, [k for k, p in enumerate(graph.outputs) if p.value in made]


def _value(array: Array) -> Any:
    return driver().OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _level(graph: Graph) -> str:
    """Its extended fusions are made for float32; with float64 some name kernels that are not there."""
    return "BASIC" if any(t.dtype.name == "float64" for t in graph.types) else "ALL"


def _work(graph: Graph) -> float:
    """Flops, and elements written, of the whole graph."""
    total = 0.0
    for node in graph.nodes:
        cost = node.op.cost(graph.in_types(node), graph.out_types(node), node.attrs)
        total += cost.flop + cost.write
    return total


def _error(name: str, error: Exception) -> Exception:
    """The error of ours that stands for one of ONNX Runtime's."""
    said = " ".join(str(error).split())[:400]
    if "allocate" in said or "memory" in said.lower():
        return DeviceError(f"{name}: onnxruntime has no memory for it: {said}", hint="run with a smaller batch")
    return GraphError(f"{name} cannot be computed by onnxruntime: {said}", hint="are its inputs as it wants?")
