"""A graph on its way to ONNX: names, constants, sizes as values, and one node after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from hetero.dim import Dim, Size
from hetero.dtype import DType
from hetero.errors import ModelError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, Attrs, TensorType, Types

OLDEST, NEWEST, USUAL = 13, 23, 21  # opsets that are written
INSTALL = "pip install 'hetero[onnx]'"
SMALL = 64  # elements of a constant that is looked for among those that are there


class RefusedError(Exception):
    """Why a node has no form in ONNX."""


@dataclass(frozen=True, slots=True)
class Site:
    """One node, and what its rule writes with."""

    writer: Writer
    node: Node
    ins: tuple[str, ...]
    types: Types
    outs: Types

    @property
    def attrs(self) -> Attrs:
        return self.node.attrs

    @property
    def opset(self) -> int:
        return self.writer.opset

    def __call__(self, kind: str, *inputs: str, **attrs: Any) -> str:
        """A node of one output, by the name of its ONNX operator; gives the name of its value."""
        return self.several(kind, inputs, 1, **attrs)[0]

    def several(self, kind: str, inputs: Sequence[str], outputs: int, **attrs: Any) -> tuple[str, ...]:
        return self.writer.node(kind, inputs, outputs, self.node.name or self.node.op.name, **attrs)

    def constant(self, value: Any, dtype: DType | str = "int64") -> str:
        return self.writer.constant(np.asarray(value, dtype))

    def like(self, value: float, k: int = 0) -> str:
        """A number in the dtype of input k."""
        return self.constant(value, self.types[k].dtype)

    def cast(self, name: str, dtype: DType) -> str:
        return self("Cast", name, to=tensor_dtype(dtype))

    def since(self, opset: int, what: str) -> None:
        """Refuse what this opset does not have yet."""
        if self.opset < opset:
            raise RefusedError(f"{what} wants opset {opset}, and {self.opset} is written")


Rule: TypeAlias = Callable[[Site], "str | tuple[str, ...]"]


def tensor_dtype(dtype: DType) -> int:
    """ONNX's number for a dtype."""
    from onnx.helper import np_dtype_to_tensor_dtype

    try:
        return int(np_dtype_to_tensor_dtype(dtype))
    except (KeyError, ValueError, TypeError) as e:
        raise RefusedError(f"ONNX has no {dtype.name}") from e


class Model:
    """What all graphs of one model share: names, weights, open sizes, and what is wrong with it."""

    def __init__(self, opset: int, rule_of: Callable[[Node], Rule | None], plain: Callable[[Graph], Graph]) -> None:
        self.opset, self.rule_of = opset, rule_of
        self.plain = plain  # a graph with what has no form of its own taken apart
        self.initializers: dict[str, Array] = {}
        self.taken: set[str] = set()
        self.wrong: list[str] = []
        self.symbols: dict[str, str] = {}  # open dimension -> the value (1,) that holds it
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def fresh(self, hint: str) -> str:
        """A name that no other value has."""
        name, k = hint, 1
        while name in self.taken:
            name, k = f"{hint}_{k}", k + 1
        self.taken.add(name)
        return name

    def constant(self, array: Array) -> str:
        """An initializer; the same small one is written once."""
        key = (array.dtype.name, array.shape, array.tobytes()) if array.size <= SMALL else None
        if key is not None and key in self._known:
            return self._known[key]
        tensor_dtype(array.dtype)
        name = self.fresh("constant")
        self.initializers[name] = array
        if key is not None:
            self._known[key] = name
        return name


class Writer:
    """The nodes of a graph, or of a body in it."""

    def __init__(self, model: Model) -> None:
        self.model, self.opset = model, model.opset
        self.nodes: list[Any] = []
        self.names: dict[int, str] = {}

    def constant(self, array: Array) -> str:
        return self.model.constant(array)

    def node(self, kind: str, inputs: Sequence[str], outputs: int, hint: str, **attrs: Any) -> tuple[str, ...]:
        """One operator; attributes of None are left out. Gives the names of its outputs."""
        from onnx import helper

        made = tuple(self.model.fresh(hint) for _ in range(outputs))
        given = {k: v for k, v in attrs.items() if v is not None}
        self.nodes.append(helper.make_node(kind, list(inputs), list(made), name=made[0], **given))
        return made

    # -- sizes --------------------------------------------------------------------------------------------------

    def shape(self, sizes: Sequence[Size]) -> str:
        """Sizes as a value, int64 (rank,); open ones are computed from the graph's inputs."""
        if not any(isinstance(n, Dim) for n in sizes):
            return self.constant(np.array(sizes, np.int64))
        return self.node("Concat", [self.size(n) for n in sizes], 1, "shape", axis=0)[0]

    def size(self, size: Size) -> str:
        """One size, int64 (1,)"""
        if not isinstance(size, Dim):
            return self.constant(np.array([size], np.int64))
        terms = [self._term(m, c) for m, c in size.terms.items()]
        total = terms[0]
        for more in terms[1:]:
            total = self.node("Add", [total, more], 1, "size")[0]
        return total

    def _term(self, monomial: tuple[str, ...], coefficient: int) -> str:
        value = self.constant(np.array([coefficient], np.int64))
        for symbol in monomial:
            if symbol not in self.model.symbols:
                raise RefusedError(f"the dimension {symbol} is no size of an input")
            value = self.node("Mul", [value, self.model.symbols[symbol]], 1, "size")[0]
        return value

    # -- a graph ------------------------------------------------------------------------------------------------

    def write(self, graph: Graph) -> list[str]:
        """All nodes; gives the names of the outputs. What has no form goes to `wrong`, without what is behind it."""
        lost: set[int] = set()
        for i, array in graph.constants.items():
            try:
                self.names[i] = self.constant(array)
            except RefusedError as e:
                self.model.wrong.append(f"a constant: {e}")
                lost.add(i)
        for node in graph.nodes:
            if lost.intersection(node.inputs):
                lost.update(node.outputs)
                continue
            try:
                self._write(graph, node)
            except RefusedError as e:
                self.model.wrong.append(f"{node.label}: {e}")
                lost.update(node.outputs)
        return [self.names.get(p.value, "") for p in graph.outputs]

    def _write(self, graph: Graph, node: Node) -> None:
        rule = self.model.rule_of(node)
        if rule is None:
            raise RefusedError(f"{node.op.name} has no form in ONNX")
        types, outs = graph.in_types(node), graph.out_types(node)
        for t in (*types, *outs):
            if t.dtype.kind == "c":
                raise RefusedError("complex numbers have no form in ONNX")
            tensor_dtype(t.dtype)
        site = Site(self, node, tuple(self.names[i] for i in node.inputs), types, outs)
        self.names |= dict(zip(node.outputs, _widened(site, rule), strict=True))


