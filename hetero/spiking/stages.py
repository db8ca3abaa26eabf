"""A loop over time as stages, the form that event-driven code runs: synapses that sum, then one elementwise body.

A stage adds up, for each of its synapses, the weights of the sources that are not zero; its body then makes its output
and its new states from these sums, from other values of its size, and from its states. Bodies are graphs of primitive
elementwise ops, taken apart by the ops' own decompositions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from threading import RLock
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.errors import GraphError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph, Node
from hetero.graph.passes import optimize
from hetero.graph.passes.decompose import decompose, nothing_whole
from hetero.op import OPS, Array, TensorType
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Edge, Network
from hetero.spiking.read import Loop, loop_of

SYNAPSES = ("synapse_dense", "synapse_sparse", "synapse_conv", "sum_pool")
MOST = 1 << 26  # synapses that a convolution is written out as


@dataclass(frozen=True, slots=True)
class Read:
    """A value of this step, or (`late`) of the one before: an input's, or a stage's output."""

    name: str
    late: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Synapses:
    """Weights from one value: dense (targets, sources), or one for each pair of `source` and `target`."""

    read: Read
    sources: int
    weight: Array
    source: Array | None = None
    target: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """`body` takes the sums, the `direct` values and the states; it gives the output and the states anew."""

    name: str
    size: int
    synapses: tuple[Synapses, ...]
    direct: tuple[Read, ...]
    states: tuple[str, ...]
    body: Graph


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """Stages in order. `carried` and `shown` name, for each state and each y of the loop, a stage and which of its
    results it is (0: the output, which as a state is that of the step before)."""

    inputs: dict[str, int]  # name -> elements of one sample
    stages: tuple[Stage, ...]
    carried: tuple[tuple[str, int], ...]
    shown: tuple[tuple[str, int], ...]
    dtype: dt.DType


def stages_of(loop: Loop) -> Stages:
    """The stages of a loop; a GraphError for layers that have no such form."""
    return _Staging(loop).run()


KEPT = 8  # loops whose stages are remembered: a backend asks for them when it is asked what it runs, and to compile
_kept: OrderedDict[tuple[Any, ...], tuple[Loop, Stages] | GraphError] = OrderedDict()
_lock = RLock()


def staged(node: Node) -> tuple[Loop, Stages]:
    """The network and the stages of a `scan` node, worked out once; a GraphError says why it has none."""
    a = node.attrs
    key = (a["body"].key, a["carried"], a["scanned"], a["reverse"])
    with _lock:
        if key not in _kept:
            try:
                loop = loop_of(node)
                _kept[key] = loop, stages_of(loop)
            except GraphError as e:
                _kept[key] = e
            if len(_kept) > KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        found = _kept[key]
    if isinstance(found, GraphError):
        raise GraphError(found.problem, hint=found.hint)
    return found


class _Staging:
    def __init__(self, loop: Loop) -> None:
        self.loop, self.net = loop, loop.network
        self.out: dict[str, list[Edge]] = {}
        for e in self.net.edges:
            if e.target in self.net.layers or ("", e.target) in loop.shown:
                self.out.setdefault(e.source, []).append(e)
        self.kept = {name for name, state in (*loop.carried, *loop.shown) if name and not state}
        self.alias = {n: e[0].source for n in self.net.layers if (e := self._flat(n))}
        self.merged = {n for n in self.net.layers if self._merges(n)}
        self.made: dict[str, Stage] = {}

    def _flat(self, name: str) -> list[Edge]:
        """The one edge into a layer that only renames elements."""
        edges = self.net.into.get(name, [])
        return edges if self.net.layers[name].op == "flatten" and len(edges) == 1 and not edges[0].delayed else []

    def _merges(self, name: str) -> bool:
        """Whether a synapse is only read, at once, by one layer that treats its elements alike."""
        edges = self.out.get(name, [])
        if self.net.layers[name].op not in SYNAPSES or name in self.kept or len(edges) != 1 or edges[0].delayed:
            return False
        target = self.net.layers.get(edges[0].target)
        return target is not None and target.kind.elementwise and target.op != "delay"

    def _real(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def _shape(self, name: str) -> Shape:
        return self.net.layers[name].shape if name in self.net.layers else self.net.inputs[name]

    def _read(self, e: Edge) -> Read:
        name = self._real(e.source)
        return Read(name if name in self.net.layers or not e.delayed else self._copy(name), e.delayed)

    def _copy(self, name: str) -> str:
        """A stage that keeps an input for the next step."""
        copied = f"{name} kept"
        self._stage(copied, prod(self._shape(name)), [], [Read(name)], None)
        return copied

    def run(self) -> Stages:
        for name in self.net.order:
            if name not in self.alias and name not in self.merged:
                self._layer(self.net.layers[name])
        shown = tuple(self._shown(k, name, state) for k, (name, state) in enumerate(self.loop.shown))
        carried = tuple(self._result(name, state) for name, state in self.loop.carried)
        inputs = {n: prod(s) for n, s in self.net.inputs.items()}
        return Stages(inputs, tuple(self.made.values()), carried, shown, self.net.dtype)

    def _result(self, name: str, state: str) -> tuple[str, int]:
        real = self._real(name)
        if real not in self.net.layers:
            return self._copy(real), 0
        return real, 1 + [s.name for s in self.net.layers[real].states].index(state) if state else 0

    def _shown(self, k: int, name: str, state: str) -> tuple[str, int]:
        if name:
            return self._result(name, state)
        edges = self.net.into[state]
        if len(edges) == 1 and not edges[0].delayed:
            return self._result(edges[0].source, "")
        name = f"sum {k}"
        self._stage(name, prod(self._shape(edges[0].source)), [], [self._read(e) for e in edges], None)
        return name, 0

    def _layer(self, layer: Layer) -> None:
        edges = self.net.into.get(layer.name, [])
        if layer.op in SYNAPSES:
            self._stage(layer.name, layer.size, [layer], [], None)
            return
        if not layer.kind.elementwise or layer.op == "delay":
            raise GraphError(f"{layer.name}: {layer.op} has no event-driven form")
        joined = [self.net.layers[s] for e in edges if (s := self._real(e.source)) in self.merged]
        direct = [self._read(e) for e in edges if self._real(e.source) not in self.merged]
        self._stage(layer.name, layer.size, joined, direct, layer)

    def _stage(
        self, name: str, size: int, synapses: Sequence[Layer], direct: Sequence[Read], layer: Layer | None
    ) -> None:
        if name in self.made:
            return
        builder = Builder(name, track=False)
        flat = TensorType((size,), self.net.dtype)
        parts = [[self._synapses(s, e) for e in self.net.into.get(s.name, [])] for s in synapses]
        sums = [[builder.input(f"sum{j}.{k}", flat) for k in range(len(p))] for j, p in enumerate(parts)]
        terms = [_after(builder, s, refs) for s, refs in zip(synapses, sums, strict=True) if refs]
        terms += [builder.input(f"direct{j}", flat) for j in range(len(direct))]
        x = terms[0] if terms else builder.constant(np.zeros(size, self.net.dtype))
        for more in terms[1:]:
            x = builder("add", x, more)
        results, states = _step(builder, layer, x) if layer else ((x,), ())
        body = optimize(decompose(builder.build(list(results)), nothing_whole))
        _check(name, body, size)
        flat_parts = tuple(p for part in parts for p in part)
        self.made[name] = Stage(name, size, flat_parts, tuple(direct), states, body)

    def _synapses(self, layer: Layer, e: Edge) -> Synapses:
        shape = self._shape(e.source)
        read, sources = self._read(e), prod(shape)
        if layer.op == "synapse_dense":
            if len(shape) != 1:
                raise GraphError(f"{layer.name}: a dense synapse of {shape} has no event-driven form")
            return Synapses(read, sources, layer.parameters["weight"])
        if layer.op == "synapse_sparse":
            p = layer.parameters
            return Synapses(read, sources, p["weight"], p["source"], p["target"])
        return Synapses(read, sources, *_written_out(layer, shape, self.net))


def _after(builder: Builder, layer: Layer, sums: Sequence[Ref]) -> Ref:
    """What a synapse makes of its sums: shifted, cut, a bias added."""
    y = sums[0]
    for more in sums[1:]:
        y = builder("add", y, more)
    exponent, saturate = layer.attrs.get("exponent", 0), layer.attrs.get("saturate", 0)
    if exponent:
        y = builder("left_shift" if exponent > 0 else "right_shift", y, abs(exponent))
    if saturate:
        most = 2 ** (saturate - 1) - 1
        y = builder("maximum", builder("minimum", y, most), -most)
    if layer.attrs.get("mean"):
        y = builder("multiply", y, 1 / prod(layer.attrs["kernel"]))
    bias = layer.parameters.get("bias")
    if bias is None:
        return y
    each = np.repeat(bias, prod(layer.shape[1:])) if layer.op == "synapse_conv" else bias
    return builder("add", y, builder.constant(each))


def _step(builder: Builder, layer: Layer, x: Ref) -> tuple[tuple[Ref, ...], tuple[str, ...]]:
    """The op of a layer on flat arrays."""
    states = layer.states
    given = [builder.input(s.name, x.type.with_dtype(s.dtype or x.type.dtype)) for s in states]
    parameters = [builder.constant(np.ascontiguousarray(p).reshape(-1)) for p in layer.parameters.values()]
    made = builder.emit(OPS[layer.op], [x, *given, *parameters], layer.attrs)
    return made, tuple(s.name for s in states)


def _check(name: str, body: Graph, size: int) -> None:
    for node in body.nodes:
        shape = body.types[node.outputs[0]].known
        if not node.op.elementwise or len(node.outputs) > 1 or shape not in ((size,), (1,), ()):
            raise GraphError(f"{name}: {node.op.name} has no event-driven form")


def _written_out(layer: Layer, shape: Shape, net: Network) -> tuple[Array, Array, Array]:
    """Weights, sources and targets of a convolution or a pool, one synapse for each product that it adds."""
    a = layer.attrs
    pool = layer.op == "sum_pool"
    channels = shape[0]
    weight = np.ones((channels, 1, *a["kernel"]), net.dtype) if pool else layer.parameters["weight"]
    groups = channels if pool else a["groups"]
    if layer.size * prod(weight.shape[1:]) > MOST:
        raise GraphError(f"{layer.name}: too many synapses to write out, {layer.size * prod(weight.shape[1:])}")
    spatial, out = shape[1:], layer.shape[1:]
    dilations = a.get("dilations", (1,) * len(spatial))
    rows: list[tuple[Array, Array, Array]] = []
    places = np.indices(out).reshape(len(out), -1)
    per_out, per_in = weight.shape[0] // groups, weight.shape[1]
    for o, c in product(range(weight.shape[0]), range(per_in)):
        for k in np.ndindex(*weight.shape[2:]):
            sized = zip(places, a["strides"], a["pads_before"], k, dilations, strict=True)
            at = np.array([p * s - b + i * d for p, s, b, i, d in sized])
            inside = ((at >= 0) & (at < np.array(spatial)[:, None])).all(0)
            channel = o // per_out * per_in + c
            source = np.ravel_multi_index((np.full(inside.sum(), channel), *at[:, inside]), shape)
            target = np.ravel_multi_index((np.full(inside.sum(), o), *places[:, inside]), layer.shape)
            rows.append((np.full(inside.sum(), weight[(o, c, *k)]), source, target))
    w, source, target = (np.concatenate(column) for column in zip(*rows, strict=True))
    return w.astype(net.dtype), source.astype(np.int32), target.astype(np.int32)


def by_source(synapses: Synapses, size: int, slices: int, team: int, chunk: int) -> tuple[Array, Array, Array]:
    """Sparse synapses by source, then slice of `chunk` targets, each cut in `team` parts, then target: (rows
    (sources * slices * team + 1,), targets from the start of their slice, weights). What one source sends to one
    target is one synapse."""
    source, target = synapses.source, synapses.target
    assert source is not None
    assert target is not None
    key = source.astype(np.int64) * size + target
    unique, where = np.unique(key, return_inverse=True)
    weight = np.zeros(len(unique), synapses.weight.dtype)
    np.add.at(weight, where, synapses.weight)
    from_, to = unique // size, unique % size
    row = from_ * slices * team + to // (chunk // team)
    rows = np.searchsorted(row, np.arange(synapses.sources * slices * team + 1))
    return rows.astype(np.int32), to % chunk, weight


def is_uniform(array: Any) -> bool:
    """Whether all elements are one number."""
    return array.size > 0 and bool((array == array.flat[0]).all())
