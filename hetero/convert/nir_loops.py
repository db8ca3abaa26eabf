"""Which edges of a graph with loops hand over the step before.

NIR's equations are in continuous time and have no such edges. A depth-first walk from the inputs finds the edges that
close a loop; going back from one to the nearest layers with a state, the edges that leave those are delayed: recurrent
synapses see the spikes of the step before. What is found does not depend on the order of nodes and edges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

Pair = tuple[str, str]


def delayed_edges(edges: Collection[Pair], inputs: Iterable[str], stateful: Collection[str]) -> set[Pair]:
    """Edges that leave layers with a state, enough of them to open every loop that has such a layer."""
    after, before = _ways(edges), _ways([(b, a) for a, b in edges])
    whole = _components(after, before)
    found: set[Pair] = set()
    walked: set[str] = set()
    for u, v in _closing(after, [*sorted(inputs), *sorted(after)]):
        if u in stateful:
            found.add((u, v))
            continue
        back = [u]
        while back:
            w = back.pop()
            if w in walked:
                continue
            walked.add(w)
            for p in before.get(w, ()):
                if whole[p] != whole[w]:
                    continue
                if p in stateful:
                    found.add((p, w))
                else:
                    back.append(p)
    return found


def stuck(edges: Collection[Pair], delayed: Collection[Pair]) -> list[str]:
    """Nodes of the loops that are left."""
    left = _ways([e for e in edges if e not in delayed])
    whole = _components(left, _ways([(b, a) for a, bs in left.items() for b in bs]))
    size: dict[int, int] = {}
    for n in whole.values():
        size[n] = size.get(n, 0) + 1
    return sorted(n for n, c in whole.items() if size[c] > 1 or n in left.get(n, ()))


def _ways(edges: Iterable[Pair]) -> dict[str, list[str]]:
    """Node -> where its edges lead, in the order of names."""
    found: dict[str, set[str]] = {}
    for a, b in edges:
        found.setdefault(a, set()).add(b)
    return {a: sorted(bs) for a, bs in found.items()}


def _closing(after: dict[str, list[str]], starts: Iterable[str]) -> list[Pair]:
    """The edges back to a node that the walk is still inside of."""
    found: list[Pair] = []
    inside: dict[str, bool] = {}  # False: left again
    for start in starts:
        if start in inside:
            continue
        inside[start] = True
        path = [(start, iter(after.get(start, ())))]
        while path:
            u, ways = path[-1]
            for v in ways:
                if v not in inside:
                    inside[v] = True
                    path.append((v, iter(after.get(v, ()))))
                    break
                if inside[v]:
                    found.append((u, v))
            else:
                inside[u] = False
                path.pop()
    return found


def _components(after: dict[str, list[str]], before: dict[str, list[str]]) -> dict[str, int]:
    """Node -> number of its strongly connected component (Kosaraju)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in (*after, *before):
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(after.get(start, ())))]
        while path:
            u, ways = path[-1]
            for v in ways:
                if v not in seen:
                    seen.add(v)
                    path.append((v, iter(after.get(v, ()))))
                    break
            else:
                order.append(u)
                path.pop()
    whole: dict[str, int] = {}
    for start in reversed(order):
        todo = [start] * (start not in whole)
        while todo:
            u = todo.pop()
            if u not in whole:
                whole[u] = len(whole) if u == start else whole[start]
                todo += [v for v in before.get(u, ()) if v not in whole]
    return whole
