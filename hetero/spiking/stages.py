"""A loop over time as stages, the form that event-driven code runs: synapses that sum, then one elementwise body.

A stage adds up, for each of its synapses, the weights of the sources that are not zero; its body then makes its output
and its new states from these sums, from other values of its size, and from its states. Bodies are graphs of primitive
elementwise ops, taken apart by the ops' own decompositions. Delays are memory beside that: of what a stage gave in the
last steps, and of what is on its way to it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from threading import RLock
from typing import Any, Literal

import numpy as np

from hetero import dtype as dt
from hetero.errors import GraphError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph, Node
from hetero.graph.passes import optimize
from hetero.graph.passes.decompose import decompose, nothing_whole
from hetero.op import OPS, TensorType
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Edge
from hetero.spiking.read import Loop, loop_of
from hetero.spiking.synapses import RULES, Read, Synapses, written


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """`body` takes the sums, the `direct` values and the states; it gives the output and the states anew. `depth` steps
    of the output are remembered."""

    name: str
    size: int
    synapses: tuple[Synapses, ...]
    direct: tuple[Read, ...]
    states: tuple[str, ...]
    body: Graph
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What a loop carries or shows of a stage: its output of this step, the state `index` of its body, the outputs of
    its last steps (`past`, the newest first), or what is on its way by the synapses `index` (`coming`, the next first).
    """

    stage: str
    part: Literal["out", "state", "past", "coming"] = "out"
    index: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """Stages in order, and what each state and each y of a loop is; an output as a state is that of the step before."""

    inputs: dict[str, int]  # name -> elements of one sample
    stages: tuple[Stage, ...]
    carried: tuple[Kept, ...]
    shown: tuple[Kept, ...]
    dtype: dt.DType
    by_name: dict[str, Stage] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {s.name: s for s in self.stages})

    def depth(self, kept: Kept) -> int | None:
        """Steps that it is of; None: it has no axis for them."""
        stage = self.by_name[kept.stage]
        if kept.part == "coming":
            return stage.synapses[kept.index].depth
        return stage.depth if kept.part == "past" else None


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
                stages = stages_of(loop)
                _check_lines(node, stages)
                _kept[key] = loop, stages
            except GraphError as e:
                _kept[key] = e
            if len(_kept) > KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        found = _kept[key]
    if isinstance(found, GraphError):
        raise GraphError(found.problem, hint=found.hint)
    return found


