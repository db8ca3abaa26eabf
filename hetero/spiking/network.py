"""A spiking network as layers and edges, and as a graph: `build` makes one loop over time of it, `read` finds it again.

Between the file formats, the arithmetics, the chips and the backends stands this one form. In a step, layers run in the
order of their edges; an edge that is `delayed` hands over what its source gave in the step before (zeros at first), so
that a loop of edges needs at least one. What several edges bring to one layer is added up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Size
from hetero.errors import GraphError, HeteroError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph, Node
from hetero.op import OPS, Array, TensorType
from hetero.spiking.layers import KINDS, Layer, Shape, shape_after


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
        sources = {n: {e.source for e in self.into.get(n, ()) if not e.delayed} & set(self.layers) for n in self.layers}
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
            x = next(iter(given), None) or _own_shape(layer)
            try:
                shapes[name] = shape_after(layer, x, self.dtype)
            except HeteroError as e:
                wrong.append(f"{name}: {e}")
                shapes[name] = layer.shape
            layers[name] = replace(layer, shape=shapes[name])
            wrong += _wrong_starts(layers[name])
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
                wrong.append(f"{layer.name}: {layer.op} takes {', '.join(kind.parameters)}")
        return wrong

    def _delayed_shapes(self) -> dict[str, Shape]:
        """Shapes of layers that delayed edges begin at, as far as the layer itself says."""
        late = [self.layers[e.source] for e in self.edges if e.delayed and e.source in self.layers]
        return {layer.name: shape for layer in late if (shape := _known_shape(layer)) is not None}


def _wrong_starts(layer: Layer) -> list[str]:
    """What `start` names that the layer does not keep, or in a shape that it has not."""
    kept = {s.name for s in layer.states if s.depth is None}
    wrong: list[str] = []
    for name, value in layer.start.items():
        if name not in kept:
            can = ", ".join(sorted(kept)) or "none"
            wrong.append(f"{layer.name}: {name} cannot start at a value; these can: {can}")
        elif not _broadcasts(value.shape, layer.shape):
            wrong.append(f"{layer.name}: {name} starts as {value.shape} beside {layer.shape}")
    return wrong


def _broadcasts(shape: Shape, to: Shape) -> bool:
    """Whether an array of a shape stretches to another."""
    ends = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(n in (1, m) for n, m in ends)


def _own_shape(layer: Layer) -> Shape:
    """The shape that a layer says, or that of one number."""
    return _known_shape(layer) or ()


def _known_shape(layer: Layer) -> Shape | None:
    """The shape that a layer's parameters say: of its output, or of its input where both are the same."""
    if layer.shape:
        return layer.shape
    if layer.kind.elementwise:
        return next(iter(layer.parameters.values())).shape
    if layer.op == "synapse_sparse":
        return (int(layer.attrs["size"]),)
    return layer.parameters["weight"].shape[:1] if layer.op in ("synapse_dense", "synapse_delayed") else None


# -- to a graph -----------------------------------------------------------------------------------------------


def build(
    net: Network,
    *,
    steps: int | str = "time",
    batch: int | str | None = None,
    record: Collection[str] | bool = (),
) -> Graph:
    """One loop over time: inputs (steps, [batch,] *shape) -> outputs (steps, [batch,] *shape), by their names.

    steps and batch may be names of open dimensions; without a batch there is no axis for it. `record` names layers
    whose output and states in every step are outputs too (`layer`, `layer.v`); True: all.
    """
    net = net.check()
    body = _Body(net, () if batch is None else (_size(batch),))
    chosen = tuple(net.layers) if record is True else tuple(record or ())
    if unknown := [n for n in chosen if n not in net.layers]:
        raise GraphError(f"{net.name} has no layer {' or '.join(unknown)}", hint=f"it has {', '.join(net.layers)}")
    inner, names = body.build(chosen)
    outer = Builder(net.name, track=False)
    with outer.at("", net.name):
        xs = [
            outer.input(n, TensorType((_size(steps), *body.lead, *shape), net.dtype)) for n, shape in net.inputs.items()
        ]
        start = [_begin(outer, t, value) for t, value in zip(body.state_types, body.starts, strict=True)]
        made = outer.emit(
            OPS["scan"], (*start, *xs),
            {"body": inner, "carried": len(start), "scanned": len(xs), "reverse": False},
        )  # fmt: skip
    return outer.build(dict(zip(names, made[len(start) :], strict=True)))


