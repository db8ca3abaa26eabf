"""A spiking network as layers and edges: `build` makes one loop over time of it, `read` finds it again in a graph.

Between the file formats, the arithmetics, the chips and the backends stands this one form. In a step, layers run in the
order of their edges; an edge that is `delayed` hands over what its source gave in the step before (zeros at first), so
that a loop of edges needs at least one. What several edges bring to one layer is added up. A layer that learns also
reads its `post` neurons, in the same step, and so runs after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hetero import dtype as dt
from hetero.errors import GraphError, HeteroError
from hetero.spiking.layers import KINDS, Layer, Shape, shape_after
from hetero.spiking.learning import wrong_learning


@dataclass(frozen=True, slots=True)
class Edge:
    """From an input or a layer to a layer or an output."""

    source: str
    target: str
    delayed: bool = False


@dataclass(frozen=True, eq=False)
class Network:
    """Layers by name, in any order; shapes are those of one sample."""

    inputs: Mapping[str, Shape]
    layers: Mapping[str, Layer]
    outputs: tuple[str, ...]
    edges: tuple[Edge, ...]
    dtype: dt.DType = dt.float32
    name: str = "network"

    @cached_property
    def into(self) -> dict[str, list[Edge]]:
        """Layer or output -> the edges that end there."""
        found: dict[str, list[Edge]] = {}
        for e in self.edges:
            found.setdefault(e.target, []).append(e)
        return found

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Layers in the order in which a step runs them; a GraphError for a loop in which nothing is delayed."""
        now = {n: {e.source for e in self.into.get(n, ()) if not e.delayed} for n in self.layers}
        sources = {n: (now[n] | {layer.post}) & set(self.layers) for n, layer in self.layers.items()}
        readers: dict[str, list[str]] = {}
        for name, of in sources.items():
            for source in of:
                readers.setdefault(source, []).append(name)
        done = [n for n, of in sources.items() if not of]
        for name in done:  # grows as it is read
            for reader in readers.get(name, ()):
                sources[reader].remove(name)
                if not sources[reader]:
                    done.append(reader)
        if len(done) < len(self.layers):
            waiting = " and ".join(sorted(set(self.layers) - set(done)))
            raise GraphError(
                f"{self.name}: {waiting} wait for each other within one step",
                hint="an edge of the loop must be delayed",
            )
        return tuple(done)

    def check(self) -> Network:
        """The network with the shape of every layer filled in; a GraphError with everything that is wrong."""
        wrong = [*self._names()]
        if wrong:
            raise GraphError(f"{self.name}: " + "; ".join(wrong))
        shapes: dict[str, Shape] = dict(self.inputs)
        layers: dict[str, Layer] = {}
        late = self._delayed_shapes()
        for name in self.order:
            given = {shapes.get(e.source, late.get(e.source)) for e in self.into.get(name, ())} - {None}
            layer = self.layers[name]
            if len(given) > 1:
                wrong.append(f"what comes to {name} has shapes {' and '.join(map(str, sorted(given, key=str)))}")
            x = next(iter(given), None) or own_shape(layer)
            try:
                shapes[name] = shape_after(layer, x, self.dtype)
            except HeteroError as e:
                wrong.append(f"{name}: {e}")
                shapes[name] = layer.shape
            layers[name] = replace(layer, shape=shapes[name])
            wrong += _wrong_starts(layers[name])
            if layer.post and (post := own_shape(self.layers[layer.post])) != shapes[name]:
                wrong.append(f"{name} gives {shapes[name]}, but its post neurons {layer.post} are {post}")
        if wrong:
            raise GraphError(f"{self.name}: " + "; ".join(wrong))
        return replace(self, layers={n: layers[n] for n in self.layers})

    def _names(self) -> list[str]:
        known = {*self.inputs, *self.layers}
        wrong = [f"{n} is both an input and a layer" for n in sorted(set(self.inputs) & set(self.layers))]
        wrong += [f"{n} is both an output and a layer" for n in self.outputs if n in known]
        for e in self.edges:
            wrong += [f"an edge begins at {e.source}, which is not there"] * (e.source not in known)
            wrong += [f"an edge ends at {e.target}, which is not there"] * (
                e.target not in self.layers and e.target not in self.outputs
            )
        wrong += [f"nothing comes to output {n}" for n in self.outputs if n not in self.into]
        for layer in self.layers.values():
            kind = KINDS.get(layer.op)
            if kind is None:
                wrong.append(f"{layer.name}: {layer.op} is no layer; these are: {', '.join(KINDS)}")
            elif tuple(layer.parameters) not in {kind.parameters[: len(kind.parameters) - k] for k in
                                                 range(kind.optional + 1)}:  # fmt: skip
                wrong.append(f"{layer.name}: {layer.op} takes {', '.join(kind.parameters) or 'no parameters'}")
            elif kind.learns:
                wrong += [*wrong_learning(layer), *self._wrong_post(layer)]
            elif layer.post:
                wrong.append(f"{layer.name}: {layer.op} does not learn, so it has no post neurons ({layer.post})")
        return wrong

    def _wrong_post(self, layer: Layer) -> list[str]:
        """Whose spikes a layer learns from."""
        post = self.layers.get(layer.post)
        if post is not None and post.op in KINDS and post.kind.neuron:
            return []
        neurons = ", ".join(n for n, o in self.layers.items() if o.op in KINDS and o.kind.neuron) or "none"
        return [f"{layer.name}: post names the neurons behind it, not {layer.post!r}; these are there: {neurons}"]

    def _delayed_shapes(self) -> dict[str, Shape]:
        """Shapes of layers that delayed edges begin at, as far as the layer itself says."""
        late = [self.layers[e.source] for e in self.edges if e.delayed and e.source in self.layers]
        return {layer.name: shape for layer in late if (shape := known_shape(layer)) is not None}


def _wrong_starts(layer: Layer) -> list[str]:
    """What `start` names that the layer does not keep, or in a shape that it has not."""
    kept = {s.name: s.of(layer.shape) for s in layer.states if s.depth is None}
    wrong: list[str] = []
    for name, value in layer.start.items():
        if name not in kept:
            can = ", ".join(sorted(kept)) or "none"
            wrong.append(f"{layer.name}: {name} cannot start at a value; these can: {can}")
        elif not _broadcasts(value.shape, kept[name]):
            wrong.append(f"{layer.name}: {name} starts as {value.shape} beside {kept[name]}")
    return wrong


def _broadcasts(shape: Shape, to: Shape) -> bool:
    """Whether an array of a shape stretches to another."""
    ends = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(n in (1, m) for n, m in ends)


def own_shape(layer: Layer) -> Shape:
    """The shape that a layer says, or that of one number."""
    return known_shape(layer) or ()


def known_shape(layer: Layer) -> Shape | None:
    """The shape that a layer's parameters say: of its output, or of its input where both are the same."""
    if layer.shape:
        return layer.shape
    if layer.kind.elementwise:
        return next(iter(layer.parameters.values())).shape
    if layer.kind.learns:
        return layer.start["weight"].shape[:1]
    if layer.op == "synapse_sparse":
        return (int(layer.attrs["size"]),)
    return layer.parameters["weight"].shape[:1] if layer.op in ("synapse_dense", "synapse_delayed") else None


__all__ = ["Edge", "Layer", "Network", "known_shape", "own_shape"]
