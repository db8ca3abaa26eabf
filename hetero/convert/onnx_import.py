"""Walks the nodes of an ONNX graph: names to values, attributes to plain data, subgraphs to graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.convert import onnx_symbolic
from hetero.convert.onnx_call import TABLE, Call, Symbolic, find
from hetero.convert.onnx_late import attempt, postpone
from hetero.convert.onnx_schema import faults, output_dtypes
from hetero.convert.onnx_tensor import Folder, dtype_of, string, to_array
from hetero.dtype import DType
from hetero.errors import HeteroError, ModelError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType
from hetero.ops.late import Need

MAX_DEPTH = 24  # subgraphs and functions inside one another
MAX_NODES = 50_000  # nodes that calls of functions may become: functions that call functions multiply

# AttributeProto.type: what it is, and where the value stands
_SCALAR = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g"}
_LIST = {6: "floats", 7: "ints", 8: "strings"}
_UNCOVERED = {9: "tensors", 10: "graphs", 11: "a sparse tensor", 12: "sparse tensors", 13: "a type", 14: "types"}


class _Broken:
    """Stands for a value that could not be made, so that the walk goes on and finds the other problems."""


BROKEN = _Broken()


@dataclass(slots=True, eq=False)
class Scope:
    """Names that a graph's nodes may read. A subgraph's scope reads through to the one around it."""

    builder: Builder
    values: dict[str, Ref | _Broken | None] = field(default_factory=dict[str, "Ref | _Broken | None"])
    parent: Scope | None = None
    captured: dict[str, Ref] = field(default_factory=dict[str, Ref])  # name -> value of the parent
    symbolic: Symbolic = field(default_factory=dict[int, Array])

    def read(self, name: str) -> Ref | _Broken | None:
        """The value called `name`; KeyError when there is none."""
        if name in self.values or self.parent is None:
            return self.values[name]
        outer = self.parent.read(name)
        if not isinstance(outer, Ref):
            return outer
        if outer.known is not None:
            inner = self.builder.share(outer.known)
        else:
            inner = self.builder.input(f"outer:{name}", TensorType(None, outer.type.dtype))
            self.captured[name] = outer
        self.values[name] = inner
        return inner

    def define(self, name: str, value: Ref | _Broken) -> None:
        if name in self.values:
            raise ModelError(f"the name {name!r} is given twice")
        self.values[name] = value


@dataclass(slots=True, eq=False)
class Importer:
    """What stays the same over one model: opsets, functions, problems found so far."""

    opsets: Mapping[str, int]
    folder: Folder = field(default_factory=Folder)
    functions: Mapping[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    problems: list[str] = field(default_factory=list[str])
    budget: list[int] = field(default_factory=list[int])  # one counter, shared with importers of function bodies
    depth: int = 0
    prefix: str = ""  # of the names of nodes: the call that a function body stands for
    given: Mapping[str, Any] | None = None  # inside a function: the attributes of its call

    def __post_init__(self) -> None:
        self.budget = self.budget or [MAX_NODES]

    def nodes(self, protos: Sequence[Any], scope: Scope) -> None:
        """Lower nodes in order."""
        later = _producers(protos)
        for position, proto in enumerate(protos):
            self.budget[0] -= self.given is not None
            if self.budget[0] < 0:
                raise ModelError(f"the calls of functions become more than {MAX_NODES} nodes")
            try:
                self._node(proto, position, scope, later)
            except HeteroError as e:
                self._problem(proto, e)
                for name in proto.output:
                    scope.values[string(name, "an output's name")] = BROKEN

    def _problem(self, proto: Any, e: HeteroError) -> None:
        self.problems.append(f"{proto.op_type} {self._label(proto)}: {e.problem}")

    def _label(self, proto: Any) -> str:
        return self.prefix + (proto.name or next((o for o in proto.output if o), "without a name"))

    def _node(self, proto: Any, position: int, scope: Scope, later: Mapping[str, int]) -> None:
        inputs = [self._input(scope, name, position, later) for name in proto.input]
        attributes = [_resolved(a, self.given or {}) for a in proto.attribute]
        present = [a for a in attributes if a is not None]
        broken = any(isinstance(x, _Broken) for x in inputs)
        refs = tuple(x if isinstance(x, Ref) else None for x in inputs)
        key = (plain_domain(proto.domain), proto.op_type)
        with scope.builder.at("", self._label(proto)):
            if key in self.functions:
                made = (
                    BROKEN if broken else self._call(key, refs, present, len(proto.output), self._label(proto), scope)
                )
            else:
                made = self._operator(proto, key, refs, present, broken, scope)
        for i, name in enumerate(proto.output):
            if name:
                scope.define(name, made if isinstance(made, _Broken) else self._made(made[i], name))

    def _made(self, value: Ref | None, name: str) -> Ref:
        if value is None:
            raise ModelError(f"output {name!r} has no value")
        return value

    def _input(self, scope: Scope, name: str, position: int, later: Mapping[str, int]) -> Ref | _Broken | None:
        if not name:
            return None
        try:
            return scope.read(name)
        except KeyError:
            pass
        if name in later:
            at = "itself" if later[name] == position else "a node that stands behind it"
            raise ModelError(f"reads {name!r}, which is made by {at}: a cycle, or nodes out of order")
        raise ModelError(f"reads {name!r}, which nothing makes")

    def _operator(
        self, proto: Any, key: tuple[str, str], refs: tuple[Ref | None, ...], attributes: list[Any], broken: bool,
        scope: Scope,
    ) -> tuple[Ref, ...] | _Broken:  # fmt: skip
        domain, op = key
        call = Call(
            scope.builder, op, domain, self.opset(domain), refs, tuple(bool(o) for o in proto.output), {},
            name=self._label(proto), symbolic=scope.symbolic,
        )  # fmt: skip
        entry = find(op, domain, call.opset)
        if entry is None:
            known = (domain, op) in TABLE
            raise ModelError("this version of the operator is not covered" if known else "the operator is not covered")
        if entry.function is None:
            raise ModelError(entry.reason)
        kinds = {string(a.name, "an attribute's name"): int(a.type) for a in attributes}
        if len(kinds) < len(attributes):
            raise ModelError("an attribute is given twice")
        found = len(self.problems)
        self._attributes(call, attributes, scope, entry.open)
        broken = broken or len(self.problems) > found
        wrong = [] if broken else faults(call, kinds)
        wrong += [f"attribute {name} is not covered" for name in kinds if not entry.open and name not in entry.attrs]
        if wrong:
            raise ModelError("; ".join(dict.fromkeys(wrong)))
        return BROKEN if broken else lower_now(call)

    def opset(self, domain: str) -> int:
        """The version that the model imports."""
        if domain not in self.opsets:
            raise ModelError(f"the model imports no opset of domain {domain!r}")
        return self.opsets[domain]

    # -- attributes -------------------------------------------------------------------------------------

    def _attributes(self, call: Call, attributes: list[Any], scope: Scope, every: bool) -> None:
        extra: list[Ref] = []
        for a in attributes:
            name = string(a.name, "an attribute's name")
            if a.type == 5 and every:  # kept as it is, for the function body that it goes into
                call.attrs[name] = np.frombuffer(a.g.SerializeToString(), np.uint8)
            elif a.type == 5:
                body, outer = self.body(a.g, scope, _body_dtypes(call))
                call.attrs[name] = body
                call.captured[name] = tuple(range(len(extra), len(extra) + len(outer)))
                extra += outer
            else:
                call.attrs[name] = self._plain(a, name)
        call.extra = tuple(extra)

    def _plain(self, a: Any, name: str) -> Any:
        if a.type in _LIST:
            values = getattr(a, _LIST[a.type])
            return tuple(string(v, f"attribute {name}") for v in values) if a.type == 8 else tuple(values)
        if a.type not in _SCALAR:
            raise ModelError(f"attribute {name} holds {_UNCOVERED.get(a.type, 'nothing')}, which is not covered")
        value = getattr(a, _SCALAR[a.type])
        if a.type == 3:
            return string(value, f"attribute {name}")
        return to_array(value, self.folder, f"attribute {name}") if a.type == 4 else value

    # -- graphs inside ----------------------------------------------------------------------------------

    def body(self, proto: Any, outer: Scope, dtypes: Sequence[DType | None] = ()) -> tuple[Graph, list[Ref]]:
        """A subgraph, and the values around it that it reads: its last inputs, in order.

        `dtypes` are those that the node gives its body's inputs, which need not declare any.
        Its inputs have no shapes, so that one body serves every call; its nodes are lowered where it is put.
        """
        self._deeper()
        scope = Scope(Builder(proto.name or "body", fold=True, track=False), parent=outer)
        try:
            self.initializers(proto, scope)
            for i, port in enumerate(proto.input):
                given = dtypes[i] if i < len(dtypes) else None
                dtype = element_type(port).dtype if given is None or _declares(port) else given
                scope.define(port.name, scope.builder.input(port.name, TensorType(None, dtype)))
            self.nodes(proto.node, scope)
            outputs = self.outputs(proto, scope)
        finally:
            self.depth -= 1
        return scope.builder.build(outputs), list(scope.captured.values())

    def initializers(self, proto: Any, scope: Scope) -> None:
        """The graph's stored tensors as constants."""
        if proto.sparse_initializer:
            raise ModelError("sparse initializers are not covered")
        for tensor in proto.initializer:
            scope.define(tensor.name, scope.builder.share(to_array(tensor, self.folder)))

    def outputs(self, proto: Any, scope: Scope) -> dict[str, Ref]:
        """The values that leave the graph, by name, with the dtypes it declares."""
        made: dict[str, Ref] = {}
        for i, port in enumerate(proto.output):
            name = string(port.name, "an output's name")
            try:
                value = scope.read(name)
            except KeyError:
                raise ModelError(f"output {name!r} is made by no node") from None
            if isinstance(value, Ref):
                made[name if name not in made else f"{name}#{i}"] = value
                self._declared(port, value)
            elif not self.problems:
                raise ModelError(f"output {name!r} has no value")
        return made

    def _declared(self, port: Any, value: Ref) -> None:
        if _declares(port):
            declared = element_type(port).dtype
            if declared != value.type.dtype:
                raise ModelError(f"output {port.name!r} is declared {declared.name}, computed {value.type.dtype.name}")

    def _call(
        self, key: tuple[str, str], refs: tuple[Ref | None, ...], attributes: list[Any], outputs: int, label: str,
        scope: Scope,
    ) -> tuple[Ref | None, ...] | _Broken:  # fmt: skip
        function = self.functions[key]
        attrs = {a.name: a for a in function.attribute_proto} | {a.name: a for a in attributes}
        known = {*function.attribute, *(a.name for a in function.attribute_proto)}
        if unknown := sorted(set(attrs) - known):
            raise ModelError(f"the function has no attribute {', '.join(unknown)}")
        if missing := sorted(set(function.attribute) - set(attrs)):
            raise ModelError(f"the function wants the attribute {', '.join(missing)}")
        return self.function(function, refs, attrs, outputs, label, scope.builder, scope.symbolic)

    def function(
        self, function: Any, refs: Sequence[Ref | None], attrs: Mapping[str, Any], outputs: int, label: str,
        builder: Builder, symbolic: Symbolic,
    ) -> tuple[Ref | None, ...] | _Broken:  # fmt: skip
        """The body of a FunctionProto put in the place of a call."""
        if len(refs) > len(function.input) or outputs > len(function.output):
            raise ModelError(
                f"the function takes {len(function.input)} inputs and gives {len(function.output)} outputs, "
                f"the call has {len(refs)} and {outputs}"
            )
        self._deeper()
        opsets = {plain_domain(o.domain): int(o.version) for o in function.opset_import}
        inner = Importer(
            opsets,
            self.folder,
            self.functions,
            self.problems,
            self.budget,
            self.depth,
            f"{label}/" if label else "",
            attrs,
        )
        scope = Scope(builder, symbolic=symbolic)
        for i, name in enumerate(function.input):
            scope.values[name] = refs[i] if i < len(refs) else None
        found = len(self.problems)
        try:
            inner.nodes(function.node, scope)
        finally:
            self.depth -= 1
        if len(self.problems) > found:
            return BROKEN
        made = [scope.values.get(name) for name in function.output[:outputs]]
        return tuple(x if isinstance(x, Ref) else None for x in made)

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ModelError(f"subgraphs or functions lie more than {MAX_DEPTH} deep in one another")


