"""What is assumed of a device where its profile is silent: the part of the peaks that each class of op reaches, by
kind of device, and launch times and powers. All of it is estimated, and the intervals are wide.

The parts are what published measurements commonly show (MLPerf, vendors' libraries, roofline studies): matrix
products reach the most of a peak, depthwise convolutions little of it, copies most of a bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hetero.profile.quantity import Interval, Quantity, interval

UNCERTAINTY = 0.5  # relative, of every efficiency here


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of device: launch time, powers, and how far its (compute, memory) parts lie above or below a GPU's."""

    launch_s: float
    static_w: float
    active_w: float
    memory_byte_per_s: float
    compute: float = 1.0
    memory: float = 1.0


KINDS: Mapping[str, Kind] = {
    "gpu": Kind(5e-6, 50.0, 300.0, 1e12),
    "cpu": Kind(2e-6, 40.0, 120.0, 50e9, compute=1.2, memory=0.8),
    "npu": Kind(20e-6, 0.5, 5.0, 30e9, compute=0.7),
    "tpu": Kind(10e-6, 60.0, 200.0, 1e12, compute=0.9),
    "soc": Kind(10e-6, 5.0, 30.0, 60e9, compute=0.7, memory=0.8),
    "mcu": Kind(1e-6, 0.01, 0.1, 200e6, compute=0.9, memory=0.8),
    "neuromorphic": Kind(1e-6, 0.1, 1.0, 1e9),
    "wafer": Kind(1e-6, 10e3, 20e3, 1e15),
    "system": Kind(10e-6, 500.0, 4000.0, 10e12, compute=0.8),
    "sensor": Kind(1e-6, 0.1, 0.5, 100e6, compute=0.5, memory=0.5),
}  # fmt: skip

# class -> part of the peak, part of the memory bandwidth
PARTS: Mapping[str, tuple[float, float]] = {
    "matmul": (0.6, 0.7),
    "conv": (0.5, 0.6),
    "conv_pointwise": (0.45, 0.6),
    "conv_depthwise": (0.08, 0.5),
    "pool": (0.05, 0.5),
    "elementwise": (0.25, 0.75),
    "transcendental": (0.25, 0.7),
    "reduction": (0.2, 0.6),
    "movement": (1.0, 0.5),
    "gather": (1.0, 0.2),
    "sort": (0.02, 0.1),
    "normalise": (0.2, 0.6),
    "scan": (0.1, 0.3),
    "view": (1.0, 1.0),
    "other": (0.1, 0.3),
}

# A dtype that a profile gives no peak for counts at the first of these that it does give.
LADDER: Mapping[str, tuple[str, ...]] = {
    "bool": ("int8", "int16", "int32", "float16", "float32"),
    "int2": ("int4", "int8"),
    "int4": ("int8",),
    "uint2": ("int4", "int8"),
    "uint4": ("int4", "int8"),
    "int8": ("uint8", "int16", "int32", "float16", "float32", "float64"),
    "uint8": ("int8", "int16", "int32", "float16", "float32", "float64"),
    "int16": ("int32", "float32", "float64"),
    "uint16": ("int16", "int32", "float32", "float64"),
    "int32": ("float32", "float64", "int64"),
    "uint32": ("int32", "float32", "float64"),
    "int64": ("int32", "float64", "float32"),
    "uint64": ("int64", "int32", "float64", "float32"),
    "float16": ("bfloat16", "float32"),
    "bfloat16": ("float16", "float32"),
    "tfloat32": ("float32",),
    "complex64": ("float32",),
    "complex128": ("float64", "float32"),
    "float64": ("float32",),
}
SLOWER = {("float64", "float32"): 0.5, ("complex128", "float32"): 0.5}  # where the ladder goes to fewer bits
NO_PEAK = 1e9  # op/s, of a device that gives no peak at all


def assumed(value: float, unit: str, uncertainty: float = UNCERTAINTY) -> Quantity:
    """A value of this file as what it is."""
    return Quantity(value, unit, "hetero", 2026, "estimated", uncertainty)


# -- spiking networks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Activity:
    """The share of inputs and neurons that spike in a step, and who says so."""

    share: Interval
    status: Literal["estimated", "given", "measured"] = "estimated"

    def __str__(self) -> str:
        s = self.share
        return f"{s.mid:.3g}{f' ({s.low:.3g} to {s.high:.3g})' * (s.low < s.high)}, {self.status}"


# Where nothing is known of the spikes, one source in ten spikes in a step: published networks have 1 to 20 %.
UNKNOWN = Activity(interval(assumed(0.1, "1", 0.9)))
STEP = assumed(1e-3, "s", 0.9)  # of a chip that publishes no time at all: real time, as is usual
