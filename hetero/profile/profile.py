"""The profile of a device: what it can do, how fast, for which energy, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from hetero.profile.quantity import Interval, Quantity


@dataclass(frozen=True, slots=True)
class Source:
    """A document that values come from."""

    title: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Support:
    """Which ops a device runs: all, or those of `run` (op names and op kinds), but never those of `refuse`."""

    run: tuple[str, ...] | None = None  # None: all
    refuse: tuple[str, ...] = ()

    def runs(self, *labels: str) -> bool:
        """Whether an op with these labels (its name, its kind) runs."""
        return not any(x in self.refuse for x in labels) and (self.run is None or any(x in self.run for x in labels))


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The part of the peaks that ops of a class reach, for a dtype and a range of sizes.

    `size` is (low, high) of log2 of the work in ops, high excluded; None is every size. `op_class` and `dtype` may be
    "*". `compute` and `memory` are parts of the peak and of the memory bandwidth; `launch_s` replaces the profile's.
    """

    op_class: str
    dtype: str = "*"
    size: tuple[int, int] | None = None
    compute: Quantity | None = None
    memory: Quantity | None = None
    launch_s: Quantity | None = None

    def fits(self, op_class: str, dtype: str, log2_op: float) -> bool:
        if self.op_class not in ("*", op_class) or self.dtype not in ("*", dtype):
            return False
        return self.size is None or self.size[0] <= log2_op < self.size[1]


@dataclass(frozen=True, slots=True)
class Spiking:
    """What events cost on a chip that computes with spikes. Static power is the profile's, never in these."""

    joule_per_synaptic_event: Quantity | None = None
    joule_per_neuron_update: Quantity | None = None
    joule_per_idle_update: Quantity | None = None  # of a neuron that gets no event in the step
    joule_per_spike: Quantity | None = None
    joule_per_hop: Quantity | None = None
    second_per_synaptic_event: Quantity | None = None  # one core
    second_per_neuron_update: Quantity | None = None  # one core
    synaptic_event_per_s: Quantity | None = None  # the whole device at most
    step_s: Quantity | None = None
    max_neurons: Quantity | None = None
    max_synapses: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of device. A value that nobody published is None; every other one says where it comes from.

    Peaks are dense (no sparsity counted in) and 1 multiply-add is 2 ops. `static_w` is drawn whenever the device is
    on, `active_w` is the whole power under full load (static_w is part of it); `joule_per_op` and `joule_per_byte` are
    dynamic energy only.
    """

    name: str
    title: str
    kind: str
    year: int
    dtypes: tuple[str, ...]
    sources: Mapping[str, Source] = field(hash=False)
    peak_op_per_s: Mapping[str, Quantity] = field(hash=False)
    memory_byte: Quantity | None = None
    memory_byte_per_s: Quantity | None = None
    launch_s: Quantity | None = None
    static_w: Quantity | None = None
    active_w: Quantity | None = None
    joule_per_op: Mapping[str, Quantity] = field(default_factory=dict[str, Quantity], hash=False)
    joule_per_byte: Quantity | None = None
    convert_byte_per_s: Quantity | None = None
    efficiency: tuple[Efficiency, ...] = ()
    support: Support = Support()
    limits: Mapping[str, Quantity] = field(default_factory=dict[str, Quantity], hash=False)
    spiking: Spiking | None = None
    remarks: str = ""

    def runs(self, *labels: str) -> bool:
        """Whether an op with these labels (its name, its kind) runs here."""
        return self.support.runs(*labels)

    def efficiency_of(self, op_class: str, dtype: str, log2_op: float) -> Efficiency | None:
        """The row of the efficiency table that says most about such an op: class before dtype before size."""
        rows = [r for r in self.efficiency if r.fits(op_class, dtype, log2_op)]
        return max(rows, key=_closeness, default=None)

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every value of the profile with its key path."""
        for f in fields(self):
            yield from _walk(f.name, getattr(self, f.name))

    @property
    def dynamic_w(self) -> Interval | None:
        """The power that full load adds to static_w. Powers of different scopes (a chip's load, a board's idling) do
        not subtract cleanly: the high end is then the whole of active_w."""
        if self.active_w is None:
            return None
        load = self.active_w.interval
        if self.static_w is None:
            return load
        idle, same = self.static_w.interval, self.static_w.scope == self.active_w.scope
        mid = max(0.0, load.mid - idle.mid)
        return Interval(max(0.0, load.low - idle.high), mid, max(mid, load.high - idle.low) if same else load.high)

    @property
    def best_dtype(self) -> str | None:
        """The dtype with the highest peak."""
        return max(self.peak_op_per_s, key=lambda d: self.peak_op_per_s[d].value, default=None)


def _closeness(row: Efficiency) -> tuple[bool, bool, bool]:
    return row.op_class != "*", row.dtype != "*", row.size is not None


def _walk(path: str, value: object) -> Iterator[tuple[str, Quantity]]:
    if isinstance(value, Quantity):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(f"{path}.{key}", item)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _walk(f"{path}[{i}]", item)
    elif isinstance(value, Efficiency | Spiking):
        for f in fields(value):
            yield from _walk(f"{path}.{f.name}", getattr(value, f.name))
