"""Reads NIR graphs (https://neuroir.org): `from_nir(path_or_graph, dt=..., rule=...)` gives a Graph, or one ModelError.

NIR says equations in continuous time. How long a step is and how a step integrates is therefore asked for; docs/nir.md
has the table of nodes and what else is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero import dtype as types
from hetero.convert.nir_fields import Fields, Shape
from hetero.convert.nir_file import INSTALL, read_file, read_object
from hetero.convert.nir_loops import delayed_edges, loops
from hetero.convert.nir_nodes import FORMS, NEURON_OF, Timing, own_input, unknown_fields
from hetero.convert.nir_tree import Flat, flatten, item
from hetero.errors import GraphError, HeteroError, ModelError
from hetero.graph.ir import Graph
from hetero.ops.neuron import check_attributes
from hetero.spiking.build import build
from hetero.spiking.layers import Layer, shape_after
from hetero.spiking.network import Edge, Network

if TYPE_CHECKING:
    import nir


def from_nir(
    source: str | PathLike[str] | nir.NIRGraph,
    *,
    dt: float,
    rule: str,
    reset: str = "value",
    strict: bool = True,
    steps: int | str = "time",
    batch: int | str | None = None,
    record: Collection[str] | bool = (),
) -> Graph:
    """The network as one loop over time: inputs (steps, [batch,] *shape) -> outputs (steps, [batch,] *shape).

    `dt` is the step in seconds, `rule` "euler" or "exact"; as in `hetero.ops.neuron`. A spike is v > v_threshold and
    leaves v_reset, as NIR has it, unless `strict` and `reset` say otherwise. `steps`, `batch` and `record` are those of
    `hetero.spiking.build.build`. Whatever is wrong, or not covered, is told in one ModelError before anything runs.
    """
    net = network_from_nir(source, dt=dt, rule=rule, reset=reset, strict=strict)
    return build(net, steps=steps, batch=batch, record=record)


def network_from_nir(
    source: str | PathLike[str] | nir.NIRGraph, *, dt: float, rule: str, reset: str = "value", strict: bool = True
) -> Network:
    """The network itself, graphs within graphs made flat: their layers are called `outer/inner`."""
    dt = float(dt) if isinstance(dt, int | np.integer | np.floating) and not isinstance(dt, bool) else dt
    check_attributes("from_nir", dt=dt, rule=rule, reset=reset, strict=strict)
    if isinstance(source, str | PathLike):
        data, called = read_file(source), str(source)
    else:
        data, called = _object(source), "the NIRGraph"
    wrong: list[str] = []
    try:
        root = item(data, "", wrong)
        if root.kind != "NIRGraph" and not wrong:
            raise ModelError(f"{called} holds a {root.kind[:40]}, not a NIRGraph", hint="nir.NIRGraph.from_list(node)")
        flat = flatten(root, wrong) if not wrong else Flat()
        net = _Reading(flat, Timing(dt, rule, reset, strict), wrong).network(called) if not wrong else None
    except (RecursionError, MemoryError) as e:
        raise ModelError(f"{called} is damaged or hostile: {e or type(e).__name__}") from e
    if wrong or net is None:
        raise ModelError(_list(called, wrong), hint="docs/nir.md says what is covered")
    try:
        return net.check()
    except GraphError as e:
        raise ModelError(f"{called}: {e.problem}", hint=e.hint) from e


def _object(source: Any) -> dict[str, Any]:
    try:
        import nir
    except ImportError as e:
        raise ModelError("reading NIR wants the package nir", hint=INSTALL) from e
    if not isinstance(source, nir.NIRGraph):
        raise ModelError(
            f"from_nir takes a path or a nir.NIRGraph, not {type(source).__name__}", hint="nir.NIRGraph.from_list(node)"
        )
    return read_object(source)


def _list(called: str, problems: list[str]) -> str:
    shown = problems[:100] + [f"and {len(problems) - 100} more"] * (len(problems) > 100)
    return f"{called} cannot be imported:\n" + "\n".join(f"  {p}" for p in shown)


class _Reading:
    """A flat graph on its way to a network. Shapes go from the inputs along all edges, those of loops too."""

    def __init__(self, flat: Flat, timing: Timing, wrong: list[str]) -> None:
        self.flat, self.timing, self.wrong = flat, timing, wrong
        self.layers: dict[str, Layer] = {}
        self.given: dict[str, Shape] = {}  # layer or output -> one sample of what comes to it
        self.bad: set[str] = set()
        self.after: dict[str, list[str]] = {}
        for a, b in flat.edges:
            self.after.setdefault(a, []).append(b)
        self.todo: deque[str] = deque()

    def network(self, called: str) -> Network | None:
        if not self.flat.inputs or not self.flat.outputs:
            self.wrong.append("a network has inputs and outputs; this one has " +
                              f"{len(self.flat.inputs)} and {len(self.flat.outputs)}")  # fmt: skip
            return None
        self._known_kinds()
        if self.wrong:
            return None
        inputs = {name: self._input(name) for name in self.flat.inputs}
        for name in self.flat.layers:
            self._run()
            own = own_input(self._fields(name)) if name not in self.given else None
            if own is not None:
                self._came(name, own, "")
        self._run()
        self._outputs()
        if self.wrong:
            return None
        edges = self._edges()
        name = "network"
        return Network(inputs, self.layers, tuple(self.flat.outputs), edges, types.float32, name)

    def _fields(self, name: str) -> Fields:
        return Fields(name, self.flat.layers[name], self.wrong)

    def _known_kinds(self) -> None:
        for name, node in self.flat.layers.items():
            if node.kind not in FORMS:
                self.wrong.append(f"{name} is a {node.kind[:40]}, which hetero does not know")
            else:
                unknown_fields(self._fields(name), FORMS[node.kind])

    # -- shapes -----------------------------------------------------------------------------------------------

    def _input(self, name: str) -> Shape:
        f = Fields(name, self.flat.inputs[name], self.wrong)
        shape = f.shape("shape", "input_type")
        if shape is None and f.fine:
            ways = [own_input(self._fields(n)) for n in self.after.get(name, ()) if n in self.flat.layers]
            shape = next((s for s in ways if s is not None), None)
            if shape is None:
                f.refuse("no shape, and none follows from where it leads")
        if shape is not None:
            self._send(name, shape)
        return shape or ()

    def _send(self, source: str, shape: Shape) -> None:
        for target in self.after.get(source, ()):
            self._came(target, shape, source)

    def _came(self, target: str, shape: Shape, source: str) -> None:
        known = self.given.setdefault(target, shape)
        if known != shape and target not in self.bad:
            self.bad.add(target)
            self.wrong.append(f"what comes to {target} has shapes {known} and {shape}, the latter from {source}")
        if target in self.flat.layers and target not in self.layers and target not in self.bad:
            self.todo.append(target)

    def _run(self) -> None:
        while self.todo:
            name = self.todo.popleft()
            if name in self.layers or name in self.bad:
                continue
            shape = self._layer(name, self.given[name])
            if shape is None:
                self.bad.add(name)
            else:
                self._send(name, shape)

    def _layer(self, name: str, x: Shape) -> Shape | None:
        """One sample of the output of a layer, which is then known."""
        f = self._fields(name)
        layer = FORMS[f.item.kind].make(f, x, self.timing)
        if layer is None or not f.fine:
            return None
        if layer.kind.rank(layer) != len(x):
            f.refuse(f"takes {layer.kind.rank(layer)} axes, but what comes has shape {x}")
            return None
        try:
            shape = shape_after(layer, x, types.float32)
        except HeteroError as e:
            f.refuse(" ".join(e.problem.split()))
            return None
        self.layers[name] = layer
        return shape

    def _outputs(self) -> None:
        for name, node in self.flat.outputs.items():
            f = Fields(name, node, self.wrong)
            said, made = f.shape("shape", "output_type"), self.given.get(name)
            if made is None and not self.bad and not self.wrong:
                f.refuse("nothing comes to it")
            elif said is not None and made is not None and said != made and not self.wrong:
                f.refuse(f"has shape {said}, but what comes has shape {made}")
        lost = [n for n in self.flat.layers if n not in self.layers and n not in self.bad]
        if lost and not self.wrong:
            self.wrong.append(f"no shape follows for what comes to {', '.join(lost[:10])}")

    # -- edges ------------------------------------------------------------------------------------------------

    def _edges(self) -> tuple[Edge, ...]:
        still = {n for n in self.layers if n not in _neurons(self.layers) and n not in _delays(self.layers)}
        if left := loops([e for e in self.flat.edges if still.issuperset(e)]):
            self.wrong.append(f"a loop without a neuron in it: {', '.join(left[:10])}")
            return ()
        edges, late = timed_edges(self.flat.edges, self.flat.inputs, self.layers)
        for name in late:
            steps = self.layers[name].parameters["steps"] - np.int32(1)
            self.layers[name] = Layer(name, "delay", {"steps": steps})
        return edges


def _neurons(layers: Mapping[str, Layer]) -> set[str]:
    return {n for n, layer in layers.items() if layer.op in NEURON_OF.values()}


def _delays(layers: Mapping[str, Layer]) -> set[str]:
    """Delays of one step or more."""
    return {n for n, layer in layers.items() if layer.op == "delay" and layer.parameters["steps"].all()}


def timed_edges(
    edges: Collection[tuple[str, str]], inputs: Collection[str], layers: Mapping[str, Layer]
) -> tuple[tuple[Edge, ...], set[str]]:
    """The edges, those that open a loop delayed, and the delays whose last step is thereby done by their edges."""
    delays = _delays(layers)
    found = delayed_edges(edges, inputs, _neurons(layers), delays)
    return tuple(Edge(a, b, (a, b) in found) for a, b in edges), {a for a, _ in found} & delays


__all__ = ["from_nir", "network_from_nir"]
