"""Writes ONNX models: `to_onnx(graph)` gives the model, `graph.to_onnx(path)` a file of it.

Ops that ONNX has become its operators; composite ones that it has not are written as what they are made of. Names of
inputs, outputs, nodes and open dimensions stay. What has no form is refused, everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from typing import Any

import numpy as np

from hetero.convert.onnx_out_rules import rule_of, takes
from hetero.convert.onnx_write import (
    NEWEST,
    OLDEST,
    USUAL,
    Model,
    RefusedError,
    Writer,
    need_onnx,
    tensor_dtype,
    value_info,
)
from hetero.dim import Dim
from hetero.errors import ModelError
from hetero.files import write_whole
from hetero.graph.ir import Graph
from hetero.graph.passes.decompose import decompose
from hetero.op import Array

MOST_BYTES = 1_900_000_000  # of weights in the file itself: protobuf ends at 2 GB
APART = 1024  # bytes of a weight that is worth being left out of a model in memory


def to_onnx(graph: Graph, *, opset: int = USUAL) -> Any:
    """The graph as an onnx.ModelProto of that opset, 13 to 23. A ModelError lists everything that has no form in it."""
    need_onnx()
    from onnx import checker, numpy_helper, shape_inference

    body, model = _body(graph, opset)
    if sum(a.nbytes for a in model.initializers.values()) > MOST_BYTES:
        raise _refused(graph, opset, ["its weights are larger than the 2 GB that an ONNX file holds"])
    body.initializer.extend(numpy_helper.from_array(a, n) for n, a in model.initializers.items())
    proto = _proto(body, opset)
    if any(t.shape is None for t in graph.output_types.values()):  # a rank at least, which the standard wants
        proto = shape_inference.infer_shapes(proto)
    checker.check_model(proto)
    return proto


def to_onnx_apart(graph: Graph, *, opset: int = USUAL) -> tuple[Any, dict[str, Array]]:
    """The model without its larger weights, which are marked as external, and these by name: nothing is copied."""
    need_onnx()
    from onnx import TensorProto, numpy_helper

    body, model = _body(graph, opset)
    apart = {n: a for n, a in model.initializers.items() if a.nbytes >= APART}
    for name, array in model.initializers.items():
        if name not in apart:
            body.initializer.append(numpy_helper.from_array(array, name))
            continue
        weight = body.initializer.add(name=name, data_type=tensor_dtype(array.dtype), dims=array.shape)
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="in memory")
    return _proto(body, opset), apart


def _proto(body: Any, opset: int) -> Any:
    from onnx import helper

    proto = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], producer_name="hetero")
    proto.ir_version = helper.find_min_ir_version_for(list(proto.opset_import))
    return proto


def _refused(graph: Graph, opset: int, wrong: Iterable[str]) -> ModelError:
    lines = "\n".join(f"  {w}" for w in dict.fromkeys(wrong))
    return ModelError(f"{graph.name} cannot be said in ONNX, opset {opset}:\n{lines}", hint="docs/onnx.md")


def _body(graph: Graph, opset: int) -> tuple[Any, Model]:
    """The graph as an onnx.GraphProto without its weights, which the model has; refused with all that has no form."""
    from onnx import helper

    if isinstance(opset, bool) or not OLDEST <= opset <= NEWEST:
        raise ModelError(f"there is no opset {opset!r}", hint=f"{OLDEST} to {NEWEST}")
    model = Model(opset, rule_of, lambda g: decompose(g, lambda node, types, outs: takes(node, opset)))
    plain, writer = model.plain(graph), Writer(model)
    writer.names = {p.value: model.fresh(p.name) for p in plain.inputs}
    model.taken.update(p.name for p in plain.outputs)
    _sizes(writer, plain)
    made = writer.write(plain)
    ins = _infos(model, plain, {writer.names[p.value]: p.value for p in plain.inputs})
    outs = _infos(model, plain, {p.name: p.value for p in plain.outputs})
    if model.wrong:
        raise _refused(graph, opset, model.wrong)
    for name, port in zip(made, plain.outputs, strict=True):
        writer.nodes.append(helper.make_node("Identity", [name], [port.name], name=model.fresh(port.name)))
    return helper.make_graph(writer.nodes, graph.name or "graph", ins, outs), model


def write(path: str | PathLike[str], graph: Graph, *, opset: int = USUAL) -> None:
    """`to_onnx`, in a file: the whole of it, or none."""
    data = to_onnx(graph, opset=opset).SerializeToString()
    try:
        write_whole(path, data)
    except OSError as e:
        raise ModelError(f"cannot write {fspath(path)}: {e}", hint="choose a folder that can be written to") from e


def _infos(model: Model, graph: Graph, values: dict[str, int]) -> list[Any]:
    found: list[Any] = []
    for name, value in values.items():
        try:
            found.append(value_info(name, graph.types[value]))
        except RefusedError as e:
            model.wrong.append(f"{name}: {e}")
    return found


def _sizes(writer: Writer, graph: Graph) -> None:
    """Where each open dimension can be read: at the first input that has it as a size of its own."""
    symbols = writer.model.symbols
    for port in graph.inputs:
        for axis, n in enumerate(graph.types[port.value].known):
            if isinstance(n, Dim) and str(n) in n.symbols and str(n) not in symbols:
                (whole,) = writer.node("Shape", [writer.names[port.value]], 1, f"{port.name}_shape")
                ends = [writer.constant(np.array([k], np.int64)) for k in (axis, axis + 1)]
                (symbols[str(n)],) = writer.node("Slice", [whole, *ends], 1, str(n))


__all__ = ["to_onnx", "to_onnx_apart", "write"]