def _size(n: int | str) -> Size:
    return Dim.symbol(n) if isinstance(n, str) else n


def _zeros(builder: Builder, t: TensorType) -> Ref:
    zero = builder.constant(np.zeros((), t.dtype))
    return builder("broadcast_to", zero, shape=t.known) if t.rank else zero


def _begin(builder: Builder, t: TensorType, value: Array | None) -> Ref:
    """A state before the first step."""
    if value is None:
        return _zeros(builder, t)
    given = builder.constant(np.ascontiguousarray(value, t.dtype))
    return given if given.type.known == t.known else builder("broadcast_to", given, shape=t.known)


class _Body:
    """One step of a network, being written."""

    def __init__(self, net: Network, lead: tuple[Size, ...]) -> None:
        self.net, self.lead = net, lead
        self.builder = Builder("step", track=False)
        self.state_types: list[TensorType] = []
        self.starts: list[Array | None] = []
        self._state: dict[tuple[str, str], Ref] = {}
        late = dict.fromkeys(e.source for e in net.edges if e.delayed)
        for name in net.order:
            layer = net.layers[name]
            for state in layer.states:
                depth = () if state.depth is None else (state.depth,)
                shape = (*depth, *lead, *layer.shape)
                self._new_state(name, state.name, shape, state.dtype or net.dtype, layer.start.get(state.name))
        for name in late:
            shape = net.layers[name].shape if name in net.layers else net.inputs[name]
            self._new_state(name, "", (*lead, *shape), net.dtype)
        self._late = tuple(late)
        self._now = {n: self.builder.input(n, TensorType((*lead, *s), net.dtype)) for n, s in net.inputs.items()}
        self._after: dict[tuple[str, str], Ref] = {}

    def _new_state(
        self, layer: str, state: str, shape: tuple[Size, ...], dtype: dt.DType, start: Array | None = None
    ) -> None:
        t = TensorType(shape, dtype)
        self.state_types.append(t)
        self.starts.append(start)
        self._state[layer, state] = self.builder.input(f"{layer}.{state or 'before'}", t)

    def build(self, record: tuple[str, ...]) -> tuple[Graph, list[str]]:
        for name in self.net.order:
            self._step(self.net.layers[name])
        self._after |= {(n, ""): self._now[n] for n in self._late}
        outs = {f"{layer}.{state or 'before'}": self._after[layer, state] for layer, state in self._state}
        shown = {n: self._sum(n) for n in self.net.outputs}
        for n in record:
            shown |= {n: self._now[n]} | {f"{n}.{s.name}": self._after[n, s.name] for s in self.net.layers[n].states}
        return self.builder.build([*outs.values(), *shown.values()], prune=True), list(shown)

    def _sum(self, target: str) -> Ref:
        """What comes to a layer or an output."""
        came = [self._state[e.source, ""] if e.delayed else self._now[e.source] for e in self.net.into.get(target, ())]
        if not came:
            shape = _own_shape(self.net.layers[target])
            return _zeros(self.builder, TensorType((*self.lead, *shape), self.net.dtype))
        total = came[0]
        for more in came[1:]:
            total = self.builder("add", total, more)
        return total

    def _step(self, layer: Layer) -> None:
        with self.builder.at("", layer.name):
            given = [self._sum(layer.name), *(self._state[layer.name, s.name] for s in layer.states)]
            given += [self.builder.constant(p) for p in layer.parameters.values()]
            made = self.builder.emit(OPS[layer.op], given, layer.attrs)
        self._now[layer.name] = made[0]
        self._after |= {(layer.name, s.name): ref for s, ref in zip(layer.states, made[1:], strict=True)}


# -- from a graph ---------------------------------------------------------------------------------------------


def read(graph: Graph) -> Network:
    """The network that a graph runs; a GraphError, with the reason, for a graph that is none."""
    loops = [n for n in graph.nodes if n.op.name == "scan"]
    if len(loops) != 1:
        raise GraphError(f"{graph.name} is no spiking network: it has {len(loops)} loops over time, not one")
    ports = {p.value: p.name for p in graph.inputs}
    loop = loops[0]
    xs = loop.inputs[loop.attrs["carried"] : loop.attrs["carried"] + loop.attrs["scanned"]]
    if any(i not in ports for i in xs) or loop.attrs["reverse"]:
        raise GraphError(f"{graph.name} is no spiking network: its loop does not run forward over the graph's inputs")
    made = {i: k for k, i in enumerate(loop.outputs)}
    shown = {p.name: made.get(p.value, -1) - loop.attrs["carried"] for p in graph.outputs}
    if any(k < 0 for k in shown.values()):
        raise GraphError(f"{graph.name} is no spiking network: it gives more than what its loop gives in each step")
    rest = loop.inputs[loop.attrs["carried"] + loop.attrs["scanned"] :]
    reader = _Reader(loop, [ports[i] for i in xs], [graph.constants.get(i) for i in rest], graph.name)
    starts = [_start_of(graph, i) for i in loop.inputs[: loop.attrs["carried"]]]
    reader.starts = [a if a is not None and a.any() else None for a in starts]
    net = reader.read(shown)
    if any(a is None for a in starts):
        raise GraphError(f"{graph.name} is no spiking network: a state starts at a value that is computed")
    return net


