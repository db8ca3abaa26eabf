"""From a graph back to the layers and edges that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hetero.errors import GraphError
from hetero.graph.ir import Graph, Node
from hetero.op import Array
from hetero.ops.loihi_rules import rounding_of
from hetero.spiking.layers import KINDS, Layer, Shape
from hetero.spiking.network import Edge, Network


def read(graph: Graph) -> Network:
    """The network that a graph runs; a GraphError, with the reason, for a graph that is none."""
    loops = [n for n in graph.nodes if n.op.name == "scan"]
    if len(loops) != 1:
        raise GraphError(f"{graph.name} is no spiking network: it has {len(loops)} loops over time, not one")
    ports = {p.value: p.name for p in graph.inputs}
    loop = loops[0]
    tables = _tables(loop)
    scanned = loop.inputs[loop.attrs["carried"] : loop.attrs["carried"] + loop.attrs["scanned"]]
    xs = [i for k, i in enumerate(scanned) if k not in tables]
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
    for k, node in tables.items():
        table = graph.constants.get(scanned[k])
        if table is None or wrong_rounding(node.attrs, table):
            raise GraphError(
                f"{graph.name} is no spiking network: {node.label} does not round as its seed {node.attrs['seed']} says"
            )
    if any(a is None for a in starts):
        raise GraphError(f"{graph.name} is no spiking network: a state starts at a value that is computed")
    return net


def _start_of(graph: Graph, value: int) -> Array | None:
    """What a state is before the first step; None where nothing but a run tells."""
    maker = graph.producer.get(value)
    source = maker.inputs[0] if maker is not None and maker.op.name == "broadcast_to" else value
    return graph.constants.get(source)


def _tables(loop: Node) -> dict[int, Node]:
    """Which of the scanned inputs say how a layer that learns rounds, and that layer's node."""
    body: Graph = loop.attrs["body"]
    values = [p.value for p in body.inputs[loop.attrs["carried"] : loop.attrs["carried"] + loop.attrs["scanned"]]]
    readers = {n.inputs[-1]: n for n in body.nodes if n.op.name in KINDS and KINDS[n.op.name].learns}
    return {k: readers[v] for k, v in enumerate(values) if v in readers}


def wrong_rounding(attrs: Mapping[str, Any], table: Array) -> bool:
    """Whether a table of rounding is not that of the seed in `attrs`."""
    return not np.array_equal(table, rounding_of(attrs, len(table)))


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What a `scan` node runs. `carried` and `shown` say of each state and of each y what it is: (layer, its state);
    (layer or input, "") for an output, which as a state is that of the step before; ("", output) for a sum of edges.
    `lead` counts the axes before a sample's own in a step. `tables`: which of the scanned inputs are no inputs of the
    network but say how a layer rounds, and which layer."""

    network: Network
    carried: tuple[tuple[str, str], ...]
    shown: tuple[tuple[str, str], ...]
    lead: int
    tables: Mapping[int, str]


def loop_of(loop: Node) -> Loop:
    """The network of a `scan` node: inputs are called in0, in1, ..., outputs out0, out1, ... in the loop's order."""
    body: Graph = loop.attrs["body"]
    count, carried = loop.attrs["scanned"], loop.attrs["carried"]
    if loop.attrs["reverse"] or len(body.inputs) != carried + count:
        raise GraphError("no spiking network: the loop runs backward, or over values from outside")
    tables = _tables(loop)
    reader = _Reader(loop, [f"in{k}" for k in range(count - len(tables))], [], "loop")
    net = reader.read({f"out{k}": k for k in range(len(body.outputs) - carried)})
    values = [p.value for p in body.outputs]
    shown = tuple(reader.what(v) or ("", f"out{k}") for k, v in enumerate(values[carried:]))
    kept = tuple(reader.what(v) for v in values[:carried])
    if None in kept:
        raise GraphError("no spiking network: the loop carries what is no layer's state and no output")
    named = {k: reader.layer_of[n.outputs[0]] for k, n in tables.items()}
    return Loop(net, kept, shown, reader.lead or 0, named)  # pyright: ignore[reportArgumentType]


def network_of(loop: Node) -> Network:
    """The network of a `scan` node, as `loop_of` names things, for those who run no learning."""
    net = loop_of(loop).network
    learning = [n for n, layer in net.layers.items() if layer.kind.learns]
    if learning:
        raise GraphError(f"{' and '.join(learning)} learns, which only runs on numpy, opencl and lava")
    return net


class _Reader:
    """A loop's body, node by node."""

    def __init__(self, loop: Node, inputs: list[str], rest: list[Array | None], name: str) -> None:
        self.body: Graph = loop.attrs["body"]
        self.carried: int = loop.attrs["carried"]
        self.name = name
        values = [p.value for p in self.body.inputs]
        tables, last = _tables(loop), self.carried + int(loop.attrs["scanned"])
        scanned = [v for k, v in enumerate(values[self.carried : last]) if k not in tables]
        self.inputs = dict(zip(scanned, inputs, strict=True))
        self.tables = {values[self.carried + k] for k in tables}
        self.known: dict[int, Array] = dict(self.body.constants)
        self.known |= {v: a for v, a in zip(values[last:], rest, strict=True) if a is not None}
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
        first = len(node.outputs)  # x, then a state for each further output
        values = node.inputs[first + 2 * kind.learns :]
        if any(v not in self.known for v in values):
            raise GraphError(f"{self.name} is no spiking network: a parameter of {name} is computed")
        parameters = {p: self.known[v] for p, v in zip(kind.parameters, values, strict=False)}
        layer = Layer(name, node.op.name, parameters, dict(node.attrs))
        if kind.learns:
            layer = replace(layer, start={"weight": self._weight(node)}, post=self._post(node, name))
        for before, after in zip(node.inputs[1:first], node.outputs[1:], strict=True):
            if self.next.get(before) != after:
                raise GraphError(f"{self.name} is no spiking network: {name} does not keep its state to itself")
        if self.lead is None:
            self.lead = self.body.types[node.inputs[0]].rank - kind.rank(layer)
        layer = replace(layer, shape=self._sample(node.outputs[0]))
        kept = zip(layer.states, node.inputs[1:first], strict=True)
        start = {s.name: a for s, v in kept if (a := self._start(name, v, s.of(layer.shape))) is not None}
        return replace(layer, start={**layer.start, **start})

    def _weight(self, node: Node) -> Array:
        """Zeros for the weights that a layer which learns starts with, until it is known which: they say its shape."""
        t = self.body.types[node.inputs[1]]
        return np.zeros(t.known, t.dtype)  # pyright: ignore[reportArgumentType]

    def _post(self, node: Node, name: str) -> str:
        post, table = node.inputs[-2:]
        if post not in self.layer_of:
            raise GraphError(f"{self.name} is no spiking network: {name} learns from what no layer gives")
        if table not in self.tables:
            raise GraphError(f"{self.name} is no spiking network: how {name} rounds is no input of each step")
        return self.layer_of[post]

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


__all__ = ["Loop", "loop_of", "network_of", "read", "wrong_rounding"]
