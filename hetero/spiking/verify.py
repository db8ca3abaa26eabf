"""The same spiking network on several devices: the first step, layer and neuron at which one goes its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hetero.op import Array
from hetero.spiking.network import Network


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two runs part. All that the layer is given was still equal, so the layer itself makes the difference."""

    step: int
    layer: str
    neuron: tuple[int, ...]
    what: str  # the output or the state that differs first
    wanted: float
    found: float
    cause: str

    def __str__(self) -> str:
        place = ", ".join(map(str, self.neuron))
        values = f"{self.what} is {self.found:.9g}, not {self.wanted:.9g}"
        return f"step {self.step}, {self.layer}[{place}]: {values}; {self.cause}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One device against the first. `spikes` that were compared; `off` is the largest difference of a state, relative
    to the largest value of that state."""

    device: str
    divergence: Divergence | None
    spikes: int
    off: float

    @property
    def identical(self) -> bool:
        return self.divergence is None and self.off == 0.0


def compare(net: Network, device: str, wanted: Mapping[str, Array], found: Mapping[str, Array]) -> Verdict:
    """Records of all layers (`build(..., record=True)`). In float arithmetic a state may differ in its last places;
    a spike must not, nor may anything in integers."""
    strict = net.dtype.kind == "i"
    first: tuple[int, int, str, str] | None = None
    off, spikes = 0.0, 0
    for position, layer in enumerate(net.order):
        states = [f"{layer}.{s.name}" for s in net.layers[layer].states]
        spiking = net.layers[layer].kind.neuron and net.layers[layer].op not in ("li", "cuba_li", "i")
        for name in (*states, layer):
            a, b = wanted[name], found[name]
            counts = strict or (name == layer and (spiking or net.layers[layer].op == "threshold"))
            off = max(off, _off(a, b))
            spikes += int(np.count_nonzero(a)) if name == layer and spiking else 0
            steps = np.flatnonzero((a != b).reshape(len(a), -1).any(1)) if counts else np.zeros(0, np.int64)
            if len(steps) and (first is None or (int(steps[0]), position) < first[:2]):
                first = (int(steps[0]), position, layer, name)
    return Verdict(device, _divergence(net, first, wanted, found) if first else None, spikes, off)


def _off(a: Array, b: Array) -> float:
    largest = float(np.abs(a).max(initial=0))
    return float(np.abs(a.astype(np.float64) - b).max(initial=0)) / largest if largest else float((a != b).any())


def _divergence(
    net: Network, first: tuple[int, int, str, str], wanted: Mapping[str, Array], found: Mapping[str, Array]
) -> Divergence:
    step, _, layer, name = first
    a, b = wanted[name][step], found[name][step]
    neuron = tuple(int(i) for i in np.argwhere(a != b)[0])
    what = "the output" if name == layer else name.removeprefix(f"{layer}.")
    return Divergence(
        step, layer, neuron, what, float(a[neuron]), float(b[neuron]), _cause(net, layer, step, neuron, wanted, found)
    )


def _cause(
    net: Network, layer: str, step: int, neuron: Sequence[int], wanted: Mapping[str, Array], found: Mapping[str, Array]
) -> str:
    """What of the layer's step is off: a sum before it, its own arithmetic, or a voltage next to its threshold."""
    at = (step, *neuron)
    for e in net.into.get(layer, []):
        if e.source in net.layers and not e.delayed and wanted[e.source].shape == wanted[layer].shape:
            a, b = wanted[e.source][at], found[e.source][at]
            if a != b:
                return f"{e.source} brought {b:.9g}, not {a:.9g}: sums in another order, next to a threshold"
    states = [f"{layer}.{s.name}" for s in net.layers[layer].states]
    apart = [f"{n.removeprefix(layer + '.')} {found[n][at]:.9g} / {wanted[n][at]:.9g}" for n in states]
    return f"its inputs were equal, its arithmetic differs ({', '.join(apart) or net.layers[layer].op})"
