"""Lowerings of ops that the standard itself defines by other ops: their function bodies, put in their place."""

from __future__ import annotations

from typing import Any

from hetero.convert.onnx_call import Call, Made, lowers, refuses
from hetero.convert.onnx_import import Importer, plain_domain
from hetero.convert.onnx_schema import schema
from hetero.convert.onnx_tensor import NUMBERS
from hetero.dim import Dim
from hetero.errors import ModelError
from hetero.graph.build import Ref

# Composites that no backend has natively and that are no bottleneck of theirs.
EXPANDED = ("AffineGrid", "Attention", "CausalConvWithState", "DynamicQuantizeLinear", "LinearAttention",
            "NegativeLogLikelihoodLoss", "RotaryEmbedding", "SoftmaxCrossEntropyLoss")  # fmt: skip


def _expand(n: Call, *inputs: Ref | None, **attrs: Any) -> Made:
    """the function body that the standard gives"""
    import onnx

    wanted = schema(n.op, n.domain, n.opset)
    attributes = [_attribute(k, v, wanted.attributes[k]) for k, v in attrs.items()]
    node = onnx.NodeProto(op_type=n.op, domain=n.domain, attribute=attributes)
    node.input.extend(f"in{i}" if x is not None else "" for i, x in enumerate(inputs))
    node.output.extend(f"out{i}" if there else "" for i, there in enumerate(n.outputs))
    function, opset = _body(n, wanted, node)
    defaults = {k: a.default_value for k, a in wanted.attributes.items() if a.default_value.type}
    importer = Importer({})
    if all(plain_domain(o.domain) for o in function.opset_import):
        function.opset_import.extend([onnx.helper.make_opsetid("", opset)])
    given = defaults | {a.name: a for a in attributes}
    made = importer.function(function, inputs, given, len(n.outputs), n.name, n.emit, n.symbolic)
    if importer.problems or not isinstance(made, tuple):
        raise ModelError("its function body is refused: " + "; ".join(importer.problems))
    return made


def _attribute(name: str, value: Any, formal: Any) -> Any:
    """An AttributeProto; a graph was kept as its bytes."""
    import onnx

    if formal.type == onnx.defs.OpSchema.AttrType.GRAPH:
        value = onnx.GraphProto.FromString(value.tobytes())
    return onnx.helper.make_attribute(name, value)


def _body(n: Call, wanted: Any, node: Any) -> tuple[Any, int]:
    """The FunctionProto for this node and the opset that it is written in."""
    import onnx

    if wanted.has_context_dependent_function:
        versions = [v for v in wanted.context_dependent_function_opset_versions if v <= n.opset] or [n.opset]
        types = [_type_proto(x).SerializeToString() for x in n.inputs]
        raw = wanted.get_context_dependent_function_with_opset_version(max(versions), node.SerializeToString(), types)
        return onnx.FunctionProto.FromString(raw), _opset(n)
    return wanted.function_body, _opset(n)


def _opset(n: Call) -> int:
    """The opset of a body that names none: that of the call, for other domains the newest."""
    import onnx.defs

    return n.opset if n.domain == "" else onnx.defs.onnx_opset_version()


def _type_proto(x: Ref | None) -> Any:
    import onnx

    if x is None:
        return onnx.TypeProto()
    shape = [None if isinstance(size, Dim) else size for size in x.type.known]
    return onnx.helper.make_tensor_type_proto(NUMBERS[x.type.dtype.name], shape)


for _op in EXPANDED:
    lowers(_op)(_expand)
lowers("FlexAttention", domain="ai.onnx.preview")(_expand)

refuses(
    "sequences are not tensors in hetero", "ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence",
)  # fmt: skip
refuses("optional values are not tensors in hetero", "Optional", "OptionalGetElement", "OptionalHasElement")
refuses("pictures are decoded outside of the graph", "ImageDecoder")
refuses("classical models are not covered", "LabelEncoder", "TreeEnsemble", domain="ai.onnx.ml")
refuses("training belongs to hetero's own gradients", "Adagrad", "Adam", "Gradient", "Momentum",
        domain="ai.onnx.preview.training")  # fmt: skip
