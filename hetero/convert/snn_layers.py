"""A ReLU network, node by node, as layers of a spiking one: synapses with the factors of spikes, and where neurons go.

What a layer gives in a step, times the scale of its flow, is on average the value of the node; so a synapse's weights
take in the scale of what it reads, and neurons have their activation's scale as threshold. Everything linear between
two layers of neurons (bias, batch norm, pools, sums of branches) ends in synapses and biases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from hetero.graph.ir import Graph, Node
from hetero.op import Array
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Edge

MOST_DIAGONAL = 4096  # neurons of a layer whose bias cannot be put into the synapse before it
HOST = ("elementwise", "movement")  # kinds of ops that the host does before the input is given


class RefusedError(Exception):
    """Why a node has no spiking form."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A value of the graph: the sum of what `sources` give in a step, times `scale` (*shape). `own`: the synapse that
    alone makes it and that nothing else reads, so that factors and biases go into it."""

    sources: tuple[str, ...]
    scale: Array
    own: str = ""
    spikes: bool = False
    cap: float = np.inf

    @property
    def shape(self) -> Shape:
        return self.scale.shape


@dataclass(frozen=True, slots=True)
class Rectified:
    """Neurons for a ReLU: `value` is its output in the graph, `cap` the number at which that is cut (ReLU6)."""

    name: str
    value: int
    node: str
    cap: float


@dataclass(frozen=True, slots=True)
class Style:
    """Which neurons are made. `headroom`: activations at the threshold of their layer that make one threshold of the
    neuron, so that it spikes in one of so many steps at most; `start`: the part of it that a voltage begins with."""

    attrs: Mapping[str, Any]
    headroom: float
    start: float


@dataclass(frozen=True, slots=True)
class Spiking:
    """Neurons as a readout: the last value is `low` and more, and a spike of theirs stands for `worth`."""

    low: float
    worth: float


Thresholds: TypeAlias = "Callable[[Rectified, Shape], Array]"


class Walk:
    """Makes layers and edges of a graph with one input and one output and no dead nodes, its first axes a batch;
    `wrong` lists nodes that have no such form."""

    def __init__(
        self,
        graph: Graph,
        thresholds: Thresholds,
        style: Style,
        input_scale: float = 1.0,
        readout: Spiking | None = None,
        corrections: Mapping[str, float] | None = None,
    ) -> None:
        self.graph, self.thresholds, self.style, self.spiking = graph, thresholds, style, readout
        self.input_scale, self.corrections = input_scale, corrections or {}
        self.final = graph.outputs[0].value
        (port,) = graph.inputs
        self.batch = graph.types[port.value].known[0]
        self.input, self.input_value = port.name, port.value
        self.layers: dict[str, Layer] = {}
        self.edges: list[Edge] = []
        self.rectified: list[Rectified] = []
        self.wrong: list[str] = []
        self.flows: dict[int, Flow] = {}
        self._readers = Counter(i for node in graph.nodes for i in dict.fromkeys(node.inputs)) + Counter([self.final])
        self._begin(port.value)

    def _begin(self, value: int) -> None:
        self.input_value = value
        self.flows = {value: Flow((self.input,), np.full(self.shape(value), self.input_scale))}

    def shape(self, value: int) -> Shape:
        """Of one sample."""
        known = self.graph.types[value].known
        return tuple(int(n) for n in known[1:])  # pyright: ignore[reportArgumentType]

    def run(self) -> Walk:
        for node in self.graph.nodes:
            given = [i for i in node.inputs if i not in self.graph.constants]
            if self._by_host(node, given):
                self._begin(node.outputs[0])
            elif all(i in self.flows for i in given):
                self._node(node)
        if not self.wrong:
            self._readout()
        return self

    def _by_host(self, node: Node, given: list[int]) -> bool:
        """Whether a node only prepares the input: what is given to the network is then its result."""
        prepares = node.op.kind in HOST or node.op.name == "batch_norm"
        if not prepares or set(given) != {self.input_value} or self.layers or not self.alone(given[0]):
            return False
        known = self.graph.types[node.outputs[0]].known
        return node.outputs[0] != self.final and bool(known) and known[0] == self.batch

    def alone(self, value: int) -> bool:
        """Whether one node alone reads a value, or nothing but the readout."""
        return self._readers[value] == 1

    def _node(self, node: Node) -> None:
        rule = RULES.get(node.op.name)
        try:
            if rule is None:
                raise RefusedError(f"{node.op.name} has no spiking form{_INSTEAD.get(node.op.name, '')}")
            out = node.outputs[0]
            known = self.graph.types[out].known
            if not known or known[0] != self.batch:
                raise RefusedError(f"{node.op.name} does not keep the samples of a batch apart")
            if any(self.cut(i) for i in node.inputs) and node.op.name not in ("relu", "maximum", "minimum"):
                raise RefusedError(f"{node.op.name} of a minimum that no ReLU follows has no spiking form")
            flow = rule(self, node)
            self.flows[out] = flow if self.alone(out) else replace(flow, own="")
        except RefusedError as e:
            self.wrong.append(f"{node.label}: {e}")

    def cut(self, value: int) -> bool:
        """Whether a minimum waits for its ReLU."""
        flow = self.flows.get(value)
        return flow is not None and not flow.spikes and flow.cap < np.inf

    def _readout(self) -> None:
        """What integrates the last value: its voltage over the steps so far is the value."""
        if self.cut(self.final):
            self.wrong.append("the last value is a minimum that no ReLU follows, which has no spiking form")
            return
        flow = self.unit(self.flows[self.final])
        if self.spiking is None:
            name = self.add("readout", "i", {"r": np.ones(flow.shape)}, {"dt": 1.0, "rule": "exact"}, flow.sources)
        else:
            try:
                flow = self.unit(self.biased(flow, np.full(flow.shape, -self.spiking.low), "bias"))
            except RefusedError as e:
                self.wrong.append(f"the last value: {e}")
                return
            name = self.neurons("readout", np.full(flow.shape, self.spiking.worth), flow)
        self.edges.append(Edge(name, self.output))

    def neurons(self, name: str, threshold: Array, flow: Flow) -> str:
        """Neurons that a flow of scale 1 feeds."""
        given = {"r": np.ones(flow.shape), "v_threshold": threshold, "v_reset": np.zeros(flow.shape)}
        start = {"v": threshold * self.style.start} if self.style.start else {}
        return self.add(name, "if", given, dict(self.style.attrs), flow.sources, start)

    @property
    def output(self) -> str:
        name = "out"
        while name == self.input or name in self.layers:
            name += "'"
        return name

    # -- what rules are written with ----------------------------------------------------------------------------

    def flow(self, value: int) -> Flow:
        return self.flows[value]

    def constant(self, value: int) -> Array | None:
        return self.graph.constants.get(value)

    def add(
        self, name: str, op: str, parameters: dict[str, Array], attrs: dict[str, Any], sources: tuple[str, ...],
        start: dict[str, Array] | None = None,
    ) -> str:  # fmt: skip
        """A new layer that these sources feed, and its name."""
        while name in self.layers or name == self.input:
            name += "'"
        given = {k: np.ascontiguousarray(v, np.float32) for k, v in parameters.items()}
        begin = {k: np.ascontiguousarray(v, np.float32) for k, v in (start or {}).items()}
        self.layers[name] = Layer(name, op, given, attrs, start=begin)
        self.edges += [Edge(s, name) for s in sources]
        return name

    def synapse(self, node: Node, op: str, parameters: dict[str, Array], attrs: dict[str, Any], flow: Flow) -> Flow:
        """A synapse that gives the value of a node itself."""
        name = self.add(node.name or node.op.name, op, parameters, attrs, flow.sources)
        out = node.outputs[0]
        return Flow((name,), np.ones(self.shape(out)), own=name if self.alone(out) else "")

    def unit(self, flow: Flow) -> Flow:
        """The same value with a scale of 1."""
        if (flow.scale == 1).all():
            return flow
        one = np.ones(flow.shape)
        factor = per_channel(flow.scale)
        if flow.own and factor is not None:
            old = self.layers[flow.own]
            wide = factor.reshape(-1, *(1,) * (old.parameters["weight"].ndim - 1))
            made = {"weight": old.parameters["weight"] * wide}
            made |= {"bias": old.parameters["bias"] * factor} if "bias" in old.parameters else {}
            self.layers[flow.own] = replace(old, parameters={k: v.astype(np.float32) for k, v in made.items()})
            return replace(flow, scale=one)
        name = self.add(f"{flow.sources[0]}.scale", "synapse_scale", {"scale": flow.scale}, {}, flow.sources)
        return replace(flow, sources=(name,), scale=one, own="", spikes=False, cap=np.inf)

    def biased(self, flow: Flow, bias: Array, name: str) -> Flow:
        """The value plus something that is the same for every sample. bias (*shape)"""
        each = per_channel(bias)
        if flow.own and each is not None:
            flow = self.unit(flow)
            old = self.layers[flow.own]
            total = (old.parameters.get("bias", np.zeros(len(each))) + each).astype(np.float32)
            self.layers[flow.own] = replace(old, parameters={"weight": old.parameters["weight"], "bias": total})
            return flow
        if each is None or (bias.ndim == 1 and bias.size > MOST_DIAGONAL):
            raise RefusedError("adds another number to each place; a channel has one bias")
        flow, factor = self.channelwise(flow)
        if bias.ndim == 1:
            parameters, op, attrs = {"weight": np.diag(factor), "bias": each}, "synapse_dense", {}
        else:
            rank = bias.ndim - 1
            parameters = {"weight": factor.reshape(-1, *(1,) * (rank + 1)), "bias": each}
            op, attrs = "synapse_conv", {**_plain(rank), "groups": len(each)}
        made = self.add(name, op, parameters, attrs, flow.sources)
        return Flow((made,), np.ones(flow.shape), own=made)

    def channelwise(self, flow: Flow) -> tuple[Flow, Array]:
        """The flow with one scale a channel, and these (c,)."""
        scale = per_channel(flow.scale)
        flow = flow if scale is not None else self.unit(flow)
        return flow, scale if scale is not None else np.ones(flow.shape[0])


def per_channel(values: Array) -> Array | None:
    """(c, *s) -> (c,), if each channel has one number"""
    flat = values.reshape(values.shape[0], -1)
    return flat[:, 0].copy() if (flat == flat[:, :1]).all() else None


def _plain(rank: int) -> dict[str, Any]:
    one, none = (1,) * rank, (0,) * rank
    return {"strides": one, "dilations": one, "pads_before": none, "pads_after": none}


Rule: TypeAlias = "Callable[[Walk, Node], Flow]"
RULES: dict[str, Rule] = {}
_INSTEAD = {
    "max_pool": ": the largest of several rates is no sum of spikes; train with average pooling, or strides",
    "leaky_relu": ": a rate is never negative; train with ReLU",
    "sigmoid": ": a rate grows in a straight line; train with ReLU",
    "tanh": ": a rate is never negative; train with ReLU",
    "gelu": ": a rate grows in a straight line; train with ReLU",
    "silu": ": a rate grows in a straight line; train with ReLU",
    "elu": ": a rate is never negative; train with ReLU",
    "layer_norm": ": it divides by what only all neurons together know; train with batch norm",
}
