"""Which edges of a graph with loops hand over the step before.

NIR's equations are in continuous time and have no such edges. A depth-first walk from the inputs finds the edges that
close a loop, and those are delayed: what a recurrent synapse makes of the spikes of one step arrives in the next. So it
is in NIRTorch's executor and in snnTorch, and spikes are equal only so: a bias of the synapse is not there in the first
step. In a loop with a Delay the step is taken from that. What is found does not depend on the order of the edges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

Pair = tuple[str, str]


def delayed_edges(
    edges: Collection[Pair], inputs: Iterable[str], neurons: Collection[str], delays: Collection[str]
) -> set[Pair]:
    """Edges that open every loop. Of a node of `delays`, all of one step or more, all edges are delayed or none."""
    after, before = _ways(edges), _ways([(b, a) for a, b in edges])
    whole = _components(after, before)
    kept = {*neurons, *delays}
    driven = _driven(after, whole, neurons, kept)
    found: set[Pair] = set()
    walked: set[str] = set()
    for u, v in _closing(after, [*sorted(inputs), *sorted(after)]):
        if u in kept or u in driven:
            found.add((u, v))
            continue
        back = [u]  # all loops come to u through delays
        while back:
            w = back.pop()
            if w in walked:
                continue
            walked.add(w)
            inside = [p for p in before[w] if whole[p] == whole[w]]
            found |= {(p, w) for p in inside if p in delays}
            back += [p for p in inside if p not in delays]
    return found | {(a, b) for a in {a for a, _ in found}.intersection(delays) for b in after[a]}


def _driven(
    after: dict[str, list[str]], whole: dict[str, int], neurons: Collection[str], kept: Collection[str]
) -> set[str]:
    """Nodes without a state that a neuron of the same loops leads to, by others without a state."""
    found: set[str] = set()
    todo = [n for n in neurons if n in whole]
    while todo:
        a = todo.pop()
        fresh = {b for b in after.get(a, ()) if whole[b] == whole[a] and b not in kept} - found
        found |= fresh
        todo += fresh
    return found


def loops(edges: Collection[Pair]) -> list[str]:
    """The nodes of all loops."""
    after = _ways(edges)
    whole = _components(after, _ways([(b, a) for a, b in edges]))
    size: dict[int, int] = {}
    for n in whole.values():
        size[n] = size.get(n, 0) + 1
    return sorted(n for n, c in whole.items() if size[c] > 1 or n in after.get(n, ()))


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
