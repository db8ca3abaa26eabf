"""A graph as a function of tensors: its nodes become part of a trace, or run one by one."""

from __future__ import annotations

from typing import Any

from hetero.eager import place
from hetero.errors import GraphError
from hetero.graph.build import replay
from hetero.graph.ir import Graph
from hetero.select import current_device
from hetero.tensor import Tensor, apply
from hetero.tracing import Traced, _active


def inline(graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a graph for these tensors, which have the types of its inputs. In a trace names are kept."""
    wanted, given = list(graph.input_types.values()), [x._type for x in inputs]
    if given != wanted:
        want, got = (", ".join(map(str, types)) for types in (wanted, given))
        raise GraphError(f"{graph.name} takes {want}; got {got}", hint="cast and reshape before, or build it for these")
    if any(isinstance(x, Traced) for x in inputs) and _active.get():
        tracing = _active.get()[-1]
        return tuple(map(Traced, replay(graph, tracing.builder, [tracing.bring(x) for x in inputs])))
    device = inputs[0].device if inputs else current_device()
    values: dict[int, Any] = {i: place(a, device) for i, a in graph.constants.items()}
    values |= {p.value: x for p, x in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        made = apply(node.op, *(values[i] for i in node.inputs), **node.attrs)
        values |= dict(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True))
    return tuple(values[p.value] for p in graph.outputs)