def _check_lines(node: Node, stages: Stages) -> None:
    """Ops take lines that are longer than their longest delay; a network's are as long as it."""
    body: Graph = node.attrs["body"]
    for kept, port in zip(stages.carried, body.inputs, strict=False):
        depth = stages.depth(kept)
        if depth is not None and body.types[port.value].known[0] != depth:
            raise GraphError(f"{kept.stage}: a line that is not {depth} steps long has no event-driven form")


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
        self.places: dict[tuple[str, str], Kept] = {}  # (layer, its state; "": its output)

    def _flat(self, name: str) -> list[Edge]:
        """The one edge into a layer that only renames elements."""
        edges = self.net.into.get(name, [])
        return edges if self.net.layers[name].op == "flatten" and len(edges) == 1 and not edges[0].delayed else []

    def _merges(self, name: str) -> bool:
        """Whether a synapse is only read, at once, by one layer that treats its elements alike."""
        edges = self.out.get(name, [])
        if self.net.layers[name].op not in RULES or name in self.kept or len(edges) != 1 or edges[0].delayed:
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
        return Read(name if name in self.net.layers or not e.delayed else self._copy(name), int(e.delayed))

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

    def _result(self, name: str, state: str) -> Kept:
        real = self._real(name)
        return self.places[real, state] if real in self.net.layers else Kept(self._copy(real))

    def _shown(self, k: int, name: str, state: str) -> Kept:
        if name:
            return self._result(name, state)
        edges = self.net.into[state]
        if len(edges) == 1 and not edges[0].delayed:
            return self._result(edges[0].source, "")
        return Kept(self._sum(f"sum {k}", prod(self._shape(edges[0].source)), edges))

    def _sum(self, name: str, size: int, edges: Sequence[Edge], depth: int = 1) -> str:
        """A stage that only adds up what edges bring."""
        self._stage(name, size, [], [self._read(e) for e in edges], None, depth)
        return name

    def _layer(self, layer: Layer) -> None:
        edges = self.net.into.get(layer.name, [])
        if layer.op in RULES:
            self._stage(layer.name, layer.size, [layer], [], None)
        elif layer.op == "delay":
            self._delay(layer, edges)
        elif layer.kind.elementwise:
            joined = [self.net.layers[s] for e in edges if (s := self._real(e.source)) in self.merged]
            direct = [self._read(e) for e in edges if self._real(e.source) not in self.merged]
            self._stage(layer.name, layer.size, joined, direct, layer)
        else:
            raise GraphError(f"{layer.name}: {layer.op} has no event-driven form")
        self.places[layer.name, ""] = Kept(layer.name)

    def _delay(self, layer: Layer, edges: Sequence[Edge]) -> None:
        """A stage that remembers what comes, and one that reads it."""
        steps = np.broadcast_to(layer.parameters["steps"], layer.shape).reshape(-1)
        if steps.min(initial=0) < 0:
            raise GraphError(f"{layer.name}: a delay of {steps.min()} steps has no event-driven form")
        line = self._sum(f"{layer.name} line", layer.size, edges, int(steps.max(initial=0)))
        late = int(steps[0]) if is_uniform(steps) else np.ascontiguousarray(steps)
        self._stage(layer.name, layer.size, [], [Read(line, late)], None)
        self.places[layer.name, "line"] = Kept(line, "past")

    def _stage(
        self, name: str, size: int, synapses: Sequence[Layer], direct: Sequence[Read], layer: Layer | None,
        depth: int = 1,
    ) -> None:  # fmt: skip
        if name in self.made:
            return
        builder = Builder(name, track=False)
        flat = TensorType((size,), self.net.dtype)
        parts = [self._parts(s) for s in synapses]
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
        self.made[name] = Stage(name, size, flat_parts, tuple(direct), states, body, depth)
        self.places |= {(name, state): Kept(name, "state", k) for k, state in enumerate(states)}
        first = 0
        for s, part in zip(synapses, parts, strict=True):
            if s.states:
                self.places[s.name, "line"] = Kept(name, "coming", first)
            first += len(part)

    def _parts(self, layer: Layer) -> list[Synapses]:
        """The synapses of a layer, by edge; one with a line has one of all that comes."""
        edges = self.net.into.get(layer.name, [])
        if layer.states and len(edges) != 1:
            size = layer.parameters["weight"].shape[1]
            return [written(layer, (size,), Read(self._sum(f"{layer.name} in", size, edges)))]
        return [written(layer, self._shape(e.source), self._read(e)) for e in edges]


def _after(builder: Builder, layer: Layer, sums: Sequence[Ref]) -> Ref:
    """What a synapse makes of its sums: shifted, cut, a bias added."""
    y = sums[0]
    for more in sums[1:]:
        y = builder("add", y, more)
    exponent, saturate = layer.attrs.get("exponent", 0), layer.attrs.get("saturate", 0)
    if exponent and not layer.states:  # before a line: `written`
        y = builder("left_shift" if exponent > 0 else "right_shift", y, abs(exponent))
    if saturate:
        most = 2 ** (saturate - 1) - 1
        y = builder("maximum", builder("minimum", y, most), -most)
    if layer.attrs.get("mean"):
        y = builder("multiply", y, 1 / prod(layer.attrs["kernel"]))
    for op, parameter in (("multiply", "scale"), ("add", "bias")):
        if parameter in layer.parameters:
            each = np.repeat(layer.parameters[parameter], prod(layer.shape[1:]))  # a channel's elements share it
            y = builder(op, y, builder.constant(each))
    return y


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


def is_uniform(array: Any) -> bool:
    """Whether all elements are one number."""
    return array.size > 0 and bool((array == array.flat[0]).all())
