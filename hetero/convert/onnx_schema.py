"""What the ONNX standard says about a node, asked of the `onnx` package: arity, attributes, dtypes in and out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from hetero import dtype as dt
from hetero.convert.onnx_call import Call
from hetero.convert.onnx_tensor import dtype_of
from hetero.errors import ModelError
from hetero.graph.build import Ref
from hetero.graph.ir import Graph

_OPTIONAL = 1  # FormalParameterOption.Optional
FIRST_OPSET = 7  # the first whose broadcasting is NumPy's
_SPECIAL = {"float32": "float", "float64": "double", "float4_e2m1fn": "float4e2m1", "float8_e8m0fnu": "float8e8m0"}


def type_string(dtype: dt.DType) -> str:
    """The schema's word for a tensor of this dtype: `tensor(float)`."""
    name = dtype.name
    return f"tensor({_SPECIAL.get(name, name.replace('float8_', 'float8'))})"


@cache
def schema(op: str, domain: str, opset: int) -> Any:
    """The operator's definition in this opset, or None."""
    import onnx.defs

    try:
        return onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None


def faults(call: Call, kinds: dict[str, int]) -> list[str]:
    """What is wrong with the node by the standard; `kinds` has the type number of each attribute."""
    wanted = schema(call.op, call.domain, call.opset)
    if wanted is None:
        return [f"opset {call.opset} has no operator {call.op}"]
    return [*_versions(wanted, call), *_arity(wanted, call), *_attributes(wanted, kinds), *_dtypes(wanted, call)]


def _versions(wanted: Any, call: Call) -> list[str]:
    if wanted.deprecated:
        return [f"the operator is no longer part of opset {call.opset}"]
    if call.domain == "" and call.opset < FIRST_OPSET:
        later = schema(call.op, "", FIRST_OPSET)
        if later is None or later.since_version != wanted.since_version:
            return [f"the operator as opset {call.opset} has it; opset {FIRST_OPSET} is the first that is covered"]
    return []


def _arity(wanted: Any, call: Call) -> list[str]:
    out: list[str] = []
    for what, found, least, most in (
        ("inputs", len(call.inputs), wanted.min_input, wanted.max_input),
        ("outputs", len(call.outputs), wanted.min_output, wanted.max_output),
    ):
        if not least <= found <= most:
            bounds = f"{least}" if least == most else f"{least} to {most}" if most < 1 << 30 else f"{least} or more"
            out.append(f"{bounds} {what} wanted, {found} found")
    for i, x in enumerate(call.inputs):
        formal = _formal(wanted.inputs, i)
        if x is None and formal is not None and formal.option.value != _OPTIONAL:
            out.append(f"input {formal.name} is missing")
    return out


def _attributes(wanted: Any, kinds: dict[str, int]) -> list[str]:
    out = [f"no attribute is called {name}" for name in kinds if name not in wanted.attributes]
    for name, attribute in wanted.attributes.items():
        if name in kinds and kinds[name] != attribute.type.value:
            out.append(f"attribute {name} has another type than {attribute.type.name}")
        if attribute.required and name not in kinds:
            out.append(f"attribute {name} is missing")
    return out


def _formal(parameters: Any, index: int) -> Any:
    """The formal parameter of an actual one; the last may stand for many."""
    return parameters[min(index, len(parameters) - 1)] if parameters else None


def _dtypes(wanted: Any, call: Call) -> list[str]:
    out: list[str] = []
    bound: dict[str, str] = {}
    for i, x in enumerate(call.inputs):
        formal = _formal(wanted.inputs, i)
        if x is None or formal is None:
            continue
        found = type_string(x.type.dtype)
        if found not in formal.types:
            out.append(f"input {formal.name} is {x.type.dtype.name}, which the standard does not allow")
        elif formal.is_homogeneous and bound.setdefault(formal.type_str, found) != found:
            out.append(f"input {formal.name} is {x.type.dtype.name}, another one is {bound[formal.type_str][7:-1]}")
    return out


# -- dtypes of outputs --------------------------------------------------------------------------------------


def output_dtypes(call: Call) -> tuple[str, ...]:
    """Names of the dtypes of the node's outputs, before they can be computed."""
    special = _OUTPUT.get(call.op) if call.domain == "" else None
    found = special(call) if special else None
    if found is not None:
        return tuple(found[min(i, len(found) - 1)] for i in range(len(call.outputs)))
    return tuple(_by_schema(call, i) for i in range(len(call.outputs)))


def _by_schema(call: Call, index: int) -> str:
    wanted = schema(call.op, call.domain, call.opset)
    formal = _formal(wanted.outputs, index) if wanted is not None else None
    if wanted is None or formal is None or not call.outputs[index]:
        return "float32"  # stands for nothing
    for i, x in enumerate(call.inputs):
        same = _formal(wanted.inputs, i)
        if x is not None and same is not None and same.type_str == formal.type_str:
            return x.type.dtype.name
    if len(formal.types) == 1:
        return _named(next(iter(formal.types)))
    raise ModelError(f"the dtype of output {formal.name} is not known before it is computed")


def _named(text: str) -> str:
    back = {v: k for k, v in _SPECIAL.items()}
    name = text[7:-1]
    return dt.of(back.get(name, name.replace("float8e", "float8_e"))).name


def _attribute(name: str, default: int | None) -> Callable[[Call], list[str] | None]:
    def rule(call: Call) -> list[str] | None:
        number = call.attrs.get(name) or default
        return None if not number else [dtype_of(int(number), "the result").name]

    return rule


def _like(position: int) -> Callable[[Call], list[str] | None]:
    def rule(call: Call) -> list[str] | None:
        x: Ref | None = call.inputs[position] if position < len(call.inputs) else None
        return None if x is None else [x.type.dtype.name]

    return rule


def _fill(call: Call) -> list[str]:
    value = call.attrs.get("value")
    return ["float32" if value is None else value.dtype.name]


def _first(*rules: Callable[[Call], list[str] | None]) -> Callable[[Call], list[str] | None]:
    def rule(call: Call) -> list[str] | None:
        return next((found for r in rules if (found := r(call)) is not None), None)

    return rule


def _uint8(_: Call) -> list[str]:
    return ["uint8"]


def _body(name: str, skip: int) -> Callable[[Call], list[str]]:
    def rule(call: Call) -> list[str]:
        body: Graph = call.attrs[name]
        return [t.dtype.name for t in body.output_types.values()][skip:] or ["float32"]

    return rule


_OUTPUT: dict[str, Callable[[Call], list[str] | None]] = {
    "Cast": _attribute("to", None), "BitCast": _attribute("to", None), "CastLike": _like(1),
    "ConstantOfShape": _fill, "EyeLike": _first(_attribute("dtype", None), _like(0)),
    "QuantizeLinear": _first(_like(2), _attribute("output_dtype", None), _uint8),
    "DequantizeLinear": _first(_attribute("output_dtype", None), _like(1)),
    "If": _body("then_branch", 0), "Loop": _body("body", 1), "Scan": _body("body", 0),
    "RandomNormalLike": _first(_attribute("dtype", None), _like(0)),
    "RandomUniformLike": _first(_attribute("dtype", None), _like(0)),
    "Bernoulli": _first(_attribute("dtype", None), _like(0)), "Multinomial": _attribute("dtype", 6),
    "HannWindow": _attribute("output_datatype", 1), "HammingWindow": _attribute("output_datatype", 1),
    "BlackmanWindow": _attribute("output_datatype", 1), "MelWeightMatrix": _attribute("output_datatype", 1),
}  # fmt: skip