def lower_now(call: Call) -> tuple[Ref, ...]:
    """The node's outputs: ordinary ops where that is possible already, else a late node."""
    made = attempt(call)
    outs = postpone(call, output_dtypes(call)) if isinstance(made, Need) else made
    onnx_symbolic.note(call, outs)
    return outs


def plain_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _producers(protos: Sequence[Any]) -> dict[str, int]:
    return {name: i for i, p in enumerate(protos) for name in p.output if name}


def _resolved(attribute: Any, given: Mapping[str, Any]) -> Any:
    """The attribute itself, or the one of the function's call that it refers to; None when that is not given."""
    if not attribute.ref_attr_name:
        return attribute
    found = given.get(attribute.ref_attr_name)
    if found is None:
        return None
    copy = type(attribute)()
    copy.CopyFrom(found)
    copy.name = attribute.name
    return copy


def _declares(port: Any) -> bool:
    """Whether a port has a type at all; those of subgraphs need not."""
    kind = port.type.WhichOneof("value")
    return kind is not None and not (kind == "tensor_type" and not port.type.tensor_type.elem_type)


def _body_dtypes(call: Call) -> list[DType | None]:
    """What the node gives its body's inputs: Loop a step number and a condition before its states."""
    given = [None if x is None else x.type.dtype for x in call.inputs]
    return [dt.int64, dt.bool_, *given[2:]] if call.op == "Loop" else given


def element_type(port: Any) -> TensorType:
    """The declared dtype of an input or output, without its shape."""
    if not port.type.HasField("tensor_type"):
        kind = port.type.WhichOneof("value") or "no type"
        raise ModelError(f"{port.name!r} is no tensor but {kind.replace('_type', '')}, which is not covered")
    return TensorType(None, dtype_of(port.type.tensor_type.elem_type, repr(port.name)))
