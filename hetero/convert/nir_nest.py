"""Flat layers as graphs within graphs: what stands before a "/" in a name is a graph of its own.

Such a graph has one input and one output, so every source outside leads to the same layers inside, and all layers that
lead outside lead to the same targets; what does not is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from hetero.convert.nir_tree import Pair, free

Shape = tuple[int, ...]


class Nest:
    """Nodes by path (class and arguments) and edges between them, on their way to a nir.NIRGraph."""

    def __init__(
        self,
        nodes: Mapping[str, tuple[str, Mapping[str, Any]]],
        edges: list[Pair],
        shapes: Mapping[str, Shape],
        wrong: list[str],
    ) -> None:
        self.nodes, self.edges, self.shapes = nodes, edges, shapes
        self.groups = {n[:k] for n in nodes for k in range(len(n)) if n[k] == "/"}
        twice = sorted(e for e, n in Counter(edges).items() if n > 1)
        wrong += [f"the edge from {a} to {b} stands twice" for a, b in twice]
        for name, (kind, _) in nodes.items():
            parts = name.split("/")
            if any(p in ("", ".", "..") or "\0" in p for p in parts):
                wrong.append(f"{name!r} is no name in a NIR file")
            if name in self.groups:
                wrong.append(f"{name} is a layer and, by the names of others, a graph")
            if len(parts) > 1 and kind in ("Input", "Output"):
                wrong.append(f"{name}, an {kind.lower()} of the whole network, is named as if inside a graph")
        for group in sorted(self.groups):
            self._check(group + "/", wrong)

    def _check(self, prefix: str, wrong: list[str]) -> None:
        """Whether all that crosses the border of a graph can go through one input and one output."""
        for here, there, what in ((1, 0, "come in from"), (0, 1, "go out to")):
            inside: dict[str, set[str]] = {}  # a node outside -> the layers inside at the other end of its edges
            for e in self.edges:
                if e[here].startswith(prefix) and not e[there].startswith(prefix):
                    inside.setdefault(e[there], set()).add(e[here])
            if len({frozenset(s) for s in inside.values()}) > 1:
                wrong.append(f"{prefix[:-1]} would want several ports for what {what} {', '.join(sorted(inside))}")

    def build(self, nir: Any, prefix: str = "") -> Any:
        """The nir.NIRGraph of all whose names begin so."""
        made: dict[str, Any] = {}
        for name, (kind, fields) in self.nodes.items():
            first, inner, _ = name[len(prefix) :].partition("/")
            if not name.startswith(prefix) or first in made:
                continue
            if inner:
                made[first] = self.build(nir, f"{prefix}{first}/")
            else:
                made[first] = getattr(nir, kind)(**{k: _own(v) for k, v in fields.items()})
        begin, end = free("input", made), free("output", made)
        edges: dict[Pair, None] = {}
        for a, b in self.edges:
            from_here, to_here = a.startswith(prefix), b.startswith(prefix)
            source = a[len(prefix) :].partition("/")[0] if from_here else begin
            target = b[len(prefix) :].partition("/")[0] if to_here else end
            if not from_here and not to_here:
                continue
            if from_here and to_here and source == target and prefix + source in self.groups:
                continue  # within an inner graph
            if not from_here and begin not in made:
                made[begin] = nir.Input(np.array(self.shapes[a], int))
            if not to_here and end not in made:
                made[end] = nir.Output(np.array(self.shapes[a], int))
            edges[source, target] = None
        return nir.NIRGraph(made, list(edges), type_check=False)


def _own(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
