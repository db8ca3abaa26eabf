"""Makes graphs: `emit` adds a node, infers its types and remembers who asked.

A builder is itself the `Emit` that decompositions, gradient rules and importers are written against.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dtype import DType
from hetero.errors import GraphError, HeteroError
from hetero.graph.ir import Graph, Node, Port
from hetero.op import OPS, Array, Op, TensorType, Types

FOLD_LIMIT = 1 << 16  # elements; a larger constant is computed by the device, not while building
_HERE = os.path.dirname(os.path.dirname(__file__))


@dataclass(frozen=True, slots=True, eq=False)
class Ref:
    """A value of the graph that `owner` is building."""

    owner: Builder
    index: int

    @property
    def type(self) -> TensorType:
        return self.owner.types[self.index]

    @property
    def known(self) -> Array | None:
        """The value itself, when it is a constant."""
        return self.owner.constants.get(self.index)


@dataclass(slots=True, eq=False)
class Builder:
    """Collects nodes. With `fold`, a node whose inputs are all small constants becomes a constant at once."""

    name: str = "graph"
    fold: bool = False
    track: bool = True  # note the caller's line on nodes that have no place of their own
    types: list[TensorType] = field(default_factory=list[TensorType])
    nodes: list[Node] = field(default_factory=list[Node])
    inputs: list[Port] = field(default_factory=list[Port])
    constants: dict[int, Array] = field(default_factory=dict[int, Array])
    _place: tuple[str, str] = ("", "")

    def input(self, name: str, type: TensorType) -> Ref:
        """A new input of the graph."""
        if any(p.name == name for p in self.inputs):
            raise GraphError(f"two inputs are called {name!r}")
        ref = self._new(type)
        self.inputs.append(Port(name, ref.index))
        return ref

    def constant(self, value: Any, dtype: DType | None = None) -> Ref:
        """A constant; the array is copied, so later changes to it do not reach the graph."""
        with np.errstate(all="ignore"):  # a number too large for the dtype is infinite
            array = np.array(value, dtype)
        array.setflags(write=False)
        return self.share(array)

    def share(self, array: Array) -> Ref:
        """A constant around a read-only array, without a copy."""
        assert not array.flags.writeable
        ref = self._new(TensorType(array.shape, dt.check(array.dtype)))
        self.constants[ref.index] = array
        return ref

    def known(self, value: Ref) -> Array | None:
        """The value itself, when it is a constant."""
        return self.constants.get(value.index)

    def __call__(self, op: str | Op, *inputs: Any, **attrs: Any) -> Any:
        """Add one node; gives its output, or a tuple of them where the op has several."""
        out = self.emit(OPS[op] if isinstance(op, str) else op, self._refs(inputs), attrs)
        return out[0] if len(out) == 1 else out

    def emit(self, op: Op, inputs: Sequence[Ref], attrs: Mapping[str, Any]) -> tuple[Ref, ...]:
        """Add one node: promotes, completes attributes, infers types. Errors carry the place."""
        where, name = self._place
        if not where and not name and self.track:
            where = caller()
        try:
            full = op.complete(attrs)
            refs = self._promote(op, tuple(inputs))
            types = op.infer_types(tuple(r.type for r in refs), full)
        except HeteroError as e:
            raise e.at(name or where) from e.__cause__
        if self.fold and self._foldable(op, refs, types):
            try:
                made = op.evaluate(tuple(self.constants[r.index] for r in refs), full)
            except HeteroError as e:
                raise e.at(name or where) from e.__cause__
            return tuple(self.constant(a, t.dtype) for a, t in zip(made, types, strict=True))
        outs = tuple(self._new(t) for t in types)
        self.nodes.append(Node(op, tuple(r.index for r in refs), tuple(o.index for o in outs), full, where, name))
        return outs

    @contextmanager
    def at(self, where: str, name: str = "") -> Generator[None, None, None]:
        """Nodes made inside carry this place."""
        before, self._place = self._place, (where, name)
        try:
            yield
        finally:
            self._place = before

    def build(self, outputs: Mapping[str, Ref] | Sequence[Ref], *, prune: bool = True) -> Graph:
        """The finished graph; by default what no output needs is left out."""
        named = outputs if isinstance(outputs, Mapping) else {f"out{i}": r for i, r in enumerate(outputs)}
        ports = tuple(Port(k, r.index) for k, r in named.items())
        graph = Graph(tuple(self.nodes), tuple(self.types), tuple(self.inputs), ports, self.constants, self.name)
        return compact(graph) if prune else graph

    def _new(self, type: TensorType) -> Ref:
        self.types.append(type)
        return Ref(self, len(self.types) - 1)

    def _refs(self, inputs: Sequence[Any]) -> tuple[Ref, ...]:
        """Python scalars take the dtype of the first tensor beside them."""
        like = next((x.type.dtype for x in inputs if isinstance(x, Ref)), None)
        return tuple(x if isinstance(x, Ref) else self.constant(x, dt.weak(x, like)) for x in inputs)

    def _promote(self, op: Op, refs: tuple[Ref, ...]) -> tuple[Ref, ...]:
        if not op.arithmetic or not refs:
            return refs
        to = dt.promote(*(r.type.dtype for r in refs))
        to = dt.to_float(to) if op.arithmetic == "float" else to
        return tuple(r if r.type.dtype == to else self.emit(OPS["cast"], (r,), {"dtype": to.name})[0] for r in refs)

    def _foldable(self, op: Op, refs: Sequence[Ref], types: Types) -> bool:
        if not op.pure or op.kind in ("late", "control", "random"):
            return False
        if not all(r.index in self.constants for r in refs):
            return False
        sizes = [t.size if t.static else FOLD_LIMIT + 1 for t in types]
        return all(isinstance(n, int) and n <= FOLD_LIMIT for n in sizes)


def replay(
    graph: Graph,
    builder: Builder,
    inputs: Sequence[Ref],
    rule: Callable[[Node, tuple[Ref, ...]], Sequence[Ref] | None] | None = None,
) -> tuple[Ref, ...]:
    """Emit `graph` into `builder`; `rule` may emit something else for a node (None: the node as it is)."""
    env = {i: builder.share(a) for i, a in graph.constants.items()}
    env |= {p.value: r for p, r in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        refs = tuple(env[i] for i in node.inputs)
        with builder.at(node.where, node.name):
            made = rule(node, refs) if rule else None
            if made is None:
                made = builder.emit(node.op, refs, node.attrs)
        env |= zip(node.outputs, made, strict=True)
    return tuple(env[p.value] for p in graph.outputs)


def rewrite(
    graph: Graph, rule: Callable[[Builder, Node, tuple[Ref, ...]], Sequence[Ref] | None], *, fold: bool = False
) -> Graph:
    """A pass: the graph with `rule` applied to each node in order, and what is then unused left out."""
    builder = Builder(graph.name, fold=fold, track=False)
    inputs = [builder.input(p.name, graph.types[p.value]) for p in graph.inputs]
    outs = replay(graph, builder, inputs, lambda node, refs: rule(builder, node, refs))
    return builder.build({p.name: r for p, r in zip(graph.outputs, outs, strict=True)})


def compact(graph: Graph) -> Graph:
    """Dead code removed and values numbered anew: inputs, constants, then nodes in order."""
    live = {p.value for p in graph.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if live.intersection(node.outputs):
            kept.append(node)
            live.update(node.inputs)
    kept.reverse()
    order = [p.value for p in graph.inputs] + [i for i in graph.constants if i in live]
    order += [i for node in kept for i in node.outputs]
    number = {old: new for new, old in enumerate(order)}
    return Graph(
        tuple(
            Node(
                n.op, tuple(number[i] for i in n.inputs), tuple(number[i] for i in n.outputs), n.attrs, n.where, n.name
            )
            for n in kept
        ),
        tuple(graph.types[i] for i in order),
        tuple(Port(p.name, number[p.value]) for p in graph.inputs),
        tuple(Port(p.name, number[p.value]) for p in graph.outputs),
        {number[i]: a for i, a in graph.constants.items() if i in live},
        graph.name,
    )


def extract(graph: Graph, nodes: Sequence[Node]) -> tuple[Graph, tuple[int, ...], tuple[int, ...]]:
    """`nodes` as a graph of their own, the values that it takes and those that it gives to the rest."""
    members = set(map(id, nodes))
    made = {i for n in nodes for i in n.outputs}
    wanted = {p.value for p in graph.outputs}
    takes = [i for i in dict.fromkeys(i for n in nodes for i in n.inputs) if i not in made and i not in graph.constants]
    gives = sorted(i for i in made if i in wanted or any(id(use) not in members for use in graph.uses.get(i, ())))
    part = Graph(
        tuple(nodes),
        graph.types,
        tuple(Port(f"in{i}", i) for i in takes),
        tuple(Port(f"out{i}", i) for i in gives),
        graph.constants,
        graph.name,
    )
    return compact(part), tuple(takes), tuple(gives)


def caller() -> str:
    """`file:line` of the nearest frame outside this package."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
