"""A network run step by step as on a chip, by the references of its ops, with all that happens counted.

What comes out is what the ops say, bit for bit; a chip adds what it cannot hold (`hetero.chip.limits`), and what its
spikes cost. Layers run as the network says: a chip takes a tick for a connection, which only a delayed edge stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hetero.chip import widths
from hetero.chip.energy import Bill, Events, bill
from hetero.chip.mapping import Mapped
from hetero.chip.synapses import is_neuron
from hetero.errors import FOREIGN, BackendError, HeteroError, from_foreign
from hetero.graph.ir import Graph, Node
from hetero.op import Array
from hetero.ops.loihi import TOP
from hetero.spiking.layers import KINDS


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What happened in a run and what it cost. All of it is simulated, nothing measured.

    `spikes` counts those of each input and neuron over all steps and samples, numbered as in `mapped.of`. A batch is
    run sample by sample: its ticks add up.
    """

    mapped: Mapped
    events: Events
    bill: Bill
    spikes: Array
    label: str = "simulated"


def run_graph(
    graph: Graph, mapped: Mapping[tuple[int, ...], Mapped], inputs: Sequence[Array]
) -> tuple[tuple[Array, ...], Run | None]:
    """Outputs of a graph whose loops, found by their outputs, are on a chip, and the run of the last of them."""
    run: Run | None = None
    values: dict[int, Array] = dict(graph.constants)
    values |= {p.value: a for p, a in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        given = tuple(values[i] for i in node.inputs)
        if node.outputs in mapped:
            made, run = simulate(mapped[node.outputs], node, given)
        else:
            made = _evaluate(node, given)
        values |= dict(zip(node.outputs, made, strict=True))
    return tuple(values[p.value].copy() for p in graph.outputs), run


def simulate(mapped: Mapped, loop: Node, inputs: Sequence[Array]) -> tuple[tuple[Array, ...], Run]:
    """What a `scan` node gives for its inputs, and the run. `mapped` is the loop's own network on a chip."""
    steps = _Steps(mapped, loop)
    _refuse_graded(mapped, inputs[int(loop.attrs["carried"]) :])
    carried, scanned = int(loop.attrs["carried"]), int(loop.attrs["scanned"])
    state, xs = list(inputs[:carried]), inputs[carried : carried + scanned]
    rows: list[list[Array]] = []
    for t in range(len(xs[0])):
        made = steps(state, [x[t] for x in xs])
        state = made[:carried]
        rows.append(made[carried:])
    if rows:
        stacked = [np.stack(column) for column in zip(*rows, strict=True)]
    else:
        body: Graph = loop.attrs["body"]
        types = [body.types[p.value] for p in body.outputs[carried:]]
        stacked = [np.zeros((0, *t.known), t.dtype) for t in types]  # pyright: ignore[reportArgumentType]
    events = steps.events(len(xs[0]))
    return (*(np.array(s) for s in state), *stacked), Run(mapped, events, bill(mapped.chip, events), steps.spikes)


def _refuse_graded(mapped: Mapped, xs: Sequence[Array]) -> None:
    """Input values that are no spikes, on a chip whose spikes are 0 and 1; or that have too many bits."""
    for (name, top), x in zip(widths.input_tops(mapped.net, mapped.chip), xs, strict=False):
        if x.size and (int(x.min()) < 0 or int(x.max()) > top):
            raise BackendError(
                f"{mapped.chip.name}: input {name} goes from {int(x.min())} to {int(x.max())}, and takes 0 to {top}",
                hint="quantise the data as the network is (hetero.convert.activations), or shift it to start at 0",
            )
    if mapped.chip.limit("spike_bits") != 1:
        return
    wrong = [n for n, x in zip(mapped.net.inputs, xs, strict=False) if ((x != 0) & (x != 1)).any()]
    if wrong:
        raise BackendError(
            f"{mapped.chip.name}: its spikes are 0 and 1, yet {' and '.join(wrong)} has other values",
            hint="give spikes, or use loihi2, whose spikes are graded",
        )


class _Steps:
    """The body of a loop, run node by node; counts as it goes."""

    def __init__(self, mapped: Mapped, loop: Node) -> None:
        self.mapped = mapped
        self.body: Graph = loop.attrs["body"]
        nodes = [n for n in self.body.nodes if n.op.name in KINDS]  # in the order of the network's layers
        layers = list(mapped.net.layers.values())
        self._neurons = {n.outputs[0]: a for n, a in zip(nodes, layers, strict=True) if is_neuron(a)}
        self._carried = int(loop.attrs["carried"])
        self._inputs = list(mapped.net.inputs)
        self._small = mapped.chip.limit("leak_bits") is not None  # a neuron that is loihi_lif as long as v is not cut
        self._per_core = np.zeros(mapped.reach.shape[1], np.int64)
        for p in mapped.layers:
            self._per_core[p.first_core : p.first_core + p.parts.cores] = p.parts.neurons
        s = mapped.chip.spiking
        each = s.second_per_synaptic_event, s.second_per_neuron_update
        self._cost = [1.0, 0.0] if each[0] is None else [q.value if q else 0.0 for q in each]
        self.spikes = np.zeros(mapped.reach.shape[0], np.int64)
        self._idle = self._synaptic = self._samples = 0
        self._busiest = np.zeros(2, np.int64)

    def __call__(self, state: Sequence[Array], xs: Sequence[Array]) -> list[Array]:
        values: dict[int, Array] = dict(self.body.constants)
        values |= {p.value: a for p, a in zip(self.body.inputs, (*state, *xs), strict=True)}
        fired = {n: np.asarray(x) for n, x in zip(self._inputs, xs, strict=True)}
        for node in self.body.nodes:
            made = _evaluate(node, tuple(values[i] for i in node.inputs))
            values |= dict(zip(node.outputs, made, strict=True))
            layer = self._neurons.get(node.outputs[0])
            if layer is not None:
                fired[layer.name] = made[0]
                self._idle += made[0].size - int(np.count_nonzero(values[node.inputs[0]]))
                if self._small and layer.op == "loihi_lif":
                    self._refuse_cut(layer.name, made[-1])
        self._count(fired)
        return [values[p.value] for p in self.body.outputs]

    def _count(self, fired: dict[str, Array]) -> None:
        """One step: spikes (samples, inputs and neurons) and what they set off in each core."""
        of = self.mapped.of
        flat = {n: (a != 0).reshape(-1, of[n].stop - of[n].start) for n, a in fired.items()}
        self._samples = max(len(a) for a in flat.values())
        spikes = np.zeros((self._samples, len(self.spikes)), np.int64)
        for n, a in flat.items():
            spikes[:, of[n]] = a
        self.spikes += spikes.sum(axis=0)
        per_core = np.asarray(spikes @ self.mapped.reach).astype(np.int64)
        self._synaptic += int(per_core.sum())
        if per_core.shape[1]:
            busy = np.argmax(per_core * self._cost[0] + self._per_core * self._cost[1], axis=1)
            self._busiest += [int(per_core[np.arange(len(busy)), busy].sum()), int(self._per_core[busy].sum())]

    def _refuse_cut(self, name: str, v: Array) -> None:
        if v.size and (int(v.min()) <= 1 - TOP or int(v.max()) >= TOP - 1):
            raise BackendError(
                f"{self.mapped.chip.name}: a potential of layer {name} reached the end of Loihi's range, where the two "
                "chips differ",
                hint="run it on loihi, or give the layer less inhibition",
            )

    def events(self, steps: int) -> Events:
        ticks = steps * self._samples
        neurons = self.mapped.neurons
        outputs = sum(int(self.spikes[self.mapped.of[p.name]].sum()) for p in self.mapped.layers)
        far = 0 if self.mapped.hops is None else int(self.spikes @ self.mapped.hops)
        busiest = int(self._busiest[0]), int(self._busiest[1])
        return Events(ticks, ticks * neurons, self._idle, outputs, self._synaptic, far, busiest)


def _evaluate(node: Node, inputs: tuple[Array, ...]) -> Sequence[Array]:
    try:
        return node.op.evaluate(inputs, node.attrs)
    except HeteroError as e:
        raise e.at(node.label) from e.__cause__
    except FOREIGN as e:
        raise from_foreign(node.label, e) from e
