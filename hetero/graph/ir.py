"""The graph: an immutable, typed program in SSA form.

Values are numbered; `types[i]` is the type of value `i`. A value is an input, a constant, or an output of
exactly one node, and nodes stand in an order in which each one's inputs come first. Graphs are made by
`hetero.graph.build.Builder` and never changed: a pass gives a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero.dim import Dim
from hetero.errors import GraphError, HeteroError, ShapeError
from hetero.op import Array, Attrs, Op, Shape, TensorType, Types, show

if TYPE_CHECKING:
    from hetero.dim import Size


SPECIALIZE = "give the dimensions values first: graph.specialize({'name': 8})"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an op. `where` is the person's file and line, `name` the node's name in a model file."""

    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Attrs = field(default_factory=dict[str, Any])
    where: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """What a person would call this node."""
        return self.name or (f"{self.op.name} ({self.where})" if self.where else self.op.name)


@dataclass(frozen=True, slots=True)
class Port:
    """A named input or output of the graph."""

    name: str
    value: int


@dataclass(frozen=True, eq=False)
class Graph:
    """An immutable SSA program; see the module's text. Hash and equality are by content (`key`)."""

    nodes: tuple[Node, ...]
    types: Types
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    constants: Mapping[int, Array] = field(default_factory=dict[int, Array])
    name: str = "graph"

    def __post_init__(self) -> None:
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))

    # -- what it is -------------------------------------------------------------------------------------

    @property
    def input_types(self) -> dict[str, TensorType]:
        """Name -> type of each input."""
        return {p.name: self.types[p.value] for p in self.inputs}

    @property
    def output_types(self) -> dict[str, TensorType]:
        """Name -> type of each output."""
        return {p.name: self.types[p.value] for p in self.outputs}

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Names of the dimensions that have no value yet."""
        sizes: Iterator[Size] = (n for t in self.types if t.shape is not None for n in t.shape)
        return frozenset(s for n in sizes if isinstance(n, Dim) for s in n.symbols)

    @cached_property
    def static(self) -> bool:
        """Every shape is known, in plain numbers, and no node is late."""
        return all(t.static for t in self.types) and not any(n.op.kind == "late" for n in self.nodes)

    @cached_property
    def uses(self) -> Mapping[int, tuple[Node, ...]]:
        """Value -> the nodes that read it."""
        found: dict[int, list[Node]] = {}
        for node in self.nodes:
            for i in dict.fromkeys(node.inputs):
                found.setdefault(i, []).append(node)
        return {i: tuple(nodes) for i, nodes in found.items()}

    @cached_property
    def producer(self) -> Mapping[int, Node]:
        """Value -> the node that makes it; inputs and constants have none."""
        return {i: node for node in self.nodes for i in node.outputs}

    def in_types(self, node: Node) -> Types:
        return tuple(self.types[i] for i in node.inputs)

    def out_types(self, node: Node) -> Types:
        return tuple(self.types[i] for i in node.outputs)

    @cached_property
    def key(self) -> str:
        """A digest of everything that decides the result: ops, attributes, types, constants, names of ports."""
        return self._digest(values=True)

    @cached_property
    def form(self) -> str:
        """A digest of all that `key` covers but the values of constants: what decides how long a run takes."""
        return self._digest(values=False)

    def _digest(self, values: bool) -> str:
        from hashlib import sha256  # late: a plain import of hetero hashes nothing

        digest = sha256()
        for node in self.nodes:
            digest.update(repr((node.op.name, node.inputs, node.outputs)).encode())
            digest.update(canonical(node.attrs).encode())
        digest.update(repr([str(t) for t in self.types]).encode())
        digest.update(repr([(p.name, p.value) for p in (*self.inputs, *self.outputs)]).encode())
        for i, array in self.constants.items():
            digest.update(repr((i, array.dtype.name, array.shape)).encode())
            if values:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.key == other.key

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        from hetero.graph.text import assembly

        return assembly(self)

    __repr__ = __str__

    # -- what can be done with it -----------------------------------------------------------------------

    def check(self) -> Graph:
        """The graph itself if it is valid, else a GraphError with every violation."""
        from hetero.graph.check import check

        return check(self)

    def specialize(self, sizes: Mapping[str, int] | None = None, values: Mapping[str, Array] | None = None) -> Graph:
        """With named dimensions and the values of named inputs filled in; late nodes resolved where that suffices."""
        from hetero.graph.specialize import specialize

        return specialize(self, sizes or {}, values or {})

    def save(self, path: str) -> None:
        """Write to `path`: JSON plus safetensors in one file, nothing that executes."""
        from hetero.graph.store import save

        save(self, path)

    def to_onnx(self, path: str, *, opset: int | None = None) -> None:
        """Write an ONNX model of that opset (21) to `path`; a ModelError lists everything that has no form in ONNX."""
        given = {} if opset is None else {"opset": opset}
        import_module("hetero.convert.onnx_out").write(path, self, **given)  # by name: it stands above the graph

    @staticmethod
    def load(path: str) -> Graph:
        """The graph that `save` wrote to `path`; a GraphError for anything else."""
        from hetero.graph.store import load

        return load(path)

    @cached_property
    def peak_bytes(self) -> int:
        """Most bytes of intermediates and outputs at once: as planned for the optimised, fused graph, inputs apart.

        A backend may need scratch beside it; `Executable.peak_bytes` has that too.
        """
        from hetero.graph.passes import primitive
        from hetero.graph.passes.fuse import fuse
        from hetero.graph.passes.memory import plan_memory

        if not self.static:
            raise ShapeError(f"{self.name} has open shapes, so its memory is not known", hint=SPECIALIZE)
        return plan_memory(fuse(primitive(self))).peak_bytes

    def evaluate(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs, by the reference of each op, in NumPy: the oracle of every backend."""
        if len(arrays) != len(self.inputs):
            raise GraphError(f"{self.name} takes {len(self.inputs)} inputs, got {len(arrays)}")
        value: dict[int, Array] = dict(self.constants)
        value |= {p.value: np.asarray(a) for p, a in zip(self.inputs, arrays, strict=True)}
        for node in self.nodes:
            try:
                made = node.op.evaluate(tuple(value[i] for i in node.inputs), node.attrs)
            except HeteroError as e:
                raise e.at(node.label) from e.__cause__
            value |= zip(node.outputs, made, strict=True)
        return tuple(value[p.value] for p in self.outputs)

    def run(self, feed: Mapping[str, Any], *, device: str | None = None) -> dict[str, Array]:
        """The outputs by name, as NumPy arrays, computed on `device` or on the backend in use."""
        return _execute().run(self, feed, device)


