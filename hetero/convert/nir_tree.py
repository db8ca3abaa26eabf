"""A NIR graph as typed records, and as layers without graphs inside: names joined by "/", inner ports gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_LAYERS, MAX_EDGES = 5_000, 50_000  # of the flat graph

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A node: the name of its type, and its fields as they stand. A graph has nodes and edges too."""

    kind: str
    fields: Mapping[str, Any]
    nodes: Mapping[str, Item] = field(default_factory=dict[str, "Item"])
    edges: tuple[Pair, ...] = ()


@dataclass(slots=True, eq=False)
class Flat:
    """Nodes by path; edges in the order in which they add up."""

    inputs: dict[str, Item] = field(default_factory=dict[str, Item])
    layers: dict[str, Item] = field(default_factory=dict[str, Item])
    outputs: dict[str, Item] = field(default_factory=dict[str, Item])
    edges: list[Pair] = field(default_factory=list[Pair])


# -- records --------------------------------------------------------------------------------------------------


def item(data: Any, at: str, wrong: list[str]) -> Item:
    """The record of what a file or a NIRGraph says; what is wrong with its form goes to `wrong`."""
    kind = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(kind, str):
        wrong.append(f"{at or 'the graph'} has no type")
        return Item("", {})
    if kind != "NIRGraph":
        return Item(kind, {k: v for k, v in data.items() if k != "type"})
    nodes = data.get("nodes")
    if not isinstance(nodes, Mapping) or not nodes:
        wrong.append(f"{at or 'the graph'} has no nodes")
        nodes = {}
    for name in nodes:
        if not isinstance(name, str) or not name or name in (".", "..") or "/" in name or "\0" in name:
            wrong.append(f"{at or 'the graph'} has a node called {name!r}; a name is not empty and has no /")
    inner = {str(k): item(v, f"{at}/{k}" if at else str(k), wrong) for k, v in nodes.items()}
    return Item(kind, {}, inner, _edges(data.get("edges"), at or "the graph", wrong))


def _edges(value: Any, at: str, wrong: list[str]) -> tuple[Pair, ...]:
    try:
        pairs = [(a, b) for a, b in value] if np.size(np.asarray(value, object)) else []
    except (TypeError, ValueError):
        pairs = [(None, None)]
    if not all(isinstance(end, str) for pair in pairs for end in pair):
        wrong.append(f"{at}: edges are pairs of names")
        return ()
    twice = sorted(p for p, n in Counter(pairs).items() if n > 1)
    wrong += [f"{at}: the edge from {a} to {b} stands twice" for a, b in twice]
    return tuple((str(a), str(b)) for a, b in pairs)


# -- flat -----------------------------------------------------------------------------------------------------


def flatten(graph: Item, wrong: list[str]) -> Flat:
    """The graph without graphs inside: what comes to one of those goes to where its input leads, and so on."""
    flat = _Flattening(wrong)
    flat.walk(graph, "")
    if len(flat.made.layers) > MAX_LAYERS:
        wrong.append(f"{len(flat.made.layers)} layers; at most {MAX_LAYERS} are taken")
    if not wrong:
        flat.contract()
    if not wrong:
        flat.add_ports(graph)
    return flat.made


class _Flattening:
    def __init__(self, wrong: list[str]) -> None:
        self.wrong, self.made = wrong, Flat()
        self.ports: set[str] = set()  # Input and Output nodes of inner graphs
        self.edges: list[Pair] = []  # between layers, ports, inputs and outputs

    def walk(self, graph: Item, prefix: str) -> None:
        for name, node in graph.nodes.items():
            full = prefix + name
            if node.kind == "NIRGraph":
                self.walk(node, full + "/")
            elif node.kind not in ("Input", "Output"):
                self.made.layers[full] = node
            elif prefix:
                self.ports.add(full)
            else:
                (self.made.inputs if node.kind == "Input" else self.made.outputs)[full] = node
        for a, b in graph.edges:
            gone = [n for n in (a, b) if n not in graph.nodes]
            if gone:
                self.wrong.append(f"the edge from {prefix}{a} to {prefix}{b}: there is no {' and no '.join(gone)}")
                continue
            if graph.nodes[a].kind == "Output" or graph.nodes[b].kind == "Input":
                self.wrong.append(f"the edge from {prefix}{a} to {prefix}{b} leaves an output or comes to an input")
                continue
            ends = self._end(graph.nodes[a], prefix + a, "Output"), self._end(graph.nodes[b], prefix + b, "Input")
            if all(ends):
                self.edges.append(ends)

    def _end(self, node: Item, full: str, port: str) -> str:
        """Where an edge at this node begins or ends: in a graph at its port, or its one node without an edge there."""
        if node.kind != "NIRGraph":
            return full
        found = [n for n, inner in node.nodes.items() if inner.kind == port]
        if not found:
            side = 1 if port == "Input" else 0
            taken = {e[side] for e in node.edges}
            found = [n for n in node.nodes if n not in taken]
        if len(found) != 1:
            self.wrong.append(f"{full} has {len(found)} nodes that an edge to or from it could mean, not one {port}")
            return ""
        return self._end(node.nodes[found[0]], f"{full}/{found[0]}", port)

    def contract(self) -> None:
        """Edges between layers, inputs and outputs only."""
        into: dict[str, list[str]] = {p: [] for p in self.ports}
        out: dict[str, list[str]] = {p: [] for p in self.ports}
        waits = dict.fromkeys(self.ports, 0)
        for a, b in self.edges:
            if b in self.ports:
                into[b].append(a)
                if a in self.ports:
                    out[a].append(b)
                    waits[b] += 1
        ready = [p for p, n in waits.items() if not n]
        sources: dict[str, list[str]] = {}
        total = 0
        while ready:
            port = ready.pop()
            sources[port] = [s for a in into[port] for s in (sources[a] if a in self.ports else (a,))]
            total += len(sources[port])
            for p in out[port]:
                waits[p] -= 1
                ready += [p] * (not waits[p])
            if total > MAX_EDGES:
                break
        if len(sources) < len(self.ports):
            circle = sorted(self.ports - set(sources))[:5]
            self.wrong.append(f"inputs and outputs in a circle, or too many edges: {', '.join(circle)}")
            return
        for a, b in self.edges:
            if b not in self.ports:
                self.made.edges += [(s, b) for s in (sources[a] if a in self.ports else (a,))]
            if len(self.made.edges) > MAX_EDGES:
                self.wrong.append(f"more than {MAX_EDGES} edges")
                return

    def add_ports(self, graph: Item) -> None:
        """An input before each node that nothing leads to, an output behind each that leads nowhere, as nir does."""
        begins, ends = {a for a, _ in self.made.edges}, {b for _, b in self.made.edges}
        for name in [n for n in self.made.layers if n in graph.nodes]:
            if name not in ends:
                port = free(f"input_{name}", graph.nodes)
                self.made.inputs[port] = Item("Input", {})
                self.made.edges.insert(0, (port, name))
            if name not in begins:
                port = free(f"output_{name}", graph.nodes)
                self.made.outputs[port] = Item("Output", {})
                self.made.edges.append((name, port))


def free(name: str, taken: Iterable[str]) -> str:
    """The name, or with the first number that makes it new."""
    taken, made, k = set(taken), name, 0
    while made in taken:
        made, k = f"{name}_{k}", k + 1
    return made
