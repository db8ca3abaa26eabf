"""What quantising loses and saves: measured, by running the graph before and after on the same data.

The error of a layer is that of its output in the quantised graph, so it has in it what the layers before it lost. SQNR
is the signal-to-quantisation-noise ratio in dB: 10 log10 of the sum of squares of the original over the sum of squares
of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hetero.graph.ir import Graph
from hetero.op import Array


@dataclass(frozen=True, slots=True)
class LayerError:
    """One product. `weight_sqnr_db` is of its weights alone; `inputs` says what its activations are coded in, with
    scale and zero point of each; bytes are of weights and bias, with their scales, as they are stored."""

    name: str
    op: str
    weights: str
    inputs: str
    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    sqnr_db: float
    max_error: float
    weight_sqnr_db: float | None
    before_byte: int
    after_byte: int


@dataclass(frozen=True, slots=True)
class OutputError:
    """One output of the graph. `agreement`: the share of rows along its last axis of more than one place whose largest
    element is where the original has it."""

    name: str
    sqnr_db: float
    max_error: float
    agreement: float


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """`left` says what stayed in floats, and why. Errors are measured over `runs` runs of `data`."""

    name: str
    weights: str
    activations: str | None
    calibration: str
    data: str
    runs: int
    layers: tuple[LayerError, ...]
    outputs: tuple[OutputError, ...]
    before_byte: int  # of all constants of the graph
    after_byte: int
    left: tuple[str, ...] = ()
    label: str = "measured"

    @property
    def saved(self) -> float:
        """The part of the bytes that is gone."""
        return 1 - self.after_byte / self.before_byte if self.before_byte else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: an SQNR without any noise is None."""
        return _plain(asdict(self) | {"saved": self.saved})

    def __str__(self) -> str:
        from hetero.convert.quantize_text import words

        return words(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(slots=True)
class Noise:
    """Sums over runs."""

    signal: float = 0.0
    noise: float = 0.0
    worst: float = 0.0
    same: int = 0
    rows: int = 0

    def add(self, wanted: Array, found: Array) -> None:
        wanted, found = wanted.astype(np.float64), found.astype(np.float64)
        off = np.abs(found - wanted)
        self.signal += float(np.square(wanted).sum())
        self.noise += float(np.square(off).sum())
        self.worst = max(self.worst, float(off.max(initial=0)))

    def compare(self, wanted: Array, found: Array) -> None:
        """Where the largest element of each row is."""
        axis = next((i for i in reversed(range(wanted.ndim)) if wanted.shape[i] > 1), None)
        if axis is None or not wanted.size:
            return
        same = wanted.argmax(axis) == found.argmax(axis)
        self.same, self.rows = self.same + int(same.sum()), self.rows + same.size

    @property
    def sqnr_db(self) -> float:
        return sqnr_db(self.signal, self.noise)


def sqnr_db(signal: float, noise: float) -> float:
    """In dB; infinite without noise, and of no signal -inf."""
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


@dataclass(slots=True)
class Measured:
    """Of each recorded value and each output, by name."""

    layers: dict[str, Noise] = field(default_factory=dict[str, Noise])
    outputs: dict[str, Noise] = field(default_factory=dict[str, Noise])


def measure(
    before: Graph, after: Graph, recorded: Sequence[str], runs: Sequence[Mapping[str, Array]], device: str | None
) -> Measured:
    """Both graphs on all runs. `recorded` are outputs of both that stand for layers."""
    inner = set(recorded)
    found = Measured({n: Noise() for n in recorded}, {p.name: Noise() for p in before.outputs if p.name not in inner})
    for feed in runs:
        wanted, made = before.run(feed, device=device), after.run(feed, device=device)
        for name, noise in {**found.layers, **found.outputs}.items():
            noise.add(wanted[name], made[name])
            if name not in inner:
                noise.compare(wanted[name], made[name])
    return found


__all__ = ["LayerError", "Measured", "Noise", "OutputError", "QuantizeReport", "measure", "sqnr_db"]
