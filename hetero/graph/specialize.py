"""Fills in what was open: named dimensions, values of inputs, and the late nodes that waited for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hetero.dim import Dim
from hetero.errors import GraphError
from hetero.graph.build import Builder, Ref, replay
from hetero.graph.ir import Graph, Node, bind_shape, substitute
from hetero.op import Array, TensorType
from hetero.ops.late import Need, rule


def specialize(graph: Graph, sizes: Mapping[str, int], values: Mapping[str, Array]) -> Graph:
    """The graph with `sizes` for named dimensions and constants for the inputs named in `values`.

    Late nodes are resolved as far as is now possible. The inputs keep their names and order, those that became
    constants too, so that a graph is called the same way before and after.
    """
    unknown = sorted(set(values) - set(graph.input_types))
    if unknown:
        raise GraphError(f"no input is called {', '.join(unknown)}", hint=f"one of {', '.join(graph.input_types)}")
    builder = Builder(graph.name, fold=True, track=False)
    inputs: list[Ref] = []
    for name, type in graph.input_types.items():
        shape = bind_shape(type.shape, sizes)
        if name in values:
            array = np.asarray(values[name])
            builder.input(name, TensorType(array.shape, type.dtype))
            inputs.append(builder.constant(array, type.dtype))
        else:
            inputs.append(builder.input(name, TensorType(shape, type.dtype)))
    outs = replay(graph, builder, inputs, lambda node, refs: resolve(builder, node, refs, sizes))
    return builder.build({p.name: r for p, r in zip(graph.outputs, outs, strict=True)})


def resolve(builder: Builder, node: Node, refs: tuple[Ref, ...], sizes: Mapping[str, int]) -> Sequence[Ref] | None:
    """What stands for `node` now: a late node asks its rule, others have their attributes filled in."""
    if node.op.kind != "late":
        attrs = {k: _attribute(v, sizes) for k, v in node.attrs.items()}
        return builder.emit(node.op, refs, attrs)
    if any(r.type.shape is None for r in refs):
        return None
    answer = _ask(builder, node, refs)
    return None if isinstance(answer, Need) else answer


def _ask(builder: Builder, node: Node, refs: Sequence[Ref]) -> Sequence[Ref] | Need:
    """The rule's answer. A payload that makes no sense to its rule comes from a damaged file."""
    try:
        return rule(node.attrs["rule"])(builder, node.attrs["payload"], refs)
    except (KeyError, TypeError, IndexError, AttributeError) as e:
        raise GraphError(f"{node.label} cannot be resolved: {type(e).__name__}: {e}") from e


def needs(graph: Graph) -> dict[int, tuple[int, ...]]:
    """For each late node (by position) whose inputs are typed: the values (by number) that it must see first."""
    found: dict[int, tuple[int, ...]] = {}
    for position, node in enumerate(graph.nodes):
        if node.op.kind != "late" or any(graph.types[i].shape is None for i in node.inputs):
            continue
        builder = Builder(fold=True, track=False)
        refs = [
            builder.share(graph.constants[i]) if i in graph.constants else builder.input(f"i{k}", graph.types[i])
            for k, i in enumerate(node.inputs)
        ]
        answer = _ask(builder, node, refs)
        if isinstance(answer, Need):
            found[position] = tuple(node.inputs[i] for i in answer.inputs)
    return found


def _attribute(value: object, sizes: Mapping[str, int]) -> object:
    if isinstance(value, Graph):
        return specialize(value, sizes, {}) if sizes and value.symbols else value
    return substitute(value, sizes) if isinstance(value, Dim | tuple | list) else value
