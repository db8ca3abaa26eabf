"""ReLU networks as spiking ones, by threshold balancing: `to_snn(graph, data)`.

A neuron that integrates its input without a leak, and from whose voltage a spike takes one threshold, spikes in a part
of the steps: relu(input) / threshold, as long as that is at most 1. Its threshold is the largest activation seen in
calibration data, but for the few above a percentile; it starts half a threshold up, so that what is left in it at the
end is as often too much as too little. The input is given as it is in each step; the last layer integrates. With
`loihi=True` neurons, inputs and readout are those that Loihi has (`snn_loihi`).

Sources: Diehl et al., IJCNN 2015 (balanced thresholds); Rueckauer et al., Frontiers in Neuroscience 11 (2017)
(percentiles, reset by subtraction, biases, batch norm); Kim et al., AAAI 2020 (a threshold for each channel); Bu, Ding,
Yu, Huang, AAAI 2022 (voltages at the start).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hetero.convert import snn_loihi, snn_rules
from hetero.convert.snn_layers import Rectified, Style, Thresholds, Walk
from hetero.errors import GraphError
from hetero.graph.build import compact
from hetero.graph.ir import Graph, Port, bind_sizes
from hetero.graph.passes import optimize
from hetero.op import Array
from hetero.spiking.build import build
from hetero.spiking.layers import Shape
from hetero.spiking.network import Network

if TYPE_CHECKING:
    from hetero.report.converted import Report

assert snn_rules  # importing it fills the table

Per = Literal["channel", "layer"]
Progress = Callable[[int, int], None]  # samples done, samples in all

BATCH = 64  # samples that an open batch dimension takes at once
STYLE = Style({"dt": 1.0, "rule": "exact", "reset": "subtract", "strict": False, "refractory": 0}, 1.0, 0.5)
CORRECTED = 32  # samples that corrections for Loihi are measured with, and steps of them as many as asked for
LEAST = 0.1  # of a layer's threshold: what the threshold of a channel is at least
MOST_RECORDED = 1 << 24  # spikes and inputs kept at once
LAST = ("softmax", "log_softmax", "argmax")  # what tells the same class before and after
BESIDE = ("cast", "reshape")  # what may stand among these


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """What a run gave: `values` (steps, n, *k) after each step, `counts` spikes of each neuron (n, *shape) by layer."""

    values: Array
    counts: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Converted:
    """A ReLU network and the spiking one made of it. `graph` is the original, optimised, without a last softmax or
    argmax, for a batch of fixed size; `value` is what of it the network takes as input; `source` is as it was given.
    `worth` says of a layer of neurons what a spike in each step stands for."""

    network: Network
    source: Graph
    graph: Graph
    value: int
    layers: tuple[Rectified, ...]
    steps: int
    calibrated: int  # samples that the thresholds come from
    worth: Mapping[str, Array]
    loihi: snn_loihi.Loihi | None = None  # None: floats, whose inputs are values

    def build(
        self, *, steps: int | str | None = None, batch: int | str | None = "batch", record: Collection[str] = ()
    ) -> Graph:
        """The loop over time, as `hetero.spiking.build.build`; without `steps` as many as were asked for."""
        return build(self.network, steps=self.steps if steps is None else steps, batch=batch, record=record)

    def prepare(self, data: Array, device: str | None = None) -> Array:
        """What the network is given in each step for samples (n, ...): (n, *shape)"""
        if self.value == self.graph.inputs[0].value:
            return _samples(self.graph, data)
        return _outputs(self.graph, [self.value], data, device)[0]

    def original(self, data: Array, device: str | None = None) -> Array:
        """The last value of the original for samples (n, ...): (n, *k)"""
        return _outputs(self.graph, [self.graph.outputs[0].value], data, device)[0]

    def activations(self, data: Array, device: str | None = None) -> dict[str, Array]:
        """What the original has where the network has neurons, by layer: (n, *shape) each."""
        found = _outputs(self.graph, [r.value for r in self.layers], data, device)
        return {r.name: a for r, a in zip(self.layers, found, strict=True)}

    def feed(self, x: Array, steps: int) -> Array:
        """Prepared samples (n, *shape) as the network takes them: (steps, n, *shape), spikes on Loihi"""
        if self.loihi is None:
            return np.broadcast_to(x, (steps, *x.shape))
        return snn_loihi.encode(x, self.loihi.most, steps)

    def sent(self, x: Array, steps: int) -> Array:
        """In how many steps each input of prepared samples is not 0, (n, *shape)"""
        return (x != 0) * steps if self.loihi is None else snn_loihi.encoded(x, self.loihi.most, steps)

    def run(
        self, data: Array, *, steps: int | None = None, device: str | None = None, progress: Progress | None = None
    ) -> Ran:
        """The network on samples (n, ...), each the same in all steps."""
        x, steps = self.prepare(data, device), self.steps if steps is None else steps
        names = [r.name for r in self.layers]
        (given,), (out,) = self.network.inputs, self.network.outputs
        each = steps * (sum(self.network.layers[n].size for n in names) + prod(self.network.inputs[given]) + 1)
        chunk = max(1, min(len(x), MOST_RECORDED // each))
        graph = self.build(steps=steps, batch=chunk, record=[*names, *[self.readout] * (self.loihi is not None)])
        values: list[Array] = []
        counts: dict[str, list[Array]] = {n: [] for n in names}
        for first in range(0, len(x), chunk):
            rows = _filled(x[first : first + chunk], chunk)
            made = graph.run({given: self.feed(rows, steps)}, device=device)
            kept = min(chunk, len(x) - first)
            values.append(self._values(made, out)[:, :kept])
            for n in names:
                counts[n].append(made[n][:, :kept].sum(axis=0))
            if progress is not None:
                progress(first + kept, len(x))
        return Ran(np.concatenate(values, axis=1), {n: np.concatenate(c) for n, c in counts.items()})

    @property
    def readout(self) -> str:
        """The layer that gives the last value."""
        return self.network.into[self.network.outputs[0]][0].source

    def _values(self, made: Mapping[str, Array], out: str) -> Array:
        """The last value after each step, (steps, n, *k)"""
        if self.loihi is not None:
            layer = self.network.layers[self.readout]
            return snn_loihi.decode(made[self.readout], made[f"{self.readout}.v"], layer, self.loihi.readout)
        far = np.arange(1, len(made[out]) + 1, dtype=np.float32)
        return made[out] / far.reshape(-1, *(1,) * (made[out].ndim - 1))

    def report(self, data: Array, labels: Array | None = None, **options: Any) -> Report:
        """How well the network does on samples that it was not calibrated with, and what that costs; see
        `hetero.report.converted.report`."""
        return import_module("hetero.report.converted").report(self, data, labels, **options)  # it stands above this


def to_snn(
    graph: Graph, data: Array, *, steps: int = 64, percentile: float = 99.9, per: Per = "channel",
    loihi: bool = False, device: str | None = None,
) -> Converted:  # fmt: skip
    """The spiking network of a ReLU network (`graph`, with one input whose first axis is the batch).

    data         (n, ...) inputs of the graph, which thresholds are measured on
    percentile   of the activations: the threshold; less makes neurons quicker and cuts more off
    per          one threshold for each channel (or neuron of a dense layer), or for each layer
    loihi        in Loihi's integers, with neurons that reset to zero: for `lava` and the chips, and a little less right

    A GraphError lists everything that has no spiking form.
    """
    _check(graph, data, steps, percentile, per)
    samples = np.asarray(data)
    _, special = of_batch(graph, samples, min(BATCH, len(samples)))
    special = optimize(special)
    if not special.static:
        raise GraphError(f"{graph.name} has shapes that depend on values", hint="export it with fixed shapes")
    plain = compact(replace(special, outputs=(Port("value", _last(special)),)))
    cut = [n.outputs[0] for n in plain.nodes if n.op.name in ("relu", "maximum", "minimum")]
    seen = dict(zip(cut, _outputs(plain, cut, samples, device), strict=True))
    thresholds = _balanced(seen, percentile, per)
    found = Walk(plain, thresholds, STYLE).run()
    _refuse(graph, found)
    if not loihi:
        return _converted(graph, plain, found, steps, len(samples))
    return _on_loihi(graph, plain, found, thresholds, samples, steps, device)


def _on_loihi(
    graph: Graph, plain: Graph, found: Walk, thresholds: Thresholds, samples: Array, steps: int, device: str | None
) -> Converted:
    floats = _converted(graph, plain, found, steps, len(samples))
    most = snn_loihi.most_of(floats.prepare(samples, device))
    readout = snn_loihi.readout_of(floats.original(samples, device))
    some = samples[:: -(-len(samples) // CORRECTED)]
    wanted = floats.activations(some, device)
    corrections: dict[str, float] = {}
    while True:  # a layer's spikes depend on the corrections before it
        walk = Walk(plain, thresholds, snn_loihi.STYLE, most, readout, dict(corrections)).run()
        _refuse(graph, walk)
        made = _converted(graph, plain, walk, steps, len(samples))
        network, errors = snn_loihi.on_loihi(made.network)
        made = replace(made, network=network, loihi=snn_loihi.Loihi(most, readout, errors))
        name = next((r.name for r in walk.rectified if r.name not in corrections), None)
        if name is None:
            return made
        said = made.run(some, device=device).counts[name] / steps * made.worth[name]
        corrections[name] = snn_loihi.correction(said, wanted[name])


def _refuse(graph: Graph, walk: Walk) -> None:
    if walk.wrong:
        lines = "\n".join(f"  {w}" for w in walk.wrong)
        problem = f"{graph.name} cannot become a spiking network:\n{lines}"
        raise GraphError(problem, hint="docs/convert.md says what can")


def _converted(graph: Graph, plain: Graph, walk: Walk, steps: int, samples: int) -> Converted:
    shape = walk.shape(walk.input_value)
    net = Network({walk.input: shape}, walk.layers, (walk.output,), tuple(walk.edges), name=f"{graph.name}_snn")
    factor = walk.corrections
    worth = {r.name: net.layers[r.name].parameters["v_threshold"] * factor.get(r.name, 1.0) for r in walk.rectified}
    return Converted(
        net.check(), graph, plain, walk.input_value, tuple(walk.rectified), steps, samples, worth
    )  # fmt: skip


def of_batch(graph: Graph, data: Array, batch: int) -> tuple[int, Graph]:
    """The graph for samples (n, ...) in batches of so many; of its own size where that is fixed."""
    (port,) = graph.inputs
    known = graph.types[port.value].shape or (batch,)
    batch = known[0] if isinstance(known[0], int) else batch
    sizes = bind_sizes(graph.input_types, {port.name: (batch, *data.shape[1:])})
    return batch, graph.specialize(sizes) if sizes or not graph.static else graph


def _check(graph: Graph, data: Array, steps: int, percentile: float, per: str) -> None:
    wrong: list[str] = []
    if len(graph.inputs) != 1:
        wrong.append(f"a graph with one input, not {len(graph.inputs)}: {', '.join(p.name for p in graph.inputs)}")
    if not graph.outputs:
        wrong.append("a graph with an output")
    if not len(np.shape(data)) or not len(data):
        wrong.append(f"data with at least one sample, not {np.shape(data)}")
    elif not np.isfinite(np.asarray(data, np.float64)).all():
        wrong.append("data without inf and nan")
    if steps < 1:
        wrong.append(f"1 step or more, not {steps}")
    if not 0 < percentile <= 100:
        wrong.append(f"a percentile above 0, up to 100, not {percentile}")
    if per not in ("channel", "layer"):
        wrong.append(f"thresholds per 'channel' or 'layer', not {per!r}")
    if wrong:
        raise GraphError(f"to_snn wants {'; '.join(wrong)}")


def _last(graph: Graph) -> int:
    """The value before softmax and argmax, from which all outputs are made."""
    found = {_before(graph, p.value) for p in graph.outputs}
    if len(found) > 1:
        names = ", ".join(p.name for p in graph.outputs)
        raise GraphError(f"{graph.name} gives several values: {names}", hint="export it with one output, the logits")
    return found.pop()


def _before(graph: Graph, value: int) -> int:
    at, kept = value, value
    while (node := graph.producer.get(at)) is not None and node.op.name in (*LAST, *BESIDE):
        at = node.inputs[0]
        kept = at if node.op.name in LAST else kept
    return kept


def _balanced(seen: Mapping[int, Array], percentile: float, per: Per) -> Thresholds:
    """Thresholds from activations (n, c, *s)."""

    def thresholds(r: Rectified, shape: Shape) -> Array:
        a = seen[r.value].astype(np.float64)
        over = a[a > 0]
        layer = float(np.percentile(a, percentile)) or float(over.max(initial=0.0)) or 1.0
        each = np.full(shape[0], layer)
        if per == "channel":
            rows = np.moveaxis(a, 1, 0).reshape(shape[0], -1)
            each = np.maximum(np.percentile(rows, percentile, axis=1), LEAST * layer)
        each = np.minimum(each, r.cap)
        return np.broadcast_to(each.reshape(-1, *(1,) * (len(shape) - 1)), shape)

    return thresholds


# -- running the original ---------------------------------------------------------------------------------------


def _samples(graph: Graph, data: Array) -> Array:
    """The data in the graph's dtype; refused where one sample has another shape."""
    (port,) = graph.inputs
    t = graph.types[port.value]
    given = np.asarray(data)
    if given.shape[1:] != t.known[1:]:
        raise GraphError(f"input {port.name} wants samples {t.known[1:]}, got {given.shape[1:]}")
    return given.astype(t.dtype)


def _outputs(graph: Graph, values: list[int], data: Array, device: str | None) -> list[Array]:
    """Values of a graph for any number of samples, batch by batch."""
    if not values:
        return []
    wanted = {f"v{k}": v for k, v in enumerate(dict.fromkeys(values))}
    probe = compact(replace(graph, outputs=tuple(Port(n, v) for n, v in wanted.items())))
    (port,) = graph.inputs
    x, batch = _samples(graph, data), int(graph.types[port.value].known[0])  # pyright: ignore[reportArgumentType]
    rows: list[dict[str, Array]] = []
    for first in range(0, len(x), batch):
        part = x[first : first + batch]
        made = probe.run({port.name: _filled(part, batch)}, device=device)
        rows.append({n: a[: len(part)] for n, a in made.items()})
    whole = {v: np.concatenate([r[n] for r in rows]) for n, v in wanted.items()}
    return [whole[v] for v in values]


def _filled(rows: Array, count: int) -> Array:
    """Rows up to `count`, the last one again and again."""
    missing = count - len(rows)
    return rows if not missing else np.concatenate((rows, np.repeat(rows[-1:], missing, axis=0)))


__all__ = ["Converted", "Ran", "to_snn"]