# -- dtypes that an operator does not take --------------------------------------------------------------------

WIDER = ("int32", "int64", "float32")
ALSO_WIDER = ("matmul", "cumsum")
BASIS = {"square": "Mul", "floor_divide": "Sub"}  # the operator that decides, where the op is no single one
LOGICAL = {  # of bools, which the operators of numbers do not take
    "add": "Or", "multiply": "And", "bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor",
    "bitwise_invert": "Not", "maximum": "Or", "minimum": "And",
}  # fmt: skip


def _widened(s: Site, rule: Rule) -> tuple[str, ...]:
    """What the rule gives; computed in a wider dtype, and brought back, where the operator has not this one."""
    op, dtype = s.node.op, s.types[0].dtype if s.types else None
    if op.name in LOGICAL and all(t.dtype.kind == "b" for t in s.types):
        return (s(LOGICAL[op.name], *s.ins),)
    allowed = _allowed(s)
    widens = op.kind in ("elementwise", "reduction") or op.name in ALSO_WIDER
    fits = dtype is None or not allowed or _type_text(dtype) in allowed
    if not fits and op.kind == "compute" and not widens:
        raise RefusedError(f"ONNX's {op.onnx} takes no {s.types[0].dtype.name}")
    wide = None if fits or dtype is None or not widens else _wider(dtype, allowed)
    if dtype is None or wide is None:
        made = rule(s)
        return (made,) if isinstance(made, str) else made
    mine = [t.dtype == dtype for t in s.types]
    types = tuple(t.with_dtype(wide) if m else t for t, m in zip(s.types, mine, strict=True))
    back = [t.dtype == dtype and (dtype.kind != "b" or op.kind == "reduction") for t in s.outs]
    outs = tuple(t.with_dtype(wide) if b else t for t, b in zip(s.outs, back, strict=True))
    ins = tuple(s.cast(n, wide) if m else n for n, m in zip(s.ins, mine, strict=True))
    made = rule(replace(s, ins=ins, types=types, outs=outs))
    names = (made,) if isinstance(made, str) else made
    return tuple(s.cast(n, t.dtype) if b else n for n, t, b in zip(names, s.outs, back, strict=True))


def _allowed(s: Site) -> frozenset[str]:
    """The types that the op's operator takes as its first input; none where no single operator decides."""
    from onnx import defs

    name = BASIS.get(s.node.op.name, s.node.op.onnx)
    if not name or not defs.has(name):
        return frozenset()
    try:
        schema = defs.get_schema(name, s.opset)
    except defs.SchemaError:
        return frozenset()
    first = schema.inputs[0].type_str
    found = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == first), ())
    return frozenset(found)


def _wider(dtype: DType, allowed: frozenset[str]) -> DType | None:
    wide = (np.dtype(w) for w in WIDER)
    return next((d for d in wide if _type_text(d) in allowed and np.can_cast(dtype, d, "safe")), None)


def _type_text(dtype: DType) -> str:
    special = {"float32": "float", "float64": "double"}
    return f"tensor({special.get(dtype.name, dtype.name)})"


def value_info(name: str, t: TensorType) -> Any:
    """A named type, open dimensions by their names; without a shape where values decide it."""
    from onnx import helper

    if t.shape is None:
        return helper.make_tensor_value_info(name, tensor_dtype(t.dtype), None)
    sizes = [str(n) if isinstance(n, Dim) else n for n in t.shape]
    return helper.make_tensor_value_info(name, tensor_dtype(t.dtype), sizes)


def need_onnx() -> None:
    """A ModelError where the package is missing."""
    from importlib.util import find_spec

    if find_spec("onnx") is None:
        raise ModelError("writing ONNX wants the package onnx", hint=INSTALL)
