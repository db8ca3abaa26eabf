"""ONNX's own backend-test interface over hetero: `prepare`, `run_model`, `run_node`, `supports_device`.

    import onnx.backend.test
    import hetero.testing.onnx_backend as backend
    suite = onnx.backend.test.BackendTest(backend, __name__)

The backend in use is the one of `HETERO_BACKEND`; a device argument of `CPU` means that one, any other text names
a hetero device (`opencl:0`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from hetero import from_onnx
from hetero.errors import HeteroError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.select import device_of


class HeteroRep(BackendRep):
    """An imported model, ready to run."""

    def __init__(self, graph: Graph, device: str | None) -> None:
        self.graph, self.device = graph, device

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs in the model's order; inputs in order, or by name."""
        names = list(self.graph.input_types)
        given: Sequence[Any] = inputs if isinstance(inputs, list | tuple) else [inputs]
        feed = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, map(np.asarray, given), strict=False))
        made = self.graph.run(feed, device=self.device)
        return tuple(made[p.name] for p in self.graph.outputs)


class HeteroBackend(Backend):
    """hetero as ONNX's tests see it."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> HeteroRep:
        """The imported model; a ModelError tells everything that is not covered."""
        return HeteroRep(from_onnx(model.SerializeToString()), None if device == "CPU" else device)

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Array, ...]:
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Array, ...]:
        """One node as a model of its own, at the newest opset unless `opset_version` says otherwise."""
        arrays = [np.asarray(x) for x in inputs]
        return cls.run_model(_model_of(node, arrays, kwargs.get("opset_version")), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether hetero has it."""
        if device == "CPU":
            return True
        try:
            device_of(device)
        except HeteroError:
            return False
        return True


def _model_of(node: onnx.NodeProto, arrays: Sequence[Array], opset: int | None) -> onnx.ModelProto:
    names = [name for name in dict.fromkeys(node.input) if name]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in zip(names, arrays, strict=True)
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], node.op_type, inputs, outputs)
    version = onnx.defs.onnx_opset_version() if opset is None else opset
    imports = [onnx.helper.make_opsetid(node.domain, version)]
    return onnx.helper.make_model(graph, opset_imports=imports)


prepare = HeteroBackend.prepare
run_model = HeteroBackend.run_model
run_node = HeteroBackend.run_node
supports_device = HeteroBackend.supports_device