@cache
def _execute() -> Any:
    """By name: running stands above the graph."""
    return import_module("hetero.execute")


def canonical(value: Any) -> str:
    """One text for equal attribute values: the part of a key that stands for attributes."""
    if isinstance(value, Graph):
        return f"graph:{value.key}"
    if isinstance(value, Mapping):
        items: Any = value.items()  # pyright: ignore[reportUnknownVariableType]
        return "{" + ",".join(f"{k}={canonical(v)}" for k, v in sorted(items)) + "}"
    if isinstance(value, tuple | list):
        return "(" + ",".join(canonical(v) for v in value) + ")"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, np.ndarray):
        return f"array:{value.dtype}{value.shape}:{_digest(value)}"
    return repr(value)


def _digest(array: Array) -> str:
    from hashlib import sha256

    return sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def substitute(value: Any, sizes: Mapping[str, Any]) -> Any:
    """An attribute value with the named dimensions in it replaced."""
    if isinstance(value, Dim):
        return value.bind(sizes)
    if isinstance(value, tuple | list):
        return tuple(substitute(v, sizes) for v in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value


def bind_shape(shape: Shape | None, sizes: Mapping[str, int]) -> Shape | None:
    return None if shape is None else tuple(n.bind(sizes) if isinstance(n, Dim) else n for n in shape)


def bind_sizes(types: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The named dimensions that the arrays' shapes give, every misfit reported at once."""
    sizes: dict[str, int] = {}
    wrong: list[str] = []
    for name, shape in shapes.items():
        wanted = types[name].shape
        if wanted is None:
            continue
        fits = len(wanted) == len(shape)
        for size, found in zip(wanted, shape, strict=False):
            if isinstance(size, Dim) and len(size.terms) == 1 and (symbol := _plain(size)):
                fits &= sizes.setdefault(symbol, found) == found
            elif not isinstance(size, Dim):
                fits &= size == found
        if not fits:
            known = f" with {', '.join(f'{k}={v}' for k, v in sizes.items())}" if sizes else ""
            wrong.append(f"input {name!r} wants shape {show(wanted)}, got {show(shape)}{known}")
    wrong = wrong or list(_misfits(types, shapes, sizes))
    if wrong:
        raise ShapeError("; ".join(wrong), hint="reshape the array, or import the model with other dimensions")
    return sizes


def _misfits(
    types: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]
) -> Iterator[str]:
    """Inputs whose computed sizes, like `2*batch`, are others than the arrays have."""
    for name, shape in shapes.items():
        bound = bind_shape(types[name].shape, sizes)
        if bound is not None and any(not isinstance(n, Dim) and n != m for n, m in zip(bound, shape, strict=True)):
            known = ", ".join(f"{k}={v}" for k, v in sizes.items())
            yield f"input {name!r} wants shape {show(types[name].shape)}, got {show(shape)} with {known}"


def _plain(size: Dim) -> str:
    """The symbol, when the dimension is nothing but one."""
    ((monomial, coefficient),) = size.terms.items()
    return monomial[0] if len(monomial) == 1 and coefficient == 1 else ""