def _start_of(graph: Graph, value: int) -> Array | None:
    """What a state is before the first step; None where nothing but a run tells."""
    maker = graph.producer.get(value)
    source = maker.inputs[0] if maker is not None and maker.op.name == "broadcast_to" else value
    return graph.constants.get(source)


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What a `scan` node runs. `carried` and `shown` say of each state and of each y what it is: (layer, its state);
    (layer or input, "") for an output, which as a state is that of the step before; ("", output) for a sum of edges.
    `lead` counts the axes before a sample's own in a step."""

    network: Network
    carried: tuple[tuple[str, str], ...]
    shown: tuple[tuple[str, str], ...]
    lead: int


def loop_of(loop: Node) -> Loop:
    """The network of a `scan` node: inputs are called in0, in1, ..., outputs out0, out1, ... in the loop's order."""
    body: Graph = loop.attrs["body"]
    count, carried = loop.attrs["scanned"], loop.attrs["carried"]
    if loop.attrs["reverse"] or len(body.inputs) != carried + count:
        raise GraphError("no spiking network: the loop runs backward, or over values from outside")
    reader = _Reader(loop, [f"in{k}" for k in range(count)], [], "loop")
    net = reader.read({f"out{k}": k for k in range(len(body.outputs) - carried)})
    values = [p.value for p in body.outputs]
    shown = tuple(reader.what(v) or ("", f"out{k}") for k, v in enumerate(values[carried:]))
    kept = tuple(reader.what(v) for v in values[:carried])
    if None in kept:
        raise GraphError("no spiking network: the loop carries what is no layer's state and no output")
    return Loop(net, kept, shown, reader.lead or 0)  # pyright: ignore[reportArgumentType]


def network_of(loop: Node) -> Network:
    """The network of a `scan` node, as `loop_of` names things."""
    return loop_of(loop).network


