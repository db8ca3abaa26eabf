"""Writes NIR graphs: `to_nir(graph)` gives a nir.NIRGraph, `write(path, graph)` a file of one.

What comes from `from_nir` goes out as it came in: nodes, names, parameters, edges, graphs within graphs. What NIR has
no words for is refused, everything at once. dt and rule are in no NIR graph; whoever reads it says them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero import dtype as types
from hetero.convert.nir_file import INSTALL
from hetero.convert.nir_in import timed_edges
from hetero.convert.nir_nest import Nest
from hetero.convert.nir_nodes import NEURON_OF, same_padding
from hetero.errors import GraphError, ModelError
from hetero.graph.ir import Graph
from hetero.spiking.layers import Layer, Shape
from hetero.spiking.network import Network
from hetero.spiking.read import read

if TYPE_CHECKING:
    import nir

Node = tuple[str, Mapping[str, Any]]  # the name of a class of `nir`, and its arguments


def to_nir(graph: Graph, *, dt: float | None = None) -> nir.NIRGraph:
    """The spiking network of a graph as a nir.NIRGraph; a GraphError lists all that NIR cannot say.

    `dt`, the step in seconds, is only needed for delays in a network whose neurons do not say it.
    """
    return nir_of_network(read(graph), dt=dt)


def write(path: str | PathLike[str], graph: Graph, *, dt: float | None = None) -> None:
    """`to_nir`, in a file."""
    made = to_nir(graph, dt=dt)
    import nir

    try:
        nir.write(fspath(path), made)
    except OSError as e:
        raise ModelError(f"cannot write {fspath(path)}: {e}") from e


def nir_of_network(net: Network, *, dt: float | None = None) -> nir.NIRGraph:
    try:
        import nir
    except ImportError as e:
        raise ModelError("writing NIR wants the package nir", hint=INSTALL) from e
    net = net.check()
    writing = _Writing(net, dt)
    nodes = writing.nodes()
    nest = Nest(nodes, [(e.source, e.target) for e in net.edges], writing.shapes, writing.wrong)
    if writing.wrong:
        lines = "\n".join(f"  {w}" for w in writing.wrong)
        raise GraphError(f"{net.name} cannot be said in NIR:\n{lines}", hint="docs/nir.md says what can")
    return nest.build(nir)


class _Writing:
    """Layers as arguments of NIR's classes."""

    def __init__(self, net: Network, dt: float | None) -> None:
        self.net, self.wrong = net, list[str]()
        self.shapes: dict[str, Shape] = {**net.inputs, **{n: layer.shape for n, layer in net.layers.items()}}
        self.shapes |= {n: self.shapes[net.into[n][0].source] for n in net.outputs}
        self.dt = self._step(dt)
        self.late = self._edges()

    def _step(self, dt: float | None) -> float | None:
        """The one dt of all that has one."""
        asked = set[float]() if dt is None else {dt}
        found = sorted(asked | {layer.attrs["dt"] for layer in self.net.layers.values() if "dt" in layer.attrs})
        if len(found) > 1:
            self.wrong.append(f"steps of {', '.join(map(str, found))} s; who reads NIR says one for all layers")
        return found[0] if found else None

    def _edges(self) -> set[str]:
        """Delays that come out a step longer, since all their edges are delayed; other delayed edges open a loop."""
        net = self.net
        leaving: dict[str, set[bool]] = {}
        for e in net.edges:
            leaving.setdefault(e.source, set()).add(e.delayed)
        late = {n for n, layer in net.layers.items() if layer.op == "delay" and leaving.get(n) == {True}}
        longer = {n: _longer(layer) if n in late else layer for n, layer in net.layers.items()}
        again, _ = timed_edges([(e.source, e.target) for e in net.edges], net.inputs, longer)
        for e, read_again in zip(net.edges, again, strict=True):
            if e.delayed != read_again.delayed and e.source not in late:
                says = "is delayed, which NIR says by a Delay" if e.delayed else "would be read as delayed"
                self.wrong.append(f"the edge from {e.source} to {e.target} {says}")
        return late

    def nodes(self) -> dict[str, Node]:
        net = self.net
        made: dict[str, Node] = {n: ("Input", {"input_type": np.array(s, int)}) for n, s in net.inputs.items()}
        if not types.is_float(net.dtype):
            self.wrong.append(f"numbers are {net.dtype.name}; NIR's are floats")
        for name, layer in net.layers.items():
            node = self._node(name, layer)
            if node is not None:
                made[name] = node
        return made | {n: ("Output", {"output_type": np.array(self.shapes[n], int)}) for n in net.outputs}

    def _node(self, name: str, layer: Layer) -> Node | None:
        rule = _RULES.get(layer.op)
        if rule is None:
            self.wrong.append(f"{name}: NIR has no {layer.op}")
            return None
        said = [p for p, fits in _LIMITS.items() if p in layer.attrs and not fits(layer.attrs[p])]
        self.wrong += [f"{name}: NIR has no {p}={layer.attrs[p]!r}" for p in said]
        self.wrong += [f"{name}: NIR has no {state} that starts at a value" for state in layer.start]
        return rule(self, name, layer)

    def input_of(self, name: str) -> Shape:
        came = self.net.into.get(name, ())
        return self.shapes[came[0].source] if came else ()


