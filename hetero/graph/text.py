"""Graphs as readable assembly, the text of `print(graph)`."""

from __future__ import annotations

from typing import Any

from hetero.graph.ir import Graph, Node


def assembly(graph: Graph) -> str:
    """One line a node: outputs with types, op, inputs, attributes, place."""
    names = _names(graph)
    head = ", ".join(f"%{p.name}: {graph.types[p.value]}" for p in graph.inputs)
    lines = [f"graph {graph.name}({head}) {{"]
    lines += [f"  {names[i]}: {graph.types[i]} = constant {_preview(a)}" for i, a in graph.constants.items()]
    lines += [f"  {line}" for node in graph.nodes for line in _node(graph, node, names)]
    tail = ", ".join(f"{p.name} = {names[p.value]}" for p in graph.outputs)
    return "\n".join([*lines, f"  return {tail}", "}"])


def _names(graph: Graph) -> dict[int, str]:
    names = {i: f"%{i}" for i in range(len(graph.types))}
    names |= {i: f"%c{i}" for i in graph.constants}
    return names | {p.value: f"%{p.name}" for p in graph.inputs}


def _node(graph: Graph, node: Node, names: dict[int, str]) -> list[str]:
    left = ", ".join(f"{names[i]}: {graph.types[i]}" for i in node.outputs)
    right = ", ".join(names[i] for i in node.inputs)
    plain = {k: v for k, v in node.attrs.items() if not isinstance(v, Graph)}
    attrs = f" {{{', '.join(f'{k}={show_attr(v)}' for k, v in plain.items())}}}" if plain else ""
    place = f"  # {node.name or node.where}" if node.name or node.where else ""
    lines = [f"{left} = {node.op.name}({right}){attrs}{place}"]
    for key, body in node.attrs.items():
        if isinstance(body, Graph):
            lines += [f"  {key} = {first}" for first in assembly(body).splitlines()[:1]]
            lines += [f"  {line}" for line in assembly(body).splitlines()[1:]]
    return lines


def show_attr(value: Any) -> str:
    """An attribute as text; arrays by type only."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{value.dtype}{list(value.shape)}>"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(show_attr(v) for v in value) + ")"  # pyright: ignore[reportUnknownVariableType]
    return repr(value)


def _preview(array: Any) -> str:
    flat = array.ravel()
    shown = ", ".join(f"{x:.6g}" if array.dtype.kind == "f" else f"{x}" for x in flat[:4])
    return f"[{shown}{', ...' if flat.size > 4 else ''}]" if array.shape else shown