class _Reader:
    """A loop's body, node by node."""

    def __init__(self, loop: Node, inputs: list[str], rest: list[Array | None], name: str) -> None:
        self.body: Graph = loop.attrs["body"]
        self.carried: int = loop.attrs["carried"]
        self.name = name
        values = [p.value for p in self.body.inputs]
        self.inputs = dict(zip(values[self.carried :], inputs, strict=False))
        self.known: dict[int, Array] = dict(self.body.constants)
        self.known |= {v: a for v, a in zip(values[self.carried + len(inputs) :], rest, strict=True) if a is not None}
        before = {v: k for k, v in enumerate(values[: self.carried])}
        after = [p.value for p in self.body.outputs[: self.carried]]
        self.next = {v: after[k] for v, k in before.items()}  # state at the start of a step -> at its end
        self.layer_of: dict[int, str] = {}  # value -> the layer whose output it is
        self.sums = {n.outputs[0]: n for n in self.body.nodes if n.op.name == "add"}
        self.lead: int | None = None
        self.starts: list[Array | None] = []  # by state; empty where the loop is looked at alone
        self.before = before

    def read(self, shown: dict[str, int]) -> Network:
        nodes = [n for n in self.body.nodes if n.op.name in KINDS]
        other = {n.op.name for n in self.body.nodes} - set(KINDS) - {"add", "broadcast_to"}
        if other:
            raise GraphError(f"{self.name} is no spiking network: a step has {', '.join(sorted(other))}")
        names: set[str] = set()
        for n in nodes:
            name = n.name or n.op.name
            while name in names or name in self.inputs.values():
                name += "'"
            names.add(name)
            self.layer_of[n.outputs[0]] = name
        layers = {self.layer_of[n.outputs[0]]: self._layer(n, self.layer_of[n.outputs[0]]) for n in nodes}
        edges = [e for n in nodes for e in self._edges(n.inputs[0], self.layer_of[n.outputs[0]])]
        ports = [p.value for p in self.body.outputs]
        recorded = {v for n in nodes for v in n.outputs}
        outputs: list[str] = []
        for name, k in shown.items():
            value = ports[self.carried + k]
            if name in layers or (value in recorded and value not in self.layer_of):
                continue  # what `record` shows, not an output of the network
            outputs.append(name)
            edges += self._edges(value, name)
        shapes = {name: self._sample(v) for v, name in self.inputs.items()}
        dtype = self.body.types[next(iter(self.inputs))].dtype
        return Network(shapes, layers, tuple(outputs), tuple(edges), dtype, self.name).check()

    def what(self, value: int) -> tuple[str, str] | None:
        """(layer, "") of a layer's output, (layer, state) of its state, (input, "") of an input; else None."""
        if value in self.layer_of:
            return self.layer_of[value], ""
        if value in self.inputs:
            return self.inputs[value], ""
        node = self.body.producer.get(value)
        if node is None or node.outputs[0] not in self.layer_of:
            return None
        name = self.layer_of[node.outputs[0]]
        kind = KINDS[node.op.name]
        states = [s.name for s in kind.states(self._layer(node, name))]
        return name, states[node.outputs.index(value) - 1]

    def _layer(self, node: Node, name: str) -> Layer:
        kind = KINDS[node.op.name]
        count = len(node.inputs) - 1 - (len(node.outputs) - 1)
        first = len(node.inputs) - count
        values = node.inputs[first:]
        if any(v not in self.known for v in values):
            raise GraphError(f"{self.name} is no spiking network: a parameter of {name} is computed")
        parameters = {p: self.known[v] for p, v in zip(kind.parameters, values, strict=False)}
        layer = Layer(name, node.op.name, parameters, dict(node.attrs))
        for before, after in zip(node.inputs[1:first], node.outputs[1:], strict=True):
            if self.next.get(before) != after:
                raise GraphError(f"{self.name} is no spiking network: {name} does not keep its state to itself")
        if self.lead is None:
            self.lead = self.body.types[node.inputs[0]].rank - kind.rank(layer)
        shape = self._sample(node.outputs[0])
        kept = zip(kind.states(layer), node.inputs[1:first], strict=True)
        start = {s.name: a for s, v in kept if (a := self._start(name, v, shape)) is not None}
        return replace(layer, shape=shape, start=start)

    def _start(self, name: str, value: int, shape: Shape) -> Array | None:
        """What a state begins with, the same for all samples of a batch."""
        found = self.starts[self.before[value]] if self.starts else None
        if found is None:
            return None
        rows = found.reshape(-1, *found.shape[max(found.ndim - len(shape), 0) :])
        if (rows != rows[:1]).any():
            raise GraphError(f"{self.name} is no spiking network: {name} starts at other values in each sample")
        return np.ascontiguousarray(np.broadcast_to(rows[0], shape))

    def _sample(self, value: int) -> Shape:
        known = self.body.types[value].known[self.lead or 0 :]
        return tuple(int(n) for n in known)  # pyright: ignore[reportArgumentType]

    def _edges(self, value: int, target: str) -> list[Edge]:
        if value in self.layer_of:
            return [Edge(self.layer_of[value], target)]
        if value in self.inputs:
            return [Edge(self.inputs[value], target)]
        if value in self.next:
            return [Edge(e.source, target, delayed=True) for e in self._before(self.next[value], target)]
        if value in self.sums:
            return [e for i in self.sums[value].inputs for e in self._edges(i, target)]
        if self._zero(value):
            return []
        raise GraphError(f"{self.name} is no spiking network: {target} reads what no layer gives")

    def _before(self, value: int, target: str) -> list[Edge]:
        late = next(k for v, k in self.before.items() if self.next[v] == value)
        if self.starts and self.starts[late] is not None:
            raise GraphError(f"{self.name} is no spiking network: a delayed edge into {target} starts at a value")
        if value in self.layer_of or value in self.inputs:
            return self._edges(value, target)
        raise GraphError(f"{self.name} is no spiking network: {target} reads another layer's state")

    def _zero(self, value: int) -> bool:
        node = self.body.producer.get(value)
        if node is not None and node.op.name == "broadcast_to":
            value = node.inputs[0]
        return value in self.known and not self.known[value].any()


__all__ = ["Edge", "Layer", "Network", "build", "network_of", "read"]