def _longer(layer: Layer) -> Layer:
    return Layer(layer.name, layer.op, {"steps": layer.parameters["steps"] + np.int32(1)})


def _spike_reset(reset: Any) -> bool:
    return reset in ("value", "zero")


def _zero(value: Any) -> bool:
    return value == 0


_LIMITS: dict[str, Callable[[Any], bool]] = {
    "reset": _spike_reset, "strict": bool, "refractory": _zero, "exponent": _zero, "saturate": _zero
}  # fmt: skip


# -- a rule for each op ---------------------------------------------------------------------------------------

_NEURONS = {op: kind for kind, op in NEURON_OF.items()}


def _neuron(w: _Writing, name: str, layer: Layer) -> Node:
    fields = dict(layer.parameters)
    if layer.attrs.get("reset") == "zero":
        fields["v_reset"] = np.zeros_like(fields["v_reset"])
    return _NEURONS[layer.op], fields


def _threshold(w: _Writing, name: str, layer: Layer) -> Node:
    return "Threshold", layer.parameters


def _scale(w: _Writing, name: str, layer: Layer) -> Node:
    return "Scale", layer.parameters


def _dense(w: _Writing, name: str, layer: Layer) -> Node:
    return "Affine" if "bias" in layer.parameters else "Linear", layer.parameters


def _conv(w: _Writing, name: str, layer: Layer) -> Node | None:
    weight, a = layer.parameters["weight"], layer.attrs
    rank = weight.ndim - 2
    if rank > 2:
        w.wrong.append(f"{name}: NIR has convolutions over one or two axes, not {rank}")
        return None
    before, after = a["pads_before"], a["pads_after"]
    padding: Any = before
    if before != after:
        padding = "same"
        if (before, after) != same_padding(weight.shape[2:], a["dilations"]) or set(a["strides"]) != {1}:
            w.wrong.append(f"{name}: NIR has no padding of {before} before and {after} after")
    fields: dict[str, Any] = {"stride": a["strides"], "padding": padding, "dilation": a["dilations"]}
    shape: Any = w.input_of(name)[1:]
    if rank == 1:
        fields = {k: v if isinstance(v, str) else v[0] for k, v in fields.items()}
        shape = shape[0]
    bias = layer.parameters.get("bias", np.zeros(weight.shape[0], weight.dtype))  # NIR has no convolution without
    return f"Conv{rank}d", fields | {"input_shape": shape, "weight": weight, "groups": a["groups"], "bias": bias}


def _pool(w: _Writing, name: str, layer: Layer) -> Node | None:
    a = layer.attrs
    if len(a["kernel"]) != 2 or a["pads_before"] != a["pads_after"]:
        w.wrong.append(f"{name}: NIR has pools over two axes, padded alike before and after")
        return None
    fields = {"kernel_size": a["kernel"], "stride": a["strides"], "padding": a["pads_before"]}
    return "AvgPool2d" if a["mean"] else "SumPool2d", {k: np.array(v, int) for k, v in fields.items()}


def _flatten(w: _Writing, name: str, layer: Layer) -> Node:
    shape = {"input": np.array(w.input_of(name), int)}
    return "Flatten", {"input_type": shape, "start_dim": layer.attrs["start"], "end_dim": layer.attrs["end"]}


def _delay(w: _Writing, name: str, layer: Layer) -> Node | None:
    steps = (_longer(layer) if name in w.late else layer).parameters["steps"]
    if w.dt is None and steps.any():
        w.wrong.append(f"{name}: a delay in seconds; nothing says how long a step is: to_nir(graph, dt=...)")
        return None
    return "Delay", {"delay": (steps * (w.dt or 0.0)).astype(w.net.dtype)}


_RULES: dict[str, Callable[[_Writing, str, Layer], Node | None]] = {
    **dict.fromkeys(_NEURONS, _neuron), "threshold": _threshold, "synapse_scale": _scale, "synapse_dense": _dense,
    "synapse_conv": _conv, "sum_pool": _pool, "flatten": _flatten, "delay": _delay,
}  # fmt: skip

__all__ = ["nir_of_network", "to_nir", "write"]
